"""What a masked sum with shared integer noise costs: the price of rounding and of integers, proved small.

Each of n parties adds an independent discrete Gaussian share of standard deviation s to its rounded vector.
Of any `honest_minimum` = h parties the shares alone must carry the promise; whatever else is in the sum
(other parties' shares, reduction modulo the ring) is post-processing. `SharedNoise.choose` finds the least
s with which the sum costs no more than a `DpEvent` of the plan's own noise multiplier, so that the ledger
composes masked steps beside everything else, sampling included, without a new kind of event. In three steps:

1. **Sum.** The sum of h shares differs from one discrete Gaussian of variance h s**2 by a factor within
   exp(+-5 sum_k exp(-2 pi**2 s**2 k / (k + 1))) a coordinate: Kairouz, Liu and Steinke 2021,
   arXiv:2102.06387 (sums of discrete Gaussians), by Poisson summation.
2. **Integers.** A discrete Gaussian of variance v around an integer shift is, within a factor of
   exp(+-5 exp(-2 pi**2 w**2)) a coordinate, a function of a *continuous* Gaussian of variance v - w**2
   around the same shift: round it by drawing a discrete Gaussian of standard deviation w around it. For
   the convolution of the two densities is the Gaussian of variance v at every integer, and what normalises
   a discrete Gaussian around a real centre is constant within that factor (Poisson summation again). The
   rounding does not know the data, so the integer mechanism is never worse than the continuous one, but for
   the factor. Here w = `SMOOTHING`. Post-processing commutes with sampling of units: amplification and
   composition by privacy loss distributions hold unchanged. The source's own bound is in
   zCDP, which sampling does not amplify; `source_epsilon` states it in RDP as a second opinion.
3. **Rounding.** Stochastic rounding with coins that do not know the data moves two neighbouring sums, that
   differ by D steps in L2 norm, to integers that differ by at most D + sqrt(parameters), always; and by at
   most sqrt(D**2 + d/4 + D sqrt(2 L) + sqrt(d L / 2)), L = ln(2 / beta), but for a chance of beta
   (Hoeffding's bound on both terms; compare the conditional rounding of Kairouz et al., which has the same d/4). The
   less of the two is the sensitivity that noise is scaled to. Where one unit replaces another, the sums without
   either, with the one and with the other are rounded by the same coins, and the distance of each of the two
   from the first is bounded in this way: those are the two shifts that the pair of `accounting` has, so that
   the event's multiplier is the noise over one unit's distance there too. A vector that is scaled down to a
   ball before it is rounded changes nothing: projection on a convex set brings no two vectors apart.

What is left over, `slack`, is below 1e-12 of epsilon and below 1e-20 of delta in any plan that is accepted, far
below what the accountants round up by. Stated figures neglect it; `source_epsilon` adds it.

>>> noise = SharedNoise.choose(noise_multiplier=1.0, honest_minimum=4, parameters=1000, clip_norm_l2=1.0,
...                            resolution=2.0**-10)
>>> noise.share_std_units, round(noise.price, 3)
(516, 1.008)
"""

import math
from dataclasses import dataclass

from fedcore.errors import InvalidPlan

__all__ = ["ROUNDING_FAILURE", "SMOOTHING", "SharedNoise", "sensitivity_units", "source_epsilon"]

SMOOTHING = 4.0
ROUNDING_FAILURE = 2.0**-100
"""beta: the chance that the coins of one step move two neighbours further apart than accounted for."""

_LARGEST_SLACK = 1e-12
_LEAST_SHARE = 4
# Of a sum in float64 whose norm was bounded in float64: relative, and in steps of the ring.
_FLOAT_MARGIN, _FLOAT_MARGIN_UNITS = 1e-9, 1e-2


def sensitivity_units(clip_norm_l2: float, resolution: float, parameters: int) -> float:
    """How far one unit moves a rounded sum in L2 norm, in steps of the ring; see step 3 of the module.

    Args:
        clip_norm_l2: Largest L2 norm of one unit's part of the sum, > 0.
        resolution: Of the ring, > 0.
        parameters: Numbers in the sum, >= 1.
    """
    shift = clip_norm_l2 / resolution * (1 + _FLOAT_MARGIN) + _FLOAT_MARGIN_UNITS
    chance = math.log(2 / ROUNDING_FAILURE)
    likely = shift**2 + parameters / 4 + shift * math.sqrt(2 * chance) + math.sqrt(parameters * chance / 2)
    return min(shift + math.sqrt(parameters), math.sqrt(likely))


