"""The node process: one worker, a connection that may come and go, and nothing lost but what was reserved."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flwr.app import Context, Message
from flwr.serverapp import Grid

from domains.language import Base
from domains.medicine.synthetic import SITES, records
from fedclient._setup import NewNode, enrolment_request, make_node
from fedclient.node import Node, _alone, _Status
from fedclient.receipts import Receipts, verify
from fedclient.settings import NodeSettings
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.enrolment import CoordinatorCard
from fedcore.errors import ConcordatError, ConfigError, ModelError, TrustError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.receipt import Receipt, seal_receipt
from fedcore.round import Optimiser, RoundPlan
from fedcore.wire import Envelope, read_refusal, read_reply, seal_plan, verify_header
from fedserver import messages
from fedserver.app import make_server_app
from fedserver.cohort import Member
from fedserver.link import Link, open_link
from fedserver.pki import Authority
from simulations.tiny import make_tiny_base
from tests.full_disk import full_disk
from tests.ports import free_port

pytestmark = pytest.mark.slow

TIMEOUT_S = 90.0


def wait_for(what: str, holds: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.05)


@dataclass
class Site:
    """A node's directory and the coordinator that it knows."""

    settings: NodeSettings
    base: Path
    coordinator: SigningIdentity
    said: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def node(self) -> Node:
        return Node(self.settings, self.settings.files.directory, say=self.said.append, stop=self.stop)

    def status(self) -> dict[str, object]:
        try:
            value: dict[str, object] = json.loads(self.settings.files.status.read_text())
        except (OSError, ValueError):
            return {}
        return value

    def plan(self, number: int, **changes: object) -> RoundPlan:
        card = Base.load(self.base).card
        schema = AdapterSchema.for_base(card, rank=2, alpha=4, targets=("q_proj",))
        fields: dict[str, object] = {
            "job_id": "job",
            "round": number,
            "rounds": 9,
            "task": "medicine.record",
            "schema": schema,
            "state_digest": AdapterState.initial(schema, 7).digest,
            "seed": 7,
            "strategy": "frozen_a",
            "trains": ("lora_B",),
            "carries": (),
            "cohort": ("a",),
            "weight": 1.0,
            "quorum": 1,
            "deadline_s": TIMEOUT_S,
            "max_tokens": 48,
            "optimiser": Optimiser(),
            "privacy": PrivacyPlan(
                unit=PrivacyUnit(key="patient"),
                sampling_rate=0.5,
                steps_per_round=2,
                expected_batch_units=3,
                examples_per_unit=1,
                clip_norm_l2=1.0,
                noise_multiplier=1.0,
                delta=1e-4,
            ),
        }
        return RoundPlan(**{**fields, **changes})  # type: ignore[arg-type]

    def public(self) -> PublicIdentity:
        return PublicIdentity(enrolment_request(self.settings).identity)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    base = make_tiny_base(tmp_path / "tiny", "llama")
    lines = [json.dumps(r) for r in records(SITES[0], 6, 1)]
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(lines) + "\n")
    new = NewNode(
        name="a",
        records=path,
        dataset="admissions",
        unit="patient",
        format="auto",
        fields={},
        base=str(base),
        tasks=("medicine.record",),
        epsilon=500.0,
        delta=1e-4,
    )
    return Site(make_node(tmp_path / "a", new), base, SigningIdentity.generate())


@pytest.fixture
def link(site: Site, tmp_path: Path) -> Iterator[Link]:
    """The coordinator's front door, which knows the node."""
    authority = Authority.make("trial")
    authority.write(tmp_path / "ca.crt", tmp_path / "ca.key")
    authority.issue("127.0.0.1", tmp_path / "server.crt", tmp_path / "server.key")
    address = f"127.0.0.1:{free_port()}"
    key = site.coordinator.public.key_hex
    CoordinatorCard(name="trial", address=address, ca_pem=authority.pem, identity=key).write(
        site.settings.files.coordinator
    )
    request = enrolment_request(site.settings)
    member = Member(name="a", identity=PublicIdentity(request.identity), flower_key=request.flower_key_pem)
    with open_link(
        address=address,
        certificate=tmp_path / "server.crt",
        key=tmp_path / "server.key",
        ca=tmp_path / "ca.crt",
        home=tmp_path,
        members=lambda: [member],
    ) as opened:
        yield opened


