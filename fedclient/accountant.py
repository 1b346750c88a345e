"""Epsilon by two accountants and a bound; where they disagree nobody may train.

A wrong accountant is the one fault that nobody sees: training works, the figure is just too low. So the
figure that a ledger stores is the larger one of Opacus' PRV accountant and dp-accounting's PLD accountant,
both upper bounds for Poisson sampling under add-or-remove-one, and neither may lie below what a concrete
attack achieves. This module never knows a plan, a ledger or a record.

Measured over rates 0.001 to 1, noise multipliers 0.3 to 40, 1 to 1,000 steps, deltas 1e-3 to 1e-7 and
mixtures of these: the two differ by at most 0.2 % where epsilon is above 0.2, and by 0.0004 below. PRV
overflows near an epsilon of 700, and its mesh is kept too coarse for a million steps that cost less than
0.3; both are refused like any other disagreement.

>>> from fedcore.privacy.accounting import DpEvent
>>> event = DpEvent(sampler="poisson", sampling_rate=0.3, noise_multiplier=2.0, steps=8)
>>> floor([event], 1e-5) < round(epsilon([event], 1e-5), 2)
True
"""

import functools
import math
import warnings
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy import special

from fedcore.errors import AccountantMismatch
from fedcore.privacy import accounting
from fedcore.privacy.accounting import DpEvent, merge

__all__ = ["ABSOLUTE_TOLERANCE", "ACCOUNTANT", "RELATIVE_TOLERANCE", "epsilon", "floor", "require_agreement"]

ACCOUNTANT = "larger of Opacus PRV and dp-accounting PLD"
RELATIVE_TOLERANCE = 0.01
ABSOLUTE_TOLERANCE = 1e-3
"""Below an epsilon of 0.1 a hundredth is less than the accountants' own steps; the larger figure counts."""

_FINEST_MESH = 1e-6
"""Keeps PRV's arrays below some 50 million numbers, whatever the number of steps."""


def epsilon(events: Iterable[DpEvent], delta: float, *, enough: float = math.inf) -> float:
    """Epsilon of all events together at `delta`: the larger of two upper bounds that agree.

    Guarantee: at least the figure of each accountant. Infinite when an event has no noise, 0 for no
    events. Once the figure is known to be above `enough`, dearer accountants are not asked, and what is
    returned is only known to be above `enough`: a plan with next to no noise costs no time or memory.

    Args:
        events: Everything released so far, in any order.
        delta: In (0, 1).
        enough: A limit; above it the exact figure does not matter.
    Raises:
        AccountantMismatch: The accountants differ by more than 1 % and 0.001, one lies below the bound of
            `floor`, or one fails.
    Reference: Gopi et al. 2021, arXiv:2106.02848 (PRV); Doroshenko et al. 2022, arXiv:2207.04380 (PLD).
    """
    return _epsilon(merge(events), delta, enough)


@functools.lru_cache(maxsize=1024)
def _epsilon(events: tuple[DpEvent, ...], delta: float, enough: float) -> float:
    if not events:
        return 0.0
    if any(e.noise_multiplier == 0 for e in events):
        return math.inf
    least = floor(events, delta)
    if least > enough:
        return least
    pld = accounting.epsilon(events, delta)
    if pld > enough:
        return pld
    prv = _opacus(events, delta, near=pld)
    require_agreement(prv=prv, pld=pld, least=least)
    return max(prv, pld)


def require_agreement(*, prv: float, pld: float, least: float) -> None:
    """Return when both accountants may be believed.

    Raises:
        AccountantMismatch: See `epsilon`.
    """
    close = abs(prv - pld) <= max(RELATIVE_TOLERANCE * max(prv, pld), ABSOLUTE_TOLERANCE)
    # The slack is for the floor's own floating point, far below either tolerance.
    sound = min(prv, pld) >= least * (1 - 1e-6) - 1e-6
    if not (math.isfinite(prv) and math.isfinite(pld) and close and sound):
        raise AccountantMismatch(
            "two accountants disagree about the same events, so nothing is spent",
            expected=f"figures within 1 % and not below {least:.6g}",
            got=f"PRV {prv:.6g}, PLD {pld:.6g}",
            do="ask for another noise multiplier, rate or number of steps, and report these figures",
        )


