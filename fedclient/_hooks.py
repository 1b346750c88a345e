"""Gradients of single examples, by Opacus' hooks on the tensors that train: proven before they are used.

The hooks of a layer rebuild each example's gradient from what entered and left the layer. That is exact
only if the layer's rule is right, the batch comes first, and an example's loss is its own; a model that
breaks this would leak silently. So before hooks are used, they are compared with plain autograd on single
made-up sequences, and a model that differs is refused. Nothing here knows units, clipping or noise.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from domains.language import Adapted, Encoded, TokenBatch, collate
from fedcore.errors import UnsupportedModel

__all__ = ["ExampleGradients"]

_EXACT = (nn.Linear, nn.LayerNorm)
"""Layers whose per-example rule in Opacus is exact; any other that trains is refused."""

_TOLERANCE = {torch.float32: 1e-3}
_LOOSE = 5e-2
"""Agreement asked of the proof, relative to an example's whole gradient; the loose one for bfloat16 bases.

A wrong rule is off by about 1. Padding alone moved bfloat16 gradients of the tiny bases by less than 0.005,
and float32 ones by less than 0.00001."""


@final
class ExampleGradients:
    """The gradients of each example of a batch, for the tensors of an adapter that train now.

    Guarantee: `of` returns, for each example, the gradient of that example's own loss. Hooks are on the
    model within `active` alone, whatever the last round trained and however it ended; so nothing lingers
    where a text is written or a loss is measured, and several trainers may share a base in turn. Putting
    hooks on takes milliseconds; what takes longer, the proof, is remembered for each set of tensors.

    Args:
        adapted: The model. One object serves all rounds on it.
    """

    def __init__(self, adapted: Adapted) -> None:
        self.adapted = adapted
        self._names: tuple[str, ...] = ()
        self._proven: set[tuple[str, ...]] = set()

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The tensors that train, in the order of `of`'s result; none outside `active`."""
        return [self.adapted.parameters[name] for name in self._names]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Hook exactly the tensors that require gradients now; afterwards leave no trace of hook or gradient.

        Only the hooked layers are put in training mode, which Opacus asks for: dropout and whatever else
        depends on the mode stays as in evaluation, so an example's loss is the same wherever it stands.

        Raises:
            UnsupportedModel: Nothing trains, or something trains without an exact per-example rule.
        """
        names = tuple(name for name, p in self.adapted.parameters.items() if p.requires_grad)
        layers = _layers_that_train(self.adapted, names)
        modes = [layer.training for layer in layers]
        hooked = GradSampleModule(self.adapted.module, batch_first=True, loss_reduction="sum", strict=True)
        self._names = names
        try:
            for layer in layers:
                layer.training = True
            with _quiet():
                if names not in self._proven:
                    _prove(self, hooked)
                    self._proven.add(names)
                yield
        finally:
            hooked.cleanup()
            for layer, mode in zip(layers, modes, strict=True):
                layer.training = mode
                _forget(layer, "activations", "max_batch_len")
            for p in self.parameters:
                p.grad = None
                _forget(p, "grad_sample", "summed_grad", "_forward_counter", "_current_grad_sample")
            self._names = ()

    def of(self, batch: TokenBatch) -> list[Tensor]:
        """Gradients of each example's loss, one tensor a parameter, shape (examples, *parameter).

        Raises:
            UnsupportedModel: A layer saw something else than one row an example.
        """
        examples = len(batch.input_ids)
        with torch.enable_grad():
            self.adapted.sequence_losses(batch).sum().backward()  # type: ignore[no-untyped-call]
        grads = []
        for name, p in zip(self._names, self.parameters, strict=True):
            grad = getattr(p, "grad_sample", None)
            if not isinstance(grad, Tensor) or len(grad) != examples:
                raise UnsupportedModel(
                    f"{name} has no gradient for each example",
                    expected="a layer that is called once with one row an example",
                    do="choose other LoRA targets",
                )
            grads.append(grad)
            p.grad = None  # The batch's own gradient is not clipped: it must not reach an optimiser.
            p.grad_sample = None  # type: ignore[attr-defined]
        return grads


def _forget(holder: Any, *names: str) -> None:
    """Delete attributes that Opacus may have left, also in an interrupted pass."""
    for name in names:
        if hasattr(holder, name):
            delattr(holder, name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remark that the first layer's input needs no gradient: what leaves it is all we use."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
        yield


def _layers_that_train(adapted: Adapted, names: tuple[str, ...]) -> list[nn.Module]:
    """The layers that own the trained tensors, each checked to have an exact rule."""
    if not names:
        raise UnsupportedModel("nothing of the adapter trains", expected="some of lora_A, lora_B, head")
    known = {id(adapted.parameters[name]): name for name in names}
    owners: dict[int, nn.Module] = {}
    for path, layer in adapted.module.named_modules():
        for leaf, p in layer.named_parameters(recurse=False):
            if not p.requires_grad:
                continue
            if id(p) not in known:
                raise UnsupportedModel(f"{path}.{leaf} trains but is not part of the adapter")
            if type(layer) not in _EXACT:
                raise UnsupportedModel(
                    f"{known[id(p)]} has no exact gradient for each example",
                    expected="a tensor of " + " or ".join(kind.__name__ for kind in _EXACT),
                    got=f"one of {type(layer).__name__}",
                    do="choose other LoRA targets",
                )
            if p.dtype != torch.float32 or id(p) in owners:
                raise UnsupportedModel(f"{known[id(p)]} must be float32 and belong to one layer alone")
            owners[id(p)] = layer
    if missing := [name for key, name in known.items() if key not in owners]:
        raise UnsupportedModel(f"{missing[0]} belongs to no layer of the model")
    return list(dict.fromkeys(owners.values()))


def _prove(gradients: ExampleGradients, hooked: Any) -> None:
    """Compare the hooks with plain autograd on made-up sequences of unequal length, one at a time.

    Every tensor of the adapter is given random values meanwhile: with B at zero, A's gradient would be
    zero and prove nothing. The sequences hold no record; the random values are public.
    """
    adapted, parameters = gradients.adapted, gradients.parameters
    kept = {name: p.detach().clone() for name, p in adapted.parameters.items()}
    generator = torch.Generator().manual_seed(0)
    made_up = [
        Encoded(ids=tuple(range(1 + k, 1 + k + n)), labels=(-100, *range(2 + k, 1 + k + n)), label=k % 2)
        for k, n in enumerate((5, 4, 7))
    ]
    device = adapted.base.device
    try:
        with torch.no_grad():
            for p in adapted.parameters.values():
                p.copy_(torch.randn(p.shape, generator=generator) * 0.05)
        found = gradients.of(collate(made_up, device))
        hooked.disable_hooks()
        tolerance = _TOLERANCE.get(next(p for p in adapted.module.parameters() if not p.requires_grad).dtype, _LOOSE)
        for row, example in enumerate(made_up):
            loss = adapted.sequence_losses(collate([example], device)).sum()
            alone = torch.autograd.grad(loss, parameters, allow_unused=True)
            true = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, alone, strict=True)]
            scale = sum(float(g.square().sum()) for g in true) ** 0.5
            error = max(float((f[row] - g).norm()) for f, g in zip(found, true, strict=True))
            if not error <= tolerance * scale:  # Also when one of them is NaN.
                raise UnsupportedModel(
                    f"the model {adapted.base.card.name} mixes the examples of a batch",
                    expected="gradients of single examples that equal those of a batch of one",
                    do="choose other LoRA targets or another base",
                )
    finally:
        hooked.enable_hooks()
        with torch.no_grad():
            for name, value in kept.items():
                adapted.parameters[name].copy_(value)
