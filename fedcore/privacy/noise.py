"""Gaussian noise from a cryptographically secure source, with a defence against floating-point attacks.

Noise that can be predicted protects nobody, and neither does noise whose low bits betray what it was
added to. This module knows nothing of sampling, accounting, models or what the noise is for.

Floating-point defence. A float64 Gaussian reaches few of the numbers near a given sum, so the low bits of
sum + noise can tell two sums apart (Mironov 2012, "On significance of the least significant bits for
differential privacy"; for Gaussians, Jin et al. 2022, arXiv:2112.05307). Each value here is the sum of four
independent Gaussians over 2, which Holohan and Braghin 2021 (arXiv:2107.10138, section 5.1) show to need
about 2**159 guesses to invert. The four come from four different Box-Muller pairs. Add the noise in
float64, before any rounding; what is rounded afterwards is post-processing.

Uniform numbers have 53 bits, so one Gaussian ends at 8.6 standard deviations: a deviation from the true
Gaussian below 2**-53 a value, far below any delta in use, and not part of the accounting.

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
from fedcore.privacy._stream import SeededStream, Words, fresh_words

__all__ = ["DoubleArray", "NoiseSource", "SecureNoise", "UnsafeNoNoise", "UnsafeSeededNoise"]

DoubleArray = npt.NDArray[np.float64]

_SUMMANDS = 4
_BLOCK = 1 << 15
"""Values made at a time: the work stays in the processor's cache."""


class NoiseSource(Protocol):
    """Where noise comes from; `mechanism` is the name that a privacy plan calls it by."""

    mechanism: ClassVar[str]

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

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        """Independent Gaussian values, float64.

        Args:
            shape: Of the result.
            std: Standard deviation, > 0.
        Raises:
            InvalidPlan: `std` is not a number above 0.
        """
        return _gaussian(shape, std, fresh_words)


@final
class UnsafeSeededNoise:
    """Noise that a seed decides. Whoever knows the seed can take it off again: it protects nobody."""

    mechanism: ClassVar[str] = "gaussian"

    def __init__(self, seed: int) -> None:
        self._stream = SeededStream("noise", seed)

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        """As `SecureNoise.gaussian`, from the seed's stream."""
        return _gaussian(shape, std, self._stream.words)


@final
class UnsafeNoNoise:
    """No noise at all: research without privacy."""

    mechanism: ClassVar[str] = "UnsafeNoNoise"

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        """Zeros.

        Raises:
            InvalidPlan: `std` is not 0: noise was promised that would not be added.
        """
        if std != 0:
            raise InvalidPlan("noise was asked of UnsafeNoNoise", expected="a standard deviation of 0")
        return np.zeros(shape)


def _gaussian(shape: tuple[int, ...], std: float, words: Callable[[int], Words]) -> DoubleArray:
    """Four-summand Gaussians; see the module's text."""
    if not (math.isfinite(std) and std > 0):
        raise InvalidPlan("the noise's standard deviation is out of range", expected="above 0, finite", got=repr(std))
    count = math.prod(shape)
    noise = np.empty(count + count % 2)
    for start in range(0, len(noise), _BLOCK):
        block = noise[start : start + _BLOCK]
        block[:] = _box_muller(words(len(block)))
        for _ in range(_SUMMANDS - 1):
            block += _box_muller(words(len(block)))
    noise *= std / math.sqrt(_SUMMANDS)
    return noise[:count].reshape(shape)


def _box_muller(words: Words) -> DoubleArray:
    """As many standard normals as words, an even number (Box and Muller 1958)."""
    # 53 bits and a half step: a uniform number is never 0, so its logarithm is finite.
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    half = len(words) // 2
    radius = np.sqrt(-2.0 * np.log(uniform[:half]))
    angle = (2.0 * math.pi) * uniform[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
