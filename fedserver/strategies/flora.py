"""Stacking: what the institutions trained, side by side, and back to one adapter of the rank.

    sum of w_i B_i A_i = [w_1 B_1, w_2 B_2, ...] [A_1; A_2; ...]        B A <- its nearest product of the rank r

The stack is the mean of products without error. The paper sends it down whole and adds it to the base; here the base is
frozen and a release is one adapter of rank r, so that the stack is cut off by SVD: the fold is the best of rank r for
the mean of products, and exact where the institutions' products together have rank r or less. What is cut off is lost
for good; `fedex` keeps part of it.

Factors are known up to a rotation. The new ones are turned to those before (orthogonal Procrustes), which leaves B A as
it is and lets a server optimiser remember what a number moved by.

Under privacy each institution's B_i A_i carries the product of two noises. Its variance falls as 1/K in the mean of K
products, and as 1/K squared in the product of the means. The cut takes most of the difference away again, for that
noise is spread over K r directions: in a layer of real size 1 to 20 % more than with `fedavg` is left (decision 17). It
needs to see each update: nobody can stack what is masked.

Reference: Wang et al. 2024, FLoRA, arXiv:2409.05976; what noise does to it: Sun et al. 2024,
arXiv:2403.12313.
"""

from dataclasses import dataclass

from fedcore.adapter import AdapterState
from fedcore.round import CohortSum
from fedserver.strategies import Traits
from fedserver.strategies._low_rank import balanced
from fedserver.strategies._means import head_mean, mean_products

__all__ = ["Flora", "strategy"]


_TRAITS = Traits(
    when="skewed institutions without privacy or with little noise, a rank that holds what they learn together",
    exact="for the mean of products up to its best part of the rank; the rest is lost",
    noise="the product of two noises falls as 1/K, not as 1/K squared; the cut takes most of it away again",
    noisier=True,
    masked=False,
    products=True,
)


@dataclass(frozen=True, kw_only=True)
class Flora:
    """See the module."""

    name: str = "flora"
    summary: str = "stack all factors, then cut back to the rank by SVD (FLoRA): no cross terms; what is cut is lost"
    traits: Traits = _TRAITS

    def trains(self, round: int) -> tuple[str, ...]:
        """Everything."""
        return ("lora_A", "lora_B", "head")

    def carries(self, round: int) -> tuple[str, ...]:
        """Nothing in round 1, everything after."""
        return () if round == 1 else ("lora_A", "lora_B", "head")

    def fold(self, state: AdapterState, cohort: CohortSum) -> AdapterState:
        """The mean of products at the rank, turned to the factors before; the head plus its mean update."""
        tensors = {n: state.tensors[n] + update for n, update in head_mean(state.schema, cohort).items()}
        for path, left, right in mean_products(state.schema, cohort):
            b, a = f"{path}.lora_B", f"{path}.lora_A"
            before = state.tensors[b], state.tensors[a]
            best = balanced(left, right, state.schema.rank, spare=before[1], near=before)
            tensors |= {b: best.left, a: best.right}
        return state.replace(tensors)


strategy = Flora()
