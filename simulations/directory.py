"""A run's directory: the scenario that it belongs to, keys, the coordinator's state and every ledger.

Whatever takes part in a run opens the same directory: this process, Ray's workers, Flower's apps. It
belongs to one scenario on one set of records; another is refused, and a finished one is not run again.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from domains import bases
from fedcore import config
from fedcore.errors import ConfigError, RecordError
from fedcore.identity import SigningIdentity
from simulations.scenario import Scenario

__all__ = ["RunDirectory", "base_of", "records_digest"]

_MARK = "scenario.json"
_DRAFT = f".{_MARK}.new"
_TINY = "tiny:"


@dataclass(frozen=True, kw_only=True)
class RunDirectory:
    """Where a run lies, and what it is made of.

    Args:
        out: The directory, absolute.
        scenario: With the epsilon that it runs at.
        records: File or directory of records; None for synthetic ones.
        base: Directory of the base model.
    """

    out: Path
    scenario: Scenario
    records: Path | None
    base: Path

    @classmethod
    def prepare(
        cls, out: Path, scenario: Scenario, *, records: Path | None, base: Path, fresh: bool = False
    ) -> "RunDirectory":
        """Make the directory, or take up the run that it holds.

        Args:
            fresh: Remove the run that it holds first.
        Raises:
            ConfigError: It holds another run, or something that is no run.
            RecordError: The records cannot be read.
        """
        out = out.absolute()
        wanted = scenario.digest(records_digest(records))
        held = _held(out)
        if held is None and out.exists() and {p.name for p in out.iterdir()} - {_DRAFT}:
            raise ConfigError(
                f"{out} holds something else than a run", expected="an empty directory", do="choose --out"
            )
        if held is not None and fresh:
            shutil.rmtree(out)
            held = None
        if held is not None and held["digest"] != wanted:
            raise ConfigError(
                f"{out} holds a run of another scenario, epsilon or records",
                expected=f"digest {wanted[:12]}",
                got=str(held["digest"])[:12],
                do="choose another --out, or --fresh to remove that run",
            )
        run = cls(out=out, scenario=scenario, records=records.absolute() if records else None, base=base.absolute())
        out.mkdir(parents=True, exist_ok=True)
        value = {
            "digest": wanted,
            "scenario": asdict(scenario),
            "records": str(run.records) if run.records else None,
            "base": str(run.base),
        }
        written = out / _DRAFT
        written.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        # First of all, so that a run that is killed from here on is known as one when it is taken up again.
        written.replace(out / _MARK)
        if scenario.base.startswith(_TINY) and not run.base.exists():
            _make_tiny(run.base, scenario.base.removeprefix(_TINY))
        if not run.coordinator_key.exists():
            SigningIdentity.generate().save(run.coordinator_key)
        return run

    @classmethod
    def open(cls, out: Path) -> "RunDirectory":
        """Open a directory that `prepare` made.

        Raises:
            ConfigError: It holds no run.
        """
        held = _held(out)
        if held is None:
            raise ConfigError(f"{out} holds no run", do="start one with 'concordat simulate'")
        return cls(
            out=out,
            scenario=config.parse(Scenario, held["scenario"], where=str(out / _MARK)),
            records=Path(held["records"]) if held["records"] else None,
            base=Path(held["base"]),
        )

    @property
    def digest(self) -> str:
        """What decides the result."""
        held = _held(self.out)
        return str(held["digest"]) if held else ""

    @property
    def coordinator_key(self) -> Path:
        """The coordinator's identity."""
        return self.out / "coordinator.key"

    @property
    def store(self) -> Path:
        """The coordinator's state."""
        return self.out / "state.db"

    def ledger(self, institution: str) -> Path:
        """One institution's ledger."""
        return self.out / "institutions" / institution / "ledger.db"

    def identity(self, institution: str) -> SigningIdentity:
        """One institution's identity, made when it is first asked for."""
        path = self.out / "institutions" / institution / "identity.key"
        if not path.exists():
            SigningIdentity.generate().save(path)
        return SigningIdentity.load(path)


def base_of(scenario: Scenario, out: Path, root: Path, progress: bases.Progress | None = None) -> Path:
    """Where a scenario's base lies; a known one is prepared, a tiny one will be made in the run's directory.

    Raises:
        ModelError: There is no such base.
    """
    if scenario.base.startswith(_TINY):
        return out.absolute() / scenario.base.replace(":", "-")
    if scenario.base in bases.KNOWN:
        return bases.prepare(scenario.base, root, progress)
    return bases.find(scenario.base, root)


def records_digest(records: Path | None) -> str:
    """SHA-256 of a file, or of the files of a directory with their names; empty for synthetic records.

    Raises:
        RecordError: The path cannot be read.
    """
    if records is None:
        return ""
    h = hashlib.sha256()
    try:
        for path in _files(records):
            h.update(str(path.relative_to(records)).encode() + b"\0")
            with path.open("rb") as file:
                h.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise RecordError(f"the records {records} cannot be read ({error.strerror})", do="check --records") from error
    return h.hexdigest()


def _make_tiny(directory: Path, kind: str) -> None:
    """A small random base of a named kind."""
    from simulations.tiny import NAMES, make_tiny_base

    if kind not in NAMES:
        raise ConfigError(f"no tiny base is called {kind!r}", expected="tiny: and one of " + ", ".join(NAMES))
    draft = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    make_tiny_base(draft, kind)
    draft.rename(directory)


def _files(path: Path) -> Iterable[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _held(out: Path) -> dict[str, Any] | None:
    """The mark of the run that a directory holds; None when it holds none."""
    path = out / _MARK
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict) or not {"digest", "scenario", "records", "base"} <= value.keys():
            raise ValueError("keys are missing")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read", do="choose another --out, or remove the directory") from error
    return value
