"""Epsilon by two accountants and two bounds; where they disagree nobody may train.

A wrong accountant is the one fault that nobody sees: training works, the figure is just too low. So the
figure that a ledger stores is the larger one of Opacus' PRV accountant and dp-accounting's PLD accountant,
both upper bounds under the events' neighbouring relation. Renyi differential privacy, a looser bound by
other means, may not lie below them, and neither may lie below what a concrete attack achieves. This module
never knows a plan, a ledger or a record.

- **Poisson, add or remove one.** PRV and RDP are Opacus' own.
- **Replace one.** Opacus composes privacy loss variables but knows none for this relation, so it is given
  one: `ReplaceOneLoss`. RDP is the integral of the same pair, which dominates every other one
  (`fedcore.privacy.accounting` proves it), so it is exact, not a group bound.
- **Truncated Poisson.** PLD accounts for truncation as a mixture. PRV accounts for plain Poisson sampling,
  at a delta lessened by what truncation can add to it (`accounting.truncation_delta`). The two agree only
  where truncation is rare, so a `batch_limit` that truncates often is refused.

Measured under both relations, at rates 0.001 to 1, noise multipliers 0.5 to 40, 1 to 1,000 steps and deltas 1e-3
to 1e-7: where epsilon is above 0.2, PRV is above PLD by at most 0.2 % and RDP above both by at least 3 %; below,
PRV and PLD differ by at most 0.0004 and RDP is never lower. PRV overflows near an epsilon of 700, and its mesh is
kept too coarse for a million steps that cost less than 0.3; both are refused like any other disagreement.

>>> from fedcore.privacy.accounting import DpEvent
>>> event = DpEvent(sampler="poisson", sampling_rate=0.3, noise_multiplier=2.0, steps=8)
>>> floor([event], 1e-5) < round(epsilon([event], 1e-5), 2)
True
"""

import functools
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from fedcore.errors import AccountantMismatch
from fedcore.privacy import accounting
from fedcore.privacy.accounting import DpEvent, merge, shared_relation
from fedcore.privacy.units import Relation

__all__ = [
    "ABSOLUTE_TOLERANCE",
    "ACCOUNTANT",
    "RELATIVE_TOLERANCE",
    "ReplaceOneLoss",
    "epsilon",
    "floor",
    "renyi",
    "require_agreement",
]

ACCOUNTANT = f"larger of Opacus {version('opacus')} PRV and dp-accounting {version('dp-accounting')} PLD; RDP not lower"
RELATIVE_TOLERANCE = 0.01
ABSOLUTE_TOLERANCE = 1e-3
"""Below an epsilon of 0.1 a hundredth is less than the accountants' own steps; the larger figure counts."""

_FINEST_MESH = 1e-6
"""Keeps PRV's arrays below some 50 million numbers, whatever the number of steps."""

_ORDERS = (
    *(1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0),
    *(float(order) for order in range(6, 16)),
    *(18.0, 21.0, 24.0, 28.0, 32.0, 40.0, 48.0, 56.0, 64.0, 80.0, 96.0, 128.0, 160.0, 192.0, 256.0, 384.0, 512.0),
    1024.0,
)
"""Renyi orders. Fewer orders only raise the bound; fractional ones are dear."""

_Array = npt.NDArray[np.float64]

_KEPT_NUMBERS = 1 << 20
"""Of half a mesh; what is larger is made again for each figure instead of being kept in memory."""


def epsilon(events: Iterable[DpEvent], delta: float, *, enough: float = math.inf) -> float:
    """Epsilon of all events together at `delta`: the larger of two upper bounds that agree.

    Guarantee: at least the figure of each accountant. Infinite when an event has no noise, 0 for no
    events. Once the figure is known to be above `enough`, dearer accountants are not asked, and what is
    returned is only known to be above `enough`: a plan with next to no noise costs no time or memory.

    Args:
        events: Everything released so far, in any order, under one neighbouring relation.
        delta: In (0, 1).
        enough: A limit; above it the exact figure does not matter.
    Raises:
        AccountantMismatch: The accountants differ by more than 1 % and 0.001, RDP is lower, one lies below the
            bound of `floor`, or one fails.
        InvalidPlan: The events are of two neighbouring relations.
    Reference: Gopi et al. 2021, arXiv:2106.02848 (PRV); Doroshenko et al. 2022, arXiv:2207.04380 (PLD); Mironov
        2017, arXiv:1702.07476 (RDP).
    """
    merged = merge(events)
    shared_relation(merged)
    return _epsilon(merged, delta, enough)


