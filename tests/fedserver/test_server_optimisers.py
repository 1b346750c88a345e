"""Momentum, FedAdam and FedYogi on a fold: the papers' rules, and a step that a restart does not change."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError
from fedcore.folding import ServerOptimiser
from fedcore.wire import Envelope
from fedserver import messages
from fedserver.server_optimisers import step
from fedserver.store import Store
from fedserver.strategies import load_strategy, strategy_names
from tests.reference.cohorts import Cohort, schema_for
from tests.reference.folds import server_adaptive

few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)
OPTIMISERS = {
    "momentum": ServerOptimiser(name="momentum", learning_rate=0.7, momentum=0.8),
    "adam": ServerOptimiser(name="adam", learning_rate=0.03, beta1=0.8, beta2=0.95, stability=1e-2),
    "yogi": ServerOptimiser(name="yogi", learning_rate=0.03, beta1=0.8, beta2=0.95, stability=1e-2),
}
EVERY = tuple(n for n in strategy_names() if not load_strategy(n).traits.ordered)


def changes(state: AdapterState, rounds: int, seed: int) -> list[dict[str, Any]]:
    """What a fold changes each number by, of many sizes and both signs."""
    random = np.random.default_rng(seed)
    return [
        {
            name: (10.0 ** random.uniform(-3, 0) * random.standard_normal(array.shape)).astype(np.float32)
            for name, array in state.tensors.items()
        }
        for _ in range(rounds)
    ]


def taken(optimiser: ServerOptimiser, state: AdapterState, given: Iterable[dict[str, Any]]) -> AdapterState:
    memory: dict[str, Any] = {}
    for change in given:
        folded = state.replace({n: state.tensors[n] + d for n, d in change.items()})
        state, memory = step(optimiser, state, folded, memory)
    return state


@few
@given(seed=seeds)
def test_momentum_is_torchs_sgd_on_what_a_fold_changes_turned_round(state_of: AdapterState, seed: int) -> None:
    given_changes = changes(state_of, 12, seed)
    weights = {n: nn.Parameter(torch.tensor(a.copy(), dtype=torch.float64)) for n, a in state_of.tensors.items()}
    twin = torch.optim.SGD(weights.values(), lr=0.7, momentum=0.8)
    for change in given_changes:
        for name, weight in weights.items():
            weight.grad = -torch.tensor(change[name], dtype=torch.float64)
        twin.step()
    ours = taken(OPTIMISERS["momentum"], state_of, given_changes)
    for name, weight in weights.items():
        np.testing.assert_allclose(ours.tensors[name], weight.detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["adam", "yogi"])
@few
@given(seed=seeds)
def test_adaptive_steps_are_those_of_a_twin_for_one_number_at_a_time(
    state_of: AdapterState, name: str, seed: int
) -> None:
    given_changes = changes(state_of, 12, seed)
    ours = taken(OPTIMISERS[name], state_of, given_changes)
    for tensor, array in state_of.tensors.items():
        for place in np.ndindex(array.shape):
            expected = server_adaptive(
                name,
                float(array[place]),
                [float(change[tensor][place]) for change in given_changes],
                rate=0.03,
                beta1=0.8,
                beta2=0.95,
                tau=1e-2,
            )
            assert ours.tensors[tensor][place] == pytest.approx(expected, rel=2e-4, abs=2e-5)


def test_adam_and_yogi_part_where_a_large_change_is_followed_by_small_ones(state_of: AdapterState) -> None:
    sizes = [1.0, *[1e-2] * 6]
    given_changes = [{n: np.full(a.shape, s, dtype=np.float32) for n, a in state_of.tensors.items()} for s in sizes]
    adam, yogi = (taken(OPTIMISERS[name], state_of, given_changes) for name in ("adam", "yogi"))
    # Adam forgets the large one at a rate, Yogi by as little as what came after: its steps stay smaller.
    for name, array in state_of.tensors.items():
        assert (adam.tensors[name] - array > yogi.tensors[name] - array).all()


@pytest.mark.parametrize("strategy", EVERY)
@few
@given(seed=seeds)
def test_momentum_0_at_rate_1_is_the_fold_itself(strategy: str, seed: int) -> None:
    chosen, plain = load_strategy(strategy), ServerOptimiser(name="momentum", learning_rate=1.0, momentum=0.0)
    cohort = Cohort.drawn(chosen, seed)
    folded = chosen.fold(cohort.state, cohort.sum())
    assert step(plain, cohort.state, folded, {})[0].digest == folded.digest


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("name", OPTIMISERS)
def test_it_steps_on_what_a_strategy_changed_and_the_residual_takes_the_fold(strategy: str, name: str) -> None:
    chosen = load_strategy(strategy)
    cohort = Cohort.drawn(chosen, 4)
    folded = chosen.fold(cohort.state, cohort.sum())
    state, memory = step(OPTIMISERS[name], cohort.state, folded, {})
    stepped = set()
    for spec in cohort.state.schema.tensors:
        before, after, now = (s.tensors[spec.name] for s in (cohort.state, folded, state))
        if spec.part in ("residual_A", "residual_B"):
            np.testing.assert_array_equal(now, after)
        elif spec.part in chosen.trains(1):
            assert not np.array_equal(now, before)
            assert not np.array_equal(now, after)
            stepped.add(spec.name)
        else:
            np.testing.assert_array_equal(now, before)
    assert {key.rpartition("/")[0] for key in memory} == stepped


@pytest.mark.parametrize("name", OPTIMISERS)
def test_factors_that_take_turns_keep_a_memory_each(name: str) -> None:
    chosen = load_strategy("alternating")
    state, memory, both = Cohort.drawn(chosen, 1).state, dict[str, Any](), []
    for round in (1, 2, 3):
        drawn = Cohort.drawn(chosen, round, round=round)
        cohort = Cohort(
            state=state, trains=drawn.trains, updates=drawn.updates, ranks=drawn.ranks, weights=drawn.weights
        )
        before = dict(memory)
        state, memory = step(OPTIMISERS[name], state, chosen.fold(state, cohort.sum()), memory)
        still = "lora_A" if round % 2 else "lora_B"
        for key, array in before.items():
            assert np.array_equal(memory[key], array) == (f".{still}/" in key), key
        both.append({key.rpartition(".")[2].partition("/")[0] for key in memory})
    assert both == [{"lora_B", "weight"}, {"lora_A", "lora_B", "weight"}, {"lora_A", "lora_B", "weight"}]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_changes_none_of_its_arguments_and_keeps_float32(state_of: AdapterState, name: str) -> None:
    first, second = changes(state_of, 2, 3)
    folded = state_of.replace({n: state_of.tensors[n] + d for n, d in first.items()})
    state, memory = step(OPTIMISERS[name], state_of, folded, {})
    copies, digests = {k: a.copy() for k, a in memory.items()}, (state_of.digest, folded.digest, state.digest)
    again = state.replace({n: state.tensors[n] + d for n, d in second.items()})
    one, other = (step(OPTIMISERS[name], state, again, kept) for kept in (memory, copies))
    assert (state_of.digest, folded.digest, state.digest) == digests
    assert all(np.array_equal(memory[k], copies[k]) for k in copies)
    assert one[0].digest == other[0].digest
    assert all(a.dtype == np.float32 for a in one[1].values())


def test_states_of_different_adapters_are_refused(state_of: AdapterState) -> None:
    other = AdapterState.initial(schema_for(load_strategy("fedavg"), rank=3), seed=1)
    with pytest.raises(ConfigError, match="another adapter"):
        step(OPTIMISERS["momentum"], state_of, other, {})


# In the round loop.


class Killed(BaseException):
    """Stands for SIGKILL."""


def differing(federation: Any) -> None:
    """Each institution's update depends on the round, so that no two folds are alike."""

    def answer_of(institution: Any, share: float) -> Callable[[Envelope], Iterable[RecordDict]]:
        def answer(envelope: Envelope) -> Iterable[RecordDict]:
            plan = institution.plan(envelope)
            random = np.random.default_rng(plan.round)
            tensors = {
                t.name: (0.01 * share * random.standard_normal(t.shape)).astype(np.float32) for t in plan.trained
            }
            return [messages.pack(institution.reply(plan, **tensors))]

        return answer

    for number, (name, institution) in enumerate(federation.institutions.items(), 1):
        federation.answers(name, answer_of(institution, number))


