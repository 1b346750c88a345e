"""The privacy plan: only what can hold, and one price for what it does."""

import math
from dataclasses import replace
from typing import Any

import pytest

from fedcore.errors import InvalidPlan, NoPrivacyUnit, PlanRefused
from fedcore.privacy.accounting import DpEvent, epsilon
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.calibration import MARGIN
from fedcore.privacy.plan import UNSAFE_NO_NOISE, Forecast, PrivacyPlan
from fedcore.privacy.sampling import PoissonUnits, SystemRandom, TruncatedPoissonUnits
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


ADAPTIVE = Clipping(rule="adaptive", quantile=0.5, learning_rate=0.2, count_noise_multiplier=10.0)
TRUNCATED = {"sampler": "truncated_poisson", "batch_limit": 40, "largest_units": 200}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"unit": PrivacyUnit(key="patient", relation="replace_one")},
        {"clipping": ADAPTIVE},
        {"clipping": Clipping(rule="automatic", stability=0.01)},
        TRUNCATED,
    ],
)
def test_a_calibrated_plan_meets_its_epsilon(privacy: PrivacyPlan, change: dict[str, Any]) -> None:
    fixed = privacy.to_dict() | {"unit": privacy.unit, "clipping": privacy.clipping} | change
    for name in ("noise_multiplier", "mechanism"):
        del fixed[name]
    plan = PrivacyPlan.calibrate(epsilon=2.0, rounds=5, **fixed)
    assert 1.95 < plan.epsilon(5) <= 2.0 * (1 - MARGIN)
    assert plan == replace(privacy, noise_multiplier=plan.noise_multiplier, **change)
    assert plan.most_rounds(2.0) >= 5


def test_an_adaptive_plan_needs_more_noise_for_its_count(privacy: PrivacyPlan) -> None:
    fixed: dict[str, Any] = {name: getattr(privacy, name) for name in CALIBRATED}
    fixed["delta"] = privacy.delta
    fixed["sampling_rate"] = privacy.sampling_rate
    plain = PrivacyPlan.calibrate(epsilon=2.0, rounds=5, **fixed)
    noises = []
    for count in (3.0, 30.0):
        clipping = replace(ADAPTIVE, count_noise_multiplier=count)
        plan = PrivacyPlan.calibrate(epsilon=2.0, rounds=5, **fixed, clipping=clipping)
        assert plan.event().also == (("clip_count", count),)
        # Jointly the two are as noisy as the plain plan's gradients.
        assert plan.event().effective_noise_multiplier == pytest.approx(plain.noise_multiplier, rel=2e-3)
        noises.append(plan.noise_multiplier)
    assert noises[0] > noises[1] > plain.noise_multiplier
    with pytest.raises(InvalidPlan, match="clip_count"):
        PrivacyPlan.calibrate(
            epsilon=2.0,
            rounds=5,
            **fixed,
            clipping=replace(ADAPTIVE, count_noise_multiplier=plain.noise_multiplier / 2),
        )


CALIBRATED = ("unit", "steps_per_round", "expected_batch_units", "examples_per_unit", "clip_norm_l2")


