"""Private steps: sampled units -> clipped sum -> noise -> optimiser, in place.

The loop reads as the algorithm: draw units by the plan's sampler, clip each unit's gradient, sum, add
noise, divide by a public number, step. It never learns of the server, the round or other institutions.

The loss of an example is the mean over its sequence's target tokens; a unit's gradient is the sum over its
sampled examples of each one's gradient, clipped once. There is no setting for a mean over the tokens of a
batch: it would tie a unit's gradient to the lengths of the others, and whoever forms the gradients refuses it.

What is exact and what is not: the number of units in a step never shows, since the sum is divided by the
plan's `expected_batch_units`. How long a step takes does depend on the batch; a reply's timing should not
be made finer than a round. Clipped sums keep their bound after rounding (`clipping.py`). What is clipped is
a unit's gradient as it was computed: in float32, removing another unit from its pass can change its rounding
by less than a millionth of its norm. In bfloat16 it would be half a percent, so there a unit has its passes to
itself, and its gradient is a function of nothing but itself.

    train(adapted, dataset, plan, Optimiser(), batches=plan.batches(len(dataset), source), noise=SecureNoise())
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer import _check_processed_flag, _mark_as_processed
from torch import Tensor

from domains.language import Adapted, Encoded, collate
from fedclient import optimisers
from fedclient._fused import FusedGradients
from fedclient._proof import Gradients
from fedclient._sharing import Drawn, Sharing
from fedclient.clipping import LARGEST_BATCH_UNITS, by_unit, clipped_sum
from fedclient.dataset import PrivateDataset
from fedcore.errors import ConfigError, PrivacyError, SamplerMismatch
from fedcore.privacy.integer_noise import IntegerNoiseSource
from fedcore.privacy.noise import NoiseSource
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import PoissonUnits, TruncatedPoissonUnits
from fedcore.round import Optimiser

__all__ = [
    "Gradients",
    "UnitOptimizer",
    "Units",
    "accumulate",
    "add_units",
    "require_accounted",
    "train",
]

Report = Callable[[int, int], None]
"""Called after each step with (steps done, steps of the round): public numbers."""

Units = PoissonUnits | TruncatedPoissonUnits
"""The samplers that have an accountant."""

_SAMPLERS: dict[str, type[Units]] = {kind.sampler: kind for kind in (PoissonUnits, TruncatedPoissonUnits)}
_LEAST_NORM = 1e-6
"""The adaptive norm stays above this share of the plan's, so that it cannot shrink to nothing by noise."""


