"""Clipped sums: one unit moves them at most as far as the bound says."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedclient.clipping import by_unit, clipped_sum
from fedcore.errors import InvalidPlan

SHAPES = ((2, 3), (4,), ())

scales = st.lists(st.sampled_from([0.0, 1e-30, 1e-3, 0.5, 1.0, 7.0, 1e6, 1e30]), min_size=1, max_size=6)


def make(scales: list[float], seed: int) -> list[torch.Tensor]:
    """Random gradients of as many units as scales, one tensor a shape."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.tensor(scales)
    return [
        torch.randn((len(scales), *shape), generator=generator) * factor.view(-1, *[1] * len(shape)) for shape in SHAPES
    ]


def distance(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> float:
    return math.sqrt(sum(float(((a - b) ** 2).sum()) for a, b in zip(one, other, strict=True)))


@given(scales, st.integers(0, 2**31), st.sampled_from([1e-3, 1.0, 50.0]), st.data())
def test_one_unit_moves_the_sum_at_most_the_bound(
    scales: list[float], seed: int, clip: float, data: st.DataObject
) -> None:
    grads = make(scales, seed)
    gone = data.draw(st.integers(0, len(scales) - 1))
    kept = [torch.cat([g[:gone], g[gone + 1 :]]) for g in grads]
    whole, without = clipped_sum(grads, clip), clipped_sum(kept, clip)
    assert whole.l2_bound == clip
    assert distance(whole.value, without.value) <= clip


@given(scales, st.integers(0, 2**31), st.sampled_from([1e-3, 1.0, 50.0]))
def test_the_sum_equals_one_unit_at_a_time(scales: list[float], seed: int, clip: float) -> None:
    grads = make(scales, seed)
    slow = [torch.zeros(shape, dtype=torch.float64) for shape in SHAPES]
    for unit in range(len(scales)):
        own = [g[unit].double() for g in grads]
        length = math.sqrt(sum(float((g**2).sum()) for g in own))
        for total, g in zip(slow, own, strict=True):
            total += g / max(1.0, length / clip)
    for fast, total in zip(clipped_sum(grads, clip).value, slow, strict=True):
        torch.testing.assert_close(fast, total, rtol=1e-7, atol=1e-7 * clip)


def test_a_short_gradient_is_left_alone() -> None:
    grads = make([1e-4, 2e-4], 0)
    for fast, g in zip(clipped_sum(grads, 1.0).value, grads, strict=True):
        assert torch.equal(fast, g.double().sum(dim=0))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_a_unit_that_is_not_finite_counts_as_zero(poison: float) -> None:
    grads = make([1.0, 5.0, 1.0], 1)
    others = [torch.cat([g[:1], g[2:]]) for g in grads]
    grads[0][1, 0, 2] = poison
    for with_it, without in zip(clipped_sum(grads, 1.0).value, clipped_sum(others, 1.0).value, strict=True):
        assert torch.equal(with_it, without)


def test_no_units_sum_to_zero() -> None:
    value = clipped_sum([torch.zeros(0, *shape) for shape in SHAPES], 1.0).value
    assert [tuple(v.shape) for v in value] == list(SHAPES)
    assert not any(v.any() for v in value)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan"), float("inf")])
def test_a_clip_norm_out_of_range_is_refused(clip: float) -> None:
    with pytest.raises(InvalidPlan):
        clipped_sum(make([1.0], 0), clip)


@given(st.lists(st.integers(0, 3), max_size=7), st.integers(0, 2**31))
def test_examples_add_up_by_unit(owners: list[int], seed: int) -> None:
    grads = torch.randn(len(owners), 2, 3, generator=torch.Generator().manual_seed(seed))
    found = by_unit(grads, torch.tensor(owners, dtype=torch.long), 4)
    for unit in range(4):
        own = [grads[i] for i, owner in enumerate(owners) if owner == unit]
        torch.testing.assert_close(found[unit], sum(own, torch.zeros(2, 3)))


def test_norms_are_float32_or_better_for_half_precision_gradients() -> None:
    grads = torch.full((1, 4096), 0.3, dtype=torch.bfloat16)
    value = clipped_sum([by_unit(grads, torch.tensor([0]), 1)], 1.0).value[0]
    assert float(value.norm()) <= 1.0
    assert float(value.norm()) == pytest.approx(1.0, rel=1e-6)


def test_a_bounded_sum_prints_no_number() -> None:
    assert repr(clipped_sum(make([1.0], 0), 1.0)) == "Bounded"
