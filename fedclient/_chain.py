"""An append-only, hash-chained, fsynced file of entries: what the ledger stands on.

A **Chain** is a SQLite file whose entries each hold the SHA-256 of the one before; a separate row holds the
newest. Whoever reads it folds the entries into a state of its own, which is checked and brought up to date
at the start of every transaction. The chain knows nothing of budgets.

Times never run backwards: an entry is at least as late as the one before it, whatever the clock says, so
that a clock that is put back cannot make old entries look young or young ones old.
"""

import math
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, final

from fedcore import canonical
from fedcore.errors import InvalidPlan, LedgerError

__all__ = ["Chain", "Entry", "from_json", "tampered", "to_json"]

_APPLICATION_ID = 0x434E4344
_VERSION = 2
_OLDER = (1,)
"""Versions whose files are read as they are; one that is opened to be written gets this version's number."""

_BUSY_S = 120.0
_START = "0" * 64
_SCHEMA = (
    "CREATE TABLE entries (seq INTEGER PRIMARY KEY, dataset TEXT NOT NULL, kind TEXT NOT NULL,"
    " body BLOB NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL)",
    "CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL)",
    "CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END",
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One link of the chain. `body` holds public facts alone: plan digests, events, figures, times."""

    seq: int
    dataset: str
    kind: str
    body: Mapping[str, Any]
    previous: str
    hash: str


class Folded(Protocol):
    """A state that entries are folded into."""

    def take(self, entry: Entry) -> None:
        """Add the next entry; KeyError, TypeError, ValueError or InvalidPlan when it makes no sense."""
        ...


State = TypeVar("State", bound=Folded)


@final
class Chain(Generic[State]):
    """An open file and the state its entries fold into. Threads may share it; processes open their own.

    Args:
        path: The file. It is made, with mode 0600, unless `read_only`.
        empty: Makes the state before the first entry.
        tables: Statements that make further tables beside the chain, in a new file.
        read_only: Whether transactions that write are impossible.
        clock: The time now.
        shared_disk: Several machines open the file: SQLite's write-ahead log needs memory that its users share.
    Raises:
        LedgerError: Not such a file, or it cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        empty: Callable[[], State],
        tables: tuple[str, ...] = (),
        read_only: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        shared_disk: bool = False,
    ) -> None:
        self.path = path
        self._empty = empty
        self._clock = clock
        self._lock = threading.RLock()
        with _mapped(path):
            self.db = _read(path) if read_only else _open(path, tables, shared_disk)
        self._reset()

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[State]:
        """Follow the chain to its newest entry, then all or nothing; writers wait for each other.

        Raises:
            LedgerError: The chain is broken, or the file cannot be used.
        """
        with self._lock, _mapped(self.path):
            self.db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                self._follow()
                yield self._state
                self.db.execute("COMMIT")
            except BaseException:
                # What this transaction folded is no longer in the file: start again from its beginning.
                self._reset()
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    def now(self) -> datetime:
        """The clock's time in whole seconds, but never before the newest entry; inside a transaction."""
        return max(self._last, self._clock().replace(microsecond=0))

    def append(self, dataset: str, kind: str, body: Mapping[str, Any]) -> Entry:
        """Add an entry, with the time, inside a transaction that writes."""
        data = canonical.encode({**body, "at": self.now().isoformat(timespec="seconds")})
        seq, previous = self._seq + 1, self._hash
        row = (seq, dataset, kind, data, previous, _link(seq, dataset, kind, data, previous))
        self.db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", row)
        self.db.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?)", (seq, row[-1]))
        return self._take(row)

    def entries(self) -> tuple[Entry, ...]:
        """Every entry in order, checked from the first one on.

        Raises:
            LedgerError: The chain is broken.
        """
        with self._lock, _mapped(self.path):
            self._reset()
            self.db.execute("BEGIN")
            try:
                return tuple(self._follow())
            finally:
                self.db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self.db.close()

    def _reset(self) -> None:
        self._seq, self._hash, self._state = 0, _START, self._empty()
        self._last = datetime.min.replace(tzinfo=UTC)

    def _follow(self) -> list[Entry]:
        """Check and fold what was appended since; the newest entry must be the head."""
        rows = self.db.execute(
            "SELECT seq, dataset, kind, body, previous, hash FROM entries WHERE seq > ? ORDER BY seq", (self._seq,)
        )
        followed = [self._take(row) for row in rows]
        head = self.db.execute("SELECT seq, hash FROM head").fetchone()
        if (head or (0, _START)) != (self._seq, self._hash):
            raise tampered(self.path, "its newest entry is missing")
        return followed

    def _take(self, row: tuple[Any, ...]) -> Entry:
        """Check and fold one link."""
        seq, dataset, kind, data, previous, digest = row
        try:
            linked = _link(seq, dataset, kind, data, previous)
            if (seq, previous, digest) != (self._seq + 1, self._hash, linked):
                raise tampered(self.path, f"entry {self._seq + 1} was changed, removed or added")
            body = MappingProxyType(dict(canonical.decode(data)))
            entry = Entry(seq=seq, dataset=dataset, kind=kind, body=body, previous=previous, hash=digest)
            self._last = max(self._last, datetime.fromisoformat(body["at"]))
            self._state.take(entry)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, InvalidPlan) as error:
            raise tampered(self.path, f"entry {self._seq + 1} cannot be read") from error
        self._seq, self._hash = seq, digest
        return entry


