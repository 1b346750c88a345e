"""The calibrating temperature: private by construction, and near the best where the budget is large."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.classifying import softmax
from domains.medicine import _temperature
from domains.medicine._temperature import GRID, private_temperature, unit_losses

LOGITS = st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=2, max_size=6)


def chances(logits: np.ndarray, labels: np.ndarray, units: list[str], epsilon: float) -> np.ndarray:
    """The mechanism's probabilities, read from the generator that it asks."""

    class Spy:
        def choice(self, count: int, p: np.ndarray) -> int:
            self.p = p
            return 0

    spy = Spy()
    private_temperature(logits, labels, units, epsilon=epsilon, rng=spy)  # type: ignore[arg-type]
    return spy.p


@settings(deadline=None)
@given(LOGITS, st.floats(0.1, 8))
def test_one_unit_more_or_less_changes_no_chance_by_more_than_epsilon(rows: list[list[float]], epsilon: float) -> None:
    logits, labels = np.array(rows), np.zeros(len(rows), dtype=int)
    units = [str(i) for i in range(len(rows))]
    whole = chances(logits, labels, units, epsilon)
    without = chances(logits[1:], labels[1:], units[1:], epsilon)
    with np.errstate(divide="ignore"):
        ratio = np.abs(np.log(whole) - np.log(without))
    assert ratio[np.isfinite(ratio)].max() <= epsilon + 1e-9


@settings(deadline=None)
@given(LOGITS, st.sampled_from(GRID))
def test_a_units_loss_equals_its_slow_twin_and_is_bounded(rows: list[list[float]], temperature: float) -> None:
    logits, labels = np.array(rows), np.array([i % 3 for i in range(len(rows))])
    units = ["a" if i % 2 else "b" for i in range(len(rows))]
    found = unit_losses(logits, labels, units, temperature)
    for unit in set(units):
        own = [-np.log(softmax(logits[i], temperature)[labels[i]]) for i in range(len(rows)) if units[i] == unit]
        assert found[unit] == pytest.approx(min(_temperature._MOST, float(np.mean(own))))
        assert 0 <= found[unit] <= _temperature._MOST


def test_with_a_large_budget_it_finds_the_temperature_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(4000, 4))  # Few losses reach the bound.
    labels = np.array([rng.choice(4, p=p) for p in softmax(true)])
    units = [str(i) for i in range(len(labels))]
    assert private_temperature(true * 2, labels, units, epsilon=50.0, rng=rng) == pytest.approx(2.0, rel=0.12)
