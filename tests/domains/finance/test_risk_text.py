"""A sentence becomes feature words in which what it does to a reader shows, and twins are one unit."""

from typing import Any

import numpy as np
import pytest

from domains.base import Task
from domains.finance.risk_rules import load_rules
from domains.finance.risk_synthetic import RISK_SITES, risk_public, risk_records
from domains.finance.risk_text import RiskTextTask, category_of, feature_words, marks, sentences
from fedcore.errors import ConfigError, RecordError

TASK = RiskTextTask()


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("我们可能会将信息共享给合作伙伴", "third"),
        ("We may share it with third parties", "third"),
        ("我们将无限期保存", "forever"),
        ("We keep it indefinitely", "forever"),
    ],
)
def test_a_negation_turns_a_mark_around(text: str, mark: str) -> None:
    assert mark in marks(text)
    turned = (
        text.replace("可能会", "不会")
        .replace("将无", "不会无")
        .replace("We may", "We never")
        .replace("We k", "We do not k")
    )
    assert f"not:{mark}" in marks(turned)
    assert mark not in marks(turned)


def test_a_negation_reaches_no_further_than_its_clause() -> None:
    assert "third" in marks("我们不会出售，但可能会共享给第三方")
    assert "not:third" in marks("我们不会共享给第三方")


def test_width_and_space_change_no_words() -> None:
    assert feature_words("视为 同意（ABC）") == feature_words("视为同意(ＡＢＣ)")


def test_a_site_adds_words_and_takes_none() -> None:
    plain, with_site = feature_words("视为您同意"), feature_words("视为您同意", site="app 7")
    assert with_site[: len(plain)] == plain
    assert set(with_site[len(plain) :]) == {"site=app_7", *(f"app_7<{m}>" for m in ("deemed", "ends", "length0"))}
    assert not any(" " in w for w in with_site)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("甲方负责。乙方不负责！丙方呢？", ["甲方负责。", "乙方不负责！", "丙方呢？"]),
        ("以下情形除外：\n一、国家安全；\n二、公共安全。", ["以下情形除外：", "一、国家安全；", "二、公共安全。"]),
        ("It may stop. Rates of 3.5% apply. Why?", ["It may stop.", "Rates of 3.5% apply.", "Why?"]),
        ("One line\n\n42\nAnother", ["One line", "Another"]),
    ],
)
def test_sentences_are_cut_as_they_stand(text: str, cut: list[str]) -> None:
    found = sentences(text)
    assert [p.text for p in found] == cut
    for passage in found:
        start, end = map(int, passage.path.removeprefix("text[").removesuffix("]").split(":"))
        assert text[start:end].strip() == passage.text


def test_a_category_needs_more_terms_than_any_other() -> None:
    terms = load_rules().terms
    assert category_of("Changes in exchange rates and interest rates", terms) == "market"
    assert category_of("Things happen.", terms) is None
    assert category_of("one liquidity, one litigation", {"a": ("liquidity",), "b": ("litigation",)}) is None


def test_the_prompt_of_training_is_that_of_use() -> None:
    assert isinstance(TASK, Task)
    row = next(risk_records("harbour", 1, seed=1))
    (example,) = TASK.examples(row, unit="u")
    assert example.prompt == TASK.prompt(TASK.read({"text": row["text"], "site": row["site"]}))
    assert (example.label, example.unit, example.target) == (row["label"], "u", "")


@pytest.mark.parametrize(
    "fields", [{"text": "x"}, {"text": " ", "label": "risk"}, {"text": "x", "label": 1}, {"label": "a"}]
)
def test_a_record_that_cannot_train_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="a record has no"):
        TASK.examples(fields, unit="u")


def test_synthetic_sentences_are_seeded_and_varied() -> None:
    rows = [r for site in RISK_SITES for r in risk_records(site, 200, seed=5)]
    assert rows == [r for site in RISK_SITES for r in risk_records(site, 200, seed=5)]
    assert len({r["text"] for r in rows}) > 500
    share = np.mean([r["label"] == "risk" for r in rows])
    assert 0.25 < share < 0.35
    for lang in ("en", "zh"):
        risky = {r["text"] for r in rows if r["label"] == "risk" and r["lang"] == lang}
        calm = {r["text"] for r in rows if r["label"] == "none" and r["lang"] == lang}
        assert len(risky) > 40
        assert not risky & calm
    assert {r["category"] for r in rows} <= set(load_rules().categories)


def test_no_single_word_tells_a_synthetic_risk() -> None:
    rows = [r for site in RISK_SITES for r in risk_records(site, 300, seed=6) if r["lang"] == "en"]
    truth = np.array([r["label"] == "risk" for r in rows])
    words = [set(r["text"].lower().strip(".").replace(",", "").split()) for r in rows]
    for word in set().union(*words):
        has = np.array([word in w for w in words])
        recall, precision = (has & truth).sum() / truth.sum(), (has & truth).sum() / has.sum()
        assert 2 * recall * precision / max(1e-9, recall + precision) < 0.65


def test_a_site_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not known"):
        list(risk_records("atlantis", 1, seed=1))


def test_public_sentences_come_of_streams_of_their_own() -> None:
    own = [r["text"] for site in RISK_SITES for r in risk_records(site, 20, seed=5)]
    assert [r["text"] for r in risk_public(60, seed=5)] != own
    assert set(risk_public(1, seed=5)[0]) == {"text", "label", "category", "lang"}
