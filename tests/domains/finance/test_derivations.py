"""Calculations are read as written, evaluated exactly, and rounded only where they say so."""

import ast
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.finance.derivations import Literal, evaluate, exact, literals, parse, paths, rounded
from fedcore.errors import RecordError

NUMBERS = st.integers(0, 10**9).map(str) | st.decimals(0, 10**6, places=2).map(lambda d: f"{d:,}")
EXPRESSIONS = st.recursive(
    NUMBERS,
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})")
        | inner.map("-({})".format)
    ),
    max_leaves=12,
)


def slow(node: ast.expr) -> Fraction:
    """The twin: Python's own grammar over fractions."""
    if isinstance(node, ast.Constant):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp):
        return -slow(node.operand)
    assert isinstance(node, ast.BinOp)
    a, b = slow(node.left), slow(node.right)
    return {ast.Add: a.__add__, ast.Sub: a.__sub__, ast.Mult: a.__mul__, ast.Div: a.__truediv__}[type(node.op)](b)


@given(EXPRESSIONS)
def test_a_calculation_is_what_pythons_grammar_gives(text: str) -> None:
    # Python reads no commas, and no whole number that starts with a zero.
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", text.replace(",", ""))
    try:
        expected = slow(ast.parse(plain, mode="eval").body)
    except ZeroDivisionError:
        with pytest.raises(RecordError):
            exact(parse(text))
        return
    assert exact(parse(text)) == expected


@given(st.fractions(-(10**6), 10**6, max_denominator=10**4), st.integers(0, 6))
def test_rounding_is_half_away_from_zero(value: Fraction, digits: int) -> None:
    found = rounded(value, digits)
    assert abs(Fraction(found) - value) * 2 <= Fraction(1, 10**digits)
    assert -found == rounded(-value, digits)
    assert found.as_tuple().exponent == -digits


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$1,200 - $200", "1000"),
        ("$(290.2 + 239.6)", "529.8"),
        ("[(1,062+1,018)/2] - [(1,018+950)/2]", "56"),
        ("4.3% − 3.3%", "0.01"),
        ("10 × 3 ÷ 4", "7.5"),
        ("-4,697 - (-6,760)", "2063"),
        ("net income / revenue: round(1 / 8 * 100, 1)", "12.5"),
        ("round((root(121 / 100, 2) - 1) * 100, 1)", "10.0"),
        ("abs(3 - 5)", "2"),
        ("2.5 / 10 * 100", "25"),
    ],
)
def test_what_analysts_write_is_read(text: str, value: str) -> None:
    assert str(evaluate(parse(text))) == value


def test_a_quotient_without_end_has_forty_digits() -> None:
    assert str(evaluate(parse("1 / 3"))) == "0." + "3" * 40
    assert exact(parse("1 / 3 * 3")) == 1


def test_large_figures_lose_nothing() -> None:
    assert evaluate(parse("123456789012345678901234567890 * 1000000000000000 + 1")) == Decimal(
        "123456789012345678901234567890000000000000001"
    )


def test_paths_are_resolved_in_order() -> None:
    expression = parse("(tables[0][1][2] - facts[3].value) / tables[0][1][2]")
    assert paths(expression) == ("tables[0][1][2]", "facts[3].value")
    assert evaluate(expression, {"tables[0][1][2]": Decimal(8), "facts[3].value": Decimal(6)}.__getitem__) == Decimal(
        "0.25"
    )


def test_signs_and_scales_stay_with_their_figure() -> None:
    first, second, third = literals(parse("60.3 million + (13) - 5%"))
    assert (first, second, third) == (
        Literal(value=Decimal("60.3"), scale="million"),
        Literal(value=Decimal(13), bracketed=True),
        Literal(value=Decimal(5), percent=True),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "1 2",
        "(1",
        "import os",
        "a[0]",
        "1 / 0",
        "round(1)",
        "round(1, 2.5)",
        "root(0-1, 2)",
        "1 ** 2",
        "(" * 99,
    ],
)
def test_what_is_no_calculation_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        evaluate(parse(text))


def test_an_error_never_holds_a_figure() -> None:
    with pytest.raises(RecordError) as caught:
        parse("4711 plus 0815")
    assert "4711" not in str(caught.value)
    assert "0815" not in str(caught.value)
