"""Read what a clause obliges, permits or forbids: party, modality, action, figures, exceptions; English and Chinese.

A text is cut into **Segment**s (sentences and listed points), each with its place in the text, so that whatever
is found can be quoted word for word. A **Norm** is what one segment says; a **Quantity** is a figure with its
unit, in a measure where 12 months equal one year, and with the comparison it stands under. Numbers of other
articles, list marks and dates bind nobody and are not read.

>>> norm = norms("The bank must answer a complaint within thirty (30) days.")[0]
>>> norm.party, [m.modality for m in norm.modals], [(str(q.value), q.measure, q.compare) for q in norm.quantities]
('bank', ['must'], [('720', 'hours', 'max')])
>>> [str(q.value) for n in norms("保险人应当在三十日内作出核定，罚款不得超过5万元。") for q in n.quantities]
['720', '50000']
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from domains.base import Sensitive
from domains.finance._clause_numbers import CJK_NUMBER, number
from domains.finance._clause_words import (
    COMPARES_AFTER,
    COMPARES_BEFORE,
    EVERY,
    EXCEPTIONS,
    MODALS,
    NEGATIONS,
    NUMBER_WORDS,
    PARTIES,
    QUANTIFIERS,
    REFERENCES,
    UNITS,
    Compare,
    Modality,
)

__all__ = ["Modal", "Norm", "PartyMention", "Quantity", "Segment", "norms", "number", "parties_of", "plain", "segments"]

HELD = "\x01"
"""Stands for each character that is already read."""

_END = re.compile(r"[。；！？;\n]|(?<![A-Z][a-z])(?<!\b[A-Za-z])[.!?](?=\s+[A-Z(\"“]|\s*$)")
_WORDS = "|".join(sorted(NUMBER_WORDS, key=len, reverse=True))
_EN_NUMBER = rf"\b(?:{_WORDS})(?:[- ](?:{_WORDS}|hundred|thousand))*\b"
_ORDERED = sorted(UNITS, key=len, reverse=True)
_UNIT = "|".join(re.escape(u) for u in _ORDERED if u.isascii() and u[0].isalpha())
_CJK_UNIT = "|".join(re.escape(u) for u in _ORDERED if "\u3400" <= u[0] <= "\u9fff")
_PERCENT = re.compile(
    rf"百分之(?P<a>{CJK_NUMBER}(?:点{CJK_NUMBER})?|\d+(?:\.\d+)?)|千分之(?P<b>{CJK_NUMBER}|\d+(?:\.\d+)?)"
    rf"|(?P<den>{CJK_NUMBER})分之(?P<num>{CJK_NUMBER})|(?<![\d/])(?P<high>\d{{1,2}})/(?P<low>\d{{1,2}})(?![\d/])"
)
_DIGITS = re.compile(
    r"(?P<cur>[$€£]\s?)?(?P<n>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?!\d)\s?"
    r"(?P<scale>hundred|thousand|million|billion|[十百千]?[万亿])?"
    rf"[ -]?(?P<unit>%|‰|{_CJK_UNIT}|(?:{_UNIT})s?\b)?",
    re.IGNORECASE,
)
_SPELT = re.compile(
    rf"(?P<n>{_EN_NUMBER})(?:\s?\((?P<again>\d[\d,.]*)\)\s?)?[ -]?(?P<scale>hundred|thousand|million|billion)?"
    rf"[ -]?(?P<unit>%|(?:{_UNIT})s?\b)|(?P<half>half)(?: a|-)? ?(?P<of>year)",
    re.IGNORECASE,
)
_CJK = re.compile(rf"(?P<n>半|{CJK_NUMBER})(?P<unit>{_CJK_UNIT})(?P<half>半)?(?![一般体人民致员会别性份度])")
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "万": 10**4, "亿": 10**8,
           "十万": 10**5, "百万": 10**6, "千万": 10**7, "十亿": 10**9, "百亿": 10**10, "千亿": 10**11}  # fmt: skip
_BODY = re.compile(r"(?:人|者|机构|公司|部门|机关|单位|银行|员|会|所|师|方|院|组织|企业|股东)$")
_PLACE = re.compile(r"[对向在自经由因为从以按依根除未]")
_MONTHS = {"months": Fraction(1), "hours": Fraction(1, 720), "working days": Fraction(1, 21)}
_EVERY = re.compile(r"(?:\bevery |\beach |每隔?)$", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(?:年|-|/)(\d{1,2})(?:月|-|/)(\d{1,2})日?")
_GOES_ON = re.compile(
    r"但是?|除非|除外|然而|(?:This|That|It) does not apply|Except|Unless|However|Save (?:that|where|as)|Provided that"
)
"""How a sentence begins that limits the one before it."""
_BY = re.compile(r"(?:\bby (?:the |an? |any |its )?|[由被])$", re.IGNORECASE)
_PASSIVE = re.compile(
    r"\s*be\s+(?:\w+ly\s+)?(?:\w+ed|held|kept|sent|made|paid|given|met|taken|told|known)\b", re.IGNORECASE
)
_COUNTS = frozenset({"count", "people", "copies"})


@dataclass(frozen=True, kw_only=True, repr=False)
class Segment(Sensitive):
    """A sentence or listed point. `lead` is the sentence that a list of points hangs on."""

    start: int
    end: int
    text: str
    lead: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class Quantity(Sensitive):
    """A figure with its unit and comparison; `start` and `end` count in the plain text of its segment."""

    start: int
    end: int
    value: Fraction
    measure: str
    compare: Compare


@dataclass(frozen=True, kw_only=True, repr=False)
class Modal(Sensitive):
    """A word that obliges, permits or forbids, and where it stands."""

    start: int
    end: int
    modality: Modality


@dataclass(frozen=True, kw_only=True, repr=False)
class PartyMention(Sensitive):
    """Somebody who is named, and whether they stand where the one who acts does."""

    start: int
    end: int
    name: str
    agent: bool


@dataclass(frozen=True, kw_only=True, repr=False)
class Norm(Sensitive):
    """What one segment says. Offsets count in `plain`, which has the same length as the segment's text."""

    segment: Segment
    plain: str
    modals: tuple[Modal, ...]
    quantities: tuple[Quantity, ...]
    every: tuple[Fraction, ...]
    """Months between two times."""
    dates: frozenset[tuple[int, ...]]
    """Year, month, day."""
    parties: tuple[PartyMention, ...]
    negations: tuple[int, ...]
    """Where words of denial stand that are no part of a modal or comparison."""
    bounds: tuple[Compare, ...]
    """Comparisons that no figure stands under, such as "no less than the prescribed amount"."""
    exceptions: int
    quantifiers: tuple[str, ...]
    rest: str
    """`plain` with everything above blanked: what the rule is about."""

    @property
    def party(self) -> str:
        """Who is bound: whoever is named first before the first modal; "" where nobody is."""
        before = [p for p in self.parties if not self.modals or p.start < self.modals[0].start]
        return before[0].name if before else ""

    @property
    def binds(self) -> bool:
        """Whether it obliges or forbids."""
        return any(m.modality in ("must", "must not") for m in self.modals)


