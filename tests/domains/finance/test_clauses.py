"""A clause is read as what it obliges: party, modality, figures with their comparison, places to quote."""

from fractions import Fraction

import pytest

from domains.finance._clauses import norms, number, parties_of, segments


@pytest.mark.parametrize(
    ("text", "value", "measure", "compare"),
    [
        ("within thirty (30) days", 720, "hours", "max"),
        ("应当在三十日内作出", 720, "hours", "max"),
        ("不少于两名独立董事", 2, "count", "min"),
        ("注册资本不低于人民币一亿元", 10**8, "CNY", "min"),
        ("罚款不准超过1.5亿元", 150_000_000, "CNY", "max"),
        ("at least six years", 72, "months", "min"),
        ("no later than two business days", 2, "working days", "max"),
        ("is not permitted to exceed 15% of capital", Fraction(3, 20), "share", "max"),
        ("百分之五以下", Fraction(1, 20), "share", "max"),
        ("三分之二以上的股东", Fraction(2, 3), "share", "min"),
        ("有效期一年半", 18, "months", ""),
        ("１２个月", 12, "months", ""),
        ("more than $1,000", 1000, "USD", "over"),
        ("十八周岁以上", 18, "age", "min"),
        ("must not exceed the agreed share of 3%", Fraction(3, 100), "share", "max"),
    ],
)
def test_figures_are_read_with_measure_and_comparison(text: str, value: Fraction, measure: str, compare: str) -> None:
    (quantity,) = norms(text)[0].quantities
    assert (quantity.value, quantity.measure, quantity.compare) == (value, measure, compare)


@pytest.mark.parametrize(
    "text",
    ["依照第二十三条第一款", "本法自2022年3月1日起施行", "under Article 12(3)", "(a) firms", "一个机构", "上一年度"],
)
def test_places_dates_and_articles_are_no_figures(text: str) -> None:
    assert norms(text)[0].quantities == ()


@pytest.mark.parametrize(
    ("text", "modality"),
    [
        ("The bank may not lend.", "must not"), ("The bank may lend.", "may"),
        ("The bank is required to lend.", "must"),
        ("The bank need not lend.", "need not"), ("银行不得放款。", "must not"), ("银行可以不放款。", "need not"),
        ("银行有权放款。", "may"), ("银行必须放款。", "must"), ("严禁银行放款。", "must not"),
    ],
)  # fmt: skip
def test_modals_are_told_apart(text: str, modality: str) -> None:
    assert [m.modality for m in norms(text)[0].modals] == [modality]


@pytest.mark.parametrize("text", ["采取相应措施。", "反应及时。", "许可证到期。", "尽可能完整。", "供应商名录。"])
def test_words_that_hold_a_modal_are_none(text: str) -> None:
    assert norms(text)[0].modals == ()


def test_who_acts_is_told_from_who_is_acted_on() -> None:
    active, passive = norms("The bank must inform the customer. The customer must not be informed by the bank.")
    assert [(p.name, p.agent) for p in active.parties] == [("bank", True), ("customer", False)]
    assert [(p.name, p.agent) for p in passive.parties] == [("customer", False), ("bank", True)]


def test_segments_are_slices_and_points_keep_their_lead() -> None:
    text = "银行应当：\n（一）报告；\n（二）记录。但紧急情况除外。Mr. A must pay. B may go."
    found = segments(text)
    assert all(text[s.start : s.end] == s.text for s in found)
    assert [s.lead for s in found[1:3]] == ["银行应当：", "银行应当："]
    assert found[2].text == "（二）记录。但紧急情况除外。"
    assert [s.text for s in found[3:]] == ["Mr. A must pay.", "B may go."]


@pytest.mark.parametrize(
    ("text", "value"),
    [("三百二十", 320), ("一万二千", 12000), ("十五", 15), ("twenty-five", 25), ("three thousand", 3000)],
)
def test_numbers_in_words_have_their_value(text: str, value: int) -> None:
    assert number(text) == value


def test_a_body_of_rules_names_its_own_parties() -> None:
    assert parties_of(["收单机构应当核验。", "收单机构不得转让。", "对客户应当核验。"], at_least=2) == {"收单机构"}
