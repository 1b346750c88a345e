"""Accounting: equal to closed forms, above the truth and never far, additive over jobs."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.errors import InvalidPlan
from fedcore.privacy.accounting import DpEvent, epsilon, least_noise, merge
from tests.reference import accounting as twin


def event(*, rate: float = 0.1, noise: float = 1.0, steps: int = 1) -> DpEvent:
    return DpEvent(sampler="poisson", sampling_rate=rate, noise_multiplier=noise, steps=steps)


@pytest.mark.parametrize(("noise", "steps"), [(0.8, 1), (1.0, 4), (3.0, 50), (10.0, 10)])
def test_epsilon_without_sampling_equals_the_closed_form(noise: float, steps: int) -> None:
    exact = twin.gaussian_epsilon(noise, steps, 1e-5)
    found = epsilon([event(rate=1.0, noise=noise, steps=steps)], 1e-5)
    assert exact * (1 - 1e-6) <= found <= exact * 1.01 + 2e-3 * steps


@pytest.mark.parametrize(("rate", "noise"), [(0.5, 1.0), (0.1, 0.7), (0.02, 0.5)])
def test_epsilon_of_one_sampled_step_equals_the_integral(rate: float, noise: float) -> None:
    exact = twin.poisson_step_epsilon(noise, rate, 1e-5)
    found = epsilon([event(rate=rate, noise=noise)], 1e-5)
    assert exact * (1 - 1e-3) <= found <= exact * 1.01 + 2e-3


@pytest.mark.parametrize(("rate", "noise", "steps"), [(0.05, 0.8, 40), (0.01, 1.0, 200), (0.3, 2.0, 30)])
def test_epsilon_agrees_with_opacus_prv_within_one_per_cent(rate: float, noise: float, steps: int) -> None:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(noise, rate, steps)]
    ours = epsilon([event(rate=rate, noise=noise, steps=steps)], 1e-5)
    # Its default error of 0.01 is absolute: at small epsilon more than 1 %.
    assert accountant.get_epsilon(1e-5, eps_error=1e-3 * ours) == pytest.approx(ours, rel=0.01)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2]), st.sampled_from([1.0, 2.0]), st.integers(1, 9)), max_size=8))
def test_merging_keeps_every_step_and_forgets_order(parts: list[tuple[float, float, int]]) -> None:
    events = [event(rate=q, noise=z, steps=n) for q, z, n in parts]
    merged = merge(events)
    assert sum(e.steps for e in merged) == sum(n for _, _, n in parts)
    assert merged == merge(reversed(events)) == merge(merged)


def test_jobs_add_up_as_one_list_of_events() -> None:
    one, other = event(steps=20), event(rate=0.2, noise=2.0, steps=10)
    together = epsilon([one, other], 1e-5)
    assert together > max(epsilon([one], 1e-5), epsilon([other], 1e-5))
    assert together < epsilon([one], 1e-5) + epsilon([other], 1e-5)
    assert epsilon([event(steps=8), other, event(steps=12)], 1e-5) == together


@settings(max_examples=10, deadline=None)
@given(st.floats(0.01, 1.0), st.floats(0.6, 5.0), st.integers(1, 50))
def test_more_steps_or_less_noise_never_cost_less(rate: float, noise: float, steps: int) -> None:
    cost = epsilon([event(rate=rate, noise=noise, steps=steps)], 1e-5)
    assert epsilon([event(rate=rate, noise=noise, steps=steps + 10)], 1e-5) >= cost
    assert epsilon([event(rate=rate, noise=noise * 0.8, steps=steps)], 1e-5) >= cost


def test_nothing_costs_nothing_and_no_noise_costs_everything() -> None:
    assert epsilon([], 1e-5) == 0.0
    assert epsilon([event(noise=5.0), event(noise=0.0)], 1e-5) == math.inf


@pytest.mark.parametrize(("target", "rate", "steps"), [(8.0, 0.2, 16), (1.0, 0.01, 100), (50.0, 1.0, 4)])
def test_least_noise_meets_the_target_and_is_the_least(target: float, rate: float, steps: int) -> None:
    noise = least_noise(epsilon=target, delta=1e-5, sampling_rate=rate, steps=steps)
    assert epsilon([event(rate=rate, noise=noise, steps=steps)], 1e-5) <= target
    assert epsilon([event(rate=rate, noise=noise * 0.995, steps=steps)], 1e-5) > target


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_out_of_range_is_refused(target: float) -> None:
    with pytest.raises(InvalidPlan):
        least_noise(epsilon=target, delta=1e-5, sampling_rate=0.1, steps=1)


@pytest.mark.parametrize(
    "change",
    [
        {"sampler": "shuffled"},
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.1},
        {"sampling_rate": float("nan")},
        {"steps": 0},
        {"steps": 1.5},
        {"steps": True},
        {"noise_multiplier": -1.0},
        {"noise_multiplier": float("nan")},
        {"noise_multiplier": float("inf")},
    ],
)
def test_an_event_that_cannot_be_accounted_for_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidPlan):
        DpEvent.from_dict({**event().to_dict(), **change})


def test_an_event_survives_its_dictionary() -> None:
    assert DpEvent.from_dict(event().to_dict()) == event()
    with pytest.raises(InvalidPlan):
        DpEvent.from_dict({**event().to_dict(), "note": ""})
