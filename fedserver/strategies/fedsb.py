"""An r x r core: both factors stand still at public values, and only the small matrix between them is trained.

    the layer adds B R A        R <- R + mean(update of R_i)

B R A is linear in R, so the mean of products is the product with the mean: the fold is exact, and noise enters once,
linearly. r squared numbers a module travel, whatever the module's size, so that a rank several times as large
costs less than the two factors of a small one; and under privacy the fewer numbers, the less noise in all.

B and A never learn. The paper starts them from the singular vectors of an estimated first update, which would be
computed from records: it would have to be noised and counted as a step of its own. Here they are random, drawn from the
job's public seed, so that they cost no privacy and no bytes, and cover the right directions by chance alone: choose a
rank well above that of the other strategies.

It works behind masks and in joint steps.

Reference: Singhal et al. 2025, Fed-SB, arXiv:2502.15371.
"""

from dataclasses import dataclass

from fedcore.adapter import AdapterState
from fedcore.round import CohortSum
from fedserver.strategies import Traits, add_mean

__all__ = ["FedSb", "strategy"]


_TRAITS = Traits(
    when="the fewest bytes, many institutions or strong noise; with a rank of 16 and more",
    exact="yes: the product is linear in the core",
    noise="enters the product once, in rank squared numbers a module",
    form="core",
)


@dataclass(frozen=True, kw_only=True)
class FedSb:
    """See the module."""

    name: str = "fedsb"
    summary: str = "train a rank x rank core between random, frozen factors (Fed-SB): exact, the fewest bytes"
    traits: Traits = _TRAITS

    def trains(self, round: int) -> tuple[str, ...]:
        """Core and head, always."""
        return ("core", "head")

    def carries(self, round: int) -> tuple[str, ...]:
        """Nothing in round 1; core and head after. The factors are derived from the public seed."""
        return () if round == 1 else ("core", "head")

    def fold(self, state: AdapterState, cohort: CohortSum) -> AdapterState:
        """State plus mean update."""
        return add_mean(state, cohort)


strategy = FedSb()
