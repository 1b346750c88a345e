"""Where the tensors of an adapter lie in a model, and how a core comes between A and B. Part of `domains.language`.

peft has no core of its own. A hook on A's linear hands what A gives to the core, a linear of its own that belongs
to A: so peft's dtypes, its switching off and its taking off hold for the core too, and whoever hooks linears that
train finds an ordinary one. A residual is peft's second adapter, switched on beside the first.
"""

from typing import Any

import torch
from torch import Tensor, nn

from fedcore.adapter import AdapterSchema, TensorSpec
from fedcore.errors import UnsupportedModel

__all__ = ["RESIDUAL", "attach_core", "core_of", "require_form", "tensor_name"]

RESIDUAL = "residual"
"""peft's name of the adapter that holds a residual."""

_CORE = "core"


def attach_core(a: nn.Linear) -> None:
    """Let a square linear of zeros follow A, in A's dtype and on its device; it leaves with A."""
    rank, like = a.out_features, a.weight
    core = nn.Linear(rank, rank, bias=False, device=like.device, dtype=like.dtype)
    nn.init.zeros_(core.weight)
    a.add_module(_CORE, core.eval())
    a.register_forward_hook(_through_core)


def core_of(a: nn.Module) -> Any:
    """What follows A, None where nothing does."""
    return a._modules.get(_CORE)


def require_form(schema: AdapterSchema, trains: tuple[str, ...]) -> None:
    """Require that only what is not frozen by the adapter's form is to train.

    Raises:
        UnsupportedModel: Something else is.
    """
    if wrong := sorted(schema.frozen & set(trains)):
        raise UnsupportedModel(
            f"{wrong[0]} does not train in this form of adapter",
            expected="core and head" if schema.form == "core" else "some of lora_A, lora_B, head",
            do="choose another strategy",
        )


def tensor_name(spec: TensorSpec, head: str | None, adapter: str) -> str:
    """Where peft keeps a tensor of a schema."""
    if spec.part == "head" and head is not None:
        return f"base_model.model.{head}.modules_to_save.{adapter}{spec.name.removeprefix(head)}"
    path, _, part = spec.name.rpartition(".")
    if spec.part == "core":
        return f"base_model.model.{path}.lora_A.{adapter}.{_CORE}.weight"
    if spec.part in ("residual_A", "residual_B"):
        return f"base_model.model.{path}.{part.replace('residual_', 'lora_')}.{RESIDUAL}.weight"
    return f"base_model.model.{spec.name}.{adapter}.weight"


def _through_core(a: nn.Module, _given: tuple[Tensor, ...], low: Tensor) -> torch.Tensor:
    """What follows A in a model; the hook of `attach_core`."""
    out: Tensor = core_of(a)(low)
    return out
