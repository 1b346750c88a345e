"""What integers and rounding cost: bounded, checked against direct computation, and small."""

import math

import numpy as np
import pytest

from fedcore.errors import InvalidPlan
from fedcore.privacy.accounting import DpEvent, epsilon
from fedcore.privacy.integer_accounting import (
    ROUNDING_FAILURE,
    SMOOTHING,
    SharedNoise,
    sensitivity_units,
    source_epsilon,
)


def make(**changes: float) -> SharedNoise:
    fields = {
        "noise_multiplier": 1.0,
        "honest_minimum": 4,
        "parameters": 10_000,
        "clip_norm_l2": 1.0,
        "resolution": 2.0**-16,
        **changes,
    }
    return SharedNoise.choose(**fields)  # type: ignore[arg-type]


def gaussian_masses(std: float, centre: float, largest: int) -> np.ndarray:
    weights = np.exp(-((np.arange(-largest, largest + 1) - centre) ** 2) / (2 * std**2))
    return weights / weights.sum()


def hockey_stick(p: np.ndarray, q: np.ndarray, eps: float) -> float:
    return float(np.maximum(p - math.exp(eps) * q, 0).sum())


def gaussian_delta(multiplier: float, eps: float) -> float:
    """Balle and Wang 2018, Theorem 8."""
    from scipy.stats import norm

    return float(
        norm.cdf(0.5 / multiplier - eps * multiplier) - math.exp(eps) * norm.cdf(-0.5 / multiplier - eps * multiplier)
    )


@pytest.mark.parametrize(("std", "shares"), [(4, 2), (5, 3), (8, 2)])
def test_a_sum_of_shares_is_a_discrete_gaussian_within_the_stated_factor(std: int, shares: int) -> None:
    largest = 30 * std
    one = gaussian_masses(std, 0, largest)
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)
    half = len(total) // 2
    exact = gaussian_masses(std * math.sqrt(shares), 0, half)
    inner = slice(half - 5 * std, half + 5 * std + 1)
    # The stated factor is far below what float64 can show: the two agree to its precision.
    assert np.abs(np.log(total[inner] / exact[inner])).max() < 1e-9


def test_poissons_factor_shows_where_it_can_be_seen() -> None:
    """At spreads below the least allowed, the gap is there and within 5 exp(-2 pi^2 s^2 k / (k + 1))."""
    for std in (0.6, 0.8, 1.0):
        one = gaussian_masses(std, 0, 40)
        total, exact = np.convolve(one, one), gaussian_masses(std * math.sqrt(2), 0, 80)
        gap = np.abs(np.log(total[76:85] / exact[76:85])).max()
        assert 0 < gap <= 5 * math.exp(-(math.pi**2) * std**2)


@pytest.mark.parametrize("centre", [0.0, 0.25, 0.5, 7.3])
def test_what_normalises_a_discrete_gaussian_hardly_knows_its_centre(centre: float) -> None:
    for std in (0.5, 0.7, 1.0):
        grid = np.arange(-60, 61)
        total = np.exp(-((grid - centre) ** 2) / (2 * std**2)).sum() / (math.sqrt(2 * math.pi) * std)
        assert abs(math.log(total)) <= 2.5 * math.exp(-2 * math.pi**2 * std**2) + 1e-12