def plain(text: str) -> str:
    """Full-width letters, digits and marks as plain ones; a character stays a character."""
    return "".join(n if len(n := unicodedata.normalize("NFKC", c)) == 1 else c for c in text)


def segments(text: str) -> list[Segment]:
    """Cut a text into sentences and listed points, word for word."""
    out: list[Segment] = []
    lead = ""
    start = 0
    for end in [m.end() for m in _END.finditer(text)] + [len(text)]:
        piece = text[start:end]
        left = len(piece) - len(piece.lstrip())
        words = piece.strip()
        if any(c.isalnum() for c in words):
            if out and _GOES_ON.match(words) and "\n" not in text[out[-1].end : start + left]:
                last = out.pop()
                left, start = 0, last.start
                words, lead = text[start:end].strip(), last.lead
            is_point = bool(re.match(r"[(（][一二三四五六七八九十\dA-Za-z]{1,4}[)）]|[-•*]\s|\d+[.)、]", words))
            begin = start + left
            out.append(Segment(start=begin, end=begin + len(words), text=words, lead=lead if is_point else ""))
            if words.endswith((":", "：")):
                lead = words
            elif not is_point:
                lead = ""
        start = end
    return out


def norms(text: str, parties: Iterable[str] = PARTIES) -> list[Norm]:
    """What every segment of a text says.

    Args:
        text: A clause or a passage.
        parties: Who may be named.
    """
    pattern = _party_pattern(tuple(parties))
    return [_norm(segment, pattern) for segment in segments(text)]


