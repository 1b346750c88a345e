"""Poisson sampling: exact coins, none shared, none repeated."""

import os
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedcore.errors import InvalidPlan, PlanRefused
from fedcore.privacy._stream import Words
from fedcore.privacy.accounting import SAMPLERS
from fedcore.privacy.sampling import (
    PoissonUnits,
    SystemRandom,
    TruncatedPoissonUnits,
    UnsafeSeeded,
    bernoulli,
    subset,
)

FALSE_ALARM = 1e-6
"""The chance at which a test of fresh randomness fails although all is well: it is never seeded."""

Seen = npt.NDArray[np.bool_]


class Scripted:
    """Words that a test dictates, in order."""

    origin = "Scripted"

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


def record(draw: Callable[[], npt.NDArray[np.int64]], units: int, draws: int) -> Seen:
    """Who was in which batch, shape (draws, units)."""
    seen = np.zeros((draws, units), dtype=np.bool_)
    for row in seen:
        row[draw()] = True
    return seen


def improbability(counts: npt.ArrayLike, trials: int, rate: float) -> float:
    """The least chance of so extreme a count among binomial ones, times their number (Bonferroni)."""
    k = np.atleast_1d(counts)
    tail = np.minimum(stats.binom.cdf(k, trials, rate), stats.binom.sf(k - 1, trials, rate))
    return float(np.min(2 * tail) * k.size)


def fits_binomial(sizes: npt.NDArray[np.int64], expected: npt.NDArray[np.float64]) -> float:
    """Chi-square of counts against the chances of 0, 1, 2 ...; rare sizes are joined until 50 are expected."""
    observed = np.bincount(sizes, minlength=len(expected)).astype(float)
    chances = expected * len(sizes)
    joined: list[list[float]] = [[0.0, 0.0]]
    for o, e in zip(observed, chances, strict=True):
        joined[-1] = [joined[-1][0] + o, joined[-1][1] + e]
        if joined[-1][1] >= 50:
            joined.append([0.0, 0.0])
    last = joined.pop()
    if len(joined) < 2:  # One size is all but certain, and whoever it concerns is counted elsewhere.
        return 1.0
    joined[-1] = [joined[-1][0] + last[0], joined[-1][1] + last[1]]
    o, e = np.array(joined).T
    return float(stats.chi2.sf(((o - e) ** 2 / e).sum(), len(joined) - 1))


