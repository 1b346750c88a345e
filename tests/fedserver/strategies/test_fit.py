"""What a job may ask of a strategy: refused when it is made, or warned about."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedcore.errors import ConfigError, InvalidPlan
from fedcore.folding import Gate, ServerOptimiser
from fedcore.privacy.plan import UNSAFE_NO_NOISE
from fedcore.round import JobPlan
from fedserver.strategies import check_fit, load_strategy, strategy_names, warnings
from fedserver.sums import SecureSumSettings, make_sums
from tests.reference.cohorts import schema_for

NOISIER = ("fedex", "flexlora", "flora")
UNMASKED = ("fedex", "flexlora", "flora")


def job_of(make_job: Callable[..., JobPlan], name: str, **changes: Any) -> JobPlan:
    strategy = load_strategy(name)
    return make_job(strategy=name, schema=schema_for(strategy), keeps=strategy.traits.keeps, **changes)


def masked(make_job: Callable[..., JobPlan], name: str) -> JobPlan:
    plain = job_of(make_job, name)
    # One round, so that a strategy whose rounds differ in size can be masked too.
    sums = make_sums(
        SecureSumSettings(threshold=2),
        privacy=plain.privacy,
        schema=plain.schema,
        strategy=name,
        rounds=1,
        optimiser=plain.optimiser,
        joint=False,
        institutions=3,
    )
    return replace(plain, sums=sums, rounds=1, institutions=("a", "b", "c"))


@pytest.mark.parametrize("name", strategy_names())
def test_a_plain_job_fits_every_strategy(make_job: Callable[..., JobPlan], name: str) -> None:
    check_fit(job_of(make_job, name))


@pytest.mark.parametrize("name", strategy_names())
def test_masks_are_refused_exactly_where_each_update_must_be_seen(make_job: Callable[..., JobPlan], name: str) -> None:
    job = masked(make_job, name)
    if name not in UNMASKED:
        return check_fit(job)
    with pytest.raises(ConfigError, match=f"the strategy {name} needs to see each update"):
        check_fit(job)
    return None


@pytest.mark.parametrize("name", strategy_names())
def test_a_server_optimiser_is_refused_exactly_where_it_would_break_an_order(
    make_job: Callable[..., JobPlan], name: str
) -> None:
    job = job_of(make_job, name, server_optimiser=ServerOptimiser(name="adam", learning_rate=0.01))
    if name != "flexlora":
        return check_fit(job)
    with pytest.raises(ConfigError, match="in order of their singular values"):
        check_fit(job)
    return None


@pytest.mark.parametrize("name", strategy_names())
def test_different_ranks_are_refused_where_they_cannot_be_folded(make_job: Callable[..., JobPlan], name: str) -> None:
    job = job_of(make_job, name)
    if name in ("flexlora", "hetlora"):
        return check_fit(replace(job, ranks=(("a", 1),)))
    with pytest.raises((ConfigError, InvalidPlan), match=r"the same rank|at different ranks|at one rank"):
        check_fit(replace(job, ranks=(("a", 1),)))
    return None


@pytest.mark.parametrize("name", strategy_names())
def test_joint_steps_are_refused_where_a_fold_needs_what_was_trained(
    make_job: Callable[..., JobPlan], name: str
) -> None:
    privacy = replace(make_job().privacy, steps_per_round=1)
    if name not in (*UNMASKED, "fedsa"):
        return check_fit(job_of(make_job, name, joint=True, privacy=privacy))
    with pytest.raises((ConfigError, InvalidPlan), match=r"a joint step trains nothing there|trained by local steps"):
        check_fit(job_of(make_job, name, joint=True, privacy=privacy))
    return None


def test_a_gate_is_refused_where_nobody_has_a_whole_adapter_to_score(make_job: Callable[..., JobPlan]) -> None:
    gate = Gate(records="canary.jsonl", largest_rise=0.05)
    check_fit(job_of(make_job, "fedavg", gate=gate))
    with pytest.raises(ConfigError, match="a gate has no whole one to score"):
        check_fit(job_of(make_job, "fedsa", gate=gate))


@pytest.mark.parametrize("name", ["fedex", "fedsb"])
def test_an_adapter_of_another_form_is_refused(make_job: Callable[..., JobPlan], name: str) -> None:
    with pytest.raises(ConfigError, match="has not the form"):
        check_fit(make_job(strategy=name))
    with pytest.raises(ConfigError, match="has not the form"):
        check_fit(make_job(strategy="fedavg", schema=schema_for(load_strategy(name))))


@pytest.mark.parametrize("name", strategy_names())
def test_a_noisier_strategy_is_warned_about_in_private_jobs_alone(make_job: Callable[..., JobPlan], name: str) -> None:
    job = job_of(make_job, name)
    said = warnings(job)
    assert bool(said) == (name in NOISIER)
    if said:
        assert said[0].startswith(f"The strategy {name} is noisier under privacy")
        assert "fedavg" in said[0]
    open_plan = replace(job.privacy, noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE)
    assert warnings(replace(job, privacy=open_plan)) == ()


def test_a_job_keeps_what_its_strategy_leaves_with_institutions(make_job: Callable[..., JobPlan]) -> None:
    with pytest.raises(ConfigError, match="keeps other parts"):
        check_fit(make_job(strategy="fedavg", keeps=("lora_B",)))
