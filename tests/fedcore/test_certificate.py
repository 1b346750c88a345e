"""The certificate: every figure is computed again and signed by who states it; whatever was changed is refused."""

import base64
import json
import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fedcore import canonical
from fedcore._certificate_pdf import pdf_bytes
from fedcore._certificate_text import text_of
from fedcore._certificate_words import NOT_COVERED, not_covered
from fedcore._privacy_views import certificate_value
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.adapter_files import write_adapter
from fedcore.certificate import CERTIFICATE, Attestation, Certificate, verify_release
from fedcore.errors import PrivacyError, TamperedRelease, TrustError
from fedcore.identity import SigningIdentity
from fedcore.manifest import PrivacySpend, ReleaseManifest, file_digest
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import JobPlan, Optimiser, RoundPlan
from fedcore.wire import seal_reply
from tests.reference.shared_noise import shared_fields

COORDINATOR = SigningIdentity.generate()
KEYS = {name: SigningIdentity.generate() for name in ("a", "b")}


@dataclass(frozen=True)
class Made:
    """A finished job's certificate, and what it was made from."""

    job: JobPlan
    state: AdapterState
    certificate: Certificate
    plan: Callable[..., RoundPlan]

    def attest(self, spend: PrivacySpend, signer: SigningIdentity | None = None, **plan: Any) -> Attestation:
        signer = signer or KEYS[spend.institution]
        asked = self.plan(round=2, **plan)
        reply = seal_reply(asked, spend.institution, {}, spend.to_dict(), signer, ledger="ab" * 32, dataset="cd" * 32)
        return Attestation.of(spend.institution, signer.public, reply)

    def restate(self, **changes: Any) -> Certificate:
        """The certificate with another statement of "a", which "a" signs."""
        spend = replace(self.certificate.spends[0], **changes)
        return replace(
            self.certificate,
            spends=(spend, *self.certificate.spends[1:]),
            attestations=(self.attest(spend), *self.certificate.attestations[1:]),
        )

    def release(self, directory: Path, certificate: Certificate | None = None, **changes: Any) -> Path:
        """A release whose manifest and certificate the coordinator signs, whatever they say."""
        c = certificate or self.certificate
        files = write_adapter(directory, self.state, "paper")
        (directory / CERTIFICATE).write_bytes(c.seal(COORDINATOR))
        files[CERTIFICATE] = file_digest(directory / CERTIFICATE)
        same = {n: getattr(self.certificate, n) for n in SHARED}
        stated = same | {"schema": self.state.schema, "files": files, "parent": None} | changes
        ReleaseManifest(**{"loss_base": None, "loss_released": None, **stated}).write(directory, COORDINATOR)
        return directory


SHARED = (
    *("job_id", "task", "base_name", "base_digest", "schema_digest", "plan_digest", "state_digest", "strategy"),
    *("rounds", "contributors", "spends", "unsafe", "code_version", "created"),
)


def spend(name: str, privacy: PrivacyPlan, **changes: Any) -> PrivacySpend:
    cost = privacy.epsilon(2)
    stated: dict[str, Any] = {
        "institution": name,
        "unit": privacy.unit.key,
        "relation": privacy.unit.relation,
        "epsilon": 2 * cost,
        "delta": privacy.delta,
        "rounds": 2,
        "epsilon_job": cost,
        "events": (privacy.event(2),),
        "accountant": "an accountant 1.0",
        "noise_source": "AES-256-CTR, keyed by the operating system",
        "sampling_source": "AES-256-CTR, keyed by the operating system",
        "audited_epsilon": 0.5 * cost,
        "audit_confidence": 0.95,
    }
    return PrivacySpend(**(stated | changes))


