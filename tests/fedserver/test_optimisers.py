"""The coordinator's optimisers: torch's own rules, and a step that a restart does not change."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedclient.optimisers import CorrectedAdamW
from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError
from fedcore.round import CohortSum, Optimiser
from fedserver.optimisers import joint_step, step
from tests.reference.shared_noise import shared_fields

STEPS = 50
NOISE_STD = 0.3
SETTINGS: dict[str, tuple[Optimiser, Callable[[list[nn.Parameter]], torch.optim.Optimizer]]] = {
    "sgd": (Optimiser(name="sgd", learning_rate=0.3), lambda p: torch.optim.SGD(p, lr=0.3)),
    "momentum": (
        Optimiser(name="sgd", learning_rate=0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    ),
    "adamw": (Optimiser(learning_rate=0.02), lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.0)),
    "adamw with every setting": (
        Optimiser(learning_rate=0.02, weight_decay=0.1, beta1=0.8, beta2=0.95, stability=1e-3),
        lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-3),
    ),
    "corrected": (
        Optimiser(learning_rate=0.02, weight_decay=0.1, noise_correction=True),
        lambda p: CorrectedAdamW(p, lr=0.02, betas=(0.9, 0.999), stability=1e-8, weight_decay=0.1, noise_std=NOISE_STD),
    ),
}


def gradients(state: AdapterState, steps: int = STEPS) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(5)
    for _ in range(steps):
        scale = 10.0 ** random.uniform(-3, 1)
        yield {
            name: (0.2 + scale * random.standard_normal(array.shape)).astype(np.float32)
            for name, array in state.tensors.items()
        }


def torch_twin(
    state: AdapterState, build: Callable[[list[nn.Parameter]], torch.optim.Optimizer], given: list[Mapping[str, Any]]
) -> dict[str, Any]:
    weights = {name: nn.Parameter(torch.tensor(array.copy())) for name, array in state.tensors.items()}
    optimiser = build(list(weights.values()))
    for gradient in given:
        for name, weight in weights.items():
            weight.grad = torch.tensor(gradient[name]) if name in gradient else None
        optimiser.step()
    return {name: weight.detach().numpy() for name, weight in weights.items()}


@pytest.mark.parametrize("name", SETTINGS)
def test_fifty_steps_are_torchs_to_float_tolerance(state: AdapterState, name: str) -> None:
    optimiser, build = SETTINGS[name]
    given = list(gradients(state))
    expected = torch_twin(state, build, given)
    ours, memory = state, {}
    for gradient in given:
        ours, memory = step(optimiser, ours, memory, gradient, noise_std=NOISE_STD)
    for tensor, array in expected.items():
        np.testing.assert_allclose(ours.tensors[tensor], array, rtol=2e-5, atol=2e-6, err_msg=tensor)
        assert np.abs(ours.tensors[tensor] - state.tensors[tensor]).max() > 0.01


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"corrected"}))
def test_tensors_that_take_turns_keep_a_count_of_their_own_as_in_torch(state: AdapterState, name: str) -> None:
    optimiser, build = SETTINGS[name]
    given = [
        {tensor: array for tensor, array in gradient.items() if ("lora_A" in tensor) == bool(number % 2)}
        for number, gradient in enumerate(gradients(state))
    ]
    ours, memory = state, {}
    for gradient in given:
        ours, memory = step(optimiser, ours, memory, gradient, noise_std=0.0)
    for tensor, array in torch_twin(state, build, given).items():
        np.testing.assert_allclose(ours.tensors[tensor], array, rtol=2e-5, atol=2e-6, err_msg=tensor)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_changes_neither_of_its_arguments_and_depends_on_nothing_else(state: AdapterState, name: str) -> None:
    optimiser = SETTINGS[name][0]
    given = list(gradients(state, 3))
    before, memory = state, {}
    for gradient in given[:2]:
        before, memory = step(optimiser, before, memory, gradient, noise_std=NOISE_STD)
    digest, copies = before.digest, {key: array.copy() for key, array in memory.items()}
    first, after = step(optimiser, before, memory, given[2], noise_std=NOISE_STD)
    second, again = step(optimiser, before, copies, given[2], noise_std=NOISE_STD)
    assert (before.digest, first.digest) == (digest, second.digest)
    assert all(np.array_equal(memory[key], copies[key]) for key in copies)
    assert after.keys() == again.keys()
    assert all(np.array_equal(after[key], again[key]) for key in after)
    assert all(array.dtype == np.float32 for array in after.values())


def test_joint_step_is_dp_sgd_on_all_batches_together(
    make_plan: Callable[..., Any], state: AdapterState, privacy: Any
) -> None:
    """Three institutions' sums over three times the expected batch: one step of the pooled mean."""
    plan = make_plan(optimiser=Optimiser(name="sgd", learning_rate=0.5))
    random = np.random.default_rng(1)
    per_unit = {t.name: random.standard_normal((30, *t.shape)) for t in plan.trained}
    total = {name: array.sum(axis=0).astype(np.float32) for name, array in per_unit.items()}
    moved, memory = joint_step(plan, state, {}, CohortSum(specs=plan.trained, total=total, weight=3.0, count=3))
    assert memory == {}
    for name, array in per_unit.items():
        expected = state.tensors[name] - 0.5 * array.sum(axis=0) / (3 * privacy.expected_batch_units)
        np.testing.assert_allclose(moved.tensors[name], expected, rtol=1e-5, atol=1e-7)


