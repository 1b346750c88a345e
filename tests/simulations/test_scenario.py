"""Scenarios: read once, checked, marked where they weaken a promise."""

import dataclasses
from pathlib import Path

import pytest

from fedcore.errors import ConfigError, InvalidPlan, NoPrivacyUnit
from fedcore.privacy.plan import PrivacyPlan
from simulations.scenario import RaySettings, Scenario, load, named

SHIPPED = ("quickstart", "medicine-record", "finance-report", "joint-step", "two-hundred")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_scenarios_stay_within_their_epsilon(name: str) -> None:
    scenario = load(named(name))
    plan = scenario.privacy_plan()
    assert scenario.unsafe == ()
    assert plan.is_private
    assert 0.9 * scenario.privacy.epsilon < plan.epsilon(scenario.rounds) <= scenario.privacy.epsilon


@pytest.mark.parametrize("name", SHIPPED)
def test_a_round_repeated_after_a_crash_still_fits_the_limit(name: str) -> None:
    scenario = load(named(name))
    assert scenario.privacy_plan().epsilon(scenario.rounds + 1) <= scenario.privacy.epsilon_limit


def test_without_noise_is_marked_and_adds_none() -> None:
    scenario = load(named("quickstart")).without_noise()
    plan = scenario.privacy_plan()
    assert scenario.unsafe == ("UnsafeNoNoise",)
    assert plan.mechanism == "UnsafeNoNoise"
    assert plan.noise_multiplier == 0


def test_a_smaller_epsilon_takes_more_noise_and_keeps_the_limit_in_proportion() -> None:
    scenario = load(named("quickstart"))
    strict = scenario.with_epsilon(2.0)
    assert strict.privacy_plan().noise_multiplier > scenario.privacy_plan().noise_multiplier
    assert strict.privacy.epsilon_limit == pytest.approx(3.0)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("inf"), float("nan")])
def test_an_epsilon_out_of_range_is_refused(epsilon: float) -> None:
    with pytest.raises(ConfigError, match="--epsilon"):
        load(named("quickstart")).with_epsilon(epsilon)


def edited(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "scenario.toml"
    text = named("quickstart").read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key 'sampling_rat'"):
        load(edited(tmp_path, "sampling_rate", "sampling_rat"))


def test_a_privacy_setting_has_no_default(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'delta' is missing"):
        load(edited(tmp_path, "delta = 1e-2\n", ""))


def test_a_missing_unit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoPrivacyUnit):
        load(edited(tmp_path, 'unit = "patient"', 'unit = ""')).privacy_plan()


def test_a_rate_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidPlan, match="sampling_rate"):
        load(edited(tmp_path, "sampling_rate = 0.5", "sampling_rate = 1.5")).privacy_plan()


def test_a_split_by_column_needs_a_column(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a column"):
        load(edited(tmp_path, 'column = "site"', ""))


def test_an_unknown_scenario_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="medicine-record"):
        named("nope")


def test_shared_noise_needs_joint_steps_and_masks() -> None:
    scenario = load(named("joint-step"))
    for change in ({"joint": False}, {"secure_sums": None}):
        with pytest.raises(ConfigError, match="shared noise needs joint steps and masks"):
            dataclasses.replace(scenario, **change)


def test_a_joint_step_behind_masks_must_say_who_carries_its_noise() -> None:
    scenario = load(named("joint-step"))
    with pytest.raises(ConfigError, match="among how many"):
        dataclasses.replace(scenario, privacy=dataclasses.replace(scenario.privacy, honest_minimum=None))


def test_without_noise_there_is_none_to_share() -> None:
    scenario = load(named("joint-step")).without_noise()
    assert scenario.privacy.honest_minimum is None
    assert scenario.privacy_plan().mechanism == "UnsafeNoNoise"


def test_noise_is_what_calibration_finds() -> None:
    scenario = load(named("quickstart"))
    plan, p = scenario.privacy_plan(), scenario.privacy
    assert plan == PrivacyPlan.calibrate(
        epsilon=0.99 * p.epsilon,
        delta=p.delta,
        rounds=scenario.rounds,
        unit=plan.unit,
        steps_per_round=p.steps_per_round,
        examples_per_unit=p.examples_per_unit,
        clip_norm_l2=p.clip_norm_l2,
        sampling_rate=p.sampling_rate,
        expected_batch_units=p.expected_batch_units,
    )


def test_the_digest_changes_with_every_field_but_the_backend() -> None:
    scenario = load(named("quickstart"))
    changed: list[Scenario] = [
        dataclasses.replace(scenario, seed=8),
        dataclasses.replace(scenario, rounds=3),
        scenario.without_noise(),
        scenario.with_epsilon(4.0),
    ]
    digests = {s.digest("r") for s in (scenario, *changed)}
    assert len(digests) == 5
    assert scenario.digest("other") != scenario.digest("r")
    assert dataclasses.replace(scenario, backend="ray").digest("r") == scenario.digest("r")
    assert dataclasses.replace(scenario, ray=RaySettings(cpus=0.5)).digest("r") == scenario.digest("r")


@pytest.mark.parametrize("bad", [{"cpus": 0.0}, {"gpus": -1.0}, {"cpus": float("nan")}])
def test_an_impossible_share_of_a_machine_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"\[ray\]"):
        RaySettings(**bad)
