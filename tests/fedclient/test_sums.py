"""An institution in masked sums: whatever a coordinator asks, one vector a round, and nothing spent in vain."""

import dataclasses
import os
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domains.language import Base
from fedclient._sum_states import KEPT_JOBS
from fedclient.dataset import PrivateDataset
from fedclient.ledger import Lost, StateChange
from fedclient.model import Trainer
from fedcore import canonical
from fedcore.adapter import AdapterSchema, AdapterState, ModelCard
from fedcore.errors import LedgerError, PlanRefused, RecordError
from fedcore.identity import SigningIdentity
from fedcore.privacy.integer_accounting import SharedNoise
from fedcore.privacy.integer_noise import SecureIntegerNoise
from fedcore.receipt import Receipt, seal_receipt
from fedcore.round import RoundPlan
from fedcore.secagg import Abandoned, Ask, Opened, Party
from fedcore.secagg.messages import pack, unpack
from fedcore.sums import SumPlan
from fedcore.wire import Envelope, read_reply_header
from simulations.tiny import make_tiny_base
from tests.fedclient.masked import NAMES, Coordinator, Node, federation

Plans = Callable[..., RoundPlan]
SECRET = "Mrs Example, born 1950"


@pytest.fixture
def job(tmp_path: Path, card: ModelCard, state: AdapterState, make_plan: Plans) -> Coordinator:
    return federation(tmp_path, card, state, make_plan)


@pytest.fixture
def joint(tmp_path: Path, card: ModelCard, state: AdapterState, make_plan: Plans) -> Coordinator:
    return federation(tmp_path, card, state, make_plan, joint=True)


def spent(node: Node, job: Coordinator) -> int:
    """How many rounds were paid for."""
    return len(node.institution(job.privacy).ledger.events())


# Whole rounds.


@pytest.mark.parametrize("kind", ["job", "joint"])
def test_a_full_round_opens_the_sum_of_what_was_encoded(kind: str, request: pytest.FixtureRequest) -> None:
    job: Coordinator = request.getfixturevalue(kind)
    job.agree()
    for number in (1, 2, 5):
        opened = job.play(number)
        assert isinstance(opened, Opened)
        assert opened.contributors == NAMES
        assert np.array_equal(opened.total, job.sum_of(NAMES))
        assert not np.array_equal(opened.total, job.sum_of("abc"))
    assert [spent(n, job) for n in job.nodes.values()] == [3] * 4


@pytest.mark.parametrize(
    ("gone", "counted"),
    [({"before": "b"}, "acd"), ({"masked": "b"}, "abcd"), ({"before": "d", "cohort": "abcd"}, "abc")],
)
def test_one_that_vanishes_at_any_step_does_not_stop_the_round(
    joint: Coordinator, gone: dict[str, Any], counted: str
) -> None:
    joint.agree()
    opened = joint.play(1, **gone)
    assert isinstance(opened, Opened)
    assert opened.contributors == tuple(counted)
    assert np.array_equal(opened.total, joint.sum_of(counted))
    again = joint.play(2)
    assert isinstance(again, Opened)
    assert np.array_equal(again.total, joint.sum_of(NAMES))


def test_below_the_threshold_nothing_is_opened(job: Coordinator) -> None:
    job.agree()
    assert isinstance(job.play(1, before="ab"), Abandoned)
    assert isinstance(job.play(2, masked="ab"), Abandoned)
    assert isinstance(job.play(3), Opened)


def test_a_smaller_roster_and_cohort_make_a_round_of_their_own(job: Coordinator) -> None:
    job.agree("abd")
    opened = job.play(1, cohort=("a", "b", "d"))
    assert isinstance(opened, Opened)
    assert np.array_equal(opened.total, job.sum_of("abd"))


class Recorder:
    """The real trainer, and what it gave."""

    def __init__(self, trainer: Trainer) -> None:
        self.base, self._trainer = trainer.base, trainer
        self.given: list[Any] = []

    def train(self, *plan: Any, **sources: Any) -> Any:
        return self._trainer.train(*plan, **sources)

    def train_ring(self, *plan: Any, **sources: Any) -> Any:
        self.given.append(self._trainer.train_ring(*plan, **sources))
        return self.given[-1]


