"""Per-unit clipped sums: what bounds the influence of one unit on a step.

Gradients of examples are summed to one gradient a unit; each is scaled down to the clip norm; the sum is
all that leaves, with a count beside it under the adaptive rule. Nothing here knows the server, the round or
other institutions.

Rounding is part of the bound. A norm is taken in float32 over blocks of 64 numbers and in float64 over the
blocks: in whatever order a block is added up, its sum of squares errs by at most gamma(64) = 64 u / (1 - 64 u)
= 3.9e-6 of itself (u = 2**-24; Higham 2002, section 3.1), so the norm by less than 2.1e-6. A unit below 1e-10
or not finite is measured again in float64, where float32 would lose squares. Scaled units are added up in
float64: N of them err by at most N gamma(N + 2) clip norms (u = 2**-53), whatever the micro-batches, so two
neighbouring sums by less than 1e-6 for N up to 65,536, and more in one step are refused. Clipping to 1 - 2**-18
= 1 - 3.8e-6 of the clip norm covers both. A float32 sum would err by up to N**2 u, 0.001 at N = 128.

>>> import torch
>>> one, far = torch.tensor([[3.0, 0.0], [0.0, 0.5]]), torch.tensor([[4.0], [0.0]])
>>> bounded = clipped_sum([one, far], clip_norm_l2=1.0)
>>> [v.numpy().round(5).tolist() for v in bounded.value], bounded.l2_bound
([[0.6, 0.5], [0.8]], 1.0)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedcore.errors import InvalidPlan
from fedcore.privacy.bounds import Clipping

__all__ = ["LARGEST_BATCH_UNITS", "Bounded", "by_unit", "clipped_sum"]

LARGEST_BATCH_UNITS = 1 << 16
"""Units up to which the sum of a step keeps its bound after rounding."""

_MARGIN = 1.0 - 2.0**-18
_BLOCK = 64
_SMALL = 1e-10
_SPACE = {"cpu": 1 << 18}
"""Numbers that are widened to float64 at a time; on a CPU they stay in its cache. Elsewhere 2**24."""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Bounded:
    """A sum, one float64 tensor a parameter, and by how much one unit can move all of it, in L2 norm.

    Args:
        value: The sum.
        l2_bound: Of `value`.
        count: Of the adaptive rule: the units whose norm is at most the clip norm, less half of all units.
            One unit moves it by one half. Private until noised.
    """

    value: tuple[Tensor, ...]
    l2_bound: float
    count: float | None = None

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


def clipped_sum(
    grads: Sequence[Float[Tensor, " units *shape"]],
    clip_norm_l2: float,
    *,
    clipping: Clipping | None = None,
    into: Sequence[Tensor] | None = None,
) -> Bounded:
    """Clip each unit's gradient and sum them.

    Guarantee: adding or removing one unit moves `value`, taken as one vector over all parameters, by at
    most `l2_bound` in L2 norm, after rounding too; replacing one, by at most twice that. A unit whose
    gradient is not finite anywhere counts as zero in the sum, and as one above the clip norm in the count:
    like any other it adds one half or takes one half away, so the count's bound holds for it as well.

    Args:
        grads: One tensor a parameter; the first axis is the unit, the same in all. May have no units.
        clip_norm_l2: Largest norm kept, under the adaptive rule the current one. Must be > 0.
        clipping: The rule; "fixed" where none is given.
        into: Float64 tensors of an earlier sum, to which this one is added in place.
    Returns:
        `Bounded`: `value` has a tensor a parameter, without the first axis, float64; `into` where given.
    Raises:
        InvalidPlan: `clip_norm_l2` is not a number above 0.
    Reference: Abadi et al. 2016, Algorithm 1, arXiv:1607.00133; Bu et al. 2023, arXiv:2206.07136 (automatic);
        Andrew et al. 2021, arXiv:1905.03871 (adaptive).
    """
    if not (math.isfinite(clip_norm_l2) and clip_norm_l2 > 0):
        raise InvalidPlan("a clip norm is out of range", expected="a number above 0", got=repr(clip_norm_l2))
    clipping = clipping or Clipping()
    rows = [_rows(g) for g in grads]
    if into is None:
        into = [torch.zeros(g.shape[1:], dtype=torch.float64, device=g.device) for g in grads]
    norms = _norms(rows)
    finite = torch.isfinite(norms)
    if clipping.stability is not None:
        scales = clip_norm_l2 * _MARGIN / (norms + clipping.stability)
    else:
        scales = (clip_norm_l2 * _MARGIN / norms).clamp(max=1.0)  # A norm of 0 gives infinity, clamped to 1.
    count = float((norms <= clip_norm_l2).sum()) - len(norms) / 2 if clipping.releases_count else None
    if not bool(finite.all()):
        scales = scales[finite]
        rows = [r[finite.to(r.device)] for r in rows]
    _add(rows, scales, into)
    return Bounded(value=tuple(into), l2_bound=clip_norm_l2, count=count)


def _rows(grads: Tensor) -> Float[Tensor, "units numbers"]:
    """Each unit's numbers as one row, float32; float64 stays."""
    grads = grads.detach().reshape(len(grads), math.prod(grads.shape[1:]))
    return grads if grads.dtype == torch.float64 else grads.float()


