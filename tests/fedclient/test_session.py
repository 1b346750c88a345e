"""One round at one institution: what leaves, what it costs, and in which order."""

import dataclasses
import logging
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.language import Base, Encoded
from fedclient.audit import AuditedBound
from fedclient.consent import LocalPolicy
from fedclient.dataset import PrivateDataset
from fedclient.ledger import BudgetLimit, Ledger
from fedclient.model import Trainer
from fedclient.receipts import dataset_tag
from fedclient.session import Institution, audited, run_round
from fedclient.update import AdapterUpdate
from fedcore import canonical
from fedcore.adapter import AdapterSchema, AdapterState, ModelCard
from fedcore.errors import BadReply, PrivacyError, RecordError
from fedcore.folding import Widths
from fedcore.identity import SigningIdentity
from fedcore.manifest import PrivacySpend
from fedcore.packing import pack, packed_size_bytes
from fedcore.privacy.accounting import epsilon
from fedcore.privacy.noise import SecureNoise, UnsafeSeededNoise
from fedcore.privacy.sampling import SystemRandom, UnsafeSeeded
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import RoundPlan
from fedcore.wire import Envelope, read_refusal, read_reply, seal_plan
from fedserver.travel import round_off
from simulations.tiny import make_tiny_base

Plans = Callable[..., RoundPlan]
SECRET = "Mrs Example, born 1950"
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
BOUND = AuditedBound(epsilon_lower=0.25, confidence=0.95, noise_multiplier_upper=0.9, sampling_rate_lower=0.049)


@dataclasses.dataclass
class HeldBase:
    card: ModelCard


class Adder:
    """A small trainer: adds one to everything that trains, and keeps a list of what it was asked."""

    def __init__(self, card: ModelCard) -> None:
        self.base = HeldBase(card)
        self.asked: list[RoundPlan] = []
        self.sources: list[tuple[str, str]] = []
        self.states: list[AdapterState] = []

    def train(
        self,
        plan: RoundPlan,
        state: AdapterState,
        dataset: PrivateDataset,
        *,
        source: Any,
        noise: Any,
        report: Any = None,
    ) -> AdapterUpdate:
        self.asked.append(plan)
        self.states.append(state)
        self.sources.append((source.origin, noise.origin))
        if report is not None:
            report(1, 1)
        tensors = {t.name: np.full(t.shape, len(self.asked), dtype=np.float32) for t in plan.trained}
        return AdapterUpdate(specs=plan.trained, tensors=tensors)


class Site:
    """An institution, its coordinator, and what its records were asked for."""

    def __init__(
        self,
        directory: Path,
        card: ModelCard,
        epsilon_limit: float = 8.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        **policy: Any,
    ) -> None:
        self.coordinator, self.identity = SigningIdentity.generate(), SigningIdentity.generate()
        self.unit = PrivacyUnit(key="patient")
        self.ledger = Ledger.open(
            directory / "ledger.db",
            dataset="admissions",
            unit=self.unit,
            limit=BudgetLimit(epsilon=epsilon_limit, delta=1e-5),
            clock=clock,
        )
        self.policy = LocalPolicy(
            tasks=("medicine.record",),
            unit=self.unit,
            least_noise_multiplier=0.3,
            largest_clip_norm_l2=10.0,
            largest_rank=64,
            largest_delta=1e-5,
            **policy,
        )
        self.trainer = Adder(card)
        self.reads = 0

    def dataset(self, plan: RoundPlan) -> PrivateDataset:
        self.reads += 1
        return PrivateDataset(units=((Encoded(ids=(5, 6), labels=(-100, 6)),),))

    def institution(self, **changes: Any) -> Institution:
        fields: dict[str, Any] = {
            "name": "a",
            "identity": self.identity,
            "coordinator": self.coordinator.public,
            "policy": self.policy,
            "ledger": self.ledger,
            "trainer": self.trainer,
            "dataset": self.dataset,
            "audit": lambda plan: BOUND,
        }
        return Institution(**{**fields, **changes})

    def seal(self, plan: RoundPlan, state: AdapterState) -> Envelope:
        return seal_plan(plan, state.part(*plan.carries), self.coordinator)

    def code(self, reply: Envelope, plan: RoundPlan) -> str:
        return read_refusal(reply, plan, "a", self.identity.public)