@functools.lru_cache(maxsize=1024)
def _epsilon(events: tuple[DpEvent, ...], delta: float, enough: float) -> float:
    if not events:
        return 0.0
    if any(e.effective_noise_multiplier == 0 for e in events):
        return math.inf
    least = floor(events, delta)
    if least > enough:
        return least
    pld = accounting.epsilon(events, delta)
    if pld > enough:
        return pld
    prv = _opacus(events, delta, near=pld)
    require_agreement(prv=prv, pld=pld, rdp=renyi(events, delta), least=least)
    return max(prv, pld)


def require_agreement(*, prv: float, pld: float, rdp: float, least: float) -> None:
    """Return when both accountants may be believed.

    Raises:
        AccountantMismatch: See `epsilon`.
    """
    close = abs(prv - pld) <= _tolerance(max(prv, pld))
    # The slack is for the floor's own floating point, far below either tolerance.
    sound = min(prv, pld) >= least * (1 - 1e-6) - 1e-6
    # Not lower, up to the accountants' own rounding up; NaN fails.
    bounded = rdp >= max(prv, pld) - _tolerance(max(prv, pld))
    if not (math.isfinite(prv) and math.isfinite(pld) and close and sound and bounded):
        raise AccountantMismatch(
            "accountants disagree about the same events, so nothing is spent",
            expected=f"figures within 1 %, not below {least:.6g} and not above RDP {rdp:.6g}",
            got=f"PRV {prv:.6g}, PLD {pld:.6g}",
            do="ask for another noise multiplier, rate or number of steps, and report these figures",
        )


def _tolerance(figure: float) -> float:
    return max(RELATIVE_TOLERANCE * figure, ABSOLUTE_TOLERANCE)


# What an attack achieves: a lower bound.


def floor(events: Iterable[DpEvent], delta: float) -> float:
    """A lower bound of epsilon at `delta`: what one concrete attack achieves.

    The attacker adds up the outputs of all steps of one kind and asks whether the sum passes a threshold.
    With a unit present the sum is a binomial mixture of Gaussians; without it it is one Gaussian, and with the
    opposite unit in its place the mirrored mixture. Any threshold t bounds epsilon from below by
    ln((P[S > t] - delta) / Q[S > t]). No accountant takes part, so no accountant's fault is shared. Binomial
    terms far from the mean are left out of P and counted as the largest term in Q, which only lowers the bound.
    A truncated sampler is attacked on a data set too small to be truncated.

    Args:
        events: Everything released so far, each with noise.
        delta: In (0, 1).
    Reference: Kairouz et al. 2015, Theorem 2.1 (hypothesis tests bound epsilon), arXiv:1311.0776.
    """
    return max((_sum_attack(e, delta) for e in merge(events)), default=0.0)


def _sum_attack(event: DpEvent, delta: float) -> float:
    """The bound of `floor` for events of one kind."""
    n, q = event.steps, event.sampling_rate
    std = event.effective_noise_multiplier * math.sqrt(n)
    spread = 8 * math.sqrt(n * q * (1 - q)) + 8
    counts = np.arange(max(0, math.floor(n * q - spread)), min(n, math.ceil(n * q + spread)) + 1)
    chances = _binomial(counts, n, q)
    counts, chances = counts[chances > 0], chances[chances > 0]
    lowest = -counts[-1] if event.relation == "replace_one" else 0
    # Beyond the last one even the largest count passes with a chance below delta.
    thresholds = np.linspace(lowest, counts[-1] - std * special.ndtri(delta), 512)
    present = np.zeros_like(thresholds)
    for count, chance in zip(counts, chances, strict=True):
        present += chance * special.ndtr((count - thresholds) / std)
    absent = np.asarray(special.log_ndtr(-thresholds / std))
    if event.relation == "replace_one":
        # Units left out of the sum by chance look alike in both, so the count 0 has the largest share in Q.
        left_out = max(0.0, 1.0 - math.fsum(chances)) + 1e-14
        absent = math.log(left_out) + absent
        for count, chance in zip(counts, chances, strict=True):
            absent = np.logaddexp(absent, math.log(chance) + special.log_ndtr((-count - thresholds) / std))
    hits = present > delta
    return float(max(0.0, np.max(np.log(present[hits] - delta) - absent[hits], initial=0.0)))


