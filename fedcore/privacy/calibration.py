"""Searches over accounting: the least noise, the largest rate, the most steps that an epsilon affords.

Epsilon grows with the rate and the steps and falls with the noise. Each search starts where epsilon is small,
since accounting for next to no noise would take gigabytes, and ends in a bracket whose cheaper end is known to
fit. This module knows no plan, sampler or noise source.

>>> from fedcore.privacy.accounting import DpEvent
>>> event = DpEvent(sampler="poisson", sampling_rate=0.01, noise_multiplier=1.0, steps=100)
>>> least_noise(event, epsilon=0.72, delta=1e-5) < 1.01
True
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from fedcore.errors import InvalidPlan
from fedcore.privacy import accounting
from fedcore.privacy.accounting import DpEvent, shared_relation, truncation_delta

__all__ = ["MARGIN", "largest_rate", "least_noise", "most_steps"]

MARGIN = 0.002
"""What `least_noise`, `largest_rate` and `most_steps` leave of a target, so that a ledger whose second accountant
rounds up a little further (Opacus' PRV: by 0.1 %) still affords the whole job at that limit."""

_TRUNCATION_SHARE = 0.01
"""The part of delta that truncation may take up in a plan that is searched for: about 0.05 % of epsilon."""


def least_noise(event: DpEvent, *, epsilon: float, delta: float) -> float:
    """The least noise multiplier of the main sum with which `event` costs at most `epsilon`.

    To 1 part in 1,000, rounded up, less `MARGIN`. What is released beside the main sum keeps its own noise.

    Args:
        event: All its steps; its own noise multiplier does not matter.
        epsilon: Of everything in the event together, > 0.
        delta: In (0, 1).
    Raises:
        InvalidPlan: `epsilon` is not above zero, a multiplier of 1,000 is not enough, what is released beside
            the sum costs more by itself, or batches would be truncated too often.
    """
    target = _target(epsilon)

    def cost(noise: float) -> float:
        return accounting.epsilon([replace(event, noise_multiplier=noise)], delta)

    if event.also and cost(1e6) > target:
        raise InvalidPlan(
            f"what is released beside the gradients ({', '.join(name for name, _ in event.also)}) costs more than "
            f"epsilon {epsilon:g} by itself",
            do="give it more noise",
        )
    fits = 1024.0
    if cost(fits) > target:
        raise InvalidPlan(
            f"epsilon {epsilon:g} cannot be reached", do="fewer rounds or steps, or a lower sampling rate"
        )
    while fits > 0.25 and cost(fits / 2) <= target:
        fits /= 2
    # Below a quarter noise hides nothing, and accounting for it is dear: the search ends there.
    noise = fits if cost(fits / 2) <= target else _cross(cost, target, fits, fits / 2)
    if _truncates_too_often(event, epsilon, delta):
        raise InvalidPlan(
            "batches would be truncated too often for two accountants to agree",
            got=f"batch_limit {event.batch_limit}",
            do=f"raise batch_limit to at least {_least_limit(event, epsilon, delta)}",
        )
    return math.ceil(noise * 1e4) / 1e4


def largest_rate(event: DpEvent, *, epsilon: float, delta: float) -> float:
    """The largest sampling rate with which `event` costs at most `epsilon`; to 1 part in 1,000, rounded down.

    Args:
        event: All its steps; its own rate does not matter.
        epsilon: As in `least_noise`, > 0.
        delta: In (0, 1).
    Raises:
        InvalidPlan: `epsilon` is not above zero, or a rate of one in a million costs more.
    """
    target = _target(epsilon)

    def cost(rate: float) -> float:
        tried = replace(event, sampling_rate=rate)
        return math.inf if _truncates_too_often(tried, epsilon, delta) else accounting.epsilon([tried], delta)

    # From the middle of the useful rates: accounting for a rate of a millionth takes seconds.
    fits = fails = 1e-3
    while cost(fits) > target:
        if fits <= 1e-6:
            raise InvalidPlan(
                f"epsilon {epsilon:g} cannot be reached at any sampling rate",
                do="more noise, or fewer rounds or steps",
            )
        fits, fails = fits / 4, fits
    while cost(fails) <= target:
        if fails == 1.0:
            return 1.0
        fits, fails = fails, min(1.0, 4 * fails)
    return _cross(cost, target, fits, fails)


def most_steps(event: DpEvent, *, epsilon: float, delta: float, before: Iterable[DpEvent] = (), each: int = 1) -> int:
    """How many times `each` steps of `event` cost at most `epsilon` on top of `before`: 0 to 1,000,000.

    Raises:
        InvalidPlan: `epsilon` is not above zero, or the events are of two neighbouring relations.
    """
    target = _target(epsilon)
    earlier = list(before)
    shared_relation([*earlier, event])

    def cost(times: int) -> float:
        return accounting.epsilon([*earlier, replace(event, steps=times * each)], delta)

    if cost(1) > target:
        return 0
    fits, fails, limit = 1, 2, 1_000_000
    while cost(fails) <= target:
        if fails == limit:
            return limit
        fits, fails = fails, min(limit, 2 * fails)
    while fails - fits > 1:
        middle = min(max(round(_between(cost, target, fits, fails)), fits + 1), fails - 1)
        fits, fails = (middle, fails) if cost(middle) <= target else (fits, middle)
    return fits


def _target(epsilon: float) -> float:
    """What a search aims at."""
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise InvalidPlan("the target epsilon is out of range", expected="a number above 0", got=repr(epsilon))
    return epsilon * (1 - MARGIN)


def _cross(cost: Callable[[float], float], target: float, fits: float, fails: float) -> float:
    """Close in on where `cost` passes `target`, to 1 part in 1,000: the last point known to fit."""
    closeness, aim_at_fits = 1e-3, True
    while abs(math.log(fails / fits)) > closeness:
        middle = math.log(_between(cost, target, fits, fails))
        # A little to the side of the far end, so that the bracket closes from both sides.
        width = math.log(fails / fits)
        step = math.copysign(min(closeness / 2, abs(width) / 4), width)
        low, high = sorted((math.log(fits) + step / 2, math.log(fails) - step / 2))
        point = math.exp(min(max(middle - step if aim_at_fits else middle + step, low), high))
        aim_at_fits = cost(point) > target
        fits, fails = (fits, point) if aim_at_fits else (point, fails)
    return fits


def _between(cost: Callable[[Any], float], target: float, fits: Any, fails: Any) -> float:
    """Where a power law through both ends passes the target; their geometric mean where there is none."""
    low, high = cost(fits), cost(fails)
    part = 0.5
    if 0 < low < high < math.inf:
        part = min(max(math.log(target / low) / math.log(high / low), 0.05), 0.95)
    return float(fits * (fails / fits) ** part)


def _truncates_too_often(event: DpEvent, epsilon: float, delta: float) -> bool:
    return truncation_delta([event], epsilon) > _TRUNCATION_SHARE * delta


def _least_limit(event: DpEvent, epsilon: float, delta: float) -> int:
    """The least batch limit that is not truncated too often; at most the number of units."""
    low, high = event.batch_limit or 1, event.largest_units or 1
    while high - low > 1:
        middle = (low + high) // 2
        often = _truncates_too_often(replace(event, batch_limit=middle), epsilon, delta)
        low, high = (middle, high) if often else (low, middle)
    return high
