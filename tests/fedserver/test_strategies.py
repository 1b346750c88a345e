"""What holds of every strategy: pure folds that agree with a slow twin, and are exact where they say so."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.errors import ConfigError
from fedserver.strategies import DEFAULT, load_strategy, strategy_names
from tests.reference.cohorts import PATHS, Cohort, adds, schema_for
from tests.reference.folds import mean_of_products, nearest, product_of_means

STRATEGIES = strategy_names()
MEANS = tuple(n for n in STRATEGIES if not load_strategy(n).traits.products and n != "hetlora")
"""Those that add the mean update and nothing else."""

few = settings(deadline=None, max_examples=15)
seeds = st.integers(0, 2**32 - 1)
each = pytest.mark.parametrize("name", STRATEGIES)


def ranks_for(name: str, seed: int) -> tuple[int, ...]:
    """Unequal ranks where a strategy allows them."""
    return tuple(1 + (seed >> i) % 2 for i in range(4)) if load_strategy(name).traits.ranks else (2, 2, 2, 2)


def close(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_names_are_those_of_the_modules_and_the_default_is_one_of_them() -> None:
    assert DEFAULT in STRATEGIES
    assert {load_strategy(n).name for n in STRATEGIES} == set(STRATEGIES)
    assert len(STRATEGIES) == 9


def test_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown strategy 'fedbest'; expected one of alternating, fedavg, fedex"):
        load_strategy("fedbest")


@each
def test_what_it_is_stands_on_single_lines(name: str) -> None:
    strategy = load_strategy(name)
    for text in (strategy.summary, strategy.traits.when, strategy.traits.exact, strategy.traits.noise):
        assert 10 < len(text) <= 115
        assert "\n" not in text
    assert strategy.traits.products <= (not strategy.traits.masked), "nobody forms products behind masks"
    assert strategy.traits.products == strategy.traits.noisier


@each
@pytest.mark.parametrize("round", [1, 2, 3, 4])
def test_exactly_what_earlier_folds_changed_is_carried(name: str, round: int) -> None:
    strategy = load_strategy(name)
    changed = set()
    for earlier in range(1, round):
        cohort = Cohort.drawn(strategy, earlier, round=earlier)
        folded = strategy.fold(cohort.state, cohort.sum())
        changed |= {
            t.part
            for t in cohort.state.schema.tensors
            if not np.array_equal(folded.tensors[t.name], cohort.state.tensors[t.name])
        }
    assert changed == set(strategy.carries(round))


@each
@few
@given(seed=seeds)
def test_a_fold_changes_neither_of_its_arguments_and_depends_on_nothing_else(name: str, seed: int) -> None:
    strategy = load_strategy(name)
    cohort = Cohort.drawn(strategy, seed, ranks=ranks_for(name, seed))
    total, before = cohort.sum(), cohort.state.digest
    copies = {n: a.copy() for n, a in total.total.items()} | {
        (n, i): a.copy() for n, pair in total.products.items() for i, a in enumerate(pair)
    }
    first = strategy.fold(cohort.state, total)
    assert strategy.fold(cohort.state, total).digest == first.digest
    assert cohort.state.digest == before
    for key, copy in copies.items():
        np.testing.assert_array_equal(
            total.total[key] if isinstance(key, str) else total.products[key[0]][key[1]], copy
        )


@each
@few
@given(seed=seeds, order=st.permutations(range(4)), scale=st.sampled_from([0.25, 1.0, 3.0, 1e3]))
def test_neither_the_order_of_institutions_nor_the_scale_of_their_weights_matters(
    name: str, seed: int, order: list[int], scale: float
) -> None:
    strategy = load_strategy(name)
    weights = tuple(np.random.default_rng(seed).uniform(0.5, 2.0, 4))
    cohort = Cohort.drawn(strategy, seed, ranks=ranks_for(name, seed), weights=weights)
    one = strategy.fold(cohort.state, cohort.sum())
    other = strategy.fold(cohort.state, cohort.sum(order=order, scale=scale))
    for path in PATHS:
        close(adds(other, path), adds(one, path))
    close(other.tensors["score.weight"], one.tensors["score.weight"])


@each
@few
@given(seed=seeds, count=st.integers(1, 5), round=st.integers(1, 2))
def test_folding_identical_updates_gives_what_each_institution_holds(
    name: str, seed: int, count: int, round: int
) -> None:
    strategy = load_strategy(name)
    cohort = Cohort.drawn(strategy, seed, round=round, count=count, alike=True)
    folded = strategy.fold(cohort.state, cohort.sum())
    own = cohort.state.replace({n: cohort.state.tensors[n] + update for n, update in cohort.updates[0].items()})
    for path in PATHS:
        close(adds(folded, path), adds(own, path))
    close(folded.tensors["score.weight"], own.tensors["score.weight"])


@each
@few
@given(seed=seeds)
def test_a_round_that_taught_nothing_changes_nothing_that_an_adapter_adds(name: str, seed: int) -> None:
    """Not even in a first round, where B is zero and a factor that were lost would never learn again."""
    strategy = load_strategy(name)
    cohort = Cohort.drawn(strategy, seed, fresh=True)
    idle = Cohort(
        state=cohort.state,
        trains=cohort.trains,
        updates=tuple({n: 0 * a for n, a in u.items()} for u in cohort.updates),
        ranks=cohort.ranks,
        weights=cohort.weights,
    )
    folded = strategy.fold(idle.state, idle.sum())
    for tensor, array in idle.state.tensors.items():
        np.testing.assert_allclose(folded.tensors[tensor], array, atol=1e-6, err_msg=tensor)


@each
@few
@given(seed=seeds)
def test_the_head_is_always_averaged(name: str, seed: int) -> None:
    strategy = load_strategy(name)
    cohort = Cohort.drawn(strategy, seed, weights=(1.0, 2.0, 0.5))
    folded = strategy.fold(cohort.state, cohort.sum())
    update = sum(w * u["score.weight"].astype(np.float64) for w, u in zip(cohort.weights, cohort.updates, strict=True))
    close(folded.tensors["score.weight"], cohort.state.tensors["score.weight"] + update / 3.5)


@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("round", [1, 2])
@few
@given(seed=seeds)
def test_a_plain_mean_is_added_to_what_was_trained_and_the_rest_stands(name: str, round: int, seed: int) -> None:
    strategy = load_strategy(name)
    cohort = Cohort.drawn(strategy, seed, round=round, weights=(1.0, 2.0, 0.5))
    folded = strategy.fold(cohort.state, cohort.sum())
    for tensor, array in cohort.state.tensors.items():
        if tensor in cohort.updates[0]:
            update = sum(w * u[tensor].astype(np.float64) for w, u in zip(cohort.weights, cohort.updates, strict=True))
            close(folded.tensors[tensor], array + update / 3.5)
        else:
            np.testing.assert_array_equal(folded.tensors[tensor], array)


# Exactness, as each docstring claims it: beside products that are multiplied out one by one.


def missed(name: str, seed: int, **drawn: Any) -> float:
    """How far a fold is from the mean of what the institutions' own adapters add, as a share of it; worst module."""
    strategy = load_strategy(name)
    cohort = Cohort.drawn(strategy, seed, **drawn)
    folded = strategy.fold(cohort.state, cohort.sum())
    worst = 0.0
    for path in PATHS:
        own = [
            adds(cohort.state.replace({n: cohort.state.tensors[n] + u for n, u in update.items()}), path)
            for update in cohort.updates
        ]
        mean = np.mean(own, axis=0)
        worst = max(worst, float(np.linalg.norm(adds(folded, path) - mean) / np.linalg.norm(mean)))
    return worst