def _binomial(counts: npt.NDArray[np.int64], n: int, q: float) -> _Array:
    """Chance of each count in n coins of rate q; scipy.special loads much faster than scipy.stats."""
    ways = special.gammaln(n + 1) - special.gammaln(counts + 1) - special.gammaln(n - counts + 1)
    logarithm = ways + special.xlogy(counts, q) + special.xlog1py(n - counts, -q)
    return np.asarray(np.exp(logarithm), dtype=np.float64)


# Renyi differential privacy: a looser upper bound.


def renyi(events: Iterable[DpEvent], delta: float) -> float:
    """Epsilon at `delta` by Renyi differential privacy: an upper bound, usually a tenth above the truth.

    Args:
        events: Everything released so far, each with noise.
        delta: In (0, 1).
    Reference: Mironov et al. 2019, arXiv:1908.10530; the conversion is Balle et al. 2020, arXiv:1905.09982.
    """
    merged = merge(events)
    total = np.zeros(len(_ORDERS))
    for e in merged:
        total += e.steps * _renyi_step(replace(e, steps=1))
    return _renyi_epsilon(total, delta) if merged else 0.0


def _renyi_epsilon(divergences: _Array, delta: float) -> float:
    """Opacus' conversion, without its warning that the best order is the first or last."""
    from opacus.accountants.analysis.rdp import get_privacy_spent

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        figure, _ = get_privacy_spent(orders=list(_ORDERS), rdp=divergences, delta=delta)
    return max(0.0, float(figure))


@functools.lru_cache(maxsize=1024)
def _renyi_step(event: DpEvent) -> _Array:
    """Renyi divergence of one step at each of `_ORDERS`, the worse direction."""
    q, noise = event.sampling_rate, event.effective_noise_multiplier
    whole = _renyi_whole(event.relation, q, noise)
    chance = accounting.others_fill(event)
    if chance == 0:
        return whole
    # exp((a-1) D) is an expectation, so it is linear in a mixture that the attacker sees.
    factor = np.array(_ORDERS) - 1
    pushed = math.log(chance) + factor * _renyi_of_replacing(q, noise / 2)
    return np.asarray(np.logaddexp(pushed, math.log1p(-chance) + factor * whole if chance < 1 else -math.inf) / factor)


@functools.lru_cache(maxsize=1024)
def _renyi_whole(relation: Relation, q: float, noise: float) -> _Array:
    """As `_renyi_step`, of a step that is not truncated."""
    from opacus.accountants.analysis.rdp import compute_rdp

    if relation == "replace_one":
        return _renyi_of_replacing(q, noise)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return np.asarray(compute_rdp(q=q, noise_multiplier=noise, steps=1, orders=list(_ORDERS)))


def _renyi_of_replacing(q: float, noise: float) -> _Array:
    """Renyi divergence of (1-q) N(0) + q N(1) from (1-q) N(0) + q N(-1), by the trapezoid rule.

    The integrand of order a is smooth and ends within a few widths of -1 and of 2a - 1, so the rule converges
    faster than any power of its step; with a sixteenth of the width no error is left that float64 shows.
    """
    step = noise / 16
    x = np.arange(-1 - 12 * noise, 2 * _ORDERS[-1] + 12 * noise, step)
    one, other = _log_mixture(x, q, noise), _log_mixture(-x, q, noise)
    scale = math.log(step / (noise * math.sqrt(2 * math.pi)))
    ends = np.searchsorted(x, 2 * np.array(_ORDERS) + 12 * noise)
    terms = (a * one[:end] + (1 - a) * other[:end] for a, end in zip(_ORDERS, ends, strict=True))
    logarithms = np.array([float(special.logsumexp(term)) + scale for term in terms])
    return np.asarray(logarithms / (np.array(_ORDERS) - 1))


