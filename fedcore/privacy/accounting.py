"""What was released from data, and what that costs: events and epsilon.

A release is a frozen **DpEvent**; accounting is separate from doing. Epsilon is that of the whole list
of events: jobs and rounds add up by composition, never one by one. It is computed by dp-accounting's
privacy loss distributions, under add-or-remove-one, pessimistically rounded.

>>> round(epsilon([DpEvent(sampler="poisson", sampling_rate=0.01, noise_multiplier=1.0, steps=100)], 1e-5), 2)
0.72
"""

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fedcore.errors import InvalidPlan

__all__ = ["DpEvent", "epsilon", "least_noise", "merge"]


@dataclass(frozen=True, kw_only=True)
class DpEvent:
    """`steps` sums of clipped units, each sampled by `sampler` and noised by a Gaussian.

    An unknown sampler means unsupported: there is no default cost.

    Raises:
        InvalidPlan: A field is out of range.
    """

    sampler: str
    sampling_rate: float
    noise_multiplier: float
    steps: int

    def __post_init__(self) -> None:
        if self.sampler != "poisson":
            raise InvalidPlan(f"the sampler {self.sampler!r} has no accountant", expected="poisson")
        if not 0 < self.sampling_rate <= 1 or type(self.steps) is not int or self.steps < 1:
            raise InvalidPlan("a privacy event is out of range", expected="rate in (0, 1], steps >= 1")
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0):
            raise InvalidPlan("a privacy event's noise multiplier is out of range", expected=">= 0, finite")

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "DpEvent":
        """Read an event.

        Raises:
            InvalidPlan: A field is missing or unknown.
        """
        try:
            return cls(**value)
        except TypeError as error:
            raise InvalidPlan(f"a privacy event cannot be read ({error})") from error


def merge(events: Iterable[DpEvent]) -> tuple[DpEvent, ...]:
    """Add up the steps of events that are alike; composition does not depend on their order."""
    steps: dict[tuple[str, float, float], int] = {}
    for e in events:
        key = (e.sampler, e.sampling_rate, e.noise_multiplier)
        steps[key] = steps.get(key, 0) + e.steps
    return tuple(
        DpEvent(sampler=s, sampling_rate=q, noise_multiplier=z, steps=n) for (s, q, z), n in sorted(steps.items())
    )


def epsilon(events: Iterable[DpEvent], delta: float) -> float:
    """Epsilon of all the events together at `delta`; infinity when any has no noise, 0 when none.

    Reference: Doroshenko et al. 2022, arXiv:2207.04380 (dp-accounting's PLD).
    """
    return _epsilon(merge(events), delta)


@functools.lru_cache(maxsize=4096)
def _epsilon(events: tuple[DpEvent, ...], delta: float) -> float:
    if not events:
        return 0.0
    if any(e.noise_multiplier == 0 for e in events):
        return math.inf
    # Deferred: it imports most of scipy, which commands that only show something should not wait for.
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=_interval(events))
    for e in events:
        gaussian = dp_event.GaussianDpEvent(e.noise_multiplier)
        accountant.compose(dp_event.PoissonSampledDpEvent(e.sampling_rate, gaussian), e.steps)
    return float(accountant.get_epsilon(delta))


def _interval(events: tuple[DpEvent, ...]) -> float:
    """Spacing of the discretised privacy loss: a tenth of the root-mean-square loss of a step.

    Coarser than that, rounding outweighs the loss itself when the rate is low and the noise large: at
    rate 0.001, noise 8 and 1,000 steps a spacing of 0.001 overstates epsilon 2.8 times.
    """
    variance = sum(e.steps * e.sampling_rate**2 * math.expm1(min(1 / e.noise_multiplier, 7.0) ** 2) for e in events)
    return max(1e-7, min(1e-3, 0.1 * math.sqrt(variance / sum(e.steps for e in events))))


def least_noise(*, epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """The least noise multiplier (to 1 part in 1,000, rounded up) whose steps cost at most `epsilon`.

    A margin of 0.2 % stays, so that a ledger whose second accountant rounds up a little further (Opacus'
    PRV: by 0.1 %) still affords the whole job at a limit of `epsilon`.

    Raises:
        InvalidPlan: `epsilon` is not above zero, or a multiplier of 1,000 is not enough.
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise InvalidPlan("the target epsilon is out of range", expected="a number above 0", got=repr(epsilon))

    def cost(noise: float) -> float:
        event = DpEvent(sampler="poisson", sampling_rate=sampling_rate, noise_multiplier=noise, steps=steps)
        return _epsilon((event,), delta)

    high = 1.0
    target = epsilon * 0.998
    while cost(high) > target:
        high *= 2
        if high > 1000:
            raise InvalidPlan(
                f"epsilon {epsilon:g} cannot be reached", do="fewer rounds or steps, or a lower sampling rate"
            )
    low = high / 2 if high > 1 else 0.2
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) > target else (low, middle)
    return math.ceil(high * 1e4) / 1e4
