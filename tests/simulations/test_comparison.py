"""Comparisons: the arms differ in what is compared alone, every run is an ordinary one, and nothing runs twice."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcore.errors import ConfigError, Interrupted, InvalidPlan
from fedserver.progress import Progress
from fedserver.sums import SecureSumSettings
from simulations import noise_arms
from simulations import results as files
from simulations.arms import Arm
from simulations.comparison import compare
from simulations.scenario import ComparisonSettings, Scenario, load, named

Comparison = Callable[..., Scenario]


@pytest.fixture
def comparison(quickstart: Callable[..., Scenario]) -> Comparison:
    """Two joint steps of three clinics, whose noise is compared."""

    def make(*, epsilons: tuple[float, ...] = (8.0,), repetitions: int = 1, local_steps: int = 2) -> Scenario:
        plain = quickstart(steps_per_round=1)
        return dataclasses.replace(
            plain,
            joint=True,
            secure_sums=SecureSumSettings(threshold=2),
            privacy=dataclasses.replace(plain.privacy, honest_minimum=2),
            evaluation=dataclasses.replace(plain.evaluation, every_round=False),
            comparison=ComparisonSettings(
                kind="noise", epsilons=epsilons, repetitions=repetitions, local_steps=local_steps
            ),
        )

    return make


class Counting:
    """Counts runs, and can say stop in the first round of one of them."""

    def __init__(self, stop_at: int = 0) -> None:
        self.started: list[str] = []
        self.ended: list[float] = []
        self.trained: list[str] = []
        self._stop_at = stop_at

    def start(self, arm: Arm, number: int, runs: int) -> None:
        assert number == len(self.started) + 1 <= runs
        self.started.append(arm.label)

    def report(self, progress: Progress) -> None:
        if progress.stage == "folded" and progress.round == 1:
            self.trained.append(self.started[-1])

    def end(self, arm: Arm, loss: float) -> None:
        self.ended.append(loss)

    def stopped(self) -> bool:
        return bool(self._stop_at) and len(self.trained) >= self._stop_at

    def compare(self, out: Path, scenario: Scenario, base: Path, **options: Any) -> dict[str, Any]:
        return compare(
            out,
            scenario,
            records=None,
            base=base,
            start=self.start,
            report=self.report,
            end=self.end,
            stopped=self.stopped,
            **options,
        )


def test_a_stopped_comparison_goes_on_and_a_finished_one_is_not_run_again(
    tmp_path: Path, comparison: Comparison, tiny_base: Path
) -> None:
    out, first, second, third = tmp_path / "out", Counting(stop_at=2), Counting(), Counting()
    with pytest.raises(Interrupted):
        first.compare(out, comparison(), tiny_base)
    assert first.started == ["local-epsilon-8", "shared-epsilon-8"]
    assert files.read(out) is None
    value = second.compare(out, comparison(), tiny_base)
    assert second.started == ["local-epsilon-8", "shared-epsilon-8", "pooled-epsilon-8", "none"]
    # The first had ended, and the second had taken its first step.
    assert second.trained == ["pooled-epsilon-8", "none"]
    assert third.compare(out, comparison(), tiny_base) == value == files.read(out)
    assert third.started == []
    (row,) = value["rows"]
    assert {"epsilon", "local", "shared", "pooled", "none"} <= set(row)
    assert row["epsilon"] == 8.0
    assert [row[way] for way in noise_arms.WAYS] == second.ended
    assert Path(value["plot"]).read_bytes().startswith(b"\x89PNG")
    assert "| 8 | " in (out / files.MARKDOWN).read_text()
    assert {"institutions", "units", "honest_minimum", "threshold", "repetitions", "loss_base"} <= set(value)
    assert (value["institutions"], value["honest_minimum"], value["threshold"]) == (3, 2, 2)
    by = {a["arm"]: a for a in value["arms"]}
    assert by["none"]["epsilon_spent"] is None
    assert by["none"]["noise_std"] == 0
    assert by["none"]["unsafe"] == ["UnsafeNoNoise", "UnsafeSeeded"]
    # Every institution, and the one that holds all, pays the same.
    assert by["local"]["epsilon_spent"] == pytest.approx(by["shared"]["epsilon_spent"], rel=1e-6)
    assert by["local"]["epsilon_spent"] == pytest.approx(by["pooled"]["epsilon_spent"], rel=1e-6)
    # Of three: all of the noise each, half of its variance each, and one for all.
    assert by["local"]["noise_std"] == pytest.approx(by["pooled"]["noise_std"] * 3**0.5, rel=1e-6)
    assert by["shared"]["noise_std"] == pytest.approx(by["pooled"]["noise_std"] * 1.5**0.5, rel=0.01)


def test_the_arms_differ_in_what_is_compared_alone(comparison: Comparison) -> None:
    scenario = comparison(epsilons=(1.0, 8.0))
    arms = {arm.label: arm.scenario for arm in noise_arms.arms(scenario, 3)}
    assert len(arms) == 7  # One arm has no epsilon.
    for arm in arms.values():
        assert arm.comparison is None
        for name in ("task", "base", "seed", "max_tokens", "records", "optimiser", "adapter", "strategy", "evaluation"):
            assert getattr(arm, name) == getattr(scenario, name)
        for name in ("delta", "sampling_rate", "examples_per_unit", "clip_norm_l2"):
            assert getattr(arm.privacy, name) == getattr(scenario.privacy, name)
        assert arm.rounds * arm.privacy.steps_per_round == scenario.rounds
    plans = {label: arms[f"{label}-epsilon-1"].privacy_plan() for label in ("local", "shared", "pooled")}
    assert len({plan.noise_multiplier for plan in plans.values()}) == 1
    assert plans["pooled"].expected_batch_units == 3 * plans["shared"].expected_batch_units
    assert [plans[w].honest_minimum for w in plans] == [None, 2, None]
    assert not arms["none"].privacy_plan().is_private


def test_runs_of_one_arm_differ_in_their_draws(comparison: Comparison) -> None:
    arm = noise_arms.arms(comparison(), 3)[0]
    assert arm.repetition(1).name != arm.repetition(2).name  # Seeds are made of it.
    assert dataclasses.replace(arm.repetition(1), name="n") == dataclasses.replace(arm.repetition(2), name="n")


def test_another_comparison_in_the_same_directory_is_refused(
    tmp_path: Path, comparison: Comparison, tiny_base: Path
) -> None:
    with pytest.raises(Interrupted):
        Counting(stop_at=1).compare(tmp_path / "out", comparison(), tiny_base)
    with pytest.raises(ConfigError, match="another scenario"):
        Counting().compare(tmp_path / "out", comparison(epsilons=(2.0,)), tiny_base)
    with pytest.raises(ConfigError, match="something else"):
        Counting().compare(tiny_base, comparison(), tiny_base)


def test_a_comparison_of_noise_needs_shared_noise_and_whole_rounds(comparison: Comparison) -> None:
    scenario = comparison(local_steps=3)
    with pytest.raises(ConfigError, match="local_steps"):
        noise_arms.arms(scenario, 3)
    with pytest.raises(ConfigError, match="shared noise"):
        noise_arms.arms(dataclasses.replace(scenario.without_noise(), comparison=scenario.comparison), 3)


def test_what_cannot_be_planned_is_said_before_anything_trains(
    comparison: Comparison, tmp_path: Path, tiny_base: Path
) -> None:
    counting = Counting()
    with pytest.raises(InvalidPlan, match="threshold is too low"):
        counting.compare(
            tmp_path / "out",
            dataclasses.replace(comparison(), secure_sums=SecureSumSettings(threshold=2, parties=4)),
            tiny_base,
        )
    assert counting.started == []


@pytest.mark.parametrize(
    "change", [{"epsilons": ()}, {"epsilons": (0.0,)}, {"epsilons": (1.0, 1.0)}, {"repetitions": 0}, {"local_steps": 0}]
)
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"\[comparison\]"):
        ComparisonSettings(**{"kind": "noise", "epsilons": (1.0,), **change})


def test_the_shipped_comparison_survives_a_dropout_and_a_colluder() -> None:
    scenario = load(named("joint-step"))
    sums, asked = scenario.secure_sums, scenario.comparison
    assert sums is not None
    assert asked is not None
    assert asked.epsilons == (1.0, 3.0, 8.0)
    assert scenario.unsafe == ()
    assert (sums.threshold, sums.colluders, scenario.quorum) == (7, 1, 7)
    assert scenario.privacy.honest_minimum == sums.threshold - sums.colluders
