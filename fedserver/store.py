"""What the coordinator must not forget: members, jobs, rounds and the states between them, in SQLite.

Three rules make a kill at any moment harmless. A round's plan is stored before it is sent, so that a
restarted coordinator asks the very same question. A fold, its outcome, the receipts for its replies, the new
checkpoint and the optimiser's memory are one transaction, so that a round is folded once or not at all. And of a
masked sum, terms, roster and survivor sets are stored before anybody is shown them, so that nobody is ever shown
others. Write-ahead log with synchronous=FULL: what a method has returned from survives power loss. Several processes
may open the same store. A method that cannot write, such as on a full disk, raises StorageError and has changed
nothing; once there is room again, the same store can be used on.

>>> store = Store.open(":memory:")
>>> store.members(), store.next_job()
((), None)
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from safetensors.numpy import load

from fedcore import canonical
from fedcore.adapter import AdapterState, FloatArray
from fedcore.certificate import Attestation
from fedcore.enrolment import EnrolmentRequest
from fedcore.errors import ConfigError, TrustError
from fedcore.identity import PublicIdentity
from fedcore.manifest import PrivacySpend
from fedcore.receipt import Receipt
from fedcore.round import Abandoned, Completed, JobPlan, RoundOutcome, RoundPlan
from fedcore.secagg import Terms
from fedcore.wire import Envelope, pack_arrays, unpack_arrays
from fedserver._disk import of_sqlite
from fedserver._tables import SCHEMA, JobRecord, JobState, MaskedRound
from fedserver.cohort import Member

__all__ = ["JobRecord", "JobState", "MaskedRound", "Store"]

_WHAT = "the coordinator's store"


class Store:
    """See the module. Every method is one transaction and may be called from any thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path | str) -> "Store":
        """Open a store, making it when it is not there.

        Raises:
            ConfigError: It cannot be opened, or is not a store.
        """
        try:
            connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise ConfigError(f"the store {path} cannot be opened ({error})", do="check the path") from error
        return cls(connection)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    # Members ------------------------------------------------------------------------------------------

    def enrol(self, request: EnrolmentRequest) -> bool:
        """Remember a member. False when the very same one is enrolled already.

        Raises:
            TrustError: The name or the transport key belongs to another member.
        """
        with self._transaction() as db:
            row = db.execute("SELECT identity, flower_key FROM members WHERE name = ?", (request.name,)).fetchone()
            if row == (request.identity, request.flower_key_pem):
                return False
            taken = db.execute("SELECT name FROM members WHERE flower_key = ?", (request.flower_key_pem,)).fetchone()
            if row is not None or taken is not None:
                raise TrustError(
                    f"{request.name} cannot be enrolled: its name or transport key is taken by {(taken or row)[0]}"
                    if taken
                    else f"an institution named {request.name} is enrolled already, with other keys",
                    do="choose another name in its node.toml, and enrol again",
                )
            db.execute(
                "INSERT INTO members VALUES (?, ?, ?, ?)",
                (request.name, request.identity, request.flower_key_pem, time.time()),
            )
            return True

    def members(self) -> tuple[Member, ...]:
        """All members, by name."""
        rows = self._rows("SELECT name, identity, flower_key FROM members ORDER BY name")
        return tuple(Member(name=n, identity=PublicIdentity(i), flower_key=k) for n, i, k in rows)

    # Jobs ---------------------------------------------------------------------------------------------

    def submit(self, plan: JobPlan, *, base_name: str, unsafe_ok: bool = False) -> None:
        """Queue a job.

        Raises:
            ConfigError: A job of that name exists.
        """
        text = canonical.encode(plan.to_dict()).decode()
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM jobs WHERE job_id = ?", (plan.job_id,)).fetchone():
                raise ConfigError(f"a job named {plan.job_id} exists already", do="give the job another name")
            db.execute(
                "INSERT INTO jobs(job_id, plan, base_name, unsafe_ok, state, submitted)"
                " VALUES (?, ?, ?, ?, 'queued', ?)",
                (plan.job_id, text, base_name, int(unsafe_ok), time.time()),
            )

    def next_job(self) -> JobRecord | None:
        """The job to work on: the one that runs already, else the one that waits longest."""
        rows = self._rows(
            "SELECT job_id FROM jobs WHERE state IN ('running', 'queued') ORDER BY state = 'queued', number LIMIT 1"
        )
        return self.job(rows[0][0]) if rows else None

    def job(self, job_id: str) -> JobRecord:
        """One job.

        Raises:
            ConfigError: There is none of that name.
        """
        rows = self._rows(
            "SELECT plan, base_name, unsafe_ok, state, reason, submitted, started, finished, loss_base,"
            " loss_released, release FROM jobs WHERE job_id = ?",
            job_id,
        )
        if not rows:
            known = ", ".join(self.job_ids()) or "(there is no job yet)"
            raise ConfigError(f"there is no job named {job_id!r}", expected=f"one of {known}")
        plan, base_name, unsafe_ok, state, reason, *rest = rows[0]
        names = ("submitted", "started", "finished", "loss_base", "loss_released", "release")
        return JobRecord(
            plan=JobPlan.from_dict(canonical.decode(plan.encode())),
            base_name=base_name,
            unsafe_ok=bool(unsafe_ok),
            state=state,
            reason=reason,
            **dict(zip(names, rest, strict=True)),
        )

    def job_ids(self) -> tuple[str, ...]:
        """All jobs, in order of submission."""
        return tuple(row[0] for row in self._rows("SELECT job_id FROM jobs ORDER BY number"))

    def start_job(self, job_id: str) -> None:
        """Mark a job as running."""
        self._write(
            "UPDATE jobs SET state = 'running', started = coalesce(started, ?) WHERE job_id = ?", time.time(), job_id
        )

    def fail_job(self, job_id: str, reason: str) -> None:
        """Mark a job as failed."""
        self._write(
            "UPDATE jobs SET state = 'failed', reason = ?, finished = ? WHERE job_id = ?", reason, time.time(), job_id
        )

    def complete_job(self, job_id: str, *, release: str | None) -> None:
        """Mark a job as completed."""
        self._write(
            "UPDATE jobs SET state = 'completed', release = ?, finished = ? WHERE job_id = ?",
            release,
            time.time(),
            job_id,
        )

    def set_loss(self, job_id: str, which: Literal["loss_base", "loss_released"], loss: float | None) -> None:
        """Remember a loss on public examples."""
        statements = {
            "loss_base": "UPDATE jobs SET loss_base = ? WHERE job_id = ?",
            "loss_released": "UPDATE jobs SET loss_released = ? WHERE job_id = ?",
        }
        self._write(statements[which], loss, job_id)

    # Rounds -------------------------------------------------------------------------------------------

    def open_round(self, plan: RoundPlan) -> RoundPlan:
        """Store a round's plan before it is sent; when one is stored already, that one stands.

        Returns:
            The plan to send.
        """
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO rounds(job_id, round, plan, opened) VALUES (?, ?, ?, ?)",
                (plan.job_id, plan.round, canonical.encode(plan.to_dict()), time.time()),
            )
            row = db.execute(
                "SELECT plan FROM rounds WHERE job_id = ? AND round = ?", (plan.job_id, plan.round)
            ).fetchone()
        return RoundPlan.from_dict(canonical.decode(row[0]))

    def close_round(
        self,
        job_id: str,
        outcome: RoundOutcome,
        *,
        state: AdapterState | None = None,
        memory: Mapping[str, FloatArray] | None = None,
        aside: AdapterState | None = None,
        keep: int | None = None,
        spends: Mapping[str, PrivacySpend] | None = None,
        attestations: Mapping[str, Attestation] | None = None,
        receipts: Iterable[Receipt] = (),
        seal: Callable[[Receipt], Envelope] | None = None,
    ) -> None:
        """Store an outcome with everything that came of the round, in one transaction.

        Guarantee: a round closes once; the state after it is the one folded here, and no reply of it is
        ever without its receipt.

        Args:
            job_id: The job.
            outcome: What came of it.
            state: The folded state; where that is quarantined, the one that stands again.
            memory: Of the optimiser that took the step, where the coordinator's own did; likewise.
            aside: The folded state, where it is quarantined.
            keep: An earlier round whose state and memory a later one may need.
            spends: What each contributor states.
            attestations: What each contributor signed of it.
            receipts: For every reply that an institution signed, counted or not. Their `number` and
                `previous` are set here.
            seal: Signs a receipt; needed where there are some.
        Raises:
            ConfigError: The round is closed already, or was never opened.
        """
        kind = "completed" if isinstance(outcome, Completed) else "abandoned"
        text = json.dumps({"kind": kind, **asdict(outcome)}, allow_nan=False)
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE rounds SET outcome = ?, closed = ? WHERE job_id = ? AND round = ? AND outcome IS NULL",
                (text, time.time(), job_id, outcome.round),
            ).rowcount
            if changed != 1:
                raise ConfigError(f"round {outcome.round} of {job_id} is not open: it cannot be folded again")
            if state is not None:
                db.execute(
                    "INSERT INTO checkpoints VALUES (?, ?, ?)", (job_id, outcome.round, pack_arrays(state.tensors))
                )
                old = (job_id, outcome.round - 1, keep)
                db.execute("DELETE FROM checkpoints WHERE job_id = ? AND round < ? AND round IS NOT ?", old)
                db.execute("DELETE FROM memories WHERE job_id = ? AND round < ? AND round IS NOT ?", old)
            if aside is not None:
                db.execute(
                    "INSERT INTO quarantined VALUES (?, ?, ?)", (job_id, outcome.round, pack_arrays(aside.tensors))
                )
            if memory:
                db.execute("INSERT INTO memories VALUES (?, ?, ?)", (job_id, outcome.round, pack_arrays(memory)))
            db.execute("DELETE FROM masked_rounds WHERE job_id = ? AND round = ?", (job_id, outcome.round))
            db.execute("DELETE FROM masked_replies WHERE job_id = ? AND round = ?", (job_id, outcome.round))
            for name, spend in (spends or {}).items():
                db.execute(
                    "INSERT OR REPLACE INTO spends VALUES (?, ?, ?, ?)",
                    (job_id, name, outcome.round, json.dumps(spend.to_dict())),
                )
            for name, attestation in (attestations or {}).items():
                db.execute(
                    "INSERT OR REPLACE INTO attestations VALUES (?, ?, ?)",
                    (job_id, name, json.dumps(attestation.to_dict())),
                )
            for receipt in receipts:
                if seal is None:
                    raise ConfigError("a receipt cannot be stored without a signature")
                _number(db, receipt, seal)

    def round_plan(self, job_id: str, number: int) -> RoundPlan | None:
        """The stored plan of a round, if it was opened."""
        rows = self._rows("SELECT plan FROM rounds WHERE job_id = ? AND round = ?", job_id, number)
        return RoundPlan.from_dict(canonical.decode(rows[0][0])) if rows else None

    def outcomes(self, job_id: str) -> tuple[RoundOutcome, ...]:
        """What came of the rounds that are closed, in order."""
        rows = self._rows("SELECT outcome FROM rounds WHERE job_id = ? AND outcome NOT NULL ORDER BY round", job_id)
        return tuple(_outcome(text) for (text,) in rows)

    def checkpoint(self, plan: JobPlan) -> tuple[int, AdapterState]:
        """The last folded round and the state after it; round 0 is the initial state."""
        rows = self._rows(
            "SELECT round, tensors FROM checkpoints WHERE job_id = ? ORDER BY round DESC LIMIT 1", plan.job_id
        )
        if not rows:
            return 0, AdapterState.initial(plan.schema, plan.seed)
        number, blob = rows[0]
        return number, AdapterState(schema=plan.schema, tensors=unpack_arrays(blob, plan.schema.tensors))

    def memory(self, job_id: str, number: int) -> dict[str, FloatArray]:
        """The optimiser's memory after a round; empty where it has none."""
        rows = self._rows("SELECT arrays FROM memories WHERE job_id = ? AND round = ?", job_id, number)
        return dict(load(rows[0][0])) if rows else {}

    def after(self, plan: JobPlan, number: int) -> tuple[AdapterState, dict[str, FloatArray]]:
        """State and optimiser's memory after an earlier round that is kept; round 0 is the initial state.

        Raises:
            ConfigError: It is not kept.
        """
        if number == 0:
            return AdapterState.initial(plan.schema, plan.seed), {}
        rows = self._rows("SELECT tensors FROM checkpoints WHERE job_id = ? AND round = ?", plan.job_id, number)
        if not rows:
            raise ConfigError(f"the state after round {number} of {plan.job_id} is not kept")
        state = AdapterState(schema=plan.schema, tensors=unpack_arrays(rows[0][0], plan.schema.tensors))
        return state, self.memory(plan.job_id, number)

    # The gate -----------------------------------------------------------------------------------------

    def set_canary_base(self, job_id: str, loss: float) -> None:
        """Remember the base's loss on a gate's canary examples; the first one stands."""
        self._write("INSERT OR IGNORE INTO canaries VALUES (?, ?)", job_id, loss)

    def canary_base(self, job_id: str) -> float | None:
        """The base's loss on the canary examples of a job's gate, once it was measured."""
        rows = self._rows("SELECT loss_base FROM canaries WHERE job_id = ?", job_id)
        return float(rows[0][0]) if rows else None

    def quarantined(self, plan: JobPlan) -> dict[int, AdapterState]:
        """Round -> the state that was put aside after it. For inspection: nothing else reads it."""
        rows = self._rows("SELECT round, tensors FROM quarantined WHERE job_id = ? ORDER BY round", plan.job_id)
        specs = plan.schema.tensors
        return {n: AdapterState(schema=plan.schema, tensors=unpack_arrays(b, specs)) for n, b in rows}

    def spends(self, job_id: str) -> tuple[PrivacySpend, ...]:
        """The last stated spend of each institution that contributed, by name."""
        rows = self._rows("SELECT spend FROM spends WHERE job_id = ? ORDER BY institution", job_id)
        return tuple(PrivacySpend.from_dict(json.loads(text)) for (text,) in rows)

    def attestations(self, job_id: str) -> tuple[Attestation, ...]:
        """What each institution signed with the newest of its counted replies, by name."""
        rows = self._rows("SELECT attestation FROM attestations WHERE job_id = ? ORDER BY institution", job_id)
        return tuple(Attestation.from_dict(json.loads(text)) for (text,) in rows)

    # Masked sums --------------------------------------------------------------------------------------

    def open_sums(self, job_id: str, terms: Terms) -> Terms:
        """Store whom a job's masks are agreed among, before anybody is asked; terms stored already stand.

        Returns:
            The terms to ask with.
        """
        with self._transaction() as db:
            text = canonical.encode(asdict(terms)).decode()
            db.execute("INSERT OR IGNORE INTO sums(job_id, terms) VALUES (?, ?)", (job_id, text))
        found = self.terms(job_id)
        return terms if found is None else found

    def terms(self, job_id: str) -> Terms | None:
        """The terms of a job's sums, once they are fixed."""
        rows = self._rows("SELECT terms FROM sums WHERE job_id = ?", job_id)
        if not rows:
            return None
        value = canonical.decode(rows[0][0].encode())
        return Terms(**{**value, "members": tuple((name, key) for name, key in value["members"])})

    def keep_roster(self, job_id: str, roster: bytes) -> None:
        """Store the roster of a job's sums before anybody is shown it."""
        self._write("UPDATE sums SET roster = ? WHERE job_id = ? AND roster IS NULL", roster, job_id)

    def roster(self, job_id: str) -> bytes | None:
        """The roster of a job's sums, once it is closed."""
        rows = self._rows("SELECT roster FROM sums WHERE job_id = ?", job_id)
        return rows[0][0] if rows else None

    def keep_masked(self, job_id: str, number: int, masked: MaskedRound) -> None:
        """Store where a masked round stands, before its survivors are shown to anybody."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO masked_rounds VALUES (?, ?, ?, ?)",
                (job_id, number, masked.state, json.dumps(dict(masked.dropped))),
            )
            for name, reply in masked.replies.items():
                db.execute(
                    "INSERT OR REPLACE INTO masked_replies VALUES (?, ?, ?, ?)",
                    (job_id, number, name, json.dumps(reply.to_dict())),
                )

    def masked(self, job_id: str, number: int) -> MaskedRound | None:
        """Where a masked round stands; None before its survivors are decided and after it is closed."""
        rows = self._rows("SELECT state, dropped FROM masked_rounds WHERE job_id = ? AND round = ?", job_id, number)
        if not rows:
            return None
        kept = self._rows(
            "SELECT institution, attestation FROM masked_replies WHERE job_id = ? AND round = ?", job_id, number
        )
        replies = {name: Attestation.from_dict(json.loads(text)) for name, text in kept}
        return MaskedRound(state=rows[0][0], replies=replies, dropped=json.loads(rows[0][1]))

    # Receipts -----------------------------------------------------------------------------------------

    def receipts(self, institution: str) -> tuple[Envelope, ...]:
        """Every receipt of an institution, in order of their numbers."""
        rows = self._rows("SELECT header, signature FROM receipts WHERE institution = ? ORDER BY number", institution)
        return tuple(Envelope(kind="receipt", header=h, signature=s) for h, s in rows)

    def newest_receipt(self, institution: str) -> Envelope | None:
        """The newest receipt of an institution, over all jobs."""
        rows = self._rows(
            "SELECT header, signature FROM receipts WHERE institution = ? ORDER BY number DESC LIMIT 1", institution
        )
        return Envelope(kind="receipt", header=rows[0][0], signature=rows[0][1]) if rows else None

    def receipted(self, job_id: str) -> dict[str, int]:
        """Institution -> steps of a job that its receipts account for."""
        return dict(
            self._rows("SELECT institution, sum(steps) FROM receipts WHERE job_id = ? GROUP BY institution", job_id)
        )

    # Notes --------------------------------------------------------------------------------------------

    def note(self, name: str, value: Any) -> None:
        """Leave a JSON value for other processes to see, such as who is connected now."""
        self._write("INSERT OR REPLACE INTO notes VALUES (?, ?)", name, json.dumps(value))

    def noted(self, name: str) -> Any:
        """The value last noted under a name, or None."""
        rows = self._rows("SELECT value FROM notes WHERE name = ?", name)
        return json.loads(rows[0][0]) if rows else None

    # ----------------------------------------------------------------------------------------------------

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._lock, of_sqlite(_WHAT):
            return self._connection.execute(query, values).fetchall()

    def _write(self, statement: str, *values: Any) -> None:
        with self._transaction() as db:
            db.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, exclusive among writers from the start."""
        with self._lock, of_sqlite(_WHAT):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite ends a transaction by itself where it could not write; one that it left open would stop all
                # later ones.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _number(db: sqlite3.Connection, receipt: Receipt, seal: Callable[[Receipt], Envelope]) -> None:
    """Store a receipt as its institution's next one."""
    row = db.execute(
        "SELECT number, head FROM receipts WHERE institution = ? ORDER BY number DESC LIMIT 1", (receipt.institution,)
    ).fetchone()
    number, previous = row or (0, "")
    numbered = replace(receipt, number=number + 1, previous=previous)
    sealed = seal(numbered)
    db.execute(
        "INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            numbered.institution,
            numbered.number,
            numbered.job,
            numbered.head,
            numbered.event.steps,
            sealed.header,
            sealed.signature,
        ),
    )


def _outcome(text: str) -> RoundOutcome:
    """Read an outcome back."""
    fields = json.loads(text)
    if fields.pop("kind") == "abandoned":
        return Abandoned(**fields)
    fields["contributors"] = tuple(fields["contributors"])
    return Completed(**fields)
