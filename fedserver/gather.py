"""The part of a round that waits: who is connected, who must be asked, and whose answer has come.

Everything here is bounded by a deadline, and goes on without whoever does not answer. One loop serves every
question: a round's plan, and the keys, confirmations and shares of a masked sum. What an answer says is not
believed here but handed to a **Desk**, which knows whom it still waits for.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from flwr.app import Message
from flwr.serverapp import Grid

from fedcore.errors import BadReply, Interrupted, QuorumLost
from fedcore.wire import Envelope
from fedserver import messages
from fedserver.cohort import Member
from fedserver.progress import Clock

__all__ = ["LOST", "Desk", "Gatherer", "Tell", "Withdraws"]

LOST = "lost"
"""An institution that has not been connected for a while, when enough others had answered a secure sum."""

_MARGIN_S = 60.0
_ASKS = 10
"""How often one node is asked one question before it counts as unreachable."""

_AT_ONCE = 8
"""Answers held at once on their way to the desk: however many have come, no more stand in memory."""

Tell = Callable[[str, int, int], None]
"""Stage, how many have answered, how many are asked."""


class Desk(Protocol):
    """Takes the answers to one question; a state machine without I/O."""

    @property
    def waiting(self) -> frozenset[str]:
        """Those who have not answered yet; empty as soon as nobody has to be waited for."""

    @property
    def enough(self) -> bool:
        """Whether so many good answers have come that nobody waits for who was lost."""

    def take(self, institution: str, envelope: Envelope) -> None:
        """Take what a member sent; whatever does not hold is dropped, never raised."""

    def drop(self, institution: str, reason: str) -> None:
        """A member's answer could not be read at all, or never came."""

    def close(self, connected: Collection[str]) -> None:
        """The exchange is over: who has not answered is late, or missing when not connected."""


@runtime_checkable
class Withdraws(Protocol):
    """What a Grid may know beside Flower's: a question that is taken back."""

    def withdraw(self, message_ids: Collection[str]) -> None:
        """Hand these messages out to nobody any more, and take no answer to them."""