def parties_of(texts: Iterable[str], at_least: int = 3) -> frozenset[str]:
    """Whoever a body of rules binds at least so often: what stands before a modal, from the start of its part."""
    counts: dict[str, int] = {}
    subject = re.compile(r"(?:^|[，。；\n、])([\u3400-\u9fff]{2,14}?)(?:不得|应当|必须|有权|可以)")
    for text in texts:
        for m in subject.finditer(text):
            name = re.sub(r"(?:依法|均|都|也|还|并|不|对|向|由|和|及其?|等|的|不再)+$", "", m.group(1))
            if 2 <= len(name) <= 14 and _BODY.search(name) and not _PLACE.match(name):
                counts[name] = counts.get(name, 0) + 1
    return frozenset(n for n, c in counts.items() if c >= at_least)


@lru_cache(maxsize=16)
def _party_pattern(parties: tuple[str, ...]) -> re.Pattern[str]:
    """The longest name first; English names in the plural too."""
    ordered = sorted({p for p in parties if p}, key=len, reverse=True)
    chinese = "|".join(re.escape(p) for p in ordered if not p.isascii())
    english = "|".join(re.escape(p) for p in ordered if p.isascii())
    return re.compile(rf"(?P<zh>{chinese or '(?!)'})|\b(?P<en>{english or '(?!)'})(?:s|'s|ies)?\b", re.IGNORECASE)


def _norm(segment: Segment, party_pattern: re.Pattern[str]) -> Norm:
    text = plain(segment.text)
    rest = _hold(text, [m.span() for m in REFERENCES.finditer(text)])
    every: list[Fraction] = []
    for months, pattern in EVERY:
        for m in list(pattern.finditer(rest)):
            every.append(months)
            rest = _hold(rest, [m.span()])
    quantities, rest = _quantities(rest)
    often = [q for q in quantities if q.measure in _MONTHS and _EVERY.search(text[: q.start])]
    every += [q.value * _MONTHS[q.measure] for q in often]
    quantities = [q for q in quantities if q not in often]
    quantities, bounds, rest = _free_bounds(quantities, rest)
    exceptions = [m.span() for m in EXCEPTIONS.finditer(rest)]
    modals: list[Modal] = []
    for modality, pattern in MODALS:
        for m in list(pattern.finditer(rest)):
            modals.append(Modal(start=m.start(), end=m.end(), modality=modality))
            rest = _hold(rest, [m.span()])
    parties = [
        PartyMention(start=m.start(), end=m.end(), name=(m["zh"] or m["en"]).lower(), agent=_acts(text, m, modals))
        for m in party_pattern.finditer(rest)
    ]
    rest = _hold(rest, [(p.start, p.end) for p in parties])
    negations = tuple(m.start() for m in NEGATIONS.finditer(rest))
    quantifiers = tuple(kind for kind, pattern in QUANTIFIERS for _ in pattern.findall(rest))
    return Norm(
        segment=segment,
        plain=text,
        modals=tuple(sorted(modals, key=lambda m: m.start)),
        quantities=tuple(quantities),
        every=tuple(every),
        dates=frozenset(tuple(map(int, m.groups())) for m in _DATE.finditer(text)),
        parties=tuple(parties),
        negations=negations,
        bounds=bounds,
        exceptions=len(exceptions),
        quantifiers=quantifiers,
        rest=rest,
    )


def _acts(text: str, m: re.Match[str], modals: list[Modal]) -> bool:
    """Whether somebody stands where the one who acts does: before a modal, or after "by", 由 or 被."""
    if _BY.search(text[: m.start()]):
        return True
    follows = next((x for x in modals if x.start >= m.end() and not text[m.end() : x.start].strip()), None)
    return follows is not None and not _PASSIVE.match(text, follows.end)


