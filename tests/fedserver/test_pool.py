"""What visible updates are added into: exact to a stated bound, in whatever order, with bounded memory."""

import itertools
import math
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.adapter import AdapterSchema, AdapterState, FloatArray, ModelCard, ModuleShape
from fedcore.errors import BadReply, ConfigError, QuorumLost
from fedcore.folding import RobustRule
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import CohortSum, Optimiser, RoundPlan
from fedserver._units import WholeSum, binary_places
from fedserver.pool import Pool, make_pool
from fedserver.robust import aggregate

few = settings(deadline=None, max_examples=60)
LIMIT = 3.0
PARTS = ("lora_A", "lora_B")

Update = dict[str, FloatArray]


def plan_of(
    *names: str,
    modules: tuple[tuple[int, int], ...] = ((6, 4),),
    rank: int = 2,
    ranks: tuple[tuple[str, int], ...] = (),
    weight: float = 1.0,
    trains: tuple[str, ...] = PARTS,
) -> RoundPlan:
    """A plan for modules of (inputs, outputs)."""
    shapes = tuple(ModuleShape(path=f"m{i}.q", inputs=n, outputs=m) for i, (n, m) in enumerate(modules))
    card = ModelCard(name="paper", digest="ab" * 32, kind="causal", architecture="Llama", modules=shapes)
    privacy = PrivacyPlan(
        unit=PrivacyUnit(key="patient"),
        sampling_rate=0.05,
        steps_per_round=3,
        expected_batch_units=10.0,
        examples_per_unit=2,
        clip_norm_l2=1.0,
        noise_multiplier=0.8,
        delta=1e-5,
    )
    return RoundPlan(
        job_id="job",
        round=1,
        rounds=2,
        task="medicine.record",
        schema=AdapterSchema.for_base(card, rank=rank, alpha=2 * rank, targets=("q",)),
        state_digest="00" * 32,
        seed=7,
        strategy="fedavg",
        trains=trains,
        carries=PARTS,
        cohort=names,
        weight=weight,
        quorum=1,
        deadline_s=60.0,
        max_tokens=64,
        optimiser=Optimiser(),
        privacy=privacy,
        ranks=ranks,
    )


def state_of(plan: RoundPlan, seed: int = 1) -> AdapterState:
    """A state with both factors away from zero."""
    generator = np.random.default_rng(seed)
    tensors = {t.name: generator.normal(0, 0.3, t.shape).astype(np.float32) for t in plan.schema.tensors}
    return AdapterState(schema=plan.schema, tensors=tensors)


def updates_of(plan: RoundPlan, seed: int = 2, scale: float = 0.01) -> dict[str, Update]:
    generator = np.random.default_rng(seed)
    return {
        name: {t.name: generator.normal(0, scale, t.shape).astype(np.float32) for t in plan.trained}
        for name in plan.cohort
    }


def cut(update: Update, rank: int) -> Update:
    """The slots of a lower rank."""
    return {n: a[:rank] if n.endswith("lora_A") else a[:, :rank] for n, a in update.items()}


def padded(plan: RoundPlan, update: Update) -> Update:
    """The twin of `cut`: zeros where a slot is not held."""
    full: Update = {t.name: np.zeros(t.shape, dtype=np.float32) for t in plan.trained}
    for name, array in update.items():
        full[name][: array.shape[0], : array.shape[1]] = array
    return full


def fill(pool: Pool, updates: dict[str, Update], order: Any = None) -> CohortSum:
    for name in order or sorted(updates):
        pool.add(name, updates[name])
    return pool.sum()


def same(one: CohortSum, other: CohortSum) -> bool:
    """Equal to the last bit."""
    pairs = [(one.total[n], other.total[n]) for n in one.total]
    pairs += [(one.products[p][i], other.products[p][i]) for p in one.products for i in (0, 1)]
    return all(a.tobytes() == b.tobytes() for a, b in pairs) and one.held == other.held


numbers = st.one_of(
    st.floats(-LIMIT, LIMIT, width=32),
    st.floats(-(2.0**-20), 2.0**-20, width=32),
    st.sampled_from([LIMIT, -LIMIT, 1e-45, -0.0]),
)


