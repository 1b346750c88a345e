"""Releases: gates first, then all or nothing."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcore.adapter import AdapterSchema, AdapterState, Form, ModelCard
from fedcore.adapter_files import read_adapter
from fedcore.certificate import CERTIFICATE, verify_release
from fedcore.errors import PrivacyError, RoundError, StorageError, TamperedRelease, TrustError
from fedcore.manifest import MANIFEST, SIGNATURE, ReleaseManifest
from fedcore.privacy.plan import PrivacyPlan
from fedserver.progress import JobResult
from fedserver.registry import Registry
from tests.full_disk import full_disk


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


def test_release_holds_a_certificate_that_the_institutions_sign(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    place = registry.publish(federation.job, result, base_name="paper")
    certificate, manifest = verify_release(place, federation.identity.public)
    assert certificate.spends == manifest.spends == result.spends
    assert certificate.unattested == ()
    for attestation in certificate.attestations:
        assert attestation.identity == federation.institutions[attestation.institution].identity.public.key_hex
    assert certificate.epsilon_job == federation.job.privacy.epsilon(2)


def test_result_of_one_process_is_published_and_says_that_nobody_attests_it(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    place = registry.publish(federation.job, replace(result, attestations=()), base_name="paper")
    assert verify_release(place, federation.identity.public)[0].unattested == ("a", "b")


def test_spend_that_does_not_follow_from_the_plan_stops_the_release(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    low = replace(result.spends[0], epsilon_job=0.5 * result.spends[0].epsilon_job)
    with pytest.raises(PrivacyError, match="does not follow from its events"):
        registry.publish(federation.job, replace(result, spends=(low, result.spends[1])), base_name="paper")
    assert not registry.directory.exists()


def test_attestation_of_another_institution_stops_the_release(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    first, second = result.attestations
    swapped = (replace(first, institution="b"), replace(second, institution="a"))
    with pytest.raises(TrustError, match="another job or institution"):
        registry.publish(federation.job, replace(result, attestations=swapped), base_name="paper")
    assert not registry.directory.exists()


@pytest.mark.parametrize("source", ["noise_source", "sampling_source"])
def test_seeded_randomness_is_refused_and_marked_where_it_is_asked_for(
    finished: Callable[..., Any], source: str
) -> None:
    federation, result, registry = finished()
    spends = tuple(replace(s, **{source: "UnsafeSeededNoise"}) for s in result.spends)
    seeded = replace(result, spends=spends, attestations=())
    with pytest.raises(PrivacyError, match="UnsafeSeededNoise"):
        registry.publish(federation.job, seeded, base_name="paper")
    place = registry.publish(federation.job, seeded, base_name="paper", unsafe_ok=True)
    certificate, manifest = verify_release(place, federation.identity.public)
    assert certificate.unsafe == manifest.unsafe == ("UnsafeSeededNoise",)


def test_plain_peft_loads_the_release_beside_its_certificate(finished: Callable[..., Any]) -> None:
    from peft import PeftConfig
    from peft.utils import load_peft_weights

    federation, result, registry = finished()
    place = registry.publish(federation.job, result, base_name="paper")
    config, weights = PeftConfig.from_pretrained(str(place)), load_peft_weights(str(place), device="cpu")
    assert (config.peft_type, config.r) == ("LORA", federation.job.schema.rank)
    for name, array in result.state.tensors.items():
        assert (weights[f"base_model.model.{name}.weight"].numpy() == array).all()
    names = {p.name for p in place.iterdir()}
    assert names == {"adapter_model.safetensors", "adapter_config.json", CERTIFICATE, MANIFEST, SIGNATURE}


@pytest.mark.parametrize("form", ["lora", "core"])
@pytest.mark.parametrize("times", [0, 3])
def test_release_of_another_form_verifies_and_holds_the_state_itself(
    finished: Callable[..., Any], card: ModelCard, form: Form, times: int
) -> None:
    federation, result, registry = finished()
    schema = AdapterSchema.for_base(card, rank=2, alpha=4, targets=("q_proj",), form=form, residual_rank=times * 2)
    rng = np.random.default_rng(0)
    state = AdapterState(schema=schema, tensors={t.name: rng.normal(size=t.shape).astype("f4") for t in schema.tensors})
    job = replace(federation.job, schema=schema)
    done = replace(result, state=state, attestations=())
    place = registry.publish(job, done, base_name="paper")
    manifest = verify_release(place, federation.identity.public)[1]
    assert manifest.schema == schema
    assert read_adapter(place, manifest.schema).digest == state.digest == manifest.state_digest
    written = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    assert written == {*manifest.files, MANIFEST, SIGNATURE}
    assert ("core.safetensors" in written) == (form == "core")
    assert ("residual/adapter_model.safetensors" in written) == (times > 0)
    assert registry.publish(job, done, base_name="paper") == place
    for name in manifest.files:
        with (place / name).open("r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        with pytest.raises(TamperedRelease):
            verify_release(place, federation.identity.public)
        with (place / name).open("r+b") as file:
            file.write(first)
    verify_release(place, federation.identity.public)


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
    assert ReleaseManifest.verify(place, federation.identity.public).unsafe == ("UnboundedSpend", "UnsafeNoNoise")


def test_unbounded_spend_is_a_mark_too(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    spends = tuple(replace(s, epsilon=math.inf) for s in result.spends)
    with pytest.raises(PrivacyError, match="UnboundedSpend"):
        registry.publish(federation.job, replace(result, spends=spends), base_name="paper")


def test_contributor_without_a_spend_stops_the_release(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    with pytest.raises(RoundError, match="b states no spend"):
        registry.publish(federation.job, replace(result, spends=result.spends[:1]), base_name="paper")


def test_full_disk_leaves_nothing_and_there_is_room_later(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    registry.directory.mkdir()
    with full_disk(), pytest.raises(StorageError, match="make room"):
        registry.publish(federation.job, result, base_name="paper")
    assert list(registry.directory.iterdir()) == []
    place = registry.publish(federation.job, result, base_name="paper")
    assert [p.name for p in registry.directory.iterdir()] == [place.name]


def test_draft_of_a_coordinator_that_was_killed_goes_with_the_next_release(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    written = Registry._write

    def write_and_die(*args: Any) -> Any:
        written(*args)
        os._exit(9)

    if (child := os.fork()) == 0:
        Registry._write = write_and_die  # type: ignore[method-assign]
        registry.publish(federation.job, result, base_name="paper")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(list(registry.directory.iterdir())) == 1
    place = registry.publish(federation.job, result, base_name="paper")
    assert [p.name for p in registry.directory.iterdir()] == [place.name]


def test_failed_job_has_nothing_to_publish(finished: Callable[..., Any]) -> None:
    federation, result, registry = finished()
    with pytest.raises(RoundError, match="did not complete"):
        registry.publish(federation.job, replace(result, status="failed"), base_name="paper")
