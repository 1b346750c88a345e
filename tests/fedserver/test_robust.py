"""Rules against bad updates: what they keep with f outliers of any size, and what a slow twin says."""

import math
import statistics
import tracemalloc
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedcore.adapter import FloatArray
from fedcore.errors import ConfigError
from fedserver.robust import (
    RobustRule,
    aggregate,
    clipped_mean,
    coordinate_median,
    geometric_median,
    krum,
    mean,
    multi_krum,
    rules,
    trimmed_mean,
)

few = settings(deadline=None, max_examples=30)
ANY = float(np.finfo(np.float32).max)
usual = st.floats(-100, 100, width=32)
extreme = st.sampled_from([ANY, -ANY, 1e30, -1e10, 1e3, 0.0, -0.0, 1e-40])


def matrices(low: int, high: int, elements: Any = usual) -> Any:
    return st.tuples(st.integers(low, high), st.integers(1, 5)).flatmap(
        lambda shape: arrays.arrays(np.float32, shape, elements=elements)
    )


def every_rule(rows: int) -> list[RobustRule]:
    """Each rule with as many bad updates as so many rows allow."""
    half, third = (rows - 1) // 2, (rows - 3) // 2
    found = [
        RobustRule(name="mean"),
        RobustRule(name="norm_bound", assumed_bad=half),
        RobustRule(name="norm_bound", assumed_bad=half, bound_l2=3.0),
        RobustRule(name="median", assumed_bad=half),
        RobustRule(name="trimmed_mean", assumed_bad=half),
        RobustRule(name="trimmed_mean", trimmed_share=0.2),
        RobustRule(name="geometric_median", assumed_bad=half),
    ]
    if rows >= 3:
        found += [RobustRule(name=name, assumed_bad=third) for name in ("krum", "multi_krum")]
        found.append(RobustRule(name="multi_krum", kept=1))
    return found


def spread(rows: FloatArray) -> float:
    """The largest distance between two rows."""
    return max((math.dist(a, b) for a, b in combinations(rows.astype(np.float64), 2)), default=0.0)


def nearest(point: FloatArray, rows: FloatArray) -> float:
    return min(math.dist(point.astype(np.float64), row) for row in rows.astype(np.float64))


@st.composite
def attacked(draw: st.DrawFn, *, least: Callable[[int], int]) -> tuple[FloatArray, FloatArray, int]:
    """Honest rows, all rows in some order, and how many of those are bad."""
    bad = draw(st.integers(0, 3))
    rows = draw(st.integers(least(bad), least(bad) + 3))
    columns = draw(st.integers(1, 4))
    honest = draw(arrays.arrays(np.float32, (rows - bad, columns), elements=usual))
    outliers = draw(arrays.arrays(np.float32, (bad, columns), elements=st.one_of(usual, extreme)))
    if bad and draw(st.booleans()):
        outliers[:] = outliers[0]  # They collude.
    order = draw(st.permutations(range(rows)))
    return honest, np.concatenate([honest, outliers])[order], bad


# Slow, obvious twins.


def by_column(updates: FloatArray, rule: Callable[[list[float]], float]) -> FloatArray:
    return np.array([rule([float(v) for v in column]) for column in updates.T], dtype=np.float32)


def twin_trimmed(updates: FloatArray, cut: int) -> FloatArray:
    return by_column(updates, lambda v: math.fsum(sorted(v)[cut : len(v) - cut]) / (len(v) - 2 * cut))


def twin_clipped(updates: FloatArray, bound: float | None) -> FloatArray:
    rows = [[float(v) for v in row] for row in updates]
    norms = [math.hypot(*row) for row in rows]
    bound = statistics.median_low(norms) if bound is None else bound
    kept = [[v * min(1.0, bound / n) if n else v for v in row] for row, n in zip(rows, norms, strict=True)]
    return np.array([math.fsum(column) / len(rows) for column in zip(*kept, strict=True)], dtype=np.float32)


def twin_scores(updates: FloatArray, bad: int) -> list[float]:
    scores = []
    for i, row in enumerate(updates):
        others = [math.dist(row, other) ** 2 for j, other in enumerate(updates) if j != i]
        scores.append(math.fsum(sorted(others)[: len(updates) - bad - 2]))
    return scores


def objective(point: Any, updates: FloatArray) -> float:
    return math.fsum(math.dist([float(v) for v in point], [float(v) for v in row]) for row in updates)


