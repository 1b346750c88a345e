"""How a step shares its batch with other processes, as far as the step knows; `distributed.py` does it."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from domains.language import Encoded

__all__ = ["Drawn", "Sharing", "Summed"]

Drawn = tuple[int, tuple[Encoded, ...]]
"""A unit of a batch: its position in the data set, and its sampled examples."""


class Summed(Protocol):
    """What holds the clipped sum of the units that this process added: `step.UnitOptimizer`."""

    @property
    def added(self) -> tuple[int, float]:
        """Units in the sum, and the adaptive rule's count of them."""

    def flat_sum(self, device: torch.device) -> Tensor:
        """A copy of the sum, shape (parameters,), float64."""

    def take_over(self, total: Tensor, *, units: int, count: float) -> None:
        """Put a sum that includes this one in its place."""


class Sharing(Protocol):
    """Shares out one batch after another, and brings the sums together."""

    def split(self, batch: Sequence[Drawn], clip_norm_l2: float) -> Sequence[Drawn]:
        """Hand out whole units of a batch, to be clipped to a norm; what is returned is for this process."""

    def join(self, summed: Summed, added: Sequence[int]) -> None:
        """Bring the sums of all processes together in `summed`, which holds that of the units at `added`.

        Raises:
            PrivacyError: The processes did not add up each unit of the batch exactly once, or not at the same
                parameters.
        """
