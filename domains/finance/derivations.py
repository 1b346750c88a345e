"""Calculations as text: parsed, evaluated exactly, and rounded only where they say so.

Every computed figure of a report states its calculation in this form, over paths into the input, so that
anyone can run it again; calculations that others wrote over plain figures are read too, as analysts write
them: "$" before a figure, "%" or "million" after it, square brackets, "(13)". Nothing is rounded before the
end: operands are decimals, what is between them fractions. What a figure means is not known here.

>>> from decimal import Decimal
>>> growth = parse("round((tables[0][1][1] - tables[0][1][2]) / tables[0][1][2] * 100, 1)")
>>> cells = {"tables[0][1][1]": Decimal(794), "tables[0][1][2]": Decimal(601)}
>>> evaluate(growth, cells.__getitem__)
Decimal('32.1')
>>> evaluate(parse("($530,061 - $529,277) / 2")), paths(growth)
(Decimal('392'), ('tables[0][1][1]', 'tables[0][1][2]'))
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from fractions import Fraction

from domains._lexicon import SCALES
from domains.base import Sensitive
from fedcore.errors import RecordError

__all__ = [
    "Call",
    "Expression",
    "Literal",
    "Negated",
    "Operation",
    "Reference",
    "evaluate",
    "exact",
    "literals",
    "parse",
    "paths",
    "rounded",
]

_LIMIT_CHARACTERS = 20_000
_LIMIT_DEPTH = 60
_DIGITS = 40
"""Significant digits of a root and of a quotient that no decimal holds."""
_PIECE = re.compile(
    r"\s*(?:(?P<number>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
    r"|(?P<path>[A-Za-z_]\w*(?:\[\d+\]|\.[A-Za-z_]\w*)+)"
    r"|(?P<word>[A-Za-z_]+)"
    r"|(?P<mark>[-+*/()\[\],%$€£¥−–×÷])"
    r"|(?P<end>$))"
)
_PLAIN = str.maketrans({"−": "-", "–": "-", "×": "*", "÷": "/", "[": "(", "]": ")"})
_CALLS = {"round": 2, "root": 2, "abs": 1}


@dataclass(frozen=True, kw_only=True, repr=False)
class Literal(Sensitive):
    """A figure as written: its digits' value, "%" and scale beside it, and whether brackets stand right around it.

    Its value counts "%" as hundredths and leaves the scale to the reader; brackets alone do not negate it.
    """

    value: Decimal
    percent: bool = False
    scale: str = ""
    bracketed: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class Reference(Sensitive):
    """A path into the input."""

    path: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Negated(Sensitive):
    """Minus something."""

    of: "Expression"


@dataclass(frozen=True, kw_only=True, repr=False)
class Operation(Sensitive):
    """Two things with one of + - * / between them."""

    sign: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, kw_only=True, repr=False)
class Call(Sensitive):
    """`round(x, digits)` half up, `root(x, n)`, or `abs(x)`."""

    name: str
    arguments: tuple["Expression", ...]


Expression = Literal | Reference | Negated | Operation | Call


def parse(text: str) -> Expression:
    """Read a calculation; words before a colon say what it is, and are left out.

    Raises:
        RecordError: It is none; says where, never what stands there.
    """
    if len(text) > _LIMIT_CHARACTERS:
        raise RecordError("a calculation is too long", expected=f"at most {_LIMIT_CHARACTERS} characters")
    return _Parser(text.rpartition(": ")[2]).whole()


def evaluate(expression: Expression, resolve: Callable[[str], Decimal] | None = None) -> Decimal:
    """The value; a quotient that no decimal holds is cut to 40 significant digits.

    What a calculation rounds at its end keeps so many decimals: 8.0 and not 8.

    Args:
        expression: What `parse` gave.
        resolve: The figure at a path. What it raises comes through.
    Raises:
        RecordError: A division by zero, a root of nothing, or a path without `resolve`.
    """
    value = exact(expression, resolve)
    if isinstance(expression, Call) and expression.name == "round":
        return rounded(value, int(exact(expression.arguments[1], resolve)))
    return _decimal(value)


def exact(expression: Expression, resolve: Callable[[str], Decimal] | None = None) -> Fraction:
    """As `evaluate`, before it becomes a decimal."""
    match expression:
        case Literal():
            return Fraction(expression.value) / (100 if expression.percent else 1)
        case Reference():
            if resolve is None:
                raise RecordError("a calculation names a path", expected="figures alone", do="give the input it is of")
            return Fraction(resolve(expression.path))
        case Negated():
            return -exact(expression.of, resolve)
        case Operation():
            return _operate(expression.sign, exact(expression.left, resolve), exact(expression.right, resolve))
        case Call():
            return _call(expression.name, [exact(a, resolve) for a in expression.arguments])


def rounded(value: Decimal | Fraction, digits: int) -> Decimal:
    """Half up, away from zero, to so many decimals."""
    by = Fraction(10) ** digits
    scaled = abs(Fraction(value)) * by
    whole = (scaled + Fraction(1, 2)).__floor__()
    with localcontext(Context(prec=max(28, len(str(whole)) + 2))):
        return Decimal(-whole if value < 0 else whole).scaleb(-digits)


def paths(expression: Expression) -> tuple[str, ...]:
    """Every path that it names, once each, in order."""
    return tuple(dict.fromkeys(e.path for e in _walk(expression) if isinstance(e, Reference)))


def literals(expression: Expression) -> tuple[Literal, ...]:
    """Every figure that is written in it, in order."""
    return tuple(e for e in _walk(expression) if isinstance(e, Literal))


def _walk(expression: Expression) -> Iterator[Expression]:
    yield expression
    parts: tuple[Expression, ...] = ()
    match expression:
        case Negated():
            parts = (expression.of,)
        case Operation():
            parts = (expression.left, expression.right)
        case Call():
            parts = expression.arguments
    for part in parts:
        yield from _walk(part)


def _operate(sign: str, left: Fraction, right: Fraction) -> Fraction:
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    if sign == "*":
        return left * right
    if right == 0:
        raise RecordError("a calculation divides by zero", expected="a base that is not zero")
    return left / right


def _call(name: str, values: list[Fraction]) -> Fraction:
    if name == "abs":
        return abs(values[0])
    if values[1].denominator != 1 or not 0 <= values[1] <= 1000:
        raise RecordError(f"a calculation's {name} is wrong", expected="a whole number from 0 to 1000 after the comma")
    n = int(values[1])
    if name == "round":
        return Fraction(rounded(values[0], n))
    if n < 1 or values[0] <= 0:
        raise RecordError("a calculation's root is wrong", expected="a figure above zero and a whole number above it")
    with localcontext(Context(prec=_DIGITS + 10, rounding=ROUND_HALF_UP)):
        return Fraction((_decimal(values[0]).ln() / n).exp())


def _decimal(value: Fraction) -> Decimal:
    """Exactly, where a decimal can."""
    top, bottom = value.numerator, value.denominator
    rest = bottom
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    size = len(str(abs(top))) + len(str(bottom)) * 4 if rest == 1 else _DIGITS
    with localcontext(Context(prec=max(size, _DIGITS), rounding=ROUND_HALF_UP)):
        quotient = Decimal(top) / Decimal(bottom)
    whole = quotient.to_integral_value()
    return whole if quotient == whole else quotient


class _Parser:
    """Recursive descent: sums of products of signed figures."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self._kind, self._word = "", ""
        self._next()

    def whole(self) -> Expression:
        expression = self._sum()
        if self._kind != "end":
            raise self._fault("the end, or one of + - * /")
        return expression

    def _next(self) -> None:
        m = _PIECE.match(self._text, self._position)
        if m is None or m.lastgroup is None:
            raise self._fault("figures, paths, + - * / and brackets")
        self._position = m.end()
        self._kind, self._word = m.lastgroup, m.group(m.lastgroup).translate(_PLAIN)
        if self._kind == "path":
            self._word = m.group(m.lastgroup)

    def _fault(self, expected: str) -> RecordError:
        return RecordError(f"a calculation cannot be read at character {self._position}", expected=expected)

    def _takes(self, *marks: str) -> bool:
        return self._kind == "mark" and self._word in marks

    def _sum(self) -> Expression:
        self._depth += 1
        if self._depth > _LIMIT_DEPTH:
            raise self._fault(f"at most {_LIMIT_DEPTH} brackets within brackets")
        left = self._product()
        while self._takes("+", "-"):
            sign = self._word
            self._next()
            left = Operation(sign=sign, left=left, right=self._product())
        self._depth -= 1
        return left

    def _product(self) -> Expression:
        left = self._signed()
        while self._takes("*", "/"):
            sign = self._word
            self._next()
            left = Operation(sign=sign, left=left, right=self._signed())
        return left

    def _signed(self) -> Expression:
        negative = False
        while self._takes("-", "+"):
            negative ^= self._word == "-"
            self._next()
        one = self._one()
        return Negated(of=one) if negative else one

    def _one(self) -> Expression:
        while self._takes("$", "€", "£", "¥"):
            self._next()
        if self._takes("-", "+"):
            return self._signed()
        if self._kind == "number":
            return self._literal()
        if self._kind == "path":
            path = self._word
            self._next()
            return Reference(path=path)
        if self._kind == "word" and self._word in _CALLS:
            return self._called(self._word)
        if not self._takes("("):
            raise self._fault("a figure, a path or an opening bracket")
        self._next()
        inner = self._sum()
        self._close()
        if isinstance(inner, Literal):
            return Literal(value=inner.value, percent=inner.percent, scale=inner.scale, bracketed=True)
        return inner

    def _called(self, name: str) -> Expression:
        self._next()
        if not self._takes("("):
            raise self._fault(f"a bracket after {name}")
        arguments = []
        for i in range(_CALLS[name]):
            if i and not self._takes(","):
                raise self._fault(f"{_CALLS[name]} values for {name}")
            self._next()
            arguments.append(self._sum())
        self._close()
        return Call(name=name, arguments=tuple(arguments))

    def _close(self) -> None:
        if not self._takes(")"):
            raise self._fault("a closing bracket")
        self._next()

    def _literal(self) -> Literal:
        value = Decimal(self._word.replace(",", ""))
        percent, scale = False, ""
        self._next()
        for _ in range(2):
            if self._takes("%"):
                percent = True
                self._next()
            elif self._kind == "word" and self._word.lower() in SCALES:
                scale = self._word.lower()
                self._next()
        return Literal(value=value, percent=percent, scale=scale)
