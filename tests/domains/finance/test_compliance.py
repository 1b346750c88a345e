"""The task: training pairs, reviews with rules or knowledge bases, a classifier's word, a document of quotes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.finance._pairs import KNOWN, LABELS, PRIOR, pair_words
from domains.finance.compliance import ComplianceTask, Pair, Review
from domains.finance.compliance_synthetic import SITES, compliance_records, public_examples
from domains.knowledge import Clause, KnowledgeStore
from domains.pipeline import Settings, generate
from domains.structured import longest
from fedcore.errors import ConfigError, ModelError, RecordError

TASK = ComplianceTask()
RULES = [
    {"id": "3.1", "text": "Complaints must be answered by the bank within 15 days."},
    {"id": "3.2", "text": "Client gifts must be refused by every employee."},
]
TEXT = "Complaints must be answered by the bank within 30 days.\nVisitors must sign the register."


class Objecting:
    """A judge that is sure of one label."""

    def __init__(self, label: str) -> None:
        self._label = label
        self.labels = LABELS

    def logits(self, prompts: Sequence[str]) -> Any:
        return np.array([[9.0 * (name == self._label) for name in LABELS] for _ in prompts], dtype=np.float32)


def test_prompt_in_training_is_the_prompt_in_use() -> None:
    row = next(compliance_records("harbour", 1, seed=1))
    (example,) = TASK.examples(row, unit="u")
    source = TASK.read({"text": row["text"], "clause": row["clause"]})
    assert isinstance(source, Pair)
    assert (example.prompt, example.label) == (TASK.prompt(source), row["label"])


def test_every_feature_word_is_known() -> None:
    hypotheses = [
        "Receiving Party shall not reverse engineer Confidential Information.",
        "Records must be kept for 5 years.",
    ]
    for row in public_examples(30, seed=2):
        for clause in (row["clause"], *hypotheses):
            assert set(pair_words(row["text"], clause).split()) <= set(KNOWN)


def test_what_is_known_beforehand_judges_made_up_policies() -> None:
    rows = [r for site in SITES for r in compliance_records(site, 8, seed=5)]
    right = 0
    for row in rows:
        odds = np.sum([PRIOR[w] for w in pair_words(row["text"], row["clause"]).split()], axis=0)
        right += LABELS[int(np.argmax(odds))] == row["label"]
    assert right / len(rows) > 0.75  # Not more: an exception that swallows the rule reads like one that does not.


def test_a_review_becomes_a_document_of_literal_quotes() -> None:
    document = generate(TASK, TASK.read({"text": TEXT, "rules": RULES}), None, Settings())
    first, last = document.sentences[0], document.sentences[-1]
    assert first.text == (
        'Conflict, looser deadline: clause 3.1 says "Complaints must be answered by the bank '
        'within 15 days." The text'
        ' says "Complaints must be answered by the bank within 30 days." Confidence: high.'
    )
    assert last.text == 'Not specified: no rule that was consulted speaks of "Visitors must sign the register."'
    assert document.untraced == 0


def test_no_conflict_is_said_outright() -> None:
    document = generate(TASK, TASK.read({"text": RULES[0]["text"], "rules": RULES}), None, Settings())
    assert document.text.startswith("No conflict was found")


def test_knowledge_bases_are_consulted_and_named(tmp_path: Path) -> None:
    store = KnowledgeStore(tmp_path)
    store.publish("conduct", [Clause(**r) for r in RULES])
    store.publish("words", [Clause(id="x", text="A word.")], kind="terms")
    bases = {name: store.open(name) for name in store.names()}
    source = TASK.read({"text": TEXT, "knowledge": bases})
    assert isinstance(source, Review)
    assert [s["name"] for s in source.stamps] == ["conduct"]
    assert source.stamps[0]["digest"] == bases["conduct"].digest
    assert source.to_dict()["findings"][0]["passage"]["quote"] == TEXT.splitlines()[0]


def test_of_two_bodies_a_passage_is_unspecified_only_where_neither_speaks(tmp_path: Path) -> None:
    store = KnowledgeStore(tmp_path)
    store.publish("gates", [Clause(id="g", text="Visitors must sign the register.")])
    source = TASK.read({"text": TEXT, "rules": RULES, "knowledge": {"gates": store.open("gates")}})
    assert isinstance(source, Review)
    assert [f.verdict for f in source.findings if f.quote.startswith("Visitors")] == ["no conflict found"]


def test_a_classifier_adds_its_probability_and_objects_only_when_sure() -> None:
    source = TASK.read({"text": RULES[0]["text"], "rules": RULES})
    sure, calm = TASK.judge(source, Objecting("contradiction")), TASK.judge(source, Objecting("entailment"))
    assert isinstance(sure, Review)
    assert isinstance(calm, Review)
    assert [(f.verdict, f.rule) for f in sure.findings] == [("conflict", "classifier")]
    assert [(f.verdict, f.probability) for f in calm.findings] == [("no conflict found", 0.0)]
    fact = [f for s in TASK.skeleton(sure).statements for f in s.facts if f.derivation]
    assert [f.kind for f in fact] == ["number"]
    assert "1.000" in generate(TASK, sure, None, Settings()).text


class Opining:
    """A model that gives one answer, and keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.prompts = answer, list[str]()

    def ask(self, prompts: Sequence[str], schema: Mapping[str, Any]) -> list[Any]:
        assert longest(schema) < 64
        self.prompts += prompts
        return [self.answer] * len(prompts)


