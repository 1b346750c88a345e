"""The measure of diagnosis support: its figures equal slow twins, and nothing scored is trained on."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.classifying import expected_calibration_error, softmax
from domains.evaluation import Bench, Fit
from domains.medicine.conditions import COMMON
from domains.medicine.diagnosis_measures import _for_training, _hit, differential_recall, divergence, measure
from domains.medicine.diagnosis_synthetic import SITES, records
from fedcore.errors import RecordError

ROWS = st.lists(st.lists(st.floats(-6, 6), min_size=4, max_size=4), min_size=1, max_size=12)


def own_rows(each: int = 12) -> list[dict[str, Any]]:
    return [row for site in SITES for row in records(site, each, 5)]


@settings(deadline=None)
@given(ROWS, ROWS)
def test_divergence_and_recall_equal_their_slow_twins(a: list[list[float]], b: list[list[float]]) -> None:
    n = min(len(a), len(b))
    reference, ours = softmax(np.array(a[:n])), softmax(np.array(b[:n]))
    reference[:, 0] = 0.0
    reference /= reference.sum(axis=1, keepdims=True)
    kl = [
        sum(p * math.log(p / q) for p, q in zip(r, o, strict=True) if p > 0)
        for r, o in zip(reference, ours, strict=True)
    ]
    assert divergence(reference, ours) == pytest.approx(sum(kl) / n, abs=1e-9)
    assert divergence(reference, reference) == pytest.approx(0, abs=1e-12)
    recall = [sum(q >= 0.01 for q in o[1:]) / 3 for o in ours]
    assert differential_recall(reference, ours) == pytest.approx(sum(recall) / n)


@settings(deadline=None)
@given(ROWS)
def test_calibration_error_equals_its_slow_twin(rows: list[list[float]]) -> None:
    p = softmax(np.array(rows))
    labels = np.array([i % 4 for i in range(len(rows))])
    total = 0.0
    for b in range(15):
        inside = [i for i in range(len(rows)) if b / 15 < p[i].max() <= (b + 1) / 15]
        if inside:
            right = sum(int(p[i].argmax()) == labels[i] for i in inside) / len(inside)
            sure = sum(p[i].max() for i in inside) / len(inside)
            total += abs(right - sure) * len(inside) / len(rows)
    assert expected_calibration_error(p, labels) == pytest.approx(total, abs=1e-6)


def test_ties_count_as_their_share() -> None:
    assert _hit(np.array([1.0, 1.0, 0.0]), 0) == 0.5
    assert _hit(np.array([1.0, 1.0, 0.0]), 2) == 0.0
    assert _hit(np.array([2.0, 1.0, 0.0]), 0) == 1.0


def test_under_privacy_a_calibrating_unit_teaches_nothing() -> None:
    record = {"unit": "u", "diagnosis": "Gout", "differential": [["Gout", 1.0]]}
    none, private = (Bench(rows=[], records=Path(), fit=Fit(share=0.5, epsilon=e)) for e in (None, 8.0))
    assert _for_training(record, True, private) == record
    assert _for_training(record, False, private) is None
    assert _for_training(record, False, none) == {**record, "diagnosis": None}


def test_the_book_alone_is_scored_on_own_records() -> None:
    scores = measure(Bench(rows=own_rows(), records=Path("own.jsonl")))
    assert scores.metrics["top1"] > 3 / len(COMMON.conditions)
    assert scores.metrics["top1"] <= scores.metrics["top5"] <= 1
    assert 0 <= scores.metrics["ece"] <= 1
    assert scores.metrics["severe_recall"] > 0.9
    assert scores.notes == ("the code book alone",)


def test_patients_with_a_differential_are_scored_beside_their_code_book(tmp_path: Path) -> None:
    book = {
        "evidences": {f"E_{i}": {"q": f"Question {i}?"} for i in range(6)},
        "conditions": {
            "A": {"icd10": "A00", "severity": 1, "symptoms": ["E_0", "E_1", "E_2"]},
            "B": {"icd10": "B00", "severity": 4, "symptoms": ["E_3", "E_4", "E_5"]},
        },
    }
    row = {"id": "1", "age": 40, "sex": "F", "initial_evidence": "E_0", "evidences": ["E_0", "E_1", "E_2"]}
    rows = [{**row, "diagnosis": "A", "differential": [["A", 0.9], ["B", 0.1]]}]
    with pytest.raises(RecordError, match=r"kb\.json is missing"):
        measure(Bench(rows=rows, records=tmp_path / "dev.jsonl"))
    (tmp_path / "kb.json").write_text(json.dumps(book), encoding="utf-8")
    scores = measure(Bench(rows=rows, records=tmp_path / "dev.jsonl"))
    assert scores.metrics["top1"] == scores.metrics["severe_recall"] == 1.0
    assert 0 <= scores.metrics["kl"] < 1
    assert scores.metrics["ddr"] >= 0.5


def test_choices_are_scored_in_both_languages() -> None:
    en = {"explicit": [["ear pain", "True"]], "candidates": ["Ear infection", "Gout"], "disease": "Ear infection"}
    zh = {"explicit": [["耳痛", "True"]], "candidates": ["耳痛症", "痛风"], "disease": "耳痛症"}
    scores = measure(Bench(rows=[{"id": "1", "en": en, "zh": zh}], records=Path("cases.jsonl")))
    assert scores.metrics["top1_en"] == scores.metrics["top1_zh"] == scores.metrics["top1"] == 1.0


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(RecordError, match="none that diagnosis is measured on"):
        measure(Bench(rows=[{"text": "x"}], records=Path("x.jsonl")))


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [None, 8.0])
def test_training_keeps_most_of_what_the_book_knows(epsilon: float | None) -> None:
    rows = own_rows(60)
    alone = measure(Bench(rows=rows, records=Path("own.jsonl")))
    fitted = measure(Bench(rows=rows, records=Path("own.jsonl"), fit=Fit(share=0.6, epsilon=epsilon)))
    assert fitted.details["trained"] + fitted.details["calibrated"] + fitted.details["scored"] == len(rows)
    # Own records are made from the book, so that it can hardly be bettered; a hundred patients must not undo it.
    assert fitted.metrics["top1"] > alone.metrics["top1"] - 0.15
