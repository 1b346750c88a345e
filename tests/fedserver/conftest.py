"""A Grid in memory whose nodes answer as a test says: a link swapped, not an internal."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedcore import canonical
from fedcore.adapter import AdapterSchema
from fedcore.enrolment import EnrolmentRequest
from fedcore.errors import TrustError
from fedcore.identity import SigningIdentity
from fedcore.manifest import PrivacySpend
from fedcore.privacy import accounting
from fedcore.privacy.integer_noise import IntegerNoiseSource
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import JobPlan, Optimiser, RoundPlan
from fedcore.secagg import Party
from fedcore.secagg.messages import Begin
from fedcore.wire import (
    Envelope,
    SumAsk,
    read_plan,
    read_sum,
    seal_masked_reply,
    seal_reply,
    seal_sum_refusal,
    seal_sum_reply,
)
from fedserver import messages
from fedserver.cohort import Member
from fedserver.coordinator import Coordinator
from fedserver.progress import Clock, JobResult
from fedserver.store import Store
from fedserver.sums import SecureSumSettings, make_sums

Answer = Callable[[Envelope], Iterable[RecordDict]]


def spend_of(name: str, plan: RoundPlan) -> dict[str, Any]:
    """What an honest institution states that took part in every round so far."""
    events = (plan.privacy.event(plan.round),)
    spent = accounting.epsilon(events, plan.privacy.delta)
    return PrivacySpend(
        institution=name,
        unit=plan.privacy.unit.key,
        relation=plan.privacy.unit.relation,
        epsilon=spent,
        delta=plan.privacy.delta,
        rounds=plan.round,
        epsilon_job=spent,
        events=events,
        accountant="test",
        noise_source="test",
        sampling_source="test",
        **({"mechanism": plan.privacy.mechanism} if plan.privacy.shares_noise else {}),
        honest_minimum=plan.privacy.honest_minimum,
    ).to_dict()


def head_of(name: str, plan: RoundPlan) -> str:
    """A hash that stands for the ledger's entry."""
    return canonical.digest([name, plan.digest])


@dataclass
class Institution:
    """Answers each plan with an update of constant `value`, unless told otherwise."""

    name: str
    coordinator: SigningIdentity
    value: float = 0.01
    identity: SigningIdentity = field(default_factory=SigningIdentity.generate)
    asked: list[Envelope] = field(default_factory=list)

    def plan(self, envelope: Envelope) -> RoundPlan:
        self.asked.append(envelope)
        return read_plan(envelope, self.coordinator.public)[0]

    def reply(self, plan: RoundPlan, **changes: Any) -> Envelope:
        tensors = {t.name: np.full(t.shape, self.value, dtype=np.float32) for t in plan.trained}
        tensors.update(changes)
        spend = spend_of(self.name, plan)
        head, tag = head_of(self.name, plan), canonical.digest(self.name)
        return seal_reply(plan, self.name, tensors, spend, self.identity, ledger=head, dataset=tag)

    def __call__(self, envelope: Envelope) -> Iterable[RecordDict]:
        return [messages.pack(self.reply(self.plan(envelope)))]


