"""Flower's Grid without a network: a ClientApp called in this process, one message after the other.

The coordinator and the session on both sides of it are those of a live federation. What a node sends
reaches the coordinator as the same signed bytes. An exception that would be a node's own trouble in real
life is a mistake to be seen here, so it is raised where replies are fetched.

    with MemoryGrid(app, contexts) as grid:
        coordinator.run(grid)
"""

import queue
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from flwr.app import Context, Message, Metadata, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

__all__ = ["MemoryGrid"]

_POLL_S = 0.005


class MemoryGrid(Grid):
    """Nodes that live in this process.

    Guarantee: messages are handled one at a time, in the order in which they came, in one thread. `close`
    lets the message that is being handled come to its end, and drops those that wait.

    Args:
        app: What every node runs.
        contexts: Node id -> its context.
        run_id: Of the one run.
    """

    def __init__(self, app: ClientApp, contexts: Mapping[int, Context], *, run_id: int = 1) -> None:
        self._app = app
        self._contexts = dict(contexts)
        self._run_id = run_id
        self._run: Any = None
        self._asked: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._replies: dict[str, Message] = {}
        self._trouble: BaseException | None = None
        self._closing = threading.Event()
        # A daemon, so that a second Ctrl-C ends the process at once.
        self._thread = threading.Thread(target=self._work, name="memory-grid", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the message in work end, and stop."""
        self._closing.set()
        self._asked.put(None)
        self._thread.join()

    def set_run(self, run: Any) -> None:
        """Keep Flower's description of the run."""
        self._run = run

    @property
    def run(self) -> Any:
        """What `set_run` was given."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message to one node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """The nodes, which are always connected."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages; returns an id for each."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there; whatever went wrong in a node is raised."""
        if self._trouble is not None:
            raise self._trouble
        return [self._replies.pop(i) for i in list(message_ids) if i in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Ask, and wait for the replies."""
        waiting = set(self.push_messages(messages))
        end = time.monotonic() + timeout if timeout is not None else float("inf")
        received: list[Message] = []
        while waiting and time.monotonic() < end:
            for reply in self.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                received.append(reply)
            time.sleep(_POLL_S)
        return received

    def _push(self, message: Message) -> str:
        """Queue a copy of the message that bears an id, as a SuperLink would give it one."""
        known = message.metadata
        identified = Metadata(
            run_id=self._run_id,
            message_id=uuid.uuid4().hex,
            src_node_id=known.src_node_id,
            dst_node_id=known.dst_node_id,
            reply_to_message_id="",
            group_id=known.group_id,
            created_at=known.created_at,
            ttl=known.ttl,
            message_type=known.message_type,
        )
        self._asked.put(Message(content=message.content, metadata=identified))  # type: ignore[call-overload]
        return identified.message_id

    def _work(self) -> None:
        """Handle messages until closed."""
        while (message := self._asked.get()) is not None and not self._closing.is_set():
            try:
                reply = self._app(message, self._contexts[message.metadata.dst_node_id])
            except Exception as error:  # noqa: BLE001 - carried to the thread that fetches replies
                self._trouble = error
                return
            self._replies[message.metadata.message_id] = reply
