"""Whether an institution's stated spend can be believed, from public numbers alone."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from fedcore.errors import PrivacyError
from fedcore.manifest import PrivacySpend
from fedcore.privacy import accounting
from fedcore.privacy.plan import DISCRETE_GAUSSIAN, PrivacyPlan

__all__ = ["check_spend", "unsafe_sources"]

_RELATIVE_TOLERANCE = 0.01
_ABSOLUTE_TOLERANCE = 1e-3
"""An institution states the larger figure of two accountants that agree this closely."""
_MOST_REPEATS = 100
"""Times that a round can have been paid for: each crash of a node pays once more."""


def check_spend(spend: PrivacySpend, privacy: PrivacyPlan, *, rounds: int, folded: int) -> None:
    """Return when an institution's statement can be believed from public numbers alone.

    Only events of the job's own plan are accounted for: whatever else a statement lists is refused, and so
    are fewer steps than were folded. What is recomputed is the job's epsilon; the total over all jobs cannot
    be, but it cannot be the smaller one.

    Args:
        spend: The statement.
        privacy: The job's plan.
        rounds: Rounds of the job.
        folded: Rounds in which the institution's update was folded.
    Raises:
        PrivacyError: It contradicts the plan, its own events or the audit, or states its figures under another
            assumption.
    """
    who, least = spend.institution, folded * privacy.steps_per_round
    if (spend.unit, spend.relation) != (privacy.unit.key, privacy.unit.relation):
        raise PrivacyError(
            f"{who} accounts for another unit than the job's",
            expected=privacy.unit.describe(),
            got=f"{spend.unit}, {spend.relation}",
        )
    _check_mechanism(spend, privacy)
    if any(replace(e, steps=1) != replace(privacy.event(), steps=1) for e in spend.events):
        raise PrivacyError(f"{who} states an event that is not the job's")
    steps = sum(e.steps for e in spend.events)
    if not least <= steps <= _MOST_REPEATS * rounds * privacy.steps_per_round:
        raise PrivacyError(f"{who} does not account for its rounds", expected=f"{least} steps or more", got=str(steps))
    actual = accounting.epsilon(spend.events, spend.delta)
    high = max(actual * (1 + _RELATIVE_TOLERANCE), actual + _ABSOLUTE_TOLERANCE)
    # The slack below is for floating point between machines, far under either tolerance.
    if not actual * (1 - 1e-6) <= spend.epsilon_job <= high:
        raise PrivacyError(
            f"the epsilon that {who} states of this job does not follow from its events",
            expected=f"{actual:.6g} at delta {spend.delta:g}",
            got=f"{spend.epsilon_job:.6g}",
        )
    if not spend.epsilon >= spend.epsilon_job * (1 - _RELATIVE_TOLERANCE) - _ABSOLUTE_TOLERANCE:
        raise PrivacyError(f"{who} states less over all jobs than for this one")
    if spend.audited_epsilon is not None:
        # The audit may be about all rounds of the job, and at the plan's own delta.
        whole = replace(privacy.event(), steps=max(steps, rounds * privacy.steps_per_round))
        highest = accounting.epsilon([whole], min(spend.delta, privacy.delta))
        if not spend.audited_epsilon <= highest:
            raise PrivacyError(
                f"the audit of {who} found more than the job can have cost",
                expected=f"at most {highest:.6g}",
                got=f"{spend.audited_epsilon:.6g}",
            )


def _check_mechanism(spend: PrivacySpend, privacy: PrivacyPlan) -> None:
    """Shared noise is a share of integers, of which as many are assumed as the plan says, on both sides or neither."""
    if (spend.mechanism == DISCRETE_GAUSSIAN) != privacy.shares_noise:
        raise PrivacyError(
            f"the noise of {spend.institution} is not the job's",
            expected=privacy.mechanism,
            got=spend.mechanism,
        )
    if spend.honest_minimum != privacy.honest_minimum:
        raise PrivacyError(
            f"{spend.institution} states its figures under another assumption than the job's",
            expected=f"honest_minimum {privacy.honest_minimum}",
            got=str(spend.honest_minimum),
        )


def unsafe_sources(privacy: PrivacyPlan, spends: Sequence[PrivacySpend]) -> set[str]:
    """Marks that a plan and its spends call for: no noise, unbounded, or randomness that a seed decides."""
    marks = set() if privacy.is_private else {privacy.mechanism}
    for spend in spends:
        marks |= set(re.findall(r"Unsafe\w*", f"{spend.noise_source} {spend.sampling_source}"))
        if math.isinf(spend.epsilon) or math.isinf(spend.epsilon_job):
            marks.add("UnboundedSpend")
    return marks
