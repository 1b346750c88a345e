"""Where LoRA sits in a model: the layers whose arithmetic may be replaced by an equal one. Part of
`domains.language`, which offers these names.

A layer of peft is offered only if its `forward` is the plain formula, base(x) + scale * B(A(x)), known by the
class's name: an upgrade of peft that renames or changes what it attaches is refused here, not trained wrongly.
Of the other forms of adapter, a core stands between A and B (`domains._forms`), and a residual is a second adapter
of the layer, frozen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from domains._forms import core_of
from fedcore.errors import UnsupportedModel

__all__ = ["LoraSite", "ResidualPair", "lora_site"]

_JOINS: Mapping[str, bool] = MappingProxyType(
    {
        "peft.tuners.lora.layer.Linear": False,
        "peft.tuners.lora.bnb.Linear4bit": True,
        "peft.tuners.lora.bnb.Linear8bitLt": True,
    }
)
"""peft's classes with the plain formula -> whether the branch is rounded to the base's dtype before it is added."""

_TRANSPOSED = "transformers.pytorch_utils.Conv1D"
_PLAIN = ("torch.nn.modules.linear.Linear", _TRANSPOSED)
"""Base layers that compute x @ weight + bias and nothing else."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualPair:
    """A frozen second pair of factors: what a layer adds beside the first, scale * B(A(x)).

    Args:
        a: The linear from inputs to the residual's rank, without bias.
        b: The linear from there to outputs, without bias.
        scale: Its own alpha / rank.
    """

    a: nn.Linear
    b: nn.Linear
    scale: float


@dataclass(frozen=True, kw_only=True, eq=False)
class LoraSite:
    """One attached LoRA: base(x) + scale * B(A(x)), or base(x) + scale * B(core(A(x))), and a residual's branch.

    Args:
        path: Of the layer in the base model, as a schema names it.
        layer: peft's layer, whose `forward` may be replaced for a while.
        base: What it wraps; called as it is where `weight` is None.
        a: The linear from inputs to rank, without bias.
        b: The linear from rank to outputs, without bias.
        scale: alpha / rank.
        rounds_first: The branch takes the base's dtype before it is added, not after.
        weight: The base's frozen weight as (outputs, inputs), where calling `base` means no more than this.
        bias: The base's frozen bias, if it has one and `weight` is given.
        core: The linear from rank to rank, without bias, where there is one.
        residual: The second pair, where there is one.
    """

    path: str
    layer: Any
    base: nn.Module
    a: nn.Linear
    b: nn.Linear
    scale: float
    rounds_first: bool
    weight: Tensor | None
    bias: Tensor | None
    core: nn.Linear | None = None
    residual: ResidualPair | None = None

    @property
    def bypassed(self) -> bool:
        """The layer computes something else just now: adapters are switched off or merged."""
        return bool(self.layer.disable_adapters or self.layer.merged)


def lora_site(path: str, layer: Any, adapter: str, residual: str | None = None) -> LoraSite:
    """Describe what peft attached at a path.

    Args:
        path: Where.
        layer: What lies there.
        adapter: peft's name of the adapter.
        residual: peft's name of the adapter that holds the residual; None where there is none.
    Raises:
        UnsupportedModel: It is not plain LoRA without dropout and biases.
    """
    names = [adapter] if residual is None else [adapter, residual]
    name = _kind(layer)
    if name not in _JOINS:
        raise _refused(path, name)
    plain = (
        not layer.lora_variant
        and not any(layer.lora_bias.values())
        and not any(layer.use_dora.values())
        and not layer.lora_magnitude_vector
        and not layer.lora_embedding_A
        and list(layer.lora_A) == list(layer.lora_B) == list(layer.active_adapters) == names
        and all(_kind(d) == "torch.nn.modules.linear.Identity" for d in layer.lora_dropout.values())
    )
    if not plain:
        raise _refused(path, f"{name} with a variant, a bias, dropout or several adapters")
    a, b, base = layer.lora_A[adapter], layer.lora_B[adapter], layer.base_layer
    core = core_of(a)
    second = [] if residual is None else [layer.lora_A[residual], layer.lora_B[residual]]
    for part in (a, b, *second, *([] if core is None else [core])):
        if type(part) is not nn.Linear or part.bias is not None:
            raise _refused(path, f"{name} with a {_kind(part)}")
    if any(p.requires_grad for part in second for p in part.parameters()):
        raise _refused(path, f"{name} with a residual that trains")
    weight = bias = None
    if _kind(base) in _PLAIN and not _touched(base) and not base.weight.requires_grad:
        weight = base.weight.t() if _kind(base) == _TRANSPOSED else base.weight
        bias = base.bias
    return LoraSite(
        path=path,
        layer=layer,
        base=base,
        a=a,
        b=b,
        scale=float(layer.scaling[adapter]),
        rounds_first=_JOINS[name],
        weight=weight,
        bias=bias,
        core=core,
        residual=None
        if residual is None
        else ResidualPair(a=second[0], b=second[1], scale=float(layer.scaling[residual])),
    )


def _kind(module: Any) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _touched(module: Any) -> bool:
    """Something listens at the module or has replaced its forward, so it must be called."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return "forward" in vars(module) or any(getattr(module, name) for name in hooks)


def _refused(path: str, got: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"the layer at {path} is not plain LoRA", expected="one of " + ", ".join(sorted(_JOINS)), got=got
    )