@pytest.fixture
def made(schema: AdapterSchema, state: AdapterState, privacy: PrivacyPlan, make_plan: Callable[..., RoundPlan]) -> Made:
    job = JobPlan(
        job_id="job",
        task="medicine.record",
        schema=schema,
        strategy="frozen_a",
        rounds=2,
        seed=7,
        quorum=2,
        deadline_s=60.0,
        max_tokens=64,
        optimiser=Optimiser(),
        privacy=privacy,
    )
    certificate = Certificate.make(
        job,
        coordinator=COORDINATOR.public,
        base_name="paper",
        state_digest=state.digest,
        contributors={"a": 2, "b": 1},
        spends=(spend("a", privacy), spend("b", privacy, audited_epsilon=None, audit_confidence=None)),
        attestations=(),
        unsafe=(),
        code_version="0",
        created="2026-01-01T00:00:00+00:00",
    )
    bare = Made(job, state, certificate, make_plan)
    attested = replace(certificate, attestations=tuple(bare.attest(s) for s in certificate.spends))
    return Made(job, state, attested, make_plan)


def refused(certificate: Certificate, why: str) -> None:
    """The coordinator signs it all the same; verification must not care."""
    with pytest.raises(TamperedRelease, match=why):
        Certificate.read(certificate.seal(COORDINATOR), COORDINATOR.public)


def test_certificate_reads_back_and_its_epsilon_is_computed_again(made: Made, privacy: PrivacyPlan) -> None:
    read = Certificate.read(made.certificate.seal(COORDINATOR), COORDINATOR.public)
    assert read == made.certificate
    assert read.digest == made.certificate.digest
    assert read.recomputed("a") == read.epsilon_job == privacy.epsilon(2)
    assert read.epsilon == 2 * privacy.epsilon(2)
    assert read.unattested == ()
    assert read.not_covered == NOT_COVERED


def test_release_with_a_certificate_verifies_offline_and_without_its_maker(made: Made, tmp_path: Path) -> None:
    certificate, manifest = verify_release(made.release(tmp_path / "release"), COORDINATOR.public)
    assert certificate == made.certificate
    assert manifest.files[CERTIFICATE] == file_digest(tmp_path / "release" / CERTIFICATE)


def test_unattested_figures_are_named(made: Made) -> None:
    bare = replace(made.certificate, attestations=made.certificate.attestations[:1])
    read = Certificate.read(bare.seal(COORDINATOR), COORDINATOR.public)
    assert read.unattested == ("b",)
    assert any("alone: b" in note for note in text_of(read, "en", pinned=True).notes)


def test_reformatting_by_another_tool_changes_nothing(made: Made) -> None:
    value = json.loads(made.certificate.seal(COORDINATOR))
    again = json.dumps({k: value[k] for k in reversed(value)}, indent=7).encode()
    assert Certificate.read(again, COORDINATOR.public) == made.certificate


# Whoever has no key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0.02, 0.2, 0.4, 0.6, 0.8, 0.97])
def test_a_changed_byte_in_the_statement_is_refused(made: Made, place: float) -> None:
    data = bytearray(made.certificate.seal(COORDINATOR))
    position = next(i for i in range(int(place * len(data)), len(data)) if chr(data[i]).isalnum())
    data[position] ^= 1
    with pytest.raises(TamperedRelease):
        Certificate.read(bytes(data), COORDINATOR.public)


@pytest.mark.parametrize("key", [f.name for f in fields(Certificate)])
def test_no_field_can_be_changed_or_removed_under_the_signature(made: Made, key: str) -> None:
    value = json.loads(made.certificate.seal(COORDINATOR))
    for other in ({}, {key: [value["certificate"][key]]}):
        changed = {k: v for k, v in value["certificate"].items() if k != key} | other
        with pytest.raises(TamperedRelease):
            Certificate.read(json.dumps({**value, "certificate": changed}).encode(), COORDINATOR.public)


def test_a_certificate_signed_by_another_coordinator_is_refused(made: Made) -> None:
    other = SigningIdentity.generate()
    forged = replace(made.certificate, coordinator=other.public.key_hex).seal(other)
    assert Certificate.read(forged, None).job_id == "job"
    with pytest.raises(TamperedRelease, match="signature"):
        Certificate.read(forged, COORDINATOR.public)


def test_a_certificate_that_names_another_coordinator_is_refused(made: Made) -> None:
    refused(replace(made.certificate, coordinator=KEYS["a"].public.key_hex), "another coordinator")


