"""The worker process of a node, without its supervisor: masked sums, and a step shared with helper processes."""

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from domains.language import Base
from domains.medicine.synthetic import SITES, records
from fedclient._setup import NewNode, enrolment_request, make_node
from fedclient._worker import Event, Ready, Replied, Started, Stepped, Worker
from fedclient.settings import NodeSettings
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.enrolment import CoordinatorCard
from fedcore.errors import RoundError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import Optimiser, RoundPlan
from fedcore.secagg import Aggregator, Ask, Opened, Party, Terms
from fedcore.sums import SumPlan
from fedcore.wire import Envelope, Phase, SumAsk, read_refusal, read_reply_header, read_sum_reply, seal_plan, seal_sum
from fedserver.pki import Authority
from simulations.tiny import make_tiny_base

pytestmark = pytest.mark.slow

TIMEOUT_S = 90.0
PRIVACY = PrivacyPlan(
    unit=PrivacyUnit(key="patient"),
    sampling_rate=0.5,
    steps_per_round=2,
    expected_batch_units=3,
    examples_per_unit=1,
    clip_norm_l2=1.0,
    noise_multiplier=1.0,
    delta=1e-4,
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_tiny_base(tmp_path / "tiny", "llama")


@pytest.fixture
def coordinator() -> SigningIdentity:
    return SigningIdentity.generate()


@pytest.fixture
def settings(tmp_path: Path, base: Path, coordinator: SigningIdentity) -> NodeSettings:
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in records(SITES[0], 6, 1)) + "\n")
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
    made = make_node(tmp_path / "a", new)
    pem = Authority.make("trial").pem
    card = CoordinatorCard(name="trial", address="127.0.0.1:1", ca_pem=pem, identity=coordinator.public.key_hex)
    card.write(made.files.coordinator)
    return made


@pytest.fixture
def worker(settings: NodeSettings, tmp_path: Path) -> Iterator[Worker]:
    started = Worker(settings, tmp_path)
    yield started
    started.stop()


def told(worker: Worker, envelope: Envelope) -> list[Event]:
    """Everything that the worker says until it has answered."""
    worker.ask(envelope)
    said: list[Event] = []
    while not (said and isinstance(said[-1], Replied)):
        event = worker.next(TIMEOUT_S)
        assert event is not None
        said.append(event)
    return said


def answered(worker: Worker, coordinator: SigningIdentity, sender: PublicIdentity, ask: SumAsk, body: bytes) -> bytes:
    """The answer to a question, of which nothing is announced."""
    ask, envelope = seal_sum(ask, body, coordinator)
    (replied,) = told(worker, envelope)
    assert isinstance(replied, Replied)
    return read_sum_reply(replied.envelope, ask, "a", sender)


