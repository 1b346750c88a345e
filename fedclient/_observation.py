"""What an audit looks at: the noised sums that the real training code makes of made-up canaries.

Canaries are drawn, clipped, summed and noised by the very code that trains. SGD at rate 1 shows the noised sum of
a local step; a joint step hands out its own, which with shared noise is added up in the ring over as many
institutions as must be honest. Nothing here judges what is seen, and nothing here is a record.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedclient._canaries import GROUPS, LAYERS, CanaryGradients
from fedclient.dataset import PrivateDataset
from fedclient.joint import encoded_sum, noised_sum
from fedclient.step import train
from fedcore.privacy.audit import GaussianForm, gaussian_form
from fedcore.privacy.integer_noise import IntegerNoiseSource
from fedcore.privacy.noise import NoiseSource
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import RandomSource
from fedcore.round import Optimiser
from fedcore.sums import SumPlan

__all__ = ["Observation", "full_batches", "observe", "observe_joint", "parts_of"]

Noise = NoiseSource | IntegerNoiseSource
Numbers = npt.NDArray[np.float64]

_PARAMETERS = sum(math.prod(shape) for shape, _ in LAYERS)
_SHARES = 8
"""Institutions whose own vectors are kept: enough to see noise that repeats."""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Observation:
    """The noised sums of some steps over canaries, in clip norms.

    Args:
        outputs: One row a step.
        designs: What the canaries of the step add up to if each has norm 1.
        plain: Steps whose clip norm is the plan's own: with the adaptive rule, the first of each round.
        shares: Of joint steps: what each institution added to the first sum, one row an institution, of a few.
        price: Noise that the sums were planned to have, over that of the privacy plan: integers ask for more.
    """

    outputs: Numbers
    designs: Numbers
    plain: npt.NDArray[np.bool_]
    shares: Numbers | None = None
    price: float = 1.0

    def form(self, *, confidence: float, steps: slice | npt.NDArray[np.bool_] = slice(None)) -> GaussianForm:
        """Shift and noise of some steps."""
        return gaussian_form(self.outputs[steps], self.designs[steps], confidence=confidence)

    def of_layer(self, layer: int, *, confidence: float) -> GaussianForm:
        """Shift and noise of one layer, over the plain steps."""
        part = _parts()[layer]
        return gaussian_form(
            self.outputs[self.plain][:, part], self.designs[self.plain][:, part], confidence=confidence
        )

    def noise(self) -> list[Numbers]:
        """The silent coordinates of each step and layer, in the order in which noise was drawn."""
        return _silent(self.outputs)

    def noise_of_shares(self) -> list[Numbers]:
        """The same of what single institutions added to one sum."""
        return [] if self.shares is None else _silent(self.shares)


def full_batches(privacy: PrivacyPlan) -> PrivacyPlan:
    """The plan with every unit in each step, two a round where the noise is not shared: what shows most."""
    return replace(
        privacy,
        sampling_rate=1.0,
        sampler="poisson",
        batch_limit=None,
        largest_units=None,
        steps_per_round=1 if privacy.shares_noise else 2,
    )


def observe(
    privacy: PrivacyPlan, data: PrivateDataset, *, rounds: int, noise: NoiseSource, source: RandomSource
) -> Observation:
    """Run the real training code over canaries and write down the noised sum of every step.

    Args:
        privacy: Rounds of its steps are run.
        data: Canaries, grouped.
        rounds: Calls of `train`.
        noise: As in training.
        source: Of sampling.
    """
    gradients = _gradients(privacy)
    outputs, designs = [], []
    before = gradients.read()

    def read(_done: int, _steps: int) -> None:
        nonlocal before
        now = gradients.read()
        outputs.append((before - now) * (privacy.expected_batch_units / privacy.clip_norm_l2))
        designs.append(gradients.design())
        before = now

    for _ in range(rounds):
        train(
            gradients.adapted,
            data,
            privacy,
            Optimiser(name="sgd", learning_rate=1.0),
            batches=privacy.batches(len(data), source),
            noise=noise,
            micro_batch=64,
            report=read,
            gradients=gradients,
        )
    plain = np.arange(len(outputs)) % (privacy.steps_per_round if privacy.clipping.rule == "adaptive" else 1) == 0
    return Observation(outputs=np.stack(outputs), designs=np.stack(designs), plain=plain)


def observe_joint(
    privacy: PrivacyPlan, parts: Sequence[PrivateDataset], *, rounds: int, noise: Noise, source: RandomSource
) -> Observation:
    """Run the real joint step over canaries and write down every sum as a coordinator would learn it.

    Where noise is shared, each institution's sum is encoded with its share of the noise, and what is read is the
    total in the ring.

    Args:
        privacy: Of one step a round.
        parts: Canaries of each institution, grouped: of `honest_minimum`, or of one where no noise is shared.
        rounds: How many sums.
        noise: As in training, of every institution.
        source: Of sampling.
    """
    gradients = _gradients(privacy)
    sums = _sums(privacy, parts) if privacy.shares_noise else None

    def added(data: PrivateDataset) -> npt.NDArray[Any]:
        """What one institution adds."""
        batches = privacy.batches(len(data), source)
        common: dict[str, Any] = {
            "order": gradients.parameters,
            "batches": batches,
            "noise": noise,
            "micro_batch": 64,
            "gradients": gradients,
        }
        if sums is None:
            return noised_sum(gradients.adapted, data, privacy, **common)
        return encoded_sum(gradients.adapted, data, privacy, sums, **common)

    def read(total: npt.NDArray[Any]) -> Numbers:
        real = total.astype(np.float64) if sums is None else sums.ring(_PARAMETERS).decode(total)
        return real / privacy.clip_norm_l2

    outputs, designs, shares = [], [], []
    for number in range(rounds):
        vectors = [added(data) for data in parts]
        outputs.append(read(np.add.reduce(vectors, dtype=vectors[0].dtype)))  # Unsigned integers wrap: the ring.
        designs.append(gradients.design())
        if number == 0:
            shares = [read(vector) for vector in vectors[:_SHARES]]
    return Observation(
        outputs=np.stack(outputs),
        designs=np.stack(designs),
        plain=np.ones(rounds, dtype=np.bool_),
        shares=np.stack(shares),
        price=1.0 if sums is None else sums.noise(privacy, _PARAMETERS).price,
    )


def parts_of(data: PrivateDataset, institutions: int) -> list[PrivateDataset]:
    """Units dealt out to so many institutions, of which each gets at least one.

    Raises:
        RecordError: There are fewer units than institutions.
    """
    return [PrivateDataset(data.units[i::institutions]) for i in range(institutions)]


def _sums(privacy: PrivacyPlan, parts: Sequence[PrivateDataset]) -> SumPlan:
    """The sums that a job of this plan would have, of the fewest institutions that it allows."""
    parties = max(2, len(parts))
    batch = float(max(len(part) for part in parts))  # A sum of them all stays below the ring's bound.
    return SumPlan.choose(
        replace(privacy, expected_batch_units=batch),
        parameters=_PARAMETERS,
        parties=parties,
        threshold=parties,
        colluders=0,
    )


def _gradients(privacy: PrivacyPlan) -> CanaryGradients:
    """Canaries far above the plan's clip norm."""
    return CanaryGradients(max(privacy.clip_norm_l2, privacy.clipping.stability or 0.0))


def _silent(rows: Numbers) -> list[Numbers]:
    """Of each row and layer, the coordinates that no canary points at."""
    return [row[part][GROUPS:] for row in rows for part in _parts()]


def _parts() -> list[slice]:
    """Where each layer lies in a row."""
    ends = np.cumsum([math.prod(shape) for shape, _ in LAYERS]).tolist()
    return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
