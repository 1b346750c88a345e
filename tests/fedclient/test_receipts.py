"""Receipts: a ledger that was put back from an older copy spends nothing until what was lost is back."""

import dataclasses
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.language import Encoded
from fedclient.audit import AuditedBound
from fedclient.consent import LocalPolicy
from fedclient.dataset import PrivateDataset
from fedclient.ledger import BudgetLimit, Ledger, read_accounts
from fedclient.receipts import Receipts, beside, dataset_tag, resolve, verify
from fedclient.session import Institution, run_round
from fedclient.update import AdapterUpdate
from fedcore import canonical
from fedcore.adapter import AdapterState, ModelCard
from fedcore.errors import LedgerBehind, LedgerError, TrustError
from fedcore.identity import SigningIdentity
from fedcore.privacy.accounting import DpEvent
from fedcore.privacy.units import PrivacyUnit
from fedcore.receipt import Receipt, read_line, seal_receipt, write_line
from fedcore.round import RoundPlan
from fedcore.wire import Envelope, add_receipt, read_plan, read_refusal, seal_plan, verify_header

Plans = Callable[..., RoundPlan]
UNIT = PrivacyUnit(key="patient")
FORK = multiprocessing.get_context("fork")
BOUND = AuditedBound(epsilon_lower=0.25, confidence=0.95, noise_multiplier_upper=0.9, sampling_rate_lower=0.049)


def one_a_step(events: Iterable[DpEvent], delta: float, *, enough: float = math.inf) -> float:
    """Basic composition at one a step: quick, and easy to add up."""
    return float(sum(e.steps for e in events))


@dataclasses.dataclass
class HeldBase:
    card: ModelCard


class Adder:
    """A small trainer that counts what it was asked."""

    def __init__(self, card: ModelCard) -> None:
        self.base = HeldBase(card)
        self.trained = 0

    def train(self, plan: RoundPlan, state: AdapterState, dataset: PrivateDataset, **_: Any) -> AdapterUpdate:
        self.trained += 1
        tensors = {t.name: np.full(t.shape, self.trained, dtype=np.float32) for t in plan.trained}
        return AdapterUpdate(specs=plan.trained, tensors=tensors)


