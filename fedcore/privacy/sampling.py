"""Poisson sampling of privacy units, exact and from a cryptographically secure source.

Amplification by sampling holds only if each unit enters each step by its own coin, unseen by others, and
if the coin's chance is the one that is accounted for. So a coin here is exact (no rounding of the rate),
and comes from AES-256 in counter mode under a key of the operating system. This module knows nothing of
noise, accounting, models or what a unit holds.

>>> batches = PoissonUnits(sampling_rate=0.25, units=8, source=UnsafeSeeded(3))
>>> [batches.draw().tolist() for _ in range(3)]
[[0, 1, 2, 6, 7], [3], [0, 4, 6]]
"""

from typing import ClassVar, Protocol, final

import numpy as np
import numpy.typing as npt

from fedcore.errors import InvalidPlan, PlanRefused
from fedcore.privacy._stream import SYSTEM, SeededStream, Words, fresh_words

__all__ = [
    "IntArray",
    "PoissonUnits",
    "RandomSource",
    "SystemRandom",
    "TruncatedPoissonUnits",
    "UnsafeSeeded",
    "bernoulli",
    "subset",
]

IntArray = npt.NDArray[np.int64]


class RandomSource(Protocol):
    """Uniform 64-bit words, shape (count,); `origin` says where they come from."""

    origin: ClassVar[str]

    def words(self, count: int) -> Words:
        """The next `count` words."""
        ...


@final
class SystemRandom:
    """Words that nobody can predict.

    Guarantee: every call uses a fresh 256-bit key from `os.urandom`, so no words repeat: not after a
    fork, a restart or a copy of the object, nor between threads.
    """

    origin: ClassVar[str] = SYSTEM

    def words(self, count: int) -> Words:
        """`count` words, independent of all others."""
        return fresh_words(count)


@final
class UnsafeSeeded:
    """Words that a seed decides. Whoever knows the seed knows who was sampled: there is no amplification."""

    origin: ClassVar[str] = "UnsafeSeeded"

    def __init__(self, seed: int) -> None:
        self._stream = SeededStream("sampling", seed)

    def words(self, count: int) -> Words:
        """The next `count` words of this seed."""
        return self._stream.words(count)


def bernoulli(rate: float, count: int, source: RandomSource) -> npt.NDArray[np.bool_]:
    """Toss `count` independent coins, each true with a chance of exactly `rate`.

    A float is a binary fraction. A uniform number in [0, 1), read 64 bits at a time, is compared with its
    expansion until they differ: usually one word, and never a rounded rate.

    Args:
        rate: In [0, 1].
        count: >= 0.
        source: Of the words.
    Raises:
        InvalidPlan: `rate` is not a number in [0, 1].
    """
    if not 0 <= rate <= 1:
        raise InvalidPlan("a sampling rate is out of range", expected="a number in [0, 1]", got=repr(rate))
    if rate == 1:
        return np.ones(count, dtype=np.bool_)
    hit = np.zeros(count, dtype=np.bool_)
    undecided = np.arange(count)
    for digit in _expansion(rate):
        word = source.words(len(undecided))
        hit[undecided] = word < digit
        undecided = undecided[word == digit]
        if not len(undecided):
            break
    return hit


def _expansion(rate: float) -> list[np.uint64]:
    """The binary expansion of a rate in [0, 1), in 64-bit digits; it ends, since a float is dyadic."""
    numerator, denominator = rate.as_integer_ratio()
    digits = []
    while numerator:
        digit, numerator = divmod(numerator << 64, denominator)
        digits.append(np.uint64(digit))
    return digits