def test_joint_step_takes_out_the_noise_of_as_many_as_contributed(
    make_plan: Callable[..., Any], state: AdapterState
) -> None:
    plan = make_plan(optimiser=Optimiser(learning_rate=0.1, noise_correction=True))
    ones = {t.name: np.ones(t.shape, dtype=np.float32) for t in plan.trained}
    for count in (1, 4):
        _, memory = joint_step(plan, state, {}, CohortSum(specs=plan.trained, total=ones, weight=count, count=count))
        (variance,) = {float(a[0]) for key, a in memory.items() if key.endswith("/noise_variance")}
        assert variance == pytest.approx(0.001 * plan.privacy.noise_std_of_mean(count) ** 2, rel=1e-6)


def test_joint_step_takes_out_what_shared_integer_noise_really_is(
    make_plan: Callable[..., Any], state: AdapterState
) -> None:
    plain = make_plan(optimiser=Optimiser(learning_rate=0.1, noise_correction=True))
    plan = replace(plain, **shared_fields(plain))
    assert plan.sums is not None
    dear = replace(plan, sums=replace(plan.sums, share_std_units=3 * plan.sums.share_std_units))
    ones = {t.name: np.ones(t.shape, dtype=np.float32) for t in plan.trained}
    found = []
    for one in (plan, dear):
        _, memory = joint_step(one, state, {}, CohortSum(specs=one.trained, total=ones, weight=4, count=4))
        found += {float(a[0]) for key, a in memory.items() if key.endswith("/noise_variance")}
    assert found[0] == pytest.approx(0.001 * plan.privacy.noise_std_of_mean(4) ** 2, rel=1e-3)
    assert found[1] == pytest.approx(9 * found[0], rel=1e-6)


@pytest.mark.parametrize("fault", ["nan", "shape", "stranger", "noise"])
def test_what_cannot_be_a_gradient_is_refused(state: AdapterState, fault: str) -> None:
    name, array = next(iter(state.tensors.items()))
    good = np.zeros_like(array)
    gradient = {
        "nan": {name: np.full_like(good, np.nan)},
        "shape": {name: good.ravel()},
        "stranger": {"other": good},
        "noise": {name: good},
    }[fault]
    with pytest.raises(ConfigError):
        step(Optimiser(), state, {}, gradient, noise_std=float("inf") if fault == "noise" else 0.0)
