"""`concordat node policy` and `concordat node approve`: what a plan would meet here, and a person's say.

Nothing here trains, reserves or connects. A plan comes from a file that anyone may have written.
"""

import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from domains.base import task_digest
from domains.bases import default_root, read_card
from fedclient._options import Directory, Json
from fedclient.approvals import Pending, is_approved
from fedclient.consent import Finding, LocalPolicy, plain
from fedclient.ledger import Account, read_accounts
from fedclient.outlook import Outlook
from fedclient.settings import NodeSettings
from fedclient.terms import in_words
from fedcore.adapter import AdapterSchema, ModelCard
from fedcore.cli import example, report
from fedcore.enrolment import CoordinatorCard
from fedcore.errors import BudgetExhausted, ConfigError, PlanRefused, TrustError
from fedcore.plan_file import read_plan_file
from fedcore.round import JobPlan, RoundPlan

__all__ = ["approve", "policy"]

policy = typer.Typer(
    help="Show what this node accepts, and try a plan against it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=example("concordat node policy check plan.json --dir hospital-a"),
)


@policy.command(epilog=example("concordat node policy show --dir hospital-a"))
def show(directory: Directory = Path(), as_json: Json = False) -> None:
    """Show what every plan must keep here, and the digests of what is installed."""
    settings = NodeSettings.load(directory)
    p = settings.policy
    value: dict[str, Any] = {
        "name": settings.name,
        "unit": settings.unit.key,
        "relation": settings.unit.relation,
        "tasks": list(p.tasks),
        "installed": {name: _digest(name) for name in p.task_names},
        "bases": list(p.bases),
        "coordinators": list(p.coordinators),
        "pinned": _pinned(settings) or None,
        "least_noise_multiplier": p.least_noise_multiplier,
        "largest_clip_norm_l2": p.largest_clip_norm_l2,
        "largest_rank": p.largest_rank,
        "largest_delta": p.largest_delta,
        "samplers": list(p.samplers),
        "largest_honest_minimum": p.largest_honest_minimum,
        "peers": list(p.peers),
        "peer": p.own or None,
        "hours": p.hours.describe(),
        "approval": p.approval,
        "epsilon_limit": settings.limit.epsilon,
        "epsilon_per_year": settings.limit.epsilon_per_year,
        "delta": settings.limit.delta,
    }

    def human() -> None:
        typer.echo(f"{settings.name} accepts a plan that")
        typer.echo(f"  protects {settings.unit.describe()}")
        for name, digest in value["installed"].items():
            typer.echo(f"  trains {name} (to pin its code: {name}@{digest or 'not installed'})")
        typer.echo(
            "  on the base " + (" or ".join(b[:12] for b in p.bases) or f"that is loaded here: {settings.base.path}")
        )
        typer.echo(
            "  comes from "
            + (" or ".join(p.coordinators) or f"the pinned coordinator: {value['pinned'] or 'none yet'}")
        )
        typer.echo(f"  draws its batches by {' or '.join(p.samplers)}")
        typer.echo(
            f"  has a noise multiplier of at least {p.least_noise_multiplier:g}, a clip norm of at most"
            f" {p.largest_clip_norm_l2:g}, rank at most {p.largest_rank}, delta at most {p.largest_delta:g}"
        )
        typer.echo(f"  {_shared_noise(p)}")
        typer.echo(f"  starts at {p.hours.describe()}; approval: {p.approval}")
        typer.echo(
            f"and costs, with all jobs before it, at most epsilon {settings.limit.epsilon:g}, and"
            f" {settings.limit.epsilon_per_year:g} within 365 days, at delta {settings.limit.delta:g}."
        )
        typer.echo(f"To its peers this institution is {p.own or 'unknown: its key cannot be read'}")

    report(value, as_json=as_json, human=human)


@policy.command(epilog=example("concordat node policy check plan.json --dir hospital-a"))
def check(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A job's or a round's plan, as a file.")],
    directory: Directory = Path(),
    as_json: Json = False,
) -> None:
    """Try a plan: every rule, what it asks and what is allowed, and whether the budget lasts. Starts nothing.

    Exits with 5 when a rule refuses it, and with 4 when the budget does not last for all of its rounds.
    """
    settings = NodeSettings.load(directory)
    proposed = read_plan_file(plan)
    found, outlook = _try(settings, proposed)
    refused = [f for f in found if f.status == "refused"]
    value = {
        "job": proposed.job_id,
        "terms_digest": proposed.terms_digest,
        "accepted": not refused and outlook.lasts,
        "rules": [{**asdict(f), "status": f.status} for f in found],
        "budget": outlook.to_dict(),
        "unit": settings.unit.describe(),
    }

    def human() -> None:
        _show_terms(proposed)
        _show_findings(found)
        _show_outlook(outlook, settings)
        if value["accepted"]:
            later = [f.describe() for f in found if f.status == "waits"]
            typer.echo("This node would accept it" + (", but not now: " + ", ".join(later) if later else "."))

    report(value, as_json=as_json, human=human)
    if refused:
        raise PlanRefused(
            f"this node would refuse {proposed.job_id}: " + ", ".join(f.describe() for f in refused),
            reason=refused[0].code,
            do="the coordinator may propose another plan; change [policy] in node.toml only if you agree to this",
        )
    if not outlook.lasts:
        lasting = min(outlook.in_all.rounds_lasting, outlook.in_year.rounds_lasting)
        raise BudgetExhausted(
            f"the budget of {settings.dataset} lasts for {lasting} of {outlook.rounds} rounds of {proposed.job_id}",
            do="ask for a plan that costs less, or raise the limit in [budget] if you agree to that",
        )


