"""Flower's server inside this process: the one module here that knows Flower's private parts.

The server's state is held in memory and the coordinator works on it directly, so control and runtime
interfaces listen nowhere: the only socket is the front door (`door.py`). Nothing of Flower's is kept on
disk: after a restart the members are registered anew, nodes notice and come back, and the store asks the
open round's question again. A run carries no code bundle, since nodes run what they have installed.

Written against Flower 1.41.0; another version is refused, since private parts move.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import HTTPException, Request
from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import HEARTBEAT_PATIENCE, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, ErrorCode, SubStatus
from flwr.proto.fleet_pb2 import (
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.server.superlink.linkstate import LinkState
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, NodeStatus, TaskType
from flwr.supercore.error import FlowerError
from flwr.supercore.error.catalog import API_ERROR_MAP
from flwr.supercore.inflatable.inflatable_object import (
    UnexpectedObjectContentError,
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.supercore.version import package_version
from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.main import create_app
from flwr.superlink.routers.fleet.node_auth import authenticate_node
from flwr.superlink.servicer.fleet import fleet_handlers
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from fedcore import frames
from fedcore.errors import ConcordatError, LinkError
from fedserver.cohort import Member
from fedserver.courier import Courier, Scope, Ticket
from fedserver.door import BODY_LIMIT_BYTES, FrontDoor

__all__ = ["FLOWER_VERSION", "Link", "assume_identity", "open_link"]

FLOWER_VERSION = "1.41.0"

R = TypeVar("R", PullMessagesRequest, PushMessagesRequest)

_HOUSEKEEPING_S = 1.0
_TOGETHER_BYTES = BODY_LIMIT_BYTES // 2
"""What a message's parts may come to, to travel with it; larger ones are fetched by themselves."""
_MALFORMED = (
    UnexpectedObjectContentError,
    DecodeError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    RecursionError,
)
"""What Flower raises when it puts together a message that a hostile node has taken apart."""


