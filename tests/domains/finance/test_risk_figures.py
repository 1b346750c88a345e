"""Ratios are computed of figures that belong together, or not at all."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.finance.risk_figures import Finding, look, read_events, read_figures
from domains.finance.risk_rules import load_rules
from domains.finance.table import read_tables
from fedcore.errors import RecordError

RULES = load_rules()


def found(rule: str, *figures: tuple[Any, ...], tables: list[Any] | None = None) -> Finding | None:
    keys = ("name", "value", "period", "unit")
    given_ = [dict(zip(keys, f, strict=False)) for f in figures]
    return look(RULES.rule(rule), read_figures(given_, read_tables(tables or []), RULES), None)


def value(rule: str, *figures: tuple[Any, ...], tables: list[Any] | None = None) -> str | None:
    finding = found(rule, *figures, tables=tables)
    return None if finding is None else str(finding.shown)


def test_scales_of_both_languages_are_brought_together() -> None:
    rule = "liquidity.current-ratio"
    assert value(rule, ("Current assets", "3.2", "2024", "亿元"), ("流动负债", 160, "2024", "百万元")) == "2"
    english = ("current assets", 3, "2024", "USD billion"), ("Current liabilities", 1500, "2024", "million USD")
    assert value(rule, *english) == "2"
    assert value("liquidity.quick-ratio", ("流动资产", 90), ("存货", 40), ("流动负债", 100)) == "0.5"


def test_rows_of_a_table_are_figures() -> None:
    table = [["($ millions)", "2024", "2023"], ["Net sales", "90", "120"], ["Operating income", "(9)", "12"]]
    assert value("strategic.revenue", tables=[table]) == "-25"
    margin = found("operational.margin", tables=[table])
    assert margin is not None
    assert (str(margin.shown), margin.period, margin.derivation) == (
        "-10",
        "2024",
        "tables[0][2][1] / tables[0][1][1] * 100",
    )


def test_a_ratio_that_is_given_goes_before_one_that_is_computed() -> None:
    figures = (("资产负债率", "65%", "2024"), ("负债合计", 10, "2024"), ("资产总计", 100, "2024"))
    given_ = found("credit.debt-to-assets", *figures)
    assert given_ is not None
    assert (str(given_.value), given_.derivation, given_.level) == ("65", "", "medium")


@pytest.mark.parametrize(
    "figures",
    [
        [("Current assets", 80, "2024")],
        [("Current assets", 80, "2024"), ("Current liabilities", 100, "2023")],
        [("Current assets", 80, "2024", "USD"), ("Current liabilities", 100, "2024", "EUR")],
        [("Current assets", 80, "2024"), ("Current liabilities", 0, "2024")],
        [("Current assets", 80, "2024"), ("Current liabilities", -5, "2024")],
        [("Current assets", 80, "2024"), ("Current assets", 81, "2024"), ("Current liabilities", 100, "2024")],
        [("Current assets", "80%", "2024"), ("Current liabilities", 100, "2024")],
    ],
)
def test_what_does_not_belong_together_is_not_computed(figures: list[tuple[Any, ...]]) -> None:
    assert found("liquidity.current-ratio", *figures) is None


def test_the_latest_period_that_has_all_figures_is_taken() -> None:
    figures = [("Current assets", n, y) for n, y in ((50, "2022"), (80, "2023"), (90, "2024"))]
    ratio = found("liquidity.current-ratio", *figures, ("Current liabilities", 100, "2022"), ("流动负债", 100, "2023"))
    assert ratio is not None
    assert (str(ratio.shown), ratio.period) == ("0.8", "2023")


@given(st.decimals("-50", "200", places=7, allow_nan=False))
def test_the_printed_figure_has_the_level_of_the_exact_one(percent: Decimal) -> None:
    ratio = found("concentration.customer", ("largest customer", str(percent * 3)), ("revenue", "300"))
    assert ratio is not None
    assert ratio.value == percent
    assert RULES.rule("concentration.customer").level(ratio.shown) == ratio.level
    assert abs(ratio.shown - percent) <= Decimal("0.05")


def test_events_are_counted_where_an_input_tells_of_events() -> None:
    rule = RULES.rule("legal.lawsuits")
    figures = read_figures([], [], RULES)
    events = read_events([{"date": "2024-05-01", "type": "诉讼"}, {"date": "2023-05-01", "type": "Lawsuit"}], RULES)
    counted, none = look(rule, figures, events), look(rule, figures, ())
    assert counted is not None
    assert none is not None
    assert (str(counted.shown), counted.level, counted.path) == ("2", "medium", "events[1], events[0]")
    assert (str(none.shown), none.level) == ("0", "low")
    assert look(rule, figures, None) is None


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ("many", "the field 'figures' is wrong"),
        ([{"value": 1}], r"figures\[0\] has no name"),
        ([{"name": "cash", "value": "lots of 42"}], r"figures\[0\] has no number"),
        ([{"name": "cash", "value": True}], r"figures\[0\] has no number"),
        ([{"name": "cash", "value": float("inf")}], r"figures\[0\] has no number"),
        ([{"name": "cash", "value": 1}, {"name": "cash", "value": 1, "unit": 7}], r"figures\[1\] has a unit"),
        ([{"name": "cash", "value": 1, "period": [2024]}], r"figures\[0\] has a period"),
    ],
)
def test_a_figure_that_cannot_be_read_is_named_by_its_place(figures: Any, says: str) -> None:
    with pytest.raises(RecordError, match=says) as caught:
        read_figures(figures, [], RULES)
    assert "42" not in str(caught.value)


@pytest.mark.parametrize(
    "event", [{"type": "lawsuit", "date": "soon"}, {"type": "eclipse", "date": "2024-01-01"}, 3, {"date": "2024-01-01"}]
)
def test_an_event_that_cannot_be_read_is_named_by_its_place(event: Any) -> None:
    with pytest.raises(RecordError, match=r"events\[0\] has no"):
        read_events([event], RULES)
