"""Joint steps: one batch's clipped sum over units, which leaves noised or encoded with its share of the noise.

The coordinator's optimiser takes the step, so nothing here moves a parameter. Units are drawn, clipped and
added up by the code of local steps (`step.py`); what differs is what becomes of the sum. It lives within one
function, and has two ways out:

- `noised_sum`: with this institution's own Gaussian noise, added in float64 before it is rounded to float32.
- `encoded_sum`: as elements of the ring of a masked sum, with this institution's share of the integer noise.
  Decoded alone it has too little noise: it must be masked before it leaves the institution.

Neither is divided by anything. Nothing here knows masks, the server, the round or other institutions.

    total = noised_sum(adapted, dataset, plan, order=order, batches=plan.batches(len(dataset), source), noise=noise)
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from domains.language import Adapted
from fedclient._fused import FusedGradients
from fedclient._proof import Gradients
from fedclient._sharing import Sharing
from fedclient.dataset import PrivateDataset
from fedclient.step import UnitOptimizer, Units, accumulate, require_accounted
from fedcore.adapter import FloatArray
from fedcore.errors import PrivacyError, UnsupportedModel
from fedcore.privacy.integer_noise import IntegerNoiseSource
from fedcore.privacy.noise import NoiseSource, UnsafeNoNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.secagg import RingArray
from fedcore.sums import SumPlan

__all__ = ["encoded_sum", "noised_sum"]

Report = Callable[[int, int], None]


def noised_sum(
    adapted: Adapted,
    dataset: PrivateDataset,
    plan: PrivacyPlan,
    *,
    order: Sequence[nn.Parameter],
    batches: Units,
    noise: NoiseSource,
    micro_batch: int = 8,
    report: Report | None = None,
    gradients: Gradients | None = None,
    sharing: Sharing | None = None,
) -> FloatArray:
    """The clipped sum of one batch with Gaussian noise of `plan.noise_multiplier` times the clip norm.

    Guarantee: the result is one output of `plan.event()`, rounded to float32 after the noise was added in
    float64. An empty batch gives noise alone. However it ends, no sum without noise is left behind.

    Args:
        adapted: Base with adapter; which tensors train is already set.
        dataset: Units to sample from.
        plan: What is accounted for: one step.
        order: The tensors that train, in the order of the result.
        batches: The plan's sampler over this data set: `plan.batches(len(dataset), source)`.
        noise: The plan's mechanism.
        micro_batch: As in `step.train`.
        report: Told once, (1, 1).
        gradients, sharing: As in `step.train`.
    Returns:
        The tensors of `order`, ravelled and joined: shape (parameters,), float32.
    Raises:
        SamplerMismatch: `batches` is not the sampler that the plan accounts for, over this data set.
        PrivacyError: `noise` is not the plan's mechanism, the plan is not of one step of one sum, its noise is
            shared, or a batch is too large for its sum to be exact.
        UnsupportedModel: Something trains without an exact gradient for each example, or `order` names
            something else than what trains.
        ConfigError: `micro_batch` is below 1.
    Reference: Abadi et al. 2016, Algorithm 1, arXiv:1607.00133.
    """
    _require_one_sum(plan)
    require_accounted(dataset, plan, batches, noise, micro_batch)
    if plan.shares_noise:
        raise PrivacyError("shared noise is too little by itself", do="encode the sum for a masked one")
    gradients = gradients or FusedGradients(adapted)
    with _summed(gradients, dataset, plan, order, batches, noise, micro_batch, sharing) as holder:
        holder.add_noise()
        total: FloatArray = _joined(order, "grad")
    if report is not None:
        report(1, 1)
    return total


def encoded_sum(
    adapted: Adapted,
    dataset: PrivateDataset,
    plan: PrivacyPlan,
    sums: SumPlan,
    *,
    order: Sequence[nn.Parameter],
    batches: Units,
    noise: NoiseSource | IntegerNoiseSource,
    micro_batch: int = 8,
    report: Report | None = None,
    gradients: Gradients | None = None,
    sharing: Sharing | None = None,
) -> RingArray:
    """The clipped sum of one batch in the ring of a masked sum, with this institution's share of the noise.

    Guarantee: the sum of the results of any `plan.honest_minimum` institutions costs no more than
    `plan.event()`, and whatever is added to it from elsewhere changes nothing about that. The sum's L2 norm is
    at most `sums.bound_l2` before noise, whatever was drawn. However it ends, neither the sum nor the share of the
    noise is left behind.

    Args:
        adapted, dataset, plan, order, batches, micro_batch, report, gradients, sharing: As in `noised_sum`.
        sums: The ring, and the share of the noise.
        noise: The plan's mechanism: integer noise, or `UnsafeNoNoise`.
    Returns:
        The tensors of `order`, ravelled and joined, in the ring: shape (parameters,), unsigned.
    Raises:
        InvalidPlan: The sum could overflow its ring, or the shares carry less noise than the plan promises.
        PrivacyError: As `noised_sum`, or the plan neither shares its noise nor is without any.
        SamplerMismatch, UnsupportedModel, ConfigError: As `noised_sum`.
    Reference: Kairouz et al. 2021, arXiv:2102.06387; `fedcore.privacy.integer_accounting`.
    """
    _require_one_sum(plan)
    require_accounted(dataset, plan, batches, noise, micro_batch)
    if plan.is_private and not plan.shares_noise:
        raise PrivacyError(
            "a masked joint step shares its noise", expected="discrete_gaussian or UnsafeNoNoise", got=plan.mechanism
        )
    parameters = sum(p.numel() for p in order)
    sums.check(plan, parameters)
    ring = sums.ring(parameters)
    gradients = gradients or FusedGradients(adapted)
    # Drawn before there is anything to protect. A ring that needs a share encodes nothing without it.
    share = None
    if plan.shares_noise:
        share = cast(IntegerNoiseSource, noise).discrete_gaussian(parameters, sums.share_std_units)
    total = np.zeros(0)
    try:
        # The holder itself can add no noise, and raises if it is asked to.
        with _summed(gradients, dataset, plan, order, batches, UnsafeNoNoise(), micro_batch, sharing):
            total = _joined(order, "summed_grad")
        encoded = ring.encode(total, share)
    finally:
        total.fill(0.0)  # An exception on its way up still holds it.
    if report is not None:
        report(1, 1)
    return encoded


@contextmanager
def _summed(
    gradients: Gradients,
    dataset: PrivateDataset,
    plan: PrivacyPlan,
    order: Sequence[nn.Parameter],
    batches: Units,
    noise: NoiseSource,
    micro_batch: int,
    sharing: Sharing | None,
) -> Iterator[UnitOptimizer]:
    """Within: one batch's clipped sum, float64, as `summed_grad` of each parameter. Afterwards it is gone."""
    with gradients.active():
        if len(order) != len(gradients.parameters) or {id(p) for p in order} != {id(p) for p in gradients.parameters}:
            raise UnsupportedModel("the tensors that train are not those of the sum")
        # It never steps: there is no noisy gradient here to step on.
        holder = UnitOptimizer(torch.optim.SGD(gradients.parameters, lr=0.0), plan=plan, noise=noise)
        try:
            accumulate(gradients, holder, dataset, plan, batches, micro_batch, stepping=False, sharing=sharing)
            yield holder
        finally:
            holder.forget()


def _joined(order: Sequence[nn.Parameter], name: str) -> npt.NDArray[Any]:
    """A new vector of what hangs on the parameters by a name, in their order."""
    return torch.cat([getattr(p, name).flatten() for p in order]).cpu().numpy()


def _require_one_sum(plan: PrivacyPlan) -> None:
    """A joint round releases one sum and nothing beside it.

    Raises:
        PrivacyError: The plan says otherwise.
    """
    if plan.steps_per_round != 1 or plan.clipping.releases_count:
        raise PrivacyError(
            "a joint step releases one sum and nothing beside it",
            expected="steps_per_round 1, and no noised count",
            do="change the plan, or train by local steps",
        )
