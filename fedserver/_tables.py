"""The store's tables, and what stands in a row of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fedcore.certificate import Attestation
from fedcore.round import JobPlan

__all__ = ["SCHEMA", "JobRecord", "JobState", "MaskedRound"]

JobState = Literal["queued", "running", "completed", "failed"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS members(
    name TEXT PRIMARY KEY, identity TEXT NOT NULL, flower_key TEXT NOT NULL UNIQUE, enrolled REAL NOT NULL);
CREATE TABLE IF NOT EXISTS jobs(
    number INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, plan TEXT NOT NULL, base_name TEXT NOT NULL,
    unsafe_ok INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT, submitted REAL NOT NULL, started REAL,
    finished REAL, loss_base REAL, loss_released REAL, release TEXT);
CREATE TABLE IF NOT EXISTS rounds(
    job_id TEXT NOT NULL, round INTEGER NOT NULL, plan BLOB NOT NULL, opened REAL NOT NULL,
    outcome TEXT, closed REAL, PRIMARY KEY(job_id, round));
CREATE TABLE IF NOT EXISTS checkpoints(
    job_id TEXT NOT NULL, round INTEGER NOT NULL, tensors BLOB NOT NULL, PRIMARY KEY(job_id, round));
CREATE TABLE IF NOT EXISTS memories(
    job_id TEXT NOT NULL, round INTEGER NOT NULL, arrays BLOB NOT NULL, PRIMARY KEY(job_id, round));
CREATE TABLE IF NOT EXISTS quarantined(
    job_id TEXT NOT NULL, round INTEGER NOT NULL, tensors BLOB NOT NULL, PRIMARY KEY(job_id, round));
CREATE TABLE IF NOT EXISTS canaries(job_id TEXT PRIMARY KEY, loss_base REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sums(job_id TEXT PRIMARY KEY, terms TEXT NOT NULL, roster BLOB);
CREATE TABLE IF NOT EXISTS masked_rounds(
    job_id TEXT NOT NULL, round INTEGER NOT NULL, state BLOB NOT NULL, dropped TEXT NOT NULL,
    PRIMARY KEY(job_id, round));
CREATE TABLE IF NOT EXISTS masked_replies(
    job_id TEXT NOT NULL, round INTEGER NOT NULL, institution TEXT NOT NULL, attestation TEXT NOT NULL,
    PRIMARY KEY(job_id, round, institution));
CREATE TABLE IF NOT EXISTS spends(
    job_id TEXT NOT NULL, institution TEXT NOT NULL, round INTEGER NOT NULL, spend TEXT NOT NULL,
    PRIMARY KEY(job_id, institution));
CREATE TABLE IF NOT EXISTS attestations(
    job_id TEXT NOT NULL, institution TEXT NOT NULL, attestation TEXT NOT NULL, PRIMARY KEY(job_id, institution));
CREATE TABLE IF NOT EXISTS receipts(
    institution TEXT NOT NULL, number INTEGER NOT NULL, job_id TEXT NOT NULL, head TEXT NOT NULL,
    steps INTEGER NOT NULL, header BLOB NOT NULL, signature BLOB NOT NULL, PRIMARY KEY(institution, number));
CREATE TABLE IF NOT EXISTS notes(name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job and where it stands."""

    plan: JobPlan
    base_name: str
    unsafe_ok: bool
    state: JobState
    reason: str | None
    submitted: float
    started: float | None
    finished: float | None
    loss_base: float | None
    loss_released: float | None
    release: str | None


@dataclass(frozen=True, kw_only=True)
class MaskedRound:
    """A round of a masked sum whose survivors are decided: all that a restarted coordinator needs to open it."""

    state: bytes = field(repr=False)
    """`SumRound.state()`."""
    replies: Mapping[str, Attestation]
    """What each institution signed with its reply, counted or not."""
    dropped: Mapping[str, str]
    """Institution -> reason code."""