@few
@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=9), st.sampled_from([1.0, 0.25, 0.3]))
def test_streaming_sum_is_within_its_bound_of_the_exact_one_in_every_order(
    rows: list[list[float]], weight: float
) -> None:
    names = tuple(f"n{i}" for i in range(len(rows)))
    plan = plan_of(*names, modules=((3, 1),), rank=1, trains=("lora_A",), weight=weight)
    updates = {n: {"m0.q.lora_A": np.array([row], dtype=np.float32)} for n, row in zip(names, rows, strict=True)}
    found = fill(make_pool(plan, limit_l2=LIMIT), updates)
    backwards = fill(make_pool(plan, limit_l2=LIMIT), updates, reversed(names))
    assert same(found, backwards)
    assert (found.weight, found.count) == (weight * len(rows), len(rows))
    places = binary_places(LIMIT, len(names))
    for column, total in enumerate(found.total["m0.q.lora_A"][0]):
        exact = Fraction(weight) * sum(Fraction(float(np.float32(row[column]))) for row in rows)
        bound = Fraction(weight) * len(rows) / 2 ** (places + 1) + abs(Fraction(float(total))) / 2**23
        assert abs(Fraction(float(total)) - exact) <= bound + Fraction(1, 2**149)


@few
@given(st.floats(0, 1e38), st.integers(1, 1 << 20))
def test_sum_of_the_largest_numbers_never_leaves_an_int64(limit: float, members: int) -> None:
    places = binary_places(limit, members)
    each = math.floor(Fraction(limit) * Fraction(2) ** places + Fraction(1, 2))
    assert members * each < 2**63
    if places < 149 and limit > 0:
        assert members * Fraction(limit) * Fraction(2) ** places >= 2**60, "and no places are given away"


def test_whole_sum_at_its_limit_is_right() -> None:
    whole = WholeSum((2,), LIMIT, 1000)
    for _ in range(1000):
        whole.add(np.array([LIMIT, -LIMIT], dtype=np.float32))
    assert whole.total(1.0).tolist() == [3000.0, -3000.0]


def test_number_above_the_limit_is_refused_and_nothing_of_it_is_added() -> None:
    plan = plan_of("a", "b", modules=((6, 4), (6, 4)))
    updates = updates_of(plan)
    bad = {**updates["b"], "m1.q.lora_B": np.full((4, 2), 2 * LIMIT, dtype=np.float32)}
    alone = fill(make_pool(plan, limit_l2=LIMIT), {"a": updates["a"]})
    pool = make_pool(plan, limit_l2=LIMIT)
    pool.add("a", updates["a"])
    with pytest.raises(BadReply, match="above the norm's limit"):
        pool.add("b", bad)
    assert same(pool.sum(), alone)
    assert pool.sum().count == 1


@pytest.mark.parametrize("rule", [None, RobustRule(name="median")])
def test_nobody_enters_twice_or_uninvited(rule: RobustRule | None) -> None:
    plan = plan_of("a", "b")
    updates = updates_of(plan)
    pool = make_pool(plan, limit_l2=LIMIT, rule=rule)
    pool.add("a", updates["a"])
    for name in ("a", "c"):
        with pytest.raises(BadReply, match="cannot enter the sum"):
            pool.add(name, updates["a"])
    assert pool.sum().count == 1


def test_empty_pool_has_no_sum() -> None:
    with pytest.raises(QuorumLost):
        make_pool(plan_of("a"), limit_l2=LIMIT).sum()


def test_memory_of_a_sum_does_not_grow_with_institutions() -> None:
    peaks = {}
    for count in (4, 64):
        plan = plan_of(*(f"n{i:03}" for i in range(count)), modules=((4000, 2000),), rank=8)
        one = next(iter(updates_of(replace(plan, cohort=("n000",))).values()))
        tracemalloc.start()
        pool = make_pool(plan, limit_l2=LIMIT)
        for name in plan.cohort:
            pool.add(name, {n: a.copy() for n, a in one.items()})
        pool.sum()
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[64] <= 1.1 * peaks[4]


# Products -----------------------------------------------------------------------------------------------


def product_twin(
    plan: RoundPlan, state: AdapterState, updates: dict[str, Update], path: str
) -> "np.typing.NDArray[np.float64]":
    """Multiply out, one institution after the other, in float64."""
    total = np.zeros((state.tensors[f"{path}.lora_B"].shape[0], state.tensors[f"{path}.lora_A"].shape[1]))
    for name, update in updates.items():
        rank = dict(plan.ranks).get(name, plan.schema.rank)
        full = padded(plan, update)
        b, a = (state.tensors[f"{path}.{p}"].astype(np.float64) for p in ("lora_B", "lora_A"))
        b = b + full.get(f"{path}.lora_B", np.zeros_like(b, dtype=np.float32))
        a = a + full.get(f"{path}.lora_A", np.zeros_like(a, dtype=np.float32))
        total += plan.weight * (b[:, :rank] @ a[:rank])
    return total


