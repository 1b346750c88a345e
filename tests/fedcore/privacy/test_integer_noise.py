"""Integer noise: exactly discrete Gaussian, secure, fast."""

import math
import time
from decimal import Decimal, getcontext

import numpy as np
import pytest
from scipy import stats

from fedcore.errors import InvalidPlan
from fedcore.privacy import integer_noise
from fedcore.privacy.integer_noise import LARGEST_STD, SecureIntegerNoise, UnsafeSeededIntegerNoise


def masses(std: int, largest: int) -> np.ndarray:
    """The discrete Gaussian by its definition."""
    weights = np.exp(-(np.arange(-largest, largest + 1) ** 2) / (2 * std**2))
    return weights / weights.sum()


@pytest.mark.parametrize("std", [4, 7, 25])
def test_values_follow_the_definition(std: int) -> None:
    count = 300_000
    values = UnsafeSeededIntegerNoise(5).discrete_gaussian(count, std)
    largest = 4 * std
    inside = values[np.abs(values) <= largest] + largest
    expected = masses(std, largest) * len(inside)
    assert stats.chisquare(np.bincount(inside, minlength=2 * largest + 1), expected).pvalue > 1e-4
    assert abs((np.abs(values) > largest).sum() - 2 * stats.norm.sf(4) * count) < 60


@pytest.mark.parametrize("std", [1000, 123_457, LARGEST_STD])
def test_wide_values_are_gaussian_to_the_tails(std: int) -> None:
    count = 200_000
    values = UnsafeSeededIntegerNoise(6).discrete_gaussian(count, std) / std
    assert stats.kstest(values, "norm").pvalue > 1e-4
    assert abs(values.mean()) < 5 / math.sqrt(count)
    assert abs(values.var() - 1) < 5 * math.sqrt(2 / count)
    assert abs((values**4).mean() - 3) < 5 * math.sqrt(96 / count)


def test_low_bits_are_uniform() -> None:
    """A sampler that rounds a float would favour some residues."""
    values = UnsafeSeededIntegerNoise(7).discrete_gaussian(200_000, 1 << 20)
    assert stats.chisquare(np.bincount(values & 255, minlength=256)).pvalue > 1e-4


def test_the_expansion_of_exp_is_exact() -> None:
    getcontext().prec = 200
    for m in (1, 2, 7, 44, 45, 63):
        number = Decimal(-m).exp()
        for place in range(4):
            expected = int(number * Decimal(2) ** (64 * (place + 1))) & (2**64 - 1)
            assert integer_noise._digit(m, place) == expected


class _Given:
    """Words that a test chose."""

    def __init__(self, *words: int) -> None:
        self.words = list(words)

    def __call__(self, count: int) -> np.ndarray:
        return np.array([self.words.pop(0) for _ in range(count)], dtype=np.uint64)


@pytest.mark.parametrize("m", [1, 2, 9, 50])
def test_a_word_that_ties_is_decided_by_the_next(m: int) -> None:
    """The coin exp(-m) at a tie in the first digit, and in the first two."""
    digits = [integer_noise._digit(m, place) for place in range(3)]
    for last, heads in ((-1, True), (1, False)):
        for ties in (1, 2):
            words = _Given(*digits[:ties], digits[ties] + last)
            assert integer_noise._bernoulli_exp_whole(np.array([m]), words).tolist() == [heads]
            assert not words.words


@pytest.mark.parametrize("m", [1, 2, 9, 40])
def test_a_count_that_ties_is_decided_by_the_next_word(m: int) -> None:
    for last, count in ((-1, m), (1, m - 1)):
        words = _Given(integer_noise._digit(m, 0), integer_noise._digit(m, 1) + last)
        assert integer_noise._geometric(1, words).tolist() == [count]


def test_coins_have_their_chance() -> None:
    source = UnsafeSeededIntegerNoise(8)._stream.words
    count = 200_000
    for top, bottom in ((0, 5), (1, 7), (5, 7), (7, 7), (3, 1 << 40), (1 << 39, 1 << 40)):
        heads = integer_noise._bernoulli_exp(np.full(count, top), bottom, source).mean()
        chance = math.exp(-top / bottom)
        assert abs(heads - chance) <= 5 * math.sqrt(chance * (1 - chance) / count) + 1e-9
    for m in (0, 1, 3, 200, 5000):
        heads = integer_noise._bernoulli_exp_whole(np.full(count, m), source).mean()
        assert abs(heads - math.exp(-m)) <= 5 * math.sqrt(math.exp(-m) / count) + 1e-9
    counted = integer_noise._geometric(count, source)
    for v in range(6):
        chance = math.exp(-v) * (1 - math.exp(-1))
        assert abs((counted == v).mean() - chance) < 5 * math.sqrt(chance / count)


def test_no_float_takes_part() -> None:
    """All intermediate arrays are integers or booleans."""
    source = UnsafeSeededIntegerNoise(9)._stream.words
    assert integer_noise._below(10, np.full(50, 10), source).dtype == np.int64
    assert integer_noise._geometric(50, source).dtype == np.int64
    assert integer_noise._candidates(500, LARGEST_STD, source).dtype == np.int64


def test_secure_noise_never_repeats_and_ignores_seeds() -> None:
    np.random.seed(0)
    first = SecureIntegerNoise().discrete_gaussian(1000, 1 << 20)
    np.random.seed(0)
    assert (SecureIntegerNoise().discrete_gaussian(1000, 1 << 20) != first).mean() > 0.99


@pytest.mark.parametrize("std", [0, 3, -4, LARGEST_STD + 1, 4.0, True])
def test_a_spread_out_of_range_is_refused(std: int) -> None:
    with pytest.raises(InvalidPlan):
        SecureIntegerNoise().discrete_gaussian(1, std)


@pytest.mark.parametrize("count", [0, 1, 17, integer_noise._BLOCK + 1])
def test_the_count_is_kept(count: int) -> None:
    assert SecureIntegerNoise().discrete_gaussian(count, 10).shape == (count,)


def test_half_a_million_values_take_at_most_a_few_seconds() -> None:
    started = time.process_time()
    SecureIntegerNoise().discrete_gaussian(500_000, 3500)
    assert time.process_time() - started < 3
