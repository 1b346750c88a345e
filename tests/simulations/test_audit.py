"""Planted faults are caught and honest code is not; canaries in a fine-tune show what privacy hides."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from domains.language import Base
from fedclient.audit import audit_step
from fedcore.errors import ConfigError, PrivacyError
from fedcore.privacy.noise import UnsafeSeededNoise
from fedcore.privacy.sampling import UnsafeSeeded
from fedcore.round import Optimiser
from simulations import audit_commands
from simulations.audit import canaries, planted
from simulations.audit.canaries import CanaryPrivacy, CanaryScenario, CanarySettings
from simulations.audit.planted import FAULTS, Planted, plant_all, reference_plan
from simulations.audit_commands import audit
from simulations.measured import form, kept
from simulations.scenario import AdapterSettings, named

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught_and_honest_code_is_not(fault: str) -> None:
    found = FAULTS[fault](reference_plan())
    assert found.fault == fault
    assert found.caught, found.detail
    assert not found.false_alarm, found.detail


def test_faults_are_caught_in_a_sampled_plan_with_much_noise_too() -> None:
    plan = replace(reference_plan(), sampling_rate=0.01, noise_multiplier=6.0)
    found = plant_all(plan)
    assert [p.fault for p in found] == list(FAULTS)
    assert all(p.caught and not p.false_alarm for p in found), found


def test_production_code_is_as_it_was_after_a_fault_was_planted() -> None:
    from fedclient import step

    real = step.UnitOptimizer
    planted.clip_skipped(reference_plan())
    assert step.UnitOptimizer is real
    audit_step(reference_plan(), steps=1)


def test_an_honest_program_is_not_reported_as_caught() -> None:
    outcome = planted._outcome("nothing", "none", faulty=[lambda: None], honest=[lambda: None])
    assert not outcome.caught
    assert not outcome.false_alarm

    def refuse() -> None:
        raise PrivacyError("no")

    alarmed = planted._outcome("nothing", "none", faulty=[refuse], honest=[refuse])
    assert alarmed.caught
    assert alarmed.false_alarm
    half = planted._outcome("nothing", "none", faulty=[refuse, lambda: None], honest=[])
    assert not half.caught


def test_white_box_prints_both_bounds_and_every_planted_fault() -> None:
    done = CliRunner().invoke(audit, ["white-box", "--canaries", "600", "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert 4.15 < value["epsilon_lower"] < 4.38 < value["epsilon_upper"] < 4.4
    assert [p["fault"] for p in value["planted"]] == list(FAULTS)
    assert all(p["caught"] for p in value["planted"])
    assert value["confidence"] > 0.99999
    assert value["relation"] == "add_or_remove_one"
    assert form(value) == form(kept("audit-white-box"))


def test_white_box_fails_when_a_planted_fault_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    missed = Planted(fault="invisible", caught=False, gate="none", detail="", false_alarm=False)
    monkeypatch.setattr(planted, "FAULTS", {"invisible": lambda plan: missed})
    done = CliRunner().invoke(audit, ["white-box", "--canaries", "100"])
    assert isinstance(done.exception, PrivacyError)
    assert done.exception.exit_code == 4
    assert "invisible" in str(done.exception)
    assert "epsilon between" in done.stderr


def tiny(**changes: Any) -> CanaryScenario:
    """Canaries that a tiny random model learns by heart within seconds."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "base": "tiny:llama",
        "seed": 3,
        "canaries": CanarySettings(count=80, prefix_tokens=7, guesses=(32, 16)),
        "privacy": CanaryPrivacy(epsilon=2.0, delta=1e-5, sampling_rate=0.5, steps=40, clip_norm_l2=1.0),
        "adapter": AdapterSettings(rank=8, alpha=16.0, targets=ALL),
        "optimiser": Optimiser(learning_rate=1e-2),
    }
    return CanaryScenario(**{**fields, **changes})


