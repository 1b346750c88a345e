"""Discrete Gaussian noise, sampled exactly in integers from a cryptographically secure source.

Why the discrete Gaussian and not Skellam: sums of discrete Gaussians are not quite discrete Gaussian, but
for a standard deviation of 4 and more the gap is below 2**-200 a coordinate and is accounted for; exact
sampling needs only integers of 64 bits; and its privacy is that of the continuous Gaussian, with no term in
the L1 sensitivity. Skellam would be closed under sums, but a Poisson variable of mean 10**7 has no exact
vectorised sampler.

No float takes part. Each coin of the algorithm is a comparison of uniform integers, as in Canonne, Kamath
and Steinke 2020, arXiv:2004.00010, Algorithms 1 to 3, here with Laplace scale t = sigma and done to many
candidates at a time. A coin of chance exp(-m) for a whole m compares 64-bit words with the binary expansion
of exp(-m), of which more is computed (in integers) whenever the words tie.

This module knows nothing of accounting, sampling or what the noise is for.

>>> UnsafeSeededIntegerNoise(1).discrete_gaussian(5, 100).tolist()
[-42, -172, 235, -89, -37]
"""

import functools
import math
from collections.abc import Callable
from typing import ClassVar, Protocol, final

import numpy as np
import numpy.typing as npt

from fedcore.errors import InvalidPlan
from fedcore.privacy._stream import SYSTEM, SeededStream, Words, fresh_words

__all__ = [
    "LARGEST_STD",
    "LEAST_STD",
    "IntArray",
    "IntegerNoiseSource",
    "SecureIntegerNoise",
    "UnsafeSeededIntegerNoise",
]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
_Source = Callable[[int], Words]

LEAST_STD = 4
LARGEST_STD = 1 << 24
"""Up to here every integer that is compared fits in 64 bits."""

_BLOCK = 1 << 15
"""Candidates at a time: the work stays in the processor's cache."""
_LEVELS = 64
"""exp(-m) is tabulated for m below this; from m = 45 on its first word is 0, so that only a word 0 ties."""


class IntegerNoiseSource(Protocol):
    """Where integer noise comes from; `mechanism` is the name that a privacy plan calls it by."""

    mechanism: ClassVar[str]
    origin: ClassVar[str]

    def discrete_gaussian(self, count: int, std: int) -> IntArray:
        """Independent integers z of chance proportional to exp(-z**2 / (2 std**2))."""
        ...


@final
class SecureIntegerNoise:
    """Integer noise that nobody can predict.

    Guarantee: every call draws from AES-256 in counter mode under fresh 256-bit keys from `os.urandom`.
    """

    mechanism: ClassVar[str] = "discrete_gaussian"
    origin: ClassVar[str] = SYSTEM

    def discrete_gaussian(self, count: int, std: int) -> IntArray:
        """Independent integers z of chance proportional to exp(-z**2 / (2 std**2)), exactly.

        Args:
            count: How many, >= 0.
            std: A whole number from 4 to 2**24.
        Raises:
            InvalidPlan: `std` is out of range.
        """
        return _discrete_gaussian(count, std, fresh_words)


@final
class UnsafeSeededIntegerNoise:
    """Integer noise that a seed decides. Whoever knows the seed can take it off again: it protects nobody."""

    mechanism: ClassVar[str] = "discrete_gaussian"
    origin: ClassVar[str] = "UnsafeSeededIntegerNoise"

    def __init__(self, seed: int) -> None:
        self._stream = SeededStream("integer-noise", seed)

    def discrete_gaussian(self, count: int, std: int) -> IntArray:
        """As `SecureIntegerNoise.discrete_gaussian`, from the seed's stream."""
        return _discrete_gaussian(count, std, self._stream.words)


