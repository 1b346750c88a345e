"""`concordat server quarantine`: the states that a job's gate put aside, for people who want to know why.

What is written is no release: it has no manifest and no signature, so no generator loads it.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from fedcore.adapter import AdapterState
from fedcore.adapter_files import write_adapter
from fedcore.cli import report
from fedcore.errors import ConfigError
from fedcore.round import Completed
from fedserver.gate import undone
from fedserver.settings import Place
from fedserver.store import Store

__all__ = ["quarantine"]


def quarantine(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's name.")],
    directory: Annotated[Path, typer.Option("--dir", help="The coordinator's directory.")] = Path(),
    out: Annotated[
        Path | None, typer.Option(help="Write each state here as a PEFT adapter, a new folder for each round.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """List the rounds that a job's gate quarantined, and write their states where asked. Never a release."""
    place = Place(directory)
    place.settings()
    store = Store.open(place.store)
    record = store.job(job)
    outcomes, states = store.outcomes(job), store.quarantined(record.plan)
    base = store.canary_base(job)
    store.close()
    losses = {o.round: o.canary_loss for o in outcomes if isinstance(o, Completed)}
    rows = [
        {
            "round": number,
            "canary_loss": losses[number],
            "reason": reason,
            "state_digest": states[number].digest,
            "path": _write(out, number, states[number], record.base_name),
        }
        for number, reason in undone(outcomes).items()
    ]

    def human() -> None:
        for row in rows:
            typer.echo(row["reason"])
            if row["path"]:
                typer.echo(f"  its state, unsigned, is in {row['path']}")
        if not rows:
            typer.echo(f"no round of {job} is quarantined" + ("" if record.plan.gate else ": it has no gate"))

    value: dict[str, Any] = {"job": job, "canary_loss_base": base, "quarantined": rows}
    report(value, as_json=as_json, human=human)


def _write(out: Path | None, number: int, state: AdapterState, base_name: str) -> str | None:
    """A put-aside state as files; where, or None when nobody asked."""
    if out is None:
        return None
    place = out / f"round-{number:05}"
    if place.exists():
        raise ConfigError(f"{place} exists already", do="choose another --out")
    write_adapter(place, state, base_name)
    return str(place)
