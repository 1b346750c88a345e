"""Adapters of other forms as ordinary LoRA: what a form means, written out in named arrays.

Beside the plain pair, a schema may have a **core**, an r x r matrix between its factors, and a **residual**, a
second, frozen pair of factors. `pair` multiplies the core into B; `residual` is the second pair by itself; `plain`
joins both to one pair that is the same function of the input. This module knows no framework and no file.

With scale = alpha / rank, a layer adds

    scale * (B core A + residual_B residual_A) = scale * [B core, residual_B] [A; residual_A]

so the joined pair has rank r + R and alpha * (r + R) / r, which keeps the scale.

>>> from fedcore.adapter import ModelCard, ModuleShape
>>> card = ModelCard(name="tiny", digest="0" * 64, kind="causal", architecture="Llama",
...                  modules=(ModuleShape(path="q_proj", inputs=3, outputs=2),))
>>> schema = AdapterSchema.for_base(card, rank=2, alpha=4, targets=("q_proj",), form="core", residual_rank=3)
>>> joined = plain(AdapterState.initial(schema, seed=1))
>>> joined.schema.rank, joined.schema.alpha, [(t.name, t.shape) for t in joined.schema.tensors]
(5, 10.0, [('q_proj.lora_A', (5, 3)), ('q_proj.lora_B', (2, 5))])
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fedcore.adapter import AdapterSchema, AdapterState, FloatArray, TensorSpec

__all__ = ["is_plain", "pair", "plain", "residual"]


def is_plain(schema: AdapterSchema) -> bool:
    """Whether an adapter is a pair of factors for each module, and a head where there is one."""
    return schema.form == "lora" and schema.residual_rank == 0


def pair(state: AdapterState) -> AdapterState:
    """The first pair of factors as an ordinary adapter: B times the core, A, and the head; without the residual.

    The product is formed in float64, one column of B after another, and rounded once, so that everyone who
    forms it gets the same bits, whatever libraries there are.

    Args:
        state: Of any form. One of a plain schema comes back as it is.
    Raises:
        ConfigError: The product is not finite in float32.
    """
    schema = state.schema
    if is_plain(schema):
        return state
    tensors = state.part("lora_A", "lora_B", "head")
    if schema.form == "core":
        for name, core in state.part("core").items():
            b = f"{name.removesuffix('.core')}.lora_B"
            tensors[b] = _product(state.tensors[b], core)
    return _ordinary(schema, tensors, rank=schema.rank, alpha=schema.alpha)


def residual(state: AdapterState) -> AdapterState | None:
    """The residual as an ordinary adapter by itself, without a head; None where there is none.

    Its rank is R and its alpha is alpha * R / rank, so that its scale is that of the first pair, up to the
    rounding of a float64.
    """
    schema = state.schema
    if schema.residual_rank == 0:
        return None
    tensors = {
        name.replace(".residual_", ".lora_"): array for name, array in state.part("residual_A", "residual_B").items()
    }
    rank = schema.residual_rank
    return _ordinary(schema, tensors, rank=rank, alpha=schema.alpha * rank / schema.rank)


def plain(state: AdapterState) -> AdapterState:
    """One pair of factors that adds what a state of any form adds.

    Args:
        state: Of any form. One of a plain schema comes back as it is.
    Returns:
        A state of rank r + R and alpha * (r + R) / r, computed in float64: scale times product is the same up to
        the rounding of alpha, and of B times the core to float32.
    Raises:
        ConfigError: B times a core is not finite in float32.
    """
    first, second = pair(state), residual(state)
    if second is None:
        return first
    schema = state.schema
    tensors = dict(first.tensors)
    for name, array in second.tensors.items():
        tensors[name] = np.concatenate([tensors[name], array], axis=0 if name.endswith(".lora_A") else 1)
    rank = schema.rank + schema.residual_rank
    return _ordinary(schema, tensors, rank=rank, alpha=schema.alpha * rank / schema.rank)


def _ordinary(schema: AdapterSchema, tensors: Mapping[str, FloatArray], *, rank: int, alpha: float) -> AdapterState:
    """A state of the plain form on the same base and modules."""
    specs = tuple(TensorSpec(name=name, shape=tensors[name].shape) for name in sorted(tensors))
    ordinary = replace(schema, rank=rank, alpha=alpha, tensors=specs, form="lora", residual_rank=0)
    return AdapterState(schema=ordinary, tensors=tensors)


def _product(b: FloatArray, core: FloatArray) -> FloatArray:
    """B core, shape (outputs, rank): products and sums of float64 in one order, since a matmul's differs by machine."""
    total = np.zeros((len(b), core.shape[1]))
    with np.errstate(over="ignore"):  # What overflows becomes infinity, which a state refuses by name.
        for k in range(len(core)):
            total += b[:, k, None].astype(np.float64) * core[None, k].astype(np.float64)
        return total.astype(np.float32)
