"""A job's or a round's plan as a file: what a researcher sends ahead, and an institution reads before it agrees.

The file is public and unsigned. What is in it starts nothing; it says what a plan with these terms would
ask for. It is JSON: `version`, `kind` ("job" or "round") and `plan`.

    write_plan(Path("plan.json"), job)
    read_plan_file(Path("plan.json")) == job
"""

from dataclasses import replace
from pathlib import Path

from fedcore import canonical
from fedcore.errors import ConcordatError, ConfigError, InvalidPlan
from fedcore.round import JobPlan, RoundPlan

__all__ = ["LIMIT_BYTES", "VERSION", "read_plan_file", "write_plan"]

VERSION = 1
LIMIT_BYTES = 8 << 20

_EXPECTED = "a plan as 'concordat server plan JOB.toml --out PLAN.json' writes it"


def write_plan(path: Path, plan: JobPlan | RoundPlan) -> None:
    """Write a plan, whole or not at all; where the coordinator keeps its public examples is left out.

    Raises:
        ConfigError: The file cannot be written.
    """
    if isinstance(plan, JobPlan):
        plan = replace(plan, evaluation=None)
    kind = "job" if isinstance(plan, JobPlan) else "round"
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_bytes(canonical.encode({"version": VERSION, "kind": kind, "plan": plan.to_dict()}) + b"\n")
        draft.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", do="choose another file") from error


def read_plan_file(path: Path) -> JobPlan | RoundPlan:
    """Read a plan that anyone may have written.

    Raises:
        ConfigError: The file is missing, too large, or not a plan.
        InvalidPlan: Its numbers cannot hold.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})", expected=_EXPECTED) from error
    if len(data) > LIMIT_BYTES:
        raise ConfigError(f"{path} is too large", expected=f"{_EXPECTED}, at most {LIMIT_BYTES:,} bytes")
    try:
        value = canonical.decode(data)
        if not isinstance(value, dict) or value.keys() != {"version", "kind", "plan"}:
            raise ConfigError("it is not a plan", expected=_EXPECTED)
        if type(value["version"]) is not int or value["version"] != VERSION:
            raise ConfigError("it has another version", expected=str(VERSION), do="use the same release")
        if value["kind"] not in ("job", "round"):
            raise ConfigError("it holds another kind of plan", expected="'job' or 'round'")
        plan = JobPlan.from_dict(value["plan"]) if value["kind"] == "job" else RoundPlan.from_dict(value["plan"])
        canonical.encode(plan.to_dict())  # Half a character, which JSON can write, has no bytes.
    except ConcordatError as error:
        # Anyone may have written what stands in the error: it is cut short and made printable.
        why = "".join(c if c.isprintable() else "?" for c in str(error)[:400])
        kind = InvalidPlan if isinstance(error, InvalidPlan) else ConfigError
        raise kind(f"{path} cannot be used: {why}") from error
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a plan ({type(error).__name__})", expected=_EXPECTED) from error
    return plan