def verdicts(seen: Seen, rate: float) -> dict[str, float]:
    """How improbable it is that each unit entered each batch by its own coin: by name, the p-value."""
    draws, units = seen.shape
    one, other = np.triu_indices(units, 1)
    together = (seen.T.astype(np.int64) @ seen.astype(np.int64))[one, other]
    # Draws two by two, so that no draw is counted twice.
    again = (seen[0 : draws - 1 : 2] & seen[1:draws:2]).sum(axis=0)
    return {
        "sizes": fits_binomial(seen.sum(axis=1), stats.binom.pmf(np.arange(units + 1), units, rate)),
        "units": improbability(seen.sum(axis=0), draws, rate),
        "pairs": improbability(together, draws, rate**2),
        "successive": improbability(again, draws // 2, rate**2),
        "all": improbability(seen.sum(), draws * units, rate),
    }


@pytest.mark.parametrize(("rate", "units"), [(0.3, 40), (0.05, 60), (0.9, 20)])
def test_inclusion_counts_fit_a_binomial_and_units_and_draws_are_independent(rate: float, units: int) -> None:
    batches = PoissonUnits(sampling_rate=rate, units=units, source=SystemRandom())
    found = verdicts(record(batches.draw, units, 4000), rate)
    assert min(found.values()) > FALSE_ALARM / len(found), found


def test_samplers_that_are_not_poisson_fail_the_same_tests() -> None:
    """Without this the tests above might accept anything."""
    rate, units, draws = 0.25, 40, 4000
    source = SystemRandom()

    def shuffled() -> Seen:
        """A shuffled loader: every unit once in each epoch of four batches."""
        rows = [order for _ in range(draws // 4) for order in np.argsort(source.words(units)).reshape(4, -1)]
        batches = iter(rows)
        return record(lambda: next(batches), units, draws)

    def fixed_size() -> Seen:
        return record(lambda: subset(units, round(rate * units), source), units, draws)

    def twins() -> Seen:
        """One patient split in two units that share a coin with nobody else, and a unit that copies another's."""
        seen = record(PoissonUnits(sampling_rate=rate, units=units, source=source).draw, units, draws)
        seen[:, 1] = seen[:, 0]
        return seen

    def repeated() -> Seen:
        """A generator that was reset between two steps."""
        seen = record(PoissonUnits(sampling_rate=rate, units=units, source=source).draw, units, draws // 2)
        return np.repeat(seen, 2, axis=0)

    def one_often() -> Seen:
        seen = record(PoissonUnits(sampling_rate=rate, units=units, source=source).draw, units, draws)
        seen[:, 7] |= bernoulli(0.1, draws, source)
        return seen

    faults = {
        "sizes": [shuffled, fixed_size],
        "pairs": [twins],
        "successive": [repeated, shuffled],
        "units": [one_often],
    }
    for name, makers in faults.items():
        for make in makers:
            assert verdicts(make(), rate)[name] < FALSE_ALARM, make.__name__


@pytest.mark.parametrize(("rate", "units", "limit"), [(0.3, 20, 6), (0.3, 20, 1), (1.0, 12, 5), (0.1, 30, 30)])
def test_a_truncated_batch_keeps_its_limit_and_cuts_everyone_alike(rate: float, units: int, limit: int) -> None:
    draws = 4000
    batches = TruncatedPoissonUnits(
        sampling_rate=rate, units=units, batch_limit=limit, largest_units=units, source=SystemRandom()
    )
    seen = record(batches.draw, units, draws)
    sizes = seen.sum(axis=1)
    assert sizes.max() <= limit
    chances = stats.binom.pmf(np.arange(units + 1), units, rate)
    cut = np.zeros(units + 1)
    np.add.at(cut, np.minimum(np.arange(units + 1), limit), chances)
    assert fits_binomial(sizes, cut) > FALSE_ALARM / 3
    # A unit is drawn, and stays with a chance of limit / (others + 1) when that is below one.
    others = np.arange(units)
    stays = np.minimum(1.0, limit / (others + 1))
    enters = float(rate * (stats.binom.pmf(others, units - 1, rate) * stays).sum())
    assert improbability(seen.sum(axis=0), draws, enters) > FALSE_ALARM / 3
    # Two units: both drawn, and both stay with limit (limit - 1) / (drawn (drawn - 1)).
    rest = np.arange(units - 1)
    both_stay = np.minimum(1.0, limit * (limit - 1) / ((rest + 2) * (rest + 1)))
    both = float(rate**2 * (stats.binom.pmf(rest, units - 2, rate) * both_stay).sum())
    one, other = np.triu_indices(units, 1)
    together = (seen.T.astype(np.int64) @ seen.astype(np.int64))[one, other]
    assert improbability(together, draws, both) > FALSE_ALARM / 3 or both == 0 == together.max()


def test_a_truncated_batch_within_its_limit_is_the_plain_one() -> None:
    plain = PoissonUnits(sampling_rate=0.4, units=30, source=UnsafeSeeded(2))
    cut = TruncatedPoissonUnits(sampling_rate=0.4, units=30, batch_limit=30, largest_units=99, source=UnsafeSeeded(2))
    for _ in range(5):
        assert cut.draw().tolist() == plain.draw().tolist()


def test_more_units_than_were_accounted_for_are_refused_without_saying_how_many() -> None:
    with pytest.raises(PlanRefused) as refused:
        TruncatedPoissonUnits(sampling_rate=0.1, units=4321, batch_limit=20, largest_units=4000, source=SystemRandom())
    assert refused.value.reason == "too_many_units"
    assert "321" not in str(refused.value)


@pytest.mark.parametrize("change", [{"batch_limit": 0}, {"largest_units": 0}, {"batch_limit": True}, {"units": 0}])
def test_a_truncated_sampler_out_of_range_is_refused(change: dict[str, int]) -> None:
    fields = {"units": 4, "batch_limit": 2, "largest_units": 9} | change
    with pytest.raises(InvalidPlan):
        TruncatedPoissonUnits(sampling_rate=0.5, source=SystemRandom(), **fields)


def test_each_sampler_has_a_name_of_its_own_that_the_accountant_knows() -> None:
    assert (PoissonUnits.sampler, TruncatedPoissonUnits.sampler) == SAMPLERS


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
    source = SystemRandom()
    chosen = [tuple(subset(5, 2, source).tolist()) for _ in range(10_000)]
    pairs = {(a, b): n for n, (a, b) in enumerate((a, b) for a in range(5) for b in range(a + 1, 5))}
    numbers = np.array([pairs[a, b] for a, b in chosen])
    assert fits_binomial(numbers, np.full(10, 0.1)) > FALSE_ALARM


def test_a_tie_is_drawn_again_and_not_broken_by_position() -> None:
    assert subset(3, 1, Scripted([5, 9, 5, 8, 2, 7])).tolist() == [1]
    # A tie among winners, or among losers, decides nothing.
    assert subset(4, 2, Scripted([3, 3, 9, 9])).tolist() == [0, 1]
    assert subset(3, 0, Scripted([])).tolist() == []


def test_the_sampler_prints_no_number_of_units() -> None:
    source = SystemRandom()
    assert repr(PoissonUnits(sampling_rate=0.5, units=4321, source=source)) == "PoissonUnits"
    cut = TruncatedPoissonUnits(sampling_rate=0.5, units=4321, batch_limit=9, largest_units=9999, source=source)
    assert repr(cut) == "TruncatedPoissonUnits"
