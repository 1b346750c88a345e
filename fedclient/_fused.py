"""Gradients of single examples, formed where they arise: in the backward pass of the layers that train.

For a LoRA layer with input x and output gradient g, example i adds G_B = g_i' (s A x_i) to B and
G_A = (s g_i B)' x_i to A: two small products an example out of numbers that the backward pass holds anyway.
The gradient of the batch would take the same arithmetic, so an exact gradient for every example costs no second
pass. Each layer's `forward` is replaced for a while by an autograd function that forms and records them, and
gives autograd nothing to add up; where the base layer is plain, its product joins the same function. Cores and
residuals are in `_fused_forms.py`.

Checked before use against plain autograd through peft's own layers (`_proof.py`). Nothing here knows units,
clipping or noise.

    gradients = FusedGradients(adapted)
    with gradients.active():
        per_example = gradients.of(batch)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from domains.language import Adapted, LoraSite, TokenBatch
from fedclient._fused_forms import CoreBranch, residual_branch
from fedclient._proof import prove, trained_layers
from fedcore.errors import UnsupportedModel

__all__ = ["FusedGradients"]

Forward = Callable[..., Tensor]


@final
class FusedGradients:
    """The gradients of each example of a batch, for the tensors of an adapter that train now.

    Guarantee: `of` returns, for each example, the gradient of that example's own loss in float32, whatever
    the dtype of the base. A tensor that contributes several times to a pass has its contributions added up
    first. A trained tensor that a pass reaches in any other way than through the replaced layers, or does
    not reach, is refused at that pass. Layers are replaced within `active` alone, however it ends.

    Gradient checkpointing changes nothing, reentrant or not: recording takes place in backward passes alone,
    of which each layer's call has one.

    Args:
        adapted: The model. One object serves all rounds on it.
    """

    def __init__(self, adapted: Adapted) -> None:
        self.adapted = adapted
        self._names: tuple[str, ...] = ()
        self._proven: set[tuple[str, ...]] = set()
        self._found: dict[nn.Parameter, Tensor] = {}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The tensors that train, in the order of `of`'s result; none outside `active`."""
        return [self.adapted.parameters[name] for name in self._names]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Replace exactly the layers that own what requires gradients now; put everything back afterwards.

        Raises:
            UnsupportedModel: Nothing trains, or something trains without an exact rule here.
        """
        names = tuple(name for name, p in self.adapted.parameters.items() if p.requires_grad)
        forwards = self._forwards(names)
        self._names = names
        try:
            with _replaced(forwards):
                if names not in self._proven:
                    prove(self, lambda: _replaced([(layer, _own(layer)) for layer, _ in forwards]))
                    self._proven.add(names)
                yield
        finally:
            self._found.clear()
            for p in self.parameters:
                p.grad = None
            self._names = ()

    def of(self, batch: TokenBatch) -> list[Tensor]:
        """Gradients of each example's loss, one tensor a parameter, shape (examples, *parameter).

        Raises:
            UnsupportedModel: A tensor was reached past its layer or not at all, or its layer saw something
                else than one row an example.
        """
        examples = len(batch.input_ids)
        self._found.clear()
        try:
            with torch.enable_grad():
                self.adapted.sequence_losses(batch).sum().backward()  # type: ignore[no-untyped-call]
            return [self._take(name, examples) for name in self._names]
        finally:
            self._found.clear()

    def _take(self, name: str, examples: int) -> Tensor:
        """Hand over what a pass recorded of a tensor."""
        p = self.adapted.parameters[name]
        grad = self._found.pop(p, None)
        stray, p.grad = p.grad, None
        if grad is None or len(grad) != examples or stray is not None:
            raise UnsupportedModel(
                f"{name} has no gradient for each example",
                expected="a layer that is called with one row an example, and no other use of its weight",
                do="choose other LoRA targets",
            )
        return grad

    def _record(self, p: nn.Parameter, grads: Tensor) -> None:
        """Keep one call's gradients; a layer that is called again adds to them before anyone takes a norm."""
        before = self._found.get(p)
        self._found[p] = grads.float() if before is None else before.add_(grads)

    def _forwards(self, names: tuple[str, ...]) -> list[tuple[nn.Module, Forward]]:
        """Layers to replace and what by; everything that trains is covered once."""
        owners = trained_layers(self.adapted, names)
        forwards: list[tuple[nn.Module, Forward]] = []
        covered: set[nn.Module] = set()
        owning = {layer for _, layer in owners.values()}
        for site in self.adapted.sites.values():
            # Where there is a core, its factors are frozen, and no rule here covers one that is not.
            trainable = {site.a, site.b} if site.core is None else {site.core}
            if owning & trainable:
                forwards.append((site.layer, _lora_forward(site, self._record)))
                covered |= trainable
        for name, (_, layer) in owners.items():
            if layer in covered:
                continue
            if type(layer) is not nn.Linear:
                raise UnsupportedModel(
                    f"{name} has no fused gradient for each example",
                    expected="a tensor of a LoRA layer or of a Linear",
                    got=f"one of {type(layer).__name__}",
                    do='set gradients = "hooks" under [base], which may cover it',
                )
            forwards.append((layer, _linear_forward(layer, self._record)))
            covered.add(layer)
        for layer, _ in forwards:
            if "forward" in vars(layer):
                raise UnsupportedModel(
                    f"the forward of a {type(layer).__name__} is already replaced",
                    do='set gradients = "hooks" under [base], or use the model in one place at a time',
                )
        return forwards


