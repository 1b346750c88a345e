"""Receipts of a job: the coordinator's signature under each entry of a ledger that a signed reply named.

See `fedcore.receipt` for what a receipt is good for. The newest one goes to its institution with the next plan.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from fedcore.identity import SigningIdentity
from fedcore.receipt import Receipt, seal_receipt
from fedcore.round import RoundPlan
from fedcore.wire import Envelope, add_receipt
from fedserver.collect import Collector
from fedserver.store import Store

__all__ = ["Countersigner"]


class Countersigner:
    """Makes receipts and puts them on their way.

    Args:
        store: Numbers and keeps them.
        identity: The coordinator's.
    """

    def __init__(self, store: Store, identity: SigningIdentity) -> None:
        self._store = store
        self._identity = identity

    def addressed(self, envelope: Envelope) -> Callable[[str], Envelope]:
        """A plan as each institution gets it: with its own newest receipt, and nobody else's."""
        made: dict[str, Envelope] = {}

        def addressed(name: str) -> Envelope:
            if name not in made:
                newest = self._store.newest_receipt(name)
                made[name] = envelope if newest is None else add_receipt(envelope, newest, self._identity)
            return made[name]

        return addressed

    def drafts(self, plan: RoundPlan, collector: Collector) -> tuple[Receipt, ...]:
        """A receipt for every signed reply; the store gives them their numbers."""
        before, now = self._store.receipted(plan.job_id), datetime.now(UTC).isoformat(timespec="seconds")
        event = plan.privacy.event()
        return tuple(
            Receipt(
                institution=name,
                number=1,
                previous="",
                job=plan.job_id,
                round=plan.round,
                plan=plan.digest,
                head=reply.ledger,
                dataset=reply.dataset,
                # With rounds that were reserved since the last receipt and never answered.
                event=replace(event, steps=max(event.steps, reply.steps - before.get(name, 0))),
                at=now,
            )
            for name, reply in sorted(collector.acknowledged.items())
        )

    def seal(self, receipt: Receipt) -> Envelope:
        """Sign a numbered receipt."""
        return seal_receipt(receipt, self._identity)

    def newest(self, job_id: str) -> dict[str, Envelope]:
        """The newest receipt of everyone who answered in a job."""
        newest = {name: self._store.newest_receipt(name) for name in self._store.receipted(job_id)}
        return {name: receipt for name, receipt in newest.items() if receipt is not None}