def _norms(rows: Sequence[Float[Tensor, "units numbers"]]) -> Float[Tensor, " units"]:
    """The L2 norm of each unit over all tensors, float64; not finite where anything of the unit is not."""
    home = rows[0].device  # Layers may lie on several devices; norms meet on the first.
    blocks = [b.to(home) for r in rows for b in _block_norms(r)]
    norms: Tensor = torch.linalg.vector_norm(torch.cat(blocks, dim=1), dim=1, dtype=torch.float64)
    doubtful = ~((norms >= _SMALL) & torch.isfinite(norms))
    if bool(doubtful.any()):
        wide = [r[doubtful.to(r.device)] for r in rows]
        parts = [torch.linalg.vector_norm(w, dim=1, dtype=torch.float64).to(home) for w in wide]
        norms[doubtful] = torch.linalg.vector_norm(torch.stack(parts), dim=0)
    return norms


def _block_norms(rows: Float[Tensor, "units numbers"]) -> list[Float[Tensor, "units blocks"]]:
    """Norms of at most 64 numbers each, in the dtype of `rows`."""
    units, width = rows.shape
    blocks = width // _BLOCK
    whole = rows if width == blocks * _BLOCK else rows[:, : blocks * _BLOCK]
    found = [torch.linalg.vector_norm(whole.view(units, blocks, _BLOCK), dim=2)] if blocks else []
    if whole.shape[1] < width:
        found.append(torch.linalg.vector_norm(rows[:, blocks * _BLOCK :], dim=1, keepdim=True))
    return found


def _add(rows: Sequence[Tensor], scales: Float[Tensor, " units"], into: Sequence[Tensor]) -> None:
    """Add scales' rows to each sum, in float64, through one small space of work for each device.

    A float64 copy of all units would cost more in fresh memory than in arithmetic.
    """
    places: dict[torch.device, _Place] = {}
    for r, total in zip(rows, into, strict=True):
        units, width = r.shape
        if not units or not width:
            continue
        if (place := places.get(r.device)) is None:
            widest = max(other.shape[1] for other in rows if other.device == r.device)
            place = places[r.device] = _Place(scales.to(r.device), widest)
        flat, fit = total.view(-1), place.numbers // width
        for start in range(0, units, fit):
            wide, turned = place.space(min(fit, units - start), width)
            wide.copy_(r if fit >= units else r[start : start + fit])
            flat.addmv_(turned, place.scales if fit >= units else place.scales[start : start + fit])


class _Place:
    """Work on one device: scales, and space to widen rows in, with a view of it for each shape seen."""

    def __init__(self, scales: Tensor, width: int) -> None:
        self.scales = scales
        self.numbers = max(width, _SPACE.get(scales.device.type, 1 << 24))
        self._memory = torch.empty(min(self.numbers, len(scales) * width), dtype=torch.float64, device=scales.device)
        self._views: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def space(self, units: int, width: int) -> tuple[Tensor, Tensor]:
        """Space of a shape, and the same transposed."""
        if (units, width) not in self._views:
            wide = self._memory[: units * width].view(units, width)
            self._views[units, width] = (wide, wide.t())
        return self._views[units, width]