def test_a_certificate_is_not_taken_for_another_kind_of_statement(made: Made) -> None:
    value = json.loads(made.certificate.seal(COORDINATOR))
    body = canonical.encode(value["certificate"])
    for context in (b"", b"concordat/1/release\0", b"concordat/1/reply\0"):
        value["signature"] = COORDINATOR.sign(context + body).hex()
        with pytest.raises(TamperedRelease):
            Certificate.read(json.dumps(value).encode(), COORDINATOR.public)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"{}", b"null", b"\xff", b'{"certificate": 1, "signature": 2}'),
        b'{"certificate": {}, "signature": "zz"}',
        b"[" * 100_000,
        b'{"certificate": {"a": 1, "a": 2}, "signature": ""}',
        b'{"certificate": NaN, "signature": ""}',
        b" " * (17 << 20),
    ],
)
def test_what_is_no_certificate_is_one_line(data: bytes) -> None:
    for key in (COORDINATOR.public, None):
        with pytest.raises(TamperedRelease) as raised:
            Certificate.read(data, key)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("field", ["version", "kind"])
def test_another_version_or_kind_is_refused(made: Made, field: str) -> None:
    value = made.certificate.to_dict() | {field: 2}
    signature = COORDINATOR.sign(b"concordat/1/certificate\0" + canonical.encode(value)).hex()
    with pytest.raises(TamperedRelease, match="version"):
        Certificate.read(json.dumps({"certificate": value, "signature": signature}).encode(), COORDINATOR.public)


# An institution that states too little --------------------------------------------------------------------


def test_less_than_the_accountant_gives_is_refused(made: Made, privacy: PrivacyPlan) -> None:
    refused(made.restate(epsilon_job=0.999 * privacy.epsilon(2)), "does not follow from its events")


def test_more_than_two_accountants_can_differ_is_refused(made: Made, privacy: PrivacyPlan) -> None:
    made.restate(epsilon_job=1.009 * privacy.epsilon(2)).check()
    refused(made.restate(epsilon_job=1.02 * privacy.epsilon(2)), "does not follow from its events")


def test_fewer_steps_than_were_folded_are_refused(made: Made, privacy: PrivacyPlan) -> None:
    cost = privacy.epsilon(1)
    refused(made.restate(events=(privacy.event(1),), epsilon_job=cost, audited_epsilon=None), "for its rounds")
    refused(made.restate(events=(), epsilon_job=0.0, audited_epsilon=None), "for its rounds")


def test_a_round_paid_for_twice_is_believed(made: Made, privacy: PrivacyPlan) -> None:
    made.restate(events=(privacy.event(3),), epsilon_job=privacy.epsilon(3)).check()


def test_events_of_another_plan_are_refused(made: Made, privacy: PrivacyPlan) -> None:
    quieter = replace(privacy, noise_multiplier=1.6)
    stated = {"events": (quieter.event(2),), "epsilon_job": quieter.epsilon(2), "audited_epsilon": None}
    refused(made.restate(**stated), "not the job's")


def test_absurdly_many_steps_are_refused_before_they_are_accounted_for(made: Made, privacy: PrivacyPlan) -> None:
    event = replace(privacy.event(), steps=10**12)
    refused(made.restate(events=(event,), epsilon_job=1e9, epsilon=1e9), "for its rounds")


@pytest.mark.parametrize("change", [{"unit": "record"}, {"relation": "replace_one"}])
def test_another_unit_or_relation_is_refused(made: Made, change: dict[str, str]) -> None:
    refused(made.restate(**change), "another unit")


def test_less_over_all_jobs_than_for_this_one_is_refused(made: Made, privacy: PrivacyPlan) -> None:
    refused(made.restate(epsilon=0.9 * privacy.epsilon(2)), "less over all jobs")


def test_an_audit_above_the_upper_bound_is_refused(made: Made, privacy: PrivacyPlan) -> None:
    refused(made.restate(audited_epsilon=1.01 * privacy.epsilon(2)), "audit of a found more")


# An institution's word, put together wrongly by a coordinator ---------------------------------------------


def test_a_spend_that_its_institution_did_not_sign_is_refused(made: Made, privacy: PrivacyPlan) -> None:
    other = replace(made.certificate.spends[0], epsilon=1.5 * privacy.epsilon(2))
    refused(replace(made.certificate, spends=(other, made.certificate.spends[1])), "states another spend")


