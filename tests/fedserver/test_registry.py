"""Releases: gates first, then all or nothing."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedcore.adapter_files import read_adapter
from fedcore.errors import PrivacyError, RoundError, TamperedRelease
from fedcore.manifest import ReleaseManifest
from fedcore.privacy.plan import PrivacyPlan
from fedserver.progress import JobResult
from fedserver.registry import Registry


@pytest.fixture
def finished(make_federation: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[Any, JobResult, Registry]]:
    def make(**changes: Any) -> tuple[Any, JobResult, Registry]:
        federation = make_federation("a", "b", **changes)
        result = federation.run()
        return federation, result, Registry(directory=tmp_path / "releases", identity=federation.identity)

    return make


def test_release_verifies_and_holds_the_jobs_state(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    place = registry.publish(federation.job, result, base_name="paper")
    manifest = ReleaseManifest.verify(place, federation.identity.public)
    assert place.name == manifest.release_id
    assert read_adapter(place, manifest.schema).digest == result.state.digest == manifest.state_digest
    assert manifest.contributors == {"a": 2, "b": 2}
    assert [s.institution for s in manifest.spends] == ["a", "b"]
    assert manifest.plan_digest == federation.job.digest
    assert manifest.unsafe == ()
    assert [p.name for p in registry.directory.iterdir()] == [place.name]


def test_same_result_is_published_once(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    first = registry.publish(federation.job, result, base_name="paper")
    assert registry.publish(federation.job, result, base_name="paper") == first


def test_release_that_was_changed_does_not_verify(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    place = registry.publish(federation.job, result, base_name="paper")
    path = place / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(TamperedRelease):
        ReleaseManifest.verify(place, federation.identity.public)


def test_job_without_noise_is_refused_and_leaves_nothing(finished: Callable[..., Any], privacy: PrivacyPlan) -> None:
    noiseless = PrivacyPlan.from_dict({**privacy.to_dict(), "noise_multiplier": 0.0, "mechanism": "UnsafeNoNoise"})
    federation, result, registry = finished(privacy=noiseless)
    with pytest.raises(PrivacyError, match="UnsafeNoNoise"):
        registry.publish(federation.job, result, base_name="paper")
    assert not registry.directory.exists()
    place = registry.publish(federation.job, result, base_name="paper", unsafe_ok=True)
    assert ReleaseManifest.verify(place, federation.identity.public).unsafe == ("UnsafeNoNoise",)


def test_unbounded_spend_is_a_mark_too(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    spends = tuple(replace(s, epsilon=math.inf) for s in result.spends)
    with pytest.raises(PrivacyError, match="UnboundedSpend"):
        registry.publish(federation.job, replace(result, spends=spends), base_name="paper")


def test_contributor_without_a_spend_stops_the_release(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    with pytest.raises(RoundError, match="b states no spend"):
        registry.publish(federation.job, replace(result, spends=result.spends[:1]), base_name="paper")


def test_failed_job_has_nothing_to_publish(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    with pytest.raises(RoundError, match="did not complete"):
        registry.publish(federation.job, replace(result, status="failed"), base_name="paper")