@pytest.mark.parametrize(("std", "shift"), [(8.0, 4), (20.0, 20), (50.0, 13)])
@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_the_integer_mechanism_is_never_worse_than_the_continuous_one(std: float, shift: int, rate: float) -> None:
    """delta(epsilon) of the discrete Gaussian in one dimension, summed exactly, against the smoothed Gaussian's."""
    largest = int(40 * std)
    q, p = gaussian_masses(std, 0, largest), gaussian_masses(std, shift, largest)
    mixed = (1 - rate) * q + rate * p
    grid = np.linspace(-12, 12, 400_001)
    smooth = math.sqrt(std**2 - SMOOTHING**2) / shift
    for eps in (0.05, 0.2, 0.5, 1.0, 2.0):
        if rate == 1.0:
            assert hockey_stick(p, q, eps) <= gaussian_delta(smooth, eps) + 1e-12
            continue
        # The sampled Gaussian, by quadrature.
        width = grid[1] - grid[0]
        base = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi) * width
        moved = np.exp(-((grid - 1 / smooth) ** 2) / 2) / math.sqrt(2 * math.pi) * width
        mix = (1 - rate) * base + rate * moved
        assert hockey_stick(mixed, q, eps) <= hockey_stick(mix, base, eps) + 1e-6
        assert hockey_stick(q, mixed, eps) <= hockey_stick(base, mix, eps) + 1e-6


@pytest.mark.parametrize(("std", "moved"), [(8.0, 4), (20.0, 20), (50.0, 13)])
@pytest.mark.parametrize("rate", [1.0, 0.3, 0.05])
def test_the_integer_mechanism_is_never_worse_where_a_unit_is_replaced(std: float, moved: int, rate: float) -> None:
    """Two units that move the sum by `moved` steps in opposite directions, drawn by one coin of `rate`."""
    largest = int(40 * std)
    without, one, other = (gaussian_masses(std, centre, largest) for centre in (0, moved, -moved))
    p, q = (1 - rate) * without + rate * one, (1 - rate) * without + rate * other
    smooth = math.sqrt(std**2 - SMOOTHING**2) / moved
    grid, width = np.linspace(-12 - 1 / smooth, 12 + 1 / smooth, 400_001, retstep=True)

    def density(centre: float) -> np.ndarray:
        return np.asarray(np.exp(-((grid - centre) ** 2) / 2) / math.sqrt(2 * math.pi) * width)

    base = (1 - rate) * density(0.0)
    left, right = base + rate * density(1 / smooth), base + rate * density(-1 / smooth)
    for eps in (0.0, 0.05, 0.2, 0.5, 1.0, 2.0):
        assert hockey_stick(p, q, eps) <= hockey_stick(left, right, eps) + 1e-6
        assert hockey_stick(q, p, eps) <= hockey_stick(right, left, eps) + 1e-6
    if std >= 20:  # The two are near: what is accounted for is what is added, not a multiple of it.
        assert hockey_stick(p, q, 0.0) >= 0.9 * hockey_stick(left, right, 0.0)


def test_two_units_in_place_of_each_other_each_move_a_rounded_sum_no_further_than_stated() -> None:
    """Three sums are rounded by the same coins: without either unit, and with the one or the other."""
    random = np.random.default_rng(4)
    parameters, steps = 2000, 40.0
    bound = sensitivity_units(steps, 1.0, parameters)
    for _ in range(60):
        start, coins = random.uniform(-5, 5, parameters), random.uniform(size=parameters)
        units = [v * steps / np.linalg.norm(v) for v in random.normal(size=(2, parameters))]
        rounded = [np.floor(s) + (coins < s % 1) for s in (start, start + units[0], start + units[1])]
        assert max(np.linalg.norm(r - rounded[0]) for r in rounded[1:]) <= bound
        assert np.linalg.norm(rounded[1] - rounded[2]) <= 2 * bound


def test_a_sum_that_was_scaled_down_before_rounding_is_moved_no_further() -> None:
    """Projection on a ball brings no two vectors apart, so the stated distance holds with it as without."""
    random = np.random.default_rng(5)
    parameters, steps, largest = 2000, 40.0, 100.0
    bound = sensitivity_units(steps, 1.0, parameters)

    def rounded(vector: np.ndarray, coins: np.ndarray) -> np.ndarray:
        norm = np.linalg.norm(vector)
        scaled = vector * (largest / norm) if norm > largest else vector
        return np.asarray(np.floor(scaled) + (coins < scaled % 1))

    for trial in range(90):
        start, unit = random.normal(size=(2, parameters))
        start *= (0.9, 1.0, 5.0)[trial % 3] * largest / np.linalg.norm(start)
        unit *= steps / np.linalg.norm(unit)
        coins = random.uniform(size=parameters)
        assert np.linalg.norm(rounded(start + unit, coins) - rounded(start, coins)) <= bound


