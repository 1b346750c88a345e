"""Momentum, FedAdam and FedYogi: the coordinator's own step towards what a strategy folded.

A pure function of the state before a round, the folded state and a memory of named arrays, which the store keeps beside
the state, so that a restarted coordinator takes the very same step. A tensor that the fold left as it was stays, and so
does its memory: strategies that take turns keep a memory for each factor. The residual of an adapter takes the fold as
it is, for it is what the other factors miss, and nothing to go towards. The rules are written in `fedcore.folding`.

It knows neither who contributed nor how the fold was made. All that it sees was noised before: a step is
post-processing and costs no privacy. Arithmetic is in float64, and what is kept in float32.

>>> from fedcore.adapter import AdapterSchema, ModelCard, ModuleShape
>>> module = ModuleShape(path="q_proj", inputs=2, outputs=1)
>>> card = ModelCard(name="paper", digest="ab" * 32, kind="causal", architecture="Llama", modules=(module,))
>>> before = AdapterState.initial(AdapterSchema.for_base(card, rank=1, alpha=1, targets=("q_proj",)), seed=0)
>>> folded = before.replace({"q_proj.lora_B": np.ones((1, 1), dtype=np.float32)})
>>> state, memory = step(ServerOptimiser(name="momentum", learning_rate=0.5), before, folded, {})
>>> state.tensors["q_proj.lora_B"].tolist(), sorted(memory)
([[0.5]], ['q_proj.lora_B/first'])

Reference: Hsu et al. 2019, arXiv:1909.06335 (momentum); Reddi et al. 2021, arXiv:2003.00295, Algorithm 2 (the others).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fedcore.adapter import AdapterState, FloatArray
from fedcore.errors import ConfigError
from fedcore.folding import ServerOptimiser

__all__ = ["step"]

_AS_FOLDED = ("residual_A", "residual_B")

Double = npt.NDArray[np.float64]


def step(
    optimiser: ServerOptimiser, before: AdapterState, folded: AdapterState, memory: Mapping[str, FloatArray]
) -> tuple[AdapterState, dict[str, FloatArray]]:
    """One step on the tensors that a fold changed.

    Args:
        optimiser: Of the job.
        before: The state before the round.
        folded: What the strategy made of it.
        memory: What the step before returned; empty before the first.
    Returns:
        The new state, and the memory to be given to the next step, float32 by name.
    Raises:
        ConfigError: The states are of different adapters, or the step left the finite numbers.
    """
    if before.schema != folded.schema:
        raise ConfigError("a folded state is of another adapter than the state before it")
    tensors, kept = dict(folded.tensors), dict(memory)
    for spec in before.schema.tensors:
        name = spec.name
        if spec.part in _AS_FOLDED or np.array_equal(before.tensors[name], folded.tensors[name]):
            continue
        start = before.tensors[name].astype(np.float64)
        change = folded.tensors[name].astype(np.float64) - start
        own = {
            key: memory[f"{name}/{key}"].astype(np.float64) for key in ("first", "second") if f"{name}/{key}" in memory
        }
        moved, after = _STEPS[optimiser.name](optimiser, change, own)
        tensors[name] = (start + optimiser.learning_rate * moved).astype(np.float32)
        kept |= {f"{name}/{key}": array.astype(np.float32) for key, array in after.items()}
    return before.replace(tensors), kept


def _momentum(
    optimiser: ServerOptimiser, change: Double, memory: Mapping[str, Double]
) -> tuple[Double, dict[str, Double]]:
    """m <- momentum m + d."""
    first = optimiser.momentum * memory.get("first", np.zeros_like(change)) + change
    return first, {"first": first}


def _adam(optimiser: ServerOptimiser, change: Double, memory: Mapping[str, Double]) -> tuple[Double, dict[str, Double]]:
    """v <- beta2 v + (1 - beta2) d^2."""
    second = _second(optimiser, change, memory)
    return _adaptive(optimiser, change, memory, optimiser.beta2 * second + (1 - optimiser.beta2) * np.square(change))


def _yogi(optimiser: ServerOptimiser, change: Double, memory: Mapping[str, Double]) -> tuple[Double, dict[str, Double]]:
    """v <- v - (1 - beta2) d^2 sign(v - d^2)."""
    second, square = _second(optimiser, change, memory), np.square(change)
    return _adaptive(optimiser, change, memory, second - (1 - optimiser.beta2) * square * np.sign(second - square))


def _second(optimiser: ServerOptimiser, change: Double, memory: Mapping[str, Double]) -> Double:
    """v as it was; at the start the stability squared."""
    return memory.get("second", np.full_like(change, optimiser.stability**2))


def _adaptive(
    optimiser: ServerOptimiser, change: Double, memory: Mapping[str, Double], second: Double
) -> tuple[Double, dict[str, Double]]:
    """m <- beta1 m + (1 - beta1) d, scaled by the root of the new v."""
    first = optimiser.beta1 * memory.get("first", np.zeros_like(change)) + (1 - optimiser.beta1) * change
    return first / (np.sqrt(second) + optimiser.stability), {"first": first, "second": second}


_STEPS = {"momentum": _momentum, "adam": _adam, "yogi": _yogi}
