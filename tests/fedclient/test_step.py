"""Private steps, over a tiny model of each kind: equal to the slow twin, bounded, noised, and refused when wrong."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from domains.language import Adapted, Base, Encoded
from fedclient._hooks import ExampleGradients
from fedclient.dataset import PrivateDataset
from fedclient.step import train
from fedcore.errors import ConfigError, PrivacyError, SamplerMismatch, UnsupportedModel
from fedcore.privacy.noise import DoubleArray, SecureNoise, UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import PoissonUnits, SystemRandom, TruncatedPoissonUnits, UnsafeSeeded
from fedcore.round import Optimiser
from simulations.tiny import KINDS, TinyKind, make_tiny_base
from tests.reference import clipped_sum as twin
from tests.reference.models import GivenGradients, adapt, plan, sequences
from tests.reference.observed import steps_of

SGD = Optimiser(name="sgd", learning_rate=1.0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[TinyKind, Base]:
    root = Path(tmp_path_factory.mktemp("bases"))
    return {kind: Base.load(make_tiny_base(root / kind, kind), device="cpu") for kind in KINDS}


DATA = sequences([[9, 4], [3], [12, 5, 7, 2], [6], [2], [8, 8]], seed=0)


def values(adapted: Adapted) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in adapted.parameters.items()}


def step_of(adapted: Adapted, data: PrivateDataset, privacy: PrivacyPlan, **options: Any) -> dict[str, torch.Tensor]:
    """By how much one call of `train` with SGD at rate 1 moved each tensor down: the noisy mean gradient."""
    options.setdefault("noise", UnsafeNoNoise())
    batches = PoissonUnits(sampling_rate=privacy.sampling_rate, units=len(data), source=UnsafeSeeded(1))
    before = values(adapted)
    train(adapted, data, privacy, SGD, batches=options.pop("batches", batches), **options)
    moved = {name: before[name].double() - p.detach().double() for name, p in adapted.parameters.items()}
    with torch.no_grad():
        for name, value in before.items():
            adapted.parameters[name].copy_(value)
    return moved


def assert_close(found: dict[str, torch.Tensor], expected: twin.Sums, *, rel: float = 1e-5) -> None:
    difference = {name: found[name] - expected[name] for name in expected}
    # The step itself is taken on float32 parameters of size about 0.1.
    assert twin.norm(difference) <= rel * twin.norm(expected) + 2e-6


@pytest.mark.parametrize("micro_batch", [1, 3, 8, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_equals_one_unit_at_a_time(bases: dict[TinyKind, Base], kind: TinyKind, micro_batch: int) -> None:
    adapted = adapt(bases[kind], kind)
    clip = sorted(twin.norm(twin.unit_gradient(adapted, u)) for u in DATA.units)[3]
    found = step_of(adapted, DATA, plan(clip_norm_l2=clip), micro_batch=micro_batch)
    assert_close(found, twin.clipped_sum(adapted, DATA.units, clip))


@pytest.mark.parametrize("trains", [("lora_A",), ("lora_B",), ("head",), ("lora_B", "head")])
def test_only_the_trained_parts_move(bases: dict[TinyKind, Base], trains: tuple[str, ...]) -> None:
    adapted = adapt(bases["bert"], "bert", trains)
    found = step_of(adapted, DATA, plan())
    assert_close(found, twin.clipped_sum(adapted, DATA.units, 1.0))
    for name, moved in found.items():
        part = name.rsplit(".", 1)[-1]
        assert bool(moved.any()) == ((part if part.startswith("lora") else "head") in trains)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.integers(2, 14), min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(1, 9),
    st.sampled_from([0.05, 1.0, 20.0]),
    st.integers(0, 2**31),
)
def test_any_micro_batch_over_any_units_equals_the_twin(
    bases: dict[TinyKind, Base], shape: list[list[int]], micro_batch: int, clip: float, seed: int
) -> None:
    adapted, data = adapt(bases["llama"], "llama", seed=seed % 1000), sequences(shape, seed)
    found = step_of(adapted, data, plan(clip_norm_l2=clip), micro_batch=micro_batch)
    assert_close(found, twin.clipped_sum(adapted, data.units, clip))


@pytest.mark.parametrize("kind", KINDS)
def test_one_unit_moves_the_step_at_most_the_clip_norm(bases: dict[TinyKind, Base], kind: TinyKind) -> None:
    adapted = adapt(bases[kind], kind)
    whole = step_of(adapted, DATA, plan(clip_norm_l2=0.5))
    for gone in range(len(DATA)):
        data = PrivateDataset(DATA.units[:gone] + DATA.units[gone + 1 :])
        without = step_of(adapted, data, plan(clip_norm_l2=0.5))
        assert twin.norm({n: whole[n] - without[n] for n in whole}) <= 0.5 * (1 + 1e-5)


def test_the_sum_is_divided_by_the_public_number_whatever_was_drawn(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    found = step_of(adapted, DATA, plan(expected_batch_units=2.5))
    assert_close({n: 2.5 * g for n, g in found.items()}, twin.clipped_sum(adapted, DATA.units, 1.0))


def test_the_units_drawn_are_those_that_move_the_step(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    drawn = PoissonUnits(sampling_rate=0.5, units=len(DATA), source=UnsafeSeeded(9)).draw()
    assert 0 < len(drawn) < len(DATA)
    batches = PoissonUnits(sampling_rate=0.5, units=len(DATA), source=UnsafeSeeded(9))
    found = step_of(adapted, DATA, plan(sampling_rate=0.5), batches=batches)
    assert_close(found, twin.clipped_sum(adapted, [DATA.units[i] for i in drawn], 1.0))


def test_a_unit_gives_at_most_its_cap_of_examples(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    data = sequences([[5, 6, 7]], seed=3)
    found = step_of(adapted, data, plan(examples_per_unit=1, clip_norm_l2=1e6))
    single = [twin.unit_gradient(adapted, [e]) for e in data.units[0]]
    distances = [twin.norm({n: found[n] - g[n] for n in g}) / twin.norm(g) for g in single]
    assert min(distances) < 1e-4


class Constant:
    """A noise source that adds the same number everywhere and remembers what it was asked."""

    mechanism: ClassVar[str] = "gaussian"
    origin: ClassVar[str] = "test"

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, ...], float]] = []

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        self.asked.append((shape, std))
        return np.full(shape, 0.125)


@pytest.mark.parametrize("micro_batch", [1, 8])
def test_noise_of_the_plan_is_added_once_a_step(bases: dict[TinyKind, Base], micro_batch: int) -> None:
    adapted, noise = adapt(bases["llama"], "llama"), Constant()
    noisy = plan(mechanism="gaussian", noise_multiplier=0.7, clip_norm_l2=0.5)
    found = step_of(adapted, DATA, noisy, noise=noise, micro_batch=micro_batch)
    expected = twin.clipped_sum(adapted, DATA.units, 0.5)
    assert_close(found, {n: g + 0.125 for n, g in expected.items()})
    assert noise.asked == [((sum(p.numel() for p in adapted.parameters.values()),), 0.7 * 0.5)]


def test_an_empty_batch_takes_a_noisy_step(bases: dict[TinyKind, Base]) -> None:
    adapted, noise = adapt(bases["llama"], "llama"), Constant()
    empty = plan(mechanism="gaussian", noise_multiplier=1.0, sampling_rate=1e-12, steps_per_round=2)
    found = step_of(adapted, DATA, empty, noise=noise)
    assert all(np.allclose(g, 0.25, atol=1e-6) for g in found.values())
    assert len(noise.asked) == 2


def test_seeded_rounds_repeat_and_secure_ones_do_not(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    noisy = plan(mechanism="gaussian", noise_multiplier=1.0, steps_per_round=2)
    seeded = [step_of(adapted, DATA, noisy, noise=UnsafeSeededNoise(4)) for _ in range(2)]
    secure = [step_of(adapted, DATA, noisy, noise=SecureNoise()) for _ in range(2)]
    assert all(torch.equal(seeded[0][n], seeded[1][n]) for n in seeded[0])
    assert not any(torch.equal(secure[0][n], secure[1][n]) for n in secure[0])


def test_a_unit_whose_gradient_is_not_finite_counts_as_zero(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["bert"], "bert")
    embedding = adapted.base.model.get_input_embeddings().weight
    kept = embedding[381].clone()
    poisoned = Encoded(ids=(381, 5, 6), labels=(-100, 5, 6), label=1)
    data = PrivateDataset((*DATA.units[:3], (DATA.units[3][0], poisoned), *DATA.units[4:]))
    try:
        with torch.no_grad():
            embedding[381] = float("nan")
        found = step_of(adapted, data, plan())
        assert_close(found, twin.clipped_sum(adapted, data.units, 1.0))
    finally:
        with torch.no_grad():
            embedding[381] = kept
    assert_close(found, twin.clipped_sum(adapted, DATA.units[:3] + DATA.units[4:], 1.0))


def test_weight_decay_is_the_plans_and_none_is_added(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    before = values(adapted)
    empty = plan(sampling_rate=1e-12)
    batches = PoissonUnits(sampling_rate=1e-12, units=len(DATA), source=SystemRandom())
    train(adapted, DATA, empty, Optimiser(learning_rate=0.1), batches=batches, noise=UnsafeNoNoise())
    assert all(torch.equal(before[n], p) for n, p in adapted.parameters.items())
    decaying = Optimiser(learning_rate=0.1, weight_decay=0.5)
    train(adapted, DATA, empty, decaying, batches=batches, noise=UnsafeNoNoise())
    for name, p in adapted.parameters.items():
        torch.testing.assert_close(p.detach(), before[name] * 0.95)


def test_steps_are_reported_and_nothing_stays_on_the_model(bases: dict[TinyKind, Base]) -> None:
    adapted, told = adapt(bases["llama"], "llama"), []
    step_of(adapted, DATA, plan(steps_per_round=3), report=lambda done, steps: told.append((done, steps)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert not any(m.training for m in adapted.module.modules())
    assert not any(m._forward_hooks or m._backward_hooks for m in adapted.module.modules())
    for p in adapted.parameters.values():
        assert p.grad is None
        assert not any(
            hasattr(p, name) for name in ("grad_sample", "summed_grad", "_forward_counter", "_current_grad_sample")
        )


def test_an_interrupted_round_leaves_nothing_for_the_next(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    gradients = ExampleGradients(adapted)
    clean = step_of(adapted, DATA, plan(), gradients=gradients)
    layer = adapted.module.get_submodule("base_model.model.model.layers.0.self_attn.q_proj.lora_A.default")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = layer.register_full_backward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        step_of(adapted, DATA, plan(), gradients=gradients)
    handle.remove()
    again = step_of(adapted, DATA, plan(), gradients=gradients)
    assert all(torch.equal(clean[n], again[n]) for n in clean)
    assert not any(hasattr(p, "summed_grad") for p in adapted.parameters.values())


class LookAlike:
    """Looks like the sampler in every fact, and is not."""

    sampler, sampling_rate, units, source = "poisson", 1.0, len(DATA), SystemRandom()

    def draw(self) -> Any:
        return np.arange(2)


@pytest.mark.parametrize(
    "batches",
    [
        DataLoader(list(range(len(DATA))), batch_size=2, shuffle=True),
        [[0, 1], [2]],
        LookAlike(),
        None,
        PoissonUnits(sampling_rate=0.5, units=len(DATA), source=SystemRandom()),
        PoissonUnits(sampling_rate=1.0, units=len(DATA) + 1, source=SystemRandom()),
        TruncatedPoissonUnits(
            sampling_rate=1.0, units=len(DATA), batch_limit=3, largest_units=9, source=SystemRandom()
        ),
    ],
    ids=["shuffled DataLoader", "list", "look-alike", "nothing", "another rate", "another data set", "truncated"],
)
def test_batches_that_are_not_accounted_for_are_refused(bases: dict[TinyKind, Base], batches: Any) -> None:
    adapted = adapt(bases["llama"], "llama")
    before = values(adapted)
    with pytest.raises(SamplerMismatch):
        train(adapted, DATA, plan(), SGD, batches=batches, noise=UnsafeNoNoise())
    assert all(torch.equal(before[n], p) for n, p in adapted.parameters.items())


class Recording:
    """A source of noise that remembers what it was asked and what it gave."""

    mechanism: ClassVar[str] = "gaussian"
    origin: ClassVar[str] = "test"

    def __init__(self, seed: int) -> None:
        self._inner = UnsafeSeededNoise(seed)
        self.asked: list[tuple[tuple[int, ...], float]] = []
        self.given: list[DoubleArray] = []

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        self.asked.append((shape, std))
        self.given.append(self._inner.gaussian(shape, std))
        return self.given[-1]


def test_neighbouring_data_differ_in_what_is_noised_alone(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    privacy = plan(mechanism="gaussian", noise_multiplier=1.0, clip_norm_l2=0.5, expected_batch_units=2.0)
    seen = []
    for data in (DATA, PrivateDataset(DATA.units[1:]), PrivateDataset((*DATA.units, *DATA.units))):
        noise, told = Recording(5), []
        moved = step_of(adapted, data, privacy, noise=noise, report=lambda *done, told=told: told.append(done))
        total = twin.clipped_sum(adapted, data.units, 0.5)
        seen.append((moved, noise, told, total))
    moved, noise, told, total = seen[0]
    for other_moved, other_noise, other_told, other_total in seen[1:]:
        assert other_noise.asked == noise.asked
        assert all(np.array_equal(a, b) for a, b in zip(noise.given, other_noise.given, strict=True))
        assert other_told == told
        assert {n: (t.shape, t.dtype) for n, t in moved.items()} == {
            n: (t.shape, t.dtype) for n, t in other_moved.items()
        }
        # What became of the parameters differs by the difference of the sums, and by nothing else.
        difference = {n: 2.0 * (moved[n] - other_moved[n]) for n in moved}
        assert_close(difference, {n: total[n] - other_total[n] for n in total})


def test_a_step_with_more_units_than_rounding_allows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedclient.step.LARGEST_BATCH_UNITS", 5)
    gradients = GivenGradients(torch.ones(6, 2))
    before = gradients.parameters[0].detach().clone()
    with pytest.raises(PrivacyError, match="more units") as refusal:
        steps_of(gradients, gradients.data, plan(), micro_batch=2)
    assert "6" not in str(refusal.value)  # The number of units drawn is private.
    assert torch.equal(before, gradients.parameters[0])
    steps_of(GivenGradients(torch.ones(5, 2)), GivenGradients(torch.ones(5, 2)).data, plan(), micro_batch=2)


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5, 64])
def test_a_unit_of_more_sequences_than_a_micro_batch_is_clipped_once(
    bases: dict[TinyKind, Base], micro_batch: int
) -> None:
    adapted = adapt(bases["llama"], "llama")
    data = sequences([[5, 6, 7, 5, 4], [3, 3]], seed=3)
    found = step_of(adapted, data, plan(clip_norm_l2=0.1), micro_batch=micro_batch)
    assert_close(found, twin.clipped_sum(adapted, data.units, 0.1))


@pytest.mark.parametrize(
    ("privacy", "noise"),
    [(plan(), SecureNoise()), (plan(mechanism="gaussian", noise_multiplier=1.0), UnsafeNoNoise())],
    ids=["noise without a promise", "a promise without noise"],
)
def test_noise_that_is_not_the_plans_mechanism_is_refused(
    bases: dict[TinyKind, Base], privacy: PrivacyPlan, noise: Any
) -> None:
    with pytest.raises(PrivacyError, match="mechanism"):
        step_of(adapt(bases["llama"], "llama"), DATA, privacy, noise=noise)


@pytest.mark.parametrize("micro_batch", [0, -1, 2.0, True])
def test_a_micro_batch_out_of_range_is_refused(bases: dict[TinyKind, Base], micro_batch: Any) -> None:
    with pytest.raises(ConfigError):
        step_of(adapt(bases["llama"], "llama"), DATA, plan(), micro_batch=micro_batch)


def test_an_adapter_on_a_bfloat16_base_is_clipped_in_float32(bases: dict[TinyKind, Base]) -> None:
    base = Base.load(bases["llama"].path, dtype="bfloat16", device="cpu")
    adapted = adapt(base, "llama")
    data = PrivateDataset(DATA.units[:1])
    moved = step_of(adapted, data, plan(clip_norm_l2=1e-2))
    assert twin.norm(moved) == pytest.approx(1e-2, rel=1e-4)


def test_an_adapter_of_which_nothing_trains_is_refused(bases: dict[TinyKind, Base]) -> None:
    with pytest.raises(UnsupportedModel, match="nothing"):
        step_of(adapt(bases["llama"], "llama", ("head",)), DATA, plan())


def test_a_noisy_step_has_the_spread_of_the_plan(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    privacy = replace(plan(), mechanism="gaussian", noise_multiplier=2.0, clip_norm_l2=0.5, sampling_rate=1e-12)
    privacy = replace(privacy, expected_batch_units=4.0)
    moved = torch.cat(
        [g.flatten() for _ in range(20) for g in step_of(adapted, DATA, privacy, noise=SecureNoise()).values()]
    )
    std = privacy.noise_std_of_mean()
    # Five and a half deviations: once in twenty million runs.
    assert float(moved.std()) == pytest.approx(std, rel=5.5 / (2 * len(moved)) ** 0.5)
