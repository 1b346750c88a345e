"""This institution's privacy budget: reserve before a record is read, commit before an answer leaves.

One SQLite file holds an append-only chain of entries. Jobs and rounds on the same dataset add up for
ever; whatever was reserved counts, whether or not it was answered. The ledger knows plans and bytes; it
never knows a record, a model or the network.

    ledger = Ledger.open(path, dataset="admissions", unit=unit, limit=BudgetLimit(epsilon=8.0, delta=1e-5))
    reservation = ledger.reserve(plan)          # BudgetExhausted before anything is read
    ledger.commit(reservation, reply)           # the reply is kept: the same question, the same answer

Durability. Write-ahead log with `synchronous=FULL`: a reservation that was returned is on the disk, so
`kill -9`, a power cut or a full disk at any point can cost a reservation but never hides one. Reservations
of several processes are made one after the other under SQLite's write lock.

Tampering. Every entry holds the SHA-256 of the one before it, and a separate row holds the newest; a
changed, removed, added or reordered entry breaks the chain and stops the node. The chain has no secret:
who may write the file can write a new one, or put back an older copy. That is what receipts are for: the
coordinator signs the hashes of entries, and `receipts.py` finds those that this ledger lacks. Each
dataset's page starts with a random salt, so that a hash that leaves tells nothing of what it is over.

Masked sums. The file also keeps the sealed states of this institution as a party of masked sums, because a
masked reply and the state that has used up its round must become durable together. Personal parts. Likewise it keeps
what a plan lets stay here, because a reply and what stays beside it are of one round.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from fedclient import _replies, accountant
from fedclient._accounts import read_accounts
from fedclient._book import Account, Approval, Book, JobAccount, Lost, Moment, Page
from fedclient._budget import Accountant, BudgetLimit, Reservation, require_affordable
from fedclient._chain import Chain, Entry, tampered, to_json
from fedclient._personal_parts import PersonalChange, PersonalParts
from fedclient._replies import KEPT_REPLIES
from fedclient._sum_states import StateChange, SumStates
from fedcore.errors import LedgerError, PlanRefused
from fedcore.manifest import PrivacySpend
from fedcore.privacy.accounting import DpEvent, merge
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import RoundPlan
from fedcore.wire import Envelope

__all__ = [
    "KEPT_REPLIES",
    "Account",
    "Accountant",
    "Approval",
    "BudgetLimit",
    "Entry",
    "JobAccount",
    "Ledger",
    "Lost",
    "Moment",
    "Reservation",
    "StateChange",
    "read_accounts",
]


@final
class Ledger:
    """The budget of one dataset in a ledger file. Make one with `Ledger.open`; threads may share it.

    A process that forks must close it first, and open its own afterwards: SQLite forbids carrying a connection
    over a fork, even unused, and a file that is worked on in this way is damaged.
    """

    def __init__(self, chain: Chain[Book], dataset: str, cost: Accountant) -> None:
        self._chain = chain
        self._dataset = dataset
        self._cost = cost
        self.sum_states = SumStates(chain)  # Of the institution, whichever dataset a job is about.
        self.personal = PersonalParts(chain, dataset)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        dataset: str,
        unit: PrivacyUnit,
        limit: BudgetLimit,
        cost: Accountant = accountant.epsilon,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        shared_disk: bool = False,
    ) -> "Ledger":
        """Open the ledger file, made if missing, after checking its chain; a changed limit is recorded.

        Args:
            path: The file.
            dataset: Name of the records whose budget this is. Other records need another name.
            unit: Whom the promise protects.
            limit: What may be spent. Its epsilons may change from one opening to the next, its delta not.
            cost: Epsilon of events.
            clock: The time now.
            shared_disk: Several machines open the file, one after another, on a disk that they share.
        Raises:
            LedgerError: Not a ledger, damaged or changed by another hand; or it protects another unit, or
                at another delta, than is asked for.
        """
        if not dataset.strip():
            raise LedgerError("a ledger needs the name of its dataset", do="set [records] dataset")
        ledger = cls(
            Chain(path, empty=Book, tables=(_replies.TABLE,), clock=clock, shared_disk=shared_disk), dataset, cost
        )
        try:
            ledger._enter(unit, limit)
        except LedgerError:
            ledger.close()
            raise
        return ledger

    @property
    def path(self) -> Path:
        """The file."""
        return self._chain.path

    @property
    def dataset(self) -> str:
        """Name of the records whose budget this is."""
        return self._dataset

    def reserve(self, plan: RoundPlan, *, coordinator: str = "") -> Reservation:
        """Spend what a round of the plan costs, before a record is read.

        Guarantee: when this returns, the cost is on the disk, and all reservations of this dataset
        together, this one included, cost at most the limit; those of the last 365 days at most the yearly
        one. When it raises, nothing changed.

        Args:
            plan: The round.
            coordinator: Key of the one that asks, hexadecimal: two may use the same name for a job.
        Raises:
            BudgetExhausted: The round would pass a limit.
            PlanRefused: "unit_mismatch": the plan protects another unit than the ledger accounts for.
                "already_answered": the plan was answered before.
            AccountantMismatch: The cost is not known for certain.
            LedgerError: The entry cannot be written, such as on a full disk.
        """
        event = plan.privacy.event()
        with self._chain.transaction() as book:
            page = book.pages[self._dataset]
            self._check(plan, page)
            what = f"round {plan.round} of {plan.job_id}"
            cost = require_affordable(self._cost, page, event, self._chain.now(), what=what)
            alone = self._cost([*page.tally(plan.job_id, coordinator).events, event], page.delta)
            body = {
                "job": plan.job_id,
                "coordinator": coordinator,
                "round": plan.round,
                "plan": plan.digest,
                "event": event.to_dict(),
                "mechanism": plan.privacy.mechanism,
                "epsilon": to_json(cost),
                "epsilon_job": to_json(alone),
            }
            entry = self._chain.append(self._dataset, "reserve", body)
        return Reservation(
            seq=entry.seq,
            job_id=plan.job_id,
            coordinator=coordinator,
            plan_digest=plan.digest,
            epsilon=cost,
            head=entry.hash,
        )

    def commit(
        self,
        reservation: Reservation,
        reply: Envelope,
        *,
        sums: StateChange | None = None,
        personal: PersonalChange | None = None,
    ) -> None:
        """Note that a reservation is answered, and keep what belongs to the answer, all in one transaction.

        Args:
            reservation: What is answered.
            reply: The answer.
            sums: State of masked sums that the reply used up.
            personal: What stays of the round.
        Raises:
            LedgerError: The reservation is not in this ledger.
            PlanRefused: "already_answered": another answer to the same plan was committed meanwhile.
                "sum_state_changed", "personal_part_changed": another round was answered meanwhile.
        """
        with self._chain.transaction() as book:
            page = self._reserved(book, reservation)
            if reservation.plan_digest in page.answered:
                raise PlanRefused("the plan was answered meanwhile", reason="already_answered")
            body: dict[str, Any] = {
                "job": reservation.job_id,
                "coordinator": reservation.coordinator,
                "plan": reservation.plan_digest,
                "reservation": reservation.seq,
                "reply": _replies.digest(reply),
            }
            if personal is not None:
                self.personal.replace(book, personal)
                body["personal"] = {"schema": personal.kept.schema, "digest": personal.kept.digest}
            entry = self._chain.append(self._dataset, "commit", body)
            _replies.keep(self._chain.db, self._dataset, reservation.plan_digest, entry.seq, reply)
            if sums is not None:
                self.sum_states.replace(sums)

    def kept_reply(self, plan_digest: str) -> Envelope | None:
        """The reply that answered a plan, to be sent again at no cost; only the newest are kept.

        Raises:
            LedgerError: The kept reply is not the one that was committed.
        """
        with self._chain.transaction(write=False) as book:
            expected = book.pages[self._dataset].answered.get(plan_digest)
            reply = _replies.find(self._chain.db, self._dataset, plan_digest)
        if reply is not None and _replies.digest(reply) != expected:
            raise tampered(self._chain.path, "a kept reply is not the one that was committed")
        return reply

    def spend(
        self,
        institution: str,
        reservation: Reservation,
        *,
        noise_source: str,
        sampling_source: str,
    ) -> PrivacySpend:
        """What an institution states in its answer to a reservation: figures from public plans alone.

        Args:
            institution: Its name.
            reservation: What is answered.
            noise_source: Origin of the noise that was added.
            sampling_source: Origin of the samples that were drawn.
        Raises:
            LedgerError: The reservation is not in this ledger.
        """
        with self._chain.transaction(write=False) as book:
            page = self._reserved(book, reservation)
            tally = page.tally(reservation.job_id, reservation.coordinator)
            if tally.epsilon is None:
                raise LedgerError("a reservation states no epsilon of its job", do="report this as a fault")
            return PrivacySpend(
                institution=institution,
                unit=page.unit.key,
                relation=page.unit.relation,
                epsilon=page.epsilon,
                delta=page.delta,
                rounds=tally.answered + 1,
                epsilon_job=tally.epsilon,
                events=merge(tally.events),
                accountant=accountant.ACCOUNTANT,
                noise_source=noise_source,
                sampling_source=sampling_source,
            )

    def held(self, heads: Iterable[str]) -> Mapping[str, int]:
        """Those of some entries' hashes that the whole file holds, whichever dataset's they are.

        Returns:
            Hash -> number of the entry that has it, or that was re-entered for it.
        """
        with self._chain.transaction(write=False) as book:
            return {h: book.hashes[h] for h in heads if h in book.hashes}

    def datasets(self) -> tuple[str, ...]:
        """Every dataset that has a page in this file."""
        with self._chain.transaction(write=False) as book:
            return tuple(book.pages)

    def recover(self, found: Sequence[Lost]) -> None:
        """Enter again what was lost, each by its event: it was spent, so no limit holds it back.

        Guarantee: all or nothing. What the ledger holds by now is left out. Each entry states the epsilon
        of everything that was re-entered with it. A file that was put back from an older copy also holds older
        states of masked sums, whose rounds may have been used since: they are let go.

        Raises:
            LedgerError: A dataset has no page here.
            AccountantMismatch: The cost is not known for certain.
        """
        with self._chain.transaction() as book:
            lost = [one for one in found if one.receipt.head not in book.hashes]
            if unknown := sorted({one.dataset for one in lost} - book.pages.keys()):
                raise LedgerError(f"the ledger has no page for {unknown[0]}", do="report this as a fault")
            if lost:
                self.sum_states.forget()
            for dataset in dict.fromkeys(one.dataset for one in lost):
                self._recover(book.pages[dataset], [one for one in lost if one.dataset == dataset])

    def approve(self, job_id: str, terms_digest: str, *, by: str = "") -> None:
        """Note that the operator agrees to a job on these terms; an empty digest takes it back."""
        with self._chain.transaction():
            self._chain.append(self._dataset, "approve", {"job": job_id, "terms": terms_digest, "by": by})

    def approved(self, job_id: str) -> Approval | None:
        """The newest approval of a job, unless it was taken back."""
        with self._chain.transaction(write=False) as book:
            return book.pages[self._dataset].approval(job_id)

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

    def verify(self) -> int:
        """Check the whole chain again, from its first entry; returns how many entries it has.

        Raises:
            LedgerError: It is broken.
        """
        return len(self._chain.entries())

    def close(self) -> None:
        """Close the file."""
        self._chain.close()

    def _enter(self, unit: PrivacyUnit, limit: BudgetLimit) -> None:
        """Start the dataset's page, or require that it is about the same promise."""
        with self._chain.transaction() as book:
            self.sum_states.prepare()
            self.personal.prepare()
            page = book.pages.get(self._dataset)
            if page is None:
                body = {"unit": unit.key, "relation": unit.relation, "delta": limit.delta}
                self._chain.append(self._dataset, "open", {**body, **_limits(limit), "salt": secrets.token_hex(32)})
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
            # A ledger of an older version gets its salt now, before any hash leaves.
            salt = {} if page.is_salted else {"salt": secrets.token_hex(32)}
            if salt or (page.limit, page.limit_per_year) != (limit.epsilon, limit.epsilon_per_year):
                self._chain.append(self._dataset, "limit", {**_limits(limit), **salt})

    def _reserved(self, book: Book, reservation: Reservation) -> Page:
        """The page, when it holds the reservation."""
        page = book.pages[self._dataset]
        if page.reserved.get(reservation.seq) != reservation.plan_digest:
            raise LedgerError("an answer fits no reservation of this ledger", do="report this as a fault")
        return page

    def _recover(self, page: Page, lost: Sequence[Lost]) -> None:
        """Append entries to one page, in order of their receipts."""
        # Reckoned before the first is appended, since the page grows with each.
        cost = self._cost([*page.events, *(one.receipt.event for one in lost)], page.delta)
        alone: dict[tuple[str, str], float] = {}
        for job, coordinator in {(one.receipt.job, one.coordinator) for one in lost}:
            events = [o.receipt.event for o in lost if (o.receipt.job, o.coordinator) == (job, coordinator)]
            alone[job, coordinator] = self._cost([*page.tally(job, coordinator).events, *events], page.delta)
        for one in lost:
            receipt = one.receipt
            body = {
                "job": receipt.job,
                "coordinator": one.coordinator,
                "round": receipt.round,
                "plan": receipt.plan,
                "event": receipt.event.to_dict(),
                "epsilon": to_json(cost),
                "epsilon_job": to_json(alone[receipt.job, one.coordinator]),
                "number": receipt.number,
                "head": receipt.head,
            }
            self._chain.append(page.dataset, "recovered", body)

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


def _limits(limit: BudgetLimit) -> dict[str, Any]:
    """What an entry notes of a limit."""
    return {"epsilon": to_json(limit.epsilon), "epsilon_per_year": limit.epsilon_per_year}
