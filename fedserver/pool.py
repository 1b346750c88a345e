"""What visible updates are added into: chosen once a round, filled one update at a time, read once.

    default         StreamingSum   sums in whole numbers: memory grows with parameters, not with institutions
    with a rule     RulePool       keeps every update, since a median or Krum needs them all at once (robust.py)
    with products   either, and beside it the sum of the products B A (_products.py)

Guarantee: what comes out does not depend, to the last bit, on the order in which updates were added.

Whoever adds has checked signature, shape and norm before (collect.py); nothing here knows a key or a spend, and a
sum keeps nothing of a single update. With `ranks` an institution holds the first slots of the adapter only: what it
sends may be that part of each factor, or the whole of it, of which the rest is left out.

>>> limit, members = 8.0, 3
>>> binary_places(limit, members)  # 8 = 2^3 < 2^4, and 3 members fit into 2^2: 62 - 4 - 2.
56
"""

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from fedcore.adapter import AdapterState, FloatArray, TensorSpec, unflatten
from fedcore.errors import BadReply, ConfigError, QuorumLost
from fedcore.folding import RobustRule
from fedcore.round import CohortSum, RoundPlan
from fedserver._products import Products
from fedserver._units import WholeSum, binary_places
from fedserver.robust import aggregate

__all__ = ["Pool", "RulePool", "StreamingSum", "binary_places", "make_pool"]


class Pool(Protocol):
    """Takes each institution's update at most once, and gives what a strategy folds."""

    def add(self, institution: str, update: Mapping[str, FloatArray]) -> None:
        """Take the update of one of the cohort. Nothing is added of what is refused.

        Raises:
            BadReply: A shape does not fit the slots that it holds, or a number is above the limit.
        """

    def sum(self) -> CohortSum:
        """What was added, as one cohort.

        Raises:
            QuorumLost: Too few were added.
        """


def make_pool(
    plan: RoundPlan,
    *,
    limit_l2: float,
    rule: RobustRule | None = None,
    products: bool = False,
    state: AdapterState | None = None,
) -> Pool:
    """The pool of a round without masks.

    Args:
        plan: The round's.
        limit_l2: The largest norm of an update that the collector lets in.
        rule: The job's, if any.
        products: Whether the job's strategy folds products.
        state: Before the round; only products need it.
    Raises:
        ConfigError: Products without a state.
    """
    if not products:
        return StreamingSum(plan, limit_l2=limit_l2) if rule is None else RulePool(plan, rule)
    if state is None:
        raise ConfigError("products of factors need the state before the round")
    if rule is None:
        return StreamingSum(plan, limit_l2=limit_l2, products=Products(plan, state, limit_l2=limit_l2))
    return RulePool(plan, rule, state=state)


class StreamingSum:
    """The sum of updates in whole numbers of units of 2^-k, which no order of adding can change.

    k is `binary_places(limit_l2, size of the cohort)`: the most with which no sum can leave an int64. Each number of
    an update is rounded to the nearest unit, and the whole once to float32.

    Guarantee: with n updates of weight w, each number of the total is within w n 2^-(k + 1) + 2^-23 |total| of the
    exact sum. The first part is at most w n^2 limit 2^-61: for 1,000 institutions 5e-13 of w times the limit.
    Memory: 8 bytes a parameter, and 16 for one tensor while it is added.

    Args:
        plan: The round's.
        limit_l2: As in `make_pool`.
        products: Takes the factors too, where a strategy folds products.
    """

    def __init__(self, plan: RoundPlan, *, limit_l2: float, products: Products | None = None) -> None:
        self._plan = plan
        self._slots = _Slots(plan)
        limit = min(limit_l2, float(np.finfo(np.float32).max))
        self._sums = {t.name: WholeSum(t.shape, limit, len(plan.cohort)) for t in plan.trained}
        self._products = products

    def add(self, institution: str, update: Mapping[str, FloatArray]) -> None:
        """See `Pool`."""
        own = self._slots.own(institution, update)
        if not all(self._sums[name].takes(array) for name, array in own.items()):
            raise BadReply(f"{institution}: a number is above the norm's limit", kind="too_large")
        if self._products is not None:
            self._products.add(institution, own)
        for name, array in own.items():
            self._sums[name].add(array)
        self._slots.count(institution)

    def sum(self) -> CohortSum:
        """See `Pool`."""
        weight, count = self._plan.weight, self._slots.counted
        if not count:
            raise QuorumLost("nothing was added up", expected="at least 1 update")
        return CohortSum(
            specs=self._plan.trained,
            total={name: whole.total(weight) for name, whole in self._sums.items()},
            weight=weight * count,
            count=count,
            products={} if self._products is None else self._products.pairs(weight),
            held=self._slots.held,
        )


