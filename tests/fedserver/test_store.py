"""The store: nothing acknowledged is lost, a round is folded once."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcore.adapter import AdapterState
from fedcore.enrolment import EnrolmentRequest
from fedcore.errors import ConfigError, TrustError
from fedcore.identity import SigningIdentity
from fedcore.manifest import PrivacySpend
from fedcore.round import Abandoned, Completed
from fedserver.store import Store


def completed(number: int, state: AdapterState) -> Completed:
    return Completed(
        round=number, contributors=("a",), dropped={"b": "late"}, state_digest=state.digest, seconds=1.0, bytes_up=5,
        bytes_down=7,
    )  # fmt: skip


def request(name: str, key: str = "key") -> EnrolmentRequest:
    return EnrolmentRequest.make(name, SigningIdentity.generate(), key)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "state.db")


def test_plan_that_was_opened_first_stands(store: Store, make_plan: Callable[..., Any]) -> None:
    first = store.open_round(make_plan(cohort=("a", "b")))
    second = store.open_round(make_plan(cohort=("c",)))
    assert second == first
    assert store.round_plan("job", 1) == first
    assert store.round_plan("job", 1).digest == first.digest  # type: ignore[union-attr]


def test_round_closes_once(store: Store, make_plan: Callable[..., Any], state: AdapterState) -> None:
    store.open_round(make_plan())
    store.close_round("job", completed(1, state), state=state)
    with pytest.raises(ConfigError, match="cannot be folded again"):
        store.close_round("job", completed(1, state), state=state)
    assert store.outcomes("job") == (completed(1, state),)


def test_round_that_was_never_opened_cannot_close(store: Store, state: AdapterState) -> None:
    with pytest.raises(ConfigError, match="not open"):
        store.close_round("job", completed(1, state), state=state)


def test_checkpoint_is_the_state_that_was_folded_last(
    store: Store, make_plan: Callable[..., Any], make_job: Callable[..., Any], state: AdapterState
) -> None:
    job = make_job()
    assert store.checkpoint(job)[0] == 0
    assert store.checkpoint(job)[1].digest == AdapterState.initial(job.schema, job.seed).digest
    for number in (1, 2):
        store.open_round(make_plan(round=number, rounds=9))
        state = state.replace({n: a + number for n, a in state.part("lora_B").items()})
        store.close_round("job", completed(number, state), state=state)
    assert (store.checkpoint(job)[0], store.checkpoint(job)[1].digest) == (2, state.digest)


def test_outcomes_and_spends_are_read_back(store: Store, make_plan: Callable[..., Any], state: AdapterState) -> None:
    spend = PrivacySpend(
        institution="a", unit="patient", relation="r", epsilon=float("inf"), delta=1e-5, rounds=1, accountant="x"
    )
    store.open_round(make_plan())
    store.close_round("job", completed(1, state), state=state, spends={"a": spend})
    store.open_round(make_plan(round=2))
    lost = Abandoned(round=2, dropped={"a": "late"}, reason="too few")
    store.close_round("job", lost)
    assert store.outcomes("job") == (completed(1, state), lost)
    assert store.spends("job") == (spend,)


def test_jobs_are_taken_in_order_and_a_running_one_first(store: Store, make_job: Callable[..., Any]) -> None:
    for name in ("one", "two", "three"):
        store.submit(make_job(job_id=name), base_name="paper")
    assert store.next_job().plan.job_id == "one"  # type: ignore[union-attr]
    store.start_job("two")
    assert store.next_job().plan.job_id == "two"  # type: ignore[union-attr]
    store.complete_job("two", release="two-abc")
    store.fail_job("one", "why not")
    assert store.next_job().plan.job_id == "three"  # type: ignore[union-attr]
    assert (store.job("one").state, store.job("one").reason) == ("failed", "why not")
    assert store.job("two").release == "two-abc"
    assert store.job("three").plan == make_job(job_id="three")


def test_job_name_is_taken_once(store: Store, make_job: Callable[..., Any]) -> None:
    store.submit(make_job(), base_name="paper")
    with pytest.raises(ConfigError, match="exists already"):
        store.submit(make_job(), base_name="paper")


def test_unknown_job_names_the_known_ones(store: Store, make_job: Callable[..., Any]) -> None:
    store.submit(make_job(), base_name="paper")
    with pytest.raises(ConfigError, match="no job named 'jub'; expected one of job"):
        store.job("jub")


def test_member_is_enrolled_once_and_its_name_cannot_be_taken_over(store: Store) -> None:
    mine = request("a")
    assert store.enrol(mine)
    assert not store.enrol(mine)
    with pytest.raises(TrustError, match="with other keys"):
        store.enrol(request("a", "another key"))
    with pytest.raises(TrustError, match="taken by a"):
        store.enrol(request("b", "key"))
    assert [m.name for m in store.members()] == ["a"]


def test_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database, but long enough to be looked at " * 50)
    with pytest.raises(ConfigError, match="cannot be opened"):
        Store.open(path)


WRITER = """
import sys
from fedserver.store import Store
store = Store.open(sys.argv[1])
for number in range(100_000):
    store.note("count", number)
    print(number, flush=True)
"""


def test_nothing_acknowledged_is_lost_to_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(50):
        process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    acknowledged = int(process.stdout.read().splitlines()[-1])
    process.wait()
    assert Store.open(path).noted("count") in (acknowledged, acknowledged + 1)
