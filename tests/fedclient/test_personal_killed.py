"""A node that is killed at any moment of rounds that keep a part: each answered round enters it exactly once."""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedclient._personal_parts import read_personal
from fedclient.ledger import read_accounts
from fedclient.session import run_round
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterState, ModelCard
from fedcore.round import RoundPlan
from fedcore.wire import Envelope, read_reply, seal_plan, unpack_arrays
from tests.fedclient.test_personal import PART, Adder, Site

FORK = multiprocessing.get_context("fork")
ROUNDS, MOST = 18, 23
"""Rounds that are played, and as many more as it takes until enough kills struck before an answer was heard.

The kept number is a sum of powers of two up to 2**23: exact in float32, and it says which rounds are in.
"""


class Slow(Adder):
    """Takes a moment in which it can be killed; its update says what the round started from."""

    def train(self, plan: RoundPlan, state: AdapterState, *rest: Any, **options: Any) -> AdapterUpdate:
        time.sleep(0.003)
        update = super().train(plan, state, *rest, **options)
        time.sleep(0.001)
        started = float(state.tensors[PART][0, 0])
        return AdapterUpdate(
            specs=update.specs, tensors={n: a * np.float32(started) for n, a in update.tensors.items()}
        )


def serve(site: Site, pipe: Connection) -> None:
    """The victim's process: it starts from its file and answers until it is killed."""
    site.ledger = site.open()
    institution = site.institution()
    while True:
        pipe.send(run_round(pipe.recv(), institution))


class Killer:
    """Asks the rounds of a job of a process that it kills again and again."""

    def __init__(self, site: Site, state: AdapterState) -> None:
        self.site, self.state = site, state
        self.rng = random.Random(3)  # noqa: S311 - it chooses when to kill.
        self.typical_s, self.kills, self.unheard, self.advanced_unheard = 0.02, 0, 0, 0
        self.heard: dict[bytes, set[bytes]] = defaultdict(set)
        self.before = self.after = 0.0
        self.asked = 0
        self._process: Any = None
        self._pipe: Any = None

    @property
    def enough(self) -> bool:
        """Whether the test has seen what it is about; how often a kill comes first is the machine's to say."""
        return self.kills >= 30 and self.unheard >= 12

    def seal(self, plan: RoundPlan) -> Envelope:
        return seal_plan(plan, self.state.part(*plan.carries), self.site.coordinator)

    def play(self, number: int) -> None:
        """One round: asked until it is answered, now and then by another plan for the same round."""
        self.before, self.after = self.after, self.after + 2.0**number
        plan = self.site.plan(number, self.state, rounds=MOST)
        answer = None
        for attempt in range(12):
            if attempt and self.rng.random() < 0.3:
                plan = self.site.plan(number, self.state, rounds=MOST, deadline_s=60.0 + attempt)
            answer = self.try_once(plan, kill=attempt < 11)
            if answer is not None and self.rng.random() < 0.5:
                break
        while answer is None:
            answer = self.try_once(plan, kill=False)
        tensors, _ = read_reply(answer, plan, "a", self.site.identity.public)
        assert all((a == self.before).all() for a in tensors.values()), "a round started from another round's part"
        assert self.kept() == self.after

    def kept(self) -> float:
        """What the file holds now."""
        rows = read_personal(self.site.path, "admissions")
        if not rows:
            return 0.0
        (row,) = rows
        specs = self.state.schema.part("lora_B")
        values = {float(v) for a in unpack_arrays(row.after, specs).values() for v in a.ravel()}
        assert len(values) == 1
        return values.pop()

    def try_once(self, plan: RoundPlan, *, kill: bool) -> Envelope | None:
        """Ask, and perhaps kill at some moment of it; what was heard all the same counts."""
        self.start()
        envelope, started, answer = self.seal(plan), time.perf_counter(), None
        already = self.kept() == self.after
        self.asked += 1
        self._pipe.send(envelope)
        if not kill or self.rng.random() < 0.25:
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
            self.unheard += answer is None
        kept = self.kept()
        if answer is not None:
            self.heard[envelope.header].add(answer.header + answer.signature + answer.body)
            assert kept == self.after, "a reply left without what belongs to it"
        assert kept in ((self.after,) if already else (self.before, self.after))
        self.advanced_unheard += answer is None and not already and kept == self.after
        (account,) = read_accounts(self.site.path)
        assert len(account.events) <= self.asked
        assert account.jobs.get("job", 0) <= len(account.events)
        return answer

    def start(self) -> None:
        if self._process is None:
            self._pipe, far = FORK.Pipe()
            self._process = FORK.Process(target=serve, args=(self.site, far))
            self._process.start()
            far.close()

    def end(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.join()


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing_and_mix_no_rounds(
    tmp_path: Path, card: ModelCard, state: AdapterState, make_plan: Callable[..., RoundPlan]
) -> None:
    site = Site(tmp_path, card, make_plan)
    site.trainer = Slow(card)
    site.ledger.close()  # SQLite forbids carrying a connection over a fork.
    killer = Killer(site, state)
    try:
        number = 0
        while number < ROUNDS or (number < MOST and not killer.enough):
            number += 1
            killer.play(number)
    finally:
        killer.end()
    assert killer.after == 2.0 ** (number + 1) - 2
    assert all(len(answers) == 1 for answers in killer.heard.values()), "one question got two answers"
    assert killer.enough
