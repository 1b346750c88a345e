"""The ledger: nothing is under-counted, nothing is overspent, nothing is changed unseen."""

import dataclasses
import math
import multiprocessing
import os
import random
import signal
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from fedclient.ledger import KEPT_REPLIES, BudgetLimit, Ledger, read_accounts
from fedcore.errors import BudgetExhausted, ConfigError, LedgerError, PlanRefused
from fedcore.privacy import accounting
from fedcore.privacy.accounting import DpEvent
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import RoundPlan
from fedcore.wire import Envelope

Plans = Callable[..., RoundPlan]
UNIT = PrivacyUnit(key="patient")
LIMIT = BudgetLimit(epsilon=8.0, delta=1e-5)
FORK = multiprocessing.get_context("fork")


def pld(events: Iterable[DpEvent], delta: float, *, enough: float = math.inf) -> float:
    """One real accountant, without the seconds of the second."""
    return accounting.epsilon(events, delta)


def one_a_step(events: Iterable[DpEvent], delta: float, *, enough: float = math.inf) -> float:
    """Basic composition at one a step: quick, and easy to add up."""
    return float(sum(e.steps for e in events))


def reply_to(plan: RoundPlan) -> Envelope:
    digest = bytes.fromhex(plan.digest)
    return Envelope(kind="reply", header=b"header " + digest, signature=digest * 2, body=digest * 100)


def open_ledger(path: Path, limit: BudgetLimit = LIMIT, cost: Callable[..., float] = pld) -> Ledger:
    return Ledger.open(path, dataset="admissions", unit=UNIT, limit=limit, cost=cost)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_epsilon_is_that_of_all_jobs_and_rounds_by_an_independent_computation(path: Path, make_plan: Plans) -> None:
    ledger = Ledger.open(path, dataset="admissions", unit=UNIT, limit=LIMIT)
    private = make_plan().privacy
    for job, noise in (("one", 0.8), ("two", 1.5)):
        for number in (1, 2, 3):
            plan = make_plan(
                job_id=job, round=number, rounds=3, privacy=dataclasses.replace(private, noise_multiplier=noise)
            )
            ledger.commit(ledger.reserve(plan), reply_to(plan))
    independent = PLDAccountant(value_discretization_interval=2e-4)
    for entry in ledger.entries():
        if entry.kind == "reserve":
            e = entry.body["event"]
            gaussian = dp_event.GaussianDpEvent(e["noise_multiplier"])
            independent.compose(dp_event.PoissonSampledDpEvent(e["sampling_rate"], gaussian), e["steps"])
    assert len(ledger.events()) == 6
    assert ledger.epsilon() == pytest.approx(independent.get_epsilon(1e-5), rel=0.01)
    assert ledger.epsilon() > private.epsilon(3)
    assert ledger.remaining() == pytest.approx(8.0 - ledger.epsilon())


def test_a_reservation_counts_though_it_was_never_answered(path: Path, make_plan: Plans) -> None:
    first = open_ledger(path)
    spent = first.reserve(make_plan()).epsilon
    first.close()
    again = open_ledger(path)
    assert again.epsilon() == spent
    assert again.reserve(make_plan()).epsilon > spent


def test_a_round_past_the_limit_is_refused_and_changes_nothing(path: Path, make_plan: Plans) -> None:
    ledger = open_ledger(path, BudgetLimit(epsilon=3.0, delta=1e-5))
    while True:
        before = ledger.entries()
        try:
            ledger.reserve(make_plan())
        except BudgetExhausted:
            break
    assert ledger.entries() == before
    assert 0 < ledger.epsilon() <= 3.0
    gentle = dataclasses.replace(make_plan().privacy, noise_multiplier=30.0)
    assert ledger.reserve(make_plan(privacy=gentle)).epsilon <= 3.0


