"""A private step's clipped sum by Opacus alone: its hooks on peft's own layers, and its DPOptimizer."""

import warnings
from collections.abc import Sequence
from itertools import pairwise

import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer

from domains.language import Adapted, Encoded, collate
from tests.reference.clipped_sum import Sums


def opacus_sum(adapted: Adapted, units: Sequence[Sequence[Encoded]], clip_norm_l2: float) -> Sums:
    """All examples in one pass; those of a unit are added up before the optimiser clips."""
    trained = {name: p for name, p in adapted.parameters.items() if p.requires_grad}
    owning = [m for m in adapted.module.modules() if any(p.requires_grad for p in m.parameters(recurse=False))]
    hooked = GradSampleModule(adapted.module, batch_first=True, loss_reduction="sum", strict=True)
    try:
        for layer in owning:
            layer.training = True  # Hooks ask for it; dropout elsewhere must stay off.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
            adapted.sequence_losses(collate([e for unit in units for e in unit])).sum().backward()
        bounds = torch.tensor([0, *(len(unit) for unit in units)]).cumsum(0).tolist()
        for p in trained.values():
            rows = p.grad_sample
            p.grad_sample = torch.stack([rows[a:b].sum(dim=0) for a, b in pairwise(bounds)])
            p.grad = None
        sgd = torch.optim.SGD(trained.values(), lr=1.0)
        optimizer = DPOptimizer(
            sgd, noise_multiplier=0.0, max_grad_norm=clip_norm_l2, expected_batch_size=None, loss_reduction="sum"
        )
        optimizer.clip_and_accumulate()
        return {name: p.summed_grad.double() for name, p in trained.items()}
    finally:
        hooked.cleanup()
        for layer in owning:
            layer.training = False
            for name in ("activations", "max_batch_len"):
                if hasattr(layer, name):
                    delattr(layer, name)
        for p in trained.values():
            p.grad = None
            for name in ("grad_sample", "summed_grad", "_forward_counter", "_current_grad_sample"):
                if hasattr(p, name):
                    delattr(p, name)
