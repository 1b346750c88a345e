"""The process that an institution's operator runs: a supervisor and one worker.

The supervisor holds the connection and never touches a record; the worker holds records and model and
never touches the network. When the coordinator goes away, the supervisor connects again, for ever, while
the worker finishes what it does; its answer is in the ledger, and the coordinator asks again. When the
worker dies, the coordinator is told so with a code, and a new worker is started. When the supervisor is
killed, the worker ends with it, and nothing but what had been reserved is lost.
"""

import contextlib
import fcntl
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flwr.app import Error, Message

from domains.bases import default_root
from fedclient._worker import Failed, Ready, Replied, Started, Stepped, Worker
from fedclient.app import pack, unpack
from fedclient.link import Link, connect
from fedclient.settings import NodeSettings
from fedcore.cli import console
from fedcore.enrolment import CoordinatorCard
from fedcore.errors import BadReply, ConfigError, Interrupted, LinkError, TrustError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.wire import Envelope, SumAsk, read_sum, read_sum_reply, seal_sum_refusal, seal_unread

__all__ = ["Node", "run_node"]

_POLL_S = 0.25
_BACKOFF_S = (0.5, 1.0, 2.0, 3.0)
_WORKER_DIED = "worker_died"

_SUM_ANSWERS = {
    "join": ("keys", "keys for masked sums were sent"),
    "roster": ("shares", "masks agreed, among {members} institutions"),
    "confirm": ("confirmed", "the set of those who have masked was signed"),
    "open": ("opened", "shares opened, so that the sum can be read"),
}
"""Phase of a masked sum -> what the answer is called in the status, and how people hear of it."""


def run_node(settings: NodeSettings, bases: Path | None = None) -> None:
    """Take part until told to stop.

    Args:
        settings: The node's.
        bases: Where prepared bases are stored; by default where `concordat model` puts them.
    Raises:
        Interrupted: Ctrl-C. State is kept.
        TrustError: The coordinator's certificate did not hold at the first connection.
        ConcordatError: The node cannot work at all, such as without its base.
    """
    stop = threading.Event()
    interrupted = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = interrupted or number == signal.SIGINT
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _alone(settings):
            say = lambda line: console.print(  # noqa: E731
                f"{settings.name}: {line}", highlight=False, markup=False, soft_wrap=True
            )
            Node(settings, bases or default_root(os.environ), say=say, stop=stop).run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupted:
        raise Interrupted(
            f"{settings.name} stopped; keys and ledger are kept",
            do=f"'concordat node run --dir {settings.files.directory}' goes on",
        )


