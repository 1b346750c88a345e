"""A node's connection to its coordinator: the one module here that knows Flower's private parts.

It speaks Flower's fleet protocol over HTTPS, TLS 1.3 or nothing, trusts only the coordinator's own
authority, and proves itself with the node's transport key. Heartbeats go on in a thread of their own
while the node trains. It fetches messages and never the code bundle of a run. Whatever goes wrong is
raised as an error of ours: nothing here ends the process, as Flower's own loop would.

Messages travel with their parts by two calls of the coordinator's front door: "take" is held there until
there is a message, "give" brings a reply. Parts that are too large for that go by Flower's own calls.

Written against Flower 1.41.0; another version is refused, since private parts move.
"""

import ipaddress
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufRequestContext
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.version import package_version
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from fedcore import frames
from fedcore.errors import ConcordatError, LinkError, TrustError

__all__ = ["FLOWER_VERSION", "HEARTBEAT_S", "Link", "connect"]

FLOWER_VERSION = "1.41.0"

HEARTBEAT_S = 10.0
"""The shortest interval that Flower takes. A node that misses two is offline, and can come back."""

_BEAT_S = 4.0
_LOOK_S = 0.5
"""How often the heart's thread looks whether the node is to stop."""
_TIMEOUT_S = 30.0
_TOGETHER_BYTES = 16 << 20
"""What a reply's parts may come to, to travel with it."""
_CLOCK_AHEAD_S, _CLOCK_BEHIND_S = 5.0, 305.0
"""How far a node's clock may be from the coordinator's before Flower takes none of its signatures."""
_TAKE = "/v1/concordat/take"
_GIVE = "/v1/concordat/give"

T = TypeVar("T")
P = TypeVar("P", PullMessagesResponse, PushMessagesResponse)


@contextmanager
def connect(
    address: str, *, ca_pem: str, key: ec.EllipticCurvePrivateKey, stop: threading.Event | None = None
) -> Iterator["Link"]:
    """Connect while the block runs; leave in good order at its end.

    Args:
        address: Host and port of the coordinator's front door.
        ca_pem: The authority that certifies it; no other is trusted.
        key: The node's transport key.
        stop: When it is set, the node leaves at once, and a `receive` that waits returns.
    Raises:
        TrustError: The coordinator's certificate does not hold.
        LinkError: It cannot be reached, or does not let this node in; another version of Flower.
    """
    if package_version != FLOWER_VERSION:
        raise LinkError(
            "this node works with one version of Flower only",
            expected=f"flwr {FLOWER_VERSION}",
            got=package_version,
            do=f"pip install flwr=={FLOWER_VERSION}",
        )
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    client = FleetHttpClient(
        f"https://{address}",
        interceptors=[NodeAuthHttpInterceptor(key, key.public_key())],
    )
    client.close()
    # A redirect would be followed to anywhere, and a proxy asked for a neighbour on this machine.
    client._client = httpx.Client(
        verify=_tls(ca_pem), timeout=_TIMEOUT_S, follow_redirects=False, trust_env=not _is_loopback(address)
    )
    with client:
        link = Link(client, address, public_key_to_bytes(key.public_key()), stop or threading.Event())
        with link.beating():
            yield link


