"""Several processes add up what one would, each unit once, or nothing at all."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from domains.language import Base, Encoded
from fedclient._fused import FusedGradients
from fedclient._group import backend_of, devices_of
from fedclient._sharing import Drawn, Sharing
from fedclient.dataset import PrivateDataset
from fedclient.distributed import Helpers, Setup, deal, require_each_once
from fedclient.model import Trainer
from fedclient.step import UnitOptimizer, accumulate
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.errors import ConfigError, PrivacyError, RoundError
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.integer_noise import UnsafeSeededIntegerNoise
from fedcore.privacy.noise import UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.plan import DISCRETE_GAUSSIAN, UNSAFE_NO_NOISE, PrivacyPlan
from fedcore.privacy.sampling import UnsafeSeeded
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import Optimiser, RoundPlan
from fedcore.sums import SumPlan
from simulations.tiny import TARGETS, make_tiny_base
from tests.reference import clipped_sum as twin

PRIVACY = PrivacyPlan(
    unit=PrivacyUnit(key="patient"),
    sampling_rate=0.6,
    steps_per_round=3,
    expected_batch_units=5.0,
    examples_per_unit=2,
    clip_norm_l2=0.5,
    noise_multiplier=0.7,
    delta=1e-5,
)
QUIET = replace(PRIVACY, noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(Path(tmp_path_factory.mktemp("bases")) / "llama", "llama")


@pytest.fixture(scope="module")
def base(path: Path) -> Base:
    return Base.load(path, device="cpu")


@pytest.fixture(scope="module")
def helpers(path: Path, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helpers]:
    """One helper in a process of its own, for all tests in which nothing goes wrong."""
    started = Helpers([setup_of(path)], base, directory=Path(tmp_path_factory.mktemp("node")))
    started.start()
    yield started
    started.close()


def setup_of(path: Path) -> Setup:
    return Setup(base=str(path), device="cpu", threads=1, micro_batch=3)


def data(units: int = 9, seed: int = 0) -> PrivateDataset:
    """Units of one to three examples of unequal length; the third of a unit is beyond the plan's cap."""
    generator = np.random.default_rng(seed)

    def example() -> Encoded:
        ids = tuple(int(t) for t in generator.integers(3, 40, int(generator.integers(4, 14))))
        return Encoded(ids=ids, labels=(-100, *ids[1:]))

    return PrivateDataset(tuple(tuple(example() for _ in range(1 + n % 3)) for n in range(units)))


def state_of(base: Base, rank: int = 2) -> AdapterState:
    state = AdapterState.initial(AdapterSchema.for_base(base.card, rank=rank, alpha=4, targets=TARGETS["llama"]), 7)
    generator = np.random.default_rng(3)
    # With B at zero, A's gradient would be zero.
    return state.replace(
        {n: generator.normal(0, 0.05, t.shape).astype(np.float32) for n, t in state.part("lora_B").items()}
    )


def plan_of(state: AdapterState, **changes: Any) -> RoundPlan:
    fields: dict[str, Any] = {
        "job_id": "job",
        "round": 1,
        "rounds": 2,
        "task": "medicine.record",
        "schema": state.schema,
        "state_digest": state.digest,
        "seed": 7,
        "strategy": "fedavg",
        "trains": ("lora_A", "lora_B"),
        "carries": ("lora_A", "lora_B"),
        "cohort": ("a", "b", "c"),
        "weight": 1.0,
        "quorum": 1,
        "deadline_s": 60.0,
        "max_tokens": 64,
        "optimiser": Optimiser(learning_rate=0.02),
        "privacy": PRIVACY,
    }
    return RoundPlan(**{**fields, **changes})


def update(base: Base, plan: RoundPlan, state: AdapterState, dataset: PrivateDataset, helpers: Helpers | None) -> Any:
    """One round's update as a vector, with seeded samples and noise."""
    noise = UnsafeSeededNoise(2) if plan.privacy.is_private else UnsafeNoNoise()
    trainer = Trainer(base, micro_batch=3, helpers=helpers)
    return trainer.train(plan, state, dataset, source=UnsafeSeeded(1), noise=noise).flatten()


def summed(base: Base, state: AdapterState, dataset: PrivateDataset, sharing: Helpers | None) -> Any:
    """The clipped sums of a plan's batches, float64, one after another: nothing is noised, nothing steps."""
    adapted = base.adapt(state.schema, ("lora_A", "lora_B"))
    adapted.load(state)
    gradients, source = FusedGradients(adapted), UnsafeSeeded(5)
    sums = []

    def steps(shared: Sharing | None) -> None:
        with gradients.active():
            for _ in range(4):
                holder = UnitOptimizer(torch.optim.SGD(gradients.parameters, lr=0.0), plan=QUIET, noise=UnsafeNoNoise())
                batches = QUIET.batches(len(dataset), source)
                accumulate(gradients, holder, dataset, QUIET, batches, 3, stepping=False, sharing=shared)
                sums.append((holder.flat_sum(torch.device("cpu")).numpy(), holder.added))
                holder.forget()

    if sharing is None:
        steps(None)
    else:
        with sharing.round(adapted, ("lora_A", "lora_B"), QUIET) as shared:
            steps(shared)
    return sums


