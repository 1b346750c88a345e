"""`concordat simulate` as its users meet it: one JSON object, clear refusals, Ctrl-C that loses nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedcore.cli import main
from simulations import commands
from simulations.benchmarks.processes import program
from simulations.measured import form, kept
from simulations.scenario import named

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def simulate(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("concordat"), "simulate", *arguments]
    return subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)


def test_a_run_prints_one_json_object_and_is_not_computed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = str(named("quickstart"))
    first = simulate(tmp_path, scenario, "--json")
    assert first.returncode == 0, first.stderr
    value = json.loads(first.stdout)
    assert {"rounds", "institutions", "loss_base", "loss_released", "out", "forecast", "unsafe"} <= set(value)
    assert value["out"] == str(tmp_path / "runs" / "quickstart-epsilon-8")
    # Before anything is trained.
    assert first.stderr.index("forecast") < first.stderr.index("round 1/2")
    written = (Path(value["out"]) / "results.json").stat().st_mtime_ns
    monkeypatch.chdir(tmp_path)
    second = CliRunner().invoke(commands.simulate, [scenario, "--json"])
    assert json.loads(second.stdout) == value
    assert "is finished" in second.stderr
    assert (Path(value["out"]) / "results.json").stat().st_mtime_ns == written


def test_a_noisier_strategy_is_warned_about_before_anything_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = named("quickstart").read_text()
    assert "strategy = " not in text
    (tmp_path / "stacked.toml").write_text(text.replace("rounds = 2", 'rounds = 1\nstrategy = "flora"'))
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(commands.simulate, ["stacked.toml"]).stderr
    assert "warning The strategy flora is noisier under privacy" in said
    assert said.index("forecast") < said.index("warning") < said.index("base loss")


@pytest.mark.slow
def test_a_scenario_with_a_comparison_prints_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = named("joint-step").read_text()
    for old, new in (
        ("rounds = 40", "rounds = 2"),
        ("units_per_site = 1600", "units_per_site = 40"),
        ("epsilons = [1, 3, 8]", "epsilons = [8]"),
        ("repetitions = 3", "repetitions = 1"),
        ("local_steps = 4", "local_steps = 2"),
        ("sampling_rate = 0.015", "sampling_rate = 0.2"),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "small.toml").write_text(text)
    done = simulate(tmp_path, "small.toml", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert form(value) == form(kept("joint-step"))
    assert [row["epsilon"] for row in value["rows"]] == [8]
    assert value["plot"] == str(tmp_path / "runs" / "joint-step-comparison" / "comparison.png")
    assert "run 4 of 4: none without noise" in done.stderr
    # With an epsilon of its own the scenario is run once, as it is.
    monkeypatch.chdir(tmp_path)
    once = CliRunner().invoke(commands.simulate, ["small.toml", "--epsilon", "8", "--json"])
    assert once.exit_code == 0, once.stderr
    assert json.loads(once.stdout)["secure_sums"]["honest_minimum"] == 6


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.toml"], 2, "missing.toml does not exist"),
        (["QUICKSTART", "--epsilon", "tiny"], 2, "--epsilon is not a number"),
        (["QUICKSTART", "--epsilon", "-3"], 2, "--epsilon is out of range"),
        (["QUICKSTART", "--backend", "cloud"], 2, "expected memory or ray"),
        (["QUICKSTART", "--records", "none.jsonl"], 3, "none.jsonl cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(named("quickstart")) if a == "QUICKSTART" else a for a in arguments]
    monkeypatch.setattr(sys, "argv", ["concordat", "simulate", *given, "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_state_and_the_next_run_goes_on(tmp_path: Path) -> None:
    scenario = tmp_path / "long.toml"
    text = named("quickstart").read_text()
    scenario.write_text(text.replace("rounds = 2", "rounds = 8").replace("steps_per_round = 2", "steps_per_round = 6"))
    command = [program("concordat"), "simulate", str(scenario), "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("round 1/8"):
                process.send_signal(signal.SIGINT)
                break
        output, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert "stopped:" in rest
    again = simulate(tmp_path, str(scenario), "--json")
    value = json.loads(again.stdout)
    assert "round 1/8" not in again.stderr
    assert value["rounds"] == 8
    # Nothing was paid for twice.
    assert all(i["epsilon_spent"] <= 8.0 for i in value["institutions"])
