"""Optimisers for noisy gradients: torch's own, and AdamW with the noise taken out of its second moment.

They see what privacy allows everyone to see, so whatever they do is post-processing. Each call of `make`
starts with fresh state: momenta of one round never reach the next. Nothing here knows units or clipping.

The proximal term of FedProx is added here, to the noised mean gradient: mu (w - w0), where w0 is what the tensors
held when the optimiser was made. It is worked out from what earlier steps released, so it costs nothing.

>>> import torch
>>> weight = torch.nn.Parameter(torch.ones(2))
>>> weight.grad = torch.tensor([0.5, -2.0])
>>> make(Optimiser(name="sgd", learning_rate=0.5), [weight], noise_std=0.0).step()
>>> weight.tolist()
[0.75, 2.0]
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from fedcore.errors import ConfigError
from fedcore.round import Optimiser

__all__ = ["CorrectedAdamW", "make"]

_LEAST = 0.1
"""The root of a corrected second moment is at least this times the noise's standard deviation: where noise
outweighs the gradient the difference is near zero by chance, and a step would have no bound."""


def make(optimiser: Optimiser, parameters: Sequence[nn.Parameter], *, noise_std: float) -> torch.optim.Optimizer:
    """The optimiser that a plan names, with fresh state.

    Weight decay is the plan's, not torch's default of 0.01.

    Args:
        optimiser: Of the round's plan.
        parameters: What it steps on.
        noise_std: Standard deviation, per number, of the noise in the gradients that it will see:
            `PrivacyPlan.noise_std_of_mean()`. Only `noise_correction` uses it; where it changes between steps,
            set `noise_std` in the optimiser's `param_groups`.
    Raises:
        ConfigError: `noise_std` is used and is not a finite number of 0 or more.
    Reference: Li et al. 2020, "FedProx", arXiv:1812.06127, Algorithm 2, for `proximal`.
    """
    made = _plain(optimiser, parameters, noise_std)
    if optimiser.proximal:
        # Torch calls it before each step, when the gradient is the noised mean and nothing private is left in it.
        made.register_step_pre_hook(_Pull(parameters, optimiser.proximal))
    return made


def _plain(optimiser: Optimiser, parameters: Sequence[nn.Parameter], noise_std: float) -> torch.optim.Optimizer:
    """The optimiser without the proximal term."""
    rate = optimiser.learning_rate
    if optimiser.name == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=optimiser.momentum)
    betas = (optimiser.beta1, optimiser.beta2)
    if optimiser.noise_correction:
        return CorrectedAdamW(
            parameters,
            lr=rate,
            betas=betas,
            stability=optimiser.stability,
            weight_decay=optimiser.weight_decay,
            noise_std=noise_std,
        )
    return torch.optim.AdamW(
        parameters, lr=rate, betas=betas, eps=optimiser.stability, weight_decay=optimiser.weight_decay
    )


@final
class _Pull:
    """Adds mu (w - w0) to each gradient."""

    def __init__(self, parameters: Sequence[nn.Parameter], mu: float) -> None:
        self._start = [(p, p.detach().clone()) for p in parameters]
        self._mu = mu

    @torch.no_grad()
    def __call__(self, _optimizer: torch.optim.Optimizer, _args: Any, _options: Any) -> None:
        for p, start in self._start:
            if p.grad is not None:
                p.grad.add_(p - start, alpha=self._mu)


@final
class CorrectedAdamW(torch.optim.Optimizer):
    """AdamW whose second moment has the noise's variance subtracted: DP-AdamBC.

    The second moment of a noisy gradient is that of the gradient plus the variance of the noise, a public
    number. In each step, with moments m and v corrected for their start at zero, and with the running mean s
    of the noise's variance under the same weights as v,

        p <- (1 - lr * weight_decay) * p - lr * m / sqrt(max(v - s, stability**2, s / 100))

    The last bound takes the place of the paper's constant gamma', for which no value fits all plans: a step is
    at most ten times as long as the same step would be where noise is all there is.

    A proximal term changes nothing in what is subtracted: given the steps before, it is a constant, so that the
    gradient that it is added to still has the variance of this step's noise and no more.

    Args:
        parameters: What to step on.
        lr: Learning rate.
        betas: Decay of the moments.
        stability: Least root of the corrected second moment.
        weight_decay: Decoupled, as in AdamW.
        noise_std: Of the gradients of the next step, per number; `param_groups` holds it.
    Raises:
        ConfigError: `noise_std` is not a finite number of 0 or more.
    Reference: Tang et al. 2024, "DP-AdamBC", arXiv:2312.14334, Algorithm 1.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
        stability: float,
        weight_decay: float,
        noise_std: float,
    ) -> None:
        if not (math.isfinite(noise_std) and noise_std >= 0):
            raise ConfigError("the noise's standard deviation is out of range", expected="0 or more, finite")
        super().__init__(
            parameters,
            {
                "lr": lr,
                "betas": betas,
                "stability": stability,
                "weight_decay": weight_decay,
                "noise_std": noise_std,
                "steps": 0,
                "noise_variance": 0.0,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step on the gradients as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta2 = group["betas"][1]
            group["steps"] += 1
            group["noise_variance"] += (1 - beta2) * (group["noise_std"] ** 2 - group["noise_variance"])
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, group)
        return loss

    def _move(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """Step on one tensor."""
        beta1, beta2 = group["betas"]
        if not (state := self.state[p]):
            state["first"], state["second"] = torch.zeros_like(p), torch.zeros_like(p)
        first, second = state["first"], state["second"]
        first.lerp_(grad, 1 - beta1)
        second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        start1, start2 = 1 - beta1 ** group["steps"], 1 - beta2 ** group["steps"]
        noise = group["noise_variance"] / start2
        least = max(group["stability"] ** 2, _LEAST**2 * noise)
        root = (second / start2).sub_(noise).clamp_(min=least).sqrt_()
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.addcdiv_(first, root, value=-group["lr"] / start1)