@dataclass(kw_only=True)
class Gatherer:
    """Waits for institutions, asks them, and listens.

    Args:
        grid: Flower's, to the nodes.
        members: Flower's node id -> member, of the nodes known now.
        clock: Time.
        stopped: Asked between steps; True ends the waiting.
        tell: Called with progress.
    """

    grid: Grid
    members: Callable[[], Mapping[int, Member]]
    clock: Clock
    stopped: Callable[[], bool]
    tell: Tell
    bytes_up: int = field(default=0, init=False)
    bytes_down: int = field(default=0, init=False)
    _late: dict[str, tuple[str, str]] = field(default_factory=dict, init=False)
    """Message -> who was asked, and the exchange that is over, where the grid cannot take messages back; answers are
    fetched to be refused, or they would pile up."""

    def connected(self) -> dict[str, int]:
        """Members that are connected now -> their node, by name."""
        present, members = set(self.grid.get_node_ids()), self.members()
        return {m.name: i for i, m in sorted(members.items(), key=lambda e: e[1].name) if i in present}

    def wait_for(
        self,
        names: Callable[[], tuple[str, ...]],
        *,
        quorum: int,
        deadline_s: float,
        spare: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Wait for all who are named; once a quorum is there, for the rest only as long as `settle_s`.

        Args:
            names: Asked again and again, since members may enrol meanwhile.
            quorum: Wait at least for so many.
            deadline_s: Wait no longer than this.
            spare: Those of whom nobody waits once a quorum is there, such as who was absent before.
        Raises:
            QuorumLost: Fewer than the quorum are connected at the deadline.
            Interrupted: `stopped` said so.
        """
        start = self.clock.now()
        quorate_at: float | None = None
        while True:
            wanted, now, there = names(), self.clock.now(), self.connected()
            present = tuple(n for n in wanted if n in there)
            if len(present) < quorum:
                quorate_at = None
                if now - start >= deadline_s:
                    raise QuorumLost(
                        f"fewer institutions than the quorum were connected within {deadline_s:g} s",
                        expected=f"at least {quorum}",
                        got=", ".join(present) or "none",
                    )
            elif set(wanted) <= {*present, *spare}:
                return present
            else:
                quorate_at = now if quorate_at is None else quorate_at
                if now - quorate_at >= min(self.clock.settle_s, deadline_s / 2):
                    return present
            self.tell("waiting", len(present), len(wanted))
            self._pause()

    def ask(
        self,
        question: Callable[[str], Envelope],
        desk: Desk,
        *,
        deadline_s: float,
        group: str,
        stages: tuple[str, str] = ("asked", "reply"),
    ) -> None:
        """Ask and listen until the desk waits for nobody or the deadline has passed.

        An error reply of Flower's means that a node was lost together with the message. It is asked again
        when it is connected again: the same question gets the same answer there, at no new privacy cost.

        Args:
            question: Institution -> what it is asked, always the same bytes.
            desk: Takes the answers.
            deadline_s: Wait no longer than this.
            group: Names the exchange in Flower's messages.
            stages: What progress is called when a question has gone out, and when an answer has come.
        Raises:
            Interrupted: `stopped` said so.
        """
        start = self.clock.now()
        asked, seen = len(desk.waiting), dict.fromkeys(desk.waiting, start)
        asks: dict[str, str] = {}
        waiting: set[str] = set()
        while desk.waiting and (now := self.clock.now()) < start + deadline_s:
            there = self.connected()
            seen |= dict.fromkeys(there, now)
            sent: dict[str, str] = {}
            for name in sorted(there.keys() & desk.waiting - {asks[i] for i in waiting}):
                if list(asks.values()).count(name) >= _ASKS:
                    desk.drop(name, "unreachable")
                    continue
                own = question(name)
                out = [_message(own, there[name], group, deadline_s)]
                sent |= {i: name for i in self.grid.push_messages(out) if i}
                self.bytes_down += own.size_bytes
            asks |= sent
            waiting |= sent.keys()
            if sent:
                self.tell(stages[0], asked - len(desk.waiting), asked)
            answered = set()
            for reply in self._pull(waiting):
                answered.add(reply.metadata.reply_to_message_id)
                if reply.has_content():
                    self._take(asks[reply.metadata.reply_to_message_id], reply, desk)
            if answered:
                waiting -= answered
                self.tell(stages[1], asked - len(desk.waiting), asked)
            for name in sorted(desk.waiting - there.keys()) if desk.enough else ():
                if now - seen[name] >= self.clock.lost_s:
                    desk.drop(name, LOST)
                    given_up = {i for i in waiting if asks[i] == name}
                    self._give_up(dict.fromkeys(given_up, (name, group)))
                    waiting -= given_up
            if desk.waiting:
                self._pause()
        self._give_up({i: (asks[i], group) for i in waiting})
        desk.close(self.connected())

    def hand_out(self, receipts: Mapping[str, Envelope]) -> frozenset[str]:
        """Send each institution that is connected its receipt, in one push, and wait for nobody.

        Returns:
            The messages' ids.
        """
        there = self.connected()
        out = [_message(receipt, there[name], "receipt", 0.0) for name, receipt in receipts.items() if name in there]
        return frozenset(i for i in self.grid.push_messages(out) if i) if out else frozenset()

    def _give_up(self, messages: Mapping[str, tuple[str, str]]) -> None:
        """Nobody waits for these answers any more: a late one is refused, and nobody begins to work on one."""
        if isinstance(self.grid, Withdraws):
            self.grid.withdraw(messages.keys())
        else:
            self._late |= messages

    def _pull(self, waiting: set[str]) -> Iterator[Message]:
        """Answers to these messages, a few at a time; those to earlier ones are refused by name, unread."""
        wanted = sorted(waiting | self._late.keys())
        for start in range(0, len(wanted), _AT_ONCE):
            for reply in self.grid.pull_messages(wanted[start : start + _AT_ONCE]):
                asked = reply.metadata.reply_to_message_id
                name, group = self._late.pop(asked, ("", ""))
                if name and reply.has_content():
                    where = f"round {group}" if group.isdigit() else group
                    self.tell(f"refused a late reply of {name} to {where}", 0, 0)
                if asked in waiting:
                    yield reply

    def _take(self, name: str, reply: Message, desk: Desk) -> None:
        """Hand one answer to the desk."""
        try:
            envelope = messages.unpack(name, reply.content)
        except BadReply as error:
            desk.drop(name, error.kind)
            return
        self.bytes_up += envelope.size_bytes
        desk.take(name, envelope)

    def _pause(self) -> None:
        """Wait for a poll's length."""
        if self.stopped():
            raise Interrupted("stopped while a job runs", do="its state is kept; run again to go on")
        self.clock.sleep(self.clock.poll_s)


def _message(envelope: Envelope, node_id: int, group: str, deadline_s: float) -> Message:
    """A question on its way to one node; it lives a little longer than its exchange."""
    return Message(messages.pack(envelope), node_id, messages.MESSAGE_TYPE, ttl=deadline_s + _MARGIN_S, group_id=group)
