"""The comparison of rules under attack: arms that differ in rule and attack alone, and a recommendation by the rows."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedcore.cli import app
from fedcore.errors import ConfigError, Interrupted
from fedcore.folding import rules
from simulations import poison_arms
from simulations import results as files
from simulations.arms import Arm
from simulations.attacks import ATTACKS
from simulations.comparison import compare
from simulations.measured import form, kept
from simulations.scenario import ComparisonSettings, Scenario, load, named

_TEXT = """
name = "small"
task = "medicine.record"
base = "tiny:llama_wide"
rounds = 1
seed = 7
max_tokens = 32
quorum = 3

[records]
synthetic = "medicine"
units_per_site = 5
unit = "patient"
heldout_units = 2

[split]
kind = "iid"
institutions = 4

[adapter]
rank = 1
targets = ["o_proj", "down_proj"]

[optimiser]
name = "sgd"
learning_rate = 2.0

[widths]
up = "float32"
down = "float32"

[privacy]
epsilon = 8.0
epsilon_limit = 12.0
delta = 1e-2
sampling_rate = 0.9
steps_per_round = 2
expected_batch_units = 3.0
examples_per_unit = 1
clip_norm_l2 = 1.0
unsafe_no_noise = true
unsafe_seeded = true

[evaluation]
examples = 2
every_round = false

[comparison]
kind = "poisoning"
rules = ["mean", "median"]
attacks = ["sign_flip", "nan"]
bad = 1
repetitions = 1
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(_TEXT)
    return path


def test_a_comparison_of_rules_goes_on_and_gives_the_keys(small: Path, tmp_path: Path) -> None:
    out, started = tmp_path / "out", list[str]()

    def start(arm: Arm, _number: int, _runs: int) -> None:
        started.append(arm.label)

    with pytest.raises(Interrupted):
        compare(
            out, load(small), records=None, base=out / "tiny-llama_wide", start=start, stopped=lambda: bool(started[2:])
        )
    assert started == ["mean.none", "mean.sign_flip", "mean.nan"]
    done = CliRunner().invoke(app, ["simulate", str(small), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert "run 3 of 6: mean.nan without noise" in done.stderr
    table = {(r["rule"], r["attack"]): r for r in value["rows"]}
    assert set(table) == {(r, a) for r in ("mean", "median") for a in ("none", "sign_flip", "nan")}
    assert {"rule", "attack", "clean_loss_lost", "backdoor_gap"} <= set(value["rows"][0])
    assert value["recommended"] in ("mean", "median")
    assert value["unsafe"] == ["UnsafeNoNoise", "UnsafeSeeded"]
    assert table["mean", "none"]["clean_loss_lost"] == 0
    # So few steps say nothing of a rule's worth; but each attack and each rule changes what comes out.
    assert len({r["loss"] for r in value["rows"]}) == 6
    base, clean = value["loss_base"], table["mean", "none"]["loss"]
    for row in value["rows"]:
        assert row["clean_loss_lost"] == pytest.approx((row["loss"] - clean) / (base - clean))
    assert table["mean", "nan"]["dropped"] == ["not_finite"]
    assert table["mean", "sign_flip"]["dropped"] == []
    assert all(table[r, "none"]["backdoor_gap"] == 0 for r in ("mean", "median"))
    assert Path(value["plot"]).read_bytes().startswith(b"\x89PNG")
    assert "| sign_flip | " in (out / files.MARKDOWN).read_text()
    # What the documentation shows is an output of this form.
    assert form(value) == form(kept("poisoning"))


def test_arms_differ_in_rule_and_attack_alone(small: Path) -> None:
    arms = poison_arms.arms(load(small), 4)
    assert len({arm.label for arm in arms}) == len(arms) == 6
    plain = [dataclasses.replace(arm.scenario, rule=None, attack=None) for arm in arms]
    assert all(scenario == plain[0] for scenario in plain)
    # The same draws too: they are seeded by name.
    assert len({arm.repetition(1).name for arm in arms}) == 1
    assert arms[0].repetition(1).name != arms[0].repetition(2).name
    for arm in arms:
        rule, attack = arm.scenario.rule, arm.scenario.attack
        assert rule is not None
        assert attack is not None
        assert rule.assumed_bad == (0 if rule.name == "mean" else 1)
        assert attack.bad == (0 if attack.name == "none" else 1)


def _row(rule: str, attack: str, lost: float, gap: float) -> dict[str, Any]:
    return {"rule": rule, "attack": attack, "clean_loss_lost": lost, "backdoor_gap": gap}


def test_recommended_is_the_least_worst_case_of_those_within_both_goals() -> None:
    table = [
        _row("mean", "none", 0.0, 0.0),
        _row("mean", "x", 0.5, 0.0),
        _row("a", "none", 0.015, 0.0),
        _row("a", "x", 0.0, 5.0),
        _row("b", "none", 0.001, 0.0),
        _row("b", "x", 0.01, 4.0),
        _row("c", "none", 0.0, 0.0),
        _row("c", "x", 0.0, 6.0),
    ]
    assert poison_arms.recommend(table) == ("b", True)
    assert poison_arms.recommend([r for r in table if r["rule"] != "b"]) == ("a", True)
    # Where none holds the goals, the one that misses them least: 6 of 5 points, against 25 times 2 %.
    assert poison_arms.recommend([r for r in table if r["rule"] in ("mean", "c")]) == ("c", False)


@pytest.mark.parametrize(
    "change",
    [
        {"rules": ()},
        {"attacks": ()},
        {"bad": 0},
        {"rules": ("mode",)},
        {"attacks": ("none",)},
        {"epsilons": (1.0,)},
        {"local_steps": 2},
        {"rules": ("mean", "mean")},
        {"kind": "noise", "epsilons": (1.0,)},
    ],
)
def test_settings_of_no_such_comparison_are_refused(change: dict[str, Any]) -> None:
    given: dict[str, Any] = {"kind": "poisoning", "rules": ("mean",), "attacks": ("nan",), "bad": 1, **change}
    with pytest.raises(ConfigError, match=r"\[comparison\]"):
        ComparisonSettings(**given)


def test_a_majority_of_bad_institutions_is_refused(small: Path) -> None:
    scenario = load(small)
    with pytest.raises(ConfigError, match="minority"):
        poison_arms.arms(scenario, 2)
    with pytest.raises(ConfigError, match="compares no rules"):
        poison_arms.arms(dataclasses.replace(scenario, comparison=None), 4)


def test_the_shipped_comparison_is_that_of_the_promise() -> None:
    scenario: Scenario = load(named("poisoning"))
    asked = scenario.comparison
    assert asked is not None
    assert set(asked.attacks) == set(ATTACKS[1:])
    assert len(asked.attacks) == 10
    assert set(asked.rules) == set(rules())
    assert (asked.bad, scenario.split.institutions, scenario.quorum) == (2, 10, 8)
