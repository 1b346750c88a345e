"""Questions of a known form are answered from the table alone; the others are left."""

from decimal import Decimal

import pytest

from domains.finance.questions import answer

TABLE = [
    ["(in thousands)", "2019", "2018", "2017"],
    ["Net sales", "1,200", "1,000", "900"],
    ["Cost of sales", "700", "650", "610"],
    ["Research costs", "90", "75", "60"],
    ["Discount rate", "2.9%", "3.8%", "4.0%"],
]


@pytest.mark.parametrize(
    ("question", "value", "scale"),
    [
        ("What was the change in net sales between 2018 and 2019?", "200", "thousand"),
        ("What was the percentage change in research costs from 2017 to 2018?", "25", "percent"),
        ("What is the average cost of sales for 2018 and 2019?", "675", "thousand"),
        ("What is the average net sales from 2017 to 2019?", "1033.33", "thousand"),
        ("What is the total research costs in 2018 and 2019?", "165", "thousand"),
        ("By how much did the discount rate decrease between 2018 and 2019?", "-0.9", "percent"),
        ("What was the ratio of cost of sales to net sales in 2018?", "0.65", ""),
        ("What are research costs as a percentage of net sales in 2019?", "7.5", "percent"),
        ("What is the difference between net sales and cost of sales in 2017?", "290", "thousand"),
    ],
)
def test_rows_and_years_are_those_of_the_question(question: str, value: str, scale: str) -> None:
    made = answer(question, TABLE)
    assert made is not None
    assert (made.value, made.scale) == (Decimal(value).quantize(Decimal("0.01")), scale)


@pytest.mark.parametrize(
    "question",
    [
        "Why did net sales rise?",
        "What was the change in net sales between 2015 and 2019?",
        "What was the change in goodwill between 2018 and 2019?",
        "What was the change between 2018 and 2019?",
        "",
    ],
)
def test_what_is_not_plain_is_not_answered(question: str) -> None:
    assert answer(question, TABLE) is None
