"""`concordat generate` and `concordat release`: write checked documents, verify and show releases.

    concordat generate medicine.record --input bundle.json --release releases/demo-1a2b --key coordinator.json
    concordat release verify releases/demo-1a2b --key coordinator.json
    concordat release join releases/demo-1a2b --key coordinator.json --out adapter

A release is verified against a pinned key before anything of it is loaded; there is no other way in. These
commands read the environment for the cache's place, and nothing else of it.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from domains import bases
from domains.base import Task, load_task, task_names
from domains.pipeline import Document, Settings
from domains.pipeline import generate as write_document
from fedcore import __version__
from fedcore.adapter import AdapterState
from fedcore.adapter_files import read_adapter, write_adapter
from fedcore.adapter_forms import plain
from fedcore.cli import console, example, report
from fedcore.enrolment import pinned_key
from fedcore.errors import ConfigError, RecordError, TamperedRelease, TrustError
from fedcore.manifest import MANIFEST, ReleaseManifest

__all__ = ["generate", "load_release", "pinned_key", "release", "stamp"]

_DEFAULT_BASE = "smollm2-135m"
_INPUT_LIMIT_BYTES = 64 << 20

generate = typer.Typer(help="Write a checked document from a release.", rich_markup_mode=None, add_completion=False)
release = typer.Typer(
    help="Verify and show signed releases, offline.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    epilog=example("concordat release verify releases/NAME --key coordinator.json"),
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
_Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The release's directory.")]
_Key = Annotated[
    str | None,
    typer.Option("--key", metavar="FILE|HEX", help="The coordinator's card (coordinator.json) or public key."),
]


@generate.command(
    epilog=example(
        "concordat generate medicine.record --input bundle.json",
        "concordat generate medicine.record --input bundle.json --release releases/NAME --key coordinator.json --json",
    )
)
def generate_command(
    task_name: Annotated[str, typer.Argument(metavar="TASK", help="Such as medicine.record or finance.report.")],
    source: Annotated[Path, typer.Option("--input", metavar="FILE", help="JSON: the task's fields, or its first one.")],
    release_directory: Annotated[
        Path | None, typer.Option("--release", metavar="DIR", help="A signed release. Default: the base model alone.")
    ] = None,
    key: _Key = None,
    base_name: Annotated[
        str | None, typer.Option("--base", metavar="NAME|PATH|HUB_ID", help="Default: the release's own base.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 takes the likeliest word each time.")] = 0.3,
    seed: Annotated[int, typer.Option(min=0, help="Decides the samples.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=1024, help="Most tokens that the model writes.")] = 96,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write here as well as printing.")] = None,
    as_json: _Json = False,
) -> None:
    """Write a checked document: every figure in it stands in the input, or is a stated calculation on it."""
    task = load_task(task_name)
    if task.kind != "generate":
        raise ConfigError(f"the task {task_name} writes no documents", expected="one of " + ", ".join(task_names()))
    manifest, state = load_release(release_directory, key) if release_directory is not None else (None, None)
    if manifest is not None and manifest.task != task.name:
        raise ConfigError("the release was made for another task", expected=task.name, got=manifest.task)
    given = task.read(_fields(source, task))
    path = _base(base_name or (manifest.base_name if manifest is not None else _DEFAULT_BASE))
    # torch takes seconds to import: everything that can be refused has been refused by now.
    from domains.language import Base, Writer

    with console.status("loading the base model") as status:
        base = Base.load(path, expected_digest=manifest.base_digest if manifest is not None else None)
        adapted = None
        if state is not None:
            adapted = base.adapt(state.schema, ())
            adapted.load(state)
        settings = Settings(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
        status.update("writing, checking, and writing again what does not hold")
        document = write_document(task, given, Writer(base, adapted), settings)
    value = document.to_dict() | {"stamp": stamp(task, base.card.name, base.card.digest, manifest)}
    if out is not None:
        _write(out, json.dumps(value, ensure_ascii=False, indent=2) if as_json else document.text)
    report(value, as_json=as_json, human=lambda: _print(document, value["stamp"]))


@release.command("verify", epilog=example("concordat release verify releases/NAME --key coordinator.json"))
def verify_command(directory: _Directory, key: _Key = None, as_json: _Json = False) -> None:
    """Check a release's signature and every file against the coordinator's key, offline."""
    manifest, _ = load_release(directory, key)
    value = _summary(manifest, verified=True)
    report(value, as_json=as_json, human=lambda: _show(value))


@release.command("show", epilog=example("concordat release show releases/NAME --key coordinator.json"))
def show_command(directory: _Directory, key: _Key = None, as_json: _Json = False) -> None:
    """Print what a release says of itself; without --key it says so unverified."""
    if key is not None:
        manifest = load_release(directory, key)[0]
    else:
        try:
            manifest = ReleaseManifest.from_dict(json.loads((directory / MANIFEST).read_bytes()))
        except (OSError, ValueError, AttributeError, TrustError) as error:
            raise TamperedRelease(f"the release {directory} cannot be read", expected=MANIFEST) from error
    value = _summary(manifest, verified=key is not None)
    report(value, as_json=as_json, human=lambda: _show(value))


@release.command("join", epilog=example("concordat release join releases/NAME --key coordinator.json --out adapter"))
def join_command(
    directory: _Directory,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new directory for the one adapter.")],
    key: _Key = None,
    as_json: _Json = False,
) -> None:
    """Write a verified release as one ordinary LoRA adapter, for servers that load no second one.

    The result is not signed: it leaves the release's guarantees behind. A residual adds its rank to the adapter's.
    """
    manifest, state = load_release(directory, key)
    if out.exists():
        raise ConfigError(f"{out} exists already", do="choose another --out")
    joined = plain(state)
    try:
        write_adapter(out, joined, manifest.base_name)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror})", do="choose another --out") from error
    value = {"release": manifest.release_id, "out": str(out), "rank": joined.schema.rank, "alpha": joined.schema.alpha}
    report(
        value,
        as_json=as_json,
        human=lambda: typer.echo(f"{out}: one adapter of rank {value['rank']}, not signed, of {value['release']}"),
    )


def load_release(directory: Path, key: str | None) -> tuple[ReleaseManifest, AdapterState]:
    """Verify a release and only then read its adapter.

    Raises:
        TamperedRelease: Signature, files, schema or adapter are not what the manifest signs.
        ConfigError, TrustError: As for `pinned_key`.
    """
    signer = pinned_key(key)
    if not directory.is_dir():
        raise ConfigError(f"the release {directory} does not exist", expected="a directory", do="check the path")
    manifest = ReleaseManifest.verify(directory, signer)
    state = read_adapter(directory, manifest.schema)
    mismatch = (
        manifest.schema.digest != manifest.schema_digest
        or manifest.schema.base_digest != manifest.base_digest
        or state.digest != manifest.state_digest
    )
    if mismatch:
        raise TamperedRelease(
            f"the release {directory} contradicts its own manifest", do="do not use it; fetch it again"
        )
    return manifest, state


def stamp(task: Task, base_name: str, base_digest: str, manifest: ReleaseManifest | None) -> dict[str, Any]:
    """Where a document comes from: release, base, privacy spent and whatever weakened it."""
    value: dict[str, Any] = {
        "task": task.name,
        "task_version": task.version,
        "code_version": __version__,
        "base": base_name,
        "base_digest": base_digest,
        "release": None,
        "epsilon": None,
        "delta": None,
        "unsafe": [],
        "model": "base model alone",
    }
    if manifest is not None:
        value |= {
            "release": manifest.release_id,
            "epsilon": _finite(manifest.epsilon),
            "delta": max((s.delta for s in manifest.spends), default=None),
            "unsafe": list(manifest.unsafe),
            "model": "base model and released adapter",
        }
    return value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _fields(path: Path, task: Task) -> Mapping[str, Any]:
    """The task's fields from a JSON file; a file that is the first field itself, such as a bundle, will do.

    Raises:
        RecordError: Missing, too large or not JSON; never with content.
    """
    try:
        if path.stat().st_size > _INPUT_LIMIT_BYTES:
            raise RecordError(f"{path} is too large", expected=f"at most {_INPUT_LIMIT_BYTES >> 20} MiB")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror})", do="check the path") from error
    except ValueError as error:
        # The parser's message quotes nothing but a position; the cause would hold the whole document.
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise RecordError(f"{path} is not JSON{line}", do="correct the file") from None
    first = task.fields[0]
    return value if isinstance(value, dict) and first in value else {first: value}


def _base(name: str) -> Path:
    """The base's directory; a known one is prepared on first use."""
    root = bases.default_root(os.environ)
    prepared = {b.name for b in bases.list_bases(root) if b.path is not None}
    if name in bases.KNOWN and name not in prepared and not Path(name).is_dir():
        with console.status(f"preparing the base {name}, once"):
            return bases.prepare(name, root)
    return bases.find(name, root)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", do="choose another --out") from error


