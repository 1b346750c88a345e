"""Read clauses and terms from files: JSONL and CSV by their columns, Markdown and text by their numbering.

A numbered clause starts a line: "3.1", "3.1(a)", "Article 5", "Section 12", "第十二条". Lower points, "(a)" or
"（一）", belong to the clause above them, since they say nothing without it. A chapter's or section's heading
becomes its clauses' title. A text without numbers is cut into its paragraphs.

>>> rows = clauses_of_text("# Conduct\\n3.1 Complaints are answered.\\n(a) in writing.\\n3.2 Gifts are refused.", "c")
>>> [(c.id, c.title, c.text) for c in rows]
[('3.1', 'Conduct', 'Complaints are answered.\\n(a) in writing.'), ('3.2', 'Conduct', 'Gifts are refused.')]
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from domains.knowledge import Clause
from domains.retrieval import is_chinese
from fedcore.errors import ConfigError, RecordError

__all__ = ["FIELDS", "clauses_of_text", "read_clauses"]

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "clause_id", "passage_id", "rule_id", "number", "article", "编号", "条号", "条"),
    "text": ("text", "clause", "content", "passage", "body", "definition", "plain", "内容", "条文", "正文", "释义"),
    "source": ("source", "law", "regulation", "rulebook", "document", "doc", "法规", "法律", "文件", "来源"),
    "title": ("title", "heading", "section", "chapter", "term", "name", "标题", "章节", "章", "术语", "名称"),
    "date": ("date", "effective", "日期", "施行日期"),
    "lang": ("lang", "language", "语言"),
}
FIELDS = tuple(_COLUMNS)
"""What a column can be mapped to."""
_SUFFIXES = (".jsonl", ".csv", ".md", ".txt")
_LIMIT_BYTES = 64 << 20
_NUMBERED = re.compile(
    r"(?:#+\s*)?(?:(?:Article|Section|Rule|Clause)\s+(?P<word>\d+(?:\.\d+)*[A-Z]?(?:\([a-z0-9]+\))*)[.:)]?"
    r"|(?P<number>\d+(?:\.\d+)+(?:\([a-z0-9]+\))*|\d+(?:\([a-z0-9]+\))+|\d+(?=[.)]\s))[.:)]?"
    r"|(?P<zh>第[〇零一二三四五六七八九十百千\d]+条(?:之[一二三四五六七八九十]+)?))(?:\s+|$|[:：]\s*|(?<=[条十九八七六五四三二一])(?![规的第至和、，,及或款项所中之]))",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"#+\s*(?P<md>.+)|(?P<zh>第[〇零一二三四五六七八九十百千\d]+[编章节]\s*.*)|(?P<en>(?:Chapter|Part)\s+\w+.*)"
)
_HEADING_CHARACTERS = 80


def read_clauses(path: Path, columns: Mapping[str, str] | None = None) -> list[Clause]:
    """Read a file, or every file of a folder, sorted by name.

    Args:
        path: .jsonl, .csv, .md or .txt, or a folder that holds such.
        columns: Field of a clause -> column, where the columns' names do not tell.
    Raises:
        ConfigError: Nothing of this kind is there, or a field is not one of `FIELDS`.
        RecordError: A row cannot be read; with its number, never its content.
    """
    wrong = sorted(set(columns or ()) - set(FIELDS))
    if wrong:
        raise ConfigError(f"a clause has no field {wrong[0]!r}", expected="one of " + ", ".join(FIELDS))
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES) if path.is_dir() else [path]
    if not files or any(f.suffix.lower() not in _SUFFIXES for f in files):
        raise ConfigError(f"{path} holds no clauses", expected="a file or folder of " + ", ".join(_SUFFIXES))
    return _unique([clause for file in files for clause in _file(file, columns or {})])


def clauses_of_text(text: str, source: str) -> list[Clause]:
    """Cut a document into its numbered clauses, or into paragraphs where nothing is numbered.

    Args:
        text: Markdown or plain text.
        source: The document's name.
    """
    lang = "zh" if is_chinese(text) else "en"
    lines = [line.strip() for line in text.splitlines()]
    numbered = any(_NUMBERED.match(line) for line in lines)
    out: list[Clause] = []
    title, name, body = "", "", list[str]()

    def close() -> None:
        nonlocal body
        words = "\n".join(body).strip()
        if words:
            label = name or f"p{len(out) + 1}"
            out.append(Clause(id=label, text=words, source=source, title=title, lang=lang))
        body = []

    for line in lines:
        start = _NUMBERED.match(line)
        heading = _HEADING.fullmatch(line) if start is None else None
        if start is not None:
            close()
            name = next(g for g in start.groups() if g)
            body = [line[start.end() :].strip()] if line[start.end() :].strip() else []
        elif heading is not None and len(line) <= _HEADING_CHARACTERS:
            close()
            name, title = "", next(g for g in heading.groups() if g).strip()
        elif not line and not numbered:
            close()
        elif line:
            body.append(line)
    close()
    return out


def _file(path: Path, columns: Mapping[str, str]) -> list[Clause]:
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise RecordError(f"{path} is too large", expected=f"at most {_LIMIT_BYTES >> 20} MiB")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror})", do="check the path") from error
    except UnicodeDecodeError:
        raise RecordError(f"{path} is not UTF-8", do="save it as UTF-8") from None
    if path.suffix.lower() == ".jsonl":
        return _with_headings(_rows(path, _json_lines(path, text), columns))
    if path.suffix.lower() == ".csv":
        return _with_headings(_rows(path, enumerate(csv.DictReader(io.StringIO(text)), 2), columns))
    found = clauses_of_text(text, path.stem)
    if not found:
        raise RecordError(f"{path} holds no text", do="leave empty files out")
    return found


def _json_lines(path: Path, text: str) -> Iterable[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError:
                raise RecordError(f"{path}, line {number}, is not JSON", do="correct the line") from None


def _rows(path: Path, rows: Iterable[tuple[int, Any]], columns: Mapping[str, str]) -> list[Clause]:
    """One clause a row; what is not mapped is recognised by its column's name."""
    out = []
    for number, row in rows:
        if not isinstance(row, Mapping):
            raise RecordError(f"{path}, line {number}, is no object", expected="columns and their values")
        lower = {str(k).strip().lower(): k for k in row}
        values: dict[str, str] = {}
        for field, names in _COLUMNS.items():
            wanted = columns.get(field)
            if wanted is not None and wanted not in row:
                raise RecordError(f"{path}, line {number}, has no column {wanted!r}", do=f"map {field!r} to a column")
            key = wanted if wanted is not None else next((lower[n] for n in names if n in lower), None)
            value = row.get(key) if key is not None else None
            values[field] = "" if value is None else str(value).strip()
        if not values["text"]:
            raise RecordError(
                f"{path}, line {number}, has no text", expected="a column such as " + ", ".join(_COLUMNS["text"][:4])
            )
        values["id"] = values["id"] or values["title"] or f"p{number}"
        values["source"] = values["source"] or path.stem
        values["lang"] = values["lang"] or ("zh" if is_chinese(values["text"]) else "en")
        out.append(Clause(**values))
    return out


