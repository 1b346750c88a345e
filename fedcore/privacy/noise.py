"""Gaussian noise from a cryptographically secure source, with a defence against floating-point attacks.

Noise that can be predicted protects nobody, and neither does noise whose low bits betray what it was
added to. This module knows nothing of sampling, accounting, models or what the noise is for.

Floating-point defence. A float64 Gaussian reaches few of the numbers near a given sum, so the low bits of
sum + noise can tell two sums apart (Mironov 2012, "On significance of the least significant bits for
differential privacy"; for Gaussians, Jin et al. 2022, arXiv:2112.05307). Each value here is the sum of four
independent Gaussians over 2, which Holohan and Braghin 2021 (arXiv:2107.10138, section 5.1) show to need
about 2**159 guesses to invert. The four come from four different polar pairs. Add the noise in float64,
before any rounding; what is rounded afterwards is post-processing.

Pairs are made by the polar method (Marsaglia and Bray 1964): a point is drawn in a square until it lies in
the unit circle, and its squared length, uniform in (0, 1) and independent of its direction, gives the radius.
One logarithm and one square root make two Gaussians, with no trigonometry. How long a call takes depends on
how many points were thrown away, which is independent of the points that were kept and of all data, so time
tells nothing about the noise. Coordinates are multiples of 2**-51, as many on either side of 0, so one
Gaussian ends at 11.9 standard deviations; a true one lies beyond with a chance below 2**-100, far below any
delta in use, and not part of the accounting.

>>> UnsafeSeededNoise(1).gaussian((2, 3), 0.5).shape
(2, 3)
>>> UnsafeNoNoise().gaussian((2,), 0.0).tolist()
[0.0, 0.0]
"""

import math
from collections.abc import Callable
from typing import ClassVar, Protocol, final

import numpy as np
import numpy.typing as npt

from fedcore.errors import InvalidPlan
from fedcore.privacy._stream import SYSTEM, FreshStream, SeededStream, Words

__all__ = ["DoubleArray", "NoiseSource", "SecureNoise", "UnsafeNoNoise", "UnsafeSeededNoise"]

DoubleArray = npt.NDArray[np.float64]

_SUMMANDS = 4
_BLOCK = 1 << 14
"""Values made at a time: the work stays in the processor's cache."""

_TWO = np.uint64(0x4000000000000000)
"""The bits of the float64 2.0: with 52 random bits below them, a number in [2, 4) to a multiple of 2**-51."""


class NoiseSource(Protocol):
    """Where noise comes from; `mechanism` is the name that a privacy plan calls it by, `origin` is for people."""

    mechanism: ClassVar[str]
    origin: ClassVar[str]

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        """Independent Gaussian values of mean 0."""
        ...


@final
class SecureNoise:
    """Noise that nobody can predict.

    Guarantee: every call draws from AES-256 in counter mode under a fresh 256-bit key from `os.urandom`,
    so no noise repeats: not after a fork, a restart or a copy of the object, nor between threads.
    """

    mechanism: ClassVar[str] = "gaussian"
    origin: ClassVar[str] = SYSTEM

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        """Independent Gaussian values, float64.

        Args:
            shape: Of the result.
            std: Standard deviation, > 0.
        Raises:
            InvalidPlan: `std` is not a number above 0.
        """
        return _gaussian(shape, std, FreshStream().fill)


@final
class UnsafeSeededNoise:
    """Noise that a seed decides. Whoever knows the seed can take it off again: it protects nobody."""

    mechanism: ClassVar[str] = "gaussian"
    origin: ClassVar[str] = "UnsafeSeededNoise"

    def __init__(self, seed: int) -> None:
        self._stream = SeededStream("noise", seed)

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        """As `SecureNoise.gaussian`, from the seed's stream."""
        return _gaussian(shape, std, self._stream.fill)


@final
class UnsafeNoNoise:
    """No noise at all: research without privacy."""

    mechanism: ClassVar[str] = "UnsafeNoNoise"
    origin: ClassVar[str] = "UnsafeNoNoise"

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        """Zeros.

        Raises:
            InvalidPlan: `std` is not 0: noise was promised that would not be added.
        """
        if std != 0:
            raise InvalidPlan("noise was asked of UnsafeNoNoise", expected="a standard deviation of 0")
        return np.zeros(shape)


def _gaussian(shape: tuple[int, ...], std: float, fill: Callable[[Words], None]) -> DoubleArray:
    """Four-summand Gaussians; see the module's text."""
    if not (math.isfinite(std) and std > 0):
        raise InvalidPlan("the noise's standard deviation is out of range", expected="above 0, finite", got=repr(std))
    count = math.prod(shape)
    noise = np.empty(count + count % 2)
    pairs = _PolarPairs(_SUMMANDS * min(_BLOCK, len(noise)) // 2, fill)
    for start in range(0, len(noise), _BLOCK):
        block = noise[start : start + _BLOCK]
        half = len(block) // 2
        # A pair's two Gaussians go to two different values; a value's four come from four pairs.
        x, y = pairs.draw(_SUMMANDS * half)
        np.add.reduce(x.reshape(_SUMMANDS, half), axis=0, out=block[:half])
        np.add.reduce(y.reshape(_SUMMANDS, half), axis=0, out=block[half:])
    noise *= std / math.sqrt(_SUMMANDS)
    return noise[:count].reshape(shape)


class _PolarPairs:
    """Pairs of independent standard normals, up to `most` at a time, in buffers that are used again."""

    def __init__(self, most: int, fill: Callable[[Words], None]) -> None:
        self._fill = fill
        self._words = np.empty(2 * _tries(most), dtype=np.uint64)
        self._squares = np.empty((2, _tries(most)))
        self._x, self._y, self._length = np.empty((3, most))

    def draw(self, count: int) -> tuple[DoubleArray, DoubleArray]:
        """`count` pairs; the arrays are overwritten by the next call."""
        x, y, length = self._x[:count], self._y[:count], self._length[:count]
        done = 0
        while done < count:
            done += self._points(x[done:], y[done:], length[done:])
        radius = self._squares[0, :count]
        np.log(length, out=radius)
        radius *= -2.0
        radius /= length
        np.sqrt(radius, out=radius)
        x *= radius
        y *= radius
        return x, y

    def _points(self, x: DoubleArray, y: DoubleArray, length: DoubleArray) -> int:
        """Put points of the unit circle and their squared lengths at the front; how many is returned."""
        tries = _tries(len(x))
        words = self._words[: 2 * tries]
        self._fill(words)
        words >>= np.uint64(12)
        words |= _TWO
        points = words.view(np.float64)
        points -= 3.0  # Exact: in [-1, 1).
        square, other = self._squares[:, :tries]
        np.multiply(points[:tries], points[:tries], out=square)
        np.multiply(points[tries:], points[tries:], out=other)
        square += other
        inside = np.flatnonzero((square < 1) & (square > 0))[: len(x)]
        found = len(inside)
        # Every index is in range; without mode="clip" numpy would buffer the output.
        points[:tries].take(inside, out=x[:found], mode="clip")
        points[tries:].take(inside, out=y[:found], mode="clip")
        square.take(inside, out=length[:found], mode="clip")
        return found


def _tries(count: int) -> int:
    """Points to draw so that about `count` of them, with a margin of 3 deviations, lie in the circle."""
    return math.ceil(count * 4 / math.pi + 2 * math.sqrt(count)) + 8
