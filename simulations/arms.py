"""What a comparison runs, and what came of it: values without any I/O."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from simulations.scenario import Scenario

__all__ = ["Arm", "Found"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to run a scenario.

    Args:
        way: A word, such as "shared".
        epsilon: That it is run at; None without noise.
        scenario: An ordinary one, which compares nothing.
        paired: Whether runs of one number draw the same samples and noise in all arms, where draws are seeded.
    """

    way: str
    epsilon: float | None
    scenario: Scenario
    paired: bool = False

    @property
    def label(self) -> str:
        """Names it among the arms, and its folders."""
        return self.way if self.epsilon is None else f"{self.way}-epsilon-{self.epsilon:g}"

    def repetition(self, number: int) -> Scenario:
        """The scenario of one run: its name alone is another, and with it every seeded draw."""
        label = "" if self.paired else f".{self.label}"
        return dataclasses.replace(self.scenario, name=f"{self.scenario.name[:24]}{label}.{number}")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What `results.json` of each run of an arm holds."""

    arm: Arm
    runs: tuple[Mapping[str, Any], ...]

    @cached_property
    def losses(self) -> tuple[float, ...]:
        """On the held-out units, after each run."""
        return tuple(float(run["loss_released"]) for run in self.runs)

    @property
    def loss(self) -> float:
        """Their mean."""
        return sum(self.losses) / len(self.losses)