Record = Callable[[nn.Parameter, Tensor], None]


@contextmanager
def _replaced(forwards: list[tuple[Any, Forward]]) -> Iterator[None]:
    """Give layers another forward for a while."""
    before = [(layer, vars(layer).get("forward")) for layer, _ in forwards]
    try:
        for layer, forward in forwards:
            layer.forward = forward
        yield
    finally:
        for layer, forward in before:
            if forward is not None:
                layer.forward = forward
            else:
                vars(layer).pop("forward", None)


def _own(layer: Any) -> Forward:
    """The forward of a layer's class."""
    forward: Forward = type(layer).forward.__get__(layer)
    return forward


def _lora_forward(site: LoraSite, record: Record) -> Forward:
    """What stands in for the forward of peft's layer; the same function of x, up to rounding."""
    plain = _own(site.layer)
    a, b = site.a.weight, site.b.weight
    core = site.core
    whole = core is None and site.weight is not None and site.weight.dtype == a.dtype

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if site.bypassed or args or kwargs:
            return plain(x, *args, **kwargs)  # `of` refuses the pass if a trained tensor is used in it.
        second = None if site.residual is None else residual_branch(site.residual, x)
        out: Tensor
        if whole and x.dtype == a.dtype:
            out = _Whole.apply(x, a, b, site, record)  # type: ignore[no-untyped-call]
            return out if second is None else out + second
        result = site.base(x)
        dtype = result.dtype
        if second is not None and not site.rounds_first:
            result = result + second  # Rounded once, with the first branch in it.
        if core is not None:
            out = CoreBranch.apply(x, result, core.weight, site, record)  # type: ignore[no-untyped-call]
        else:
            out = _Branch.apply(x, result, a, b, site, record)  # type: ignore[no-untyped-call]
        return out + second.to(dtype) if second is not None and site.rounds_first else out.to(dtype)

    return forward


def _linear_forward(layer: nn.Linear, record: Record) -> Forward:
    """What stands in for the forward of a trained Linear."""

    def forward(x: Tensor) -> Tensor:
        return _Linear.apply(x, layer.weight, layer.bias, record)  # type: ignore[no-any-return, no-untyped-call]

    return forward


def _rows(x: Tensor) -> Tensor:
    """All axes but the last as one."""
    return x.reshape(-1, x.shape[-1])