@given(st.lists(st.integers(0, 99), unique=True, max_size=30), st.integers(1, 6), st.randoms(use_true_random=False))
def test_a_batch_is_dealt_out_whole_and_evenly(positions: list[int], processes: int, random: Any) -> None:
    batch: list[Drawn] = [
        (p, tuple(Encoded(ids=(1,) * random.randint(1, 50), labels=()) for _ in range(random.randint(1, 3))))
        for p in positions
    ]
    shares = deal(batch, processes)
    assert len(shares) == processes
    assert sorted((u for share in shares for u in share), key=lambda u: u[0]) == sorted(batch, key=lambda u: u[0])
    require_each_once(positions, [[p for p, _ in share] for share in shares])
    tokens = [sum(len(e.ids) for _, unit in share for e in unit) for share in shares]
    assert max(tokens) - min(tokens) <= max((sum(len(e.ids) for e in u) for _, u in batch), default=0)


@given(st.lists(st.integers(0, 20), unique=True, min_size=1), st.integers(1, 4), st.data())
def test_whatever_is_not_each_unit_once_is_refused(batch: list[int], processes: int, draw: st.DataObject) -> None:
    added: list[list[int]] = [[] for _ in range(processes)]
    for position in batch:
        added[draw.draw(st.integers(0, processes - 1))].append(position)
    require_each_once(batch, added)
    where, fault = draw.draw(st.integers(0, processes - 1)), draw.draw(st.sampled_from(["twice", "stray", "left out"]))
    if fault == "twice":
        added[where].append(draw.draw(st.sampled_from(batch)))
    elif fault == "stray":
        added[where].append(21)
    else:
        next(share for share in added if share).pop()
    with pytest.raises(PrivacyError, match="exactly once"):
        require_each_once(batch, added)


@pytest.mark.slow
def test_two_processes_give_the_clipped_sum_of_one(base: Base, helpers: Helpers) -> None:
    state, dataset = state_of(base), data()
    one, two = summed(base, state, dataset, None), summed(base, state, dataset, helpers)
    for (alone, counted), (together, counted_too) in zip(one, two, strict=True):
        assert np.linalg.norm(alone) > 0
        # The order of additions differs, and in float32 how units share a pass.
        assert np.linalg.norm(together - alone) <= 1e-6 * np.linalg.norm(alone)
        assert together.dtype == np.float64
        assert counted_too == counted


@pytest.mark.slow
def test_units_with_passes_of_their_own_give_the_same_sum_to_the_last_digits(base: Base, helpers: Helpers) -> None:
    """One example a unit and a pass: what differs is the order in which float64 numbers are added."""
    lone = replace(QUIET, examples_per_unit=1, sampling_rate=1.0, steps_per_round=1, expected_batch_units=1.0)
    state, dataset = state_of(base), PrivateDataset(tuple(unit[:1] for unit in data(4).units[:2]))
    plan = plan_of(state, privacy=lone, joint=True, optimiser=Optimiser(name="sgd"))
    alone, together = (update(base, plan, state, dataset, h) for h in (None, helpers))
    assert np.linalg.norm(alone) > 0
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6 * np.linalg.norm(alone))


@pytest.mark.slow
def test_two_processes_agree_with_the_slow_twin(base: Base, helpers: Helpers) -> None:
    state, dataset = state_of(base), PrivateDataset(tuple(unit[:2] for unit in data().units))
    quiet = replace(QUIET, sampling_rate=1.0, steps_per_round=1)
    found = update(base, plan_of(state, privacy=quiet, joint=True), state, dataset, helpers)
    adapted = base.adapt(state.schema, ("lora_A", "lora_B"))
    adapted.load(state)
    true = twin.clipped_sum(adapted, dataset.units, quiet.clip_norm_l2)
    expected = np.concatenate([true[t.name].numpy().ravel() for t in state.schema.part("lora_A", "lora_B")])
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "units"),
    [
        ({}, 9),
        (QUIET.__dict__, 9),
        ({"clipping": Clipping(rule="automatic", stability=0.01)}, 9),
        (
            {"clipping": Clipping(rule="adaptive", quantile=0.5, learning_rate=0.3, count_noise_multiplier=2.0)},
            9,
        ),
        ({"sampler": "truncated_poisson", "batch_limit": 4, "largest_units": 50}, 9),
        ({"sampling_rate": 1e-6}, 9),  # Every batch is empty.
        ({"sampling_rate": 1.0}, 1),  # Every batch has fewer units than there are processes.
    ],
    ids=["noise", "no noise", "automatic", "adaptive", "truncated", "empty", "one unit"],
)
def test_a_round_of_two_processes_is_that_of_one(
    change: dict[str, Any], units: int, base: Base, helpers: Helpers
) -> None:
    state, dataset = state_of(base), data(units)
    plan = plan_of(state, privacy=replace(PRIVACY, **change))
    alone, together = (update(base, plan, state, dataset, h) for h in (None, helpers))
    assert np.linalg.norm(alone) > 0
    # Adam's first steps are as long whatever the gradient: a small number's rounding may show.
    np.testing.assert_allclose(together, alone, rtol=0, atol=2e-4 * float(np.abs(alone).max()))
    if plan.privacy.sampling_rate < 1e-3:
        np.testing.assert_array_equal(together, alone)


