"""Releases: directories that are complete, signed and never changed.

`publish` is a gate first. What weakened a guarantee is marked in the manifest, and refused unless asked
for by name; a spend must be stated by everyone who contributed, and must follow from the job's own plan.
The privacy certificate stands in the directory and is named by the manifest. The directory is written
beside its place, verified with the public key alone, flushed to the disk and renamed, so that a reader sees all
of a release or none, also after a power cut. What a coordinator that was killed had half written is removed by the
next one that publishes the job.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedcore import __version__
from fedcore.adapter_files import write_adapter
from fedcore.certificate import CERTIFICATE, Certificate, unsafe_sources, verify_release
from fedcore.errors import PrivacyError, RoundError, TamperedRelease
from fedcore.identity import SigningIdentity
from fedcore.manifest import ReleaseManifest, file_digest
from fedcore.round import JobPlan
from fedserver._disk import flush, of_files
from fedserver.gate import none_passed, undone
from fedserver.progress import JobResult

__all__ = ["Registry"]


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A folder of releases.

    Args:
        directory: Where releases stand, one folder each, named by release id.
        identity: Signs the manifests.
    """

    directory: Path
    identity: SigningIdentity

    def publish(
        self, job: JobPlan, result: JobResult, *, base_name: str, unsafe_ok: bool = False, unsafe: Sequence[str] = ()
    ) -> Path:
        """Write a completed job's state as a signed release.

        Guarantee: the returned directory verifies, its certificate included; nothing of a refused release
        stays behind.

        Args:
            job: The plan.
            result: What came of it.
            base_name: The base model's name, for readers.
            unsafe_ok: Publish although a guarantee was weakened; the manifest says which.
            unsafe: Further marks, such as a seeded source of randomness in a simulation.
        Raises:
            PrivacyError: A guarantee was weakened and `unsafe_ok` is not set, or an institution's spend does
                not follow from the plan.
            RoundError: The job did not complete, its gate let no state pass or put this one aside, or a
                contributor's spend is missing.
            TrustError: An institution's attestation does not hold.
            StorageError: The disk cannot be written to; nothing stays behind, and it can be tried again.
        """
        marks = _marks(job, result, unsafe)
        if marks and not unsafe_ok:
            raise PrivacyError(
                f"the job {job.job_id} cannot be published: {', '.join(marks)}",
                expected="a job with noise, and randomness from the operating system",
                do="keep its state for research, or submit it with unsafe_ok",
            )
        if result.status != "completed":
            raise RoundError(f"the job {job.job_id} did not complete, so there is nothing to publish")
        _check_gate(job, result)
        if (existing := self._existing(job, result)) is not None:
            return existing
        contributors = result.contributors
        if missing := sorted(set(contributors) - {s.institution for s in result.spends}):
            raise RoundError(f"the job {job.job_id} cannot be published: {missing[0]} states no spend")
        certificate = Certificate.make(
            job,
            coordinator=self.identity.public,
            base_name=base_name,
            state_digest=result.state.digest,
            contributors=contributors,
            spends=result.spends,
            attestations=result.attestations,
            unsafe=marks,
            code_version=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        certificate.check()
        # One service works on a job at a time, so a draft that is there was left by one that was killed.
        draft = self.directory / f".draft-{job.job_id}"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            with of_files(f"a release in {self.directory}"):
                manifest = self._write(draft, job, result, certificate)
                # As a stranger would, adapter and certificate included, before anyone can see it.
                verify_release(draft, self.identity.public)
                flush(*draft.iterdir(), draft)
                final = self.directory / manifest.release_id
                draft.rename(final)
                flush(self.directory)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return final

    def _write(self, draft: Path, job: JobPlan, result: JobResult, certificate: Certificate) -> ReleaseManifest:
        """Adapter, certificate and the manifest that names them."""
        c = certificate
        files = write_adapter(draft, result.state, c.base_name)
        (draft / CERTIFICATE).write_bytes(c.seal(self.identity))
        manifest = ReleaseManifest(
            job_id=c.job_id,
            task=c.task,
            base_name=c.base_name,
            base_digest=c.base_digest,
            schema=job.schema,
            schema_digest=c.schema_digest,
            plan_digest=c.plan_digest,
            state_digest=c.state_digest,
            files={**files, CERTIFICATE: file_digest(draft / CERTIFICATE)},
            strategy=c.strategy,
            rounds=c.rounds,
            contributors=c.contributors,
            spends=c.spends,
            unsafe=c.unsafe,
            loss_base=result.loss_base,
            loss_released=result.loss_released,
            parent=None,
            code_version=c.code_version,
            created=c.created,
        )
        manifest.write(draft, self.identity)
        return manifest

    def _existing(self, job: JobPlan, result: JobResult) -> Path | None:
        """This very release, when a coordinator published it and was killed before it could say so."""
        for place in sorted(self.directory.glob(f"{job.job_id}-*")):
            try:
                manifest = ReleaseManifest.verify(place, self.identity.public)
            except TamperedRelease:
                continue
            if (manifest.plan_digest, manifest.state_digest) == (job.digest, result.state.digest):
                return place
        return None


def _check_gate(job: JobPlan, result: JobResult) -> None:
    """Refuse what the job's gate refused, whoever says that the job completed."""
    if job.gate is None:
        return
    if (reason := none_passed(result.outcomes)) is not None:
        raise RoundError(f"the job {job.job_id} cannot be published: {reason}")
    aside = undone(result.outcomes)
    for outcome in result.outcomes:
        if outcome.round in aside and getattr(outcome, "state_digest", "") == result.state.digest:
            raise RoundError(f"the job {job.job_id} cannot be published: {aside[outcome.round]}")


def _marks(job: JobPlan, result: JobResult, unsafe: Sequence[str]) -> tuple[str, ...]:
    """Whatever weakened a guarantee."""
    return tuple(sorted(set(unsafe) | unsafe_sources(job.privacy, result.spends)))
