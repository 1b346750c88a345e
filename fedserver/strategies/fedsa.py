"""Shared A, personal B: institutions learn one A together, and each keeps a B of its own.

    A <- A + mean(update of A_i)        B_i <- what institution i trained, which stays with it

A learns what is common, B what is an institution's own. What i uses after the round is B_i mean(A), and for its B_i
that is the mean of the products B_i A_j: the fold is exact. B_i never leaves its institution, so it costs no bytes; it
is trained with the same noise as A all the same, for a model that is used shows what it learnt.

A release holds the shared A and no B, which is an adapter that adds nothing by itself: each institution joins it to its
own B, and a newcomer trains one. The coordinator can score the base alone, so a loss that it measures does not move.

Half the numbers travel. Noise enters the sum once, and it works behind masks. B starts at zero and A has no gradient
until B has moved: several steps a round.

Reference: Guo et al. 2024, FedSA-LoRA, arXiv:2410.01463.
"""

from dataclasses import dataclass

from fedcore.adapter import AdapterState
from fedcore.round import CohortSum
from fedserver.strategies import Traits, add_mean

__all__ = ["FedSa", "strategy"]


_TRAITS = Traits(
    when="institutions that differ and each want a model of their own; not for one model for everyone",
    exact="yes, for each institution's own B",
    noise="enters the product once by the shared A; that of the personal B is the institution's own",
    keeps=("lora_B",),
)


@dataclass(frozen=True, kw_only=True)
class FedSa:
    """See the module."""

    name: str = "fedsa"
    summary: str = "share A, let each institution keep its own B (FedSA-LoRA): a model for each, half the traffic"
    traits: Traits = _TRAITS

    def trains(self, round: int) -> tuple[str, ...]:
        """A and head; what stays is in `traits.keeps`."""
        return ("lora_A", "head")

    def carries(self, round: int) -> tuple[str, ...]:
        """Nothing in round 1, A and head after."""
        return () if round == 1 else ("lora_A", "head")

    def fold(self, state: AdapterState, cohort: CohortSum) -> AdapterState:
        """State plus mean update."""
        return add_mean(state, cohort)


strategy = FedSa()
