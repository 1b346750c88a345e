"""Gradients of single examples, by Opacus' hooks on the tensors that train: proven before they are used.

The hooks of a layer rebuild each example's gradient from what entered and left the layer. That is exact
only if the layer's rule is right, the batch comes first, and an example's loss is its own, so it is proven
first (`_proof.py`). Slower than `_fused.py`, which it stands beside as a fallback and as an oracle in tests;
it covers a LayerNorm that trains, too. Nothing here knows units, clipping or noise.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from domains.language import Adapted, TokenBatch
from fedclient._proof import prove, trained_layers
from fedcore.errors import UnsupportedModel

__all__ = ["ExampleGradients"]

_EXACT = (nn.Linear, nn.LayerNorm)
"""Layers whose per-example rule in Opacus is exact; any other that trains is refused."""


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
                    prove(self, lambda: _off(hooked))
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


@contextmanager
def _off(hooked: Any) -> Iterator[None]:
    """The model without its hooks."""
    hooked.disable_hooks()
    try:
        yield
    finally:
        hooked.enable_hooks()


def _layers_that_train(adapted: Adapted, names: tuple[str, ...]) -> list[nn.Module]:
    """The layers that own the trained tensors, each checked to have an exact rule."""
    owners = trained_layers(adapted, names)
    for name, (_, layer) in owners.items():
        if type(layer) not in _EXACT:
            raise UnsupportedModel(
                f"{name} has no exact gradient for each example",
                expected="a tensor of " + " or ".join(kind.__name__ for kind in _EXACT),
                got=f"one of {type(layer).__name__}",
                do="choose other LoRA targets",
            )
    return list(dict.fromkeys(layer for _, layer in owners.values()))
