"""The steps of a round that keeps a part: one vector over what leaves and what stays, clipped once and noised once."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from domains.language import Base
from fedclient.dataset import PrivateDataset
from fedclient.model import Trainer
from fedcore.adapter import AdapterSchema, AdapterState, FloatArray
from fedcore.errors import ConfigError, ModelError
from fedcore.privacy.noise import SecureNoise, UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.plan import UNSAFE_NO_NOISE, PrivacyPlan
from fedcore.privacy.sampling import SystemRandom, UnsafeSeeded
from fedcore.privacy.units import PrivacyUnit
from fedcore.ranks import narrow
from fedcore.round import Optimiser, RoundPlan
from fedcore.sums import SumPlan
from simulations.tiny import TARGETS, make_tiny_base
from tests.reference import clipped_sum as twin
from tests.reference.models import sequences

PRIVACY = PrivacyPlan(
    unit=PrivacyUnit(key="patient"),
    sampling_rate=0.7,
    steps_per_round=3,
    expected_batch_units=4.0,
    examples_per_unit=2,
    clip_norm_l2=1.0,
    noise_multiplier=0.5,
    delta=1e-5,
)
QUIET = replace(
    PRIVACY, examples_per_unit=9, noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE, sampling_rate=1.0, steps_per_round=1
)
SGD = Optimiser(name="sgd", learning_rate=1.0)
DATA = sequences([[9, 4], [3], [12, 5], [6], [2], [8, 8]], seed=0)
PARTS = ("lora_A", "lora_B")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base.load(make_tiny_base(Path(tmp_path_factory.mktemp("bases")) / "llama", "llama"), device="cpu")


def state_of(base: Base, seed: int = 1, rank: int = 2) -> AdapterState:
    """Random everywhere, so that no gradient vanishes."""
    schema = AdapterSchema.for_base(base.card, rank=rank, alpha=2.0 * rank, targets=TARGETS["llama"])
    numbers = np.random.default_rng(seed)
    values = {t.name: numbers.normal(0, 0.1, t.shape).astype(np.float32) for t in schema.tensors}
    return AdapterState(schema=schema, tensors=values)


def plan_of(state: AdapterState, **changes: Any) -> RoundPlan:
    fields: dict[str, Any] = {
        "job_id": "job",
        "round": 1,
        "rounds": 2,
        "task": "medicine.record",
        "schema": state.schema,
        "state_digest": state.digest,
        "seed": 7,
        "strategy": "fedsa",
        "trains": ("lora_A",),
        "carries": ("lora_A",),
        "keeps": ("lora_B",),
        "cohort": ("a",),
        "weight": 1.0,
        "quorum": 1,
        "deadline_s": 60.0,
        "max_tokens": 64,
        "optimiser": SGD,
        "privacy": QUIET,
    }
    return RoundPlan(**{**fields, **changes})


@dataclass
class Round:
    """One round of the real trainer: what leaves, and what stays as it moved."""

    leaves: Mapping[str, FloatArray]
    stays: Mapping[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(cls, base: Base, plan: RoundPlan, state: AdapterState, data: PrivateDataset = DATA, **given: Any) -> "Round":
        kept: dict[str, FloatArray] = {}
        options = {"source": UnsafeSeeded(1), "noise": UnsafeNoNoise(), **given}
        if plan.keeps:
            options["keep"] = kept.update
        update = Trainer(base).train(plan, state, data, **options)
        return cls(update.tensors, {n: a - state.tensors[n] for n, a in kept.items()})

    @property
    def all(self) -> dict[str, torch.Tensor]:
        return {n: torch.from_numpy(a.astype(np.float64)) for n, a in {**self.leaves, **self.stays}.items()}


def clip_of(base: Base, state: AdapterState) -> float:
    """A norm that some units pass and others do not."""
    adapted = base.adapt(state.schema, PARTS)
    adapted.load(state)
    return sorted(twin.norm(twin.unit_gradient(adapted, u)) for u in DATA.units)[3]


@pytest.mark.parametrize("keeps", [("lora_B",), ("lora_A",)], ids=str)
def test_a_step_clips_each_units_whole_gradient_once(base: Base, keeps: tuple[str, ...]) -> None:
    state = state_of(base)
    clip = clip_of(base, state)
    trains = tuple(p for p in PARTS if p not in keeps)
    plan = plan_of(state, trains=trains, carries=trains, keeps=keeps, privacy=replace(QUIET, clip_norm_l2=clip))
    found = Round.of(base, plan, state)
    assert set(found.stays) == {t.name for t in plan.kept}
    adapted = base.adapt(state.schema, PARTS)
    adapted.load(state)
    expected = twin.clipped_sum(adapted, DATA.units, clip)
    missed = {n: 4.0 * found.all[n] + expected[n] for n in expected}  # A step goes down by the mean over 4 units.
    assert twin.norm(missed) <= 1e-5 * twin.norm(expected) + 1e-5
    # Clipping each part by itself would let a unit move the two of them by sqrt(2) clip norms.
    adapted = base.adapt(state.schema, trains)
    alone = twin.clipped_sum(adapted, DATA.units, clip)
    assert twin.norm({n: 4.0 * found.all[n] + alone[n] for n in alone}) > 1e-2 * twin.norm(alone)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
@given(
    st.lists(st.lists(st.integers(2, 12), min_size=1, max_size=3), min_size=2, max_size=5),
    st.sampled_from([0.05, 0.5, 5.0]),
    st.integers(0, 999),
    st.data(),
)
def test_one_unit_moves_what_leaves_and_what_stays_together_at_most_the_clip_norm(
    base: Base, shape: list[list[int]], clip: float, seed: int, draw: st.DataObject
) -> None:
    state, data = state_of(base, seed), sequences(shape, seed)
    gone = draw.draw(st.integers(0, len(data) - 1))
    less = PrivateDataset(data.units[:gone] + data.units[gone + 1 :])
    plan = plan_of(state, privacy=replace(QUIET, clip_norm_l2=clip, expected_batch_units=1.0))
    whole, without = (Round.of(base, plan, state, d).all for d in (data, less))
    assert twin.norm({n: whole[n] - without[n] for n in whole}) <= clip * (1 + 1e-5) + 1e-5


@pytest.mark.parametrize("optimiser", [Optimiser(learning_rate=0.02), replace(SGD, learning_rate=0.3, proximal=0.5)])
def test_keeping_a_part_changes_where_it_goes_and_nothing_else(base: Base, optimiser: Optimiser) -> None:
    state = state_of(base)
    plan = plan_of(state, privacy=PRIVACY, optimiser=optimiser)
    kept = Round.of(base, plan, state, noise=UnsafeSeededNoise(2))
    sent = Round.of(base, replace(plan, trains=PARTS, keeps=()), state, noise=UnsafeSeededNoise(2))
    assert set(kept.leaves) | set(kept.stays) == set(sent.leaves)
    assert not set(kept.leaves) & set(kept.stays)
    assert all(np.array_equal(sent.leaves[n], a) for n, a in {**kept.leaves, **kept.stays}.items())


def test_what_stays_carries_the_plans_noise(base: Base) -> None:
    # Nobody is drawn, so what moves is the noise of one step: standard deviation z C / B in every number.
    state = state_of(base)
    privacy = replace(PRIVACY, sampling_rate=1e-12, steps_per_round=1)
    plan = plan_of(state, privacy=privacy)
    moved = [Round.of(base, plan, state, source=SystemRandom(), noise=SecureNoise()).stays for _ in range(20)]
    values = np.concatenate([a.ravel() for m in moved for a in m.values()]).astype(np.float64)
    assert values.std() == pytest.approx(0.5 * 1.0 / 4.0, rel=5 / math.sqrt(2 * len(values)))
    assert abs(values.mean()) < 5 * 0.125 / math.sqrt(len(values))


def test_secure_sums_encode_what_leaves_and_nothing_of_what_stays(base: Base) -> None:
    state = state_of(base)
    plan = plan_of(state, privacy=PRIVACY, optimiser=Optimiser(learning_rate=0.02))
    clear = Round.of(base, plan, state, noise=UnsafeSeededNoise(2))
    sums = SumPlan.choose(
        PRIVACY, parameters=plan.parameters, parties=3, threshold=2, colluders=0, update_bound_l2=10.0
    )
    members = tuple((name, f"{place:064x}") for place, name in enumerate("abc"))
    masked = replace(plan, sums=sums, members=members, quorum=2)
    kept: dict[str, FloatArray] = {}
    options: dict[str, Any] = {"source": UnsafeSeeded(1), "noise": UnsafeSeededNoise(2), "keep": kept.update}
    vector = Trainer(base).train_ring(masked, state, DATA, **options)
    assert vector.shape == (sum(t.size for t in plan.trained),)
    found = sums.ring(plan.parameters).decode(vector)
    expected = np.concatenate([clear.leaves[t.name].ravel() for t in plan.trained])
    assert np.abs(found - expected).max() <= sums.resolution
    assert all(np.array_equal(kept[n] - state.tensors[n], a) for n, a in clear.stays.items())


def test_a_lower_rank_clips_its_own_slots_alone(base: Base) -> None:
    whole = state_of(base, rank=4)
    state = narrow(whole, 2)
    clip = clip_of(base, state)
    plan = plan_of(state, trains=PARTS, carries=PARTS, keeps=(), privacy=replace(QUIET, clip_norm_l2=clip))
    found = Round.of(base, plan, state)
    adapted = base.adapt(state.schema, PARTS)
    adapted.load(state)
    expected = twin.clipped_sum(adapted, DATA.units, clip)
    assert twin.norm({n: 4.0 * found.all[n] + expected[n] for n in expected}) <= 1e-5 * twin.norm(expected) + 1e-5


def test_the_first_slots_alone_have_the_gradients_of_the_whole_with_the_others_at_zero(base: Base) -> None:
    whole, rank = state_of(base, rank=4), 2
    other = {n: a.copy() for n, a in whole.tensors.items()}
    for name, array in other.items():
        if "lora_B" in name:
            array[:, rank:] = 0.0
    full = whole.replace(other)
    sums = []
    for state in (full, narrow(whole, rank)):
        adapted = base.adapt(state.schema, PARTS)
        adapted.load(state)
        sums.append(twin.unit_gradient(adapted, DATA.units[0]))
    for name, gradient in sums[1].items():
        first = sums[0][name][:rank] if "lora_A" in name else sums[0][name][:, :rank]
        torch.testing.assert_close(gradient, first, rtol=1e-4, atol=1e-6)


def test_a_round_that_keeps_needs_somebody_to_keep_it(base: Base) -> None:
    state = state_of(base)
    with pytest.raises(ConfigError, match="keep"):
        Trainer(base).train(plan_of(state), state, DATA, source=SystemRandom(), noise=UnsafeNoNoise())


def test_what_is_no_number_is_not_kept(base: Base) -> None:
    state = state_of(base)
    kept: dict[str, FloatArray] = {}
    far = state.replace({n: np.full(a.shape, 3e38, dtype=np.float32) for n, a in state.part("lora_B").items()})
    noise: Any = UnsafeSeededNoise(1)
    noise.gaussian = lambda shape, std: np.full(shape, -3e38)
    with pytest.raises(ModelError):
        Trainer(base).train(
            plan_of(far, privacy=replace(PRIVACY, sampling_rate=1e-12, expected_batch_units=1.0)),
            far,
            DATA,
            source=SystemRandom(),
            noise=noise,
            keep=kept.update,
        )
    assert not kept
