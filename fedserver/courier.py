"""Two calls of ours at the front door, in the place of many of Flower's: take a message, give a reply.

    take   "is there a message for me?" The answer is held until there is one, at most some seconds, and
           carries the message with its parts.
    give   a reply with its parts.

With Flower's own calls a node asks again and again, fetches or brings each part of a message by itself,
and confirms: some sixteen calls for a question and its answer. A node whose held call breaks off is gone,
and is said to be so at once instead of when its heartbeat lapses. All other calls go to Flower.

This module knows nothing of Flower but two paths. Who calls, and what is inside messages, a `Desk` knows
(`link.py`); it authenticates every call with Flower's own function.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["GIVE", "HOLD_S", "TAKE", "App", "Bells", "Courier", "Desk", "Event", "Receive", "Scope", "Send", "Ticket"]

TAKE = "/v1/concordat/take"
GIVE = "/v1/concordat/give"

HOLD_S = 10.0
"""How long "no message" is held back. Less than what a node or a proxy waits for an answer."""

_QUESTION_BYTES = 4096
"""More than a question for a message has."""

_LEAVE = "/v1/fleet/deactivate-node"
_QUIET = frozenset(f"/v1/fleet/{name}" for name in ("pull-messages", "pull-object", "send-node-heartbeat"))
"""Calls after which a coordinator that waits has nothing new to see."""

Scope = dict[str, Any]
Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A node that is authenticated, as long as its connection lasts.

    Args:
        node: Flower's number of it.
        session: Marks the connection.
        request: What it asked, as it came.
    """

    node: int
    session: str
    request: bytes = field(repr=False)


class Desk(Protocol):
    """What the courier asks of whoever knows Flower. Called in threads."""

    def admit(self, scope: Scope, request: bytes) -> Ticket | int:
        """Authenticate who asks for a message; else the status to refuse with."""

    def look(self, ticket: Ticket) -> bytes | None:
        """The answer with a message, empty where there is none, None where the connection has ended."""

    def nothing(self) -> bytes:
        """The answer without a message."""

    def keep(self, scope: Scope, body: bytes) -> bytes | int:
        """Authenticate who brings a reply, only then read its parts, and keep it; or the status to refuse with."""

    def gone(self, ticket: Ticket) -> None:
        """A node's connection has broken off."""

    def leaver(self, request: bytes) -> int:
        """The node that has said that it leaves."""


class Bells:
    """A bell for each node: any thread may ring, one coroutine a node listens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ears: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Event]] = {}

    def ring(self, node: int) -> None:
        """Wake whoever listens for this node."""
        with self._lock:
            ear = self._ears.get(node)
        _wake(ear)

    def ring_all(self) -> None:
        """Wake everyone."""
        with self._lock:
            ears = list(self._ears.values())
        for ear in ears:
            _wake(ear)

    @contextmanager
    def ear(self, node: int) -> Iterator[asyncio.Event]:
        """Listen while the block runs. Whoever listened before for the same node hears the bell and no more."""
        mine = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            before, self._ears[node] = self._ears.get(node), mine
        _wake(before)
        try:
            yield mine[1]
        finally:
            with self._lock:
                if self._ears.get(node) is mine:
                    del self._ears[node]

    def hears(self, node: int, event: asyncio.Event) -> bool:
        """Whether this is still the one that listens."""
        with self._lock:
            ear = self._ears.get(node)
        return ear is not None and ear[1] is event


def _wake(ear: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None) -> None:
    """Set an event in its own loop, unless that has ended."""
    if ear is not None:
        with contextlib.suppress(RuntimeError):
            ear[0].call_soon_threadsafe(ear[1].set)


class Courier:
    """Wraps Flower's application.

    Args:
        app: Flower's.
        desk: Knows its messages.
        arrived: Called, in any thread, when the coordinator may have something new to see.
        hold_s: How long "no message" is held back.
    """

    def __init__(self, app: App, desk: Desk, *, arrived: Callable[[], None], hold_s: float = HOLD_S) -> None:
        self._app = app
        self._desk = desk
        self._arrived = arrived
        self._hold_s = hold_s
        self._closing = False
        self.bells = Bells()

    def close(self) -> None:
        """Let go of every call that is held."""
        self._closing = True
        self.bells.ring_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["path"] == TAKE:
            await self._take(scope, receive, send)
        elif scope["path"] == GIVE:
            await self._give(scope, receive, send)
        elif scope["path"] in _QUIET:
            await self._app(scope, receive, send)
        else:
            await self._pass(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold the call until there is a message, the time is over, or the node is gone."""
        ticket = await asyncio.to_thread(self._desk.admit, scope, await _body(receive, _QUESTION_BYTES))
        if isinstance(ticket, int):
            await _send(send, ticket, b"")
        else:
            await _send(send, 200, await self._hold(ticket, receive) or self._desk.nothing())

    async def _hold(self, ticket: Ticket, receive: Receive) -> bytes | None:
        """The answer with a message; nothing when there was none in time."""
        end = time.monotonic() + self._hold_s
        broken = asyncio.ensure_future(_disconnected(receive))
        try:
            with self.bells.ear(ticket.node) as bell:
                # Looked at only once the ear is there, so that no message slips between.
                while not (answer := await asyncio.to_thread(self._desk.look, ticket)) and answer is not None:
                    heard = asyncio.ensure_future(bell.wait())
                    left = end - time.monotonic()
                    await asyncio.wait((heard, broken), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    heard.cancel()
                    if broken.done():
                        await asyncio.to_thread(self._desk.gone, ticket)
                        self._arrived()
                        return None
                    if self._closing or not bell.is_set() or not self.bells.hears(ticket.node, bell):
                        return None
                    bell.clear()
                return answer
        finally:
            broken.cancel()

    async def _give(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a reply to the desk, unread: whoever is not known costs no work here."""
        answer = await asyncio.to_thread(self._desk.keep, scope, await _body(receive))
        if isinstance(answer, int):
            await _send(send, answer, b"")
        else:
            self._arrived()
            await _send(send, 200, answer)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A call of Flower's after which the coordinator, or a held call, may have to look."""
        request, status = await _body(receive), 500

        async def noted(event: Event) -> None:
            nonlocal status
            status = event.get("status", status)
            await send(event)

        await self._app(scope, _again(request, receive), noted)
        if status == 200:
            if scope["path"] == _LEAVE:
                self.bells.ring(self._desk.leaver(request))
            self._arrived()


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that has been read, to be read again; then whatever else comes from the caller."""
    read = False

    async def again() -> Event:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _body(receive: Receive, limit: int | None = None) -> bytes:
    """A call's whole body. Empty where the caller went away before it was sent, or sent more than the limit."""
    pieces: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return b""
        pieces.append(event.get("body", b""))
        size += len(pieces[-1])
        if limit is not None and size > limit:
            return b""
        if not event.get("more_body"):
            return b"".join(pieces)


async def _disconnected(receive: Receive) -> None:
    """Return when the caller is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, status: int, body: bytes) -> None:
    """Answer a call."""
    headers = [(b"content-type", b"application/protobuf"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