def test_a_header_that_was_changed_is_refused(made: Made) -> None:
    first, *rest = made.certificate.attestations
    changed = replace(first, header=first.header.replace('"round":2', '"round":1'))
    assert changed != first
    refused(replace(made.certificate, attestations=(changed, *rest)), "signature")


def test_a_signature_of_another_key_is_refused(made: Made) -> None:
    first, *rest = made.certificate.attestations
    refused(replace(made.certificate, attestations=(replace(first, identity=rest[0].identity), *rest)), "signature")


def test_an_attestation_under_another_institution_s_name_is_refused(made: Made) -> None:
    first, second = made.certificate.attestations
    swapped = (replace(first, institution="b"), replace(second, institution="a"))
    refused(replace(made.certificate, attestations=swapped), "another job or institution")


def test_an_attestation_of_another_job_is_refused(made: Made) -> None:
    first = made.attest(made.certificate.spends[0], job_id="earlier")
    refused(replace(made.certificate, attestations=(first, made.certificate.attestations[1])), "another job")


def test_an_attestation_of_another_plan_in_the_same_round_is_refused(made: Made) -> None:
    first = made.attest(made.certificate.spends[0], seed=8)
    refused(replace(made.certificate, attestations=(first, made.certificate.attestations[1])), "another plan")


def test_an_attestation_older_than_what_was_folded_is_refused(made: Made) -> None:
    refused(replace(made.certificate, contributors={"a": 3, "b": 1}), "for its rounds|no round")
    asked = made.plan(round=1)
    stated = made.certificate.spends[0]
    reply = seal_reply(asked, "a", {}, stated.to_dict(), KEYS["a"], ledger="ab" * 32, dataset="cd" * 32)
    first = Attestation.of("a", KEYS["a"].public, reply)
    refused(replace(made.certificate, attestations=(first, made.certificate.attestations[1])), "no round")


def test_an_institution_attested_twice_is_refused(made: Made) -> None:
    refused(replace(made.certificate, attestations=made.certificate.attestations[:1] * 2), "twice")


def test_an_attestation_of_who_states_nothing_is_refused(made: Made) -> None:
    bare = replace(made.certificate, spends=made.certificate.spends[:1], contributors={"a": 2})
    refused(bare, "states another spend")


def test_a_contributor_without_a_figure_is_refused(made: Made) -> None:
    refused(replace(made.certificate, contributors={"a": 2, "b": 1, "c": 1}), "one spend of each")


@pytest.mark.parametrize("source", ["noise_source", "sampling_source"])
def test_unsafe_randomness_that_is_not_marked_is_refused(made: Made, source: str) -> None:
    seeded = made.restate(**{source: "UnsafeSeededNoise, seed 7"})
    refused(seeded, "does not say what weakened it: UnsafeSeededNoise")
    refused(replace(seeded, unsafe=("UnsafeNoNoise",)), "does not say what weakened it: UnsafeSeededNoise")
    replace(seeded, unsafe=("UnsafeSeededNoise",)).check()


def test_figures_at_another_delta_are_shown_at_the_plan_s_too(made: Made, privacy: PrivacyPlan) -> None:
    loose = replace(privacy, delta=1e-3)
    stated = {"delta": 1e-3, "epsilon_job": loose.epsilon(2), "audited_epsilon": None}
    certificate = made.restate(**stated)
    certificate.check()
    note = text_of(certificate, "en", pinned=True).notes[1]
    assert f"a {privacy.epsilon(2):.3f}" in note
    assert loose.epsilon(2) < privacy.epsilon(2)


def test_an_unbounded_epsilon_that_is_not_marked_is_refused(made: Made) -> None:
    infinite = made.restate(epsilon=math.inf)
    refused(infinite, "UnboundedSpend")
    marked = replace(infinite, unsafe=("UnboundedSpend",))
    read = Certificate.read(marked.seal(COORDINATOR), COORDINATOR.public)
    assert read.epsilon == math.inf
    assert "infinite" in text_of(read, "en", pinned=True).table[1]


# Shared noise ---------------------------------------------------------------------------------------------


