"""Plans with joint steps and secure sums: what fits is read back equal, and what does not fit is refused."""

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore import canonical
from fedcore.errors import ConcordatError, ConfigError, InvalidPlan
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import JobPlan, RoundPlan, terms
from tests.reference.shared_noise import members, shared, shared_fields, sums_of

Make = Callable[..., RoundPlan]
CHOSEN = ("schema", "task", "strategy", "rounds", "seed", "deadline_s", "max_tokens", "optimiser", "privacy")


@pytest.fixture
def plan(make_plan: Make) -> RoundPlan:
    """Joint, masked, with shared noise."""
    return make_plan(**shared_fields(make_plan()))


def job_of(plan: RoundPlan, **changes: Any) -> JobPlan:
    fields = {name: getattr(plan, name) for name in (*CHOSEN, "job_id", "quorum", "joint", "sums")}
    return JobPlan(**{**fields, **changes})


def as_json(plan: RoundPlan | JobPlan) -> Any:
    return json.loads(canonical.encode(plan.to_dict()))


def kinds(make_plan: Make) -> dict[str, RoundPlan]:
    """One plan of each kind of round."""
    plain = make_plan()
    one = dataclasses.replace(plain.privacy, steps_per_round=1)
    masked = dataclasses.replace(sums_of(shared(plain.privacy), plain.parameters), share_std_units=0)
    masks = {"sums": masked, "members": members(), "cohort": tuple("abcd"), "quorum": 3}
    no_noise = dataclasses.replace(one, mechanism="UnsafeNoNoise", noise_multiplier=0.0)
    return {
        "local plain": plain,
        "local masked": make_plan(**masks),
        "joint plain": make_plan(joint=True, privacy=one),
        "joint masked": make_plan(**shared_fields(plain)),
        "joint masked without noise": make_plan(**masks, joint=True, privacy=no_noise),
    }


def test_every_kind_of_round_reads_back_equal_with_the_same_digest(make_plan: Make) -> None:
    found = kinds(make_plan)
    for kind, plan in found.items():
        read = RoundPlan.from_dict(as_json(plan))
        assert (read, read.digest, read.terms_digest) == (plan, plan.digest, plan.terms_digest), kind
    assert len({p.digest for p in found.values()}) == len({p.terms_digest for p in found.values()}) == len(found)


def test_a_job_reads_back_equal_and_has_the_terms_of_its_rounds(make_plan: Make) -> None:
    for kind, plan in kinds(make_plan).items():
        job = job_of(plan)
        read = JobPlan.from_dict(as_json(job))
        assert (read, read.digest) == (job, job.digest), kind
        for number in (1, 2):
            one = dataclasses.replace(plan, round=number, cohort=plan.cohort[:1], state_digest="00" * 32, seed=number)
            assert one.terms_digest == job.terms_digest, kind
            assert terms(one) == terms(job)


def test_every_field_of_sums_and_joint_is_in_the_digests(plan: RoundPlan) -> None:
    assert plan.sums is not None
    other = dataclasses.replace(plan, sums=dataclasses.replace(plan.sums, parties=5))
    assert other.digest != plan.digest
    assert other.terms_digest != plan.terms_digest
    honest = dataclasses.replace(plan, privacy=dataclasses.replace(plan.privacy, honest_minimum=3, delta=1e-6))
    assert honest.terms_digest != plan.terms_digest
    named = dataclasses.replace(plan, members=(*plan.members[:3], ("e", plan.members[3][1])), cohort=("a", "b", "c"))
    assert named.digest != plan.digest
    # Who takes part is fixed when the job starts: it is not among what a person approves before.
    assert named.terms_digest == plan.terms_digest


def test_terms_of_sums_name_the_coordinator_the_members_and_the_length(plan: RoundPlan, make_plan: Make) -> None:
    one, other = plan.terms_of_sums("aa" * 32), plan.terms_of_sums("bb" * 32)
    assert one.job == f"job/{'aa' * 32}/{plan.terms_digest}"
    assert one.digest != other.digest
    assert (one.members, one.length, one.rounds) == (plan.members, sum(t.size for t in plan.trained), plan.rounds)
    with pytest.raises(InvalidPlan, match="no secure sums"):
        make_plan().terms_of_sums("aa" * 32)


def changed_sums(plan: RoundPlan, **changes: Any) -> dict[str, Any]:
    assert plan.sums is not None
    return {"sums": dataclasses.replace(plan.sums, **changes)}


def private(plan: RoundPlan, **changes: Any) -> dict[str, Any]:
    return {"privacy": dataclasses.replace(plan.privacy, **changes)}


