"""What scores prove about privacy: lower bounds on epsilon, each with the confidence at which it holds.

An accountant bounds epsilon from above; an audit bounds the same epsilon from below by attacking. Where the
lower bound passes the upper one, the code does not do what is accounted for. A low lower bound proves
nothing by itself. This module turns numbers into bounds: it knows no model, plan, sampler or noise source,
and no accountant takes part, so that no accountant's fault is shared.

Every interval here has a stated confidence at each end by itself, for finite samples: nothing rests on
"large enough".

>>> round(gaussian_epsilon(1.0, 1e-5), 2)
4.38
>>> round(one_run_epsilon(correct=100, guesses=100, canaries=200, delta=1e-5, confidence=0.95), 2)
3.49
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from fedcore.errors import InvalidPlan

__all__ = [
    "GaussianForm",
    "Interval",
    "auc",
    "batch_sizes_p_value",
    "correlation_p_value",
    "gaussian_epsilon",
    "gaussian_form",
    "membership_epsilon",
    "one_run_epsilon",
    "rate_interval",
]

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate; each end alone holds with the confidence that the interval was asked for."""

    low: float
    estimate: float
    high: float


@dataclass(frozen=True, kw_only=True)
class GaussianForm:
    """What a noised sum of canaries shows about the mechanism that made it.

    Args:
        shift: By how much one canary moves the sum, in clip norms: at most 1 when clipping holds.
        noise_std: Standard deviation of the noise, in clip norms: the noise multiplier that was meant.
        noise_multiplier: Noise over shift, which alone decides epsilon.
    """

    shift: Interval
    noise_std: Interval
    noise_multiplier: Interval


def gaussian_form(outputs: npt.ArrayLike, design: npt.ArrayLike, *, confidence: float) -> GaussianForm:
    """Read shift and noise off a noised sum whose canaries were made for it.

    The model is outputs = shift * design + noise, one noise level for all coordinates. Coordinates whose
    design is 0, which no canary points at, give the noise; the others give the shift, independently. Many
    canaries may share a coordinate: the noise there is that of one, so the shift of each is measured the more
    sharply. The shift found is a mean over canaries, so at least one canary moves the sum by as much, and
    the noise multiplier's upper end is valid whatever the single shifts are.

    Args:
        outputs: Noised sum, in clip norms, any shape.
        design: What the canaries in the sum add up to in each coordinate if each has norm 1; same shape.
        confidence: Of each end of each interval, in (0, 1).
    Raises:
        InvalidPlan: There are fewer than two coordinates without a canary, or none with one.
    Reference: Exact Gaussian theory (chi-square and Student's t); the two bounds that make up one end of
        the multiplier share its chance of failing (Bonferroni).
    """
    y, d = np.asarray(outputs, dtype=np.float64).ravel(), np.asarray(design, dtype=np.float64).ravel()
    silent = y[d == 0]
    if y.shape != d.shape or len(silent) < 2 or not np.any(d):
        raise InvalidPlan("an audit needs coordinates with canaries and at least two without")
    half = (1 - confidence) / 2
    dof = len(silent)
    squares = float(silent @ silent)
    std = math.sqrt(squares / dof)
    noise = Interval(
        low=math.sqrt(squares / (2 * special.gammainccinv(dof / 2, half))),
        estimate=std,
        high=math.sqrt(squares / (2 * special.gammaincinv(dof / 2, half))),
    )
    weight = float(d @ d)
    mean = float(d @ y) / weight
    reach = float(special.stdtrit(dof, 1 - half)) * std / math.sqrt(weight)
    shift = Interval(low=mean - reach, estimate=mean, high=mean + reach)
    return GaussianForm(
        shift=shift,
        noise_std=noise,
        noise_multiplier=Interval(
            low=_ratio(noise.low, shift.high), estimate=_ratio(std, mean), high=_ratio(noise.high, shift.low)
        ),
    )


