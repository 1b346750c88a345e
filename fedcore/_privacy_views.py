"""How `concordat privacy` shows what it found: the trade, the certificate, and a bar when one has to wait."""

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from fedcore.cli import console
from fedcore.explain import assumption
from fedcore.identity import PublicIdentity

if TYPE_CHECKING:
    from fedcore._certificate_text import Text
    from fedcore.certificate import Certificate
    from fedcore.trade import Answer, Question

__all__ = ["certificate_value", "patiently", "show_certificate", "show_trade"]

_PATIENCE_S = 2.0
T = TypeVar("T")
S = TypeVar("S")


def patiently(points: Iterable[S], answer: Callable[[S], T], what: str) -> Iterator[T]:
    """Answer each; a bar appears when it takes longer than two seconds."""
    todo = list(points)
    with _bar_after(_PATIENCE_S) as progress:
        task = progress.add_task(what, total=len(todo))
        for point in todo:
            yield answer(point)
            progress.advance(task)


@contextmanager
def _bar_after(seconds: float) -> Iterator[Progress]:
    """A progress bar on standard error that is not shown before so many seconds have passed."""
    progress = Progress(console=console, transient=True)
    timer = threading.Timer(seconds, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield progress
    finally:
        timer.cancel()
        timer.join()  # It may be starting the bar just now.
        progress.stop()


def certificate_value(certificate: "Certificate") -> dict[str, Any]:
    """The certificate for `--json`."""
    from fedcore._certificate_text import assumption_of  # Deferred: a certificate imports numpy.

    c = certificate
    rows = []
    for spend in c.spends:
        attestation = c.attestation(spend.institution)
        rows.append(
            spend.to_dict()
            | {
                "epsilon_recomputed": _finite(c.recomputed(spend.institution)),
                "epsilon_at_plan_delta": _finite(c.recomputed(spend.institution, c.privacy.delta)),
                "rounds_folded": c.contributors.get(spend.institution, 0),
                "attested": attestation is not None,
                "identity": attestation.fingerprint if attestation else None,
            }
        )
    return {
        "job": c.job_id,
        "task": c.task,
        "base": c.base_name,
        "unit": c.unit.key,
        "relation": c.unit.relation,
        "unit_words": c.unit.describe(),
        "epsilon": _finite(c.epsilon),
        "epsilon_job": _finite(c.epsilon_job),
        "delta": c.delta,
        "institutions": rows,
        "unattested": list(c.unattested),
        "unsafe": list(c.unsafe),
        "not_covered": dict(c.not_covered),
        "privacy": c.privacy.to_dict(),
        "honest_minimum": c.privacy.honest_minimum,
        "joint": c.joint,
        "sums": None if c.sums is None else asdict(c.sums),
        "assumes": assumption_of(c, "en") or None,
        "rounds": c.rounds,
        "base_digest": c.base_digest,
        "schema_digest": c.schema_digest,
        "plan_digest": c.plan_digest,
        "state_digest": c.state_digest,
        "digest": c.digest,
        "coordinator": PublicIdentity(c.coordinator).fingerprint,
        "created": c.created,
        "code_version": c.code_version,
    }


def show_certificate(text: "Text", value: Mapping[str, Any]) -> None:
    """A certificate for people; the verdict first."""
    out = Console(highlight=False, markup=False)
    out.print(text.title, style="bold")
    for line in (text.verdict, *text.warnings):
        out.print(line, style="" if value["verified"] and line == text.verdict else "bold red")
    _print_pairs(out, text.facts)
    out.print(f"\n{text.table_heading}", style="bold")
    out.print(text.promise)
    head, *rows = text.table
    table = Table(*(Column(name, overflow="fold") for name in head), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    out.print(table)
    for note in text.notes:
        out.print(note)
    for section in text.sections:
        out.print(f"\n{section.heading}", style="bold")
        _print_pairs(out, section.facts)
    for name in ("json", "pdf"):
        if value[name]:
            out.print(f"{name}: {value[name]}", soft_wrap=True)


def _print_pairs(out: Console, pairs: Iterable[tuple[str, str]]) -> None:
    """Named facts in two columns; the others as a list."""
    facts = list(pairs)
    empty = "" if any(name for name, _ in facts) else "-"
    table = Table.grid(Column(overflow="fold"), Column(overflow="fold"), padding=(0, 2))
    for name, said in facts:
        table.add_row(name or empty, said)
    out.print(table)


def show_trade(question: "Question", answers: tuple["Answer", ...]) -> None:
    """The trade for people: the promise, the table, and what to mind."""
    q = question
    out = Console(highlight=False, markup=False)
    steps = f"{q.steps_per_round} steps a round"
    if q.rounds is not None:
        steps = f"{q.rounds} rounds of {q.steps_per_round} steps"
    shared = "" if q.honest_minimum is None else f"; noise shared by {q.honest_minimum} or more"
    out.print(f"epsilon for {q.unit.describe()}, at delta {q.delta:g}", style="bold")
    out.print(f"{steps}; {q.units:,} units an institution, {q.institutions} averaged; {q.sampler}{shared}")
    names = ["epsilon", "noise", "rate", "batch", "rounds"]
    forecast = ["noise/signal", "gain", "units needed"] if q.parameters is not None else []
    table = Table(*names, *forecast, box=None, pad_edge=False)
    for a in answers:
        if a.reason is not None:
            table.add_row(_number(a.epsilon, ".4g"), "-")
            continue
        cells = [_number(a.epsilon, ".4g"), _number(a.noise_multiplier, ".4f"), _number(a.sampling_rate, ".4g")]
        cells += [_number(a.batch_units, ",.1f"), f"{a.rounds:,}"]
        if forecast:
            cells += [_number(a.noise_to_signal, ".2f"), "yes" if a.gain_expected else "no"]
            cells += ["" if a.units_needed is None else f"about {a.units_needed:,}"]
        table.add_row(*cells)
    out.print(table)
    out.print("noise: multiplier of the clip norm; rate: chance of a unit in a step; batch: units expected in a step")
    for a in answers:
        if a.reason is not None:
            out.print(f"epsilon {_number(a.epsilon, '.4g')}: {a.reason}")
    if q.honest_minimum is not None:
        out.print(assumption(q.honest_minimum, "en"))
    for warning in q.warnings:
        out.print(f"warning: {warning}", style="bold red")
    if not forecast:
        out.print("Give --parameters, the numbers trained, to see whether a gain is to be expected.")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
