"""Four institutions on disk and a coordinator: every message between them is a real envelope."""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from domains.language import Encoded
from fedclient.consent import LocalPolicy
from fedclient.dataset import PrivateDataset
from fedclient.ledger import BudgetLimit, Ledger
from fedclient.session import Institution, run_round, unsafe_unaudited
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterState, ModelCard
from fedcore.errors import BadReply
from fedcore.identity import SigningIdentity
from fedcore.privacy.accounting import DpEvent
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import RoundPlan
from fedcore.secagg import Abandoned, Aggregator, Opened, RingArray, SumRound, Terms
from fedcore.sums import SumPlan
from fedcore.wire import (
    Envelope,
    Phase,
    SumAsk,
    read_refusal,
    read_reply_header,
    read_sum_reply,
    seal_plan,
    seal_sum,
)

NAMES = ("a", "b", "c", "d")


def one_a_step(events: Iterable[DpEvent], delta: float, *, enough: float = math.inf) -> float:
    """Basic composition at one a step: quick, and easy to add up."""
    return float(sum(e.steps for e in events))


@dataclass
class HeldBase:
    card: ModelCard


class Encoder:
    """A small trainer: random numbers for an update, with the plan's noise, in the plan's ring."""

    def __init__(self, card: ModelCard) -> None:
        self.base = HeldBase(card)
        self.encoded: list[RingArray] = []
        self.fail: Callable[[], None] = lambda: None

    def train(self, *_: Any, **__: Any) -> AdapterUpdate:
        raise AssertionError("a plan with sums is never trained in clear")

    def train_ring(
        self,
        plan: RoundPlan,
        state: AdapterState,
        dataset: PrivateDataset,
        *,
        source: Any,
        noise: Any,
        report: Any = None,
    ) -> RingArray:
        assert plan.sums is not None
        values, share = np.random.default_rng().normal(size=plan.parameters), None
        if plan.privacy.shares_noise:
            share = noise.discrete_gaussian(plan.parameters, plan.sums.share_std_units)
        else:
            values += noise.gaussian((plan.parameters,), 0.1)
        self.fail()
        self.encoded.append(plan.sums.ring(plan.parameters).encode(values, share))
        return self.encoded[-1]


class Node:
    """An institution that can be started anew from what lies in its directory."""

    def __init__(self, directory: Path, name: str, card: ModelCard, **changes: Any) -> None:
        self.directory, self.name = directory / name, name
        self.trainer, self.reads, self.changes = Encoder(card), 0, changes
        self.directory.mkdir(parents=True)
        SigningIdentity.generate().save(self.directory / "identity.key")
        self.identity = SigningIdentity.load(self.directory / "identity.key")
        self.peers: tuple[str, ...] = ()
        self.coordinator = SigningIdentity.generate().public
        self.restarts = False
        self._open: Institution | None = None

    @property
    def path(self) -> Path:
        return self.directory / "ledger.db"

    def ledger(self, privacy: PrivacyPlan) -> Ledger:
        limit = BudgetLimit(epsilon=1000.0, delta=1e-5)
        return Ledger.open(self.path, dataset="admissions", unit=privacy.unit, limit=limit, cost=one_a_step)

    def start(self, privacy: PrivacyPlan) -> Institution:
        """This institution as its files make it."""
        self.stop()
        policy = LocalPolicy(
            tasks=("medicine.record",),
            unit=privacy.unit,
            least_noise_multiplier=0.3,
            largest_clip_norm_l2=10.0,
            largest_rank=64,
            largest_delta=1e-5,
            largest_honest_minimum=4,
            peers=self.peers,
        )
        fields: dict[str, Any] = {
            "name": self.name,
            "identity": SigningIdentity.load(self.directory / "identity.key"),
            "coordinator": self.coordinator,
            "policy": policy,
            "ledger": self.ledger(privacy),
            "trainer": self.trainer,
            "dataset": self.dataset,
            "audit": unsafe_unaudited,
        }
        self._open = Institution(**{**fields, **self.changes})
        return self._open

    def stop(self) -> None:
        if self._open is not None:
            self._open.ledger.close()
        self._open = None

    def dataset(self, plan: RoundPlan) -> PrivateDataset:
        self.reads += 1
        return PrivateDataset(units=((Encoded(ids=(5, 6), labels=(-100, 6)),),))

    def institution(self, privacy: PrivacyPlan) -> Institution:
        return self.start(privacy) if self._open is None or self.restarts else self._open

    def snapshot(self, privacy: PrivacyPlan) -> tuple[Any, ...]:
        """All that a refusal must leave as it is."""
        ledger = self.institution(privacy).ledger
        db = ledger.sum_states._chain.db
        states = db.execute("SELECT * FROM sum_states ORDER BY coordinator, job").fetchall()
        return ledger.entries(), states, self.reads, len(self.trainer.encoded)