@pytest.fixture
def sharing(
    schema: AdapterSchema, state: AdapterState, privacy: PrivacyPlan, make_plan: Callable[..., RoundPlan]
) -> Made:
    """A job of joint steps with shared noise, whose institutions attest what they assume."""
    common = shared_fields(make_plan())
    plan = partial(make_plan, **common)
    asked = plan()
    job = JobPlan(
        job_id="job",
        task="medicine.record",
        schema=schema,
        strategy="frozen_a",
        rounds=2,
        seed=7,
        quorum=3,
        deadline_s=60.0,
        max_tokens=64,
        optimiser=Optimiser(),
        privacy=asked.privacy,
        joint=True,
        sums=asked.sums,
    )
    stated = {"mechanism": "discrete_gaussian", "honest_minimum": 3}
    certificate = Certificate.make(
        job,
        coordinator=COORDINATOR.public,
        base_name="paper",
        state_digest=state.digest,
        contributors={"a": 2, "b": 1},
        spends=tuple(spend(name, asked.privacy, **stated) for name in ("a", "b")),
        attestations=(),
        unsafe=(),
        code_version="0",
        created="2026-01-01T00:00:00+00:00",
    )
    bare = Made(job, state, certificate, plan)
    return Made(job, state, replace(certificate, attestations=tuple(map(bare.attest, certificate.spends))), plan)


def test_a_release_with_shared_noise_verifies_offline_and_says_what_it_assumes(sharing: Made, tmp_path: Path) -> None:
    certificate, _ = verify_release(sharing.release(tmp_path / "release"), COORDINATOR.public)
    assert certificate == sharing.certificate
    assert (certificate.joint, certificate.sums) == (True, sharing.job.sums)
    assert certificate.privacy.honest_minimum == 3
    assert [s.honest_minimum for s in certificate.spends] == [3, 3]
    assert certificate.recomputed("a") == certificate.privacy.epsilon(2) == certificate.epsilon_job
    written = json.loads((tmp_path / "release" / CERTIFICATE).read_bytes())["certificate"]
    assert written["privacy"]["honest_minimum"] == 3
    assert [s["honest_minimum"] for s in written["spends"]] == [3, 3]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_people_read_what_shared_noise_assumes_in_text_and_pdf(sharing: Made, language: Any) -> None:
    text = text_of(sharing.certificate, language, pinned=True)
    facts, shown = dict(text.facts), squeezed(pdf_text(pdf_bytes(text, language)))
    assumed = facts[{"en": "assumes", "zh": "前提"}[language]]
    for words in {
        "en": (
            "in every sum that is opened 3 or more institutions, this one among them, neither drop out nor tell",
            "the square root of k/3",
            "No sum of fewer than 3 institutions is opened",
            "while none of them colludes with the coordinator",
        ),
        "zh": ("至少有 3 家机构", "少于 3 家机构的总和不会被揭开", "没有机构与协调方串通"),
    }[language]:
        assert words in assumed
        assert squeezed(words) in shown
    sent = facts[{"en": "what was sent", "zh": "发送的内容"}[language]]
    assert {"en": "one joint step a round, behind masks", "zh": "每轮一个联合步，均有掩码"}[language] in sent
    assert {"en": "under the assumption below", "zh": "在下述前提下"}[language] in text.promise
    assert any("1e-12" in note for note in text.notes)
    assert squeezed({"en": "a part of a common noise", "zh": "共同噪声中的一份"}[language]) in shown


def test_json_says_what_shared_noise_assumes(sharing: Made, made: Made) -> None:
    value = certificate_value(sharing.certificate)
    assert (value["honest_minimum"], value["joint"], value["sums"]["threshold"]) == (3, True, 3)
    assert value["assumes"] == dict(text_of(sharing.certificate, "en", pinned=True).facts)["assumes"]
    assert [i["honest_minimum"] for i in value["institutions"]] == [3, 3]
    alone = certificate_value(made.certificate)
    assert (alone["honest_minimum"], alone["joint"], alone["sums"], alone["assumes"]) == (None, False, None, None)


