"""DP-AdamBC and AdamW, written out for one number at a time: no tensors, no library."""

import math
from collections.abc import Sequence


def adamw(
    start: float,
    gradients: Sequence[float],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    noise_stds: Sequence[float],
    stability: float,
) -> float:
    """Where a number ends: Tang et al. 2024, Algorithm 1, with decoupled decay and noise that may change."""
    p = start
    for t in range(1, len(gradients) + 1):
        weights1 = [(1 - beta1) * beta1 ** (t - i) / (1 - beta1**t) for i in range(1, t + 1)]
        weights2 = [(1 - beta2) * beta2 ** (t - i) / (1 - beta2**t) for i in range(1, t + 1)]
        first = math.fsum(w * g for w, g in zip(weights1, gradients[:t], strict=True))
        second = math.fsum(w * g * g for w, g in zip(weights2, gradients[:t], strict=True))
        noise = math.fsum(w * s * s for w, s in zip(weights2, noise_stds[:t], strict=True))
        root = math.sqrt(max(second - noise, stability**2, 0.01 * noise))
        p = (1 - lr * weight_decay) * p - lr * first / root
    return p