@dataclass
class Coordinator:
    """An honest coordinator, each of whose steps a test may take otherwise."""

    nodes: Mapping[str, Node]
    make_plan: Callable[..., RoundPlan]
    state: AdapterState
    privacy: PrivacyPlan
    sums: SumPlan
    joint: bool = False
    job: str = "job"
    rounds: int = 9
    identity: SigningIdentity = field(default_factory=SigningIdentity.generate)
    aggregator: Aggregator | None = None

    def __post_init__(self) -> None:
        for node in self.nodes.values():
            node.coordinator = self.identity.public
            node.peers = tuple(f"{n.name}={n.identity.public.fingerprint}" for n in self.nodes.values())

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        return tuple((name, self.nodes[name].identity.public.key_hex) for name in sorted(self.nodes))

    def plan(self, number: int, cohort: Sequence[str] = NAMES, **changes: Any) -> RoundPlan:
        fields: dict[str, Any] = {
            "job_id": self.job,
            "round": number,
            "rounds": self.rounds,
            "cohort": tuple(cohort),
            "quorum": self.sums.threshold,
            "privacy": self.privacy,
            "joint": self.joint,
            "sums": self.sums,
            "members": self.members,
        }
        return self.make_plan(**{**fields, **changes})

    @property
    def terms(self) -> Terms:
        return self.plan(1).terms_of_sums(self.identity.public.key_hex)

    def tell(self, name: str, envelope: Envelope) -> Envelope:
        node = self.nodes[name]
        return run_round(envelope, node.institution(self.privacy))

    def sealed(
        self, phase: Phase, number: int = 0, body: bytes = b"", *, signer: SigningIdentity | None = None, **fields: Any
    ) -> tuple[SumAsk, Envelope]:
        """A question, any field of which can be another one."""
        ask = SumAsk(**{"job": self.job, "round": number, "phase": phase, "terms": self.terms, **fields})
        return seal_sum(ask, body, signer or self.identity)

    def ask(self, name: str, phase: Phase, number: int = 0, body: bytes = b"", **fields: Any) -> bytes:
        """A node's answer to a question; BadReply with the code as its kind when it refuses."""
        ask, envelope = self.sealed(phase, number, body, **fields)
        return read_sum_reply(self.tell(name, envelope), ask, name, self.nodes[name].identity.public)

    def code(self, name: str, phase: Phase, number: int = 0, body: bytes = b"", **fields: Any) -> str:
        """The code by which a node refuses a question."""
        try:
            self.ask(name, phase, number, body, **fields)
        except BadReply as error:
            return error.kind
        return "answered"

    def agree(self, names: Collection[str] = NAMES) -> Aggregator:
        """The two exchanges that come once a job."""
        self.aggregator = Aggregator(self.terms)
        for name in names:
            self.aggregator.add_keys(name, self.ask(name, "join"))
        for name in names:
            assert self.ask(name, "roster", body=self.aggregator.roster()) == b""
        return self.aggregator

    def begin(self, number: int, cohort: Sequence[str] = NAMES) -> SumRound:
        assert self.aggregator is not None
        return self.aggregator.begin(number, cohort)

    def send(self, name: str, plan: RoundPlan) -> Envelope:
        return self.tell(name, seal_plan(plan, self.state.part(*plan.carries), self.identity))

    def masked(self, name: str, plan: RoundPlan) -> bytes:
        """A node's masked vector."""
        reply = self.send(name, plan)
        read_reply_header(reply, plan, name, self.nodes[name].identity.public)
        return reply.body

    def refusal(self, name: str, plan: RoundPlan) -> str:
        """The code by which a node refuses a plan."""
        return read_refusal(self.send(name, plan), plan, name, self.nodes[name].identity.public)

    def play(
        self,
        number: int,
        *,
        before: Collection[str] = (),
        masked: Collection[str] = (),
        confirmed: Collection[str] = (),
        cohort: Sequence[str] = NAMES,
    ) -> Opened | Abandoned:
        """One round, in which some vanish before they mask, after it, or after they confirmed."""
        one, plan = self.begin(number, cohort), self.plan(number, cohort)
        gone = set(before)
        for name in (n for n in cohort if n not in gone):
            one.add_masked(name, self.masked(name, plan))
        asked, gone = one.close_masked(), gone | set(masked)
        if not isinstance(asked, Abandoned) and asked.kind == "confirm":
            for name in (n for n in asked.requests if n not in gone):
                one.add_confirmation(name, self.ask(name, "confirm", number, asked.requests[name]))
            asked = one.close_confirmations()
        if isinstance(asked, Abandoned):
            return asked
        gone |= set(confirmed)
        for name in (n for n in asked.requests if n not in gone):
            one.add_unmasked(name, self.ask(name, "open", number, asked.requests[name]))
        return one.finish()

    def sum_of(self, names: Iterable[str]) -> RingArray:
        """The sum of what these institutions encoded last."""
        total: RingArray = np.sum([self.nodes[n].trainer.encoded[-1] for n in names], axis=0, dtype=self.dtype)
        return total

    @property
    def dtype(self) -> Any:
        return np.dtype(f"<u{self.sums.bits // 8}")


def federation(
    directory: Path,
    card: ModelCard,
    state: AdapterState,
    make_plan: Callable[..., RoundPlan],
    *,
    joint: bool = False,
    job: str = "job",
    **changes: Any,
) -> Coordinator:
    """Four institutions and their coordinator: threshold 3, one colluder; in joint rounds two honest share noise."""
    plan = make_plan()
    privacy = plan.privacy
    if joint:
        privacy = dataclasses.replace(
            privacy, steps_per_round=1, mechanism="discrete_gaussian", honest_minimum=2, noise_multiplier=1.0
        )
    sums = SumPlan.choose(
        privacy,
        parameters=plan.parameters,
        parties=len(NAMES),
        threshold=3,
        colluders=1,
        update_bound_l2=None if joint else 5.0,
    )
    nodes = {name: Node(directory, name, card, **changes) for name in NAMES}
    return Coordinator(nodes, make_plan, state, privacy, sums, joint, job)
