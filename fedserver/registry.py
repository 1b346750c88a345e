"""Releases: directories that are complete, signed and never changed.

`publish` is a gate first. What weakened a guarantee is marked in the manifest, and refused unless asked
for by name; a spend must be stated by everyone who contributed. The directory is written beside its
place, verified with the public key alone, and renamed, so that a reader sees all of a release or none.
"""

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedcore import __version__
from fedcore.adapter_files import read_adapter, write_adapter
from fedcore.errors import PrivacyError, RoundError, TamperedRelease
from fedcore.identity import SigningIdentity
from fedcore.manifest import ReleaseManifest
from fedcore.round import JobPlan
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

        Guarantee: the returned directory verifies; nothing of a refused release stays behind.

        Args:
            job: The plan.
            result: What came of it.
            base_name: The base model's name, for readers.
            unsafe_ok: Publish although a guarantee was weakened; the manifest says which.
            unsafe: Further marks, such as a seeded source of randomness in a simulation.
        Raises:
            PrivacyError: A guarantee was weakened and `unsafe_ok` is not set.
            RoundError: The job did not complete, or a contributor's spend is missing.
        """
        marks = _marks(job, result, unsafe)
        if marks and not unsafe_ok:
            raise PrivacyError(
                f"the job {job.job_id} cannot be published: {', '.join(marks)}",
                expected="a job with noise",
                do="keep its state for research, or submit it with unsafe_ok",
            )
        if result.status != "completed":
            raise RoundError(f"the job {job.job_id} did not complete, so there is nothing to publish")
        if (existing := self._existing(job, result)) is not None:
            return existing
        contributors = result.contributors
        if missing := sorted(set(contributors) - {s.institution for s in result.spends}):
            raise RoundError(f"the job {job.job_id} cannot be published: {missing[0]} states no spend")
        draft = self.directory / f".draft-{job.job_id}-{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            files = write_adapter(draft, result.state, base_name)
            manifest = ReleaseManifest(
                job_id=job.job_id,
                task=job.task,
                base_name=base_name,
                base_digest=job.schema.base_digest,
                schema=job.schema,
                schema_digest=job.schema.digest,
                plan_digest=job.digest,
                state_digest=result.state.digest,
                files=files,
                strategy=job.strategy,
                rounds=job.rounds,
                contributors=contributors,
                spends=result.spends,
                unsafe=marks,
                loss_base=result.loss_base,
                loss_released=result.loss_released,
                parent=None,
                code_version=__version__,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            manifest.write(draft, self.identity)
            self._verify(draft, result)
            final = self.directory / manifest.release_id
            draft.rename(final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return final

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

    def _verify(self, draft: Path, result: JobResult) -> None:
        """Read the release as a stranger would, and require that it is the job's state."""
        manifest = ReleaseManifest.verify(draft, self.identity.public)
        if read_adapter(draft, manifest.schema).digest != result.state.digest:
            raise TamperedRelease("a release that was just written holds another state", do="check the disk")


def _marks(job: JobPlan, result: JobResult, unsafe: Sequence[str]) -> tuple[str, ...]:
    """Whatever weakened a guarantee."""
    marks = set(unsafe)
    if not job.privacy.is_private:
        marks.add(job.privacy.mechanism)
    if any(math.isinf(s.epsilon) for s in result.spends):
        marks.add("UnboundedSpend")
    return tuple(sorted(marks))
