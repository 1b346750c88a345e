"""Every number, date, code and drug name of a text traced to the input, or the sentence fails.

Guarantee: a sentence that `Checker.check` passes consists only of figures that a fact of the skeleton holds
(value, unit and scale, under its own cue, subject, year and direction), of names as the facts write them,
and of words of the skeleton's closed vocabulary or of those that the sentence's facts bring along. A
negation passes only inside a fact's own wording. What cannot be told is wrong: an unknown word, script or
symbol fails the sentence. How a language writes figures, dates, negations and words is told by its
`Orthography`: `_english.py`, `_han.py`.

It is a check of statements, not of medicine or finance: whether the input is right is not its business.

>>> from domains.base import Fact, Skeleton, Statement
>>> pulse = Fact(kind="number", path="p", text="76/min", value=Decimal(76), units=frozenset({"/min"}),
...              cues=frozenset({"pulse"}))
>>> skeleton = Skeleton(statements=(Statement(rule="r", text="Pulse 76/min.", facts=(pulse,)),),
...                     vocabulary=frozenset({"is"}))
>>> checker = Checker(skeleton)
>>> checker.check("The pulse is 76 bpm.").faults, checker.check("Pulse is 76 bpm.").faults
(('word',), ())
>>> checker.check("Pulse is seventy-seven bpm.").faults
('number',)
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from domains._english import ENGLISH
from domains._figures import HELD, Figure, When
from domains._han import HAN
from domains._han_figures import HAN_SCALES
from domains._lexicon import SCALES, SENSES
from domains._orthography import Orthography
from domains.base import Fact, Sensitive, Skeleton

__all__ = ["Checked", "Checker", "Mention"]

_GENERIC = frozenset({"", "%", "$", "usd", "dollar", "point", "cny", "hkd", "eur", "fold", "item"})
"""Units that do not say by themselves what a figure is."""
_SCALES = SCALES | HAN_SCALES
_LANGUAGES: dict[str, Orthography] = {"en": ENGLISH, "zh": HAN}


@dataclass(frozen=True, kw_only=True, repr=False)
class Mention(Sensitive):
    """A piece of text and the fact it states; several, where the input holds the same more than once."""

    text: str
    start: int
    end: int
    facts: tuple[Fact, ...]
    rounded: bool = False

    @property
    def fact(self) -> Fact:
        """The first of them."""
        return self.facts[0]

    @property
    def claims(self) -> frozenset[Fact]:
        """What it states, wherever it stands in the input."""
        return frozenset(f.claim for f in self.facts)

    @property
    def is_figure(self) -> bool:
        """Whether it counts as a figure: a number, a date, a drug, or a name that holds digits."""
        return self.fact.kind in ("number", "date") or self.fact.drug or any(c.isdigit() for c in self.text)

    @property
    def kind(self) -> str:
        """ "number", "date", "drug", "name" or "none"."""
        return "drug" if self.fact.drug else self.fact.kind


@dataclass(frozen=True, kw_only=True, repr=False)
class Checked(Sensitive):
    """A sentence after its check: normalised text, what it states, and the kinds of its faults, never their text."""

    text: str
    mentions: tuple[Mention, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True)
class _Span:
    """A piece of text that one or several facts could account for."""

    start: int
    end: int
    facts: tuple[Fact, ...]


class Checker:
    """Checks sentences against one skeleton."""

    def __init__(self, skeleton: Skeleton) -> None:
        self._language = _LANGUAGES[skeleton.lang]
        normalise, phrases = self._language.normalise, self._language.phrases
        self._facts = tuple(dict.fromkeys(skeleton.facts))
        self._vocabulary = skeleton.vocabulary
        self._names: dict[str, list[Fact]] = {}
        wordings: set[str] = set()
        for fact in self._facts:
            if fact.kind in ("name", "none"):
                for phrase in {normalise(p) for p in (fact.text, *fact.also)}:
                    if any(c.isalpha() for c in phrase):
                        wordings.add(phrase)
                        self._names.setdefault(phrase.lower(), []).append(fact)
        self._numbers = [f for f in self._facts if f.kind == "number"]
        self._dates = [f for f in self._facts if f.kind == "date"]
        self._latest = max((f.when for f in self._numbers), default="")
        self._name_pattern = phrases(wordings)
        self._cue_pattern = phrases(c for f in self._numbers for c in f.cues)
        self._role_pattern = phrases(c for f in self._facts if f.kind == "name" for c in f.cues)
        self._forbidden = phrases(skeleton.forbidden)

    def sentences(self, text: str) -> list[str]:
        """Cut a text into sentences; a stop inside a name of the input ends none."""
        out: list[str] = []
        for line in text.splitlines():
            plain = self._language.normalise(line)
            inside = [(s.start, s.end) for s in self._spans(plain)]
            start = 0
            for stop, following in self._language.breaks(plain):
                if not any(a < stop < b for a, b in inside):
                    out.append(plain[start:stop])
                    start = following
            out.append(plain[start:])
        return [s for s in out if s]

    def check(self, sentence: str) -> Checked:
        """Trace everything in a sentence."""
        text = self._language.normalise(sentence)
        reading = _Reading(self, text)
        return Checked(text=text, mentions=reading.mentions, faults=tuple(dict.fromkeys(reading.faults)))

    def _spans(self, text: str) -> list[_Span]:
        """Where the text has names of the input, the longest first."""
        spans = []
        for m in self._name_pattern.finditer(text):
            # "Note 7" accounts for no part of "note 7 million".
            if text[m.end() - 1].isdigit() and self._language.goes_on(text, m.end()):
                continue
            spans.append(_Span(m.start(), m.end(), tuple(self._names.get(m.group().lower(), ()))))
        return spans


class _Reading:
    """One sentence being traced: what is accounted for is blanked, and what is left over is a fault."""

    def __init__(self, checker: Checker, text: str) -> None:
        self._checker = checker
        self._language = checker._language
        self._text = text
        self._rest = text
        self._mentions: list[Mention] = []
        self.faults: list[str] = []
        self._spans = checker._spans(text)
        self._drugs = [s for s in self._spans if any(f.drug for f in s.facts)]
        self._cues = self._found(checker._cue_pattern)
        self._roles = self._found(checker._role_pattern)
        self._forbidden()
        for start, end in [(s.start, s.end) for s in self._spans] + [c[:2] for c in self._cues]:
            self._blank(start, end)
        self._trace_names()
        for start, end in self._language.plain(self._rest, self._vocabulary()):
            self._blank(start, end)
        self._trace_dates()
        self._figures = self._language.numbers(self._rest)
        self._years = [(f.start, f.end, f.text) for f in self._figures if self._is_year(f)]
        self._trace_numbers()
        self._trace_directions()
        self.faults += self._language.leftovers(self._rest, self._vocabulary())

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """In the order of the text."""
        return tuple(sorted(self._mentions, key=lambda m: m.start))

    def _vocabulary(self) -> frozenset[str]:
        """The skeleton's words, and those that may stand beside all that is traced so far and brings any."""
        each = [frozenset[str]().union(*(f.beside for f in m.facts)) for m in self._mentions]
        brought = [words for words in each if words]
        return self._checker._vocabulary | (frozenset.intersection(*brought) if brought else frozenset())

    def _found(self, pattern: re.Pattern[str]) -> list[tuple[int, int, str]]:
        """Words of a pattern, but for those within a longer name: "allergic rhinitis" says nothing of an allergy."""
        return [
            (m.start(), m.end(), m.group().lower())
            for m in pattern.finditer(self._text)
            if not any(
                s.start <= m.start() and m.end() <= s.end and s.end - s.start > len(m.group()) for s in self._spans
            )
        ]

    def _blank(self, start: int, end: int) -> None:
        self._rest = self._rest[:start] + HELD * (end - start) + self._rest[end:]

    def _add(self, start: int, end: int, facts: Iterable[Fact], fault: str, *, rounded: bool = False) -> None:
        """Note what a piece of text states, or its fault where it states no fact."""
        if found := tuple(facts):
            text = self._text[start:end]
            self._mentions.append(Mention(text=text, start=start, end=end, facts=found, rounded=rounded))
        else:
            self.faults.append(fault)

    def _forbidden(self) -> None:
        """A phrase that contradicts the input fails, unless it is part of a longer name of the input."""
        for m in self._checker._forbidden.finditer(self._text):
            if not any(s.start <= m.start() and m.end() <= s.end for s in self._spans):
                self.faults.append("negation")

    def _trace_names(self) -> None:
        names = [(s.start, s.end) for s in self._spans]
        for span in self._spans:
            role = self._language.role(self._text, self._roles, names, (span.start, span.end))
            fits = [f for f in span.facts if self._subject(f, span.start) and self._role(f, role)]
            self._add(span.start, span.end, fits, "attribution")

    def _subject(self, fact: Fact, position: int) -> bool:
        """Whether what the fact belongs to is the nearest named before it, or after it where none is before."""
        if not fact.subject:
            return True
        before = [s for s in self._drugs if s.start < position]
        nearest = before[-1] if before else next((s for s in self._drugs if s.start > position), None)
        if nearest is None:
            return False
        wanted = {self._language.normalise(n).lower() for n in fact.subject}
        return self._text[nearest.start : nearest.end].lower() in wanted

    def _role(self, fact: Fact, role: str | None) -> bool:
        """Whether a name stands under a word of its role: an allergy under "allergic", a drug not so."""
        own = {self._language.normalise(c).lower() for c in fact.cues}
        return role in own if own else role is None

    def _trace_dates(self) -> None:
        for when in self._language.dates(self._rest):
            self._blank(when.start, when.end)
            self._add(when.start, when.end, [f for f in self._checker._dates if _same_day(f, when)], "date")

    def _is_year(self, figure: Figure) -> bool:
        return bool(re.fullmatch(r"(?:19|20)\d\d", figure.text)) and any(
            f.text.startswith(figure.text) for f in self._checker._dates
        )

    def _trace_numbers(self) -> None:
        for figure in self._figures:
            self._blank(figure.start, figure.end)
            if (figure.start, figure.end, figure.text) in self._years:
                dated = [f for f in self._checker._dates if f.text.startswith(figure.text)]
                self._add(figure.start, figure.end, dated, "date")
                continue
            equal = [(f, r) for f in self._checker._numbers if (r := _equal(f, figure)) is not None]
            tests: tuple[Callable[[Fact, Figure], bool], ...] = (self._cue, self._when, self._sense)
            fits = [
                (f, r) for f, r in equal if self._subject(f, figure.start) and all(test(f, figure) for test in tests)
            ]
            fault = "attribution" if equal else "code" if figure.code else "number"
            rounded = bool(fits) and all(r for _, r in fits)
            self._add(figure.start, figure.end, [f for f, _ in fits], fault, rounded=rounded)

    def _cue(self, fact: Fact, figure: Figure) -> bool:
        """Whether a figure stands under its own cue.

        The nearest cue before it decides. One that another figure has used up already does not count for
        a figure whose unit says by itself what it is; without any, a cue after it serves, or such a unit.
        """
        if not fact.cues:
            return True
        own = {self._language.normalise(c).lower() for c in fact.cues}
        telling = figure.unit in fact.units and figure.unit not in _GENERIC
        before = next((c for c in reversed(self._cues) if c[1] <= figure.start), None)
        if before is not None:
            used = any(before[1] <= f.start < figure.start for f in self._figures)
            return before[2] in own or (telling and used)
        after = next((c for c in self._cues if c[0] >= figure.end), None)
        return telling or (after is not None and after[2] in own)

    def _when(self, fact: Fact, figure: Figure) -> bool:
        """Whether a figure stands with its own year: the next one stated after it, or else the last before it.

        Where a language puts the year first, the last before it goes before the next one after it.
        """
        if not fact.when:
            return True
        others = [f for f in self._figures if (f.start, f.end, f.text) not in self._years]
        following = next((y for y in self._years if y[0] >= figure.end), None)
        preceding = next((y for y in reversed(self._years) if y[1] <= figure.start), None)
        near = following and not any(figure.end <= f.start < following[0] for f in others)
        if following and near and not (preceding and self._language.year_first):
            return following[2] == fact.when
        stated = {y[2] for y in self._years}
        if fact.sense:
            return fact.when in stated or fact.when == self._checker._latest
        compared = bool(self._language.compared.search(self._text[: figure.start]))
        if preceding:
            return (preceding[2] == fact.when) != compared
        return compared or fact.when == self._checker._latest

    def _sense(self, fact: Fact, figure: Figure) -> bool:
        """Whether the nearest word of direction says which way the figure went; a level went no way."""
        if fact.sense not in SENSES:
            return not self._language.moved.search(self._rest[: figure.start])
        if self._language.level.search(self._text[: figure.start]):
            return False
        found = self._language.directions(self._rest)
        near = ((min(abs(start - figure.end), abs(figure.start - end)), sense) for start, end, sense in found)
        return min(near, default=(0, ""))[1] == fact.sense

    def _trace_directions(self) -> None:
        """A word of direction must be true of the row that it stands with, even where no change is printed."""
        moves: dict[str, set[str]] = {}
        for fact in self._checker._numbers:
            for cue in fact.cues if fact.sense in SENSES else ():
                moves.setdefault(self._language.normalise(cue).lower(), set()).add(fact.sense)
        if not moves:
            return
        for start, end, sense in self._language.directions(self._rest):
            near = next((c for c in reversed(self._cues) if c[1] <= start), None)
            near = near or next((c for c in self._cues if c[0] >= end), None)
            if near is None or sense not in moves.get(near[2], {sense}):
                self.faults.append("direction")


