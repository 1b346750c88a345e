"""`concordat release`: verify, show and join signed releases, offline.

    concordat release verify releases/demo-1a2b --key coordinator.json
    concordat release join releases/demo-1a2b --key coordinator.json --out adapter

A release is verified against a pinned key before anything of it is loaded; there is no other way in.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fedcore.adapter import AdapterState
from fedcore.adapter_files import read_adapter, write_adapter
from fedcore.adapter_forms import plain
from fedcore.cli import console, example, report
from fedcore.enrolment import pinned_key
from fedcore.errors import ConfigError, TamperedRelease, TrustError
from fedcore.manifest import MANIFEST, ReleaseManifest

__all__ = ["KeyOption", "load_release", "release"]

release = typer.Typer(
    help="Verify and show signed releases, offline.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    epilog=example("concordat release verify releases/NAME --key coordinator.json"),
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
_Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The release's directory.")]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", metavar="FILE|HEX", help="The coordinator's card (coordinator.json) or public key."),
]


@release.command("verify", epilog=example("concordat release verify releases/NAME --key coordinator.json"))
def verify_command(directory: _Directory, key: KeyOption = None, as_json: _Json = False) -> None:
    """Check a release's signature and every file against the coordinator's key, offline."""
    manifest, _ = load_release(directory, key)
    value = _summary(manifest, verified=True)
    report(value, as_json=as_json, human=lambda: _show(value))


@release.command("show", epilog=example("concordat release show releases/NAME --key coordinator.json"))
def show_command(directory: _Directory, key: KeyOption = None, as_json: _Json = False) -> None:
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
    key: KeyOption = None,
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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
