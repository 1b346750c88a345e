"""Slow, obvious twins of accounting: closed forms and plain integrals, no library of privacy."""

import math

import numpy as np
from scipy import optimize, stats


def gaussian_epsilon(noise_multiplier: float, steps: int, delta: float) -> float:
    """Exact epsilon of `steps` Gaussian releases without sampling: one of noise / sqrt(steps).

    Reference: Balle and Wang 2018, arXiv:1805.06530, theorem 8.
    """
    sigma = noise_multiplier / math.sqrt(steps)

    def excess(epsilon: float) -> float:
        a, b = 1 / (2 * sigma), epsilon * sigma
        return float(stats.norm.cdf(a - b) - math.exp(epsilon) * stats.norm.cdf(-a - b)) - delta

    return float(optimize.brentq(excess, 0.0, 200.0)) if excess(0.0) > 0 else 0.0


def poisson_step_epsilon(noise_multiplier: float, sampling_rate: float, delta: float) -> float:
    """Epsilon of one Poisson-sampled Gaussian step, by integrating the hockey stick both ways on a grid."""
    x = np.linspace(-12 * noise_multiplier, 1 + 12 * noise_multiplier, 400_001)
    width = x[1] - x[0]
    out = stats.norm.pdf(x, 0.0, noise_multiplier)
    mixed = (1 - sampling_rate) * out + sampling_rate * stats.norm.pdf(x, 1.0, noise_multiplier)

    def epsilon(p: np.ndarray, q: np.ndarray) -> float:
        def excess(e: float) -> float:
            return float(np.maximum(p - math.exp(e) * q, 0).sum() * width) - delta

        return float(optimize.brentq(excess, 0.0, 100.0)) if excess(0.0) > 0 else 0.0

    return max(epsilon(mixed, out), epsilon(out, mixed))
