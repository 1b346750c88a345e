"""Two norms conflict where they differ in what binds, and not where they differ in words alone."""

import pytest

from domains.finance._clauses import norms
from domains.finance._conflicts import compare, features, similarity


def found(clause: str, passage: str) -> list[tuple[str, str]]:
    return [(c.kind, c.rule) for c in compare(norms(clause)[0], norms(passage)[0])]


@pytest.mark.parametrize(
    ("clause", "passage", "kind"),
    [
        ("The bank must answer within 15 days.", "The bank must answer within 10 days.", "stricter deadline"),
        ("Records are kept for at least six years.", "Records are kept for at least five years.", "looser deadline"),
        ("The bank must answer within 15 days.", "The bank must answer within 15 business days.", "looser deadline"),
        ("罚款不得超过5万元。", "罚款不得超过八万元。", "looser number"),
        ("The fee must be at least 3%.", "The fee must be at most 3%.", "contradiction"),
        ("应当每年评估一次。", "应当每两年评估一次。", "looser deadline"),
        ("The bank must report losses.", "The bank may report losses.", "missing duty"),
        ("The bank must not lend money.", "The bank may lend money.", "permission against prohibition"),
        ("银行应当放款。", "银行不得放款。", "contradiction"),
        ("保险人应当向投保人说明。", "投保人应当向保险人说明。", "wrong party"),
        ("The adviser must inform clients.", "The broker must inform clients.", "wrong party"),
        ("未经批准变更名称的，处以罚款。", "经批准变更名称的，处以罚款。", "contradiction"),
        ("All employees must be trained.", "Some employees must be trained.", "looser number"),
        ("银行应当在放款前核验。", "银行应当在放款前核验，但紧急情况除外。", "contradiction"),
        ("Client money must be held apart.", "Client money must be held together.", "contradiction"),
        ("银行应当保存记录。", "银行应当尽量保存记录。", "missing duty"),
        ("本规定自2024年1月1日起施行。", "本规定自2025年1月1日起施行。", "contradiction"),
    ],
)
def test_a_conflict_is_found_and_named(clause: str, passage: str, kind: str) -> None:
    assert kind in [k for k, _ in found(clause, passage)]


@pytest.mark.parametrize(
    ("clause", "passage"),
    [
        ("The bank must answer within thirty days.", "Within 30 days, the bank shall answer."),
        ("保险人应当在三十日内核定。", "保险人必须在３０日之内核定。"),
        ("The term is one year.", "The term is twelve months."),
        ("罚款不得超过5万元。", "罚款不准超过50000元。"),
        ("The bank must not inform the customer.", "The customer must not be informed by the bank."),
        ("人员不得少于二人。", "人员至少两人。"),
        ("The rate must not exceed 3%.", "The rate must be no more than 3 per cent."),
        ("银行应当保存记录。", "商业银行应当保存记录。"),
    ],
)
def test_the_same_in_other_words_is_no_conflict(clause: str, passage: str) -> None:
    assert found(clause, passage) == []


def test_conflicts_of_norms_that_are_hardly_alike_are_less_sure() -> None:
    a, b = norms("Pay within 15 days.")[0], norms("Pay within 30 days.")[0]
    assert compare(a, b, alike=0.35)[0].confidence < compare(a, b, alike=1.0)[0].confidence


def test_similarity_is_one_for_itself_and_nought_for_nothing_shared() -> None:
    a = features(norms("银行应当保存客户资料。")[0])
    assert similarity(a, a) == 1.0
    assert similarity(a, features(norms("Offices close at noon.")[0])) == 0.0
