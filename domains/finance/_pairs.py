"""A text beside one clause, as the feature words that a classifier learns from.

Where the clause asks something that contracts often settle (`_stances`), the words say which stances the text
takes and which it does not, singly and in pairs, and whether any of them denies the clause; points of a list are
read after the words that open it (`_lead_ins`). Otherwise they say what the rules found: how alike the nearest
sentence is, and which comparison objects. The words are few and fixed, so that training needs few records and
little budget; what is known beforehand stands in a prior.

>>> text = "The recipient shall not solicit or hire the company's employees."
>>> pair_words(text, "Receiving Party shall not solicit some of Disclosing Party's representatives.")
'about:solicit solicit:no-solicit'
>>> pair_words("Complaints must be answered within 30 days.", "Complaints must be answered within 15 days.")
'about:rule alike:5 conflict:deadline'
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations

from domains.finance._clauses import norms, segments
from domains.finance._conflicts import RELATED, compare, features, missing, similarity
from domains.finance._lead_ins import in_context
from domains.finance._stances import MATTERS, Matter, matter_of, stances_of

__all__ = ["KNOWN", "LABELS", "PRIOR", "pair_words"]

LABELS = ("entailment", "contradiction", "not mentioned")
"""What a text can do with a clause."""

_CONTRACT = re.compile(r"confidential|proprietary|receiving party|disclosing party|\bagreement\b", re.IGNORECASE)
_RULES = (
    "deadline", "number", "comparison", "frequency", "modality", "party", "denial", "quantifier", "exception",
    "consent", "and or", "order", "opposite", "date", "hedge", "none",
)  # fmt: skip
_LEANS: Mapping[str, tuple[float, float, float]] = {
    "technical": (0.0, 2.5, 0.0),  # Few definitions leave out all but technical information.
    "staff": (1.5, 0.0, 0.0),  # Whoever receives something in confidence nearly always has staff who see it.
    "marking": (0.0, 0.5, 0.0),
    "advisers": (0.0, 1.0, 0.0),  # Who is not allowed is mostly meant to be kept out.
}
_SUPPORT, _SILENT, _DENIAL, _ALLOWED = 1.5, 1.0, 1.5, 0.5
"""What we expect, in log-odds, before any training; judgements of ours: what denies weighs as much as what supports."""
_OUTWEIGHS: Mapping[str, float] = {"purpose": 1.5}
"""Where a denial is an exception to what supports, and stands beside it: what it is worth on top."""


def pair_words(text: str, clause: str, spans: Sequence[tuple[int, int]] | None = None) -> str:
    """The feature words of a text and a clause, with spaces between.

    Args:
        text: A contract, policy or passage.
        clause: What is asked of it.
        spans: Where its sentences are, if that is known better than by its punctuation.
    """
    matter = _matter(clause)
    pieces = _pieces(text, tuple(spans) if spans is not None else None)
    if matter is not None:
        return " ".join(_matter_words(matter, pieces))
    return " ".join(_rule_words(pieces, clause))


@lru_cache(maxsize=4096)
def _matter(clause: str) -> Matter | None:
    return matter_of(clause) if _CONTRACT.search(clause) else None


@lru_cache(maxsize=256)
def _pieces(text: str, spans: tuple[tuple[int, int], ...] | None) -> tuple[str, ...]:
    if spans is None:
        return tuple(s.text for s in segments(text))
    return tuple(text[start:end] for start, end in spans)


@lru_cache(maxsize=65536)
def _stances(piece: str) -> frozenset[str]:
    return stances_of(piece)


@lru_cache(maxsize=65536)
def features_of(piece: str) -> Counter[str]:
    """The words of all norms of a piece."""
    return Counter(dict(sum((features(n) for n in norms(piece)), Counter())))


def _matter_words(matter: Matter, pieces: Sequence[str]) -> list[str]:
    taken = {s for p in in_context(pieces) for s in _stances(p)}
    out = [f"about:{matter.name}"]
    if matter.denies:
        out.append(f"{matter.name}:{'denied' if taken & set(matter.denies) else 'not-denied'}")
    out += [f"{matter.name}:{'' if s in taken else 'no-'}{s}" for s in matter.stances]
    out += [f"{matter.name}:{a}={int(a in taken)}&{b}={int(b in taken)}" for a, b in combinations(matter.stances, 2)]
    return out


def _rule_words(pieces: Sequence[str], clause: str) -> list[str]:
    """What the comparison of the clause's sentences with the nearest of the text says."""
    passages = [n for p in pieces for n in norms(p)]
    words = [features(n) for n in passages]
    found: set[str] = set()
    alike = 0.0
    for norm in norms(clause):
        own = features(norm)
        scored = [similarity(own, w) for w in words]
        best = max(range(len(scored)), key=scored.__getitem__, default=None)
        if best is None:
            continue
        alike = max(alike, scored[best])
        if scored[best] < RELATED:
            continue
        found |= {c.rule.replace(" ", "-") for c in compare(norm, passages[best], scored[best])}
        if missing(norm, sum(words, Counter()), None):
            found.add("part-missing")
    out = ["about:rule", f"alike:{min(5, int(alike * 6))}"]
    if alike < RELATED:
        return [*out, "conflict:unrelated"]
    return out + [f"conflict:{c}" for c in sorted(found or {"none"})]


def _known() -> tuple[str, ...]:
    out = ["about:rule", *(f"alike:{i}" for i in range(6)), "conflict:part-missing", "conflict:unrelated"]
    out += [f"conflict:{r.replace(' ', '-')}" for r in _RULES]
    for m in MATTERS:
        out += [f"about:{m.name}", *(f"{m.name}:{no}{s}" for s in m.stances for no in ("", "no-"))]
        out += [f"{m.name}:{no}denied" for no in ("", "not-") if m.denies]
        pairs = combinations(m.stances, 2)
        out += [f"{m.name}:{a}={x}&{b}={y}" for a, b in pairs for x in (0, 1) for y in (0, 1)]
    return tuple(out)


def _prior() -> Mapping[str, tuple[float, float, float]]:
    """Log-odds of entailment, contradiction and no mention."""
    out: dict[str, tuple[float, float, float]] = {}
    for m in MATTERS:
        lean = _LEANS.get(m.name, (0.0, 0.0, 0.0))
        out[f"about:{m.name}"] = (lean[0], lean[1] - (1.0 if m.denies else 2.0), lean[2])
        for s in m.supports:
            out[f"{m.name}:{s}"] = (_SUPPORT / len(m.supports), 0.0, 0.0)
            out[f"{m.name}:no-{s}"] = (-_SILENT / len(m.supports), 0.0, 0.0)
        if m.denies:  # Any one of them is enough.
            out[f"{m.name}:denied"] = (0.0, _DENIAL + _OUTWEIGHS.get(m.name, 0.0), 0.0)
            out[f"{m.name}:not-denied"] = (0.0, -_ALLOWED, 0.0)
    out["about:rule"] = (0.0, 0.0, 0.0)
    out.update({f"alike:{i}": (0.6 * (i - 2), 0.6 * (i - 2), 0.0) for i in range(6)})
    out.update({f"conflict:{r.replace(' ', '-')}": (-2.0, 2.0, 0.0) for r in _RULES})
    out["conflict:unrelated"] = (-1.0, -1.0, 1.0)
    out["conflict:part-missing"] = (-1.0, 1.0, 0.0)
    out["conflict:none"] = (1.0, -1.5, 0.0)
    return out


KNOWN = _known()
"""Every feature word there is."""
PRIOR = _prior()
"""What each is worth before training."""