def approve(
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="A job that waits; without it, they are listed.")] = "",
    directory: Directory = Path(),
    plan: Annotated[Path | None, typer.Option(help="Approve the plan in this file, before the job begins.")] = None,
    yes: Annotated[str | None, typer.Option(help="The digest of the terms that you read; nothing is asked.")] = None,
    by: Annotated[str, typer.Option(help="Who approves; noted in the ledger.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the approval of JOB back.")] = False,
    as_json: Json = False,
) -> None:
    """Read a job's terms in plain words and approve them. Approval is an entry of the ledger.

    It covers as many rounds as the job has, or one where [policy] approval is "round".
    """
    settings = NodeSettings.load(directory)
    pending = Pending(settings.files.pending)
    if not job and plan is None:
        _list(settings, pending, as_json)
        return
    if settings.policy.approval == "none":
        raise ConfigError("no plan needs approval here", do="set [policy] approval to 'job' or 'round' first")
    if revoke:
        _note(settings, job, "", by)
        report({"job": job, "revoked": True}, as_json=as_json, human=lambda: typer.echo(f"{job} is not approved."))
        return
    proposed = pending.read(job) if plan is None else read_plan_file(plan)
    if job and proposed.job_id != job:
        raise ConfigError(f"{plan} is the plan of {proposed.job_id}", expected=job, do="name the job of the file")
    found, outlook = _try(settings, proposed)
    if refused := [f for f in found if f.status == "refused"]:
        raise PlanRefused(
            f"approval cannot help {proposed.job_id}: " + ", ".join(f.describe() for f in refused),
            reason=refused[0].code,
            do="change [policy] in node.toml first, only if you agree to this",
        )
    _agree(settings, proposed, outlook, yes)
    _note(settings, proposed.job_id, proposed.terms_digest, by)
    pending.forget(proposed.job_id)
    rounds = proposed.rounds if settings.policy.approval == "job" else 1
    value = {"job": proposed.job_id, "terms_digest": proposed.terms_digest, "rounds": rounds}
    human = lambda: typer.echo(f"{proposed.job_id} is approved for {rounds} rounds of these terms.")  # noqa: E731
    report(value, as_json=as_json, human=human)


def _shared_noise(policy: LocalPolicy) -> str:
    """What is accepted of shared noise, in words."""
    if policy.largest_honest_minimum is None:
        return "adds the whole noise here: none that is shared is accepted"
    known = ", ".join(p.partition("=")[0] for p in policy.peers) or "nobody"
    return (
        f"adds the whole noise here, or shares it on the assumption of at most {policy.largest_honest_minimum} honest"
        f" institutions; known here by their own fingerprints: {known}, all others count as colluders"
    )


def _note(settings: NodeSettings, job: str, terms_digest: str, by: str) -> None:
    """Enter an approval, or with an empty digest its end, into the ledger."""
    if not job:
        raise ConfigError("no job is named", do="name the job")
    ledger = settings.open_ledger()
    try:
        ledger.approve(job, terms_digest, by=by)
    finally:
        ledger.close()


def _agree(settings: NodeSettings, plan: JobPlan | RoundPlan, outlook: Outlook, yes: str | None) -> None:
    """Show the terms and let a person decide; with --yes, they decided on these very terms before."""
    if yes is not None:
        if yes.lower() != plan.terms_digest:
            raise TrustError(
                f"the terms of {plan.job_id} are not those that were approved",
                expected=yes,
                got=plan.terms_digest,
                do="read them again; nothing was approved",
            )
        return
    for label, words in (*in_words(plan), ("terms", plan.terms_digest)):
        typer.echo(f"{label}: {words}", err=True)  # For people, so not on standard output.
    for line in _outlook_words(outlook, settings):
        typer.echo(line, err=True)
    if not sys.stdin.isatty():
        raise TrustError("nobody is here to approve these terms", do=f"read them, then pass --yes {plan.terms_digest}")
    if not typer.confirm("Do you approve these terms?", err=True):
        raise TrustError(f"the terms of {plan.job_id} were not approved", do="nothing was changed")


