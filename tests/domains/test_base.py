"""Tasks are found by name, and what is made from records never prints itself."""

import sys
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from domains import base
from domains.base import Example, Fact, Skeleton, Statement, Task, load_task, task_digest, task_names
from fedcore.errors import ConfigError


def test_both_first_tasks_are_installed_and_are_tasks() -> None:
    assert {"medicine.record", "finance.report"} <= set(task_names())
    for name in task_names():
        assert isinstance(load_task(name), Task)
        assert load_task(name).name == name


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'medicine\.nothing' is not known; expected one of finance\.compliance"):
        load_task("medicine.nothing")


def test_nothing_made_from_a_record_prints_its_content() -> None:
    secret = "Ada Abendroth"
    fact = Fact(kind="name", path="p", text=secret, value=Decimal(1))
    statement = Statement(rule="r", text=secret, facts=(fact,))
    skeleton = Skeleton(statements=(statement,), vocabulary=frozenset(), extra=(fact,))
    for value in (Example(prompt=secret, target=secret, unit=secret), fact, statement, skeleton):
        assert repr(value) == str(value) == type(value).__name__


def test_two_entries_that_say_the_same_make_one_claim() -> None:
    one = Fact(kind="name", path="entry[1]", text="Asthma")
    other = Fact(kind="name", path="entry[7]", text="asthma")
    assert one != other
    assert one.claim == other.claim


PACK = {
    "pack/__init__.py": "",
    "pack/inner/__init__.py": "",
    "pack/inner/task.py": "import json\nfrom pack import words\nfrom .near import B\nclass T:\n    name = 'x'\n",
    "pack/inner/near.py": "def late():\n    import pack.far\nB = 1\n",
    "pack/words.py": "W = 1\n",
    "pack/far.py": "F = 1\n",
    "pack/unused.py": "U = 1\n",
}


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed pack with a task of several modules."""
    for name, text in PACK.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EntryPoint(name="pack.task", value="pack.inner.task:T", group=base.GROUP)
    monkeypatch.setattr(base, "_entries", lambda: {"pack.task": entry})
    yield tmp_path
    for name in [m for m in sys.modules if m.split(".")[0] == "pack"]:
        del sys.modules[name]


@pytest.mark.parametrize("changed", [n for n in PACK if n != "pack/unused.py"])
def test_a_tasks_digest_changes_with_each_module_that_it_uses(pack: Path, changed: str) -> None:
    """Also with one imported late, relatively, or only as the package around another."""
    before = task_digest("pack.task")
    (pack / changed).write_text(PACK[changed] + "# changed\n")
    after = task_digest("pack.task")
    assert before != after
    (pack / changed).write_text(PACK[changed])
    assert task_digest("pack.task") == before


def test_a_tasks_digest_is_not_that_of_what_it_does_not_use(pack: Path) -> None:
    before = task_digest("pack.task")
    (pack / "pack" / "unused.py").write_text("U = 2\n")
    assert task_digest("pack.task") == before


def test_a_task_is_digested_without_being_run(pack: Path) -> None:
    (pack / "pack" / "inner" / "task.py").write_text("raise SystemExit('this ran')\n")
    assert len(task_digest("pack.task")) == 64


@pytest.mark.parametrize("text", [b"def (", b"\0\0"])
def test_a_task_that_is_not_python_has_no_digest(pack: Path, text: bytes) -> None:
    (pack / "pack" / "words.py").write_bytes(text)
    with pytest.raises(ConfigError, match="cannot be read as Python"):
        task_digest("pack.task")


def test_a_task_that_is_not_installed_has_no_digest() -> None:
    with pytest.raises(ConfigError, match="is not known"):
        task_digest("medicine.nothing")


def test_installed_tasks_have_digests_of_their_own() -> None:
    digests = {name: task_digest(name) for name in task_names()}
    assert len(set(digests.values())) == len(digests)
    assert digests == {name: task_digest(name) for name in task_names()}
