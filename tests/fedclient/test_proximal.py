"""FedProx's proximal term: the written-out gradient of mu / 2 |w - w0|^2, after the noise, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from fedclient.optimisers import make
from fedclient.step import train
from fedclient.terms import in_words
from fedcore.errors import ConfigError, InvalidPlan
from fedcore.privacy.noise import UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.sampling import UnsafeSeeded
from fedcore.round import Optimiser, RoundPlan
from tests.reference.adam import adamw
from tests.reference.models import GivenGradients, plan
from tests.reference.observed import steps_of

numbers = st.floats(-3, 3).map(lambda x: round(x, 3))
MU = st.sampled_from([0.01, 0.5, 3.0, 100.0])


def run(optimiser: Optimiser, start: float, gradients: list[float], noise_std: float = 0.0) -> float:
    weight = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = make(optimiser, [weight], noise_std=noise_std)
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return float(weight.detach())


def sgd(start: float, gradients: list[float], lr: float, momentum: float) -> float:
    """Momentum written out: each step moves by the weighted sum of all gradients so far."""
    moved = 0.0
    for t in range(len(gradients)):
        moved += sum(momentum ** (t - i) * gradients[i] for i in range(t + 1))
    return start - lr * moved


def pulled(start: float, gradients: list[float], mu: float, plain: Callable[[list[float]], float]) -> float:
    """The slow twin: each step is taken anew from the start, over gradients that hold the term of each step."""
    seen: list[float] = []
    at = start
    for gradient in gradients:
        seen.append(gradient + mu * (at - start))
        at = plain(seen)
    return at


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=8), numbers, MU, st.sampled_from([0.0, 0.5, 0.9]))
def test_sgd_equals_its_written_out_twin(gradients: list[float], start: float, mu: float, momentum: float) -> None:
    optimiser = Optimiser(name="sgd", learning_rate=0.01, momentum=momentum, proximal=mu)
    expected = pulled(start, gradients, mu, lambda seen: sgd(start, seen, 0.01, momentum))
    assert run(optimiser, start, gradients) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=8), numbers, MU, st.sampled_from([0.0, 0.2]))
def test_adamw_steps_on_the_gradient_with_the_term_in_it(
    gradients: list[float], start: float, mu: float, weight_decay: float
) -> None:
    ours = run(Optimiser(learning_rate=0.05, weight_decay=weight_decay, proximal=mu), start, gradients)
    weight = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    theirs = torch.optim.AdamW([weight], lr=0.05, weight_decay=weight_decay)
    for gradient in gradients:
        weight.grad = gradient + mu * (weight.detach() - start)
        theirs.step()
    assert ours == pytest.approx(float(weight.detach()), rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(
    st.lists(numbers, min_size=1, max_size=8),
    numbers,
    MU,
    st.sampled_from([0.0, 0.4, 2.0]),
    st.sampled_from([0.0, 0.2]),
)
def test_the_corrected_one_subtracts_the_noise_of_the_plan_and_no_more(
    gradients: list[float], start: float, mu: float, noise_std: float, weight_decay: float
) -> None:
    shared = {"weight_decay": weight_decay, "stability": 1e-3, "beta1": 0.9, "beta2": 0.999}
    optimiser = Optimiser(learning_rate=0.05, noise_correction=True, proximal=mu, **shared)
    expected = pulled(
        start, gradients, mu, lambda seen: adamw(start, seen, lr=0.05, noise_stds=[noise_std] * len(seen), **shared)
    )
    assert run(optimiser, start, gradients, noise_std) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_without_it_nothing_is_added_to_torchs_own_step(name: str) -> None:
    made = make(Optimiser(name=name, learning_rate=0.1), [nn.Parameter(torch.zeros(1))], noise_std=1.0)
    assert not made._optimizer_step_pre_hooks
    pulling = make(Optimiser(name=name, learning_rate=0.1, proximal=0.1), [nn.Parameter(torch.zeros(1))], noise_std=1.0)
    assert len(pulling._optimizer_step_pre_hooks) == 1


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=30), numbers, st.sampled_from([0.002, 0.005, 0.01]))
def test_a_very_large_one_keeps_a_round_near_its_start(gradients: list[float], start: float, rate: float) -> None:
    mu = 100.0
    end = run(Optimiser(name="sgd", learning_rate=rate, proximal=mu), start, gradients)
    assert abs(end - start) <= max(map(abs, gradients)) / mu + 1e-12


@settings(deadline=None)
@given(
    st.lists(numbers, min_size=1, max_size=40),
    st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    st.floats(0, 0.999).map(lambda share: round(share, 3)),
    st.sampled_from([0.02, 0.1, 1.0]),
)
def test_no_stable_one_takes_an_update_further_than_a_coordinator_believes(
    gradients: list[float], momentum: float, share: float, rate: float
) -> None:
    mu = share * 2 * (1 + momentum) / rate
    assume(mu <= 100)
    optimiser = Optimiser(name="sgd", learning_rate=rate, momentum=momentum, proximal=mu)
    reach = len(gradients) * rate / (1 - momentum) * max(map(abs, gradients))
    assert abs(run(optimiser, 0.0, gradients)) <= reach * (1 + 1e-9) + 1e-12


def test_it_is_added_after_the_noise_and_the_division_and_enters_no_sum() -> None:
    # Three numbers, far above the clip norm: were the term clipped, noised or divided, the twin would differ.
    table = torch.tensor([[3.0, -1.0, 0.5], [0.2, 0.1, -4.0]])
    privacy = plan(mechanism="gaussian", noise_multiplier=0.7, steps_per_round=4, expected_batch_units=5.0)
    optimiser, mu = Optimiser(name="sgd", learning_rate=0.2), 3.0
    without = steps_of(GivenGradients(table), GivenGradients(table).data, privacy, noise=UnsafeSeededNoise(4))
    gradients = GivenGradients(table)
    pulling = replace(optimiser, proximal=mu)
    seen = steps_of(gradients, gradients.data, privacy, noise=UnsafeSeededNoise(4), optimiser=pulling)
    assert all(torch.equal(a.total[""], b.total[""]) for a, b in zip(seen, without, strict=True))
    assert [s.norm for s in seen] == [s.norm for s in without]

    with torch.no_grad():
        gradients.parameters[0].fill_(1.0)
    batches = privacy.batches(len(gradients.data), UnsafeSeeded(1))
    options: dict[str, Any] = {"batches": batches, "gradients": gradients, "noise": UnsafeSeededNoise(4)}
    train(gradients.adapted, gradients.data, privacy, pulling, **options)
    source, at = UnsafeSeededNoise(4), torch.ones(3, dtype=torch.float64)
    for step in seen:
        noised = step.total[""] + torch.from_numpy(source.gaussian((3,), 0.7))
        at = at - 0.2 * (noised / 5.0 + mu * (at - 1.0))
    torch.testing.assert_close(gradients.parameters[0].detach().double(), at, rtol=0, atol=1e-6)


def test_a_round_starts_its_pull_anew() -> None:
    gradients = GivenGradients(torch.tensor([[1.0]]))
    privacy = plan(steps_per_round=50, clip_norm_l2=10.0)
    ends = []
    for _ in range(2):
        train(
            gradients.adapted,
            gradients.data,
            privacy,
            Optimiser(name="sgd", learning_rate=0.1, proximal=2.0),
            batches=privacy.batches(1, UnsafeSeeded(1)),
            gradients=gradients,
            noise=UnsafeNoNoise(),
        )
        ends.append(float(gradients.parameters[0].detach()))
    # Each round settles where gradient and pull are equal: 1 / mu below its own start.
    assert ends == pytest.approx([-0.5, -1.0], abs=1e-3)


@pytest.mark.parametrize(
    "fields",
    [
        {"proximal": -0.1},
        {"proximal": 101.0},
        {"proximal": float("nan")},
        {"name": "sgd", "learning_rate": 1.0, "proximal": 2.0},
        {"name": "sgd", "learning_rate": 1.0, "proximal": 3.9, "momentum": 0.9},
    ],
    ids=str,
)
def test_one_that_cannot_hold_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Optimiser(**fields)


def test_a_joint_step_has_none_and_people_read_of_it(make_plan: Callable[..., RoundPlan]) -> None:
    pulling = Optimiser(proximal=0.25)
    with pytest.raises(InvalidPlan, match="proximal"):
        make_plan(optimiser=pulling, joint=True, privacy=replace(make_plan().privacy, steps_per_round=1))
    assert "proximal term of 0.25" in dict(in_words(make_plan(optimiser=pulling)))["steps"]
    assert "proximal" not in dict(in_words(make_plan()))["steps"]
