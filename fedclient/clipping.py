"""Per-unit clipped sums: what bounds the influence of one unit on a step.

Gradients of examples are summed to one gradient a unit; each is scaled down to the clip norm; the sum is
all that leaves. Nothing here knows the server, the round or other institutions.

>>> import torch
>>> one, far = torch.tensor([[3.0, 0.0], [0.0, 0.5]]), torch.tensor([[4.0], [0.0]])
>>> bounded = clipped_sum([one, far], clip_norm_l2=1.0)
>>> [v.numpy().round(6).tolist() for v in bounded.value], bounded.l2_bound
([[0.6, 0.5], [0.8]], 1.0)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedcore.errors import InvalidPlan

__all__ = ["Bounded", "by_unit", "clipped_sum"]

_MARGIN = 1.0 - 1e-9
"""Keeps the bound true after rounding: float64 sums of a million units err by less than this."""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Bounded:
    """A sum, one float64 tensor a parameter, and by how much one unit can move all of it, in L2 norm."""

    value: tuple[Tensor, ...]
    l2_bound: float

    def __repr__(self) -> str:
        return "Bounded"


def by_unit(
    grads: Float[Tensor, " examples *shape"], owners: Int[Tensor, " examples"], units: int
) -> Float[Tensor, " units *shape"]:
    """Sum the gradients of each unit's examples, in float32.

    Args:
        grads: Gradient of each example.
        owners: Row of the unit that each example belongs to, in 0..units-1.
        units: How many rows the result has.
    """
    grads = grads.float()
    if len(grads) == units and torch.equal(owners, torch.arange(units)):
        return grads  # One example a unit: nothing to add up.
    total = grads.new_zeros((units, *grads.shape[1:]))
    return total.index_add_(0, owners.to(grads.device), grads)


def clipped_sum(grads: Sequence[Float[Tensor, " units *shape"]], clip_norm_l2: float) -> Bounded:
    """Clip each unit's gradient and sum them.

    Guarantee: adding or removing one unit moves `value`, taken as one vector over all parameters, by at
    most `l2_bound` in L2 norm. A unit whose gradient is not finite anywhere counts as zero. Norms, scales
    and sums are float64, so rounding does not pass the bound.

    Args:
        grads: One tensor a parameter; the first axis is the unit, the same in all. May have no units.
        clip_norm_l2: Largest norm kept. Must be > 0.
    Returns:
        `Bounded`: `value` has a tensor a parameter, without the first axis, float64.
    Raises:
        InvalidPlan: `clip_norm_l2` is not a number above 0.
    Reference: Abadi et al. 2016, Algorithm 1, arXiv:1607.00133.
    """
    if not (math.isfinite(clip_norm_l2) and clip_norm_l2 > 0):
        raise InvalidPlan("a clip norm is out of range", expected="a number above 0", got=repr(clip_norm_l2))
    rows = [g.detach().flatten(1) if g.dim() > 1 else g.detach()[:, None] for g in grads]
    home = rows[0].device  # Layers may lie on several devices; norms meet on the first.
    squares = [torch.linalg.vector_norm(r, dim=1, dtype=torch.float64).square().to(home) for r in rows]
    norms = torch.stack(squares).sum(dim=0).sqrt()
    finite = torch.isfinite(norms)
    scales = (clip_norm_l2 * _MARGIN / norms).clamp(max=1.0)  # A norm of 0 gives infinity, clamped to 1.
    if not bool(finite.all()):
        scales = scales[finite]
        rows = [r[finite.to(r.device)] for r in rows]
    value = tuple((scales.to(r.device) @ r.double()).view(g.shape[1:]) for r, g in zip(rows, grads, strict=True))
    return Bounded(value=value, l2_bound=clip_norm_l2)
