"""Rules against bad updates, where the coordinator sees each update: many updates in, one out.

    rule              survives          std of its noise, n = 10 (many)   cost
    mean              nothing           1                                 one pass
    norm_bound        f of size         1, or less: it shrinks            two passes
    trimmed_mean      f < n / 2         1.06 at 20 % (1.07)               a sort of every coordinate
    geometric_median  f < n / 2         1.00                              that sort, then up to 100 passes
    median            f < n / 2         1.18 (1.25)                       a sort of every coordinate
    multi_krum        f < (n - 2) / 2   sqrt(n / kept), 1.29 for f = 2    n squared products
    krum              f < (n - 2) / 2   sqrt(n), 3.16                     n squared products

The third column is the noise's standard deviation in the result, over that in the mean: what a rule costs where
updates carry noise for differential privacy, with no bad update among them. The mean of n updates has 1 / sqrt(n)
of one update's noise. A median keeps sqrt(pi / 2) as much when n is large, and Krum, which returns one
update, all of it.

Privacy. Noise was added by each institution before it sent anything, so every rule is post-processing and costs no
privacy. Under masked sums nobody sees an update and no rule can run.

What no rule can do. Noise hides small attacks: in p coordinates of noise std s two honest updates lie about
s sqrt(2 p) apart, and a bad one at that distance looks like them. Where institutions differ, an honest
minority looks bad to a median or Krum (Karimireddy et al. 2022, arXiv:2006.09365).

Updates are rows of a matrix, (institutions, parameters), float32. Results do not depend on the order of the rows
to the last bit: rows are taken in order of their SHA-256, so that ties are broken by value. Sums are in
float64. Work goes by blocks of columns, so that no second copy of the matrix is made, but for a few vectors. That
order and those blocks are why all rules stand in one file. This module knows neither who sent a row, nor keys,
nor any update's noise.

>>> updates = np.array([[1.0, 2.0], [1.5, 2.5], [2.0, 3.0], [1e9, -1e9]], dtype=np.float32)
>>> aggregate(RobustRule(name="median", assumed_bad=1), updates).tolist()
[1.75, 2.25]
>>> aggregate(RobustRule(name="mean"), updates).tolist()[0]
250000000.0
>>> RobustRule(name="krum", assumed_bad=1).least_institutions
5
"""

import hashlib
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fedcore.adapter import FloatArray
from fedcore.errors import ConfigError
from fedcore.folding import RobustRule, require_real, require_whole, rules

__all__ = [
    "RobustRule",
    "aggregate",
    "clipped_mean",
    "coordinate_median",
    "geometric_median",
    "krum",
    "mean",
    "multi_krum",
    "rules",
    "trimmed_mean",
]

DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BLOCK_NUMBERS = 1 << 17
"""Numbers of a block of columns: one mebibyte as float64."""