class Coordinator:
    """Signs plans and receipts, and numbers them as the store does."""

    def __init__(self) -> None:
        self.identity = SigningIdentity.generate()
        self.receipts: list[Receipt] = []

    def countersign(self, plan: RoundPlan, reply: Envelope, node: SigningIdentity, **changes: Any) -> Envelope:
        header = verify_header("reply", reply.header, reply.signature, node.public)
        last = self.receipts[-1] if self.receipts else None
        fields: dict[str, Any] = {
            "institution": "a",
            "number": last.number + 1 if last else 1,
            "previous": last.head if last else "",
            "job": plan.job_id,
            "round": plan.round,
            "plan": plan.digest,
            "head": header["ledger"],
            "dataset": header["dataset"],
            "event": plan.privacy.event(),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.receipts.append(Receipt(**{**fields, **changes}))
        return seal_receipt(self.receipts[-1], self.identity)

    def last(self) -> Envelope:
        return seal_receipt(self.receipts[-1], self.identity)

    def newest(self) -> Envelope | None:
        return self.last() if self.receipts else None

    def export(self, path: Path) -> Path:
        lines = [write_line(seal_receipt(r, self.identity), self.identity.public) for r in self.receipts]
        path.write_text("".join(lines))
        return path


class Node:
    """An institution's directory: identity, ledger and receipts, as a live node has them."""

    def __init__(self, directory: Path, card: ModelCard, coordinator: Coordinator) -> None:
        self.directory, self.coordinator = directory, coordinator
        self.identity = SigningIdentity.generate()
        self.trainer = Adder(card)
        self.reads = 0
        self.limit = BudgetLimit(epsilon=math.inf, delta=1e-5)
        self.policy = LocalPolicy(
            tasks=("medicine.record",),
            unit=UNIT,
            least_noise_multiplier=0.3,
            largest_clip_norm_l2=10.0,
            largest_rank=64,
            largest_delta=1e-5,
        )

    @property
    def file(self) -> Path:
        return self.directory / "ledger.db"

    def ledger(self, dataset: str = "admissions") -> Ledger:
        return Ledger.open(self.file, dataset=dataset, unit=UNIT, limit=self.limit, cost=one_a_step)

    def receipts(self) -> Receipts:
        return Receipts(
            self.directory / "receipts.jsonl", institution="a", coordinator=self.coordinator.identity.public
        )

    def dataset(self, plan: RoundPlan) -> PrivateDataset:
        self.reads += 1
        return PrivateDataset(units=((Encoded(ids=(5, 6), labels=(-100, 6)),),))

    def answer(self, envelope: Envelope, dataset: str = "admissions") -> Envelope:
        """As a process that starts, answers and ends."""
        ledger = self.ledger(dataset)
        try:
            return run_round(
                envelope,
                Institution(
                    name="a",
                    identity=self.identity,
                    coordinator=self.coordinator.identity.public,
                    policy=self.policy,
                    ledger=ledger,
                    trainer=self.trainer,
                    dataset=self.dataset,
                    audit=lambda plan: BOUND,
                    receipts_path=self.directory / "receipts.jsonl",
                ),
            )
        finally:
            ledger.close()

    def epsilon(self, dataset: str = "admissions") -> float:
        return {a.dataset: a.epsilon for a in read_accounts(self.file)}[dataset]


@dataclasses.dataclass
class Trial:
    """A node, its coordinator, and rounds between them."""

    node: Node
    coordinator: Coordinator
    make_plan: Plans
    state: AdapterState
    rounds: int = 0

    def ask(self, *, receipt: Envelope | None = None, **changes: Any) -> tuple[RoundPlan, Envelope]:
        self.rounds += 1
        plan = self.make_plan(**{"round": self.rounds, "rounds": 99_999, **changes})
        return plan, self.sealed(plan, receipt or self.coordinator.newest())

    def sealed(self, plan: RoundPlan, receipt: Envelope | None) -> Envelope:
        envelope = seal_plan(plan, self.state.part(*plan.carries), self.coordinator.identity)
        return envelope if receipt is None else add_receipt(envelope, receipt, self.coordinator.identity)

    def round(self, dataset: str = "admissions", **changes: Any) -> Envelope:
        """One whole round: ask, answer, countersign."""
        plan, envelope = self.ask(**changes)
        reply = self.node.answer(envelope, dataset)
        return self.coordinator.countersign(plan, reply, self.node.identity)

    def code(self, envelope: Envelope) -> str:
        plan, _ = read_plan(envelope, self.coordinator.identity.public)
        return read_refusal(self.node.answer(envelope), plan, "a", self.node.identity.public)

    def copy(self, to: Path) -> Path:
        return Path(shutil.copytree(self.node.directory, to))

    def put_back(self, copy: Path, *, whole: bool) -> None:
        """An operator restores a backup: of the ledger alone, or of everything."""
        names = [p.name for p in copy.iterdir()] if whole else ["ledger.db"]
        gone = self.node.directory.iterdir() if whole else self.node.directory.glob("ledger.db*")
        for path in list(gone):
            path.unlink()
        for name in names:
            shutil.copy(copy / name, self.node.directory / name)


@pytest.fixture
def trial(tmp_path: Path, card: ModelCard, make_plan: Plans, state: AdapterState) -> Trial:
    coordinator = Coordinator()
    directory = tmp_path / "node"
    directory.mkdir()
    return Trial(Node(directory, card, coordinator), coordinator, make_plan, state)


def refuses(trial: Trial, code: str, **changes: Any) -> None:
    """The next plan is refused with a code; nothing is spent, read, trained or released."""
    node, spent = trial.node, trial.node.epsilon()
    before = (node.reads, node.trainer.trained)
    assert trial.code(trial.ask(**changes)[1]) == code
    assert (node.epsilon(), (node.reads, node.trainer.trained)) == (spent, before)


# What is recognised.


def test_fifty_older_ledgers_that_are_put_back_release_nothing(trial: Trial, tmp_path: Path) -> None:
    rng = random.Random(1)  # noqa: S311 - it chooses backups.
    copies = []
    for number in range(26):
        copies.append(trial.copy(tmp_path / f"backup-{number}"))
        trial.round()
    now = trial.copy(tmp_path / "now")
    releases = trial.node.trainer.trained
    for attempt in range(50):
        whole = attempt % 2 == 0
        trial.put_back(copies[rng.randrange(1, len(copies))], whole=whole)
        # The file alone gives itself away by the node's own receipts, whatever comes with a plan.
        carried = trial.coordinator.newest()
        for _ in range(2):
            plan, _ = trial.ask()
            assert trial.code(trial.sealed(plan, carried)) == "ledger_behind"
            if not whole:
                carried = None
        assert trial.node.trainer.trained == releases, "nothing is released from an older ledger"
    trial.put_back(now, whole=True)
    trial.round()
    assert trial.node.trainer.trained == releases + 1


def test_a_ledger_that_was_deleted_is_as_old_as_can_be(trial: Trial) -> None:
    trial.round()
    trial.round()
    trial.node.file.unlink()
    for suffix in ("-wal", "-shm"):
        trial.node.file.with_name(f"ledger.db{suffix}").unlink(missing_ok=True)
    trial.node.ledger().close()
    refuses(trial, "ledger_behind")


def test_what_shows_that_the_ledger_is_behind_is_kept_though_the_coordinator_stops_sending_it(
    trial: Trial, tmp_path: Path
) -> None:
    trial.round()
    copy = trial.copy(tmp_path / "backup")
    trial.round()
    trial.put_back(copy, whole=True)
    refuses(trial, "ledger_behind")
    plan, _ = trial.ask()
    assert trial.code(trial.sealed(plan, None)) == "ledger_behind"


def test_an_answer_is_not_sent_again_from_a_ledger_that_is_behind(trial: Trial, tmp_path: Path) -> None:
    plan, envelope = trial.ask()
    reply = trial.node.answer(envelope)
    trial.coordinator.countersign(plan, reply, trial.node.identity)
    copy = trial.copy(tmp_path / "backup")
    trial.round()
    trial.put_back(copy, whole=True)
    assert trial.code(trial.sealed(plan, trial.coordinator.newest())) == "ledger_behind"


def test_entries_without_a_receipt_are_no_fault(trial: Trial) -> None:
    """The node, the connection or the coordinator may fail between a reply and its receipt."""
    trial.round()
    for _ in range(2):
        _, envelope = trial.ask()
        assert trial.node.answer(envelope).kind == "reply"
    trial.round()
    assert [r.round for r in trial.node.receipts().all()] == [1]
    trial.round()
    assert [r.round for r in trial.node.receipts().all()] == [1, 4]


def test_the_same_question_gets_its_answer_again_and_its_receipt_is_kept(trial: Trial) -> None:
    plan, envelope = trial.ask()
    reply = trial.node.answer(envelope)
    receipt = trial.coordinator.countersign(plan, reply, trial.node.identity)
    assert trial.node.answer(trial.sealed(plan, receipt)) == reply
    assert [r.number for r in trial.node.receipts().all()] == [1]
    assert trial.node.trainer.trained == 1


def test_a_coordinator_that_was_put_back_from_a_backup_stops_nobody(trial: Trial) -> None:
    """Its newest receipt is older than the node's, and it gives a number a second time."""
    for _ in range(4):
        trial.round()
    trial.ask()
    trial.node.receipts().keep(trial.coordinator.last())
    trial.coordinator.receipts = trial.coordinator.receipts[:2]
    trial.round()
    trial.round()
    assert [r.number for r in trial.node.receipts().all()] == [1, 2, 3, 4, 3]
    assert verify(trial.node.ledger(), trial.node.receipts()).receipts == 5


def test_receipts_of_every_data_set_in_the_file_are_looked_for_in_the_whole_file(trial: Trial, tmp_path: Path) -> None:
    trial.round("admissions")
    trial.round("imaging")
    copy = trial.copy(tmp_path / "backup")
    trial.round("admissions")
    trial.round("imaging")
    trial.put_back(copy, whole=False)
    refuses(trial, "ledger_behind")


# What is believed.


def forgeries(trial: Trial) -> dict[str, Envelope]:
    good = trial.coordinator.receipts[-1]
    stranger, own = SigningIdentity.generate(), trial.coordinator.identity
    signed = seal_receipt(good, own)
    return {
        "by a stranger": seal_receipt(dataclasses.replace(good, head="9" * 64), stranger),
        "by the institution": seal_receipt(dataclasses.replace(good, head="9" * 64), trial.node.identity),
        "for another": seal_receipt(dataclasses.replace(good, institution="b", head="9" * 64), own),
        "changed": dataclasses.replace(signed, header=signed.header.replace(b'"number":2', b'"number":9')),
        "a plan": dataclasses.replace(trial.ask()[1], kind="receipt", body=b""),
        "rubbish": Envelope(kind="receipt", header=b"{}", signature=b"\0" * 64),
    }


@pytest.mark.parametrize(
    "forgery", ["by a stranger", "by the institution", "for another", "changed", "a plan", "rubbish"]
)
def test_a_plan_with_a_receipt_that_does_not_hold_is_refused(trial: Trial, forgery: str) -> None:
    trial.round()
    trial.round()
    bad = forgeries(trial)[forgery]
    refuses(trial, "trust", receipt=bad)
    assert [r.number for r in trial.node.receipts().all()] == [1]
    # Nor can it be used to stop an institution by itself.
    ack = trial.node.answer(bad)
    assert ack.kind == "ack"
    trial.round()


def test_a_receipt_that_comes_by_itself_is_kept_and_touches_nothing_else(trial: Trial) -> None:
    receipt = trial.round()
    before = (trial.node.file.read_bytes(), trial.node.epsilon())
    ack = trial.node.answer(receipt)
    assert verify_header("ack", ack.header, ack.signature, trial.node.identity.public)["institution"] == "a"
    assert set(canonical.decode(ack.header)) == {"institution", "version", "body_sha256"}
    assert trial.node.answer(receipt) == ack
    assert [r.number for r in trial.node.receipts().all()] == [1]
    assert (trial.node.epsilon(), trial.node.trainer.trained) == (before[1], 1)
    assert [e.kind for e in trial.node.ledger().entries()] == ["open", "reserve", "commit"]


def test_an_ack_is_the_same_whatever_came(trial: Trial) -> None:
    good = trial.round()
    acks = {trial.node.answer(r).header for r in (good, *forgeries(trial).values())}
    assert len(acks) == 1


def test_receipts_of_a_coordinator_that_was_pinned_before_still_count(trial: Trial, tmp_path: Path) -> None:
    trial.round()
    copy = trial.copy(tmp_path / "backup")
    trial.round()
    trial.node.answer(trial.coordinator.last())
    new = Coordinator()
    trial.coordinator, trial.node.coordinator = new, new
    trial.round()
    assert verify(trial.node.ledger(), trial.node.receipts()).receipts == 2
    trial.put_back(copy, whole=False)
    refuses(trial, "ledger_behind")


# The file.


def test_receipts_are_lines_that_only_the_owner_reads(trial: Trial) -> None:
    trial.round()
    trial.round()
    path = trial.node.directory / "receipts.jsonl"
    (line,) = path.read_text().splitlines()
    assert set(json.loads(line)) == {"header", "signature", "signer"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert beside(Path("x/ledger-1.db")) == Path("x/ledger-1.receipts.jsonl")


def test_a_line_that_a_power_cut_left_unfinished_is_replaced(trial: Trial) -> None:
    trial.round()
    receipt = trial.round()
    path = trial.node.directory / "receipts.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + write_line(receipt, trial.coordinator.identity.public).encode()[:100])
    assert [r.number for r in trial.node.receipts().all()] == [1]
    trial.round()
    assert [r.number for r in trial.node.receipts().all()] == [1, 2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b'\\"number\\":1', b'\\"number\\":7', 1),
        lambda data: b"rubbish\n" + data,
        lambda data: b"\xff\xfe\n" + data,
        lambda data: data[100:],
    ],
)
def test_receipts_that_were_changed_stop_the_node_until_they_are_resolved(
    trial: Trial, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    for _ in range(3):
        trial.round()
    path = trial.node.directory / "receipts.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    refuses(trial, "ledger")
    with pytest.raises(LedgerError, match="damaged"):
        verify(trial.node.ledger(), trial.node.receipts())
    export = trial.coordinator.export(tmp_path / "given.jsonl")
    resolve(trial.node.ledger(), trial.node.receipts(), trial.node.identity, file=export)
    assert [r.number for r in sorted(trial.node.receipts().all(), key=lambda r: r.number)] == [1, 2, 3]
    assert path.with_name("receipts.jsonl.damaged").exists()
    trial.round()


def test_a_changed_file_is_noticed_by_a_node_that_runs(trial: Trial) -> None:
    trial.round()
    trial.round()
    receipts = trial.node.receipts()
    assert len(receipts.all()) == 1
    receipts.path.write_bytes(b"rubbish\n")
    with pytest.raises(LedgerError):
        receipts.all()


# The way out.


def lose_three(trial: Trial, tmp_path: Path, *, whole: bool) -> float:
    """Two rounds, a backup, three more rounds, and the backup put back; returns what was spent."""
    trial.round()
    trial.round()
    copy = trial.copy(tmp_path / "backup")
    for _ in range(3):
        trial.round()
    trial.node.answer(trial.coordinator.last())
    spent = trial.node.epsilon()
    trial.put_back(copy, whole=whole)
    assert trial.node.epsilon() < spent
    return spent


def test_what_the_nodes_own_receipts_show_is_entered_again(trial: Trial, tmp_path: Path) -> None:
    spent = lose_three(trial, tmp_path, whole=False)
    ledger = trial.node.ledger()
    done = resolve(ledger, trial.node.receipts(), trial.node.identity)
    assert (done.entered, done.kept, done.newest) == (3, 0, 5)
    assert (done.epsilon, ledger.epsilon()) == (spent, spent)
    recovered = [e for e in ledger.entries() if e.kind == "recovered"]
    assert [(e.body["number"], e.body["round"]) for e in recovered] == [(3, 3), (4, 4), (5, 5)]
    account = ledger.account()
    assert (account.to_dict()["recovered"], account.jobs) == (3, {"job": 5})
    assert [m.recovered for m in account.history] == [False, False, True, True, True]
    (job,) = account.by_job
    assert (job.epsilon, job.rounds_reserved, job.rounds_answered) == (spent, 5, 5)
    assert verify(ledger, trial.node.receipts()).newest == 5
    ledger.close()
    trial.round()
    assert trial.node.epsilon() == spent + trial.make_plan().privacy.steps_per_round
    again = resolve(trial.node.ledger(), trial.node.receipts(), trial.node.identity)
    assert again.entered == 0


def test_a_directory_that_was_put_back_needs_the_coordinators_receipts(trial: Trial, tmp_path: Path) -> None:
    spent = lose_three(trial, tmp_path, whole=True)
    refuses(trial, "ledger_behind")
    before = trial.node.epsilon()
    with pytest.raises(LedgerError, match=r"before number 5 .* server receipts a "):
        resolve(trial.node.ledger(), trial.node.receipts(), trial.node.identity)
    assert trial.node.epsilon() == before
    export = trial.coordinator.export(tmp_path / "given.jsonl")
    done = resolve(trial.node.ledger(), trial.node.receipts(), trial.node.identity, file=export)
    assert (done.entered, done.newest, done.epsilon) == (3, 5, spent)
    trial.round()


def test_a_gap_in_the_coordinators_file_is_found(trial: Trial, tmp_path: Path) -> None:
    lose_three(trial, tmp_path, whole=True)
    export = trial.coordinator.export(tmp_path / "given.jsonl")
    lines = export.read_text().splitlines(keepends=True)
    export.write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(LedgerError, match="before number 4"):
        resolve(trial.node.ledger(), trial.node.receipts(), trial.node.identity, file=export)


def test_a_gap_is_found_though_numbers_were_given_twice(trial: Trial, tmp_path: Path) -> None:
    """The coordinator was put back after its fifth receipt, and then the institution: each number is there."""
    for _ in range(5):
        trial.round()
    trial.node.answer(trial.coordinator.last())
    copy = trial.copy(tmp_path / "backup")
    trial.coordinator.receipts = trial.coordinator.receipts[:2]
    for _ in range(3):
        trial.round()
    trial.put_back(copy, whole=True)
    refuses(trial, "ledger_behind")
    assert {1, 2, 3, 4, 5} == {r.number for r in trial.node.receipts().all()}
    with pytest.raises(LedgerError, match="before number 5"):
        resolve(trial.node.ledger(), trial.node.receipts(), trial.node.identity)
    export = trial.coordinator.export(tmp_path / "given.jsonl")
    assert resolve(trial.node.ledger(), trial.node.receipts(), trial.node.identity, file=export).entered == 3


def test_a_file_by_another_coordinator_or_for_another_is_refused(trial: Trial, tmp_path: Path) -> None:
    lose_three(trial, tmp_path, whole=True)
    before = trial.node.epsilon()
    other = Coordinator()
    other.receipts = trial.coordinator.receipts
    alien = trial.coordinator.export(tmp_path / "alien.jsonl")
    trial.coordinator.receipts = [dataclasses.replace(r, institution="b") for r in trial.coordinator.receipts]
    for file in (other.export(tmp_path / "other.jsonl"), trial.coordinator.export(alien)):
        with pytest.raises(TrustError):
            resolve(trial.node.ledger(), trial.node.receipts(), trial.node.identity, file=file)
    assert trial.node.epsilon() == before


def test_a_loss_is_entered_for_the_data_set_that_paid(trial: Trial, tmp_path: Path) -> None:
    trial.round("admissions")
    copy = trial.copy(tmp_path / "backup")
    trial.round("admissions")
    trial.round("imaging")
    trial.round("imaging")
    spent = {name: trial.node.epsilon(name) for name in ("admissions", "imaging")}
    trial.put_back(copy, whole=True)
    export = trial.coordinator.export(tmp_path / "given.jsonl")
    with pytest.raises(LedgerError, match="no page"):
        resolve(trial.node.ledger("admissions"), trial.node.receipts(), trial.node.identity, file=export)
    ledger = trial.node.ledger("imaging")
    assert resolve(ledger, trial.node.receipts(), trial.node.identity, file=export).entered == 3
    assert {name: trial.node.epsilon(name) for name in spent} == spent


def test_what_is_entered_again_holds_back_the_next_round(trial: Trial, tmp_path: Path) -> None:
    """No limit stops a recovery, since it was spent; the limit then stops what comes."""
    spent = lose_three(trial, tmp_path, whole=False)
    trial.node.limit = BudgetLimit(epsilon=spent - 1, delta=1e-5)
    assert resolve(trial.node.ledger(), trial.node.receipts(), trial.node.identity).epsilon == spent
    refuses(trial, "budget_exhausted")
    trial.node.limit = BudgetLimit(epsilon=1000.0, delta=1e-5, epsilon_per_year=spent)
    refuses(trial, "budget_exhausted")


def test_a_plan_that_was_answered_and_lost_is_not_answered_again(trial: Trial, tmp_path: Path) -> None:
    trial.round()
    copy = trial.copy(tmp_path / "backup")
    plan, envelope = trial.ask()
    trial.coordinator.countersign(plan, trial.node.answer(envelope), trial.node.identity)
    trial.node.answer(trial.coordinator.last())
    trial.put_back(copy, whole=False)
    resolve(trial.node.ledger(), trial.node.receipts(), trial.node.identity)
    assert trial.code(envelope) == "already_answered"


def test_verify_says_how_far_receipts_vouch(trial: Trial) -> None:
    ledger, receipts = trial.node.ledger(), trial.node.receipts()
    assert verify(ledger, receipts).countersigned == 0
    trial.round()
    trial.node.answer(trial.coordinator.last())
    _, envelope = trial.ask()
    trial.node.answer(envelope)
    found = verify(ledger, receipts)
    assert (found.entries, found.receipts, found.newest, found.countersigned) == (5, 1, 1, 2)
    other = Ledger.open(trial.node.directory / "other.db", dataset="admissions", unit=UNIT, limit=trial.node.limit)
    with pytest.raises(LedgerBehind, match="receipt 1, round 1 of job"):
        verify(other, receipts)


def test_tags_of_a_data_set_agree_only_under_one_key() -> None:
    one, two = SigningIdentity.generate(), SigningIdentity.generate()
    assert dataset_tag(one, "admissions") == dataset_tag(one, "admissions")
    assert len({dataset_tag(k, d) for k in (one, two) for d in ("admissions", "imaging")}) == 4


# A disk that is full, and processes that are killed.


def _on_a_full_disk(trial: Trial, said: Connection) -> None:
    """Ask with a new receipt and without, when nothing more can be written."""
    node = trial.node
    plan, with_receipt = trial.ask()
    institution = Institution(
        name="a",
        identity=node.identity,
        coordinator=trial.coordinator.identity.public,
        policy=node.policy,
        ledger=node.ledger(),
        trainer=node.trainer,
        dataset=node.dataset,
        audit=lambda plan: BOUND,
        receipts_path=node.directory / "receipts.jsonl",
    )
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
    before = (node.reads, node.trainer.trained)
    asked = (with_receipt, trial.sealed(plan, None))
    codes = [read_refusal(run_round(e, institution), plan, "a", node.identity.public) for e in asked]
    ack = run_round(trial.coordinator.last(), institution)
    said.send((codes, ack.kind, (node.reads, node.trainer.trained) == before))


def test_on_a_full_disk_nothing_is_trained_and_nothing_is_lost(trial: Trial) -> None:
    trial.round()
    spent = trial.node.epsilon()
    heard, said = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_on_a_full_disk, args=(trial, said))
    process.start()
    said.close()
    assert heard.recv() == (["ledger", "ledger"], "ack", True)
    process.join()
    assert trial.node.epsilon() == spent
    trial.round()
    assert [r.number for r in trial.node.receipts().all()] == [1]


