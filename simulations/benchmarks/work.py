"""The one piece of work that every form of the benchmark does: a private LoRA round on synthetic records.

It is small on purpose: what is measured is what a round costs *besides* training. All forms train the same
units for the same steps on the same base with the same code, and take the same clock.

>>> work = Work(base=Path("base"), rounds=2, nodes=2)
>>> Work.from_json(work.to_json()) == work
True
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from domains.base import load_task
from domains.language import Base
from domains.medicine import synthetic
from fedclient.dataset import PrivateDataset
from fedclient.records import Record
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.privacy.plan import DISCRETE_GAUSSIAN, GAUSSIAN, PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import JobPlan, Optimiser, RoundPlan

__all__ = ["Say", "Timing", "Work"]

Say = Callable[[str], None]
"""Called with a line for people."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One measured round: its seconds, and those of them that were training."""

    wall_s: float
    training_s: float

    @property
    def overhead_s(self) -> float:
        """What the round cost besides."""
        return max(0.0, self.wall_s - self.training_s)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is trained, how often and by how many nodes.

    Args:
        base: A prepared base.
        rounds: Rounds that are measured.
        nodes: Institutions that train at the same time.
        threshold: 0 for rounds in the clear. Else each round is one joint step behind masks that so many have
            to open, and so many carry the noise.
    """

    base: Path
    rounds: int
    nodes: int
    units: int = 2
    max_tokens: int = 64
    rank: int = 4
    alpha: float = 8.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    epsilon_limit: float = 1000.0
    threshold: int = 0

    def to_json(self) -> str:
        """One JSON object; `from_json` reads it back."""
        return json.dumps({**asdict(self), "base": str(self.base)})

    @classmethod
    def from_json(cls, text: str) -> "Work":
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(**{**fields, "base": Path(fields["base"]), "targets": tuple(fields["targets"])})

    @property
    def task(self) -> str:
        """The task that renders the records."""
        return "medicine.record"

    @property
    def privacy(self) -> PrivacyPlan:
        """Every unit in every step, one step a round: each round does the same amount of work."""
        return PrivacyPlan(
            unit=PrivacyUnit(key="patient"),
            sampling_rate=1.0,
            steps_per_round=1,
            expected_batch_units=float(self.units),
            examples_per_unit=1,
            clip_norm_l2=1.0,
            noise_multiplier=4.0,
            delta=1e-3,
            mechanism=DISCRETE_GAUSSIAN if self.threshold else GAUSSIAN,
            honest_minimum=self.threshold or None,
        )

    def schema(self, base: Base) -> AdapterSchema:
        """The adapter that is trained."""
        return AdapterSchema.for_base(base.card, rank=self.rank, alpha=self.alpha, targets=self.targets)

    def job(self, base: Base, *, rounds: int) -> JobPlan:
        """The work as a job of `rounds` rounds."""
        return JobPlan(
            job_id="bench",
            task=self.task,
            schema=self.schema(base),
            strategy="frozen_a",
            rounds=rounds,
            seed=1,
            quorum=self.nodes,
            deadline_s=600.0,
            max_tokens=self.max_tokens,
            optimiser=Optimiser(),
            privacy=self.privacy,
        )

    def plan(self, state: AdapterState) -> RoundPlan:
        """One round's plan, for a form that has no coordinator of ours."""
        return RoundPlan(
            job_id="bench",
            round=1,
            rounds=1,
            task=self.task,
            schema=state.schema,
            state_digest=state.digest,
            seed=1,
            strategy="frozen_a",
            trains=("lora_B",),
            carries=("lora_B",),
            cohort=("bench",),
            weight=1.0,
            quorum=1,
            deadline_s=600.0,
            max_tokens=self.max_tokens,
            optimiser=Optimiser(),
            privacy=self.privacy,
        )

    def rows(self, node: int) -> list[dict[str, Any]]:
        """The records of one node, one for each of its units."""
        first: dict[str, dict[str, Any]] = {}
        for row in synthetic.records(synthetic.SITES[node % len(synthetic.SITES)], self.units, node + 1):
            first.setdefault(row["patient"], row)
        return list(first.values())

    def dataset(self, base: Base, node: int) -> PrivateDataset:
        """The records of one node, ready to be sampled."""
        return PrivateDataset.build(self._records(node), load_task(self.task), base, self.max_tokens)

    def _records(self, node: int) -> Iterable[Record]:
        for position, row in enumerate(self.rows(node), start=1):
            yield Record(unit=row["patient"], fields=row, position=position)
