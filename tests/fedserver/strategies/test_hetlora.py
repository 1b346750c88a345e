"""HetLoRA: the mean of padded updates, where slots that few hold fade."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.errors import ConfigError
from fedserver.strategies import load_strategy
from fedserver.strategies.hetlora import DECAY
from tests.reference.cohorts import PATHS, Cohort, schema_for
from tests.reference.folds import padded_mean

few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)
STRATEGY = load_strategy("hetlora")
SCHEMA = schema_for(STRATEGY, rank=4, outputs=6, inputs=7)
PARTS = ("lora_B", "lora_A")


@pytest.mark.parametrize("decay", [0.0, DECAY, 1.0])
@few
@given(seed=seeds, ranks=st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_slots_are_those_of_the_twin_and_with_decay_1_the_mean_of_padded_factors(
    decay: float, seed: int, ranks: list[int]
) -> None:
    cohort = Cohort.drawn(STRATEGY, seed, schema=SCHEMA, ranks=ranks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedserver.strategies.hetlora.DECAY", decay)
        folded = STRATEGY.fold(cohort.state, cohort.sum())
    for path in PATHS:
        before = tuple(cohort.state.tensors[f"{path}.{part}"] for part in PARTS)
        twin = padded_mean(before, cohort.own(path), decay)
        for part, expected in zip(PARTS, twin, strict=True):
            np.testing.assert_allclose(folded.tensors[f"{path}.{part}"], expected, rtol=1e-5, atol=1e-6)


@few
@given(seed=seeds)
def test_with_equal_ranks_it_is_fedavg_to_the_last_bit(seed: int) -> None:
    cohort = Cohort.drawn(STRATEGY, seed, count=4, schema=SCHEMA)
    folded = STRATEGY.fold(cohort.state, cohort.sum())
    assert folded.digest == load_strategy("fedavg").fold(cohort.state, cohort.sum()).digest


@few
@given(seed=seeds, ranks=st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_identical_updates_are_the_identity_in_every_slot_that_all_hold(seed: int, ranks: list[int]) -> None:
    cohort = Cohort.drawn(STRATEGY, seed, schema=SCHEMA, ranks=[4] * len(ranks), alike=True)
    alike = replace(
        cohort,
        ranks=tuple(ranks),
        updates=tuple(
            {
                n: np.where(np.arange(4).reshape((-1, 1) if n.endswith("lora_A") else (1, -1)) < r, a, 0)
                if "lora" in n
                else a
                for n, a in u.items()
            }
            for u, r in zip(cohort.updates, ranks, strict=True)
        ),
    )
    folded, shared = STRATEGY.fold(alike.state, alike.sum()), min(ranks)
    for path in PATHS:
        for part, index in (("lora_B", (slice(None), slice(shared))), ("lora_A", (slice(shared),))):
            name = f"{path}.{part}"
            expected = cohort.state.tensors[name] + cohort.updates[0][name]
            np.testing.assert_allclose(folded.tensors[name][index], expected[index], rtol=1e-5, atol=1e-6)


def test_a_slot_that_half_hold_loses_a_tenth_of_its_product_in_a_round_without_updates() -> None:
    cohort = Cohort.drawn(STRATEGY, 1, schema=SCHEMA, ranks=(4, 1))
    idle = replace(cohort, updates=tuple({n: 0 * a for n, a in u.items()} for u in cohort.updates))
    folded = STRATEGY.fold(idle.state, idle.sum())
    b, a = (folded.tensors[f"{PATHS[0]}.{part}"] / idle.state.tensors[f"{PATHS[0]}.{part}"] for part in PARTS)
    np.testing.assert_allclose(b[0] * a[:, 0], [1.0, 0.9025, 0.9025, 0.9025], rtol=1e-5)


def test_a_rule_that_makes_one_virtual_institution_of_all_fades_what_nobody_holds() -> None:
    """Such a sum has the weight 1, the count of those it was made from, and says 1 or 0 of each slot."""
    cohort = Cohort.drawn(STRATEGY, 1, schema=SCHEMA, ranks=(2, 2, 1))
    one = replace(cohort.sum(), held=(1, 1, 0, 0), weight=1.0)
    folded = STRATEGY.fold(cohort.state, one)
    name = f"{PATHS[0]}.lora_A"
    moved = folded.tensors[name] - one.total[name]
    np.testing.assert_allclose(moved[:2], cohort.state.tensors[name][:2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moved[2:], (1 - DECAY) * cohort.state.tensors[name][2:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("held", [(3, 2), (3, 2, 1, 4), (3, 2, 1, -1), (0, 0, 0, 0)])
def test_counts_of_holders_that_cannot_be_are_refused(held: tuple[int, ...]) -> None:
    cohort = Cohort.drawn(STRATEGY, 1, schema=SCHEMA, ranks=(4, 2, 1))
    with pytest.raises(ConfigError, match="who holds the adapter's slots"):
        STRATEGY.fold(cohort.state, replace(cohort.sum(), held=held))
