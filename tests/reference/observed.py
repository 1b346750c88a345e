"""What the real step code sums, read before noise is added: the code runs as it is, with a window in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from fedclient import step
from fedclient.dataset import PrivateDataset
from fedcore.privacy.noise import UnsafeNoNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import UnsafeSeeded
from fedcore.round import Optimiser
from tests.reference.clipped_sum import Sums


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One step: sum by name of tensor, clip norm and that of the next, count, and what was said of the noise."""

    total: Sums
    norm: float
    next_norm: float
    count: float
    noise_std: float | None


@contextmanager
def steps_seen(names: dict[int, str]) -> Iterator[list[Seen]]:
    """The steps that are taken meanwhile; `names` are those of tensors, by `id`."""
    seen: list[Seen] = []

    class Observed(step.UnitOptimizer):
        def add_noise(self) -> None:
            total = {names[id(p)]: p.summed_grad.clone() for p in self.params}
            norm, count = self.max_grad_norm, self._count
            super().add_noise()
            told = self.param_groups[0].get("noise_std")
            seen.append(Seen(total=total, norm=norm, next_norm=self.max_grad_norm, count=count, noise_std=told))

    original = step.UnitOptimizer
    step.UnitOptimizer = Observed  # type: ignore[misc]
    try:
        yield seen
    finally:
        step.UnitOptimizer = original  # type: ignore[misc]


def steps_of(gradients: Any, data: PrivateDataset, privacy: PrivacyPlan, **options: Any) -> list[Seen]:
    """The steps of one call of `train` with `gradients`; afterwards the tensors are as they were."""
    held = getattr(gradients.adapted, "parameters", None) or {"": gradients.parameters[0]}
    before = {name: p.detach().clone() for name, p in held.items()}
    options.setdefault("noise", UnsafeNoNoise())
    options.setdefault("batches", privacy.batches(len(data), UnsafeSeeded(1)))
    options.setdefault("optimiser", Optimiser(name="sgd", learning_rate=1e-9))
    with steps_seen({id(p): name for name, p in held.items()}) as seen:
        step.train(gradients.adapted, data, privacy, gradients=gradients, **options)
    with torch.no_grad():
        for name, value in before.items():
            held[name].copy_(value)
    return seen


def sum_of(gradients: Any, data: PrivateDataset, privacy: PrivacyPlan, **options: Any) -> Sums:
    """The sum of the first step, over everyone that the sampler draws."""
    return steps_of(gradients, data, privacy, **options)[0].total
