"""The plan of a job's sums: no more noise than is needed, no less than is promised, and no ring that overflows."""

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from fedcore.errors import InvalidPlan
from fedcore.privacy.integer_noise import LARGEST_STD
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.sums import SumPlan, largest_batch_units


def private(**changes: Any) -> PrivacyPlan:
    fields: dict[str, Any] = {
        "unit": PrivacyUnit(key="patient"),
        "sampling_rate": 0.05,
        "steps_per_round": 1,
        "expected_batch_units": 16.0,
        "examples_per_unit": 1,
        "clip_norm_l2": 1.0,
        "noise_multiplier": 1.0,
        "delta": 1e-5,
        "mechanism": "discrete_gaussian",
        "honest_minimum": 3,
    }
    return PrivacyPlan(**{**fields, **changes})


def own_noise() -> PrivacyPlan:
    return private(mechanism="gaussian", honest_minimum=None)


def choose(privacy: PrivacyPlan, **changes: Any) -> SumPlan:
    fields: dict[str, Any] = {"parameters": 1000, "parties": 5, "threshold": 4, "colluders": 1, **changes}
    return SumPlan.choose(privacy, **fields)


def coarse() -> SumPlan:
    """Of 16 bits, so that the numbers are small."""
    return SumPlan(parties=4, threshold=3, colluders=0, bits=32, resolution=2.0**-8, bound_l2=40.0, share_std_units=200)


@settings(max_examples=40, deadline=None)
@given(
    noise=st.floats(0.3, 20),
    clip=st.floats(1e-3, 50),
    batch=st.floats(0.1, 2000),
    parameters=st.integers(1, 200_000),
    price=st.floats(1.0001, 3),
    parties=st.integers(3, 64),
)
def test_the_chosen_plan_fits_its_ring_and_carries_no_less_and_hardly_more_than_is_promised(
    noise: float, clip: float, batch: float, parameters: int, price: float, parties: int
) -> None:
    privacy = private(noise_multiplier=noise, clip_norm_l2=clip, expected_batch_units=batch, honest_minimum=2)
    try:
        sums = SumPlan.choose(
            privacy,
            parameters=parameters,
            parties=parties,
            threshold=parties - 1,
            colluders=min(1, parties - 3),
            largest_price=price,
        )
    except InvalidPlan as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert "overflow" in refused or "so many steps" in refused
        return
    sums.check(privacy, parameters)
    carried = sums.noise(privacy, parameters)
    assert carried.carried_noise_multiplier >= noise
    # Shares of at least 4 steps are asked for, whatever would be enough.
    assert carried.price <= price or sums.share_std_units == 4
    assert math.frexp(sums.resolution)[0] == 0.5
    # One step less is too little: the share is the least.
    if sums.share_std_units > 4:
        with pytest.raises(InvalidPlan, match="carry less"):
            replace(sums, share_std_units=sums.share_std_units - 1).check(privacy, parameters)


def test_a_finer_resolution_than_the_chosen_one_overflows_or_has_no_sampler() -> None:
    for privacy in (private(), private(noise_multiplier=8.0), own_noise()):
        sums = choose(privacy, update_bound_l2=None if privacy.shares_noise else 3.0)
        finer = sums.resolution / 2
        with pytest.raises(InvalidPlan, match=r"overflow|out of range"):
            replace(sums, resolution=finer, share_std_units=2 * sums.share_std_units).check(privacy, 1000)


def test_more_bytes_are_not_spent_than_the_price_asks_for() -> None:
    """A looser price may halve the ring."""
    privacy = private(noise_multiplier=2.0, expected_batch_units=4)
    assert choose(privacy, parameters=50).bits == 32
    assert choose(privacy, parameters=50, largest_price=2.0).bits == 16


def test_no_share_is_chosen_that_the_sampler_cannot_draw() -> None:
    privacy = private(noise_multiplier=4.0, expected_batch_units=2, honest_minimum=2)
    sums = choose(privacy, parties=3, threshold=2, colluders=0)
    assert sums.share_std_units <= LARGEST_STD
    with pytest.raises(InvalidPlan, match="out of range"):
        replace(sums, share_std_units=LARGEST_STD + 1).noise(privacy, 1000)


@pytest.mark.parametrize("price", [1.0, 1.00001, 0.0, -1.0, 10.1, math.nan, math.inf])
def test_a_price_out_of_range_is_refused(price: float) -> None:
    with pytest.raises(InvalidPlan, match="largest_price"):
        choose(private(), largest_price=price)


@pytest.mark.parametrize("expected", [0.01, 0.5, 1, 4, 16, 100, 5000, 1e6])
def test_hardly_any_batch_is_larger_than_the_bound(expected: float) -> None:
    units = largest_batch_units(private(expected_batch_units=expected))
    assert poisson.sf(units, expected) < 1e-8
    assert units <= expected + 6 * math.sqrt(expected) + 7


