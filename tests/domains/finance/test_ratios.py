"""Ratios are of one year, one scale and one company's figures, and say how they were made."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.finance.derivations import evaluate, parse, paths
from domains.finance.ratios import RATIOS, compound, ratios
from domains.finance.table import read_table, read_tables

AMOUNTS = st.integers(1, 10**6)


def values(*tables: list[list[str]]) -> dict[tuple[str, str], Decimal]:
    return {(r.key, r.when): r.value for r in ratios(read_tables(list(tables)))}


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_ratios_are_what_a_pocket_calculator_says(
    revenue: int, cost: int, profit: int, assets: int, debts: int
) -> None:
    income = [
        ["$ thousands", "2024"],
        ["Revenue", str(revenue)],
        ["Cost of sales", str(cost)],
        ["Net income", str(profit)],
    ]
    balance = [["$ thousands", "2024"], ["Total assets", str(assets)], ["Total liabilities", str(debts)]]
    found = values(income, balance)
    for key, top, bottom in (
        ("gross_margin", revenue - cost, revenue),
        ("net_margin", profit, revenue),
        ("return_on_assets", profit, assets),
        ("leverage", debts, assets),
    ):
        slow = (Decimal(top * 100) / Decimal(bottom)).quantize(Decimal("0.1"), ROUND_HALF_UP)
        assert found[key, "2024"] == slow
    assert found["asset_turnover", "2024"] == (Decimal(revenue) / assets).quantize(Decimal("0.01"), ROUND_HALF_UP)


@given(AMOUNTS, AMOUNTS)
def test_scales_are_brought_to_one(profit: int, equity: int) -> None:
    tables = (
        [["$ thousands", "2024"], ["Net income", str(profit)]],
        [["$ millions", "2024"], ["Total equity", str(equity)]],
    )
    slow = (Decimal(profit) * 1000 * 100 / (Decimal(equity) * 10**6)).quantize(Decimal("0.1"), ROUND_HALF_UP)
    assert values(*tables)["return_on_equity", "2024"] == slow


def test_years_are_never_mixed() -> None:
    assert values([["", "2024"], ["Revenue", "10"]], [["", "2023"], ["Net income", "1"]]) == {}


def test_a_quarter_is_never_set_beside_a_year() -> None:
    quarter = [["", "Three months ended", ""], ["", "2024", "2023"], ["Net income", "1", "2"]]
    year = [["", "2024", "2023"], ["Revenue", "10", "8"]]
    assert values(quarter, year) == {}
    balance = [["", "2024", "2023"], ["Total assets", "100", "90"]]
    assert values(quarter, balance) == {}
    assert set(values([*quarter, ["Revenue", "10", "8"]])) == {("net_margin", "2024"), ("net_margin", "2023")}


def test_an_account_with_two_figures_for_a_year_is_in_no_ratio() -> None:
    segments = [["", "2024"], ["Revenue", "10"], ["Net income", "1"], ["Revenue", "12"]]
    assert values(segments) == {}
    assert values([["", "2024"], ["Revenue", "10"], ["Net income", "1"], ["Revenue", "10"]])["net_margin", "2024"] == 10


@pytest.mark.parametrize("base", ["0", "(5)", "—"])
def test_a_base_that_is_not_above_zero_gives_none(base: str) -> None:
    assert values([["", "2024"], ["Net income", "1"], ["Total equity", base]]) == {}


def test_a_ratio_that_the_input_states_is_not_made_again() -> None:
    stated = [["", "2024"], ["Revenue", "10"], ["Gross profit", "4"], ["Gross margin", "40.1%"]]
    assert ("gross_margin", "2024") not in values(stated)


def test_currencies_are_never_mixed() -> None:
    assert values([["€ millions", "2024"], ["Revenue", "10"]], [["$ millions", "2024"], ["Net income", "1"]]) == {}


def test_every_derivation_gives_its_value_and_names_its_operands() -> None:
    table = [
        ["单位:万元", "2024年", "2023年"],
        ["营业总收入", "2,000", "1,600"],
        ["营业成本", "1,200", "1,000"],
        ["研发费用", "200", "150"],
        ["净利润", "180", "(40)"],
        ["流动资产合计", "900", "800"],
        ["存货", "100", "90"],
        ["流动负债合计", "450", "500"],
        ["资产总计", "3,000", "2,800"],
        ["负债合计", "1,000", "1,100"],
        ["所有者权益合计", "2,000", "1,700"],
        ["经营活动产生的现金流量净额", "300", "200"],
        ["资本开支", "(120)", "(80)"],
    ]
    tables = read_tables([table])
    cells = {c.path: c.value for t in tables for r in t.rows for c in r.cells}
    found = ratios(tables)
    for ratio in found:
        expression = parse(ratio.derivation)
        assert evaluate(expression, cells.__getitem__) == ratio.value
        assert set(paths(expression)) == set(ratio.operands)
        assert ratio.derivation.partition(":")[0]
    assert {(r.key, str(r.value)) for r in found if r.when == "2024"} >= {
        ("gross_margin", "40.0"),
        ("research_share", "10.0"),
        ("quick_ratio", "1.78"),
        ("free_cash", "180"),
    }
    # A loss over revenue is a margin; a loss as a base is none.
    assert ("net_margin", "2023", "-2.5") in {(r.key, r.when, str(r.value)) for r in found}
    assert ("cash_conversion", "2023") not in {(r.key, r.when) for r in found}


def test_compound_growth_gives_the_last_year_again() -> None:
    row = read_table([["", "2024", "2023", "2022", "2021"], ["Sales", "1,331", "1,210", "1,100", "1,000"]], "t").rows[0]
    made = compound(row)
    assert made is not None
    assert (str(made[2]), made[0].when, made[1].when) == ("10.0", "2024", "2021")


@pytest.mark.parametrize("cells", [["5", "4"], ["5", "4", "0"], ["5", "4", "(2)"], ["5%", "4%", "3%"]])
def test_no_compound_growth_of_two_years_losses_or_rates(cells: list[str]) -> None:
    years = ["2024", "2023", "2022"][: len(cells)]
    assert compound(read_table([["", *years], ["Sales", *cells]], "t").rows[0]) is None


def test_every_ratio_has_both_names_and_a_formula() -> None:
    assert all(spec.english and spec.chinese and spec.formula for spec in RATIOS)
