"""The slow, obvious twin of a private step's clipped sum: one unit, one example and one pass at a time."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from domains.language import Adapted, Encoded, collate

Sums = dict[str, Any]


def unit_gradient(adapted: Adapted, unit: Sequence[Encoded]) -> Sums:
    """Sum over a unit's examples of the gradient of each one's own loss, by plain autograd, float64."""
    names = [name for name, p in adapted.parameters.items() if p.requires_grad]
    total = {name: torch.zeros_like(adapted.parameters[name], dtype=torch.float64) for name in names}
    for example in unit:
        loss = adapted.sequence_losses(collate([example])).sum()
        for name, grad in zip(
            names, torch.autograd.grad(loss, [adapted.parameters[n] for n in names], allow_unused=True), strict=True
        ):
            if grad is not None:
                total[name] += grad.double()
    return total


def norm(grads: Sums) -> float:
    """L2 norm over all tensors."""
    return math.sqrt(sum(float((g**2).sum()) for g in grads.values()))


def clipped_sum(adapted: Adapted, units: Sequence[Sequence[Encoded]], clip_norm_l2: float) -> Sums:
    """Abadi et al. 2016, Algorithm 1, as it is written there."""
    names = [name for name, p in adapted.parameters.items() if p.requires_grad]
    total = {name: torch.zeros_like(adapted.parameters[name], dtype=torch.float64) for name in names}
    for unit in units:
        grads = unit_gradient(adapted, unit)
        length = norm(grads)
        if not math.isfinite(length):
            continue
        for name in names:
            total[name] += grads[name] / max(1.0, length / clip_norm_l2)
    return total
