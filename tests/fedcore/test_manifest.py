import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fedcore.adapter import AdapterState
from fedcore.adapter_files import read_adapter, write_adapter
from fedcore.errors import TamperedRelease, TrustError
from fedcore.identity import SigningIdentity
from fedcore.manifest import MANIFEST, PrivacySpend, ReleaseManifest
from fedcore.privacy.accounting import DpEvent

SIGNER = SigningIdentity.generate()
EVENT = DpEvent(sampler="poisson", sampling_rate=0.1, noise_multiplier=1.0, steps=3, also=(("clip_count", 20.0),))


def spend(epsilon: float = 3.5) -> PrivacySpend:
    return PrivacySpend(
        institution="a",
        unit="patient",
        relation="add_or_remove_one",
        epsilon=epsilon,
        delta=1e-5,
        rounds=2,
        epsilon_job=epsilon,
        events=(),
        accountant="prv",
        noise_source="test",
        sampling_source="test",
    )


@pytest.fixture
def release(tmp_path: Path, state: AdapterState) -> Path:
    directory = tmp_path / "release"
    files = write_adapter(directory, state, "paper")
    ReleaseManifest(
        job_id="job",
        task="medicine.record",
        base_name="paper",
        base_digest=state.schema.base_digest,
        schema=state.schema,
        schema_digest=state.schema.digest,
        plan_digest="0" * 64,
        state_digest=state.digest,
        files=files,
        strategy="frozen_a",
        rounds=2,
        contributors={"a": 2},
        spends=(spend(),),
        unsafe=(),
        loss_base=2.0,
        loss_released=1.5,
        parent=None,
        code_version="0",
        created="2026-01-01T00:00:00Z",
    ).write(directory, SIGNER)
    return directory


def test_release_verifies_and_its_adapter_reads_back(release: Path, state: AdapterState) -> None:
    manifest = ReleaseManifest.verify(release, SIGNER.public)
    assert manifest.epsilon == 3.5
    assert read_adapter(release, manifest.schema).digest == state.digest == manifest.state_digest


def test_release_of_another_coordinator_is_refused(release: Path) -> None:
    with pytest.raises(TamperedRelease, match="does not verify"):
        ReleaseManifest.verify(release, SigningIdentity.generate().public)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", MANIFEST])
@pytest.mark.parametrize("position", [0, 100, -3])
def test_any_changed_byte_is_refused(release: Path, name: str, position: int) -> None:
    data = bytearray((release / name).read_bytes())
    data[position] ^= 1
    (release / name).write_bytes(data)
    with pytest.raises(TamperedRelease):
        ReleaseManifest.verify(release, SIGNER.public)


def test_added_file_in_a_folder_is_refused(release: Path) -> None:
    (release / "residual").mkdir()
    ReleaseManifest.verify(release, SIGNER.public)
    (release / "residual" / "adapter_model.safetensors").write_bytes(b"x")
    with pytest.raises(TamperedRelease, match="too many or too few: residual/adapter_model"):
        ReleaseManifest.verify(release, SIGNER.public)


def test_added_link_to_a_folder_is_refused(release: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (release / "residual").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TamperedRelease, match="too many or too few: residual"):
        ReleaseManifest.verify(release, SIGNER.public)


def test_added_file_is_refused(release: Path) -> None:
    (release / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(TamperedRelease, match="too many"):
        ReleaseManifest.verify(release, SIGNER.public)


def test_removed_file_is_refused(release: Path) -> None:
    (release / "adapter_config.json").unlink()
    with pytest.raises(TamperedRelease):
        ReleaseManifest.verify(release, SIGNER.public)


def test_missing_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TamperedRelease, match="cannot be read"):
        ReleaseManifest.verify(tmp_path / "none", SIGNER.public)


def test_moved_release_still_verifies(release: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(release, tmp_path / "elsewhere")
    assert ReleaseManifest.verify(moved, SIGNER.public).release_id.startswith("job-")


def test_peft_config_names_no_code(release: Path) -> None:
    config = json.loads((release / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert "auto_mapping" not in config


def test_infinite_epsilon_is_null_in_json_and_reads_back() -> None:
    value = spend(math.inf).to_dict()
    assert value["epsilon"] is None
    assert PrivacySpend.from_dict(value).epsilon == math.inf


def test_events_and_audit_read_back() -> None:
    stated = replace(spend(), events=(EVENT,), audited_epsilon=1.5, audit_confidence=0.95)
    assert PrivacySpend.from_dict(json.loads(json.dumps(stated.to_dict()))) == stated


def test_without_noise_there_is_no_audited_figure_to_send() -> None:
    value = replace(spend(math.inf), audited_epsilon=math.inf, audit_confidence=0.95).to_dict()
    json.dumps(value, allow_nan=False)
    assert (value["audited_epsilon"], value["audit_confidence"]) == (None, None)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {**spend().to_dict(), "epsilon": "x"},
        {**spend().to_dict(), "more": 1},
        {**spend().to_dict(), "institution": "x" * 500},
        {**spend().to_dict(), "noise_source": "\x1b[2J"},
        {**spend().to_dict(), "epsilon_job": -1.0},
        {**spend().to_dict(), "audited_epsilon": -1.0},
        {**spend().to_dict(), "audit_confidence": 1.5},
        {**spend().to_dict(), "delta": 0.0},
        {**spend().to_dict(), "delta": 1.0},
        {**spend().to_dict(), "rounds": -1},
        {**spend().to_dict(), "rounds": float("inf")},
        {**spend().to_dict(), "delta": 10**400},
        {**spend().to_dict(), "epsilon": 10**400},
        {**spend().to_dict(), "events": [{"sampler": "shuffled"}]},
        {
            **spend().to_dict(),
            "events": [{"sampler": "poisson", "sampling_rate": 2, "noise_multiplier": 1, "steps": 1}],
        },
    ],
)
def test_unreadable_spend_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(TrustError):
        PrivacySpend.from_dict(value)
