"""Zero-padding with decay: institutions of lower rank train the first slots, and what few of them hold fades.

    slot j of B and A <- (1 - DECAY (1 - h_j / n)) slot j + sum of the updates of its holders / n

n institutions are in the sum and h_j of them hold slot j; an institution of rank r_i holds the first r_i, and its
update counts as zero in the others. A slot that all hold moves by the plain mean. One that few hold learns slowly and
fades unless they keep moving it, which leads what is learnt into the slots that everyone has. With DECAY = 1 this is
the paper's mean of zero-padded factors, which takes a slot that half hold to a quarter of its product every round; with
0 nothing fades. It is 0.1: such a slot loses a tenth of its product a round.

Not exact for the product B A, as with `fedavg`: the factors are averaged apart. It is linear, so noise enters as with
`fedavg` too, and less of it where few hold a slot: h_j noises over n. It works on a sum alone; behind masks only where
all ranks are the same, since a job with different ranks is sent in clear.

The paper weighs each institution by the norm of its own product, and lets it prune its own rank. Both are computed from
records and would leak unless they were noised: ranks here are public and fixed by the job, and weights are equal.

Reference: Cho et al. 2024, HetLoRA, arXiv:2401.06432.
"""

from dataclasses import dataclass

import numpy as np

from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError
from fedcore.round import CohortSum
from fedserver.strategies import Traits, add_mean

__all__ = ["DECAY", "HetLora", "strategy"]

DECAY = 0.1
"""The share of either factor of a slot that is lost in a round where nobody holds it."""


_TRAITS = Traits(
    when="institutions whose hardware holds different ranks, with strong noise; behind masks only with equal ranks",
    exact="no: mean(B) mean(A) is not mean(B A), and slots that few hold fade",
    noise="enters both factors as in fedavg; less of it in slots that few hold",
    ranks=True,
)


@dataclass(frozen=True, kw_only=True)
class HetLora:
    """See the module."""

    name: str = "hetlora"
    summary: str = "zero-pad the updates of lower ranks, fade the slots that few hold (HetLoRA): for different ranks"
    traits: Traits = _TRAITS

    def trains(self, round: int) -> tuple[str, ...]:
        """Everything."""
        return ("lora_A", "lora_B", "head")

    def carries(self, round: int) -> tuple[str, ...]:
        """Nothing in round 1, everything after."""
        return () if round == 1 else ("lora_A", "lora_B", "head")

    def fold(self, state: AdapterState, cohort: CohortSum) -> AdapterState:
        """Faded state plus the mean of the padded updates."""
        rank = state.schema.rank
        held = cohort.held or (cohort.count,) * rank
        if len(held) != rank or not all(held[0] >= h >= 0 for h in held) or held[0] == 0:
            raise ConfigError(
                "who holds the adapter's slots does not fit its rank",
                expected=f"{rank} counts, of which the first is the largest",
                got=str(held),
            )
        # Everyone holds the first slot.
        kept = (1 - DECAY * (1 - np.array(held) / held[0])).astype(np.float32)
        faded = {name: a * kept[:, None] for name, a in state.part("lora_A").items()}
        faded |= {name: b * kept for name, b in state.part("lora_B").items()}
        return add_mean(state.replace(faded), cohort)


strategy = HetLora()