def _log_mixture(x: _Array, q: float, noise: float) -> _Array:
    """Logarithm of the density of (1-q) N(0) + q N(1) at x, but for the constant."""
    there = math.log(q) - ((x - 1) / noise) ** 2 / 2
    return np.asarray(np.logaddexp(math.log1p(-q) - (x / noise) ** 2 / 2, there)) if q < 1 else there


# Opacus' PRV: the second tight upper bound.


@dataclass(frozen=True)
class ReplaceOneLoss:
    """The privacy loss of a Poisson-sampled Gaussian step when one unit is replaced.

    The loss at x is ln(P(x) / Q(x)), where P = (1-q) N(0) + q N(1), Q = (1-q) N(0) + q N(-1), and x is drawn from
    P. It grows with x. With c = q exp(-1 / (2 s^2)) / (1-q) and y = exp(x / s^2) its value t solves
    (1 + c y) = e^t (1 + c / y): a quadratic in y, whose positive root gives x = s^2 (t/2 + asinh(sinh(t/2) / c)).

    Args:
        sample_rate: q in (0, 1].
        noise_multiplier: s, > 0.
    Reference: Gopi et al. 2021, arXiv:2106.02848 (what a composer needs of a loss); Lebeda et al. 2024,
        arXiv:2405.20769 (Poisson sampling under replacement).
    """

    sample_rate: float
    noise_multiplier: float

    def cdf(self, t: npt.ArrayLike) -> _Array:
        """The chance that the loss is at most `t`."""
        q, s = self.sample_rate, self.noise_multiplier
        half = np.asarray(t, dtype=np.float64) / 2
        x = s**2 * (half + (np.arcsinh(np.sinh(half) * (1 - q) / q * math.exp(1 / (2 * s**2))) if q < 1 else 0.0))
        return np.asarray((1 - q) * special.ndtr(x / s) + q * special.ndtr((x - 1) / s))


def _opacus(events: tuple[DpEvent, ...], delta: float, *, near: float) -> float:
    """Opacus' PRV upper bound, with an error term of about a thousandth of `near`.

    Raises:
        AccountantMismatch: The accountant could not finish, or truncation takes up delta.
    """
    remaining = _remaining(events, delta, near)
    rounded = tuple(replace(e, steps=accounting.round_up(e.steps)) for e in events)
    failure: Exception | None = None
    # The mesh of the rounded number of steps serves until the steps double. It may be too long to compute on.
    for mesh_events in dict.fromkeys((rounded, events)):
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                # At a large delta the interval around an epsilon of 0 reaches below 0.
                return max(0.0, _on_mesh(events, remaining, _mesh(mesh_events, delta)))
        except (RuntimeError, ArithmeticError, ValueError, TypeError, MemoryError, AccountantMismatch) as error:
            failure = error
    raise AccountantMismatch(
        f"Opacus' PRV accountant cannot account for these events ({type(failure).__name__})",
        do="ask for another noise multiplier, rate or number of steps",
    ) from failure


def _remaining(events: tuple[DpEvent, ...], delta: float, near: float) -> float:
    """What truncation leaves of `delta`.

    Raises:
        AccountantMismatch: Less than half of it.
    """
    # The bound holds for every epsilon up to `highest`, and none above it would be believed.
    highest = near + _tolerance(near)
    remaining = delta - accounting.truncation_delta(events, highest)
    if not remaining >= delta / 2:
        raise AccountantMismatch(
            "batches are truncated too often for a second accountant to follow",
            expected=f"truncation to add less than half of delta {delta:g}",
            do="raise batch_limit, or lower sampling_rate or largest_units",
        )
    return remaining


@dataclass(frozen=True)
class _Mesh:
    """Where privacy losses are put: multiples of `spacing` from `-end` to `end`, and the delta that is given up."""

    end: float
    spacing: float
    delta_error: float

    def scale(self, steps: int) -> float:
        """The error of epsilon after so many steps, over the spacing (Gopi et al., theorem 5.5)."""
        return math.sqrt(steps * math.log(12 / self.delta_error) / 2)


