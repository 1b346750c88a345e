"""Poisson sampling: exact coins, none shared, none repeated."""

import os
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.errors import InvalidPlan
from fedcore.privacy._stream import Words
from fedcore.privacy.sampling import PoissonUnits, SystemRandom, UnsafeSeeded, bernoulli, subset


class Scripted:
    """Words that a test dictates, in order."""

    def __init__(self, words: list[int]) -> None:
        self._words = list(words)

    def words(self, count: int) -> Words:
        taken, self._words = self._words[:count], self._words[count:]
        return np.array(taken, dtype=np.uint64)


def _twin(rate: float, words: list[int]) -> bool:
    """u < rate, where u is read from as many words as it takes, in exact arithmetic."""
    low, width = Fraction(0), Fraction(1)
    for word in words:
        width /= 2**64
        low += word * width
        if low + width <= Fraction(rate):
            return True
        if low >= Fraction(rate):
            return False
    raise AssertionError("undecided")


@given(st.floats(0, 1, exclude_max=True), st.lists(st.integers(0, 2**64 - 1), min_size=20, max_size=20), st.booleans())
def test_a_coin_equals_the_exact_twin(rate: float, words: list[int], near: bool) -> None:
    if near:  # Start with the rate's own expansion, so that the first words tie.
        words = [int(Fraction(rate) * 2**64) % 2**64, *words]
    assert bool(bernoulli(rate, 1, Scripted(words))[0]) == _twin(rate, words)


@pytest.mark.parametrize("rate", [1e-300, 2.0**-64, 2.0**-65, 5e-324])
def test_the_least_rates_are_not_rounded_to_zero(rate: float) -> None:
    zeros = [0] * 20
    assert bernoulli(rate, 1, Scripted(zeros))[0]
    assert not bernoulli(rate, 1, Scripted([1, *zeros]))[0]


def test_rates_of_zero_and_one_are_certain() -> None:
    assert bernoulli(1.0, 1000, SystemRandom()).all()
    assert not bernoulli(0.0, 1000, SystemRandom()).any()


def test_each_unit_enters_at_the_rate_and_independently() -> None:
    rate, units, draws = 0.3, 40, 4000
    batches = PoissonUnits(sampling_rate=rate, units=units, source=UnsafeSeeded(5))
    seen = np.zeros((draws, units))
    for row in seen:
        row[batches.draw()] = 1
    spread = np.sqrt(rate * (1 - rate))
    assert np.abs(seen.mean(axis=0) - rate).max() < 4.5 * spread / np.sqrt(draws)
    correlation = np.corrcoef(seen, rowvar=False) - np.eye(units)
    assert np.abs(correlation).max() < 5 / np.sqrt(draws)
    lagged = ((seen[1:] - rate) * (seen[:-1] - rate)).mean() / spread**2
    assert abs(lagged) < 5 / np.sqrt(draws * units)
    sizes = seen.sum(axis=1)  # A fixed-size sampler would have no variance here.
    assert sizes.var() == pytest.approx(units * rate * (1 - rate), rel=0.15)


def test_a_batch_may_be_empty() -> None:
    batches = PoissonUnits(sampling_rate=1e-9, units=3, source=SystemRandom())
    assert batches.draw().shape == (0,)


def test_the_system_source_never_repeats() -> None:
    source = SystemRandom()
    words = np.concatenate([source.words(1000), source.words(1000), SystemRandom().words(1000)])
    assert len(np.unique(words)) == 3000


def test_a_forked_process_tosses_other_coins() -> None:
    source = SystemRandom()
    source.words(1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, source.words(8).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 64) != source.words(8).tobytes()


def test_a_seed_repeats_and_another_does_not() -> None:
    one, same, other = UnsafeSeeded(1), UnsafeSeeded(1), UnsafeSeeded(2)
    first = one.words(5).tolist() + one.words(3).tolist()
    assert first == same.words(8).tolist()
    assert first != other.words(8).tolist()


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(InvalidPlan):
        PoissonUnits(sampling_rate=rate, units=3, source=SystemRandom())


@pytest.mark.parametrize("units", [0, -1, True, 2.0])
def test_no_units_are_refused(units: int) -> None:
    with pytest.raises(InvalidPlan):
        PoissonUnits(sampling_rate=0.5, units=units, source=SystemRandom())


@given(st.integers(0, 30), st.integers(0, 40), st.integers(0, 2**32))
def test_a_subset_has_its_size_and_no_repeats(count: int, size: int, seed: int) -> None:
    chosen = subset(count, size, UnsafeSeeded(seed)).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, size)
    assert set(chosen) <= set(range(count))


def test_every_subset_is_as_likely() -> None:
    source = UnsafeSeeded(3)
    counts = np.zeros(6)
    for _ in range(3000):
        counts[subset(6, 2, source)] += 1
    assert np.abs(counts - 1000).max() < 4.5 * np.sqrt(3000 * (1 / 3) * (2 / 3))


def test_the_sampler_prints_no_number_of_units() -> None:
    assert repr(PoissonUnits(sampling_rate=0.5, units=4321, source=SystemRandom())) == "PoissonUnits"
