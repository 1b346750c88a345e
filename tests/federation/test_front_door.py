"""The front door as strangers see it: raw TLS, paths, keys, certificates; one attack a test."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.server.superlink.linkstate import in_memory_linkstate
from flwr.serverapp import Grid
from flwr.supercore.corestate import in_memory_corestate
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedclient.link import HEARTBEAT_S, connect
from fedcore import frames
from fedcore.errors import LinkError, TrustError
from fedcore.identity import SigningIdentity
from fedserver.app import make_server_app
from fedserver.cohort import Member
from fedserver.courier import GIVE, HOLD_S, TAKE
from fedserver.door import BODY_LIMIT_BYTES, PATHS
from fedserver.gather import Withdraws
from fedserver.link import Link, open_link
from fedserver.pki import Authority
from tests.ports import free_port


def member(name: str, key: ec.EllipticCurvePrivateKey) -> Member:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return Member(name=name, identity=SigningIdentity.generate().public, flower_key=pem)


@dataclass
class House:
    """A running front door and what is behind it."""

    link: Link
    address: str
    authority: Authority
    ca: Path
    members: list[Member]
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def post(self, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
        call = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(), timeout=10)
        call.request("POST", path, body=body, headers={"content-type": "application/protobuf", **(headers or {})})
        status = call.getresponse().status
        call.close()
        return status


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("door")
    authority = Authority.make("trial")
    authority.write(directory / "ca.crt", directory / "ca.key")
    authority.issue("127.0.0.1", directory / "server.crt", directory / "server.key")
    key = ec.generate_private_key(ec.SECP384R1())
    members = [member("a", key)]
    address = f"127.0.0.1:{free_port()}"
    with open_link(
        address=address,
        certificate=directory / "server.crt",
        key=directory / "server.key",
        ca=directory / "ca.crt",
        home=directory / ".flwr",
        members=lambda: members,
    ) as link:
        yield House(link, address, authority, directory / "ca.crt", members, key)
    assert not (directory / ".flwr").exists()


def test_tls_1_3_is_spoken(house: House) -> None:
    with (
        socket.create_connection(("127.0.0.1", house.port)) as plain,
        house.context().wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        assert secure.version() == "TLSv1.3"
    assert house.link.tls_version == "TLSv1.3"


def test_tls_1_2_is_refused(house: House) -> None:
    context = house.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", house.port)) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/control/list-runs",
        "/v1/runtime/acquire-task",
        "/v1/runtime/pull-task-input",
        "/v1/runtime/push-messages",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/get-fab",
        "/v1/fleet/../control/start-run",
        "/v1/fleet//pull-messages",
        "/health",
        "/docs",
        "/openapi.json",
        "/",
    ],
)
def test_every_path_but_the_fleets_is_404(house: House, path: str) -> None:
    assert house.post(path) == 404


def test_get_is_404_on_every_path(house: House) -> None:
    call = http.client.HTTPSConnection("127.0.0.1", house.port, context=house.context(), timeout=10)
    call.request("GET", "/v1/fleet/pull-messages")
    assert call.getresponse().status == 404


@pytest.mark.parametrize("path", sorted(PATHS))
def test_fleet_path_without_authentication_does_nothing(house: House, path: str) -> None:
    assert house.post(path) == 401


def test_body_that_is_too_large_is_refused_before_it_is_read(house: House) -> None:
    length = {"content-length": str(BODY_LIMIT_BYTES + 1)}
    assert house.post("/v1/fleet/push-object", headers=length) == 413


def test_unregistered_key_is_refused(house: House) -> None:
    stranger = ec.generate_private_key(ec.SECP384R1())
    with (
        pytest.raises(LinkError, match="does not let this node in"),
        connect(house.address, ca_pem=house.authority.pem, key=stranger),
    ):
        pass


def test_member_enrolled_while_the_door_is_open_is_let_in(house: House) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    house.members.append(member("late", key))
    house.link.register()
    with connect(house.address, ca_pem=house.authority.pem, key=key):
        assert "late" in house.link.connected()
    assert "late" not in house.link.connected()


def test_one_key_connects_once_at_a_time(house: House) -> None:
    with (
        connect(house.address, ca_pem=house.authority.pem, key=house.key),
        pytest.raises(LinkError, match="does not let this node in"),
        connect(house.address, ca_pem=house.authority.pem, key=house.key),
    ):
        pass


def test_message_and_answer_pass_whole_and_are_counted(house: House) -> None:
    body = bytes(range(256)) * 30_000
    answers: list[bytes] = []
    stated: list[float] = []

    def work() -> None:
        with connect(house.address, ca_pem=house.authority.pem, key=house.key) as link:
            call = link._call

            def watched(ask: Any, request: Any) -> Any:
                stated.extend(getattr(request, "clientapp_runtime_list", ()))
                return call(ask, request)

            link._call = watched  # type: ignore[method-assign, assignment]
            while (message := link.receive()) is None:
                time.sleep(0.02)
            assert link.send(Message(reversed_content(message), reply_to=message))

    def reversed_content(message: Message) -> RecordDict:
        record = message.content["r"]
        assert isinstance(record, ConfigRecord)
        data = record["b"]
        assert isinstance(data, bytes)
        return RecordDict({"r": ConfigRecord({"b": data[::-1]})})

    def run(grid: Grid, context: Context) -> None:
        asked = [
            i
            for node_id in wait_for_node(grid)
            for i in grid.push_messages(
                [Message(RecordDict({"r": ConfigRecord({"b": body})}), node_id, "train", ttl=60)]
            )
        ]
        while not answers:
            for reply in grid.pull_messages(asked):
                record = reply.content["r"]
                assert isinstance(record, ConfigRecord)
                answers.append(record["b"])  # type: ignore[arg-type]
            time.sleep(0.02)

    thread = threading.Thread(target=work)
    before = house.link.traffic()
    thread.start()
    house.link.run(make_server_app(run))
    thread.join()
    up, down = (now - then for now, then in zip(house.link.traffic(), before, strict=True))
    assert answers == [body[::-1]]
    assert stated == [0.0], "how long training took follows the number of units sampled: it never leaves"
    assert len(body) < up < len(body) + 100_000
    assert len(body) < down < len(body) + 100_000


def test_message_of_a_node_that_was_replaced_is_answered_with_an_error(house: House) -> None:
    errors: list[Message] = []

    def run(grid: Grid, context: Context) -> None:
        with connect(house.address, ca_pem=house.authority.pem, key=house.key) as link:
            (node_id,) = wait_for_node(grid)
            asked = list(grid.push_messages([Message(RecordDict(), node_id, "train", ttl=60)]))
            assert link.receive() is not None
            assert list(grid.pull_messages(asked)) == []
        with connect(house.address, ca_pem=house.authority.pem, key=house.key):
            errors.extend(grid.pull_messages(asked))
            assert list(grid.pull_messages(asked)) == []

    house.link.run(make_server_app(run))
    assert [e.has_error() for e in errors] == [True]


def test_message_that_is_taken_back_is_handed_to_nobody_and_an_answer_is_too_late(house: House) -> None:
    stop, heard, sent = threading.Event(), list[Message | None](), list[bool]()

    def run(grid: Grid, context: Context) -> None:
        assert isinstance(grid, Withdraws)
        with connect(house.address, ca_pem=house.authority.pem, key=house.key, stop=stop) as link:
            (node_id,) = wait_for_node(grid)
            first, second = (
                list(grid.push_messages([Message(RecordDict(), node_id, "train", ttl=60, group_id=group)]))
                for group in ("1", "2")
            )
            taken = link.receive()
            assert taken is not None
            grid.withdraw([*first, *second])
            sent.append(link.send(Message(RecordDict(), reply_to=taken)))
            threading.Timer(0.5, stop.set).start()
            heard.append(link.receive())
            assert list(grid.pull_messages([*first, *second])) == []

    house.link.run(make_server_app(run))
    assert (heard, sent) == ([None], [False])


def test_node_that_came_while_the_clock_was_ahead_is_not_there_for_hours(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as moved:
        moved.setattr(in_memory_linkstate, "now", lambda: datetime.now(UTC) + timedelta(hours=3))
        opened = connect(house.address, ca_pem=house.authority.pem, key=house.key)
        link = opened.__enter__()
    end = time.monotonic() + 10
    while (until := house.link._state.get_node_info(node_ids=[link.node_id])[0].online_until) > time.time() + 3600:
        assert time.monotonic() < end, "it would not be let in again for three hours"
        time.sleep(0.1)
    assert until <= time.time() + 2 * HEARTBEAT_S
    opened.__exit__(None, None, None)


def test_run_outlives_a_clock_that_jumps_ahead_and_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def run(grid: Grid, context: Context) -> None:
        with connect(house.address, ca_pem=house.authority.pem, key=house.key):
            (node_id,) = wait_for_node(grid)
            with monkeypatch.context() as moved:
                moved.setattr(in_memory_corestate, "now", lambda: datetime.now(UTC) + timedelta(hours=3))
                house.link._state.get_tasks(task_ids=[1])
            sent.extend(grid.push_messages([Message(RecordDict(), node_id, "train", ttl=60)]))

    house.link.run(make_server_app(run))
    assert all(sent)
    assert len(sent) == 1


def test_message_reaches_a_node_that_waits_at_once(house: House) -> None:
    asked_at: list[float] = []
    heard_at: list[float] = []
    waiting = threading.Event()

    def work() -> None:
        with connect(house.address, ca_pem=house.authority.pem, key=house.key) as link:
            waiting.set()
            while link.receive() is None:
                pass
            heard_at.append(time.monotonic())

    def run(grid: Grid, context: Context) -> None:
        (node_id,) = wait_for_node(grid)
        assert waiting.wait(10)
        time.sleep(1.0)
        asked_at.append(time.monotonic())
        assert all(grid.push_messages([Message(RecordDict(), node_id, "train", ttl=60)]))
        thread.join(timeout=20)

    thread = threading.Thread(target=work)
    thread.start()
    house.link.run(make_server_app(run))
    assert heard_at[0] - asked_at[0] < HOLD_S / 4, "the held call is let go, not timed out"


def test_nothing_to_say_is_held_back_and_costs_few_calls(house: House) -> None:
    with connect(house.address, ca_pem=house.authority.pem, key=house.key) as link:
        before, started = house.link.traffic()[0], time.monotonic()
        assert link.receive() is None
        assert time.monotonic() - started > HOLD_S * 0.9
        assert house.link.traffic()[0] - before < 1000


def test_node_that_stops_is_let_go_of_its_held_call(house: House) -> None:
    stop = threading.Event()
    with connect(house.address, ca_pem=house.authority.pem, key=house.key, stop=stop) as link:
        threading.Timer(0.3, stop.set).start()
        started = time.monotonic()
        assert link.receive() is None
        assert time.monotonic() - started < HOLD_S / 2
        assert "a" not in house.link.connected()


def test_node_whose_held_call_breaks_off_is_offline_at_once(house: House) -> None:
    with connect(house.address, ca_pem=house.authority.pem, key=house.key) as link:
        threading.Timer(0.5, lambda: cut(link)).start()
        assert "a" in house.link.connected()
        with pytest.raises(LinkError):
            link.receive()
    end = time.monotonic() + HOLD_S / 2
    while "a" in house.link.connected():
        assert time.monotonic() < end, "its heartbeat would have lapsed after 20 s"
        time.sleep(0.02)


def cut(link: Any) -> None:
    """Break a node's connections as a power cut would: without a word. Its heart stops too."""
    link._stop.set()
    link._broken = LinkError("cut")
    for connection in link._client._client._transport._pool.connections:
        stream = connection._connection._network_stream
        stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def test_reply_of_garbage_parts_is_told_what_is_missing_and_harms_nobody(house: House) -> None:
    answers: list[Message] = []

    def work() -> None:
        with connect(house.address, ca_pem=house.authority.pem, key=house.key) as link:
            while (message := link.receive()) is None:
                pass
            honest = frames.join

            def frames_of(parts: Iterable[bytes]) -> bytes:
                request, *rest = parts
                return honest([request, *(b"garbage" for _ in rest)])

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("fedclient.link.frames.join", frames_of)
                # What was refused together is asked for one by one, and then it is right.
                assert link.send(Message(message.content, reply_to=message))

    def run(grid: Grid, context: Context) -> None:
        (node_id,) = wait_for_node(grid)
        content = RecordDict({"r": ConfigRecord({"b": b"x"})})
        asked = list(grid.push_messages([Message(content, node_id, "train", ttl=60)]))
        end = time.monotonic() + 30
        while not answers and time.monotonic() < end:
            answers.extend(grid.pull_messages(asked))
            house.link.sleep(0.1)

    thread = threading.Thread(target=work)
    thread.start()
    house.link.run(make_server_app(run))
    thread.join(timeout=20)
    assert [dict(a.content["r"]) for a in answers] == [{"b": b"x"}]


