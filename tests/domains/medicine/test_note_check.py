"""A decision that the note's findings oppose or do not back is doubted, with its rule; silence is abstention."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from domains.base import traits
from domains.classifying import Classifier, Logits
from domains.medicine import _pairs_adult, _pairs_special
from domains.medicine.note_check import LABELS, NoteCheckTask, decision, make_base, sentences
from domains.medicine.synthetic import records
from domains.pipeline import Settings, generate
from fedcore.errors import RecordError

TASK = NoteCheckTask()
FINDINGS = (
    "A 61-year-old man comes in because of sudden tearing chest pain that radiates to the back.\n"
    "He has hypertension and smokes.\n"
    "Blood pressure differs between the arms, and an x-ray shows a widened mediastinum.\n"
)
CASES = [
    (FINDINGS + "Esmolol was administered.", None),
    (FINDINGS + "Heparin was administered.", "note.opposed"),
    (FINDINGS + "Oral griseofulvin was prescribed.", "note.unbacked"),
    (FINDINGS + "The patient was diagnosed with aortic dissection.", None),
    (FINDINGS + "The patient was diagnosed with psoriasis.", "note.unbacked"),
    (FINDINGS + "The patient was given a leaflet.", None),
    (
        "A toddler is brought in with burrows between the fingers and itching at night.\nPermethrin was prescribed.",
        None,
    ),
    (
        "A toddler is brought in with burrows between the fingers and itching at night.\nAcyclovir was prescribed.",
        "note.opposed",
    ),
    ("She has a pearly papule with rolled borders on her nose.\nSuspected of basal cell carcinoma.", None),
    ("She has a pearly papule with rolled borders on her nose.\nSuspected of chronic gout.", "note.unbacked"),
]


@pytest.mark.parametrize(("text", "rule"), CASES)
def test_a_decision_is_doubted_by_what_the_findings_say(text: str, rule: str | None) -> None:
    note = TASK.read({"note": text})
    assert note.place == len(note.sentences) - 1
    assert [d.rule for d in note.doubts] == ([rule] if rule else [])


def test_the_order_of_the_findings_does_not_matter() -> None:
    lines = (FINDINGS + "Heparin was administered.").splitlines()
    for turn in range(len(lines)):
        turned = lines[turn:] + lines[:turn]
        note = TASK.read({"note": "\n".join(turned)})
        assert [turned[d.number] for d in note.doubts] == ["Heparin was administered."]


def test_a_denied_finding_backs_nothing_much() -> None:
    said = "She has silvery plaques on her elbows, and nail pitting.\nThe patient was diagnosed with psoriasis."
    denied = "She has no silvery plaques on her elbows, no nail pitting.\nThe patient was diagnosed with psoriasis."
    assert TASK.read({"note": said}).backing.net > TASK.read({"note": denied}).backing.net


def test_sentences_are_cut_by_their_numbers_or_by_their_stops() -> None:
    assert sentences("0 One. Still one.\n1 Two\nand on\n2 Three.") == ("One. Still one.", "Two and on", "Three.")
    assert sentences("One. Two follows.\nThree.") == ("One.", "Two follows.", "Three.")
    assert sentences("5 mg is given.") == ("5 mg is given.",)


def test_what_is_told_of_the_past_is_no_decision() -> None:
    note = (
        "Three years ago she was diagnosed with asthma.",
        "Spirometry was performed.",
        "Her mother was treated for gout.",
        "Lungs are clear.",
    )
    assert decision(note) == 1


def test_the_document_names_sentence_rule_and_confidence() -> None:
    source = TASK.read({"note": FINDINGS + "Heparin was administered."})
    document = generate(TASK, source, None, Settings())
    (sentence,) = document.sentences
    assert sentence.text == (
        'Sentence 3 is doubted: "Heparin was administered", because the findings of the note speak against it '
        "(rule note.opposed, confidence 0.7)."
    )
    assert sentence.rule == "note.opposed"
    assert {m.fact.path for m in sentence.mentions} == {"note.sentence[3]"}


def test_a_document_without_a_doubt_says_so() -> None:
    document = generate(TASK, TASK.read({"note": FINDINGS + "Esmolol was administered."}), None, Settings())
    assert document.text == "No sentence is doubted."


@pytest.mark.parametrize(
    "text", ['"Odd" — quotes (and 5/5 marks) µg: heparin was given', "â€œ Heparin is given", "Heparin 5 mg"]
)
def test_any_sentence_can_be_quoted(text: str) -> None:
    source = TASK.read({"note": FINDINGS + text})
    assert generate(TASK, source, None, Settings()).untraced == 0


class _Says:
    """A stand-in for a trained classifier: the same chance for every note."""

    labels = LABELS

    def __init__(self, wrong: float) -> None:
        self._row = [np.log(1 - wrong), np.log(wrong)]

    def logits(self, prompts: Sequence[str]) -> Logits:
        return np.array([self._row] * len(prompts))


def test_a_judge_decides_in_place_of_the_rules() -> None:
    opposed = TASK.read({"note": FINDINGS + "Heparin was administered."})
    assert TASK.judge(opposed, _Says(0.2)).doubts == ()
    (doubt,) = TASK.judge(TASK.read({"note": FINDINGS + "Esmolol was administered."}), _Says(0.81)).doubts
    assert (doubt.rule, doubt.confidence, doubt.number) == ("note.judged", 0.81, 3)
    document = generate(TASK, TASK.judge(opposed, _Says(0.81)), None, Settings())
    assert "confidence 0.81" in document.text


def test_a_base_without_training_says_what_the_rules_say(tmp_path: Path) -> None:
    make_base(tmp_path / "base")
    judge = Classifier.load(tmp_path / "base")
    for text, rule in CASES:
        source = TASK.read({"note": text})
        assert bool(TASK.judge(source, judge).doubts) == (rule is not None)


def test_a_note_that_its_bundle_does_not_hold_is_doubted_sentence_by_sentence() -> None:
    row = next(r for r in records("st-anne", 20, seed=3) if "BP" in r["note"])
    before = row["note"]
    right = TASK.read({"note": before, "bundle": row["bundle"]})
    assert not [d for d in right.doubts if d.rule.startswith("bundle.")]
    pressure = before.split("BP ")[1].split("/")[0]
    wrong = before.replace(f"BP {pressure}/", f"BP {int(pressure) + 7}/")
    (doubt,) = [d for d in TASK.read({"note": wrong, "bundle": row["bundle"]}).doubts if d.rule.startswith("bundle.")]
    assert doubt.rule == "bundle.number"
    assert f"BP {int(pressure) + 7}/" in sentences(wrong)[doubt.number]


def test_a_drug_that_the_bundle_does_not_hold_is_doubted() -> None:
    row = next(records("st-anne", 1, seed=3))
    note = row["note"] + " Also takes warfarin."
    assert "bundle.drug" in [d.rule for d in TASK.read({"note": note, "bundle": json.dumps(row["bundle"])}).doubts]


def test_examples_are_about_the_sentence_that_is_known_to_be_wrong() -> None:
    text = FINDINGS + "Heparin was administered."
    (wrong,) = TASK.examples({"note": text, "wrong": 3}, unit="u")
    (right,) = TASK.examples({"note": text.replace("Heparin", "Esmolol"), "wrong": -1}, unit="u")
    assert (wrong.label, right.label) == ("wrong", "right")
    assert wrong.prompt.split()[0] == "opposed"
    assert right.prompt.split()[0] == "backed"


def test_no_word_of_a_note_enters_a_prompt() -> None:
    words = set((FINDINGS + "Heparin was administered.").lower().split())
    prompt = TASK.examples({"note": FINDINGS + "Heparin was administered.", "wrong": -1}, unit="u")[0].prompt
    assert words.isdisjoint(prompt.split())


@pytest.mark.parametrize(
    "fields",
    [{}, {"note": 7, "wrong": -1}, {"note": " ", "wrong": -1}, {"note": "Secret.", "wrong": 1}, {"note": "Secret."}],
)
def test_a_record_that_cannot_train_is_refused_without_its_content(fields: dict[str, object]) -> None:
    with pytest.raises(RecordError) as caught:
        TASK.examples(fields, unit="u")
    assert "Secret" not in str(caught.value)


def test_the_table_has_four_parts_a_line_and_no_name_twice() -> None:
    lines = [*_pairs_adult.LINES.strip().splitlines(), *_pairs_special.LINES.strip().splitlines()]
    assert len(lines) > 600
    parts = [[p.strip() for p in line.split("|")] for line in lines]
    assert all(len(p) == 4 and all(p[:3]) for p in parts)
    names = [n.strip() for p in parts for n in p[0].split(";")]
    assert not {n for n in names if names.count(n) > 1}


def test_the_task_says_what_it_is() -> None:
    assert traits(TASK).summary
    assert traits(TASK).languages == ("en",)