@pytest.fixture
def site(tmp_path: Path, card: ModelCard) -> Site:
    return Site(tmp_path, card)


def untouched(site: Site) -> bool:
    """Nothing was spent, read or trained."""
    return not site.ledger.events() and not site.reads and not site.trainer.asked


def test_an_accepted_plan_is_answered_with_the_update_and_the_ledgers_spend(
    site: Site, make_plan: Plans, state: AdapterState
) -> None:
    plan, steps = make_plan(), []
    reply = run_round(site.seal(plan, state), site.institution(), lambda done, of: steps.append((done, of)))
    tensors, stated = read_reply(reply, plan, "a", site.identity.public)
    spend = PrivacySpend.from_dict(stated)
    assert set(tensors) == {t.name for t in plan.trained}
    assert all((array == 1).all() for array in tensors.values())
    assert (spend.epsilon, spend.delta, spend.unit, spend.rounds) == (site.ledger.epsilon(), 1e-5, "patient", 1)
    assert spend.epsilon == pytest.approx(epsilon([plan.privacy.event()], 1e-5), rel=0.01)
    assert steps == [(1, 1)]


def test_a_reply_says_nothing_but_what_is_agreed(site: Site, make_plan: Plans, state: AdapterState) -> None:
    header = canonical.decode(run_round(site.seal(make_plan(), state), site.institution()).header)
    named = {"version", "body_sha256", "job", "round", "plan", "institution", "spend", "ledger", "dataset"}
    assert set(header) == named
    shared = {"mechanism", "honest_minimum"}  # Stated where noise is shared; see test_sums.py.
    assert set(header["spend"]) == {f.name for f in dataclasses.fields(PrivacySpend)} - shared


def test_a_reply_names_the_entry_that_paid_and_a_tag_that_hides_the_data_set(
    site: Site, make_plan: Plans, state: AdapterState, tmp_path: Path, card: ModelCard
) -> None:
    header = canonical.decode(run_round(site.seal(make_plan(), state), site.institution()).header)
    reservation = next(e for e in site.ledger.entries() if e.kind == "reserve")
    assert header["ledger"] == reservation.hash
    assert header["dataset"] == dataset_tag(site.identity, "admissions")
    assert header["dataset"] != dataset_tag(SigningIdentity.generate(), "admissions")
    assert b"admissions" not in canonical.encode(header)


def test_a_spend_states_the_sources_and_the_audit_of_what_was_trained_with(
    site: Site, make_plan: Plans, state: AdapterState
) -> None:
    plan = make_plan()
    institution = site.institution(source=lambda plan: UnsafeSeeded(1), noise=lambda plan: UnsafeSeededNoise(1))
    _, stated = read_reply(run_round(site.seal(plan, state), institution), plan, "a", site.identity.public)
    spend = PrivacySpend.from_dict(stated)
    assert (spend.noise_source, spend.sampling_source) == ("UnsafeSeededNoise", "UnsafeSeeded")
    assert spend.events == (plan.privacy.event(),)
    assert spend.epsilon_job == spend.epsilon
    assert site.trainer.sources[-1] == ("UnsafeSeeded", "UnsafeSeededNoise")


def test_the_audited_bound_is_of_the_jobs_steps_at_the_ledgers_delta(
    tmp_path: Path, card: ModelCard, make_plan: Plans, state: AdapterState
) -> None:
    site = Site(tmp_path, card)
    strict = dataclasses.replace(make_plan().privacy, delta=1e-7)
    found = []
    for number in (1, 2):
        plan = make_plan(round=number, privacy=strict)
        _, stated = read_reply(run_round(site.seal(plan, state), site.institution()), plan, "a", site.identity.public)
        found.append((stated["audited_epsilon"], stated["audit_confidence"], stated["epsilon_job"]))
    at = dataclasses.replace(strict, delta=1e-5)
    assert [f[0] for f in found] == [BOUND.epsilon_of(at, steps=n * at.steps_per_round) for n in (1, 2)]
    assert found[0][0] < found[1][0]
    assert [(confidence, 0 <= lower < upper) for lower, confidence, upper in found] == [(0.95, True)] * 2


