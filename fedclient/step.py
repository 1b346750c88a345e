"""Private steps: sampled units -> clipped sum -> noise -> optimiser, in place.

The loop reads as the algorithm: draw units by the plan's sampler, clip each unit's gradient, sum, add
noise, divide by a public number, step. It never learns of the server, the round or other institutions.

What is exact and what is not: the number of units in a step never shows, since the sum is divided by the
plan's `expected_batch_units`. How long a step takes does depend on the batch; a reply's timing should not
be made finer than a round. Removing a unit can change how the others are padded and so the rounding of
their gradients, by about a millionth of their norm.

    train(adapted, dataset, plan, Optimiser(), batches=PoissonUnits(...), noise=SecureNoise())
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer import _check_processed_flag, _mark_as_processed
from torch import Tensor

from domains.language import Adapted, Encoded, collate
from fedclient._hooks import ExampleGradients
from fedclient.clipping import by_unit, clipped_sum
from fedclient.dataset import PrivateDataset
from fedcore.errors import ConfigError, PrivacyError, SamplerMismatch
from fedcore.privacy.noise import NoiseSource
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import PoissonUnits
from fedcore.round import Optimiser

__all__ = ["UnitOptimizer", "train"]

Report = Callable[[int, int], None]
"""Called after each step with (steps done, steps of the round): public numbers."""


class UnitOptimizer(DPOptimizer):  # type: ignore[misc]
    """Opacus' DP optimiser over units: rows of `grad_sample` are units, and the noise is ours.

    Differs from Opacus in three things: a unit that is not finite counts as zero, the clipped sum is kept
    in float64, and noise comes from a source given here instead of torch's global generator, which is not
    cryptographic.

    Args:
        optimizer: Steps on the noisy mean.
        plan: Clip norm, noise multiplier and the public number to divide by.
        noise: Source of Gaussian noise.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, plan: PrivacyPlan, noise: NoiseSource) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.clip_norm_l2,
            expected_batch_size=plan.expected_batch_units,
            loss_reduction="mean",
        )
        self._noise = noise

    def clip_and_accumulate(self) -> None:
        """Add the clipped sum of the units in `grad_sample` to `summed_grad`, each set of them once."""
        for p in self.params:
            _check_processed_flag(p.grad_sample)
        bounded = clipped_sum(self.grad_samples, self.max_grad_norm)
        for p, value in zip(self.params, bounded.value, strict=True):
            p.summed_grad = value if p.summed_grad is None else p.summed_grad + value
            _mark_as_processed(p.grad_sample)

    def add_noise(self) -> None:
        """Add noise of standard deviation noise_multiplier * clip norm to the sum, in float64, once."""
        for p in self.params:
            _check_processed_flag(p.summed_grad)
            noise = self._noise.gaussian(tuple(p.shape), self.noise_multiplier * self.max_grad_norm)
            # Rounding to float32 comes after the noise, so it is post-processing (see fedcore.privacy.noise).
            p.grad = (p.summed_grad + torch.from_numpy(noise).to(p.device)).to(p.dtype)
            _mark_as_processed(p.summed_grad)


def train(
    adapted: Adapted,
    dataset: PrivateDataset,
    plan: PrivacyPlan,
    optimiser: Optimiser,
    *,
    batches: PoissonUnits,
    noise: NoiseSource,
    micro_batch: int = 8,
    report: Report | None = None,
    gradients: ExampleGradients | None = None,
) -> None:
    """Run `plan.steps_per_round` noisy steps on the tensors of `adapted` that train, in place.

    Guarantee: what the tensors become is a function of public values and of the outputs of
    `plan.event()`: Poisson-sampled sums of units clipped to `plan.clip_norm_l2`, with Gaussian noise of
    `plan.noise_multiplier` times that. An empty batch takes a noisy step like any other. The size of
    micro-batches changes nothing but speed. The optimiser's state is new in each call: momenta of one
    round never reach the next, where they would meet an adapter that others have moved.

    Args:
        adapted: Base with adapter; which tensors train is already set.
        dataset: Units to sample from.
        plan: What is accounted for.
        optimiser: Runs on noisy gradients.
        batches: The plan's sampler over this data set.
        noise: The plan's mechanism.
        micro_batch: Sequences that are held at a time, >= 1.
        report: Told of each step.
        gradients: Of an earlier call with this model: what was proven then is not proven again.
    Raises:
        SamplerMismatch: `batches` is not the sampler that the plan accounts for, over this data set.
        PrivacyError: `noise` is not the plan's mechanism.
        UnsupportedModel: Something trains without an exact gradient for each example.
        ConfigError: `micro_batch` is below 1.
    Reference: Abadi et al. 2016, Algorithm 1, arXiv:1607.00133.
    """
    _check(dataset, plan, batches, noise, micro_batch)
    hooks = gradients or ExampleGradients(adapted)
    with hooks.active():
        optimizer = UnitOptimizer(_optimizer(optimiser, hooks), plan=plan, noise=noise)
        for step in range(plan.steps_per_round):
            drawn = batches.draw()
            units = [dataset.examples_of(int(u), plan.examples_per_unit, batches.source) for u in drawn]
            _step(hooks, optimizer, units, micro_batch)
            if report is not None:
                report(step + 1, plan.steps_per_round)


