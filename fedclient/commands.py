"""`concordat node`: what the operator of an institution does. A thin shell; the rooms do the work.

concordat node init hospital-a --records notes.jsonl --unit patient --epsilon 8 --delta 1e-5
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from domains.base import Task, load_task, task_names
from fedclient._options import Directory, Json
from fedclient._setup import NewNode, enrolment_request, make_node
from fedclient.budget_commands import budget, figure, ledger, own_account
from fedclient.ledger import read_accounts
from fedclient.personal_commands import personal
from fedclient.policy_commands import approve, policy
from fedclient.records import Format, Record, read_records
from fedclient.settings import NodeSettings
from fedcore.cli import console, example, report
from fedcore.enrolment import CoordinatorCard, confirm_fingerprint
from fedcore.errors import ConfigError, RecordError, TrustError
from fedcore.privacy.units import RELATIONS, Relation

__all__ = ["node"]

node = typer.Typer(
    help="Take part as an institution: keys, records, budget, training.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    epilog=example("concordat node init hospital-a --records notes.jsonl --unit patient --epsilon 8 --delta 1e-5"),
)

_WHY = {
    "--unit": "whom privacy protects, such as 'patient', or 'record' for each record alone",
    "--epsilon": "the most that all jobs together may spend, such as 8",
    "--delta": "the delta of that epsilon, below 1 / number of units, such as 1e-5",
}


@node.command(
    epilog=example("concordat node init hospital-a --records notes.jsonl --unit patient --epsilon 8 --delta 1e-5")
)
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory for the node.")],
    records: Annotated[Path, typer.Option(help="The records: JSONL, CSV, Parquet, FHIR bundle or directory.")],
    name: Annotated[str, typer.Option(help="The institution's name; by default the directory's.")] = "",
    unit: Annotated[str | None, typer.Option(help=f"Required: {_WHY['--unit']}.")] = None,
    epsilon: Annotated[float | None, typer.Option(help=f"Required: {_WHY['--epsilon']}.")] = None,
    delta: Annotated[float | None, typer.Option(help=f"Required: {_WHY['--delta']}.")] = None,
    base: Annotated[str, typer.Option(help="A prepared base, a directory or a hub id.")] = "smollm2-135m",
    dataset: Annotated[str, typer.Option(help="Name of the budget; by default that of the records' file.")] = "",
    relation: Annotated[
        str, typer.Option(help="What epsilon hides: add_or_remove_one (a unit's presence) or replace_one (its values).")
    ] = RELATIONS[0],
    epsilon_per_year: Annotated[
        float | None, typer.Option(help="The most within any 365 days; by default that of all years.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="A task to allow; by default all that are installed.")] = None,
    format: Annotated[str, typer.Option(help="auto, jsonl, csv, parquet or fhir.")] = "auto",
    field: Annotated[list[str] | None, typer.Option(help="TASKFIELD=COLUMN where the names differ.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch.")] = 0,
    largest_honest_minimum: Annotated[
        int | None,
        typer.Option(metavar="N", help="Accept noise that N honest institutions share; by default none is shared."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FINGERPRINT", help="An institution whose fingerprint you compared with its operator."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a node's keys and its commented node.toml. Nothing that exists is overwritten."""
    if unit is None or epsilon is None or delta is None:
        given = {"--unit": unit, "--epsilon": epsilon, "--delta": delta}
        raise ConfigError(
            "a privacy setting is missing, and none has a default",
            expected=" and ".join(f"{option} ({_WHY[option]})" for option, value in given.items() if value is None),
            do="decide it and add it to the command",
        )
    settings = make_node(
        directory,
        NewNode(
            name=name or directory.resolve().name,
            records=records,
            dataset=dataset or records.resolve().stem,
            unit=unit,
            format=_format(format),
            fields=dict(_pairs(field or [])),
            base=base,
            tasks=tuple(load_task(t).name for t in task) if task else task_names(),
            epsilon=epsilon,
            delta=delta,
            epsilon_per_year=epsilon_per_year,
            relation=_relation(relation),
            threads=threads,
            largest_honest_minimum=largest_honest_minimum,
            peers=tuple(peer or ()),
        ),
    )
    value = {
        "name": settings.name,
        "directory": str(directory),
        "settings": str(settings.files.settings),
        "fingerprint": enrolment_request(settings).fingerprint,
        "dataset": settings.dataset,
        "unit": settings.unit.key,
        "relation": settings.unit.relation,
        "epsilon_limit": settings.limit.epsilon,
        "epsilon_per_year": settings.limit.epsilon_per_year,
        "delta": settings.limit.delta,
        "tasks": list(settings.policy.tasks),
        "largest_honest_minimum": settings.policy.largest_honest_minimum,
        "peers": list(settings.policy.peers),
        "peer": settings.policy.own,
    }

    def human() -> None:
        typer.echo(f"{settings.name} is ready in {directory}.")
        typer.echo(
            f"It protects {settings.unit.describe()}, up to epsilon {epsilon:g} at delta {delta:g}, over all jobs."
        )
        typer.echo(f"Tasks it allows: {', '.join(settings.policy.tasks)}. Read {settings.files.settings} once.")
        typer.echo(f"To its peers it is {settings.policy.own}")
        typer.echo("Next: get coordinator.json from the coordinator's operator, then")
        typer.echo(f"  concordat node enrol coordinator.json --dir {directory}")

    report(value, as_json=as_json, human=human)


