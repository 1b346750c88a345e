"""Versioned, hashed, searchable clauses and terms: what a task consults beside its input.

A **Clause** is one rule, term or condition, with its place. A **KnowledgeBase** is an immutable list of them;
its digest is that of their canonical bytes, so two machines that hold the same digest hold the same rules. A
**KnowledgeStore** keeps every version that was ever added and points to the one in force. Publishing writes the
version first and then replaces the pointer, in one step: a process that is running opens the new version on its
next question, and never half of one.

>>> from pathlib import Path
>>> import tempfile
>>> store = KnowledgeStore(Path(tempfile.mkdtemp()))
>>> rule = Clause(id="3.1", text="Complaints are answered within 15 days.", source="Conduct rules")
>>> store.publish("conduct", [rule], kind="clauses").version
1
>>> [hit.clause.id for hit in store.open("conduct").search("How fast is a complaint answered?")]
['3.1']
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from domains._files import write_whole
from domains.base import Sensitive
from domains.dense import Embeds
from domains.retrieval import Index
from fedcore import canonical
from fedcore.errors import ConfigError, RecordError, StorageError, TamperedRelease

__all__ = ["KINDS", "Clause", "Hit", "Kind", "KnowledgeBase", "KnowledgeStore"]

Kind = Literal["clauses", "terms", "conditions"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_POINTER = "current.json"
_LOCK_WAIT_S = 10.0
_LOCK_STALE_S = 120.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Clause(Sensitive):
    """One rule, term or condition as it stands in its source."""

    id: str
    """Unique in its base, such as "3.1(a)" or "第十二条"."""
    text: str
    """Word for word: a quote of it must be found in it."""
    source: str = ""
    title: str = ""
    """Of its section; a term's own word."""
    lang: str = "en"
    date: str = ""

    def __post_init__(self) -> None:
        if not self.id.strip() or not self.text.strip():
            raise RecordError("a clause has no id or no text", expected="both", do="leave empty rows out")


@dataclass(frozen=True, kw_only=True, repr=False)
class Hit(Sensitive):
    """A clause that was found, and how well it fits; scores compare within one search alone."""

    clause: Clause
    score: float