def test_a_worker_takes_part_in_a_masked_round_of_real_training(
    worker: Worker, settings: NodeSettings, coordinator: SigningIdentity, base: Path
) -> None:
    own = PublicIdentity(enrolment_request(settings).identity)
    others = {name: SigningIdentity.generate() for name in "bc"}
    schema = AdapterSchema.for_base(Base.load(base).card, rank=2, alpha=4, targets=("q_proj",))
    parameters = sum(t.size for t in schema.part("lora_B"))
    plan = RoundPlan(
        job_id="job",
        round=1,
        rounds=2,
        task="medicine.record",
        schema=schema,
        state_digest=AdapterState.initial(schema, 7).digest,
        seed=7,
        strategy="frozen_a",
        trains=("lora_B",),
        carries=(),
        cohort=("a", "b", "c"),
        weight=1.0,
        quorum=3,
        deadline_s=TIMEOUT_S,
        max_tokens=48,
        optimiser=Optimiser(),
        privacy=PRIVACY,
        sums=SumPlan.choose(PRIVACY, parameters=parameters, parties=3, threshold=3, colluders=0, update_bound_l2=100.0),
        members=(("a", own.key_hex), *((name, one.public.key_hex) for name, one in sorted(others.items()))),
    )
    assert plan.sums is not None
    terms: Terms = plan.terms_of_sums(coordinator.public.key_hex)
    assert isinstance(worker.next(TIMEOUT_S), Ready)

    def ask(phase: Phase, number: int = 0, body: bytes = b"") -> bytes:
        return answered(worker, coordinator, own, SumAsk(job="job", round=number, phase=phase, terms=terms), body)

    aggregator, parties = Aggregator(terms), {}
    aggregator.add_keys("a", ask("join"))
    for name, identity in others.items():
        parties[name], keys = Party.join(terms, name, identity)
        aggregator.add_keys(name, keys)
    ask("roster", body=aggregator.roster())
    for party in parties.values():
        party.agree_keys(aggregator.roster())

    said = told(worker, seal_plan(plan, {}, coordinator))
    assert said[0] == Started(job="job", round=1, rounds=2)
    assert said[1:-1] == [Stepped(step=1, steps=2), Stepped(step=2, steps=2)]
    reply = said[-1]
    assert isinstance(reply, Replied)
    read_reply_header(reply.envelope, plan, "a", own)
    one = aggregator.begin(1)
    one.add_masked("a", reply.envelope.body)
    nothing = np.zeros(parameters, dtype=f"<u{plan.sums.bits // 8}")
    for name, party in parties.items():
        one.add_masked(name, party.mask(one.request, nothing))
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    one.add_unmasked("a", ask("open", 1, asked.requests["a"]))
    for name, party in parties.items():
        one.add_unmasked(name, party.unmask(asked.requests[name]))
    opened = one.finish()
    assert isinstance(opened, Opened)
    # What is left is the one update that was not nothing: noised, finite, within its bound.
    update = plan.sums.ring(parameters).decode(opened.total)
    assert 0 < np.linalg.norm(update) <= 101.0


def test_a_worker_with_a_helper_answers_and_refuses_when_the_helper_is_gone(
    settings: NodeSettings, coordinator: SigningIdentity, base: Path, tmp_path: Path
) -> None:
    schema = AdapterSchema.for_base(Base.load(base).card, rank=2, alpha=4, targets=("q_proj",))
    plan = RoundPlan(
        job_id="job",
        round=1,
        rounds=3,
        task="medicine.record",
        schema=schema,
        state_digest=AdapterState.initial(schema, 7).digest,
        seed=7,
        strategy="frozen_a",
        trains=("lora_B",),
        carries=(),
        cohort=("a",),
        weight=1.0,
        quorum=1,
        deadline_s=TIMEOUT_S,
        max_tokens=48,
        optimiser=Optimiser(),
        privacy=PRIVACY,
    )
    own = PublicIdentity(enrolment_request(settings).identity)
    path = settings.files.settings
    path.write_text(path.read_text().replace("processes = 1", "processes = 2"))
    worker = Worker(NodeSettings.load(settings.files.directory), tmp_path)
    try:
        assert isinstance(worker.next(TIMEOUT_S), Ready)
        *_, first = told(worker, seal_plan(plan, {}, coordinator))
        assert isinstance(first, Replied)
        read_reply_header(first.envelope, plan, "a", own)  # It is an update.
        os.kill(helper_of(worker), signal.SIGKILL)
        *_, second = told(worker, seal_plan(replace(plan, round=2), {}, coordinator))
        assert isinstance(second, Replied)
        assert read_refusal(second.envelope, replace(plan, round=2), "a", own) == RoundError.code
        third = replace(plan, round=3)
        *_, last = told(worker, seal_plan(third, {}, coordinator))
        assert isinstance(last, Replied)
        read_reply_header(last.envelope, third, "a", own)
        helper = helper_of(worker)
    finally:
        worker.stop()
    end = time.monotonic() + 10
    while Path(f"/proc/{helper}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{helper}").exists()  # None outlives its worker.


def helper_of(worker: Worker) -> int:
    """The process that a worker started with a base of its own."""
    pid = worker._process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (found,) = [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
    return found
