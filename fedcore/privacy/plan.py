"""The privacy plan: sampling, clipping, noise and accounting, coupled once.

`plan.py` alone knows both a sampler and its accountant, so that neither can be paired with another's.
Every field is public and is agreed before a record is read. A plan knows no model, adapter or round.

>>> plan = PrivacyPlan(unit=PrivacyUnit(key="patient"), sampling_rate=0.01, steps_per_round=4,
...                    expected_batch_units=16, examples_per_unit=2, clip_norm_l2=1.0,
...                    noise_multiplier=0.7, delta=1e-5)
>>> plan.event(rounds=2).to_dict()
{'sampler': 'poisson', 'sampling_rate': 0.01, 'noise_multiplier': 0.7, 'steps': 8}
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from fedcore.errors import InvalidPlan
from fedcore.privacy import accounting, calibration
from fedcore.privacy.accounting import SAMPLERS, DpEvent
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.sampling import PoissonUnits, RandomSource, TruncatedPoissonUnits
from fedcore.privacy.units import PrivacyUnit

__all__ = ["Forecast", "PrivacyPlan"]

UNSAFE_NO_NOISE = "UnsafeNoNoise"
GAUSSIAN = "gaussian"
DISCRETE_GAUSSIAN = "discrete_gaussian"


@dataclass(frozen=True, kw_only=True)
class PrivacyPlan:
    """What each institution does to its gradients in every round of a job.

    Args:
        unit: Whom the promise protects.
        sampling_rate: Chance that a unit enters a step (Poisson), in (0, 1].
        steps_per_round: Noisy optimiser steps in a round, >= 1.
        expected_batch_units: What a noisy sum is divided by: a public number, so that the true number of
            units does not show. Sampling rate times the institution's size is a good choice.
        examples_per_unit: Largest number of examples that one unit gives to a step, >= 1.
        clip_norm_l2: Largest L2 norm of one unit's gradient, > 0.
        noise_multiplier: Noise standard deviation over `clip_norm_l2`. Zero only with UnsafeNoNoise.
        delta: The delta at which every epsilon of this plan is stated, in (0, 1).
        mechanism: "gaussian": each institution adds the whole noise itself. "discrete_gaussian": the noise of a
            masked sum is shared, and `honest_minimum` institutions carry it together. "UnsafeNoNoise": research
            without privacy.
        sampler: "poisson", or "truncated_poisson" for batches of at most `batch_limit` units.
        batch_limit: Of "truncated_poisson": of more units drawn, a random `batch_limit` stay, >= 1.
        largest_units: Of "truncated_poisson": a public bound on an institution's units. One that holds more
            must refuse the plan.
        clipping: The rule by which a unit's gradient is scaled to at most `clip_norm_l2`.
        honest_minimum: Of "discrete_gaussian", and what its promise assumes: in every sum that is opened, at least so
            many institutions neither dropped out nor told others their noise, >= 1.
    Raises:
        InvalidPlan: A number is out of its range or not finite.
    Reference: Abadi et al. 2016, arXiv:1607.00133; shared noise: Kairouz et al. 2021, arXiv:2102.06387.
    """

    unit: PrivacyUnit
    sampling_rate: float
    steps_per_round: int
    expected_batch_units: float
    examples_per_unit: int
    clip_norm_l2: float
    noise_multiplier: float
    delta: float
    mechanism: str = GAUSSIAN
    sampler: str = "poisson"
    batch_limit: int | None = None
    largest_units: int | None = None
    clipping: Clipping = field(default_factory=Clipping)
    honest_minimum: int | None = None

    def __post_init__(self) -> None:
        def require(holds: bool, name: str, expected: str) -> None:
            if not holds:
                raise InvalidPlan(
                    f"privacy plan: {name} is out of range", expected=expected, got=repr(getattr(self, name))
                )

        def number(name: str) -> float:
            value = getattr(self, name)
            require(isinstance(value, (int, float)) and not isinstance(value, bool), name, "a number")
            require(math.isfinite(value), name, "a finite number")
            return float(value)

        require(isinstance(self.unit, PrivacyUnit), "unit", "a PrivacyUnit")
        require(0 < number("sampling_rate") <= 1, "sampling_rate", "a rate in (0, 1]")
        require(number("expected_batch_units") > 0, "expected_batch_units", "a number above 0")
        require(number("clip_norm_l2") > 0, "clip_norm_l2", "a norm above 0")
        require(0 < number("delta") < 1, "delta", "a number in (0, 1)")
        for name in ("steps_per_round", "examples_per_unit"):
            value = getattr(self, name)
            require(type(value) is int and 1 <= value <= 1_000_000, name, "a whole number from 1 to 1,000,000")
        known = (GAUSSIAN, DISCRETE_GAUSSIAN, UNSAFE_NO_NOISE)
        require(self.mechanism in known, "mechanism", " or ".join(known))
        noise = number("noise_multiplier")
        if self.is_private:
            require(noise > 0, "noise_multiplier", "a number above 0 (research without noise: UnsafeNoNoise)")
        else:
            require(noise == 0, "noise_multiplier", "0 with UnsafeNoNoise")
        require(self.sampler in SAMPLERS, "sampler", " or ".join(SAMPLERS))
        for name in ("batch_limit", "largest_units"):
            value = getattr(self, name)
            if self.sampler == "truncated_poisson":
                require(type(value) is int and 1 <= value <= 1 << 40, name, "a whole number above 0")
            else:
                require(value is None, name, "nothing with the sampler poisson")
        require(isinstance(self.clipping, Clipping), "clipping", "a Clipping")
        if self.clipping.releases_count:
            silent = self.clipping.count_noise_multiplier == 0
            require(silent != self.is_private, "clipping", "noise on the count exactly where the plan adds noise")
        honest = self.honest_minimum
        if self.shares_noise:
            require(type(honest) is int and 1 <= honest <= 4096, "honest_minimum", "a whole number from 1 to 4,096")
            # What a masked sum of integers is accounted for: one sum a round, of sampled units and nothing beside.
            since = "since honest_minimum shares the noise of joint steps"
            require(self.steps_per_round == 1, "steps_per_round", f"1, {since}")
            require(self.sampler == "poisson", "sampler", f"poisson, {since}")
            require(not self.clipping.releases_count, "clipping", f"no noised count, {since}")
        else:
            require(honest is None, "honest_minimum", f"nothing with {self.mechanism}")

    @property
    def is_private(self) -> bool:
        """Whether noise is added at all."""
        return self.mechanism != UNSAFE_NO_NOISE

    @property
    def shares_noise(self) -> bool:
        """Whether the noise is carried by several institutions together, behind masks."""
        return self.mechanism == DISCRETE_GAUSSIAN

    def event(self, rounds: int = 1) -> DpEvent:
        """What `rounds` rounds of this plan release from the data."""
        count = self.clipping.count_noise_multiplier
        return DpEvent(
            sampler=self.sampler,
            sampling_rate=self.sampling_rate,
            noise_multiplier=self.noise_multiplier,
            steps=self.steps_per_round * rounds,
            relation=self.unit.relation,
            also=() if count is None else (("clip_count", count),),
            batch_limit=self.batch_limit,
            largest_units=self.largest_units,
        )

    def epsilon(self, rounds: int, *, before: Iterable[DpEvent] = ()) -> float:
        """Epsilon at `delta` after `rounds` rounds, on top of what was released before.

        Raises:
            InvalidPlan: What was released before has another neighbouring relation.
        """
        return accounting.epsilon([*before, self.event(rounds)], self.delta)

    def most_rounds(self, epsilon: float, *, before: Iterable[DpEvent] = ()) -> int:
        """How many rounds cost at most `epsilon` at `delta`, on top of what was released before.

        0 when not one does, and at most 1,000,000. The margin of `calibrate` is kept here too.

        Raises:
            InvalidPlan: `epsilon` is not above 0, or what was released before has another relation.
        """
        return calibration.most_steps(
            self.event(), epsilon=epsilon, delta=self.delta, before=before, each=self.steps_per_round
        )

    def batches(self, units: int, source: RandomSource) -> PoissonUnits | TruncatedPoissonUnits:
        """The sampler that this plan's events account for, over a data set of `units` units.

        Args:
            units: How many units the data set holds: private, it stays in the sampler.
            source: Of the coins.
        Raises:
            PlanRefused: Reason "too_many_units": the data set holds more than `largest_units`.
            InvalidPlan: There are no units.
        """
        if self.batch_limit is None or self.largest_units is None:
            return PoissonUnits(sampling_rate=self.sampling_rate, units=units, source=source)
        return TruncatedPoissonUnits(
            sampling_rate=self.sampling_rate,
            units=units,
            batch_limit=self.batch_limit,
            largest_units=self.largest_units,
            source=source,
        )

    def noise_std_of_mean(self, institutions: int = 1) -> float:
        """Standard deviation, per coordinate, of the noise in the step averaged over institutions.

        Shared noise is the same over its `honest_minimum`: each institution adds that much less.
        """
        std = self.noise_multiplier * self.clip_norm_l2 / self.expected_batch_units
        return std / math.sqrt(institutions * (self.honest_minimum or 1))

    def forecast(self, *, rounds: int, parameters: int, institutions: int, units: int | None = None) -> "Forecast":
        """How large the noise is against the clipped signal, before anything is spent.

        Args:
            rounds: Rounds of the job.
            parameters: How many numbers are trained (each receives noise).
            institutions: How many institutions are averaged.
            units: Units that one institution holds, where that is public; else taken from the plan.
        """
        return Forecast.of(self, rounds=rounds, parameters=parameters, institutions=institutions, units=units)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "PrivacyPlan":
        """Read a plan.

        Raises:
            InvalidPlan: A field is missing, unknown or out of range.
        """
        try:
            fields = dict(value)
            fields["unit"] = PrivacyUnit(**fields["unit"])
            fields["clipping"] = Clipping(**fields.get("clipping", {}))
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise InvalidPlan(f"a privacy plan cannot be read ({error})") from error

    @classmethod
    def calibrate(
        cls,
        *,
        epsilon: float,
        delta: float,
        rounds: int,
        unit: PrivacyUnit,
        steps_per_round: int,
        examples_per_unit: int,
        clip_norm_l2: float,
        sampling_rate: float | None = None,
        noise_multiplier: float | None = None,
        expected_batch_units: float | None = None,
        units: int | None = None,
        sampler: str = "poisson",
        batch_limit: int | None = None,
        largest_units: int | None = None,
        clipping: Clipping | None = None,
        honest_minimum: int | None = None,
    ) -> "PrivacyPlan":
        """Find the one number that is left out, so that `rounds` rounds cost at most `epsilon` at `delta`.

        Exactly one of `sampling_rate` and `noise_multiplier` is left out: the largest rate or the least noise
        is found. With adaptive clipping the noise of its count is given; the epsilon is of both releases
        together. What a batch is divided by is given in one of two ways: `expected_batch_units`, or `units`,
        of which the rate makes it; a rate that is yet to be found needs `units`.

        Args:
            epsilon: At most this after all rounds, > 0; 0.2 % of it stays as a margin.
            delta: In (0, 1).
            rounds: >= 1.
            units: A public number of units that an institution holds, >= 1.
            unit, steps_per_round, examples_per_unit, clip_norm_l2, sampling_rate, noise_multiplier,
                expected_batch_units, sampler, batch_limit, largest_units, clipping: Fields of the plan.
            honest_minimum: Where it is given, the noise is shared.
        Raises:
            InvalidPlan: A number is out of range, none or two are left out, or `epsilon` cannot be reached: by
                noise up to 1,000, by a rate down to a millionth, because the count alone costs more, or
                because batches would be truncated too often.
        """
        if (sampling_rate is None) == (noise_multiplier is None):
            raise InvalidPlan(
                "calibration finds one number",
                expected="exactly one of sampling_rate and noise_multiplier left out",
                got="neither left out" if sampling_rate is not None else "both left out",
            )
        if (expected_batch_units is None) == (units is None):
            raise InvalidPlan(
                "what a batch is divided by must be given in one way", expected="expected_batch_units or units"
            )
        if sampling_rate is None and units is None:
            raise InvalidPlan("a rate that is yet to be found cannot fit a given expected_batch_units", do="give units")
        if units is not None and (type(units) is not int or units < 1):
            raise InvalidPlan("the number of units is out of range", expected="a whole number above 0")
        if type(rounds) is not int or rounds < 1:
            raise InvalidPlan("the number of rounds is out of range", expected="a whole number above 0")

        def plan(rate: float, noise: float) -> "PrivacyPlan":
            if units is None:
                expected: Any = expected_batch_units
            else:  # A rate that is no number is reported by the plan itself.
                expected = rate * units if isinstance(rate, (int, float)) else 1.0
            return cls(
                unit=unit,
                sampling_rate=rate,
                steps_per_round=steps_per_round,
                expected_batch_units=expected,
                examples_per_unit=examples_per_unit,
                clip_norm_l2=clip_norm_l2,
                noise_multiplier=noise,
                delta=delta,
                mechanism=GAUSSIAN if honest_minimum is None else DISCRETE_GAUSSIAN,
                sampler=sampler,
                batch_limit=batch_limit,
                largest_units=largest_units,
                clipping=clipping if clipping is not None else Clipping(),
                honest_minimum=honest_minimum,
            )

        # The stand-in is checked with all other numbers before anything is searched over.
        if noise_multiplier is None:
            rate = 1.0 if sampling_rate is None else sampling_rate
            event = plan(rate, 1.0).event(rounds)
            return plan(rate, calibration.least_noise(event, epsilon=epsilon, delta=delta))
        event = plan(1.0, noise_multiplier).event(rounds)
        return plan(calibration.largest_rate(event, epsilon=epsilon, delta=delta), noise_multiplier)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a plan can be expected to achieve, from public numbers only.

    `noise_to_signal` compares, over all steps of the job, the L2 norm of the noise in the averaged steps
    with the largest norm that their clipped mean gradients can add up to. Noise adds up as the square root
    of the steps, signal as the steps. Measured with SmolLM2-135M: at 2.3 the loss fell from 1.49 to 0.42,
    at 48 it did not move. `WORTHWHILE` lies between and is an order of magnitude, not a law; a clip norm
    above the gradients' own norms makes the signal shorter than the longest.
    """

    WORTHWHILE: ClassVar[float] = 3.0

    unit: PrivacyUnit
    epsilon: float | None
    delta: float
    steps: int
    noise_to_signal: float
    gain_expected: bool
    units_needed: int | None
    """About how many units one institution would need for a gain at the same epsilon, else None."""

    @classmethod
    def of(cls, plan: PrivacyPlan, *, rounds: int, parameters: int, institutions: int, units: int | None) -> "Forecast":
        """See `PrivacyPlan.forecast`."""
        steps = rounds * plan.steps_per_round
        if not plan.is_private:
            return cls(
                unit=plan.unit,
                epsilon=None,
                delta=plan.delta,
                steps=steps,
                noise_to_signal=0.0,
                gain_expected=True,
                units_needed=None,
            )
        held = units if units is not None else round(plan.expected_batch_units / plan.sampling_rate)
        length = plan.noise_std_of_mean(institutions) * math.sqrt(parameters)
        signal = plan.clip_norm_l2 * min(1.0, held * plan.sampling_rate / plan.expected_batch_units)
        ratio = length / signal / math.sqrt(steps)
        return cls(
            unit=plan.unit,
            epsilon=plan.epsilon(rounds),
            delta=plan.delta,
            steps=steps,
            noise_to_signal=ratio,
            gain_expected=ratio <= cls.WORTHWHILE,
            units_needed=None if ratio <= cls.WORTHWHILE else _units_needed(held, ratio / cls.WORTHWHILE),
        )

    def describe(self) -> str:
        """The forecast in one or two sentences, with the unit and neighbouring relation of its epsilon."""
        if self.epsilon is None:
            return "No noise is added (UnsafeNoNoise): research only, never publishable."
        words = (
            f"Over {self.steps} averaged steps the noise is {self.noise_to_signal:.1f} times the longest clipped "
            f"signal, at epsilon {self.epsilon:.2f} (delta {self.delta:g}) for {self.unit.describe()}."
        )
        if self.gain_expected:
            return words + " Learning is to be expected."
        return (
            words + " No gain is to be expected: about "
            f"{self.units_needed:,} units an institution would be needed at the same epsilon."
        )


def _units_needed(held: int, factor: float) -> int:
    """Units at which the same epsilon and rate leave a gain, to two digits: the ratio falls as 1 / units."""
    rough = held * factor
    magnitude: int = 10 ** max(0, math.floor(math.log10(max(rough, 1))) - 1)
    return math.ceil(rough / magnitude) * magnitude