@given(matrices(1, 9))
@few
def test_mean_and_median_are_those_of_the_statistics_library(updates: FloatArray) -> None:
    np.testing.assert_allclose(mean(updates), by_column(updates, statistics.fmean), rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(coordinate_median(updates), by_column(updates, statistics.median))


@given(matrices(1, 9), st.integers(0, 4))
@few
def test_trimmed_mean_is_that_of_its_twin(updates: FloatArray, cut: int) -> None:
    if 2 * cut < len(updates):
        np.testing.assert_allclose(trimmed_mean(updates, cut), twin_trimmed(updates, cut), rtol=1e-6, atol=1e-12)


@given(matrices(1, 9), st.one_of(st.none(), st.floats(0.1, 100)))
@few
def test_clipped_mean_is_that_of_its_twin(updates: FloatArray, bound: float | None) -> None:
    np.testing.assert_allclose(clipped_mean(updates, bound), twin_clipped(updates, bound), rtol=1e-5, atol=1e-5)


@given(st.integers(3, 9), st.integers(0, 2**32), st.data())
@few
def test_krum_keeps_those_of_the_least_score_of_its_twin(rows: int, seed: int, data: st.DataObject) -> None:
    updates = np.random.default_rng(seed).standard_normal((rows, 4)).astype(np.float32)
    bad = data.draw(st.integers(0, (rows - 3) // 2))
    kept = data.draw(st.integers(1, rows - bad - 2))
    ranked = np.argsort(twin_scores(updates, bad))
    best = updates[ranked[0]], updates[ranked[:kept]].astype(np.float64).mean(axis=0)
    # The two nearest to each other score the same where one neighbour counts: either may be taken.
    if rows - bad - 2 > 1:
        np.testing.assert_array_equal(krum(updates, bad), best[0])
        np.testing.assert_allclose(multi_krum(updates, bad, kept), best[1], rtol=1e-5, atol=1e-6)
    else:
        scores = twin_scores(updates, bad)
        taken = [i for i, row in enumerate(updates) if np.array_equal(row, krum(updates, bad))]
        assert min(scores[i] for i in taken) == pytest.approx(min(scores))


@given(matrices(1, 8), st.integers(0, 2**32))
@few
def test_no_point_near_the_geometric_median_has_a_lesser_sum_of_distances(updates: FloatArray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = geometric_median(updates, iterations=5000)
    least = objective(found, updates)
    tolerance = 1e-3 * (1 + spread(updates))
    for row in updates:
        assert least <= objective(row, updates) + tolerance
    for size in (1e-2, 1.0, 10.0):
        for _ in range(5):
            assert least <= objective(found + size * rng.standard_normal(found.shape), updates) + tolerance


def test_geometric_median_of_a_triangle_is_its_fermat_point() -> None:
    updates = np.array([[0, 0], [1, 0], [0.5, math.sqrt(3) / 2]], dtype=np.float32)
    assert geometric_median(updates) == pytest.approx([0.5, math.sqrt(3) / 6], abs=1e-5)
    # The start is an update itself, and not the point that is looked for.
    right = np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float32)
    assert geometric_median(right) == pytest.approx([(1 - 1 / math.sqrt(3)) / 2] * 2, abs=1e-5)
    # Of four corners of a convex figure it is where the diagonals meet.
    corners = np.array([[0, 0], [4, 4], [4, 0], [0, 1]], dtype=np.float32)
    assert geometric_median(corners) == pytest.approx([0.8, 0.8], abs=1e-4)
    assert mean(corners) != pytest.approx([0.8, 0.8], abs=0.1)


# What holds of every rule.


@given(matrices(1, 9, st.one_of(usual, extreme)), st.randoms(use_true_random=False))
@few
def test_order_of_institutions_changes_no_bit(updates: FloatArray, random: Any) -> None:
    order = list(range(len(updates)))
    random.shuffle(order)
    for rule in every_rule(len(updates)):
        assert aggregate(rule, updates).tobytes() == aggregate(rule, updates[order]).tobytes()


def test_order_would_change_the_bits_of_a_plain_sum() -> None:
    updates = np.random.default_rng(0).standard_normal((9, 400)).astype(np.float32) * np.float32(1e6) ** np.arange(
        -4, 5
    ).reshape(-1, 1).astype(np.float32)
    turned = np.ascontiguousarray(updates[::-1])
    plain = [u.astype(np.float64).sum(axis=0).tobytes() for u in (updates, turned)]
    assert plain[0] != plain[1]
    for rule in every_rule(9):
        assert aggregate(rule, updates).tobytes() == aggregate(rule, turned).tobytes()


def test_zeros_of_either_sign_are_the_same() -> None:
    zeros = np.array([[0.0, -0.0], [-0.0, -0.0], [-0.0, -0.0]], dtype=np.float32)
    for rule in every_rule(3):
        for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
            assert aggregate(rule, zeros[order]).tobytes() == bytes(8)


def test_ties_are_broken_by_value() -> None:
    # Three corners of an equal-sided figure: every score is the same, whichever comes first.
    corners = np.eye(3, dtype=np.float32)
    chosen = {krum(corners[list(order)], 0).tobytes() for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1))}
    assert len(chosen) == 1


@given(arrays.arrays(np.float32, st.integers(0, 6), elements=st.one_of(usual, extreme)), st.integers(1, 9))
@few
def test_identical_updates_give_that_update(update: FloatArray, rows: int) -> None:
    for rule in every_rule(rows):
        if rule.bound_l2 is None:
            np.testing.assert_array_equal(aggregate(rule, np.tile(update, (rows, 1))), update)


@given(matrices(3, 7))
@few
def test_updates_are_left_as_they_were_whatever_their_layout_in_memory(updates: FloatArray) -> None:
    before = updates.copy()
    updates.flags.writeable = False
    for rule in every_rule(len(updates)):
        result = aggregate(rule, updates)
        assert result.dtype == np.float32
        assert result.shape == updates.shape[1:]
        assert result.tobytes() == aggregate(rule, np.asfortranarray(updates)).tobytes()
    np.testing.assert_array_equal(updates, before)


@pytest.mark.parametrize("rule", every_rule(7), ids=lambda r: f"{r.name}-{r.assumed_bad}")
def test_blocks_of_columns_change_nothing(rule: RobustRule, monkeypatch: pytest.MonkeyPatch) -> None:
    updates = np.random.default_rng(2).standard_normal((7, 53)).astype(np.float32)
    whole = aggregate(rule, updates)
    monkeypatch.setattr("fedserver.robust._BLOCK_NUMBERS", 70)
    np.testing.assert_allclose(aggregate(rule, updates), whole, rtol=1e-6)


@pytest.mark.parametrize("rule", every_rule(16), ids=lambda r: f"{r.name}-{r.assumed_bad}")
def test_no_second_copy_of_the_updates_is_made(rule: RobustRule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedserver.robust._BLOCK_NUMBERS", 1 << 11)
    updates = np.random.default_rng(3).standard_normal((64, 1 << 12), dtype=np.float32)
    tracemalloc.start()
    try:
        aggregate(rule, updates)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < updates.nbytes / 3


# Bad updates.


@given(attacked(least=lambda f: 2 * f + 1))
@few
def test_bad_updates_leave_median_and_trimmed_mean_between_honest_values(
    case: tuple[FloatArray, FloatArray, int],
) -> None:
    honest, updates, bad = case
    margin = 1e-5 * (1 + np.abs(honest).max(axis=0))
    for name in ("median", "trimmed_mean"):
        result = aggregate(RobustRule(name=name, assumed_bad=bad), updates)
        assert (result >= honest.min(axis=0) - margin).all()
        assert (result <= honest.max(axis=0) + margin).all()


@given(attacked(least=lambda f: 2 * f + 3))
@few
def test_bad_updates_leave_krum_near_an_honest_update(case: tuple[FloatArray, FloatArray, int]) -> None:
    honest, updates, bad = case
    rows = len(updates)
    reach = spread(honest) * math.sqrt((rows - bad - 2) / (rows - 2 * bad - 1))
    slack = 1e-4 * (1 + float(np.abs(honest).max()))
    assert nearest(krum(updates, bad), honest) <= reach + slack
    # A mean of points that each lie so near to some honest one.
    assert nearest(multi_krum(updates, bad), honest) <= reach + spread(honest) + slack


@given(attacked(least=lambda f: 2 * f + 1), st.sampled_from([1, 2, 50]))
@few
def test_bad_updates_leave_the_geometric_median_near_the_coordinate_median(
    case: tuple[FloatArray, FloatArray, int], iterations: int
) -> None:
    honest, updates, bad = case
    rows, start = len(updates), coordinate_median(updates)
    radius = max(math.dist(start, row) for row in honest.astype(np.float64))
    reach = (2 * (rows - bad) + rows * 0.05) / (rows - 2 * bad) * radius
    result = geometric_median(updates, iterations=iterations)
    assert math.dist(result, start) <= reach * (1 + 1e-5) + 1e-4


@given(attacked(least=lambda f: 2 * f + 1))
@few
def test_bad_updates_move_the_clipped_mean_by_their_share_of_the_bound(
    case: tuple[FloatArray, FloatArray, int],
) -> None:
    honest, updates, bad = case
    rows = len(updates)
    norms = [float(np.linalg.norm(row.astype(np.float64))) for row in updates]
    bound = statistics.median_low(norms)
    assert bound <= max(np.linalg.norm(row.astype(np.float64)) for row in honest) * (1 + 1e-9)
    # What the honest alone would add, clipped to the same bound.
    alone = twin_clipped(honest, bound).astype(np.float64) * len(honest) / rows if bound else 0 * honest[0]
    assert math.dist(clipped_mean(updates), alone) <= bad / rows * bound + 1e-4 * (1 + bound)


@pytest.mark.parametrize("name", sorted(rules()))
def test_mean_breaks_down_where_the_rules_hold(name: str) -> None:
    rng = np.random.default_rng(7)
    honest = (np.ones(50) + 0.1 * rng.standard_normal((8, 50))).astype(np.float32)
    updates = np.concatenate([honest, np.full((2, 50), -1e6, dtype=np.float32)])
    rule = RobustRule(name=name, assumed_bad=0 if name == "mean" else 2)
    error = float(np.abs(aggregate(rule, updates) - 1).max())
    assert error > 1e5 if name == "mean" else error < (1.0 if name == "norm_bound" else 0.5)


@pytest.mark.parametrize("name", sorted(rules()))
def test_bad_majority_breaks_every_rule_that_knows_no_public_bound(name: str) -> None:
    rng = np.random.default_rng(8)
    honest = (np.ones(50) + 0.1 * rng.standard_normal((4, 50))).astype(np.float32)
    updates = np.concatenate([honest, np.full((7, 50), -1e6, dtype=np.float32)])
    rule = RobustRule(name=name, assumed_bad=0 if name == "mean" else 4)
    assert float(aggregate(rule, updates).max()) < -1e5


def test_fixed_bound_limits_even_a_majority() -> None:
    updates = np.concatenate([np.ones((2, 4)), np.full((9, 4), -1e30)]).astype(np.float32)
    result = aggregate(RobustRule(name="norm_bound", assumed_bad=9, bound_l2=2.0), updates)
    assert np.linalg.norm(result) <= 2


@pytest.mark.parametrize("copies", [2, 3])
def test_colluding_copies_win_in_krum_only_where_too_few_bad_are_assumed(copies: int) -> None:
    honest = np.random.default_rng(9).standard_normal((copies + 3, 30)).astype(np.float32)
    updates = np.concatenate([honest, np.full((copies, 30), 3.0, dtype=np.float32)])
    assert nearest(krum(updates, copies), honest) == 0
    more = np.concatenate([honest, np.full((copies + 3, 30), 3.0, dtype=np.float32)])
    assert nearest(krum(more, copies + 1), more[-1:]) == 0


# Noise.


@pytest.mark.parametrize(
    ("rule", "factor"),
    [
        (RobustRule(name="mean"), 1.0),
        (RobustRule(name="norm_bound"), 1.0),
        (RobustRule(name="median"), 1.18),
        (RobustRule(name="trimmed_mean", assumed_bad=1), 1.03),
        (RobustRule(name="trimmed_mean", trimmed_share=0.2), 1.06),
        (RobustRule(name="trimmed_mean", assumed_bad=3), 1.11),
        (RobustRule(name="geometric_median", assumed_bad=2), 1.0),
        (RobustRule(name="multi_krum", assumed_bad=2), math.sqrt(10 / 6)),
        (RobustRule(name="krum", assumed_bad=2), math.sqrt(10)),
    ],
    ids=lambda v: f"{v.name}-{v.assumed_bad}" if isinstance(v, RobustRule) else "",
)
def test_noise_kept_is_the_documented_factor_of_the_means(rule: RobustRule, factor: float) -> None:
    updates = np.random.default_rng(10).standard_normal((10, 20_000), dtype=np.float32)
    assert aggregate(rule, updates).std() * math.sqrt(10) == pytest.approx(factor, rel=0.03)


def test_median_of_many_keeps_a_quarter_more_noise() -> None:
    updates = np.random.default_rng(11).standard_normal((101, 5_000), dtype=np.float32)
    assert coordinate_median(updates).std() * math.sqrt(101) == pytest.approx(math.sqrt(math.pi / 2), rel=0.03)
    trimmed = aggregate(RobustRule(name="trimmed_mean", trimmed_share=0.2), updates)
    assert trimmed.std() * math.sqrt(101) == pytest.approx(1.07, rel=0.03)


# Refusals.


@pytest.mark.parametrize(
    ("rule", "least"),
    [
        (RobustRule(name="mean"), 1),
        (RobustRule(name="norm_bound", assumed_bad=2), 5),
        (RobustRule(name="norm_bound", assumed_bad=2, bound_l2=1.0), 3),
        (RobustRule(name="median", assumed_bad=2), 5),
        (RobustRule(name="trimmed_mean", assumed_bad=2, trimmed_share=0.4), 5),
        (RobustRule(name="geometric_median", assumed_bad=2), 5),
        (RobustRule(name="krum", assumed_bad=2), 7),
        (RobustRule(name="krum"), 3),
        (RobustRule(name="multi_krum", assumed_bad=2), 7),
        (RobustRule(name="multi_krum", assumed_bad=2, kept=6), 10),
    ],
)
def test_too_few_updates_are_refused_with_what_to_do(rule: RobustRule, least: int) -> None:
    assert rule.least_institutions == least
    updates = np.ones((least, 3), dtype=np.float32)
    assert np.isfinite(aggregate(rule, updates)).all()
    with pytest.raises(ConfigError, match=f"at least {least}; got {least - 1}; raise the quorum") as caught:
        rule.check(least - 1)
    assert rule.name in str(caught.value)
    if least > 1:
        with pytest.raises(ConfigError, match="at least"):
            aggregate(rule, updates[1:])


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "average"},
        {"name": "mean", "assumed_bad": 1},
        {"name": "median", "assumed_bad": -1},
        {"name": "median", "assumed_bad": 1.0},
        {"name": "median", "assumed_bad": True},
        {"name": "trimmed_mean", "trimmed_share": 0.5},
        {"name": "trimmed_mean", "trimmed_share": -0.1},
        {"name": "trimmed_mean", "trimmed_share": math.nan},
        {"name": "norm_bound", "bound_l2": 0.0},
        {"name": "norm_bound", "bound_l2": math.inf},
        {"name": "norm_bound", "bound_l2": math.nan},
        {"name": "multi_krum", "kept": 0},
        {"name": "geometric_median", "smoothing": 0.0},
        {"name": "geometric_median", "smoothing": 1.5},
        {"name": "geometric_median", "iterations": 0},
        {"name": "median", "trimmed_share": 0.1},
        {"name": "mean", "bound_l2": 1.0},
        {"name": "krum", "kept": 2},
        {"name": "krum", "smoothing": 0.1},
        {"name": "median", "iterations": 3},
    ],
)
def test_settings_that_cannot_hold_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        RobustRule(**fields)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_by_every_rule(value: float) -> None:
    updates = np.ones((7, 4), dtype=np.float32)
    updates[3, 2] = value
    for rule in every_rule(7):
        with pytest.raises(ConfigError, match="NaN"):
            aggregate(rule, updates)


