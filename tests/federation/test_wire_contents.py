"""What the coordinator is given where sums are masked: everything it receives and writes is searched for what it
must never have, a vector as it was before it was masked, or a key behind the masks."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flwr.app import Context, Message, RecordDict

from domains.language import Base
from fedclient.app import make_client_app
from fedclient.consent import LocalPolicy
from fedclient.ledger import BudgetLimit, Ledger
from fedclient.model import Trainer
from fedclient.session import Institution
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterSchema
from fedcore.identity import SigningIdentity
from fedcore.privacy.plan import DISCRETE_GAUSSIAN, PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import JobPlan, Optimiser
from fedcore.secagg import RingArray
from fedcore.secagg.messages import unpack
from fedcore.wire import Envelope
from fedserver import messages
from fedserver.cohort import Member
from fedserver.coordinator import Coordinator
from fedserver.link import assume_identity
from fedserver.progress import Clock, JobResult
from fedserver.store import Store
from fedserver.sums import SecureSumSettings, make_sums
from simulations.benchmarks.work import Work
from simulations.grid import MemoryGrid

NAMES = ("node-0", "node-1", "node-2", "node-3")
WINDOW = 16
"""Bytes: two vectors of a ring share so many by chance once in 2**128."""


class Recorder(MemoryGrid):
    """Keeps every envelope that nodes send."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.received: list[Envelope] = []

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = list(super().pull_messages(message_ids))
        self.received += [messages.unpack("any", r.content) for r in replies]
        return replies


class Watched:
    """A trainer that keeps every vector before it is masked."""

    def __init__(self, base: Base) -> None:
        self._trainer = Trainer(base)
        self.base = base
        self.seen: list[RingArray] = []

    def train(self, *args: Any, **options: Any) -> AdapterUpdate:
        raise AssertionError("a plan with sums is never trained in the clear")

    def train_ring(self, *args: Any, **options: Any) -> RingArray:
        values = self._trainer.train_ring(*args, **options)
        self.seen.append(values.copy())
        return values


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return Base.load(tiny_base)


def job(base: Base, rounds: int) -> JobPlan:
    schema = AdapterSchema.for_base(base.card, rank=2, alpha=4, targets=("q_proj", "v_proj"))
    privacy = PrivacyPlan(
        unit=PrivacyUnit(key="patient"),
        sampling_rate=0.5,
        steps_per_round=1,
        expected_batch_units=2.0,
        examples_per_unit=1,
        clip_norm_l2=1.0,
        noise_multiplier=1.0,
        delta=1e-3,
        mechanism=DISCRETE_GAUSSIAN,
        honest_minimum=3,
    )
    sums = make_sums(
        SecureSumSettings(threshold=3, parties=4),
        privacy=privacy,
        schema=schema,
        strategy="frozen_a",
        rounds=rounds,
        optimiser=Optimiser(),
        joint=True,
        institutions=4,
    )
    return JobPlan(
        job_id="searched",
        task="medicine.record",
        schema=schema,
        strategy="frozen_a",
        rounds=rounds,
        seed=1,
        quorum=3,
        deadline_s=60.0,
        max_tokens=64,
        optimiser=Optimiser(),
        privacy=privacy,
        joint=True,
        sums=sums,
    )


def institution(
    folder: Path,
    number: int,
    base: Base,
    trainer: Watched,
    coordinator: SigningIdentity,
    identities: Any,
    plan: JobPlan,
) -> Institution:
    work = Work(base=folder, rounds=1, nodes=len(NAMES), units=4)
    dataset = work.dataset(base, number)
    return Institution(
        name=NAMES[number],
        identity=identities[number],
        coordinator=coordinator.public,
        policy=LocalPolicy(
            tasks=(plan.task,),
            unit=plan.privacy.unit,
            least_noise_multiplier=1.0,
            largest_clip_norm_l2=1.0,
            largest_rank=8,
            largest_delta=1e-3,
            largest_honest_minimum=3,
            peers=tuple(f"{n}={i.public.fingerprint}" for n, i in zip(NAMES, identities, strict=True)),
        ),
        ledger=Ledger.open(
            folder / f"ledger-{number}.db",
            dataset="d",
            unit=plan.privacy.unit,
            limit=BudgetLimit(epsilon=1000.0, delta=1e-3),
        ),
        trainer=trainer,
        dataset=lambda _plan: dataset,
    )


