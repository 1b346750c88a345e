"""Parts that stay: laid over each round's state, kept with the reply that they belong to, and in no message."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.language import Encoded
from fedclient._personal_parts import Kept, read_personal
from fedclient.consent import LocalPolicy
from fedclient.dataset import PrivateDataset
from fedclient.ledger import BudgetLimit, Ledger
from fedclient.personal import own_round
from fedclient.session import Institution, run_round, unsafe_unaudited
from fedclient.terms import in_words
from fedclient.update import AdapterUpdate
from fedcore import canonical
from fedcore.adapter import AdapterSchema, AdapterState, FloatArray, ModelCard
from fedcore.errors import ConfigError, InvalidPlan, LedgerError, PlanRefused
from fedcore.identity import SigningIdentity
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import JobPlan, RoundPlan
from fedcore.wire import Envelope, read_refusal, read_reply, seal_plan, unpack_arrays

Plans = Callable[..., RoundPlan]
UNIT = PrivacyUnit(key="patient")
PART = "layers.0.q_proj.lora_B"


@dataclasses.dataclass
class HeldBase:
    card: ModelCard


class Adder:
    """A small trainer: an update of ones, and 2 to the power of the round added to everything that stays."""

    def __init__(self, card: ModelCard) -> None:
        self.base = HeldBase(card)
        self.started: list[AdapterState] = []
        self.fail: Callable[[], None] = lambda: None

    def train(
        self, plan: RoundPlan, state: AdapterState, dataset: PrivateDataset, *, keep: Any = None, **_: Any
    ) -> AdapterUpdate:
        self.started.append(state)
        if keep is not None:
            keep({t.name: state.tensors[t.name] + np.float32(2**plan.round) for t in plan.kept})
        self.fail()
        tensors = {t.name: np.ones(t.shape, dtype=np.float32) for t in plan.trained}
        return AdapterUpdate(specs=plan.trained, tensors=tensors)


class Site:
    """An institution whose jobs keep B, and its coordinator."""

    def __init__(self, directory: Path, card: ModelCard, make_plan: Plans) -> None:
        self.path, self.make_plan = directory / "ledger.db", make_plan
        self.identity, self.coordinator = SigningIdentity.generate(), SigningIdentity.generate()
        self.trainer, self.reads = Adder(card), 0
        self.ledger = self.open()

    def open(self, dataset: str = "admissions") -> Ledger:
        limit = BudgetLimit(epsilon=1e6, delta=1e-5)
        cost: Any = lambda events, delta, enough=0.0: float(len(list(events)))  # noqa: E731 - quick, and easy to add up.
        return Ledger.open(self.path, dataset=dataset, unit=UNIT, limit=limit, cost=cost)

    def dataset(self, plan: RoundPlan) -> PrivateDataset:
        self.reads += 1
        return PrivateDataset(units=((Encoded(ids=(5, 6), labels=(-100, 6)),),))

    def institution(self, **changes: Any) -> Institution:
        policy = LocalPolicy(
            tasks=("medicine.record",),
            unit=UNIT,
            least_noise_multiplier=0.3,
            largest_clip_norm_l2=10.0,
            largest_rank=64,
            largest_delta=1e-5,
        )
        fields: dict[str, Any] = {
            "name": "a",
            "identity": self.identity,
            "coordinator": self.coordinator.public,
            "policy": policy,
            "ledger": self.ledger,
            "trainer": self.trainer,
            "dataset": self.dataset,
            "audit": unsafe_unaudited,
        }
        return Institution(**{**fields, **changes})

    def plan(self, number: int, state: AdapterState, **changes: Any) -> RoundPlan:
        fields: dict[str, Any] = {
            "round": number,
            "rounds": 9,
            "state_digest": state.digest,
            "trains": ("lora_A",),
            "carries": ("lora_A",),
            "keeps": ("lora_B",),
        }
        return self.make_plan(**{**fields, **changes})

    def ask(self, plan: RoundPlan, state: AdapterState, **changes: Any) -> Envelope:
        coordinator = changes.pop("signer", self.coordinator)
        return run_round(seal_plan(plan, state.part(*plan.carries), coordinator), self.institution(**changes))

    def answer(self, plan: RoundPlan, state: AdapterState, **changes: Any) -> None:
        assert self.ask(plan, state, **changes).kind == "reply"

    def code(self, plan: RoundPlan, state: AdapterState, **changes: Any) -> str:
        return read_refusal(self.ask(plan, state, **changes), plan, "a", self.identity.public)

    def kept(self, plan: RoundPlan) -> Kept:
        """What is kept, as a process that only reads the file sees it too."""
        found = self.ledger.personal.find(self.coordinator.public.key_hex, plan.job_id, plan.schema.digest)
        assert found is not None
        assert found in read_personal(self.path, "admissions")
        return found

    def value(self, plan: RoundPlan) -> float:
        """The number that every tensor that is kept holds."""
        values = {float(v) for a in unpack_arrays(self.kept(plan).after, plan.kept).values() for v in a.ravel()}
        assert len(values) == 1
        return values.pop()


@pytest.fixture
def site(tmp_path: Path, card: ModelCard, make_plan: Plans) -> Site:
    return Site(tmp_path, card, make_plan)


def moved(state: AdapterState, by: float) -> AdapterState:
    """The next round's state: A has moved, B is where the plan has it."""
    return state.replace({n: a + np.float32(by) for n, a in state.part("lora_A").items()})


