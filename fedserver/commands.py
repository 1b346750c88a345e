"""`concordat server`: what a coordinator's operator and a researcher do. A thin shell; the rooms do the work.

concordat server init coordinator --address 127.0.0.1:9443 --name trial
"""

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedcore.cli import console, example, report
from fedcore.enrolment import CoordinatorCard, EnrolmentRequest, confirm_fingerprint
from fedcore.errors import ConfigError, Interrupted, QuorumLost, TrustError
from fedcore.identity import SigningIdentity
from fedcore.plan_file import write_plan
from fedcore.privacy.plan import Forecast
from fedcore.receipt import write_line
from fedcore.round import JobPlan
from fedserver._job_views import show_job, status_of
from fedserver._strategy_views import show_strategies, strategy_rows
from fedserver.cohort import check_reachable
from fedserver.door import split_address
from fedserver.gate import check_gate
from fedserver.job import forecast, load_job
from fedserver.pki import Authority
from fedserver.quarantine_commands import quarantine
from fedserver.settings import Place
from fedserver.store import Store
from fedserver.strategies import warnings
from fedserver.sum_forecast import SumForecast, check_expected, check_room

__all__ = ["server"]

server = typer.Typer(
    help="Coordinate: enrol institutions, run jobs, publish signed releases.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    epilog=example(
        "concordat server init coordinator --address 127.0.0.1:9443 --name trial",
        "concordat server run --dir coordinator",
    ),
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Directory = Annotated[Path, typer.Option("--dir", help="The coordinator's directory.")]

_POLL_S = 0.5


@server.command(epilog=example("concordat server init coordinator --address 127.0.0.1:9443 --name trial"))
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory for the coordinator.")],
    address: Annotated[str, typer.Option(help="Host and port where nodes connect to.")] = "127.0.0.1:9443",
    name: Annotated[str, typer.Option(help="What nodes and releases call it; by default the directory's name.")] = "",
    as_json: Json = False,
) -> None:
    """Make an authority, certificates, a signing key and a commented server.toml. Nothing is overwritten."""
    place, name = Place(directory), name or directory.resolve().name
    host, _ = split_address(address)
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"{directory} is not empty", expected="a new directory", do="choose another one")
    if not name.strip() or len(name) > 100 or any(c in name for c in '"\\\n'):
        raise ConfigError("the name cannot be used", expected="1 to 100 characters, no quotes", do="set --name")
    directory.mkdir(parents=True, exist_ok=True)
    authority = Authority.make(name)
    authority.write(place.ca, place.ca_key)
    authority.issue(host, place.certificate, place.key)
    identity = SigningIdentity.generate()
    identity.save(place.identity)
    card = CoordinatorCard(name=name, address=address, ca_pem=authority.pem, identity=identity.public.key_hex)
    card.write(place.card)
    place.releases.mkdir()
    Store.open(place.store).close()
    place.write_settings(name=name, address=address)
    value = {"name": name, "address": address, "directory": str(directory), "card": str(place.card)}

    def human() -> None:
        typer.echo(f"{name} is ready in {directory}.")
        typer.echo(f"Give {place.card} to each institution and read them this fingerprint:")
        typer.echo(f"  {card.fingerprint}")
        typer.echo(f"Then: concordat server run --dir {directory}")

    report({**value, "fingerprint": card.fingerprint}, as_json=as_json, human=human)


@server.command(epilog=example("concordat server renew --dir coordinator"))
def renew(directory: Directory = Path(), as_json: Json = False) -> None:
    """Issue a new server certificate, for the address that server.toml names now."""
    place = Place(directory)
    settings = place.settings()
    host, _ = split_address(settings.address)
    authority = Authority.read(place.ca, place.ca_key)
    new_certificate, new_key = directory / ".server.crt.draft", directory / ".server.key.draft"
    new_key.unlink(missing_ok=True)
    authority.issue(host, new_certificate, new_key)
    new_key.replace(place.key)
    new_certificate.replace(place.certificate)
    old = CoordinatorCard.read(place.card)
    card = CoordinatorCard(name=settings.name, address=settings.address, ca_pem=old.ca_pem, identity=old.identity)
    card.write(place.card)
    value = {"address": settings.address, "certificate": str(place.certificate), "fingerprint": card.fingerprint}

    def human() -> None:
        typer.echo(f"A new certificate for {host} is in {place.certificate}; restart the coordinator.")
        if card.address != old.address:
            typer.echo(f"The address changed: give {place.card} to the institutions again.")

    report(value, as_json=as_json, human=human)


