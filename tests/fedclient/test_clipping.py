"""Clipped sums: one unit moves them at most as far as the bound says."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedclient.clipping import LARGEST_BATCH_UNITS, by_unit, clipped_sum
from fedcore.errors import InvalidPlan
from fedcore.privacy.bounds import Clipping

SHAPES = ((2, 3), (4,), ())
MARGIN = 2.0**-18
AUTOMATIC = Clipping(rule="automatic", stability=0.01)
ADAPTIVE = Clipping(rule="adaptive", quantile=0.5, learning_rate=0.2, count_noise_multiplier=1.0)
RULES = [Clipping(), AUTOMATIC, ADAPTIVE]

calm = settings(deadline=None)

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


@calm
@given(scales, st.integers(0, 2**31), st.sampled_from([1e-31, 1e-3, 1.0, 50.0]), st.sampled_from(RULES), st.data())
def test_one_unit_moves_the_sum_at_most_the_bound(
    scales: list[float], seed: int, clip: float, rule: Clipping, data: st.DataObject
) -> None:
    grads = make(scales, seed)
    gone = data.draw(st.integers(0, len(scales) - 1))
    kept = [torch.cat([g[:gone], g[gone + 1 :]]) for g in grads]
    other = make([data.draw(st.sampled_from([0.0, 1e-3, 1e30]))], seed + 1)
    replaced = [torch.cat([g, o]) for g, o in zip(kept, other, strict=True)]
    whole = clipped_sum(grads, clip, clipping=rule)
    assert whole.l2_bound == clip
    assert distance(whole.value, clipped_sum(kept, clip, clipping=rule).value) <= clip
    assert distance(whole.value, clipped_sum(replaced, clip, clipping=rule).value) <= 2 * clip


def slow_sum(grads: list[torch.Tensor], clip: float, rule: Clipping) -> list[torch.Tensor]:
    """One unit at a time, in float64, as the papers have it."""
    slow = [torch.zeros(g.shape[1:], dtype=torch.float64) for g in grads]
    for unit in range(len(grads[0])):
        own = [g[unit].double() for g in grads]
        length = math.sqrt(sum(float((g**2).sum()) for g in own))
        scale = clip / (length + rule.stability) if rule.stability is not None else 1 / max(1.0, length / clip)
        for total, g in zip(slow, own, strict=True):
            total += g * scale
    return slow


@calm
@given(scales, st.integers(0, 2**31), st.sampled_from([1e-31, 1e-3, 1.0, 50.0]), st.sampled_from(RULES))
def test_the_sum_equals_one_unit_at_a_time(scales: list[float], seed: int, clip: float, rule: Clipping) -> None:
    grads = make(scales, seed)
    found = clipped_sum(grads, clip, clipping=rule).value
    for fast, total in zip(found, slow_sum(grads, clip, rule), strict=True):
        torch.testing.assert_close(fast, total, rtol=0, atol=2 * MARGIN * clip * len(scales))


@pytest.mark.parametrize("width", [1, 63, 64, 65, 200, 4096, 3 * 64 * 64 + 17, 1 << 18])
@pytest.mark.parametrize("rule", RULES)
def test_the_bound_holds_for_tensors_of_every_width(width: int, rule: Clipping) -> None:
    generator = torch.Generator().manual_seed(width)
    # What loses most where squares are added up in float32: large numbers, then many too small to count each.
    steep = torch.full((1, width), 2.0**-12.5)
    steep[0, :64] = 1.0
    for grads in (torch.full((1, width), 0.3), steep, torch.randn(1, width, generator=generator)):
        norm = float(clipped_sum([grads * 1e3, grads * 1e3], 1.0, clipping=rule).value[0].norm()) * math.sqrt(2)
        assert 1 - 2e-4 < norm <= 1.0


def test_many_units_that_point_alike_move_the_sum_by_no_more_than_the_bound() -> None:
    # In float32 each number of this sum would be rounded by 1e-5, a ten thousandth of the clip norm.
    units = 4096
    grads = torch.full((units, 3), 0.7) + torch.arange(units)[:, None] * 1e-6
    whole, without = clipped_sum([grads], 0.1), clipped_sum([grads[1:]], 0.1)
    assert 0.1 * (1 - 2 * MARGIN) <= distance(whole.value, without.value) <= 0.1
    alone = clipped_sum([grads[:1]], 0.1).value[0]
    assert float((whole.value[0] - without.value[0] - alone).norm()) < 1e-9


def test_the_margin_covers_the_worst_rounding_of_norms_and_sums() -> None:
    u32, u64 = 2.0**-24, 2.0**-53
    gamma = 64 * u32 / (1 - 64 * u32)
    norm_error = gamma / 2 + 2 * u32
    chain = LARGEST_BATCH_UNITS + 2
    sum_error = 2 * LARGEST_BATCH_UNITS * chain * u64 / (1 - chain * u64)
    assert (1 - MARGIN) * (1 + norm_error) + sum_error <= 1


@calm
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 2**31), st.sampled_from(RULES))
def test_sums_of_parts_add_up_in_place(parts: list[int], seed: int, rule: Clipping) -> None:
    grads = make([3.0] * sum(parts), seed)
    into = [torch.zeros(shape, dtype=torch.float64) for shape in SHAPES]
    count, start = 0.0, 0
    for size in parts:
        found = clipped_sum([g[start : start + size] for g in grads], 0.7, clipping=rule, into=into)
        assert all(v is i for v, i in zip(found.value, into, strict=True))
        count, start = count + (found.count or 0.0), start + size
    whole = clipped_sum(grads, 0.7, clipping=rule)
    assert distance(tuple(into), whole.value) <= 1e-12
    assert count == (whole.count or 0.0)


def test_a_sum_wider_than_its_space_of_work_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    grads = make([1.0, 2.0, 3.0, 4.0, 5.0], 3)
    expected = clipped_sum(grads, 1.0).value
    monkeypatch.setattr("fedclient.clipping._SPACE", {"cpu": 13})
    assert distance(clipped_sum(grads, 1.0).value, expected) <= 1e-15


norms_of_units = st.lists(
    st.sampled_from([0.0, 0.5, 1.0, 1.5, 1e20, float("inf"), float("nan")]), min_size=1, max_size=6
)


@calm
@given(norms_of_units, st.sampled_from([0.5, 1.0, 2.0]))
def test_one_unit_moves_the_count_by_one_half(norms: list[float], clip: float) -> None:
    def count(of: list[float]) -> float:
        found = clipped_sum([torch.tensor(of)[:, None]], clip, clipping=ADAPTIVE).count
        assert found is not None
        return found

    whole = count(norms)
    assert whole == sum((0.5 if n <= clip else -0.5) for n in norms)
    for gone in range(len(norms)):
        rest = norms[:gone] + norms[gone + 1 :]
        assert abs(whole - count(rest)) == 0.5
        for other in (0.0, 1e20, float("nan")):
            assert abs(whole - count([*rest, other])) <= 1.0


@pytest.mark.parametrize("rule", [Clipping(), AUTOMATIC])
def test_only_the_adaptive_rule_counts(rule: Clipping) -> None:
    assert clipped_sum(make([1.0, 2.0], 0), 1.0, clipping=rule).count is None


def test_the_automatic_rule_brings_long_and_short_gradients_to_the_clip_norm() -> None:
    for scale in (1.0, 1e3, 1e6):
        total = clipped_sum([torch.tensor([[3.0 * scale, 4.0 * scale]])], 2.0, clipping=AUTOMATIC).value[0]
        assert float(total.norm()) == pytest.approx(2.0 * 5 * scale / (5 * scale + 0.01), rel=1e-5)


def test_a_short_gradient_is_left_alone() -> None:
    grads = make([1e-4, 2e-4], 0)
    for fast, g in zip(clipped_sum(grads, 1.0).value, grads, strict=True):
        assert torch.equal(fast, g.double().sum(dim=0))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("rule", RULES)
def test_a_unit_that_is_not_finite_counts_as_zero(poison: float, rule: Clipping) -> None:
    grads = make([1.0, 5.0, 1.0], 1)
    others = [torch.cat([g[:1], g[2:]]) for g in grads]
    grads[0][1, 0, 2] = poison
    found = clipped_sum(grads, 1.0, clipping=rule).value
    for with_it, without in zip(found, clipped_sum(others, 1.0, clipping=rule).value, strict=True):
        assert torch.equal(with_it, without)


def test_no_units_sum_to_zero() -> None:
    value = clipped_sum([torch.zeros(0, *shape) for shape in SHAPES], 1.0).value
    assert [tuple(v.shape) for v in value] == list(SHAPES)
    assert not any(v.any() for v in value)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan"), float("inf")])
def test_a_clip_norm_out_of_range_is_refused(clip: float) -> None:
    with pytest.raises(InvalidPlan):
        clipped_sum(make([1.0], 0), clip)


@calm
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
    assert 1 - 2 * MARGIN <= float(value.norm()) <= 1.0


def test_a_bounded_sum_prints_no_number() -> None:
    assert repr(clipped_sum(make([1.0], 0), 1.0)) == "Bounded"
