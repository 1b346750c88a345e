"""Ragged tables are read as they stand; what cannot be told is left unsaid."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.finance.table import change, read_table, read_tables
from fedcore.errors import RecordError


def test_header_without_label_cell_lies_over_the_figures() -> None:
    table = read_table([["2023", "2024"], ["Revenue", "307", "350"]], "t")
    assert [(c.when, c.value) for c in table.rows[0].years] == [("2024", Decimal(350)), ("2023", Decimal(307))]


def test_signs_in_cells_of_their_own_join_their_figure() -> None:
    table = read_table([["", "2024", "Change"], ["Total", "$", "17,828", "(1.2", "%)"]], "t")
    assert [(c.value, c.percent) for c in table.rows[0].cells] == [(Decimal(17828), False), (Decimal("-1.2"), True)]


def test_a_margin_is_a_percentage_and_a_price_per_share_has_no_scale() -> None:
    rows = [["(in millions)", "2024", "2023"], ["Gross margin", "18.4", "19.4"], ["Earnings per share", "8.04", "5.80"]]
    margin, share = read_table(rows, "t").rows
    assert margin.cells[0].percent
    assert (share.scale, margin.scale) == ("", "million")


def test_a_change_column_is_no_year() -> None:
    table = read_table([["", "2024", "Change vs. 2023"], ["Sales", "5", "7"]], "t")
    assert [c.when for c in table.rows[0].cells] == ["2024", ""]


def test_a_row_that_does_not_fit_its_header_keeps_no_year() -> None:
    table = read_table([["", "2024", "2023"], ["Sales", "5", "7", "9", "11"]], "t")
    assert {c.when for c in table.rows[0].cells} == {""}


def test_dashes_and_words_are_no_figures() -> None:
    assert [c.value for c in read_table([["", "2024", "2023"], ["Sales", "—", "7"]], "t").rows[0].cells] == [7]


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_change_is_what_a_pocket_calculator_says(new: int, old: int) -> None:
    row = read_table([["", "2024", "2023"], ["Sales", f"{new:,}", f"{old:,}"]], "t").rows[0]
    moved = change(*row.years)
    assert moved.absolute == new - old
    assert moved.percent is not None
    assert abs(float(moved.percent) - (new - old) * 100 / old) <= 0.0500001


def test_no_percentage_of_a_loss() -> None:
    row = read_table([["", "2024", "2023"], ["Result", "5", "(7)"]], "t").rows[0]
    assert change(*row.years).percent is None


@pytest.mark.parametrize("value", [None, "x", [1], [["a"]], [[["a"] * 30_000]]])
def test_what_is_not_a_list_of_tables_is_refused(value: object) -> None:
    with pytest.raises(RecordError):
        read_tables(value)


@given(st.lists(st.lists(st.text(max_size=8), max_size=6), max_size=8))
def test_any_table_of_texts_is_read_without_failing(rows: list[list[str]]) -> None:
    read_table(rows, "t")
