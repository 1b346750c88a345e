"""Frozen A: every A keeps its public initial value, and only B (and a classifier's head) is trained.

The mean of B A over institutions is then exactly (mean B) A, and noise enters the product once, not as
the square that noisy A times noisy B would give. Half as many numbers are trained, noised and sent.

Reference: Sun et al. 2024, FFA-LoRA, arXiv:2403.12313.
"""

from dataclasses import dataclass

from fedcore.adapter import AdapterState
from fedcore.round import CohortSum
from fedserver.strategies import Traits, add_mean

__all__ = ["FrozenA", "strategy"]


_TRAITS = Traits(
    when="strong noise, few bytes, or masks: half the numbers are trained, noised and sent",
    exact="yes: A is the same everywhere",
    noise="enters the product once",
)


@dataclass(frozen=True, kw_only=True)
class FrozenA:
    """See the module."""

    name: str = "frozen_a"
    summary: str = "train B, keep every A at its public initial value (FFA-LoRA): exact, half the noise and traffic"
    traits: Traits = _TRAITS

    def trains(self, round: int) -> tuple[str, ...]:
        """B and head, always."""
        return ("lora_B", "head")

    def carries(self, round: int) -> tuple[str, ...]:
        """Nothing in round 1: everyone derives the initial state from the seed."""
        return () if round == 1 else ("lora_B", "head")

    def fold(self, state: AdapterState, cohort: CohortSum) -> AdapterState:
        """State plus mean update."""
        return add_mean(state, cohort)


strategy = FrozenA()
