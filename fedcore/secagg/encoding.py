"""Real numbers in a ring: fixed point, stochastic rounding, and a plan that cannot overflow.

A number x is sent as x / resolution, rounded up or down at random so that its mean is x. The resolution is
a power of two, so that the division is exact. Each coordinate's coin is drawn before the data is looked at
and does not depend on it: `fedcore.privacy.integer_accounting` needs that.

Bounds, for a sum of n encoded vectors:
- each coordinate differs from the sum of the (bounded) inputs and noises by less than n * resolution;
- the difference has mean 0 and a standard deviation of at most sqrt(n) / 2 * resolution.

Overflow. A coordinate of one party is at most bound / resolution + 1 in magnitude, and the noise of all is
sub-Gaussian of variance n * share_std_units**2 (Canonne et al. 2020, arXiv:2004.00010), so
that over all parameters it stays below `noise_limit` but for a chance of `OVERFLOW_PROBABILITY`. A plan whose
ring cannot hold both is refused. If it does happen, one coordinate of one sum is wrong; reduction modulo
the ring is post-processing, so no promise of privacy depends on it.

>>> plan = RingPlan.choose(parties=4, parameters=1000, bound_l2=1.0, coarsest=1e-3, share_std_units=lambda _: 0)
>>> plan.bits, plan.resolution == 2.0**-12
(16, True)
>>> plan.decode(plan.encode(np.full(1000, 0.01)) * np.uint16(4)).round(1)[:3].tolist()
[0.0, 0.0, 0.0]
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedcore.errors import InvalidPlan, RoundError
from fedcore.secagg._primitives import RingArray, dtype_of

__all__ = ["OVERFLOW_PROBABILITY", "WIDTHS", "DoubleArray", "IntArray", "RingPlan"]

DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WIDTHS = (16, 32)
OVERFLOW_PROBABILITY = 2.0**-40
"""That any coordinate of one round's sum leaves the ring, at most."""

_FINEST = 2.0**-60


