"""`concordat domain verify`: is a document still what was stamped, and does its watermark show?

    concordat domain verify note.docx
    concordat domain verify note.md --release releases/demo-1a2b --key coordinator.json
    concordat domain verify note.md --watermark mark.key --base smollm2-135m

The content number is recomputed from what the file carries, and the file is written anew to compare what it
shows. With a release, what the stamp says of it is compared with the signed manifest.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from domains import bases, formats
from domains.release_commands import KeyOption, load_release
from fedcore.cli import report
from fedcore.errors import ConfigError, TamperedRelease
from fedcore.manifest import ReleaseManifest

__all__ = ["verify_command"]


def verify_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A document of `concordat generate`.")],
    release: Annotated[
        Path | None, typer.Option("--release", metavar="DIR", help="Whose stamp it should bear.")
    ] = None,
    key: KeyOption = None,
    watermark: Annotated[
        Path | None, typer.Option("--watermark", metavar="KEYFILE", help="Look for this key's mark; needs --base.")
    ] = None,
    base_name: Annotated[str | None, typer.Option("--base", metavar="NAME|PATH", help="Whose tokens they are.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Recompute a document's content number, and say what does not hold."""
    if (watermark is None) != (base_name is None):
        raise ConfigError("--watermark and --base belong together", do="give both")
    manifest = load_release(release, key)[0] if release is not None else None
    found = formats.verify_file(file)
    fault = found.fault or ("" if manifest is None else _contradiction(found.stamp, manifest))
    value: dict[str, Any] = {
        "file": str(file),
        "content": found.content,
        "intact": not fault,
        "fault": fault,
        "release_verified": manifest is not None and not fault,
        "stamp": dict(found.stamp),
        "watermark": None if watermark is None or base_name is None else _mark(file, watermark, base_name),
    }
    report(value, as_json=as_json, human=lambda: _show(value))
    if fault:
        raise TamperedRelease(f"{file} does not hold: {fault}", do="do not rely on it; ask for it again")


def _contradiction(stamp: Any, manifest: ReleaseManifest) -> str:
    """What a stamp says that a signed manifest does not."""
    signed = {"release": manifest.release_id, "base_digest": manifest.base_digest, "task": manifest.task}
    wrong = [name for name, value in signed.items() if stamp.get(name) != value]
    return f"the stamp and the signed release differ in {', '.join(wrong)}" if wrong else ""


def _mark(file: Path, key_file: Path, base_name: str) -> dict[str, Any]:
    """What the key's owner finds in the model's sentences."""
    from domains.language import Base
    from domains.watermark import detect, read_key

    key = read_key(key_file)
    form = next(f for f in formats.FORMATS if file.suffix.lower() == f".{f}")
    sheet = formats.read(file.read_bytes(), form)
    base = Base.load(bases.find(base_name, bases.default_root(os.environ)))
    texts = [f" {s['text']}" for s in sheet["sentences"] if s["source"] == "model"]
    found = detect([base.tokens(t) for t in texts], key, base.vocabulary)
    return {"pairs": found.pairs, "green": found.green, "z": round(found.z, 2), "found": found.marked}


def _show(value: dict[str, Any]) -> None:
    """The verdict first."""
    stamp = value["stamp"]
    typer.echo(f"{value['file']}: {'as it was stamped' if value['intact'] else 'CHANGED'}, content {value['content']}")
    checked = "verified" if value["release_verified"] else "not checked against a signed release"
    typer.echo(f"  {stamp.get('model')}; release {stamp.get('release') or 'none'} ({checked})")
    if value["watermark"] is not None:
        mark = value["watermark"]
        typer.echo(f"  watermark {'found' if mark['found'] else 'not found'}: z {mark['z']} over {mark['pairs']} pairs")
