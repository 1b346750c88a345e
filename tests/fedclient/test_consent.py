"""The institution's own policy: each bound, refused by its own code."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from fedclient.consent import LocalPolicy
from fedcore.adapter import AdapterSchema, ModelCard
from fedcore.errors import ConfigError, PlanRefused
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import RoundPlan

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
        ({"noise_multiplier": 0.0, "mechanism": "UnsafeNoNoise"}, "no_noise"),
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


def test_codes_may_travel(make_plan: Plans) -> None:
    """The wire carries a code only if it is one short identifier."""
    privacy = dataclasses.replace(make_plan().privacy, noise_multiplier=0.1, delta=0.1, clip_norm_l2=9.0)
    for code, words in POLICY._refusals(make_plan(task="x", privacy=privacy)):
        assert code.isidentifier()
        assert len(code) <= 40
        assert words


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": ()},
        {"least_noise_multiplier": 0.0},
        {"least_noise_multiplier": float("nan")},
        {"largest_clip_norm_l2": float("inf")},
        {"largest_rank": 0},
        {"largest_delta": 1.0},
    ],
)
def test_a_policy_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LocalPolicy(**{**FIELDS, **change})


def refusal(policy: LocalPolicy, plan: RoundPlan) -> PlanRefused:
    with pytest.raises(PlanRefused) as refused:
        policy.accept(plan)
    return refused.value