@pytest.mark.parametrize(
    "updates", [np.ones(4, dtype=np.float32), np.ones((4, 4)), np.ones((0, 4), dtype=np.float32), np.float32(1)]
)
def test_matrix_of_another_form_is_refused(updates: Any) -> None:
    for rule in every_rule(9):
        with pytest.raises(ConfigError, match="matrix"):
            aggregate(rule, np.asarray(updates))


@pytest.mark.parametrize("cut", [-1, 2, 3])
def test_trimming_that_leaves_nothing_is_refused(cut: int) -> None:
    with pytest.raises(ConfigError, match="0 to 1"):
        trimmed_mean(np.ones((4, 2), dtype=np.float32), cut)


@pytest.mark.parametrize(
    ("share", "bad", "rows", "cut"),
    [(0.2, 0, 10, 2), (0.2, 3, 10, 3), (0.29, 0, 100, 29), (0.49, 0, 3, 1), (0.1, 0, 9, 0), (0.499999999999, 0, 4, 1)],
)
def test_share_trimmed_is_rounded_down_and_never_below_the_bad(share: float, bad: int, rows: int, cut: int) -> None:
    updates = np.random.default_rng(rows).standard_normal((rows, 5)).astype(np.float32)
    rule = RobustRule(name="trimmed_mean", assumed_bad=bad, trimmed_share=share)
    np.testing.assert_array_equal(aggregate(rule, updates), trimmed_mean(updates, cut))


def test_every_rule_has_one_line_and_runs() -> None:
    assert set(rules()) == {rule.name for rule in every_rule(5)}
    assert all(line and "\n" not in line and len(line) < 120 for line in rules().values())
