"""The personal parts that a ledger's file keeps beside its chain, one row for each job that keeps any.

A row holds what the newest answered round left, and what it started from, so that a round which is asked again by
another plan starts where it started before. The chain holds the digest of each row, so that one which another hand
changed, took away or put back is never trained on. Each round that writes one was paid for, so that the budget bounds
how many there can be. What is inside is not known here.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from fedclient._book import Book
from fedclient._chain import Chain, tampered
from fedcore import canonical
from fedcore.errors import PlanRefused

__all__ = ["Kept", "PersonalChange", "PersonalParts", "read_personal"]

_TABLE = (
    "CREATE TABLE IF NOT EXISTS personal (dataset TEXT NOT NULL, coordinator TEXT NOT NULL, job TEXT NOT NULL,"
    " schema TEXT NOT NULL, parts TEXT NOT NULL, round INTEGER NOT NULL, before BLOB, after BLOB NOT NULL,"
    " PRIMARY KEY (dataset, coordinator, job, schema))"
)
_PUT = "INSERT OR REPLACE INTO personal VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_GET = (
    "SELECT coordinator, job, schema, parts, round, before, after FROM personal WHERE dataset = ?"
    " AND (coordinator, job, schema) = (?, ?, ?)"
)
_KEYS = "SELECT coordinator, job, schema FROM personal WHERE dataset = ?"


@dataclass(frozen=True)
class Kept:
    """A row.

    Args:
        coordinator: Its key, hexadecimal: two may use the same name for a job.
        job: The job's name.
        schema: Digest of the adapter's schema.
        parts: Which parts of the adapter, joined by commas.
        round: The newest round that was answered.
        before: What that round started from; None where it started from the plan's state.
        after: What it left.
    """

    coordinator: str
    job: str
    schema: str
    parts: str
    round: int
    before: bytes | None = field(repr=False)
    after: bytes = field(repr=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is found by within a dataset."""
        return self.coordinator, self.job, self.schema

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, hexadecimal."""
        blobs = [None if b is None else hashlib.sha256(b).hexdigest() for b in (self.before, self.after)]
        return canonical.digest([*self.key, self.parts, self.round, *blobs])


@dataclass(frozen=True, kw_only=True)
class PersonalChange:
    """A row, and the one that it takes the place of: what was read when the round began, None where nothing was."""

    read: Kept | None
    kept: Kept


@final
class PersonalParts:
    """Those of one dataset in one open file.

    Args:
        chain: Of the file.
        dataset: The parts that records of one name left are never trained on those of another.
    """

    def __init__(self, chain: Chain[Book], dataset: str) -> None:
        self._chain = chain
        self._dataset = dataset

    def find(self, coordinator: str, job: str, schema: str) -> Kept | None:
        """What is kept of a job, if anything is.

        Args:
            coordinator: Its key, hexadecimal.
            job: The job's name.
            schema: Digest of the adapter's schema.
        Raises:
            LedgerError: The file is damaged, cannot be used, or holds another row than was committed.
        """
        with self._chain.transaction(write=False) as book:
            return self._find(book, (coordinator, job, schema))

    def prepare(self) -> None:
        """Make the table where it is missing, as in a ledger of an older version, inside a transaction."""
        self._chain.db.execute(_TABLE)

    def replace(self, book: Book, change: PersonalChange) -> None:
        """Keep a row in the place of the one that was read, inside the transaction that commits it, before its entry.

        Raises:
            PlanRefused: "personal_part_changed": another round was answered meanwhile.
        """
        if self._find(book, change.kept.key) != change.read:
            raise PlanRefused("this job was worked on meanwhile", reason="personal_part_changed")
        k = change.kept
        self._chain.db.execute(
            _PUT, (self._dataset, k.coordinator, k.job, k.schema, k.parts, k.round, k.before, k.after)
        )

    def _find(self, book: Book, key: tuple[str, str, str]) -> Kept | None:
        """A row, when it is the one that the chain names."""
        return _committed(self._chain, self._dataset, key, book.pages[self._dataset].personal.get(key))


def read_personal(path: Path, dataset: str) -> tuple[Kept, ...]:
    """All that is kept of a dataset in a ledger file; reads only, checks the chain.

    Raises:
        LedgerError: The file is not a ledger, its chain is broken, or a row is not the one that was committed.
    """
    chain = Chain(path, empty=Book, read_only=True)
    try:
        with chain.transaction(write=False) as book:
            page = book.pages.get(dataset)
            expected = {} if page is None else page.personal
            keys = {*expected, *(chain.db.execute(_KEYS, (dataset,)).fetchall() if _has_table(chain) else ())}
            found = (_committed(chain, dataset, key, expected.get(key)) for key in sorted(keys))
            return tuple(row for row in found if row is not None)
    finally:
        chain.close()


def _committed(chain: Chain[Book], dataset: str, key: tuple[str, str, str], digest: str | None) -> Kept | None:
    """A row, when it is the one that the chain names; None where the chain names none and there is none."""
    row = chain.db.execute(_GET, (dataset, *key)).fetchone() if _has_table(chain) else None
    kept = None if row is None else Kept(*row)
    try:
        found = None if kept is None else kept.digest
    except (TypeError, ValueError):  # Another hand may have written anything.
        found = ""
    if found != digest:
        raise tampered(chain.path, "a personal part is not the one that was committed")
    return kept


def _has_table(chain: Chain[Book]) -> bool:
    """A file that an older version made, and that is only read, has none."""
    return chain.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'personal'").fetchone() is not None