def _ratio(noise: float, shift: float) -> float:
    """Noise over shift; a shift that may be nothing bounds nothing."""
    return noise / shift if shift > 0 else math.inf


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Epsilon at `delta` of telling N(0, 1) from N(mu, 1): the Gaussian mechanism's own curve, exact.

    Args:
        mu: Shift over standard deviation, >= 0; that of n steps is sqrt(n) times as large.
        delta: In (0, 1).
    Reference: Balle and Wang 2018, arXiv:1805.06530, Theorem 8.
    """
    if mu <= 0:
        return 0.0
    if not math.isfinite(mu):
        return math.inf

    def above(epsilon: float) -> bool:
        gone = epsilon + special.log_ndtr(-epsilon / mu - mu / 2)
        return bool(special.ndtr(mu / 2 - epsilon / mu) - math.exp(min(gone, 700.0)) > delta)

    low, high = 0.0, 1.0
    if not above(low):
        return 0.0
    while above(high):
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) else (low, middle)
    return low


def membership_epsilon(
    scores: npt.ArrayLike,
    members: npt.ArrayLike,
    *,
    guesses: Sequence[int],
    delta: float,
    confidence: float,
) -> float:
    """A lower bound of epsilon from one run whose canaries entered by fair coins, for any mechanism.

    For each number of guesses k the k canaries of highest score are guessed to be members and the k of
    lowest score not to be; the others are not guessed. The largest bound counts, each at its share of the
    confidence, so the numbers must be chosen before the scores are seen.

    Args:
        scores: Of each canary; higher means more like a member.
        members: Whether each canary entered, by its own fair coin.
        guesses: Numbers k, each from 1 to half the canaries.
        delta: In [0, 1).
        confidence: Chance that the bound is below the truth, at least.
    Raises:
        InvalidPlan: A number of guesses is out of range, or scores and members differ in number.
    Reference: Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, Theorem 5.2 and Algorithm 1.
    """
    s, inside = np.asarray(scores, dtype=np.float64), np.asarray(members, dtype=np.bool_)
    if s.shape != inside.shape or not guesses or not all(1 <= k <= len(s) // 2 for k in guesses):
        raise InvalidPlan("numbers of guesses are out of range", expected="from 1 to half the canaries")
    order = np.argsort(s, kind="stable")
    share = 1 - (1 - confidence) / len(guesses)
    return max(
        one_run_epsilon(
            correct=int(np.sum(inside[order[-k:]]) + np.sum(~inside[order[:k]])),
            guesses=2 * k,
            canaries=len(s),
            delta=delta,
            confidence=share,
        )
        for k in guesses
    )


def one_run_epsilon(*, correct: int, guesses: int, canaries: int, delta: float, confidence: float) -> float:
    """The epsilon that so many correct guesses refute: all smaller ones have a p-value below 1 - confidence.

    Args:
        correct: Guesses that were right, from 0 to `guesses`.
        guesses: How many canaries were guessed.
        canaries: How many entered or not, each by its own fair coin.
        delta: In [0, 1).
        confidence: In (0, 1).
    Raises:
        InvalidPlan: A number is out of range.
    Reference: Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, Theorem 5.2.
    """
    if not 0 <= correct <= guesses <= canaries or guesses < 1 or not 0 < confidence < 1:
        raise InvalidPlan("an audit's counts are out of range", expected="0 <= correct <= guesses <= canaries")

    def refuted(epsilon: float) -> bool:
        return _one_run_p_value(epsilon, correct, guesses, canaries, delta) < 1 - confidence

    low, high = 0.0, 1.0
    if not refuted(low):
        return 0.0
    while refuted(high) and high < 64:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def _one_run_p_value(epsilon: float, correct: int, guesses: int, canaries: int, delta: float) -> float:
    """The most probable that `correct` right guesses are, under (epsilon, delta)-differential privacy."""
    right = float(special.expit(epsilon))
    tail = 1.0 if correct == 0 else float(special.bdtrc(correct - 1, guesses, right))
    # Theorem 5.2's second term: delta may be spent on turning i wrong guesses into right ones.
    below = np.cumsum(_binomial(np.arange(correct - 1, -1, -1), guesses, right))
    worst = float(np.max(below / np.arange(1, correct + 1), initial=0.0))
    return min(1.0, tail + 2 * canaries * delta * worst)


def auc(inside: npt.ArrayLike, outside: npt.ArrayLike, *, confidence: float) -> Interval:
    """The chance that a member's score is above a non-member's, ties counting half.

    Each end holds with `confidence` for any distribution of scores: a two-sample U-statistic deviates no
    more than a mean of as many coins as the smaller sample has.

    Raises:
        InvalidPlan: One of the samples is empty.
    Reference: Hoeffding 1963, "Probability inequalities for sums of bounded random variables", section 5b.
    """
    a, b = np.asarray(inside, dtype=np.float64), np.sort(np.asarray(outside, dtype=np.float64))
    if not len(a) or not len(b):
        raise InvalidPlan("an AUC needs members and others")
    below, up_to = np.searchsorted(b, a, side="left"), np.searchsorted(b, a, side="right")
    value = float(np.mean(below + up_to)) / (2 * len(b))
    reach = math.log(1 / (1 - confidence)) / min(len(a), len(b))
    return Interval(low=1 - _chernoff(1 - value, reach), estimate=value, high=_chernoff(value, reach))


def _chernoff(value: float, reach: float) -> float:
    """The largest chance whose relative entropy from `value` is at most `reach`."""
    low, high = value, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        distance = float(special.rel_entr(value, middle) + special.rel_entr(1 - value, 1 - middle))
        low, high = (middle, high) if distance <= reach else (low, middle)
    return high


def rate_interval(hits: int, trials: int, *, confidence: float) -> Interval:
    """The chance behind `hits` in `trials` independent coins (Clopper and Pearson 1934).

    Raises:
        InvalidPlan: There are no trials, or more hits than trials.
    """
    if not 0 <= hits <= trials or trials < 1:
        raise InvalidPlan("a rate cannot be estimated", expected="0 <= hits <= trials, at least one trial")
    tail = 1 - confidence
    return Interval(
        low=0.0 if hits == 0 else float(special.betaincinv(hits, trials - hits + 1, tail)),
        estimate=hits / trials,
        high=1.0 if hits == trials else float(special.betainccinv(hits + 1, trials - hits, tail)),
    )


def batch_sizes_p_value(sizes: Sequence[int], *, units: int, rate: float) -> float:
    """Whether batch sizes scatter as independent coins make them: a two-sided p-value, exact.

    A shuffled loader gives batches of one size; the sum of squared distances from the middle is then far
    too small. Its distribution under Poisson sampling is computed by convolution.

    Args:
        sizes: Of independent batches.
        units: In the data set.
        rate: Chance of each unit, in (0, 1).
    """
    middle = round(units * rate)
    reach = min(max(middle, units - middle), math.ceil(12 * math.sqrt(units * rate * (1 - rate)) + 24))
    counts = np.arange(max(0, middle - reach), min(units, middle + reach) + 1)
    chance = np.zeros(reach * reach + 1)
    np.add.at(chance, (counts - middle) ** 2, _binomial(counts, units, rate))
    length = len(sizes) * reach * reach + 1
    padded = 1 << math.ceil(math.log2(length + 1))
    together = np.clip(np.fft.irfft(np.fft.rfft(chance, padded) ** len(sizes), padded)[:length], 0, None)
    found = sum((size - middle) ** 2 for size in sizes)
    if found >= length:
        return 0.0
    return float(min(1.0, 2 * min(np.sum(together[: found + 1]), np.sum(together[found:]))))


def correlation_p_value(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Whether two series of Gaussian noise of mean 0 are independent: a two-sided p-value, exact.

    Noise that repeats correlates fully; independent noise of n values by about 1 / sqrt(n).

    Raises:
        InvalidPlan: The series differ in length, or have fewer than three values.
    """
    x, y = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    if len(x) != len(y) or len(x) < 3:
        raise InvalidPlan("a correlation needs two series of one length, of at least three values")
    scale = math.sqrt(float(x @ x) * float(y @ y))
    if scale == 0:
        return 1.0  # No noise at all repeats nothing.
    r = float(x @ y) / scale
    # The square of a direction cosine of a Gaussian vector is Beta(1/2, (n - 1)/2).
    return float(special.betaincc(0.5, (len(x) - 1) / 2, min(1.0, r * r)))


def _binomial(counts: npt.NDArray[np.int64], n: int, chance: float) -> Numbers:
    """Chance of each count in n coins; scipy.special loads much faster than scipy.stats."""
    ways = special.gammaln(n + 1) - special.gammaln(counts + 1) - special.gammaln(n - counts + 1)
    logarithm = ways + special.xlogy(counts, chance) + special.xlog1py(n - counts, -chance)
    return np.asarray(np.exp(logarithm), dtype=np.float64)