def test_secure_sources_are_what_an_institution_uses_unless_told_otherwise(
    site: Site, make_plan: Plans, state: AdapterState
) -> None:
    plan = make_plan()
    _, stated = read_reply(run_round(site.seal(plan, state), site.institution()), plan, "a", site.identity.public)
    assert (stated["noise_source"], stated["sampling_source"]) == (SecureNoise.origin, SystemRandom.origin)
    assert Institution.__dataclass_fields__["audit"].default is audited


def test_a_step_that_fails_its_audit_costs_nothing(site: Site, make_plan: Plans, state: AdapterState) -> None:
    def fail(plan: RoundPlan) -> AuditedBound:
        raise PrivacyError("the noise of layer 1 is half of the plan's")

    plan = make_plan()
    assert site.code(run_round(site.seal(plan, state), site.institution(audit=fail)), plan) == "privacy"
    assert untouched(site)


def test_tensors_that_fit_no_base_are_refused_before_anything_is_made(
    site: Site, make_plan: Plans, state: AdapterState, schema: AdapterSchema
) -> None:
    huge = dataclasses.replace(
        schema,
        tensors=tuple(
            dataclasses.replace(t, shape=(2, 1 << 40) if t.part == "lora_A" else (1 << 40, 2)) for t in schema.tensors
        ),
    )
    plan = make_plan(schema=huge, carries=())
    envelope = seal_plan(plan, {}, site.coordinator)
    assert site.code(run_round(envelope, site.institution()), plan) == "base_mismatch"
    assert untouched(site)


def test_the_same_question_gets_the_same_bytes_at_no_cost(site: Site, make_plan: Plans, state: AdapterState) -> None:
    envelope = site.seal(make_plan(), state)
    first = run_round(envelope, site.institution())
    spent = site.ledger.epsilon()
    assert run_round(envelope, site.institution()) == first
    assert (site.ledger.epsilon(), len(site.trainer.asked), site.reads) == (spent, 1, 1)


@pytest.mark.parametrize("width", ["bfloat16", "int8", "int4"])
def test_an_update_is_rounded_once_and_kept_and_sent_again_as_it_was(
    site: Site, make_plan: Plans, state: AdapterState, width: Any
) -> None:
    plan = make_plan(widths=Widths(up=width))
    envelope = site.seal(plan, state)
    first = run_round(envelope, site.institution())
    assert len(first.body) == packed_size_bytes(plan.trained, width)
    assert site.ledger.kept_reply(plan.digest) == first
    assert run_round(envelope, site.institution()) == first
    tensors, _ = read_reply(first, plan, "a", site.identity.public)
    assert all(abs(array - 1).max() < 0.2 for array in tensors.values())


@pytest.mark.parametrize("width", ["bfloat16", "int8", "int4"])
def test_training_starts_from_the_numbers_that_came_rounded(
    site: Site, make_plan: Plans, state: AdapterState, width: Any
) -> None:
    master = state.replace({n: np.full(a.shape, 0.3, dtype=np.float32) for n, a in state.part("lora_B").items()})
    sent = round_off(master, ("lora_B",), width, seed=7, round=2)
    plan = make_plan(round=2, widths=Widths(down=width), state_digest=sent.state.digest)
    assert run_round(seal_plan(plan, sent.body, site.coordinator), site.institution()).kind == "reply"
    assert site.trainer.states[-1].digest == sent.state.digest
    other = round_off(master, ("lora_B",), width, seed=8, round=2)
    plan = make_plan(round=2, widths=Widths(down=width), state_digest=other.state.digest)
    again = run_round(seal_plan(plan, sent.body, site.coordinator), site.institution())
    assert site.code(again, plan) == "state_mismatch"
    assert len(site.ledger.events()) == 1


def test_the_coins_of_rounding_come_from_the_institutions_source(
    site: Site, make_plan: Plans, state: AdapterState
) -> None:
    assert Institution.__dataclass_fields__["coins"].default(make_plan()).origin == SystemRandom.origin
    plan = make_plan(widths=Widths(up="int4"))
    asked: list[RoundPlan] = []

    def coins(plan: RoundPlan) -> UnsafeSeeded:
        asked.append(plan)
        return UnsafeSeeded(4)

    reply = run_round(site.seal(plan, state), site.institution(coins=coins))
    ones = {t.name: np.ones(t.shape, dtype=np.float32) for t in plan.trained}
    assert (asked, reply.body) == ([plan], pack(ones, plan.trained, "int4", coins=UnsafeSeeded(4)))