def started_from(site: Site) -> tuple[FloatArray, FloatArray]:
    """A and B that the newest round started from."""
    last = site.trainer.started[-1]
    return last.tensors["layers.0.q_proj.lora_A"], last.tensors[PART]


def test_what_stays_is_kept_and_in_no_message(site: Site, state: AdapterState) -> None:
    plan = site.plan(1, state)
    reply = site.ask(plan, state)
    tensors, _ = read_reply(reply, plan, "a", site.identity.public)
    assert set(tensors) == {t.name for t in plan.trained}
    assert all("lora_A" in name for name in tensors)
    assert b"lora_B" not in reply.body
    assert site.value(plan) == 2.0
    assert site.kept(plan).before is None
    assert site.kept(plan).digest.encode() not in reply.header + reply.body


def test_a_round_starts_from_the_plans_state_with_the_kept_parts_laid_over(site: Site, state: AdapterState) -> None:
    for number, expected in ((1, 0.0), (2, 2.0), (3, 6.0)):
        now = moved(state, number / 8)
        site.answer(site.plan(number, now), now)
        a, b = started_from(site)
        assert np.array_equal(a, now.tensors["layers.0.q_proj.lora_A"])
        assert (b == expected).all()


def test_rounds_that_were_missed_change_nothing_here(site: Site, state: AdapterState) -> None:
    site.ask(site.plan(1, state), state)
    site.ask(site.plan(5, state), state)
    assert (started_from(site)[1] == 2.0).all()
    assert site.value(site.plan(5, state)) == 2.0 + 32.0


def test_a_state_that_is_not_the_plans_is_refused_whatever_is_kept(site: Site, state: AdapterState) -> None:
    site.ask(site.plan(1, state), state)
    laid = state.replace({n: a + np.float32(2) for n, a in state.part("lora_B").items()})
    plan = site.plan(2, laid)  # The coordinator cannot know what is kept; a digest over it names no state.
    assert site.code(plan, state) == "state_mismatch"
    assert site.value(plan) == 2.0


def test_a_kept_reply_that_is_sent_again_changes_nothing(site: Site, state: AdapterState) -> None:
    first, second = site.plan(1, state), site.plan(2, moved(state, 0.5))
    replies = [site.ask(first, state), site.ask(second, moved(state, 0.5))]
    kept, entries = site.kept(second), site.ledger.entries()
    assert [site.ask(first, state), site.ask(second, moved(state, 0.5))] == replies
    assert (site.kept(second), site.ledger.entries(), site.reads) == (kept, entries, 2)


def test_a_round_that_is_asked_again_by_another_plan_starts_where_it_started(site: Site, state: AdapterState) -> None:
    site.ask(site.plan(1, state), state)
    for deadline_s in (60.0, 61.0, 62.0):
        site.ask(site.plan(2, state, deadline_s=deadline_s), state)
        assert (started_from(site)[1] == 2.0).all()
    assert site.value(site.plan(2, state)) == 2.0 + 4.0
    assert len(site.ledger.events()) == 4  # Each of them was paid for.


def test_the_first_round_asked_again_starts_from_the_plans_state(site: Site, state: AdapterState) -> None:
    site.ask(site.plan(1, state), state)
    site.ask(site.plan(1, state, deadline_s=61.0), state)
    assert (started_from(site)[1] == 0.0).all()
    assert site.value(site.plan(1, state)) == 2.0


