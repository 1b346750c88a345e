"""The trainer: rounds start from their state alone, and what has secure sums leaves encoded or not at all."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from domains.language import Base, Encoded, collate, mean_loss
from fedclient.dataset import PrivateDataset
from fedclient.model import GradientRule, Trainer
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.errors import BaseMismatch, ConfigError, InvalidPlan, ModelError, PrivacyError
from fedcore.privacy.integer_noise import SecureIntegerNoise
from fedcore.privacy.noise import SecureNoise, UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.plan import UNSAFE_NO_NOISE, PrivacyPlan
from fedcore.privacy.sampling import SystemRandom, UnsafeSeeded
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import Optimiser, RoundPlan
from fedcore.secagg import RingArray
from fedcore.sums import SumPlan
from simulations.tiny import KINDS, TARGETS, TinyKind, make_tiny_base
from tests.reference import clipped_sum as twin

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
QUIET = replace(PRIVACY, noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE, sampling_rate=1.0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = Path(tmp_path_factory.mktemp("bases"))
    for kind in KINDS:
        make_tiny_base(directory / kind, kind)
    return directory


@pytest.fixture
def base(root: Path) -> Base:
    return Base.load(root / "llama", device="cpu")


def schema_of(base: Base, kind: TinyKind = "llama", rank: int = 2) -> AdapterSchema:
    return AdapterSchema.for_base(base.card, rank=rank, alpha=4, targets=TARGETS[kind])


def data(seed: int = 0, units: int = 6) -> PrivateDataset:
    generator = np.random.default_rng(seed)
    out = []
    for _ in range(units):
        ids = tuple(int(t) for t in generator.integers(3, 40, int(generator.integers(4, 12))))
        out.append((Encoded(ids=ids, labels=(-100, *ids[1:]), label=int(generator.integers(0, 3))),))
    return PrivateDataset(tuple(out))


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
        "trains": ("lora_A", "lora_B", "head"),
        "carries": ("lora_A", "lora_B", "head"),
        "cohort": ("a",),
        "weight": 1.0,
        "quorum": 1,
        "deadline_s": 60.0,
        "max_tokens": 64,
        "optimiser": Optimiser(learning_rate=0.02),
        "privacy": PRIVACY,
    }
    return RoundPlan(**{**fields, **changes})


def seeded_round(trainer: Trainer, plan: RoundPlan, state: AdapterState) -> dict[str, Any]:
    update = trainer.train(plan, state, data(), source=UnsafeSeeded(1), noise=UnsafeSeededNoise(2))
    return dict(update.tensors)


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_loss_on_every_kind_of_base(root: Path, kind: TinyKind) -> None:
    base = Base.load(root / kind, device="cpu")
    state = AdapterState.initial(schema_of(base, kind), seed=7)
    examples = [e for unit in data().units for e in unit]
    before = mean_loss(base, base.adapt(state.schema, ()), examples)
    quiet = replace(QUIET, steps_per_round=25, expected_batch_units=6.0, clip_norm_l2=10.0)
    plan = plan_of(state, privacy=quiet, optimiser=Optimiser(learning_rate=0.05))
    update = Trainer(base).train(plan, state, data(), source=SystemRandom(), noise=UnsafeNoNoise())
    after = base.adapt(state.schema, ())
    after.load(state.replace({n: state.tensors[n] + d for n, d in update.tensors.items()}))
    assert mean_loss(base, after, examples) < 0.97 * before


def test_an_update_holds_exactly_what_the_plan_trains(base: Base) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    for trains in (("lora_B",), ("lora_A",), ("lora_A", "lora_B")):
        update = Trainer(base).train(
            plan_of(state, trains=trains), state, data(), source=SystemRandom(), noise=SecureNoise()
        )
        assert tuple(update.tensors) == tuple(t.name for t in state.schema.part(*trains))
        assert all(a.any() for a in update.tensors.values())


def test_alternating_rounds_equal_rounds_of_a_fresh_trainer(root: Path, base: Base) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    state = state.replace({n: a + np.float32(0.05) for n, a in state.part("lora_B").items()})
    kept = Trainer(base)
    for trains in (("lora_A",), ("lora_B",), ("lora_B",), ("lora_A", "lora_B"), ("lora_A",)):
        plan = plan_of(state, trains=trains)
        fresh = seeded_round(Trainer(Base.load(root / "llama", device="cpu")), plan, state)
        again = seeded_round(kept, plan, state)
        assert all((fresh[n] == again[n]).all() for n in fresh)


@pytest.mark.parametrize("gradients", ["fused", "hooks"])
def test_nothing_is_put_on_the_model_twice_nor_left_behind(base: Base, gradients: GradientRule) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    module = base.adapt(state.schema, ("lora_B",)).module

    def traces() -> int:
        hooks = sum(len(m._forward_hooks) + len(m._backward_hooks) for m in module.modules())
        return hooks + sum("forward" in vars(m) for m in module.modules())

    during = []
    for trainer in (Trainer(base, gradients=gradients), Trainer(base, gradients=gradients)):
        for _ in range(2):
            trainer.train(
                plan_of(state, trains=("lora_B",)),
                state,
                data(),
                source=SystemRandom(),
                noise=SecureNoise(),
                report=lambda done, steps: during.append(traces()),
            )
            assert traces() == 0
    layers = len(state.schema.part("lora_B"))
    assert set(during) == {layers if gradients == "fused" else 2 * layers}


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_form_gradients_gives_the_same_update(root: Path, kind: TinyKind) -> None:
    base = Base.load(root / kind, device="cpu")
    state = AdapterState.initial(schema_of(base, kind), seed=7)
    plan = plan_of(state, optimiser=Optimiser(name="sgd", learning_rate=0.5))
    usual = seeded_round(Trainer(base), plan, state)
    for trainer in (
        Trainer(base, gradients="hooks"),
        Trainer(base, micro_batch=2),
        Trainer(base, checkpointing=True),
        Trainer(base, gradients="hooks", checkpointing=True),
    ):
        found = seeded_round(trainer, plan, state)
        assert all(np.allclose(found[n], usual[n], rtol=0, atol=2e-6) for n in usual)
        assert not any(m.training for m in base.model.modules())


def test_an_unknown_way_to_form_gradients_is_refused(base: Base) -> None:
    with pytest.raises(ConfigError, match="fused or hooks; got 'ghost'"):
        Trainer(base, gradients="ghost")  # type: ignore[arg-type]


def test_what_was_proven_of_a_model_is_not_proven_again(base: Base) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    trainer, passes = Trainer(base), []
    inner = base.model.get_input_embeddings().register_forward_hook(lambda *_: passes.append(1))
    try:
        empty = replace(PRIVACY, sampling_rate=1e-12)
        for trains in (("lora_B",), ("lora_A",), ("lora_B",), ("lora_A",)):
            seeded_round(trainer, plan_of(state, trains=trains, privacy=empty), state)
    finally:
        inner.remove()
    assert len(passes) == 2 * 4  # One batch of three made-up sequences and each alone, for each of two sets.


def test_another_adapter_on_the_same_base_starts_clean(root: Path, base: Base) -> None:
    trainer = Trainer(base)
    small, large = (AdapterState.initial(schema_of(base, rank=r), seed=7) for r in (2, 3))
    first = seeded_round(trainer, plan_of(small), small)
    seeded_round(trainer, plan_of(large), large)
    again = seeded_round(trainer, plan_of(small), small)
    assert all((first[n] == again[n]).all() for n in first)


def test_a_round_interrupted_at_a_step_does_not_show_in_the_next(base: Base) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    trainer, plan = Trainer(base), plan_of(state)
    clean = seeded_round(trainer, plan, state)

    def interrupt(done: int, steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(plan, state, data(1), source=SystemRandom(), noise=SecureNoise(), report=interrupt)
    again = seeded_round(trainer, plan, state)
    assert all((clean[n] == again[n]).all() for n in clean)


def test_the_base_itself_never_changes_and_stays_in_evaluation(base: Base) -> None:
    probe = collate([data().units[0][0]])
    before = base.sequence_losses(probe)
    state = AdapterState.initial(schema_of(base), seed=7)
    seeded_round(Trainer(base), plan_of(state), state)
    with base.without_adapter(), torch.no_grad():
        assert torch.equal(base.sequence_losses(probe), before)
    assert not any(m.training for m in base.model.modules())


def test_a_state_of_another_adapter_is_refused(base: Base) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    other = AdapterState.initial(schema_of(base, rank=3), seed=7)
    with pytest.raises(BaseMismatch):
        Trainer(base).train(plan_of(state), other, data(), source=SystemRandom(), noise=SecureNoise())


def test_a_plan_for_another_base_is_refused(base: Base) -> None:
    foreign = AdapterState.initial(replace(schema_of(base), base_digest="0" * 64), seed=7)
    with pytest.raises(BaseMismatch):
        Trainer(base).train(plan_of(foreign), foreign, data(), source=SystemRandom(), noise=SecureNoise())


def test_noise_that_the_plan_does_not_promise_is_refused(base: Base) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    with pytest.raises(PrivacyError):
        Trainer(base).train(plan_of(state), state, data(), source=SystemRandom(), noise=UnsafeNoNoise())


def test_a_round_that_diverges_is_refused(base: Base) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    wild = replace(PRIVACY, clip_norm_l2=1e38, noise_multiplier=1e6)
    plan = plan_of(state, privacy=wild, optimiser=Optimiser(name="sgd", learning_rate=10.0))
    with pytest.raises(ModelError, match="learning_rate"):
        Trainer(base).train(plan, state, data(), source=SystemRandom(), noise=SecureNoise())


ONE = replace(PRIVACY, steps_per_round=1)
QUIET_ONE = replace(QUIET, steps_per_round=1)
SHARED = replace(ONE, mechanism="discrete_gaussian", honest_minimum=3)
MEMBERS = tuple((name, f"{place:064x}") for place, name in enumerate("abc"))


def ring_plan(state: AdapterState, privacy: PrivacyPlan, *, joint: bool, **changes: Any) -> RoundPlan:
    """A plan of three institutions whose sums are masked."""
    size = sum(t.size for t in state.schema.part(*changes.get("trains", ("lora_A", "lora_B", "head"))))
    sums = SumPlan.choose(
        privacy,
        parameters=size,
        parties=3,
        threshold=3,
        colluders=0,
        update_bound_l2=None if joint else 10.0,
    )
    fields = {"joint": joint, "sums": sums, "members": MEMBERS, "cohort": ("a", "b", "c"), "quorum": 3}
    return plan_of(state, privacy=privacy, **fields, **changes)


def decoded(plan: RoundPlan, vectors: list[RingArray]) -> Any:
    assert plan.sums is not None
    return plan.sums.ring(plan.parameters).decode(np.add.reduce(vectors, dtype=vectors[0].dtype))


def moved(base: Base) -> AdapterState:
    """A state in which no gradient vanishes."""
    state = AdapterState.initial(schema_of(base), seed=7)
    return state.replace({n: a + np.float32(0.05) for n, a in state.part("lora_B").items()})


def slow_sum(base: Base, plan: RoundPlan, state: AdapterState, dataset: PrivateDataset) -> Any:
    """The twin's clipped sum as one vector in the order of the plan's tensors."""
    adapted = base.adapt(plan.schema, plan.trains)
    adapted.load(state)
    total = twin.clipped_sum(adapted, dataset.units, plan.privacy.clip_norm_l2 * (1 - 2.0**-18))
    return np.concatenate([total[t.name].numpy().ravel() for t in plan.trained])


@pytest.mark.parametrize("trains", [("lora_A",), ("lora_B",), ("lora_A", "lora_B")])
def test_a_joint_round_gives_the_clipped_sum_in_the_order_of_the_plan(base: Base, trains: tuple[str, ...]) -> None:
    state, trainer = moved(base), Trainer(base)
    tight = replace(QUIET_ONE, clip_norm_l2=0.05)  # Some units pass it and others do not.
    plan = plan_of(state, privacy=tight, joint=True, trains=trains)
    update = trainer.train(plan, state, data(), source=SystemRandom(), noise=UnsafeNoNoise())
    expected = slow_sum(base, plan, state, data())
    assert tuple(update.tensors) == tuple(t.name for t in plan.trained)
    assert np.linalg.norm(expected) > 0.04
    assert np.linalg.norm(update.flatten() - expected) <= 1e-6 * np.linalg.norm(expected)
    masked = ring_plan(state, tight, joint=True, trains=trains)
    vectors = [
        trainer.train_ring(masked, state, data(seed), source=SystemRandom(), noise=UnsafeNoNoise()) for seed in range(3)
    ]
    pooled = sum(slow_sum(base, plan, state, data(seed)) for seed in range(3))
    assert masked.sums is not None
    assert np.abs(decoded(masked, vectors) - pooled).max() <= masked.sums.ring(plan.parameters).error_bound + 1e-6


@pytest.mark.parametrize("rate", [1.0, 1e-12], ids=["units", "an empty batch"])
def test_a_joint_round_with_noise_has_that_of_the_plan(base: Base, rate: float) -> None:
    state, trainer = moved(base), Trainer(base)
    std = ONE.noise_multiplier * ONE.clip_norm_l2
    expected = slow_sum(base, plan_of(state, privacy=QUIET_ONE), state, data()) if rate == 1 else 0.0
    plan = plan_of(state, privacy=replace(ONE, sampling_rate=rate), joint=True)
    rounds = [trainer.train(plan, state, data(), source=SystemRandom(), noise=SecureNoise()) for _ in range(12)]
    require_gaussian(np.stack([update.flatten() for update in rounds]) - expected, std)

    plan = ring_plan(state, replace(SHARED, sampling_rate=rate), joint=True)
    assert plan.sums is not None
    vectors = [
        trainer.train_ring(plan, state, data(), source=SystemRandom(), noise=SecureIntegerNoise()) for _ in range(12)
    ]
    threes = [decoded(plan, vectors[i : i + 3]) - 3 * expected for i in range(0, 12, 3)]
    carried = 3**0.5 * plan.sums.share_std_units * plan.sums.resolution
    require_gaussian(np.stack(threes), carried)
    require_gaussian(np.stack([decoded(plan, [v]) - expected for v in vectors]), carried / 3**0.5)
    assert std <= carried <= 1.01 * std


def require_gaussian(values: Any, std: float) -> None:
    """Mean 0 and this standard deviation; honest values fail less than once in 10**6."""
    assert abs(values.mean()) <= 5.1 * std / values.size**0.5
    assert (
        stats.chi2.ppf(2.5e-7, values.size) <= float((values**2).sum()) / std**2 <= stats.chi2.isf(2.5e-7, values.size)
    )


def test_local_steps_in_a_ring_are_the_same_update(base: Base) -> None:
    state, trainer = moved(base), Trainer(base)
    masked = ring_plan(state, PRIVACY, joint=False)
    clear = plan_of(state)
    update = trainer.train(clear, state, data(), source=UnsafeSeeded(1), noise=UnsafeSeededNoise(2))
    vector = trainer.train_ring(masked, state, data(), source=UnsafeSeeded(1), noise=UnsafeSeededNoise(2))
    assert masked.sums is not None
    assert vector.dtype == np.dtype(f"<u{masked.sums.bits // 8}")
    assert np.abs(decoded(masked, [vector]) - update.flatten()).max() <= masked.sums.resolution


def test_joint_rounds_of_alternating_parts_equal_rounds_of_a_fresh_trainer(root: Path, base: Base) -> None:
    state, kept = moved(base), Trainer(base)
    local = plan_of(state)
    for trains in (("lora_A",), ("lora_B",), ("lora_B",), ("lora_A", "lora_B"), ("lora_A",)):
        plan = plan_of(state, privacy=ONE, joint=True, trains=trains)
        fresh = seeded_round(Trainer(Base.load(root / "llama", device="cpu")), plan, state)
        again = seeded_round(kept, plan, state)
        assert all((fresh[n] == again[n]).all() for n in fresh)
        seeded_round(kept, local, state)  # Rounds of the other kind in between leave no trace.


def test_what_has_secure_sums_never_leaves_in_clear_and_nothing_else_leaves_encoded(base: Base) -> None:
    state, trainer = moved(base), Trainer(base)
    for privacy, joint, noise in (
        (PRIVACY, False, SecureNoise()),
        (QUIET, False, UnsafeNoNoise()),
        (SHARED, True, SecureIntegerNoise()),
        (QUIET_ONE, True, UnsafeNoNoise()),
    ):
        given: Any = noise
        with pytest.raises(PrivacyError, match="encoded or not at all"):
            trainer.train(ring_plan(state, privacy, joint=joint), state, data(), source=SystemRandom(), noise=given)
        if not privacy.shares_noise:
            with pytest.raises(PrivacyError, match="no secure sums"):
                trainer.train_ring(
                    plan_of(state, privacy=privacy, joint=joint), state, data(), source=SystemRandom(), noise=given
                )


@pytest.mark.parametrize(
    ("privacy", "joint", "noise"),
    [
        (SHARED, True, SecureNoise()),
        (SHARED, True, UnsafeNoNoise()),
        (QUIET_ONE, True, SecureIntegerNoise()),
        (PRIVACY, False, SecureIntegerNoise()),
        (QUIET, False, SecureNoise()),
        (ONE, True, SecureNoise()),
    ],
    ids=["gaussian", "none", "integers for none", "integers, local", "gaussian for none, local", "own noise, joint"],
)
def test_a_ring_with_noise_of_another_mechanism_is_refused(
    base: Base, privacy: PrivacyPlan, joint: bool, noise: Any
) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    with pytest.raises(PrivacyError):
        Trainer(base).train_ring(
            ring_plan(state, privacy, joint=joint), state, data(), source=SystemRandom(), noise=noise
        )


def test_sums_with_too_little_noise_are_refused_before_the_model_is_touched(base: Base) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    plan = ring_plan(state, SHARED, joint=True)
    assert plan.sums is not None
    # A plan like this cannot be made, nor read from a wire; the trainer does not rest on that.
    object.__setattr__(plan, "sums", replace(plan.sums, share_std_units=plan.sums.share_std_units - 2))
    before = [p.detach().clone() for p in base.adapt(state.schema, ("lora_A",)).parameters.values()]
    with pytest.raises(InvalidPlan):
        Trainer(base).train_ring(plan, moved(base), data(), source=SystemRandom(), noise=SecureIntegerNoise())
    after = base.adapt(state.schema, ("lora_A",)).parameters.values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_joint_sum_that_leaves_the_finite_numbers_is_refused(base: Base) -> None:
    state = AdapterState.initial(schema_of(base), seed=7)
    wild = replace(ONE, clip_norm_l2=1e38, noise_multiplier=1e6)
    with pytest.raises(ModelError):
        Trainer(base).train(
            plan_of(state, privacy=wild, joint=True), state, data(), source=SystemRandom(), noise=SecureNoise()
        )
