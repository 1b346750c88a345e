"""A slow look at every figure of a report: is it in the input, or what its stated calculation gives?

It shares no code with the checker, the table reader or the calculations of the report: it reads the raw cells
again, takes every run of digits of the text, and runs the calculation that stands in the trace with Python's
own parser over fractions. It is a measure's second opinion, and too slow and too strict for anything else.

A figure is traced where one of these holds: it stands in a label, column or heading of the input that the text
repeats; it is a year of the input; a cell of a row that the sentence names has its value, as printed or in the
scale that the table states; or the calculation that the trace gives for it, carried out on the raw cells, gives
exactly it. Which of the input's years a figure of a row stands with is not looked at.
"""

import ast
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from domains.finance.accounts import recognise
from domains.pipeline import Document, Sentence

__all__ = ["Scan", "scan"]

_RUN = re.compile(
    r"(?<![A-Za-z0-9])(?P<sign>-)?[$€£¥]?(?P<digits>\d+(?:,\d{3})*(?:\.\d+)?)\s?(?P<scale>thousand|million|billion|亿|万)?"
)
_SCALES = {"": 1, "thousand": 10**3, "万": 10**4, "million": 10**6, "亿": 10**8, "billion": 10**9}
_SCALE_WORDS = (
    (r"thousand|千|['’`]?000s?\b", 10**3),
    (r"(?<!百)万", 10**4),
    (r"million|百万|\bm\b|(?:[$€£¥]|usd|eur|gbp|rmb)\s?m\b", 10**6),
    (r"亿", 10**8),
    (r"billion|\bbn", 10**9),
)
_PATH = re.compile(r"(?:tables\[(\d+)\]\[(\d+)\]\[(\d+)\])|(?:facts\[(\d+)\]\.value)")
_PRECISION = 60


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What was found in one document."""

    figures: int
    computed: int
    """Traced by their calculation alone."""
    untraced: int


def scan(document: Document, fields: Mapping[str, Any]) -> Scan:
    """Look at every figure of a document about `fields`."""
    raw = _Raw(fields)
    kinds = [kind for s in document.sentences for kind in _kinds(s, raw)]
    return Scan(figures=len(kinds), computed=kinds.count("computed"), untraced=kinds.count("untraced"))


def _kinds(sentence: Sentence, raw: "_Raw") -> Iterator[str]:
    """For each run of digits what it is: "word", "year", "cell", "computed" or "untraced"."""
    text = _plain(sentence.text)
    masked = raw.mask(text)
    named = [row for row in raw.rows if row.named(text)]
    for m in _RUN.finditer(masked):
        value = Fraction(m["digits"].replace(",", "")) * (-1 if m["sign"] else 1) * _SCALES[m["scale"] or ""]
        if m["scale"] is None and m["digits"] in raw.years:
            yield "year"
        elif any(row.holds(value, masked[m.end() : m.end() + 1] == "%") for row in named):
            yield "cell"
        elif any(raw.gives(d, value) for d in _derivations(sentence, m["digits"])):
            yield "computed"
        else:
            yield "untraced"


def _derivations(sentence: Sentence, digits: str) -> list[str]:
    """The calculations that the trace gives for a figure."""
    return [f.derivation for m in sentence.mentions if digits in _plain(m.text) for f in m.facts if f.derivation]


@lru_cache(maxsize=4096)
def _anywhere(name: str) -> re.Pattern[str]:
    """A name in any case, with or without the spaces that Chinese leaves out beside its marks."""
    return re.compile(r"\s?".join(re.escape(part) for part in re.findall(r"\w+|[^\w\s]", name)), re.IGNORECASE)


def _plain(text: str) -> str:
    """NFKC on one line, as any reader would see it."""
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("\u2010", "-").replace("\u2011", "-")
    return " ".join(text.replace("\u2019", "'").split())


@dataclass(frozen=True, kw_only=True)
class _RawRow:
    """A row of the input: its words, its figures, and what they may be counted in."""

    label: str
    names: tuple[str, ...]
    values: tuple[Fraction, ...]
    factors: tuple[int, ...]

    def named(self, text: str) -> bool:
        """Whether a sentence speaks of the row, in either language."""
        return any(_anywhere(name).search(text) for name in self.names if name)

    def holds(self, value: Fraction, percent: bool) -> bool:
        """Whether one of its cells has a value, as printed or in the table's scale."""
        return any(value == v * f for v in self.values for f in ((1,) if percent else (1, *self.factors)))