@pytest.mark.parametrize("joint", [False, True])
def test_real_training_ends_in_the_real_sum(tmp_path: Path, make_plan: Plans, joint: bool) -> None:
    base = Base.load(make_tiny_base(tmp_path / "base", "llama"))
    schema = AdapterSchema.for_base(base.card, rank=2, alpha=4, targets=("q_proj",))
    state = AdapterState.initial(schema, seed=7)
    units = tuple((base.encode(f"Facts: {i}", f"Note: {i} is well.", 24),) for i in range(12))
    privacy = dataclasses.replace(make_plan().privacy, sampling_rate=0.5, expected_batch_units=6.0, steps_per_round=2)

    def make(**changes: Any) -> RoundPlan:
        fields = {"schema": schema, "state_digest": state.digest, "max_tokens": 24, "privacy": privacy}
        return make_plan(**{**fields, **changes})

    trainer = Recorder(Trainer(base))
    job = federation(
        tmp_path,
        base.card,
        state,
        make,
        joint=joint,
        trainer=trainer,
        dataset=lambda plan: PrivateDataset(units=units),
    )
    job.agree()
    opened = job.play(1)
    assert isinstance(opened, Opened)
    assert np.array_equal(opened.total, np.sum(trainer.given, axis=0, dtype=job.dtype))
    assert len(trainer.given) == 4
    assert opened.total.any()


def test_shared_noise_is_integer_noise_and_the_spend_says_what_it_assumes(joint: Coordinator) -> None:
    joint.agree()
    plan = joint.plan(1)
    reply = joint.send("a", plan)
    spend = read_reply_header(reply, plan, "a", joint.nodes["a"].identity.public).spend
    assert (spend["mechanism"], spend["honest_minimum"]) == ("discrete_gaussian", 2)
    assert spend["noise_source"] == SecureIntegerNoise.origin
    institution = joint.nodes["a"].institution(joint.privacy)
    assert isinstance(institution.noise(plan), SecureIntegerNoise)


def test_the_masked_vector_is_not_what_was_encoded(job: Coordinator) -> None:
    job.agree()
    reply = job.send("a", job.plan(1))
    assert job.nodes["a"].trainer.encoded[-1].tobytes() not in reply.body + reply.header


# Restarts and repeats.


@pytest.mark.parametrize("kind", ["job", "joint"])
def test_a_restart_between_every_two_exchanges_changes_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    job: Coordinator = request.getfixturevalue(kind)
    for node in job.nodes.values():
        node.restarts = True
    job.agree()
    for number, gone in ((1, {}), (2, {"before": "c"}), (3, {"masked": "a"})):
        opened = job.play(number, **gone)
        assert isinstance(opened, Opened)
        assert np.array_equal(opened.total, job.sum_of(opened.contributors))


@pytest.mark.parametrize("restarts", [False, True])
def test_the_same_question_gets_the_same_bytes_at_no_cost(job: Coordinator, restarts: bool) -> None:
    job.nodes["a"].restarts = restarts

    def twice(envelope: Envelope) -> Envelope:
        first = job.tell("a", envelope)
        assert canonical.decode(first.header)["code"] == ""
        before = spent(job.nodes["a"], job)
        assert job.tell("a", envelope) == first
        assert spent(job.nodes["a"], job) == before
        return first

    aggregator = job.agree()
    assert pack([twice(job.sealed("join")[1]).body]) in aggregator.roster(), "the key that was sent before"
    twice(job.sealed("roster", body=aggregator.roster())[1])
    one, plan = job.begin(1), job.plan(1)
    first = job.send("a", plan)
    assert job.send("a", plan) == first
    assert spent(job.nodes["a"], job) == len(job.nodes["a"].trainer.encoded) == 1
    one.add_masked("a", first.body)
    for name in "bc":
        one.add_masked(name, job.masked(name, plan))
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    twice(job.sealed("confirm", 1, asked.requests["a"])[1])
    for name in "abc":
        one.add_confirmation(name, job.ask(name, "confirm", 1, asked.requests[name]))
    asked = one.close_confirmations()
    assert isinstance(asked, Ask)
    twice(job.sealed("open", 1, asked.requests["a"])[1])
    for name in "abc":
        one.add_unmasked(name, job.ask(name, "open", 1, asked.requests[name]))
    opened = one.finish()
    assert isinstance(opened, Opened)
    assert np.array_equal(opened.total, job.sum_of("abc"))