def floor(events: Iterable[DpEvent], delta: float) -> float:
    """A lower bound of epsilon at `delta`: what one concrete attack achieves.

    The attacker adds up the outputs of all steps of one kind and asks whether the sum passes a threshold.
    With a unit present the sum is a binomial mixture of Gaussians, without it one Gaussian; any threshold
    t bounds epsilon from below by ln((P[S > t] - delta) / Q[S > t]). No accountant takes part, so no
    accountant's fault is shared. Binomial terms far from the mean are left out, which only lowers it.

    Args:
        events: Everything released so far, each with noise.
        delta: In (0, 1).
    Reference: Kairouz et al. 2015, Theorem 2.1 (hypothesis tests bound epsilon), arXiv:1311.0776.
    """
    return max((_sum_attack(e, delta) for e in merge(events)), default=0.0)


def _sum_attack(event: DpEvent, delta: float) -> float:
    """The bound of `floor` for events of one kind."""
    n, q = event.steps, event.sampling_rate
    std = event.noise_multiplier * math.sqrt(n)
    spread = 8 * math.sqrt(n * q * (1 - q)) + 8
    counts = np.arange(max(0, math.floor(n * q - spread)), min(n, math.ceil(n * q + spread)) + 1)
    thresholds = np.linspace(0.0, counts[-1] + 4 * std, 256)
    present = np.zeros_like(thresholds)
    for count, chance in zip(counts, _binomial(counts, n, q), strict=True):
        present += chance * special.ndtr((count - thresholds) / std)
    absent = special.log_ndtr(-thresholds / std)
    hits = present > delta
    return float(max(0.0, np.max(np.log(present[hits] - delta) - absent[hits], initial=0.0)))


def _binomial(counts: npt.NDArray[np.int64], n: int, q: float) -> npt.NDArray[np.float64]:
    """Chance of each count in n coins of rate q; scipy.special loads much faster than scipy.stats."""
    ways = special.gammaln(n + 1) - special.gammaln(counts + 1) - special.gammaln(n - counts + 1)
    logarithm = ways + special.xlogy(counts, q) + special.xlog1py(n - counts, -q)
    return np.asarray(np.exp(logarithm), dtype=np.float64)


def _opacus(events: tuple[DpEvent, ...], delta: float, *, near: float) -> float:
    """Opacus' PRV upper bound, with an error term of about a thousandth of `near`.

    Raises:
        AccountantMismatch: The accountant could not finish.
    """
    from opacus.accountants import PRVAccountant  # Deferred: torch takes seconds, and reading a ledger needs neither.

    delta_error = delta / 1000
    steps = sum(e.steps for e in events)
    # PRV spaces its mesh at eps_error / sqrt(steps * ln(12 / delta_error) / 2).
    coarsest = _FINEST_MESH * math.sqrt(steps * math.log(12 / delta_error) / 2)
    accountant = PRVAccountant()
    accountant.history = [(e.noise_multiplier, e.sampling_rate, e.steps) for e in events]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            figure = accountant.get_epsilon(delta, eps_error=max(2e-4, 1e-3 * near, coarsest), delta_error=delta_error)
    except (RuntimeError, ArithmeticError, ValueError, TypeError, MemoryError) as error:
        raise AccountantMismatch(
            f"Opacus' PRV accountant cannot account for these events ({type(error).__name__})",
            do="ask for another noise multiplier, rate or number of steps",
        ) from error
    # At a large delta the interval around an epsilon of 0 reaches below 0.
    return max(0.0, float(figure))
