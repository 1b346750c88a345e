"""The institution's own policy: each bound, refused by its own code."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from domains.base import task_digest
from fedclient.consent import WAITING, Finding, LocalPolicy, plain
from fedclient.hours import Hours
from fedcore.adapter import AdapterSchema, Form, ModelCard, TensorSpec
from fedcore.errors import ConfigError, InvalidPlan, PlanRefused
from fedcore.identity import SigningIdentity
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import JobPlan, RoundPlan
from tests.reference.shared_noise import members, peer, shared, shared_fields, sums_of

Plans = Callable[..., RoundPlan]

FIELDS: dict[str, Any] = {
    "tasks": ("medicine.record",),
    "unit": PrivacyUnit(key="patient"),
    "least_noise_multiplier": 0.5,
    "largest_clip_norm_l2": 1.0,
    "largest_rank": 2,
    "largest_delta": 1e-5,
}
POLICY = LocalPolicy(**FIELDS)
FINGERPRINT = "-".join(["1a2b"] * 8)
NIGHT = Hours.parse(("22:00-06:00",), timezone="UTC")


def adaptive(count_noise: float) -> Clipping:
    return Clipping(rule="adaptive", quantile=0.5, learning_rate=0.2, count_noise_multiplier=count_noise)


def test_a_plan_at_every_bound_is_accepted(make_plan: Plans) -> None:
    plan = make_plan()
    privacy = dataclasses.replace(plan.privacy, noise_multiplier=0.5, clip_norm_l2=1.0, delta=1e-5)
    POLICY.accept(make_plan(privacy=privacy))
    dataclasses.replace(POLICY, bases=(plan.base_digest,)).accept(make_plan(privacy=privacy))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"noise_multiplier": 0.4999}, "noise_too_low"),
        ({"clip_norm_l2": 1.0001}, "clip_norm_too_large"),
        ({"delta": 1.01e-5}, "delta_too_large"),
        ({"unit": PrivacyUnit(key="record")}, "unit_mismatch"),
        ({"unit": PrivacyUnit(key="patient", relation="replace_one")}, "unit_mismatch"),
        ({"noise_multiplier": 0.0, "mechanism": "UnsafeNoNoise"}, "no_noise"),
        ({"sampler": "truncated_poisson", "batch_limit": 20, "largest_units": 1000}, "sampler_not_allowed"),
        ({"clipping": adaptive(0.5)}, "noise_too_low"),
    ],
)
def test_a_privacy_plan_past_a_bound_is_refused(make_plan: Plans, change: dict[str, Any], reason: str) -> None:
    refused = refusal(POLICY, make_plan(privacy=dataclasses.replace(make_plan().privacy, **change)))
    assert refused.reason == reason


def test_a_task_that_is_not_listed_is_refused(make_plan: Plans) -> None:
    assert refusal(POLICY, make_plan(task="finance.report")).reason == "task_not_allowed"


def test_a_base_that_is_not_listed_is_refused(make_plan: Plans) -> None:
    assert refusal(dataclasses.replace(POLICY, bases=("cd" * 32,)), make_plan()).reason == "base_mismatch"


def test_a_larger_rank_is_refused(make_plan: Plans, card: ModelCard) -> None:
    schema = AdapterSchema.for_base(card, rank=3, alpha=4, targets=("q_proj",))
    assert refusal(POLICY, make_plan(schema=schema)).reason == "rank_too_large"


def test_where_institutions_have_ranks_of_their_own_the_bound_is_on_ones_own(make_plan: Plans, card: ModelCard) -> None:
    schema = AdapterSchema.for_base(card, rank=8, alpha=4, targets=("q_proj",))
    named = dataclasses.replace(POLICY, own=f"a={FINGERPRINT}")
    for policy, ranks, reason in (
        (named, (("a", 2),), None),
        (named, (("a", 3),), "rank_too_large"),
        (named, (("b", 1),), "rank_too_large"),
        (POLICY, (("a", 2),), "rank_too_large"),  # Without a name it cannot know which rank is its own.
    ):
        plan = make_plan(schema=schema, ranks=ranks)
        if reason is None:
            policy.accept(plan)
        else:
            assert refusal(policy, plan).reason == reason
    hidden = dataclasses.replace(schema, rank=4)
    assert refusal(named, make_plan(schema=hidden, ranks=(("a", 2),))).reason == "rank_too_large"


def test_every_fault_is_named_to_the_operator_and_one_code_to_the_coordinator(make_plan: Plans) -> None:
    privacy = dataclasses.replace(make_plan().privacy, noise_multiplier=0.1, delta=0.1)
    refused = refusal(POLICY, make_plan(task="finance.report", privacy=privacy))
    assert refused.reason == "task_not_allowed"
    for words in ("finance.report", "noise_multiplier 0.1 (at least 0.5)", "delta 0.1 (at most 1e-05)"):
        assert words in str(refused)


def test_no_noise_is_accepted_only_where_it_was_said_out_loud(make_plan: Plans) -> None:
    privacy = dataclasses.replace(make_plan().privacy, noise_multiplier=0.0, mechanism="UnsafeNoNoise")
    dataclasses.replace(POLICY, unsafe_allow_no_noise=True).accept(make_plan(privacy=privacy))
    assert refusal(POLICY, make_plan(privacy=privacy)).reason == "no_noise"


def test_noise_is_that_of_everything_a_step_releases(make_plan: Plans) -> None:
    """A noised count beside the gradients takes from their noise: 1 / sqrt(0.51**-2 + 1**-2) = 0.454."""
    privacy = dataclasses.replace(make_plan().privacy, noise_multiplier=0.51, clipping=adaptive(1.0))
    refused = refusal(POLICY, make_plan(privacy=privacy))
    assert refused.reason == "noise_too_low"
    assert "noise_multiplier 0.454" in str(refused)
    POLICY.accept(make_plan(privacy=dataclasses.replace(privacy, clipping=adaptive(20.0))))


def formed(card: ModelCard, rank: int = 2, form: Form = "lora", residual_rank: int = 0) -> AdapterSchema:
    return AdapterSchema.for_base(card, rank=rank, alpha=4, targets=("q_proj",), form=form, residual_rank=residual_rank)


@pytest.mark.parametrize("form", ["lora", "core"])
@pytest.mark.parametrize(("rank", "residual", "holds"), [(2, 0, True), (2, 2, True), (1, 3, False), (3, 1, False)])
def test_factors_cores_and_residuals_keep_to_the_largest_rank(
    make_plan: Plans, card: ModelCard, form: Form, rank: int, residual: int, holds: bool
) -> None:
    trains = ("core",) if form == "core" else ("lora_B",)
    plan = make_plan(schema=formed(card, rank, form, residual), trains=trains, carries=trains)
    finding = next(f for f in POLICY.findings(plan) if f.rule == "rank")
    assert finding.holds == holds
    assert finding.asked == (f"{rank}; residual {residual}" if residual else f"{rank}")
    if holds:
        POLICY.accept(plan)
    else:
        assert refusal(POLICY, plan).reason == "rank_too_large"


@pytest.mark.parametrize("part", ["core", "residual_A", "residual_B"])
@pytest.mark.parametrize("stated", [0, 1])
def test_a_rank_hidden_in_a_core_or_a_residual_is_refused(
    make_plan: Plans, schema: AdapterSchema, part: str, stated: int
) -> None:
    shape = {"core": (2, 9), "residual_A": (9, 6), "residual_B": (4, 9)}[part]
    extra = TensorSpec(name=f"layers.0.q_proj.{part}", shape=shape)
    tensors = tuple(sorted((*schema.tensors, extra), key=lambda t: t.name))
    plan = make_plan(schema=dataclasses.replace(schema, tensors=tensors, residual_rank=stated))
    assert refusal(POLICY, plan).reason == "rank_too_large"


def test_a_rank_hidden_in_the_tensors_is_refused(make_plan: Plans, schema: AdapterSchema) -> None:
    name = schema.tensors[0].name
    tensors = (TensorSpec(name=name, shape=(4096, 6)), *schema.tensors[1:])
    assert refusal(POLICY, make_plan(schema=dataclasses.replace(schema, tensors=tensors))).reason == "rank_too_large"


def test_a_pinned_task_is_accepted_until_its_code_changes(make_plan: Plans) -> None:
    pinned = f"medicine.record@{task_digest('medicine.record')}"
    policy = LocalPolicy(**{**FIELDS, "tasks": (pinned,)})
    assert policy.task_names == ("medicine.record",)
    policy.accept(make_plan())
    changed = dataclasses.replace(policy, digest_of=lambda name: "cd" * 32)
    assert refusal(changed, make_plan()).reason == "task_changed"
    assert refusal(policy, make_plan(task="finance.report")).reason == "task_not_allowed"


def test_a_pinned_task_that_is_not_installed_is_refused(make_plan: Plans) -> None:
    policy = LocalPolicy(**{**FIELDS, "tasks": ("medicine.gone@" + "ab" * 32,)})
    assert refusal(policy, make_plan(task="medicine.gone")).reason == "task_changed"


def test_another_coordinator_than_those_listed_is_refused(make_plan: Plans) -> None:
    policy = dataclasses.replace(POLICY, coordinators=(FINGERPRINT,))
    policy.accept(make_plan(), coordinator=FINGERPRINT)
    for coordinator in ("", FINGERPRINT.replace("a", "c")):
        with pytest.raises(PlanRefused) as refused:
            policy.accept(make_plan(), coordinator=coordinator)
        assert refused.value.reason == "coordinator_not_allowed"


def test_outside_the_hours_a_plan_has_to_wait(make_plan: Plans) -> None:
    policy = dataclasses.replace(POLICY, hours=NIGHT)
    policy.accept(make_plan(), now=datetime(2026, 1, 5, 23, 0, tzinfo=UTC))
    with pytest.raises(PlanRefused, match="nothing needs to be done") as refused:
        policy.accept(make_plan(), now=datetime(2026, 1, 5, 12, 0, tzinfo=UTC))
    assert refused.value.reason == "outside_hours"


@pytest.mark.parametrize("approval", ["job", "round"])
def test_without_approval_a_plan_has_to_wait(make_plan: Plans, approval: str) -> None:
    policy = LocalPolicy(**{**FIELDS, "approval": approval})
    policy.accept(make_plan(), approved=True)
    refused = refusal(policy, make_plan())
    assert refused.reason == "approval_pending"
    assert "concordat node approve job" in str(refused)


def test_what_can_never_run_is_said_before_what_may_run_later(make_plan: Plans) -> None:
    policy = dataclasses.replace(POLICY, hours=NIGHT, approval="job")
    noon = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
    found = policy.findings(make_plan(task="x"), now=noon)
    assert [f.code for f in found if not f.holds] == ["task_not_allowed", "approval_pending", "outside_hours"]
    assert [f.status for f in found if not f.holds] == ["refused", "waits", "waits"]


def test_every_code_may_travel(make_plan: Plans) -> None:
    """The wire carries a code only if it is one short identifier."""
    privacy = dataclasses.replace(make_plan().privacy, noise_multiplier=0.1, delta=0.1, clip_norm_l2=9.0)
    found = POLICY.findings(make_plan(task="x", privacy=privacy))
    assert len(found) == len({f.rule for f in found}) == 11
    for finding in found:
        assert finding.code.isidentifier()
        assert len(finding.code) <= 40
        assert finding.describe()
    assert {*WAITING} < {f.code for f in found}


def test_what_a_coordinator_writes_is_made_fit_for_a_terminal(make_plan: Plans) -> None:
    refused = refusal(POLICY, make_plan(task="x\x1b[2J\n" + "y" * 10_000))
    assert "\x1b" not in str(refused)
    assert "\n" not in str(refused)
    assert len(str(refused)) < 600
    assert plain(7) == "7"


# Shared noise ---------------------------------------------------------------------------------------------

EVERYBODY = tuple(map(peer, "abcd"))
SHARING = LocalPolicy(**FIELDS, largest_honest_minimum=3, peers=tuple(map(peer, "bcd")), own=peer("a"))


def make_shared(make_plan: Plans, honest_minimum: int = 3, *, colluders: int = 0, **changes: Any) -> RoundPlan:
    plan = make_plan()
    fields = shared_fields(plan, honest_minimum, threshold=4 if colluders else 3, colluders=colluders)
    return make_plan(**{**fields, "quorum": 4 if colluders else 3, **changes})


def test_shared_noise_is_accepted_where_its_assumption_and_all_members_are_known(make_plan: Plans) -> None:
    plan = make_shared(make_plan)
    SHARING.accept(plan)
    LocalPolicy(**FIELDS, largest_honest_minimum=3, peers=EVERYBODY).accept(plan)
    LocalPolicy(**FIELDS, largest_honest_minimum=3, peers=EVERYBODY, own=peer("a")).accept(plan)


def test_shared_noise_is_refused_where_nothing_was_said_of_it(make_plan: Plans) -> None:
    refused = refusal(dataclasses.replace(SHARING, largest_honest_minimum=None), make_shared(make_plan))
    assert refused.reason == "honest_minimum_too_large"
    assert "honest_minimum 3 of 4, threshold 3, colluders 0 (allowed: no shared noise, since" in str(refused)


def test_an_assumption_of_more_honest_institutions_is_refused(make_plan: Plans) -> None:
    refused = refusal(dataclasses.replace(SHARING, largest_honest_minimum=2), make_shared(make_plan))
    assert refused.reason == "honest_minimum_too_large"
    assert "(at most 2)" in str(refused)
    dataclasses.replace(SHARING, largest_honest_minimum=2).accept(make_shared(make_plan, 2))


def test_members_that_are_not_known_are_at_most_the_colluders(make_plan: Plans) -> None:
    policy = dataclasses.replace(SHARING, peers=tuple(map(peer, "bc")))
    refused = refusal(policy, make_shared(make_plan))
    assert refused.reason == "peers_unknown"
    assert "peers not known here: d (at most 0 unknown)" in str(refused)
    policy.accept(make_shared(make_plan, colluders=1))
    two = refusal(dataclasses.replace(SHARING, peers=(peer("b"),)), make_shared(make_plan, colluders=1))
    assert "not known here: c, d (at most 1 unknown)" in str(two)


def test_a_policy_without_a_name_counts_itself_among_the_unknown(make_plan: Plans) -> None:
    assert refusal(dataclasses.replace(SHARING, own=""), make_shared(make_plan)).reason == "peers_unknown"


def test_a_member_that_the_coordinator_invented_is_refused(make_plan: Plans) -> None:
    """Its name is a known one's, or a new one; its key is the coordinator's to use."""
    invented = SigningIdentity.generate().public.key_hex
    for replaced in ("b", "d"):
        names = tuple((n, invented if n == replaced else k) for n, k in members())
        assert refusal(SHARING, make_shared(make_plan, members=names)).reason == "peers_unknown"
    three = ("a", "b", "c")
    names = (*members(three), ("zz", invented))
    plan = make_shared(make_plan, members=names, cohort=three)
    assert "not known here: zz" in str(refusal(SHARING, plan))


def test_an_institution_whose_own_key_was_replaced_refuses_whatever_the_colluders(make_plan: Plans) -> None:
    names = (("a", SigningIdentity.generate().public.key_hex), *members("bcd"))
    plan = make_shared(make_plan, colluders=1, members=names)
    refused = refusal(SHARING, plan)
    assert refused.reason == "peers_unknown"
    assert "not among the members with its own key" in str(refused)
    absent = make_shared(make_plan, colluders=1, members=(*members("bcd"), ("z", names[0][1])), cohort=("b", "c", "d"))
    assert "not among the members with its own key" in str(refusal(SHARING, absent))


def test_two_members_with_one_key_are_no_plan(make_plan: Plans) -> None:
    names = list(members())
    names[1] = ("b", names[0][1])
    with pytest.raises(InvalidPlan, match="two members have one key"):
        make_shared(make_plan, members=tuple(names))
    # Written in another way it is the same key, and nobody knows "b" by it.
    names[1] = ("b", names[0][1].upper())
    with pytest.raises((InvalidPlan, PlanRefused)):
        SHARING.accept(make_shared(make_plan, members=tuple(names)))


def test_a_plan_whose_shares_carry_less_than_it_claims_is_no_plan(make_plan: Plans) -> None:
    plan = make_shared(make_plan, 2)
    assert plan.sums is not None
    weak = dataclasses.replace(plan.sums, share_std_units=plan.sums.share_std_units - 1)
    with pytest.raises(InvalidPlan, match="the shares carry less than the plan promises"):
        dataclasses.replace(plan, sums=weak)
    for_three = sums_of(shared(plan.privacy, 3), plan.parameters)
    with pytest.raises(InvalidPlan, match="the shares carry less"):
        dataclasses.replace(plan, sums=for_three)


def test_of_a_job_the_members_are_not_known_yet(make_plan: Plans) -> None:
    job = job_of(make_shared(make_plan))
    peers = {f.rule: f for f in SHARING.findings(job)}["peers"]
    assert (peers.holds, peers.asked) == (True, "members are named in each round")
    named = {f.rule: f for f in SHARING.findings(dataclasses.replace(job, institutions=("a", "b", "c", "x\x1b")))}
    assert named["peers"].asked == "members are named in each round; not known here: x?"
    refused = dataclasses.replace(SHARING, largest_honest_minimum=None).findings(job)
    assert [f.code for f in refused if not f.holds] == ["honest_minimum_too_large"]
    # No round can have fewer members than the quorum: where too few of them are known, every round would be refused.
    alone = {f.rule: f for f in dataclasses.replace(SHARING, peers=()).findings(job)}["peers"]
    assert not alone.holds
    assert "of a quorum of 3 at least" in alone.asked
    strangers = {f.rule: f for f in SHARING.findings(dataclasses.replace(job, institutions=("w", "x", "y")))}["peers"]
    assert (strangers.holds, strangers.code) == (False, "peers_unknown")


def test_without_shared_noise_nobody_needs_to_be_known(make_plan: Plans) -> None:
    """Masks then protect beyond what the institution's own noise promises."""
    privacy = make_plan().privacy
    sums = dataclasses.replace(sums_of(shared(privacy), make_plan().parameters), share_std_units=0)
    plan = make_plan(sums=sums, members=members(), cohort=("a", "b", "c", "d"), quorum=3)
    POLICY.accept(plan)
    assert {"honest_minimum", "peers"} & {f.rule for f in POLICY.findings(plan)} == set()


