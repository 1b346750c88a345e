"""Ranked conditions of a case: probabilities, what speaks for and against, severe ones, what to ask next.

Guarantee: every severe condition of the book stands in exactly one of `listed` and `set_aside`, whatever the
probabilities are; one at or above `SEVERE_FROM` is listed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from domains.base import Sensitive
from domains.medicine._case import Case, Observed
from domains.medicine.conditions import Condition, Conditions, Finding

__all__ = [
    "ABSTAIN_BELOW",
    "LEAST_FINDINGS",
    "SEVERE_FROM",
    "Ranked",
    "Ranking",
    "book_probabilities",
    "information_gains",
    "rank",
]

SEVERE_FROM = 0.01
"""A severe condition at this probability or a higher one is always listed."""
ABSTAIN_BELOW = 0.5
"""Where no condition reaches this probability, none is called the likeliest."""
LEAST_FINDINGS = 2
"""With fewer findings that are there, none is called the likeliest."""
_SHOWN_FROM = 0.05
_MOST = 5
_QUESTIONS = 3
_SYMPTOM, _HISTORY, _STRAY = 0.6, 0.3, 0.03
"""How often a condition's symptom, a risk of it, and any other finding are there: rough, for choosing questions."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Ranked(Sensitive):
    """One condition with its probability, what it explains, and what speaks against it."""

    condition: Condition
    probability: float
    speaks_for: tuple[Observed, ...]
    unexplained: tuple[Observed, ...]
    """Findings that are there and do not belong to it."""
    denied: tuple[Observed, ...]
    """Its symptoms that were looked for and are not there."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Ranking(Sensitive):
    """What to consider.

    Args:
        listed: The likeliest first, then further severe ones; ties in the book's order.
        set_aside: Severe ones below the threshold, in the book's order.
        ask: Findings to look for next, with the bits that each is expected to give.
        abstains: Whether none is called the likeliest.
    """

    listed: tuple[Ranked, ...]
    set_aside: tuple[Condition, ...]
    ask: tuple[tuple[Finding, float], ...]
    abstains: bool


def rank(case: Case, probabilities: Sequence[float]) -> Ranking:
    """Rank a book's conditions.

    Args:
        case: The patient.
        probabilities: Of each condition of the case's book, summing to one.
    """
    book = case.book
    order = sorted(range(len(book.conditions)), key=lambda i: (-probabilities[i], i))
    shown = [i for n, i in enumerate(order) if n == 0 or (n < _MOST and probabilities[i] >= _SHOWN_FROM)]
    shown += [i for i in order if i not in shown and book.conditions[i].is_severe and probabilities[i] >= SEVERE_FROM]
    listed = tuple(_ranked(case, book.conditions[i], float(probabilities[i])) for i in shown)
    aside = tuple(c for i, c in enumerate(book.conditions) if c.is_severe and i not in shown)
    gains = information_gains(book, probabilities, case.known)
    best = sorted(gains, key=lambda g: -g[1])[:_QUESTIONS]
    return Ranking(
        listed=listed,
        set_aside=aside,
        ask=tuple(g for g in best if g[1] > 0.005),
        abstains=probabilities[order[0]] < ABSTAIN_BELOW or len(case.present) < LEAST_FINDINGS,
    )


def _ranked(case: Case, condition: Condition, probability: float) -> Ranked:
    there = [o for o in case.findings if o.present and not o.is_usual and not o.finding.describes]
    return Ranked(
        condition=condition,
        probability=probability,
        speaks_for=tuple(o for o in there if o.finding.code in condition.findings),
        unexplained=tuple(o for o in there if o.finding.code not in condition.findings),
        denied=tuple(o for o in case.findings if not o.present and o.finding.code in condition.symptoms),
    )


def book_probabilities(odds: Sequence[float]) -> tuple[float, ...]:
    """Log-odds to probabilities that sum to one."""
    top = max(odds)
    parts = [math.exp(o - top) for o in odds]
    total = sum(parts)
    return tuple(p / total for p in parts)


def information_gains(
    book: Conditions, probabilities: Sequence[float], known: frozenset[str]
) -> list[tuple[Finding, float]]:
    """How many bits the answer about each finding not yet looked for is expected to tell of the condition.

    The mutual information of condition and answer, H(answer) - H(answer | condition), which equals the expected
    fall of the entropy of the conditions. Findings that only describe others are not asked for.

    Reference: Lindley 1956, Annals of Mathematical Statistics 27.
    """
    out = []
    for finding in book.findings:
        if finding.code in known or finding.describes:
            continue
        there = [_chance(c, finding) for c in book.conditions]
        chance = sum(p * q for p, q in zip(probabilities, there, strict=True))
        inner = sum(p * _bits(q) for p, q in zip(probabilities, there, strict=True))
        out.append((finding, max(0.0, _bits(chance) - inner)))
    return out


def _chance(condition: Condition, finding: Finding) -> float:
    """How often a finding is there in a condition."""
    if finding.code in condition.symptoms:
        return _SYMPTOM
    return _HISTORY if finding.code in condition.history else _STRAY


def _bits(p: float) -> float:
    """The entropy of a yes or no."""
    return -sum(x * math.log2(x) for x in (p, 1 - p) if x > 0)
