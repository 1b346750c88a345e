"""FlexLoRA: slots in order of their singular values, so that any institution's first ones are the best it can have."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedserver.strategies import load_strategy
from tests.reference.cohorts import PATHS, Cohort, adds, schema_for
from tests.reference.folds import mean_of_products, nearest

few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)
STRATEGY = load_strategy("flexlora")
SCHEMA = schema_for(STRATEGY, rank=4, outputs=10, inputs=11)


@few
@given(seed=seeds, ranks=st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_the_first_slots_are_the_nearest_product_of_their_rank(seed: int, ranks: list[int]) -> None:
    cohort = Cohort.drawn(STRATEGY, seed, schema=SCHEMA, ranks=ranks)
    folded = STRATEGY.fold(cohort.state, cohort.sum())
    for path in PATHS:
        mean = mean_of_products(cohort.own(path), cohort.weights)
        b, a = (folded.tensors[f"{path}.{part}"].astype(np.float64) for part in ("lora_B", "lora_A"))
        for rank in range(1, 5):
            missing = np.linalg.norm(mean - b[:, :rank] @ a[:rank])
            assert missing <= np.linalg.norm(mean - nearest(mean, rank)) + 1e-5 * np.abs(mean).max()
        lengths = np.linalg.norm(b, axis=0)
        assert (np.diff(lengths) <= 1e-6).all(), "the largest singular value first"


@few
@given(seed=seeds)
def test_slots_that_nobody_filled_keep_their_rows_of_a_and_can_learn_again(seed: int) -> None:
    cohort = Cohort.drawn(STRATEGY, seed, schema=SCHEMA, ranks=(1, 1), fresh=True)
    folded = STRATEGY.fold(cohort.state, cohort.sum())
    for path in PATHS:
        assert not folded.tensors[f"{path}.lora_B"][:, 2:].any()
        np.testing.assert_array_equal(folded.tensors[f"{path}.lora_A"][2:], cohort.state.tensors[f"{path}.lora_A"][2:])


def test_a_slot_that_few_hold_shrinks_unless_the_others_make_up_for_it() -> None:
    """The mean of products counts what an institution does not hold as zero, as the docstring warns."""
    cohort = Cohort.drawn(STRATEGY, 3, schema=SCHEMA, ranks=(4, 1, 1, 1))
    still = tuple({n: 0 * a for n, a in u.items()} for u in cohort.updates)
    idle = Cohort(
        state=STRATEGY.fold(cohort.state, Cohort.drawn(STRATEGY, 3, schema=SCHEMA).sum()),
        trains=cohort.trains,
        updates=still,
        ranks=cohort.ranks,
        weights=cohort.weights,
    )
    folded = STRATEGY.fold(idle.state, idle.sum())
    for path in PATHS:
        b = {"before": idle.state.tensors[f"{path}.lora_B"], "after": folded.tensors[f"{path}.lora_B"]}
        before, after = (np.square(np.linalg.norm(b[when].astype(np.float64), axis=0)) for when in ("before", "after"))
        np.testing.assert_allclose(after / before, [1.0, 0.25, 0.25, 0.25], rtol=1e-4)
        assert np.linalg.norm(adds(folded, path)) < np.linalg.norm(adds(idle.state, path))
