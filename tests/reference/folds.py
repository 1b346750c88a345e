"""Slow, obvious twins of the folds: one institution at a time, every product B A multiplied out, in float64."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = Any
Factors = tuple[Array, Array]
"""B of shape (outputs, r) and A of shape (r, inputs): what one institution holds after a round."""


def product(factors: Factors) -> Array:
    """B A, number by number."""
    b, a = factors
    found = np.zeros((b.shape[0], a.shape[1]))
    for row in range(b.shape[0]):
        for column in range(a.shape[1]):
            found[row, column] = math.fsum(float(b[row, k]) * float(a[k, column]) for k in range(b.shape[1]))
    return found


def mean_of_products(own: Sequence[Factors], weights: Sequence[float]) -> Array:
    """sum(w_i B_i A_i) / sum(w_i)."""
    return sum(w * product(f) for w, f in zip(weights, own, strict=True)) / sum(weights)


def product_of_means(own: Sequence[Factors], weights: Sequence[float]) -> Array:
    """mean(B_i) mean(A_i), which is not the same."""
    total = sum(weights)
    b = sum(w * f[0].astype(np.float64) for w, f in zip(weights, own, strict=True)) / total
    a = sum(w * f[1].astype(np.float64) for w, f in zip(weights, own, strict=True)) / total
    return product((b, a))


def nearest(matrix: Array, rank: int) -> Array:
    """The nearest matrix of a rank: projected onto the leading eigenvectors of M M', without any SVD."""
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    leading = vectors[:, np.argsort(values)[::-1][:rank]]
    return leading @ leading.T @ matrix


def padded_mean(before: Factors, own: Sequence[Factors], decay: float) -> Factors:
    """HetLoRA slot by slot: with decay 1 the mean of the factors, each filled up with zeros to the full rank."""
    b, a = (np.array(f, dtype=np.float64) for f in before)
    new_b, new_a, n = np.zeros_like(b), np.zeros_like(a), len(own)
    for slot in range(b.shape[1]):
        holders = [f for f in own if f[0].shape[1] > slot]
        others = n - len(holders)
        # Whoever does not hold the slot is counted with 1 - decay of what stood there.
        new_b[:, slot] = (
            sum(f[0][:, slot].astype(np.float64) for f in holders) + others * (1 - decay) * b[:, slot]
        ) / n
        new_a[slot] = (sum(f[1][slot].astype(np.float64) for f in holders) + others * (1 - decay) * a[slot]) / n
    return new_b, new_a


def server_adaptive(
    name: str, start: float, changes: Sequence[float], *, rate: float, beta1: float, beta2: float, tau: float
) -> float:
    """One number under FedAdam or FedYogi, as in Algorithm 2 of Reddi et al. 2021, from the changes of all rounds."""
    x, m, v = start, 0.0, tau * tau
    for d in changes:
        m = beta1 * m + (1 - beta1) * d
        if name == "adam":
            v = beta2 * v + (1 - beta2) * d * d
        elif v > d * d:
            v = v - (1 - beta2) * d * d
        else:
            v = v + (1 - beta2) * d * d
        x = x + rate * m / (math.sqrt(v) + tau)
    return x