def _discrete_gaussian(count: int, std: int, words: _Source) -> IntArray:
    """Blocks of candidates until enough were accepted; about two candidates a value."""
    if type(std) is not int or not LEAST_STD <= std <= LARGEST_STD:
        raise InvalidPlan(
            "a noise share's standard deviation is out of range",
            expected=f"a whole number from {LEAST_STD} to {LARGEST_STD:,}",
            got=repr(std),
        )
    noise = np.empty(count, dtype=np.int64)
    done = 0
    while done < count:
        accepted = _candidates(min(_BLOCK, 64 + 9 * (count - done) // 4), std, words)[: count - done]
        noise[done : done + len(accepted)] = accepted
        done += len(accepted)
    return noise


def _candidates(count: int, std: int, words: _Source) -> IntArray:
    """What is accepted of `count` candidates."""
    # Algorithm 2: a discrete Laplace variable of scale std is U + std * V with a sign, where U is uniform
    # below std and kept with a chance of exp(-U / std), and V counts the tails before heads of exp(-1) coins.
    low = _below(std, np.full(count, std), words)
    low = low[_bernoulli_exp(low, std, words)]
    size = low + std * _geometric(len(low), words)
    negative = (words(len(size)) & np.uint64(1)).astype(np.bool_)
    valid = ~(negative & (size == 0))
    size, negative = size[valid], negative[valid]
    # Algorithm 3 with t = std: kept with a chance of exp(-(size - std)**2 / (2 std**2)), whole part first.
    top, bottom = (size - std) ** 2, 2 * std * std
    whole, rest = np.divmod(top, bottom)
    kept = _bernoulli_exp_whole(whole, words)
    kept[kept] = _bernoulli_exp(rest[kept], bottom, words)
    result: IntArray = np.where(negative, -size, size)[kept]
    return result


def _below(largest: int, limits: IntArray, words: _Source) -> IntArray:
    """Uniform integers, each in [0, limit), by rejection; no limit is above `largest`."""
    result = np.empty(len(limits), dtype=np.int64)
    mask = np.uint64((1 << (largest - 1).bit_length()) - 1)
    left = np.arange(len(limits))
    while len(left):
        drawn = (words(len(left)) & mask).astype(np.int64)
        fits = drawn < limits[left]
        result[left[fits]] = drawn[fits]
        left = left[~fits]
    return result


def _bernoulli_exp(tops: IntArray, bottom: int, words: _Source) -> BoolArray:
    """Coins of chance exp(-top / bottom) for 0 <= top <= bottom (Algorithm 1, after Forsythe and von Neumann).

    The first k at which a coin of chance top / (bottom k) fails is odd with just that chance.
    """
    odd = np.ones(len(tops), dtype=np.bool_)
    left = np.arange(len(tops))
    k = 1
    while len(left):
        limit = bottom * k
        if limit >= 1 << 62:  # A chance below 1 / k! that nobody will see; the next k would not fit in a word.
            raise ArithmeticError("a coin was tossed too often")
        drawn = _below(limit, np.broadcast_to(np.int64(limit), len(left)), words)
        left = left[drawn < tops[left]]
        odd[left] = (k + 1) % 2 == 1
        k += 1
    return odd


def _geometric(count: int, words: _Source) -> IntArray:
    """How many coins of chance exp(-1) fall true before one falls false: a word against a table of exp(-m)."""
    first = words(count)
    # The m-th threshold is exp(-m); a variable is the number of thresholds, m >= 1, above the uniform number.
    table = np.array([_digit(m, 0) for m in range(1, _LEVELS)], dtype=np.uint64)[::-1]
    above = len(table) - np.searchsorted(table, first, side="right")
    result = above.astype(np.int64)
    for place in np.flatnonzero(np.isin(first, table)):
        result[place] = _geometric_slow(int(first[place]), words)
    return result


def _geometric_slow(first: int, words: _Source) -> int:
    """As `_geometric` for one variable whose first word ties with a threshold."""
    number = _Uniform(first, words)
    count = 0
    while number.is_below_exp(count + 1):
        count += 1
    return count


def _bernoulli_exp_whole(exponents: IntArray, words: _Source) -> BoolArray:
    """Coins of chance exp(-m) for whole m >= 0."""
    first = words(len(exponents))
    table = np.array([0] + [_digit(m, 0) for m in range(1, _LEVELS)], dtype=np.uint64)
    capped = np.minimum(exponents, _LEVELS - 1)
    result: BoolArray = (first < table[capped]) | (exponents == 0)
    for place in np.flatnonzero((first == table[capped]) & (exponents > 0)):
        result[place] = _Uniform(int(first[place]), words).is_below_exp(int(exponents[place]))
    return result


class _Uniform:
    """One uniform number in [0, 1), its words drawn as they are needed."""

    def __init__(self, first: int, words: _Source) -> None:
        self._digits, self._words = [first], words

    def is_below_exp(self, m: int) -> bool:
        """Whether it is below exp(-m), which is irrational: some word decides."""
        place = 0
        while True:
            if place == len(self._digits):
                self._digits.append(int(self._words(1)[0]))
            digit = _digit(m, place)
            if self._digits[place] != digit:
                return self._digits[place] < digit
            place += 1


@functools.lru_cache(maxsize=4096)
def _digit(m: int, place: int) -> int:
    """The 64-bit digit at `place` of the binary expansion of exp(-m), m >= 1, exact."""
    bits = 64 * (place + 1)
    spare = 64
    while True:
        low, high = _exp_bounds(m, bits + spare)
        if low >> spare == high >> spare:
            return (low >> spare) & ((1 << 64) - 1)
        spare *= 2


def _exp_bounds(m: int, bits: int) -> tuple[int, int]:
    """Integers below and above exp(-m) * 2**bits, from the series of e in integers."""
    guard = 64 + 4 * m + math.ceil(math.log2(bits + 2))
    one = 1 << (bits + guard)
    term, total, k = one, one, 1
    while term:
        term //= k
        total += term
        k += 1
    # e * one lies in [total, total + 2k + 2): each term came out too small by less than 2, and so did the rest.
    top = 1 << (bits + m * (bits + guard))
    return top // (total + 2 * k + 2) ** m, top // total**m + 1