@pytest.mark.parametrize("trains", [PARTS, ("lora_B",)])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_products_are_those_that_a_slow_twin_multiplies_out_in_every_order(
    count: int, weight: float, trains: tuple[str, ...]
) -> None:
    """Narrower and wider than a side, which is where the way of keeping them changes."""
    names = tuple("abcdefg"[:count])
    plan = plan_of(*names, modules=((6, 4), (4, 9), (14, 14)), weight=weight, trains=trains)
    state, updates = state_of(plan), updates_of(plan)
    sums = []
    for order in (names, names[::-1], names[1:] + names[:1]):
        sums.append(fill(make_pool(plan, limit_l2=LIMIT, products=True, state=state), updates, order))
    assert same(sums[0], sums[1])
    assert same(sums[0], sums[2])
    for path, (left, right) in sums[0].products.items():
        twin = product_twin(plan, state, updates, path)
        np.testing.assert_allclose(left.astype(np.float64) @ right, twin, rtol=1e-5, atol=1e-7)
        assert left.dtype == right.dtype == np.float32
        assert left.shape[1] == right.shape[0] <= max(min(twin.shape), plan.schema.rank)
    plain = fill(make_pool(plan, limit_l2=LIMIT), updates)
    assert all((plain.total[n] == sums[0].total[n]).all() for n in plain.total), "and the factors' total stays"


def test_memory_of_products_is_bounded_by_the_module() -> None:
    peaks = {}
    for count in (64, 512):
        plan = plan_of(*(f"n{i:03}" for i in range(count)), modules=((256, 256),), rank=8)
        state, one = state_of(plan), updates_of(replace(plan, cohort=("n000",)))["n000"]
        tracemalloc.start()
        pool = make_pool(plan, limit_l2=LIMIT, products=True, state=state)
        for name in plan.cohort:
            pool.add(name, {n: a.copy() for n, a in one.items()})
        pool.sum()
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[512] <= 1.2 * peaks[64]


def test_products_without_a_state_are_refused() -> None:
    with pytest.raises(ConfigError, match="need the state"):
        make_pool(plan_of("a"), limit_l2=LIMIT, products=True)


# Ranks --------------------------------------------------------------------------------------------------

RANKS = (("b", 1), ("d", 3))


@pytest.mark.parametrize("count", [4, 5])
def test_fewer_slots_are_padded_by_shape_and_products_use_those_held(count: int) -> None:
    names = tuple("abcde"[:count])
    plan = plan_of(*names, modules=((30, 20), (5, 7)), rank=4, ranks=RANKS)
    state, held = state_of(plan), dict(RANKS)
    updates = {n: cut(u, held.get(n, 4)) for n, u in updates_of(plan).items()}
    found = fill(make_pool(plan, limit_l2=LIMIT, products=True, state=state), updates)
    for name, total in found.total.items():
        twin = sum(padded(plan, u)[name].astype(np.float64) for u in updates.values())
        np.testing.assert_allclose(total, twin, rtol=1e-6, atol=1e-9)
    for path, (left, right) in found.products.items():
        twin = product_twin(plan, state, updates, path)
        np.testing.assert_allclose(left.astype(np.float64) @ right, twin, rtol=1e-5, atol=1e-7)
    assert found.held == (count, count - 1, count - 1, count - 2)
    assert found.weight == count
    backwards = fill(make_pool(plan, limit_l2=LIMIT, products=True, state=state), updates, names[::-1])
    assert same(found, backwards)


def test_slots_that_an_institution_does_not_hold_are_left_out_when_it_sends_them() -> None:
    plan = plan_of("a", "b", rank=2, ranks=(("b", 1),))
    updates = updates_of(plan)
    full = fill(make_pool(plan, limit_l2=LIMIT), updates)
    assert same(full, fill(make_pool(plan, limit_l2=LIMIT), {**updates, "b": cut(updates["b"], 1)}))
    assert (full.total["m0.q.lora_A"][1] == updates["a"]["m0.q.lora_A"][1]).all()


def test_only_those_who_were_counted_are_counted_as_holders() -> None:
    plan = plan_of("a", "b", "c", rank=2, ranks=(("b", 1),))
    updates = updates_of(plan)
    assert fill(make_pool(plan, limit_l2=LIMIT), updates, ("a", "b")).held == (2, 1)
    assert fill(make_pool(plan, limit_l2=LIMIT), updates, ("b",)).held == (1, 0)


