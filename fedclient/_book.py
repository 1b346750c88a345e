"""What a ledger's entries add up to: a page for each dataset, and the **Account** that may be shown.

Pure: it folds entries that `_chain` has checked, and never reads or writes a file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from fedclient._chain import Entry, from_json, to_json
from fedcore.privacy.accounting import DpEvent, merge
from fedcore.privacy.units import PrivacyUnit
from fedcore.receipt import Receipt

__all__ = ["YEAR", "Account", "Approval", "Book", "JobAccount", "Lost", "Moment", "Page", "Tally"]

YEAR = timedelta(days=365)
"""A yearly limit is over the 365 days before a reservation, not over a calendar year."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One reservation, or one receipt that was re-entered, and what everything cost with it."""

    at: datetime
    job: str
    event: DpEvent
    epsilon: float
    recovered: bool = False
    """Whether it was re-entered from a receipt; then `epsilon` is that of all that were, at once."""


@dataclass(frozen=True, kw_only=True)
class JobAccount:
    """What one job has cost alone."""

    job: str
    coordinator: str
    """Key of the coordinator that asked, hexadecimal; empty in entries of older versions."""
    rounds_reserved: int
    rounds_answered: int
    events: tuple[DpEvent, ...]
    """Alike ones added up."""
    epsilon: float | None
    """As stored when it last reserved; None where an older version did not store it."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON value for people; infinity is null."""
        return {
            "job": self.job,
            "coordinator": self.coordinator,
            "rounds_reserved": self.rounds_reserved,
            "rounds_answered": self.rounds_answered,
            "epsilon": None if self.epsilon is None else to_json(self.epsilon),
        }


@dataclass(frozen=True, kw_only=True)
class Approval:
    """An operator's word on a job."""

    job: str
    terms_digest: str
    by: str
    at: str
    used: int
    """Reservations of the job made since."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A receipt whose entry the ledger lacks, and where it belongs."""

    dataset: str
    coordinator: str
    """Key of the one that signed the receipt, hexadecimal."""
    receipt: Receipt


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the entries of one dataset add up to."""

    dataset: str
    unit: PrivacyUnit
    delta: float
    limit: float
    limit_per_year: float | None
    epsilon: float
    history: tuple[Moment, ...]
    """Everything that was ever reserved, in order."""
    by_job: tuple[JobAccount, ...]
    """In order of their first reservation."""
    approvals: Mapping[str, Approval]
    """The newest of each job that was not taken back."""
    opened: str
    last: str
    """When the first and the newest entry were made, UTC."""

    @property
    def events(self) -> tuple[DpEvent, ...]:
        """Everything that was ever reserved, in order."""
        return tuple(m.event for m in self.history)

    @property
    def jobs(self) -> Mapping[str, int]:
        """Job -> rounds answered, of those with an answer."""
        rounds: dict[str, int] = {}
        for one in self.by_job:
            if one.rounds_answered:
                rounds[one.job] = rounds.get(one.job, 0) + one.rounds_answered
        return MappingProxyType(rounds)

    @property
    def remaining(self) -> float:
        """Epsilon left below the limit. Epsilons do not simply add up: a round may cost less than it would alone."""
        return max(0.0, self.limit - self.epsilon) if self.is_private else 0.0

    @property
    def is_private(self) -> bool:
        """False for ever once a round without noise was reserved: the ledger is marked."""
        return math.isfinite(self.epsilon)

    def events_since(self, moment: datetime) -> tuple[DpEvent, ...]:
        """What was reserved at a moment or after it."""
        return tuple(m.event for m in self.history if m.at >= moment)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value for people; infinity is null."""
        return {
            "dataset": self.dataset,
            "unit": self.unit.key,
            "relation": self.unit.relation,
            "delta": self.delta,
            "epsilon_limit": to_json(self.limit),
            "epsilon_limit_per_year": self.limit_per_year,
            "epsilon_spent": to_json(self.epsilon),
            "epsilon_left": to_json(self.remaining),
            "rounds_reserved": len(self.history),
            "rounds_answered": sum(self.jobs.values()),
            "jobs": dict(self.jobs),
            "by_job": [one.to_dict() for one in self.by_job],
            "recovered": sum(m.recovered for m in self.history),
            "unsafe": [] if self.is_private else ["UnsafeNoNoise"],
            "last": self.last,
        }


