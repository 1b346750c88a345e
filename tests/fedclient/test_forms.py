"""Rounds that train cores, or beside a residual: private, local and joint, through the institution's own session."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from domains.language import Base, mean_loss
from fedclient.dataset import PrivateDataset
from fedclient.model import Trainer
from fedclient.session import run_round
from fedcore.adapter import AdapterSchema, AdapterState, Form
from fedcore.errors import InvalidPlan
from fedcore.privacy.integer_noise import UnsafeSeededIntegerNoise
from fedcore.privacy.noise import SecureNoise, UnsafeNoNoise
from fedcore.privacy.plan import UNSAFE_NO_NOISE, PrivacyPlan
from fedcore.privacy.sampling import SystemRandom, UnsafeSeeded
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import Optimiser, RoundPlan
from fedcore.sums import SumPlan
from fedcore.wire import read_reply
from simulations.tiny import KINDS, TARGETS, TinyKind, make_tiny_base
from tests.fedclient.test_model import data, plan_of, seeded_round
from tests.fedclient.test_session import Site, examples
from tests.reference import clipped_sum as twin

Plans = Callable[..., RoundPlan]
FORMS: list[tuple[Form, int]] = [("core", 0), ("core", 3), ("lora", 5)]
PARTS: dict[str, tuple[str, ...]] = {"core": ("core", "head"), "lora": ("lora_A", "lora_B", "head")}
PRIVACY = PrivacyPlan(
    unit=PrivacyUnit(key="patient"),
    sampling_rate=1.0,
    steps_per_round=1,
    expected_batch_units=6.0,
    examples_per_unit=2,
    clip_norm_l2=1.0,
    noise_multiplier=0.5,
    delta=1e-5,
)
QUIET = replace(PRIVACY, noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE)

all_forms = pytest.mark.parametrize(("form", "residual"), FORMS)


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


def state_of(base: Base, form: Form, residual: int, kind: TinyKind = "llama", scale: float = 0.2) -> AdapterState:
    """A state as it is after some rounds: what changes and what a server folds in is not zero."""
    schema = AdapterSchema.for_base(
        base.card, rank=3, alpha=6, targets=TARGETS[kind], form=form, residual_rank=residual
    )
    rng = np.random.default_rng(0)
    return AdapterState.initial(schema, seed=7).replace(
        {
            t.name: rng.normal(0, scale, t.shape).astype(np.float32)
            for t in schema.part("core", "residual_A", "residual_B", *(("lora_B",) if form == "lora" else ()))
        }
    )


def plan(state: AdapterState, **changes: Any) -> RoundPlan:
    parts = PARTS[state.schema.form]
    carries = (*parts, *(("residual_A", "residual_B") if state.schema.residual_rank else ()))
    return plan_of(state, **{"trains": parts, "carries": carries, "privacy": PRIVACY, **changes})


@all_forms
def test_a_private_round_returns_an_update_of_what_the_form_trains(
    tmp_path: Path, make_plan: Plans, bases: dict[TinyKind, Base], form: Form, residual: int
) -> None:
    base = bases["llama"]
    state = state_of(base, form, residual)
    privacy = dataclasses.replace(make_plan().privacy, sampling_rate=0.5, expected_batch_units=6.0, steps_per_round=2)
    asked = plan(state, privacy=privacy, max_tokens=24, task="medicine.record")
    site = Site(tmp_path, base.card)
    institution = site.institution(trainer=Trainer(base), dataset=lambda _: PrivateDataset(units=tuple(examples(base))))
    reply = run_round(site.seal(asked, state), institution)
    tensors, stated = read_reply(reply, asked, "a", site.identity.public)
    assert set(tensors) == {t.name for t in state.schema.part(*PARTS[form])}
    assert all(np.isfinite(a).all() and a.any() for a in tensors.values())
    assert stated["epsilon"] == pytest.approx(privacy.epsilon(1), rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
@all_forms
def test_a_joint_sum_equals_one_unit_at_a_time(
    bases: dict[TinyKind, Base], kind: TinyKind, form: Form, residual: int
) -> None:
    base = bases[kind]
    state = state_of(base, form, residual, kind)
    asked = plan(state, privacy=QUIET, joint=True, optimiser=Optimiser(name="sgd", learning_rate=0.5))
    update = Trainer(base).train(asked, state, data(), source=SystemRandom(), noise=UnsafeNoNoise())
    adapted = base.adapt(state.schema, asked.trains)
    adapted.load(state)
    expected = twin.clipped_sum(adapted, data().units, asked.privacy.clip_norm_l2 * (1 - 2.0**-18))
    assert set(update.tensors) == set(expected)
    for name, array in update.tensors.items():
        np.testing.assert_allclose(array, expected[name].numpy(), rtol=1e-4, atol=2e-6)


@all_forms
def test_a_masked_joint_share_decodes_to_the_same_sum(bases: dict[TinyKind, Base], form: Form, residual: int) -> None:
    base = bases["llama"]
    state = state_of(base, form, residual)
    shared = replace(
        PRIVACY, mechanism="discrete_gaussian", honest_minimum=3, noise_multiplier=1e-3, expected_batch_units=8.0
    )
    parameters = plan(state).parameters
    sums = SumPlan.choose(shared, parameters=parameters, parties=3, threshold=3, colluders=0)
    asked = plan(
        state,
        privacy=shared,
        joint=True,
        sums=sums,
        quorum=3,
        cohort=("a", "b", "c"),
        members=tuple((name, f"{i}" * 64) for i, name in enumerate("abc")),
    )
    ring = Trainer(base).train_ring(asked, state, data(), source=UnsafeSeeded(1), noise=UnsafeSeededIntegerNoise(2))
    quiet = replace(asked, privacy=replace(QUIET, expected_batch_units=8.0), sums=None, members=())
    plain = Trainer(base).train(quiet, state, data(), source=UnsafeSeeded(1), noise=UnsafeNoNoise())
    found = sums.ring(parameters).decode(ring)
    assert np.abs(found - plain.flatten()).max() <= 8e-3 + 10 * sums.resolution


@all_forms
@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert"])
def test_every_way_to_form_gradients_gives_the_same_update(
    bases: dict[TinyKind, Base], kind: TinyKind, form: Form, residual: int
) -> None:
    base = bases[kind]
    state = state_of(base, form, residual, kind)
    asked = plan(state, optimiser=Optimiser(name="sgd", learning_rate=0.5))
    usual = seeded_round(Trainer(base), asked, state)
    assert all(a.any() for a in usual.values())
    for trainer in (
        Trainer(base, gradients="hooks"),
        Trainer(base, micro_batch=2),
        Trainer(base, checkpointing=True),
        Trainer(base, gradients="hooks", checkpointing=True),
    ):
        found = seeded_round(trainer, asked, state)
        assert all(np.allclose(found[n], usual[n], rtol=0, atol=3e-6) for n in usual)
        assert not any(m.training for m in base.model.modules())


@all_forms
@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_loss_and_leaves_what_is_frozen(
    bases: dict[TinyKind, Base], kind: TinyKind, form: Form, residual: int
) -> None:
    base = bases[kind]
    state = state_of(base, form, residual, kind, scale=0.05)
    held = [e for unit in data().units for e in unit]
    adapted = base.adapt(state.schema, ())
    adapted.load(state)
    before = mean_loss(base, adapted, held)
    quiet = replace(QUIET, steps_per_round=25, clip_norm_l2=10.0)
    asked = plan(state, privacy=quiet, optimiser=Optimiser(learning_rate=0.3 if form == "core" else 0.1))
    update = Trainer(base).train(asked, state, data(), source=SystemRandom(), noise=UnsafeNoNoise())
    read = base.adapt(state.schema, ()).read(t.name for t in state.schema.part(*state.schema.frozen))
    assert read
    assert all(np.array_equal(read[name], state.tensors[name]) for name in read)
    adapted.load(state.replace({n: state.tensors[n] + d for n, d in update.tensors.items()}))
    # A few cores of 3 x 3 can say less than whole factors.
    assert mean_loss(base, adapted, held) < (0.99 if form == "core" else 0.97) * before


def test_rounds_of_all_forms_on_one_trainer_equal_those_of_fresh_ones(bases: dict[TinyKind, Base]) -> None:
    base = bases["llama"]
    kept = Trainer(base)
    for form, residual in [*FORMS, FORMS[0], FORMS[2]]:
        state = state_of(base, form, residual)
        fresh = seeded_round(Trainer(Base.load(base.path, device="cpu")), plan(state), state)
        again = seeded_round(kept, plan(state), state)
        assert all((fresh[n] == again[n]).all() for n in fresh)


@pytest.mark.parametrize(
    ("form", "residual", "part"),
    [("core", 0, "lora_A"), ("core", 0, "lora_B"), ("lora", 5, "residual_A"), ("core", 3, "residual_B")],
)
@pytest.mark.parametrize("field", ["trains", "keeps"])
def test_a_plan_that_trains_what_its_form_freezes_is_no_plan(
    bases: dict[TinyKind, Base], form: Form, residual: int, part: str, field: str
) -> None:
    state = state_of(bases["llama"], form, residual)
    others = PARTS[form] if field == "keeps" else ()
    with pytest.raises(InvalidPlan, match="form freezes"):
        plan(state, **{"trains": PARTS[form], "carries": others, field: (part,)})


def test_an_update_of_a_core_is_as_long_as_its_cores(bases: dict[TinyKind, Base]) -> None:
    state = state_of(bases["llama"], "core", 0)
    update = Trainer(bases["llama"]).train(plan(state), state, data(), source=SystemRandom(), noise=SecureNoise())
    assert update.flatten().shape == (9 * len(state.schema.part("core")),)
