"""Fixtures that several rooms share: a small schema, identities and plans. Nothing here is a mock.

Property tests try the same examples each time; `pytest --hypothesis-profile explore` tries new ones.
"""

import os

# Tests run side by side on few cores, on shapes too small for two threads. Libraries read this when they load.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fedcore.adapter import AdapterSchema, AdapterState, ModelCard, ModuleShape
from fedcore.identity import SigningIdentity
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import Optimiser, RoundPlan

# No example is judged by the clock, and a commit passes or fails alike wherever it is tested.
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture
def card() -> ModelCard:
    """A base of two linear modules."""
    modules = tuple(ModuleShape(path=f"layers.{i}.{n}", inputs=6, outputs=4) for i in (0, 1) for n in ("q_proj", "up"))
    return ModelCard(name="paper", digest="ab" * 32, kind="causal", architecture="Llama", modules=modules)


@pytest.fixture
def schema(card: ModelCard) -> AdapterSchema:
    return AdapterSchema.for_base(card, rank=2, alpha=4, targets=("q_proj",))


@pytest.fixture
def state(schema: AdapterSchema) -> AdapterState:
    return AdapterState.initial(schema, seed=7)


@pytest.fixture
def privacy() -> PrivacyPlan:
    return PrivacyPlan(
        unit=PrivacyUnit(key="patient"),
        sampling_rate=0.05,
        steps_per_round=3,
        expected_batch_units=10.0,
        examples_per_unit=2,
        clip_norm_l2=1.0,
        noise_multiplier=0.8,
        delta=1e-5,
    )


@pytest.fixture
def make_plan(schema: AdapterSchema, state: AdapterState, privacy: PrivacyPlan) -> Callable[..., RoundPlan]:
    """A round plan; any field can be overridden."""

    def make(**changes: Any) -> RoundPlan:
        fields: dict[str, Any] = {
            "job_id": "job",
            "round": 1,
            "rounds": 2,
            "task": "medicine.record",
            "schema": schema,
            "state_digest": state.digest,
            "seed": 7,
            "strategy": "frozen_a",
            "trains": ("lora_B",),
            "carries": ("lora_B",),
            "cohort": ("a", "b"),
            "weight": 1.0,
            "quorum": 1,
            "deadline_s": 60.0,
            "max_tokens": 64,
            "optimiser": Optimiser(),
            "privacy": privacy,
        }
        return RoundPlan(**{**fields, **changes})

    return make


@pytest.fixture
def coordinator_identity() -> SigningIdentity:
    return SigningIdentity.generate()


@pytest.fixture
def node_identity() -> SigningIdentity:
    return SigningIdentity.generate()