@functools.lru_cache(maxsize=64)
def _mesh(events: tuple[DpEvent, ...], delta: float) -> _Mesh:
    """A mesh for these events, and as sound for fewer steps of each.

    Gopi et al., theorem 5.5 and remark 5.6: the error of epsilon is the spacing times the root of the steps, given
    that the mesh ends beyond what all steps together, and each of them alone, lose but for a small delta. Of
    fewer steps both are less, so the longer mesh holds for them and their error is the less.

    Raises:
        AccountantMismatch: Truncation takes up delta.
    """
    from scipy.fft import next_fast_len

    near = accounting.epsilon(events, delta)
    steps = sum(e.steps for e in events)
    mesh = _Mesh(end=0.0, spacing=_FINEST_MESH, delta_error=_remaining(events, delta, near) / 1000)
    error = max(2e-4, 1e-3 * near, mesh.spacing * mesh.scale(steps))
    single = [_renyi_whole(e.relation, e.sampling_rate, e.effective_noise_multiplier) for e in events]
    whole = _renyi_epsilon(
        np.sum([e.steps * d for e, d in zip(events, single, strict=True)], axis=0), mesh.delta_error / 4
    )
    alone = max(_renyi_epsilon(d, mesh.delta_error / (8 * steps)) for d in single)
    spacing = error / mesh.scale(steps)
    # A domain from -end to end has twice this many numbers; further out costs less where they factor well.
    half = next_fast_len(math.ceil((max(whole, alone, error) + 3) / spacing) + 1, real=True)
    return replace(mesh, end=(half - 1.5) * spacing, spacing=spacing)


def _on_mesh(events: tuple[DpEvent, ...], delta: float, mesh: _Mesh) -> float:
    """As `PRVAccountant.get_epsilon` on a given mesh, all kinds of events composed at once.

    Gopi et al., algorithm 1: losses add up by a circular convolution. Opacus does the same for each kind of
    events, and then convolves kinds pair by pair.
    """
    from opacus.accountants.analysis.prv import DiscretePRV
    from scipy.fft import irfft

    parts = [_discrete(e.relation, e.sampling_rate, e.effective_noise_multiplier, mesh) for e in events]
    steps = sum(e.steps for e in events)
    domain = parts[0].domain
    spectrum = functools.reduce(np.multiply, (p.spectrum**e.steps for p, e in zip(parts, events, strict=True)))
    # A loss of 0 stands at size / 2 - 1, so a sum of many steps comes out so many times further to the right.
    losses = np.roll(irfft(spectrum, domain.size), steps - 1 + (domain.size // 2 if steps % 2 == 0 else 0))
    total = DiscretePRV(losses, domain.shift_right(sum(e.steps * p.shift for p, e in zip(parts, events, strict=True))))
    return float(total.compute_epsilon(delta, mesh.delta_error, mesh.spacing * mesh.scale(steps))[2])


@dataclass(frozen=True, eq=False)
class _Discrete:
    """The privacy loss of one step on a mesh: the Fourier transform of its chances, and how far all were moved."""

    domain: Any
    spectrum: npt.NDArray[np.complex128]
    shift: float


def _discrete(relation: Relation, rate: float, noise: float, mesh: _Mesh) -> _Discrete:
    """See `_Discrete`; kept unless it is large."""
    make = _discrete_kept if mesh.end / mesh.spacing < _KEPT_NUMBERS else _discrete_kept.__wrapped__
    return make(relation, rate, noise, mesh)


@functools.lru_cache(maxsize=8)
def _discrete_kept(relation: Relation, rate: float, noise: float, mesh: _Mesh) -> _Discrete:
    """As Opacus makes it."""
    # Deferred: torch takes seconds, and reading a ledger needs neither.
    from opacus.accountants.analysis.prv import (
        Domain,
        PoissonSubsampledGaussianPRV,
        TruncatedPrivacyRandomVariable,
        discretize,
    )
    from scipy.fft import rfft

    loss = ReplaceOneLoss(rate, noise) if relation == "replace_one" else PoissonSubsampledGaussianPRV(rate, noise)
    domain = Domain.create_aligned(-mesh.end, mesh.end, mesh.spacing)
    found = discretize(TruncatedPrivacyRandomVariable(loss, domain.t_min, domain.t_max), domain)
    return _Discrete(domain=domain, spectrum=rfft(found.pmf), shift=found.domain.shifts)
