"""Totals that hold are left in peace; one that was changed is found."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domains.finance.table import read_table, read_tables
from domains.finance.totals import identities, totals

ROWS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=2, max_size=8)


def table(rows: list[tuple[int, int]], total: tuple[int, int]) -> list[list[str]]:
    body = [[f"Part {'abcdefgh'[i]}", f"{a:,}", f"{b:,}"] for i, (a, b) in enumerate(rows)]
    return [["", "2024", "2023"], *body, ["Total parts", f"{total[0]:,}", f"{total[1]:,}"]]


@given(ROWS)
def test_a_sum_that_holds_is_never_called_wrong(rows: list[tuple[int, int]]) -> None:
    right = (sum(a for a, _ in rows), sum(b for _, b in rows))
    (total,) = totals(read_table(table(rows, right), "t"))
    assert total.adds_up


@given(ROWS, st.integers(1, 10**5))
def test_a_total_changed_in_one_year_is_found_with_its_difference(rows: list[tuple[int, int]], by: int) -> None:
    right = (sum(a for a, _ in rows), sum(b for _, b in rows))
    assume(right[1] and by > len(rows))
    # Fewer rows must not happen to give the changed total.
    assume(all(sum(a for a, _ in rows[k:]) != right[0] + by for k in range(len(rows))))
    assume(all(sum(b for _, b in rows[k:]) != right[1] for k in range(1, len(rows))))
    (total,) = totals(read_table(table(rows, (right[0] + by, right[1])), "t"))
    assert [(c.cell.when, c.difference) for c in total.columns if c.difference] == [("2024", Decimal(by))]


def test_totals_of_totals_are_followed() -> None:
    rows = [
        ["", "2024"],
        ["流动资产:", ""],
        ["货币资金", "5"],
        ["存货", "7"],
        ["流动资产合计", "12"],
        ["非流动资产:", ""],
        ["固定资产", "20"],
        ["商誉", "3"],
        ["非流动资产合计", "23"],
        ["资产总计", "36"],
    ]
    found = totals(read_table(rows, "t"))
    assert [(t.row.label, [p.label for p in t.parts]) for t in found][:2] == [
        ("流动资产合计", ["货币资金", "存货"]),
        ("非流动资产合计", ["固定资产", "商誉"]),
    ]
    assert all(t.adds_up for t in found)
    rows[-1][1] = "35"
    assert totals(read_table(rows, "t"))[-1].row.label == "资产总计"


def test_what_is_taken_off_is_taken_off() -> None:
    rows = [
        ["", "2024", "2023"],
        ["Plant", "50", "40"],
        ["Land", "9", "9"],
        ["Less depreciation", "20", "10"],
        ["Total", "39", "39"],
    ]
    assert [t.adds_up for t in totals(read_table(rows, "t"))] == [True]


def test_rounding_explains_half_a_digit_a_part() -> None:
    rows = [["", "2024"], ["A", "1"], ["B", "1"], ["C", "1"], ["Total", "4"]]
    assert [t.adds_up for t in totals(read_table(rows, "t"))] == [True]


@pytest.mark.parametrize(
    "rows",
    [
        [["", "2024"], ["Share price", "12"], ["Total return", "90"]],
        [["", "2024"], ["Stores", "12"], ["Margin", "4%"], ["Total return", "90"]],
        [["", "Shares", "Price"], ["March", "5", "10"], ["April", "6", "12"], ["Total", "11", "11"]],
    ],
)
def test_what_was_not_meant_as_a_sum_is_no_finding(rows: list[list[str]]) -> None:
    assert all(t.adds_up for t in totals(read_table(rows, "t")))


def test_assets_that_do_not_equal_what_finances_them_are_found() -> None:
    rows = [
        ["", "2024", "2023"],
        ["Total assets", "100", "90"],
        ["Total liabilities", "60", "50"],
        ["Total equity", "38", "40"],
    ]
    (found,) = identities(read_tables([rows]))
    assert [(c.cell.when, str(c.difference)) for c in found.columns] == [("2024", "2")]
    assert identities(read_tables([[*rows, ["Noncontrolling interests", "2", "0"]]])) == ()


def test_a_cost_printed_below_zero_is_added() -> None:
    rows = [["", "2024"], ["Revenue", "100"], ["Cost of sales", "(60)"], ["Gross profit", "40"]]
    assert identities(read_tables([rows])) == ()