def test_epsilon_after_k_rounds_is_that_of_all_of_them(site: Site, make_plan: Plans, state: AdapterState) -> None:
    for number in (1, 2, 3):
        plan = make_plan(round=number, rounds=3)
        _, stated = read_reply(run_round(site.seal(plan, state), site.institution()), plan, "a", site.identity.public)
        spend = PrivacySpend.from_dict(stated)
        assert (spend.rounds, spend.epsilon) == (number, site.ledger.epsilon())
        assert spend.epsilon == pytest.approx(plan.privacy.epsilon(number), rel=0.01)


def test_a_wrong_signature_is_refused_before_anything_is_reserved(
    site: Site, make_plan: Plans, state: AdapterState
) -> None:
    plan = make_plan()
    forged = seal_plan(plan, state.part(*plan.carries), SigningIdentity.generate())
    assert site.code(run_round(forged, site.institution()), plan) == "trust"
    assert untouched(site)


def test_a_changed_body_is_refused(site: Site, make_plan: Plans, state: AdapterState) -> None:
    plan = make_plan()
    envelope = site.seal(plan, state)
    changed = dataclasses.replace(envelope, body=envelope.body[:-4] + b"\0\0\0\1")
    assert site.code(run_round(changed, site.institution()), plan) == "trust"
    assert untouched(site)


@pytest.mark.parametrize(
    "header",
    [b"", b"not json", b"[]", b"null", b'{"plan": 3}', b'{"plan": {"job_id": "\\ud800", "round": 1}}', b"[" * 99999],
)
def test_rubbish_gets_a_signed_refusal_that_answers_no_plan(site: Site, make_plan: Plans, header: bytes) -> None:
    for signature in (b"\0" * 64, site.coordinator.sign(b"concordat/1/plan\0" + header)):
        reply = run_round(Envelope(kind="plan", header=header, signature=signature), site.institution())
        assert canonical.decode(reply.header)["code"] in ("trust", "internal_error")
        with pytest.raises(BadReply):
            site.code(reply, make_plan())
    assert untouched(site)


def test_a_plan_for_others_is_refused(site: Site, make_plan: Plans, state: AdapterState) -> None:
    plan = make_plan(cohort=("b",))
    assert site.code(run_round(site.seal(plan, state), site.institution()), plan) == "not_in_cohort"
    assert untouched(site)


def test_another_base_is_refused(tmp_path: Path, make_plan: Plans, state: AdapterState, card: ModelCard) -> None:
    site, plan = Site(tmp_path, dataclasses.replace(card, digest="cd" * 32)), make_plan()
    assert site.code(run_round(site.seal(plan, state), site.institution()), plan) == "base_mismatch"
    assert untouched(site)


def test_a_state_that_is_not_the_plans_is_refused(site: Site, make_plan: Plans, state: AdapterState) -> None:
    plan = make_plan()
    other = state.replace({n: a + np.float32(1) for n, a in state.part("lora_B").items()})
    assert site.code(run_round(site.seal(plan, other), site.institution()), plan) == "state_mismatch"
    assert untouched(site)


def test_the_policy_refuses_by_its_code(site: Site, make_plan: Plans, state: AdapterState) -> None:
    plan = make_plan(task="finance.report")
    assert site.code(run_round(site.seal(plan, state), site.institution()), plan) == "task_not_allowed"
    assert untouched(site)


def test_an_exhausted_budget_is_refused_before_a_record_is_read(
    tmp_path: Path, make_plan: Plans, state: AdapterState, card: ModelCard
) -> None:
    site, plan = Site(tmp_path, card, epsilon_limit=0.5), make_plan()
    assert site.code(run_round(site.seal(plan, state), site.institution()), plan) == "budget_exhausted"
    assert untouched(site)


