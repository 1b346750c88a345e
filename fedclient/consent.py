"""What this institution agrees to, whoever asks: a plan is accepted whole or refused by name.

The coordinator proposes. **LocalPolicy** is the institution's own list of what may run on its records; it
knows public plans alone, and no record, model or budget (the budget is the ledger's).

>>> from fedcore.privacy.units import PrivacyUnit
>>> policy = LocalPolicy(tasks=("medicine.record",), unit=PrivacyUnit(key="patient"), least_noise_multiplier=0.3,
...                      largest_clip_norm_l2=10.0, largest_rank=64, largest_delta=1e-5)
>>> policy.unsafe_allow_no_noise
False
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fedcore.errors import ConfigError, PlanRefused
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import RoundPlan

__all__ = ["LocalPolicy"]


@dataclass(frozen=True, kw_only=True)
class LocalPolicy:
    """Bounds that every plan must keep.

    Args:
        tasks: Names of the tasks that may be trained.
        bases: Digests of the base models that may be trained; empty means whichever is loaded here.
        unit: Whom every plan must protect.
        least_noise_multiplier: Least noise, > 0.
        largest_clip_norm_l2: Largest clip norm, > 0.
        largest_rank: Largest LoRA rank, >= 1.
        largest_delta: Largest delta that a plan may state, in (0, 1).
        unsafe_allow_no_noise: Whether UnsafeNoNoise plans are accepted. For simulation; no settings file
            can set it.
    Raises:
        ConfigError: A bound is out of range, or no task is allowed.
    """

    tasks: tuple[str, ...]
    bases: tuple[str, ...] = ()
    unit: PrivacyUnit
    least_noise_multiplier: float
    largest_clip_norm_l2: float
    largest_rank: int
    largest_delta: float
    unsafe_allow_no_noise: bool = False

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("the policy allows no task", do="set [policy] tasks, such as ['medicine.record']")
        for name in ("least_noise_multiplier", "largest_clip_norm_l2"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"policy: {name} is out of range", expected="a number above 0", got=repr(value))
        if self.largest_rank < 1:
            raise ConfigError("policy: largest_rank is out of range", expected="at least 1")
        if not 0 < self.largest_delta < 1:
            raise ConfigError("policy: largest_delta is out of range", expected="a number in (0, 1), such as 1e-5")

    def accept(self, plan: RoundPlan) -> None:
        """Return when every bound holds.

        Raises:
            PlanRefused: The message names every bound that does not hold; `reason`, which the coordinator
                learns, is the code of the first: "task_not_allowed", "base_mismatch", "unit_mismatch",
                "no_noise", "noise_too_low", "clip_norm_too_large", "rank_too_large" or "delta_too_large".
        """
        refusals = list(self._refusals(plan))
        if refusals:
            raise PlanRefused(
                f"round {plan.round} of {plan.job_id} is not within this institution's policy: "
                + ", ".join(words for _, words in refusals),
                reason=refusals[0][0],
                do="the coordinator may propose another plan; change [policy] in node.toml only if you agree to this",
            )

    def _refusals(self, plan: RoundPlan) -> Iterator[tuple[str, str]]:
        """Each bound that does not hold: its code, and words for the operator."""
        privacy = plan.privacy
        if plan.task not in self.tasks:
            yield "task_not_allowed", f"the task {plan.task!r} (allowed: {', '.join(self.tasks)})"
        if self.bases and plan.base_digest not in self.bases:
            yield "base_mismatch", f"the base {plan.base_digest[:12]} (not in [policy] bases)"
        if privacy.unit != self.unit:
            yield "unit_mismatch", f"the unit {privacy.unit.describe()} (required: {self.unit.describe()})"
        if not privacy.is_private:
            if not self.unsafe_allow_no_noise:
                yield "no_noise", "no noise at all (UnsafeNoNoise)"
        elif privacy.noise_multiplier < self.least_noise_multiplier:
            yield (
                "noise_too_low",
                f"noise_multiplier {privacy.noise_multiplier:g} (at least {self.least_noise_multiplier:g})",
            )
        if privacy.clip_norm_l2 > self.largest_clip_norm_l2:
            yield (
                "clip_norm_too_large",
                f"clip_norm_l2 {privacy.clip_norm_l2:g} (at most {self.largest_clip_norm_l2:g})",
            )
        if plan.schema.rank > self.largest_rank:
            yield "rank_too_large", f"rank {plan.schema.rank} (at most {self.largest_rank})"
        if privacy.delta > self.largest_delta:
            yield "delta_too_large", f"delta {privacy.delta:g} (at most {self.largest_delta:g})"