class Book:
    """Every dataset's page, and every hash that the chain vouches for."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.hashes: dict[str, int] = {}
        """Of entries, and of those that were lost and re-entered from a receipt -> the entry that vouches."""

    def take(self, entry: Entry) -> None:
        """Fold one entry; see `fedclient._chain.Folded`."""
        if entry.kind == "open":
            if entry.dataset in self.pages:
                raise ValueError("a dataset is opened twice")
            self.pages[entry.dataset] = Page(entry)
        self.pages[entry.dataset].take(entry)
        self.hashes[entry.hash] = entry.seq
        if entry.kind == "recovered":
            self.hashes[entry.body["head"]] = entry.seq


@dataclass(kw_only=True)
class Tally:
    """What one job adds up to, so far."""

    events: list[DpEvent] = field(default_factory=list)
    answered: int = 0
    epsilon: float | None = None


class Page:
    """What the entries of one dataset add up to, so far."""

    def __init__(self, opening: Entry) -> None:
        self.dataset = opening.dataset
        self.unit = PrivacyUnit(key=opening.body["unit"], relation=opening.body["relation"])
        self.delta = float(opening.body["delta"])
        self.opened = opening.body["at"]
        self.limit = self.epsilon = 0.0
        self.limit_per_year: float | None = None
        self.is_salted = False
        self.history: list[Moment] = []
        self.reserved: dict[int, str] = {}
        self.answered: dict[str, str] = {}
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.approvals: dict[str, tuple[Entry, int]] = {}
        self.personal: dict[tuple[str, str, str], str] = {}
        """(coordinator, job, schema's digest) -> digest of the personal part that is kept."""

    @property
    def events(self) -> list[DpEvent]:
        """Everything that was ever reserved, in order."""
        return [m.event for m in self.history]

    def tally(self, job: str, coordinator: str) -> Tally:
        """A job's, empty at first; two coordinators may use one name."""
        return self.tallies.get((job, coordinator), Tally())

    def take(self, entry: Entry) -> None:
        """Fold one entry of this dataset."""
        body, self.last = entry.body, entry.body["at"]
        if entry.kind in ("open", "limit"):
            self.limit = from_json(body["epsilon"])
            self.limit_per_year = body.get("epsilon_per_year")
            self.is_salted = self.is_salted or "salt" in body
        elif entry.kind == "reserve":
            self._count(entry)
            self.reserved[entry.seq] = body["plan"]
        elif entry.kind == "recovered":
            self._count(entry).answered += 1
            self.answered.setdefault(body["plan"], "")
        elif entry.kind == "commit":
            self.answered[body["plan"]] = body["reply"]
            self.tallies[body["job"], body.get("coordinator", "")].answered += 1
            if "personal" in body:
                part = body["personal"]
                self.personal[body["coordinator"], body["job"], part["schema"]] = part["digest"]
        elif entry.kind == "approve":
            self.approvals[body["job"]] = entry, self._rounds(body["job"])
        else:
            raise ValueError("an entry of an unknown kind")

    def _count(self, entry: Entry) -> Tally:
        """Count an event as spent."""
        body, event = entry.body, DpEvent.from_dict(entry.body["event"])
        self.epsilon = from_json(body["epsilon"])
        self.history.append(
            Moment(
                at=datetime.fromisoformat(body["at"]),
                job=body["job"],
                event=event,
                epsilon=self.epsilon,
                recovered=entry.kind == "recovered",
            )
        )
        tally = self.tallies.setdefault((body["job"], body.get("coordinator", "")), Tally())
        tally.events.append(event)
        tally.epsilon = from_json(body["epsilon_job"]) if "epsilon_job" in body else None
        return tally

    def _rounds(self, job: str) -> int:
        """Reservations of a job, whoever asked."""
        return sum(len(t.events) for (name, _), t in self.tallies.items() if name == job)

    def approval(self, job: str) -> Approval | None:
        """The newest approval of a job that was not taken back."""
        entry, before = self.approvals.get(job, (None, 0))
        if entry is None or not entry.body["terms"]:
            return None
        return Approval(
            job=job,
            terms_digest=entry.body["terms"],
            by=entry.body["by"],
            at=entry.body["at"],
            used=self._rounds(job) - before,
        )

    def snapshot(self) -> Account:
        """The page as a value."""
        return Account(
            dataset=self.dataset,
            unit=self.unit,
            delta=self.delta,
            limit=self.limit,
            limit_per_year=self.limit_per_year,
            epsilon=self.epsilon,
            history=tuple(self.history),
            by_job=tuple(
                JobAccount(
                    job=job,
                    coordinator=coordinator,
                    rounds_reserved=len(tally.events),
                    rounds_answered=tally.answered,
                    events=merge(tally.events),
                    epsilon=tally.epsilon,
                )
                for (job, coordinator), tally in self.tallies.items()
            ),
            approvals=MappingProxyType({j: a for j in self.approvals if (a := self.approval(j)) is not None}),
            opened=self.opened,
            last=self.last,
        )