def test_parts_that_are_too_large_to_travel_together_are_fetched(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedserver.link._TOGETHER_BYTES", 1000)
    monkeypatch.setattr("fedclient.link._TOGETHER_BYTES", 1000)
    test_message_and_answer_pass_whole_and_are_counted(house)


@pytest.mark.parametrize("path", [TAKE, GIVE])
def test_calls_of_ours_need_the_nodes_own_key(house: House, path: str) -> None:
    stranger = ec.generate_private_key(ec.SECP384R1())
    with connect(house.address, ca_pem=house.authority.pem, key=house.key) as link:
        link._client._interceptors = (NodeAuthHttpInterceptor(stranger, stranger.public_key()),)
        with pytest.raises(LinkError, match="does not let this node in"):
            link._frames(path, PullMessagesRequest(node=link._node), frames.join([b""]))
        link._client._interceptors = ()
        with pytest.raises(LinkError, match="does not let this node in"):
            link._frames(path, PullMessagesRequest(node=link._node), b"")
        link._client._interceptors = (NodeAuthHttpInterceptor(house.key, house.key.public_key()),)


def wait_for_node(grid: Grid) -> list[int]:
    end = time.monotonic() + 20
    while not (found := list(grid.get_node_ids())):
        assert time.monotonic() < end, "no node came"
        time.sleep(0.02)
    return found


def serve(directory: Path, issue: Callable[[Authority, Path, Path], None]) -> tuple[Authority, str, Path]:
    authority = Authority.make("other")
    authority.write(directory / "ca.crt", directory / "ca.key")
    issue(authority, directory / "server.crt", directory / "server.key")
    return authority, f"127.0.0.1:{free_port()}", directory


def test_port_in_use_is_named(house: House, tmp_path: Path) -> None:
    _, _, directory = serve(tmp_path, lambda a, c, k: a.issue("127.0.0.1", c, k))
    with (
        pytest.raises(LinkError, match=f"the port {house.port} on 127.0.0.1 is in use"),
        open_link(
            address=house.address,
            certificate=directory / "server.crt",
            key=directory / "server.key",
            ca=directory / "ca.crt",
            home=directory,
            members=list,
        ),
    ):
        pass


def test_expired_certificate_keeps_the_door_shut(tmp_path: Path) -> None:
    past = datetime.now(UTC) - timedelta(days=10)
    _, address, directory = serve(tmp_path, lambda a, c, k: a.issue("127.0.0.1", c, k, now=past, days=2))
    with (
        pytest.raises(TrustError, match="expired"),
        open_link(
            address=address,
            certificate=directory / "server.crt",
            key=directory / "server.key",
            ca=directory / "ca.crt",
            home=directory,
            members=list,
        ),
    ):
        pass


def tls_server(directory: Path, port: int) -> threading.Event:
    """A server with whatever certificate lies in a directory; it answers nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    listener = socket.create_server(("127.0.0.1", port))
    done = threading.Event()

    def accept() -> None:
        with listener:
            listener.settimeout(10)
            try:
                plain, _ = listener.accept()
                context.wrap_socket(plain, server_side=True).close()
            except OSError:
                pass
            done.set()

    threading.Thread(target=accept, daemon=True).start()
    return done


def test_node_refuses_an_expired_certificate(tmp_path: Path) -> None:
    past = datetime.now(UTC) - timedelta(days=10)
    authority, address, directory = serve(tmp_path, lambda a, c, k: a.issue("127.0.0.1", c, k, now=past, days=2))
    tls_server(directory, int(address.rpartition(":")[2]))
    key = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(TrustError, match="expired"), connect(address, ca_pem=authority.pem, key=key):
        pass


def test_node_refuses_a_certificate_for_another_host(tmp_path: Path) -> None:
    authority, address, directory = serve(tmp_path, lambda a, c, k: a.issue("coordinator.example", c, k))
    tls_server(directory, int(address.rpartition(":")[2]))
    key = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(TrustError, match="does not hold"), connect(address, ca_pem=authority.pem, key=key):
        pass


def test_node_refuses_another_authority(house: House) -> None:
    with (
        pytest.raises(TrustError, match="does not hold"),
        connect(house.address, ca_pem=Authority.make("other").pem, key=house.key),
    ):
        pass


def test_node_says_that_nobody_is_there(house: House) -> None:
    with (
        pytest.raises(LinkError, match="cannot be reached"),
        connect(f"127.0.0.1:{free_port()}", ca_pem=house.authority.pem, key=house.key),
    ):
        pass
