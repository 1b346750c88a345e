"""Slow, obvious twins of accounting: closed forms, plain integrals and Monte Carlo, no library of privacy."""

import math

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Array = npt.NDArray[np.float64]


def gaussian_epsilon(noise_multiplier: float, steps: int, delta: float) -> float:
    """Exact epsilon of `steps` Gaussian releases without sampling: one of noise / sqrt(steps).

    Reference: Balle and Wang 2018, arXiv:1805.06530, theorem 8.
    """
    sigma = noise_multiplier / math.sqrt(steps)

    def excess(epsilon: float) -> float:
        a, b = 1 / (2 * sigma), epsilon * sigma
        return float(stats.norm.cdf(a - b) - math.exp(epsilon) * stats.norm.cdf(-a - b)) - delta

    return float(optimize.brentq(excess, 0.0, 200.0)) if excess(0.0) > 0 else 0.0


def densities(
    x: Array, noise_multiplier: float, sampling_rate: float, relation: str = "add_or_remove_one"
) -> tuple[Array, Array]:
    """Densities at x of one sampled step's output with a unit that adds 1, and without it or with one that adds -1."""

    def mixture(shift: float) -> Array:
        out = (1 - sampling_rate) * stats.norm.pdf(x, 0.0, noise_multiplier)
        return np.asarray(out + sampling_rate * stats.norm.pdf(x, shift, noise_multiplier))

    return mixture(1.0), mixture(-1.0 if relation == "replace_one" else 0.0)


def step_epsilon(
    noise_multiplier: float, sampling_rate: float, delta: float, relation: str = "add_or_remove_one"
) -> float:
    """Epsilon of one Poisson-sampled Gaussian step, by integrating the hockey stick both ways on a grid."""
    x = np.linspace(-1 - 12 * noise_multiplier, 1 + 12 * noise_multiplier, 400_001)
    return epsilon_of(*densities(x, noise_multiplier, sampling_rate, relation), float(x[1] - x[0]), delta)


def epsilon_of(p: Array, q: Array, cell: float, delta: float) -> float:
    """Epsilon at delta between two densities on a grid of cells of that size, the worse direction."""

    def one_way(a: Array, b: Array) -> float:
        def excess(e: float) -> float:
            return float(np.maximum(a - math.exp(e) * b, 0).sum() * cell) - delta

        return float(optimize.brentq(excess, 0.0, 100.0)) if excess(0.0) > 0 else 0.0

    return max(one_way(p, q), one_way(q, p))


def plane_delta(
    u: tuple[float, float], v: tuple[float, float], noise_multiplier: float, sampling_rate: float, epsilon: float
) -> float:
    """Delta at epsilon of one sampled step whose unit adds the vector u, against v, by integrating over the plane."""
    reach = 1 + 8 * noise_multiplier
    side = np.linspace(-reach, reach, 601)
    x, y = np.meshgrid(side, side, sparse=True)

    def mixture(shift: tuple[float, float]) -> Array:
        def bell(a: float, b: float) -> Array:
            return np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * noise_multiplier**2))

        return np.asarray((1 - sampling_rate) * bell(0, 0) + sampling_rate * bell(*shift))

    excess = np.maximum(mixture(u) - math.exp(epsilon) * mixture(v), 0).sum()
    return float(excess * (side[1] - side[0]) ** 2 / (2 * math.pi * noise_multiplier**2))


def joint_step_epsilon(
    noise_multiplier: float, count_noise_multiplier: float, sampling_rate: float, delta: float
) -> float:
    """Epsilon of a sampled step that releases a sum and a count, by integrating over the plane.

    One unit moves the sum by 1 under noise of `noise_multiplier` and the centred count by a half under noise of
    `count_noise_multiplier` / 2.
    """
    sums = np.linspace(-9 * noise_multiplier, 1 + 9 * noise_multiplier, 1601)[:, None]
    std = count_noise_multiplier / 2
    counts = np.linspace(-9 * std, 0.5 + 9 * std, 1601)[None, :]
    without = stats.norm.pdf(sums, 0, noise_multiplier) * stats.norm.pdf(counts, 0, std)
    present = stats.norm.pdf(sums, 1, noise_multiplier) * stats.norm.pdf(counts, 0.5, std)
    cell = float((sums[1, 0] - sums[0, 0]) * (counts[0, 1] - counts[0, 0]))
    return epsilon_of((1 - sampling_rate) * without + sampling_rate * present, without, cell, delta)


def truncated_step_epsilon(
    units: int, batch_limit: int, noise_multiplier: float, sampling_rate: float, delta: float
) -> float:
    """Epsilon of one truncated step for one hard data set, by its definition.

    One unit adds 1, each of the `units` - 1 others takes 1 away, and batches of more than `batch_limit` are cut
    at random; the neighbour lacks the one unit. Outputs are mixtures over who was drawn and kept.
    """
    others = np.arange(units)
    chances = stats.binom.pmf(others, units - 1, sampling_rate)
    x = np.linspace(-batch_limit - 10 * noise_multiplier, 2 + 10 * noise_multiplier, 40_001)

    def bell(shift: float) -> Array:
        return np.asarray(stats.norm.pdf(x, shift, noise_multiplier))

    with_it, without = np.zeros_like(x), np.zeros_like(x)
    for k, chance in zip(others.tolist(), chances.tolist(), strict=True):
        kept = min(k, batch_limit)
        enters = sampling_rate * min(1.0, batch_limit / (k + 1))
        without += chance * bell(-kept)
        with_it += chance * ((1 - enters) * bell(-kept) + enters * bell(1 - min(k, batch_limit - 1)))
    return epsilon_of(with_it, without, float(x[1] - x[0]), delta)


def composed_delta(
    parts: list[tuple[float, float, int]], epsilon: float, relation: str, draws: int, seed: int
) -> tuple[float, float]:
    """Delta at epsilon of several sampled steps, (noise, rate, steps) each, by Monte Carlo: estimate and its error.

    Delta is the mean over outputs with the unit of (1 - exp(epsilon - loss))+, where losses of steps add up.
    """
    rng = np.random.default_rng(seed)
    loss = np.zeros(draws)
    for noise, rate, steps in parts:
        for _ in range(steps):
            x = (rng.random(draws) < rate) + noise * rng.standard_normal(draws)
            p, q = densities(x, noise, rate, relation)
            loss += np.log(p) - np.log(q)
    value = np.maximum(0.0, -np.expm1(epsilon - loss))
    return float(value.mean()), float(value.std() / math.sqrt(draws))