def test_codes_of_shared_noise_may_travel(make_plan: Plans) -> None:
    found = POLICY.findings(make_shared(make_plan))
    assert [f.code for f in found if not f.holds] == ["honest_minimum_too_large", "peers_unknown"]
    assert all(f.code.isidentifier() and len(f.code) <= 40 for f in found)
    many = tuple((f"m\n{i:02}", SigningIdentity.generate().public.key_hex) for i in range(4))
    asked = {f.rule: f.asked for f in SHARING.findings(make_shared(make_plan, members=many, cohort=()))}["peers"]
    assert asked.isprintable()


def job_of(plan: RoundPlan) -> JobPlan:
    names = ("job_id", "task", "schema", "strategy", "rounds", "seed", "quorum", "deadline_s", "max_tokens")
    same = {n: getattr(plan, n) for n in (*names, "optimiser", "privacy", "joint", "sums")}
    return JobPlan(**same)


def test_a_finding_that_holds_is_ok() -> None:
    finding = Finding(rule="rank", code="rank_too_large", asked="4", allowed="at most 8", holds=True)
    assert (finding.status, finding.describe()) == ("ok", "rank 4 (at most 8)")


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": ()},
        {"least_noise_multiplier": 0.0},
        {"least_noise_multiplier": float("nan")},
        {"largest_clip_norm_l2": float("inf")},
        {"largest_rank": 0},
        {"largest_delta": 1.0},
        {"tasks": ("medicine.record@abc",)},
        {"tasks": ("",)},
        {"bases": ("abc",)},
        {"coordinators": ("1a2b",)},
        {"samplers": ()},
        {"samplers": ("shuffled",)},
        {"approval": "sometimes"},
        {"largest_honest_minimum": 0},
        {"largest_honest_minimum": -1},
        {"largest_honest_minimum": True},
        {"largest_honest_minimum": 2.5},
        {"peers": ("a",)},
        {"peers": (peer("a"), peer("a"))},
        {"own": "a"},
        {"peers": (peer("b"),), "own": "b" + peer("a")[1:]},
        {"peers": ("b" + peer("a")[1:],), "own": peer("a")},
    ],
)
def test_a_policy_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LocalPolicy(**{**FIELDS, **change})


def refusal(policy: LocalPolicy, plan: RoundPlan) -> PlanRefused:
    with pytest.raises(PlanRefused) as refused:
        policy.accept(plan)
    return refused.value
