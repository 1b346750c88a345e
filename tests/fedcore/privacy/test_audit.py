"""Bounds from scores: below the truth at the stated confidence, and near it where the form is known."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from fedcore.errors import InvalidPlan
from fedcore.privacy.audit import (
    auc,
    batch_sizes_p_value,
    correlation_p_value,
    gaussian_epsilon,
    gaussian_form,
    membership_epsilon,
    one_run_epsilon,
    rate_interval,
)

TRIALS = 200
DELTA = 1e-5


def acceptable(failures: int, confidence: float, trials: int = TRIALS) -> bool:
    """Whether so many failures fit a bound that fails with a chance of at most 1 - confidence."""
    return failures <= stats.binom.ppf(1 - 1e-7, trials, 1 - confidence)


def crowd(canaries: int, coordinates: int, groups: int) -> Any:
    """A design in which canaries share coordinates, and most coordinates have none."""
    design = np.zeros(coordinates)
    design[:groups] = canaries / groups
    return design


@pytest.mark.parametrize("mu", [0.01, 0.5, 1.0, 3.0, 20.0])
def test_the_gaussian_curve_is_that_of_an_integral(mu: float) -> None:
    epsilon = gaussian_epsilon(mu, DELTA)

    def excess(x: float) -> float:
        # The likelihood ratio, so that a large epsilon does not cancel two huge numbers.
        return float(stats.norm.pdf(x, mu) * max(0.0, -math.expm1(epsilon - mu * x + mu * mu / 2)))

    at = epsilon / mu + mu / 2
    found, _ = integrate.quad(excess, at, at + 12, epsabs=1e-14, limit=200)
    assert found == pytest.approx(DELTA if epsilon > 0 else found, rel=1e-5)
    assert found <= DELTA * (1 + 1e-5)


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("design", [crowd(2000, 4000, 4), np.repeat([1.0, 0.0], 500)], ids=["crowd", "in and out"])
def test_each_end_of_the_gaussian_form_holds_at_its_confidence(noise: float, design: Any) -> None:
    random = np.random.default_rng(int(noise * 8) + len(design))
    failures = dict.fromkeys(("shift low", "shift high", "std low", "std high", "low", "high"), 0)
    for _ in range(TRIALS):
        form = gaussian_form(design + noise * random.normal(size=len(design)), design, confidence=0.9)
        failures["shift low"] += form.shift.low > 1
        failures["shift high"] += form.shift.high < 1
        failures["std low"] += form.noise_std.low > noise
        failures["std high"] += form.noise_std.high < noise
        failures["low"] += form.noise_multiplier.low > noise
        failures["high"] += form.noise_multiplier.high < noise
    assert all(acceptable(n, 0.9) for n in failures.values()), failures


def test_two_thousand_canaries_come_within_a_twentieth_of_the_truth_and_show_halved_noise() -> None:
    random, design = np.random.default_rng(1), crowd(2000, 32768, 4)
    for _ in range(20):
        scores = random.normal(size=len(design))
        honest = gaussian_form(design + scores, design, confidence=0.95).noise_multiplier.high
        halved = gaussian_form(design + scores / 2, design, confidence=0.95).noise_multiplier.high
        assert 4.2 < gaussian_epsilon(1 / honest, DELTA) < 4.42
        assert 9.0 < gaussian_epsilon(1 / halved, DELTA) < 10.1
    assert gaussian_epsilon(1.0, DELTA) == pytest.approx(4.377, abs=1e-3)


def test_a_unit_that_counts_twice_doubles_the_shift() -> None:
    random, design = np.random.default_rng(2), crowd(400, 4000, 4)
    form = gaussian_form(2 * design + random.normal(size=len(design)), design, confidence=0.999)
    assert form.shift.low > 1.9
    assert form.noise_multiplier.high < 0.56


def test_a_shift_that_may_be_nothing_bounds_nothing() -> None:
    design = crowd(4, 100, 4)
    noise = np.random.default_rng(3).normal(size=100)
    assert gaussian_form(noise, design, confidence=0.999999).noise_multiplier.high == math.inf


@pytest.mark.parametrize("design", [np.zeros(5), np.ones(5), np.array([1.0, 0.0])])
def test_a_design_that_shows_nothing_is_refused(design: Any) -> None:
    with pytest.raises(InvalidPlan):
        gaussian_form(np.ones(len(design)), design, confidence=0.95)


def p_value_of_the_paper(m: int, r: int, v: int, eps: float, delta: float) -> float:
    """The one-run p-value as appendix D of arXiv:2305.08846 spells it out, one term after the other."""
    q = 1 / (1 + math.exp(-eps))
    beta = float(stats.binom.sf(v - 1, r, q))
    alpha, total = 0.0, 0.0
    for i in range(1, v + 1):
        total += float(stats.binom.pmf(v - i, r, q))
        alpha = max(alpha, total / i)
    return min(1.0, beta + alpha * delta * 2 * m)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 120), st.sampled_from([0.0, 1e-6, 1e-3]), st.sampled_from([0.9, 0.95, 0.999]))
def test_the_one_run_bound_is_the_paper_s(data: Any, guesses: int, delta: float, confidence: float) -> None:
    canaries = guesses + data.draw(st.integers(0, 80))
    correct = data.draw(st.integers(0, guesses))
    found = one_run_epsilon(correct=correct, guesses=guesses, canaries=canaries, delta=delta, confidence=confidence)
    assert p_value_of_the_paper(canaries, guesses, correct, found + 1e-6, delta) >= (1 - confidence) * (1 - 1e-6)
    if found > 1e-6:
        assert p_value_of_the_paper(canaries, guesses, correct, found - 1e-6, delta) < 1 - confidence


@pytest.mark.parametrize("truth", [0.1, 1.0, 3.0])
def test_the_one_run_bound_stays_below_randomised_response(truth: float) -> None:
    random = np.random.default_rng(int(10 * truth))
    right = 1 / (1 + math.exp(-truth))
    failures = 0
    for _ in range(TRIALS):
        members = random.random(300) < 0.5
        answers = np.where(random.random(300) < right, members, ~members)
        # The mechanism is the answer itself; noise that depends on nothing breaks ties.
        bound = membership_epsilon(
            answers + 0.5 * random.random(300), members, guesses=(60, 20), delta=0.0, confidence=0.9
        )
        failures += bound > truth
    assert acceptable(failures, 0.9)


def test_the_one_run_bound_of_gaussian_scores_is_below_the_truth_and_not_empty() -> None:
    random, found = np.random.default_rng(5), []
    for _ in range(TRIALS // 4):
        members = random.random(2000) < 0.5
        scores = members + random.normal(size=2000)
        found.append(membership_epsilon(scores, members, guesses=(400, 150, 50), delta=DELTA, confidence=0.95))
    assert max(found) < gaussian_epsilon(1.0, DELTA)
    assert 1.0 < float(np.median(found)) < 3.0


def test_scores_that_tell_nothing_give_no_bound_and_perfect_ones_a_large_one() -> None:
    random = np.random.default_rng(6)
    members = random.random(200) < 0.5
    nothing = [
        membership_epsilon(random.normal(size=200), members, guesses=(80, 40), delta=DELTA, confidence=0.95)
        for _ in range(TRIALS)
    ]
    assert acceptable(sum(b > 0 for b in nothing), 0.95)
    perfect = membership_epsilon(members.astype(float), members, guesses=(80, 40), delta=DELTA, confidence=0.95)
    assert perfect > 3.5


@pytest.mark.parametrize("guesses", [(), (0,), (101,)])
def test_guesses_out_of_range_are_refused(guesses: tuple[int, ...]) -> None:
    with pytest.raises(InvalidPlan):
        membership_epsilon(np.zeros(200), np.ones(200, bool), guesses=guesses, delta=0.0, confidence=0.95)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_the_auc_is_the_share_of_pairs_in_order(inside: list[int], outside: list[int]) -> None:
    pairs = [(a > b) + (a == b) / 2 for a in inside for b in outside]
    found = auc(inside, outside, confidence=0.95)
    assert found.estimate == pytest.approx(sum(pairs) / len(pairs))
    assert found.low <= found.estimate + 1e-9
    assert found.estimate <= found.high + 1e-9


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_each_end_of_the_auc_holds_at_its_confidence(shift: float) -> None:
    random, truth = np.random.default_rng(7), float(stats.norm.cdf(shift / math.sqrt(2)))
    found = [auc(random.normal(size=60) + shift, random.normal(size=90), confidence=0.8) for _ in range(TRIALS)]
    assert acceptable(sum(f.low > truth for f in found), 0.8)
    assert acceptable(sum(f.high < truth for f in found), 0.8)
    assert np.mean([f.high - f.low for f in found]) < 0.3


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 400), st.sampled_from([0.8, 0.95, 1 - 1e-7]))
def test_ends_of_a_rate_are_where_the_tail_is_what_is_left(data: Any, trials: int, confidence: float) -> None:
    hits = data.draw(st.integers(0, trials))
    found = rate_interval(hits, trials, confidence=confidence)
    if hits > 0:
        assert stats.binom.sf(hits - 1, trials, found.low) == pytest.approx(1 - confidence, rel=1e-4)
    else:
        assert found.low == 0
    if hits < trials:
        assert stats.binom.cdf(hits, trials, found.high) == pytest.approx(1 - confidence, rel=1e-4)
    else:
        assert found.high == 1


def test_the_p_value_of_batch_sizes_is_that_of_an_enumeration() -> None:
    units, rate, sizes = 5, 0.3, [2, 0]
    middle = round(units * rate)
    chances = stats.binom.pmf(np.arange(units + 1), units, rate)
    found = sum((s - middle) ** 2 for s in sizes)
    low = high = 0.0
    for a in range(units + 1):
        for b in range(units + 1):
            distance = (a - middle) ** 2 + (b - middle) ** 2
            low += chances[a] * chances[b] * (distance <= found)
            high += chances[a] * chances[b] * (distance >= found)
    assert batch_sizes_p_value(sizes, units=units, rate=rate) == pytest.approx(min(1, 2 * min(low, high)))


@pytest.mark.parametrize(("units", "rate"), [(6400, 0.01), (128, 0.5), (64, 0.999), (100_000, 0.0005)])
def test_coins_pass_and_batches_of_one_size_do_not(units: int, rate: float) -> None:
    random = np.random.default_rng(8)
    found = [batch_sizes_p_value(random.binomial(units, rate, 32), units=units, rate=rate) for _ in range(25)]
    assert acceptable(sum(p < 0.05 for p in found), 0.95, 25)
    if rate < 0.99:
        assert batch_sizes_p_value([round(units * rate)] * 32, units=units, rate=rate) < 1e-9
    assert batch_sizes_p_value([0, units] * 16, units=units, rate=rate) < 1e-9


def test_repeated_noise_correlates_and_independent_noise_does_not() -> None:
    random = np.random.default_rng(9)
    pairs = [correlation_p_value(random.normal(size=300), random.normal(size=300)) for _ in range(TRIALS)]
    assert acceptable(sum(p < 0.05 for p in pairs), 0.95)
    assert stats.kstest(pairs, "uniform").pvalue > 1e-6
    noise = random.normal(size=300)
    assert correlation_p_value(noise, noise) < 1e-100
    assert correlation_p_value(noise, -noise + random.normal(size=300)) < 1e-9
    assert correlation_p_value(np.zeros(5), np.zeros(5)) == 1.0