def test_a_batch_beyond_the_bound_is_scaled_down_and_moves_no_further() -> None:
    """What `largest_batch_units` leaves out costs accuracy, never privacy: a projection brings no two sums apart."""
    sums = coarse()
    ring = replace(sums, share_std_units=0).ring(50)
    rng = np.random.default_rng(3)
    for _ in range(50):
        whole = rng.normal(size=50)
        whole *= 3 * sums.bound_l2 / np.linalg.norm(whole)
        unit = rng.normal(size=50)
        unit /= np.linalg.norm(unit)
        one, other = (ring.decode(ring.encode(v)) for v in (whole, whole + unit))
        assert np.linalg.norm(one) <= sums.bound_l2 + sums.resolution * math.sqrt(50)
        # Two roundings, each by less than a step a coordinate.
        assert np.linalg.norm(one - other) <= 1.0 + 2 * sums.resolution * math.sqrt(50)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"parties": 1}, "parties"),
        ({"parties": 4097}, "parties"),
        ({"parties": True}, "parties"),
        ({"parties": 4.0}, "parties"),
        ({"threshold": 1}, "threshold"),
        ({"threshold": 5}, "threshold"),
        ({"threshold": 2}, "too low"),
        ({"colluders": -1}, "colluders"),
        ({"colluders": 2}, "too low"),
        ({"colluders": None}, "colluders"),
    ],
)
def test_a_threshold_with_two_sums_or_one_honest_input_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidPlan, match=match):
        replace(coarse(), **changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"bits": 8}, "bits"),
        ({"bits": 64}, "bits"),
        ({"bits": 32.0}, None),
        ({"resolution": 0.003}, "power of two"),
        ({"resolution": 0.0}, None),
        ({"resolution": -(2.0**-8)}, None),
        ({"resolution": math.nan}, None),
        ({"resolution": math.inf}, None),
        ({"resolution": 10**400}, None),
        ({"resolution": "1"}, None),
        ({"bound_l2": 0.0}, None),
        ({"bound_l2": math.nan}, None),
        ({"bound_l2": math.inf}, None),
        ({"bound_l2": 1e9}, "overflow"),
        ({"bound_l2": None}, None),
        ({"share_std_units": 10**6, "bits": 16}, "overflow"),
        ({"share_std_units": 3}, "too small"),
        ({"share_std_units": LARGEST_STD + 1}, "out of range"),
        ({"share_std_units": 0}, None),
        ({"share_std_units": -200}, None),
        ({"share_std_units": 200.0}, None),
        ({"share_std_units": True}, None),
        ({"share_std_units": 10**400}, None),
        ({"share_std_units": 100}, "carry less"),
    ],
)
def test_a_sum_that_does_not_hold_is_refused(changes: dict[str, Any], match: str | None) -> None:
    coarse().check(private(), 1000)
    with pytest.raises(InvalidPlan, match=match):
        replace(coarse(), **changes).check(private(), 1000)


def test_more_honest_institutions_than_a_sum_must_hold_are_refused() -> None:
    with pytest.raises(InvalidPlan, match="fewer honest institutions"):
        coarse().check(private(honest_minimum=4), 1000)


def test_a_share_that_nobody_accounts_for_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="does not account for"):
        coarse().check(own_noise(), 1000)
    replace(coarse(), share_std_units=0).check(own_noise(), 1000)
    with pytest.raises(InvalidPlan, match="shares no noise"):
        coarse().noise(own_noise(), 1000)


def test_a_plan_reads_back_equal_and_nothing_else_is_read() -> None:
    assert SumPlan.from_dict(asdict(coarse())) == coarse()
    good = asdict(coarse())
    for bad in ({}, {**good, "more": 1}, {k: v for k, v in good.items() if k != "bits"}, [], "sums", 7):
        with pytest.raises(InvalidPlan):
            SumPlan.from_dict(bad)  # type: ignore[arg-type]


def test_members_of_the_terms_fit_the_plan() -> None:
    keys = [f"{n:064x}" for n in range(5)]
    members = tuple(zip("abcde", keys, strict=True))
    terms = coarse().terms(job="j/1", members=members[:4], rounds=3, parameters=1000)
    assert (terms.threshold, terms.colluders, terms.length, terms.bits, terms.rounds) == (3, 0, 1000, 32, 3)
    with pytest.raises(InvalidPlan, match="more members"):
        coarse().terms(job="j/1", members=members, rounds=3, parameters=1000)
    for other in (keys[1].upper().replace("0", "A"), keys[1][:-1], keys[1] + " ", "g" * 64, ""):
        with pytest.raises(InvalidPlan, match="cannot be read"):
            coarse().terms(job="j/1", members=(*members[:3], ("d", other)), rounds=3, parameters=1000)
    with pytest.raises(InvalidPlan, match="one key"):
        coarse().terms(job="j/1", members=(*members[:3], ("d", keys[0])), rounds=3, parameters=1000)


def test_values_of_any_type_raise_only_the_named_error() -> None:
    odd = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.lists(st.integers(), max_size=2)
    )
    fields = st.sampled_from(sorted(asdict(coarse())))

    @settings(max_examples=300, deadline=None)
    @given(changes=st.dictionaries(fields, odd, min_size=1, max_size=3))
    def check(changes: dict[str, Any]) -> None:
        try:
            SumPlan.from_dict({**asdict(coarse()), **changes}).check(private(), 1000)
        except InvalidPlan:
            return
        # What passes is as safe as what was sent.
        passed = SumPlan.from_dict({**asdict(coarse()), **changes})
        assert passed.threshold - passed.colluders >= 3
        assert passed.noise(private(), 1000).carried_noise_multiplier >= 1.0

    check()