@server.command(
    epilog=example("concordat server enrol enrolment.json --fingerprint 1a2b-... --dir coordinator"),
)
def enrol(
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="The enrolment.json of an institution.")],
    directory: Directory = Path(),
    fingerprint: Annotated[
        str | None, typer.Option(help="The fingerprint that the institution's operator read to you.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let an institution take part, after comparing its fingerprint. A running coordinator notices."""
    place = Place(directory)
    place.settings()
    found = EnrolmentRequest.read(request)
    if fingerprint is None:
        raise TrustError(
            f"the request of {found.name} has the fingerprint {found.fingerprint}, and nobody has compared it",
            do="compare it with the institution's operator, then pass it with --fingerprint",
        )
    confirm_fingerprint(found.fingerprint, fingerprint)
    store = Store.open(place.store)
    new = store.enrol(found)
    value = {"name": found.name, "fingerprint": found.fingerprint, "new": new, "members": len(store.members())}
    store.close()

    def human() -> None:
        typer.echo(f"{found.name} is {'enrolled' if new else 'enrolled already'}; {value['members']} members in all.")

    report(value, as_json=as_json, human=human)


@server.command(epilog=example("concordat server members --dir coordinator"))
def members(directory: Directory = Path(), as_json: Json = False) -> None:
    """Show who is enrolled and who is connected."""
    place = Place(directory)
    place.settings()
    store = Store.open(place.store)
    connected = store.noted("connected") or []
    rows = [
        {"name": m.name, "identity": m.identity.fingerprint, "connected": m.name in connected} for m in store.members()
    ]
    store.close()

    def human() -> None:
        table = Table("institution", "identity", "connected")
        for row in rows:
            table.add_row(str(row["name"]), str(row["identity"]), "yes" if row["connected"] else "no")
        Console().print(table)

    report({"members": rows}, as_json=as_json, human=human)


@server.command(epilog=example("concordat server receipts hospital-a --out receipts.jsonl --dir coordinator"))
def receipts(
    institution: Annotated[str, typer.Argument(metavar="INSTITUTION", help="An enrolled institution's name.")],
    out: Annotated[Path, typer.Option(help="A new file for its receipts.")],
    directory: Directory = Path(),
    as_json: Json = False,
) -> None:
    """Write an institution's receipts to a file, for an operator whose ledger was put back from a backup.

    The institution gives it to 'concordat node ledger resolve --receipts'. It holds nothing secret.
    """
    place = Place(directory)
    place.settings()
    identity = SigningIdentity.load(place.identity).public
    store = Store.open(place.store)
    known = [m.name for m in store.members()]
    found = store.receipts(institution)
    store.close()
    if institution not in known:
        raise ConfigError(f"{institution!r} is not enrolled", expected="one of " + (", ".join(known) or "(none)"))
    if out.exists():
        raise ConfigError(f"{out} exists already", do="choose another file")
    out.write_text("".join(write_line(sealed, identity) for sealed in found), encoding="utf-8")
    value = {"institution": institution, "receipts": len(found), "file": str(out)}
    report(value, as_json=as_json, human=lambda: typer.echo(f"{len(found)} receipts of {institution} are in {out}."))


@server.command(epilog=example("concordat server run --dir coordinator"))
def run(directory: Directory = Path()) -> None:
    """Coordinate until Ctrl-C: let nodes in, run the jobs that are submitted, publish what they made."""
    place = Place(directory)
    place.settings()
    from fedserver.service import Service  # Deferred: Flower's server takes seconds to import.

    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        say = lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)  # noqa: E731
        Service(place, say=say, stopped=stop.is_set).run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    raise Interrupted(
        "the coordinator stopped; its state is kept", do=f"'concordat server run --dir {directory}' goes on"
    )


@server.command(epilog=example("concordat server plan job.toml --out plan.json"))
def plan(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="A JOB.toml.")],
    out: Annotated[Path, typer.Option("--out", help="Write the plan here, for institutions to read.")],
    institutions: Annotated[
        int, typer.Option(min=0, help="How many are expected; by default those that the job names, or its quorum.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Write what a job would ask of institutions, and say what its noise lets one expect. Queues nothing.

    An institution tries the file with 'concordat node policy check' and may approve it before the job begins.
    """
    loaded = load_job(job)
    count = institutions or len(loaded.plan.institutions) or loaded.plan.quorum
    check_expected(loaded.plan, count)
    expected = forecast(loaded.plan, count)
    sums = SumForecast.of(loaded.plan)
    write_plan(out, loaded.plan)
    _say(loaded.plan, expected, sums)
    value = {
        "job": loaded.plan.job_id,
        "out": str(out),
        "terms_digest": loaded.plan.terms_digest,
        "rounds": loaded.plan.rounds,
        "noise_multiplier": loaded.plan.privacy.noise_multiplier,
        "epsilon": expected.epsilon,
        "delta": expected.delta,
        "unit": loaded.plan.privacy.unit.describe(),
        "forecast": expected.describe(),
        "warnings": list(warnings(loaded.plan)),
        "joint": loaded.plan.joint,
        "honest_minimum": loaded.plan.privacy.honest_minimum,
        "sums": None if sums is None else sums.to_dict(),
    }

    def human() -> None:
        typer.echo(f"{value['job']} is in {out}: send it to the institutions.")
        typer.echo(f"Its terms have the digest {value['terms_digest']}.")

    report(value, as_json=as_json, human=human)


@server.command(epilog=example("concordat server submit job.toml --dir coordinator --wait"))
def submit(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="A JOB.toml.")],
    directory: Directory = Path(),
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Queue a job, and say what its noise lets one expect."""
    place = Place(directory)
    settings = place.settings()
    loaded = load_job(job)
    check_gate(loaded.plan, evaluator=settings.evaluator is not None)
    store = Store.open(place.store)
    names = {m.name for m in store.members()}
    check_reachable(loaded.plan, names)
    check_room(loaded.plan, len(names))
    expected = forecast(loaded.plan, len(loaded.plan.institutions or names))
    sums = SumForecast.of(loaded.plan)
    store.submit(loaded.plan, base_name=loaded.base_name)
    _say(loaded.plan, expected, sums)
    job_id = loaded.plan.job_id
    if wait:
        _wait(store, job_id)
    value = {**status_of(place, store, store.job(job_id)), "forecast": expected.describe()}
    value["warnings"] = list(warnings(loaded.plan))
    value["sums"] = None if sums is None else sums.to_dict()

    def human() -> None:
        if wait:
            show_job(value)
        else:
            typer.echo(f"{job_id} is queued; see it with 'concordat server status {job_id} --dir {directory}'.")

    report(value, as_json=as_json, human=human)
    if value["state"] == "failed":
        raise QuorumLost(f"the job {job_id} failed: {value['reason']}")


@server.command(epilog=example("concordat server status my-job --dir coordinator --json"))
def status(
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="A job's name; by default the newest.")] = "",
    directory: Directory = Path(),
    as_json: Json = False,
) -> None:
    """Show where a job stands: rounds, who contributed, who was dropped and why, losses, bytes, release."""
    place = Place(directory)
    place.settings()
    store = Store.open(place.store)
    ids = store.job_ids()
    if not job and not ids:
        raise ConfigError("there is no job yet", do="submit one with 'concordat server submit JOB.toml'")
    value = status_of(place, store, store.job(job or ids[-1]))
    store.close()
    report(value, as_json=as_json, human=lambda: show_job(value))


