"""FedSA, Fed-SB and FLoRA: what each leaves where it is, and why that is what it says."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.adapter import AdapterState
from fedserver.strategies import load_strategy
from tests.reference.cohorts import PATHS, Cohort, adds, schema_for
from tests.reference.folds import product

few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)


@few
@given(seed=seeds)
def test_with_a_personal_b_the_shared_a_gives_the_mean_of_the_products_with_everyones_a(seed: int) -> None:
    strategy = load_strategy("fedsa")
    cohort = Cohort.drawn(strategy, seed, count=4)
    folded = strategy.fold(cohort.state, cohort.sum())
    random = np.random.default_rng(seed)
    for path in PATHS:
        for _ in cohort.updates:
            b = random.normal(size=(6, 2)).astype(np.float32)  # Trained by one institution, seen by nobody.
            with_own = [product((b, a)) for _, a in cohort.own(path)]
            found = product((b, folded.tensors[f"{path}.lora_A"]))
            np.testing.assert_allclose(found, np.mean(with_own, axis=0), rtol=1e-4, atol=1e-5)


def test_a_personal_b_neither_travels_nor_is_folded() -> None:
    strategy = load_strategy("fedsa")
    assert strategy.traits.keeps == ("lora_B",)
    for round in (1, 2, 3):
        assert "lora_B" not in {*strategy.trains(round), *strategy.carries(round)}
    cohort = Cohort.drawn(strategy, 1, fresh=True)
    folded = strategy.fold(cohort.state, cohort.sum())
    assert not any(adds(folded, path).any() for path in PATHS), "a release adds nothing without an own B"


def test_the_factors_around_a_core_are_those_of_the_public_seed_and_few_numbers_travel() -> None:
    strategy = load_strategy("fedsb")
    schema = schema_for(strategy, rank=4, outputs=32, inputs=48)
    cohort = Cohort.drawn(strategy, 9, schema=schema, fresh=True)
    assert not any(adds(cohort.state, path).any() for path in PATHS), "the core starts at zero"
    folded = strategy.fold(cohort.state, cohort.sum())
    initial = AdapterState.initial(schema, seed=9)
    for name, array in initial.part("lora_A", "lora_B").items():
        assert array.any()
        np.testing.assert_array_equal(folded.tensors[name], array)
    assert all(np.linalg.matrix_rank(adds(folded, path)) == 4 for path in PATHS)
    assert sum(t.size for t in schema.part(*strategy.trains(1)) if t.part != "head") == 2 * 4 * 4


@few
@given(seed=seeds)
def test_stacked_factors_come_back_near_to_those_before_them(seed: int) -> None:
    """A small update moves the factors a little, so that a server optimiser can remember where they went."""
    strategy = load_strategy("flora")
    cohort = Cohort.drawn(strategy, seed, count=3, alike=True)
    first = strategy.fold(cohort.state, cohort.sum())  # From here on the factors are balanced.
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(2, 2)))  # Any rotation of them is as good.
    for path in PATHS:
        b, a = (first.tensors[f"{path}.{part}"] for part in ("lora_B", "lora_A"))
        turned = {f"{path}.lora_B": (b @ turn).astype(np.float32), f"{path}.lora_A": (turn.T @ a).astype(np.float32)}
        first = first.replace(turned)
    small = Cohort(
        state=first,
        trains=cohort.trains,
        updates=tuple({n: (a * 1e-3).astype(np.float32) for n, a in u.items()} for u in cohort.updates),
        ranks=cohort.ranks,
        weights=cohort.weights,
    )
    second = strategy.fold(first, small.sum())
    for path in PATHS:
        for part in ("lora_A", "lora_B"):
            name = f"{path}.{part}"
            scale = np.abs(first.tensors[name]).max()
            assert np.abs(second.tensors[name] - first.tensors[name]).max() < 0.02 * scale
