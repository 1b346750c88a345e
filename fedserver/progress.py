"""Small values around the round loop: time, what to tell people who watch, and what came of a job."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fedcore.adapter import AdapterState
from fedcore.certificate import Attestation
from fedcore.errors import QuorumLost
from fedcore.manifest import PrivacySpend
from fedcore.round import Completed, RoundOutcome
from fedserver.store import JobState

__all__ = ["Clock", "JobResult", "Progress"]


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time, so that a simulation can have its own.

    Args:
        now: Seconds that never run backwards.
        sleep: Wait that many seconds.
        poll_s: How long to wait between two looks for replies.
        settle_s: How long a quorum waits for the rest of the invited to connect.
        lost_s: With secure sums: who has not been connected for so long is given up, once enough others have
            answered.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    poll_s: float = 0.1
    settle_s: float = 10.0
    lost_s: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the coordinator is doing, for people who watch."""

    job_id: str
    round: int
    rounds: int
    stage: str
    """"base loss", "waiting", "asked", "reply", "folded", "abandoned" or "released loss"; with secure sums also
    "agreeing on keys", "confirming" and "opening", the exchanges around the replies; with a gate "canary loss", and
    "quarantined" with the reason; and what became of a reply that came after its round was over."""
    answered: int = 0
    asked: int = 0
    loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What came of a job. `state` is the last folded state, also where the job failed."""

    job_id: str
    status: JobState
    reason: str | None
    state: AdapterState = field(repr=False)
    outcomes: tuple[RoundOutcome, ...]
    spends: tuple[PrivacySpend, ...]
    loss_base: float | None
    loss_released: float | None
    seconds: float
    attestations: tuple[Attestation, ...] = ()
    """Of each institution's newest counted reply; a run inside one process may have none."""

    @property
    def contributors(self) -> dict[str, int]:
        """Institution -> rounds folded."""
        counts: dict[str, int] = {}
        for outcome in self.outcomes:
            for name in outcome.contributors if isinstance(outcome, Completed) else ():
                counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))

    def check(self) -> None:
        """Return when the job completed.

        Raises:
            QuorumLost: It did not.
        """
        if self.status != "completed":
            raise QuorumLost(f"the job {self.job_id} failed: {self.reason}")