def _print(document: Document, where: Mapping[str, Any]) -> None:
    """The document on standard output, deterministic wording marked; check and stamp on standard error."""
    for sentence in document.sentences:
        typer.echo(sentence.text if sentence.source == "model" else f"{sentence.text} [{sentence.rule}]")
    console.print(
        f"\n{document.figures} figures, {document.untraced} untraced; {document.rewritten} sentences written again, "
        f"{document.replaced} failed for good, {document.added} added; [rule] marks deterministic wording",
        markup=False,
    )
    spent = f", epsilon {where['epsilon']:.3g} at delta {where['delta']:.1g}" if where["epsilon"] else ""
    unsafe = f", UNSAFE: {', '.join(where['unsafe'])}" if where["unsafe"] else ""
    console.print(
        f"{where['release'] or where['model']} on {where['base']} {where['base_digest'][:12]}{spent}{unsafe}",
        markup=False,
    )


def _summary(manifest: ReleaseManifest, *, verified: bool) -> dict[str, Any]:
    return {
        "release": manifest.release_id,
        "verified": verified,
        "task": manifest.task,
        "base": manifest.base_name,
        "base_digest": manifest.base_digest,
        "strategy": manifest.strategy,
        "rounds": manifest.rounds,
        "epsilon": _finite(manifest.epsilon),
        "institutions": [
            s.to_dict() | {"rounds_folded": manifest.contributors.get(s.institution, 0)} for s in manifest.spends
        ],
        "loss_base": manifest.loss_base,
        "loss_released": manifest.loss_released,
        "unsafe": list(manifest.unsafe),
        "parent": manifest.parent,
        "digest": manifest.digest,
        "state_digest": manifest.state_digest,
        "plan_digest": manifest.plan_digest,
        "files": dict(manifest.files),
        "code_version": manifest.code_version,
        "created": manifest.created,
    }


def _show(value: Mapping[str, Any]) -> None:
    """A summary for people; the verdict first."""
    typer.echo(f"{value['release']}: {'verified' if value['verified'] else 'NOT VERIFIED (give --key)'}")
    for name in ("task", "base", "base_digest", "strategy", "rounds", "created", "code_version"):
        typer.echo(f"  {name}: {value[name]}")
    if value["unsafe"]:
        typer.echo(f"  UNSAFE: {', '.join(value['unsafe'])}")
    if honest := {s["honest_minimum"] for s in value["institutions"] if "honest_minimum" in s}:
        typer.echo(f"  noise is shared: assumes {min(honest)} or more honest institutions in every sum")
    table = Table("institution", "unit", "epsilon", "delta", "rounds", box=None)
    for s in value["institutions"]:
        epsilon = "unbounded" if s["epsilon"] is None else f"{s['epsilon']:.3g}"
        table.add_row(s["institution"], s["unit"], epsilon, f"{s['delta']:.1g}", str(s["rounds"]))
    console.print(table)
