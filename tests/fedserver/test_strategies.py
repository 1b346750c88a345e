"""Strategies: pure folds, exact where they say so."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError
from fedcore.round import CohortSum, JobPlan
from fedserver.strategies import DEFAULT, check_fit, load_strategy, strategy_names

STRATEGIES = strategy_names()


def updates(plan: Any, seed: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    return [
        {t.name: generator.normal(0, 0.1, t.shape).astype(np.float32) for t in plan.trained} for _ in ("a", "b", "c")
    ]


def cohort(plan: Any, parts: list[dict[str, Any]]) -> CohortSum:
    total = {name: sum(p[name] for p in parts) for name in parts[0]}
    return CohortSum(specs=plan.trained, total=total, weight=float(len(parts)), count=len(parts))


def product(state: AdapterState, path: str) -> Any:
    return state.tensors[f"{path}.lora_B"].astype(np.float64) @ state.tensors[f"{path}.lora_A"]


def test_names_are_those_of_the_modules_and_the_default_is_one_of_them() -> None:
    assert DEFAULT in STRATEGIES
    assert {load_strategy(n).name for n in STRATEGIES} == set(STRATEGIES)


def test_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown strategy 'fedbest'; expected one of alternating, fedavg, frozen_a"):
        load_strategy("fedbest")


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("round", [1, 2, 3, 4])
def test_what_an_earlier_round_changed_is_carried(name: str, round: int) -> None:
    strategy = load_strategy(name)
    changed = {part for r in range(1, round) for part in strategy.trains(r)}
    assert changed == set(strategy.carries(round))


@pytest.mark.parametrize("name", STRATEGIES)
def test_fold_is_pure_and_adds_the_mean(name: str, make_plan: Callable[..., Any], state: AdapterState) -> None:
    strategy = load_strategy(name)
    plan = make_plan(trains=strategy.trains(1))
    before, parts = state.digest, updates(plan, 1)
    folded = strategy.fold(state, cohort(plan, parts))
    assert state.digest == before
    for spec in state.schema.tensors:
        mean = np.mean([p[spec.name] for p in parts], axis=0) if spec.part in plan.trains else 0.0
        np.testing.assert_allclose(folded.tensors[spec.name], state.tensors[spec.name] + mean, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["alternating", "frozen_a"])
@pytest.mark.parametrize("round", [1, 2])
def test_mean_of_products_is_the_product_of_means(
    name: str, round: int, make_plan: Callable[..., Any], state: AdapterState
) -> None:
    strategy = load_strategy(name)
    state = state.replace({n: np.full_like(a, 0.3) for n, a in state.part("lora_B").items()})
    plan = make_plan(trains=strategy.trains(round))
    parts = updates(plan, 2)
    folded = strategy.fold(state, cohort(plan, parts))
    path = "layers.0.q_proj"
    alone = [product(strategy.fold(state, cohort(plan, [p])), path) for p in parts]
    np.testing.assert_allclose(product(folded, path), np.mean(alone, axis=0), rtol=1e-4, atol=1e-6)


def test_fedavg_is_not_exact_for_a_product(make_plan: Callable[..., Any], state: AdapterState) -> None:
    strategy = load_strategy("fedavg")
    plan = make_plan(trains=strategy.trains(1))
    parts = updates(plan, 3)
    path = "layers.0.q_proj"
    folded = product(strategy.fold(state, cohort(plan, parts)), path)
    alone = [product(strategy.fold(state, cohort(plan, [p])), path) for p in parts]
    assert np.abs(folded - np.mean(alone, axis=0)).max() > 1e-4


def test_a_job_keeps_what_its_strategy_leaves_with_institutions(make_job: Callable[..., JobPlan]) -> None:
    check_fit(make_job(strategy="fedavg"))
    with pytest.raises(ConfigError, match="keeps other parts"):
        check_fit(make_job(strategy="fedavg", keeps=("lora_B",)))
