"""`concordat generate` loads nothing unverified; `concordat release` verifies offline and says what it finds."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from domains import bases
from domains.commands import generate, load_release, pinned_key, release
from domains.language import Base, set_threads
from domains.medicine.synthetic import records
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.adapter_files import CONFIG, WEIGHTS, write_adapter
from fedcore.adapter_forms import plain
from fedcore.enrolment import CoordinatorCard
from fedcore.errors import BaseMismatch, ConfigError, ModelError, NotFhirR4, RecordError, TamperedRelease, TrustError
from fedcore.identity import SigningIdentity
from fedcore.manifest import PrivacySpend, ReleaseManifest
from simulations.tiny import make_tiny_base

SIGNER = SigningIdentity.generate()
FORMS = ("core", "residual_A", "residual_B")
OTHER_FORMS = pytest.mark.parametrize(
    "form", [{"form": "core"}, {"residual_rank": 6}, {"form": "core", "residual_rank": 4}]
)
ROW = next(records("riverside", 1, seed=3))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("base") / "llama", "llama")


@pytest.fixture
def make_release(tmp_path: Path, llama: Path) -> Callable[..., Path]:
    """A signed release on the tiny base; any field of its manifest can be overridden."""

    def make(
        name: str = "release",
        epsilon: float = 2.5,
        scale: float = 0.0,
        form: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Path:
        card = bases.read_card(bases.add(str(llama), tmp_path / "store", name="mine"))
        assert card is not None
        schema = AdapterSchema.for_base(card, rank=2, alpha=4, targets=("q_proj",), **(form or {}))
        state = AdapterState.initial(schema, seed=1)
        state = state.replace({n: np.full_like(a, scale) for n, a in state.part("lora_B").items()})
        state = state.replace(
            {n: np.sin(np.arange(a.size, dtype=np.float32)).reshape(a.shape) * 3 for n, a in state.part(*FORMS).items()}
        )
        spend = PrivacySpend(
            institution="st-anne",
            unit="patient",
            relation="add",
            epsilon=epsilon,
            delta=1e-5,
            rounds=2,
            epsilon_job=epsilon,
            events=(),
            accountant="prv",
            noise_source="test",
            sampling_source="test",
        )
        fields: dict[str, Any] = {
            "job_id": "demo",
            "task": "medicine.record",
            "base_name": str(llama),
            "base_digest": card.digest,
            "schema": state.schema,
            "schema_digest": state.schema.digest,
            "plan_digest": "0" * 64,
            "state_digest": state.digest,
            "files": write_adapter(tmp_path / name, state, "mine"),
            "strategy": "frozen_a",
            "rounds": 2,
            "contributors": {"st-anne": 2},
            "spends": (spend,),
            "unsafe": (),
            "loss_base": 2.0,
            "loss_released": 1.5,
            "parent": None,
            "code_version": "0",
            "created": "2026-01-01T00:00:00Z",
        }
        ReleaseManifest(**(fields | changes)).write(tmp_path / name, SIGNER)
        return tmp_path / name

    return make


@pytest.fixture(autouse=True)
def one_thread() -> None:
    set_threads(1)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(ROW["bundle"]))
    return path


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., Result]:
    def run(app: Any, *arguments: object) -> Result:
        short = ("--max-new-tokens", 8) if app is generate else ()
        result = CliRunner().invoke(
            app, list(map(str, (*arguments, *short))), env={"CONCORDAT_CACHE": str(tmp_path / "store")}
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_a_document_from_a_release_is_complete_and_stamped(
    call: Callable[..., Result], make_release: Callable[..., Path], bundle: Path
) -> None:
    directory = make_release()
    result = call(
        generate, "medicine.record", "--input", bundle, "--release", directory, "--key", SIGNER.public.key_hex, "--json"
    )
    value = json.loads(result.stdout)
    manifest = ReleaseManifest.verify(directory, SIGNER.public)
    assert value["checks"]["untraced"] == 0
    assert value["checks"]["figures"] > 0
    assert value["stamp"]["release"] == manifest.release_id
    assert value["stamp"]["base_digest"] == manifest.base_digest
    assert (value["stamp"]["epsilon"], value["stamp"]["delta"]) == (2.5, 1e-5)
    assert {t["path"] for s in value["sentences"] for t in s["trace"]}


def test_without_a_release_the_stamp_says_base_alone(call: Callable[..., Result], llama: Path, bundle: Path) -> None:
    value = json.loads(call(generate, "medicine.record", "--input", bundle, "--base", llama, "--json").stdout)
    assert value["stamp"]["release"] is None
    assert value["stamp"]["epsilon"] is None
    assert value["stamp"]["model"] == "base model alone"


def test_standard_output_for_people_is_the_document(call: Callable[..., Result], llama: Path, bundle: Path) -> None:
    result = call(generate, "medicine.record", "--input", bundle, "--base", llama, "--out", bundle.with_name("out.txt"))
    assert "untraced" not in result.stdout
    assert "0 untraced" in result.stderr
    assert bundle.with_name("out.txt").read_text().strip()


def test_an_unsafe_release_says_so_in_the_stamp(
    call: Callable[..., Result], make_release: Callable[..., Path], bundle: Path
) -> None:
    directory = make_release(epsilon=math.inf, unsafe=("UnsafeNoNoise",))
    result = call(
        generate, "medicine.record", "--input", bundle, "--release", directory, "--key", SIGNER.public.key_hex, "--json"
    )
    assert json.loads(result.stdout)["stamp"]["unsafe"] == ["UnsafeNoNoise"]
    assert json.loads(result.stdout)["stamp"]["epsilon"] is None


def test_a_changed_adapter_is_refused(
    call: Callable[..., Result], make_release: Callable[..., Path], bundle: Path
) -> None:
    directory = make_release()
    data = bytearray((directory / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (directory / WEIGHTS).write_bytes(data)
    with pytest.raises(TamperedRelease):
        call(generate, "medicine.record", "--input", bundle, "--release", directory, "--key", SIGNER.public.key_hex)


def test_a_release_of_another_signer_is_refused(make_release: Callable[..., Path]) -> None:
    with pytest.raises(TamperedRelease):
        load_release(make_release(), SigningIdentity.generate().public.key_hex)


def test_a_signed_manifest_that_contradicts_its_files_is_refused(make_release: Callable[..., Path]) -> None:
    with pytest.raises(TamperedRelease, match="contradicts"):
        load_release(make_release(state_digest="1" * 64), SIGNER.public.key_hex)


def test_a_release_without_a_key_is_refused(make_release: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="--key"):
        load_release(make_release(), None)


def test_a_base_of_another_digest_is_refused(
    call: Callable[..., Result], make_release: Callable[..., Path], bundle: Path, tmp_path: Path
) -> None:
    other = make_tiny_base(tmp_path / "other", "llama", seed=9)
    arguments = ("--input", bundle, "--release", make_release(), "--key", SIGNER.public.key_hex, "--base", other)
    with pytest.raises(BaseMismatch):
        call(generate, "medicine.record", *arguments)


def test_a_release_for_another_task_is_refused(
    call: Callable[..., Result], make_release: Callable[..., Path], bundle: Path
) -> None:
    directory = make_release(task="finance.report")
    with pytest.raises(ConfigError, match="another task"):
        call(generate, "medicine.record", "--input", bundle, "--release", directory, "--key", SIGNER.public.key_hex)


@pytest.mark.parametrize(
    ("content", "error"),
    [('{"secret": ', RecordError), ('{"resourceType": "Practitioner"}', NotFhirR4), ("[]", NotFhirR4), ('"x"', NotFhirR4)],
)
def test_bad_input_is_one_line_without_content(
    call: Callable[..., Result], bundle: Path, content: str, error: type[Exception]
) -> None:
    bundle.write_text(content)
    with pytest.raises(error) as raised:
        call(generate, "medicine.record", "--input", bundle, "--base", "nowhere")
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None or "secret" not in str(raised.value.__cause__)


def test_missing_input_and_missing_base_are_named(call: Callable[..., Result], bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        call(generate, "medicine.record", "--input", tmp_path / "none.json")
    with pytest.raises(ModelError):
        call(generate, "medicine.record", "--input", bundle, "--base", tmp_path / "none")


def test_verify_and_show_report_the_release(
    call: Callable[..., Result], make_release: Callable[..., Path], tmp_path: Path
) -> None:
    directory = make_release()
    card = CoordinatorCard(name="c", address="127.0.0.1:1", ca_pem="", identity=SIGNER.public.key_hex)
    card.write(tmp_path / "coordinator.json")
    verified = json.loads(call(release, "verify", directory, "--key", tmp_path / "coordinator.json", "--json").stdout)
    assert verified["verified"] is True
    assert verified["institutions"][0]["epsilon"] == 2.5
    shown = json.loads(call(release, "show", directory, "--json").stdout)
    assert shown["verified"] is False
    assert shown["release"] == verified["release"]
    assert "NOT VERIFIED" in call(release, "show", directory).stdout
    assert ": verified" in call(release, "verify", directory, "--key", SIGNER.public.key_hex).stdout


def test_a_release_of_shared_noise_says_what_its_figures_assume(
    call: Callable[..., Result], make_release: Callable[..., Path]
) -> None:
    plain = ReleaseManifest.verify(make_release(), SIGNER.public)
    assert "assumes" not in call(release, "show", make_release("again")).stdout
    stated = replace(plain.spends[0], mechanism="discrete_gaussian", honest_minimum=3)
    directory = make_release("shared", spends=(stated,))
    assert ReleaseManifest.verify(directory, SIGNER.public).spends == (stated,)
    assert "assumes 3 or more honest institutions in every sum" in call(release, "show", directory).stdout
    assert json.loads(call(release, "show", directory, "--json").stdout)["institutions"][0]["honest_minimum"] == 3


def test_show_does_not_trip_over_a_broken_manifest(call: Callable[..., Result], tmp_path: Path) -> None:
    for content in ("", "[]", "{}", '{"spends": 1}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(TamperedRelease):
            call(release, "show", tmp_path)


def test_a_key_is_a_card_or_hexadecimal(tmp_path: Path) -> None:
    assert pinned_key(SIGNER.public.key_hex.upper()) == SIGNER.public
    with pytest.raises(ConfigError):
        pinned_key(str(tmp_path / "none.json"))
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises((ConfigError, TrustError)):
        pinned_key(str(tmp_path / "card.json"))


def logits(model: Any) -> Any:
    """Of a made-up sequence."""
    import torch

    with torch.no_grad():
        return model(input_ids=torch.arange(3, 15)[None]).logits


@OTHER_FORMS
def test_a_release_of_another_form_loads_as_it_was_trained_and_writes(
    call: Callable[..., Result], make_release: Callable[..., Path], llama: Path, bundle: Path, form: dict[str, Any]
) -> None:
    directory = make_release(form=form, scale=0.5)
    key = SIGNER.public.key_hex
    assert json.loads(call(release, "verify", directory, "--key", key, "--json").stdout)["verified"]
    manifest, state = load_release(directory, key)
    assert state.digest == manifest.state_digest
    assert state.part(*FORMS)
    value = json.loads(
        call(generate, "medicine.record", "--input", bundle, "--release", directory, "--key", key, "--json").stdout
    )
    assert value["stamp"]["release"] == manifest.release_id
    base = Base.load(llama, device="cpu")
    alone = logits(base.model)
    base.adapt(state.schema, ()).load(state)
    trained = logits(base.model)
    assert float((trained - alone).abs().max()) > 1e-3
    gained = plain(state)
    base.adapt(gained.schema, ()).load(gained)
    assert float((trained - logits(base.model)).abs().max()) <= 1e-5


@OTHER_FORMS
def test_joined_a_release_is_one_adapter_that_peft_loads_alone(
    call: Callable[..., Result], make_release: Callable[..., Path], llama: Path, tmp_path: Path, form: dict[str, Any]
) -> None:
    import peft
    import transformers

    directory, out = make_release(form=form, scale=0.5), tmp_path / "one"
    key = SIGNER.public.key_hex
    value = json.loads(call(release, "join", directory, "--key", key, "--out", out, "--json").stdout)
    assert {p.name for p in out.iterdir()} == {WEIGHTS, CONFIG}
    assert value["rank"] == 2 + form.get("residual_rank", 0)
    state = load_release(directory, key)[1]
    base = Base.load(llama, device="cpu")
    base.adapt(state.schema, ()).load(state)
    fresh: Any = transformers.AutoModelForCausalLM.from_pretrained(llama)
    theirs = logits(peft.PeftModel.from_pretrained(fresh, out).eval())
    assert float((theirs - logits(base.model)).abs().max()) <= 1e-5
    with pytest.raises(ConfigError, match="exists already"):
        call(release, "join", directory, "--key", key, "--out", out)


def test_a_release_that_does_not_verify_is_not_joined(
    call: Callable[..., Result], make_release: Callable[..., Path], tmp_path: Path
) -> None:
    directory = make_release(form={"residual_rank": 4})
    path = directory / "residual" / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    for command in (("verify",), ("join", "--out", tmp_path / "one")):
        with pytest.raises(TamperedRelease, match="residual/adapter_model"):
            call(release, command[0], directory, "--key", SIGNER.public.key_hex, *command[1:])
    assert not (tmp_path / "one").exists()


def test_a_release_without_its_second_adapter_does_not_verify(make_release: Callable[..., Path]) -> None:
    directory = make_release(form={"residual_rank": 4})
    shutil.rmtree(directory / "residual")
    with pytest.raises(TamperedRelease, match="too few: residual"):
        load_release(directory, SIGNER.public.key_hex)
