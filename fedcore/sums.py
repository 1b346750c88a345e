"""How a job sums behind masks: who must answer, in what ring, and how much noise each institution adds.

A **SumPlan** is fixed when a job is made, travels in every round's plan, and is what nodes check: that the
sum cannot overflow its ring, and that shared noise carries what the privacy plan promises. Every field is
public. It couples `fedcore.secagg`, which knows integers alone, with the privacy plan, which knows no masks.

>>> from fedcore.privacy.units import PrivacyUnit
>>> privacy = PrivacyPlan(unit=PrivacyUnit(key="patient"), sampling_rate=0.01, steps_per_round=1,
...                       expected_batch_units=16, examples_per_unit=1, clip_norm_l2=1.0, noise_multiplier=1.0,
...                       delta=1e-5, mechanism="discrete_gaussian", honest_minimum=3)
>>> sums = SumPlan.choose(privacy, parameters=1000, parties=4, threshold=4, colluders=1)
>>> sums.bits, round(sums.noise(privacy, 1000).price, 3)
(32, 1.0)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fedcore.errors import InvalidPlan
from fedcore.privacy.integer_accounting import SharedNoise
from fedcore.privacy.integer_noise import LARGEST_STD
from fedcore.privacy.plan import PrivacyPlan
from fedcore.secagg import RingPlan, Terms
from fedcore.secagg.encoding import WIDTHS

__all__ = ["SumPlan", "largest_batch_units"]

PRICE = 1.01
"""Integers and their rounding may ask for so many times the noise of real numbers, unless a job says otherwise."""

_ROOM = 256.0
"""Where no noise is shared, a step of the ring is at most this share of what the bound leaves a coordinate."""


def largest_batch_units(privacy: PrivacyPlan) -> int:
    """More units than a batch of the expected size has, but for a chance below 1e-8. Public."""
    expected = privacy.expected_batch_units
    return math.ceil(expected + 6 * math.sqrt(expected) + 6)


@dataclass(frozen=True, kw_only=True)
class SumPlan:
    """See the module.

    Args:
        parties: The most institutions in one sum, 2 to 4,096.
        threshold: No sum of fewer is ever opened.
        colluders: How many institutions may stand with the coordinator against the others, >= 0.
        bits: Of the ring: 16 or 32.
        resolution: What one step in the ring is worth, a power of two.
        bound_l2: Largest L2 norm of what one institution adds before shared noise; more is scaled down to it.
        share_std_units: Standard deviation of each institution's share of the noise, in steps of the ring; 0
            where no noise is shared.
    Raises:
        InvalidPlan: A field is out of range; or two different sets of survivors could both be opened, or a sum
            could hold fewer than two honest inputs (Bonawitz et al. 2017, section 6.2).
    """

    parties: int
    threshold: int
    colluders: int
    bits: int
    resolution: float
    bound_l2: float
    share_std_units: int

    def __post_init__(self) -> None:
        for name, low, high in (("parties", 2, 4096), ("threshold", 2, self.parties), ("colluders", 0, self.parties)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidPlan(
                    f"secure sums: {name} is out of range", expected=f"{low} to {high}", got=repr(value)[:40]
                )
        if type(self.bits) is not int or self.bits not in WIDTHS:
            raise InvalidPlan("secure sums: bits is out of range", expected=" or ".join(map(str, WIDTHS)))
        for name in ("resolution", "bound_l2"):
            value = getattr(self, name)
            if type(value) is not float or not (math.isfinite(value) and value > 0):
                raise InvalidPlan(f"secure sums: {name} is out of range", expected="a finite number above 0")
        if type(self.share_std_units) is not int or not 0 <= self.share_std_units <= LARGEST_STD:
            raise InvalidPlan("secure sums: share_std_units is out of range", expected=f"0 to {LARGEST_STD:,}")
        if 2 * self.threshold <= self.parties + self.colluders or self.threshold - self.colluders < 2:
            raise InvalidPlan(
                "secure sums: the threshold is too low",
                expected=f"at least {max((self.parties + self.colluders) // 2 + 1, self.colluders + 2)} of "
                f"{self.parties} with {self.colluders} colluders",
                got=str(self.threshold),
            )

    @classmethod
    def choose(
        cls,
        privacy: PrivacyPlan,
        *,
        parameters: int,
        parties: int,
        threshold: int,
        colluders: int,
        update_bound_l2: float | None = None,
        largest_price: float = PRICE,
    ) -> "SumPlan":
        """The narrowest ring whose rounding hardly counts, and the least noise that is enough in it.

        Args:
            privacy: Of each round.
            parameters: Numbers in the sum, >= 1.
            parties, threshold, colluders: As in the class.
            update_bound_l2: Largest norm of an update, where updates are summed; None where clipped sums of one
                step are.
            largest_price: Of shared noise: at most so many times the standard deviation that real numbers would need,
                at least 1.0001. More allows a coarser ring, at best of 16 bits and half the bytes.
        Raises:
            InvalidPlan: No ring of 32 bits holds such a sum, or a number is out of range.
        """
        # The counts are looked at before anything is searched for.
        cls(
            parties=parties,
            threshold=threshold,
            colluders=colluders,
            bits=WIDTHS[-1],
            resolution=1.0,
            bound_l2=1.0,
            share_std_units=0,
        )
        if not 1.0001 <= largest_price <= 10:
            raise InvalidPlan(
                "secure sums: largest_price is out of range", expected="1.0001 to 10", got=repr(largest_price)
            )
        bound = float(update_bound_l2 or privacy.clip_norm_l2 * largest_batch_units(privacy))
        coarsest = bound / (_ROOM * math.sqrt(max(parameters, 1)))
        if privacy.shares_noise:
            coarsest = 2.0 ** math.floor(math.log2(privacy.clip_norm_l2))
            while _shared(privacy, parameters, coarsest).price > largest_price:
                coarsest /= 2

        def share(resolution: float) -> int:
            if not privacy.shares_noise:
                return 0
            std = _shared(privacy, parameters, resolution).share_std_units
            if std > LARGEST_STD:
                raise InvalidPlan("no sampler draws a noise share of so many steps", expected=f"at most {LARGEST_STD}")
            return std

        try:
            ring = RingPlan.choose(
                parties=parties, parameters=parameters, bound_l2=bound, coarsest=coarsest, share_std_units=share
            )
        except InvalidPlan as error:
            raise InvalidPlan(
                f"secure sums: no ring of {WIDTHS[-1]} bits holds such a sum ({error})",
                do="lower expected_batch_units, clip_norm_l2 or noise_multiplier, or raise largest_price",
            ) from error
        return cls(
            parties=parties,
            threshold=threshold,
            colluders=colluders,
            bits=ring.bits,
            resolution=ring.resolution,
            bound_l2=bound,
            share_std_units=ring.share_std_units,
        )

    def ring(self, parameters: int) -> RingPlan:
        """The ring of a sum of so many numbers.

        Raises:
            InvalidPlan: It could overflow.
        """
        return RingPlan(
            parties=self.parties,
            parameters=parameters,
            bound_l2=self.bound_l2,
            resolution=self.resolution,
            share_std_units=self.share_std_units,
            bits=self.bits,
        )

    def noise(self, privacy: PrivacyPlan, parameters: int) -> SharedNoise:
        """The shared noise of a sum, proven to carry what the plan promises.

        Raises:
            InvalidPlan: It carries less, or the plan shares no noise.
        """
        return SharedNoise(
            noise_multiplier=privacy.noise_multiplier,
            honest_minimum=_honest(privacy),
            parameters=parameters,
            clip_norm_l2=privacy.clip_norm_l2,
            resolution=self.resolution,
            share_std_units=self.share_std_units,
        )

    def check(self, privacy: PrivacyPlan, parameters: int) -> None:
        """Return when the sum fits its ring and its noise is that of the privacy plan.

        Raises:
            InvalidPlan: It does not.
        """
        self.ring(parameters)
        if privacy.honest_minimum is None:
            if self.share_std_units != 0:
                raise InvalidPlan("secure sums: a noise share that the privacy plan does not account for")
            return
        if privacy.honest_minimum > self.threshold - self.colluders:
            raise InvalidPlan(
                "secure sums: a sum could be opened with fewer honest institutions than its noise needs",
                expected=f"honest_minimum at most threshold - colluders = {self.threshold - self.colluders}",
                got=str(privacy.honest_minimum),
            )
        self.noise(privacy, parameters)

    def terms(self, *, job: str, members: tuple[tuple[str, str], ...], rounds: int, parameters: int) -> Terms:
        """What the masked sums of a job are bound to.

        Args:
            job: Names the job among all of all coordinators.
            members: (name, Ed25519 public key in hexadecimal), sorted by name; at most `parties`.
            rounds: Of the job.
            parameters: Numbers in a sum.
        Raises:
            InvalidPlan: The members do not fit.
        """
        if len(members) > self.parties:
            raise InvalidPlan(
                "secure sums: more members than the plan has parties",
                expected=f"at most {self.parties}",
                got=str(len(members)),
            )
        return Terms(
            job=job,
            members=members,
            threshold=self.threshold,
            colluders=self.colluders,
            rounds=rounds,
            length=parameters,
            bits=self.bits,
        )

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "SumPlan":
        """Read what `dataclasses.asdict` wrote.

        Raises:
            InvalidPlan: It cannot be read or cannot hold.
        """
        try:
            return cls(**value)
        except TypeError as error:  # Its text may hold whatever somebody sent.
            raise InvalidPlan(
                "a plan of secure sums cannot be read", expected=", ".join(f.name for f in fields(cls))
            ) from error


def _shared(privacy: PrivacyPlan, parameters: int, resolution: float) -> SharedNoise:
    """The least shared noise at a resolution."""
    return SharedNoise.choose(
        noise_multiplier=privacy.noise_multiplier,
        honest_minimum=_honest(privacy),
        parameters=parameters,
        clip_norm_l2=privacy.clip_norm_l2,
        resolution=resolution,
    )


def _honest(privacy: PrivacyPlan) -> int:
    if privacy.honest_minimum is None:
        raise InvalidPlan("the privacy plan shares no noise")
    return privacy.honest_minimum