def test_an_earlier_round_is_refused_before_anything_is_spent(site: Site, state: AdapterState) -> None:
    site.ask(site.plan(3, state), state)
    kept = site.kept(site.plan(3, state))
    assert site.code(site.plan(2, state), state) == "personal_round_passed"
    assert (site.kept(site.plan(3, state)), len(site.ledger.events()), site.reads) == (kept, 1, 1)


def test_other_parts_than_before_are_refused(site: Site, state: AdapterState) -> None:
    site.ask(site.plan(1, state), state)
    other = site.plan(2, state, trains=("lora_B",), carries=("lora_B",), keeps=("lora_A",))
    assert site.code(other, state) == "personal_parts_changed"
    assert len(site.ledger.events()) == 1


def test_jobs_coordinators_adapters_and_datasets_keep_apart(site: Site, state: AdapterState, card: ModelCard) -> None:
    site.answer(site.plan(1, state), state)
    site.answer(site.plan(2, state, job_id="other"), state)
    assert (started_from(site)[1] == 0.0).all()
    schema = AdapterSchema.for_base(card, rank=3, alpha=4, targets=("q_proj",))
    wide = AdapterState.initial(schema, seed=7)
    site.answer(site.plan(2, wide, schema=schema), wide)
    assert (started_from(site)[1] == 0.0).all()
    second = SigningIdentity.generate()
    site.answer(
        site.plan(2, state),
        state,
        signer=second,
        coordinator=second.public,
        receipts_path=site.path.with_name("second"),
    )
    assert (started_from(site)[1] == 0.0).all()
    other = site.open("outpatients")
    site.answer(site.plan(2, state, deadline_s=61.0), state, ledger=other)
    assert (started_from(site)[1] == 0.0).all()
    assert len(read_personal(site.path, "admissions")) == 4
    assert len(read_personal(site.path, "outpatients")) == 1
    assert site.value(site.plan(1, state)) == 2.0
    assert len(site.trainer.started) == 5


def test_a_round_that_fails_is_paid_for_and_leaves_what_was_kept(site: Site, state: AdapterState) -> None:
    site.ask(site.plan(1, state), state)
    kept = site.kept(site.plan(1, state))

    def fail() -> None:
        raise RuntimeError("out of memory")

    site.trainer.fail = fail
    assert site.code(site.plan(2, state), state) == "internal_error"
    assert site.kept(site.plan(1, state)) == kept
    assert len(site.ledger.events()) == 2
    site.trainer.fail = lambda: None
    site.ask(site.plan(2, state), state)
    assert site.value(site.plan(2, state)) == 6.0


def test_of_two_rounds_worked_out_at_once_one_is_refused_whole(site: Site, state: AdapterState) -> None:
    site.ask(site.plan(1, state), state)

    def meanwhile() -> None:
        site.trainer.fail = lambda: None
        site.ask(site.plan(2, state), state)

    site.trainer.fail = meanwhile
    late = site.plan(3, state)
    assert site.code(late, state) == "personal_part_changed"
    assert site.ledger.kept_reply(late.digest) is None
    assert site.value(late) == 6.0


def test_a_reply_without_all_that_stays_is_never_committed(site: Site, state: AdapterState) -> None:
    class Forgetful(Adder):
        def train(self, *args: Any, keep: Any = None, **options: Any) -> AdapterUpdate:
            return super().train(*args, keep=None, **options)

    site.trainer = Forgetful(site.trainer.base.card)
    plan = site.plan(1, state)
    assert site.code(plan, state) == "config"
    assert site.ledger.kept_reply(plan.digest) is None
    assert read_personal(site.path, "admissions") == ()


