"""The coordinator's own optimisers, for joint rounds: one step on the global adapter from a noised mean gradient.

An optimiser here is a pure function of the state, its memory and a gradient. The memory is named arrays, which
the store keeps beside the state, so that a restarted coordinator takes the very same step. What it sees is what
everyone may see: a step is post-processing and costs no privacy. It knows no torch, and neither who contributed nor
how the gradient was made.

The rules are those of `torch.optim.AdamW` and `torch.optim.SGD`, and of DP-AdamBC where a plan asks for
`noise_correction`, so that a joint round is the step that one institution with all the records would take.
Arithmetic is in float64, and what is kept in float32.

>>> from fedcore.adapter import AdapterSchema, ModelCard, ModuleShape
>>> module = ModuleShape(path="q_proj", inputs=2, outputs=1)
>>> card = ModelCard(name="paper", digest="ab" * 32, kind="causal", architecture="Llama", modules=(module,))
>>> schema = AdapterSchema.for_base(card, rank=1, alpha=1, targets=("q_proj",))
>>> state, rule = AdapterState.initial(schema, seed=0), Optimiser(name="sgd", learning_rate=0.5)
>>> gradient = {"q_proj.lora_B": np.full((1, 1), 2.0, dtype=np.float32)}
>>> state, memory = step(rule, state, {}, gradient, noise_std=0.0)
>>> state.tensors["q_proj.lora_B"].tolist(), memory
([[-1.0]], {})

Reference: Loshchilov & Hutter 2019, arXiv:1711.05101 (AdamW); Tang et al. 2024, arXiv:2312.14334, Algorithm 1 (its
correction for noise); Sutskever et al. 2013 (momentum as torch writes it).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcore.adapter import AdapterState, FloatArray
from fedcore.errors import ConfigError
from fedcore.round import CohortSum, Optimiser, RoundPlan

__all__ = ["Rule", "joint_step", "step"]

_LEAST = 0.1
"""As in a node's own corrected AdamW: the root of a corrected second moment is at least this times the noise's
standard deviation."""

Double = npt.NDArray[np.float64]

Rule = Callable[[Optimiser, Double, Mapping[str, Double], Double, float], tuple[Double, dict[str, Double]]]
"""One tensor's step: (settings, tensor, its memory, its gradient, noise_std) -> (tensor, its memory), all new. The
memory is empty before the first step."""


def joint_step(
    plan: RoundPlan, state: AdapterState, memory: Mapping[str, FloatArray], cohort: CohortSum
) -> tuple[AdapterState, dict[str, FloatArray]]:
    """The step of a joint round: each institution's sum is of clipped gradients of one sampled batch.

    The divisor is public, as within one institution: the expected size of a batch, times how many are in the sum; a
    rule against bad updates makes one sum of them all. The noise is that of the mean either way.

    Args:
        plan: The round's.
        state: Before it.
        memory: Of the optimiser, after the round before; empty before the first.
        cohort: The sum over the contributors.
    Returns:
        The state and the memory after it.
    """
    units = plan.privacy.expected_batch_units * cohort.weight
    gradient = {name: (total / units).astype(np.float32) for name, total in cohort.total.items()}
    noise = plan.privacy.noise_std_of_mean(cohort.count)
    if plan.sums is not None and plan.privacy.shares_noise:
        noise *= plan.sums.noise(plan.privacy, plan.parameters).price
    return step(plan.optimiser, state, memory, gradient, noise_std=noise)


def step(
    optimiser: Optimiser,
    state: AdapterState,
    memory: Mapping[str, FloatArray],
    gradient: Mapping[str, FloatArray],
    *,
    noise_std: float,
) -> tuple[AdapterState, dict[str, FloatArray]]:
    """One step on the tensors that have a gradient; the others, and their memory, stay as they are.

    Args:
        optimiser: Of the plan.
        state: The adapter.
        memory: What the step before returned; empty before the first.
        gradient: Tensor -> gradient of its shape.
        noise_std: Standard deviation, per number, of the noise in the gradient; only `noise_correction` uses it.
    Returns:
        The new adapter, and the memory to be given to the next step, float32 by name.
    Raises:
        ConfigError: A gradient has no tensor, another shape, or is not finite; or `noise_std` is not a finite
            number of 0 or more.
    """
    if not (math.isfinite(noise_std) and noise_std >= 0):
        raise ConfigError("the noise's standard deviation is out of range", expected="0 or more, finite")
    for name, array in gradient.items():
        if name not in state.tensors or array.shape != state.tensors[name].shape or not np.isfinite(array).all():
            raise ConfigError(f"the gradient of {name} does not fit its tensor, or is not finite")
    rule, tensors, kept = _RULES[optimiser.name], {}, dict(memory)
    for name, array in gradient.items():
        own = {key.removeprefix(f"{name}/"): a for key, a in memory.items() if key.rpartition("/")[0] == name}
        moved, after = rule(optimiser, _double(state.tensors[name]), _doubles(own), _double(array), noise_std)
        tensors[name] = moved.astype(np.float32)
        kept |= {f"{name}/{key}": a.astype(np.float32) for key, a in after.items()}
    return state.replace(tensors), kept


def _sgd(
    optimiser: Optimiser, tensor: Double, memory: Mapping[str, Double], gradient: Double, noise_std: float
) -> tuple[Double, dict[str, Double]]:
    """p <- p - lr b, with b <- momentum b + g, and b = g in the first step."""
    if optimiser.momentum == 0:
        return tensor - optimiser.learning_rate * gradient, {}
    before = memory.get("momentum")
    buffer = gradient if before is None else optimiser.momentum * before + gradient
    return tensor - optimiser.learning_rate * buffer, {"momentum": buffer}


def _adamw(
    optimiser: Optimiser, tensor: Double, memory: Mapping[str, Double], gradient: Double, noise_std: float
) -> tuple[Double, dict[str, Double]]:
    """AdamW; with `noise_correction`, the running mean of the noise's variance is taken out of the second moment."""
    beta1, beta2, rate = optimiser.beta1, optimiser.beta2, optimiser.learning_rate
    zero = np.zeros_like(tensor)
    first = beta1 * memory.get("first", zero) + (1 - beta1) * gradient
    second = beta2 * memory.get("second", zero) + (1 - beta2) * np.square(gradient)
    steps = int(memory.get("steps", np.zeros(1))[0]) + 1  # Exact in float32 up to 16 million.
    after = {"first": first, "second": second, "steps": np.array([steps], dtype=np.float64)}
    start1, start2 = 1 - beta1**steps, 1 - beta2**steps
    if optimiser.noise_correction:
        variance = beta2 * memory.get("noise_variance", np.zeros(1)) + (1 - beta2) * noise_std**2
        after["noise_variance"] = variance
        noise = float(variance[0]) / start2
        least = max(optimiser.stability**2, _LEAST**2 * noise)
        root = np.sqrt(np.maximum(second / start2 - noise, least))
    else:
        root = np.sqrt(second / start2) + optimiser.stability
    return tensor * (1 - rate * optimiser.weight_decay) - rate / start1 * first / root, after


_RULES: dict[str, Rule] = {"adamw": _adamw, "sgd": _sgd}


def _double(array: npt.NDArray[Any]) -> Double:
    return array.astype(np.float64)


def _doubles(arrays: Mapping[str, FloatArray]) -> dict[str, Double]:
    return {name: _double(array) for name, array in arrays.items()}
