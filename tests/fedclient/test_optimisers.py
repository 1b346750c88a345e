"""Optimisers for noisy gradients: torch's own where nothing is corrected, the written-out twin where it is."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedclient.optimisers import CorrectedAdamW, make
from fedcore import config
from fedcore.errors import ConfigError, InvalidPlan
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.noise import SecureNoise, UnsafeSeededNoise
from fedcore.round import Optimiser, RoundPlan
from fedserver.collect import norm_bound
from tests.reference.adam import adamw
from tests.reference.models import GivenGradients, plan
from tests.reference.observed import steps_of

CORRECTED = Optimiser(learning_rate=0.05, noise_correction=True)


def run(optimizer: torch.optim.Optimizer, weight: nn.Parameter, gradients: torch.Tensor) -> torch.Tensor:
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach().clone()


@pytest.mark.parametrize(
    ("optimiser", "torchs"),
    [
        (Optimiser(name="sgd", learning_rate=0.3), lambda p: torch.optim.SGD(p, lr=0.3)),
        (
            Optimiser(name="sgd", learning_rate=0.3, momentum=0.8),
            lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.8),
        ),
        (Optimiser(learning_rate=0.02), lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.0)),
        (
            Optimiser(learning_rate=0.02, weight_decay=0.1, beta1=0.8, beta2=0.95, stability=1e-3),
            lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-3),
        ),
    ],
)
def test_without_correction_it_is_torchs(
    optimiser: Optimiser, torchs: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
) -> None:
    gradients = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    ours, theirs = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    found = run(make(optimiser, [ours], noise_std=0.7), ours, gradients)
    assert torch.equal(found, run(torchs([theirs]), theirs, gradients))


numbers = st.floats(-3, 3).map(lambda x: round(x, 3))


@settings(deadline=None)
@given(
    st.lists(st.tuples(numbers, st.sampled_from([0.0, 0.1, 0.5, 2.0])), min_size=1, max_size=12),
    st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.5, 0.5)]),
    st.sampled_from([0.0, 0.2]),
)
def test_the_corrected_one_equals_its_written_out_twin(
    steps: list[tuple[float, float]], betas: tuple[float, float], weight_decay: float
) -> None:
    weight = nn.Parameter(torch.tensor([1.5], dtype=torch.float64))
    shared = {"lr": 0.05, "weight_decay": weight_decay, "stability": 1e-3}
    optimizer = CorrectedAdamW([weight], betas=betas, noise_std=steps[0][1], **shared)
    for gradient, noise_std in steps:
        optimizer.param_groups[0]["noise_std"] = noise_std
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    gradients, stds = [g for g, _ in steps], [s for _, s in steps]
    expected = adamw(1.5, gradients, beta1=betas[0], beta2=betas[1], noise_stds=stds, **shared)
    assert float(weight.detach()) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_correcting_for_no_noise_is_adamw() -> None:
    gradients = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    plain, corrected = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    expected = run(make(replace(CORRECTED, noise_correction=False), [plain], noise_std=0.0), plain, gradients)
    found = run(make(CORRECTED, [corrected], noise_std=0.0), corrected, gradients)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_correction_takes_the_noise_out_of_the_second_moment() -> None:
    # Adam would scale both halves by the noise; corrected, each is scaled by its own gradient, as without noise.
    generator = torch.Generator().manual_seed(3)
    signal = torch.cat([torch.full((5_000,), 0.5), torch.full((5_000,), 2.0)])
    steps, std = 300, 1.0
    gradients = [signal + std * torch.randn(len(signal), generator=generator) for _ in range(steps)]
    weight = nn.Parameter(torch.zeros(len(signal)))
    optimizer = make(Optimiser(learning_rate=1e-3, noise_correction=True), [weight], noise_std=std)
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
    state, group = optimizer.state[weight], optimizer.param_groups[0]
    start = 1 - 0.999**steps
    moment = (state["second"] - group["noise_variance"]) / start
    assert float(moment[:5_000].mean()) == pytest.approx(0.25, abs=0.04)
    assert float(moment[5_000:].mean()) == pytest.approx(4.0, abs=0.04)


@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 5, 40])
def test_a_round_of_noise_alone_stays_below_what_a_coordinator_believes(
    correction: bool, steps: int, make_plan: Callable[..., RoundPlan]
) -> None:
    round_plan = make_plan(optimiser=replace(CORRECTED, noise_correction=correction))
    privacy = replace(round_plan.privacy, steps_per_round=steps)
    size = sum(t.size for t in round_plan.trained)
    factor = 4000 // size  # The bound grows with the root of the size; more numbers make the test sharper.
    weight = nn.Parameter(torch.zeros(size * factor))
    std = privacy.noise_std_of_mean()
    noise = torch.randn(steps, size * factor, generator=torch.Generator().manual_seed(steps)) * std
    moved = run(make(round_plan.optimiser, [weight], noise_std=std), weight, noise)
    assert float(moved.norm()) / math.sqrt(factor) <= norm_bound(replace(round_plan, privacy=privacy))


@pytest.mark.parametrize(
    "optimiser",
    [
        Optimiser(name="sgd", learning_rate=0.2),
        Optimiser(name="sgd", learning_rate=0.05, momentum=0.8),
        Optimiser(learning_rate=0.03),
        Optimiser(learning_rate=0.03, noise_correction=True),
    ],
    ids=["sgd", "momentum", "adamw", "corrected"],
)
def test_it_learns_under_noise(optimiser: Optimiser) -> None:
    generator = torch.Generator().manual_seed(0)
    goal = torch.randn(50, generator=generator)
    weight = nn.Parameter(torch.zeros(50))
    optimizer = make(optimiser, [weight], noise_std=0.5)
    for _ in range(400):
        weight.grad = (weight.detach() - goal) + 0.5 * torch.randn(50, generator=generator)
        optimizer.step()
    assert float((weight.detach() - goal).norm()) < 0.35 * float(goal.norm())


def test_training_tells_the_corrected_one_how_much_noise_there_is() -> None:
    rule = Clipping(rule="adaptive", quantile=0.3, learning_rate=0.5, count_noise_multiplier=2.0)
    privacy = plan(
        mechanism="gaussian",
        noise_multiplier=1.5,
        clip_norm_l2=4.0,
        expected_batch_units=3.0,
        steps_per_round=8,
        clipping=rule,
    )
    gradients = GivenGradients(torch.tensor([[1.0], [2.0], [6.0]]))
    # Seeded, for by chance the norm could rise to the plan's again and again, and stay where it was.
    seen = steps_of(gradients, gradients.data, privacy, noise=UnsafeSeededNoise(1), optimiser=CORRECTED)
    assert len({s.norm for s in seen}) > 4
    assert [s.noise_std for s in seen] == pytest.approx([1.5 * s.norm / 3.0 for s in seen])


def test_a_whole_round_with_each_optimiser_ends_finite() -> None:
    gradients = GivenGradients(torch.eye(4) * 5)
    privacy = plan(mechanism="gaussian", noise_multiplier=1.0, steps_per_round=5, expected_batch_units=4.0)
    for optimiser in (CORRECTED, Optimiser(), Optimiser(name="sgd", momentum=0.9)):
        seen = steps_of(gradients, gradients.data, privacy, noise=SecureNoise(), optimiser=optimiser)
        assert len(seen) == 5
        assert all(np.isfinite(s.total[""].numpy()).all() for s in seen)


@pytest.mark.parametrize("noise_std", [-1.0, math.nan, math.inf])
def test_noise_that_is_no_number_is_refused(noise_std: float) -> None:
    with pytest.raises(ConfigError):
        make(CORRECTED, [nn.Parameter(torch.zeros(1))], noise_std=noise_std)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "adam"},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"learning_rate": "0.1"},
        {"learning_rate": True},
        {"weight_decay": -0.1},
        {"beta1": 1.0},
        {"beta2": 1.0},
        {"beta1": 0.9, "beta2": 0.8},
        {"beta1": math.nan},
        {"stability": 0.0},
        {"stability": math.inf},
        {"noise_correction": 1},
        {"momentum": 0.9},
        {"name": "sgd", "momentum": 1.0},
        {"name": "sgd", "weight_decay": 0.1},
        {"name": "sgd", "noise_correction": True},
        {"name": "sgd", "beta1": 0.5},
    ],
    ids=str,
)
def test_an_optimiser_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Optimiser(**fields)


def test_a_plan_without_the_newer_fields_is_read_with_their_defaults(make_plan: Callable[..., RoundPlan]) -> None:
    value = json.loads(json.dumps(make_plan(optimiser=CORRECTED).to_dict()))
    assert RoundPlan.from_dict(value).optimiser == CORRECTED
    value["optimiser"] = {"name": "adamw", "learning_rate": 0.1, "weight_decay": 0.0, "momentum": 0.0}
    assert RoundPlan.from_dict(value).optimiser == Optimiser(learning_rate=0.1)
    value["optimiser"]["gamma"] = 1.0
    with pytest.raises(InvalidPlan):
        RoundPlan.from_dict(value)


def test_it_is_configured_as_a_table() -> None:
    table = {"name": "adamw", "learning_rate": 1, "beta1": 0.8, "beta2": 0.99, "noise_correction": True}
    assert config.parse(Optimiser, table, where="job.toml") == Optimiser(
        learning_rate=1.0, beta1=0.8, beta2=0.99, noise_correction=True
    )
    with pytest.raises(ConfigError, match="noise_correction"):
        config.parse(Optimiser, {"noise_correction": "yes"}, where="job.toml")
