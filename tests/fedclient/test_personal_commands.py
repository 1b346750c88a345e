"""`concordat node personal`: an adapter of the release's shared parts and one's own, or a clear word why not."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

from domains.language import Base, collate
from domains.medicine import synthetic
from fedclient.personal import own_round
from fedclient.personal_commands import STATEMENT
from fedclient.settings import NodeSettings
from fedcore.adapter import AdapterSchema, AdapterState, FloatArray
from fedcore.adapter_files import read_adapter, write_adapter
from fedcore.enrolment import CoordinatorCard
from fedcore.errors import ConfigError, LedgerError, TamperedRelease
from fedcore.identity import SigningIdentity
from fedcore.manifest import ReleaseManifest
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import Optimiser, RoundPlan
from fedcore.wire import Envelope
from simulations.tiny import TARGETS, make_tiny_base
from tests.fedclient.test_commands import PRIVACY, call, value

COORDINATOR = SigningIdentity.generate()


@pytest.fixture(scope="module")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(Path(tmp_path_factory.mktemp("bases")) / "tiny", "llama")


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """An enrolled node."""
    records = tmp_path / "admissions.jsonl"
    records.write_text("".join(json.dumps(row) + "\n" for row in synthetic.records(synthetic.SITES[0], 3, 1)))
    path = tmp_path / "hospital-a"
    call("init", path, "--records", records, *PRIVACY, "--task", "medicine.record")
    card = CoordinatorCard(name="north", address="127.0.0.1:9092", ca_pem="", identity=COORDINATOR.public.key_hex)
    card.write(path / "coordinator.json")
    return path


@pytest.fixture(scope="module")
def state(base_path: Path) -> AdapterState:
    """Where the job stands: A is shared and has moved, B is where the plan has it."""
    base = Base.load(base_path, device="cpu")
    schema = AdapterSchema.for_base(base.card, rank=2, alpha=4, targets=TARGETS["llama"])
    moved = AdapterState.initial(schema, seed=7)
    return moved.replace({n: a + np.float32(0.1) for n, a in moved.part("lora_A").items()})


def kept_values(state: AdapterState, seed: int) -> dict[str, FloatArray]:
    numbers = np.random.default_rng(seed)
    return {n: numbers.normal(0, 0.2, a.shape).astype(np.float32) for n, a in state.part("lora_B").items()}


@pytest.fixture
def answer(node: Path, state: AdapterState, privacy: PrivacyPlan) -> Callable[..., dict[str, FloatArray]]:
    """Answer rounds of a job, as a session does; returns what the last of them left here."""

    def run(*rounds: int, signer: SigningIdentity = COORDINATOR, **changes: Any) -> dict[str, FloatArray]:
        ledger = NodeSettings.load(node).open_ledger()
        quiet = dataclasses.replace(privacy, noise_multiplier=8.0)
        fields: dict[str, Any] = {
            "job_id": "first",
            "rounds": 3,
            "task": "medicine.record",
            "schema": state.schema,
            "state_digest": state.digest,
            "seed": 7,
            "strategy": "fedsa",
            "trains": ("lora_A",),
            "carries": ("lora_A",),
            "keeps": ("lora_B",),
            "cohort": ("hospital-a",),
            "weight": 1.0,
            "quorum": 1,
            "deadline_s": 60.0,
            "max_tokens": 64,
            "optimiser": Optimiser(),
            "privacy": quiet,
        }
        left: dict[str, FloatArray] = {}
        for number in rounds:
            plan = RoundPlan(**{**fields, "round": number, **changes})
            key = signer.public.key_hex
            begun = AdapterState.initial(plan.schema, plan.seed)
            own = own_round(plan, begun, name="hospital-a", ledger=ledger, coordinator=key)
            left = kept_values(begun, number)
            own.options["keep"](left)
            reply = Envelope(kind="reply", header=b"h", signature=b"s")
            ledger.commit(ledger.reserve(plan, coordinator=key), reply, personal=own.change())
        ledger.close()
        return left

    return run


@pytest.fixture
def release(tmp_path: Path, state: AdapterState, base_path: Path) -> Callable[..., Path]:
    def make(job: str = "first", state: AdapterState = state, signer: SigningIdentity = COORDINATOR) -> Path:
        directory = tmp_path / f"release-{job}-{state.schema.rank}-{signer is COORDINATOR}"
        files = write_adapter(directory, state, "tiny")
        ReleaseManifest(
            job_id=job,
            task="medicine.record",
            base_name="tiny",
            base_digest=state.schema.base_digest,
            schema=state.schema,
            schema_digest=state.schema.digest,
            plan_digest="0" * 64,
            state_digest=state.digest,
            files=files,
            strategy="fedsa",
            rounds=3,
            contributors={"hospital-a": 2},
            spends=(),
            unsafe=(),
            loss_base=2.0,
            loss_released=1.5,
            parent=None,
            code_version="0",
            created="2026-01-01T00:00:00Z",
        ).write(directory, signer)
        return directory

    return make


def test_the_own_adapter_is_the_releases_a_with_the_b_that_stayed(
    node: Path, state: AdapterState, answer: Callable[..., Any], release: Callable[..., Path], tmp_path: Path
) -> None:
    left, out = answer(1, 3), tmp_path / "own"
    said = value("personal", "first", "--release", release(), "--out", out, "--dir", node)
    own = read_adapter(out, state.schema)
    assert own.digest == state.replace(left).digest
    assert (said["own_parts"], said["newest_round"], said["rounds"], said["out"]) == (["lora_B"], 3, 3, str(out))
    assert json.loads((out / STATEMENT).read_text()) == {n: v for n, v in said.items() if n != "out"}
    assert sorted(p.name for p in out.iterdir()) == ["adapter_config.json", "adapter_model.safetensors", STATEMENT]
    assert not list(tmp_path.glob(".own*"))


def test_it_loads_through_peft_and_computes_the_same(
    node: Path,
    state: AdapterState,
    base_path: Path,
    answer: Callable[..., Any],
    release: Callable[..., Path],
    tmp_path: Path,
) -> None:
    left, out = answer(2), tmp_path / "own"
    call("personal", "first", "--release", release(), "--out", out, "--dir", node)
    base = Base.load(base_path, device="cpu")
    batch = collate([base.encode("Facts: a", "Note: b", 32)])
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    plain = transformers.AutoModelForCausalLM.from_pretrained(base_path, dtype=torch.float32)
    with torch.no_grad():
        shared = base.adapt(state.schema, ())
        shared.load(state)
        before = base.model(**inputs).logits
        shared.load(state.replace(left))
        ours = base.model(**inputs).logits
        theirs = peft.PeftModel.from_pretrained(plain, out).eval()(**inputs).logits
    assert (ours - before).abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_people_read_whose_it_is(
    node: Path, answer: Callable[..., Any], release: Callable[..., Path], tmp_path: Path
) -> None:
    answer(2)
    words = call("personal", "first", "--release", release(), "--out", tmp_path / "own", "--dir", node)
    assert "your own lora_B after round 2 of 3" in words
    assert "yours alone" in words


def test_a_release_that_does_not_verify_is_refused_and_nothing_is_written(
    node: Path, answer: Callable[..., Any], release: Callable[..., Path], tmp_path: Path
) -> None:
    answer(1)
    forged = release(signer=SigningIdentity.generate())
    with pytest.raises(TamperedRelease):
        call("personal", "first", "--release", forged, "--out", tmp_path / "own", "--dir", node)
    changed = release()
    (changed / "adapter_config.json").write_text("{}")
    with pytest.raises(TamperedRelease):
        call("personal", "first", "--release", changed, "--out", tmp_path / "own", "--dir", node)
    assert not (tmp_path / "own").exists()


def test_what_is_not_there_is_said(
    node: Path, base_path: Path, answer: Callable[..., Any], release: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "own"

    def refused(job: str, directory: Path) -> str:
        with pytest.raises(ConfigError) as error:
            call("personal", job, "--release", directory, "--out", out, "--dir", node)
        assert not out.exists()
        return str(error.value)

    assert "none so far" in refused("first", release())  # Before the node ever ran.
    answer(1, job_id="second")
    answer(1, signer=SigningIdentity.generate())  # Of another coordinator, by the same name.
    assert "nothing of the job first is kept here" in refused("first", release())
    assert "second" in refused("first", release())
    assert "of another job" in refused("second", release())
    wide = AdapterSchema.for_base(Base.load(base_path, device="cpu").card, rank=3, alpha=4, targets=("q_proj",))
    answer(1, schema=wide)
    assert "another adapter" in refused("first", release())
    (node / "coordinator.json").unlink()
    assert "no coordinator is pinned" in refused("first", release())


def test_a_part_that_was_changed_is_not_written(
    node: Path, answer: Callable[..., Any], release: Callable[..., Path], tmp_path: Path
) -> None:
    answer(1, 2)
    ledger = NodeSettings.load(node).open_ledger()
    ledger._chain.db.execute("UPDATE personal SET after = before")
    ledger.close()
    with pytest.raises(LedgerError, match="personal part"):
        call("personal", "first", "--release", release(), "--out", tmp_path / "own", "--dir", node)


def test_nothing_is_overwritten(
    node: Path, answer: Callable[..., Any], release: Callable[..., Path], tmp_path: Path
) -> None:
    answer(1)
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        call("personal", "first", "--release", release(), "--out", out, "--dir", node)
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]
    (out / "thesis.tex").unlink()
    call("personal", "first", "--release", release(), "--out", out, "--dir", node)
    assert (out / STATEMENT).exists()