def _work_for_ever(node: Node, trial: Trial, first: int, said: Connection) -> None:
    """Answer and take receipts without end; the coordinator's side is told by pipe."""
    trial.rounds = first
    while True:
        plan, envelope = trial.ask()
        reply = node.answer(envelope)
        trial.coordinator.countersign(plan, reply, node.identity)
        said.send(plan.round)


def test_a_kill_at_any_point_never_makes_the_ledger_look_behind(trial: Trial) -> None:
    rng = random.Random(2)  # noqa: S311 - it chooses when to kill.
    for attempt in range(12):
        heard, said = FORK.Pipe(duplex=False)
        child = FORK.Process(target=_work_for_ever, args=(trial.node, trial, 1000 * attempt, said))
        child.start()
        said.close()
        # The second answer comes after the first one's receipt was kept.
        for _ in range(2):
            heard.recv()
        time.sleep(rng.random() * 0.05)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        kept = [read_line(line + "\n")[0] for line in _whole_lines(trial.node.directory / "receipts.jsonl")]
        trial.coordinator.receipts = list(trial.node.receipts().all())
        assert len(kept) == len(trial.coordinator.receipts)
        ledger = trial.node.ledger()
        verify(ledger, trial.node.receipts())
        ledger.close()
    assert len(trial.coordinator.receipts) >= 12


def _whole_lines(path: Path) -> list[str]:
    return path.read_bytes().decode().split("\n")[:-1] if path.exists() else []
