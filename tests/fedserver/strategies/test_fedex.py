"""FedEx-LoRA: exact while the residual has room, and the least that can be lost after that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedserver.strategies import load_strategy
from tests.reference.cohorts import PATHS, Cohort, adds, schema_for
from tests.reference.folds import mean_of_products, nearest, product, product_of_means

few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)
STRATEGY = load_strategy("fedex")
TIMES = STRATEGY.traits.residual_times
WIDE = schema_for(STRATEGY, rank=2, outputs=20, inputs=21)


@few
@given(seed=seeds, count=st.integers(1, TIMES + 1))
def test_the_first_round_of_up_to_five_is_exact(seed: int, count: int) -> None:
    cohort = Cohort.drawn(STRATEGY, seed, count=count, schema=WIDE, fresh=True)
    folded = STRATEGY.fold(cohort.state, cohort.sum())
    for path in PATHS:
        mean = mean_of_products(cohort.own(path), cohort.weights)
        np.testing.assert_allclose(adds(folded, path), mean, atol=1e-6 * np.abs(mean).max() + 1e-7)


def test_more_institutions_lose_the_smallest_part_of_what_factors_miss() -> None:
    cohort = Cohort.drawn(STRATEGY, 5, count=TIMES + 4, schema=WIDE, fresh=True)
    folded = STRATEGY.fold(cohort.state, cohort.sum())
    for path in PATHS:
        own = cohort.own(path)
        mean, means = mean_of_products(own, cohort.weights), product_of_means(own, cohort.weights)
        lost = np.linalg.norm(adds(folded, path) - mean)
        assert lost > 1e-3 * np.linalg.norm(mean), "it does not fit"
        best = np.linalg.norm((mean - means) - nearest(mean - means, TIMES * 2))
        assert lost == pytest.approx(best, rel=1e-4), "no residual of the rank loses less"
        assert lost < 0.8 * np.linalg.norm(means - mean), "most of what fedavg misses is kept"


@few
@given(seed=seeds)
def test_rounds_add_up_in_the_residual_and_the_factors_are_those_of_fedavg(seed: int) -> None:
    schema = schema_for(STRATEGY, rank=3, outputs=8, inputs=9)  # A residual of 12: it holds anything.
    state = Cohort.drawn(STRATEGY, seed, schema=schema, fresh=True).state
    twin = dict.fromkeys(PATHS, np.zeros((8, 9)))
    for round in (1, 2, 3):
        drawn = Cohort.drawn(STRATEGY, seed + round, count=4, schema=schema)
        cohort = Cohort(
            state=state, trains=drawn.trains, updates=drawn.updates, ranks=drawn.ranks, weights=(1.0, 2.0, 0.5, 1.0)
        )
        state = STRATEGY.fold(state, cohort.sum())
        averaged = load_strategy("fedavg").fold(cohort.state, cohort.sum())
        for path in PATHS:
            own = cohort.own(path)
            twin[path] = twin[path] + mean_of_products(own, cohort.weights) - product_of_means(own, cohort.weights)
            for part in ("lora_A", "lora_B"):
                name = f"{path}.{part}"
                np.testing.assert_array_equal(state.tensors[name], averaged.tensors[name])
            b, a = state.tensors[f"{path}.residual_B"], state.tensors[f"{path}.residual_A"]
            np.testing.assert_allclose(product((b, a)), twin[path], atol=2e-6)


def test_the_residual_is_never_trained_and_travels_down_after_the_first_round() -> None:
    parts = ("residual_A", "residual_B")
    assert not set(parts) & {part for r in (1, 2, 3) for part in STRATEGY.trains(r)}
    assert not set(parts) & set(STRATEGY.carries(1))
    assert set(parts) <= set(STRATEGY.carries(2))