def test_a_rate_is_found_and_sets_the_expected_batch(privacy: PrivacyPlan) -> None:
    fixed: dict[str, Any] = {name: getattr(privacy, name) for name in CALIBRATED if name != "expected_batch_units"}
    plan = PrivacyPlan.calibrate(epsilon=2.0, delta=1e-5, rounds=5, noise_multiplier=1.0, units=300, **fixed)
    assert plan.noise_multiplier == 1.0
    assert plan.expected_batch_units == pytest.approx(300 * plan.sampling_rate)
    assert 1.95 < plan.epsilon(5) <= 2.0
    noise = PrivacyPlan.calibrate(
        epsilon=2.0, delta=1e-5, rounds=5, sampling_rate=plan.sampling_rate, units=300, **fixed
    )
    assert noise.noise_multiplier == pytest.approx(1.0, rel=5e-3)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"sampling_rate": 0.1, "noise_multiplier": 1.0},
        {"noise_multiplier": 1.0},
        {"sampling_rate": 0.1, "units": 100},
        {"sampling_rate": 0.1, "expected_batch_units": None},
        {"noise_multiplier": 1.0, "expected_batch_units": None, "units": 0},
        {"sampling_rate": 0.1, "rounds": 0},
        {"sampling_rate": 0.1, "rounds": -1},
        {"sampling_rate": 0.1, "epsilon": float("nan")},
        {"sampling_rate": 0.1, "epsilon": -1.0},
        {"sampling_rate": 0.1, "delta": 0.0},
        {"sampling_rate": float("nan")},
        {"sampling_rate": "0.1", "expected_batch_units": None, "units": 10},
        {"sampling_rate": 0.1, "sampler": "shuffled"},
        {"sampling_rate": 0.1, "batch_limit": 4},
    ],
)
def test_a_calibration_that_is_not_one_question_is_refused(privacy: PrivacyPlan, change: dict[str, Any]) -> None:
    asked: dict[str, Any] = {name: getattr(privacy, name) for name in CALIBRATED}
    asked |= {"epsilon": 2.0, "delta": 1e-5, "rounds": 2} | change
    with pytest.raises(InvalidPlan):
        PrivacyPlan.calibrate(**asked)


def test_most_rounds_is_the_last_that_fits(privacy: PrivacyPlan) -> None:
    rounds = privacy.most_rounds(3.0)
    assert privacy.epsilon(rounds) <= 3.0 * (1 - MARGIN) < privacy.epsilon(rounds + 1)
    assert privacy.most_rounds(3.0, before=[privacy.event(rounds - 1)]) == 1
    assert privacy.most_rounds(3.0, before=[privacy.event(rounds)]) == 0
    assert replace(privacy, noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE).most_rounds(3.0) == 0
    with pytest.raises(InvalidPlan):
        privacy.most_rounds(3.0, before=[replace(privacy.event(), relation="replace_one")])


def test_a_plan_hands_out_the_sampler_that_its_events_name(privacy: PrivacyPlan) -> None:
    source = SystemRandom()
    plain, cut = privacy.batches(50, source), replace(privacy, **TRUNCATED).batches(200, source)
    assert type(plain) is PoissonUnits
    assert type(cut) is TruncatedPoissonUnits
    for plan, batches in ((privacy, plain), (replace(privacy, **TRUNCATED), cut)):
        event = plan.event()
        assert (batches.sampler, batches.sampling_rate) == (event.sampler, event.sampling_rate)
        assert batches.source is source
    assert (cut.units, cut.batch_limit, cut.largest_units) == (200, 40, 200)
    with pytest.raises(PlanRefused) as refused:
        replace(privacy, **TRUNCATED).batches(201, source)
    assert refused.value.reason == "too_many_units"
    assert "201" not in str(refused.value)


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
    assert privacy.unit.describe() in poor.describe()
    assert rich.gain_expected
    assert rich.units_needed is None
    assert poor.epsilon == rich.epsilon == privacy.epsilon(2)


def test_the_units_that_a_forecast_asks_for_would_be_enough(privacy: PrivacyPlan) -> None:
    poor = privacy.forecast(rounds=2, parameters=100_000, institutions=3)
    assert poor.units_needed is not None
    more = replace(privacy, expected_batch_units=poor.units_needed * privacy.sampling_rate)
    assert more.forecast(rounds=2, parameters=100_000, institutions=3).noise_to_signal <= Forecast.WORTHWHILE


def test_a_forecast_names_the_relation_of_its_epsilon(privacy: PrivacyPlan) -> None:
    replaced = replace(privacy, unit=PrivacyUnit(key="patient", relation="replace_one"))
    forecast = replaced.forecast(rounds=2, parameters=100, institutions=4)
    assert "replaced by another" in forecast.describe()
    assert forecast.epsilon is not None
    assert forecast.epsilon > privacy.epsilon(2)


def test_a_forecast_without_noise_says_research_only(privacy: PrivacyPlan) -> None:
    plan = replace(privacy, noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE)
    assert "research only" in plan.forecast(rounds=1, parameters=10, institutions=1).describe()
