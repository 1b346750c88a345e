"""Calibration and its measures, beside slow twins."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.classifying import (
    Classifier,
    Judge,
    brier,
    expected_calibration_error,
    fit_temperature,
    macro_f1,
    softmax,
)
from domains.features import make_features_base
from fedcore.errors import ConfigError
from simulations.tiny import make_tiny_base

SEEDS = st.integers(0, 10_000)


def some(seed: int, examples: int = 60, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(scale=2, size=(examples, labels)), rng.integers(labels, size=examples)


@given(seed=SEEDS)
def test_calibration_error_is_its_definition(seed: int) -> None:
    logits, labels = some(seed)
    p = softmax(logits)
    total = 0.0
    for b in range(15):
        low, high = b / 15, (b + 1) / 15
        rows = [i for i in range(len(p)) if low < max(p[i]) <= high]
        if rows:
            accuracy = sum(int(np.argmax(p[i])) == labels[i] for i in rows) / len(rows)
            confidence = sum(max(p[i]) for i in rows) / len(rows)
            total += abs(accuracy - confidence) * len(rows) / len(p)
    assert expected_calibration_error(p, labels) == pytest.approx(total)


@given(seed=SEEDS)
def test_brier_is_its_definition(seed: int) -> None:
    logits, labels = some(seed)
    p = softmax(logits)
    slow = sum((p[i, c] - (c == labels[i])) ** 2 for i in range(len(p)) for c in range(p.shape[1])) / len(p)
    assert brier(p, labels) == pytest.approx(slow)


@given(seed=SEEDS)
def test_macro_f1_is_its_definition(seed: int) -> None:
    _, labels = some(seed)
    predicted = np.random.default_rng(seed + 1).integers(4, size=len(labels))
    scores = []
    for c in range(4):
        right = sum(1 for a, b in zip(predicted, labels, strict=True) if a == b == c)
        said, there = sum(1 for a in predicted if a == c), sum(1 for b in labels if b == c)
        precision, recall = (right / said if said else 0.0), (right / there if there else 0.0)
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    assert macro_f1(predicted, labels, 4) == pytest.approx(sum(scores) / 4)


def test_the_temperature_is_the_likeliest_of_a_fine_grid() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(800, 3))
    labels = np.array([rng.choice(3, p=row) for row in softmax(truth)])
    overconfident = truth * 4
    found = fit_temperature(overconfident, labels)

    def loss(t: float) -> float:
        return float(-np.log(softmax(overconfident, t)[np.arange(800), labels]).mean())

    assert found == pytest.approx(min(np.arange(0.5, 12, 0.01), key=loss), abs=0.02)
    assert found == pytest.approx(4.0, rel=0.25)
    before, after = softmax(overconfident), softmax(overconfident, found)
    assert expected_calibration_error(after, labels) < expected_calibration_error(before, labels)
    np.testing.assert_array_equal(before.argmax(1), after.argmax(1))


def test_a_temperature_needs_examples() -> None:
    with pytest.raises(ConfigError, match="no examples"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, dtype=int))


def test_a_base_that_writes_is_no_judge(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="classifies nothing"):
        Classifier.load(make_tiny_base(tmp_path / "b", "llama"))


def test_a_classifier_judges_many_prompts_as_it_does_each(tmp_path: Path) -> None:
    make_features_base(tmp_path / "b", labels=("a", "b"), known=("x",), prior={"x": (1.0, -1.0)}, dimension=8)
    judge = Classifier.load(tmp_path / "b")
    assert isinstance(judge, Judge)
    assert judge.labels == ("a", "b")
    prompts = ["x", "y", "x x y", ""] * 40
    many = judge.logits(prompts)
    np.testing.assert_array_equal(many, np.concatenate([judge.logits([p]) for p in prompts]))
    assert judge.logits([]).shape == (0, 2)
