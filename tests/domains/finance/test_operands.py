"""A calculation's operands are found in the input by value and scale, or it is refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.finance.operands import calculate, figures
from fedcore.errors import RecordError

TABLE = [
    ["(in thousands)", "2019", "2018", "2017"],
    ["Net sales", "$", "1,200", "$", "1,000", "$", "900"],
    ["Loss on sale", "(300)", "(240)", "—"],
    ["Discount rate", "2.9%", "3.8%", "4.0%"],
    ["Earnings per share", "0.34", "0.30", "0.21"],
]
FOUND = figures([TABLE], ["A reserve of $60.3 million was made."])


@pytest.mark.parametrize(
    ("derivation", "question", "value", "scale"),
    [
        ("1,200 - 1,000", "What was the change in net sales?", "200", "thousand"),
        ("(1,200 - 1,000) / 1,000", "What was the percentage change?", "20", "percent"),
        ("1,200/1,000", "What is the ratio of sales?", "1.2", ""),
        ("1,000/1,200", "What share of sales in percent?", "83.33", "percent"),
        ("(1,200+1,000+900)/3", "What was the average?", "1033.33", "thousand"),
        ("(1,200+1,000)/(2019-2018+1)", "What was the average?", "1100", "thousand"),
        ("1,200 / 900 - 1", "By how much did it grow?", "33.33", "percent"),
        ("-300 - (-240)", "What was the change in the loss?", "-60", "thousand"),
        ("-300 - (240)", "What was the change in the loss?", "-60", "thousand"),
        ("-(300 + 240)/2", "What was the average loss?", "-270", "thousand"),
        ("240 - 0", "What was the change?", "240", "thousand"),
        ("2.9% - 3.8%", "What was the change in the rate?", "-0.9", "percent"),
        ("(2.9+3.8)/2", "What was the average rate?", "3.35", "percent"),
        ("0.34 - 0.30", "What was the change in earnings per share?", "0.04", ""),
        ("60.3 million + 1,200 thousand", "What was it in total, in thousands?", "61500", "thousand"),
    ],
)
def test_value_and_scale_are_the_inputs(derivation: str, question: str, value: str, scale: str) -> None:
    answer = calculate(derivation, FOUND, question)
    assert (answer.value, answer.scale) == (Decimal(value).quantize(Decimal("0.01")), scale)


@pytest.mark.parametrize(
    "derivation", ["1,200 - 999", "1,201/1,000", "1,200 / 0", "5 million + 1,200", "tables[0][1][1] - 1"]
)
def test_an_operand_that_is_not_there_is_refused(derivation: str) -> None:
    with pytest.raises(RecordError):
        calculate(derivation, FOUND, "")


def test_the_scale_of_a_caption_serves_a_table_without_one() -> None:
    (found,) = (
        f
        for f in figures([[["", "2019"], ["Sales", "7"]]], ["The sales were as follows (in millions):"])
        if f.value == 7
    )
    assert found.scale == "million"


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from(["thousand", "million", "billion"]))
def test_a_change_is_exact_in_any_scale(new: int, old: int, scale: str) -> None:
    found = figures([[[f"(in {scale}s)", "2024", "2023"], ["Sales", f"{new:,}", f"{old:,}"]]])
    answer = calculate(f"{new:,} - {old:,}", found, "What was the change?")
    assert (answer.value, answer.scale) == (Decimal(new - old), scale)
    share = calculate(f"({new} - {old}) / {old}", found, "What was the percentage change?")
    assert abs(share.value - Decimal((new - old) * 100) / old) <= Decimal("0.005")
