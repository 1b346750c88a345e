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


def dated(rows: list[list[str]]) -> list[list[tuple[str, str, str]]]:
    return [[(str(c.value), c.when, c.part) for c in row.cells] for row in read_table(rows, "t").rows]


def test_a_grid_with_empty_cells_keeps_its_columns() -> None:
    assert dated([["", "2024", "2023", "2022"], ["Sales", "5", "", "3"]]) == [[("5", "2024", ""), ("3", "2022", "")]]


def test_a_share_beside_a_year_may_be_a_change_and_keeps_none() -> None:
    rows = [["", "2024", "", "2023", ""], ["", "$", "%", "$", "%"], ["Sales", "5", "40", "", "30"]]
    assert dated(rows) == [[("5", "2024", ""), ("40", "", ""), ("30", "", "")]]


def test_a_head_over_several_columns_is_each_ones() -> None:
    rows = [
        ["", "Three months ended June 30,", "", "Year ended June 30,", ""],
        ["", "2024", "2023", "2024", "2023"],
        ["Sales", "1", "2", "5", "4"],
    ]
    (row,) = read_table(rows, "t").rows
    assert [(str(c.value), c.when) for c in row.years] == [("5", "2024"), ("4", "2023")]
    assert dated(rows)[0][0] == ("1", "2024", "three months")


def test_a_ragged_table_of_quarters_and_years_keeps_no_year() -> None:
    rows = [["Three months ended", "Year ended"], ["", "2024", "2023", "2024", "2023"], ["Sales", "1", "2", "5", "4"]]
    assert {when for _, when, _ in dated(rows)[0]} == {""}


def test_a_later_header_heads_what_follows() -> None:
    rows = [["", "2024", "2023"], ["Sales", "5", "4"], ["(in millions)", "2022", "2021"], ["Sales", "3", "2"]]
    assert [[c[1] for c in row] for row in dated(rows)] == [["2024", "2023"], ["2022", "2021"]]


def test_columns_of_changes_are_proven_by_the_figures() -> None:
    rows = [
        ["Year ended", "2024 vs. 2023 Change"],
        ["(in millions)", "2024", "2023"],
        ["Sales", "50", "40", "10", "25"],
    ]
    assert [c[1] for c in dated(rows)[0]] == ["2024", "2023", "", ""]
    rows[2][3] = "11"
    assert {c[1] for c in dated(rows)[0]} == {""}


def test_a_figure_that_could_be_a_year_is_one_under_a_year_alone() -> None:
    assert dated([["", "2024"], ["Sales", "1950"]]) == [[("1950", "2024", "")]]
    assert dated([["Year", "2024", "2023"], ["Sales", "5", "4"]])[0][0][1] == "2024"


def test_a_caption_over_one_column_makes_it_no_percentage() -> None:
    rows = [["", "2024", "2023"], ["", "", "(in thousands, except percentages)"], ["Sales", "50", "40"]]
    table = read_table(rows, "t")
    assert [c.percent for c in table.rows[0].cells] == [False, False]
    assert table.scale == "thousand"


@pytest.mark.parametrize(
    ("head", "scale", "currency"),
    [
        ("单位：万元", "万", "¥"),
        ("人民币百万元", "million", "¥"),
        ("单位：亿元", "亿", "¥"),
        ("单位：千美元", "thousand", "$"),
        ("单位：元", "", "¥"),
        ("$M", "million", "$"),
        ("US$ '000", "thousand", "$"),
        ("RMB’Million", "million", "¥"),
        ("USDm", "million", "$"),
        ("(£ bn)", "billion", "£"),
        ("HK$ million", "million", ""),
        ("单位：百万日元", "million", ""),
        ("", "", ""),
    ],
)
def test_scale_and_currency_are_what_the_head_says(head: str, scale: str, currency: str) -> None:
    table = read_table([[head, "2024年", "2023年"], ["营业收入", "5", "4"]], "t")
    assert (table.scale, table.currency) == (scale, currency)
    assert [c.when for c in table.rows[0].cells] == ["2024", "2023"]


def test_a_scale_within_the_cells_goes_before_the_heads() -> None:
    table = read_table([["(in thousands)", "2024", "2023"], ["Sales", "$1.2 billion", "$1.1 billion"]], "t")
    assert (table.rows[0].scale, str(table.rows[0].cells[0].value)) == ("billion", "1.2")


def test_a_path_names_the_cell_as_the_input_holds_it() -> None:
    table = read_table([["", "2024", "2023"], ["Sales", "$", "5", "$", "4"]], "tables[3]")
    assert [c.path for c in table.rows[0].cells] == ["tables[3][1][2]", "tables[3][1][4]"]