def aggregate(rule: RobustRule, updates: FloatArray) -> FloatArray:
    """One update out of many: what takes the place of their mean.

    Guarantee: the result is finite and does not depend on the order of the rows.

    Args:
        rule: Which, with its settings.
        updates: Shape (institutions, parameters), float32, finite.
    Returns:
        Shape (parameters,).
    Raises:
        ConfigError: Too few updates for the rule, or a matrix of another form.
    """
    _form(updates)
    rule.check(len(updates))
    match rule.name:
        case "mean":
            return mean(updates)
        case "norm_bound":
            return clipped_mean(updates, rule.bound_l2)
        case "median":
            return coordinate_median(updates)
        case "trimmed_mean":
            # A product a hair below a whole number, such as 0.29 * 100, is that number.
            cut = math.floor(rule.trimmed_share * len(updates) + 1e-9)
            return trimmed_mean(updates, max(rule.assumed_bad, min(cut, (len(updates) - 1) // 2)))
        case "geometric_median":
            return geometric_median(updates, smoothing=rule.smoothing, iterations=rule.iterations)
        case "krum":
            return krum(updates, rule.assumed_bad)
        case _:
            return multi_krum(updates, rule.assumed_bad, rule.kept)


def mean(updates: FloatArray) -> FloatArray:
    """The mean of each coordinate.

    Noise: std 1 / sqrt(n) of one update's. One bad update moves it anywhere.

    Args:
        updates: As in `aggregate`.
    Raises:
        ConfigError: A matrix of another form.
    """
    _check(updates)
    return _weighted_sum(updates, _order(updates), np.full(len(updates), 1.0 / len(updates)))


def clipped_mean(updates: FloatArray, bound_l2: float | None = None) -> FloatArray:
    """Scale down each update whose norm is above a bound, then take the mean.

    Guarantee: f bad updates of any size move the result by at most 2 f / n times the bound; with the median as
    bound and f < n / 2, the bound is at most the largest honest norm.
    Noise: that of the mean, less what is scaled away. Against a bad update of ordinary size it does nothing.

    Args:
        updates: As in `aggregate`.
        bound_l2: Largest L2 norm kept, > 0; None takes the median of the norms, the lower of two.
    Raises:
        ConfigError: A matrix of another form, or the bound is out of range.
    Reference: Sun et al. 2019, arXiv:1911.07963.
    """
    _check(updates)
    if bound_l2 is not None:
        require_real("bound_l2", bound_l2, "a finite number above 0", low=math.ulp(0.0), below=math.inf)
    order = _order(updates)
    norms = np.sqrt(_square_distances(updates, order, None))
    bound = float(np.sort(norms)[(len(norms) - 1) // 2]) if bound_l2 is None else bound_l2
    factors = np.where(norms > bound, bound / np.where(norms > 0, norms, 1.0), 1.0)
    return _weighted_sum(updates, order, factors / len(updates))


def coordinate_median(updates: FloatArray) -> FloatArray:
    """The middle value of each coordinate; of an even count the mean of the two in the middle.

    Guarantee: with f < n / 2 bad updates of any size, each coordinate lies between the least and the largest
    honest value.
    Noise: std 1.18 times the mean's for n = 10, towards sqrt(pi / 2) = 1.25 for many.

    Args:
        updates: As in `aggregate`.
    Raises:
        ConfigError: A matrix of another form.
    Reference: Yin et al. 2018, arXiv:1803.01498, Algorithm 1, option I.
    """
    _check(updates)
    return _inner_mean(updates, (len(updates) - 1) // 2)


def trimmed_mean(updates: FloatArray, cut: int) -> FloatArray:
    """The mean of each coordinate without its `cut` largest and `cut` smallest values.

    Guarantee: with at most `cut` bad updates of any size, each coordinate lies between the least and the largest
    honest value.
    Noise: std 1.03 times the mean's for n = 10 and cut = 1, 1.06 for cut = 2, 1.11 for cut = 3.

    Args:
        updates: As in `aggregate`.
        cut: How many are dropped at each end, >= 0; 2 `cut` < n.
    Raises:
        ConfigError: A matrix of another form, or nothing would be left.
    Reference: Yin et al. 2018, arXiv:1803.01498, Algorithm 1, option II.
    """
    _check(updates)
    require_whole("the count of trimmed updates", cut, 0, (len(updates) - 1) // 2)
    return _inner_mean(updates, cut)


def krum(updates: FloatArray, assumed_bad: int) -> FloatArray:
    """The one update whose n - f - 2 nearest others are nearest: the least sum of squared distances.

    Guarantee: with at most f bad updates of any size, the result lies within D sqrt((n - f - 2) / (n - 2 f - 1)) of
    an honest update, where D is the largest distance between two honest ones.
    Noise: all that one update has, std sqrt(n) times the mean's.

    Args:
        updates: As in `aggregate`.
        assumed_bad: f, >= 0; n >= 2 f + 3.
    Raises:
        ConfigError: A matrix of another form, or too few updates.
    Reference: Blanchard et al. 2017, arXiv:1703.02757.
    """
    return _closest(updates, RobustRule(name="krum", assumed_bad=assumed_bad))


def multi_krum(updates: FloatArray, assumed_bad: int, kept: int | None = None) -> FloatArray:
    """The mean of the `kept` updates with the least scores of `krum`.

    Guarantee: each update kept lies within Krum's distance of an honest one.
    Noise: std sqrt(n / kept) times the mean's.

    Args:
        updates: As in `aggregate`.
        assumed_bad: f, >= 0; n >= 2 f + 3.
        kept: 1 to n - f - 2; None takes n - f - 2.
    Raises:
        ConfigError: A matrix of another form, or too few updates.
    Reference: Blanchard et al. 2017, arXiv:1703.02757.
    """
    return _closest(updates, RobustRule(name="multi_krum", assumed_bad=assumed_bad, kept=kept))


def geometric_median(updates: FloatArray, *, smoothing: float = 1e-6, iterations: int = 50) -> FloatArray:
    """The point whose distances to all updates have the least sum, by Weiszfeld's iteration, smoothed.

    It starts at the coordinate median, which is safe already, and no pass raises the smoothed sum, so the guarantee
    holds wherever it stops. Plain Weiszfeld would stay at a start that is an update itself; so the first pass
    smooths by a tenth of the median distance, and each one after by a tenth of that, down to `smoothing`.

    Guarantee: with f < n / 2 bad updates of any size, the result lies within
    (2 (n - f) + n s / 2) R / (n - 2 f) of the coordinate median, where R is the largest distance of an honest update
    from it and s = max(smoothing, 0.1).
    Noise: std 1.00 times the mean's, for in many coordinates all updates are about as far away. With one or two
    coordinates it is a median.

    Args:
        updates: As in `aggregate`.
        smoothing: Share of the median distance from the start; shorter distances count as that long. In (0, 1].
        iterations: Passes at most, >= 1; it stops earlier when a pass moves the point by less than the smoothing.
    Raises:
        ConfigError: A matrix of another form, or a number is out of range.
    Reference: Pillutla et al. 2022, RFA, arXiv:1912.13445. The shrinking of the smoothing is this module's own.
    """
    rule = RobustRule(name="geometric_median", smoothing=smoothing, iterations=iterations)
    _check(updates)
    order = _order(updates)
    point = coordinate_median(updates).astype(np.float64)
    distances = np.sqrt(_square_distances(updates, order, point))
    middle = float(np.sort(distances)[(len(distances) - 1) // 2])
    if not middle > 0:  # At least half of the updates are this point, so no other has a lesser sum.
        return point.astype(np.float32)
    for number in range(1, rule.iterations + 1):
        share = max(rule.smoothing, 10.0**-number)
        weights = 1.0 / np.maximum(distances, share * middle)
        moved = _sum_of_rows(updates, order, weights / weights.sum())
        point -= moved
        step, point = float(np.sqrt(np.dot(point, point))), moved
        if share == rule.smoothing and step < share * middle:
            break
        distances = np.sqrt(_square_distances(updates, order, point))
    return point.astype(np.float32) + np.float32(0)


def _form(updates: FloatArray) -> None:
    """A matrix with rows, float32."""
    if updates.ndim != 2 or updates.dtype != np.float32 or not len(updates):
        raise ConfigError(
            "updates must be a matrix", expected="float32, one row each", got=f"{updates.dtype} {updates.shape}"
        )


def _check(updates: FloatArray) -> None:
    """Such a matrix, and finite; looked at by blocks."""
    _form(updates)
    for start, stop in _spans(updates):
        if not np.isfinite(updates[:, start:stop]).all():
            raise ConfigError("an update holds NaN or infinity", do="drop such replies before they are combined")


def _spans(updates: FloatArray) -> Iterator[tuple[int, int]]:
    """Blocks of columns."""
    rows, columns = updates.shape
    width = max(1, _BLOCK_NUMBERS // rows)
    for start in range(0, columns, width):
        yield start, min(start + width, columns)


def _order(updates: FloatArray) -> IntArray:
    """The rows in an order that their values alone decide; rows that tie are the same."""
    digests = []
    for row in updates:
        h = hashlib.sha256()
        for start in range(0, len(row), _BLOCK_NUMBERS):
            # Adding zero makes minus zero plus zero: equal rows must have equal digests.
            h.update((row[start : start + _BLOCK_NUMBERS] + np.float32(0)).tobytes())
        digests.append(h.digest())
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64)


def _sum_of_rows(updates: FloatArray, order: IntArray, weights: DoubleArray) -> DoubleArray:
    """Sum over rows in `order` of weight times row."""
    out = np.empty(updates.shape[1], dtype=np.float64)
    for start, stop in _spans(updates):
        out[start:stop] = (updates[order, start:stop] * weights[:, None]).sum(axis=0)
    return out


def _weighted_sum(updates: FloatArray, order: IntArray, weights: DoubleArray) -> FloatArray:
    """As `_sum_of_rows`, in float32 and without minus zero."""
    return _sum_of_rows(updates, order, weights).astype(np.float32) + np.float32(0)


def _inner_mean(updates: FloatArray, cut: int) -> FloatArray:
    """The mean of each coordinate without `cut` values at each end."""
    rows, columns = updates.shape
    out = np.empty(columns, dtype=np.float32)
    for start, stop in _spans(updates):
        ranked = np.sort(updates[:, start:stop].T, axis=1)[:, cut : rows - cut]
        out[start:stop] = ranked.sum(axis=1, dtype=np.float64) / (rows - 2 * cut)
    return out + np.float32(0)


def _square_distances(updates: FloatArray, order: IntArray, point: DoubleArray | None) -> DoubleArray:
    """Of each row in `order` from a point; from zero where there is none."""
    out = np.zeros(len(order), dtype=np.float64)
    for start, stop in _spans(updates):
        block = updates[order, start:stop].astype(np.float64)
        if point is not None:
            block -= point[start:stop]
        out += np.square(block, out=block).sum(axis=1)
    return out


def _closest(updates: FloatArray, rule: RobustRule) -> FloatArray:
    """The mean of the rows whose n - f - 2 nearest others are nearest: of one for Krum."""
    _check(updates)
    rule.check(len(updates))
    near = len(updates) - rule.assumed_bad - 2
    kept = 1 if rule.name == "krum" else rule.kept or near
    order = _order(updates)
    distances = _pair_distances(updates, order)
    np.fill_diagonal(distances, np.inf)
    scores = np.sort(distances, axis=1)[:, :near].sum(axis=1)
    # A stable sort: of equal scores the row that comes first in order of SHA-256.
    best = np.sort(np.argsort(scores, kind="stable")[:kept])
    return _weighted_sum(updates, order[best], np.full(kept, 1.0 / kept))


def _pair_distances(updates: FloatArray, order: IntArray) -> DoubleArray:
    """Squared distances of all pairs of rows in `order`, from their products.

    Each pair's rounding error is relative to its own two norms, so that a huge row spoils no honest pair;
    distances below some 1e-7 of the norms are lost.
    """
    products = np.zeros((len(order), len(order)), dtype=np.float64)
    for start, stop in _spans(updates):
        block = updates[order, start:stop].astype(np.float64)
        products += block @ block.T
    squares = np.diag(products)
    distances = squares[:, None] + squares[None, :] - (products + products.T)
    result: DoubleArray = np.maximum(distances, 0.0)
    return result
