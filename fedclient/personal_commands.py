"""`concordat node personal`: this institution's own adapter, of a release's shared parts and the parts kept here."""

import json
import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from domains.commands import load_release
from fedclient._options import Directory, Json
from fedclient._personal_parts import Kept, read_personal
from fedclient.personal import lay_over
from fedclient.settings import NodeSettings
from fedcore.adapter import AdapterState
from fedcore.adapter_files import write_adapter
from fedcore.cli import report
from fedcore.enrolment import CoordinatorCard
from fedcore.errors import ConfigError
from fedcore.manifest import ReleaseManifest

__all__ = ["STATEMENT", "personal"]

STATEMENT = "personal.json"
"""Beside the adapter: what it was made of. Nobody signs it, since nobody else may know what is in the adapter."""


def personal(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job whose strategy leaves a part with you.")],
    release: Annotated[Path, typer.Option("--release", metavar="DIR", help="The job's signed release.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new directory for the adapter.")],
    directory: Directory = Path(),
    as_json: Json = False,
) -> None:
    """Write your own adapter of a job: the release's shared parts with the parts that stayed here. Reads only.

    The release is verified against the pinned coordinator's key. The adapter is in peft's own layout, and yours alone.
    """
    settings = NodeSettings.load(directory)
    if not settings.files.coordinator.exists():
        raise ConfigError("no coordinator is pinned here", do="run 'concordat node enrol coordinator.json' first")
    key = CoordinatorCard.read(settings.files.coordinator).identity
    manifest, state = load_release(release, key)
    if manifest.job_id != job:
        raise ConfigError("the release is of another job", expected=job, got=manifest.job_id, do="give that job's own")
    kept = _kept(settings, key, manifest)
    parts = tuple(kept.parts.split(","))
    own = lay_over(state, kept.after, manifest.schema.part(*parts))
    value = {
        "name": settings.name,
        "job": job,
        "release": manifest.release_id,
        "base": manifest.base_name,
        "base_digest": manifest.base_digest,
        "own_parts": list(parts),
        "own_numbers": sum(t.size for t in manifest.schema.part(*parts)),
        "newest_round": kept.round,
        "rounds": manifest.rounds,
    }
    _write(out, own, manifest, json.dumps(value, indent=2) + "\n")

    def human() -> None:
        typer.echo(f"{out} holds the adapter of {settings.name}, for {manifest.base_name} {manifest.base_digest[:12]}:")
        typer.echo(
            f"  your own {' and '.join(parts)} after round {kept.round} of {manifest.rounds}, the rest of"
            f" {manifest.release_id}."
        )
        typer.echo("It is yours alone and nobody signed it; it loads in peft, and never has to leave your building.")

    report({**value, "out": str(out)}, as_json=as_json, human=human)


def _kept(settings: NodeSettings, key: str, manifest: ReleaseManifest) -> Kept:
    """What is kept of a release's job.

    Raises:
        ConfigError: Nothing is, or it is of another adapter.
        LedgerError: The ledger does not hold.
    """
    path = settings.files.ledger
    rows = read_personal(path, settings.dataset) if path.exists() else ()
    ours = [row for row in rows if (row.coordinator, row.job) == (key, manifest.job_id)]
    for row in ours:
        if row.schema == manifest.schema.digest:
            return row
    if ours:
        raise ConfigError(
            f"what is kept of {manifest.job_id} belongs to another adapter than the release",
            expected=manifest.schema.digest[:12],
            got=", ".join(row.schema[:12] for row in ours),
            do="give the release of the job that this node took part in",
        )
    others = sorted({row.job for row in rows if row.coordinator == key})
    raise ConfigError(
        f"nothing of the job {manifest.job_id} is kept here for the records {settings.dataset}",
        expected=f"a job of which this node answered a round: {', '.join(others) or 'none so far'}",
        do="use the release as it is, unless its strategy leaves a part with each institution",
    )


def _write(out: Path, state: AdapterState, manifest: ReleaseManifest, statement: str) -> None:
    """The whole directory, or none of it.

    Raises:
        ConfigError: It holds something, or cannot be written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty", do="choose a new directory with --out")
    draft = out.with_name(f".{out.name}-{os.getpid()}")
    try:
        write_adapter(draft, state, manifest.base_name)
        (draft / STATEMENT).write_text(statement, encoding="utf-8")
        draft.replace(out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror})", do="choose another --out") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
