"""The sealed states of masked sums that a ledger's file keeps beside its chain, one for each job.

They are of the institution, not of a data set. Only those of the newest jobs are kept: a party whose state is
gone drops out of that job. What is inside is not known here.
"""

import sqlite3
from dataclasses import dataclass, field
from typing import Any, final

from fedclient._chain import Chain
from fedcore.errors import PlanRefused

__all__ = ["KEPT_JOBS", "StateChange", "SumStates"]

KEPT_JOBS = 16
"""Of so many jobs, those whose sums were worked on last, states are kept."""

_TABLE = (
    "CREATE TABLE IF NOT EXISTS sum_states (coordinator TEXT NOT NULL, job TEXT NOT NULL, seq INTEGER NOT NULL,"
    " sealed BLOB NOT NULL, PRIMARY KEY (coordinator, job))"
)


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """A state and the one that it takes the place of.

    Args:
        coordinator: Its key, hexadecimal: two may use the same name for a job.
        job: The job's name.
        before: What was read; None where nothing was kept.
        after: What is to be kept.
    """

    coordinator: str
    job: str
    before: bytes | None = field(repr=False)
    after: bytes = field(repr=False)


@final
class SumStates:
    """The states in one open file."""

    def __init__(self, chain: Chain[Any]) -> None:
        self._chain = chain

    @property
    def _db(self) -> sqlite3.Connection:
        return self._chain.db

    def find(self, coordinator: str, job: str) -> bytes | None:
        """The state of a job, if it is kept.

        Args:
            coordinator: Its key, hexadecimal.
            job: The job's name.
        Raises:
            LedgerError: The file is damaged or cannot be used.
        """
        with self._chain.transaction(write=False):
            return self._find(coordinator, job)

    def keep(self, change: StateChange) -> None:
        """Keep a state in the place of the one that was read. When this returns, it is on the disk.

        Raises:
            PlanRefused: "sum_state_changed": another one was kept meanwhile.
            LedgerError: It cannot be written.
        """
        with self._chain.transaction():
            self.replace(change)

    def prepare(self) -> None:
        """Make the table where it is missing, as in a ledger of an older version, inside a transaction."""
        self._db.execute(_TABLE)
        # What is deleted or replaced is overwritten, and the log of writes cut off: states hold keys, and those of
        # rounds that are over must be gone for whoever takes file and identity later.
        for pragma in ("secure_delete = ON", "journal_size_limit = 0"):
            self._db.execute(f"PRAGMA {pragma}").close()

    def replace(self, change: StateChange) -> None:
        """As `keep`, inside a transaction; the states of the oldest jobs go."""
        if self._find(change.coordinator, change.job) != change.before:
            raise PlanRefused("the sums of this job were worked on meanwhile", reason="sum_state_changed")
        self._db.execute(
            "INSERT OR REPLACE INTO sum_states VALUES (?, ?, (SELECT coalesce(max(seq), 0) + 1 FROM sum_states), ?)",
            (change.coordinator, change.job, change.after),
        )
        self._db.execute(
            "DELETE FROM sum_states WHERE seq NOT IN (SELECT seq FROM sum_states ORDER BY seq DESC LIMIT ?)",
            (KEPT_JOBS,),
        )

    def forget(self) -> None:
        """Let every state go, inside a transaction: this institution drops out of the jobs that it had joined."""
        self._db.execute("DELETE FROM sum_states")

    def _find(self, coordinator: str, job: str) -> bytes | None:
        row = self._db.execute(
            "SELECT sealed FROM sum_states WHERE coordinator = ? AND job = ?", (coordinator, job)
        ).fetchone()
        return None if row is None else bytes(row[0])
