"""A release's manifest: what it is, where it comes from and what it cost; signed by the coordinator.

A release is a directory: `manifest.json`, `manifest.sig`, and the adapter in peft's own layout
(`adapter_model.safetensors`, `adapter_config.json`; `fedcore.adapter_files` says how other forms lie), so that
plain peft loads it too. The manifest names each file by SHA-256, also those in folders. Verification needs only
the coordinator's public key, and no network.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fedcore import canonical
from fedcore.adapter import AdapterSchema
from fedcore.errors import InvalidPlan, TamperedRelease, TrustError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.privacy.accounting import DpEvent
from fedcore.privacy.plan import GAUSSIAN

__all__ = ["MANIFEST", "SIGNATURE", "PrivacySpend", "ReleaseManifest", "file_digest"]

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
_CONTEXT = b"concordat/1/release\0"


@dataclass(frozen=True, kw_only=True)
class PrivacySpend:
    """What an institution states that its part has cost, over all jobs on the same data.

    Every figure follows from public plans, not from records; the audited one from made-up gradients.
    """

    institution: str
    unit: str
    relation: str
    epsilon: float
    """Of all releases so far on this data; infinite (null in JSON) after UnsafeNoNoise."""
    delta: float
    rounds: int
    """Rounds of this job that the institution has answered so far."""
    epsilon_job: float
    """Of what this job alone has reserved so far; infinite (null in JSON) after UnsafeNoNoise."""
    events: tuple[DpEvent, ...]
    """What this job has reserved so far, alike ones added up."""
    accountant: str
    """Which accountants, with their versions."""
    noise_source: str
    sampling_source: str
    """Where noise and samples came from, such as "AES-256-CTR, keyed by the operating system"."""
    audited_epsilon: float | None = None
    """A lower bound of what `events` cost, measured on the institution's own step code; None: not audited."""
    audit_confidence: float | None = None
    """Chance that the audited figure is below the truth, such as 0.95."""
    mechanism: str = GAUSSIAN
    """What the institution's source of noise makes: "discrete_gaussian" where it added a share of a common noise."""
    honest_minimum: int | None = None
    """Of shared noise, and what every figure here then assumes; see `PrivacyPlan`."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        value = {f.name: getattr(self, f.name) for f in fields(self)}
        value["events"] = [e.to_dict() for e in self.events]
        for name in ("epsilon", "epsilon_job"):
            value[name] = value[name] if math.isfinite(value[name]) else None
        if self.audited_epsilon is not None and not math.isfinite(self.audited_epsilon):
            # Without noise there is nothing to audit: epsilon itself is infinite.
            value |= {"audited_epsilon": None, "audit_confidence": None}
        # Left out where nothing is shared: such spends have the bytes that they always had.
        left_out = {"honest_minimum": None, "mechanism": GAUSSIAN}
        return {name: v for name, v in value.items() if name not in left_out or v != left_out[name]}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "PrivacySpend":
        """Read a spend.

        Raises:
            TrustError: A field is missing, unknown, of the wrong type or out of range.
        """
        try:
            given = dict(value)
            for name in ("epsilon", "epsilon_job"):
                given[name] = math.inf if given[name] is None else float(given[name])
            for name in ("audited_epsilon", "audit_confidence"):
                given[name] = None if given.get(name) is None else float(given[name])
            given["delta"] = float(given["delta"])
            given["rounds"] = int(given["rounds"])
            given["events"] = tuple(DpEvent.from_dict(e) for e in given["events"])
            spend = cls(**given)
        except (KeyError, TypeError, ValueError, ArithmeticError, InvalidPlan) as error:
            raise TrustError("a privacy spend cannot be read") from error
        if not spend._is_readable():
            raise TrustError("a privacy spend cannot be read")
        return spend

    def _is_readable(self) -> bool:
        """Whether text is short and printable, and numbers are in range."""
        sources = (self.noise_source, self.sampling_source, self.mechanism)
        text = (self.institution, self.unit, self.relation, self.accountant, *sources)
        numbers = (self.epsilon, self.epsilon_job, self.audited_epsilon or 0.0)
        return (
            all(isinstance(t, str) and len(t) <= 200 and t.isprintable() for t in text)
            and not any(math.isnan(n) or n < 0 for n in numbers)
            and 0 < self.delta < 1
            and self.rounds >= 0
            and 0 <= (self.audit_confidence or 0.0) <= 1
            and len(self.events) <= 1000
            and (self.honest_minimum is None or (type(self.honest_minimum) is int and self.honest_minimum >= 1))
        )


@dataclass(frozen=True, kw_only=True)
class ReleaseManifest:
    """Everything that a reader of a release may rely on."""

    job_id: str
    task: str
    base_name: str
    base_digest: str
    schema: AdapterSchema
    schema_digest: str
    plan_digest: str
    state_digest: str
    files: Mapping[str, str]
    """File name -> SHA-256; of a file in a folder, "folder/name"."""
    strategy: str
    rounds: int
    contributors: Mapping[str, int]
    """Institution -> rounds folded."""
    spends: tuple[PrivacySpend, ...]
    unsafe: tuple[str, ...]
    """Whatever weakened a guarantee, such as "UnsafeNoNoise"; empty for an ordinary release."""
    loss_base: float | None
    loss_released: float | None
    parent: str | None
    """Digest of the manifest that this job started from, if any."""
    code_version: str
    created: str
    """UTC, ISO 8601."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        value = asdict(self)
        value["files"] = dict(self.files)
        value["contributors"] = dict(self.contributors)
        value["spends"] = [s.to_dict() for s in self.spends]
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "ReleaseManifest":
        """Read a manifest.

        Raises:
            TrustError: It cannot be read.
        """
        try:
            given = dict(value)
            given["schema"] = AdapterSchema.from_dict(given["schema"])
            given["spends"] = tuple(PrivacySpend.from_dict(s) for s in given["spends"])
            given["unsafe"] = tuple(given["unsafe"])
            return cls(**given)
        except (KeyError, TypeError) as error:
            raise TrustError(f"a manifest cannot be read ({error})") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: the release's identity."""
        return canonical.digest(self.to_dict())

    @property
    def release_id(self) -> str:
        """Job and the first twelve characters of the digest."""
        return f"{self.job_id}-{self.digest[:12]}"

    @property
    def epsilon(self) -> float:
        """The largest epsilon that any contributing institution states."""
        return max((s.epsilon for s in self.spends), default=0.0)

    def write(self, directory: Path, signer: SigningIdentity) -> None:
        """Sign and write the manifest beside the files that it names."""
        data = canonical.encode(self.to_dict())
        (directory / MANIFEST).write_bytes(data)
        (directory / SIGNATURE).write_text(signer.sign(_CONTEXT + data).hex() + "\n")

    @classmethod
    def verify(cls, directory: Path, signer: PublicIdentity) -> "ReleaseManifest":
        """Read a release's manifest after checking signature and every file, offline.

        Raises:
            TamperedRelease: A file is missing, extra or changed, or the signature does not hold.
        """
        try:
            data = (directory / MANIFEST).read_bytes()
            signature = bytes.fromhex((directory / SIGNATURE).read_text().strip())
            signer.verify(_CONTEXT + data, signature)
            manifest = cls.from_dict(canonical.decode(data))
        except (OSError, ValueError, TypeError) as error:
            raise TamperedRelease(
                f"the release {directory} cannot be read",
                expected=f"{MANIFEST} and {SIGNATURE}",
                do="fetch it again",
            ) from error
        except TrustError as error:
            raise TamperedRelease(
                f"the release {directory} does not verify: {error}", do="do not use it; fetch it again"
            ) from error
        present = _files(directory) - {MANIFEST, SIGNATURE}
        if present != set(manifest.files):
            odd = sorted(present ^ set(manifest.files))[0]
            raise TamperedRelease(
                f"the release {directory} has a file too many or too few: {odd}", do="do not use it; fetch it again"
            )
        for name, expected in manifest.files.items():
            if file_digest(directory / name) != expected:
                raise TamperedRelease(f"the release's file {name} was changed", do="do not use it; fetch it again")
        return manifest


def _files(directory: Path) -> set[str]:
    """Whatever is no folder in a directory and its folders, by relative name; a link counts, and leads nowhere."""
    found = (p for p in directory.rglob("*") if p.is_symlink() or not p.is_dir())
    return {p.relative_to(directory).as_posix() for p in found}


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