@pytest.mark.slow
def test_a_masked_joint_step_of_two_processes_is_that_of_one(base: Base, helpers: Helpers) -> None:
    state, dataset = state_of(base), data()
    privacy = replace(PRIVACY, steps_per_round=1, mechanism=DISCRETE_GAUSSIAN, honest_minimum=2, noise_multiplier=1.0)
    parameters = sum(t.size for t in state.schema.part("lora_A", "lora_B"))
    sums = SumPlan.choose(privacy, parameters=parameters, parties=3, threshold=3, colluders=1)
    plan = plan_of(
        state,
        privacy=privacy,
        joint=True,
        sums=sums,
        members=tuple((n, n.encode().hex() * 32) for n in "abc"),
        quorum=3,
    )
    both = [
        Trainer(base, micro_batch=3, helpers=h).train_ring(
            plan, state, dataset, source=UnsafeSeeded(1), noise=UnsafeSeededIntegerNoise(2)
        )
        for h in (None, helpers)
    ]
    alone, together = (sums.ring(parameters).decode(values) for values in both)
    # Encoding rounds at random by the system's coins: two roundings of one number differ by at most two grid steps.
    assert np.abs(together - alone).max() <= 2 * sums.resolution + 1e-6


@pytest.mark.slow
def test_a_helper_that_was_killed_ends_a_round_and_is_started_again_for_the_next(base: Base, helpers: Helpers) -> None:
    (helper,) = helpers._helpers
    assert helper.process.pid is not None
    os.kill(helper.process.pid, signal.SIGKILL)
    helper.process.join()
    state, dataset = state_of(base), data()
    plan = plan_of(state, privacy=QUIET)
    with pytest.raises(RoundError, match="gone"):
        update(base, plan, state, dataset, helpers)
    alone, together = (update(base, plan, state, dataset, h) for h in (None, helpers))
    np.testing.assert_allclose(together, alone, rtol=0, atol=2e-4 * float(np.abs(alone).max()))


@pytest.mark.slow
def test_rounds_of_different_adapters_and_parts_follow_each_other(base: Base, helpers: Helpers) -> None:
    dataset = data()
    for rank, trains in ((2, ("lora_B",)), (3, ("lora_A", "lora_B")), (2, ("lora_A",))):
        state = state_of(base, rank)
        plan = plan_of(state, trains=trains, privacy=QUIET)
        alone, together = (update(base, plan, state, dataset, h) for h in (None, helpers))
        np.testing.assert_allclose(together, alone, rtol=0, atol=2e-4 * float(np.abs(alone).max()))


def test_each_process_has_a_device_of_its_own_or_all_have_the_cpu() -> None:
    assert devices_of("cpu", 3) == ("cpu", "cpu", "cpu")
    with pytest.raises(ConfigError, match="cannot share one device"):
        devices_of("cuda:1", 2)
    with pytest.raises(ConfigError, match="more processes than GPUs"):
        devices_of("cuda", 2 + torch.cuda.device_count())
    assert backend_of(["cpu", "cpu"]) == "gloo"
    assert backend_of(["cuda:0", "cuda:0"]) == "gloo"


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="two GPUs")
def test_two_gpus_give_the_round_of_one(path: Path, tmp_path: Path) -> None:
    first, second = devices_of("", 2)
    base = Base.load(path, device=first)
    pair = Helpers([replace(setup_of(path), device=second)], base, directory=tmp_path)
    try:
        state, dataset = state_of(base), data()
        plan = plan_of(state)
        alone, together = (update(base, plan, state, dataset, h) for h in (None, pair))
        np.testing.assert_allclose(together, alone, rtol=0, atol=2e-3 * float(np.abs(alone).max()))
    finally:
        pair.close()
