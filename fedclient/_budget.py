"""What an institution allows to be spent, and whether one more event still fits.

Pure: limits, events and figures. Who asks and where it is written down is the ledger's business.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fedclient._book import YEAR, Page
from fedcore.errors import BudgetExhausted, ConfigError
from fedcore.privacy.accounting import DpEvent

__all__ = ["Accountant", "BudgetLimit", "Reservation", "require_affordable"]


class Accountant(Protocol):
    """Epsilon of events; may stop early with any figure above `enough`."""

    def __call__(self, events: Iterable[DpEvent], delta: float, *, enough: float = math.inf) -> float:
        """See `fedclient.accountant.epsilon`."""
        ...


@dataclass(frozen=True, kw_only=True)
class BudgetLimit:
    """What an institution allows to be spent on a dataset, over all jobs.

    Args:
        epsilon: > 0. Infinity, for research without privacy, is never read from a settings file.
        delta: In (0, 1), at which epsilon is stated; it stays that of the dataset's first entry.
        epsilon_per_year: > 0, of what is reserved within any 365 days; None for no such limit. It delays
            spending and never gives any back: `epsilon` holds over all years.
    Raises:
        ConfigError: A number is out of range.
    """

    epsilon: float
    delta: float
    epsilon_per_year: float | None = None

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ConfigError("the budget's epsilon is out of range", expected="a number above 0")
        if not 0 < self.delta < 1:
            raise ConfigError("the budget's delta is out of range", expected="a number in (0, 1), such as 1e-5")
        if self.epsilon_per_year is not None and not (
            math.isfinite(self.epsilon_per_year) and self.epsilon_per_year > 0
        ):
            raise ConfigError("the budget's epsilon_per_year is out of range", expected="a finite number above 0")


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Spent budget, not answered yet; `epsilon` is that of everything up to and with it."""

    seq: int
    job_id: str
    coordinator: str
    plan_digest: str
    epsilon: float
    head: str
    """Hash of its entry, which stands for all entries up to it."""


def require_affordable(cost: Accountant, page: Page, event: DpEvent, now: datetime, *, what: str) -> float:
    """Epsilon of everything reserved on a page and the event, when it is within both limits.

    Raises:
        BudgetExhausted: It is not; the figure above the limit is not stated, since it may not be exact.
    """
    total = cost([*page.events, event], page.delta, enough=page.limit)
    if not total <= page.limit:
        raise BudgetExhausted(
            f"{what} would pass the budget of {page.dataset}",
            expected=f"epsilon at most {page.limit:g} at delta {page.delta:g}",
            got=f"more, with {page.epsilon:.4g} spent before",
            do="ask for a plan that costs less, or raise [budget] epsilon in node.toml",
        )
    if page.limit_per_year is not None:
        recent = [m.event for m in page.history if m.at >= now - YEAR]
        if not cost([*recent, event], page.delta, enough=page.limit_per_year) <= page.limit_per_year:
            raise BudgetExhausted(
                f"{what} would pass the yearly budget of {page.dataset}",
                expected=f"epsilon at most {page.limit_per_year:g} at delta {page.delta:g} in 365 days",
                got=f"more, with {len(recent)} rounds reserved in the last 365 days",
                do="wait, ask for a plan that costs less, or raise [budget] epsilon_per_year in node.toml",
            )
    return total