UNFIT: dict[str, tuple[Callable[[RoundPlan], dict[str, Any]], str]] = {
    "no members": (lambda p: {"members": ()}, "members"),
    "members without sums": (lambda p: {"sums": None}, "members"),
    "shared noise without masks": (lambda p: {"sums": None, "members": ()}, "needs joint steps"),
    "shared noise without joint steps": (lambda p: {"joint": False}, "needs joint steps"),
    "joint that is no truth value": (lambda p: {"joint": 1}, "true or false"),
    "joint in words": (lambda p: {"joint": "no"}, "true or false"),
    "several steps": (
        lambda p: private(p, steps_per_round=2, mechanism="gaussian", honest_minimum=None),
        "one step",
    ),
    "a masked joint step with its own noise": (
        lambda p: private(p, mechanism="gaussian", honest_minimum=None),
        "shares its noise",
    ),
    "a cohort from outside": (lambda p: {"cohort": ("a", "e")}, "not among the members"),
    "a quorum below the threshold": (lambda p: {"quorum": 2}, "below the threshold"),
    "a weight": (lambda p: {"weight": 2.0}, "weight 1"),
    "honest_minimum above what a sum must hold": (lambda p: private(p, honest_minimum=4), "fewer honest"),
    "honest_minimum raised by a colluder": (lambda p: changed_sums(p, colluders=1), "fewer honest"),
    "too many members": (lambda p: changed_sums(p, parties=3), "more members"),
    "too little noise": (
        lambda p: changed_sums(p, share_std_units=p.sums.share_std_units - 1 if p.sums else 0),
        "carry less",
    ),
    "no noise": (lambda p: changed_sums(p, share_std_units=0), "too small"),
    "a ring that overflows": (lambda p: changed_sums(p, bits=16), "overflow"),
    "a bound that overflows": (lambda p: changed_sums(p, bound_l2=1e12), "overflow"),
    "a resolution that is no power of two": (lambda p: changed_sums(p, resolution=0.003), "power of two"),
    "members out of order": (lambda p: {"members": (*p.members[1:], p.members[0])}, "not sorted"),
    "a member twice": (lambda p: {"members": (p.members[0], *p.members[:3]), "cohort": ("a", "b", "c")}, "not sorted"),
    "two members with one key": (lambda p: {"members": (*p.members[:3], ("d", p.members[0][1]))}, "one key"),
    "a key in capitals": (
        lambda p: {"members": (*p.members[:3], ("d", p.members[3][1].upper()))},
        "cannot be read",
    ),
    "fewer members than the threshold": (
        lambda p: {"members": p.members[:2], "cohort": ("a", "b")},
        "larger than the cohort",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_a_masked_joint_round_is_refused(plan: RoundPlan, name: str) -> None:
    changes, match = UNFIT[name]
    with pytest.raises(InvalidPlan, match=match):
        dataclasses.replace(plan, **changes(plan))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"quorum": 2}, "quorum"),
        ({"quorum": 5}, "quorum"),
        ({"institutions": tuple("abcde")}, "institutions"),
        ({"joint": "no"}, "true or false"),
        ({"joint": False}, "needs joint steps"),
        ({"sums": None}, "needs joint steps"),
    ],
)
def test_a_job_that_its_sums_do_not_fit_is_refused(plan: RoundPlan, changes: dict[str, Any], match: str) -> None:
    with pytest.raises((ConfigError, InvalidPlan), match=match):
        job_of(plan, **changes)


def test_a_job_of_masked_joint_steps_with_own_noise_is_refused(plan: RoundPlan) -> None:
    with pytest.raises(InvalidPlan, match="shares its noise"):
        job_of(plan, privacy=dataclasses.replace(plan.privacy, mechanism="gaussian", honest_minimum=None))


def test_a_joint_round_releases_no_count(make_plan: Make, privacy: PrivacyPlan) -> None:
    adaptive = Clipping(rule="adaptive", quantile=0.5, learning_rate=0.2, count_noise_multiplier=20.0)
    with pytest.raises(InvalidPlan, match="no noised count"):
        make_plan(joint=True, privacy=dataclasses.replace(privacy, steps_per_round=1, clipping=adaptive))


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.just(10**400),
        st.floats(),
        st.text(max_size=6),
        st.sampled_from([math.nan, math.inf, "a", "00" * 32]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


_PLAN: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def _remember(plan: RoundPlan) -> None:
    _PLAN[:] = [as_json(plan)]


@settings(max_examples=300, deadline=None)
@given(
    top=st.dictionaries(st.sampled_from(["joint", "sums", "members", "cohort", "quorum"]), JSON, max_size=2),
    inner=st.dictionaries(
        st.sampled_from(
            ["parties", "threshold", "colluders", "bits", "resolution", "bound_l2", "share_std_units", "x"]
        ),
        JSON,
        max_size=2,
    ),
    named=st.lists(st.lists(JSON, max_size=3), max_size=3),
)
def test_whatever_stands_in_a_plan_of_sums_raises_only_the_named_error(
    top: dict[str, Any], inner: dict[str, Any], named: list[Any]
) -> None:
    value = json.loads(json.dumps(_PLAN[0]))
    value["sums"] |= inner
    if named:
        value["members"] = named
    try:
        read = RoundPlan.from_dict({**value, **top})
    except InvalidPlan as error:
        refused = str(error)
    else:
        refused = ""
    assert refused.isprintable()
    if refused:
        return
    # Whatever is read can be signed, and what it promises holds.
    assert RoundPlan.from_dict(as_json(read)) == read
    if read.sums is not None:
        read.sums.check(read.privacy, read.parameters)


@settings(max_examples=100, deadline=None)
@given(value=JSON)
def test_no_plan_is_made_of_anything(value: Any) -> None:
    with pytest.raises(ConcordatError):
        RoundPlan.from_dict(value)