def _step(
    hooks: ExampleGradients, optimizer: UnitOptimizer, units: Sequence[tuple[Encoded, ...]], micro_batch: int
) -> None:
    """One noisy step on a batch of units, which may be empty."""
    packs = list(_packs(units, micro_batch))
    for pack in packs or [[]]:
        for p, grad in zip(hooks.parameters, _unit_gradients(hooks, pack, micro_batch), strict=True):
            p.grad_sample = grad  # type: ignore[attr-defined]
        # Opacus' name for it: clip and accumulate only; noise is added once, with the last of the batch.
        optimizer.signal_skip_step(do_skip=bool(packs) and pack is not packs[-1])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _packs(units: Sequence[tuple[Encoded, ...]], micro_batch: int) -> Iterator[list[tuple[Encoded, ...]]]:
    """Whole units, about as many sequences as a micro-batch; units of like length lie together.

    Order and grouping change the sum by rounding alone, and save the padding of short to long sequences.
    """
    pack: list[tuple[Encoded, ...]] = []
    size = 0
    for unit in sorted(units, key=lambda u: max(len(e.ids) for e in u)):
        if pack and size + len(unit) > micro_batch:
            yield pack
            pack, size = [], 0
        pack.append(unit)
        size += len(unit)
    if pack:
        yield pack


def _unit_gradients(hooks: ExampleGradients, pack: list[tuple[Encoded, ...]], micro_batch: int) -> list[Tensor]:
    """Gradient of each unit of a pack; a unit of many examples is added up before anyone clips it."""
    total = [p.new_zeros((len(pack), *p.shape)) for p in hooks.parameters] if not pack else None
    owned = [(row, example) for row, unit in enumerate(pack) for example in unit]
    for start in range(0, len(owned), micro_batch):
        part = owned[start : start + micro_batch]
        owners = torch.tensor([row for row, _ in part])
        batch = collate([example for _, example in part], hooks.adapted.base.device)
        grads = [by_unit(g, owners, len(pack)) for g in hooks.of(batch)]
        total = grads if total is None else [t.add_(g) for t, g in zip(total, grads, strict=True)]
    return total or []


def _optimizer(optimiser: Optimiser, hooks: ExampleGradients) -> torch.optim.Optimizer:
    """torch's optimiser, with fresh state; weight decay is the plan's, not torch's default of 0.01."""
    if optimiser.name == "sgd":
        return torch.optim.SGD(hooks.parameters, lr=optimiser.learning_rate, momentum=optimiser.momentum)
    return torch.optim.AdamW(hooks.parameters, lr=optimiser.learning_rate, weight_decay=optimiser.weight_decay)


def _check(
    dataset: PrivateDataset, plan: PrivacyPlan, batches: PoissonUnits, noise: NoiseSource, micro_batch: int
) -> None:
    """Refuse whatever the plan does not account for, before anything changes."""
    if type(batches) is not PoissonUnits or batches.sampler != plan.event().sampler:
        raise SamplerMismatch(
            "the batches do not come from the sampler that the plan accounts for",
            expected="PoissonUnits",
            got=type(batches).__name__,
            do="a shuffled loader would cost far more than is accounted for",
        )
    if batches.sampling_rate != plan.sampling_rate:
        raise SamplerMismatch(
            "the sampling rate is not the plan's", expected=repr(plan.sampling_rate), got=repr(batches.sampling_rate)
        )
    if batches.units != len(dataset):
        raise SamplerMismatch("the sampler was made for another data set", do="make one for this data set")
    if getattr(noise, "mechanism", None) != plan.mechanism:
        raise PrivacyError(
            "the noise source is not the plan's mechanism", expected=plan.mechanism, got=type(noise).__name__
        )
    if type(micro_batch) is not int or micro_batch < 1:
        raise ConfigError("micro_batch is out of range", expected="a whole number above 0", got=repr(micro_batch))
