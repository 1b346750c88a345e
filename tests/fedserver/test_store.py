"""The store: nothing acknowledged is lost, a round is folded once."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcore import canonical
from fedcore.adapter import AdapterState
from fedcore.certificate import Attestation
from fedcore.enrolment import EnrolmentRequest
from fedcore.errors import ConfigError, StorageError, TrustError
from fedcore.identity import SigningIdentity
from fedcore.manifest import PrivacySpend
from fedcore.privacy.accounting import DpEvent
from fedcore.receipt import Receipt, read_receipt, seal_receipt
from fedcore.round import Abandoned, Completed
from fedcore.secagg import Terms
from fedcore.wire import Envelope
from fedserver.store import MaskedRound, Store
from tests.full_disk import full_disk


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


def test_full_disk_changes_nothing_and_the_store_is_used_on(
    store: Store, make_plan: Callable[..., Any], state: AdapterState
) -> None:
    store.open_round(make_plan())
    with full_disk():
        for write in (
            lambda: store.note("connected", ["a"]),
            lambda: store.open_round(make_plan(round=2)),
            lambda: store.close_round("job", completed(1, state), state=state),
        ):
            with pytest.raises(StorageError, match="check its disk"):
                write()
        assert store.outcomes("job") == ()
    assert store.round_plan("job", 2) is None
    store.close_round("job", completed(1, state), state=state)
    assert store.outcomes("job") == (completed(1, state),)


def test_store_that_sqlite_itself_calls_full_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = Store.open(path)
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    with pytest.raises(StorageError, match="full"):
        store.note("large", "x" * 100_000)
    assert store.noted("large") is None
    store._connection.execute("PRAGMA max_page_count = 100000").fetchall()
    store.note("large", "x" * 100_000)
    assert Store.open(path).noted("large") == "x" * 100_000


def test_fault_of_ours_is_not_called_the_disks(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store._rows("SELECT 1 FROM nowhere")


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
        institution="a",
        unit="patient",
        relation="r",
        epsilon=float("inf"),
        delta=1e-5,
        rounds=1,
        epsilon_job=float("inf"),
        events=(),
        accountant="x",
        noise_source="test",
        sampling_source="test",
    )
    store.open_round(make_plan())
    store.close_round("job", completed(1, state), state=state, spends={"a": spend})
    store.open_round(make_plan(round=2))
    lost = Abandoned(round=2, dropped={"a": "late"}, reason="too few")
    store.close_round("job", lost)
    assert store.outcomes("job") == (completed(1, state), lost)
    assert store.spends("job") == (spend,)


def receipt(name: str, number: int, **changes: Any) -> Receipt:
    event = DpEvent(sampler="poisson", sampling_rate=0.05, noise_multiplier=0.8, steps=3)
    fields: dict[str, Any] = {
        "institution": name, "number": 1, "previous": "", "job": "job", "round": number, "plan": "0" * 64,
        "head": canonical.digest([name, number]), "dataset": "2" * 64, "event": event,
        "at": "2026-11-01T12:00:00+00:00",
    }  # fmt: skip
    return Receipt(**{**fields, **changes})


def test_receipts_are_numbered_for_each_institution_in_the_transaction_that_closes_the_round(
    store: Store, make_plan: Callable[..., Any], state: AdapterState, coordinator_identity: SigningIdentity
) -> None:
    def seal(one: Receipt) -> Any:
        return seal_receipt(one, coordinator_identity)

    def read(name: str) -> list[Receipt]:
        return [read_receipt(s, coordinator_identity.public, institution=name) for s in store.receipts(name)]

    for number, names in ((1, ("a", "b")), (2, ("b",)), (3, ("a", "b"))):
        store.open_round(make_plan(round=number, rounds=9))
        drafts = [receipt(name, number) for name in names]
        store.close_round("job", completed(number, state), receipts=drafts, seal=seal)
    assert [(r.number, r.round) for r in read("a")] == [(1, 1), (2, 3)]
    assert [(r.number, r.round) for r in read("b")] == [(1, 1), (2, 2), (3, 3)]
    assert [r.previous for r in read("a")] == ["", read("a")[0].head]
    assert store.newest_receipt("a") == store.receipts("a")[-1]
    assert store.newest_receipt("c") is None
    assert store.receipted("job") == {"a": 6, "b": 9}
    # A round that cannot close leaves no receipt: a number is given once.
    with pytest.raises(ConfigError, match="cannot be folded again"):
        store.close_round("job", completed(3, state), receipts=[receipt("a", 3)], seal=seal)
    store.open_round(make_plan(round=4, rounds=9))

    def fail(one: Receipt) -> Any:
        raise TrustError("no key")

    with pytest.raises(TrustError):
        store.close_round("job", completed(4, state), receipts=[receipt("a", 4)], seal=fail)
    assert [len(read(n)) for n in ("a", "b")] == [2, 3]
    assert len(store.outcomes("job")) == 3


def test_store_of_a_version_without_receipts_gets_their_tables(tmp_path: Path, make_plan: Callable[..., Any]) -> None:
    path = tmp_path / "old.db"
    old = Store.open(path)
    old.open_round(make_plan())
    old.close()
    with sqlite3.connect(path) as db:
        db.executescript("DROP TABLE receipts; DROP TABLE attestations;")
    db.close()
    again = Store.open(path)
    assert (again.receipts("a"), again.newest_receipt("a"), again.receipted("job")) == ((), None, {})
    assert again.attestations("job") == ()
    assert again.round_plan("job", 1) == make_plan()


def test_attestations_are_those_of_the_newest_counted_reply(
    store: Store, make_plan: Callable[..., Any], state: AdapterState, node_identity: SigningIdentity
) -> None:
    def attested(number: int) -> Attestation:
        header = canonical.encode({"round": number, "version": 1})
        envelope = Envelope(kind="reply", header=header, signature=node_identity.sign(header))
        return Attestation.of("a", node_identity.public, envelope)

    for number in (1, 2):
        store.open_round(make_plan(round=number))
        store.close_round("job", completed(number, state), attestations={"a": attested(number)})
    assert store.attestations("job") == (attested(2),)
    assert store.attestations("other") == ()


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
    heard = [process.stdout.readline() for _ in range(50)]
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    acknowledged = int([*heard, *process.stdout.read().splitlines()][-1])
    process.wait()
    assert Store.open(path).noted("count") in (acknowledged, acknowledged + 1)


# Joint rounds and masked sums: what a restart needs, gone when the round is closed.


def test_optimisers_memory_is_kept_with_the_fold_or_not_at_all(
    store: Store, make_plan: Callable[..., Any], state: AdapterState
) -> None:
    assert store.memory("job", 0) == {}
    for number in (1, 2, 3):
        store.open_round(make_plan(round=number, rounds=9))
        memory = {"w/first": np.full((2, 3), number, dtype=np.float32), "w/steps": np.ones(1, dtype=np.float32)}
        store.close_round("job", completed(number, state), state=state, memory=memory)
        found = store.memory("job", number)
        assert found.keys() == memory.keys()
        assert all(np.array_equal(found[name], memory[name]) for name in memory)
    assert store.memory("job", 1) == {}, "only what a restart may need is kept"
    store.open_round(make_plan(round=4, rounds=9))

    def fail(one: Receipt) -> Any:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        store.close_round("job", completed(4, state), state=state, memory=memory, receipts=[receipt("a", 4)], seal=fail)
    assert store.memory("job", 4) == {}


def terms_of(*names: str) -> Terms:
    members = tuple((name, SigningIdentity.generate().public.key_hex) for name in names)
    return Terms(job="job/ab", members=members, threshold=2, colluders=0, rounds=3, length=4, bits=16)


def test_terms_and_roster_that_were_stored_first_stand(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "state.db")
    assert store.terms("job") is None
    assert store.roster("job") is None
    first = store.open_sums("job", terms_of("a", "b"))
    assert store.open_sums("job", terms_of("a", "b", "c")) == first
    store.keep_roster("job", b"one")
    store.keep_roster("job", b"two")
    again = Store.open(tmp_path / "state.db")
    assert again.terms("job") == first
    assert again.terms("job").digest == first.digest  # type: ignore[union-attr]
    assert again.roster("job") == b"one"


def test_masked_round_is_kept_until_its_round_closes(
    tmp_path: Path, make_plan: Callable[..., Any], state: AdapterState
) -> None:
    store = Store.open(tmp_path / "state.db")
    signer = SigningIdentity.generate()
    replies = {
        name: Attestation(institution=name, identity=signer.public.key_hex, header="{}", signature="00" * 64)
        for name in ("a", "b")
    }
    for number in (1, 2):
        store.open_round(make_plan(round=number, rounds=9))
        store.keep_masked("job", number, MaskedRound(state=b"first", replies={}, dropped={}))
        kept = MaskedRound(state=b"second", replies=replies, dropped={"c": "late"})
        store.keep_masked("job", number, kept)
        assert Store.open(tmp_path / "state.db").masked("job", number) == kept
    store.close_round("job", completed(1, state), state=state)
    assert store.masked("job", 1) is None
    assert store.masked("job", 2) == kept
    store.close_round("job", Abandoned(round=2, dropped={}, reason="too few"))
    assert store.masked("job", 2) is None
    rows = sqlite3.connect(tmp_path / "state.db").execute("SELECT count(*) FROM masked_replies").fetchone()
    assert rows == (0,)