@dataclass(frozen=True, kw_only=True)
class SharedNoise:
    """Integer noise that any `honest_minimum` parties carry together. All fields are public.

    Args:
        noise_multiplier: That the ledger accounts for, > 0.
        honest_minimum: Parties in every opened sum that neither drop out nor collude, >= 1.
        parameters: Numbers in the sum, >= 1.
        clip_norm_l2: Largest L2 norm of one unit's part of the sum, > 0.
        resolution: Of the ring, > 0.
        share_std_units: Standard deviation of each party's share, in steps of the ring, >= 4.
    Raises:
        InvalidPlan: A number is out of range, or the shares carry less than `noise_multiplier`.
    """

    noise_multiplier: float
    honest_minimum: int
    parameters: int
    clip_norm_l2: float
    resolution: float
    share_std_units: int

    def __post_init__(self) -> None:
        for name in ("noise_multiplier", "clip_norm_l2", "resolution"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InvalidPlan(f"shared noise: {name} is out of range", expected="a finite number above 0")
        for name in ("honest_minimum", "parameters"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise InvalidPlan(f"shared noise: {name} is out of range", expected="a whole number >= 1")
        if type(self.share_std_units) is not int or self.share_std_units < _LEAST_SHARE:
            raise InvalidPlan(
                "shared noise: a share is too small to be summed soundly",
                expected=f"at least {_LEAST_SHARE} steps",
                do="a finer resolution",
            )
        if self.carried_noise_multiplier < self.noise_multiplier:
            raise InvalidPlan(
                "shared noise: the shares carry less than the plan promises",
                expected=f"{self.noise_multiplier:g}",
                got=f"{self.carried_noise_multiplier:g}",
            )
        if self.slack(1)[0] > _LARGEST_SLACK:
            raise InvalidPlan("shared noise: too much is lost between integers and real numbers")

    @classmethod
    def choose(
        cls,
        *,
        noise_multiplier: float,
        honest_minimum: int,
        parameters: int,
        clip_norm_l2: float,
        resolution: float,
    ) -> "SharedNoise":
        """The least share that is enough.

        Raises:
            InvalidPlan: A number is out of range.
        """
        if not (all(math.isfinite(x) and x > 0 for x in (noise_multiplier, clip_norm_l2, resolution))):
            raise InvalidPlan("shared noise: a number is out of range", expected="finite numbers above 0")
        if honest_minimum < 1 or parameters < 1:
            raise InvalidPlan("shared noise: a count is out of range", expected=">= 1")
        moved = sensitivity_units(clip_norm_l2, resolution, parameters)
        needed = math.sqrt(((noise_multiplier * moved) ** 2 + SMOOTHING**2) / honest_minimum)
        return cls(
            noise_multiplier=noise_multiplier,
            honest_minimum=honest_minimum,
            parameters=parameters,
            clip_norm_l2=clip_norm_l2,
            resolution=resolution,
            # One part in 10**12 more than needed: never short by the rounding of floats.
            share_std_units=max(_LEAST_SHARE, math.ceil(needed * (1 + 1e-12))),
        )

    @property
    def sensitivity_units(self) -> float:
        """See the function of that name."""
        return sensitivity_units(self.clip_norm_l2, self.resolution, self.parameters)

    @property
    def carried_noise_multiplier(self) -> float:
        """Of the continuous Gaussian that the honest shares are never worse than."""
        return math.sqrt(self.honest_minimum * self.share_std_units**2 - SMOOTHING**2) / self.sensitivity_units

    @property
    def price(self) -> float:
        """Standard deviation of the honest shares over that of continuous noise without rounding."""
        carried = math.sqrt(self.honest_minimum) * self.share_std_units * self.resolution
        return carried / (self.noise_multiplier * self.clip_norm_l2)

    def slack(self, steps: int) -> tuple[float, float]:
        """What `steps` steps may cost beyond their `DpEvent`: epsilon, and the delta at epsilon 0.

        The delta is to be multiplied by 1 + exp(epsilon).
        """
        sums = (self.honest_minimum - 1) * math.exp(-min(700.0, math.pi**2 * self.share_std_units**2))
        factor = 5 * self.parameters * (sums + math.exp(-2 * math.pi**2 * SMOOTHING**2))
        # Twice: where a unit is replaced, each of the two moves the sum from that without either.
        return 2 * steps * factor, 2 * steps * ROUNDING_FAILURE


def source_epsilon(noise: SharedNoise, *, sampling_rate: float, steps: int, delta: float) -> float:
    """A second opinion: epsilon by the source's own bounds, in Renyi differential privacy of whole orders.

    Without sampling it is the bound of Kairouz et al. 2021 on the distributed discrete Gaussian. With
    sampling, each moment of the likelihood ratio of a discrete Gaussian is at most that of the Gaussian of its
    variance (Canonne et al. 2020, arXiv:2004.00010: the Renyi divergence of discrete Gaussians), so the
    whole-order formula of Mironov et al. 2019, arXiv:1908.10530, holds as it stands; its comparison of the two
    directions needs symmetry only. Larger than what the ledger states by what RDP is worse than privacy loss
    distributions.
    """
    # Deferred: it imports most of scipy.
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    spread = math.sqrt(noise.honest_minimum) * noise.share_std_units
    d, moved, share = noise.parameters, noise.sensitivity_units, noise.share_std_units
    tau = 10 * sum(
        math.exp(-min(700.0, 2 * math.pi**2 * share**2 * k / (k + 1))) for k in range(1, noise.honest_minimum)
    )
    zcdp = min(math.sqrt((moved / spread) ** 2 + tau * d / 2), moved / spread + tau * math.sqrt(d))
    accountant = RdpAccountant(orders=[*range(2, 129), *range(132, 513, 4)])
    gaussian = dp_event.GaussianDpEvent(1 / zcdp)
    accountant.compose(dp_event.PoissonSampledDpEvent(sampling_rate, gaussian), steps)
    epsilon, delta_used = noise.slack(steps)
    return float(accountant.get_epsilon(delta - 2 * delta_used)) + epsilon
