"""The white-box audit: made-up canaries through the real step, and what their noised sum proves.

A node runs it before it spends anything. Canaries with gradients far above the clip norm are grouped,
sampled, clipped, summed, noised and stepped on by the very code that trains; SGD at rate 1 shows the noised
sum. Of joint steps the sum itself is seen: where noise is shared, the total in the ring over just as many
institutions as must be honest, each with its share. From it come a lower bound on epsilon and, layer by layer,
the clip norm and the noise that really held. What contradicts the plan raises. Everything here is made up: no
record, no model, no budget is used.

All checks together raise on honest code with a chance of at most `FALSE_ALARM`. Noise is measured to about
2 % and the shift of a unit to better than 1 % at noise multipliers near 1, so halved noise, a layer without
clipping or a unit that counts twice cannot pass.

What it does not see: the adaptive rule's count (the bound leaves it out, which only lowers it; the norm that
it moves is measured in each step, relative to which the noise must be that of the plan), predictable noise
that never repeats (its source says so itself), and the model's own gradients, which are proven elsewhere.

    bound = audit_step(plan, steps=90)
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from fedclient import accountant
from fedclient._canaries import LAYERS, grouped, made_up_records
from fedclient._observation import Observation, full_batches, observe, observe_joint, parts_of
from fedclient.dataset import PrivateDataset
from fedcore.errors import PrivacyError
from fedcore.privacy.accounting import DpEvent
from fedcore.privacy.audit import batch_sizes_p_value, correlation_p_value, gaussian_epsilon, rate_interval
from fedcore.privacy.integer_noise import IntegerNoiseSource, SecureIntegerNoise
from fedcore.privacy.noise import NoiseSource, SecureNoise, UnsafeNoNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import IntArray, RandomSource, SystemRandom

__all__ = [
    "CONFIDENCE",
    "FALSE_ALARM",
    "AuditedBound",
    "Observation",
    "audit_step",
    "epsilon_lower",
    "full_batches",
    "observe",
    "observe_joint",
    "parts_of",
    "require_independent",
    "require_mechanism",
    "require_sampling",
]

FALSE_ALARM = 1e-6
"""The chance, at most, that honest code is refused."""

CONFIDENCE = 1 - FALSE_ALARM / 2
"""Of the bound that is reported: one that honest code passes less often than once in a million audits."""

_CHECK = FALSE_ALARM / 2 / 256
"""False alarms of one check; an audit has fewer than 256, and the bound takes the other half."""

_VECTORS = 24
"""Of institutions, in all sums of shared noise together; but two sums at least have all that they need."""

_ROUNDING = 1e-5
"""Parameters are float32: a plan without noise is met to about 1e-7."""


@dataclass(frozen=True, kw_only=True)
class AuditedBound:
    """What an audit found.

    Args:
        epsilon_lower: The steps cost at least this, at the plan's delta; infinite without noise.
        confidence: Chance, at least, that the bound is below the truth.
        noise_multiplier_upper: Noise over what one unit can move the sum: at most this.
        sampling_rate_lower: Units enter a batch at least as often as this.
    """

    epsilon_lower: float
    confidence: float
    noise_multiplier_upper: float
    sampling_rate_lower: float

    def epsilon_of(self, privacy: PrivacyPlan, *, steps: int) -> float:
        """The bound for another number of steps of the plan that was audited, from the same measurement."""
        return epsilon_lower(self.noise_multiplier_upper, privacy, steps=steps, rate=self.sampling_rate_lower)


def audit_step(
    privacy: PrivacyPlan,
    *,
    steps: int,
    noise: NoiseSource | IntegerNoiseSource | None = None,
    source: RandomSource | None = None,
    canaries: int = 512,
    rounds: int = 3,
    joint: bool = False,
) -> AuditedBound:
    """Measure what `steps` steps of a plan really cost at least; refuse a step that breaks the plan.

    Guarantee: honest code is refused with a chance of at most `FALSE_ALARM`. Too much noise or too small a
    norm costs nobody's privacy: it is warned of.

    Args:
        privacy: The plan to be trained by.
        steps: What the bound is for: steps of a round, or of a job.
        noise: What will be trained with; the live source of the plan's mechanism if None.
        source: Of sampling; the system's if None.
        canaries: Made-up units; more of them measure the shift of one the better. At least one an institution.
        rounds: Calls of the training code; more of them measure the noise the better.
        joint: Whether the plan is one of joint steps; where it shares its noise it always is. Up to 16 institutions
            that share it take about as long as local steps; more take longer by their number.
    Raises:
        PrivacyError: The bound is above the accountant's epsilon for the same steps, the noise, clipping or
            sampling contradicts the plan, or noise repeats.
    Reference: Nasr et al. 2023, arXiv:2302.07956 (white-box canaries); the bound is exact for the Gaussian
        mechanism, and an explicit attack under sampling.
    """
    noise = noise or _live(privacy)
    source = source or SystemRandom()
    institutions = privacy.honest_minimum or 1
    canaries = max(canaries, institutions)
    data = grouped(made_up_records(canaries))
    if len(data) != canaries:
        raise PrivacyError("units are not grouped as they should be", expected=str(canaries), got=str(len(data)))

    def seen(plan: PrivacyPlan, units: PrivateDataset, *, rounds: int, sums: int) -> Observation:
        if not (joint or privacy.shares_noise):
            return observe(plan, units, rounds=rounds, noise=cast(NoiseSource, noise), source=source)
        alone = replace(plan, steps_per_round=1)
        return observe_joint(alone, parts_of(units, institutions), rounds=sums, noise=noise, source=source)

    whole = seen(full_batches(privacy), data, rounds=rounds, sums=max(2, min(2 * rounds, _VECTORS // institutions)))
    require_mechanism(whole, privacy)
    series = whole.noise()
    if privacy.sampling_rate < 1:
        few = PrivateDataset(data.units[: privacy.largest_units])
        four = privacy if privacy.shares_noise else replace(privacy, steps_per_round=4)
        sampled = seen(four, few, rounds=1, sums=max(1, min(4, _VECTORS // 3 // institutions)))
        series += sampled.noise()
        if np.any(sampled.designs[sampled.plain]):
            require_mechanism(sampled, privacy)
    require_independent(series)
    if institutions > 1:
        require_independent(whole.noise_of_shares())
    rate = require_sampling(privacy, source=source)
    # Two statements make the bound, so each has half of its chance to fail.
    form = whole.form(confidence=(1 + CONFIDENCE) / 2, steps=whole.plain)
    bound = AuditedBound(
        epsilon_lower=epsilon_lower(form.noise_multiplier.high, privacy, steps=steps, rate=rate),
        confidence=CONFIDENCE,
        noise_multiplier_upper=form.noise_multiplier.high,
        sampling_rate_lower=rate,
    )
    event = replace(privacy.event(), steps=steps)
    # Above the bound the accountant's exact figure does not matter, and is not computed.
    upper = accountant.epsilon([event], privacy.delta, enough=bound.epsilon_lower)
    if not bound.epsilon_lower <= upper:
        raise PrivacyError(
            "the steps cost more than is accounted for",
            expected=f"epsilon at most {upper:.4g}",
            got=f"at least {bound.epsilon_lower:.4g}, audited",
            do="do not train; report this",
        )
    return bound


def _live(privacy: PrivacyPlan) -> NoiseSource | IntegerNoiseSource:
    """The source of a live institution."""
    if privacy.shares_noise:
        return SecureIntegerNoise()
    return SecureNoise() if privacy.is_private else UnsafeNoNoise()


def require_mechanism(seen: Observation, privacy: PrivacyPlan) -> None:
    """Require that noise and clipping are the plan's, in every layer and step.

    Raises:
        PrivacyError: There is less noise, or a unit moves the sum by more, than the plan says.
    """
    if not np.isfinite(seen.outputs).all():
        raise PrivacyError("the step made numbers that are not finite", do="do not train; report this")
    confidence, wanted = 1 - _CHECK, privacy.noise_multiplier
    for layer in range(len(LAYERS)):
        form = seen.of_layer(layer, confidence=confidence)
        if not form.shift.low <= 1 + _ROUNDING:
            raise PrivacyError(
                f"one unit moves layer {layer + 1} of the sum by more than the clip norm allows",
                expected="1",
                got=f"{form.shift.estimate:.4g} times as much, over made-up units",
                do="do not train; report this",
            )
        if not form.noise_std.high >= wanted * (1 - _ROUNDING):
            raise _too_little_noise(f"layer {layer + 1} has", wanted, form.noise_std.estimate)
        if form.noise_std.low > wanted * seen.price * (1 + _ROUNDING) + _ROUNDING:
            warnings.warn(f"layer {layer + 1} has more noise than the plan asks for", stacklevel=3)
        if form.shift.high < 0.99:
            warnings.warn(f"units move layer {layer + 1} by less than the clip norm allows", stacklevel=3)
    for step in np.flatnonzero(~seen.plain & seen.designs.any(axis=1)):
        # The adaptive rule may have moved the norm; noise must have moved with it.
        multiplier = seen.form(confidence=confidence, steps=slice(int(step), int(step) + 1)).noise_multiplier
        if not multiplier.high >= wanted * (1 - _ROUNDING):
            raise _too_little_noise("a later step has", wanted, multiplier.estimate)


def _too_little_noise(where: str, wanted: float, found: float) -> PrivacyError:
    return PrivacyError(
        f"{where} less noise than the plan",
        expected=f"a noise multiplier of {wanted:.4g}",
        got=f"{found:.4g}, over made-up units",
        do="do not train; report this",
    )


def require_independent(series: list[npt.NDArray[np.float64]]) -> None:
    """Require that no two series of noise repeat each other: of layers, steps, rounds or nodes.

    Raises:
        PrivacyError: Two of them correlate; whoever has one could take the noise off the other.
    """
    pairs = list(combinations(series, 2))
    for a, b in pairs:
        length = min(len(a), len(b))
        if not correlation_p_value(a[:length], b[:length]) >= 32 * _CHECK / len(pairs):
            raise PrivacyError(
                "noise repeats: two draws that should be independent correlate",
                do="draw noise from SecureNoise; whoever has both could take it off",
            )


def require_sampling(
    privacy: PrivacyPlan, *, source: RandomSource, batches: Callable[[int], "Batches"] | None = None
) -> float:
    """Require that units enter batches by coins of the plan's rate; return a lower bound of that rate.

    Args:
        privacy: Rate and sampler.
        source: Of the coins.
        batches: Makes a sampler over so many units; the plan's own if None.
    Raises:
        PrivacyError: Batches scatter less or more than coins, units enter too often or too seldom, or
            batches pass their limit.
    """
    make = batches or (lambda units: privacy.batches(units, source))
    rate, limit = privacy.sampling_rate, privacy.batch_limit
    if rate == 1 and limit is None:
        if any(len(make(n).draw()) != n for n in (1, 64)):
            raise _wrong_sampling("a rate of 1 leaves units out")
        return 1.0
    units = _units_to_sample(privacy)
    sampler = make(units)
    draws = 32 if limit is None else max(32, min(2000, (1 << 22) // units))
    sizes = [len(sampler.draw()) for _ in range(draws)]
    if not batch_sizes_p_value(sizes[:32], units=units, rate=rate) >= _CHECK:
        raise _wrong_sampling("batches do not scatter as independent coins do")
    if limit is not None:
        if privacy.largest_units is not None and len(make(privacy.largest_units).draw()) > limit:
            raise _wrong_sampling("a batch passes its limit")
    else:
        units = max(units, min(1 << 17, math.ceil(2048 / rate)))
        sizes = [len(make(units).draw()) for _ in range(32)]
    trials = units * len(sizes)
    found = rate_interval(sum(sizes), trials, confidence=1 - _CHECK)
    if not found.low <= rate <= found.high:
        raise _wrong_sampling("units do not enter batches at the plan's rate")
    return rate_interval(sum(sizes), trials, confidence=(1 + CONFIDENCE) / 2).low


class Batches(Protocol):
    """Anything that draws batches of units."""

    def draw(self) -> IntArray:
        """The units of the next batch."""
        ...


def _units_to_sample(privacy: PrivacyPlan) -> int:
    """How many units to draw from: batches of about 64, and far below a truncated sampler's limit."""
    batch = 64.0
    if privacy.batch_limit is not None:
        # Where limit = mean + 8 deviations, a draw passes the limit with a chance below 1e-9.
        batch = min(batch, (math.sqrt(16 + privacy.batch_limit) - 4) ** 2)
    return max(1, min(math.floor(batch / privacy.sampling_rate), privacy.largest_units or 1 << 17))


