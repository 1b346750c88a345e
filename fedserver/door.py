"""The front door: the one network listener of a coordinator, TLS 1.3 only, with only what nodes need.

Flower's server is an ASGI application that also holds control and runtime interfaces, with which a
stranger could start runs or take over a task. None of them is reachable here: a path that is not on the
list is answered 404 before Flower sees it, a body that is too large 413. Flower authenticates what goes
through, also by the two paths that are ours (`courier.py`). This module knows nothing of Flower but paths.
"""

import errno
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from fedcore.errors import LinkError, TrustError
from fedserver.courier import GIVE, TAKE, App, Event, Receive, Scope, Send

__all__ = ["PATHS", "FrontDoor", "Traffic", "split_address"]

PATHS = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "pull-object",
        "push-object",
        "confirm-message-received",
    )
) | {TAKE, GIVE}
"""What a node calls. Not on it: registering oneself, fetching code, control, runtime, documentation."""

BODY_LIMIT_BYTES = 32 << 20
"""Flower sends arrays in pieces of 5 MiB, and no more of them come together than fit in here."""

_START_S = 20.0


class Traffic:
    """Counts bytes of HTTP bodies that passed the door: up from nodes, down to nodes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._up = self._down = 0

    def add(self, up: int, down: int) -> None:
        """Count."""
        with self._lock:
            self._up += up
            self._down += down

    def __call__(self) -> tuple[int, int]:
        """Up and down so far."""
        with self._lock:
            return self._up, self._down


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[v6]:port".

    Raises:
        LinkError: It is not such an address.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise LinkError(f"the address {address!r} cannot be used", expected="host:port, such as 127.0.0.1:9443")
    return host, int(port)


class FrontDoor:
    """Serves an ASGI application behind the list of paths.

    Args:
        app: Flower's, with the courier around it.
        address: Host and port to listen on.
        certificate: Server certificate, PEM.
        key: Its private key, PEM.
        ca: The authority's certificate, PEM: the door knocks at itself to see that it works.
    """

    def __init__(self, app: App, *, address: str, certificate: Path, key: Path, ca: Path) -> None:
        self._app = app
        self._host, self._port = split_address(address)
        self._ca = ca
        self.traffic = Traffic()
        self._config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            proxy_headers=False,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            ssl_certfile=str(certificate),
            ssl_keyfile=str(key),
        )
        self.tls_version = ""
        """What was negotiated when the door knocked at itself."""

    @contextmanager
    def open(self) -> Iterator["FrontDoor"]:
        """Listen while the block runs.

        Raises:
            LinkError: The port is in use or cannot be listened on.
            TrustError: The certificate cannot be used.
        """
        listener = self._bind()
        try:
            self._config.load()
        except (ssl.SSLError, OSError) as error:
            listener.close()
            raise TrustError("the server's certificate cannot be used", do="run 'concordat server renew'") from error
        if not isinstance(self._config.ssl, ssl.SSLContext):
            raise TrustError("the server has no certificate")
        self._config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
        server = uvicorn.Server(self._config)
        thread = threading.Thread(target=server.run, args=([listener],), name="front door", daemon=True)
        thread.start()
        try:
            self._knock(server)
            yield self
        finally:
            server.should_exit = True
            thread.join(timeout=5)
            listener.close()

    def _bind(self) -> socket.socket:
        """Take the port, or say why not."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
            listener.listen(512)
        except OSError as error:
            listener.close()
            used = error.errno == errno.EADDRINUSE
            raise LinkError(
                f"the port {self._port} on {self._host} "
                + ("is in use" if used else f"cannot be listened on ({error.strerror})"),
                do="stop what uses it, or set another address in server.toml",
            ) from error
        return listener

    def _knock(self, server: uvicorn.Server) -> None:
        """Wait until the door answers, and note what TLS version it speaks."""
        end = time.monotonic() + _START_S
        while not server.started:
            if time.monotonic() > end:
                raise LinkError("the front door did not open in time", do="look at the messages above")
            time.sleep(0.02)
        context = ssl.create_default_context(cafile=str(self._ca))
        context.check_hostname = False
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        try:
            with (
                socket.create_connection((host, self._port), timeout=5) as plain,
                context.wrap_socket(plain) as secure,
            ):
                self.tls_version = secure.version() or ""
        except ssl.SSLCertVerificationError as error:
            raise TrustError(
                f"the server's certificate does not hold ({error.verify_message})", do="run 'concordat server renew'"
            ) from error
        except OSError as error:
            raise LinkError(f"the front door does not answer ({error})") from error

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a call on the list through, counting its bytes; answer everything else here."""
        if scope["type"] != "http":
            return
        if scope["method"] != "POST" or scope["path"] not in PATHS:
            await _refuse(send, 404)
            return
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit() or int(length) > BODY_LIMIT_BYTES:
            await _refuse(send, 413 if length.isdigit() else 411)
            return

        async def counted_receive() -> Event:
            event = await receive()
            self.traffic.add(len(event.get("body", b"")), 0)
            return event

        async def counted_send(event: Event) -> None:
            self.traffic.add(0, len(event.get("body", b"")))
            await send(event)

        await self._app(scope, counted_receive, counted_send)


async def _refuse(send: Send, status: int) -> None:
    """An answer without a body."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
