"""The round loop over a Grid in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from fedcore import canonical
from fedcore.adapter import AdapterSchema, AdapterState, ModelCard
from fedcore.errors import Interrupted, QuorumLost
from fedcore.privacy import accounting
from fedcore.receipt import Receipt, read_receipt
from fedcore.round import Abandoned, Completed, Evaluation
from fedcore.wire import carried_receipt, read_plan, seal_refusal, seal_reply
from fedserver import messages
from fedserver.coordinator import Coordinator
from fedserver.store import Store
from fedserver.strategies import load_strategy


def test_job_completes_and_state_is_the_initial_plus_the_mean_updates(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c")
    for value, institution in zip((0.01, 0.02, 0.03), federation.institutions.values(), strict=True):
        institution.value = value
    result = federation.run()
    assert result.status == "completed"
    assert result.contributors == {"a": 2, "b": 2, "c": 2}
    for name, array in result.state.part("lora_B").items():
        np.testing.assert_allclose(array, 0.04, rtol=1e-6, err_msg=name)
    assert [o.round for o in result.outcomes] == [1, 2]
    assert all(o.bytes_up > 0 and o.bytes_down > 0 for o in result.outcomes)
    assert [s.rounds for s in result.spends] == [2, 2, 2]


def test_first_round_carries_nothing_since_everyone_derives_it(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b")
    federation.run()
    first, second = federation.institutions["a"].asked
    assert read_plan(first, federation.identity.public)[1] == {}
    assert all(name.endswith("lora_B") for name in read_plan(second, federation.identity.public)[1])


def test_restart_asks_the_same_question_and_folds_no_round_twice(make_federation: Callable[..., Any]) -> None:
    store = Store.open(":memory:")
    federation = make_federation("a", "b", store=store, rounds=3)
    polls = 0

    def stopped() -> bool:
        nonlocal polls
        polls += 1
        return polls > 3

    federation.answers("b", lambda envelope: ())
    with pytest.raises(Interrupted):
        federation.run(stopped=stopped)
    asked = federation.institutions["a"].asked[0]
    assert store.outcomes("job") == ()

    federation.answers("b", federation.institutions["b"])
    result = federation.run()
    assert result.status == "completed"
    assert federation.institutions["a"].asked[1] == asked
    assert [o.round for o in result.outcomes] == [1, 2, 3]
    again = federation.run()
    assert again.state.digest == result.state.digest
    assert len(federation.institutions["a"].asked) == 4


def test_exhausted_institution_is_left_out_and_the_others_go_on(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c")
    c = federation.institutions["c"]

    def refuse(envelope: Any) -> Any:
        return [messages.pack(seal_refusal(c.plan(envelope), "c", "budget_exhausted", c.identity))]

    federation.answers("c", refuse)
    result = federation.run()
    assert result.status == "completed"
    assert result.outcomes[0].dropped == {"c": "budget_exhausted"}
    assert result.outcomes[1].dropped == {}
    assert len(c.asked) == 1
    assert federation.time.now < 60


def test_too_few_with_budget_left_fails_with_a_clear_reason(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", rounds=3)
    b = federation.institutions["b"]

    def refuse_second(envelope: Any) -> Any:
        plan = b.plan(envelope)
        sealed = b.reply(plan) if plan.round == 1 else seal_refusal(plan, "b", "budget_exhausted", b.identity)
        return [messages.pack(sealed)]

    federation.answers("b", refuse_second)
    result = federation.run()
    assert result.status == "failed"
    assert "b budget_exhausted" in result.reason
    assert isinstance(result.outcomes[0], Completed)
    assert isinstance(result.outcomes[1], Abandoned)
    assert federation.store.job("job").state == "failed"
    with pytest.raises(QuorumLost, match="round 2 of 3"):
        result.check()


def test_fewer_connected_than_quorum_fails_at_the_deadline(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c", deadline_s=30.0)
    federation.grid.offline = {0, 1}
    result = federation.run()
    assert result.status == "failed"
    assert "connected within 30 s; expected at least 2; got c" in result.reason
    assert 30 <= federation.time.now <= 31
    assert federation.institutions["c"].asked == []


def test_quorum_does_not_wait_long_for_an_absent_institution(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c", rounds=4)
    federation.grid.offline = {2}
    result = federation.run()
    assert result.status == "completed"
    assert [o.dropped for o in result.outcomes] == [{"c": "absent"}] * 4
    assert federation.time.now < 8, "only the first round waits for it"


def test_silent_institution_is_late_and_the_round_ends_at_the_deadline(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c", rounds=1)
    federation.answers("c", lambda envelope: ())
    result = federation.run()
    assert result.status == "completed"
    assert result.outcomes[0].dropped == {"c": "late"}
    assert 60 <= federation.time.now <= 61


def test_reply_after_its_round_closed_is_refused_by_name_and_counts_nowhere(
    make_federation: Callable[..., Any],
) -> None:
    """It says that it is of round 1, and would be signed well: only its time is wrong."""
    federation = make_federation("a", "b", "c", rounds=2)
    c, grid = federation.institutions["c"], federation.grid
    c.value, kept, said = 0.04, [], []

    def answer(envelope: Any) -> Any:
        plan = c.plan(envelope)
        if plan.round == 1:
            kept.append((messages.pack(c.reply(plan)), grid._sent[str(grid._count)]))
            return []
        content, question = kept[0]
        grid._replies.append(Message(content, reply_to=question))
        return [messages.pack(c.reply(plan))]

    federation.answers("c", answer)
    result = federation.run(report=lambda progress: said.append(progress.stage))
    first, second = result.outcomes
    assert (first.contributors, first.dropped) == (("a", "b"), {"c": "late"})
    assert (second.contributors, second.dropped) == (("a", "b", "c"), {})
    assert said.count("refused a late reply of c to round 1") == 1
    for array in result.state.part("lora_B").values():
        np.testing.assert_allclose(array, 0.01 + 0.02, rtol=1e-6)


def test_however_many_have_answered_only_a_few_replies_are_held_at_once(make_federation: Callable[..., Any]) -> None:
    names = tuple(f"n{i:02}" for i in range(30))
    federation = make_federation(*names, rounds=1)
    pull, held = federation.grid.pull_messages, []

    def counted(message_ids: Any) -> Any:
        found = list(pull(message_ids))
        held.append(len(found))
        return found

    federation.grid.pull_messages = counted
    assert federation.run().outcomes[0].contributors == names
    assert max(held) <= 8
    assert sum(held) == 30


def test_only_invited_institutions_are_asked(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c", institutions=("a", "b"))
    assert federation.run().contributors == {"a": 2, "b": 2}
    assert federation.institutions["c"].asked == []


@pytest.mark.parametrize("strategy", ["alternating", "fedavg", "fedsa", "fedsb", "frozen_a", "hetlora"])
def test_every_strategy_trains_only_what_it_says(
    make_federation: Callable[..., Any], card: ModelCard, strategy: str
) -> None:
    form = load_strategy(strategy).traits.form
    schema = AdapterSchema.for_base(card, rank=2, alpha=4, targets=("q_proj",), form=form)
    federation = make_federation("a", "b", strategy=strategy, schema=schema)
    result = federation.run()
    plans = [read_plan(e, federation.identity.public)[0] for e in federation.institutions["a"].asked]
    trained = {name for p in plans for t in p.trained for name in [t.name]}
    initial = AdapterState.initial(federation.job.schema, federation.job.seed)
    changed = {n for n, a in result.state.tensors.items() if not np.array_equal(a, initial.tensors[n])}
    assert changed == trained


def test_losses_are_scored_once_and_each_round_when_asked(make_federation: Callable[..., Any]) -> None:
    class Counting:
        def __init__(self) -> None:
            self.calls: list[bool] = []

        def loss(self, state: Any, **_: Any) -> float:
            self.calls.append(state is None)
            return 2.0 if state is None else 1.0

    evaluation = Evaluation(records="public.jsonl", every_round=True)
    federation = make_federation("a", "b", evaluation=evaluation)
    scorer = Counting()
    result = federation.run(evaluator=scorer)
    assert (result.loss_base, result.loss_released) == (2.0, 1.0)
    assert [o.loss for o in result.outcomes] == [1.0, 1.0]
    assert scorer.calls == [True, False, False, False]
    federation.run(evaluator=scorer)
    assert len(scorer.calls) == 4


# Receipts: every reply that was signed is countersigned, once, in order.


def receipts_of(federation: Any, name: str) -> list[Receipt]:
    key = federation.identity.public
    return [read_receipt(sealed, key, institution=name) for sealed in federation.store.receipts(name)]


def test_every_round_gives_each_contributor_a_receipt_for_the_entry_that_it_named(
    make_federation: Callable[..., Any],
) -> None:
    federation = make_federation("a", "b", rounds=3)
    federation.run()
    for name in ("a", "b"):
        asked = [read_plan(e, federation.identity.public)[0] for e in federation.institutions[name].asked]
        found = receipts_of(federation, name)
        heads = [canonical.digest([name, plan.digest]) for plan in asked]
        assert [r.head for r in found] == heads
        assert [(r.number, r.round, r.job) for r in found] == [(i, i, "job") for i in (1, 2, 3)]
        assert [r.previous for r in found] == ["", *heads[:-1]]
        assert [r.plan for r in found] == [plan.digest for plan in asked]
        assert [r.event for r in found] == [federation.job.privacy.event()] * 3


def test_each_plan_carries_the_newest_receipt_of_its_institution_and_of_nobody_else(
    make_federation: Callable[..., Any],
) -> None:
    federation = make_federation("a", "b", rounds=3)
    federation.run()
    for name in ("a", "b"):
        carried = [carried_receipt(e) for e in federation.institutions[name].asked]
        assert carried[0] is None
        assert carried[1:] == list(federation.store.receipts(name))[:2]


def test_receipts_are_handed_out_at_the_end_of_a_job_and_nobody_waits(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c")
    federation.answers("c", lambda e: [messages.pack(refused(federation, "c", e))])
    result = federation.run()
    assert federation.grid.receipts == {
        federation.node(name): [federation.store.receipts(name)[-1]] for name in ("a", "b")
    }
    assert federation.time.now < 2
    # What goes out after the last round is part of no round's bytes.
    down = sum(e.size_bytes for i in ("a", "b") for e in federation.institutions[i].asked)
    refusals = sum(e.size_bytes for e in federation.institutions["c"].asked)
    assert sum(o.bytes_down for o in result.outcomes) == down + refusals


def refused(federation: Any, name: str, envelope: Any) -> Any:
    institution = federation.institutions[name]
    return seal_refusal(institution.plan(envelope), name, "no_noise", institution.identity)


def test_an_abandoned_round_gives_receipts_too(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c", quorum=3)
    federation.answers("c", lambda e: [messages.pack(refused(federation, "c", e))])
    assert federation.run().status == "failed"
    assert [len(receipts_of(federation, n)) for n in ("a", "b", "c")] == [1, 1, 0]
    assert set(federation.grid.receipts) == {0, 1}


def test_numbers_go_on_over_jobs(make_federation: Callable[..., Any]) -> None:
    first = make_federation("a", "b", job_id="one")
    first.run()
    first.store.complete_job("one", release=None)
    second = make_federation("a", "b", job_id="two", store=first.store)
    second.institutions = first.institutions
    second.grid.nodes = dict(enumerate(first.institutions.values()))
    second.run()
    found = receipts_of(first, "a")
    assert [(r.job, r.number) for r in found] == [("one", 1), ("one", 2), ("two", 3), ("two", 4)]
    assert [r.previous for r in found[1:]] == [r.head for r in found[:-1]]


def test_a_receipt_pays_for_rounds_that_were_reserved_and_never_answered(make_federation: Callable[..., Any]) -> None:
    """A worker that died had reserved; its institution states it with the next reply, and the receipt shows it."""
    federation = make_federation("a", "b", rounds=3)
    a = federation.institutions["a"]
    privacy = federation.job.privacy

    def lost_one(envelope: Any) -> Any:
        plan = a.plan(envelope)
        reserved = plan.round + (plan.round >= 2)
        spent = accounting.epsilon([privacy.event(reserved)], privacy.delta)
        good = canonical.decode(a.reply(plan).header)
        stated = {
            **good["spend"],
            "events": [privacy.event(reserved).to_dict()],
            "epsilon": spent,
            "epsilon_job": spent,
        }
        tensors = {t.name: np.full(t.shape, a.value, dtype=np.float32) for t in plan.trained}
        head, tag = good["ledger"], good["dataset"]
        return [messages.pack(seal_reply(plan, "a", tensors, stated, a.identity, ledger=head, dataset=tag))]

    federation.answers("a", lost_one)
    assert federation.run().contributors == {"a": 3, "b": 3}
    assert [r.event for r in receipts_of(federation, "a")] == [privacy.event(1), privacy.event(2), privacy.event(1)]
    assert [r.event for r in receipts_of(federation, "b")] == [privacy.event(1)] * 3


def test_a_coordinator_lingers_only_for_those_who_have_not_fetched_their_receipt(
    make_federation: Callable[..., Any],
) -> None:
    federation = make_federation("a", "b", rounds=1)
    clock = federation.time.clock()
    coordinator = Coordinator(federation.job, federation.store, federation.identity, federation.members, clock=clock)
    coordinator.run(federation.grid)
    before = federation.time.now
    coordinator.linger(federation.grid, limit_s=3.0)
    assert federation.time.now - before == pytest.approx(3.0)


def test_a_job_keeps_what_each_contributor_signed_last(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b")
    result = federation.run()
    assert [a.institution for a in result.attestations] == ["a", "b"]
    for attestation, spend in zip(result.attestations, result.spends, strict=True):
        header = attestation.verify()
        assert (header["round"], header["spend"]) == (2, spend.to_dict())
        assert attestation.identity == federation.institutions[attestation.institution].identity.public.key_hex
