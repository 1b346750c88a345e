"""A party that is killed at any moment of a masked sum: one vector a round, and nothing under-counted."""

import contextlib
import dataclasses
import multiprocessing
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedclient.dataset import PrivateDataset
from fedclient.ledger import read_accounts
from fedclient.session import run_round
from fedcore import canonical
from fedcore.adapter import AdapterState, ModelCard
from fedcore.errors import BadReply
from fedcore.round import RoundPlan
from fedcore.secagg import Opened, RingArray
from fedcore.wire import Envelope, read_refusal, read_reply_header, seal_plan
from tests.fedclient.masked import NAMES, Coordinator, Encoder, federation

FORK = multiprocessing.get_context("fork")
VICTIM = "a"
ROUNDS, MOST = 24, 120
"""Rounds that are played, and as many more as it takes until enough kills struck before an answer was heard."""


def vector(plan: RoundPlan, place: int) -> RingArray:
    """What an institution adds in a round: known to the test, whichever process made it."""
    assert plan.sums is not None
    limit = 2**plan.sums.bits
    values = np.random.default_rng([plan.round, place]).integers(0, limit, plan.parameters, dtype=np.uint64)
    return values.astype(f"<u{plan.sums.bits // 8}")


class Known(Encoder):
    """A trainer whose result the test can work out, and which takes a moment in which it can be killed."""

    def __init__(self, card: ModelCard, place: int) -> None:
        super().__init__(card)
        self._place = place

    def train_ring(self, plan: RoundPlan, state: AdapterState, dataset: PrivateDataset, **_: Any) -> RingArray:
        time.sleep(0.004)
        return vector(plan, self._place)


def serve(job: Coordinator, pipe: Connection) -> None:
    """The victim's process: it starts from its files and answers until it is killed."""
    institution = job.nodes[VICTIM].start(job.privacy)
    while True:
        pipe.send(run_round(pipe.recv(), institution))


@dataclass
class Killer(Coordinator):
    """A coordinator one of whose nodes is a process of its own, killed again and again."""

    rng: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - it chooses when to kill.
    heard: dict[bytes, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """Question -> every answer to it that left the process."""
    vectors: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """Round -> every masked vector that left."""
    typical_s: float = 0.05
    kills: int = 0
    killed_unheard: int = 0
    _process: Any = None
    _pipe: Any = None

    @property
    def enough(self) -> bool:
        """Whether the test has seen what it is about; how often a kill comes first is the machine's to say."""
        return self.kills >= 40 and self.killed_unheard >= 20

    def tell(self, name: str, envelope: Envelope) -> Envelope:
        if name != VICTIM:
            return super().tell(name, envelope)
        for _ in range(3):
            answer = self.try_once(envelope)
            if answer is not None:
                return answer
        answer = self.try_once(envelope, kill=False)
        assert answer is not None
        return answer

    def try_once(self, envelope: Envelope, *, kill: bool = True) -> Envelope | None:
        """Ask, and perhaps kill at some moment of it; what was heard all the same counts."""
        self.start()
        started = time.perf_counter()
        self._pipe.send(envelope)
        answer = None
        if not kill or self.rng.random() < 0.3:
            assert self._pipe.poll(30)
            answer = self._pipe.recv()
            self.typical_s = 0.8 * self.typical_s + 0.2 * (time.perf_counter() - started)
        else:
            if self._pipe.poll(self.rng.random() * self.typical_s * 1.5):
                answer = self._pipe.recv()
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.join()
            with contextlib.suppress(EOFError, OSError):
                if answer is None and self._pipe.poll(0):
                    answer = self._pipe.recv()
            self._process, self.kills = None, self.kills + 1
            self.killed_unheard += answer is None
        if answer is not None:
            self.heard[envelope.header].add(answer.header + answer.signature + answer.body)
            if answer.kind == "reply":
                self.vectors[canonical.decode(envelope.header)["plan"]["round"]].add(answer.body)
        self.check_ledger()
        return answer

    def check_ledger(self) -> None:
        """Every vector that left was paid for, and no more was reserved than rounds and kills explain."""
        if not self.nodes[VICTIM].path.exists():
            return
        for account in read_accounts(self.nodes[VICTIM].path):
            answered = len(self.vectors)
            assert answered <= len(account.events) <= answered + self.kills + 1
            assert account.epsilon == sum(e.steps for e in account.events)

    def start(self) -> None:
        if self._process is None:
            for node in self.nodes.values():
                node.stop()  # SQLite forbids carrying a connection over a fork.
            self._pipe, far = FORK.Pipe()
            self._process = FORK.Process(target=serve, args=(self, far))
            self._process.start()
            far.close()

    def end(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.join()

    def masked(self, name: str, plan: RoundPlan) -> bytes:
        """As ever; but after a kill a lying coordinator may try another plan for the same round first."""
        if name != VICTIM:
            return super().masked(name, plan)
        public = self.nodes[name].identity.public
        if self.try_once(self.seal(plan)) is None and self.rng.random() < 0.5:
            other = dataclasses.replace(plan, deadline_s=61.0)
            answer = self.tell(name, self.seal(other))
            try:
                read_reply_header(answer, other, name, public)
            except BadReply:
                assert read_refusal(answer, other, name, public) == "sum_round_used"
            else:
                return answer.body
        return super().masked(name, plan)

    def seal(self, plan: RoundPlan) -> Envelope:
        return seal_plan(plan, self.state.part(*plan.carries), self.identity)


@pytest.mark.slow
def test_kills_at_random_moments_give_one_vector_a_round_and_under_count_nothing(
    tmp_path: Path, card: ModelCard, state: AdapterState, make_plan: Callable[..., RoundPlan]
) -> None:
    made = federation(tmp_path, card, state, make_plan)
    fields = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    job = Killer(**{**fields, "rounds": MOST})
    for place, name in enumerate(NAMES):
        job.nodes[name].trainer = Known(card, place)
    try:
        job.agree()
        number = 0
        while number < ROUNDS or (number < MOST and not job.enough):
            number += 1
            gone = {} if number % 3 == 0 else {"before": "d"} if number % 3 == 1 else {"masked": "c"}
            opened = job.play(number, **gone)
            assert isinstance(opened, Opened)
            plan = job.plan(number)
            inputs = [vector(plan, NAMES.index(name)) for name in opened.contributors]
            assert np.array_equal(opened.total, np.sum(inputs, axis=0, dtype=job.dtype))
    finally:
        job.end()
    assert sorted(job.vectors) == list(range(1, number + 1))
    assert all(len(vectors) == 1 for vectors in job.vectors.values()), "two vectors were masked for one round"
    assert all(len(answers) == 1 for answers in job.heard.values()), "one question got two answers"
    assert job.enough