def _same_day(fact: Fact, when: When) -> bool:
    """Whether a date of the text is a fact's, as far as the text says it; the fact must say as much."""
    parts = [int(p) for p in fact.text.split("-")] + [0, 0]
    return any(
        all(said in (0, held) for said, held in zip(reading, parts, strict=False)) and any(reading[:2])
        for reading in when.readings
    )


def _equal(fact: Fact, figure: Figure) -> bool | None:
    """Whether a figure has a fact's value and unit: False exactly, True after rounding, None not at all.

    Rounding is allowed to a stated scale alone ("$12.68 billion" for 12,682 in millions), to three digits
    or more. A figure of a table that is in millions must say so.
    """
    if figure.value is None or fact.value is None or figure.unit not in fact.units:
        return None
    if figure.currency and figure.currency not in fact.text:
        return None
    if (fact.value < 0) != figure.negative and fact.value != 0:
        return None
    if figure.second != fact.second:
        return None
    if fact.scale and not figure.scale:
        return None
    held = abs(fact.value) * _SCALES.get(fact.scale, Decimal(1))
    by = _SCALES.get(figure.scale, Decimal(1))
    if figure.value * by == held:
        return False
    digits = len(str(figure.value).replace(".", "").lstrip("0"))
    near = abs(figure.value * by - held) * 2 <= by * Decimal(1).scaleb(-figure.decimals)
    return True if figure.scale and near and digits >= 3 else None