def _with_headings(clauses: list[Clause]) -> list[Clause]:
    """Where a short clause's number begins those after it, it is their heading: "1.3" of "1.3.1" and "1.3.2(a)"."""
    headings = {
        (c.source, c.id.rstrip(".")): c.text
        for c in clauses
        if len(c.text) <= _HEADING_CHARACTERS and c.text[-1] not in ".;:。；：" and c.id[:1].isdigit()
    }
    if not headings:
        return clauses
    out = []
    for c in clauses:
        parts = c.id.rstrip(".").split(".")
        above = [headings.get((c.source, ".".join(parts[:n]))) for n in range(1, len(parts))]
        title = "; ".join(t for t in above if t)
        out.append(replace(c, title=title) if title and not c.title else c)
    return out


def _unique(clauses: list[Clause]) -> list[Clause]:
    """Ids that stand twice take their source before them, and a count where that does not help."""
    counts = Counter(c.id for c in clauses)
    named = [replace(c, id=f"{c.source}:{c.id}") if counts[c.id] > 1 else c for c in clauses]
    seen: Counter[str] = Counter()
    out = []
    for c in named:
        seen[c.id] += 1
        out.append(replace(c, id=f"{c.id}#{seen[c.id]}") if seen[c.id] > 1 else c)
    return out
