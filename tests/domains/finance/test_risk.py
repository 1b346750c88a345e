"""A document about risks states what its rules found, quotes literally, and prints no figure that is not input."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from domains._han_figures import han_normalise
from domains.base import Language, traits
from domains.checks import Checker
from domains.finance.risk import RiskTask
from domains.finance.risk_rules import Rule
from domains.finance.risk_synthetic import RISK_SITES, risk_records
from domains.pipeline import Settings, generate
from fedcore.errors import RecordError

TASK = RiskTask()
SHAPES = {"quotient": Decimal(1), "percent": Decimal(100)}
LANGS: tuple[Language, ...] = ("en", "zh")
KEYS = {key: name for name, key in sorted(TASK.rules.figures.items(), reverse=True)}


def fields_for(rule: Rule, value: Decimal) -> dict[str, Any]:
    """An input in which what a rule looks at has a value: the simplest figures that give it."""
    ratio = rule.ratio
    if ratio.shape == "count":
        return {"events": [{"type": ratio.of[0], "date": f"2024-01-{n + 1:02d}"} for n in range(int(value))]}
    if ratio.shape == "figure":
        return {"figures": [figure(ratio.of[0], value, "%" if rule.percent else "")]}
    if ratio.shape == "change":
        return {
            "figures": [figure(ratio.of[0], 100 + value, "", "2024"), figure(ratio.of[0], Decimal(100), "", "2023")]
        }
    top, bottom = ratio.of
    parts = [figure(top, value * 100 / SHAPES[ratio.shape] + (7 if ratio.less else 0)), figure(bottom, Decimal(100))]
    return {"figures": [*parts, *([figure(ratio.less, Decimal(7))] if ratio.less else [])]}


def figure(key: str, value: Decimal, unit: str = "", period: str = "2024") -> dict[str, Any]:
    return {"name": KEYS[key], "value": str(value), "unit": unit, "period": period}


def beside(rule: Rule, threshold: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    step = Decimal(1) if rule.ratio.shape == "count" else Decimal("0.004")
    return threshold - step, threshold, threshold + step


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("rule", TASK.rules.rules, ids=lambda r: r.id)
def test_each_rule_says_its_level_at_under_and_over_each_threshold(rule: Rule, lang: Language) -> None:
    for _, threshold in rule.thresholds:
        for value in beside(rule, threshold):
            source = TASK.read(fields_for(rule, value) | {"lang": lang})
            found = next(f for f in TASK.findings(source)[0] if f.rule is rule)
            assert (found.value, found.level) == (value, rule.level(value))
            document = generate(TASK, source, None, Settings())
            said = [s for s in document.sentences if s.rule == f"{rule.id}@{rule.version}"]
            assert len(said) == (found.level != "low")
            if said:
                category = TASK.rules.categories[rule.category][lang]
                word = TASK.rules.levels[found.level][lang]
                assert (f"{word} {category}" if lang == "en" else f"{category}等级为{word}") in said[0].text
                assert rule.why[lang] in said[0].text
                derived = [m.fact.derivation for m in said[0].mentions if m.fact.derivation]
                assert bool(derived) == (rule.ratio.shape != "figure")


@pytest.mark.parametrize("lang", LANGS)
def test_a_missing_figure_is_said_to_be_not_specified(lang: Language) -> None:
    source = TASK.read({"figures": [figure("current_assets", Decimal(80))], "lang": lang})
    document = generate(TASK, source, None, Settings())
    last = next(s for s in document.sentences if s.rule == "risk.not-specified@1")
    assert last.text.startswith({"en": "Not specified: ", "zh": "未提供数据，不作判断："}[lang])
    for rule in TASK.rules.rules:
        assert rule.ratio.label[lang] in last.text
    assert document.figures == 0


def test_a_name_that_no_rule_knows_is_said() -> None:
    text = generate(TASK, TASK.read({"figures": {"Widgets sold": 12}}), None, Settings()).text
    assert "No rule looks at: Widgets sold." in text
    assert "12" not in text


TEXTS = {
    "en": "We shall not be liable for 3 losses, ever. The sun shines. We will not share data with any third party.",
    "zh": "对于3项损失，我们概不负责。天气晴朗。我们不会向任何第三方提供信息；继续使用即视为同意。",
}


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("written", LANGS)
def test_quotes_are_literal_and_traced(lang: Language, written: Language) -> None:
    text = TEXTS[written]
    source = TASK.read({"text": text, "lang": lang})
    factors = TASK.factors(source)
    assert [f.passage.number for f in factors] == ([1] if written == "en" else [1, 4])
    document = generate(TASK, source, None, Settings())
    for factor in factors:
        assert factor.quote in text
        start, end = map(int, re.findall(r"\d+", factor.passage.path))
        assert text[start:end].strip() == factor.quote
        assert han_normalise(factor.quote) in han_normalise(document.text)
        assert any(m.fact.path == factor.passage.path for s in document.sentences for m in s.mentions)
    assert document.untraced == 0


class Judge:
    """Says of each prompt what it was told to say."""

    def __init__(self, labels: tuple[str, ...], rows: list[list[float]]) -> None:
        self.labels, self._rows = labels, rows

    def logits(self, prompts: Sequence[str]) -> Any:
        assert len(prompts) == len(self._rows)
        return np.array(self._rows, dtype=np.float32)


@pytest.mark.parametrize("lang", LANGS)
def test_a_classifiers_word_is_stated_with_its_probability(lang: Language) -> None:
    source = TASK.read({"text": ["Suppliers may stop.", "The sun shines.", "Rates may move."], "lang": lang})
    assert TASK.factors(source) == ()
    source = TASK.judge(source, Judge(("none", "risk"), [[0.0, 2.0], [3.0, 0.0], [0.0, 0.1]]))
    factors = TASK.factors(source)
    assert [(f.passage.number, f.level, f.rule) for f in factors] == [
        (1, "high", "text.judged@1"),
        (3, "medium", "text.judged@1"),
    ]
    document = generate(TASK, source, None, Settings())
    assert "0.88" in document.text
    assert any("classifier" in m.fact.derivation for s in document.sentences for m in s.mentions)
    source = TASK.judge(source, Judge(("market", "operational"), [[0.0, 2.0], [3.0, 0.0], [3.0, 0.0]]))
    assert [f.category for f in TASK.factors(source)] == ["operational", "market"]


def test_a_sentence_of_no_category_gets_none() -> None:
    source = TASK.judge(TASK.read({"text": ["Things may change."]}), Judge(("none", "risk"), [[0.0, 9.0]]))
    assert TASK.factors(source)[0].category is None
    assert "high risk of no category" in generate(TASK, source, None, Settings()).text


@pytest.mark.parametrize("lang", LANGS)
@budget(deadline=None, max_examples=25)
@given(data=st.data())
def test_no_document_prints_a_figure_that_is_not_input(lang: Language, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=8, unique=True))
    numbers = st.decimals("-999999", "999999", places=2, allow_nan=False)
    given_ = [figure(n, data.draw(numbers), period=data.draw(st.sampled_from(("2023", "2024")))) for n in names]
    source = TASK.read({"figures": given_, "lang": lang})
    document = generate(TASK, source, None, Settings())
    held = {str(f.shown.copy_abs()) for f in TASK.findings(source)[0]}
    held |= {str(t) for rule in TASK.rules.rules for _, t in rule.thresholds} | {"2023", "2024"}
    for number in re.findall(r"\d+(?:\.\d+)?", document.text.replace(",", "")):
        assert number in held


@pytest.mark.parametrize("lang", LANGS)
def test_a_sentence_that_gives_one_figures_level_to_another_fails(lang: Language) -> None:
    fields = fields_for(TASK.rules.rule("liquidity.current-ratio"), Decimal("0.5"))
    fields["figures"] += fields_for(TASK.rules.rule("credit.debt-to-equity"), Decimal("1.5"))["figures"]
    skeleton = TASK.skeleton(TASK.read(fields | {"lang": lang}))
    first = next(s.text for s in skeleton.statements if s.rule.startswith("liquidity.current-ratio"))
    checker = Checker(skeleton)
    assert checker.check(first).faults == ()
    swaps = {"en": [("0.5", "1.5"), ("high liquidity", "medium credit"), ("below", "not below"), ("of 1", "of 3")]}
    swaps["zh"] = [("0.5", "1.5"), ("流动性风险等级为高", "信用风险等级为中"), ("低于", "并不低于"), ("阈值1", "阈值3")]
    for old, new in swaps[lang]:
        assert old in first
        assert checker.check(first.replace(old, new, 1)).faults


class Writer:
    """Writes one text, whatever it is asked."""

    def __init__(self, text: str) -> None:
        self._text = text

    def write(self, prompts: Sequence[str], *, max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        return [self._text] * len(prompts)


def test_a_models_wording_is_kept_where_it_passes_and_replaced_where_not() -> None:
    source = TASK.read(fields_for(TASK.rules.rule("liquidity.current-ratio"), Decimal("0.5")))
    good = " The current ratio was 0.5 in 2024, a high liquidity risk, being below the threshold of 1."
    document = generate(TASK, source, Writer(good), Settings())
    assert document.sentences[0].source == "model"
    assert not any(s.source == "skeleton" and s.rule.startswith("liquidity.current") for s in document.sentences)
    bad = " The current ratio was 0.4 in 2024, a high liquidity risk, being below the threshold of 1."
    document = generate(TASK, source, Writer(bad), Settings())
    assert "0.4" not in document.text
    assert "0.5" in document.text


@pytest.mark.parametrize("site", RISK_SITES)
def test_synthetic_sentences_make_documents_in_both_languages(site: str) -> None:
    rows = list(risk_records(site, 40, seed=3))
    for lang in LANGS:
        text = [r["text"] for r in rows if r["lang"] == lang]
        source = TASK.read({"text": text, "lang": lang})
        judged = TASK.judge(source, Judge(("none", "risk"), [[0.0, 2.0]] * len(text)))
        assert len(generate(TASK, judged, None, Settings()).sentences) > len(text)


def test_prompt_in_training_is_the_prompt_in_writing() -> None:
    fields = fields_for(TASK.rules.rule("credit.equity"), Decimal(-5)) | {"text": TEXTS["en"]}
    (example,) = TASK.examples(fields | {"paragraph": "Equity is gone."}, unit="u")
    assert example.prompt == TASK.prompt(TASK.read(fields))
    assert example.target == " Equity is gone."
    assert "below the threshold of 0" in example.prompt
    assert traits(TASK).languages == LANGS


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "nothing to look at"),
        ({"figures": "["}, "'figures' is not JSON"),
        ({"text": 5}, "'text' is wrong"),
        ({"text": "Fine.", "lang": "fr"}, "'lang' is wrong"),
        ({"text": ["x"] * 3000}, "too long"),
        ({"events": {"a": 1}}, "'events' is wrong"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(RecordError, match=says):
        TASK.read(fields)


def test_a_record_without_a_paragraph_trains_nothing() -> None:
    with pytest.raises(RecordError, match="no paragraph"):
        TASK.examples({"text": "Fine."}, unit="u")


def test_the_rules_that_decide_are_named_by_version_and_digest() -> None:
    assert TASK.rule_versions == {"risk": f"1 ({TASK.rules.digest[:12]})"}