server.command(epilog=example("concordat server quarantine my-job --dir coordinator --out put-aside"))(quarantine)


@server.command(epilog=example("concordat server strategies"))
def strategies(as_json: Json = False) -> None:
    """List the strategies that a job may name: what each does, when to use it, and what it promises."""
    rows = strategy_rows()
    report({"strategies": rows}, as_json=as_json, human=lambda: show_strategies(rows))


def _say(plan: JobPlan, expected: Forecast, sums: SumForecast | None) -> None:
    """The forecasts for people, and what they should know before."""
    for words in (expected.describe(), *(() if sums is None else (sums.describe(),))):
        console.print(words, highlight=False, soft_wrap=True)
    for words in warnings(plan):
        console.print(f"[bold red]warning[/] {escape(words)}", highlight=False, soft_wrap=True)


def _wait(store: Store, job_id: str) -> None:
    """Wait until a job has ended, with a line for each thing that changes."""
    shown = None
    try:
        while store.job(job_id).state in ("queued", "running"):
            progress = store.noted("progress")
            if progress != shown and progress and progress["job_id"] == job_id:
                shown = progress
                count = f", {progress['answered']} of {progress['asked']}" if progress["asked"] else ""
                console.print(
                    f"round {progress['round']} of {progress['rounds']}: {progress['stage']}{count}", highlight=False
                )
            time.sleep(_POLL_S)
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"no longer waiting; the job {job_id} goes on", do=f"see it with 'concordat server status {job_id}'"
        ) from error