def _products(left: Tensor, right: Tensor, examples: int) -> Tensor:
    """left' right for each example, of rows that belong to it: shape (examples, left columns, right columns)."""
    split = (examples, len(left) // examples)
    return torch.bmm(left.view(*split, -1).transpose(1, 2), right.view(*split, -1))


class _Whole(torch.autograd.Function):
    """x -> x W' + bias + (x sA') B' with W frozen. Keeps x and x sA' alone, and x only if A trains.

    Parameters are held by reference: under checkpointing what is saved comes back as copies, which would not
    be the tensors that `record` knows. What is recorded reaches no one but `record`: A and B get no `grad`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: nn.Parameter, b: nn.Parameter, site: LoraSite, record: Record) -> Tensor:
        weight: Any = site.weight
        rows = _rows(x)
        low = rows @ (a * site.scale).t()
        out = x.new_empty(*x.shape[:-1], len(weight))
        flat = out.view(-1, len(weight))
        if site.bias is None:
            torch.mm(rows, weight.t(), out=flat)
        else:
            torch.addmm(site.bias, rows, weight.t(), out=flat)
        flat.addmm_(low, b.t())
        ctx.save_for_backward(x if a.requires_grad else None, low if b.requires_grad else None)
        ctx.held = (a, b, site, record, x.shape)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        a, b, site, record, shape = ctx.held
        x, low = ctx.saved_tensors
        rows = _rows(g)
        if low is not None:
            record(b, _products(rows, low, shape[0]))
        if x is None and not ctx.needs_input_grad[0]:
            return (None,) * 5
        back = rows @ (b * site.scale)
        if x is not None:
            record(a, _products(back, _rows(x), shape[0]))
        if not ctx.needs_input_grad[0]:
            return (None,) * 5
        dx = g.new_empty(shape)
        flat = dx.view(-1, shape[-1])
        torch.mm(rows, site.weight, out=flat)
        flat.addmm_(back, a)
        return dx, None, None, None, None


class _Branch(torch.autograd.Function):
    """x, base(x) -> base(x) + (x sA') B' in peft's dtypes: the branch in A's, the result in the base's.

    The base's result is left as it is, so a view that a quantised base returns needs no copy of its own.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, result: Tensor, a: nn.Parameter, b: nn.Parameter, site: LoraSite, record: Record
    ) -> Tensor:
        low = _rows(x).to(a.dtype) @ (a * site.scale).t()
        branch = (low @ b.t()).view(result.shape)
        ctx.save_for_backward(x if a.requires_grad else None, low if b.requires_grad else None)
        ctx.held = (a, b, site, record, x.shape, x.dtype)
        return result + branch.to(result.dtype) if site.rounds_first else branch.add_(result).to(result.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        a, b, site, record, shape, dtype = ctx.held
        x, low = ctx.saved_tensors
        rows = _rows(g).to(a.dtype)
        if low is not None:
            record(b, _products(rows, low, shape[0]))
        dx = None
        if x is not None or ctx.needs_input_grad[0]:
            back = rows @ (b * site.scale)
            if x is not None:
                record(a, _products(back, _rows(x).to(a.dtype), shape[0]))
            if ctx.needs_input_grad[0]:
                dx = (back @ a).to(dtype).view(shape)
        return dx, g if ctx.needs_input_grad[1] else None, None, None, None, None


class _Linear(torch.autograd.Function):
    """x -> x W' + bias, where W, the bias or both train: the head of a classifier."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: nn.Parameter, bias: nn.Parameter | None, record: Record) -> Tensor:
        ctx.save_for_backward(x if weight.requires_grad else None)
        ctx.held = (weight, bias, record, x.shape)
        return nn.functional.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias, record, shape = ctx.held
        (x,) = ctx.saved_tensors
        rows = _rows(g)
        if x is not None:
            record(weight, _products(rows, _rows(x), shape[0]))
        if bias is not None and bias.requires_grad:
            record(bias, rows.view(shape[0], -1, len(bias)).sum(dim=1))
        dx = (rows @ weight).view(shape) if ctx.needs_input_grad[0] else None
        return dx, None, None, None