def test_canaries_are_found_without_privacy_and_not_with_it(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Coins and noise of one seed: by the system's, now and then a canary is learnt too badly for so high a bound.
    coins = UnsafeSeeded(11)
    monkeypatch.setattr(canaries, "SystemRandom", lambda: coins)
    monkeypatch.setattr(canaries, "SecureNoise", lambda: UnsafeSeededNoise(11))
    told: list[tuple[str, int, int]] = []
    found = canaries.audit(
        tiny(),
        base=lambda: Base.load(tiny_base, device="cpu"),
        out=tmp_path / "run",
        report=lambda *step: told.append(step),
    )
    assert found.control_auc.estimate > 0.95
    assert found.control_epsilon_lower > 2.0 > found.epsilon_upper * 0.999
    assert found.epsilon_lower <= found.epsilon_upper
    assert found.auc.estimate < found.control_auc.low
    assert told[0] == ("private", 1, 40)
    assert told[-1] == ("control", 40, 40)

    def not_again() -> Base:
        raise AssertionError("a finished arm is not computed again")

    again = canaries.audit(tiny(), base=not_again, out=tmp_path / "run")
    assert again == found
    with pytest.raises(ConfigError, match="another scenario"):
        canaries.audit(tiny(seed=4), base=not_again, out=tmp_path / "run")
    (tmp_path / "run" / "control.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        canaries.audit(tiny(), base=not_again, out=tmp_path / "run")


def test_what_is_no_audit_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for fresh in (False, True):
        with pytest.raises(ConfigError, match="something else"):
            canaries.audit(tiny(), base=lambda: pytest.fail("loaded"), out=tmp_path, fresh=fresh)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_the_canaries_command_prints_the_five_figures(tmp_path: Path) -> None:
    text = named("canaries").read_text()
    for old, new in (
        ('base = "smollm2-135m"', 'base = "tiny:llama"'),
        ("count = 200", "count = 40"),
        ("guesses = [80, 40, 10]", "guesses = [16, 8]"),
        ("steps = 60", "steps = 4"),
    ):
        assert old in text
        text = text.replace(old, new)
    scenario = tmp_path / "small.toml"
    scenario.write_text(text)
    arguments = ["canaries", "--scenario", str(scenario), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(audit, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert {"epsilon_upper", "epsilon_lower", "auc", "control_auc", "control_epsilon_lower"} <= value.keys()
    assert value["epsilon_lower"] <= value["epsilon_upper"] <= 8.0
    assert form(value) == form(kept("audit-canaries"))
    shown = CliRunner().invoke(audit, arguments)
    assert "(accountant)" in shown.stderr
    # Coins, sampling and noise are the system's: four steps teach little, but now and then enough.
    weak = value["control_auc"] <= audit_commands._WEAK_CONTROL_AUC
    assert ("the control is weak" in shown.stderr) is weak


@pytest.mark.parametrize(("found", "weak"), [(0.5, True), (0.95, True), (0.9501, False), (1.0, False)])
def test_a_control_that_finds_little_is_called_weak(
    found: float, weak: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    value = {**kept("audit-canaries"), "control_auc": found}
    audit_commands._show_canaries(value)
    shown = capsys.readouterr().err
    assert f"control without privacy: AUC {found:.3f}" in shown
    assert ("the control is weak" in shown) is weak


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace("count = 200", "coun = 200"), "unknown key"),
        (lambda t: t.replace("guesses = [80, 40, 10]", "guesses = [101]"), "guesses"),
        (lambda t: t.replace('name = "canaries"', 'name = "../x"'), "cannot be used"),
        (lambda t: t.replace("epsilon = 8.0 ", "# "), "epsilon"),
    ],
)
def test_a_wrong_scenario_is_refused(change: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(change(named("canaries").read_text()))
    done = CliRunner().invoke(audit, ["canaries", "--scenario", str(path), "--out", str(tmp_path / "run")])
    assert isinstance(done.exception, ConfigError)
    assert words in str(done.exception)
    assert not (tmp_path / "run").exists()
