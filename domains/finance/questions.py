"""Questions over a table answered by rules: which rows and columns are meant, and what is to be computed.

Only questions of a known form are answered: changes, percentage changes, averages, sums, differences, shares
and ratios. Rows are chosen by the words that the question shares with them, rarer words counting more, and
columns by the years that it names. Where two rows fit equally well nothing is answered: a wrong figure is
worse than none.

>>> table = [["(in millions)", "2019", "2018"], ["Net sales", "110", "100"], ["Cost of sales", "60", "50"]]
>>> made = answer("What was the percentage change in net sales between 2018 and 2019?", table)
>>> str(made.value), made.scale, [f.path for f in made.operands]
('10.00', 'percent', ['tables[0][1][1]', 'tables[0][1][2]'])
>>> str(answer("What is the average cost of sales for 2018 and 2019?", table).value)
'55.00'
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import log
from typing import Any

from domains._figures import normalise
from domains.base import Sensitive
from domains.finance.derivations import rounded
from domains.finance.operands import Answer, Figure, figures
from domains.finance.ratios import ratios
from domains.finance.table import read_table, read_tables

__all__ = ["answer"]

_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_WORD = re.compile(r"[a-z]+|\d+")
_RANGE = re.compile(r"((?:19|20)\d\d)\s*(?:to|through|-|–|until|and)\s*((?:19|20)\d\d)")
_PERCENT = re.compile(r"percent|%")
_CHANGE = re.compile(
    r"\bchange|\bincrease|\bdecrease|\bgrowth|\bgrew\b|\bfell\b|\brose\b|\bdecline|\bgrow\b|\bdifference\b"
)
_AVERAGE = re.compile(r"\baverage\b|\bmean\b")
_SUM = re.compile(r"\btotal\b|\bsum\b|\bcombined\b|\btogether\b")
_SHARE = re.compile(r"(?:percentage|proportion|share|portion|percent)\b.*?\b(?:of|in|over|to|by|for)\b")
_RATIO = re.compile(r"\bratio\b|\bas a (?:percentage|proportion|share) of\b")
_STOP = frozenset(
    """what was is the a an of in on for to from and between did do does by how much many were are as at its it be been
    company companys percentage percent change changes increase increased decrease decreased growth sum average
    year years fiscal ended december june march september difference over per with that which respective value
    amount proportion share ratio than compared""".split()  # noqa: SIM905
)


@dataclass(frozen=True, kw_only=True)
class _Line(Sensitive):
    """A row of the table as a question may mean it."""

    words: frozenset[str]
    by_year: dict[str, Figure]


def answer(question: str, table: Sequence[Sequence[Any]], paragraphs: Sequence[str] = ()) -> Answer | None:
    """Answer a question, or None where its form, row or years are not plain.

    Args:
        question: In English.
        table: As the task reads it.
        paragraphs: Text beside it, for the scale alone.
    """
    text = normalise(question).lower()
    lines = _lines(table, paragraphs)
    years = _years(text, lines)
    asked = frozenset(_stem(w) for w in _WORD.findall(text)) - _STOP
    if (named := _named(text, table, years)) is not None:
        return named
    if _AVERAGE.search(text) and not _CHANGE.search(text):
        return _average(_best(asked, lines), years)
    if _RATIO.search(text) or (_SHARE.search(text) and not _CHANGE.search(text)):
        return _part(text, lines, years)
    if _CHANGE.search(text) and len(years) == 2:
        return _moved(_best(asked, lines), years, percent=bool(_PERCENT.search(text)))
    if _CHANGE.search(text) and len(years) <= 1:
        return _between(text, lines, years)
    if _SUM.search(text):
        return _total(_best(asked, lines), years) if len(years) > 1 else None
    return None


def _named(text: str, table: Sequence[Sequence[Any]], years: Sequence[str]) -> Answer | None:
    """A ratio that the question calls by its name, in the one year that it names."""
    found = [r for r in ratios(read_tables([list(table)])) if r.kind == "times" and r.english.lower() in text]
    if len(years) != 1 or _CHANGE.search(text):
        return None
    one = next((r for r in found if r.when == years[0] and not r.part), None)
    if one is None:
        return None
    known = {f.path: f for f in figures([table])}
    return Answer(value=one.value, scale="", operands=tuple(known[p] for p in one.operands))


def _lines(table: Sequence[Sequence[Any]], paragraphs: Sequence[str]) -> list[_Line]:
    """Every labelled row with its figures by year."""
    known = {f.path: f for f in figures([table], paragraphs)}
    out = []
    for row in read_table(table, "tables[0]").rows:
        cells = {c.when: known[c.path] for c in row.years if c.path in known}
        if cells:
            label = re.sub(r"\([^)]*\)", " ", f"{row.label} {row.section}").lower()
            words = frozenset(_stem(w) for w in _WORD.findall(label))
            out.append(_Line(words=words - _STOP, by_year=cells))
    return out


def _years(text: str, lines: Sequence[_Line]) -> list[str]:
    """The years that a question names, latest first; a span stands for all of its years where it sums or averages."""
    there = {y for line in lines for y in line.by_year}
    named = set(_YEAR.findall(text))
    if (_AVERAGE.search(text) or _SUM.search(text)) and not _CHANGE.search(text):
        for first, last in _RANGE.findall(text):
            if not re.search(rf"{first}\s*and\s*{last}", text):
                named |= {y for y in there if first <= y <= last}
    if not named and _AVERAGE.search(text):
        named = there
    return sorted(named & there, reverse=True) if named <= there else []


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _best(asked: frozenset[str], lines: Sequence[_Line]) -> _Line | None:
    """The row that shares most with a question, less what it has and the question lacks; none on a tie."""
    count = {w: sum(w in line.words for line in lines) for line in lines for w in line.words}

    def weight(words: frozenset[str]) -> float:
        return sum(log(1 + len(lines) / count[w]) for w in words if w in count)

    ranked = sorted(((weight(asked & x.words) - 0.5 * weight(x.words - asked), i) for i, x in enumerate(lines)))
    if not ranked or ranked[-1][0] <= 0:
        return None
    if len(ranked) > 1 and ranked[-1][0] == ranked[-2][0]:
        return None
    return lines[ranked[-1][1]]


def _moved(line: _Line | None, years: Sequence[str], *, percent: bool) -> Answer | None:
    found = _at(line, years)
    if found is None:
        return None
    new, old = found
    if percent and not old.percent:
        return (
            None
            if old.value == 0
            else _made(Fraction(new.value - old.value) / Fraction(old.value) * 100, "percent", found)
        )
    return _made(Fraction(new.value - old.value), "percent" if new.percent else new.scale, found)


def _average(line: _Line | None, years: Sequence[str]) -> Answer | None:
    found = _at(line, years)
    if not found or len(found) < 2:
        return None
    total = sum((Fraction(f.value) for f in found), Fraction(0))
    return _made(total / len(found), "percent" if found[0].percent else found[0].scale, found)


def _total(line: _Line | None, years: Sequence[str]) -> Answer | None:
    found = _at(line, years)
    if not found or len(found) < 2:
        return None
    return _made(
        sum((Fraction(f.value) for f in found), Fraction(0)), "percent" if found[0].percent else found[0].scale, found
    )


def _part(text: str, lines: Sequence[_Line], years: Sequence[str]) -> Answer | None:
    """One row of another, in one year."""
    cut = re.split(r"\bas a (?:percentage|proportion|share) of\b|\bout of\b|\bover\b", text, maxsplit=1)
    if len(cut) < 2:
        m = re.search(
            r"(?:percentage|proportion|share|percent|ratio) of (?:the )?(.+?) (?:to|in|against|over) (.+)", text
        )
        if m is None:
            return None
        cut = [m.group(1), m.group(2)]
    top, bottom = (_best(frozenset(_stem(w) for w in _WORD.findall(c)) - _STOP, lines) for c in cut)
    if top is None or bottom is None or top is bottom:
        return None
    when = years[0] if len(years) == 1 else next(iter(top.by_year)) if len(top.by_year) == 1 else ""
    a, b = top.by_year.get(when), bottom.by_year.get(when)
    if a is None or b is None or b.value == 0:
        return None
    share = Fraction(a.value) / Fraction(b.value)
    percent = bool(_PERCENT.search(text) or "proportion" in text)
    return _made(share * 100 if percent else share, "percent" if percent else "", (a, b))


def _between(text: str, lines: Sequence[_Line], years: Sequence[str]) -> Answer | None:
    """The difference of two rows in one year, in the order of the question."""
    m = re.search(r"difference (?:in|of)?.*?between (.+?) and (.+?)(?: in| for| as of| at|\?|$)", text)
    if m is None or _PERCENT.search(text):
        return None
    a, b = (_best(frozenset(_stem(w) for w in _WORD.findall(m.group(g))) - _STOP, lines) for g in (1, 2))
    if a is None or b is None or a is b:
        return None
    when = years[0] if years else next(iter(a.by_year)) if len(a.by_year) == 1 else ""
    x, y = a.by_year.get(when), b.by_year.get(when)
    if x is None or y is None:
        return None
    return _made(Fraction(x.value) - Fraction(y.value), "percent" if x.percent else x.scale, (x, y))


def _at(line: _Line | None, years: Sequence[str]) -> tuple[Figure, ...] | None:
    """A row's figures of some years, all of them or none."""
    if line is None or not years or any(y not in line.by_year for y in years):
        return None
    return tuple(line.by_year[y] for y in years)


def _made(value: Fraction, scale: str, found: Sequence[Figure]) -> Answer:
    return Answer(value=rounded(value, 2), scale=scale, operands=tuple(found))