@dataclass(frozen=True, kw_only=True, repr=False)
class KnowledgeBase(Sensitive):
    """One version of a body of clauses."""

    name: str
    clauses: tuple[Clause, ...]
    kind: Kind = "clauses"
    version: int = 1

    def __post_init__(self) -> None:
        if not self.clauses:
            raise RecordError(f"the knowledge base {self.name} is empty", expected="at least one clause")
        ids = [c.id for c in self.clauses]
        if len(set(ids)) != len(ids):
            raise RecordError(f"an id stands twice in the knowledge base {self.name}", do="make the ids unique")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of kind and clauses, hexadecimal; neither name nor version number count."""
        return canonical.digest({"kind": self.kind, "clauses": [asdict(c) for c in self.clauses]})

    @property
    def stamp(self) -> dict[str, Any]:
        """What a document says of the rules that it was made with."""
        return {"name": self.name, "kind": self.kind, "version": self.version, "digest": self.digest}

    def get(self, clause_id: str) -> Clause:
        """The clause of an id.

        Raises:
            ConfigError: There is none.
        """
        found = self._by_id.get(clause_id)
        if found is None:
            raise ConfigError(f"the knowledge base {self.name} has no clause of this id", do="search for it")
        return found

    def search(self, query: str, k: int = 10, *, embeds: Embeds | None = None) -> list[Hit]:
        """The best clauses for a question or passage, best first.

        Args:
            query: Any text.
            k: At most so many.
            embeds: An encoder to fuse with BM25; without one, BM25 alone.
        """
        return [Hit(clause=self.clauses[i], score=s) for i, s in self.index(embeds).search(query, k)]

    def index(self, embeds: Embeds | None = None) -> Index:
        """The search index; made once for each encoder."""
        key = embeds.name if embeds is not None else ""
        if key not in self._indices:
            pairs = [(c.title, c.text) for c in self.clauses]
            sources = [c.source for c in self.clauses] if self.kind == "clauses" else None
            self._indices[key] = Index(pairs, sources=sources, embeds=embeds)
        return self._indices[key]

    @cached_property
    def _by_id(self) -> dict[str, Clause]:
        return {c.id: c for c in self.clauses}

    @cached_property
    def _indices(self) -> dict[str, Index]:
        return {}


class KnowledgeStore:
    """Knowledge bases in a directory: a folder for each name, a file for each version, one pointer.

    Args:
        root: Made when something is published.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._opened: dict[str, KnowledgeBase] = {}

    def names(self) -> tuple[str, ...]:
        """What there is, sorted."""
        if not self._root.is_dir():
            return ()
        return tuple(sorted(p.parent.name for p in self._root.glob(f"*/{_POINTER}")))

    def open(self, name: str) -> KnowledgeBase:
        """The version in force now; the pointer is read anew each time.

        Raises:
            ConfigError: There is no base of this name.
            TamperedRelease: A version's file is not what its digest says.
        """
        entry = self.history(name)[-1]
        held = self._opened.get(name)
        if held is not None and held.digest == entry["digest"] and held.version == entry["version"]:
            return held
        base = self._read(name, entry)
        self._opened[name] = base
        return base

    def history(self, name: str) -> list[dict[str, Any]]:
        """Every version: its number, digest, kind, number of clauses and when it was added; the latest last.

        Raises:
            ConfigError: There is no base of this name.
        """
        path = self._folder(name) / _POINTER
        try:
            versions: list[dict[str, Any]] = json.loads(path.read_bytes())["versions"]
        except FileNotFoundError:
            raise ConfigError(
                f"the knowledge base {name} does not exist",
                expected="one of " + ", ".join(self.names()) if self.names() else "concordat knowledge add NAME PATH",
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path} cannot be read", do=f"add the knowledge base {name} again") from error
        return versions

    def publish(self, name: str, clauses: Sequence[Clause], *, kind: Kind = "clauses") -> KnowledgeBase:
        """Make these clauses the version in force. The same clauses again change nothing.

        Raises:
            ConfigError: The name cannot be used.
            RecordError: No clause, or an id twice.
            StorageError: It cannot be written; what was in force stays so.
        """
        folder = self._folder(name)
        base = KnowledgeBase(name=name, clauses=tuple(clauses), kind=kind)
        digest = base.digest
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder):
                versions = self.history(name) if (folder / _POINTER).exists() else []
                if versions and versions[-1]["digest"] == digest:
                    return self.open(name)
                entry = {
                    "version": 1 + (versions[-1]["version"] if versions else 0),
                    "digest": digest,
                    "kind": kind,
                    "clauses": len(base.clauses),
                    "added": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                }
                lines = b"".join(canonical.encode(asdict(c)) + b"\n" for c in base.clauses)
                write_whole(folder / f"{digest}.jsonl", lines, mode=0o644)
                write_whole(folder / _POINTER, canonical.encode({"versions": [*versions, entry]}), mode=0o644)
        except OSError as error:
            raise StorageError(f"{folder} cannot be written ({error.strerror})", do="free or choose a disk") from error
        return self.open(name)

    def remove(self, name: str) -> None:
        """Delete a base with all its versions.

        Raises:
            ConfigError: There is no base of this name.
        """
        self.history(name)
        folder = self._folder(name)
        try:
            (folder / _POINTER).unlink()
            shutil.rmtree(folder)
        except OSError as error:
            raise StorageError(f"{folder} cannot be removed ({error.strerror})", do="remove it by hand") from error
        self._opened.pop(name, None)

    def _folder(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"the name {name!r} cannot be used", expected="a-z, 0-9, '.', '_', '-'; at most 64, a letter first"
            )
        return self._root / name

    def _read(self, name: str, entry: dict[str, Any]) -> KnowledgeBase:
        """A version's file, proved to be what the pointer names."""
        digest = str(entry.get("digest", ""))
        path = self._folder(name) / f"{digest}.jsonl"
        try:
            if not _DIGEST.fullmatch(digest):
                raise ValueError("no digest")
            rows = [canonical.decode(line) for line in path.read_bytes().splitlines()]
            clauses = tuple(Clause(**row) for row in rows)
            base = KnowledgeBase(name=name, clauses=clauses, kind=entry["kind"], version=int(entry["version"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"a version of the knowledge base {name} cannot be read", do="add it again from its files"
            ) from error
        if base.digest != digest:
            raise TamperedRelease(
                f"a version of the knowledge base {name} is not what its digest says", do="add it again from its files"
            )
        return base


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time; a lock that its owner left behind is taken over after two minutes.

    Raises:
        StorageError: Another process writes for longer than we wait.
    """
    path, until = folder / ".lock", time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            with_age = path.stat().st_mtime if path.exists() else time.time()
            if time.time() - with_age > _LOCK_STALE_S:
                path.unlink(missing_ok=True)
            elif time.monotonic() > until:
                raise StorageError(f"{folder} is being written by another process", do="try again") from None
            time.sleep(0.02)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