class _Raw:
    """The raw input, read once more."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.years: set[str] = set()
        self.rows: list[_RawRow] = []
        self._words: set[str] = {_plain(str(fields.get("heading") or ""))}
        self._cells: dict[str, Fraction] = {}
        self._factors = {1}
        for t, table in enumerate(fields.get("tables") or []):
            self._table(t, table)
        for i, fact in enumerate(fields.get("facts") or []):
            self._fact(i, fact)

    def _table(self, t: int, table: Sequence[Sequence[Any]]) -> None:
        texts = [[_plain("" if c is None else str(c)) for c in row] for row in table]
        words = " ".join(c for row in texts for c in row if _figure(c) is None)
        factors = tuple(by for pattern, by in _SCALE_WORDS if re.search(pattern, words, re.IGNORECASE))
        self._factors |= set(factors)
        section = ""
        for n, row in enumerate(texts):
            for k, text in enumerate(row):
                value = _figure(text)
                # A bracket may be closed, and a sign may stand, in a cell of its own.
                if value is not None and value > 0 and (text.startswith("(") or (k and row[k - 1] in ("(", "$("))):
                    value = -value
                if value is None:
                    self._words.add(text)
                else:
                    self._cells[f"tables[{t}][{n}][{k}]"] = value
                self.years |= set(re.findall(r"(?:19|20)\d\d", text))
            label = next((c for c in row if c), "")
            values = tuple(v for k in range(len(row)) if (v := self._cells.get(f"tables[{t}][{n}][{k}]")) is not None)
            if values and _figure(label) is None:
                names = _names(label, section)
                self.rows.append(_RawRow(label=label, names=names, values=values, factors=factors))
            elif not values:
                section = label

    def _fact(self, i: int, fact: Mapping[str, Any]) -> None:
        try:
            value = Fraction(str(fact.get("value")))
        except ValueError:
            return
        self._cells[f"facts[{i}].value"] = value
        self.years |= set(re.findall(r"^\d{4}", str(fact.get("end") or "")))
        self._words.add(f"{fact.get('start')}/{fact.get('end')}")
        members = [str(d[-1]).removesuffix("Member") for d in fact.get("dims") or [] if isinstance(d, list) and d]
        words = " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", " ".join([str(fact.get("concept")), *members])))
        label = words.capitalize()[:120]
        self.rows.append(_RawRow(label=label, names=_names(label, ""), values=(value,), factors=()))

    def mask(self, text: str) -> str:
        """The text without the input's own words that hold digits, the longest first."""
        for word in sorted((w for w in self._words if re.search(r"\d", w)), key=len, reverse=True):
            for shown in {word, word.rstrip(" :;,."), re.sub(r"\s*\((?:\d{1,2}|[a-z])\)$", "", word).rstrip(" :;,.")}:
                if len(shown) > 4 or not shown.isdigit():
                    text = _anywhere(shown).sub(lambda m: "_" * len(m.group()), text)
        # Names of our own that hold digits: the span of years of a compound growth rate, and CR3.
        text = re.sub(r"(?:19|20)\d\d to (?:19|20)\d\d|(?:19|20)\d\d年至(?:19|20)\d\d年", self._span, text)
        return re.sub(r"CR3(?= of |\d{4}年)|的CR3", "___", text)

    def _span(self, m: re.Match[str]) -> str:
        return "_" * len(m.group()) if set(re.findall(r"\d{4}", m.group())) <= self.years else m.group()

    def gives(self, derivation: str, value: Fraction) -> bool:
        """Whether a stated calculation, carried out on the raw cells, gives a value in one of the input's scales."""
        expression = derivation.rpartition(": ")[2]
        try:
            for path in {m.group() for m in _PATH.finditer(expression)}:
                expression = expression.replace(path, f"cell({path!r})")
            result = _run(ast.parse(expression, mode="eval").body, self._cells.__getitem__)
        except (SyntaxError, KeyError, ZeroDivisionError, ValueError):
            return False
        return any(value == result * f for f in self._factors)


def _names(label: str, section: str) -> tuple[str, ...]:
    """What a report may call a row."""
    bare = re.sub(r"\s*\((?:\d{1,2}|[a-z])\)$", "", label).rstrip(" :;,.")
    short = re.sub(r"\s*\([^)]*\)", "", bare).strip()
    account = recognise(bare)
    return (bare, short, *((account.english, account.chinese) if account else ()))


def _figure(text: str) -> Fraction | None:
    """A cell that is a figure and nothing else."""
    bare = re.sub(r"[\s$€£¥%,]|million|billion|bn$|thousand|[亿万元]", "", text)
    m = re.fullmatch(r"[(\-–—]*(\d+(?:\.\d+)?|\.\d+)\)?", bare)
    if m is None:
        return None
    negative = bare[0] in "(-–—"
    return -Fraction(m[1]) if negative else Fraction(m[1])


def _run(node: ast.expr, cell: Callable[[str], Fraction]) -> Fraction:
    """A calculation, by Python's own grammar."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_run(node.operand, cell)
    if isinstance(node, ast.BinOp):
        a, b = _run(node.left, cell), _run(node.right, cell)
        if isinstance(node.op, ast.Add):
            return a + b
        if isinstance(node.op, ast.Sub):
            return a - b
        if isinstance(node.op, ast.Mult):
            return a * b
        if isinstance(node.op, ast.Div):
            return a / b
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "cell" and isinstance(node.args[0], ast.Constant):
            return cell(str(node.args[0].value))
        values = [_run(a, cell) for a in node.args]
        if node.func.id == "abs":
            return abs(values[0])
        if node.func.id == "round":
            return _rounded(values[0], int(values[1]))
        if node.func.id == "root":
            return _root(values[0], int(values[1]))
    raise ValueError("not a calculation")


def _rounded(value: Fraction, digits: int) -> Fraction:
    """Half away from zero, counted in whole last digits."""
    shifted = abs(value) * 10**digits
    whole = shifted.numerator // shifted.denominator
    whole += (shifted - whole) * 2 >= 1
    return Fraction(whole if value >= 0 else -whole, 10**digits)


def _root(value: Fraction, n: int) -> Fraction:
    """By halving an interval until it is far finer than any rounding."""
    low, high = Fraction(0), max(Fraction(1), value)
    for _ in range(_PRECISION):
        middle = (low + high) / 2
        low, high = (middle, high) if middle**n <= value else (low, middle)
    return low