CHANGES = {
    "changed": "UPDATE personal SET after = before WHERE before IS NOT NULL",
    "said to be of another round": "UPDATE personal SET round = 1",
    "of another type": "UPDATE personal SET after = 'text'",
    "gone": "DELETE FROM personal",
    "given to another job": "UPDATE personal SET job = 'other'",
    "put back": "UPDATE personal SET after = (SELECT after FROM old), before = NULL, round = 1",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_part_that_another_hand_changed_stops_the_round(site: Site, state: AdapterState, change: str) -> None:
    site.ask(site.plan(1, state), state)
    db = site.ledger._chain.db
    db.execute("CREATE TABLE old AS SELECT * FROM personal")
    site.ask(site.plan(2, state), state)
    db.execute(CHANGES[change])
    assert site.code(site.plan(3, state), state) == "ledger"
    assert (len(site.ledger.events()), site.reads) == (2, 2)
    with pytest.raises(LedgerError, match="personal part"):
        read_personal(site.path, "admissions")


def test_a_part_that_appeared_is_no_part(site: Site, state: AdapterState) -> None:
    site.ask(site.plan(1, state, job_id="other"), state)
    site.ledger._chain.db.execute(
        "INSERT INTO personal SELECT dataset, coordinator, 'job', schema, parts, round, before, after FROM personal"
    )
    assert site.code(site.plan(1, state), state) == "ledger"


def test_a_ledger_of_an_older_version_gets_its_table_and_is_read_without(site: Site, state: AdapterState) -> None:
    site.ledger._chain.db.execute("DROP TABLE personal")
    assert read_personal(site.path, "admissions") == ()
    site.ledger.close()
    site.ledger = site.open()
    site.ask(site.plan(1, state), state)
    assert site.value(site.plan(1, state)) == 2.0


def test_a_plan_that_keeps_nothing_keeps_nothing(site: Site, state: AdapterState) -> None:
    plan = site.plan(1, state, keeps=())
    own = own_round(plan, state, name="a", ledger=site.ledger, coordinator="")
    assert (own.plan, own.state, own.options, own.change()) == (plan, state, {}, None)
    site.ask(plan, state)
    assert read_personal(site.path, "admissions") == ()
    assert "personal" not in site.ledger.entries()[-1].body


def test_a_lower_rank_is_trained_as_an_adapter_of_its_own(site: Site, state: AdapterState) -> None:
    plan = site.plan(1, state, trains=("lora_A", "lora_B"), carries=(), keeps=(), ranks=(("a", 1),))
    reply = site.ask(plan, state)
    started = site.trainer.started[-1]
    assert (started.schema.rank, started.schema.alpha) == (1, state.schema.alpha / 2)
    for name, array in started.tensors.items():
        assert np.array_equal(array, state.tensors[name][:1] if "lora_A" in name else state.tensors[name][:, :1])
    tensors, _ = read_reply(reply, plan, "a", site.identity.public)
    assert {n: t.shape for n, t in tensors.items()} == {t.name: t.shape for t in plan.trained_by("a")}


def test_what_cannot_stay_is_no_plan(site: Site, state: AdapterState) -> None:
    one = dataclasses.replace(site.plan(1, state).privacy, steps_per_round=1)
    for changes in (
        {"keeps": ("lora_A",)},
        {"carries": ("lora_A", "lora_B")},
        {"keeps": ("lora_C",)},
        {"joint": True, "privacy": one},
        {"ranks": (("a", 1),)},
    ):
        with pytest.raises(InvalidPlan):
            site.plan(1, state, **changes)


def test_an_operator_reads_that_a_part_stays(site: Site, state: AdapterState) -> None:
    words = dict(in_words(site.plan(1, state)))["stays"]
    assert "lora_B" in words
    assert "never leaves" in words
    assert "stays" not in dict(in_words(site.plan(1, state, keeps=())))


def test_kept_parts_print_as_where_they_belong_alone(site: Site, state: AdapterState) -> None:
    site.ask(site.plan(1, state), state)
    kept = site.kept(site.plan(1, state))
    assert str(kept.after) not in repr(kept)
    with pytest.raises(PlanRefused):
        own_round(
            site.plan(1, state, keeps=("head",)), state, name="a", ledger=site.ledger, coordinator=kept.coordinator
        )
    with pytest.raises(ConfigError):
        own_round(site.plan(2, state), state, name="a", ledger=site.ledger, coordinator="").change()


def test_what_a_job_keeps_is_in_the_terms_that_are_approved(site: Site, state: AdapterState) -> None:
    plan = site.plan(1, state)
    names = ("job_id", "task", "schema", "strategy", "rounds", "seed", "quorum", "deadline_s", "max_tokens")
    fields = {name: getattr(plan, name) for name in (*names, "optimiser", "privacy", "keeps")}
    job = JobPlan(**fields)
    assert JobPlan.from_dict(json.loads(canonical.encode(job.to_dict()))) == job
    assert job.terms_digest == plan.terms_digest != site.plan(1, state, keeps=()).terms_digest
    assert dict(in_words(job))["stays"] == dict(in_words(plan))["stays"]
    with pytest.raises(InvalidPlan):
        JobPlan(**{**fields, "keeps": ("lora_C",)})
