"""What a job would cost here, on top of what was spent: asked before anything runs; it reserves nothing.

The same two accountants answer as when a round is reserved, so an outlook that lasts is a job that the
ledger affords, unless another job spends in between.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fedclient.ledger import Account, BudgetLimit
from fedcore.privacy.accounting import DpEvent
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import JobPlan, RoundPlan

__all__ = ["YEAR", "Cost", "Outlook"]

YEAR = timedelta(days=365)

Accountant = Callable[..., float]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Spending against one limit. `after` is exact only where it keeps the limit; above, it is infinity."""

    spent: float
    after: float
    limit: float
    rounds_lasting: int
    """How many of the rounds keep the limit."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; what is not finite is null."""
        value = {"epsilon_spent": self.spent, "epsilon_after": self.after, "epsilon_limit": self.limit}
        figures = {k: v if math.isfinite(v) else None for k, v in value.items()}
        return {**figures, "rounds_lasting": self.rounds_lasting}


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What the rounds that a plan still asks for would cost.

    Args:
        rounds: Those of a job, or from a round's plan on.
        job: Epsilon of these rounds alone; infinity where it is above the limit.
        in_all: Against the limit over all years.
        in_year: Against the limit of 365 days, were all rounds within them.
        honest_minimum: What these figures assume of shared noise; see `PrivacyPlan`.
    """

    rounds: int
    delta: float
    job: float
    in_all: Cost
    in_year: Cost
    honest_minimum: int | None = None

    @property
    def lasts(self) -> bool:
        """Whether all rounds keep both limits."""
        return min(self.in_all.rounds_lasting, self.in_year.rounds_lasting) >= self.rounds

    @classmethod
    def of(
        cls,
        plan: JobPlan | RoundPlan,
        account: Account | None,
        limit: BudgetLimit,
        *,
        now: datetime,
        cost: Accountant,
    ) -> "Outlook":
        """Ask the accountants.

        Args:
            plan: A job's, or that of the round it begins with.
            account: What was spent; None where no ledger exists yet.
            limit: As set now.
            now: Ends the year.
            cost: `fedclient.accountant.epsilon`.
        Raises:
            AccountantMismatch: The cost is not known for certain.
        """
        rounds = plan.rounds - plan.round + 1 if isinstance(plan, RoundPlan) else plan.rounds
        before = () if account is None else account.events
        spent = 0.0 if account is None else account.epsilon
        year = () if account is None else account.events_since(now - YEAR)
        spent_year = spent if len(year) == len(before) else cost(year, limit.delta)
        in_year = math.inf if limit.epsilon_per_year is None else limit.epsilon_per_year
        alone = cost([plan.privacy.event(rounds)], limit.delta, enough=limit.epsilon)
        return cls(
            rounds=rounds,
            delta=limit.delta,
            job=alone if alone <= limit.epsilon else math.inf,
            in_all=_cost(before, spent, plan.privacy, rounds, limit.epsilon, limit.delta, cost),
            in_year=_cost(year, spent_year, plan.privacy, rounds, in_year, limit.delta, cost),
            honest_minimum=plan.privacy.honest_minimum,
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            "rounds": self.rounds,
            "delta": self.delta,
            "epsilon_job": self.job if math.isfinite(self.job) else None,
            "lasts": self.lasts,
            "honest_minimum": self.honest_minimum,
            "in_all": self.in_all.to_dict(),
            "in_year": self.in_year.to_dict(),
        }


def _cost(
    before: tuple[DpEvent, ...],
    spent: float,
    privacy: PrivacyPlan,
    rounds: int,
    limit: float,
    delta: float,
    cost: Accountant,
) -> Cost:
    """Cost of all rounds and, where they do not last, how many do."""

    def after(n: int) -> float:
        return cost([*before, privacy.event(n)], delta, enough=limit)

    total = after(rounds)
    if total <= limit:
        return Cost(spent=spent, after=total, limit=limit, rounds_lasting=rounds)
    low, high = 0, rounds  # `low` rounds keep the limit, or are none; `high` rounds do not.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if after(middle) <= limit else (low, middle)
    return Cost(spent=spent, after=math.inf, limit=limit, rounds_lasting=low)