@settings(max_examples=8, deadline=None)
@given(
    asked=st.lists(
        st.tuples(st.sampled_from([0.05, 0.3]), st.sampled_from([0.7, 1.0, 4.0]), st.sampled_from([1, 12])), max_size=6
    )
)
def test_whatever_is_asked_the_sum_stays_within_the_limit(
    asked: list[tuple[float, float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    ledger = open_ledger(tmp_path_factory.mktemp("ledger") / "ledger.db")
    granted: list[DpEvent] = []
    for rate, noise, steps in asked:
        plan = a_plan(sampling_rate=rate, noise_multiplier=noise, steps_per_round=steps)
        try:
            ledger.reserve(plan)
        except BudgetExhausted:
            assert accounting.epsilon([*granted, plan.privacy.event()], LIMIT.delta) > LIMIT.epsilon
        else:
            granted.append(plan.privacy.event())
    assert ledger.events() == tuple(granted)
    assert ledger.epsilon() == accounting.epsilon(granted, LIMIT.delta) <= LIMIT.epsilon


def a_plan(**changes: float) -> RoundPlan:
    """A plan outside pytest's fixtures."""
    from fedcore.adapter import AdapterSchema, TensorSpec
    from fedcore.round import Optimiser

    fields = {
        "unit": UNIT,
        "sampling_rate": 0.05,
        "steps_per_round": 1,
        "expected_batch_units": 10.0,
        "examples_per_unit": 1,
        "clip_norm_l2": 1.0,
        "noise_multiplier": 1.0,
        "delta": 1e-5,
        "mechanism": "gaussian",
    }
    number = int(changes.pop("round", 1))
    schema = AdapterSchema(
        base_digest="ab" * 32, rank=1, alpha=1, targets=("q",), tensors=(TensorSpec(name="q.lora_B", shape=(1, 1)),)
    )
    return RoundPlan(
        job_id="job",
        round=number,
        rounds=10**7,
        task="medicine.record",
        schema=schema,
        state_digest="0" * 64,
        seed=1,
        strategy="frozen_a",
        trains=("lora_B",),
        carries=("lora_B",),
        cohort=("a",),
        weight=1.0,
        quorum=1,
        deadline_s=60.0,
        max_tokens=64,
        optimiser=Optimiser(),
        privacy=PrivacyPlan(**{**fields, **changes}),
    )


def test_the_same_plan_gets_the_same_bytes_again(path: Path, make_plan: Plans) -> None:
    ledger, plan = open_ledger(path), make_plan()
    assert ledger.kept_reply(plan.digest) is None
    ledger.commit(ledger.reserve(plan), reply_to(plan))
    ledger.close()
    assert open_ledger(path).kept_reply(plan.digest) == reply_to(plan)


def test_an_answered_plan_is_not_paid_for_twice_even_when_its_reply_is_gone(path: Path) -> None:
    ledger = open_ledger(path, BudgetLimit(epsilon=math.inf, delta=1e-5), one_a_step)
    plans = [a_plan(round=i) for i in range(1, KEPT_REPLIES + 2)]
    for plan in plans:
        ledger.commit(ledger.reserve(plan), reply_to(plan))
    assert ledger.kept_reply(plans[0].digest) is None
    assert ledger.kept_reply(plans[1].digest) == reply_to(plans[1])
    before = ledger.epsilon()
    with pytest.raises(PlanRefused) as refused:
        ledger.reserve(plans[0])
    assert refused.value.reason == "already_answered"
    assert ledger.epsilon() == before


def test_a_plan_is_answered_once_when_two_workers_race(path: Path, make_plan: Plans) -> None:
    ledger, plan = open_ledger(path), make_plan()
    first, second = ledger.reserve(plan), ledger.reserve(plan)
    ledger.commit(first, reply_to(plan))
    with pytest.raises(PlanRefused):
        ledger.commit(second, reply_to(plan))
    assert len(ledger.events()) == 2


def test_an_answer_without_a_reservation_is_refused(path: Path, make_plan: Plans) -> None:
    ledger, plan = open_ledger(path), make_plan()
    reservation = ledger.reserve(plan)
    with pytest.raises(LedgerError):
        ledger.commit(dataclasses.replace(reservation, seq=99), reply_to(plan))
    with pytest.raises(LedgerError):
        ledger.commit(dataclasses.replace(reservation, plan_digest="0" * 64), reply_to(plan))


def test_another_unit_is_refused(path: Path) -> None:
    open_ledger(path).close()
    with pytest.raises(LedgerError, match="another unit"):
        Ledger.open(path, dataset="admissions", unit=PrivacyUnit(key="record"), limit=LIMIT)


def test_another_delta_is_refused(path: Path) -> None:
    open_ledger(path).close()
    with pytest.raises(LedgerError, match="another delta"):
        open_ledger(path, BudgetLimit(epsilon=8.0, delta=1e-4))


def test_a_plan_for_another_unit_is_refused(path: Path, make_plan: Plans) -> None:
    ledger = open_ledger(path)
    other = dataclasses.replace(make_plan().privacy, unit=PrivacyUnit(key="record"))
    with pytest.raises(PlanRefused) as refused:
        ledger.reserve(make_plan(privacy=other))
    assert refused.value.reason == "unit_mismatch"
    assert ledger.epsilon() == 0


def test_a_changed_limit_is_noted_and_holds(path: Path, make_plan: Plans) -> None:
    open_ledger(path).reserve(make_plan())
    lowered = open_ledger(path, BudgetLimit(epsilon=0.1, delta=1e-5))
    with pytest.raises(BudgetExhausted):
        lowered.reserve(make_plan())
    assert lowered.remaining() == 0
    open_ledger(path, BudgetLimit(epsilon=0.1, delta=1e-5))
    raised = open_ledger(path)
    raised.reserve(make_plan())
    assert [(e.kind, e.body["epsilon"]) for e in raised.entries() if e.kind in ("open", "limit")] == [
        ("open", 8.0),
        ("limit", 0.1),
        ("limit", 8.0),
    ]


def test_datasets_in_one_file_have_budgets_of_their_own(path: Path, make_plan: Plans) -> None:
    one = open_ledger(path)
    other = Ledger.open(path, dataset="imaging", unit=PrivacyUnit(key="record"), limit=LIMIT, cost=pld)
    one.reserve(make_plan())
    assert (other.epsilon(), one.epsilon() > 0) == (0.0, True)
    assert [a.dataset for a in read_accounts(path)] == ["admissions", "imaging"]


def test_no_noise_never_fits_a_limit(path: Path, make_plan: Plans) -> None:
    ledger = open_ledger(path)
    with pytest.raises(BudgetExhausted):
        ledger.reserve(without_noise(make_plan))
    assert ledger.account().is_private


def test_no_noise_marks_the_ledger_for_ever(path: Path, make_plan: Plans) -> None:
    research = open_ledger(path, BudgetLimit(epsilon=math.inf, delta=1e-5))
    assert research.reserve(without_noise(make_plan)).epsilon == math.inf
    assert research.events()[-1].noise_multiplier == 0
    assert research.account().to_dict()["unsafe"] == ["UnsafeNoNoise"]
    with pytest.raises(BudgetExhausted):
        open_ledger(path).reserve(make_plan())
    (account,) = read_accounts(path)
    assert (account.is_private, account.remaining) == (False, 0.0)


def without_noise(make_plan: Plans) -> RoundPlan:
    private = dataclasses.replace(make_plan().privacy, noise_multiplier=0.0, mechanism="UnsafeNoNoise")
    return make_plan(privacy=private)


@pytest.mark.parametrize("limit", [(0.0, 1e-5), (math.nan, 1e-5), (-1.0, 1e-5), (8.0, 0.0), (8.0, 1.0)])
def test_a_limit_out_of_range_is_refused(limit: tuple[float, float]) -> None:
    with pytest.raises(ConfigError):
        BudgetLimit(epsilon=limit[0], delta=limit[1])


# Tampering: one attack a test, by someone who can write the file.

ATTACKS = {
    "a cost is made smaller": "UPDATE entries SET body = replace(body, '\"steps\":3', '\"steps\":1') WHERE seq = 2",
    "a figure is made smaller": "UPDATE entries SET body = replace(body, '\"epsilon\":', '\"x\":') WHERE seq = 4",
    "an entry is removed": "DELETE FROM entries WHERE seq = 2",
    "the newest entry is removed": "DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)",
    "an entry is added": "INSERT INTO entries SELECT seq + 1, dataset, kind, body, hash, previous FROM entries "
    "WHERE seq = (SELECT max(seq) FROM entries)",
    "an entry moves to another dataset": "UPDATE entries SET dataset = 'other' WHERE seq = 2",
    "entries change places": "UPDATE entries SET seq = -2 WHERE seq = 2; UPDATE entries SET seq = 2 WHERE seq = 4; "
    "UPDATE entries SET seq = 4 WHERE seq = -2",
    "the limit is raised": "UPDATE entries SET body = replace(body, '8.0', '9.0') WHERE seq = 1",
    "the head is put back": "UPDATE head SET seq = seq - 1",
    "an entry is not JSON": "UPDATE entries SET body = 'x' WHERE seq = 2",
    "all entries are removed": "DELETE FROM entries",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_tampering_is_found_when_the_ledger_is_opened(path: Path, make_plan: Plans, attack: str) -> None:
    ledger = open_ledger(path)
    for number in (1, 2):
        plan = make_plan(round=number)
        ledger.commit(ledger.reserve(plan), reply_to(plan))
    ledger.verify()
    with sqlite3.connect(path) as db:
        db.executescript("DROP TRIGGER entries_no_update; DROP TRIGGER entries_no_delete;" + ATTACKS[attack])
    db.close()
    with pytest.raises(LedgerError, match="another hand"):
        open_ledger(path)
    with pytest.raises(LedgerError, match="another hand"):
        read_accounts(path)
    with pytest.raises(LedgerError, match="another hand"):
        ledger.verify()


def test_a_changed_reply_is_not_sent(path: Path, make_plan: Plans) -> None:
    ledger, plan = open_ledger(path), make_plan()
    ledger.commit(ledger.reserve(plan), reply_to(plan))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE replies SET body = x'00'")
    db.close()
    with pytest.raises(LedgerError, match="another hand"):
        ledger.kept_reply(plan.digest)


def test_entries_cannot_be_changed_through_sqlite_by_accident(path: Path) -> None:
    open_ledger(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"), sqlite3.connect(path) as db:
        db.execute("DELETE FROM entries")


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at" * 100, None])
def test_another_file_is_refused_and_left_alone(path: Path, content: bytes | None) -> None:
    if content is None:
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE other (x)")
        db.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(LedgerError):
        open_ledger(path)
    if content is not None:
        assert path.read_bytes() == before


def test_only_the_owner_can_read_the_file(path: Path) -> None:
    open_ledger(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_reading_accounts_makes_no_file_and_adds_no_entry(path: Path, make_plan: Plans) -> None:
    with pytest.raises(LedgerError, match="no ledger"):
        read_accounts(path)
    assert not path.exists()
    ledger = open_ledger(path)
    ledger.reserve(make_plan())
    (account,) = read_accounts(path)
    assert account == ledger.account()
    assert len(ledger.entries()) == 2


# Processes: real ones, really killed.


def _spend_for_ever(path: Path, first: int, said: Connection) -> None:
    """Reserve and commit without end, and say what is done after it is done."""
    ledger = open_ledger(path, BudgetLimit(epsilon=math.inf, delta=1e-5), one_a_step)
    for number in range(first, first + 100_000):
        plan = a_plan(round=number)
        reservation = ledger.reserve(plan)
        said.send(("reserved", number))
        ledger.commit(reservation, reply_to(plan))
        said.send(("committed", number))


def test_kill_at_any_point_never_under_counts(path: Path) -> None:
    rng = random.Random(1)  # noqa: S311 - it chooses when to kill.
    reserved, committed = 0, []
    for attempt in range(30):
        heard, said = FORK.Pipe(duplex=False)
        child = FORK.Process(target=_spend_for_ever, args=(path, 1 + attempt * 100_000, said))
        child.start()
        said.close()
        for _ in range(rng.randrange(1, 12)):
            kind, number = heard.recv()
            reserved += kind == "reserved"
            committed += [number] * (kind == "committed")
        time.sleep(rng.random() * 0.004)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        while heard.poll():
            try:
                kind, number = heard.recv()
            except EOFError:
                break
            reserved += kind == "reserved"
            committed += [number] * (kind == "committed")
        ledger = open_ledger(path, BudgetLimit(epsilon=math.inf, delta=1e-5), one_a_step)
        ledger.verify()
        # At most one reservation a life was made and not yet told.
        assert reserved <= len(ledger.events()) <= reserved + attempt + 1
        assert ledger.epsilon() == len(ledger.events())
        if committed:
            plan = a_plan(round=committed[-1])
            assert ledger.kept_reply(plan.digest) == reply_to(plan)
        ledger.close()
    assert sum(ledger_jobs(path).values()) >= len(committed) > 30


def ledger_jobs(path: Path) -> dict[str, int]:
    (account,) = read_accounts(path)
    return dict(account.jobs)


def _spend_what_is_left(path: Path, worker: int, said: Connection) -> None:
    """Reserve until the budget is exhausted."""
    ledger = open_ledger(path, BudgetLimit(epsilon=20.0, delta=1e-5), one_a_step)
    granted = 0
    try:
        while True:
            ledger.reserve(a_plan(round=worker * 1000 + granted + 1))
            granted += 1
    except BudgetExhausted:
        said.send(granted)


def test_processes_that_race_for_the_last_of_the_budget_do_not_overspend(path: Path) -> None:
    workers = []
    for worker in range(6):
        heard, said = FORK.Pipe(duplex=False)
        process = FORK.Process(target=_spend_what_is_left, args=(path, worker, said))
        process.start()
        said.close()
        workers.append((process, heard))
    granted = [heard.recv() for _, heard in workers]
    for process, _ in workers:
        process.join()
    assert sum(granted) == 20
    (account,) = read_accounts(path)
    assert (account.epsilon, len(account.events)) == (20.0, 20)


def test_threads_share_a_ledger_without_overspending(path: Path) -> None:
    ledger = open_ledger(path, BudgetLimit(epsilon=10.0, delta=1e-5), one_a_step)
    granted: list[int] = []

    def spend(worker: int) -> None:
        for i in range(5):
            try:
                ledger.reserve(a_plan(round=worker * 100 + i + 1))
            except BudgetExhausted:
                return
            granted.append(worker)

    threads = [threading.Thread(target=spend, args=(w,)) for w in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(granted), ledger.epsilon()) == (10, 10.0)
