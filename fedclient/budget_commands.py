"""`concordat node budget` and `concordat node ledger`: what was spent, and whether the record of it holds."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fedclient._options import Directory, Json
from fedclient.budget_view import History, draw, terminal
from fedclient.ledger import Account, Ledger, read_accounts
from fedclient.outlook import YEAR
from fedclient.receipts import Receipts, resolve, verify
from fedclient.settings import NodeSettings
from fedcore.cli import example, report
from fedcore.enrolment import CoordinatorCard
from fedcore.errors import ConfigError
from fedcore.identity import PublicIdentity, SigningIdentity

__all__ = ["budget", "figure", "ledger", "own_account"]

ledger = typer.Typer(
    help="Check the ledger against what the coordinator countersigned, and put right one that is behind.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=example("concordat node ledger verify --dir hospital-a"),
)


def budget(
    directory: Directory = Path(),
    plot: Annotated[Path | None, typer.Option(help="Also draw spending over time: a .png, .svg or .pdf file.")] = None,
    as_json: Json = False,
) -> None:
    """Show what was spent of the privacy budget: in all, by job, within 365 days, over time. Reads only."""
    settings = NodeSettings.load(directory)
    accounts = read_accounts(settings.files.ledger) if settings.files.ledger.exists() else ()
    own, now = own_account(settings, accounts), datetime.now(UTC)
    account = next((a for a in accounts if a.dataset == settings.dataset), None)
    history = _history(settings, account, now)
    value = {
        "name": settings.name,
        **own,
        "protects": settings.unit.describe(),
        "year": _year(settings, account, now),
        "history": [
            {"at": t.isoformat(), "epsilon": e if math.isfinite(e) else None}
            for t, e in zip(history.times, history.epsilons, strict=True)
        ],
        "plot": None if plot is None else str(plot),
        "other_datasets": [a.to_dict() for a in accounts if a.dataset != own["dataset"]],
    }
    if plot is not None:
        draw(history, plot)

    def human() -> None:
        screen = Console()
        screen.print(_totals(value), *([_jobs(value)] if value["by_job"] else []))
        year = value["year"]
        typer.echo(f"It protects {value['protects']}.")
        typer.echo(
            f"Within the last 365 days: epsilon {figure(year['epsilon_spent'])} of {figure(year['epsilon_limit'])},"
            f" {figure(year['epsilon_left'])} left."
        )
        if history.times:
            typer.echo(f"Epsilon spent over time; ╌ is the limit of {history.limit:g}:")
        for line in terminal(history, width=min(screen.width, 100)):
            typer.echo(line)

    report(value, as_json=as_json, human=human)


@ledger.command("verify", epilog=example("concordat node ledger verify --dir hospital-a"))
def verify_command(directory: Directory = Path(), as_json: Json = False) -> None:
    """Check the whole chain, and that it holds everything that the coordinator countersigned."""
    settings = NodeSettings.load(directory)
    book, receipts = _open(settings)
    try:
        found = verify(book, receipts)
    finally:
        book.close()
    value = {
        "name": settings.name,
        "entries": found.entries,
        "receipts": found.receipts,
        "newest_receipt": found.newest,
        "countersigned": found.countersigned,
    }

    def human() -> None:
        typer.echo(f"The ledger holds: {found.entries} entries, each linked to the one before.")
        typer.echo(
            f"{found.receipts} receipts of the coordinator vouch for it up to entry {found.countersigned}."
            if found.receipts
            else "The coordinator has countersigned nothing yet."
        )

    report(value, as_json=as_json, human=human)


@ledger.command("resolve", epilog=example("concordat node ledger resolve --dir hospital-a"))
def resolve_command(
    directory: Directory = Path(),
    receipts: Annotated[
        Path | None, typer.Option(help="A file of receipts from the coordinator's operator, where your own are lost.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Enter what receipts show and an older ledger lacks. It can only add to what was spent."""
    settings = NodeSettings.load(directory)
    book, known = _open(settings)
    try:
        done = resolve(book, known, SigningIdentity.load(settings.files.identity), file=receipts)
    finally:
        book.close()
    value: dict[str, Any] = {
        "name": settings.name,
        "entered": done.entered,
        "kept": done.kept,
        "newest_receipt": done.newest,
        "epsilon_before": done.epsilon_before if math.isfinite(done.epsilon_before) else None,
        "epsilon_spent": done.epsilon if math.isfinite(done.epsilon) else None,
    }

    def human() -> None:
        if not done.entered:
            typer.echo("Nothing is missing: the ledger holds everything that the coordinator countersigned.")
            return
        typer.echo(f"{done.entered} rounds that the ledger had lost were entered from receipts.")
        typer.echo(f"Spent: epsilon {figure(value['epsilon_before'])} before, {figure(value['epsilon_spent'])} now.")

    report(value, as_json=as_json, human=human)