def run(
    folder: Path, base: Base, trainer: Watched, rounds: int
) -> tuple[JobResult, list[Envelope], bytes, list[SigningIdentity]]:
    """A whole job; its result, what the coordinator received, and what it wrote."""
    plan = job(base, rounds)
    identities, signer = [SigningIdentity.generate() for _ in NAMES], SigningIdentity.generate()
    homes = {i + 1: institution(folder, i, base, trainer, signer, identities, plan) for i in range(len(NAMES))}
    members = {i: Member(name=h.name, identity=h.identity.public, flower_key="") for i, h in homes.items()}
    server = folder / "coordinator"
    server.mkdir()
    store = Store.open(server / "state.db")
    store.submit(plan, base_name=base.card.name)
    assume_identity(1)
    app = make_client_app(lambda context: homes[context.node_id])
    contexts = {i: Context(1, i, {}, RecordDict(), {}) for i in homes}
    with Recorder(app, contexts) as grid:
        result = Coordinator(plan, store, signer, lambda: members, clock=Clock(poll_s=0.01)).run(grid)
    store.close()
    return result, grid.received, b"".join(p.read_bytes() for p in sorted(server.iterdir())), identities


def windows(vector: RingArray) -> Iterator[bytes]:
    """The pieces of a vector, in each order of bytes that a machine may write."""
    for data in (vector.tobytes(), vector.byteswap().tobytes()):
        yield from (data[i : i + WINDOW] for i in range(0, len(data) - WINDOW + 1, WINDOW))


def vectors(received: Iterable[Envelope]) -> list[bytes]:
    """The masked vectors among what was received."""
    return [unpack(e.body)[1] for e in received if e.kind == "reply"]


def test_no_vector_before_its_mask_is_in_what_the_coordinator_receives_or_writes(tmp_path: Path, base: Base) -> None:
    trainer = Watched(base)
    result, received, written, identities = run(tmp_path, base, trainer, rounds=2)
    result.check()
    assert len(trainer.seen) == 2 * len(NAMES)
    haystack = b"".join(e.header + e.body for e in received) + written

    # The search finds what is there: masked vectors were received.
    masked = vectors(received)
    assert [len(v) for v in masked] == [v.nbytes for v in trainer.seen]
    assert all(v[-WINDOW:] in haystack for v in masked)

    for vector in trainer.seen:
        assert vector.size >= 64
        assert not any(window in haystack for window in windows(vector))
    for identity in identities:
        raw = identity._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        assert raw not in haystack
        assert raw.hex().encode() not in haystack


def test_what_the_coordinator_receives_of_one_institution_is_uniform_over_the_ring(tmp_path: Path, base: Base) -> None:
    trainer = Watched(base)
    _, received, _, _ = run(tmp_path, base, trainer, rounds=2)
    data = np.frombuffer(b"".join(vectors(received)), np.uint8)
    counts = np.bincount(data, minlength=256)
    expected = data.size / 256
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    # 255 degrees of freedom: beyond six standard deviations once in ten million runs.
    assert chi_square < 255 + 6 * np.sqrt(2 * 255)
    plain = np.concatenate([v.view(np.uint8).ravel() for v in trainer.seen])
    unmasked = np.bincount(plain, minlength=256)
    assert float(((unmasked - expected) ** 2 / expected).sum()) > 255 + 6 * np.sqrt(2 * 255), "the test can fail"