def test_where_nothing_is_shared_nothing_is_assumed(made: Made) -> None:
    for language in ("en", "zh"):
        text = text_of(made.certificate, language, pinned=True)  # type: ignore[arg-type]
        assert "assumes" not in dict(text.facts)
        assert "前提" not in dict(text.facts)
        assert not any("1e-12" in note for note in text.notes)
    assert "honest_minimum" not in made.certificate.spends[0].to_dict()
    assert "mechanism" not in made.certificate.spends[0].to_dict()


def test_masked_updates_are_said_to_be_masked(made: Made, sharing: Made) -> None:
    assert (
        "seen by the coordinator one by one"
        in dict(text_of(made.certificate, "en", pinned=True).facts)["what was sent"]
    )
    assert sharing.job.sums is not None
    masked = replace(made.certificate, sums=replace(sharing.job.sums, share_std_units=0))
    masked.check()
    sent = dict(text_of(masked, "en", pinned=True).facts)["what was sent"]
    assert sent.startswith("noised updates of local steps, behind masks: sums of at least 3 of 4")


@pytest.mark.parametrize("changed", [1, 2, 4])
def test_another_assumption_than_the_institutions_signed_is_refused(sharing: Made, changed: int) -> None:
    """The coordinator signs it, and may change the spends too: what the institutions signed stays."""
    other = replace(sharing.certificate.privacy, honest_minimum=changed)
    why = "another assumption" if changed < 4 else "do not carry"
    refused(replace(sharing.certificate, privacy=other), why)
    spends = tuple(replace(s, honest_minimum=changed) for s in sharing.certificate.spends)
    refused(replace(sharing.certificate, privacy=other, spends=spends), "states another spend|do not carry")


def test_a_certificate_without_its_assumption_is_refused(sharing: Made, privacy: PrivacyPlan) -> None:
    value = sharing.certificate.to_dict()
    for gone in ({"honest_minimum": None}, {"honest_minimum": None, "mechanism": "gaussian"}):
        changed = value | {"privacy": value["privacy"] | gone}
        signature = COORDINATOR.sign(b"concordat/1/certificate\0" + canonical.encode(changed)).hex()
        with pytest.raises(TamperedRelease, match=r"honest_minimum|noise of a is not the job's"):
            Certificate.read(json.dumps({"certificate": changed, "signature": signature}).encode(), COORDINATOR.public)


@pytest.mark.parametrize(
    "stated", [{"honest_minimum": None}, {"mechanism": "gaussian"}, {"mechanism": "UnsafeNoNoise"}]
)
def test_an_institution_that_does_not_say_that_it_shared_integers_is_refused(sharing: Made, stated: Any) -> None:
    refused(sharing.restate(**stated), "noise of a is not the job's|another assumption")


@pytest.mark.parametrize("stated", [{"mechanism": "discrete_gaussian"}, {"honest_minimum": 1}])
def test_an_assumption_that_the_job_does_not_make_is_refused(made: Made, stated: Any) -> None:
    refused(made.restate(**stated), "noise of a is not the job's|another assumption")


def test_sums_that_cannot_carry_the_assumption_are_refused(sharing: Made) -> None:
    assert sharing.job.sums is not None
    for change in (
        {"sums": None},
        {"joint": False},
        {"sums": replace(sharing.job.sums, share_std_units=0)},
        {"sums": replace(sharing.job.sums, threshold=4, colluders=2)},
    ):
        refused(replace(sharing.certificate, **change), "do not carry")


@pytest.mark.parametrize(
    "change", [{"joint": 1}, {"joint": "yes"}, {"sums": []}, {"sums": {}}, {"sums": {"threshold": 2}}]
)
def test_sums_that_cannot_be_read_are_refused(sharing: Made, change: dict[str, Any]) -> None:
    changed = sharing.certificate.to_dict() | change
    signature = COORDINATOR.sign(b"concordat/1/certificate\0" + canonical.encode(changed)).hex()
    with pytest.raises(TamperedRelease):
        Certificate.read(json.dumps({"certificate": changed, "signature": signature}).encode(), COORDINATOR.public)


