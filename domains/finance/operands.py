"""The figures that a calculation may rest on, found in tables and text, and calculations checked against them.

`figures` lists every figure of an input with its scale, sign and path. `calculate` takes a calculation over
written figures, as analysts note them, finds each in the input by value and scale, and gives the result with
its scale, rounded half up; one that is not there makes it refuse. What is a plain number is told by its place
alone: the count that an average divides by, the one of "a / b - 1", a span of years.

>>> table = [["(in thousands)", "2019", "2018"], ["Cash", "1,200", "1,000"], ["Loss", "(300)", "(240)"]]
>>> found = figures([table])
>>> answer = calculate("(1,200 - 1,000) / 1,000", found, "By what percentage did cash grow?")
>>> str(answer.value), answer.scale, [f.path for f in answer.operands]
('20.00', 'percent', ['tables[0][1][1]', 'tables[0][1][2]', 'tables[0][1][2]'])
>>> str(calculate("(-300 + (240)) / 2", found).value)
'-270.00'
>>> calculate("1,200 - 999", found)  # doctest: +ELLIPSIS
Traceback (most recent call last):
...
fedcore.errors.RecordError: a calculation's operand is not in the input; ...
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from domains._figures import normalise, numbers
from domains._lexicon import SCALES
from domains.base import Sensitive
from domains.finance.derivations import Call, Expression, Negated, Operation, Reference, exact, literals, parse, rounded
from domains.finance.derivations import Literal as Written
from domains.finance.table import FACTORS, figure, read_table, scale_of
from fedcore.errors import RecordError

__all__ = ["Answer", "Figure", "calculate", "figures"]

_CAPTION = re.compile(
    r"\b(?:in|are|expressed|stated)\b[^.;:()]{0,30}\b(?:thousand|million|billion)s\b|[(\s][^().]{0,12}['’]?000s?\b|单位[^。]{0,12}",
    re.IGNORECASE,
)
_SHARE = re.compile(r"\bpercent|%|\bproportion\b|\bportion\b|\bshare of\b|占比|百分|比重", re.IGNORECASE)
_ASKED = re.compile(r"\bin (thousand|million|billion)s?\b", re.IGNORECASE)
_NAMES = {"k": "thousand", "m": "million", "mn": "million", "mln": "million", "b": "billion", "bn": "billion"}
_WORD = re.compile(r"[a-z]{3,}|[\u4e00-\u9fff]")


@dataclass(frozen=True, kw_only=True, repr=False)
class Figure(Sensitive):
    """One figure of an input."""

    value: Decimal
    percent: bool
    scale: str
    """A key of `FACTORS`."""
    label: str
    """The row's words, or the sentence's."""
    path: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Answer(Sensitive):
    """A checked calculation: its value in its scale, and what it rests on."""

    value: Decimal
    scale: str
    """A key of `FACTORS`, or "percent"."""
    operands: tuple[Figure, ...]


def figures(tables: Sequence[Sequence[Sequence[Any]]], paragraphs: Sequence[str] = ()) -> tuple[Figure, ...]:
    """Every figure of tables and paragraphs; a dash in a table is a zero."""
    captions = " ".join(m.group() for p in paragraphs for m in _CAPTION.finditer(normalise(p)))
    out: list[Figure] = []
    for t, rows in enumerate(tables):
        table = read_table(rows, f"tables[{t}]")
        scale = table.scale or scale_of(captions)
        known = {cell.path: (row, cell) for row in table.rows for cell in row.cells}
        counted = {row.path for row in table.rows if table.scale and not row.scale}
        counted |= {row.path for row in table.rows if row.counted}
        for n, row in enumerate(rows):
            label = next((text for c in row if (text := normalise(str(c or ""))) and figure(text) is None), "")
            for k, cell in enumerate(row):
                path = f"tables[{t}][{n}][{k}]"
                text = normalise("" if cell is None else str(cell))
                value = Decimal(0) if text.strip("$€£¥ ") in ("-", "—", "–") else figure(text)
                if value is None:
                    continue
                percent = "%" in text or (path in known and known[path][1].percent)
                own = (known[path][0].scale or scale) if path in known else scale
                own = "" if percent or f"tables[{t}][{n}]" in counted else own
                out.append(Figure(value=value, percent=percent, scale=own, label=label, path=path))
    return (*out, *_written(paragraphs))


def _written(paragraphs: Sequence[str]) -> Iterable[Figure]:
    """The figures of a text."""
    for i, paragraph in enumerate(paragraphs):
        text = normalise(paragraph)
        for found in numbers(text):
            if found.value is None:
                continue
            yield Figure(
                value=-found.value if found.negative else found.value,
                percent=found.unit == "%",
                scale=_scale(found.scale),
                label=text[max(0, found.start - 80) : found.end + 40],
                path=f"paragraphs[{i}] character {found.start}",
            )


def _scale(word: str) -> str:
    word = word.lower().rstrip("s")
    return _NAMES.get(word, word) if word in _NAMES or word in FACTORS else ""


def calculate(derivation: str, found: Sequence[Figure], question: str = "", digits: int = 2) -> Answer:
    """Find a calculation's operands and carry it out.

    Args:
        derivation: Figures with + - * / and brackets.
        found: What `figures` gave.
        question: What is asked: whether a share is wanted in percent, in which scale, and about what.
        digits: Decimals of the answer.
    Raises:
        RecordError: It cannot be read, an operand is not in the input, or it divides by zero.
    """
    run = _Run(found, question)
    value, kind, scale = run.value(parse(derivation))
    if kind == "share":
        percent = run.percent or run.growth or bool(_SHARE.search(question))
        value, scale = (value * 100, "percent") if percent else (value, "")
    elif kind == "amount" and (asked := _ASKED.search(question)) and scale:
        wanted = asked.group(1).lower()
        value, scale = value * Fraction(FACTORS[scale]) / Fraction(FACTORS[wanted]), wanted
    elif kind == "number":
        scale = ""
    return Answer(value=rounded(value, digits), scale=scale, operands=tuple(run.used))


_Kind = Literal["amount", "share", "number"]
_Value = tuple[Fraction, _Kind, str]


class _Run:
    """One calculation being carried out: values with what they measure and their scale."""

    def __init__(self, found: Sequence[Figure], question: str) -> None:
        self._found = found
        self._words = set(_WORD.findall(question.lower()))
        self.used: list[Figure] = []
        self.percent = False
        """A percentage of the input went in."""
        self.growth = False
        """It ends in a change over its base."""

    def value(self, node: Expression) -> _Value:
        match node:
            case Written():
                return self._operand(node, negative=False)
            case Negated(of=Written() as inner):
                return self._operand(inner, negative=True)
            case Negated():
                value, kind, scale = self.value(node.of)
                return -value, kind, scale
            case Operation():
                return self._operation(node)
            case Call() | Reference():
                raise RecordError("a calculation's operand is no figure", expected="figures, + - * / and brackets")

    def _operation(self, node: Operation) -> _Value:
        if (span := _span_of_years(node)) is not None:
            return span, "number", ""
        if node.sign == "/" and _is_number(node.right, _terms(node.left)) and not _holds(node.left, node.right):
            value, kind, scale = self.value(node.left)
            return value / exact(node.right), kind, scale
        if node.sign in "+-" and _is_number(node.left, 1) and not _is_number(node.right, 1):
            value, kind, scale = self.value(node.right)
            if kind == "share":
                return (1 + value if node.sign == "+" else 1 - value), kind, scale
        left = self.value(node.left)
        if node.sign == "-" and _is_number(node.right, 1) and left[1] == "share":
            self.growth = not self.percent
            return left[0] - 1, "share", ""
        right = self.value(node.right)
        if node.sign in "+-":
            return self._sum(node.sign, left, right)
        return self._product(node, left, right)

    def _sum(self, sign: str, left: _Value, right: _Value) -> _Value:
        a, b = left[0], right[0]
        scale = left[2]
        if left[1] == right[1] == "amount" and left[2] != right[2]:
            # A zero has every scale; else the finer one is exact for both.
            scale = min(left[2], right[2], key=FACTORS.__getitem__) if a and b else left[2] if a else right[2]
            a *= Fraction(FACTORS[left[2]] / FACTORS[scale]) if a else 1
            b *= Fraction(FACTORS[right[2]] / FACTORS[scale]) if b else 1
        kind: _Kind = left[1] if left[1] != "number" else right[1]
        return (a + b if sign == "+" else a - b), kind, scale

    def _product(self, node: Operation, left: _Value, right: _Value) -> _Value:
        a, b = left[0], right[0]
        if node.sign == "/" and b == 0:
            raise RecordError("a calculation divides by zero", expected="a base that is not zero")
        value = a * b if node.sign == "*" else a / b
        if node.sign == "/" and left[1] == right[1] == "amount":
            factor = Fraction(FACTORS[left[2]]) / Fraction(FACTORS[right[2]])
            self.growth = isinstance(node.left, Operation) and node.left.sign == "-"
            return value * factor, "share", ""
        if "amount" in (left[1], right[1]):
            return value, "amount", left[2] or right[2]
        return value, ("share" if "share" in (left[1], right[1]) else "number"), ""

    def _operand(self, node: Written, negative: bool) -> _Value:
        """The figure of the input that is meant, with the sign that the calculation gives it.

        Brackets right around a figure negate it where the input has it below zero alone.
        """
        size = [f for f in self._found if abs(f.value) == node.value and (f.percent or not node.percent)]
        size = size or [f for f in self._found if abs(f.value) == node.value]
        if node.scale:
            wanted = SCALES[node.scale]
            size = [f for f in size if FACTORS[f.scale] == wanted]
        if not size:
            raise RecordError(
                "a calculation's operand is not in the input",
                expected="every figure of it in a table or paragraph, with its scale",
                do="check the figure, or give the table that holds it",
            )
        words = self._words
        best = max(size, key=lambda f: (len(words & set(_WORD.findall(f.label.lower()))), f.path.startswith("tables")))
        self.used.append(best)
        if node.bracketed and not negative and all(f.value < 0 for f in size):
            negative = True
        self.percent |= best.percent
        value = Fraction(-node.value if negative else node.value)
        return (value / 100, "share", "") if best.percent or node.percent else (value, "amount", best.scale)


def _terms(node: Expression) -> int:
    """How many figures a sum adds; an average divides by as many."""
    if isinstance(node, Negated):
        return _terms(node.of)
    if isinstance(node, Operation) and node.sign in "+-":
        return _terms(node.left) + _terms(node.right)
    return 1


def _holds(node: Expression, figure: Expression) -> bool:
    """Whether a base stands above the line too, as in (a - b) / b: it is no count then."""
    return isinstance(figure, Written) and any(f.value == figure.value for f in literals(node))


def _is_number(node: Expression, wanted: int) -> bool:
    return isinstance(node, Written) and node.value == wanted and not node.percent and not node.scale and wanted > 0


def _span_of_years(node: Operation) -> Fraction | None:
    """2019 - 2017 + 1, as averages over years divide by."""
    left = node.left
    if node.sign == "+" and _is_number(node.right, 1) and isinstance(left, Operation) and left.sign == "-":
        years = [left.left, left.right]
        if all(isinstance(y, Written) and 1900 < y.value < 2100 and y.value % 1 == 0 for y in years):
            return exact(node)
    return None
