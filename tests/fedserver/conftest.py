"""A Grid in memory whose nodes answer as a test says: a link swapped, not an internal."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedcore import canonical
from fedcore.adapter import AdapterSchema
from fedcore.enrolment import EnrolmentRequest
from fedcore.identity import SigningIdentity
from fedcore.manifest import PrivacySpend
from fedcore.privacy import accounting
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import JobPlan, Optimiser, RoundPlan
from fedcore.wire import Envelope, read_plan, seal_reply
from fedserver import messages
from fedserver.cohort import Member
from fedserver.coordinator import Coordinator
from fedserver.progress import Clock, JobResult
from fedserver.store import Store

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


class MemoryGrid(Grid):
    """Delivers each message at once; what a node's function returns comes back at the next pull."""

    def __init__(self, nodes: dict[int, Answer]) -> None:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        self.nodes = nodes
        self.offline: set[int] = set()
        self.receipts: dict[int, list[Envelope]] = {}
        self._replies: list[Message] = []
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
        record: Any = message.content["envelope"]
        body: Any = message.content.get("body")
        envelope = Envelope(
            kind=record["kind"],
            header=record["header"],
            signature=record["signature"],
            body=body["body"].data if body else b"",
        )
        if envelope.kind == "receipt":
            self.receipts.setdefault(message.metadata.dst_node_id, []).append(envelope)
            return str(self._count)
        for content in self.nodes[message.metadata.dst_node_id](envelope):
            self._replies.append(Message(content, reply_to=message))
        return str(self._count)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted = set(message_ids)
        ready = [r for r in self._replies if r.metadata.reply_to_message_id in wanted]
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


__all__ = ["EnrolmentRequest"]