class Node:
    """See the module.

    Args:
        settings: The node's.
        bases: Where prepared bases are stored.
        say: Called with one line for people.
        stop: Set it to end the node.
    """

    def __init__(
        self, settings: NodeSettings, bases: Path, *, say: Callable[[str], None], stop: threading.Event
    ) -> None:
        self._settings = settings
        self._bases = bases
        self._say = say
        self._stop = stop
        self._card = CoordinatorCard.read(settings.files.coordinator)
        self._identity = SigningIdentity.load(settings.files.identity)
        self._key = _transport_key(settings.files.flower_key)
        self._status = _Status(settings.files.status, coordinator=self._card.address)
        self._worker = Worker(settings, bases)
        self._busy = False
        self._asked: tuple[Message, Envelope] | None = None
        self._round = ("", 0)

    def run(self) -> None:
        """Work until stopped; see `run_node`."""
        try:
            self._await_worker()
            self._stay_connected()
        finally:
            self._worker.stop()
            self._status.write(state="stopped")

    def _await_worker(self) -> None:
        """Wait until the base is loaded."""
        self._status.write(state="loading")
        self._say(f"loading the base {self._settings.base.path}")
        while not self._stop.is_set():
            event = self._worker.next(_POLL_S)
            if isinstance(event, Failed):
                raise event.error()
            if isinstance(event, Ready):
                return
            if event is None and not self._worker.is_alive:
                raise ConfigError("the worker process ended while it loaded the base", do="look at the lines above")

    def _stay_connected(self) -> None:
        """Connect, serve, and connect again, for ever."""
        failures, ever, said = 0, False, ""
        while not self._stop.is_set():
            self._status.write(state="connecting")
            try:
                with connect(self._card.address, ca_pem=self._card.ca_pem, key=self._key, stop=self._stop) as link:
                    self._say(f"connected to {self._card.name} at {self._card.address}")
                    failures, ever, said = 0, True, ""
                    self._serve(link)
            except (LinkError, TrustError) as error:
                if isinstance(error, TrustError) and not ever:
                    raise
                if str(error) != said:
                    said = str(error)
                    self._say(said)
                self._status.write(state="connecting", error=said)
                self._asked = None
                self._stop.wait(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1

    def _serve(self, link: Link) -> None:
        """Take plans and send answers while the connection lives.

        Raises:
            LinkError: The connection is lost.
        """
        if not self._busy:
            self._status.write(state="connected")
        while not self._stop.is_set():
            link.check()
            if self._busy:
                self._listen(link)
            elif (message := link.receive()) is not None:
                self._ask(message, link)

    def _ask(self, message: Message, link: Link) -> None:
        """Hand a plan, a receipt or a question of a masked sum to the worker."""
        try:
            envelope = unpack(message.content)
        except TrustError as error:
            self._say(str(error))
            link.send(Message(Error(0, "not_an_envelope"), reply_to=message))
            return
        self._asked, self._busy = (message, envelope), True
        self._worker.ask(envelope)

    def _listen(self, link: Link) -> None:
        """Hear what the worker says, and send its answer if someone still waits for it."""
        event = self._worker.next(_POLL_S)
        if isinstance(event, Started):
            self._round = (event.job, event.round)
            self._say(f"job {event.job}: round {event.round} of {event.rounds}")
            self._status.write(state="training", job=event.job, round=event.round, rounds=event.rounds)
        elif isinstance(event, Stepped):
            self._status.update(step=event.step, steps=event.steps)
        elif isinstance(event, Replied):
            self._busy = False
            self._answer(event.envelope, link)
        elif event is None and not self._worker.is_alive:
            self._replace_worker(link)

    def _answer(self, envelope: Envelope, link: Link) -> None:
        """Send an answer to the plan that it is for; without one, it waits in the ledger to be asked for."""
        asked, self._asked = self._asked, None
        if asked is None:
            self._status.write(state="connected")
            return
        message, question = asked
        if envelope.kind == "ack":
            self._status.write(state="connected")
            self._acknowledge(message, envelope, link)
            return
        what, line, (job, number) = self._answered(question, envelope)
        sent = link.send(Message(pack(envelope), reply_to=message))
        self._say(f"{line} ({envelope.size_bytes:,} bytes)" if sent else f"{line}: too late")
        # Written only now: who reads it may take it that the answer has left.
        self._status.keep(answered={"job": job, "round": number, "what": what})
        self._status.write(state="connected")

    def _answered(self, question: Envelope, answer: Envelope) -> tuple[str, str, tuple[str, int]]:
        """What an answer is called in the status and among people, and which round it is of."""
        if answer.kind == "refusal":
            return "refusal", "a refusal was sent", self._round
        if answer.kind != "sum_reply":
            return "update", "an update was sent", self._round
        try:
            ask = read_sum(question, PublicIdentity(self._card.identity))
        except TrustError:
            return "refusal", "a question of a masked sum was refused", ("", 0)
        where = f"job {ask.job}: " + (f"round {ask.round}: " if ask.round else "")
        what, line = self._of_sum(ask, answer)
        return what, where + line, (ask.job, ask.round)

    def _of_sum(self, ask: SumAsk, answer: Envelope) -> tuple[str, str]:
        """The same of one question of a masked sum."""
        try:
            read_sum_reply(answer, ask, self._settings.name, self._identity.public)
        except BadReply as error:
            return "refusal", f"no part in the masked sum ({ask.phase}: {error.kind})"
        what, line = _SUM_ANSWERS[ask.phase]
        return what, line.format(members=len(ask.terms.members))

    def _acknowledge(self, message: Message, envelope: Envelope, link: Link) -> None:
        """Say that a receipt came. The coordinator may have ended the run: whether it hears does not matter."""
        try:
            link.send(Message(pack(envelope), reply_to=message))
        except LinkError:
            # A connection that is really lost is noticed by its heartbeat.
            logging.getLogger("concordat").debug("the coordinator did not hear that its receipt came")

    def _replace_worker(self, link: Link) -> None:
        """A worker that died: say so to the coordinator, start another."""
        self._say("the worker process died; a new one is started")
        self._worker.stop()
        self._busy = False
        if self._asked is not None:
            asked = self._asked[1]
            seal = seal_sum_refusal if asked.kind == "sum" else seal_unread
            self._answer(seal(asked, self._settings.name, _WORKER_DIED, self._identity), link)
        self._worker = Worker(self._settings, self._bases)
        self._await_worker()
        self._status.write(state="connected")


class _Status:
    """The small file that `node status` and progress displays read; replaced whole at each change."""

    def __init__(self, path: Path, *, coordinator: str) -> None:
        self._path = path
        self._fixed: dict[str, object] = {"pid": os.getpid(), "coordinator": coordinator}
        self._value: dict[str, object] = {}

    def keep(self, **value: object) -> None:
        """Say from the next writing on, and whatever is said besides."""
        self._fixed |= value

    def write(self, **value: object) -> None:
        """Replace what is said."""
        self._value = value
        self.update()

    def update(self, **value: object) -> None:
        """Add to what is said."""
        self._value |= value
        draft = self._path.with_name(f".{self._path.name}.draft")
        # A node whose disk is full goes on: the ledger alone decides what may be spent and sent.
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps({**self._value, **self._fixed}) + "\n", encoding="utf-8")
            draft.replace(self._path)


@contextmanager
def _alone(settings: NodeSettings) -> Iterator[None]:
    """One process for each node's directory.

    Raises:
        ConfigError: Another one runs.
    """
    with (settings.files.directory / ".node.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"the node in {settings.files.directory} runs already", do="stop it first") from error
        yield


def _transport_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The node's transport key.

    Raises:
        TrustError: It cannot be read.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise TrustError(f"the key {path} cannot be read", do="check the path and its permissions") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TrustError(f"the key {path} is of the wrong type", expected="EC P-384")
    return key
