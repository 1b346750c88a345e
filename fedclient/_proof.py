"""Gradients of single examples: what is asked of whoever forms them, and the proof that they are exact.

A rule for the gradient of an example that is wrong, or a model that mixes the examples of a batch, would leak
silently. So before a way of forming them is used on a model, it is compared with plain autograd on single
made-up sequences, and a model that differs is refused. Nothing here knows units, clipping or noise.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn

from domains.language import Adapted, Encoded, TokenBatch, collate
from fedcore.errors import UnsupportedModel

__all__ = ["Gradients", "prove", "trained_layers"]

_TOLERANCE = {torch.float32: 1e-3}
_LOOSE = 5e-2
"""Agreement asked of the proof, relative to an example's whole gradient; the loose one for bfloat16 bases.

A wrong rule is off by about 1. Padding alone moved bfloat16 gradients of the tiny bases by less than 0.005,
and float32 ones by less than 0.00001."""


_SPREAD = 0.05
_RESIDUAL_SPREAD = 0.01
"""Standard deviations of the random values. A residual has several times the rank: as large as the rest, it drove a
base of 30 layers to where the rounding of float32 alone is above the tolerance. It need only be felt, which 0.01 is:
there it doubled the gradients."""


class Gradients(Protocol):
    """The gradient of each example of a batch, for the tensors of an adapter that train now.

    One object serves all rounds on a model. Within `active`, `parameters` are the tensors that train and `of`
    returns one float32 tensor for each, shape (examples, *parameter), which the caller may change in place.
    Outside it the model is as it was before.
    """

    @property
    def adapted(self) -> Adapted:
        """The model."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The tensors that train, in the order of `of`'s result; none outside `active`."""

    def active(self) -> AbstractContextManager[None]:
        """Make ready for exactly the tensors that require gradients now; leave no trace afterwards."""

    def of(self, batch: TokenBatch) -> list[Tensor]:
        """Gradients of each example's own loss."""


def trained_layers(adapted: Adapted, names: tuple[str, ...]) -> dict[str, tuple[str, nn.Module]]:
    """Name of each trained tensor -> path and layer that owns it; float32, and one layer's alone.

    Raises:
        UnsupportedModel: Nothing trains, or something that the adapter does not name, or it is shared.
    """
    if not names:
        raise UnsupportedModel("nothing of the adapter trains", expected="some of lora_A, lora_B, core, head")
    known = {id(adapted.parameters[name]): name for name in names}
    owners: dict[str, tuple[str, nn.Module]] = {}
    for path, layer in adapted.module.named_modules():
        for leaf, p in layer.named_parameters(recurse=False):
            if not p.requires_grad:
                continue
            if id(p) not in known:
                raise UnsupportedModel(f"{path}.{leaf} trains but is not part of the adapter")
            name = known[id(p)]
            if p.dtype != torch.float32 or name in owners:
                raise UnsupportedModel(f"{name} must be float32 and belong to one layer alone")
            owners[name] = (path, layer)
    if missing := [name for name in names if name not in owners]:
        raise UnsupportedModel(f"{missing[0]} belongs to no layer of the model")
    return owners


def prove(gradients: Gradients, plainly: Callable[[], AbstractContextManager[None]]) -> None:
    """Compare with plain autograd on made-up sequences of unequal length, one at a time.

    Every tensor of the adapter is given random values meanwhile: with B at zero, A's gradient would be
    zero and prove nothing. The sequences hold no record; the random values are public.

    Args:
        gradients: Within `active`.
        plainly: Within what it returns the model runs as if `gradients` were not there.
    Raises:
        UnsupportedModel: They differ.
    """
    adapted, parameters = gradients.adapted, gradients.parameters
    kept = {name: p.detach().clone() for name, p in adapted.parameters.items()}
    generator = torch.Generator().manual_seed(0)
    made_up = [
        Encoded(ids=tuple(range(1 + k, 1 + k + n)), labels=(-100, *range(2 + k, 1 + k + n)), label=k % 2)
        for k, n in enumerate((5, 4, 7))
    ]
    device = adapted.base.device
    tolerance = _TOLERANCE.get(next(p for p in adapted.module.parameters() if not p.requires_grad).dtype, _LOOSE)
    try:
        with torch.no_grad():
            for name, p in adapted.parameters.items():
                spread = _RESIDUAL_SPREAD if ".residual_" in name else _SPREAD
                p.copy_(torch.randn(p.shape, generator=generator) * spread)
        found = gradients.of(collate(made_up, device))
        with plainly(), torch.enable_grad():
            for row, example in enumerate(made_up):
                true = _alone(adapted, parameters, collate([example], device))
                scale = sum(float(g.square().sum()) for g in true) ** 0.5
                error = max(float((f[row] - g).norm()) for f, g in zip(found, true, strict=True))
                if not error <= tolerance * scale:  # Also when one of them is NaN.
                    raise UnsupportedModel(
                        f"the model {adapted.base.card.name} mixes the examples of a batch",
                        expected="gradients of single examples that equal those of a batch of one",
                        do="choose other LoRA targets or another base",
                    )
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                adapted.parameters[name].copy_(value)


def _alone(adapted: Adapted, parameters: list[nn.Parameter], batch: TokenBatch) -> list[Tensor]:
    """The gradient of one example's loss, by autograd and nothing else."""
    adapted.sequence_losses(batch).sum().backward()  # type: ignore[no-untyped-call]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    return grads
