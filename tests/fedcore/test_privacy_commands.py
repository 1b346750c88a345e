"""`concordat privacy`: plans before anything is spent, explains, and verifies certificates offline."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.adapter_files import write_adapter
from fedcore.certificate import CERTIFICATE, Attestation, Certificate
from fedcore.enrolment import CoordinatorCard, EnrolmentRequest
from fedcore.errors import ConfigError, InvalidPlan, NoPrivacyUnit, TamperedRelease, TrustError
from fedcore.identity import SigningIdentity
from fedcore.manifest import PrivacySpend, ReleaseManifest, file_digest
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.privacy_commands import privacy
from fedcore.round import JobPlan, Optimiser, RoundPlan
from fedcore.wire import seal_reply
from simulations.measured import form, kept

CONCORDAT = Path(sys.executable).parent / "concordat"
COORDINATOR, INSTITUTION = SigningIdentity.generate(), SigningIdentity.generate()
JOB = ("--unit", "patient", "--units", 2000, "--batch", 16, "--steps-per-round", 4, "--delta", 1e-5)


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(privacy, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def value_of(*arguments: object) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(call(*arguments, "--json").stdout)
    return value


def plan_of(noise: float, rate: float, relation: Any = "add_or_remove_one") -> PrivacyPlan:
    return PrivacyPlan(
        unit=PrivacyUnit(key="patient", relation=relation),
        sampling_rate=rate,
        steps_per_round=4,
        expected_batch_units=rate * 2000,
        examples_per_unit=1,
        clip_norm_l2=1.0,
        noise_multiplier=noise,
        delta=1e-5,
    )


# plan -----------------------------------------------------------------------------------------------------


def test_plan_finds_the_noise_that_a_job_would_get() -> None:
    value = value_of("plan", 8, *JOB, "--rounds", 2, "--parameters", 100_000, "--institutions", 3)
    assert [row["epsilon"] for row in value["rows"]] == [8]
    for row in value["rows"]:
        plan = plan_of(row["noise_multiplier"], row["sampling_rate"])
        assert row["epsilon_spent"] == pytest.approx(plan.epsilon(2))
        assert 0.97 * row["epsilon"] <= row["epsilon_spent"] <= row["epsilon"]
        seen = plan.forecast(rounds=2, parameters=100_000, institutions=3, units=2000)
        assert row["noise_to_signal"] == pytest.approx(seen.noise_to_signal)
        assert row["gain_expected"] is (row["noise_to_signal"] <= 3)
        assert row["units_needed"] == seen.units_needed
    assert value["unit_words"] == "one patient (all of its records), added or removed"
    assert (value["unit"], value["relation"], value["delta"]) == ("patient", "add_or_remove_one", 1e-5)


def test_epsilons_may_be_given_in_each_way_that_people_type() -> None:
    whole = ("--unit", "patient", "--units", 2000, "--sampling-rate", 1, "--steps-per-round", 1, "--delta", 1e-5)
    for given in (("--epsilon", "8,2"), ("--epsilon", 2, "--epsilon", 8), ("--epsilon", 2, 8), (8, 2, 2)):
        rows = value_of("plan", *given, *whole, "--rounds", 1)["rows"]
        assert [row["epsilon"] for row in rows] == [2, 8], given


def test_given_noise_it_finds_epsilon_over_rounds() -> None:
    value = value_of("plan", *JOB, "--rounds", 8, "--noise", 0.8)
    assert [row["rounds"] for row in value["rows"]] == [1, 2, 4, 8, 16, 32]
    for row in value["rows"]:
        assert row["epsilon"] == row["epsilon_spent"] == pytest.approx(plan_of(0.8, 0.008).epsilon(row["rounds"]))


def test_it_finds_the_most_rounds_and_no_more() -> None:
    row = value_of("plan", 2, *JOB, "--noise", 0.8, "--find", "rounds")["rows"][0]
    plan = plan_of(0.8, 0.008)
    assert row["rounds"] == plan.most_rounds(2.0) > 10
    assert plan.epsilon(row["rounds"]) <= 2.0 < plan.epsilon(row["rounds"] + 2)


@pytest.mark.slow
def test_it_finds_the_largest_rate() -> None:
    asked = ("--unit", "patient", "--units", 2000, "--steps-per-round", 4, "--delta", 1e-5, "--rounds", 2)
    row = value_of("plan", 2, *asked, "--noise", 0.8, "--find", "rate")["rows"][0]
    assert row["batch_units"] == pytest.approx(2000 * row["sampling_rate"])
    assert 0.97 * 2 <= plan_of(0.8, row["sampling_rate"]).epsilon(2) <= 2


def test_another_relation_is_accounted_for_and_named() -> None:
    arguments = ("plan", *JOB, "--rounds", 8, "--noise", 0.8, "--relation", "replace_one")
    value = value_of(*arguments)
    added = value_of("plan", *JOB, "--rounds", 8, "--noise", 0.8)
    assert value["relation"] == "replace_one"
    assert all(a["epsilon"] > b["epsilon"] for a, b in zip(value["rows"], added["rows"], strict=True))
    assert value["rows"][3]["epsilon"] == pytest.approx(plan_of(0.8, 0.008, "replace_one").epsilon(8))
    assert "replaced by another" in call(*arguments).stdout


def test_truncated_sampling_is_accounted_for() -> None:
    truncated = ("--sampler", "truncated_poisson", "--batch-limit", 64, "--largest-units", 2500)
    value = value_of("plan", *JOB, "--rounds", 1, "--noise", 0.8, *truncated)
    plan = replace(plan_of(0.8, 0.008), sampler="truncated_poisson", batch_limit=64, largest_units=2500)
    assert value["sampler"] == "truncated_poisson"
    assert value["rows"][0]["epsilon_spent"] == pytest.approx(plan.epsilon(1))
    assert plan.epsilon(1) >= plan_of(0.8, 0.008).epsilon(1) * (1 - 1e-9)


JOINT = ("--unit", "patient", "--units", 2000, "--batch", 16, "--steps-per-round", 1, "--delta", 1e-5)


def test_shared_noise_costs_the_same_epsilon_and_leaves_less_noise_in_the_mean() -> None:
    shape = ("plan", *JOINT, "--rounds", 8, "--noise", 0.8, "--institutions", 4, "--parameters", 1000)
    alone, shared = value_of(*shape), value_of(*shape, "--honest-minimum", 4)
    assert (alone["honest_minimum"], alone["assumes"]) == (None, None)
    assert shared["honest_minimum"] == 4
    assert "4 or more institutions" in shared["assumes"]
    for one, other in zip(alone["rows"], shared["rows"], strict=True):
        assert one["epsilon"] == other["epsilon"]
        assert other["noise_to_signal"] == pytest.approx(one["noise_to_signal"] / 2)
    shown = " ".join(call(*shape, "--honest-minimum", 4).stdout.split())
    assert "noise shared by 4 or more" in shown
    assert "4 or more institutions, this one among them, neither" in shown
    found = value_of("plan", 8, *JOINT, "--rounds", 2, "--institutions", 4, "--honest-minimum", 3)["rows"][0]
    assert found["noise_multiplier"] == value_of("plan", 8, *JOINT, "--rounds", 2)["rows"][0]["noise_multiplier"]


def test_what_shared_noise_cannot_be_is_refused() -> None:
    few = ("plan", *JOINT, "--rounds", 2, "--institutions", 2, "--honest-minimum", 3)
    with pytest.raises(ConfigError, match="fewer institutions"):
        call(*few)
    with pytest.raises(InvalidPlan, match="steps_per_round"):
        call("plan", *JOB, "--rounds", 2, "--institutions", 4, "--honest-minimum", 3)
    truncated = ("--sampler", "truncated_poisson", "--batch-limit", 64, "--largest-units", 2500)
    with pytest.raises(InvalidPlan, match="sampler"):
        call("plan", *JOINT, "--rounds", 2, "--institutions", 4, "--honest-minimum", 3, *truncated)
    with pytest.raises(InvalidPlan, match="honest_minimum"):
        call("plan", *JOINT, "--rounds", 2, "--institutions", 4, "--honest-minimum", 0)


def test_an_epsilon_out_of_reach_is_a_line_with_its_reason_and_the_others_stand() -> None:
    whole = ("--unit", "patient", "--units", 2000, "--sampling-rate", 1, "--steps-per-round", 4, "--delta", 1e-5)
    value = value_of("plan", 1e-4, 8, *whole, "--rounds", 2)
    assert "cannot be reached" in value["rows"][0]["reason"]
    assert value["rows"][0]["noise_multiplier"] is None
    assert value["rows"][1]["noise_multiplier"] > 0
    row = value_of("plan", 0.001, *JOB, "--noise", 0.3, "--find", "rounds")["rows"][0]
    assert (row["rounds"], row["reason"]) == (0, "one round costs more")


def test_plan_for_people_names_unit_relation_and_delta_and_draws(tmp_path: Path) -> None:
    result = call("plan", *JOB, "--rounds", 2, "--noise", 0.8, "--plot", tmp_path / "trade.svg")
    assert "one patient (all of its records), added or removed, at delta 1e-05" in " ".join(result.stdout.split())
    assert any("\u2800" < letter <= "\u28ff" for letter in result.stdout)
    assert "<svg" in (tmp_path / "trade.svg").read_text()
    assert "--parameters" in result.stdout


def test_a_delta_that_allows_to_publish_a_unit_is_warned_of() -> None:
    loose = ("--unit", "patient", "--units", 2000, "--batch", 16, "--steps-per-round", 4, "--delta", 1e-3)
    assert "1 in 2,000 units" in value_of("plan", *loose, "--rounds", 1, "--noise", 2)["warnings"][0]
    assert value_of("plan", *JOB, "--rounds", 1, "--noise", 2)["warnings"] == []


@pytest.mark.parametrize("missing", ["--unit", "--units", "--delta", "--steps-per-round", "--rounds", "--batch"])
def test_no_privacy_setting_has_a_default(missing: str) -> None:
    given = [*JOB, "--rounds", 2]
    place = given.index(missing)
    with pytest.raises(ConfigError, match=f"no defaults: {missing}.* must be given"):
        call("plan", *given[:place], *given[place + 2 :])


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (("--sampling-rate", 0.1), ConfigError),
        (("--find", "clip"), ConfigError),
        (("--relation", "none"), ConfigError),
        (("--units", 0), ConfigError),
        (("--units", -5), ConfigError),
        (("--rounds", 0), ConfigError),
        (("--delta", 0), InvalidPlan),
        (("--delta", 2), InvalidPlan),
        (("--delta", "nan"), InvalidPlan),
        (("--batch", 4000), InvalidPlan),
        (("--batch", 0), InvalidPlan),
        (("--clip", 0), InvalidPlan),
        (("--unit", " "), NoPrivacyUnit),
        (("--epsilon", "x"), ConfigError),
        (("--epsilon", "-1"), ConfigError),
        (("--epsilon", "nan"), ConfigError),
        (("--find", "rounds"), ConfigError),
        (("--find", "rate"), ConfigError),
        (("--find", "noise", "--noise", 1), ConfigError),
        (("--noise", 1, "--epsilon", 4), ConfigError),
        (("--noise", 0), InvalidPlan),
        (("--sampler", "shuffled"), InvalidPlan),
        (("--sampler", "truncated_poisson"), InvalidPlan),
        (("--plot", "trade.gif"), ConfigError),
        (("--plot", "no-such-folder/trade.png"), ConfigError),
        (("--parameters", 0), ConfigError),
    ],
    ids=lambda v: " ".join(map(str, v)) if isinstance(v, tuple) else "",
)
def test_what_cannot_be_planned_is_refused(more: tuple[object, ...], error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        call("plan", *JOB, "--rounds", 2, *more)
    assert "\n" not in str(raised.value)


# explain --------------------------------------------------------------------------------------------------


def test_explain_in_two_languages_with_the_same_figures() -> None:
    english, chinese = (value_of("explain", 2, "--delta", 1e-5, "--lang", lang) for lang in ("en", "zh"))
    figures = ("epsilon", "delta", "prior", "unit", "relation", "success", "belief_high", "belief_low", "hit_rates")
    assert {k: english[k] for k in figures} == {k: chinese[k] for k in figures}
    assert "患者" in call("explain", 2, 1e-5, "--lang", "zh").stdout
    spoken = call("explain", 2, 1e-5, "--prior", 0.1, "--relation", "replace_one").stdout
    assert "replaced by another" in spoken
    assert "10%" in spoken
    assert "What it does not mean" in spoken


def test_explain_says_what_shared_noise_assumes() -> None:
    assert value_of("explain", 2, 1e-5)["assumes"] is None
    value = value_of("explain", 2, 1e-5, "--honest-minimum", 3)
    assert value["assumes"] in call("explain", 2, 1e-5, "--honest-minimum", 3).stdout
    assert "至少有 3 家机构" in call("explain", 2, 1e-5, "--honest-minimum", 3, "--lang", "zh").stdout
    with pytest.raises(ConfigError, match="honest minimum"):
        call("explain", 2, 1e-5, "--honest-minimum", 0)


def test_explain_infinite_is_null_in_json() -> None:
    value = value_of("explain", "inf", 1e-5)
    assert (value["epsilon"], value["odds_factor"], value["success"]) == (None, None, 1.0)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("8",), ("8", "1e-5", "--delta", "1e-5"), ("8", "1e-5", "--lang", "de"), ("8", "1e-5", "--prior", "0")),
        *(("8", "2"), ("nan", "1e-5"), ("8", "1e-5", "--relation", "x")),
    ],
)
def test_explain_refuses_what_it_cannot_explain(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        call("explain", *arguments)


# certificate ----------------------------------------------------------------------------------------------


@pytest.fixture
def release(
    tmp_path: Path,
    schema: AdapterSchema,
    state: AdapterState,
    privacy: PrivacyPlan,
    make_plan: Callable[..., RoundPlan],
) -> Path:
    """A release of one round by one institution, which attests what it states."""
    asked = {"rounds": 1, "seed": 7, "quorum": 1, "deadline_s": 60.0, "max_tokens": 64, "optimiser": Optimiser()}
    job = JobPlan(
        job_id="job",
        task="medicine.record",
        schema=schema,
        strategy="frozen_a",
        privacy=privacy,
        **asked,  # type: ignore[arg-type]
    )
    spend = PrivacySpend(
        institution="st-anne",
        unit="patient",
        relation="add_or_remove_one",
        epsilon=3.0,
        delta=1e-5,
        rounds=1,
        epsilon_job=privacy.epsilon(1),
        events=(privacy.event(1),),
        accountant="an accountant",
        noise_source="a source",
        sampling_source="a source",
        audited_epsilon=0.1,
        audit_confidence=0.95,
    )
    plan = make_plan(rounds=1)
    reply = seal_reply(plan, "st-anne", {}, spend.to_dict(), INSTITUTION, ledger="ab" * 32, dataset="cd" * 32)
    shared = {
        "base_name": "paper",
        "state_digest": state.digest,
        "contributors": {"st-anne": 1},
        "spends": (spend,),
        "unsafe": (),
        "code_version": "0",
        "created": "2026-01-01T00:00:00+00:00",
    }
    attestations = (Attestation.of("st-anne", INSTITUTION.public, reply),)
    certificate = Certificate.make(job, coordinator=COORDINATOR.public, attestations=attestations, **shared)  # type: ignore[arg-type]
    directory = tmp_path / "release"
    files = write_adapter(directory, state, "paper")
    (directory / CERTIFICATE).write_bytes(certificate.seal(COORDINATOR))
    ReleaseManifest(
        **shared,  # type: ignore[arg-type]
        job_id="job",
        task="medicine.record",
        base_digest=schema.base_digest,
        schema=schema,
        schema_digest=schema.digest,
        plan_digest=job.digest,
        files={**files, CERTIFICATE: file_digest(directory / CERTIFICATE)},
        strategy="frozen_a",
        rounds=1,
        loss_base=None,
        loss_released=None,
        parent=None,
    ).write(directory, COORDINATOR)
    return directory


KEY = COORDINATOR.public.key_hex


def test_certificate_of_a_release_is_verified_and_exported(release: Path, tmp_path: Path, privacy: PrivacyPlan) -> None:
    CoordinatorCard(name="c", address="a:1", ca_pem="", identity=KEY).write(tmp_path / "coordinator.json")
    out, pdf = tmp_path / "signed.json", tmp_path / "page.pdf"
    value = value_of("certificate", release, "--key", tmp_path / "coordinator.json", "--out", out, "--pdf", pdf)
    assert value["verified"] is True
    assert (value["json"], value["pdf"]) == (str(out), str(pdf))
    assert value["release"].startswith("job-")
    assert (value["unit"], value["relation"], value["delta"]) == ("patient", "add_or_remove_one", 1e-5)
    assert (value["epsilon"], value["unattested"]) == (3.0, [])
    (row,) = value["institutions"]
    assert row["epsilon_job"] == row["epsilon_recomputed"] == privacy.epsilon(1)
    assert (row["audited_epsilon"], row["attested"]) == (0.1, True)
    assert row["identity"] == INSTITUTION.public.fingerprint
    assert value["coordinator"] == COORDINATOR.public.fingerprint
    assert value["state_digest"] == value_of("certificate", release, "--coordinator", KEY)["state_digest"]
    assert pdf.read_bytes().startswith(b"%PDF")
    assert out.read_bytes() == (release / CERTIFICATE).read_bytes()
    assert form(value_of("certificate", release, "--key", KEY)) == form(kept("certificate"))


def test_an_exported_certificate_verifies_by_itself(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "signed.json"
    whole = value_of("certificate", release, "--key", KEY, "--out", out)
    alone = value_of("certificate", out, "--key", KEY)
    differs = {k for k in whole if whole[k] != alone[k]}
    assert differs == {"release", "json"}
    assert alone["verified"] is True


def test_without_a_key_it_says_so_and_exports_nothing(release: Path, tmp_path: Path) -> None:
    assert value_of("certificate", release)["verified"] is False
    assert "NOT VERIFIED" in call("certificate", release).stdout
    for option in ("--out", "--pdf"):
        with pytest.raises(ConfigError, match="--key"):
            call("certificate", release, option, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_people_read_both_bounds_in_both_languages(release: Path, privacy: PrivacyPlan) -> None:
    for lang, words in (("en", ("lower bound", "added or removed")), ("zh", ("下界", "加入或移除"))):
        shown = "".join(call("certificate", release, "--key", KEY, "--lang", lang).stdout.split())
        assert all("".join(w.split()) in shown for w in words)
        assert f"{privacy.epsilon(1):.3f}" in shown
        assert "0.100" in shown


def test_a_pinned_institution_must_have_signed_with_its_own_key(release: Path, tmp_path: Path) -> None:
    def request(name: str, signer: SigningIdentity) -> Path:
        path = tmp_path / f"{name}-{signer.public.fingerprint}.json"
        EnrolmentRequest.make(name, signer, FLOWER_KEY).write(path)
        return path

    good = request("st-anne", INSTITUTION)
    assert value_of("certificate", release, "--key", KEY, "--institution", good)["verified"] is True
    for name, signer in (("st-anne", SigningIdentity.generate()), ("riverside", INSTITUTION)):
        with pytest.raises(TamperedRelease, match="signed with the key"):
            call("certificate", release, "--key", KEY, "--institution", request(name, signer))


def flower_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.PEM, form).decode()


FLOWER_KEY = flower_key()


def test_a_tampered_certificate_ends_with_exit_code_7(release: Path, tmp_path: Path) -> None:
    exported = tmp_path / "signed.json"
    text = (release / CERTIFICATE).read_text()
    exported.write_text(text.replace('"epsilon": 3.0', '"epsilon": 1.0'))
    assert exported.read_text() != text
    done = subprocess.run(
        [CONCORDAT, "privacy", "certificate", exported, "--key", KEY, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr.startswith("error: the certificate does not verify")


def test_a_tampered_release_is_refused_with_and_without_a_key(release: Path) -> None:
    text = (release / CERTIFICATE).read_text()
    (release / CERTIFICATE).write_text(text.replace('"epsilon": 3.0', '"epsilon": 1.0'))
    for key in ((), ("--key", KEY)):
        with pytest.raises(TamperedRelease):
            call("certificate", release, *key)


def test_what_is_not_there_or_too_old_is_named(release: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        call("certificate", tmp_path / "none", "--key", KEY)
    (release / CERTIFICATE).unlink()
    with pytest.raises(TrustError, match="has no certificate"):
        call("certificate", release)
    with pytest.raises(ConfigError, match="--lang"):
        call("certificate", release, "--lang", "fr")


# The group ------------------------------------------------------------------------------------------------


def test_help_lists_the_mounted_audit_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from fedcore.cli import main; sys.argv = ['concordat', 'privacy', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'matplotlib', 'reportlab', 'scipy', 'dp_accounting', 'simulations', 'numpy'}\n"
        "print('heavy:', sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    for name in ("plan", "explain", "certificate", "audit"):
        assert f"\n  {name} " in done.stdout


def test_a_missing_extra_names_the_command_and_what_to_install() -> None:
    code = (
        "import sys\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('simulations', 'torch'): raise ModuleNotFoundError('no', name=name)\n"
        "sys.meta_path.insert(0, No())\n"
        "from fedcore.cli import main; sys.argv = ['concordat', 'privacy', 'audit', '--help']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'concordat privacy audit' needs" in done.stderr
    assert "pip install 'concordat[simulation]'" in done.stderr