@pytest.mark.parametrize("strategy", ["fedavg", "alternating", "hetlora"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_coordinator_that_was_killed_in_any_round_takes_the_very_same_steps(
    make_federation: Callable[..., Any], strategy: str, name: str
) -> None:
    def fresh(**more: Any) -> Any:
        made = make_federation("a", "b", strategy=strategy, rounds=4, server_optimiser=OPTIMISERS[name], **more)
        differing(made)
        return made

    undisturbed = fresh().run()
    assert undisturbed.status == "completed"
    for killed_in in (1, 2, 3, 4):
        store = Store.open(":memory:")
        first = fresh(store=store)

        def die(envelope: Envelope, node: int, number: int = killed_in, federation: Any = first) -> None:
            institution = federation.institutions["b"]
            if node == federation.node("b") and institution.plan(envelope).round == number:
                raise Killed

        first.grid.before = die
        with pytest.raises(Killed):
            first.run()
        assert len(store.outcomes("job")) == killed_in - 1
        second = fresh(store=store)
        second.institutions = first.institutions
        differing(second)
        result = second.run()
        assert result.status == "completed"
        assert result.state.digest == undisturbed.state.digest


def test_the_round_loop_steps_with_the_optimiser_and_forgets_old_memories(
    make_federation: Callable[..., Any],
) -> None:
    optimiser = ServerOptimiser(name="momentum", learning_rate=0.5, momentum=0.5)
    federation = make_federation("a", "b", rounds=3, server_optimiser=optimiser)
    result = federation.run()
    # d is 0.01 a round: m is 0.01, 0.015, 0.0175, and half of each is added.
    for array in result.state.part("lora_B").values():
        np.testing.assert_allclose(array, 0.5 * (0.01 + 0.015 + 0.0175), rtol=1e-5)
    assert federation.store.memory("job", 3)
    assert federation.store.memory("job", 1) == {}


@pytest.fixture(scope="module")
def state_of() -> AdapterState:
    """A state in the middle of a job."""
    return Cohort.drawn(load_strategy("fedavg"), 11).state
