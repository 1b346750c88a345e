"""The privacy plan: only what can hold, and one price for what it does."""

import math
from dataclasses import replace
from typing import Any

import pytest

from fedcore.errors import InvalidPlan, NoPrivacyUnit
from fedcore.privacy.accounting import DpEvent, epsilon
from fedcore.privacy.plan import UNSAFE_NO_NOISE, Forecast, PrivacyPlan
from fedcore.privacy.sampling import PoissonUnits
from fedcore.privacy.units import PrivacyUnit


@pytest.mark.parametrize(
    "change",
    [
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.01},
        {"sampling_rate": float("nan")},
        {"sampling_rate": "0.1"},
        {"sampling_rate": True},
        {"steps_per_round": 0},
        {"steps_per_round": 2.0},
        {"examples_per_unit": 0},
        {"expected_batch_units": 0},
        {"expected_batch_units": float("inf")},
        {"clip_norm_l2": 0.0},
        {"clip_norm_l2": -1.0},
        {"noise_multiplier": 0.0},
        {"noise_multiplier": -0.5},
        {"noise_multiplier": float("inf")},
        {"delta": 0.0},
        {"delta": 1.0},
        {"mechanism": "laplace"},
        {"mechanism": UNSAFE_NO_NOISE},
        {"unit": "patient"},
    ],
)
def test_a_plan_that_cannot_hold_is_refused(privacy: PrivacyPlan, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidPlan):
        replace(privacy, **change)


def test_a_plan_without_a_unit_is_refused() -> None:
    with pytest.raises(NoPrivacyUnit):
        PrivacyUnit(key=" ")


def test_no_noise_must_be_named_and_is_infinitely_dear(privacy: PrivacyPlan) -> None:
    plan = replace(privacy, noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE)
    assert not plan.is_private
    assert plan.epsilon(1) == math.inf


def test_an_event_holds_all_steps_of_all_rounds(privacy: PrivacyPlan) -> None:
    assert privacy.event(rounds=4) == DpEvent(
        sampler=PoissonUnits.sampler,
        sampling_rate=privacy.sampling_rate,
        noise_multiplier=privacy.noise_multiplier,
        steps=4 * privacy.steps_per_round,
    )


def test_epsilon_counts_what_was_released_before(privacy: PrivacyPlan) -> None:
    before = [privacy.event(rounds=3)]
    assert privacy.epsilon(2, before=before) == epsilon([privacy.event(rounds=5)], privacy.delta)
    assert privacy.epsilon(2, before=before) > privacy.epsilon(2)


def test_a_plan_survives_its_dictionary(privacy: PrivacyPlan) -> None:
    assert PrivacyPlan.from_dict(privacy.to_dict()) == privacy
    for broken in ({}, {**privacy.to_dict(), "note": 1}, {**privacy.to_dict(), "unit": None}):
        with pytest.raises(InvalidPlan):
            PrivacyPlan.from_dict(broken)


def test_a_calibrated_plan_meets_its_epsilon(privacy: PrivacyPlan) -> None:
    fixed = privacy.to_dict() | {"unit": privacy.unit}
    for name in ("noise_multiplier", "mechanism"):
        del fixed[name]
    plan = PrivacyPlan.calibrate(epsilon=2.0, rounds=5, **fixed)
    assert 1.95 < plan.epsilon(5) <= 2.0


def test_noise_of_the_mean_falls_with_institutions(privacy: PrivacyPlan) -> None:
    std = privacy.noise_multiplier * privacy.clip_norm_l2 / privacy.expected_batch_units
    assert privacy.noise_std_of_mean() == pytest.approx(std)
    assert privacy.noise_std_of_mean(4) == pytest.approx(std / 2)


def test_a_forecast_says_when_no_gain_is_to_be_expected(privacy: PrivacyPlan) -> None:
    poor = privacy.forecast(rounds=2, parameters=1_000_000, institutions=1)
    rich = privacy.forecast(rounds=2, parameters=100, institutions=4)
    assert not poor.gain_expected
    assert poor.units_needed is not None
    assert "No gain" in poor.describe()
    assert rich.gain_expected
    assert rich.units_needed is None
    assert poor.epsilon == rich.epsilon == privacy.epsilon(2)


def test_the_units_that_a_forecast_asks_for_would_be_enough(privacy: PrivacyPlan) -> None:
    poor = privacy.forecast(rounds=2, parameters=100_000, institutions=3)
    assert poor.units_needed is not None
    more = replace(privacy, expected_batch_units=poor.units_needed * privacy.sampling_rate)
    assert more.forecast(rounds=2, parameters=100_000, institutions=3).noise_to_signal <= Forecast.WORTHWHILE


def test_a_forecast_without_noise_says_research_only(privacy: PrivacyPlan) -> None:
    plan = replace(privacy, noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE)
    assert "research only" in plan.forecast(rounds=1, parameters=10, institutions=1).describe()
