"""The slow, obvious twin of an adapter's form: what each module's weight gains, multiplied out one entry at a time."""

import math

import numpy as np
import numpy.typing as npt

from fedcore.adapter import AdapterState

Product = npt.NDArray[np.float64]


def gains(state: AdapterState) -> dict[str, Product]:
    """Module path -> scale * (B core A + residual_B residual_A), shape (outputs, inputs), float64."""
    schema = state.schema
    scale = schema.alpha / schema.rank
    out = {}
    for name, a in state.part("lora_A").items():
        path = name.removesuffix(".lora_A")
        chain = [state.tensors[f"{path}.lora_B"], a]
        if schema.form == "core":
            chain.insert(1, state.tensors[f"{path}.core"])
        gain = chained(chain)
        if schema.residual_rank:
            gain += chained([state.tensors[f"{path}.residual_B"], state.tensors[f"{path}.residual_A"]])
        out[path] = scale * gain
    return out


def chained(matrices: list[npt.NDArray[np.float32]]) -> Product:
    """Product of matrices from the left, entry by entry."""
    product = matrices[0].astype(np.float64)
    for right in matrices[1:]:
        wide = right.astype(np.float64)
        product = np.array(
            [[math.fsum(row * wide[:, column]) for column in range(wide.shape[1])] for row in product]
        ).reshape(len(product), wide.shape[1])
    return product