@dataclass(frozen=True, kw_only=True)
class RingPlan:
    """How numbers become elements of Z_2^bits, and proof that their sum stays inside. All public.

    Args:
        parties: The most vectors in one sum, >= 1.
        parameters: Numbers in a vector, >= 1.
        bound_l2: Largest L2 norm of one party's vector before noise; a longer one is scaled down to it, which
            never moves two vectors apart. > 0.
        resolution: What one step in the ring is worth: a power of two.
        share_std_units: Standard deviation of one party's noise share, in steps, >= 0.
        bits: 16 or 32.
    Raises:
        InvalidPlan: A number is out of range, or the sum could overflow.
    """

    parties: int
    parameters: int
    bound_l2: float
    resolution: float
    share_std_units: int
    bits: int

    def __post_init__(self) -> None:
        for name in ("parties", "parameters"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise InvalidPlan(f"ring plan: {name} is out of range", expected=">= 1")
        if not (math.isfinite(self.bound_l2) and self.bound_l2 > 0):
            raise InvalidPlan("ring plan: bound_l2 is out of range", expected="a finite norm above 0")
        if not (_FINEST <= self.resolution <= 1 / _FINEST and math.frexp(self.resolution)[0] == 0.5):
            raise InvalidPlan("ring plan: the resolution is not a power of two in range", got=repr(self.resolution))
        if type(self.share_std_units) is not int or self.share_std_units < 0:
            raise InvalidPlan("ring plan: share_std_units is out of range", expected="a whole number >= 0")
        if self.bits not in WIDTHS:
            raise InvalidPlan("ring plan: bits is out of range", expected="16 or 32")
        if self.signal_limit + self.noise_limit >= 2 ** (self.bits - 1):
            raise InvalidPlan(
                f"a sum could overflow its ring of {self.bits} bits",
                expected=f"signal and noise below {2 ** (self.bits - 1):,} steps",
                got=f"{self.signal_limit:,} and {self.noise_limit:,}",
                do="a coarser resolution, a smaller bound, or more bits",
            )

    @property
    def signal_limit(self) -> int:
        """No coordinate of the sum of all parties is larger in magnitude, before noise, in steps."""
        return self.parties * (math.ceil(self.bound_l2 / self.resolution) + 1)

    @property
    def noise_limit(self) -> int:
        """No coordinate of the noise of all parties is larger, but for `OVERFLOW_PROBABILITY`, in steps."""
        tail = math.sqrt(2 * self.parties * math.log(2 * self.parameters / OVERFLOW_PROBABILITY))
        return math.ceil(self.share_std_units * tail)

    @property
    def error_bound(self) -> float:
        """Every coordinate of a sum is nearer than this to the sum of the inputs and noises."""
        return self.parties * self.resolution

    @classmethod
    def choose(
        cls,
        *,
        parties: int,
        parameters: int,
        bound_l2: float,
        coarsest: float,
        share_std_units: Callable[[float], int],
    ) -> "RingPlan":
        """The narrowest ring that holds a sum at `coarsest` or finer, and the finest resolution in it.

        Args:
            parties: As in the class.
            parameters: As in the class.
            bound_l2: As in the class.
            coarsest: The largest resolution that is good enough, > 0.
            share_std_units: Resolution -> one party's noise share in steps; 0 for no noise.
        Raises:
            InvalidPlan: No ring of 32 bits holds it.
        """
        if not (math.isfinite(coarsest) and coarsest > 0):
            raise InvalidPlan("ring plan: the coarsest resolution is out of range", expected="a number above 0")
        start = 2.0 ** math.floor(math.log2(coarsest))

        def plan(bits: int, resolution: float) -> "RingPlan":
            return cls(
                parties=parties,
                parameters=parameters,
                bound_l2=bound_l2,
                resolution=resolution,
                share_std_units=share_std_units(resolution),
                bits=bits,
            )

        for bits in WIDTHS:
            try:
                best = plan(bits, start)
            except InvalidPlan:
                if bits == WIDTHS[-1]:
                    raise
                continue
            while True:
                try:
                    best = plan(bits, best.resolution / 2)
                except InvalidPlan:
                    return best
        raise InvalidPlan("ring plan: no width is left")

    def encode(self, values: DoubleArray, noise: IntArray | None = None) -> RingArray:
        """One party's vector in the ring.

        Args:
            values: Shape (parameters,), finite.
            noise: The party's noise share in steps, same shape; none where the plan has none.
        Raises:
            RoundError: A shape is wrong, a value is not finite, or noise is missing that the plan promises.
        """
        values = np.asarray(values, dtype=np.float64)
        if values.shape != (self.parameters,) or not np.isfinite(values).all():
            raise RoundError("a vector to be encoded has the wrong shape or is not finite")
        if (noise is None) != (self.share_std_units == 0) or (noise is not None and noise.shape != values.shape):
            raise RoundError("the noise share is not the one that the plan promises")
        largest = float(np.abs(values).max())
        # Divided first: the squares of huge numbers would overflow.
        norm = largest * float(np.linalg.norm(values / largest)) if largest else 0.0
        if norm > self.bound_l2:
            values = values * (self.bound_l2 / norm)
        scaled = values / self.resolution
        floor = np.floor(scaled)
        steps = floor.astype(np.int64)
        steps += _uniform(self.parameters) < scaled - floor
        if noise is not None:
            steps += noise
        return steps.astype(np.uint64).astype(dtype_of(self.bits))

    def decode(self, total: RingArray) -> DoubleArray:
        """The real numbers of a sum.

        Raises:
            RoundError: It is not a vector of this ring.
        """
        if total.dtype != dtype_of(self.bits) or total.shape != (self.parameters,):
            raise RoundError("a sum is not a vector of the plan's ring")
        signed: npt.NDArray[Any] = total.view(np.dtype(f"<i{self.bits // 8}"))
        return signed.astype(np.float64) * self.resolution


def _uniform(count: int) -> DoubleArray:
    """Uniform multiples of 2**-53 in [0, 1), from AES-256 in counter mode under a fresh key of the system."""
    stream = Cipher(algorithms.AES256(os.urandom(32)), modes.CTR(bytes(16))).encryptor()
    words = np.frombuffer(stream.update(bytes(8 * count)), dtype="<u8")
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
