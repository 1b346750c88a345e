"""`concordat model` shows and prepares bases, and reports as one JSON object."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from domains import bases
from domains.model_commands import model
from fedcore.adapter import ModelCard
from fedcore.errors import ModelError
from simulations.tiny import make_tiny_base


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("base") / "llama", "llama")


@pytest.fixture
def call(tmp_path: Path) -> Any:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(model, arguments, env={"CONCORDAT_CACHE": str(tmp_path)})

    return run


def test_list_shows_what_can_be_prepared(call: Any, tmp_path: Path) -> None:
    value = json.loads(call("list", "--json").stdout)
    assert value["root"] == str(tmp_path)
    assert [(b["name"], b["prepared"]) for b in value["bases"]] == [("smollm2-135m", False)]


def test_added_base_is_listed_with_its_digest(call: Any, llama: Path) -> None:
    added = json.loads(call("add", str(llama), "--name", "mine", "--json").stdout)
    assert added["digest"] == bases.digest_of(llama)
    listed = json.loads(call("list", "--json").stdout)["bases"]
    assert added in listed


def test_card_is_what_a_coordinator_reads(call: Any, llama: Path, tmp_path: Path) -> None:
    call("add", str(llama), "--name", "mine")
    result = call("card", "mine", "--out", str(tmp_path / "card.json"), "--json")
    card = ModelCard.from_dict(json.loads((tmp_path / "card.json").read_text()))
    assert card == bases.read_card(bases.find("mine", tmp_path))
    assert json.loads(result.stdout)["digest"] == card.digest


def test_card_of_a_directory_that_was_not_added_is_measured(call: Any, llama: Path) -> None:
    value = json.loads(call("card", str(llama)).stdout)
    assert ModelCard.from_dict(value).digest == bases.digest_of(llama)


def test_without_json_standard_output_stays_empty(call: Any, llama: Path) -> None:
    for arguments in (("list",), ("add", str(llama), "--name", "mine")):
        result = call(*arguments)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "mine" in result.stderr or "smollm2-135m" in result.stderr


def test_base_that_does_not_exist_is_refused(call: Any, tmp_path: Path) -> None:
    result = call("add", "nowhere")
    assert isinstance(result.exception, ModelError)
    assert not (tmp_path / "bases").exists()


@pytest.mark.parametrize("command", [(), ("list",), ("add",), ("card",)])
def test_help_shows_an_example(call: Any, command: tuple[str, ...]) -> None:
    assert "concordat model" in call(*command, "--help").stdout
