"""Alternating factors: odd rounds train B, even rounds train A; the other factor stands still.

Within a round one factor is the same everywhere, so the mean of products is the product of means: the
fold is exact, as with frozen A, and yet A learns too. B goes first, since B starts at zero and A has no
gradient until it is not. A classifier's head is trained in every round.

Reference: Chen et al. 2025, RoLoRA, arXiv:2502.01755.
"""

from dataclasses import dataclass

from fedcore.adapter import AdapterState
from fedcore.round import CohortSum
from fedserver.strategies import Traits, add_mean

__all__ = ["Alternating", "strategy"]


_TRAITS = Traits(
    when="as frozen_a, where A must learn too; two rounds or more; masks only where A is as large as B",
    exact="yes: in each round one factor is the same everywhere",
    noise="enters the product once a round",
)


@dataclass(frozen=True, kw_only=True)
class Alternating:
    """See the module."""

    name: str = "alternating"
    summary: str = "train B in odd rounds and A in even ones (RoLoRA): exact, both factors learn; two rounds or more"
    traits: Traits = _TRAITS

    def trains(self, round: int) -> tuple[str, ...]:
        """One factor, and the head."""
        return ("lora_B", "head") if round % 2 else ("lora_A", "head")

    def carries(self, round: int) -> tuple[str, ...]:
        """What rounds before this one changed."""
        if round == 1:
            return ()
        return ("lora_B", "head") if round == 2 else ("lora_A", "lora_B", "head")

    def fold(self, state: AdapterState, cohort: CohortSum) -> AdapterState:
        """State plus mean update."""
        return add_mean(state, cohort)


strategy = Alternating()