@pytest.mark.parametrize("round", [1, 2])
@pytest.mark.parametrize("name", ["alternating", "fedsb", "frozen_a"])
@few
@given(seed=seeds, count=st.integers(2, 6))
def test_the_fold_is_exact_where_one_factor_or_both_stand_still(name: str, round: int, seed: int, count: int) -> None:
    assert missed(name, seed, round=round, count=count) < 1e-5


@pytest.mark.parametrize("name", ["fedavg", "hetlora", "flora", "flexlora"])
def test_the_fold_is_not_exact_where_the_strategy_says_so(name: str) -> None:
    schema = schema_for(load_strategy(name), outputs=12, inputs=13)
    assert missed(name, 3, count=5, schema=schema) > 0.01
    assert not load_strategy(name).traits.exact.startswith("yes")


@few
@given(seed=seeds)
def test_fedavg_and_the_twins_agree_on_what_it_misses(seed: int) -> None:
    strategy = load_strategy("fedavg")
    cohort = Cohort.drawn(strategy, seed, weights=(1.0, 2.0, 0.5))
    folded = strategy.fold(cohort.state, cohort.sum())
    for path in PATHS:
        own = cohort.own(path)
        close(adds(folded, path), product_of_means(own, cohort.weights))
        assert np.abs(product_of_means(own, cohort.weights) - mean_of_products(own, cohort.weights)).max() > 1e-3


