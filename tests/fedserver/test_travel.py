"""What travels down is rounded, always the same, and nothing but what changed; the coordinator's own state is not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedcore.adapter import AdapterState, FloatArray
from fedcore.errors import ConfigError
from fedcore.folding import Widths
from fedcore.packing import WIDTHS, Width, packed_size_bytes, unpack
from fedcore.privacy.sampling import UnsafeSeeded
from fedcore.round import CohortSum, Completed
from fedcore.wire import pack_arrays, read_plan, read_reply, seal_reply
from fedserver import messages
from fedserver.store import Store
from fedserver.strategies import add_mean, load_strategy, strategy_names
from fedserver.travel import PublicCoins, round_off

NARROW: tuple[Width, ...] = ("bfloat16", "int8", "int4")
PARTS = ("lora_A", "lora_B")


def trained(state: AdapterState, seed: int = 5, size: float = 0.02) -> AdapterState:
    """A state after some rounds: every number has moved."""
    draw = np.random.default_rng(seed)
    moved = {n: a + size * draw.standard_normal(a.shape).astype(np.float32) for n, a in state.tensors.items()}
    return state.replace({n: a.astype(np.float32) for n, a in moved.items()})


def test_float32_changes_nothing(state: AdapterState) -> None:
    sent = round_off(state, PARTS, "float32", seed=1, round=2)
    assert sent.state is state
    assert sent.body == pack_arrays(state.part(*PARTS))


@pytest.mark.parametrize("width", NARROW)
def test_the_body_and_the_public_parts_give_the_state_to_the_last_bit(state: AdapterState, width: Width) -> None:
    master = state.replace(trained(state).part("lora_B"))
    sent = round_off(master, ("lora_B",), width, seed=7, round=2)
    assert len(sent.body) == packed_size_bytes(state.schema.part("lora_B"), width)
    at_node = AdapterState.initial(state.schema, 7).replace(unpack(sent.body, state.schema.part("lora_B"), width))
    assert at_node.digest == sent.state.digest != master.digest
    for name, array in state.part("lora_A").items():
        np.testing.assert_array_equal(sent.state.tensors[name], array)


@pytest.mark.parametrize("width", NARROW)
def test_the_same_round_is_the_same_bytes_and_no_other_is(state: AdapterState, width: Width) -> None:
    master = trained(state)

    def body(state: AdapterState = master, **changes: int) -> bytes:
        return round_off(state, PARTS, width, **{"seed": 1, "round": 2, **changes}).body

    assert body() == body()
    assert len({body(), body(seed=2), body(round=3), body(trained(state, seed=6))}) == 4


@pytest.mark.parametrize("width", NARROW)
def test_the_mean_of_the_copies_is_the_master(state: AdapterState, width: Width) -> None:
    master, runs = trained(state), 1500
    copies = [round_off(master, PARTS, width, seed=s, round=2).state for s in range(runs)]
    for name, array in master.tensors.items():
        drawn = np.stack([copy.tensors[name] for copy in copies])
        # A number rounded over a step has a standard deviation of half a step at most; the longest of the tensor.
        step = float(np.max(drawn.max(axis=0) - drawn.min(axis=0)))
        error = np.abs(drawn.mean(axis=0, dtype=np.float64) - array)
        assert 0 < error.max() <= 5.5 * step / 2 / np.sqrt(runs)


def test_public_coins_are_fair_and_known_to_all() -> None:
    words = PublicCoins("1/2/ab").words(20_000)
    np.testing.assert_array_equal(PublicCoins("1/2/ab").words(20_000), words)
    halves = PublicCoins("1/2/ab")
    np.testing.assert_array_equal(np.concatenate([halves.words(7), halves.words(19_993)]), words)
    bits = np.unpackbits(words.view(np.uint8))
    assert abs(bits.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(bits))
    assert len(PublicCoins("x").words(0)) == 0


def test_coins_are_the_same_on_every_machine() -> None:
    assert [hex(w) for w in PublicCoins("7/2/").words(2)] == ["0x28f3115eb2fd8524", "0xfa7b54d2bdac15e1"]


def test_a_state_that_no_narrow_width_holds_is_refused(state: AdapterState) -> None:
    huge = state.replace({n: np.full(a.shape, 3e38, dtype=np.float32) for n, a in state.part("lora_B").items()})
    with pytest.raises(ConfigError, match="too large for int8"):
        round_off(huge, PARTS, "int8", seed=1, round=2)


@pytest.mark.parametrize("strategy", strategy_names())
def test_a_strategy_carries_what_changed_before_once_and_nothing_else(strategy: str) -> None:
    one, changed = load_strategy(strategy), set[str]()
    for number in range(1, 7):
        carried = one.carries(number)
        assert len(set(carried)) == len(carried)
        assert set(carried) <= changed, "a part that nobody changed is known to everyone"
        assert not set(carried) & set(one.traits.keeps)
        assert len(set(one.trains(number))) == len(one.trains(number))
        # A fold may move its updates into a residual.
        changed |= set(one.trains(number)) | ({"residual_A", "residual_B"} if one.traits.residual_times else set())


class Recorder:
    """An institution that sends numbers drawn from a seed, and keeps what it was asked and what it sent."""

    def __init__(self, one: Any, seed: int) -> None:
        self.one, self.draw = one, np.random.default_rng(seed)
        self.plans: list[Any] = []
        self.states: list[AdapterState] = []
        self.updates: list[dict[str, FloatArray]] = []

    def __call__(self, envelope: Any) -> Any:
        plan, tensors = read_plan(envelope, self.one.coordinator.public)
        drawn = {t.name: 0.01 * self.draw.standard_normal(t.shape).astype(np.float32) for t in plan.trained}
        reply = self.one.reply(self.one.plan(envelope), **{n: a.astype(np.float32) for n, a in drawn.items()})
        self.plans.append(plan)
        self.states.append(AdapterState.initial(plan.schema, plan.seed).replace(tensors))
        self.updates.append(read_reply(reply, plan, self.one.name, self.one.identity.public)[0])
        return [messages.pack(reply)]


def recorded(federation: Any) -> list[Recorder]:
    found = []
    for seed, (name, one) in enumerate(federation.institutions.items()):
        found.append(Recorder(one, seed))
        federation.answers(name, found[-1])
    return found


@pytest.mark.parametrize("strategy", ["alternating", "fedavg", "frozen_a"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nodes_train_from_the_copy_and_the_master_takes_their_updates(
    make_federation: Callable[..., Any], width: Width, strategy: str
) -> None:
    federation = make_federation("a", "b", strategy=strategy, rounds=3, widths=Widths(up=width, down=width))
    nodes = recorded(federation)
    result = federation.run()
    assert result.status == "completed"
    master = AdapterState.initial(federation.job.schema, federation.job.seed)
    for number, outcome in enumerate(result.outcomes):
        for node in nodes:
            assert node.states[number].digest == node.plans[number].state_digest
            assert (node.states[number].digest == master.digest) == (number == 0 or width == "float32")
        sums = {
            name: sum(np.asarray(node.updates[number][name], dtype=np.float64) for node in nodes)
            for name in nodes[0].updates[number]
        }
        mean = {name: np.asarray(total, dtype=np.float32) / np.float32(2) for name, total in sums.items()}
        master = master.replace({name: master.tensors[name] + mean[name] for name in mean})
        assert isinstance(outcome, Completed)
        assert outcome.state_digest == master.digest
    assert result.state.digest == master.digest


def test_behind_masks_the_state_comes_rounded_and_the_sums_stay_exact(make_masked: Callable[..., Any]) -> None:
    federation = make_masked(rounds=2, widths=Widths(down="int8"))
    result = federation.run()
    assert result.status == "completed"
    initial = AdapterState.initial(federation.job.schema, federation.job.seed)
    masters = [initial, initial.replace({n: a + np.float32(3 / 1024) for n, a in initial.part("lora_B").items()})]
    for number, envelope in enumerate(federation.institutions["a"].asked):
        plan, tensors = read_plan(envelope, federation.identity.public)
        assert initial.replace(tensors).digest == plan.state_digest
        assert (plan.state_digest == masters[number].digest) == (number == 0)
        assert plan.widths.up == "float32"
    # Five institutions send 1 to 5 times 2**-10, which the ring holds; its mean is added to the exact state twice.
    for array in result.state.part("lora_B").values():
        assert (array == np.float32(6 / 1024)).all()


def test_fewer_bytes_travel_both_ways_at_a_narrower_width(make_federation: Callable[..., Any]) -> None:
    found = []
    for width in WIDTHS:
        outcomes = make_federation("a", "b", strategy="fedavg", widths=Widths(up=width, down=width)).run().outcomes
        found.append((outcomes[1].bytes_up, outcomes[1].bytes_down))
    assert all(up < found[0][0] and down < found[0][1] for up, down in found[1:])


@pytest.mark.parametrize("width", NARROW)
def test_a_coordinator_that_was_killed_sends_the_very_same_bytes_again(
    make_federation: Callable[..., Any], width: Width
) -> None:
    store = Store.open(":memory:")
    federation = make_federation("a", "b", store=store, rounds=3, widths=Widths(up=width, down=width))
    recorded(federation)
    sent: list[Any] = []

    def die_in_round_two(envelope: Any, node: int) -> None:
        if envelope.kind == "plan" and read_plan(envelope, federation.identity.public)[0].round == 2:
            sent.append((node, envelope))
            if len(sent) == 2:
                raise KeyboardInterrupt

    federation.grid.before = die_in_round_two
    with pytest.raises(KeyboardInterrupt):
        federation.run()
    assert [o.round for o in store.outcomes("job")] == [1]
    federation.grid.forget()
    federation.grid.before = lambda envelope, node: sent.append((node, envelope))
    result = federation.run()
    assert result.status == "completed"
    for node, envelope in sent[:2]:
        again = next(e for n, e in sent[2:] if n == node and e.kind == "plan")
        assert (again.header, again.signature, again.body) == (envelope.header, envelope.signature, envelope.body)


@pytest.mark.parametrize("width", NARROW)
def test_the_mean_of_what_is_folded_is_that_of_float32(
    make_plan: Callable[..., Any], state: AdapterState, node_identity: Any, width: Width
) -> None:
    """Three institutions' updates through real bodies and a real fold, over many seeds of the coins."""
    plan, draw = make_plan(widths=Widths(up=width), trains=PARTS), np.random.default_rng(1)
    updates = [{t.name: draw.standard_normal(t.shape).astype(np.float32) for t in plan.trained} for _ in range(3)]

    def fold(sent: list[dict[str, FloatArray]]) -> FloatArray:
        total = {t.name: sum(u[t.name] for u in sent).astype(np.float32) for t in plan.trained}
        return add_mean(state, CohortSum(specs=plan.trained, total=total, weight=3.0, count=3)).flatten()

    def through(update: dict[str, FloatArray], seed: int) -> dict[str, FloatArray]:
        reply = seal_reply(plan, "a", update, {}, node_identity, ledger="", dataset="", coins=UnsafeSeeded(seed))
        return unpack(reply.body, plan.trained, width)

    runs = 400
    folded = np.stack([fold([through(u, 3 * run + i) for i, u in enumerate(updates)]) for run in range(runs)])
    error = folded.mean(axis=0, dtype=np.float64) - fold(updates)
    deviation = folded.std(axis=0, dtype=np.float64)
    assert (deviation > 0).all()
    assert (np.abs(error) <= 5.5 * deviation / np.sqrt(runs) + 1e-6).all()
