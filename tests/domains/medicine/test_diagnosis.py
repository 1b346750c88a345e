"""Diagnosis support: nothing severe is dropped, probabilities sum to one, and the order of findings says nothing."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.base import Task
from domains.classifying import Classifier
from domains.medicine._case import read_case
from domains.medicine._diagnosis_words import case_words, differential_words, known_words, labels, make_base, prior
from domains.medicine._ranking import ABSTAIN_BELOW, SEVERE_FROM, book_probabilities, information_gains, rank
from domains.medicine.conditions import COMMON
from domains.medicine.diagnosis import DiagnosisTask, _spread, partial_findings
from domains.pipeline import Settings, generate
from fedcore.errors import ConcordatError, ConfigError, RecordError

TASK = DiagnosisTask()
COUNT = len(COMMON.conditions)
CODES = st.lists(st.sampled_from([f.code for f in COMMON.findings]), min_size=1, max_size=8, unique=True)
ODDS = st.lists(st.floats(-30, 30), min_size=COUNT, max_size=COUNT)
SEVERE = {c.en for c in COMMON.conditions if c.is_severe}


class Fixed:
    """A judge that always says the same."""

    labels = labels(COMMON)

    def __init__(self, odds: dict[str, float]) -> None:
        self._odds = odds

    def logits(self, prompts: Any) -> Any:
        row = [self._odds.get(name, -20.0) for name in self.labels]
        return np.array([row for _ in prompts], dtype=np.float32)


def test_it_is_a_task() -> None:
    assert isinstance(TASK, Task)
    assert TASK.kind == "classify"
    assert TASK.languages == ("en", "zh")


@settings(deadline=None)
@given(ODDS)
def test_probabilities_sum_to_one(odds: list[float]) -> None:
    p = book_probabilities(odds)
    assert sum(p) == pytest.approx(1)
    assert all(0 <= x <= 1 for x in p)


@settings(deadline=None, max_examples=50)
@given(CODES, ODDS)
def test_no_severe_condition_is_dropped(codes: list[str], odds: list[float]) -> None:
    p = book_probabilities(odds)
    ranking = rank(read_case({"findings": codes}), p)
    listed = {r.condition.en for r in ranking.listed}
    assert listed | {c.en for c in ranking.set_aside} >= SEVERE
    assert not listed & {c.en for c in ranking.set_aside}
    for condition, probability in zip(COMMON.conditions, p, strict=True):
        if condition.is_severe and probability >= SEVERE_FROM:
            assert condition.en in listed


@settings(deadline=None, max_examples=25)
@given(CODES)
def test_every_severe_condition_stands_in_the_document(codes: list[str]) -> None:
    text = generate(TASK, TASK.read({"findings": codes}), None, Settings()).text
    assert all(name in text for name in SEVERE)
    assert text.startswith("This supports a decision and does not make it: a clinician decides.")


@settings(deadline=None, max_examples=40)
@given(CODES, st.randoms(use_true_random=False))
def test_order_of_findings_does_not_matter(codes: list[str], random: Any) -> None:
    mixed = list(codes)
    random.shuffle(mixed)
    one, two = (TASK.read({"findings": f, "age": 50, "sex": "F"}) for f in (codes, mixed))
    assert TASK.prompt(one) == TASK.prompt(two)
    assert [s.text for s in TASK.skeleton(one).statements] == [s.text for s in TASK.skeleton(two).statements]


@settings(deadline=None, max_examples=30)
@given(CODES, ODDS)
def test_information_gain_equals_its_slow_twin(codes: list[str], odds: list[float]) -> None:
    p = book_probabilities(odds)

    def entropy(q: list[float]) -> float:
        return -sum(x * math.log2(x) for x in q if x > 0)

    for finding, bits in information_gains(COMMON, p, frozenset(codes))[:12]:
        likelihood = [
            0.6 if finding.code in c.symptoms else 0.3 if finding.code in c.history else 0.03 for c in COMMON.conditions
        ]
        expected = 0.0
        for answer in (likelihood, [1 - x for x in likelihood]):
            joint = [a * b for a, b in zip(p, answer, strict=True)]
            chance = sum(joint)
            expected += chance * entropy([j / chance for j in joint])
        assert bits == pytest.approx(max(0.0, entropy(list(p)) - expected), abs=1e-9)


def test_what_is_known_is_not_asked() -> None:
    ranking = TASK.read({"findings": ["fever", ["cough", False]]}).ranking
    assert ranking.ask
    assert not {f.code for f, _ in ranking.ask} & {"fever", "cough"}


def test_one_finding_abstains_whatever_the_model_says() -> None:
    judged = TASK.judge(TASK.read({"findings": ["fever"]}), Fixed({"Influenza": 20.0}))
    assert judged.ranking.abstains
    assert "Unsure" in TASK.skeleton(judged).statements[2].text
    assert not any(s.rule == "diagnosis.first" for s in TASK.skeleton(judged).statements)


def test_a_sure_model_with_enough_findings_does_not_abstain() -> None:
    judged = TASK.judge(TASK.read({"findings": ["fever", "cough"]}), Fixed({"Influenza": 0.0}))
    assert not judged.ranking.abstains
    text = generate(TASK, judged, None, Settings()).text
    assert "Most likely: Influenza (J11), 99.9%." in text
    assert "Unsure" not in text


def test_below_the_threshold_it_abstains() -> None:
    tied = TASK.judge(TASK.read({"findings": ["fever", "cough"]}), Fixed({"Influenza": 1.0, "Pneumonia": 1.0}))
    assert max(tied.probabilities) == pytest.approx(ABSTAIN_BELOW, abs=1e-6) or tied.ranking.abstains
    spread = TASK.judge(
        TASK.read({"findings": ["fever", "cough"]}), Fixed(dict.fromkeys(("Influenza", "Pneumonia", "Gout"), 1.0))
    )
    assert spread.ranking.abstains


def test_temperature_flattens_and_is_named() -> None:
    fields = {"findings": ["fever", "cough"]}
    sharp = TASK.judge(TASK.read(fields), Fixed({"Influenza": 4.0, "Pneumonia": 0.0}))
    flat = TASK.judge(TASK.read({**fields, "temperature": 4.0}), Fixed({"Influenza": 4.0, "Pneumonia": 0.0}))
    assert max(flat.probabilities) < max(sharp.probabilities)
    facts = [f for s in TASK.skeleton(flat).statements for f in s.facts]
    assert any("temperature 4.00" in f.derivation for f in facts)


def test_what_speaks_against_is_said() -> None:
    case = {"findings": ["fever", "cough", "hives", ["muscle-pain", False]]}
    text = generate(TASK, TASK.judge(TASK.read(case), Fixed({"Influenza": 9.0})), None, Settings()).text
    assert "For Influenza: fever, cough." in text
    assert "Against Influenza, since it does not explain: hives." in text
    assert "Against Influenza, since not found: muscle pain." in text


def test_every_figure_is_traced_to_model_or_book() -> None:
    judged = TASK.judge(TASK.read({"findings": ["fever", "cough"], "age": 61}), Fixed({"Influenza": 2.0}))
    document = generate(TASK, judged, None, Settings())
    figures = [m for s in document.sentences for m in s.mentions if m.kind == "number"]
    assert document.untraced == 0
    assert {m.fact.path for m in figures if "%" in m.text} == {"model"}
    assert all(m.fact.derivation for m in figures if m.fact.path != "age")


def test_a_classifier_says_what_it_weighed(tmp_path: Path) -> None:
    TASK.make_base(tmp_path / "base")
    judged = TASK.judge(TASK.read({"findings": ["fever", "muscle-pain", "chills"]}), Classifier.load(tmp_path / "base"))
    assert dict(judged.weighed).keys() <= {"fever", "muscle-pain", "chills"}
    assert judged.weighed[0][0] == "muscle-pain"  # Influenza alone has it.
    assert "The model weighed most for Influenza: muscle pain" in generate(TASK, judged, None, Settings()).text


@settings(deadline=None, max_examples=20)
@given(CODES)
def test_base_alone_says_what_the_book_says(tmp_path_factory: pytest.TempPathFactory, codes: list[str]) -> None:
    directory = tmp_path_factory.getbasetemp() / "diagnosis-base"
    if not directory.exists():
        make_base(directory, COMMON)
    source = TASK.read({"findings": codes})
    judged = TASK.judge(source, Classifier.load(directory))
    own = TASK.skeleton(source)
    assert own.statements
    book = [r.probability for r in source.ranking.listed]
    assert [r.probability for r in judged.ranking.listed] == pytest.approx(book, abs=1e-4)


@settings(deadline=None, max_examples=40)
@given(CODES, st.integers(0, 130))
def test_every_word_of_a_case_is_known(codes: list[str], age: int) -> None:
    case = read_case({"findings": [*codes[1:], [codes[0], False]], "age": age, "sex": "m"})
    assert {*case_words(case), *differential_words(case)} <= set(known_words(COMMON))
    assert set(prior(COMMON)) <= set(known_words(COMMON))


def test_a_record_gives_views_and_shares() -> None:
    fields = {"findings": ["fever", "cough", "chills"], "diagnosis": "流行性感冒"}
    examples = TASK.examples({**fields, "differential": [["Influenza", 0.75], ["Pneumonia", 0.25]]}, unit="u")
    assert {e.label for e in examples} == {"Influenza", "~Influenza", "~Pneumonia"}
    assert sum(e.label == "~Influenza" for e in examples) == 24
    assert sum(e.label == "~Pneumonia" for e in examples) == 8


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=9))
def test_shares_are_spread_within_one(weights: list[float]) -> None:
    total = sum(weights)
    shares = [(str(i), w / total) for i, w in enumerate(weights)]
    names = _spread(shares, 32)
    assert len(names) == 32
    for name, share in shares:
        assert abs(names.count(name) - 32 * share) <= 1.0 + 1e-6


def test_a_view_holds_the_first_finding_and_so_many_others() -> None:
    fields = {"findings": ["fever", "cough", "chills", "fatigue"], "first": "chills", "asked": 2}
    views = [partial_findings(fields, "unit", v) for v in range(20)]
    assert all(v[0] == "chills" and len(set(v)) == 3 for v in views)
    assert views == [partial_findings(fields, "unit", v) for v in range(20)]
    assert len({tuple(v) for v in views}) > 1


@pytest.mark.parametrize(
    "change",
    [
        {"findings": []},
        {"findings": "fever"},
        {"findings": ["fever", "sniffles of my own"]},
        {"findings": ["fever", ["fever", False]]},
        {"findings": [["fever", "perhaps"]]},
        {"findings": ["fever_@_7"]},
        {"age": 131},
        {"age": 3.5},
        {"age": float("inf")},
        {"sex": "sometimes"},
        {"lang": "fr"},
        {"temperature": 0},
        {"book": 7},
    ],
)
def test_a_wrong_field_is_refused_without_its_content(change: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as caught:
        TASK.read({"findings": ["fever"], "age": 3, **change})
    assert "sniffles" not in str(caught.value)


def test_a_record_without_anything_to_learn_is_refused() -> None:
    with pytest.raises(RecordError, match="nothing to learn"):
        TASK.examples({"findings": ["fever"]}, unit="u")


def test_an_unknown_diagnosis_is_refused_without_its_name() -> None:
    with pytest.raises(RecordError, match="lacks") as caught:
        TASK.examples({"findings": ["fever"], "diagnosis": "Wanderlust"}, unit="u")
    assert "Wanderlust" not in str(caught.value)


def test_a_model_of_another_book_is_refused() -> None:
    class Other:
        labels = ("a", "b")

        def logits(self, prompts: Any) -> Any:
            return np.zeros((len(prompts), 2), dtype=np.float32)

    with pytest.raises(ConfigError, match="other conditions"):
        TASK.judge(TASK.read({"findings": ["fever"]}), Other())


def test_values_print_as_their_class() -> None:
    source = TASK.read({"findings": ["fever"]})
    assert repr(source) == "Assessment"
    assert repr(source.ranking) == "Ranking"


CHOICE = {
    "findings": [["lower back pain", "True"], ["fever", "False"]],
    "candidates": ["Lumbar muscle strain", "Herniated disc", "Back fever"],
    "department": "Bones and joints",
}


def test_candidates_make_an_example_each() -> None:
    examples = TASK.examples({**CHOICE, "diagnosis": "Herniated disc"}, unit="u")
    assert [e.label for e in examples] == ["no", "yes", "no"]
    with pytest.raises(RecordError, match="none of the candidates"):
        TASK.examples({**CHOICE, "diagnosis": "Gout"}, unit="u")


def test_order_of_candidates_does_not_matter() -> None:
    back = {**CHOICE, "candidates": CHOICE["candidates"][::-1]}
    one, two = (TASK.examples({**c, "diagnosis": "Herniated disc"}, unit="u") for c in (CHOICE, back))
    assert [(e.prompt, e.label) for e in one] == [(e.prompt, e.label) for e in two][::-1]


def test_judged_candidates_are_ranked_and_sum_to_one() -> None:
    class Prefers:
        labels = ("no", "yes")

        def logits(self, prompts: Any) -> Any:
            return np.array([[0.0, 2.0 if "en:herni" in p.split() else 0.0] for p in prompts], dtype=np.float32)

    judged = TASK.judge(TASK.read(CHOICE), Prefers())
    assert sum(judged.probabilities) == pytest.approx(1)
    text = generate(TASK, judged, None, Settings()).text
    assert "Herniated disc: 79%." in text
    assert text.index("Herniated disc") < text.index("Back fever")


def test_unjudged_candidates_are_named_without_figures() -> None:
    document = generate(TASK, TASK.read(CHOICE), None, Settings())
    assert "not judged by a model" in document.text
    assert document.figures == 0


def test_a_choice_has_no_ranking() -> None:
    with pytest.raises(ConcordatError, match="no ranking"):
        _ = TASK.read(CHOICE).ranking


ZH = {"findings": ["发热", "咳嗽", ["脓痰", False], "胸部压迫感"], "age": 61, "sex": "女", "lang": "zh"}


def test_a_document_in_chinese_says_the_same() -> None:
    text = generate(TASK, TASK.read(ZH), None, Settings()).text
    assert "由医师决定" in text
    assert all(c.zh in text for c in COMMON.conditions if c.is_severe)
    assert "尚不能判断" in text


def test_languages_share_their_prompt() -> None:
    assert TASK.prompt(TASK.read(ZH)) == TASK.prompt(TASK.read({**ZH, "lang": "en"}))