def subset(count: int, size: int, source: RandomSource) -> IntArray:
    """A uniformly random subset of 0..count-1, in increasing order; all of it when `size` >= `count`.

    Guarantee: every subset of that size has exactly the same chance. Each number draws a 64-bit word and the
    `size` smallest words win; when the last winner ties with the first loser, a chance below `count`**2 / 2**64,
    all words are drawn again, so that no tie is broken by position.
    """
    if size >= count:
        return np.arange(count)
    if size <= 0:
        return np.arange(0)
    while True:
        words = source.words(count)
        order = np.argsort(words, kind="stable")
        if words[order[size - 1]] != words[order[size]]:
            return np.sort(order[:size])


@final
class PoissonUnits:
    """Batches of units for one data set: each unit enters each batch by its own coin.

    Guarantee: in every `draw`, each of the `units` is in with a chance of exactly `sampling_rate`,
    independent of the other units and of other draws. A batch may be empty.

    Args:
        sampling_rate: In (0, 1].
        units: How many units the data set holds, >= 1. This number is private: it stays here.
        source: Of the coins.
    Raises:
        InvalidPlan: An argument is out of range.
    Reference: Poisson sampling as in Zhu and Wang 2019, "Poisson Subsampled Renyi Differential Privacy".
    """

    sampler: ClassVar[str] = "poisson"
    """The name by which the accountant knows this sampler."""

    def __init__(self, *, sampling_rate: float, units: int, source: RandomSource) -> None:
        if not 0 < sampling_rate <= 1:
            raise InvalidPlan("a sampling rate is out of range", expected="in (0, 1]", got=repr(sampling_rate))
        if type(units) is not int or units < 1:
            raise InvalidPlan("there are no units to sample", expected="a whole number above 0")
        self.sampling_rate = sampling_rate
        self.units = units
        self.source = source

    def draw(self) -> IntArray:
        """The units of the next batch, in increasing order; perhaps none."""
        return np.flatnonzero(bernoulli(self.sampling_rate, self.units, self.source))

    def __repr__(self) -> str:
        return "PoissonUnits"


@final
class TruncatedPoissonUnits:
    """Batches of at most `batch_limit` units, for fixed shapes: each unit by its own coin, then a random cut.

    Guarantee: every `draw` takes the units as `PoissonUnits` does and, of more than `batch_limit`, keeps a
    uniformly random `batch_limit`. Draws are independent. The accountant's figure holds for data sets of at
    most `largest_units`, so a larger one is refused.

    Args:
        sampling_rate: In (0, 1].
        units: How many units the data set holds, >= 1. This number is private: it stays here.
        batch_limit: >= 1.
        largest_units: The public bound on `units`, >= 1.
        source: Of the coins and the cut.
    Raises:
        PlanRefused: Reason "too_many_units".
        InvalidPlan: An argument is out of range.
    Reference: Ganesh 2025, arXiv:2508.15089.
    """

    sampler: ClassVar[str] = "truncated_poisson"
    """The name by which the accountant knows this sampler."""

    def __init__(
        self, *, sampling_rate: float, units: int, batch_limit: int, largest_units: int, source: RandomSource
    ) -> None:
        for name, bound in (("batch_limit", batch_limit), ("largest_units", largest_units)):
            if type(bound) is not int or bound < 1:
                raise InvalidPlan(f"{name} is out of range", expected="a whole number above 0", got=repr(bound))
        self._whole = PoissonUnits(sampling_rate=sampling_rate, units=units, source=source)
        if units > largest_units:
            raise PlanRefused(
                "the data set holds more units than the plan's accounting covers",
                reason="too_many_units",
                expected=f"at most {largest_units:,} units",
                do="ask for a plan with a larger largest_units",
            )
        self.sampling_rate = sampling_rate
        self.units = units
        self.batch_limit = batch_limit
        self.largest_units = largest_units
        self.source = source

    def draw(self) -> IntArray:
        """The units of the next batch, in increasing order; perhaps none, at most `batch_limit`."""
        drawn = self._whole.draw()
        return drawn[subset(len(drawn), self.batch_limit, self.source)]

    def __repr__(self) -> str:
        return "TruncatedPoissonUnits"
