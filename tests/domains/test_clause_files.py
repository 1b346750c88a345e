"""Clauses are read from columns or from their numbering, word for word."""

import json
from pathlib import Path

import pytest

from domains._clause_files import clauses_of_text, read_clauses
from fedcore.errors import ConfigError, RecordError


def test_numbered_clauses_keep_their_points_and_titles() -> None:
    text = (
        "# Chapter on fees\n3.1 A bank must:\n(a) publish fees;\n(b) keep them.\n"
        "3.1(a) Exceptions are filed.\nSection 4: End."
    )
    found = clauses_of_text(text, "fees")
    assert [(c.id, c.title) for c in found] == [
        ("3.1", "Chapter on fees"), ("3.1(a)", "Chapter on fees"), ("4", "Chapter on fees")
    ]  # fmt: skip
    assert found[0].text == "A bank must:\n(a) publish fees;\n(b) keep them."


def test_chinese_articles_are_cut_and_references_are_not() -> None:
    text = "第一章 总则\n第一条 银行应当报告。\n第二十三条之一 客户可以投诉。\n第一条规定的期限为三十日。"
    found = clauses_of_text(text, "x")
    assert [(c.id, c.title, c.lang) for c in found] == [
        ("第一条", "第一章 总则", "zh"), ("第二十三条之一", "第一章 总则", "zh")
    ]  # fmt: skip
    assert found[1].text.endswith("第一条规定的期限为三十日。")


def test_a_text_without_numbers_is_cut_into_paragraphs() -> None:
    assert [c.text for c in clauses_of_text("First.\nstill first.\n\nSecond.", "x")] == [
        "First.\nstill first.",
        "Second.",
    ]


def test_columns_are_recognised_or_mapped(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"passage_id": "1.1", "text": "A rule.", "doc": 7}) + "\n")
    (tmp_path / "b.csv").write_text("条号,条文,文件\n第一条,银行应当报告。,办法\n", encoding="utf-8")
    assert [(c.id, c.source, c.lang) for c in read_clauses(tmp_path)] == [("1.1", "7", "en"), ("第一条", "办法", "zh")]
    (tmp_path / "c.csv").write_text("key,words\nx,A rule.\n")
    (clause,) = read_clauses(tmp_path / "c.csv", {"id": "key", "text": "words"})
    assert (clause.id, clause.text, clause.source) == ("x", "A rule.", "c")


def test_ids_that_stand_twice_take_their_source(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("1. One rule.\n")
    (tmp_path / "b.md").write_text("1. Another rule.\n")
    assert [c.id for c in read_clauses(tmp_path)] == ["a:1", "b:1"]


def test_a_short_clause_titles_those_that_its_number_begins(tmp_path: Path) -> None:
    rows = [{"id": "1.3", "text": "Gifts"}, {"id": "1.3.1", "text": "Gifts are refused."}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert [c.title for c in read_clauses(tmp_path / "a.jsonl")] == ["", "Gifts"]


@pytest.mark.parametrize("content", ['{"id": "1"}', "[1]", "{"])
def test_a_row_that_cannot_be_read_is_named_by_its_number(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "0", "text": "secret words"}\n' + content + "\n")
    with pytest.raises(RecordError, match="line 2") as caught:
        read_clauses(path)
    assert "secret" not in str(caught.value)


def test_what_holds_no_clauses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(ConfigError):
        read_clauses(tmp_path / "a.bin")
    with pytest.raises(ConfigError):
        read_clauses(tmp_path, {"colour": "x"})
