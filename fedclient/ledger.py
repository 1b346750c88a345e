"""This institution's privacy budget: reserve before a record is read, commit before an answer leaves.

One SQLite file holds an append-only chain of entries. Jobs and rounds on the same dataset add up for
ever; whatever was reserved counts, whether or not it was answered. The ledger knows plans and bytes; it
never knows a record, a model or the network.

    ledger = Ledger.open(path, dataset="admissions", unit=unit, limit=BudgetLimit(epsilon=8.0, delta=1e-5))
    reservation = ledger.reserve(plan)          # BudgetExhausted before anything is read
    ledger.commit(reservation, reply)           # the reply is kept: the same question, the same answer

Durability. Write-ahead log with `synchronous=FULL`: a reservation that was returned is on the disk, so
`kill -9` or a power cut at any point can cost a reservation but never hides one. Reservations of several
processes are made one after the other under SQLite's write lock.

Tampering. Every entry holds the SHA-256 of the one before it, and a separate row holds the newest; a
changed, removed, added or reordered entry breaks the chain and stops the node. The chain has no secret:
who may write the file can write a new one, or put back an older copy (see SECURITY.md).
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from fedclient import accountant
from fedclient._book import Account, Book, Page
from fedclient._chain import Chain, Entry, tampered, to_json
from fedcore.errors import BudgetExhausted, ConfigError, LedgerError, PlanRefused
from fedcore.manifest import PrivacySpend
from fedcore.privacy.accounting import DpEvent
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import RoundPlan
from fedcore.wire import Envelope

__all__ = ["KEPT_REPLIES", "Account", "Accountant", "BudgetLimit", "Entry", "Ledger", "Reservation", "read_accounts"]

KEPT_REPLIES = 16
"""How many of the newest replies to a dataset's plans are kept."""

