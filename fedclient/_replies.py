"""The replies that a ledger keeps beside its chain, so that the same question gets the same answer.

Only the newest are kept. The chain holds the digest of each, so that a changed one is never sent.
"""

import hashlib
import sqlite3

from fedcore.wire import Envelope

__all__ = ["KEPT_REPLIES", "TABLE", "digest", "find", "keep"]

KEPT_REPLIES = 16
"""How many of the newest replies to a dataset's plans are kept."""

TABLE = (
    "CREATE TABLE replies (dataset TEXT NOT NULL, plan TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL,"
    " header BLOB NOT NULL, signature BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY (dataset, plan))"
)


def keep(db: sqlite3.Connection, dataset: str, plan_digest: str, seq: int, reply: Envelope) -> None:
    """Keep a reply and let the oldest go, inside a transaction."""
    db.execute(
        "INSERT INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)",
        (dataset, plan_digest, seq, reply.kind, reply.header, reply.signature, reply.body),
    )
    db.execute(
        "DELETE FROM replies WHERE dataset = ? AND seq NOT IN"
        " (SELECT seq FROM replies WHERE dataset = ? ORDER BY seq DESC LIMIT ?)",
        (dataset, dataset, KEPT_REPLIES),
    )


def find(db: sqlite3.Connection, dataset: str, plan_digest: str) -> Envelope | None:
    """The reply to a plan, when it is still kept; whether it is the one that was committed is not known here."""
    row = db.execute(
        "SELECT kind, header, signature, body FROM replies WHERE dataset = ? AND plan = ?", (dataset, plan_digest)
    ).fetchone()
    return None if row is None else Envelope(kind=row[0], header=row[1], signature=row[2], body=row[3])


def digest(reply: Envelope) -> str:
    """SHA-256 over the parts of a reply, each with its length."""
    h = hashlib.sha256()
    for part in (reply.kind.encode(), reply.header, reply.signature, reply.body):
        h.update(len(part).to_bytes(8, "big") + part)
    return h.hexdigest()