def own_account(settings: NodeSettings, accounts: tuple[Account, ...]) -> dict[str, Any]:
    """The account of the node's own data set under the limit that is set now; nothing spent where there is none."""
    for account in accounts:
        if account.dataset == settings.dataset:
            left = max(0.0, settings.limit.epsilon - account.epsilon) if account.is_private else 0.0
            return {**account.to_dict(), "epsilon_limit": settings.limit.epsilon, "epsilon_left": left}
    return {
        "dataset": settings.dataset,
        "unit": settings.unit.key,
        "relation": settings.unit.relation,
        "delta": settings.limit.delta,
        "epsilon_limit": settings.limit.epsilon,
        "epsilon_spent": 0.0,
        "epsilon_left": settings.limit.epsilon,
        "rounds_reserved": 0,
        "rounds_answered": 0,
        "jobs": {},
        "by_job": [],
        "unsafe": [],
        "last": None,
    }


def figure(value: float | None) -> str:
    """Epsilon for people; null is infinite."""
    return "infinite" if value is None else f"{value:.3f}"


def _year(settings: NodeSettings, account: Account | None, now: datetime) -> dict[str, Any]:
    """Spending within the last 365 days; the accountants are asked only where older entries exist."""
    limit, events = settings.limit.epsilon_per_year, () if account is None else account.events_since(now - YEAR)
    if account is None or not events:
        spent = 0.0
    elif len(events) == len(account.events):
        spent = account.epsilon
    else:
        from fedclient.accountant import epsilon  # Its second accountant takes seconds to import.

        spent = epsilon(events, account.delta)
    finite = math.isfinite(spent)
    return {
        "days": YEAR.days,
        "epsilon_limit": limit,
        "epsilon_spent": spent if finite else None,
        "epsilon_left": None if limit is None else max(0.0, limit - spent) if finite else 0.0,
    }


def _history(settings: NodeSettings, account: Account | None, now: datetime) -> History:
    """What is drawn."""
    rows = () if account is None else account.history
    return History(
        times=tuple(row.at for row in rows),
        epsilons=tuple(row.epsilon for row in rows),
        end=now,
        limit=settings.limit.epsilon,
        title=f"{settings.dataset} at {settings.name}, delta {settings.limit.delta:g}",
        unit=settings.unit.describe(),
    )


def _totals(value: dict[str, Any]) -> Table:
    """Every data set of the ledger."""
    table = Table("dataset", "unit", "delta", "limit", "spent", "left", "rounds answered", "of reserved")
    for row in (value, *value["other_datasets"]):
        limit, spent, left = (figure(row[k]) for k in ("epsilon_limit", "epsilon_spent", "epsilon_left"))
        counts = (str(row["rounds_answered"]), str(row["rounds_reserved"]))
        mark = " ".join(["", *row["unsafe"]])
        table.add_row(row["dataset"], row["unit"], f"{row['delta']:g}", limit, spent + mark, left, *counts)
    return table


def _jobs(value: dict[str, Any]) -> Table:
    """The jobs on the node's own data set; their figures do not add up, they compose."""
    table = Table("job", "epsilon by itself", "rounds answered", "of reserved")
    for row in value["by_job"]:
        alone = "not stored" if row["epsilon"] is None else figure(row["epsilon"])
        table.add_row(row["job"], alone, str(row["rounds_answered"]), str(row["rounds_reserved"]))
    return table


def _open(settings: NodeSettings) -> tuple[Ledger, Receipts]:
    """The ledger and the receipts of the pinned coordinator.

    Raises:
        ConfigError: None is pinned: nobody's receipts could be believed.
    """
    if not settings.files.coordinator.exists():
        raise ConfigError("no coordinator is pinned here", do="run 'concordat node enrol coordinator.json' first")
    pinned = PublicIdentity(CoordinatorCard.read(settings.files.coordinator).identity)
    receipts = Receipts(settings.files.receipts, institution=settings.name, coordinator=pinned)
    return settings.open_ledger(), receipts