def _wrong_sampling(what: str) -> PrivacyError:
    return PrivacyError(
        f"sampling is not the plan's: {what}", expected="each unit by its own coin", do="do not train; report this"
    )


def epsilon_lower(noise_multiplier: float, privacy: PrivacyPlan, *, steps: int, rate: float) -> float:
    """What `steps` steps cost at least, given the multiplier that was measured and the rate of sampling.

    At rate 1 it is the Gaussian mechanism's own curve; replacing a unit by its opposite, which is clipped
    alike, moves the sum twice as far as removing it. Below rate 1 it is what the attack of
    `fedclient.accountant.floor` achieves.

    Args:
        noise_multiplier: An upper bound.
        privacy: Delta and relation.
        steps: >= 1.
        rate: A lower bound of the sampling rate.
    """
    if noise_multiplier == 0:
        return math.inf
    if not math.isfinite(noise_multiplier) or rate <= 0:
        return 0.0
    if rate == 1:
        moved = 2.0 if privacy.unit.relation == "replace_one" else 1.0
        return gaussian_epsilon(moved * math.sqrt(steps) / noise_multiplier, privacy.delta)
    event = DpEvent(
        sampler="poisson",
        sampling_rate=rate,
        noise_multiplier=noise_multiplier,
        steps=steps,
        relation=privacy.unit.relation,
    )
    return accountant.floor([event], privacy.delta)