@pytest.mark.parametrize("relation", ["contradicts", "agrees", "neither"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_model_that_is_asked_gives_an_opinion_and_changes_no_verdict(relation: str, lang: str) -> None:
    zh = {"text": "投诉应当在三十日内答复。", "rules": [{"id": "第三条", "text": "投诉应当在十五日内答复。"}]}
    source = TASK.read({"text": TEXT, "rules": RULES} if lang == "en" else zh)
    model = Opining({"relation": relation})
    told = TASK.ask(source, model)
    assert isinstance(source, Review)
    assert isinstance(told, Review)
    assert [replace(f, opinion="") for f in told.findings] == list(source.findings)
    both = [f for f in told.findings if f.quote and f.clause_quote]
    assert both
    assert len(model.prompts) == len(both)
    assert {f.opinion for f in both} == {relation}
    assert both[0].quote in model.prompts[0]
    assert both[0].clause_quote in model.prompts[0]
    before, after = (generate(TASK, s, None, Settings()) for s in (source, told))
    assert [s.rule for s in before.sentences] <= [s.rule for s in after.sentences]
    assert ("A model that was asked" in after.text) == (lang == "en")
    assert ("经询问" in after.text) == (lang == "zh")


@pytest.mark.parametrize("answer", [{"relation": "maybe"}, {"relation": ["agrees"]}, {}, [], "agrees", None])
def test_an_opinion_of_another_form_is_refused(answer: Any) -> None:
    source = TASK.read({"text": TEXT, "rules": RULES})
    with pytest.raises(ModelError, match="agreed form"):
        TASK.ask(source, Opining(answer))


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "a", "clause": "b", "label": "perhaps"},
        {"text": "", "clause": "b", "label": "entailment"},
        {"text": "a", "label": "entailment"},
        {"text": "abc", "clause": "b", "label": "entailment", "spans": [[0, 9]]},
        {"text": "abc", "clause": "b", "label": "entailment", "spans": 3},
    ],
)
def test_a_record_that_cannot_train_is_refused_without_its_content(fields: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as caught:
        TASK.examples(fields, unit="u")
    assert "abc" not in str(caught.value)


def test_a_review_without_rules_is_refused() -> None:
    with pytest.raises(ConfigError, match="no rules"):
        TASK.read({"text": "A text."})
    with pytest.raises(RecordError):
        TASK.read({"text": "A text.", "rules": [{"words": "x"}]})


def test_made_up_records_are_seeded_and_sites_differ() -> None:
    assert list(compliance_records("oakfield", 3, seed=1)) == list(compliance_records("oakfield", 3, seed=1))
    clauses = {site: " ".join(r["clause"] for r in compliance_records(site, 30, seed=1)) for site in SITES}
    assert clauses["harbour"].count("borrower") > 2 * clauses["oakfield"].count("borrower")
    assert {r["lang"] for r in compliance_records("harbour", 10, seed=1)} == {"en", "zh"}