@dataclass
class MaskedInstitution(Institution):
    """Answers the exchanges of masked sums as a node does: a real Party, resumed from its stored state each time.

    What it was asked in each round is kept, so that a test can see whether it was ever shown two versions.
    """

    noise: IntegerNoiseSource | None = None
    state: bytes | None = None
    keys: bytes = b""
    replies: dict[str, Envelope] = field(default_factory=dict)
    shown: list[tuple[str, int, bytes]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __call__(self, envelope: Envelope) -> Iterable[RecordDict]:
        answer = self.sum_reply(envelope) if envelope.kind == "sum" else self.masked_reply(self.plan(envelope))
        return [messages.pack(answer)]

    def ring(self, plan: RoundPlan) -> Any:
        """What is masked: the constant vector, encoded, with a share of the noise where the plan has one."""
        assert plan.sums is not None
        ring = plan.sums.ring(plan.parameters)
        std = plan.sums.share_std_units
        noise = self.noise.discrete_gaussian(plan.parameters, std) if self.noise and std else None
        return ring.encode(np.full(plan.parameters, self.value), noise)

    def masked_reply(self, plan: RoundPlan, *, body: Callable[[bytes], bytes] = bytes) -> Envelope:
        if plan.digest not in self.replies:
            assert self.state is not None, "keys were not agreed"
            terms = plan.terms_of_sums(self.coordinator.public.key_hex)
            party = Party.resume(terms, self.name, self.identity, self.state)
            begin = Begin(round=plan.round, participants=tuple(sorted(plan.cohort))).to_bytes()
            masked = body(party.mask(begin, self.ring(plan)))
            self.state = party.state()
            spend, head, tag = spend_of(self.name, plan), head_of(self.name, plan), canonical.digest(self.name)
            sealed = seal_masked_reply(plan, self.name, masked, spend, self.identity, ledger=head, dataset=tag)
            self.replies[plan.digest] = sealed
        return self.replies[plan.digest]

    def sum_reply(self, envelope: Envelope) -> Envelope:
        ask = read_sum(envelope, self.coordinator.public)
        self.shown.append((ask.phase, ask.round, envelope.header + envelope.body))
        try:
            body = self.answer(ask, envelope.body)
        except TrustError as error:
            self.refused.append(error.code)
            return seal_sum_refusal(envelope, self.name, error.code, self.identity)
        return seal_sum_reply(ask, self.name, body, self.identity)

    def answer(self, ask: SumAsk, body: bytes) -> bytes:
        if ask.phase == "join":
            if self.state is None:
                party, self.keys = Party.join(ask.terms, self.name, self.identity)
                self.state = party.state()
            return self.keys
        if self.state is None:
            raise TrustError("no keys were agreed")
        party = Party.resume(ask.terms, self.name, self.identity, self.state)
        given = b""
        if ask.phase == "roster":
            party.agree_keys(body)
        else:
            given = party.confirm(body) if ask.phase == "confirm" else party.unmask(body)
        self.state = party.state()
        return given


class MemoryGrid(Grid):
    """Delivers each message at once; what a node's function returns comes back at the next pull."""

    def __init__(self, nodes: dict[int, Answer]) -> None:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        self.nodes = nodes
        self.offline: set[int] = set()
        self.slow: set[int] = set()
        """Their replies come a pull later than those of the others."""
        self.receipts: dict[int, list[Envelope]] = {}
        self.before: Callable[[Envelope, int], None] = lambda envelope, node: None
        """Called with each message before it goes out; what it raises kills the coordinator."""
        self._replies: list[Message] = []
        self._sent: dict[str, Message] = {}
        self._count = 0

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return [i for i in self.nodes if i not in self.offline]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return [self._push(m) for m in messages]

    def _push(self, message: Message) -> str:
        self._count += 1
        message.metadata.__dict__["_message_id"] = str(self._count)
        self._sent[str(self._count)] = message
        record: Any = message.content["envelope"]
        body: Any = message.content.get("body")
        envelope = Envelope(
            kind=record["kind"],
            header=record["header"],
            signature=record["signature"],
            body=body["body"].data if body else b"",
        )
        self.before(envelope, message.metadata.dst_node_id)
        if envelope.kind == "receipt":
            self.receipts.setdefault(message.metadata.dst_node_id, []).append(envelope)
            return str(self._count)
        for content in self.nodes[message.metadata.dst_node_id](envelope):
            self._replies.append(Message(content, reply_to=message))
        return str(self._count)

    def forget(self) -> None:
        """Whoever asked is gone, and with it what was on its way."""
        self._replies = []

    def lost(self, message_ids: Iterable[str]) -> list[Message]:
        """Errors as Flower makes them for messages that were lost with their nodes."""
        error = Error(ErrorCode.NODE_UNAVAILABLE, "lost")
        return [Message(error, reply_to=self._sent[i]) for i in message_ids]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted = set(message_ids)
        found = [r for r in self._replies if r.metadata.reply_to_message_id in wanted]
        ready = [r for r in found if r.metadata.src_node_id not in self.slow] or found
        self._replies = [r for r in self._replies if r not in ready]
        return ready


class FakeTime:
    """Seconds that pass only when someone sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep, poll_s=0.5, settle_s=5.0)


@dataclass
class Federation:
    """A coordinator's parts and a few institutions in memory."""

    job: JobPlan
    store: Store
    identity: SigningIdentity
    institutions: dict[str, Institution]
    grid: MemoryGrid
    time: FakeTime = field(default_factory=FakeTime)

    def members(self) -> dict[int, Member]:
        return {
            number: Member(name=i.name, identity=i.identity.public, flower_key="")
            for number, i in enumerate(self.institutions.values())
        }

    def node(self, name: str) -> int:
        return list(self.institutions).index(name)

    def answers(self, name: str, answer: Answer) -> None:
        self.grid.nodes[self.node(name)] = answer

    def leaves(self, *names: str) -> None:
        self.grid.offline |= {self.node(name) for name in names}

    def run(self, **options: Any) -> JobResult:
        coordinator = Coordinator(self.job, self.store, self.identity, self.members, clock=self.time.clock(), **options)
        return coordinator.run(self.grid)


@pytest.fixture
def make_job(schema: AdapterSchema, privacy: PrivacyPlan) -> Callable[..., JobPlan]:
    def make(**changes: Any) -> JobPlan:
        fields: dict[str, Any] = {
            "job_id": "job",
            "task": "medicine.record",
            "schema": schema,
            "strategy": "frozen_a",
            "rounds": 2,
            "seed": 7,
            "quorum": 2,
            "deadline_s": 60.0,
            "max_tokens": 64,
            "optimiser": Optimiser(),
            "privacy": privacy,
        }
        return JobPlan(**{**fields, **changes})

    return make


@pytest.fixture
def make_federation(
    make_job: Callable[..., JobPlan], coordinator_identity: SigningIdentity
) -> Callable[..., Federation]:
    def make(*names: str, store: Store | None = None, **changes: Any) -> Federation:
        job = make_job(**changes)
        store = store or Store.open(":memory:")
        if job.job_id not in store.job_ids():
            store.submit(job, base_name="paper")
        institutions = {n: Institution(n, coordinator_identity) for n in names or ("a", "b", "c")}
        grid = MemoryGrid(dict(enumerate(institutions.values())))
        return Federation(job, store, coordinator_identity, institutions, grid)

    return make


@pytest.fixture
def make_masked(
    make_job: Callable[..., JobPlan], coordinator_identity: SigningIdentity, schema: AdapterSchema
) -> Callable[..., Federation]:
    """A federation whose sums are masked: a threshold of 3 among a to e, unless told otherwise."""

    def make(
        *names: str,
        threshold: int = 3,
        store: Store | None = None,
        noise: IntegerNoiseSource | None = None,
        **changes: Any,
    ) -> Federation:
        names = names or ("a", "b", "c", "d", "e")
        plain = make_job()
        sums = make_sums(
            SecureSumSettings(threshold=threshold),
            privacy=changes.get("privacy", plain.privacy),
            schema=schema,
            strategy=changes.get("strategy", plain.strategy),
            rounds=changes.get("rounds", plain.rounds),
            optimiser=changes.get("optimiser", plain.optimiser),
            joint=changes.get("joint", False),
            institutions=len(names),
        )
        job = make_job(**{"quorum": threshold, "institutions": names, "sums": sums, **changes})
        store = store or Store.open(":memory:")
        if job.job_id not in store.job_ids():
            store.submit(job, base_name="paper")
        unit = 2.0**-5 if job.joint else 2.0**-10  # A multiple of any ring's resolution here: nothing is rounded.
        institutions: dict[str, Any] = {
            name: MaskedInstitution(name, coordinator_identity, value=unit * (place + 1), noise=noise)
            for place, name in enumerate(names)
        }
        return Federation(
            job, store, coordinator_identity, institutions, MemoryGrid(dict(enumerate(institutions.values())))
        )

    return make


__all__ = ["EnrolmentRequest"]