def _free_bounds(quantities: list[Quantity], rest: str) -> tuple[list[Quantity], tuple[Compare, ...], str]:
    """Comparisons with words between them and their figure, in the same part of the sentence, or with none."""
    out = list(quantities)
    bounds: list[Compare] = []
    for compare, pattern in COMPARES_BEFORE:
        for m in list(pattern.finditer(rest)):
            if len(m.group().strip()) < 2 or compare in ("before", "after") or m.group().lower() in ("from", "over"):
                continue
            stop = min((i for mark in ",，。;；" if (i := rest.find(mark, m.end())) >= 0), default=len(rest))
            later = [i for i, q in enumerate(out) if m.end() <= q.start < stop and not q.compare]
            if later:
                out[later[0]] = replace(out[later[0]], compare=compare)
            else:
                bounds.append(compare)
            rest = _hold(rest, [m.span()])
    return out, tuple(bounds), rest


def _hold(text: str, spans: Iterable[tuple[int, int]]) -> str:
    for start, end in spans:
        text = text[:start] + HELD * (end - start) + text[end:]
    return text


def _quantities(text: str) -> tuple[list[Quantity], str]:
    """Figures with their comparisons, and the text without them."""
    found: list[tuple[int, int, Fraction, str]] = []
    rest = text
    for pattern in (_PERCENT, _SPELT, _DIGITS, _CJK):
        for m in list(pattern.finditer(rest)):
            reading = _reading(pattern, m)
            if reading is not None:
                found.append((m.start(), m.end(), *reading))
                rest = _hold(rest, [m.span()])
    out = []
    for start, end, value, measure in sorted(found):
        compare, low, high = _comparison(text, start, end)
        out.append(Quantity(start=low, end=high, value=value, measure=measure, compare=compare))
        rest = _hold(rest, [(low, high)])
    return out, rest


def _reading(pattern: re.Pattern[str], m: re.Match[str]) -> tuple[Fraction, str] | None:
    """Value and measure of a match, or None where it is no figure that binds."""
    group = m.groupdict()
    if pattern is _PERCENT:
        if group["den"] or group["low"]:
            low, high = number(group["den"] or group["low"]), number(group["num"] or group["high"])
            return (high / low, "share") if low and high else None
        value = number(group["a"] or group["b"])
        return None if value is None else (value / (100 if group["a"] else 1000), "share")
    if pattern is _SPELT and group["half"]:
        return Fraction(6), "months"
    unit = (group["unit"] or "").lower()
    if group["n"] == "半":
        value = Fraction(1, 2)
    else:
        value_or_none = number(group["n"])
        if value_or_none is None:
            return None
        value = value_or_none + (Fraction(1, 2) if pattern is _CJK and group.get("half") else 0)
    value *= _SCALES.get((group.get("scale") or "").lower(), 1)
    currency = (group.get("cur") or "").strip()
    known = UNITS.get(currency) or UNITS.get(unit) or UNITS.get(unit.removesuffix("s"))
    if known is None:
        return (value, "") if pattern is _DIGITS and not unit else None
    measure, size = known
    if pattern is _CJK and measure == "count" and value == 1:
        return None  # "一个", "一项" are articles, not counts.
    if pattern is _CJK and unit in ("月", "年", "日") and value > 31:
        return None if unit != "日" else (value * size, measure)
    return value * size, "count" if measure in _COUNTS else measure


def _comparison(text: str, start: int, end: int) -> tuple[Compare, int, int]:
    """The comparison that a figure stands under, and where figure and comparison begin and end."""
    before = text[max(0, start - 40) : start]
    low = start
    found: Compare = ""
    for kind, pattern in COMPARES_BEFORE:
        for m in pattern.finditer(before):
            if not before[m.end() :].strip(" 为到的在:：于人民币"):
                found, low = kind, max(0, start - 40) + m.start()
                break
        if found:
            break
    for kind, pattern in COMPARES_AFTER:
        m_after = pattern.match(text, end)
        if m_after:
            return found or kind, low, m_after.end()
    return found, low, end
