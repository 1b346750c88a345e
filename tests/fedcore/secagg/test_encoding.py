"""Fixed point: the stated error, no overflow, and plans that could overflow refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedcore.errors import InvalidPlan, RoundError
from fedcore.privacy.integer_accounting import SharedNoise
from fedcore.privacy.integer_noise import SecureIntegerNoise
from fedcore.secagg.encoding import RingPlan


def make(**changes: object) -> RingPlan:
    fields = {
        "parties": 4,
        "parameters": 8,
        "bound_l2": 1.0,
        "resolution": 2.0**-10,
        "share_std_units": 0,
        "bits": 16,
        **changes,
    }
    return RingPlan(**fields)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(
    values=arrays.arrays(np.float64, (5, 8), elements=st.floats(-0.35, 0.35)),
    exponent=st.integers(3, 12),
)
def test_a_sum_is_within_its_stated_error(values: np.ndarray, exponent: int) -> None:
    plan = make(parties=5, resolution=2.0**-exponent)
    total = np.zeros(8, dtype="<u2")
    for one in values:
        total += plan.encode(one)
    assert (np.abs(plan.decode(total) - values.sum(axis=0)) < plan.error_bound).all()


@settings(max_examples=100, deadline=None)
@given(values=arrays.arrays(np.float64, (8,), elements=st.floats(-1e300, 1e300)))
def test_no_vector_is_longer_than_the_bound_once_encoded(values: np.ndarray) -> None:
    plan = make()
    decoded = plan.decode(plan.encode(values))
    slack = plan.resolution * math.sqrt(8)
    assert np.linalg.norm(decoded) <= plan.bound_l2 + slack
    if np.linalg.norm(values) <= plan.bound_l2:
        assert (np.abs(decoded - values) < plan.resolution).all()


def test_rounding_is_right_on_average() -> None:
    plan = make(parties=1, parameters=400_000, bound_l2=4000.0, resolution=1.0)
    for value in (0.25, -0.25, 0.9, -3.1):
        decoded = plan.decode(plan.encode(np.full(400_000, value)))
        assert set(np.unique(decoded)) == {math.floor(value), math.ceil(value)}
        assert abs(decoded.mean() - value) < 5 * 0.5 / math.sqrt(400_000)


def test_whole_steps_are_encoded_exactly() -> None:
    plan = make(bound_l2=16.0, resolution=2.0**-8)
    values = np.array([0, 1, -1, 2, -2, 0.5, -0.00390625, 3.25])
    assert (plan.decode(plan.encode(values)) == values).all()


def test_the_worst_sum_stays_in_the_ring() -> None:
    """All parties at the bound in one coordinate: the largest sum there is without noise."""
    plan = RingPlan.choose(parties=7, parameters=3, bound_l2=0.9, coarsest=1.0, share_std_units=lambda _: 0)
    for sign in (1, -1):
        total = np.zeros(3, dtype=f"<u{plan.bits // 8}")
        for _ in range(7):
            total += plan.encode(np.array([sign * 0.9, 0, 0]))
        assert abs(plan.decode(total)[0] - sign * 6.3) < plan.error_bound


def test_a_plan_that_could_overflow_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="overflow"):
        make(resolution=2.0**-14)
    with pytest.raises(InvalidPlan, match="overflow"):
        make(share_std_units=3000)
    with pytest.raises(InvalidPlan, match="overflow"):
        RingPlan.choose(parties=10, parameters=10, bound_l2=1e6, coarsest=1e-6, share_std_units=lambda _: 0)
    # One step less than the ring's half is the last that fits: 4 * (2**13 - 2 + 1) = 2**15 - 4.
    make(bound_l2=float(2**13 - 2), resolution=1.0)
    with pytest.raises(InvalidPlan):
        make(bound_l2=float(2**13 - 1), resolution=1.0)


def test_the_narrowest_ring_and_its_finest_resolution_are_chosen() -> None:
    def choose(coarsest: float, std: float = 0.0) -> RingPlan:
        return RingPlan.choose(
            parties=16,
            parameters=500_000,
            bound_l2=1.0,
            coarsest=coarsest,
            share_std_units=lambda resolution: math.ceil(std / resolution),
        )

    narrow, wide = choose(2.0**-8), choose(2.0**-12)
    assert (narrow.bits, wide.bits) == (16, 32)
    for plan in (narrow, wide):
        with pytest.raises(InvalidPlan):
            RingPlan(**{**plan.__dict__, "resolution": plan.resolution / 2})
    assert choose(2.0**-8, std=8.0).bits == 32
    assert choose(2.0**-4, std=0.5).bits == 16


@pytest.mark.parametrize(
    "changes",
    [
        {"parties": 0},
        {"parameters": 0},
        {"bound_l2": math.inf},
        {"bound_l2": 0.0},
        {"resolution": 0.3},
        {"resolution": 0.0},
        {"bits": 24},
        {"share_std_units": -1},
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidPlan):
        make(**changes)


def test_noise_is_there_exactly_where_the_plan_promises_it() -> None:
    silent, noisy = make(), make(share_std_units=100)
    with pytest.raises(RoundError):
        noisy.encode(np.zeros(8))
    with pytest.raises(RoundError):
        silent.encode(np.zeros(8), np.ones(8, dtype=np.int64))
    with pytest.raises(RoundError):
        silent.encode(np.zeros(7))
    with pytest.raises(RoundError):
        silent.decode(np.zeros(8, dtype="<u4"))
    assert noisy.decode(noisy.encode(np.zeros(8), np.arange(8)))[7] == 7 * noisy.resolution


@pytest.mark.parametrize("bits", [16, 32])
def test_shared_noise_sums_to_the_promised_spread_in_the_ring(bits: int) -> None:
    """Four encoded vectors, two of them honest: the sum carries at least the plan's sigma from any two."""
    parameters, clip = 20_000, 1.0
    resolution = 2.0**-8 if bits == 16 else 2.0**-16
    noise = SharedNoise.choose(
        noise_multiplier=1.0, honest_minimum=2, parameters=parameters, clip_norm_l2=clip, resolution=resolution
    )
    plan = RingPlan(
        parties=4,
        parameters=parameters,
        bound_l2=4.0,
        resolution=resolution,
        share_std_units=noise.share_std_units,
        bits=bits,
    )
    values = np.full(parameters, 0.002)
    total = np.zeros(parameters, dtype=f"<u{bits // 8}")
    for _ in range(4):
        total += plan.encode(values, SecureIntegerNoise().discrete_gaussian(parameters, noise.share_std_units))
    error = plan.decode(total) - 4 * values
    assert abs(error.mean()) < 5 * error.std() / math.sqrt(parameters)
    expected = math.sqrt(4) * noise.share_std_units * resolution
    assert abs(error.std() / expected - 1) < 0.05
    assert expected / math.sqrt(2) >= 1.0
