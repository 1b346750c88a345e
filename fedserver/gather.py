"""The part of a round that waits: who is connected, who must be asked, and whose reply has come.

Everything here is bounded by a round's deadline, and goes on without whoever does not answer. What a
reply says is not believed here but handed to a `Collector`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.serverapp import Grid

from fedcore.errors import BadReply, Interrupted, QuorumLost
from fedcore.round import RoundPlan
from fedcore.wire import Envelope
from fedserver import messages
from fedserver.cohort import Member
from fedserver.collect import Collector
from fedserver.progress import Clock

__all__ = ["Gatherer", "Tell"]

_MARGIN_S = 60.0
_ASKS = 10
"""How often one node is asked in a round before it counts as unreachable."""

Tell = Callable[[str, int, int], None]
"""Stage, how many have answered, how many are asked."""


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

    def collect(self, plan: RoundPlan, envelope: Callable[[str], Envelope], collector: Collector) -> None:
        """Ask and listen until everyone has answered or the deadline has passed.

        An error reply of Flower's means that a node was lost together with the message. It is asked again
        when it is connected again: the same question gets the same answer there, at no new privacy cost.

        Args:
            plan: What is asked.
            envelope: Institution -> the plan as it is sent to it, always the same bytes.
            collector: Takes the replies.
        Raises:
            Interrupted: `stopped` said so.
        """
        end = self.clock.now() + plan.deadline_s
        asks: dict[str, str] = {}
        waiting: set[str] = set()
        while collector.waiting and self.clock.now() < end:
            for name, node_id in self.connected().items():
                if name in collector.waiting and name not in {asks[i] for i in waiting}:
                    if list(asks.values()).count(name) >= _ASKS:
                        collector.drop(name, "unreachable")
                        continue
                    own = envelope(name)
                    sent = [i for i in self.grid.push_messages([_message(plan, own, node_id)]) if i]
                    asks.update(dict.fromkeys(sent, name))
                    waiting.update(sent)
                    self.bytes_down += own.size_bytes
                    self._tell("asked", plan, collector)
            for reply in self.grid.pull_messages(sorted(waiting)) if waiting else ():
                asked = reply.metadata.reply_to_message_id
                waiting.discard(asked)
                if asked in asks and reply.has_content():
                    self._take(asks[asked], reply, collector)
                    self._tell("reply", plan, collector)
            if collector.waiting:
                self._pause()
        collector.close(self.connected())

    def hand_out(self, receipts: Mapping[str, Envelope]) -> frozenset[str]:
        """Send each institution that is connected its receipt, in one push, and wait for nobody.

        Returns:
            The messages' ids.
        """
        there = self.connected()
        content = {there[name]: messages.pack(receipt) for name, receipt in receipts.items() if name in there}
        out = [
            Message(c, node, messages.MESSAGE_TYPE, ttl=_MARGIN_S, group_id="receipt") for node, c in content.items()
        ]
        return frozenset(i for i in self.grid.push_messages(out) if i) if out else frozenset()

    def _take(self, name: str, reply: Message, collector: Collector) -> None:
        """Hand one reply to the collector."""
        try:
            envelope = messages.unpack(name, reply.content)
        except BadReply as error:
            collector.drop(name, error.kind)
            return
        self.bytes_up += envelope.size_bytes
        collector.take(name, envelope)

    def _tell(self, stage: str, plan: RoundPlan, collector: Collector) -> None:
        self.tell(stage, len(plan.cohort) - len(collector.waiting), len(plan.cohort))

    def _pause(self) -> None:
        """Wait for a poll's length."""
        if self.stopped():
            raise Interrupted("stopped while a job runs", do="its state is kept; run again to go on")
        self.clock.sleep(self.clock.poll_s)


def _message(plan: RoundPlan, envelope: Envelope, node_id: int) -> Message:
    """A plan on its way to one node; it lives a little longer than the round."""
    return Message(
        messages.pack(envelope),
        node_id,
        messages.MESSAGE_TYPE,
        ttl=plan.deadline_s + _MARGIN_S,
        group_id=str(plan.round),
    )
