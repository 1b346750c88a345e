"""`concordat knowledge` adds, lists, shows, searches and removes, and reports as one JSON object."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from domains.knowledge_commands import default_store, knowledge
from fedcore.errors import ConfigError


@pytest.fixture
def call(tmp_path: Path) -> Any:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(knowledge, arguments, env={"CONCORDAT_KNOWLEDGE": str(tmp_path / "store")})

    return run


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.md"
    path.write_text("3.1 Complaints are answered within 15 days.\n3.2 Records are kept for six years.\n")
    return path


def test_what_is_added_is_listed_shown_and_found(call: Any, rules: Path) -> None:
    added = json.loads(call("add", "conduct", str(rules), "--json").stdout)
    assert (added["version"], added["clauses"], added["changed"]) == (1, 2, True)
    listed = json.loads(call("list", "--json").stdout)["knowledge"]
    assert [(k["name"], k["digest"]) for k in listed] == [("conduct", added["digest"])]
    shown = json.loads(call("show", "conduct", "--id", "3.2", "--json").stdout)
    assert shown["clause"]["text"] == "Records are kept for six years."
    hits = json.loads(call("search", "conduct", "how long are records kept", "--k", "1", "--json").stdout)["hits"]
    assert [h["id"] for h in hits] == ["3.2"]


def test_adding_again_makes_a_version_only_where_something_changed(call: Any, rules: Path) -> None:
    call("add", "conduct", str(rules))
    assert json.loads(call("add", "conduct", str(rules), "--json").stdout)["changed"] is False
    rules.write_text(rules.read_text().replace("15", "10"))
    again = json.loads(call("add", "conduct", str(rules), "--json").stdout)
    assert (again["version"], again["changed"]) == (2, True)
    assert len(json.loads(call("show", "conduct", "--json").stdout)["versions"]) == 2


def test_removed_is_gone(call: Any, rules: Path) -> None:
    call("add", "conduct", str(rules))
    assert json.loads(call("remove", "conduct", "--json").stdout)["removed"] is True
    assert json.loads(call("list", "--json").stdout)["knowledge"] == []


@pytest.mark.parametrize(
    "arguments",
    [("add", "conduct", "nowhere.md"), ("add", "conduct", "{rules}", "--kind", "poems"), ("show", "nothing"),
     ("add", "conduct", "{rules}", "--column", "text")],
)  # fmt: skip
def test_what_cannot_be_done_says_why(call: Any, rules: Path, arguments: tuple[str, ...]) -> None:
    result = call(*(a.replace("{rules}", str(rules)) for a in arguments))
    assert isinstance(result.exception, ConfigError)


def test_store_lies_beside_the_bases_unless_named() -> None:
    assert default_store({"CONCORDAT_CACHE": "/c"}) == Path("/c/knowledge")
    assert default_store({"CONCORDAT_CACHE": "/c", "CONCORDAT_KNOWLEDGE": "/k"}) == Path("/k")