def test_training_that_fails_costs_its_reservation_and_no_round(job: Coordinator) -> None:
    job.agree()
    node = job.nodes["a"]

    def fail() -> None:
        raise RecordError("the disk is gone")

    before = node.snapshot(job.privacy)[1]
    node.trainer.fail = fail
    assert job.refusal("a", job.plan(1)) == "records"
    assert (spent(node, job), node.snapshot(job.privacy)[1]) == (1, before)
    node.trainer.fail = lambda: None
    for number in (1, 2):
        opened = job.play(number)
        assert isinstance(opened, Opened)
        assert np.array_equal(opened.total, job.sum_of(NAMES))
    assert spent(node, job) == 3


def test_a_reply_and_the_state_that_used_up_its_round_are_kept_together_or_not_at_all(job: Coordinator) -> None:
    job.agree()
    node, plan = job.nodes["a"], job.plan(1)
    institution = node.institution(job.privacy)
    # The disk refuses the very last write of the transaction.
    institution.ledger.sum_states._chain.db.execute(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON sum_states BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    before = node.snapshot(job.privacy)[1]
    assert job.refusal("a", plan) == "ledger"
    node.start(job.privacy)
    assert node.snapshot(job.privacy)[1] == before
    assert node.institution(job.privacy).ledger.kept_reply(plan.digest) is None
    assert spent(node, job) == 1
    assert isinstance(job.play(1), Opened)


def test_a_round_is_masked_once_though_two_are_worked_on_at_once(job: Coordinator) -> None:
    job.agree()
    institution = job.nodes["a"].institution(job.privacy)
    first, second = job.plan(1), job.plan(1, deadline_s=61.0)
    values = np.zeros(first.parameters, dtype=job.dtype)
    prepared = [institution.sums.prepare(plan) for plan in (first, second)]
    reserved = [institution.ledger.reserve(plan, coordinator=job.identity.public.key_hex) for plan in (first, second)]
    masked = [one.mask(values) for one in prepared]
    assert masked[0][0] != masked[1][0], "each would be a vector of its own"
    reply = Envelope(kind="reply", header=b"h", signature=b"s", body=masked[0][0])
    institution.ledger.commit(reserved[0], reply, sums=masked[0][1])
    with pytest.raises(PlanRefused) as refused:
        institution.ledger.commit(reserved[1], reply, sums=masked[1][1])
    assert refused.value.reason == "sum_state_changed"
    assert institution.ledger.kept_reply(second.digest) is None
    assert len(institution.ledger.events()) == 2


# State that is not there, or not right.


def assert_refused(job: Coordinator, name: str, plan: RoundPlan, code: str) -> None:
    """A plan is refused by a code, and nothing was reserved, read, trained or changed."""
    before = job.nodes[name].snapshot(job.privacy)
    assert job.refusal(name, plan) == code
    assert job.nodes[name].snapshot(job.privacy) == before


def assert_not_answered(
    job: Coordinator, name: str, code: str, phase: Any, number: int = 0, body: bytes = b"", **fields: Any
) -> None:
    """A question is refused by a code, and nothing changed."""
    before = job.nodes[name].snapshot(job.privacy)
    assert job.code(name, phase, number, body, **fields) == code
    assert job.nodes[name].snapshot(job.privacy) == before


def test_a_job_that_was_never_joined_costs_nothing(job: Coordinator) -> None:
    assert_refused(job, "a", job.plan(1), "sum_not_joined")
    assert_not_answered(job, "a", "sum_not_joined", "roster")


def test_a_job_without_a_roster_costs_nothing(job: Coordinator) -> None:
    job.ask("a", "join")
    assert_refused(job, "a", job.plan(1), "sum_not_joined")


def test_a_party_whose_state_was_lost_drops_out_and_the_others_go_on(job: Coordinator) -> None:
    job.agree()
    assert isinstance(job.play(1), Opened)
    node = job.nodes["a"]
    with sqlite3.connect(node.path) as db:
        db.execute("DELETE FROM sum_states")
    db.close()
    assert_refused(job, "a", job.plan(2), "sum_not_joined")
    one = job.begin(2)
    for name in "bcd":
        one.add_masked(name, job.masked(name, job.plan(2)))
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    assert_not_answered(job, "a", "sum_not_joined", "confirm", 2, asked.requests["b"])
    # It may join again, but the others' roster does not hold its new key.
    job.ask("a", "join")
    assert job.aggregator is not None
    assert_not_answered(job, "a", "substituted_key", "roster", body=job.aggregator.roster())


def test_a_state_of_another_job_is_refused(job: Coordinator) -> None:
    job.agree()
    node = job.nodes["a"]
    with sqlite3.connect(node.path) as db:
        db.execute("UPDATE sum_states SET job = 'other'")
    db.close()
    job.job = "other"
    assert_refused(job, "a", job.plan(1), "ledger")
    assert_not_answered(job, "a", "ledger", "join")


@pytest.mark.parametrize("place", [0, 11, 12, 40, -1])
def test_a_changed_state_is_refused(job: Coordinator, place: int) -> None:
    job.agree()
    node = job.nodes["a"]
    with sqlite3.connect(node.path) as db:
        (sealed,) = db.execute("SELECT sealed FROM sum_states").fetchone()
        changed = bytearray(sealed)
        changed[place] ^= 1
        db.execute("UPDATE sum_states SET sealed = ?", (bytes(changed),))
    db.close()
    assert_refused(job, "a", job.plan(1), "ledger")
    assert_not_answered(job, "a", "ledger", "join")


def test_a_state_that_was_cut_off_is_refused(job: Coordinator) -> None:
    job.agree()
    with sqlite3.connect(job.nodes["a"].path) as db:
        db.execute("UPDATE sum_states SET sealed = x'00'")
    db.close()
    assert_refused(job, "a", job.plan(1), "ledger")


def test_a_state_opens_with_its_own_identity_alone(job: Coordinator) -> None:
    job.agree()
    node = job.nodes["a"]
    (node.directory / "identity.key").unlink()
    SigningIdentity.generate().save(node.directory / "identity.key")
    node.identity = SigningIdentity.load(node.directory / "identity.key")
    node.start(job.privacy)
    assert_not_answered(job, "a", "ledger", "join")


# What lies on the disk.


def secrets_of(job: Coordinator, name: str) -> list[bytes]:
    """The keys that a party holds now, by opening its state as only it can."""
    institution = job.nodes[name].institution(job.privacy)
    party = institution.sums._resume(job.job, job.terms).party
    held = [*party._chains.values(), *(party._round.keys.values() if party._round else ())]
    return held + ([party._key.to_bytes()] if party._key else [])


def on_disk(node: Node) -> bytes:
    """Everything that lies in a node's directory, but for its identity."""
    return b"".join(p.read_bytes() for p in sorted(node.directory.iterdir()) if p.name != "identity.key")


def test_no_secret_lies_in_the_file_in_clear(job: Coordinator) -> None:
    node = job.nodes["a"]

    def assert_hidden(count: int) -> None:
        data, secrets = on_disk(node), secrets_of(job, "a")
        assert len(secrets) == count
        assert not any(s in data or s.hex().encode() in data for s in secrets)

    job.ask("a", "join")
    assert_hidden(1)
    job.agree()
    assert_hidden(4)
    plan = job.plan(1)
    job.masked("a", plan)
    assert_hidden(8)
    assert node.trainer.encoded[-1].tobytes() not in on_disk(node)
    assert plan.digest.encode() in on_disk(node), "the search finds what is there"


def test_what_a_state_replaces_is_overwritten(job: Coordinator) -> None:
    node = job.nodes["a"]
    ledger = node.institution(job.privacy).ledger
    key = job.identity.public.key_hex
    reservation = ledger.reserve(job.plan(1), coordinator=key)
    # Of other sizes, so that none takes exactly the place of another, and one beside a reply of many pages.
    states = [os.urandom(size) for size in (3000, 9000, 500, 20_000, 700)]
    for number, (before, after) in enumerate(pairwise([None, *states])):
        change = StateChange(coordinator=key, job="job", before=before, after=after)
        if number == 3:
            large = Envelope(kind="reply", header=b"h", signature=b"s", body=os.urandom(300_000))
            ledger.commit(reservation, large, sums=change)
        else:
            ledger.sum_states.keep(change)
        assert after[:64] in on_disk(node)
    for _ in range(2):
        ledger.approve("job", "1" * 64)  # Whatever is written next.
    data = on_disk(node)
    # A page holds 4 kB, so that pieces of a state may lie apart.
    found = [any(one[at : at + 64] in data for at in range(0, len(one) - 64, 64)) for one in states]
    assert found == [False, False, False, False, True]


def test_a_sealed_state_is_bound_to_its_coordinator_and_job(job: Coordinator) -> None:
    job.agree()
    node = job.nodes["a"]
    ((coordinator, name, _, sealed),) = node.snapshot(job.privacy)[1]
    key = node.identity.derive_key("states of masked sums")
    bound = canonical.encode(["concordat/1/sum-state", coordinator, name])
    assert b'"chains"' in AESGCM(key).decrypt(sealed[:12], sealed[12:], bound)
    for other in (["x", name], [coordinator, "x"]):
        with pytest.raises(InvalidTag):
            AESGCM(key).decrypt(sealed[:12], sealed[12:], canonical.encode(["concordat/1/sum-state", *other]))


def test_states_of_the_jobs_that_were_worked_on_last_are_kept(job: Coordinator) -> None:
    roster = job.agree().roster()
    for number in range(KEPT_JOBS + 2):
        job.job = f"job-{number}"
        job.ask("a", "join")
        job.job = "job"
        if number == KEPT_JOBS - 2:
            job.ask("a", "roster", body=roster)
    states = job.nodes["a"].snapshot(job.privacy)[1]
    assert {name for _, name, _, _ in states} == {"job", *(f"job-{n}" for n in range(3, KEPT_JOBS + 2))}


def test_two_coordinators_may_use_one_name_for_a_job(job: Coordinator) -> None:
    first = job.ask("a", "join")
    job.identity, own = SigningIdentity.generate(), job.identity
    job.nodes["a"].coordinator = job.identity.public
    job.nodes["a"].stop()
    second = job.ask("a", "join")
    assert first != second
    job.identity = own
    job.nodes["a"].coordinator = own.public
    job.nodes["a"].stop()
    assert job.ask("a", "join") == first


def test_a_ledger_of_an_older_version_gets_its_table(job: Coordinator) -> None:
    node = job.nodes["a"]
    node.start(job.privacy)
    node.stop()
    with sqlite3.connect(node.path) as db:
        db.execute("DROP TABLE sum_states")
    db.close()
    job.agree()
    assert isinstance(job.play(1), Opened)


def test_states_of_a_ledger_that_was_put_back_are_let_go(job: Coordinator) -> None:
    job.agree()
    node = job.nodes["a"]
    institution = node.institution(job.privacy)
    receipt = a_receipt(job, "a" * 64)
    lost = Lost(dataset="admissions", coordinator=job.identity.public.key_hex, receipt=receipt)
    institution.ledger.recover([])
    assert len(node.snapshot(job.privacy)[1]) == 1
    institution.ledger.recover([lost])
    assert node.snapshot(job.privacy)[1] == []
    assert_refused(job, "a", job.plan(1), "sum_not_joined")


def a_receipt(job: Coordinator, head: str) -> Receipt:
    return Receipt(
        institution="a",
        number=1,
        job=job.job,
        round=1,
        plan="b" * 64,
        event=job.privacy.event(),
        dataset="c" * 64,
        head=head,
        previous="",
        at="2026-11-01T12:00:00+00:00",
    )


def test_a_ledger_behind_its_receipts_answers_nothing(job: Coordinator) -> None:
    job.agree()
    one, plan = job.begin(1), job.plan(1)
    for name in NAMES:
        one.add_masked(name, job.masked(name, plan))
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    node = job.nodes["a"]
    job.tell("a", seal_receipt(a_receipt(job, "a" * 64), job.identity))
    assert_not_answered(job, "a", "ledger_behind", "open", 1, asked.requests["a"])
    assert_not_answered(job, "a", "ledger_behind", "join")
    assert_refused(job, "a", job.plan(2), "ledger_behind")
    assert node.reads == 1


def test_a_change_that_is_not_of_the_kept_state_is_refused(job: Coordinator) -> None:
    job.agree()
    ledger = job.nodes["a"].institution(job.privacy).ledger
    key = job.identity.public.key_hex
    for before in (None, b"other"):
        with pytest.raises(PlanRefused, match="meanwhile"):
            ledger.sum_states.keep(StateChange(coordinator=key, job="job", before=before, after=b"new"))
    held = ledger.sum_states.find(key, "job")
    ledger.sum_states.keep(StateChange(coordinator=key, job="job", before=held, after=b"new" * 20))
    with pytest.raises(LedgerError, match="does not open"):
        job.nodes["a"].institution(job.privacy).sums.prepare(job.plan(1))


# A coordinator that lies: one attack a test.


def test_a_second_plan_for_a_round_that_was_masked_is_refused(job: Coordinator) -> None:
    job.agree()
    job.masked("a", job.plan(1))
    assert_refused(job, "a", job.plan(1, deadline_s=61.0), "sum_round_used")
    assert_refused(job, "a", job.plan(1, cohort=("a", "b", "c")), "sum_round_used")


def test_a_replayed_round_is_refused(job: Coordinator) -> None:
    job.agree()
    job.masked("a", job.plan(3))
    assert_refused(job, "a", job.plan(2), "sum_round_used")


def test_a_replayed_round_is_refused_when_its_reply_is_no_longer_kept(job: Coordinator) -> None:
    job.rounds = 40
    job.agree()
    plans = [job.plan(number) for number in range(1, 19)]
    for plan in plans:
        job.masked("a", plan)
    assert_refused(job, "a", plans[0], "sum_round_used")


def masked_round(job: Coordinator, number: int, names: str = "abcd") -> Ask:
    one, plan = job.begin(number), job.plan(number)
    for name in names:
        one.add_masked(name, job.masked(name, plan))
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    return asked


def test_an_earlier_round_is_not_opened_later(job: Coordinator) -> None:
    job.agree()
    first = masked_round(job, 1)
    masked_round(job, 2)
    assert_not_answered(job, "a", "round_over", "open", 1, first.requests["a"])


def test_another_survivor_set_is_not_confirmed(job: Coordinator) -> None:
    job.agree()
    statements = shown(job)
    job.ask("a", "confirm", 1, request([*statements[:3]]))
    assert_not_answered(job, "a", "already_answered", "confirm", 1, request(statements[1:] + statements[:1]))
    assert_not_answered(job, "a", "already_answered", "confirm", 1, request(statements))


def test_another_survivor_set_than_the_confirmed_is_not_opened(job: Coordinator) -> None:
    job.agree()
    whole = masked_round(job, 1)
    statements = unpack(unpack(whole.requests["a"])[1])
    job.ask("a", "confirm", 1, request(statements[:3]))
    assert_not_answered(job, "a", "survivors_disagree", "open", 1, whole.requests["a"])


def test_two_survivor_sets_are_not_both_opened(job: Coordinator) -> None:
    job.agree()
    whole = masked_round(job, 1)
    number, statements, confirmations, selves, pairs = unpack(whole.requests["a"])
    job.ask("a", "open", 1, whole.requests["a"])
    fewer = pack([number, pack(unpack(statements)[:3]), confirmations, selves, pairs])
    assert_not_answered(job, "a", "already_answered", "open", 1, fewer)
    assert_not_answered(job, "a", "already_answered", "confirm", 1, request(unpack(statements)[:3]))


def test_a_survivor_set_with_a_dropped_party_is_not_opened_unconfirmed(job: Coordinator) -> None:
    job.agree()
    whole = masked_round(job, 1)
    number, statements, confirmations, selves, pairs = unpack(whole.requests["a"])
    fewer = pack([number, pack(unpack(statements)[:3]), confirmations, selves, pairs])
    assert_not_answered(job, "a", "survivors_disagree", "open", 1, fewer)


def shown(job: Coordinator) -> list[bytes]:
    """The masked statements of a whole round."""
    return unpack(unpack(masked_round(job, 1).requests["a"])[1])


def request(statements: list[bytes], number: int = 1) -> bytes:
    return pack([str(number).encode(), pack(statements)])


def test_a_key_that_its_owner_did_not_sign_is_refused(job: Coordinator) -> None:
    keys = {name: job.ask(name, "join") for name in NAMES}
    # The coordinator signs a key for b itself, in the form that b's statement has.
    members = (job.members[0], ("b", job.identity.public.key_hex), *job.members[2:])
    own = dataclasses.replace(job.terms, members=members)
    header, _ = unpack(Party.join(own, "b", job.identity)[1])
    header = header.replace(own.digest.encode(), job.terms.digest.encode())
    keys["b"] = pack([header, job.identity.sign(b"concordat/1/secagg/keys\0" + header)])
    assert_not_answered(job, "a", "trust", "roster", body=pack(keys.values()))
    assert_refused(job, "a", job.plan(1), "sum_not_joined")


def test_a_key_that_stands_twice_is_refused(job: Coordinator) -> None:
    keys = [job.ask(name, "join") for name in NAMES]
    assert_not_answered(job, "a", "substituted_key", "roster", body=pack([*keys, keys[1]]))


def test_a_roster_without_the_own_key_is_refused(job: Coordinator) -> None:
    keys = {name: job.ask(name, "join") for name in NAMES}
    keys["a"] = Party.join(job.terms, "a", job.nodes["a"].identity)[1]
    assert_not_answered(job, "a", "substituted_key", "roster", body=pack(keys.values()))


def test_a_second_roster_is_refused(job: Coordinator) -> None:
    aggregator = job.agree()
    fewer = pack(unpack(aggregator.roster())[:3])
    assert_not_answered(job, "a", "already_answered", "roster", body=fewer)


def test_a_roster_below_the_threshold_is_refused(job: Coordinator) -> None:
    keys = [job.ask(name, "join") for name in "ab"]
    assert_not_answered(job, "a", "below_threshold", "roster", body=pack(keys))


def test_a_second_join_with_other_terms_is_refused(job: Coordinator) -> None:
    job.ask("a", "join")
    for changes in ({"threshold": 4}, {"colluders": 0}, {"rounds": 10}, {"members": job.members[:3]}):
        assert_not_answered(job, "a", "wrong_binding", "join", terms=dataclasses.replace(job.terms, **changes))


def test_a_plan_with_other_terms_than_the_jobs_is_refused(job: Coordinator) -> None:
    job.agree()
    sums = dataclasses.replace(job.sums, colluders=0)
    assert_refused(job, "a", job.plan(1, sums=sums), "wrong_binding")
    assert_refused(job, "a", job.plan(1, rounds=10), "wrong_binding")
    assert_refused(job, "a", job.plan(1, members=job.members[:3], cohort=("a", "b", "c")), "wrong_binding")


@pytest.mark.parametrize(
    "change",
    [
        lambda p: {"privacy": dataclasses.replace(p.privacy, clip_norm_l2=p.privacy.clip_norm_l2 / 2)},
        lambda p: {"privacy": dataclasses.replace(p.privacy, noise_multiplier=p.privacy.noise_multiplier / 2)},
        lambda p: {"sums": dataclasses.replace(p.sums, bound_l2=p.sums.bound_l2 / 2)},
        lambda p: {"sums": coarser(p)},
    ],
    ids=["clip norm", "noise", "bound", "ring"],
)
def test_institutions_that_are_shown_different_noise_never_sum_together(joint: Coordinator, change: Any) -> None:
    """Each plan is sound by itself; together, one institution's share would stand alone in the sum."""
    joint.agree()
    other = joint.plan(1, **change(joint.plan(1)))
    assert other.members == joint.plan(1).members
    assert_refused(joint, "b", other, "wrong_binding")


def coarser(plan: RoundPlan) -> SumPlan:
    """Sums in another ring, whose shares carry what the plan promises as well."""
    assert plan.sums is not None
    resolution = plan.sums.resolution * 2**12
    noise = SharedNoise.choose(
        noise_multiplier=plan.privacy.noise_multiplier,
        honest_minimum=plan.privacy.honest_minimum or 0,
        parameters=plan.parameters,
        clip_norm_l2=plan.privacy.clip_norm_l2,
        resolution=resolution,
    )
    return dataclasses.replace(plan.sums, resolution=resolution, share_std_units=noise.share_std_units)


def test_a_job_of_another_coordinator_is_refused(job: Coordinator) -> None:
    other = SigningIdentity.generate()
    terms = job.plan(1).terms_of_sums(other.public.key_hex)
    assert_not_answered(job, "a", "wrong_binding", "join", terms=terms)
    job.agree()
    masked_round(job, 1)
    assert_not_answered(job, "a", "wrong_binding", "confirm", 1, terms=terms)


def test_a_question_that_another_coordinator_signed_is_refused(job: Coordinator) -> None:
    other = SigningIdentity.generate()
    terms = job.plan(1).terms_of_sums(other.public.key_hex)
    assert_not_answered(job, "a", "trust", "join", signer=other)
    assert_not_answered(job, "a", "trust", "join", signer=other, terms=terms)


def test_terms_that_leave_the_institution_out_are_refused(job: Coordinator) -> None:
    terms = dataclasses.replace(job.terms, members=job.members[1:], threshold=3)
    assert_not_answered(job, "a", "wrong_binding", "join", terms=terms)


def test_terms_that_name_another_identity_for_the_institution_are_refused(job: Coordinator) -> None:
    members = (("a", SigningIdentity.generate().public.key_hex), *job.members[1:])
    assert_not_answered(job, "a", "substituted_key", "join", terms=dataclasses.replace(job.terms, members=members))
    job.agree()
    # With shared noise the policy says so first; without it, the terms do.
    assert_refused(job, "a", job.plan(1, members=members), "substituted_key")


def test_a_cohort_that_is_not_in_the_roster_is_refused(job: Coordinator) -> None:
    job.agree("abc")
    assert_refused(job, "a", job.plan(1), "wrong_binding")
    assert_refused(job, "a", job.plan(1, cohort=("a", "b", "b", "c")), "wrong_binding")


def test_a_cohort_below_the_threshold_is_refused(job: Coordinator) -> None:
    job.agree()
    assert_refused(job, "a", job.plan(1, cohort=("a", "b")), "below_threshold")


def test_a_question_that_names_another_round_than_it_is_about_is_refused(job: Coordinator) -> None:
    aggregator = job.agree()
    asked = masked_round(job, 1)
    assert_not_answered(job, "a", "wrong_binding", "open", 2, asked.requests["a"])
    assert_not_answered(job, "a", "wrong_binding", "roster", 1, aggregator.roster())
    assert_not_answered(job, "a", "wrong_binding", "join", 1)
    assert_not_answered(job, "a", "malformed", "join", 0, b"more")


@pytest.mark.parametrize("body", [b"", b"\0", b"\xff" * 40, pack([b"1"]), pack([b"1", b"", b"", b"", b""])])
@pytest.mark.parametrize("phase", ["roster", "confirm", "open"])
def test_rubbish_is_refused_by_a_code(job: Coordinator, phase: Any, body: bytes) -> None:
    job.agree()
    masked_round(job, 1)
    before = job.nodes["a"].snapshot(job.privacy)
    code = job.code("a", phase, 0 if phase == "roster" else 1, body)
    assert code in ("malformed", "wrong_binding", "below_threshold", "already_answered")
    assert job.nodes["a"].snapshot(job.privacy) == before


@pytest.mark.parametrize("header", [b"", b"not json", b"[]", b'{"terms": 3}', b"[" * 99999])
def test_a_question_that_cannot_be_read_gets_a_signed_code(job: Coordinator, header: bytes) -> None:
    for signature in (b"\0" * 64, job.identity.sign(b"concordat/1/sum\0" + header)):
        reply = job.tell("a", Envelope(kind="sum", header=header, signature=signature))
        assert reply.kind == "sum_reply"
        assert canonical.decode(reply.header)["code"] in ("trust", "internal_error")
        assert reply.body == b""


def test_a_job_whose_name_has_no_bytes_is_refused(job: Coordinator) -> None:
    envelope = job.sealed("join")[1]
    header = envelope.header.replace(b'"job":"job', b'"job":"\\ud800')
    reply = job.tell(
        "a", dataclasses.replace(envelope, header=header, signature=job.identity.sign(b"concordat/1/sum\0" + header))
    )
    assert canonical.decode(reply.header)["code"] != ""
    assert job.nodes["a"].snapshot(job.privacy)[1] == []


def test_nothing_of_an_unexpected_error_leaves_a_question(
    job: Coordinator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> bytes:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(Party, "agree_keys", fail)
    job.ask("a", "join")
    assert job.code("a", "roster", body=b"") == "internal_error"
    assert SECRET not in caplog.text
    assert "RuntimeError" in caplog.text