class Link:
    """A live connection. Made by `connect`; any method raises LinkError once it is lost."""

    def __init__(self, client: FleetHttpClient, address: str, public_key: bytes, stop: threading.Event) -> None:
        self._client = client
        self._address = address
        self._leaving = stop
        self._left = False
        self._stop = threading.Event()
        self._broken: ConcordatError | None = None
        answer = self._call(
            client.ActivateNode, ActivateNodeRequest(public_key=public_key, heartbeat_interval=HEARTBEAT_S)
        )
        self._node = Node(node_id=answer.node_id)

    @property
    def node_id(self) -> int:
        """Flower's number of this node, good for this connection."""
        return int(self._node.node_id)

    def receive(self) -> Message | None:
        """The next message for this node, whole; waits some seconds for one. None when none has come.

        Raises:
            LinkError: The connection is lost, or the message is not whole.
        """
        self.check()
        request = PullMessagesRequest(node=self._node)
        head, *parts = self._frames(_TAKE, request, request.SerializeToString(deterministic=True))
        answer = _parsed(PullMessagesResponse, head, self._address)
        if not answer.messages_list:
            return None
        metadata = message_from_proto(answer.messages_list[0]).metadata
        names = [part.object_id for part in iterate_object_tree(answer.message_object_trees[0])]
        if len(parts) != len(names):
            raise LinkError(f"a message from {self._address} is not whole", do="the coordinator asks again")
        contents = {name: part or self._fetch(metadata.run_id, name) for name, part in zip(names, parts, strict=True)}
        if any(get_object_id(content) != name for name, content in contents.items()):
            raise LinkError(f"a message from {self._address} is not whole", do="the coordinator asks again")
        if not all(parts):
            self._call(
                self._client.ConfirmMessageReceived,
                ConfirmMessageReceivedRequest(
                    node=self._node, run_id=metadata.run_id, message_object_id=metadata.message_id
                ),
            )
        message = inflate_object_from_contents(metadata.message_id, contents)
        if not isinstance(message, Message):
            raise LinkError(f"{self._address} sent something that is not a message")
        message.metadata.__dict__["_message_id"] = metadata.message_id
        return message

    def send(self, reply: Message) -> bool:
        """Send a reply, whole. False when the coordinator no longer waits for it.

        Flower asks for the seconds that the app ran. They follow the number of units sampled, so 0 is sent.

        Raises:
            LinkError: The connection is lost.
        """
        self.check()
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            tree, parts = get_object_tree(reply), get_all_nested_objects(reply)
        request = PushMessagesRequest(
            node=self._node,
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[tree],
            clientapp_runtime_list=[0.0],
        )
        contents, size = list[bytes](), 0
        for part in iterate_object_tree(tree):
            content = parts[part.object_id].deflate()
            size += len(content)
            contents.append(content if size <= _TOGETHER_BYTES else b"")
        body = frames.join([request.SerializeToString(deterministic=True), *contents])
        head, *kept = self._frames(_GIVE, request, body)
        answer = _parsed(PushMessagesResponse, head, self._address)
        for name in answer.objects_to_push:
            brought = PushObjectRequest(
                node=self._node,
                run_id=reply.metadata.run_id,
                object_id=name,
                object_content=parts[name].deflate(),
                session_id=answer.session_id,
            )
            if not self._call(self._client.PushObject, brought).stored:
                return False
        return bool(answer.objects_to_push) or kept != [b"0"]

    def _fetch(self, run_id: int, name: str) -> bytes:
        """A part that did not travel with its message."""
        request = PullObjectRequest(node=self._node, run_id=run_id, object_id=name)
        pulled = self._call(self._client.PullObject, request)
        return bytes(pulled.object_content) if pulled.object_available else b""

    def _frames(self, path: str, request: PullMessagesRequest | PushMessagesRequest, body: bytes) -> list[bytes]:
        """One of the front door's own calls, made and signed as Flower's client makes and signs its own."""

        def call(message: PullMessagesRequest | PushMessagesRequest) -> list[bytes]:
            made = self._client._client.build_request(
                "POST", f"{self._client._base_url}{path}", content=body, headers={"content-type": PROTOBUF_MEDIA_TYPE}
            )
            response = self._client._send(ProtobufRequestContext(rpc_method=path, message=message, request=made))
            response.raise_for_status()
            return frames.split(response.content) or [b""]

        return self._call(call, request)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Send heartbeats in a thread while the block runs, then leave."""
        thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=_TIMEOUT_S)
            if self._broken is None:
                self._leave()

    def _beat(self) -> None:
        """Say every few seconds that this node is there; note when the coordinator knows it no longer."""
        request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_S)
        missed, due = 0, time.monotonic() + _BEAT_S
        while not self._stop.wait(_LOOK_S):
            if self._leaving.is_set():
                # The coordinator then lets go of the call that `receive` waits in.
                self._leave()
                return
            if time.monotonic() < due:
                continue
            due = time.monotonic() + _BEAT_S
            try:
                known = self._call(self._client.SendNodeHeartbeat, request).success
                missed = 0
            except LinkError as error:
                known, missed = True, missed + 1
                if missed * _BEAT_S >= HEARTBEAT_S or isinstance(error, _Refused):
                    self._broken = error
                    return
            except TrustError as error:
                self._broken = error
                return
            if not known:
                self._broken = LinkError(f"{self._address} does not know this node any more", do="it connects again")
                return

    def _leave(self) -> None:
        """Tell the coordinator that this node goes; whether it hears does not matter."""
        if self._left:
            return
        self._left = True
        try:
            self._call(self._client.DeactivateNode, DeactivateNodeRequest(node_id=self._node.node_id))
        except ConcordatError:
            logging.getLogger("concordat").debug("the coordinator did not hear that this node leaves")

    def check(self) -> None:
        """Return while the connection lives.

        Raises:
            LinkError: It is lost.
        """
        if self._broken is not None:
            raise self._broken

    def _call(self, function: Callable[..., T], request: object) -> T:
        """One call; what fails is raised as an error of ours."""
        try:
            return function(request)
        except httpx.HTTPStatusError as error:
            raise self._refused(error.response) from error
        except httpx.TransportError as error:
            if (cause := _certificate_fault(error)) is not None:
                raise TrustError(
                    f"the certificate of {self._address} does not hold ({cause})",
                    expected="one by the authority in coordinator.json, for this address, not expired",
                    do="ask the coordinator's operator; if it has a new coordinator.json, compare fingerprints and "
                    "enrol again",
                ) from error
            raise LinkError(
                f"the coordinator at {self._address} cannot be reached ({type(error).__name__})",
                do="check the address and that 'concordat server run' is up",
            ) from error
        except ValueError as error:
            raise LinkError(f"{self._address} does not answer as a coordinator does") from error

    def _refused(self, answer: httpx.Response) -> LinkError:
        """Why the coordinator said no."""
        status, ahead_s = answer.status_code, _clock_ahead_s(answer)
        if status == 401 and not -_CLOCK_BEHIND_S < ahead_s < _CLOCK_AHEAD_S:
            return _Refused(
                f"the coordinator at {self._address} does not let this node in: by its clock, this machine's is "
                f"{_roughly(abs(ahead_s))} {'ahead' if ahead_s > 0 else 'behind'}",
                expected=f"at most {_CLOCK_AHEAD_S:g} s ahead or {_CLOCK_BEHIND_S:g} s behind",
                do="set whichever clock is wrong; this node goes on by itself",
            )
        if status in (401, 403, 412):
            return _Refused(
                f"the coordinator at {self._address} does not let this node in ({status})",
                do="if this node has just run, its old connection lapses within 20 s; else the coordinator's operator "
                "has to enrol it",
            )
        return LinkError(f"the coordinator at {self._address} answered {status}", do="look at its messages")


class _Refused(LinkError):
    """The coordinator was reached and said no."""


def _tls(ca_pem: str) -> ssl.SSLContext:
    """TLS 1.3 or nothing, trusting one authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise TrustError(
            "the coordinator's authority cannot be read", do="get coordinator.json from its operator again"
        ) from error
    return context


def _parsed(kind: type[P], data: bytes, address: str) -> P:
    """A protocol buffer.

    Raises:
        LinkError: It is none.
    """
    try:
        found: P = kind.FromString(data)
    except DecodeError as error:
        raise LinkError(f"{address} does not answer as a coordinator does") from error
    return found


def _is_loopback(address: str) -> bool:
    """Whether an address is on this machine."""
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _clock_ahead_s(answer: httpx.Response) -> float:
    """How far this machine's clock is ahead of the one that dated an answer; 0 where it bears no date."""
    try:
        dated = parsedate_to_datetime(answer.headers["date"])
        return (datetime.now(UTC) - dated).total_seconds()
    except (KeyError, TypeError, ValueError):
        return 0.0


def _roughly(seconds: float) -> str:
    """A time for people, the same from one try to the next."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"about {round(seconds / size)} {unit}"
    return f"about {round(seconds, -1):g} s"


def _certificate_fault(error: BaseException | None) -> str | None:
    """What is wrong with the other side's certificate, when that is what an error comes from."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return str(error.verify_message)
        error = error.__cause__ or error.__context__
    return None
