"""A person's say: what waits, what an approval covers, and that nothing else passes."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fedclient.approvals import LARGEST_PENDING, Consent, Pending, is_approved
from fedclient.consent import LocalPolicy
from fedclient.hours import Hours
from fedclient.ledger import BudgetLimit, Ledger
from fedcore.errors import ConfigError, PlanRefused
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import JobPlan, RoundPlan

Plans = Callable[..., RoundPlan]
FINGERPRINT = "-".join(["1a2b"] * 8)
NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    limit = BudgetLimit(epsilon=50.0, delta=1e-5)
    opened = Ledger.open(tmp_path / "ledger.db", dataset="d", unit=PrivacyUnit(key="patient"), limit=limit)
    yield opened
    opened.close()


@pytest.fixture
def pending(tmp_path: Path) -> Pending:
    return Pending(tmp_path / "pending")


def consent(ledger: Ledger, directory: Path, approval: str, **policy: Any) -> Consent:
    fields: dict[str, Any] = {
        "tasks": ("medicine.record",),
        "unit": PrivacyUnit(key="patient"),
        "least_noise_multiplier": 0.3,
        "largest_clip_norm_l2": 10.0,
        "largest_rank": 64,
        "largest_delta": 1e-5,
        "approval": approval,
    }
    return Consent(
        LocalPolicy(**{**fields, **policy}),
        coordinator=FINGERPRINT,
        approvals=ledger,
        pending=directory / "pending",
        clock=lambda: NOON,
    )


def refused(agreement: Consent, plan: RoundPlan) -> str:
    with pytest.raises(PlanRefused) as raised:
        agreement.accept(plan)
    return raised.value.reason


def test_an_unknown_job_waits_and_is_written_down_whole(
    ledger: Ledger, tmp_path: Path, pending: Pending, make_plan: Plans
) -> None:
    assert refused(consent(ledger, tmp_path, "job"), make_plan()) == "approval_pending"
    assert pending.jobs() == ("job",)
    assert pending.read("job") == make_plan()


def test_an_approved_job_runs_with_every_state_and_cohort(ledger: Ledger, tmp_path: Path, make_plan: Plans) -> None:
    agreement = consent(ledger, tmp_path, "job")
    ledger.approve("job", make_plan().terms_digest)
    agreement.accept(make_plan())
    agreement.accept(make_plan(round=2, state_digest="cd" * 32, cohort=("a", "z"), weight=0.5, quorum=2, seed=9))


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 3},
        {"strategy": "fedavg"},
        {"max_tokens": 65},
        {"task": "medicine.record"},
        {"privacy": 0.9},
        {"alpha": 8},
    ],
)
def test_other_terms_wait_again(ledger: Ledger, tmp_path: Path, make_plan: Plans, change: dict[str, Any]) -> None:
    if "privacy" in change:
        change = {"privacy": dataclasses.replace(make_plan().privacy, noise_multiplier=0.9)}
    if "alpha" in change:
        change = {"schema": dataclasses.replace(make_plan().schema, alpha=8)}
    same = change == {"task": "medicine.record"}
    ledger.approve("job", make_plan().terms_digest)
    agreement = consent(ledger, tmp_path, "job")
    if same:
        agreement.accept(make_plan(**change))
    else:
        assert refused(agreement, make_plan(**change)) == "approval_pending"


def test_approval_of_one_job_is_not_that_of_another(ledger: Ledger, tmp_path: Path, make_plan: Plans) -> None:
    ledger.approve("job", make_plan().terms_digest)
    assert refused(consent(ledger, tmp_path, "job"), make_plan(job_id="other")) == "approval_pending"


def test_a_job_is_approved_for_as_many_reservations_as_it_has_rounds(
    ledger: Ledger, tmp_path: Path, make_plan: Plans
) -> None:
    """A coordinator that repeats round 1 in ever new states does not get more than what was read and approved."""
    agreement = consent(ledger, tmp_path, "job")
    ledger.approve("job", make_plan().terms_digest)
    for number in range(2):
        plan = make_plan(state_digest=f"{number:064}")
        agreement.accept(plan)
        ledger.reserve(plan)
    assert refused(agreement, make_plan(state_digest="cd" * 32)) == "approval_pending"
    ledger.approve("job", make_plan().terms_digest)
    agreement.accept(make_plan(state_digest="cd" * 32))


def test_each_round_may_need_its_own_approval(ledger: Ledger, tmp_path: Path, make_plan: Plans) -> None:
    agreement = consent(ledger, tmp_path, "round")
    for number in (1, 2):
        plan = make_plan(round=number)
        assert refused(agreement, plan) == "approval_pending"
        ledger.approve("job", plan.terms_digest)
        agreement.accept(plan)
        ledger.reserve(plan)


def test_an_approval_may_be_taken_back(ledger: Ledger, tmp_path: Path, make_plan: Plans) -> None:
    ledger.approve("job", make_plan().terms_digest)
    ledger.approve("job", "")
    assert refused(consent(ledger, tmp_path, "job"), make_plan()) == "approval_pending"


def test_approvals_outlive_the_process(tmp_path: Path, make_plan: Plans) -> None:
    where: dict[str, Any] = {"dataset": "d", "unit": PrivacyUnit(key="patient")}
    limit = BudgetLimit(epsilon=8.0, delta=1e-5)
    first = Ledger.open(tmp_path / "l.db", limit=limit, **where)
    running = Ledger.open(tmp_path / "l.db", limit=limit, **where)
    first.approve("job", make_plan().terms_digest)
    first.close()
    consent(running, tmp_path, "job").accept(make_plan())
    running.close()


def test_what_would_be_refused_anyway_is_not_put_before_a_person(
    ledger: Ledger, tmp_path: Path, pending: Pending, make_plan: Plans
) -> None:
    assert refused(consent(ledger, tmp_path, "job"), make_plan(task="finance.report")) == "task_not_allowed"
    assert pending.jobs() == ()


def test_what_comes_outside_the_hours_can_be_read_and_approved(
    ledger: Ledger, tmp_path: Path, pending: Pending, make_plan: Plans
) -> None:
    """The operator decides by day on what runs by night."""
    agreement = consent(ledger, tmp_path, "job", hours=Hours.parse(("22:00-06:00",), timezone="UTC"))
    assert refused(agreement, make_plan()) == "approval_pending"
    assert pending.jobs() == ("job",)
    ledger.approve("job", make_plan().terms_digest)
    assert refused(agreement, make_plan()) == "outside_hours"


def test_a_policy_that_asks_nobody_never_looks_at_approvals(tmp_path: Path, make_plan: Plans, ledger: Ledger) -> None:
    consent(ledger, tmp_path, "none").accept(make_plan())
    assert not (tmp_path / "pending").exists()
    policy = LocalPolicy(
        tasks=("t",), unit=PrivacyUnit(key="p"), least_noise_multiplier=1, largest_clip_norm_l2=1, largest_rank=1,
        largest_delta=0.1,
    )  # fmt: skip
    ledger.approve("job", make_plan().terms_digest)
    assert not is_approved(policy, ledger, make_plan())


def test_questions_cannot_fill_the_disk(ledger: Ledger, tmp_path: Path, pending: Pending, make_plan: Plans) -> None:
    agreement = consent(ledger, tmp_path, "job")
    for number in range(LARGEST_PENDING + 5):
        assert refused(agreement, make_plan(job_id=f"job-{number}")) == "approval_pending"
    assert len(pending.jobs()) == LARGEST_PENDING
    assert refused(agreement, make_plan(job_id="job-0", round=2)) == "approval_pending"
    assert pending.read("job-0") == make_plan(job_id="job-0", round=2)


def test_a_disk_that_cannot_be_written_changes_no_answer(ledger: Ledger, tmp_path: Path, make_plan: Plans) -> None:
    (tmp_path / "pending").write_text("a file where the directory should be")
    assert refused(consent(ledger, tmp_path, "job"), make_plan()) == "approval_pending"


def test_what_does_not_wait_cannot_be_read(pending: Pending, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    for job in ("job", "../secret", ""):
        with pytest.raises(ConfigError, match="waits here"):
            pending.read(job)


def test_a_job_has_the_terms_of_its_rounds(make_plan: Plans) -> None:
    plan = make_plan()
    job = JobPlan(
        job_id=plan.job_id, task=plan.task, schema=plan.schema, strategy=plan.strategy, rounds=plan.rounds, seed=1,
        quorum=1, deadline_s=5.0, max_tokens=plan.max_tokens, optimiser=plan.optimiser, privacy=plan.privacy,
    )  # fmt: skip
    assert job.terms_digest == plan.terms_digest == make_plan(round=2).terms_digest
    assert dataclasses.replace(job, rounds=3).terms_digest != plan.terms_digest