def _list(settings: NodeSettings, pending: Pending, as_json: bool) -> None:
    """The jobs that wait."""
    rows = []
    for job in pending.jobs():
        waiting = pending.read(job)
        rows.append({"job": job, "terms_digest": waiting.terms_digest, "rounds": waiting.rounds})

    def human() -> None:
        for row in rows:
            typer.echo(f"{row['job']}: {row['rounds']} rounds, terms {row['terms_digest']}")
        if not rows:
            typer.echo("no plan waits for approval")

    report({"approval": settings.policy.approval, "pending": rows}, as_json=as_json, human=human)


def _try(settings: NodeSettings, plan: JobPlan | RoundPlan) -> tuple[tuple[Finding, ...], Outlook]:
    """Every rule, and the cost; the ledger is only read."""
    from fedclient.accountant import epsilon  # Its second accountant takes seconds to import.

    now, account = datetime.now(UTC), _account(settings)
    approved = is_approved(settings.policy, _Read(account), plan)
    found = settings.policy.findings(plan, coordinator=_pinned(settings), now=now, approved=approved)
    card = _local_card(settings.base.path)
    return (*found, *_fits(card, plan)), Outlook.of(plan, account, settings.limit, now=now, cost=epsilon)


class _Read:
    """Approvals of a ledger that is only read."""

    def __init__(self, account: Account | None) -> None:
        self._account = account

    def approved(self, job_id: str) -> Any:
        """See `fedclient.approvals.ApprovalBook`."""
        return None if self._account is None else self._account.approvals.get(job_id)


def _account(settings: NodeSettings) -> Account | None:
    """The account of the node's data set; None before its ledger exists."""
    if not settings.files.ledger.exists():
        return None
    return next((a for a in read_accounts(settings.files.ledger) if a.dataset == settings.dataset), None)


def _fits(card: ModelCard | None, plan: JobPlan | RoundPlan) -> tuple[Finding, ...]:
    """Whether the adapter is one of the base that is prepared here; nothing where none is."""
    if card is None:
        return ()
    schema = plan.schema
    try:
        fits = schema == AdapterSchema.for_base(
            card,
            rank=schema.rank,
            alpha=schema.alpha,
            targets=schema.targets,
            form=schema.form,
            residual_rank=schema.residual_rank,
        )
    except (ConfigError, TypeError):
        fits = False
    return (
        Finding(
            rule="adapter of the base",
            code="base_mismatch",
            asked=plain(schema.base_digest, 64)[:12],
            allowed=f"{card.name} {card.digest[:12]}",
            holds=fits,
        ),
    )


def _local_card(base: str) -> ModelCard | None:
    """The card of a base that is prepared on this machine; nothing is fetched."""
    for path in (default_root(os.environ) / "bases" / base, Path(base)):
        if (card := read_card(path)) is not None:
            return card
    return None


def _pinned(settings: NodeSettings) -> str:
    """Fingerprint of the pinned coordinator; empty before enrolment."""
    card = settings.files.coordinator
    return CoordinatorCard.read(card).fingerprint if card.exists() else ""


def _digest(name: str) -> str | None:
    """Digest of an installed task."""
    try:
        return task_digest(name)
    except ConfigError:
        return None


def _show_terms(plan: JobPlan | RoundPlan) -> None:
    """The terms for people."""
    for label, words in in_words(plan):
        typer.echo(f"{label}: {words}")


def _show_findings(found: tuple[Finding, ...]) -> None:
    """Every rule for people."""
    table = Table("rule", "the plan asks", "allowed", "")
    words = {"ok": "ok", "refused": "[bold red]refused[/]", "waits": "[yellow]not now[/]"}
    for f in found:
        table.add_row(*(part.replace("[", r"\[") for part in (f.rule, f.asked, f.allowed)), words[f.status])
    Console().print(table)


def _show_outlook(outlook: Outlook, settings: NodeSettings) -> None:
    """The cost for people."""
    for line in _outlook_words(outlook, settings):
        typer.echo(line)


def _outlook_words(outlook: Outlook, settings: NodeSettings) -> list[str]:
    """The cost in words."""
    assumed = "" if outlook.honest_minimum is None else f", if {outlook.honest_minimum} in every sum are honest"
    alone = f"epsilon {outlook.job:.3f}" if outlook.job <= settings.limit.epsilon else "more than the whole budget"
    lines = [f"{outlook.rounds} rounds cost {alone} by themselves, for {settings.unit.describe()}{assumed}"]
    for words, cost in (("in all", outlook.in_all), ("within 365 days", outlook.in_year)):
        after = f"{cost.after:.3f} after" if cost.after <= cost.limit else f"enough for {cost.rounds_lasting} rounds"
        lines.append(
            f"{words}: epsilon {cost.spent:.3f} of {cost.limit:g} spent before, {after}, delta {outlook.delta:g}"
        )
    return lines
