"""What a ledger's entries add up to: a page for each dataset, and the **Account** that may be shown.

Pure: it folds entries that `_chain` has checked, and never reads or writes a file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fedclient._chain import Entry, from_json, to_json
from fedcore.privacy.accounting import DpEvent
from fedcore.privacy.units import PrivacyUnit

__all__ = ["Account", "Book", "Page"]


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the entries of one dataset add up to."""

    dataset: str
    unit: PrivacyUnit
    delta: float
    limit: float
    epsilon: float
    events: tuple[DpEvent, ...]
    """Everything that was ever reserved, in order."""
    jobs: Mapping[str, int]
    """Job -> rounds answered."""
    opened: str
    last: str
    """When the first and the newest entry were made, UTC."""

    @property
    def remaining(self) -> float:
        """Epsilon left below the limit. Epsilons do not simply add up: a round may cost less than it would alone."""
        return max(0.0, self.limit - self.epsilon) if self.is_private else 0.0

    @property
    def is_private(self) -> bool:
        """False for ever once a round without noise was reserved: the ledger is marked."""
        return math.isfinite(self.epsilon)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value for people; infinity is null."""
        return {
            "dataset": self.dataset,
            "unit": self.unit.key,
            "relation": self.unit.relation,
            "delta": self.delta,
            "epsilon_limit": to_json(self.limit),
            "epsilon_spent": to_json(self.epsilon),
            "epsilon_left": to_json(self.remaining),
            "rounds_reserved": len(self.events),
            "rounds_answered": sum(self.jobs.values()),
            "jobs": dict(self.jobs),
            "unsafe": [] if self.is_private else ["UnsafeNoNoise"],
            "last": self.last,
        }


class Book:
    """Every dataset's page."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}

    def take(self, entry: Entry) -> None:
        """Fold one entry; see `fedclient._chain.Folded`."""
        if entry.kind == "open":
            if entry.dataset in self.pages:
                raise ValueError("a dataset is opened twice")
            self.pages[entry.dataset] = Page(entry)
        self.pages[entry.dataset].take(entry)


class Page:
    """What the entries of one dataset add up to, so far."""

    def __init__(self, opening: Entry) -> None:
        self.dataset = opening.dataset
        self.unit = PrivacyUnit(key=opening.body["unit"], relation=opening.body["relation"])
        self.delta = float(opening.body["delta"])
        self.opened = opening.body["at"]
        self.limit = self.epsilon = 0.0
        self.events: list[DpEvent] = []
        self.reserved: dict[int, str] = {}
        self.answered: dict[str, str] = {}
        self.jobs: dict[str, int] = {}

    def take(self, entry: Entry) -> None:
        """Fold one entry of this dataset."""
        body, self.last = entry.body, entry.body["at"]
        if entry.kind in ("open", "limit"):
            self.limit = from_json(body["epsilon"])
        elif entry.kind == "reserve":
            self.events.append(DpEvent.from_dict(body["event"]))
            self.epsilon = from_json(body["epsilon"])
            self.reserved[entry.seq] = body["plan"]
        elif entry.kind == "commit":
            self.answered[body["plan"]] = body["reply"]
            self.jobs[body["job"]] = self.jobs.get(body["job"], 0) + 1
        else:
            raise ValueError("an entry of an unknown kind")

    def snapshot(self) -> Account:
        """The page as a value."""
        return Account(
            dataset=self.dataset,
            unit=self.unit,
            delta=self.delta,
            limit=self.limit,
            epsilon=self.epsilon,
            events=tuple(self.events),
            jobs=MappingProxyType(dict(self.jobs)),
            opened=self.opened,
            last=self.last,
        )
