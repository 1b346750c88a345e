"""The privacy certificate of a release: what was spent on whose records, and who says so; signed.

`certificate.json` stands in the release's directory. The coordinator signs the whole; what each institution
states is also signed by that institution: its **Attestation** is the signed header of the newest reply that
was counted, which holds its `PrivacySpend`. Verification needs the coordinator's public key and no network.
Epsilon of the job is computed again from the events. Where noise was shared, what the figures assume stands in the
plan and in what each institution signed, and both must say the same; that the shares carried the noise, each
institution checked in every round, and nobody can check it afterwards.

    certificate, manifest = verify_release(directory, coordinator)
    certificate = Certificate.read(path.read_bytes(), coordinator)      # exported by itself

This module never knows a record, an update or a ledger.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from fedcore import canonical
from fedcore._attestation import Attestation
from fedcore._certificate_words import NOT_COVERED
from fedcore._spend_check import check_spend, unsafe_sources
from fedcore.adapter_files import read_adapter
from fedcore.errors import ConcordatError, PrivacyError, TamperedRelease, TrustError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.manifest import PrivacySpend, ReleaseManifest
from fedcore.privacy import accounting
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import JobPlan
from fedcore.sums import SumPlan

__all__ = [
    "CERTIFICATE",
    "Attestation",
    "Certificate",
    "check_spend",
    "named_coordinator",
    "unsafe_sources",
    "verify_release",
]

CERTIFICATE = "certificate.json"
VERSION = 1
_CONTEXT = b"concordat/1/certificate\0"
_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a job cost, as the coordinator signs it and each institution attests it."""

    KIND: ClassVar[str] = "concordat privacy certificate"

    coordinator: str
    """Ed25519 public key of who signs, hexadecimal."""
    job_id: str
    task: str
    base_name: str
    base_digest: str
    schema_digest: str
    plan_digest: str
    state_digest: str
    strategy: str
    rounds: int
    privacy: PrivacyPlan
    """What every institution was asked to do to its gradients in every round."""
    joint: bool = False
    """Whether a round was one step that the coordinator took."""
    sums: SumPlan | None = None
    """How updates were summed behind masks; None where the coordinator saw each of them."""
    contributors: Mapping[str, int]
    """Institution -> rounds folded."""
    spends: tuple[PrivacySpend, ...]
    attestations: tuple[Attestation, ...]
    """At most one of each institution; a run inside one process has none."""
    unsafe: tuple[str, ...]
    """Whatever weakened a guarantee; empty for an ordinary release."""
    not_covered: Mapping[str, str]
    """What the figures say nothing about: a word that does not change -> a sentence."""
    code_version: str
    created: str
    """UTC, ISO 8601."""

    @classmethod
    def make(
        cls,
        job: JobPlan,
        *,
        coordinator: PublicIdentity,
        base_name: str,
        state_digest: str,
        contributors: Mapping[str, int],
        spends: Sequence[PrivacySpend],
        attestations: Sequence[Attestation],
        unsafe: Sequence[str],
        code_version: str,
        created: str,
    ) -> "Certificate":
        """The certificate of a finished job. It is not checked: see `check`."""
        return cls(
            coordinator=coordinator.key_hex,
            job_id=job.job_id,
            task=job.task,
            base_name=base_name,
            base_digest=job.schema.base_digest,
            schema_digest=job.schema.digest,
            plan_digest=job.digest,
            state_digest=state_digest,
            strategy=job.strategy,
            rounds=job.rounds,
            privacy=job.privacy,
            joint=job.joint,
            sums=job.sums,
            contributors=dict(contributors),
            spends=tuple(spends),
            attestations=tuple(attestations),
            unsafe=tuple(unsafe),
            not_covered=dict(NOT_COVERED),
            code_version=code_version,
            created=created,
        )

    @property
    def unit(self) -> PrivacyUnit:
        """Whom the figures protect."""
        return self.privacy.unit

    @property
    def epsilon(self) -> float:
        """The largest epsilon that any institution states of its data, over all jobs."""
        return max((s.epsilon for s in self.spends), default=0.0)

    @property
    def epsilon_job(self) -> float:
        """The largest epsilon that this job alone cost an institution."""
        return max((s.epsilon_job for s in self.spends), default=0.0)

    @property
    def delta(self) -> float:
        """The largest delta at which an institution states its epsilon."""
        return max((s.delta for s in self.spends), default=self.privacy.delta)

    @property
    def unattested(self) -> tuple[str, ...]:
        """Institutions whose figures the coordinator alone states."""
        return tuple(sorted({s.institution for s in self.spends} - {a.institution for a in self.attestations}))

    @property
    def digest(self) -> str:
        """SHA-256 of what is signed."""
        return canonical.digest(self.to_dict())

    def attestation(self, institution: str) -> Attestation | None:
        """What an institution signed, if it did."""
        return next((a for a in self.attestations if a.institution == institution), None)

    def recomputed(self, institution: str, delta: float | None = None) -> float:
        """Epsilon of an institution's part of this job, computed here from its events; by default at its own delta."""
        spend = next(s for s in self.spends if s.institution == institution)
        return accounting.epsilon(spend.events, spend.delta if delta is None else delta)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        value: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return value | {
            "kind": self.KIND,
            "version": VERSION,
            "privacy": self.privacy.to_dict(),
            "sums": None if self.sums is None else asdict(self.sums),
            "contributors": dict(self.contributors),
            "spends": [s.to_dict() for s in self.spends],
            "attestations": [a.to_dict() for a in self.attestations],
            "unsafe": list(self.unsafe),
            "not_covered": dict(self.not_covered),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Certificate":
        """Read a certificate.

        Raises:
            TrustError: A field is missing, unknown or of the wrong type.
        """
        try:
            given = dict(value)
            kind, version = given.pop("kind"), given.pop("version")
            if (kind, version) != (cls.KIND, VERSION):
                raise TrustError("not a certificate of this version", expected=f"{cls.KIND}, version {VERSION}")
            given["privacy"] = PrivacyPlan.from_dict(given["privacy"])
            if given.get("sums") is not None:
                given["sums"] = SumPlan.from_dict(given["sums"])
            if type(given.get("joint", False)) is not bool:
                raise TypeError("joint is not true or false")
            given["contributors"] = {_text(n): _whole(r) for n, r in given["contributors"].items()}
            given["spends"] = tuple(PrivacySpend.from_dict(s) for s in given["spends"])
            given["attestations"] = tuple(Attestation.from_dict(a) for a in given["attestations"])
            given["unsafe"] = tuple(_text(mark) for mark in given["unsafe"])
            given["not_covered"] = {_text(k): _text(words) for k, words in given["not_covered"].items()}
            given["rounds"] = _whole(given["rounds"])
            for name in _TEXTS:
                given[name] = _text(given[name])
            PublicIdentity(given["coordinator"])
            return cls(**given)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TrustError("a certificate cannot be read: a field is missing, unknown or wrong") from error

    def seal(self, signer: SigningIdentity) -> bytes:
        """The signed statement as a file's bytes: JSON that people can read, too."""
        value = self.to_dict()
        signature = signer.sign(_CONTEXT + canonical.encode(value)).hex()
        return _pretty({"certificate": value, "signature": signature})

    @classmethod
    def read(cls, data: bytes, coordinator: PublicIdentity | None) -> "Certificate":
        """Verify and read a signed statement, offline.

        Args:
            data: The bytes of `certificate.json`, or of an exported copy.
            coordinator: The pinned key; None takes the key that the statement itself names, which proves
                that it is whole but not whose it is.
        Raises:
            TamperedRelease: The signature, an attestation or a figure does not hold.
        """
        try:
            sealed = canonical.decode(data) if len(data) <= _LIMIT_BYTES else None
            if not isinstance(sealed, dict) or sealed.keys() != {"certificate", "signature"}:
                raise TrustError("not a certificate", expected="a statement and its signature")
            value, signature = sealed["certificate"], bytes.fromhex(sealed["signature"])
            signer = coordinator or PublicIdentity(value["coordinator"])
            signer.verify(_CONTEXT + canonical.encode(value), signature)
            certificate = cls.from_dict(value)
            if certificate.coordinator != signer.key_hex:
                raise TrustError("the certificate names another coordinator than the one who signed it")
            certificate.check()
        except (ConcordatError, KeyError, TypeError, ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, ConcordatError) else "it cannot be read"
            raise TamperedRelease(
                f"the certificate does not verify: {why}", do="do not rely on it; fetch the release again"
            ) from error
        return certificate

    def check(self) -> None:
        """Return when every figure holds: computed again, attested, and marked where it is weak.

        Raises:
            PrivacyError: A figure contradicts the job's plan, its own events or the audit.
            TrustError: An attestation does not hold, or says something else than the certificate.
        """
        names = [s.institution for s in self.spends]
        if len(set(names)) != len(names) or not set(self.contributors) <= set(names):
            raise PrivacyError("the certificate does not state one spend of each institution")
        self._check_assumption()
        for spend in self.spends:
            check_spend(spend, self.privacy, rounds=self.rounds, folded=self.contributors.get(spend.institution, 0))
        if missing := sorted(unsafe_sources(self.privacy, self.spends) - set(self.unsafe)):
            raise PrivacyError(f"the certificate does not say what weakened it: {missing[0]}")
        self._check_attestations()

    def _check_assumption(self) -> None:
        """Shared noise assumes honest institutions, and the sums that were opened must leave room for them."""
        honest, sums = self.privacy.honest_minimum, self.sums
        if honest is not None and (
            not self.joint or sums is None or honest > sums.threshold - sums.colluders or sums.share_std_units == 0
        ):
            raise PrivacyError("the sums of the certificate do not carry the noise that it assumes to be shared")

    def _check_attestations(self) -> None:
        """Each is by its institution, about this job, and states the very spend that stands here."""
        spends = {s.institution: s for s in self.spends}
        if len({a.institution for a in self.attestations}) != len(self.attestations):
            raise TrustError("an institution is attested twice")
        plans: dict[int, str] = {}
        for attestation in self.attestations:
            name, header = attestation.institution, attestation.verify()
            if (header.get("institution"), header.get("job")) != (name, self.job_id):
                raise TrustError(f"the attestation of {name} is about another job or institution")
            number, plan = header.get("round"), header.get("plan")
            folded = self.contributors.get(name, 0)
            if type(number) is not int or not max(folded, 1) <= number <= self.rounds or not isinstance(plan, str):
                raise TrustError(f"the attestation of {name} answers no round of this job")
            # All institutions answer one plan in a round: another digest is another question.
            if plans.setdefault(number, plan) != plan:
                raise TrustError(f"the attestation of {name} answers another plan than the others in round {number}")
            stated = header.get("spend")
            if name not in spends or not isinstance(stated, dict) or PrivacySpend.from_dict(stated) != spends[name]:
                raise TrustError(f"the attestation of {name} states another spend than the certificate")


_TEXTS = tuple(f.name for f in fields(Certificate) if f.type is str)


def verify_release(directory: Path, coordinator: PublicIdentity) -> tuple[Certificate, ReleaseManifest]:
    """Verify a release with its certificate, offline.

    Raises:
        TamperedRelease: The release, its certificate or a figure does not hold, or they contradict one another.
        TrustError: The release was made before there were certificates.
    """
    manifest = ReleaseManifest.verify(directory, coordinator)
    if CERTIFICATE not in manifest.files:
        raise _without_certificate(directory)
    certificate = Certificate.read((directory / CERTIFICATE).read_bytes(), coordinator)
    for name in _SHARED:
        if getattr(certificate, name) != getattr(manifest, name):
            raise TamperedRelease(
                f"the certificate and the manifest of {directory} contradict one another: {name}",
                do="do not use it; fetch it again",
            )
    if read_adapter(directory, manifest.schema).digest != certificate.state_digest:
        raise TamperedRelease(f"the adapter in {directory} is not the one that was certified", do="do not use it")
    return certificate, manifest


def named_coordinator(directory: Path) -> PublicIdentity:
    """The key that a release's certificate itself names: enough to see that it is whole, not whose it is.

    Raises:
        TamperedRelease: It cannot be read.
        TrustError: There is none.
    """
    path = directory / CERTIFICATE
    if not path.is_file():
        raise _without_certificate(directory)
    try:
        return PublicIdentity(canonical.decode(path.read_bytes())["certificate"]["coordinator"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError, TrustError) as error:
        raise TamperedRelease(f"the certificate of {directory} cannot be read", do="fetch the release again") from error


def _without_certificate(directory: Path) -> TrustError:
    """What to say of a release from before there were certificates."""
    return TrustError(
        f"the release {directory} has no certificate",
        expected=f"{CERTIFICATE}, which its manifest names",
        do="an older version made it: ask the coordinator for a newer release",
    )


_SHARED = (
    "job_id",
    "task",
    "base_name",
    "base_digest",
    "schema_digest",
    "plan_digest",
    "state_digest",
    "strategy",
    "rounds",
    "contributors",
    "spends",
    "unsafe",
    "code_version",
    "created",
)


def _pretty(value: Mapping[str, Any]) -> bytes:
    """JSON for people; what is signed are the canonical bytes of its statement."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True) + "\n").encode()


def _text(value: Any) -> str:
    """The value, when it is printable text of a bearable length."""
    if not isinstance(value, str) or len(value) > 2000 or not value.isprintable():
        raise TypeError("not text")
    return value


def _whole(value: Any) -> int:
    """The value, when it is a whole number that can count rounds."""
    if type(value) is not int or not 0 <= value <= 1_000_000_000:
        raise TypeError("not a whole number")
    return value