def assume_identity(run_id: int) -> None:
    """Tell Flower which run this process works on; without it, Flower makes no messages."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, run_id, 1


@contextmanager
def open_link(
    *, address: str, certificate: Path, key: Path, ca: Path, home: Path, members: Callable[[], Iterable[Member]]
) -> Iterator["Link"]:
    """Run Flower's server behind the front door while the block runs.

    Args:
        address: Host and port to listen on.
        certificate: Server certificate, PEM.
        key: Its private key, PEM.
        ca: The authority's certificate, PEM.
        home: Folder for whatever Flower writes.
        members: Asked once a second; a member that appears may connect from then on.
    Raises:
        LinkError: Another version of Flower is installed, or the port cannot be listened on.
        TrustError: The certificate cannot be used.
    """
    if package_version != FLOWER_VERSION:
        raise LinkError(
            "this coordinator works with one version of Flower only",
            expected=f"flwr {FLOWER_VERSION}",
            got=package_version,
            do=f"pip install flwr=={FLOWER_VERSION}",
        )
    os.environ["FLWR_HOME"] = str(home)
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    app: Any = create_app(_config(), SuperLinkLifespan)
    state: LinkState = app.state.linkstate_factory.state()
    arrived = threading.Event()
    courier = Courier(app, _Desk(state, app), arrived=arrived.set)
    door = FrontDoor(courier, address=address, certificate=certificate, key=key, ca=ca)
    link = Link(state, door, members, ring=courier.bells.ring, arrived=arrived)
    with door.open(), link.housekeeping():
        try:
            yield link
        finally:
            courier.close()


class Link:
    """The running server. Made by `open_link`."""

    def __init__(
        self,
        state: LinkState,
        door: FrontDoor,
        members: Callable[[], Iterable[Member]],
        *,
        ring: Callable[[int], None],
        arrived: threading.Event,
    ) -> None:
        self._state = state
        self._door = door
        self._source = members
        self._ring = ring
        self._arrived = arrived
        self._nodes: Mapping[int, Member] = MappingProxyType({})
        self._lock = threading.Lock()
        self.register()

    @property
    def tls_version(self) -> str:
        """What the front door negotiates."""
        return self._door.tls_version

    def traffic(self) -> tuple[int, int]:
        """Bytes of HTTP bodies so far: up from nodes, down to nodes."""
        return self._door.traffic()

    def sleep(self, seconds: float) -> None:
        """Wait that long, or only until a reply has come, or a node has come or gone."""
        self._arrived.wait(seconds)
        self._arrived.clear()

    def members(self) -> Mapping[int, Member]:
        """Flower's node id -> member, of all that may connect."""
        return self._nodes

    def connected(self) -> tuple[str, ...]:
        """Names of the members that are connected now."""
        online = {n.node_id for n in self._state.get_node_info(statuses=["online"])}
        return tuple(sorted(m.name for i, m in self._nodes.items() if i in online))

    def register(self) -> None:
        """Let members in that appeared since the last call."""
        with self._lock:
            known = {m.flower_key for m in self._nodes.values()}
            nodes = dict(self._nodes)
            for member in self._source():
                if member.flower_key not in known:
                    nodes[self._register(member)] = member
            self._nodes = MappingProxyType(nodes)

    def _register(self, member: Member) -> int:
        """One member's key becomes a node that may connect."""
        public = load_pem_public_key(member.flower_key.encode())
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise LinkError(f"the transport key of {member.name} is not an EC key", do="enrol it again")
        key = public_key_to_bytes(public)
        return self._state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, 0, name=member.name)

    def _follow_clock(self) -> None:
        """Let no node count as connected for longer than its heartbeats allow.

        Flower notes until when, by the wall clock. Where that has been put back since, a node that has gone would be
        there for all the difference, and not be let in again.
        """
        state: Any = self._state
        with state.lock:
            for node in state.nodes.values():
                if node.status == NodeStatus.ONLINE:
                    longest = time.time() + HEARTBEAT_PATIENCE * node.heartbeat_interval
                    node.online_until = min(node.online_until, longest)

    def run(self, app: ServerApp) -> None:
        """Run a ServerApp in this thread, as one Flower run without a code bundle."""
        run_id = self._state.create_run(
            None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        run = self._state.get_run_info(run_ids=[run_id])[0]
        task_id = run.primary_task_id
        if task_id is None or not (self._state.claim_task(task_id) and self._state.activate_task(task_id)):
            raise LinkError("Flower did not start a run")
        TaskIdentity.task_id, TaskIdentity.run_id = task_id, run_id
        TaskIdentity.node_id = self._state.get_node_id()
        # Flower fails a run whose process is silent for a minute by the wall clock, which a machine that was asleep
        # puts ahead at a stroke. This run's process is the server's own, so it needs no lease.
        state: Any = self._state
        state.task_token_store[task_id].active_until = datetime.max.replace(tzinfo=UTC)
        context = Context(run_id, TaskIdentity.node_id, {}, RecordDict(), {})
        status = SubStatus.FAILED
        try:
            app(_StateGrid(self._state, run, self._ring), context)
            status = SubStatus.COMPLETED
        finally:
            self._state.finish_task(task_id, status, "")
            self._state.cleanup_run(run_id)

    @contextmanager
    def housekeeping(self) -> Iterator[None]:
        """Register new members and follow the clock, once a second, while the block runs."""
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(_HOUSEKEEPING_S):
                self._follow_clock()
                try:
                    self.register()
                except ConcordatError:
                    logging.getLogger("concordat").exception("members could not be registered")

        thread = threading.Thread(target=work, name="housekeeping", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=5)


@dataclass(frozen=True, kw_only=True)
class _Ask:
    """A message on its way: what it was, and the node's connection at that time."""

    message: Message
    session: str | None


class _StateGrid(Grid):
    """A Grid on the server's state in this process.

    A node that is killed and comes back within one poll is never seen offline by Flower, and the message
    that it had taken would be waited for in vain. So each ask remembers the connection that it was sent
    to; when that has been replaced, the ask is answered with an error, as Flower does for an offline node.
    """

    def __init__(self, state: LinkState, run: Run, ring: Callable[[int], None]) -> None:
        self._state = state
        self._run = run
        self._ring = ring
        self._asks: dict[str, _Ask] = {}
        self._arriving: dict[str, str] = {}

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return sorted(self._state.get_nodes(self._run.run_id))

    def get_nodes(self) -> Iterable[Any]:
        return self._state.get_node_info(node_ids=list(self.get_node_ids()))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError("the coordinator waits by itself")

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the server; an id is empty where the node is not there any more."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have arrived whole, and an error for each message that was lost."""
        wanted = {i for i in message_ids if i in self._asks}
        replies: list[Message] = []
        for asked in sorted(wanted):
            # Flower is asked last: once a node has gone, it gives an error in the place of what the node had sent.
            if (stored := self._stored(asked)) is not None:
                self._arriving[asked] = stored
            if asked in self._arriving and (whole := self._whole(asked)) is not None:
                replies.append(whole)
            elif self._is_lost(self._asks[asked]):
                replies.append(self._lost(asked))
        fresh = wanted & self._asks.keys() - self._arriving.keys()
        for reply in self._state.get_message_res(message_ids=fresh, run_id=self._run.run_id) if fresh else ():
            asked = reply.metadata.reply_to_message_id
            if reply.has_error():
                self._forget(asked)
                replies.append(reply)
            else:
                self._arriving[asked] = reply.metadata.message_id
        return replies

    def withdraw(self, message_ids: Collection[str]) -> None:
        """Take messages back: nobody is handed them any more, and whoever answers one is told that it is too late."""
        for asked in message_ids:
            self._forget(asked)

    def _stored(self, asked: str) -> str | None:
        """Which reply Flower holds for a message, whether or not it is whole."""
        state: Any = self._state
        with state.lock:
            found: str | None = state.message_ins_id_to_message_res_id.get(asked)
        return found

    def _push(self, message: Message) -> str:
        """Store a message and its parts."""
        with no_object_id_recompute():
            message_id = message.object_id
            message.metadata.__dict__["_message_id"] = message_id
            tree, parts = get_object_tree(message), get_all_nested_objects(message)
            session = self._state.start_session(self._run.run_id)
            bare = remove_content_from_message(message)
            ask = _Ask(message=bare, session=_session(self._state, message.metadata.dst_node_id))
            stored, missing = self._state.store_message_and_object_tree(bare, tree, session)
            if not stored:
                return ""
            for part in missing:
                self._state.store_object(self._run.run_id, session, part, parts[part].deflate())
        self._asks[message_id] = ask
        # Only now is the message whole: its parts travel with it.
        self._ring(message.metadata.dst_node_id)
        return message_id

    def _whole(self, asked: str) -> Message | None:
        """A reply all of whose parts have arrived; None while some are on their way."""
        reply_id, store = self._arriving[asked], self._state.object_store
        try:
            names = [part.object_id for part in iterate_object_tree(store.get_object_tree(reply_id))]
        except NoObjectInStoreError:
            return self._lost(asked)
        parts = {name: self._state.get_object(self._run.run_id, name) for name in names}
        if None in parts.values():
            return self._lost(asked)
        if b"" in parts.values():
            return None
        ask = self._asks[asked].message
        try:
            found = inflate_object_from_contents(reply_id, {n: c for n, c in parts.items() if c is not None})
            if not (isinstance(found, Message) and found.metadata.reply_to_message_id == asked):
                raise ValueError("the reply is not one to this message")
            reply = found
        except _MALFORMED:
            reply = Message(RecordDict(), reply_to=ask)
        store.delete(reply_id)
        self._forget(asked)
        return reply

    def _lost(self, asked: str) -> Message:
        """An error in the place of a reply that will not come."""
        ask = self._asks[asked].message
        self._forget(asked)
        return Message(Error(ErrorCode.NODE_UNAVAILABLE, "the node's connection was replaced"), reply_to=ask)

    def _forget(self, asked: str) -> None:
        """Nobody waits for this message any more."""
        self._asks.pop(asked, None)
        self._arriving.pop(asked, None)
        self._state.delete_messages({asked})

    def _is_lost(self, ask: _Ask) -> bool:
        """Whether the connection that a message was sent to has been replaced."""
        return _session(self._state, ask.message.metadata.dst_node_id) != ask.session


class _Desk:
    """What the courier has to know of Flower; see `fedserver.courier.Desk`.

    Flower's own way from the network to its handlers costs several times what the handlers do. So they are
    called here, after Flower's own authentication.
    """

    def __init__(self, state: LinkState, app: Any) -> None:
        self._state = state
        self._app = app

    def admit(self, scope: Scope, request: bytes) -> Ticket | int:
        """A ticket for whoever proves by its transport key to be the node that it says it is."""
        asked = self._authenticated(scope, PullMessagesRequest, request)
        if isinstance(asked, int):
            return asked
        return Ticket(node=asked.node.node_id, session=_session(self._state, asked.node.node_id) or "", request=request)

    def look(self, ticket: Ticket) -> bytes | None:
        """What Flower has for a node now, then each part in the order of the message's tree.

        Parts that are too large to travel are empty, and have to be fetched. Where all travel they are
        forgotten here, as if the node had confirmed them: if they do not arrive, the node connects again, and
        the coordinator asks again.
        """
        if not self._is_connected(ticket):
            return None
        asked = PullMessagesRequest.FromString(ticket.request)
        answer = fleet_handlers.pull_messages(asked, self._state, self._state.object_store)
        if not answer.messages_list:
            return b""
        metadata = answer.messages_list[0].metadata
        parts, size = list[bytes](), 0
        for part in iterate_object_tree(answer.message_object_trees[0]):
            content = self._state.get_object(metadata.run_id, part.object_id) or b""
            size += len(content)
            parts.append(content if size <= _TOGETHER_BYTES else b"")
        if all(parts):
            self._state.object_store.delete(metadata.message_id)
        return frames.join([answer.SerializeToString(), *parts])

    def nothing(self) -> bytes:
        """No message."""
        return frames.join([PullMessagesResponse().SerializeToString()])

    def keep(self, scope: Scope, body: bytes) -> bytes | int:
        """Keep a reply and its parts; what is not what it should be stays wanted.

        Returns:
            Flower's answer with the parts that are still wanted, and how many were kept.
        """
        try:
            request, rest = frames.head(body)
        except ValueError:
            # Refused as one who brings nothing: first of all for being unknown.
            request, rest = b"", b""
        asked = self._authenticated(scope, PushMessagesRequest, request)
        if isinstance(asked, int):
            return asked
        try:
            parts = frames.split(rest)
            told = fleet_handlers.push_messages(asked, self._state)
            names = [part.object_id for part in iterate_object_tree(asked.message_object_trees[0])]
        except FlowerError as error:
            spec = API_ERROR_MAP.get(error.code)
            return 500 if spec is None else int(spec.http_status_code)
        except _MALFORMED:
            return 400
        run_id, wanted = asked.messages_list[0].metadata.run_id, set(told.objects_to_push)
        before = len(wanted)
        for name, content in zip(names, parts, strict=False):
            if name in wanted and content and self._is_kept(run_id, told.session_id, name, content):
                wanted.discard(name)
        del told.objects_to_push[:]
        told.objects_to_push.extend(sorted(wanted))
        return frames.join([told.SerializeToString(), str(before - len(wanted)).encode()])

    def gone(self, ticket: Ticket) -> None:
        """Not connected any more, unless it has come back meanwhile."""
        if self._is_connected(ticket):
            self._state.deactivate_node(ticket.node)

    def leaver(self, request: bytes) -> int:
        """Who has left."""
        return int(DeactivateNodeRequest.FromString(request).node_id)

    def _authenticated(self, scope: Scope, kind: type[R], request: bytes) -> R | int:
        """A request by the node that it names, or the status to refuse it with."""
        try:
            asked: R = kind.FromString(request)
        except DecodeError:
            # As to a stranger, whoever it is.
            return 401
        caller = Request({**scope, "app": self._app, "state": {}})
        caller.state.protobuf_request = asked
        try:
            authenticate_node(caller)
        except HTTPException as error:
            return error.status_code
        return asked

    def _is_kept(self, run_id: int, session: str, name: str, content: bytes) -> bool:
        """Store one part, as when it is brought by itself."""
        try:
            return self._state.store_object(run_id, session, name, content)
        except _MALFORMED:
            return False

    def _is_connected(self, ticket: Ticket) -> bool:
        """Whether a node's connection is still the one that it asked by."""
        nodes = self._state.get_node_info(node_ids=[ticket.node], statuses=["online"])
        return bool(nodes) and str(nodes[0].last_activated_at) == ticket.session


def _session(state: LinkState, node_id: int) -> str | None:
    """Since when a node has been connected without a break."""
    nodes = state.get_node_info(node_ids=[node_id])
    return str(nodes[0].last_activated_at) if nodes else None


def _config() -> SuperLinkLifespanConfig:
    """Node authentication on, nothing on disk, no process, thread or port of Flower's own."""
    return SuperLinkLifespanConfig(
        control_address="127.0.0.1:0",
        health_server_address=None,
        host="127.0.0.1",
        port=0,
        insecure=False,
        certificates=None,
        superexec_auth_secret=os.urandom(32),
        authn_plugin=NoOpControlAuthnPlugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type="grpc-rere",
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=None,
        ssl_certfile=None,
        ssl_keyfile=None,
        database=FLWR_IN_MEMORY_DB_NAME,
        isolation="process",
        runtime_dependency_install=False,
    )
