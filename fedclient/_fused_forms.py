"""Gradients of single examples for the cores of an adapter, and what a residual adds beside them: see `_fused.py`.

A layer with a core adds s B C A x, of which C alone trains: with output gradient g, example i adds
G_C = (g_i B)' (s A x_i) to it, a product of two matrices that are as narrow as the rank. A residual is frozen, so
autograd adds it as it stands. Nothing here knows units, clipping or noise.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from domains.language import LoraSite, ResidualPair

__all__ = ["CoreBranch", "residual_branch"]


def residual_branch(pair: ResidualPair, x: Tensor) -> Tensor:
    """What a residual adds to a layer's result, in its own dtype, formed as peft forms it."""
    branch: Tensor = pair.b(pair.a(x.to(pair.a.weight.dtype))) * pair.scale
    return branch


class CoreBranch(torch.autograd.Function):
    """x, base(x) -> base(x) + ((x sA') C') B' in peft's dtypes, with A and B frozen. Keeps x sA' alone.

    As in `_fused.py` the core is held by reference, since checkpointing would bring a copy back, and what is
    recorded reaches no one but `record`: the core gets no `grad`.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, result: Tensor, core: nn.Parameter, site: LoraSite, record: Callable[..., None]
    ) -> Tensor:
        a, b = site.a.weight, site.b.weight
        low = x.reshape(-1, x.shape[-1]).to(a.dtype) @ (a * site.scale).t()
        branch = (low @ core.t() @ b.t()).view(result.shape)
        ctx.save_for_backward(low)
        ctx.held = (core, site, record, x.shape, x.dtype)
        return result + branch.to(result.dtype) if site.rounds_first else branch.add_(result).to(result.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        core, site, record, shape, dtype = ctx.held
        (low,) = ctx.saved_tensors
        a, b = site.a.weight, site.b.weight
        high = g.reshape(-1, g.shape[-1]).to(a.dtype) @ b
        split = (shape[0], -1, len(core))
        record(core, torch.bmm(high.view(split).transpose(1, 2), low.view(split)))
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (high @ core @ (a * site.scale)).to(dtype).view(shape)
        return dx, g if ctx.needs_input_grad[1] else None, None, None, None
