"""Exact residual: average the factors, and put what that misses into a second pair of factors.

    B <- mean(B_i)        A <- mean(A_i)        B_res A_res <- B_res A_res + mean(B_i A_i) - mean(B_i) mean(A_i)

The adapter is B A + B_res A_res, whose change is that of mean(B_i A_i) without error, while institutions go on from
factors of the small rank. They never train the residual: it comes down with the state, stands still while they train,
and is released as a second adapter. The paper adds it to the base, where any rank has room; here the base is the same
for everyone and every job, so that the residual has the rank `residual_times` r and is cut off there by SVD. The fold
is exact while what has gathered has no higher rank: a round of K institutions adds at most (K - 1) r, so the first
round of up to five is exact. After that the smallest singular values are lost, which is the least that can be.

Under privacy mean(B_i A_i) carries the product of two noises with a variance that falls as 1/K, and the residual keeps
it, round after round: with little skew, the residual is noise for the most part. It needs to see each update.

Reference: Singhal et al. 2024, FedEx-LoRA, arXiv:2410.09432; what noise does to products: Sun et al. 2024,
arXiv:2403.12313.
"""

from dataclasses import dataclass

import numpy as np

from fedcore.adapter import AdapterState, FloatArray
from fedcore.round import CohortSum
from fedserver.strategies import Traits, add_mean
from fedserver.strategies._low_rank import balanced
from fedserver.strategies._means import mean_products

__all__ = ["FedEx", "strategy"]


_TRAITS = Traits(
    when="few, skewed institutions without privacy: nothing that they learn is lost in the mean",
    exact="yes, while what has gathered in the residual has no more than four times the rank; then nearly",
    noise="the product of two noises falls as 1/K, not as 1/K squared, and the residual keeps it",
    noisier=True,
    masked=False,
    products=True,
    residual_times=4,
)


@dataclass(frozen=True, kw_only=True)
class FedEx:
    """See the module."""

    name: str = "fedex"
    summary: str = "average A and B, keep what that misses in a second adapter (FedEx-LoRA): exact while it fits"
    traits: Traits = _TRAITS

    def trains(self, round: int) -> tuple[str, ...]:
        """Everything but the residual."""
        return ("lora_A", "lora_B", "head")

    def carries(self, round: int) -> tuple[str, ...]:
        """Nothing in round 1, everything after."""
        return () if round == 1 else ("lora_A", "lora_B", "head", "residual_A", "residual_B")

    def fold(self, state: AdapterState, cohort: CohortSum) -> AdapterState:
        """State plus mean update, and the residual of the products beside it."""
        folded = add_mean(state, cohort)
        residual: dict[str, FloatArray] = {}
        for path, left, right in mean_products(state.schema, cohort):
            b, a = f"{path}.residual_B", f"{path}.residual_A"
            mean_b, mean_a = folded.tensors[f"{path}.lora_B"], folded.tensors[f"{path}.lora_A"]
            best = balanced(
                np.hstack([state.tensors[b], left, -mean_b]),
                np.vstack([state.tensors[a], right, mean_a]),
                state.schema.residual_rank,
            )
            residual |= {b: best.left, a: best.right}
        return folded.replace(residual)


strategy = FedEx()