_TABLES = (
    "CREATE TABLE replies (dataset TEXT NOT NULL, plan TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL,"
    " header BLOB NOT NULL, signature BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY (dataset, plan))",
)


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
    Raises:
        ConfigError: A number is out of range.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ConfigError("the budget's epsilon is out of range", expected="a number above 0")
        if not 0 < self.delta < 1:
            raise ConfigError("the budget's delta is out of range", expected="a number in (0, 1), such as 1e-5")


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Spent budget, not answered yet; `epsilon` is that of everything up to and with it."""

    seq: int
    job_id: str
    plan_digest: str
    epsilon: float


@final
class Ledger:
    """The budget of one dataset in a ledger file. Make one with `Ledger.open`; threads may share it.

    A process that forks must open its own afterwards: SQLite forbids sharing a connection.
    """

    def __init__(self, chain: Chain[Book], dataset: str, cost: Accountant) -> None:
        self._chain = chain
        self._dataset = dataset
        self._cost = cost

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        dataset: str,
        unit: PrivacyUnit,
        limit: BudgetLimit,
        cost: Accountant = accountant.epsilon,
    ) -> "Ledger":
        """Open the ledger file, made if missing, after checking its chain; a changed limit is recorded.

        Args:
            path: The file.
            dataset: Name of the records whose budget this is. Other records need another name.
            unit: Whom the promise protects.
            limit: What may be spent. Its epsilon may change from one opening to the next, its delta not.
            cost: Epsilon of events.
        Raises:
            LedgerError: Not a ledger, damaged or changed by another hand; or it protects another unit, or
                at another delta, than is asked for.
        """
        if not dataset.strip():
            raise LedgerError("a ledger needs the name of its dataset", do="set [records] dataset")
        ledger = cls(Chain(path, empty=Book, tables=_TABLES), dataset, cost)
        try:
            ledger._enter(unit, limit)
        except LedgerError:
            ledger.close()
            raise
        return ledger

    def reserve(self, plan: RoundPlan) -> Reservation:
        """Spend what a round of the plan costs, before a record is read.

        Guarantee: when this returns, the cost is on the disk, and all reservations of this dataset
        together, this one included, cost at most the limit. When it raises, nothing changed.

        Raises:
            BudgetExhausted: The round would pass the limit.
            PlanRefused: "unit_mismatch": the plan protects another unit than the ledger accounts for.
                "already_answered": the plan was answered before.
            AccountantMismatch: The cost is not known for certain.
        """
        event = plan.privacy.event()
        with self._chain.transaction() as book:
            page = book.pages[self._dataset]
            self._check(plan, page)
            cost = self._cost([*page.events, event], page.delta, enough=page.limit)
            if not cost <= page.limit:
                raise BudgetExhausted(
                    f"round {plan.round} of {plan.job_id} would pass the budget of {self._dataset}",
                    expected=f"epsilon at most {page.limit:g} at delta {page.delta:g}",
                    got=f"more, with {page.epsilon:.4g} spent before",
                    do="ask for a plan that costs less, or raise [budget] epsilon in node.toml",
                )
            body = {
                "job": plan.job_id,
                "round": plan.round,
                "plan": plan.digest,
                "event": event.to_dict(),
                "mechanism": plan.privacy.mechanism,
                "epsilon": to_json(cost),
            }
            entry = self._chain.append(self._dataset, "reserve", body)
        return Reservation(seq=entry.seq, job_id=plan.job_id, plan_digest=plan.digest, epsilon=cost)

    def commit(self, reservation: Reservation, reply: Envelope) -> None:
        """Note that a reservation is answered, and keep the reply, in one transaction.

        Raises:
            LedgerError: The reservation is not in this ledger.
            PlanRefused: "already_answered": another answer to the same plan was committed meanwhile.
        """
        with self._chain.transaction() as book:
            page = book.pages[self._dataset]
            if page.reserved.get(reservation.seq) != reservation.plan_digest:
                raise LedgerError("an answer fits no reservation of this ledger", do="report this as a fault")
            if reservation.plan_digest in page.answered:
                raise PlanRefused("the plan was answered meanwhile", reason="already_answered")
            body = {
                "job": reservation.job_id,
                "plan": reservation.plan_digest,
                "reservation": reservation.seq,
                "reply": _digest(reply),
            }
            entry = self._chain.append(self._dataset, "commit", body)
            self._keep(reservation.plan_digest, entry.seq, reply)

    def kept_reply(self, plan_digest: str) -> Envelope | None:
        """The reply that answered a plan, to be sent again at no cost; only the newest are kept.

        Raises:
            LedgerError: The kept reply is not the one that was committed.
        """
        with self._chain.transaction(write=False) as book:
            expected = book.pages[self._dataset].answered.get(plan_digest)
            row = self._chain.db.execute(
                "SELECT kind, header, signature, body FROM replies WHERE dataset = ? AND plan = ?",
                (self._dataset, plan_digest),
            ).fetchone()
        if row is None:
            return None
        reply = Envelope(kind=row[0], header=row[1], signature=row[2], body=row[3])
        if _digest(reply) != expected:
            raise tampered(self._chain.path, "a kept reply is not the one that was committed")
        return reply

    def spend(self, institution: str, reservation: Reservation) -> PrivacySpend:
        """What an institution states in its answer to a reservation: figures from public plans alone."""
        account = self.account()
        return PrivacySpend(
            institution=institution,
            unit=account.unit.key,
            relation=account.unit.relation,
            epsilon=account.epsilon,
            delta=account.delta,
            rounds=account.jobs.get(reservation.job_id, 0) + 1,
            accountant=accountant.ACCOUNTANT,
        )

    def account(self) -> Account:
        """What the dataset's entries add up to now, whichever process wrote them."""
        with self._chain.transaction(write=False) as book:
            return book.pages[self._dataset].snapshot()

    def events(self) -> tuple[DpEvent, ...]:
        """Everything that was ever reserved on this dataset, in order."""
        return self.account().events

    def epsilon(self) -> float:
        """Epsilon of everything ever reserved on this dataset."""
        return self.account().epsilon

    def remaining(self) -> float:
        """Epsilon left below the limit."""
        return self.account().remaining

    def entries(self) -> tuple[Entry, ...]:
        """The entries of this dataset, in order; checks the chain."""
        return tuple(e for e in self._chain.entries() if e.dataset == self._dataset)

    def verify(self) -> None:
        """Check the whole chain again, from its first entry.

        Raises:
            LedgerError: It is broken.
        """
        self._chain.entries()

    def close(self) -> None:
        """Close the file."""
        self._chain.close()

    def _enter(self, unit: PrivacyUnit, limit: BudgetLimit) -> None:
        """Start the dataset's page, or require that it is about the same promise."""
        with self._chain.transaction() as book:
            page = book.pages.get(self._dataset)
            if page is None:
                body = {
                    "unit": unit.key,
                    "relation": unit.relation,
                    "delta": limit.delta,
                    "epsilon": to_json(limit.epsilon),
                }
                self._chain.append(self._dataset, "open", body)
                return
            # What was spent was spent on this unit and at this delta: neither can change.
            for what, held, asked in (
                ("unit", page.unit.describe(), unit.describe()),
                ("delta", repr(page.delta), repr(limit.delta)),
            ):
                if held != asked:
                    raise LedgerError(
                        f"the ledger {self._chain.path} accounts for {self._dataset} with another {what}",
                        expected=held,
                        got=asked,
                        do=f"set the {what} back; only other records may have another [records] dataset name",
                    )
            if page.limit != limit.epsilon:
                self._chain.append(self._dataset, "limit", {"epsilon": to_json(limit.epsilon)})

    def _check(self, plan: RoundPlan, page: Page) -> None:
        """Refuse what this page cannot account for, or has answered."""
        if plan.privacy.unit != page.unit:
            raise PlanRefused(
                f"the ledger of {self._dataset} accounts for another privacy unit",
                reason="unit_mismatch",
                expected=page.unit.describe(),
                got=plan.privacy.unit.describe(),
            )
        if plan.digest in page.answered:
            raise PlanRefused(f"round {plan.round} of {plan.job_id} was answered before", reason="already_answered")

    def _keep(self, plan_digest: str, seq: int, reply: Envelope) -> None:
        """Keep a reply and let the oldest go."""
        self._chain.db.execute(
            "INSERT INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._dataset, plan_digest, seq, reply.kind, reply.header, reply.signature, reply.body),
        )
        self._chain.db.execute(
            "DELETE FROM replies WHERE dataset = ? AND seq NOT IN"
            " (SELECT seq FROM replies WHERE dataset = ? ORDER BY seq DESC LIMIT ?)",
            (self._dataset, self._dataset, KEPT_REPLIES),
        )


def read_accounts(path: Path) -> tuple[Account, ...]:
    """What every dataset of a ledger file adds up to, from stored figures; reads only, checks the chain.

    Raises:
        LedgerError: The file is missing, not a ledger, or its chain is broken.
    """
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}", do="it is made when the node first runs")
    chain = Chain(path, empty=Book, read_only=True)
    try:
        with chain.transaction(write=False) as book:
            return tuple(page.snapshot() for page in book.pages.values())
    finally:
        chain.close()


def _digest(reply: Envelope) -> str:
    """SHA-256 over the parts of a reply, each with its length."""
    h = hashlib.sha256()
    for part in (reply.kind.encode(), reply.header, reply.signature, reply.body):
        h.update(len(part).to_bytes(8, "big") + part)
    return h.hexdigest()