def test_a_certificate_from_before_secure_sums_still_verifies(made: Made) -> None:
    value = {k: v for k, v in made.certificate.to_dict().items() if k not in ("joint", "sums")}
    value["privacy"] = {k: v for k, v in value["privacy"].items() if k != "honest_minimum"}
    signature = COORDINATOR.sign(b"concordat/1/certificate\0" + canonical.encode(value)).hex()
    data = json.dumps({"certificate": value, "signature": signature}).encode()
    assert Certificate.read(data, COORDINATOR.public) == made.certificate


@pytest.mark.parametrize("honest", [0, -1, "3", True, 2.0])
def test_a_spend_s_assumption_is_a_whole_number(sharing: Made, honest: Any) -> None:
    value = sharing.certificate.spends[0].to_dict() | {"honest_minimum": honest}
    with pytest.raises(TrustError):
        PrivacySpend.from_dict(value)


# A release and its certificate ----------------------------------------------------------------------------


def test_a_certificate_s_file_that_was_changed_is_refused(made: Made, tmp_path: Path) -> None:
    directory = made.release(tmp_path / "release")
    (directory / CERTIFICATE).write_bytes(replace(made.certificate, created="later").seal(COORDINATOR))
    with pytest.raises(TamperedRelease, match=r"certificate\.json was changed"):
        verify_release(directory, COORDINATOR.public)


def test_a_certificate_that_was_taken_out_is_refused(made: Made, tmp_path: Path) -> None:
    directory = made.release(tmp_path / "release")
    (directory / CERTIFICATE).unlink()
    with pytest.raises(TamperedRelease, match="too many or too few"):
        verify_release(directory, COORDINATOR.public)


@pytest.mark.parametrize(
    "change",
    [
        *({"job_id": "other"}, {"task": "x"}, {"base_name": "x"}, {"base_digest": "0" * 64}, {"schema_digest": "x"}),
        *({"plan_digest": "0" * 64}, {"state_digest": "0" * 64}, {"strategy": "x"}, {"rounds": 3}, {"spends": ()}),
        *({"contributors": {"a": 2}}, {"unsafe": ("UnsafeNoNoise",)}, {"code_version": "1"}, {"created": "later"}),
    ],
    ids=lambda c: next(iter(c)),
)
def test_a_certificate_of_another_release_is_refused(made: Made, tmp_path: Path, change: dict[str, Any]) -> None:
    directory = made.release(tmp_path / "release", **change)
    with pytest.raises(TamperedRelease, match="contradict one another: " + next(iter(change))):
        verify_release(directory, COORDINATOR.public)


def test_a_certificate_of_another_adapter_is_refused(made: Made, tmp_path: Path) -> None:
    other = replace(made.certificate, state_digest="0" * 64)
    directory = made.release(tmp_path / "release", other, state_digest="0" * 64)
    with pytest.raises(TamperedRelease, match="not the one that was certified"):
        verify_release(directory, COORDINATOR.public)


def test_a_release_from_before_certificates_says_so(made: Made, tmp_path: Path) -> None:
    directory = made.release(tmp_path / "release")
    (directory / CERTIFICATE).unlink()
    ReleaseManifest(
        **{n: getattr(made.certificate, n) for n in SHARED},
        schema=made.state.schema,
        files=write_adapter(directory, made.state, "paper"),
        loss_base=None,
        loss_released=None,
        parent=None,
    ).write(directory, COORDINATOR)
    with pytest.raises(TrustError, match=r"has no certificate.*older version"):
        verify_release(directory, COORDINATOR.public)


# What people read -----------------------------------------------------------------------------------------


