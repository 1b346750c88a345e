"""How one unit's gradient is bounded: the rule that a plan names, as public numbers.

A rule never changes what a round costs, except that the adaptive one releases a count in each step, with
noise of its own. This module knows no gradient, noise source or accountant.

>>> Clipping(rule="adaptive", quantile=0.5, learning_rate=0.2, count_noise_multiplier=20.0).releases_count
True
"""

import math
from dataclasses import dataclass
from typing import Literal

from fedcore.errors import InvalidPlan

__all__ = ["Clipping", "Rule"]

Rule = Literal["fixed", "automatic", "adaptive"]


@dataclass(frozen=True, kw_only=True)
class Clipping:
    """How a unit's gradient g is scaled; its norm afterwards is at most C, the plan's `clip_norm_l2`.

    - "fixed": g * min(1, C / |g|). Abadi et al. 2016, arXiv:1607.00133.
    - "automatic": g * C / (|g| + `stability`): every gradient is scaled to nearly C, so that C and the learning
      rate are one choice. Bu et al. 2023, arXiv:2206.07136 (AUTO-S).
    - "adaptive": "fixed" with a norm that starts at C in each round and follows the `quantile` of the units'
      norms, never above C: after each step it is multiplied by exp(-`learning_rate` * (share - quantile)),
      where the share of units below the norm is counted with Gaussian noise of standard deviation
      `count_noise_multiplier` / 2 (a unit moves the centred count by at most one half). Andrew et al. 2021,
      arXiv:1905.03871.

    Args:
        rule: One of the three.
        stability: Of "automatic", > 0.
        quantile: Of "adaptive", in (0, 1).
        learning_rate: Of "adaptive", > 0.
        count_noise_multiplier: Of "adaptive", > 0, or 0 where the plan adds no noise at all.
    Raises:
        InvalidPlan: A number is out of range, or belongs to another rule.
    """

    rule: Rule = "fixed"
    stability: float | None = None
    quantile: float | None = None
    learning_rate: float | None = None
    count_noise_multiplier: float | None = None

    def __post_init__(self) -> None:
        needed: dict[str, tuple[str, ...]] = {
            "fixed": (),
            "automatic": ("stability",),
            "adaptive": ("quantile", "learning_rate", "count_noise_multiplier"),
        }
        if self.rule not in needed:
            raise InvalidPlan(f"the clipping rule {self.rule!r} is not known", expected="fixed, automatic or adaptive")
        for name in ("stability", "quantile", "learning_rate", "count_noise_multiplier"):
            value = getattr(self, name)
            if (value is not None) != (name in needed[self.rule]):
                raise InvalidPlan(
                    f"clipping: {name} is {'missing' if value is None else 'not used'} with the rule {self.rule}",
                    expected=", ".join(needed[self.rule]) or "no further number",
                )
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise InvalidPlan(f"clipping: {name} is not a finite number", got=repr(value))
            if not (value > 0 or (name == "count_noise_multiplier" and value == 0)):
                raise InvalidPlan(f"clipping: {name} is out of range", expected="above 0", got=repr(value))
        if self.quantile is not None and not self.quantile < 1:
            raise InvalidPlan("clipping: quantile is out of range", expected="in (0, 1)", got=repr(self.quantile))

    @property
    def releases_count(self) -> bool:
        """Whether each step releases a noised count beside the gradients."""
        return self.rule == "adaptive"