def tampered(path: Path, what: str) -> LedgerError:
    """The error for a file that another hand changed."""
    return LedgerError(
        f"the ledger {path} is damaged or was changed by another hand: {what}",
        do="stop; restore it from its newest backup and find out who changed it",
    )


def to_json(number: float) -> float | None:
    """A figure as JSON, which knows no infinity: null."""
    return number if math.isfinite(number) else None


def from_json(value: float | None) -> float:
    """The figure that `to_json` wrote."""
    return math.inf if value is None else float(value)


def _link(seq: int, dataset: str, kind: str, data: bytes, previous: str) -> str:
    """The hash of an entry, over everything in it and the hash before."""
    return canonical.digest([seq, dataset, kind, data.decode(), previous])


def _open(path: Path, tables: tuple[str, ...], shared_disk: bool) -> sqlite3.Connection:
    """Open or make the file, durable and readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA journal_mode = {'DELETE' if shared_disk else 'WAL'}")
        # FULL: a transaction that returned is on the disk, whatever happens to process or machine next.
        db.execute("PRAGMA synchronous = FULL")
        # Every transaction also reaches the file itself, so that a copy of this one file is a whole backup,
        # also of a process that was killed.
        db.execute("PRAGMA wal_autocheckpoint = 1")
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            for statement in (*_SCHEMA, *tables):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_VERSION}")
        elif _require_ledger(db, path) in _OLDER:
            # From here on it may hold entries that an older version does not know.
            db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")
    except (sqlite3.Error, LedgerError):
        db.close()
        raise
    return db


def _read(path: Path) -> sqlite3.Connection:
    """Open a file that exists, to read it."""
    db = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        _require_ledger(db, path)
    except (sqlite3.Error, LedgerError):
        db.close()
        raise
    return db


def _require_ledger(db: sqlite3.Connection, path: Path) -> int:
    """Refuse another program's file, or a newer version's; returns the file's version."""
    found = []
    for pragma in ("PRAGMA application_id", "PRAGMA user_version"):
        with closing(db.execute(pragma)) as cursor:
            found.append(cursor.fetchone()[0])
    if found[0] != _APPLICATION_ID or found[1] not in (*_OLDER, _VERSION):
        raise LedgerError(f"{path} is not a ledger of this version", do="check the path; never delete a ledger")
    return int(found[1])


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    """Give SQLite's and the system's errors the house's class."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LedgerError(
            f"the ledger {path} cannot be used now ({error})", do="check its disk and that no other process holds it"
        ) from error
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            f"the ledger {path} is damaged or not a ledger ({error})", do="stop; restore it from its newest backup"
        ) from error