@node.command(epilog=example("concordat node enrol coordinator.json --dir hospital-a"))
def enrol(
    card: Annotated[Path, typer.Argument(metavar="CARD", help="The coordinator.json that its operator sent.")],
    directory: Directory = Path(),
    fingerprint: Annotated[
        str | None, typer.Option(help="The fingerprint that the coordinator's operator read to you.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Pin a coordinator after comparing its fingerprint, and write enrolment.json for its operator."""
    settings = NodeSettings.load(directory)
    coordinator = CoordinatorCard.read(card)
    files = settings.files
    if files.coordinator.exists() and CoordinatorCard.read(files.coordinator) != coordinator:
        raise TrustError(
            "another coordinator is pinned here",
            do=f"if you mean to change it, move {files.coordinator} away first",
        )
    request = enrolment_request(settings)
    _confirm(coordinator, fingerprint)
    coordinator.write(files.coordinator)
    request.write(files.enrolment)
    value = {
        "name": settings.name,
        "coordinator": coordinator.name,
        "address": coordinator.address,
        "coordinator_fingerprint": coordinator.fingerprint,
        "enrolment": str(files.enrolment),
        "fingerprint": request.fingerprint,
    }

    def human() -> None:
        typer.echo(f"{coordinator.name} at {coordinator.address} is pinned.")
        typer.echo(f"Send {files.enrolment} to its operator and read them this fingerprint:")
        typer.echo(f"  {request.fingerprint}")
        typer.echo(f"Then: concordat node run {directory}")

    report(value, as_json=as_json, human=human)


@node.command(epilog=example("concordat node run hospital-a"))
def run(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="The node's directory.")] = None,
    option: Annotated[Path, typer.Option("--dir", help="The same, as the other commands take it.")] = Path(),
) -> None:
    """Take part until Ctrl-C: connect to the pinned coordinator and answer its plans."""
    settings = NodeSettings.load(option if directory is None else directory)
    if not settings.files.coordinator.exists():
        raise ConfigError("no coordinator is pinned here", do="run 'concordat node enrol coordinator.json' first")
    from fedclient.node import run_node  # Deferred: torch and Flower take seconds to import.

    run_node(settings)


node.command(epilog=example("concordat node budget --dir hospital-a", "concordat node budget --plot budget.svg"))(
    budget
)
node.command(epilog=example("concordat node approve first --dir hospital-a"))(approve)
node.command(
    epilog=example("concordat node personal first --release releases/NAME --out own-adapter --dir hospital-a")
)(personal)
node.add_typer(policy, name="policy")
node.add_typer(ledger, name="ledger")


@node.command(epilog=example("concordat node status --dir hospital-a"))
def status(directory: Directory = Path(), as_json: Json = False) -> None:
    """Show the node's coordinator, what it is doing, and its budget."""
    settings = NodeSettings.load(directory)
    files = settings.files
    card = CoordinatorCard.read(files.coordinator) if files.coordinator.exists() else None
    own = own_account(settings, read_accounts(files.ledger) if files.ledger.exists() else ())
    value = {
        "name": settings.name,
        "fingerprint": enrolment_request(settings).fingerprint,
        "peer": settings.policy.own,
        "coordinator": None if card is None else {"name": card.name, "address": card.address},
        "running": _running(files.status),
        "dataset": own["dataset"],
        "epsilon_spent": own["epsilon_spent"],
        "epsilon_left": own["epsilon_left"],
        "delta": own["delta"],
    }

    def human() -> None:
        typer.echo(f"{settings.name}, fingerprint {value['fingerprint']}; to its peers {value['peer']}")
        typer.echo("coordinator: " + ("none is pinned" if card is None else f"{card.name} at {card.address}"))
        words = [f"{k} {v}" for k, v in value["running"].items() if v not in (None, "")]
        typer.echo("node: " + (", ".join(words) or "has not run here"))
        typer.echo(
            f"budget of {own['dataset']}: epsilon {figure(own['epsilon_spent'])} spent,"
            f" {figure(own['epsilon_left'])} left at delta {own['delta']:g}"
        )

    report(value, as_json=as_json, human=human)


@node.command(epilog=example("concordat node check --dir hospital-a"))
def check(directory: Directory = Path(), as_json: Json = False) -> None:
    """Read the records as training would, count units and bad rows, and say what would leave. Stays local.

    Exits with 3 when no allowed task fits the records, or one that fits finds bad rows.
    """
    settings = NodeSettings.load(directory)
    units, tasks = _count(settings)
    leaves = [
        "the noised change of the adapter's tensors that a plan trains; in a joint step the noised sum of one batch's"
        " clipped gradients instead",
        "either one behind a mask where the plan says so, with a public key for the job and, sealed for the other"
        " institutions, shares of the mask",
        "a privacy spend: unit, relation, epsilon, delta, rounds, events, accountant, where randomness comes from,"
        " and what shared noise assumes",
        "what the self-audit measured on made-up gradients",
        "job, round, digest of the plan and this institution's name, signed",
        "the hash of the newest ledger entry, salted, and a tag of the data set that only this node can read",
        "or, when a plan is refused or fails, one reason code",
    ]
    value = {
        "name": settings.name,
        "dataset": settings.dataset,
        "unit": settings.unit.key,
        "units": len(units),
        "records": units.total(),
        "largest_unit_records": max(units.values(), default=0),
        "tasks": tasks,
        "leaves": leaves,
    }
    fitting = [t for t in tasks.values() if t["fits"]]

    def human() -> None:
        typer.echo(f"{units.total()} records of {len(units)} units: {settings.unit.describe()}. Counts stay here.")
        for name, t in tasks.items():
            if t["fits"]:
                typer.echo(f"{name}: {t['examples']} examples of {t['units']} units; {t['bad_rows']} bad rows")
            else:
                typer.echo(f"{name}: does not fit these records")
            for line in t["faults"]:
                typer.echo(f"  {line}")
        typer.echo("What leaves this machine in a round:")
        for line in leaves:
            typer.echo(f"  - {line}")
        typer.echo("Never: records, texts, their number, losses, gradients, a part that a plan leaves with you, or")
        typer.echo("an error's words.")

    report(value, as_json=as_json, human=human)
    if not fitting or any(t["bad_rows"] for t in fitting):
        raise typer.Exit(RecordError.exit_code)


def _count(settings: NodeSettings) -> tuple[Counter[str], dict[str, dict[str, Any]]]:
    """Records by unit, and for each allowed task what it could render."""
    units: Counter[str] = Counter()
    tasks = {name: load_task(name) for name in settings.policy.task_names}
    rendered: dict[str, set[str]] = {name: set() for name in tasks}
    found: dict[str, dict[str, Any]] = {
        name: {"examples": 0, "units": 0, "bad_rows": 0, "faults": [], "fits": False} for name in tasks
    }
    for record in read_records(settings.records):
        units[record.unit] += 1
        for name, task in tasks.items():
            _render(task, record, found[name], rendered[name])
    for name, seen in rendered.items():
        found[name]["units"] = len(seen)
        found[name]["fits"] = bool(seen)
        if not seen:
            del found[name]["faults"][1:]  # One reason says it: every record has it.
    return units, found


def _render(task: Task, record: Record, found: dict[str, Any], seen: set[str]) -> None:
    """Render one record by one task; a fault is noted by position and never stops the count."""
    try:
        examples = task.examples(record.fields, unit=record.unit)
    except RecordError as error:
        found["bad_rows"] += 1
        if len(found["faults"]) < 10:
            found["faults"].append(f"record {record.position}: {error}")
        return
    found["examples"] += len(examples)
    if examples:
        seen.add(record.unit)


def _confirm(coordinator: CoordinatorCard, claimed: str | None) -> None:
    """Let the operator compare the fingerprint; there is no way around it."""
    if claimed is not None:
        confirm_fingerprint(coordinator.fingerprint, claimed)
        return
    console.print(f"Coordinator {coordinator.name} at {coordinator.address} has the fingerprint", highlight=False)
    console.print(f"  {coordinator.fingerprint}", highlight=False)
    if not sys.stdin.isatty():
        raise TrustError("nobody is here to compare the fingerprint", do="pass it with --fingerprint")
    if not typer.confirm("Did its operator read you the same one, by telephone or in person?", err=True):
        raise TrustError("the coordinator's fingerprint was not confirmed", do="nothing was changed; ask its operator")


def _running(path: Path) -> dict[str, Any]:
    """What the node process wrote of itself; empty when it never ran."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _format(value: str) -> Format:
    """One of the known formats."""
    for known in ("auto", "jsonl", "csv", "parquet", "fhir"):
        if value == known:
            return known
    raise ConfigError(f"the format {value!r} is not known", expected="auto, jsonl, csv, parquet or fhir")


def _relation(value: str) -> Relation:
    """One of the two."""
    for known in RELATIONS:
        if value == known:
            return known
    raise ConfigError(f"the relation {value!r} is not known", expected=" or ".join(RELATIONS), do="set --relation")


def _pairs(fields: list[str]) -> Iterator[tuple[str, str]]:
    """TASKFIELD=COLUMN, split."""
    for pair in fields:
        name, separator, column = pair.partition("=")
        if not (separator and name.strip() and column.strip()):
            raise ConfigError(f"--field {pair!r} cannot be read", expected="TASKFIELD=COLUMN, such as note=text")
        yield name.strip(), column.strip()
