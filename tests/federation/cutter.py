"""A wire between nodes and coordinator that can be cut in the middle of a message.

    with Cutter(listen, to) as wire:
        wire.cut(Cut(direction="up", after=2000, nth=3))

A burst is what goes in one direction over one connection until something goes in the other: a question, or its
answer. The n-th burst that is longer than `after` bytes is cut there: both ends see their connection reset, one of
them with half a message.
"""

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Cut", "Cutter"]

_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where the wire is cut; `up` is from a node to the coordinator."""

    direction: Literal["up", "down"]
    after: int
    nth: int = 1

    def __str__(self) -> str:
        return f"wire: cut {self.direction} after {self.after} bytes, message {self.nth}"


@dataclass(eq=False)
class _End:
    """One socket, and what it reads."""

    socket: socket.socket
    direction: Literal["up", "down"]
    other: "_End" = field(init=False)
    burst: int = 0


class Cutter:
    """Listens on one port of 127.0.0.1 and hands on to another, in a thread of its own."""

    def __init__(self, listen: int, to: int, cuts: Iterable[Cut]) -> None:
        self._to = to
        self._left = list(cuts)
        self._seen = dict.fromkeys(self._left, 0)
        self.made: list[Cut] = []
        self._door = socket.create_server(("127.0.0.1", listen))
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for one in (self._door, self._woken):
            self._selector.register(one, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Cutter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.send(b"x")
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    self._close_all()
                    return
                if key.fileobj is self._door:
                    self._connect()
                elif key.data.socket.fileno() >= 0:
                    self._hand_on(key.data)

    def _connect(self) -> None:
        near, _ = self._door.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._to), timeout=5)
        except OSError:
            near.close()
            return
        up, down = _End(near, "up"), _End(far, "down")
        up.other, down.other = down, up
        for end in (up, down):
            end.socket.settimeout(10)
            self._selector.register(end.socket, selectors.EVENT_READ, end)

    def _hand_on(self, end: _End) -> None:
        try:
            data = end.socket.recv(65536)
            end.other.burst = 0
            allowed = self._allowed(end, len(data))
            end.burst += len(data)
            if data[:allowed]:
                end.other.socket.sendall(data[:allowed])
            if data and allowed == len(data):
                return
        except OSError:
            pass
        self._drop(end)

    def _allowed(self, end: _End, size: int) -> int:
        """How many of these bytes go on; fewer than all where the wire is cut now."""
        for cut in list(self._left):
            if cut.direction == end.direction and end.burst <= cut.after < end.burst + size:
                self._seen[cut] += 1
                if self._seen[cut] == cut.nth:
                    self._left.remove(cut)
                    self.made.append(cut)
                    return cut.after - end.burst
        return size

    def _drop(self, end: _End) -> None:
        """Reset both connections."""
        for one in (end, end.other):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(one.socket)
            with contextlib.suppress(OSError):
                one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.socket.close()

    def _close_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _End):
                self._drop(key.data)
        for one in (self._door, self._wake, self._woken):
            one.close()