@pytest.mark.parametrize("name", ["flora", "flexlora"])
@few
@given(seed=seeds, data=st.data())
def test_products_are_cut_off_to_the_best_of_the_rank_and_exact_where_that_is_enough(
    name: str, seed: int, data: st.DataObject
) -> None:
    strategy = load_strategy(name)
    rank, outputs, inputs = (data.draw(st.integers(low, high)) for low, high in ((1, 4), (2, 9), (2, 9)))
    schema = schema_for(strategy, rank=rank, outputs=outputs, inputs=inputs)
    weights = (1.0, 2.0, 0.5)
    ranks = tuple(data.draw(st.integers(1, rank)) for _ in weights) if strategy.traits.ranks else ()
    cohort = Cohort.drawn(strategy, seed, schema=schema, weights=weights, ranks=ranks)
    folded = strategy.fold(cohort.state, cohort.sum())
    for path in PATHS:
        mean = mean_of_products(cohort.own(path), weights)
        scale = np.abs(mean).max()
        # Where two singular values at the cut are nearly equal either may stay: what is missing is the same.
        gap = np.linalg.norm(mean - adds(folded, path)) - np.linalg.norm(mean - nearest(mean, rank))
        assert abs(gap) <= 1e-5 * scale * rank
        if rank >= min(outputs, inputs):
            np.testing.assert_allclose(adds(folded, path), mean, atol=2e-5 * scale)


@pytest.mark.parametrize("name", ["fedex", "flora", "flexlora"])
@pytest.mark.parametrize("fault", ["none", "shape", "nan"])
def test_a_sum_without_good_products_is_refused(name: str, fault: str) -> None:
    strategy = load_strategy(name)
    cohort = Cohort.drawn(strategy, 1)
    total = cohort.sum()
    left, right = total.products[PATHS[1]]
    bad = {"none": None, "shape": (left[:-1], right), "nan": (left * np.nan, right)}[fault]
    products = {PATHS[0]: total.products[PATHS[0]]} | ({} if bad is None else {PATHS[1]: bad})
    with pytest.raises(ConfigError):
        strategy.fold(
            cohort.state, type(total)(specs=total.specs, total=total.total, weight=3.0, count=3, products=products)
        )


# Noise: what `noisier` says.


def noise_in(name: str, rounds: range) -> float:
    """Mean square of what noise alone adds to a module, over first rounds of five institutions."""
    strategy = load_strategy(name)
    schema = schema_for(strategy, rank=2, outputs=48, inputs=48)
    found = []
    for seed in rounds:
        cohort = Cohort.drawn(strategy, seed, count=5, schema=schema, fresh=True)  # Every update is noise.
        folded = strategy.fold(cohort.state, cohort.sum())
        found += [np.square(adds(folded, path)).sum() for path in PATHS]
    return float(np.mean(found))


def test_products_are_noisier_than_the_products_of_means_and_a_cut_takes_most_of_it_away() -> None:
    noise = {name: noise_in(name, range(20)) for name in ("fedavg", "flora", "flexlora", "fedex")}
    more = {name: found / noise["fedavg"] for name, found in noise.items()}
    assert all(load_strategy(name).traits.noisier == (ratio > 1.05) for name, ratio in more.items())
    assert more["flora"] == pytest.approx(more["flexlora"], rel=1e-3), "they cut off alike"
    assert more["fedex"] > 2.5
    assert more["flora"] - 1 < 0.4 * (more["fedex"] - 1)