@pytest.mark.parametrize(("name", "rank"), [("a", 1), ("b", 2)])
def test_shape_of_another_rank_is_refused(name: str, rank: int) -> None:
    plan = plan_of("a", "b", rank=3, ranks=(("b", 1),))
    for rule in (None, RobustRule(name="median")):
        pool = make_pool(plan, limit_l2=LIMIT, rule=rule)
        with pytest.raises(BadReply, match="wrong shape"):
            pool.add(name, cut(updates_of(plan)[name], rank))


# Rules --------------------------------------------------------------------------------------------------

RULES = [
    RobustRule(name="mean"),
    RobustRule(name="norm_bound", assumed_bad=1),
    RobustRule(name="median", assumed_bad=1),
    RobustRule(name="trimmed_mean", assumed_bad=1),
    RobustRule(name="geometric_median", assumed_bad=1),
    RobustRule(name="krum", assumed_bad=1),
    RobustRule(name="multi_krum", assumed_bad=1),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_makes_one_virtual_institution_in_every_order(rule: RobustRule) -> None:
    names = tuple("abcde")
    plan = plan_of(*names, modules=((6, 4), (4, 3)))
    state, updates = state_of(plan), updates_of(plan)
    sums = [
        fill(make_pool(plan, limit_l2=LIMIT, rule=rule, products=True, state=state), updates, order)
        for order in itertools.islice(itertools.permutations(names), 0, 120, 29)
    ]
    assert all(same(sums[0], other) for other in sums)
    rows = np.stack([np.concatenate([u[t.name].ravel() for t in plan.trained]) for u in updates.values()])
    flat = np.concatenate([sums[0].total[t.name].ravel() for t in plan.trained])
    assert (flat == aggregate(rule, rows)).all()
    assert (sums[0].weight, sums[0].count) == (1.0, 5)
    virtual = {n: np.asarray(sums[0].total[n]) for n in sums[0].total}
    for path, (left, right) in sums[0].products.items():
        np.testing.assert_allclose(left @ right, product_twin(plan, state, {"": virtual}, path), rtol=1e-5, atol=1e-7)


def test_rule_without_products_gives_none() -> None:
    plan = plan_of("a", "b", "c")
    assert fill(make_pool(plan, limit_l2=LIMIT, rule=RULES[2]), updates_of(plan)).products == {}


def test_slots_not_held_count_as_unchanged_under_a_rule() -> None:
    plan = plan_of(*"abc", rank=2, ranks=(("a", 1), ("b", 1)))
    updates = updates_of(plan)
    sent = {n: cut(u, dict(plan.ranks).get(n, 2)) for n, u in updates.items()}
    found = fill(make_pool(plan, limit_l2=LIMIT, rule=RULES[2]), sent)
    assert found.held == (1, 1)
    assert not found.total["m0.q.lora_A"][1].any(), "the median of one change and two that are none"


def test_fewer_updates_than_the_rule_needs_lose_the_quorum_by_name() -> None:
    plan = plan_of(*"abcde")
    pool = make_pool(plan, limit_l2=LIMIT, rule=RobustRule(name="krum", assumed_bad=1))
    for name in "abcd":
        pool.add(name, updates_of(plan)[name])
    with pytest.raises(QuorumLost, match="too few updates for the rule krum; expected at least 5; got 4"):
        pool.sum()


def test_job_with_a_rule_outvotes_a_bad_institution(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c", rule=RobustRule(name="median", assumed_bad=1), quorum=3)
    federation.institutions["c"].value = 0.04
    result = federation.run()
    assert result.status == "completed"
    for array in result.state.part("lora_B").values():
        np.testing.assert_allclose(array, 0.02, rtol=1e-6)


def test_joint_round_with_a_rule_takes_the_step_of_one_mean(make_federation: Callable[..., Any]) -> None:
    """The divisor is that of one institution's sum, since the rule made one of all."""
    privacy = replace(plan_of("a").privacy, steps_per_round=1)
    options = {"joint": True, "privacy": privacy, "optimiser": Optimiser(name="sgd", learning_rate=0.5), "rounds": 1}
    plain = make_federation("a", "b", "c", **options).run()
    ruled = make_federation("a", "b", "c", rule=RobustRule(name="median", assumed_bad=1), quorum=3, **options).run()
    for name, array in plain.state.part("lora_B").items():
        assert array.any()
        np.testing.assert_allclose(ruled.state.tensors[name], array, rtol=1e-6)
