"""Balanced factors: the best of their rank, lossless where the rank is enough, and always the same."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.errors import ConfigError
from fedserver.strategies._low_rank import balanced
from tests.reference.folds import nearest

few = settings(deadline=None, max_examples=60)
sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32 - 1)


def stacks(outputs: int, inputs: int, k: int, seed: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return random.normal(size=(outputs, k)).astype(np.float32), random.normal(size=(k, inputs)).astype(np.float32)


def product(left: Any, right: Any) -> Any:
    return left.astype(np.float64) @ right.astype(np.float64)


@few
@given(sizes, sizes, sizes, st.integers(1, 9), seeds)
def test_no_product_of_the_rank_is_nearer_and_the_tail_is_what_is_missing(
    outputs: int, inputs: int, k: int, rank: int, seed: int
) -> None:
    left, right = stacks(outputs, inputs, k, seed)
    whole = product(left, right)
    best = balanced(left, right, rank)
    assert (best.left.shape, best.right.shape) == ((outputs, rank), (rank, inputs))
    assert best.left.dtype == best.right.dtype == np.float32
    scale = np.abs(whole).max()
    missing = np.linalg.norm(whole - product(best.left, best.right))
    twin = np.linalg.norm(whole - nearest(whole, rank))
    assert missing == pytest.approx(twin, abs=2e-6 * scale * rank)
    assert best.tail_l2 == pytest.approx(twin, abs=1e-6 * scale)
    if rank >= min(outputs, inputs, k):
        assert missing <= 2e-6 * scale * rank, "a rank that is enough loses nothing"


@few
@given(sizes, sizes, sizes, st.integers(1, 9), seeds)
def test_factors_are_orthogonal_share_each_singular_value_and_fall(
    outputs: int, inputs: int, k: int, rank: int, seed: int
) -> None:
    left, right = stacks(outputs, inputs, k, seed)
    best = balanced(left, right, rank)
    values = np.linalg.svd(product(left, right), compute_uv=False)
    expected = np.zeros(rank)
    expected[: len(values[:rank])] = values[:rank]
    for gram in (product(best.left.T, best.left), product(best.right, best.right.T)):
        np.testing.assert_allclose(gram, np.diag(expected), atol=3e-6 * values[0])


@few
@given(st.integers(1, 5), seeds)
def test_the_way_by_a_small_core_and_the_dense_one_agree(k: int, seed: int) -> None:
    left, right = stacks(6, 7, k, seed)
    thin = balanced(left, right, 2)
    # The same product as a stack that is longer than a side.
    thick = balanced(np.eye(6), product(left, right), 2)
    np.testing.assert_allclose(thin.left, thick.left, atol=2e-5)
    np.testing.assert_allclose(thin.right, thick.right, atol=2e-5)


@few
@given(st.integers(2, 6), seeds)
def test_order_in_the_stacks_and_signs_of_their_pairs_do_not_matter(k: int, seed: int) -> None:
    left, right = stacks(7, 8, k, seed)
    random = np.random.default_rng(seed)
    order, signs = random.permutation(k), random.choice([-1.0, 1.0], k)
    one, other = balanced(left, right, 3), balanced((left * signs)[:, order], (right * signs[:, None])[order], 3)
    np.testing.assert_allclose(product(one.left, one.right), product(other.left, other.right), atol=1e-5)


@few
@given(st.integers(1, 4), seeds)
def test_turning_to_factors_before_leaves_the_product_and_no_rotation_brings_it_nearer(rank: int, seed: int) -> None:
    left, right = stacks(7, 6, 5, seed)
    near = stacks(7, 6, rank, seed + 1)
    plain, turned = balanced(left, right, rank), balanced(left, right, rank, near=near)
    np.testing.assert_allclose(product(turned.left, turned.right), product(plain.left, plain.right), atol=2e-5)

    def distance(b: Any, a: Any) -> float:
        return float(np.linalg.norm(b - near[0]) ** 2 + np.linalg.norm(a - near[1]) ** 2)

    reached = distance(turned.left, turned.right)
    random = np.random.default_rng(seed)
    for _ in range(20):
        rotation, _ = np.linalg.qr(random.normal(size=(rank, rank)))
        assert reached <= distance(plain.left @ rotation, rotation.T @ plain.right) + 1e-4


def test_factors_are_found_again_whatever_rotation_hid_them() -> None:
    random = np.random.default_rng(3)
    u, _ = np.linalg.qr(random.normal(size=(8, 3)))
    v, _ = np.linalg.qr(random.normal(size=(9, 3)))
    roots = np.sqrt([3.0, 2.0, 1.0])
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    b, a = (u * roots) @ turn, turn.T @ (roots[:, None] * v.T)
    found = balanced(b, a, 3, near=(b, a))
    np.testing.assert_allclose(found.left, b, atol=1e-6)
    np.testing.assert_allclose(found.right, a, atol=1e-6)


@pytest.mark.parametrize("k", [0, 1, 6])
def test_a_product_of_zero_keeps_the_spare_rows_so_that_it_can_learn_again(k: int) -> None:
    spare = np.arange(12, dtype=np.float32).reshape(3, 4)
    left, right = np.zeros((5, k), dtype=np.float32), np.ones((k, 4), dtype=np.float32)
    best = balanced(left, right, 3, spare=spare)
    assert (best.live, best.tail_l2) == (0, 0.0)
    assert not best.left.any()
    np.testing.assert_array_equal(best.right, spare)
    still = balanced(left, right, 3, spare=spare, near=(np.zeros((5, 3)), spare))
    np.testing.assert_allclose(still.right, spare, atol=1e-5)


def test_only_empty_slots_take_spare_rows() -> None:
    left, right = stacks(6, 7, 2, 1)
    spare = np.full((4, 7), 9.0, dtype=np.float32)
    best, plain = balanced(left, right, 4, spare=spare), balanced(left, right, 4)
    assert best.live == 2
    np.testing.assert_array_equal(best.left, plain.left)
    np.testing.assert_array_equal(best.right[:2], plain.right[:2])
    np.testing.assert_array_equal(best.right[2:], spare[2:])
    assert not plain.right[2:].any()


def test_the_same_numbers_give_the_same_bits() -> None:
    left, right = stacks(20, 30, 8, 5)
    one, other = balanced(left, right, 4), balanced(left.copy(), right.copy(), 4)
    assert one.left.tobytes() == other.left.tobytes()
    assert one.right.tobytes() == other.right.tobytes()
    assert (one.left[np.abs(one.left).argmax(axis=0), range(4)] > 0).all(), "the sign of each pair is fixed"


@pytest.mark.parametrize(
    ("left", "right", "rank", "what"),
    [
        (np.ones((3, 2)), np.ones((3, 4)), 1, "do not fit"),
        (np.ones(3), np.ones((3, 4)), 1, "do not fit"),
        (np.ones((3, 2)), np.ones((2, 4)), 0, "rank is out of range"),
        (np.full((3, 2), np.nan), np.ones((2, 4)), 1, "NaN or infinity"),
        (np.ones((3, 2)), np.full((2, 4), np.inf), 1, "NaN or infinity"),
    ],
)
def test_what_is_no_product_is_refused(left: Any, right: Any, rank: int, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        balanced(left, right, rank)