def ask(link: Link, site: Site, plan: RoundPlan, meanwhile: Callable[[], None] = lambda: None) -> Envelope:
    """Send a plan over the real link and wait for the answer."""
    answers: list[Envelope] = []

    def run(grid: Grid, context: Context) -> None:
        wait_for("the node to connect", lambda: list(grid.get_node_ids()))
        content = messages.pack(seal_plan(plan, {}, site.coordinator))
        (node_id,) = grid.get_node_ids()
        asked = list(grid.push_messages([Message(content, node_id, messages.MESSAGE_TYPE, ttl=TIMEOUT_S)]))
        meanwhile()
        replies: list[Message] = []
        wait_for("an answer", lambda: replies.extend(grid.pull_messages(asked)) or replies)
        answers.append(messages.unpack("a", replies[0].content))

    link.run(make_server_app(run))
    return answers[0]


def hand_out(link: Link, site: Site, answer: Envelope, plan: RoundPlan) -> Envelope:
    """Send a receipt for an answer, as the coordinator does at a job's end, and wait for the node's word."""
    header = verify_header("reply", answer.header, answer.signature, site.public())
    receipt = Receipt(
        institution="a",
        number=1,
        previous="",
        job=plan.job_id,
        round=plan.round,
        plan=plan.digest,
        head=header["ledger"],
        dataset=header["dataset"],
        event=plan.privacy.event(),
        at="2026-11-01T12:00:00+00:00",
    )
    heard: list[Envelope] = []

    def run(grid: Grid, context: Context) -> None:
        (node_id,) = grid.get_node_ids()
        content = messages.pack(seal_receipt(receipt, site.coordinator))
        asked = list(grid.push_messages([Message(content, node_id, messages.MESSAGE_TYPE, ttl=TIMEOUT_S)]))
        replies: list[Message] = []
        wait_for("an ack", lambda: replies.extend(grid.pull_messages(asked)) or replies)
        heard.append(messages.unpack("a", replies[0].content))

    link.run(make_server_app(run))
    return heard[0]


def test_node_answers_plans_and_a_worker_that_is_killed_is_replaced(site: Site, link: Link) -> None:
    faults: list[ConcordatError] = []

    def work() -> None:
        try:
            node.run()
        except ConcordatError as error:
            faults.append(error)

    node = site.node()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        first = site.plan(1)
        answer = ask(link, site, first)
        read_reply(answer, first, "a", site.public())
        assert ask(link, site, first) == answer
        assert site.status()["state"] in ("training", "connected")

        ack = hand_out(link, site, answer, first)
        assert set(verify_header("ack", ack.header, ack.signature, site.public())) == {
            "institution", "version", "body_sha256"
        }  # fmt: skip
        assert len(site.settings.files.receipts.read_text().splitlines()) == 1

        long = {**first.privacy.to_dict(), "steps_per_round": 3000, "noise_multiplier": 30.0}
        second = site.plan(2, privacy=PrivacyPlan.from_dict(long))

        def kill() -> None:
            wait_for("steps", lambda: site.status().get("round") == 2 and site.status().get("step"))
            os.kill(node._worker._process.pid or 0, signal.SIGKILL)

        assert read_refusal(ask(link, site, second, kill), second, "a", site.public()) == "worker_died"
        third = site.plan(3)
        read_reply(ask(link, site, third), third, "a", site.public())
        ledger = site.settings.open_ledger()
        assert ledger.account().to_dict()["rounds_reserved"] == 3
        receipts = Receipts(site.settings.files.receipts, institution="a", coordinator=site.coordinator.public)
        assert verify(ledger, receipts).countersigned > 0
        ledger.close()
    finally:
        site.stop.set()
        thread.join(TIMEOUT_S)
    assert not faults
    assert site.status()["state"] == "stopped"
    assert not node._worker.is_alive


def test_two_processes_in_one_directory_are_refused(site: Site) -> None:
    with _alone(site.settings), pytest.raises(ConfigError, match="runs already"), _alone(site.settings):
        pass


def test_status_that_cannot_be_written_ends_no_node(tmp_path: Path) -> None:
    status = _Status(tmp_path / "status.json", coordinator="127.0.0.1:9443")
    status.write(state="connected")
    with full_disk():
        status.write(state="training")
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "connected"
    status.update(step=2)
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "training"


def test_node_without_its_base_says_so_and_ends(site: Site, link: Link) -> None:
    (site.base / "config.json").unlink()
    with pytest.raises(ModelError, match="holds no model"):
        site.node().run()


def test_node_with_another_authority_pinned_says_so_and_ends(site: Site, link: Link) -> None:
    path = site.settings.files.coordinator
    card = CoordinatorCard.read(path)
    CoordinatorCard(
        name=card.name, address=card.address, ca_pem=Authority.make("other").pem, identity=card.identity
    ).write(path)
    with pytest.raises(TrustError, match="does not hold"):
        site.node().run()
