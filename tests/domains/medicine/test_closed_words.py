"""Whatever a model makes of the closed vocabulary and an input's own facts, an auditor that shares no code agrees."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from domains.checks import Checker
from domains.medicine._audit import Audit, audit
from domains.medicine._audit_words import cues
from domains.medicine._words import KINDS, VOCABULARY, VOCABULARY_ZH, acts
from domains.medicine.record import RecordTask
from domains.medicine.synthetic import public_examples
from domains.pipeline import Document, Settings, generate
from tests.domains.medicine.rich import DAY, coded, whole

TASK = RecordTask()
ROWS = [r["bundle"] for r in public_examples(4, seed=5)]


def _resource(kind: str, name: str, **more: Any) -> dict[str, Any]:
    who = {"subject": {"reference": "Patient/p"}, "encounter": {"reference": "Encounter/e"}}
    return {"resourceType": kind, "code": {"text": name}, **who, **more}


BARE = whole()
FULL = whole(
    _resource("Condition", "asthma", clinicalStatus=coded("condition-clinical", "active")),
    {
        "resourceType": "AllergyIntolerance",
        "code": {"text": "penicillin"},
        "clinicalStatus": coded("allergyintolerance-clinical", "active"),
        "patient": {"reference": "Patient/p"},
    },
    _resource("Procedure", "appendectomy", status="completed"),
    _resource("ServiceRequest", "spirometry", status="active", intent="order"),
    _resource("Observation", "ferritin", status="final", valueString="seen"),
    {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "ramipril"},
        "subject": {"reference": "Patient/p"},
    },
    {
        "resourceType": "Immunization",
        "status": "completed",
        "vaccineCode": {"text": "tetanus"},
        "patient": {"reference": "Patient/p"},
        "occurrenceDateTime": DAY,
    },
)
WORDS = {
    "en": sorted(VOCABULARY.union(*(acts(kind) for kind in KINDS))),
    "zh": sorted(VOCABULARY_ZH.union(*(acts(kind, "zh") for kind in KINDS))),
}
NOTHING = Audit(0, 0, 0)


class Babbles:
    """A model that writes facts of the input among words of the vocabulary and words for acts, at random."""

    def __init__(self, facts: Sequence[str], lang: str, seed: int) -> None:
        self._facts, self._lang, self._random = facts, lang, random.Random(seed)  # noqa: S311

    def write(self, prompts: Sequence[str], **_: Any) -> list[str]:
        return [("" if self._lang == "zh" else " ").join(self._sentence() for _ in range(20)) for _ in prompts]

    def _sentence(self) -> str:
        words = [self._random.choice(WORDS[self._lang]) for _ in range(self._random.randint(1, 3))]
        words.insert(self._random.randrange(len(words) + 1), self._random.choice(self._facts))
        if self._lang == "zh":
            return "".join(words) + "。"
        text = " ".join(words)
        return text[:1].upper() + text[1:] + "."


def _babbled(bundle: dict[str, Any], lang: str, seed: int) -> Document:
    source = TASK.read({"bundle": bundle, "lang": lang})
    facts = [f.text for f in TASK.skeleton(source).facts]
    return generate(TASK, source, Babbles(facts, lang, seed), Settings(max_new_tokens=96, temperature=0.1, seed=seed))


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("bundle", [*ROWS, BARE, FULL], ids=[*map(str, range(len(ROWS))), "bare", "full"])
def test_an_auditor_finds_nothing_in_what_passes(bundle: dict[str, Any], lang: str) -> None:
    documents = [_babbled(bundle, lang, seed) for seed in range(5)]
    assert any(s.source == "model" for d in documents for s in d.sentences)
    assert {audit(bundle, d.rendered, lang) for d in documents} == {NOTHING}


def test_no_word_is_one_that_the_auditor_takes_for_a_fact() -> None:
    assert {part for word in WORDS["en"] for part in word.replace("'", " ").replace("-", " ").split()} <= cues("en")


ACTS = [
    ("en", f"On {DAY} a procedure was performed."),
    ("en", f"On {DAY} the patient received vaccines."),
    ("en", f"On {DAY} medication was prescribed."),
    ("en", f"On {DAY} vital signs were measured."),
    ("en", f"On {DAY} the patient was allergic."),
    ("en", f"On {DAY} care was planned."),
    ("en", f"On {DAY} the patient underwent surgery."),
    ("en", f"On {DAY} the patient was treated."),
    ("zh", f"患者{DAY}已行操作。"),
    ("zh", f"患者{DAY}已接种疫苗。"),
    ("zh", f"患者{DAY}服用药物。"),
    ("zh", f"患者{DAY}有过敏史。"),
    ("zh", f"患者{DAY}手术。"),
    ("zh", f"患者{DAY}治疗。"),
]
"""Sentences whose only fact is the day, which both bundles hold."""


@pytest.mark.parametrize("bundle", [BARE, FULL], ids=["bare", "full"])
@pytest.mark.parametrize(("lang", "sentence"), ACTS)
def test_an_act_does_not_pass_without_the_fact_that_says_it(bundle: dict[str, Any], lang: str, sentence: str) -> None:
    checked = Checker(TASK.skeleton(TASK.read({"bundle": bundle, "lang": lang}))).check(sentence)
    assert checked.mentions
    assert checked.faults == ("word",)


@pytest.mark.parametrize(("lang", "sentence"), [a for a in ACTS if not a[1].endswith(("手术。", "治疗。"))])
def test_the_auditor_sees_it_too_where_nothing_of_the_kind_was_done(lang: str, sentence: str) -> None:
    own = generate(TASK, TASK.read({"bundle": BARE, "lang": lang}), None, Settings()).rendered
    assert audit(BARE, own, lang) == NOTHING
    assert audit(BARE, f"{own} {sentence}", lang).unsupported > 0


@pytest.mark.parametrize(
    ("lang", "sentence", "faults"),
    [
        ("en", "The patient was prescribed ramipril.", ()),
        ("en", "The following procedures were performed: appendectomy.", ()),
        ("en", "The patient was given the following immunizations: tetanus.", ()),
        ("en", "Allergic to penicillin.", ()),
        ("en", "Tetanus was prescribed.", ("word",)),
        ("en", "Ramipril was performed.", ("word",)),
        ("en", "Asthma was measured.", ("word",)),
        ("en", "Patient has asthma and vaccines were given.", ("word",)),
        ("en", "The patient has asthma and was prescribed ramipril.", ()),
        ("en", "Spirometry was planned.", ()),
        ("en", "Spirometry was performed.", ("word",)),
        ("en", "Appendectomy and spirometry were performed.", ("word",)),
        ("zh", "处方ramipril。", ()),
        ("zh", "已行操作：appendectomy。", ()),
        ("zh", "已接种疫苗：tetanus。", ()),
        ("zh", "患者有asthma，已接种疫苗。", ("word",)),
    ],
)
def test_an_act_passes_beside_its_own_kind_of_fact_alone(lang: str, sentence: str, faults: tuple[str, ...]) -> None:
    checker = Checker(TASK.skeleton(TASK.read({"bundle": FULL, "lang": lang})))
    assert checker.check(sentence).faults == faults