def test_the_cost_is_reserved_before_records_are_read(site: Site, make_plan: Plans, state: AdapterState) -> None:
    seen: list[int] = []

    def read(plan: RoundPlan) -> PrivateDataset:
        seen.append(len(site.ledger.events()))
        raise RecordError("the records are broken in line 3")

    plan = make_plan()
    reply = run_round(site.seal(plan, state), site.institution(dataset=read))
    assert site.code(reply, plan) == "records"
    assert (seen, len(site.ledger.events())) == ([1], 1)


def test_the_reply_is_committed_before_it_leaves(site: Site, make_plan: Plans, state: AdapterState) -> None:
    plan = make_plan()
    reply = run_round(site.seal(plan, state), site.institution())
    assert site.ledger.kept_reply(plan.digest) == reply
    assert [e.kind for e in site.ledger.entries()] == ["open", "reserve", "commit"]


@pytest.mark.parametrize("error", [KeyError(SECRET), ValueError(SECRET), RuntimeError(SECRET), MemoryError(SECRET)])
def test_an_unexpected_exception_leaves_as_one_code_and_is_logged_without_content(
    site: Site, make_plan: Plans, state: AdapterState, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def read(plan: RoundPlan) -> PrivateDataset:
        try:
            raise OSError(SECRET)
        except OSError:
            raise error from None

    plan = make_plan()
    with caplog.at_level(logging.INFO):
        reply = run_round(site.seal(plan, state), site.institution(dataset=read))
    assert site.code(reply, plan) == "internal_error"
    assert SECRET.encode() not in reply.header + reply.body
    assert SECRET not in caplog.text
    assert type(error).__name__ in caplog.text
    assert "test_session.py" in caplog.text


def test_a_deliberate_error_is_logged_in_full_and_sent_as_a_code(
    site: Site, make_plan: Plans, state: AdapterState, caplog: pytest.LogCaptureFixture
) -> None:
    plan = make_plan(task="finance.report")
    reply = run_round(site.seal(plan, state), site.institution())
    assert "finance.report" in caplog.text
    assert b"finance" not in reply.header


def test_a_tampered_ledger_stops_the_institution(
    site: Site, make_plan: Plans, state: AdapterState, tmp_path: Path
) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "ledger.db") as db:
        db.execute("DELETE FROM head")
    db.close()
    plan = make_plan()
    assert site.code(run_round(site.seal(plan, state), site.institution()), plan) == "ledger"
    assert not site.reads


def test_an_institution_prints_its_name_alone(site: Site) -> None:
    assert repr(site.institution()) == "Institution('a')"


# The real trainer, on a tiny base.


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base.load(make_tiny_base(tmp_path_factory.mktemp("base"), "llama"))


def examples(base: Base) -> Sequence[tuple[Encoded, ...]]:
    return tuple((base.encode(f"Facts: {i}", f"Note: {i} is well.", 24),) for i in range(12))


def test_a_real_round_trains_within_its_plan(tmp_path: Path, make_plan: Plans, base: Base) -> None:
    schema = AdapterSchema.for_base(base.card, rank=2, alpha=4, targets=("q_proj",))
    state = AdapterState.initial(schema, seed=7)
    site = Site(tmp_path, base.card)
    privacy = dataclasses.replace(make_plan().privacy, sampling_rate=0.5, expected_batch_units=6.0, steps_per_round=2)
    plan = make_plan(schema=schema, state_digest=state.digest, privacy=privacy, max_tokens=24)
    steps: list[tuple[int, int]] = []
    institution = site.institution(
        trainer=Trainer(base), dataset=lambda plan: PrivateDataset(units=tuple(examples(base)))
    )
    reply = run_round(site.seal(plan, state), institution, lambda done, of: steps.append((done, of)))
    tensors, stated = read_reply(reply, plan, "a", site.identity.public)
    assert all(np.isfinite(a).all() and a.any() for a in tensors.values())
    assert stated["epsilon"] == pytest.approx(privacy.epsilon(1), rel=0.01)
    assert steps == [(1, 2), (2, 2)]
    assert run_round(site.seal(plan, state), institution) == reply


