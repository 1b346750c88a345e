"""A knowledge base is one version of its clauses: hashed, published whole, and refused when it was touched."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from domains.knowledge import Clause, KnowledgeBase, KnowledgeStore
from fedcore.errors import ConfigError, RecordError, TamperedRelease

RULES = (
    Clause(id="1", text="Complaints are answered within 15 days.", source="Conduct"),
    Clause(id="2", text="Records are kept for six years.", source="Conduct"),
)


def test_same_clauses_have_the_same_digest_whatever_the_name() -> None:
    assert KnowledgeBase(name="a", clauses=RULES).digest == KnowledgeBase(name="b", clauses=RULES, version=7).digest


@pytest.mark.parametrize("field", ["id", "text", "source", "title", "lang", "date"])
def test_every_field_of_a_clause_counts_in_the_digest(field: str) -> None:
    changed = (replace(RULES[0], **{field: "zh" if field == "lang" else "other"}), RULES[1])
    assert KnowledgeBase(name="a", clauses=changed).digest != KnowledgeBase(name="a", clauses=RULES).digest


def test_a_running_process_sees_the_new_version_on_its_next_question(tmp_path: Path) -> None:
    running, other = KnowledgeStore(tmp_path), KnowledgeStore(tmp_path)
    other.publish("conduct", RULES)
    before = running.open("conduct")
    other.publish("conduct", [*RULES, Clause(id="3", text="Gifts are refused.")])
    after = running.open("conduct")
    assert (before.version, len(before.clauses)) == (1, 2)
    assert (after.version, len(after.clauses)) == (2, 3)
    assert after.search("gifts")[0].clause.id == "3"
    assert after.stamp == {"name": "conduct", "kind": "clauses", "version": 2, "digest": after.digest}


def test_publishing_the_same_again_makes_no_version(tmp_path: Path) -> None:
    store = KnowledgeStore(tmp_path)
    store.publish("conduct", RULES)
    assert store.publish("conduct", RULES).version == 1
    assert len(store.history("conduct")) == 1


def test_a_version_that_was_touched_is_refused(tmp_path: Path) -> None:
    base = KnowledgeStore(tmp_path).publish("conduct", RULES)
    file = tmp_path / "conduct" / f"{base.digest}.jsonl"
    file.write_text(file.read_text().replace("15 days", "95 days"))
    with pytest.raises(TamperedRelease):
        KnowledgeStore(tmp_path).open("conduct")


def test_two_writers_at_once_lose_no_version(tmp_path: Path) -> None:
    def write(number: int) -> None:
        KnowledgeStore(tmp_path).publish("conduct", [Clause(id="1", text=f"Rule number {number}.")])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = KnowledgeStore(tmp_path).history("conduct")
    assert [entry["version"] for entry in history] == [1, 2, 3, 4, 5, 6]
    assert len({entry["digest"] for entry in history}) == 6


def test_what_was_removed_is_gone_and_said_to_be(tmp_path: Path) -> None:
    store = KnowledgeStore(tmp_path)
    store.publish("conduct", RULES)
    store.remove("conduct")
    assert store.names() == ()
    with pytest.raises(ConfigError, match="does not exist"):
        store.open("conduct")


@pytest.mark.parametrize("name", ["", "../up", "Conduct", "a/b"])
def test_a_name_that_could_leave_the_store_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        KnowledgeStore(tmp_path).publish(name, RULES)


def test_empty_and_doubled_clauses_are_refused() -> None:
    with pytest.raises(RecordError):
        KnowledgeBase(name="a", clauses=())
    with pytest.raises(RecordError):
        KnowledgeBase(name="a", clauses=(RULES[0], RULES[0]))
    with pytest.raises(RecordError):
        Clause(id="1", text=" ")


def test_a_clause_prints_no_content() -> None:
    assert repr(RULES[0]) == "Clause"