def test_rounding_moves_neighbours_no_further_than_stated() -> None:
    """The worst of many rounded neighbours, and of directions, stays below the bound; the bound is near."""
    random = np.random.default_rng(0)
    for parameters, steps in ((50, 3.0), (1000, 100.0), (20_000, 30.0)):
        bound = sensitivity_units(steps, 1.0, parameters)
        worst = 0.0
        for trial in range(60):
            start = random.uniform(-5, 5, parameters)
            direction = random.normal(size=parameters) if trial % 2 else np.ones(parameters)
            end = start + direction / np.linalg.norm(direction) * steps
            coins = random.uniform(size=parameters)
            moved = np.floor(end) + (coins < end % 1) - np.floor(start) - (coins < start % 1)
            worst = max(worst, float(np.linalg.norm(moved)))
        assert worst <= bound
        assert bound <= steps + math.sqrt(parameters) + 0.02
        assert bound < 1.6 * worst + 10


def test_the_bound_is_the_least_of_both_and_grows_with_everything() -> None:
    assert sensitivity_units(1.0, 2.0**-30, 100) == pytest.approx(2**30, rel=1e-6)
    assert sensitivity_units(1.0, 2.0**-8, 500_000) < 256 + math.sqrt(500_000)
    values = [sensitivity_units(1.0, 2.0**-10, d) for d in (1, 10, 1000, 10**6)]
    assert values == sorted(values)


@pytest.mark.parametrize("honest", [1, 2, 4, 15])
@pytest.mark.parametrize("resolution", [2.0**-10, 2.0**-16, 2.0**-20])
def test_any_honest_minimum_carries_the_whole_multiplier(honest: int, resolution: float) -> None:
    for multiplier in (0.5, 1.0, 6.0):
        noise = make(noise_multiplier=multiplier, honest_minimum=honest, resolution=resolution)
        assert noise.carried_noise_multiplier >= multiplier
        assert math.sqrt(honest) * noise.share_std_units * resolution >= multiplier
        with pytest.raises(InvalidPlan):
            SharedNoise(**{**noise.__dict__, "share_std_units": noise.share_std_units - 1})


def test_the_price_against_continuous_noise_is_small_where_the_ring_is_fine() -> None:
    assert make(resolution=2.0**-20, parameters=500_000).price < 1.001
    assert make(resolution=2.0**-16, parameters=500_000).price < 1.001
    assert make(resolution=2.0**-10, parameters=500_000).price < 1.08


def test_what_is_left_over_is_far_below_the_accountants_rounding() -> None:
    noise = make(parameters=10_000_000, honest_minimum=200)
    extra, failed = noise.slack(100_000)
    assert extra < 1e-12
    assert failed == 2 * 100_000 * ROUNDING_FAILURE < 1e-20


@pytest.mark.parametrize(("rate", "steps"), [(1.0, 1), (1.0, 20), (0.02, 500)])
def test_the_ledgers_event_and_the_sources_own_bound_agree(rate: float, steps: int) -> None:
    """The source's bound is never below the exact cost, and above it by what RDP is worse than PLD."""
    noise = make(noise_multiplier=2.0, resolution=2.0**-20)
    event = DpEvent(sampler="poisson", sampling_rate=rate, noise_multiplier=2.0, steps=steps)
    ledger, source = epsilon([event], 1e-5), source_epsilon(noise, sampling_rate=rate, steps=steps, delta=1e-5)
    assert 0.995 * ledger < source < 1.35 * ledger


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_multiplier": 0.0},
        {"noise_multiplier": math.inf},
        {"honest_minimum": 0},
        {"parameters": 0},
        {"clip_norm_l2": -1.0},
        {"resolution": 0.0},
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidPlan):
        make(**changes)
