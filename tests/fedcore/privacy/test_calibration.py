"""Searches: what is found fits its target, and a little more would not."""

import math
from dataclasses import replace
from typing import Any

import pytest

from fedcore.errors import InvalidPlan
from fedcore.privacy.accounting import DpEvent, epsilon, truncation_delta
from fedcore.privacy.calibration import MARGIN, largest_rate, least_noise, most_steps

DELTA = 1e-5


def event(rate: float, steps: int, **more: Any) -> DpEvent:
    fields: dict[str, Any] = {"sampler": "poisson", "noise_multiplier": 1.0, **more}
    return DpEvent(sampling_rate=rate, steps=steps, **fields)


TRUNCATED = {"sampler": "truncated_poisson", "largest_units": 1000}
KINDS: list[dict[str, Any]] = [
    {},
    {"relation": "replace_one"},
    {"also": (("clip_count", 8.0),)},
    {**TRUNCATED, "batch_limit": 80},
]


@pytest.mark.parametrize("more", KINDS)
@pytest.mark.parametrize(("target", "rate", "steps"), [(8.0, 0.02, 160), (1.0, 0.01, 100)])
def test_least_noise_meets_the_target_and_is_the_least(
    target: float, rate: float, steps: int, more: dict[str, Any]
) -> None:
    template = event(rate, steps, **more)
    noise = least_noise(template, epsilon=target, delta=DELTA)
    assert epsilon([replace(template, noise_multiplier=noise)], DELTA) <= target * (1 - MARGIN)
    assert epsilon([replace(template, noise_multiplier=noise * 0.995)], DELTA) > target * (1 - MARGIN)


def test_least_noise_without_sampling_is_the_least() -> None:
    template = event(1.0, 4)
    noise = least_noise(template, epsilon=50.0, delta=DELTA)
    assert epsilon([replace(template, noise_multiplier=noise)], DELTA) <= 50.0
    assert epsilon([replace(template, noise_multiplier=noise * 0.99)], DELTA) > 50.0


@pytest.mark.parametrize("more", KINDS)
def test_largest_rate_meets_the_target_and_is_the_largest(more: dict[str, Any]) -> None:
    template = event(0.5, 50, **more)
    rate = largest_rate(template, epsilon=2.0, delta=DELTA)
    assert epsilon([replace(template, sampling_rate=rate)], DELTA) <= 2.0 * (1 - MARGIN)
    more_sampled = replace(template, sampling_rate=rate * 1.003)
    too_often = truncation_delta([more_sampled], 2.0) > 0.01 * DELTA
    assert too_often or epsilon([more_sampled], DELTA) > 2.0 * (1 - MARGIN)


def test_a_rate_of_one_is_found_where_it_fits() -> None:
    assert largest_rate(event(0.1, 1, noise_multiplier=50.0), epsilon=8.0, delta=DELTA) == 1.0


def test_most_steps_meets_the_target_and_is_the_most() -> None:
    template = event(0.05, 1)
    found = most_steps(template, epsilon=3.0, delta=DELTA, each=4)
    assert found > 1
    assert epsilon([replace(template, steps=4 * found)], DELTA) <= 3.0 * (1 - MARGIN)
    assert epsilon([replace(template, steps=4 * found + 4)], DELTA) > 3.0 * (1 - MARGIN)
    before = [event(0.05, 4 * found - 8)]
    assert most_steps(template, epsilon=3.0, delta=DELTA, before=before, each=4) == 2


def test_no_step_fits_into_what_is_spent() -> None:
    assert most_steps(event(1.0, 1), epsilon=0.1, delta=DELTA) == 0
    assert most_steps(event(0.1, 1), epsilon=1.0, delta=DELTA, before=[event(0.5, 100)]) == 0
    assert most_steps(event(0.1, 1, noise_multiplier=0.0), epsilon=1.0, delta=DELTA) == 0


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_out_of_range_is_refused(target: float) -> None:
    one = event(0.1, 1)
    for search in (least_noise, largest_rate, most_steps):
        with pytest.raises(InvalidPlan):
            search(one, epsilon=target, delta=DELTA)


def test_a_target_out_of_reach_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="cannot be reached"):
        least_noise(event(1.0, 1_000_000), epsilon=0.01, delta=DELTA)
    with pytest.raises(InvalidPlan, match="any sampling rate"):
        largest_rate(event(0.1, 100_000, noise_multiplier=0.25), epsilon=0.01, delta=DELTA)


def test_a_count_that_overspends_by_itself_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="clip_count"):
        least_noise(event(0.1, 100, also=(("clip_count", 1.0),)), epsilon=1.0, delta=DELTA)


def test_batches_cut_too_often_are_refused_with_a_limit_that_would_do() -> None:
    often = event(0.1, 100, **TRUNCATED, batch_limit=110)
    with pytest.raises(InvalidPlan, match="raise batch_limit to at least") as refused:
        least_noise(often, epsilon=4.0, delta=DELTA)
    limit = int(str(refused.value).rsplit(" ", 1)[1])
    assert truncation_delta([replace(often, batch_limit=limit)], 4.0) <= 0.01 * DELTA
    assert truncation_delta([replace(often, batch_limit=limit - 1)], 4.0) > 0.01 * DELTA
    assert math.isfinite(least_noise(replace(often, batch_limit=limit), epsilon=4.0, delta=DELTA))
