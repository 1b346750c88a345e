"""A pack of somebody else's is one folder and one entry point: the one of the documentation, built from its page."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from domains.base import load_task, task_digest, task_names
from domains.pipeline import Settings, generate
from fedcore.errors import RecordError
from simulations.directory import RunDirectory
from simulations.scenario import load
from simulations.world import World
from tests.domains.packs import install

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "domain-team.md").read_text(encoding="utf-8").split("## A pack of your own")[1]
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
POINTS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]
CLAIM = {
    "number": "C-17",
    "peril": "Water damage",
    "day": "2026-03-02",
    "loss": "12400",
    "deductible": 500,
    "covers": ["water damage", "fire"],
}
LETTER = "Your claim for water damage: the loss of $12,400 is paid."


class Says:
    """A model that always writes the same."""

    def __init__(self, text: str) -> None:
        self._text = text

    def write(self, prompts: Any, *, max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        return [self._text for _ in prompts]


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    points = POINTS.replace('[project.entry-points."concordat.tasks"]', "[concordat.tasks]").replace('"', "")
    install(tmp_path, monkeypatch, module="claims", source=CODE, points=points.split("\n", 1)[1])
    return tmp_path


def test_it_takes_less_than_a_hundred_lines() -> None:
    assert len(CODE.splitlines()) + len(POINTS.splitlines()) < 100


def test_it_is_found_by_its_entry_point(claims: Path) -> None:
    assert "insurance.claims" in task_names()
    assert load_task("insurance.claims").name == "insurance.claims"
    assert len(task_digest("insurance.claims")) == 64


def test_the_letter_follows_from_the_rules(claims: Path) -> None:
    task = load_task("insurance.claims")
    paid = generate(task, task.read({"claim": CLAIM}), None, Settings())
    assert paid.text.endswith("Loss $12,400, deductible $500, payable $11,900.")
    refused = generate(task, task.read({"claim": {**CLAIM, "peril": "flood"}}), None, Settings())
    assert refused.text.endswith("Your policy does not cover flood.")
    assert "$" not in refused.text


def test_an_amount_that_the_claim_does_not_hold_never_passes(claims: Path) -> None:
    task = load_task("insurance.claims")
    source = task.read({"claim": CLAIM})
    true = generate(task, source, Says(f" {LETTER}"), Settings())
    assert LETTER.removeprefix("Your ") in true.text
    false = generate(task, source, Says(" The loss of $12,500 is paid."), Settings())
    assert "12,500" not in false.text
    assert false.replaced == 1


def test_a_claim_that_cannot_be_read_is_not_quoted(claims: Path) -> None:
    with pytest.raises(RecordError, match="claim cannot be read") as caught:
        load_task("insurance.claims").read({"claim": {**CLAIM, "loss": "secret"}})
    assert "secret" not in str(caught.value)


def test_the_commands_know_it(claims: Path) -> None:
    (claims / "claim.json").write_text(json.dumps({"claim": CLAIM}))
    command = Path(sys.executable).parent / "concordat"
    environment = {**os.environ, "PYTHONPATH": f"{claims}{os.pathsep}{ROOT}"}

    def run(*arguments: str) -> Any:
        done = subprocess.run([command, *arguments], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run("domain", "describe", "insurance.claims", "--json")["fields"] == ["claim", "letter"]
    written = run("generate", "insurance.claims", "--input", str(claims / "claim.json"), "--base", "none", "--json")
    assert "payable $11,900" in written["text"]


@pytest.mark.slow
def test_it_is_trained_by_a_federation_as_any_task(claims: Path) -> None:
    rows = [
        {"claim": {**CLAIM, "loss": 1000 + 7 * i}, "letter": LETTER, "holder": f"h{i}", "branch": f"b{i % 2}"}
        for i in range(16)
    ]
    records = claims / "claims.jsonl"
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (claims / "scenario.toml").write_text(
        """
        name = "claims"
        task = "insurance.claims"
        base = "tiny:llama_wide"
        rounds = 2
        seed = 1
        max_tokens = 64
        [records]
        unit = "holder"
        heldout_units = 2
        [split]
        kind = "column"
        column = "branch"
        [optimiser]
        learning_rate = 3e-2
        [privacy]
        epsilon = 8.0
        epsilon_limit = 12.0
        delta = 1e-5
        sampling_rate = 0.5
        steps_per_round = 2
        expected_batch_units = 4.0
        examples_per_unit = 1
        clip_norm_l2 = 1.0
        """
    )
    scenario = load(claims / "scenario.toml")
    run = RunDirectory.prepare(claims / "run", scenario, records=records, base=claims / "run" / "tiny-llama_wide")
    results = World(run).run()
    assert results.status == "completed"
    assert all(0 < line.epsilon_spent <= 8.0 for line in results.institutions)