class UnitOptimizer(DPOptimizer):  # type: ignore[misc]
    """Opacus' DP optimiser over units: rows of `grad_sample` are units, and the noise is ours.

    Differs from Opacus in four things: a unit that is not finite counts as zero; the clipped sum is kept in
    float64; noise comes from a source given here instead of torch's global generator, which is not
    cryptographic; and the rule of clipping is the plan's. `max_grad_norm` is the norm that the next step clips
    to and scales its noise by: the plan's, or under the adaptive rule the current one, which only noised
    counts move.

    Args:
        optimizer: Steps on the noisy mean.
        plan: Clip norm and rule, noise multipliers and the public number to divide by.
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
        self.max_grad_norm: float = plan.clip_norm_l2
        self._plan = plan
        self._noise = noise
        # Fresh memory for sums in each step would cost as much as the sums.
        self._sums = [torch.zeros_like(p, dtype=torch.float64, requires_grad=False) for p in self.params]
        self._units = 0
        self._count = 0.0

    def clip_and_accumulate(self) -> None:
        """Add the clipped sum of the units in `grad_sample` to `summed_grad`, each set of them once.

        Raises:
            PrivacyError: The step has more units than its sum keeps the bound for.
        """
        if self.params[0].summed_grad is None:
            self._units, self._count = 0, 0.0
        for p, zeros in zip(self.params, self._sums, strict=True):
            _check_processed_flag(p.grad_sample)
            if p.summed_grad is None:
                p.summed_grad = zeros.zero_().view_as(zeros)
            _check_processed_flag(p.summed_grad)
        self._units += len(self.grad_samples[0])
        _require_exact(self._units)
        bounded = clipped_sum(
            self.grad_samples,
            self.max_grad_norm,
            clipping=self._plan.clipping,
            into=[p.summed_grad for p in self.params],
        )
        self._count += bounded.count or 0.0
        for p in self.params:
            _mark_as_processed(p.grad_sample)

    def add_noise(self) -> None:
        """Add noise of standard deviation noise_multiplier * clip norm to the sum, in float64, once.

        Under the adaptive rule the count of the step is noised, too, and moves the norm of the next step.
        """
        for p in self.params:
            _check_processed_flag(p.summed_grad)
        sizes = [p.numel() for p in self.params]
        noise = torch.from_numpy(self._noise.gaussian((sum(sizes),), self.noise_multiplier * self.max_grad_norm))
        for p, values in zip(self.params, torch.split(noise, sizes), strict=True):
            # Rounding to float32 comes after the noise, so it is post-processing (see fedcore.privacy.noise).
            p.grad = p.summed_grad.add_(values.to(p.device).view_as(p)).to(p.dtype)
            _mark_as_processed(p.summed_grad)
        for group in self.param_groups:
            if "noise_std" in group:
                group["noise_std"] = self.noise_multiplier * self.max_grad_norm / self.expected_batch_size
        self._adapt()

    @property
    def added(self) -> tuple[int, float]:
        """How many units are in the sum, and the count of the adaptive rule (0 under others). Private."""
        return self._units, self._count

    def flat_sum(self, device: torch.device) -> Tensor:
        """A copy of the sum as one float64 vector, shape (parameters,)."""
        return torch.cat([p.summed_grad.detach().flatten().to(device) for p in self.params])

    def take_over(self, total: Tensor, *, units: int, count: float) -> None:
        """Put a sum that includes this one in its place, such as that of all processes of a node.

        Args:
            total: Shape (parameters,), float64.
            units: How many units are in it.
            count: The adaptive rule's count of them.
        Raises:
            PrivacyError: It has more units than a sum keeps the bound for.
        """
        _require_exact(units)
        for p, part in zip(self.params, torch.split(total, [p.numel() for p in self.params]), strict=True):
            p.summed_grad.copy_(part.view_as(p))
        self._units, self._count = units, count

    def forget(self) -> None:
        """Take everything private off the parameters and out of the sums, also after an interrupted step."""
        for p in self.params:
            p.grad = None
            for name in ("grad_sample", "summed_grad"):
                if hasattr(p, name):
                    delattr(p, name)
        for total in self._sums:  # An exception on its way up still holds this object.
            total.zero_()
        self._units, self._count = 0, 0.0

    def _adapt(self) -> None:
        """Move the clip norm by the noised count, which alone it depends on; forget the true one."""
        rule, plan = self._plan.clipping, self._plan
        if rule.quantile is None or rule.learning_rate is None or rule.count_noise_multiplier is None:
            return
        count, self._count = self._count, 0.0
        if rule.count_noise_multiplier > 0:
            # A unit moves the count by one half: that is what the multiplier multiplies.
            count += float(self._noise.gaussian((1,), rule.count_noise_multiplier / 2)[0])
        share = count / plan.expected_batch_units + 0.5
        moved = math.log(self.max_grad_norm) - rule.learning_rate * (share - rule.quantile)
        largest = math.log(plan.clip_norm_l2)
        least = largest + math.log(_LEAST_NORM)
        self.max_grad_norm = min(plan.clip_norm_l2, math.exp(min(largest, max(least, moved))))


def train(
    adapted: Adapted,
    dataset: PrivateDataset,
    plan: PrivacyPlan,
    optimiser: Optimiser,
    *,
    batches: Units,
    noise: NoiseSource,
    micro_batch: int = 8,
    report: Report | None = None,
    gradients: Gradients | None = None,
    sharing: Sharing | None = None,
) -> None:
    """Run `plan.steps_per_round` noisy steps on the tensors of `adapted` that train, in place.

    Guarantee: what the tensors become is a function of public values and of the outputs of
    `plan.event()`: sums, over units sampled by the plan's sampler, of gradients clipped by the plan's rule to
    at most `plan.clip_norm_l2`, with Gaussian noise of `plan.noise_multiplier` times the norm of that step,
    and under the adaptive rule the noised counts. An empty batch takes a noisy step like any other. The size
    of micro-batches changes nothing but speed. The optimiser's state and the adaptive norm are new in each
    call: momenta of one round never reach the next, where they would meet an adapter that others have moved.

    With the truncated sampler a step has at most `plan.batch_limit` units, so memory and the number of passes
    have a public limit.

    Args:
        adapted: Base with adapter; which tensors train is already set.
        dataset: Units to sample from.
        plan: What is accounted for.
        optimiser: Runs on noisy gradients.
        batches: The plan's sampler over this data set: `plan.batches(len(dataset), source)`.
        noise: The plan's mechanism.
        micro_batch: Sequences that are held at a time, >= 1; a unit of more is formed in several passes. Units
            share a pass only where the base computes in float32.
        report: Told of each step.
        gradients: Of an earlier call with this model, so that what was proven is not proven again, or another
            way to form them. None: `FusedGradients`.
        sharing: Several processes that form the gradients of a batch together. Sampling, noise and optimiser
            stay here, so it changes sums by rounding alone.
    Raises:
        SamplerMismatch: `batches` is not the sampler that the plan accounts for, over this data set.
        PrivacyError: `noise` is not the plan's mechanism, the plan's noise is shared, which local steps cannot
            do, or a batch is too large for its sum to be exact.
        UnsupportedModel: Something trains without an exact gradient for each example.
        ConfigError: `micro_batch` is below 1.
    Reference: Abadi et al. 2016, Algorithm 1, arXiv:1607.00133.
    """
    require_accounted(dataset, plan, batches, noise, micro_batch)
    if plan.shares_noise:
        raise PrivacyError("local steps cannot share their noise with others", do="train by joint steps")
    gradients = gradients or FusedGradients(adapted)
    with gradients.active():
        inner = optimisers.make(optimiser, gradients.parameters, noise_std=plan.noise_std_of_mean())
        optimizer = UnitOptimizer(inner, plan=plan, noise=noise)
        try:
            for step in range(plan.steps_per_round):
                accumulate(gradients, optimizer, dataset, plan, batches, micro_batch, stepping=True, sharing=sharing)
                if report is not None:
                    report(step + 1, plan.steps_per_round)
        finally:
            optimizer.forget()


def accumulate(
    gradients: Gradients,
    optimizer: UnitOptimizer,
    dataset: PrivateDataset,
    plan: PrivacyPlan,
    batches: Units,
    micro_batch: int,
    *,
    stepping: bool,
    sharing: Sharing | None = None,
) -> None:
    """Draw a batch of units, which may be empty, and add up their clipped gradients in `optimizer`.

    Args:
        gradients: Within `active`.
        optimizer: Of `gradients.parameters`.
        dataset, plan, batches, micro_batch, sharing: As `train` takes them, after `require_accounted`.
        stepping: Add the noise and take the step; else the bare sum stays in `optimizer`, and whoever asked for
            that must noise it or `forget` it.
    """
    drawn = [int(u) for u in batches.draw()]
    batch = [(u, dataset.examples_of(u, plan.examples_per_unit, batches.source)) for u in drawn]
    if sharing is None:
        add_units(gradients, optimizer, batch, micro_batch, stepping=stepping)
        return
    own = sharing.split(batch, optimizer.max_grad_norm)
    sharing.join(optimizer, add_units(gradients, optimizer, own, micro_batch, stepping=False))
    if stepping:
        add_units(gradients, optimizer, (), micro_batch, stepping=True)


def add_units(
    gradients: Gradients, optimizer: UnitOptimizer, units: Sequence[Drawn], micro_batch: int, *, stepping: bool
) -> list[int]:
    """Add up the clipped gradients of units in `optimizer`, which has a sum afterwards even of none.

    Args:
        gradients, optimizer, micro_batch, stepping: As `accumulate` takes them.
        units: Each at most once.
    Returns:
        The position of each unit that was added, as often as it was.
    """
    packs = list(_packs(units, 1 if _alone(gradients.adapted) else micro_batch))
    added: list[int] = []
    for pack in packs or [[]]:
        formed = _unit_gradients(gradients, [examples for _, examples in pack], micro_batch)
        for p, grad in zip(gradients.parameters, formed, strict=True):
            p.grad_sample = grad  # type: ignore[attr-defined]
        # Opacus' name for it: clip and accumulate only; noise is added once, with the last of the batch.
        optimizer.signal_skip_step(do_skip=not stepping or (bool(packs) and pack is not packs[-1]))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        added += [position for position, _ in pack]
    return added


def _packs(units: Sequence[Drawn], micro_batch: int) -> Iterator[list[Drawn]]:
    """Whole units, about as many sequences as a micro-batch; units of like length lie together.

    Order and grouping change the sum by rounding alone, and save the padding of short to long sequences.
    """
    pack: list[Drawn] = []
    size = 0
    for position, unit in sorted(units, key=lambda u: max(len(e.ids) for e in u[1])):
        if pack and size + len(unit) > micro_batch:
            yield pack
            pack, size = [], 0
        pack.append((position, unit))
        size += len(unit)
    if pack:
        yield pack


def _unit_gradients(gradients: Gradients, pack: list[tuple[Encoded, ...]], micro_batch: int) -> list[Tensor]:
    """Gradient of each unit of a pack; a unit of many examples is added up before anyone clips it."""
    total = [p.new_zeros((len(pack), *p.shape)) for p in gradients.parameters] if not pack else None
    owned = [(row, example) for row, unit in enumerate(pack) for example in unit]
    for start in range(0, len(owned), micro_batch):
        part = owned[start : start + micro_batch]
        owners = torch.tensor([row for row, _ in part])
        batch = collate([example for _, example in part], gradients.adapted.base.device)
        grads = [by_unit(g, owners, len(pack)) for g in gradients.of(batch)]
        total = grads if total is None else [t.add_(g) for t, g in zip(total, grads, strict=True)]
    return total or []


def _alone(adapted: Adapted) -> bool:
    """Whether each unit needs passes of its own: unless the base computes in float32.

    In bfloat16 a product is rounded to three digits, and how depends on the shape of the batch: a unit that
    leaves a batch would move the gradients of those that stay by half a percent each, which no clip norm bounds.
    """
    return getattr(getattr(adapted.base, "model", None), "dtype", torch.float32) != torch.float32


def require_accounted(
    dataset: PrivateDataset,
    plan: PrivacyPlan,
    batches: Units,
    noise: NoiseSource | IntegerNoiseSource,
    micro_batch: int,
) -> None:
    """Refuse whatever the plan does not account for, before anything changes.

    Raises:
        SamplerMismatch, PrivacyError, ConfigError: As `train` does.
    """
    event = plan.event()
    kind = _SAMPLERS.get(event.sampler)
    if kind is None or type(batches) is not kind or batches.sampler != event.sampler:
        raise SamplerMismatch(
            "the batches do not come from the sampler that the plan accounts for",
            expected=kind.__name__ if kind else event.sampler,
            got=type(batches).__name__,
            do="a shuffled loader would cost far more than is accounted for",
        )
    for name in ("sampling_rate", "batch_limit", "largest_units"):
        wanted, found = getattr(event, name), getattr(batches, name, None)
        if found != wanted:
            raise SamplerMismatch(f"the sampler's {name} is not the plan's", expected=repr(wanted), got=repr(found))
    if batches.units != len(dataset):
        raise SamplerMismatch("the sampler was made for another data set", do="make one for this data set")
    if getattr(noise, "mechanism", None) != plan.mechanism:
        raise PrivacyError(
            "the noise source is not the plan's mechanism", expected=plan.mechanism, got=type(noise).__name__
        )
    if type(micro_batch) is not int or micro_batch < 1:
        raise ConfigError("micro_batch is out of range", expected="a whole number above 0", got=repr(micro_batch))


def _require_exact(units: int) -> None:
    """A sum of more units could lose its bound to rounding.

    Raises:
        PrivacyError: There are more.
    """
    if units > LARGEST_BATCH_UNITS:
        raise PrivacyError(
            "a step has more units than the rounding of its sum allows",
            expected=f"at most {LARGEST_BATCH_UNITS:,}",
            do="ask for a plan with a lower sampling rate",
        )
