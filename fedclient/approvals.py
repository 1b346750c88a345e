"""A person's say: plans that wait for approval, and the policy as a running node applies it.

**Consent** is `LocalPolicy` with what only a node knows: which coordinator is pinned, what time it is, and
what its operator approved. A plan that keeps every bound but has no approval is written to `pending/JOB.json`
for the operator to read; approvals are entries of the ledger, so that nobody can add one unseen.

Approval binds a job's terms (`fedcore.round.terms`), not its changing state: it covers as many reservations
as the job has rounds, or one where every round must be approved. Other terms, or more rounds, wait again.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, final

from fedclient.consent import LocalPolicy
from fedcore.errors import ConfigError
from fedcore.plan_file import read_plan_file, write_plan
from fedcore.round import JobPlan, RoundPlan

__all__ = ["LARGEST_PENDING", "ApprovalBook", "Approved", "Consent", "Pending", "is_approved"]

LARGEST_PENDING = 32
"""Plans that may wait at a time: a coordinator cannot fill the disk with questions."""

_log = logging.getLogger(__name__)


class Approved(Protocol):
    """A person's approval of a job."""

    @property
    def terms_digest(self) -> str:
        """Of what was approved."""
        ...

    @property
    def used(self) -> int:
        """Reservations of the job made since."""
        ...


class ApprovalBook(Protocol):
    """Where approvals are kept; see `fedclient.ledger.Ledger`."""

    def approved(self, job_id: str) -> Approved | None:
        """The newest approval of a job."""
        ...


@final
class Pending:
    """The directory of plans that wait for a person.

    Args:
        directory: Made when first needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, job_id: str) -> Path:
        """Where a job's plan waits. A job's name holds no separator; `RoundPlan` checks it."""
        return self._directory / f"{job_id}.json"

    def jobs(self) -> tuple[str, ...]:
        """Names of the jobs that wait, sorted."""
        return tuple(sorted(p.stem for p in self._directory.glob("[!.]*.json")))

    def keep(self, plan: RoundPlan) -> bool:
        """Write a plan for the operator to read, in place of an older one of the job; False when too many wait."""
        if not self.path(plan.job_id).exists() and len(self.jobs()) >= LARGEST_PENDING:
            return False
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_plan(self.path(plan.job_id), plan)
        return True

    def read(self, job_id: str) -> JobPlan | RoundPlan:
        """The plan of a job that waits.

        Raises:
            ConfigError: None does.
        """
        if job_id not in self.jobs():
            waiting = ", ".join(self.jobs()) or "none"
            raise ConfigError(
                f"no plan of the job {job_id!r} waits here", expected=f"one of those that wait: {waiting}"
            )
        return read_plan_file(self.path(job_id))

    def forget(self, job_id: str) -> None:
        """A job was decided on."""
        self.path(job_id).unlink(missing_ok=True)


@final
class Consent:
    """An `Agreement` of a running node.

    Args:
        policy: The node's.
        coordinator: Fingerprint of the pinned one.
        approvals: What people approved.
        pending: Directory of what waits.
        clock: The time now, with its time zone.
    """

    def __init__(
        self,
        policy: LocalPolicy,
        *,
        coordinator: str,
        approvals: ApprovalBook,
        pending: Path,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._policy = policy
        self._coordinator = coordinator
        self._approvals = approvals
        self._pending = Pending(pending)
        self._clock = clock

    def accept(self, plan: RoundPlan) -> None:
        """See `LocalPolicy.accept`. A plan that only waits for a person is written down for them first."""
        now, approved = self._clock(), is_approved(self._policy, self._approvals, plan)
        found = self._policy.findings(plan, coordinator=self._coordinator, now=now, approved=approved)
        missing = {f.code for f in found if not f.holds}
        if "approval_pending" in missing and all(f.status != "refused" for f in found):
            self._ask(plan)
        self._policy.accept(plan, coordinator=self._coordinator, now=now, approved=approved)

    def _ask(self, plan: RoundPlan) -> None:
        """Let the plan wait for a person; whatever goes wrong, it is refused all the same."""
        try:
            kept = self._pending.keep(plan)
        except (ConfigError, OSError) as error:
            _log.error("the plan of %s cannot be written down for approval: %s", plan.job_id, error)
            return
        if not kept:
            _log.error("%d plans wait for approval already; that of %s is not kept", LARGEST_PENDING, plan.job_id)


def is_approved(policy: LocalPolicy, approvals: ApprovalBook, plan: JobPlan | RoundPlan) -> bool:
    """Whether a person approved these terms, and the approval still covers a round."""
    if policy.approval == "none":
        return False
    found = approvals.approved(plan.job_id)
    covered = plan.rounds if policy.approval == "job" else 1
    return found is not None and found.terms_digest == plan.terms_digest and found.used < covered
