"""FedAvg on both factors: the reference that others are measured against.

The mean of A and the mean of B are taken apart, though mean(B) mean(A) is not mean(B A); under noise
the product carries noise times noise as well. Simple, known to everyone, and not exact.

Reference: McMahan et al. 2017, arXiv:1602.05629; its inexactness for LoRA: Sun et al. 2024, arXiv:2403.12313.
"""

from dataclasses import dataclass

from fedcore.adapter import AdapterState
from fedcore.round import CohortSum
from fedserver.strategies import Traits, add_mean

__all__ = ["FedAvg", "strategy"]


_TRAITS = Traits(
    when="the reference, and the default: what trains best at a rate that suits it",
    exact="no: mean(B) mean(A) is not mean(B A)",
    noise="enters both factors, so the product carries noise times noise, with a variance that falls as 1/K squared",
)


@dataclass(frozen=True, kw_only=True)
class FedAvg:
    """See the module."""

    name: str = "fedavg"
    summary: str = "train A and B together and average each (FedAvg): the reference; not exact for a product"
    traits: Traits = _TRAITS

    def trains(self, round: int) -> tuple[str, ...]:
        """Everything."""
        return ("lora_A", "lora_B", "head")

    def carries(self, round: int) -> tuple[str, ...]:
        """Nothing in round 1, everything after."""
        return () if round == 1 else ("lora_A", "lora_B", "head")

    def fold(self, state: AdapterState, cohort: CohortSum) -> AdapterState:
        """State plus mean update."""
        return add_mean(state, cohort)


strategy = FedAvg()
