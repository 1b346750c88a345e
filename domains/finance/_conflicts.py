"""Where two norms on the same matter contradict each other: figures, deadlines, modality, parties, missing duties.

The two are compared by what they hold, not by their order: figures against figures of the same measure, modals
against modals, parties with their place. What stands in both is no conflict; what is left over on both sides is.
Each **Conflict** names its rule, so that a reader can object to it.

>>> a, = norms("The bank must answer a complaint within 15 days.")
>>> b, = norms("The bank answers every complaint within 30 days.")
>>> [(c.kind, c.rule) for c in compare(a, b)]
[('looser deadline', 'deadline')]
>>> compare(a, norms("Within fifteen days the bank shall answer a complaint.")[0])
()
"""

import re
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Literal, get_args

from domains.base import Sensitive
from domains.finance._clause_words import HEDGES, OPPOSITES, ORDERS, Compare, Modality
from domains.finance._clauses import HELD, Norm, Quantity, norms
from domains.retrieval import terms

__all__ = [
    "KINDS",
    "RELATED",
    "SAME",
    "Conflict",
    "Kind",
    "compare",
    "coverage",
    "features",
    "missing",
    "norms",
    "similarity",
]

Kind = Literal[
    "contradiction",
    "missing duty",
    "stricter number",
    "looser number",
    "stricter deadline",
    "looser deadline",
    "wrong party",
    "permission against prohibition",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

RELATED = 0.3
"""Below this similarity two norms are not about the same."""
SAME = 0.5
"""From this similarity on two norms word the same rule; below, only figures and opposite modals are compared."""
_COVERED = 0.4
"""Share of a duty's words that must stand on the other side, where its sentence has a counterpart."""
_SAID = 0.75
"""The same where it has none."""
_LEFT = 0.25
"""Then this share must stand in words that word nothing else of the clause."""
_TIME = ("hours", "months", "working days")
_ROUGH_HOURS = {"hours": Fraction(1), "months": Fraction(730), "working days": Fraction(34)}
_MONEY = ("CNY", "USD", "EUR", "GBP")
_OPPOSITE: frozenset[frozenset[str]] = frozenset(
    frozenset(p) for p in (("min", "max"), ("min", "under"), ("max", "over"), ("over", "under"), ("before", "after"))
)
_SELF = re.compile(r"本|我|公司|机构|单位|^其|上述|前述|相关|均|都|也|还|并")
"""Words by which a text speaks of its own author, or of whoever was named before."""
_OPPOSED = tuple((re.compile(x, re.IGNORECASE), re.compile(y, re.IGNORECASE)) for x, y in OPPOSITES)
_AND = re.compile(r"\band\b|和|并且|以及|及|与|且", re.IGNORECASE)
_OR = re.compile(r"\bor\b|或者|或", re.IGNORECASE)
_CONSENT = re.compile(
    r"\b(?:prior|written|express|explicit)?\s?(?:consent|approval|authori[sz]ation|permission)\b"
    r"|(?:经|取得|获得|征得)[^，,。]{0,24}?(?:批准|同意|许可|授权|核准|认可)",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Conflict(Sensitive):
    """One way in which a passage departs from a clause."""

    kind: Kind
    rule: str
    """Which comparison found it, such as "deadline" or "modality"."""
    confidence: float
    """How sure the rule is, from 0 to 1; a judgement of ours, not a frequency."""


def features(norm: Norm) -> Counter[str]:
    """The words of a norm that say what it is about, without figures, modals and parties."""
    return Counter(_terms(norm.rest.replace(HELD, " ")))


def similarity(a: Counter[str], b: Counter[str]) -> float:
    """How much two norms are about the same, from 0 to 1; one that is part of the other counts as near."""
    if not a or not b:
        return 0.0
    if a == b:
        return 1.0
    shared = (a & b).total()
    dice = 2 * shared / (a.total() + b.total())
    overlap = shared / max(min(a.total(), b.total()), 4)
    return (dice + overlap) / 2


def coverage(part: Counter[str], whole: Counter[str]) -> float:
    """The share of a part's words that the whole holds."""
    return (part & whole).total() / max(part.total(), 1)


def compare(clause: Norm, passage: Norm, alike: float = 1.0) -> tuple[Conflict, ...]:
    """All conflicts of a passage's norm with a clause's.

    Args:
        clause: The rule.
        passage: What the text says.
        alike: Their similarity.
    """
    same = alike >= SAME
    found = [*_quantities(clause, passage, same), *_frequency(clause, passage)]
    found += _modality(clause, passage, same)
    if same:
        if clause.dates - passage.dates and passage.dates - clause.dates:
            found.append(Conflict(kind="contradiction", rule="date", confidence=0.9))
        found += _parties(clause, passage)
        found += _denials(clause, passage)
        found += _scope(clause, passage)
    weight = 1.0 if same else 0.75
    unique = {(c.kind, c.rule): c for c in found}
    return tuple(replace(c, confidence=round(c.confidence * weight, 2)) for c in unique.values())


def missing(clause: Norm, said: Counter[str], left: Counter[str] | None) -> bool:
    """Whether a duty of the clause stands nowhere in the text: a part of it that binds, with words of its own.

    Args:
        clause: A sentence of a clause.
        said: All words of the text.
        left: Its words that belong to no other sentence of the clause; None where a sentence of the text words
            this one: then only a part of it can be missing.
    """
    parts = _duties(clause)
    if left is None and len(parts) < 2:
        return False
    for part in parts:
        words = Counter(_terms(part))
        if words.total() < 2:
            continue
        if left is None and coverage(words, said) < _COVERED:
            return True
        if left is not None and (coverage(words, said) < _SAID or coverage(words, left) < _LEFT):
            return True
    return False


@lru_cache(maxsize=65536)
def _terms(text: str) -> tuple[str, ...]:
    """English stems; Chinese characters in pairs, which need no cutting."""
    out = list(terms(" ".join(re.findall(r"[A-Za-z']+", text))))
    for run in re.findall(r"[\u3400-\u9fff]+", text):
        out += ["".join(p) for p in pairwise(run)] if len(run) > 1 else [run]
    return tuple(out)


def _duties(norm: Norm) -> list[str]:
    """The parts of a sentence that bind: from the comma before a modal to the comma before the next."""
    text = norm.rest.replace(HELD, " ")
    if not norm.modals:
        lead = norm.segment.lead
        return [text] if lead and any(n.binds for n in norms(lead)) else []
    starts = [0]
    for m in norm.modals[1:]:
        starts.append(max((text.rfind(mark, starts[-1], m.start) for mark in ",，、"), default=-1))
        if starts[-1] < starts[-2]:
            starts[-1] = m.start
    bounds = zip(norm.modals, starts, [*starts[1:], len(text)], strict=True)
    return [text[a:b] for m, a, b in bounds if m.modality in ("must", "must not")]


def _quantities(a: Norm, b: Norm, same: bool) -> list[Conflict]:
    """Figures that differ, and equal figures under opposite comparisons."""
    left, right = list(a.quantities), list(b.quantities)
    out: list[Conflict] = []
    for exact in (True, False):
        for q in list(left):
            twin = next((r for r in right if _equal(q, r) and (not exact or r.compare == q.compare)), None)
            if twin is None:
                continue
            left.remove(q)
            right.remove(twin)
            if not exact and frozenset((q.compare, twin.compare)) in _OPPOSITE:
                out.append(Conflict(kind="contradiction", rule="comparison", confidence=0.9))
    bounds = Counter(a.bounds) - Counter(b.bounds), Counter(b.bounds) - Counter(a.bounds)
    if any(frozenset((x, y)) in _OPPOSITE for x in bounds[0] for y in bounds[1]):
        out.append(Conflict(kind="contradiction", rule="comparison", confidence=0.85))
    if not same and (len(a.quantities) != 1 or len(b.quantities) != 1):
        return out
    for q in left:
        other = next((r for r in right if r.measure == q.measure), None) or next(
            (r for r in right if _family(r.measure) == _family(q.measure)), None
        )
        if other is not None:
            right.remove(other)
            out.append(_number_conflict(a, q, other))
    return out


def _equal(a: Quantity, b: Quantity) -> bool:
    return a.measure == b.measure and a.value == b.value


def _family(measure: str) -> str:
    return "time" if measure in _TIME else "money" if measure in _MONEY else measure


def _number_conflict(a: Norm, q: Quantity, other: Quantity) -> Conflict:
    """Stricter or looser, by the comparison that the clause's figure stands under."""
    time = q.measure in _TIME
    if q.measure == other.measure or not time:
        low, high = q.value, other.value
    else:
        low, high = q.value * _ROUGH_HOURS[q.measure], other.value * _ROUGH_HOURS[other.measure]
    limits: Compare = q.compare or other.compare or ("max" if time else "")
    forbids = any(m.modality == "must not" for m in a.modals) and limits in ("over", "under")
    looser = high < low if limits in ("min", "over", "after") else high > low
    if forbids:
        looser = not looser
    if time:
        return Conflict(kind="looser deadline" if looser else "stricter deadline", rule="deadline", confidence=0.95)
    return Conflict(kind="looser number" if looser else "stricter number", rule="number", confidence=0.95)


def _frequency(a: Norm, b: Norm) -> list[Conflict]:
    """How often: each side once, and different."""
    left, right = Counter(a.every) - Counter(b.every), Counter(b.every) - Counter(a.every)
    if not left or not right:
        return []
    looser = max(right) > max(left)
    return [Conflict(kind="looser deadline" if looser else "stricter deadline", rule="frequency", confidence=0.9)]


def _modality(a: Norm, b: Norm, same: bool) -> list[Conflict]:
    """Modals that are left over on both sides, in their order."""
    ours, theirs = Counter(m.modality for m in a.modals), Counter(m.modality for m in b.modals)
    left = [m.modality for m in a.modals if m.modality in ours - theirs]
    right = [m.modality for m in b.modals if m.modality in theirs - ours]
    if not left and not right and same:
        left, right = _moved(a, b)
    if left and right:
        pairs = list(zip(left, right, strict=False)) if same else [(left[0], right[0])]
        if not same and (len(a.modals) != 1 or len(b.modals) != 1):
            return []
        return [_modal_conflict(x, y) for x, y in pairs if x != y]
    denied = len(b.negations) - len(a.negations)
    dropped = "must not" in left and not right and denied <= 0 and len(b.modals) < len(a.modals)
    if same and dropped and _still_there(a, b):
        return [Conflict(kind="permission against prohibition", rule="modality", confidence=0.7)]
    if same and "must not" in right and not left and denied >= 0:
        return [Conflict(kind="contradiction", rule="modality", confidence=0.8)]
    return []


def _still_there(a: Norm, b: Norm) -> bool:
    """Whether what a clause forbids stands on the other side."""
    words = features(b)
    forbidden = [m for m in a.modals if m.modality == "must not"]
    return any(coverage(Counter(_terms(a.rest[m.end : m.end + 12].replace(HELD, " "))), words) > 0.6 for m in forbidden)


def _moved(a: Norm, b: Norm) -> tuple[list[Modality], list[Modality]]:
    """Modals that changed places: "must ... may" against "may ... must", by the words that follow each."""
    if len({m.modality for m in a.modals}) < 2:
        return [], []
    left: list[Modality] = []
    right: list[Modality] = []
    after = [(m.modality, Counter(_terms(b.rest[m.end : m.end + 24].replace(HELD, " ")))) for m in b.modals]
    for m in a.modals:
        words = Counter(_terms(a.rest[m.end : m.end + 24].replace(HELD, " ")))
        best = max(after, key=lambda pair: similarity(words, pair[1]))
        if best[0] != m.modality and similarity(words, best[1]) > 0.7:
            left.append(m.modality)
            right.append(best[0])
    return left, right


def _modal_conflict(clause: Modality, passage: Modality) -> Conflict:
    kinds: dict[frozenset[str], Kind] = {
        frozenset(("must not", "may")): "permission against prohibition",
        frozenset(("must", "must not")): "contradiction",
    }
    kind = kinds.get(frozenset((clause, passage)))
    if kind is None:
        kind = "missing duty" if clause == "must" else "contradiction"
    return Conflict(kind=kind, rule="modality", confidence=0.9)


def _parties(a: Norm, b: Norm) -> list[Conflict]:
    """Somebody else in the same place, or two who changed places."""
    ours, theirs = Counter((p.name, p.agent) for p in a.parties), Counter((p.name, p.agent) for p in b.parties)
    left, right = ours - theirs, theirs - ours
    gone, new = _names(ours).keys() - _names(theirs).keys(), _names(theirs).keys() - _names(ours).keys()
    found = False
    for name, acts in left:
        for other, place in right:
            if other == name or _variant(name, other):
                continue
            swapped = (other, not acts) in left and (name, not acts) in right
            replaced = name in gone and other in new
            fewer = acts and place and _names(ours) != _names(theirs)
            found = found or swapped or replaced or fewer
    if found or _stranger(a, b, gone):
        return [Conflict(kind="wrong party", rule="party", confidence=0.85 if found else 0.65)]
    return []


def _stranger(a: Norm, b: Norm, gone: Set[str]) -> bool:
    """Whether somebody whom nobody knows stands where the clause names a party, directly before the modal."""
    for m in a.modals:
        party = next((p for p in a.parties if p.end == m.start and p.agent and p.name in gone), None)
        for n in b.modals if party else ():
            subject = re.search(r"[\u3400-\u9fff\x01]*$", b.rest[: n.start])
            words = subject.group() if subject else ""
            if n.modality == m.modality and 2 <= len(words) <= 12 and HELD not in words and words not in a.plain:
                return not _SELF.search(words)
    return False


def _names(mentions: Counter[tuple[str, bool]]) -> Counter[str]:
    return Counter(name for name, _ in mentions.elements())


def _variant(a: str, b: str) -> bool:
    """A shorter name of the same: "bank" and "commercial bank", never the insured and the insurer."""
    long, short = (a, b) if len(a) > len(b) else (b, a)
    added = long.removesuffix(short)
    return long.endswith(short) and not added.startswith(("被", "再")) and not added.endswith(("监督", "代理"))


def _denials(a: Norm, b: Norm) -> list[Conflict]:
    """A word that is denied on one side and stated on the other."""
    left, right = _denied(a), _denied(b)
    text_a, text_b = a.rest.replace(HELD, " ").lower(), b.rest.replace(HELD, " ").lower()
    for only, text, here in ((left - right, text_b, len(b.negations)), (right - left, text_a, len(a.negations))):
        for words in only:
            if words and words in text and here < max(len(a.negations), len(b.negations)):
                return [Conflict(kind="contradiction", rule="denial", confidence=0.8)]
    return []


def _denied(norm: Norm) -> Counter[str]:
    """The two characters, or the word, after each denial."""
    out: Counter[str] = Counter()
    for start in norm.negations:
        tail = norm.rest[start : start + 40].lower()
        m = re.match(r"(?:[a-z']+)\s+([a-z]{3,})", tail) or re.match(r"(?:没有|[未非无不])([\u3400-\u9fff]{1,2})", tail)
        if m:
            out[m.group(1)] += 1
    return out


def _scope(a: Norm, b: Norm) -> list[Conflict]:
    """Exceptions, consent and quantifiers that are on one side alone; "and" that became "or"."""
    out: list[Conflict] = []
    ours, theirs = Counter(a.quantifiers), Counter(b.quantifiers)
    if ours["all"] > theirs["all"] and theirs["some"] > ours["some"]:
        out.append(Conflict(kind="looser number", rule="quantifier", confidence=0.8))
    elif theirs["some"] > ours["some"]:
        out.append(Conflict(kind="looser number", rule="quantifier", confidence=0.7))
    elif ours["some"] > theirs["some"] and theirs["all"] > ours["all"]:
        out.append(Conflict(kind="stricter number", rule="quantifier", confidence=0.8))
    if a.exceptions > b.exceptions or a.exceptions < b.exceptions:
        out.append(Conflict(kind="contradiction", rule="exception", confidence=0.7))
    if a.binds and len(HEDGES.findall(b.plain)) > len(HEDGES.findall(a.plain)):
        out.append(Conflict(kind="missing duty", rule="hedge", confidence=0.75))
    consent_a, consent_b = len(_CONSENT.findall(a.plain)), len(_CONSENT.findall(b.plain))
    if consent_a > consent_b and a.binds:
        out.append(Conflict(kind="missing duty", rule="consent", confidence=0.7))
    orders = [Counter({k: len(p.findall(n.rest)) for k, p in ORDERS}) for n in (a, b)]
    if (orders[0] - orders[1]) and (orders[1] - orders[0]):
        out.append(Conflict(kind="contradiction", rule="order", confidence=0.8))
    if any(_turned(x, y, a.rest, b.rest) or _turned(y, x, a.rest, b.rest) for x, y in _OPPOSED):
        out.append(Conflict(kind="contradiction", rule="opposite", confidence=0.75))
    ands, ors = (len(p.findall(a.rest)) - len(p.findall(b.rest)) for p in (_AND, _OR))
    if ands * ors < 0:
        out.append(Conflict(kind="contradiction", rule="and or", confidence=0.65))
    return out


def _turned(x: re.Pattern[str], y: re.Pattern[str], a: str, b: str) -> bool:
    """One side says only the one, the other only its opposite."""
    return bool(x.search(a) and y.search(b) and not x.search(b) and not y.search(a))