class RulePool:
    """Every update as a row of a matrix, of which a rule makes one: a virtual institution of weight 1.

    Where a strategy folds products, the virtual institution's factors give the product; where ranks differ, a slot
    that an institution does not hold counts as unchanged there, and the virtual institution holds what anyone held.

    Memory: 4 bytes a parameter and institution that has answered.

    Args:
        plan: The round's.
        rule: The job's.
        state: Before the round, where the strategy folds products.
    """

    def __init__(self, plan: RoundPlan, rule: RobustRule, *, state: AdapterState | None = None) -> None:
        self._plan, self._rule, self._state = plan, rule, state
        self._slots = _Slots(plan)
        # Pages that no row has been written to take no memory.
        self._rows = np.empty((len(plan.cohort), plan.parameters), dtype=np.float32)

    def add(self, institution: str, update: Mapping[str, FloatArray]) -> None:
        """See `Pool`."""
        own = self._slots.own(institution, update)
        row = self._rows[self._slots.counted]
        row[:] = 0.0
        for name, tensor in unflatten(self._plan.trained, row).items():
            tensor[_corner(own[name].shape)] = own[name]
        self._slots.count(institution)

    def sum(self) -> CohortSum:
        """See `Pool`. The order of rows does not matter to any rule, to the last bit."""
        count, least = self._slots.counted, self._rule.least_institutions
        if count < least:
            raise QuorumLost(
                f"round {self._plan.round} of {self._plan.job_id} has too few updates for the rule {self._rule.name}",
                expected=f"at least {least}",
                got=str(count),
            )
        total = unflatten(self._plan.trained, aggregate(self._rule, self._rows[:count]))
        pairs = {}
        if self._state is not None:
            one = Products(self._plan, self._state, limit_l2=math.inf, institutions=1)
            one.add("", total)
            pairs = one.pairs(1.0)
        return CohortSum(
            specs=self._plan.trained,
            total=total,
            weight=1.0,
            count=count,
            products=pairs,
            held=tuple(min(n, 1) for n in self._slots.held),
        )


class _Slots:
    """Which slots of the adapter each institution holds, and of how many that were counted."""

    def __init__(self, plan: RoundPlan) -> None:
        self._specs = plan.trained
        self._cohort, self._ranks, self._rank = frozenset(plan.cohort), dict(plan.ranks), plan.schema.rank
        self._counted: set[str] = set()

    @property
    def counted(self) -> int:
        return len(self._counted)

    @property
    def held(self) -> tuple[int, ...]:
        """How many of the counted hold slot 0, 1, ...; empty where all hold all."""
        if not self._ranks:
            return ()
        ranks = [self._ranks.get(name, self._rank) for name in self._counted]
        return tuple(sum(rank > slot for rank in ranks) for slot in range(self._rank))

    def own(self, institution: str, update: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """What an institution trained: each tensor, cut to the slots that it holds."""
        if institution not in self._cohort or institution in self._counted:
            raise BadReply(f"{institution}: its update cannot enter the sum", kind="duplicate")
        rank = self._ranks.get(institution, self._rank)
        found = {}
        for spec in self._specs:
            array, shape = update[spec.name], _shape(spec, rank)
            if array.shape not in (shape, spec.shape):
                raise BadReply(f"{institution}: {spec.name} has the wrong shape", kind="wrong_shape")
            found[spec.name] = array[_corner(shape)]
        return found

    def count(self, institution: str) -> None:
        self._counted.add(institution)


def _shape(spec: TensorSpec, rank: int) -> tuple[int, ...]:
    """The shape of a tensor of which only the first `rank` slots are held."""
    if spec.part == "lora_A":
        return (rank, spec.shape[1])
    return (spec.shape[0], rank) if spec.part == "lora_B" else spec.shape


def _corner(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where a smaller tensor stands in a larger one: at the start of each axis."""
    return tuple(slice(0, n) for n in shape)
