"""Sums in whole numbers: adding them in another order gives the same bits, which no floating-point sum does."""

import math

import numpy as np
import numpy.typing as npt

from fedcore.adapter import FloatArray

__all__ = ["WholeSum", "binary_places"]

_FINEST = 149
"""Every float32 is a whole multiple of 2^-149."""


def binary_places(limit: float, members: int) -> int:
    """The most binary places k with which the sum of so many numbers stays within an int64, at most 149.

    members * (limit 2^k + 1/2) <= 2^62 + members / 2 < 2^63, since limit < 2^e and members <= 2^b give
    k = 62 - e - b. It may be below zero.

    Args:
        limit: Largest magnitude of one number, >= 0 and finite.
        members: How many are added, 1 to 2^32.
    """
    return min(62 - math.frexp(limit)[1] - (members - 1).bit_length(), _FINEST)


class WholeSum:
    """The sum of arrays of one shape.

    Args:
        shape: Of the sum; an array that is added may be a corner of it.
        limit: Largest magnitude of one number.
        members: At most so many arrays are added to each place.
    """

    def __init__(self, shape: tuple[int, ...], limit: float, members: int) -> None:
        self._limit = limit
        self._unit = math.ldexp(1.0, -binary_places(limit, members))
        self._sum: npt.NDArray[np.int64] = np.zeros(shape, dtype=np.int64)

    def takes(self, array: npt.NDArray[np.floating]) -> bool:
        """Whether no number is above the limit, NaN included."""
        return array.size == 0 or bool(array.max() <= self._limit and array.min() >= -self._limit)

    def add(self, array: npt.NDArray[np.floating]) -> None:
        """Add an array, float32 or float64, each number rounded to the nearest unit, ties to even."""
        scaled = np.multiply(array, 1.0 / self._unit, dtype=np.float64)  # By a power of two: exact.
        np.rint(scaled, out=scaled)
        self._sum[tuple(slice(0, n) for n in array.shape)] += scaled.astype(np.int64)

    def total(self, weight: float) -> FloatArray:
        """`weight` times the sum, float32."""
        return (self._sum * (weight * self._unit)).astype(np.float32)
