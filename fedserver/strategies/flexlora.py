"""SVD redistribution: one product for all, of which each institution trains as much as its hardware holds.

    U S V' = mean(B_i A_i), cut off at the rank r        B <- U sqrt(S)        A <- sqrt(S) V'

An institution of rank r_i takes the first r_i slots: they are in order of their singular values, so that it begins from
the product of its rank that is nearest to the whole one. What it sends back is again a product, and products of any
rank can be added. Slots that carry nothing keep their rows of A, since an empty slot would never learn.

The fold is exact for mean(B_i A_i) up to its best part of the rank; the rest is lost. With unequal ranks the
mean itself is not what equal ranks would have learnt: what an institution does not hold counts as zero in it, and so
shrinks unless the others make up for it.

Under privacy the product of two noises falls as 1/K and not as 1/K squared, and the cut takes most of it away again. It
needs to see each update. A server optimiser would move slots out of their order, and is refused.

Reference: Bai et al. 2024, FlexLoRA, arXiv:2402.11505. It weighs institutions by their number of records,
which would leak; here all count alike.
"""

from dataclasses import dataclass

from fedcore.adapter import AdapterState
from fedcore.round import CohortSum
from fedserver.strategies import Traits
from fedserver.strategies._low_rank import balanced
from fedserver.strategies._means import head_mean, mean_products

__all__ = ["FlexLora", "strategy"]


_TRAITS = Traits(
    when="institutions whose hardware holds different ranks, whose updates you may see",
    exact="for the mean of products up to its best part of the rank; the rest is lost",
    noise="the product of two noises falls as 1/K, not as 1/K squared; the cut takes most of it away again",
    noisier=True,
    masked=False,
    products=True,
    ranks=True,
    ordered=True,
)


@dataclass(frozen=True, kw_only=True)
class FlexLora:
    """See the module."""

    name: str = "flexlora"
    summary: str = "average products, hand out their largest singular values by rank (FlexLoRA): for different ranks"
    traits: Traits = _TRAITS

    def trains(self, round: int) -> tuple[str, ...]:
        """Everything."""
        return ("lora_A", "lora_B", "head")

    def carries(self, round: int) -> tuple[str, ...]:
        """Nothing in round 1, everything after."""
        return () if round == 1 else ("lora_A", "lora_B", "head")

    def fold(self, state: AdapterState, cohort: CohortSum) -> AdapterState:
        """The mean of products at the rank, in order of its singular values; the head plus its mean update."""
        tensors = {n: state.tensors[n] + update for n, update in head_mean(state.schema, cohort).items()}
        for path, left, right in mean_products(state.schema, cohort):
            b, a = f"{path}.lora_B", f"{path}.lora_A"
            best = balanced(left, right, state.schema.rank, spare=state.tensors[a])
            tensors |= {b: best.left, a: best.right}
        return state.replace(tensors)


strategy = FlexLora()
