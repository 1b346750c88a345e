"""The worker of a node: one process that loads the base model once and answers messages one after another.

The supervisor in `node.py` holds the connection, this process holds records and model. They share a pipe
on which envelopes, progress and faults travel; no record, text or number computed from one does.
"""

import logging
import multiprocessing
import signal
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from fedclient._children import end_with_parent
from fedclient.approvals import Consent
from fedclient.session import Institution, audited, run_round
from fedclient.settings import NodeSettings
from fedcore.enrolment import CoordinatorCard
from fedcore.errors import ConcordatError, LedgerError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.round import RoundPlan
from fedcore.wire import Envelope, read_plan

if TYPE_CHECKING:
    from domains.language import Base
    from fedclient.distributed import Helpers

__all__ = ["Failed", "Ready", "Replied", "Started", "Stepped", "Worker"]


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The base is loaded."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """A plan is being answered."""

    job: str
    round: int
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """So many of a round's steps are done."""

    step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Replied:
    """The answer to a plan or to a question of a masked sum, or that a receipt came."""

    envelope: Envelope


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The worker cannot work at all, such as with a base that is not the card's."""

    kind: type[ConcordatError]
    message: str

    def error(self) -> ConcordatError:
        """The error as it was raised in the worker."""
        error = self.kind.__new__(self.kind)
        Exception.__init__(error, self.message)
        return error


Event = Ready | Started | Stepped | Replied | Failed


class Worker:
    """A handle on the process. Made anew when the process has died.

    Args:
        settings: The node's.
        bases: Where prepared bases are stored.
    """

    def __init__(self, settings: NodeSettings, bases: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_work, args=(settings, bases, far), name="concordat worker")
        self._process.start()
        far.close()

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.is_alive()

    def ask(self, envelope: Envelope) -> None:
        """Hand it a plan, a question of a masked sum or a receipt."""
        self._pipe.send(envelope)

    def next(self, timeout_s: float) -> Event | None:
        """What it says next; None when it says nothing in that time, or has died."""
        try:
            if self._pipe.poll(timeout_s):
                event: Event = self._pipe.recv()
                return event
        except (EOFError, OSError):
            self._process.join(timeout=5)
        return None

    def stop(self) -> None:
        """End it; what it had reserved stays reserved."""
        self._process.terminate()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()


def _work(settings: NodeSettings, bases: Path, pipe: Connection) -> None:
    """The whole life of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides.
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=f"{settings.name}: %(message)s")
    for name in ("flwr", "httpx", "opacus"):
        logging.getLogger(name).setLevel(logging.ERROR)
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        institution = _institution(settings, bases)
    except ConcordatError as error:
        pipe.send(Failed(kind=type(error), message=str(error)))
        return
    _look_at_receipts(institution)
    pipe.send(Ready())
    while True:
        try:
            envelope: Envelope = pipe.recv()
        except EOFError:
            return
        _announce(envelope, institution, pipe)
        answer = run_round(envelope, institution, lambda step, steps: pipe.send(Stepped(step=step, steps=steps)))
        pipe.send(Replied(envelope=answer))


def _look_at_receipts(institution: Institution) -> None:
    """Say at once when the ledger is behind its receipts; every plan is refused until that is resolved."""
    try:
        institution.receipts.check(institution.ledger)
    except LedgerError as error:
        logging.getLogger(__name__).error("no plan will be answered: %s", error)


def _announce(envelope: Envelope, institution: Institution, pipe: Connection) -> None:
    """Say which round begins; what cannot be read is for the session to refuse, and all but plans is quick."""
    if envelope.kind != "plan":
        return
    try:
        plan, _ = read_plan(envelope, institution.coordinator)
    except ConcordatError:
        return
    pipe.send(Started(job=plan.job_id, round=plan.round, rounds=plan.rounds))


def _institution(settings: NodeSettings, bases: Path) -> Institution:
    """Load the base and everything else that stays between rounds.

    Raises:
        ConcordatError: Something that a node needs cannot be used.
    """
    from domains.base import load_task
    from domains.bases import find
    from domains.language import Base, set_threads
    from fedclient.dataset import PrivateDataset
    from fedclient.model import Trainer
    from fedclient.records import read_records

    if settings.threads:
        set_threads(settings.threads)
    card = CoordinatorCard.read(settings.files.coordinator)
    identity = SigningIdentity.load(settings.files.identity)
    ledger = settings.open_ledger()
    chosen = settings.base
    found = find(chosen.path, bases)
    devices = _devices(settings)
    base = Base.load(found, dtype=chosen.dtype, quantization=chosen.quantization, device=devices[0] or None)
    helpers = _helpers(settings, found, base, devices[1:]) if devices[1:] else None
    cache: dict[tuple[str, int], PrivateDataset] = {}

    def dataset(plan: RoundPlan) -> PrivateDataset:
        key = (plan.task, plan.max_tokens)
        if key not in cache:
            cache.clear()
            records = read_records(settings.records)
            cache[key] = PrivateDataset.build(records, load_task(plan.task), base, plan.max_tokens)
        return cache[key]

    return Institution(
        name=settings.name,
        identity=identity,
        coordinator=PublicIdentity(card.identity),
        policy=Consent(settings.policy, coordinator=card.fingerprint, approvals=ledger, pending=settings.files.pending),
        ledger=ledger,
        trainer=Trainer(
            base,
            micro_batch=chosen.micro_batch,
            gradients=chosen.gradients,
            checkpointing=chosen.checkpointing,
            helpers=helpers,
        ),
        dataset=dataset,
        audit=audited,
        receipts_path=settings.files.receipts,
    )


def _devices(settings: NodeSettings) -> tuple[str, ...]:
    """The device of each process; of one alone, as it is written.

    Raises:
        ConfigError: There are not as many.
    """
    if settings.base.processes == 1:
        return (settings.base.device,)
    from fedclient.distributed import devices_of

    return devices_of(settings.base.device, settings.base.processes)


def _helpers(settings: NodeSettings, found: Path, base: "Base", devices: tuple[str, ...]) -> "Helpers":
    """Start a process for each further device.

    Raises:
        ConcordatError: One cannot load the base.
    """
    from fedclient.distributed import Helpers, Setup

    chosen = settings.base
    setups = [
        Setup(
            base=str(found),
            device=device,
            dtype=chosen.dtype,
            quantization=chosen.quantization,
            micro_batch=chosen.micro_batch,
            gradients=chosen.gradients,
            checkpointing=chosen.checkpointing,
            threads=settings.threads,
        )
        for device in devices
    ]
    helpers = Helpers(setups, base, directory=settings.files.directory)
    helpers.start()
    return helpers