def test_a_live_institution_never_trains_without_noise(tmp_path: Path, make_plan: Plans, base: Base) -> None:
    """Even a policy that would accept the plan meets a ledger with a limit."""
    schema = AdapterSchema.for_base(base.card, rank=2, alpha=4, targets=("q_proj",))
    state = AdapterState.initial(schema, seed=7)
    privacy = dataclasses.replace(make_plan().privacy, noise_multiplier=0.0, mechanism="UnsafeNoNoise")
    plan = make_plan(schema=schema, state_digest=state.digest, privacy=privacy)
    strict, lax = Site(tmp_path / "1", base.card), Site(tmp_path / "2", base.card, unsafe_allow_no_noise=True)
    assert strict.code(run_round(strict.seal(plan, state), strict.institution()), plan) == "no_noise"
    assert lax.code(run_round(lax.seal(plan, state), lax.institution()), plan) == "budget_exhausted"


# Neighbouring data sets: with the same noise, nothing that leaves differs but the noised numbers.


def neighbours(base: Base) -> dict[str, tuple[tuple[Encoded, ...], ...]]:
    units = examples(base)
    long = base.encode("Facts: 3, and a great deal more than that", "Note: a long story with an unlikely end.", 24)
    return {
        "as it is": tuple(units),
        "one unit more": (*units, (long,)),
        "one unit fewer": tuple(units[:-1]),
        "one unit replaced": (*units[:-1], (long,)),
        "one unit with more records": (*units[:-1], (*units[-1], long, long)),
    }


def test_every_byte_that_leaves_and_is_not_noised_is_equal_on_neighbouring_data_sets(
    tmp_path: Path, make_plan: Plans, base: Base
) -> None:
    schema = AdapterSchema.for_base(base.card, rank=2, alpha=4, targets=("q_proj",))
    state = AdapterState.initial(schema, seed=7)
    privacy = dataclasses.replace(make_plan().privacy, sampling_rate=0.5, expected_batch_units=6.0, steps_per_round=2)
    made = {"schema": schema, "state_digest": state.digest, "privacy": privacy, "max_tokens": 24, "rounds": 9}
    first = Site(tmp_path / "first", base.card, epsilon_limit=20.0, clock=lambda: NOON)
    first.ledger.approve("job", "1" * 64)
    first.ledger.close()
    trainer = Trainer(base)
    leaves: dict[str, list[Envelope]] = {}
    for name, units in neighbours(base).items():
        shutil.copytree(tmp_path / "first", tmp_path / name)
        site = Site(tmp_path / name, base.card, epsilon_limit=20.0, clock=lambda: NOON)
        site.coordinator, site.identity = first.coordinator, first.identity
        data = PrivateDataset(units=units)
        institution = site.institution(
            trainer=trainer,
            dataset=lambda plan, data=data: data,
            source=lambda plan: UnsafeSeeded(7),
            noise=lambda plan: UnsafeSeededNoise(7),
        )
        plans = [
            make_plan(**made),
            make_plan(**made),  # The same question again.
            make_plan(**made, round=2, cohort=("b",)),
            make_plan(**{**made, "task": "finance.report"}, round=3),
            make_plan(**{**made, "privacy": dataclasses.replace(privacy, steps_per_round=900)}, round=4),
        ]
        leaves[name] = [run_round(site.seal(plan, state), institution) for plan in plans]
        site.ledger.close()
    own = leaves.pop("as it is")
    assert [e.kind for e in own] == ["reply", "reply", "refusal", "refusal", "refusal"]
    codes = [canonical.decode(e.header)["code"] for e in own[2:]]
    assert codes == ["not_in_cohort", "task_not_allowed", "budget_exhausted"]
    noised = set()
    for other in leaves.values():
        for mine, theirs in zip(own, other, strict=True):
            assert without_noise(mine) == without_noise(theirs)
            assert mine.size_bytes == theirs.size_bytes
        assert own[2:] == other[2:], "a refusal holds nothing that was noised"
        assert other[0] == other[1]
        noised.add(other[0].body)
    # The check sees something: the noised numbers do differ, since one unit moved them.
    assert len(noised | {own[0].body}) > 2


def without_noise(envelope: Envelope) -> Any:
    """Everything of a message but the noised numbers, and the digest and signature that follow from them."""
    header = canonical.decode(envelope.header)
    if envelope.kind == "refusal":
        return header, envelope.signature, envelope.body
    header.pop("body_sha256")
    length = int.from_bytes(envelope.body[:8], "little")
    return header, len(envelope.signature), envelope.body[: 8 + length], len(envelope.body)
