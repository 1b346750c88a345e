"""Free ports on 127.0.0.1 that no other test process, and no outgoing connection, takes in the meantime.

    port = free_port()

A port that the system chooses is one that it may give to somebody else while a server is started again. These lie
below the range for outgoing connections, and each process draws from a part of its own.
"""

import itertools
import os
import socket

__all__ = ["free_port"]

_FIRST, _PARTS, _WIDTH = 10_000, 20, 1000
"""Parts end at 30,000; outgoing connections begin at 32,768."""

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_PART = int(_WORKER.removeprefix("gw")) if _WORKER else _PARTS - 1
_numbers = itertools.count(os.getpid() * 7)


def free_port() -> int:
    """A port on which nobody listens, never the same one twice in a process."""
    for number in itertools.islice(_numbers, _WIDTH):
        port = _FIRST + (_PART % _PARTS) * _WIDTH + number % _WIDTH
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