def pdf_text(data: bytes) -> str:
    """The text of a PDF that reportlab wrote: its streams unpacked, its strings joined in order."""
    found = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", data, re.DOTALL):
        page = zlib.decompress(base64.a85decode(stream.strip().removesuffix(b"~>")))
        wide = False
        for font, raw in re.findall(rb"/(F\d\S*)[^/()]*Tf|\(((?:\\.|[^\\()])*)\) Tj", page, re.DOTALL):
            if font:
                wide = font in wide_fonts(data)
                continue
            text = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), raw)
            text = re.sub(
                rb"\\(.)", lambda m: {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(m[1], m[1]), text, flags=re.S
            )
            found.append(text.decode("utf-16-be" if wide else "cp1252", errors="replace"))
    return "".join(found)


def wide_fonts(data: bytes) -> set[bytes]:
    """Names of the fonts whose strings are UTF-16."""
    objects = dict(re.findall(rb"(\d+) 0 obj\s(.*?)endobj", data, re.DOTALL))
    names = re.findall(rb"/(F\d\S*) (\d+) 0 R", data)
    return {name for name, number in names if b"STSong" in objects.get(number, b"")}


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_pdf_shows_every_figure_and_the_same_bytes_again(made: Made, privacy: PrivacyPlan) -> None:
    text = text_of(made.certificate, "en", pinned=True, release="job-1234")
    data = pdf_bytes(text, "en")
    assert data.startswith(b"%PDF-")
    assert data == pdf_bytes(text, "en")
    shown = squeezed(pdf_text(data))
    c = made.certificate
    expected = [
        *("Privacy certificate", "job-1234", "one patient (all of its records), added or removed", "1e-05"),
        *(f"{privacy.epsilon(2):.3f}", f"{2 * privacy.epsilon(2):.3f}", f"{0.5 * privacy.epsilon(2):.3f} (95 %)"),
        *("not audited", "an accountant 1.0", "AES-256-CTR", "6 steps", "rate 0.05", "noise multiplier 0.8"),
        *(c.base_digest, c.plan_digest, c.state_digest, c.digest, COORDINATOR.public.fingerprint),
        *(a.fingerprint for a in c.attestations),
        *c.not_covered.values(),
    ]
    assert [e for e in expected if squeezed(e) not in shown] == []


def test_chinese_pdf_is_chinese(made: Made, privacy: PrivacyPlan) -> None:
    text = text_of(made.certificate, "zh", pinned=True)
    shown = squeezed(pdf_text(pdf_bytes(text, "zh")))
    expected = [
        *(
            "隐私证书",
            "一名患者（其全部记录），加入或移除",
            "泊松采样",
            "机构签字",
            "如何验证",
            f"{privacy.epsilon(2):.3f}",
        ),
        *(not_covered(name, words, "zh") for name, words in NOT_COVERED.items()),
        made.certificate.state_digest,
    ]
    assert [e for e in expected if squeezed(e) not in shown] == []
    assert "What these figures" not in shown


def test_a_chinese_name_in_an_english_pdf_is_not_lost(made: Made, privacy: PrivacyPlan) -> None:
    named = replace(made.certificate, base_name="通用-base", attestations=())
    shown = pdf_text(pdf_bytes(text_of(named, "en", pinned=True), "en"))
    assert "通用" in shown
    assert "-base" in shown


def test_markup_in_a_name_is_shown_and_not_obeyed(made: Made) -> None:
    named = replace(made.certificate, base_name="<b>&x</b>")
    assert "<b>&x</b>" in pdf_text(pdf_bytes(text_of(named, "en", pinned=True), "en"))


def test_an_unsafe_release_says_so_before_its_figures(made: Made) -> None:
    marked = replace(made.certificate, unsafe=("UnsafeNoNoise",))
    for language, word in (("en", "UNSAFE: UnsafeNoNoise"), ("zh", "不安全：UnsafeNoNoise")):
        text = text_of(marked, language, pinned=True)  # type: ignore[arg-type]
        assert word in text.warnings[0]
        assert squeezed(word) in squeezed(pdf_text(pdf_bytes(text, language)))  # type: ignore[arg-type]


def test_words_that_were_signed_are_shown_even_where_this_version_has_others() -> None:
    assert not_covered("operator_use", "other words", "zh") == "other words"
    assert not_covered("unknown", "words", "zh") == "words"


def test_every_sentence_that_is_not_covered_is_there_in_chinese() -> None:
    assert all(re.search(r"[\u4e00-\u9fff]", not_covered(n, s, "zh")) for n, s in NOT_COVERED.items())


def test_check_raises_for_the_coordinator_before_anything_is_written(made: Made, privacy: PrivacyPlan) -> None:
    with pytest.raises(PrivacyError):
        made.restate(epsilon_job=0.5 * privacy.epsilon(2)).check()
