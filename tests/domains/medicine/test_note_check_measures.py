"""Accuracies beside the strongest constant answers; versions of one case are never on both sides of a split."""

from pathlib import Path
from typing import Any

import pytest

from domains.evaluation import Bench, Fit
from domains.medicine.note_check_measures import cases, measure
from fedcore.errors import RecordError

FINDINGS = (
    ("A man has tearing chest pain radiating to the back and a widened mediastinum", "Esmolol", "Heparin"),
    ("A toddler has burrows between the fingers and itching at night", "Permethrin", "Acyclovir"),
    ("A woman has a curd-like vaginal discharge and pruritus", "Fluconazole", "Metronidazole"),
    ("A boy has a barking cough, an inspiratory stridor and a steeple sign", "Dexamethasone", "Ceftriaxone"),
)


def row(name: str, findings: str, given: str, wrong: bool) -> dict[str, Any]:
    """A row as the measure reads it."""
    return {
        "id": name,
        "input": f"0 {findings}.\n1 {given} was administered.",
        "error_flag": int(wrong),
        "error_sentence_id": "1" if wrong else "-1",
        "site": "clinic",
    }


def rows() -> list[dict[str, Any]]:
    """A right and a wrong version of each case."""
    return [
        row(f"{i}-{given}", findings, given, given == wrong)
        for i, (findings, right, wrong) in enumerate(FINDINGS)
        for given in (right, wrong)
    ]


def test_rules_alone_beat_every_constant_answer_on_plain_cases() -> None:
    scores = measure(Bench(rows=rows(), records=Path("records.jsonl")))
    assert scores.metrics["flag_accuracy"] == 1.0
    assert scores.metrics["sentence_accuracy"] == 1.0
    assert scores.metrics["flag_majority"] == scores.metrics["sentence_majority"] == 0.5
    assert scores.details["scored"] == 8


def test_a_right_flag_on_the_wrong_sentence_is_no_right_sentence() -> None:
    data = rows()
    for r in data:
        if r["error_flag"]:
            r["error_sentence_id"] = "0"
    scores = measure(Bench(rows=data, records=Path("records.jsonl")))
    assert scores.metrics["flag_accuracy"] == 1.0
    assert scores.metrics["sentence_accuracy"] == 0.5
    assert scores.metrics["sentence_majority"] == 0.5


def test_the_majority_is_the_better_constant_of_what_is_scored() -> None:
    wrong = [r for r in rows() if r["error_flag"]]
    scores = measure(Bench(rows=[*wrong, rows()[0]], records=Path("records.jsonl")))
    assert scores.metrics["flag_majority"] == 0.8
    assert scores.metrics["sentence_majority"] == 0.2


def test_versions_of_one_case_are_one_unit() -> None:
    case = cases(rows())
    assert len(set(case.values())) == len(FINDINGS)
    bench = Bench(rows=rows(), records=Path("records.jsonl"), fit=Fit(share=0.6, epsilon=None))
    fit, scored = bench.split(case.values())
    assert fit.isdisjoint(scored)
    assert fit | scored == set(case.values())


def test_three_versions_that_meet_only_through_a_third_are_one_case() -> None:
    texts = {
        "a": "0 one two three four",
        "b": "0 one two three four five six seven eight",
        "c": "0 five six seven eight",
    }
    assert set(cases([{"id": k, "input": v} for k, v in texts.items()]).values()) == {"a"}


@pytest.mark.parametrize("spoil", [{"error_flag": "x"}, {"error_sentence_id": None}, {"id": ...}])
def test_a_row_that_cannot_be_measured_is_named_by_number_alone(spoil: dict[str, Any]) -> None:
    bad = {k: v for k, v in {**rows()[1], **spoil}.items() if v is not ...}
    with pytest.raises(RecordError, match="row 2") as caught:
        measure(Bench(rows=[rows()[0], bad], records=Path("records.jsonl")))
    assert "administered" not in str(caught.value)
