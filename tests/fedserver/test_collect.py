"""Hostile replies: each is dropped by name, and the round finishes with the others."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from safetensors.numpy import save

from fedcore import canonical
from fedcore.errors import BadReply, QuorumLost
from fedcore.identity import SigningIdentity
from fedcore.round import Optimiser
from fedcore.wire import Envelope, read_update, seal_refusal, seal_reply
from fedserver import messages
from fedserver.cohort import Member
from fedserver.collect import Collector, norm_bound

NAME = "layers.0.q_proj.lora_B"


def hostile(make_federation: Callable[..., Any], answer: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Run a job of one round in which c answers as told, and a and b honestly."""
    federation = make_federation("a", "b", "c", rounds=1)
    c = federation.institutions["c"]

    def reply(envelope: Envelope) -> Any:
        made = answer(c, c.plan(envelope))
        return [
            m if isinstance(m, RecordDict) else messages.pack(m) for m in (made if isinstance(made, list) else [made])
        ]

    federation.answers("c", reply)
    return federation, federation.run()


def spent(**changes: Any) -> Callable[[Any, Any], Envelope]:
    """An honest update with a statement of its cost in which something is changed."""

    def answer(c: Any, plan: Any) -> Envelope:
        made = {name: value(plan) if callable(value) else value for name, value in changes.items()}
        return sealed_anyway(
            c, plan, tensors_of(c, plan), spend={**canonical.decode(c.reply(plan).header)["spend"], **made}
        )

    return answer


def event_of(plan: Any, **changes: Any) -> list[dict[str, Any]]:
    return [{**plan.privacy.event().to_dict(), **changes}]


def sealed_anyway(c: Any, plan: Any, tensors: dict[str, Any], **header: Any) -> Envelope:
    """A correctly signed reply whose tensors no honest sealing would take."""
    good = c.reply(plan)
    body = messages_body(tensors)
    fields = {**canonical.decode(good.header), "body_sha256": hashlib.sha256(body).hexdigest(), **header}
    data = canonical.encode(fields)
    return Envelope(kind="reply", header=data, signature=c.identity.sign(b"concordat/1/reply\0" + data), body=body)


def messages_body(tensors: dict[str, Any]) -> bytes:
    return bytes(save(tensors))


def tensors_of(c: Any, plan: Any) -> dict[str, Any]:
    return {t.name: np.full(t.shape, c.value, dtype=np.float32) for t in plan.trained}


def spoiled(name: str, value: Any) -> Callable[[Any, Any], Envelope]:
    return lambda c, plan: sealed_anyway(c, plan, {**tensors_of(c, plan), name: value(plan)})


SHAPE = (4, 2)
ATTACKS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "nan": ("not_finite", spoiled(NAME, lambda plan: np.full(SHAPE, np.nan, dtype=np.float32))),
    "infinity": ("not_finite", spoiled(NAME, lambda plan: np.full(SHAPE, np.inf, dtype=np.float32))),
    "huge": ("too_large", spoiled(NAME, lambda plan: np.full(SHAPE, 1e30, dtype=np.float32))),
    "just above the bound": (
        "too_large",
        spoiled(NAME, lambda plan: np.full(SHAPE, 1.01 * norm_bound(plan), dtype=np.float32)),
    ),
    "broadcastable shape": ("wrong_shape", spoiled(NAME, lambda plan: np.zeros((1, 2), dtype=np.float32))),
    "wrong dtype": ("wrong_dtype", spoiled(NAME, lambda plan: np.zeros(SHAPE, dtype=np.float64))),
    "extra tensor": ("extra_tensor", spoiled("layers.9.q_proj.lora_B", lambda plan: np.zeros(SHAPE, dtype=np.float32))),
    "missing tensor": (
        "missing_tensor",
        lambda c, plan: sealed_anyway(c, plan, {n: a for n, a in tensors_of(c, plan).items() if n != NAME}),
    ),
    "body that is not safetensors": (
        "bad_signature",
        lambda c, plan: replace(c.reply(plan), body=b"\x80\x04pickle"),
    ),
    "signed by a stranger": (
        "bad_signature",
        lambda c, plan: replace(c, identity=SigningIdentity.generate()).reply(plan),
    ),
    "signature of another message": (
        "bad_signature",
        lambda c, plan: replace(c.reply(plan), signature=b"\0" * 64),
    ),
    "answer to another round": ("wrong_plan", lambda c, plan: c.reply(replace(plan, round=1, rounds=9))),
    "answer in another's name": ("wrong_plan", lambda c, plan: replace(c, name="a").reply(plan)),
    "no spend": ("malformed", lambda c, plan: sealed_anyway(c, plan, tensors_of(c, plan), spend=None)),
    "spend that cannot be read": ("bad_spend", lambda c, plan: sealed_anyway(c, plan, tensors_of(c, plan), spend={})),
    "spend below zero": (
        "bad_spend",
        lambda c, plan: sealed_anyway(
            c, plan, tensors_of(c, plan), spend={**canonical.decode(c.reply(plan).header)["spend"], "epsilon": -1.0}
        ),
    ),
    "spend of another": (
        "bad_spend",
        lambda c, plan: sealed_anyway(
            c, plan, tensors_of(c, plan), spend={**canonical.decode(c.reply(plan).header)["spend"], "institution": "a"}
        ),
    ),
    "spend of another relation": ("bad_spend", spent(relation="replace_one")),
    "spend of another unit": ("bad_spend", spent(unit="record")),
    "spend of no event": ("bad_spend", spent(events=[], epsilon=0.0, epsilon_job=0.0)),
    "spend of too few steps": ("bad_spend", spent(events=lambda plan: event_of(plan, steps=1))),
    "spend of another noise": ("bad_spend", spent(events=lambda plan: event_of(plan, noise_multiplier=9.0))),
    "spend below what its events cost": ("bad_spend", spent(epsilon_job=0.1)),
    "spend of the job above that of all jobs": ("bad_spend", spent(epsilon=0.1)),
    "audit above the stated epsilon": ("bad_spend", spent(audited_epsilon=99.0, audit_confidence=0.95)),
    "no entry of a ledger": (
        "malformed",
        lambda c, plan: sealed_anyway(c, plan, tensors_of(c, plan), ledger=None),
    ),
    "refusal": ("budget_exhausted", lambda c, plan: seal_refusal(plan, "c", "budget_exhausted", c.identity)),
    "refusal that is a text": ("malformed", lambda c, plan: seal_refusal(plan, "c", "a long story!", c.identity)),
    "plan sent back": ("malformed", lambda c, plan: RecordDict({"envelope": ConfigRecord({"kind": "code"})})),
    "nothing": ("malformed", lambda c, plan: RecordDict()),
    "metrics of Flower's": (
        "malformed",
        lambda c, plan: RecordDict({"metrics": MetricRecord({"num-examples": 10**12})}),
    ),
    "header of the wrong type": (
        "malformed",
        lambda c, plan: RecordDict({"envelope": ConfigRecord({"kind": "reply", "header": "text", "signature": b""})}),
    ),
    "body of several arrays": (
        "malformed",
        lambda c, plan: RecordDict(
            {
                "envelope": messages.pack(c.reply(plan))["envelope"],
                "body": ArrayRecord({n: Array(np.zeros(2, dtype=np.float32)) for n in ("body", "more")}),
            }
        ),
    ),
    "header that is too long": (
        "malformed",
        lambda c, plan: replace(c.reply(plan), header=b"0" * (5 << 20)),
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_reply_is_dropped_by_name_and_the_round_finishes(
    make_federation: Callable[..., Any], attack: str
) -> None:
    reason, answer = ATTACKS[attack]
    federation, result = hostile(make_federation, answer)
    assert result.status == "completed"
    assert result.outcomes[0].contributors == ("a", "b")
    assert result.outcomes[0].dropped == {"c": reason}
    np.testing.assert_allclose(result.state.tensors[NAME], 0.01, rtol=1e-6)
    assert federation.time.now < 60


def test_whatever_an_institution_signed_gets_a_receipt_though_it_was_not_counted(
    make_federation: Callable[..., Any],
) -> None:
    for attack, expected in {
        "huge": True,
        "missing tensor": True,
        "spend below zero": True,
        "no spend": False,
        "signed by a stranger": False,
        "refusal": False,
        "nothing": False,
    }.items():
        federation, _ = hostile(make_federation, ATTACKS[attack][1])
        assert bool(federation.store.receipts("c")) is expected, attack
        assert len(federation.store.receipts("a")) == 1


def test_second_reply_of_a_node_is_dropped_and_the_first_one_counts_once(make_federation: Callable[..., Any]) -> None:
    def twice(c: Any, plan: Any) -> list[Envelope]:
        first = c.reply(plan)
        c.value = 0.5
        return [first, c.reply(plan)]

    _, result = hostile(make_federation, twice)
    assert result.outcomes[0].contributors == ("a", "b", "c")
    assert result.outcomes[0].dropped == {"c": "duplicate"}
    np.testing.assert_allclose(result.state.tensors[NAME], 0.01, rtol=1e-6)


def test_reply_kept_from_an_earlier_round_is_dropped_when_replayed(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c")
    c = federation.institutions["c"]
    kept: list[RecordDict] = []

    def replay(envelope: Envelope) -> list[RecordDict]:
        kept.append(messages.pack(c.reply(c.plan(envelope))))
        return kept[:1]

    federation.answers("c", replay)
    result = federation.run()
    assert result.outcomes[0].contributors == ("a", "b", "c")
    assert result.outcomes[1].dropped == {"c": "wrong_plan"}


def test_bad_replies_below_the_quorum_abandon_the_round_and_fold_nothing(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", "c", quorum=3)
    c = federation.institutions["c"]
    federation.answers("c", lambda e: [messages.pack(replace(c.reply(c.plan(e)), signature=b"\0" * 64))])
    result = federation.run()
    assert result.status == "failed"
    assert "c bad_signature" in result.reason
    assert federation.store.checkpoint(federation.job)[0] == 0


@pytest.mark.parametrize("optimiser", [Optimiser(), Optimiser(name="sgd", learning_rate=0.1, momentum=0.9)])
def test_bound_leaves_room_above_what_a_plan_can_honestly_reach(make_plan: Callable[..., Any], optimiser: Any) -> None:
    plan = make_plan(optimiser=optimiser)
    steps, numbers = plan.privacy.steps_per_round, sum(t.size for t in plan.trained)
    # Adam moves a number by at most a little more than the learning rate a step, once its averages have settled.
    if optimiser.name == "adamw":
        assert norm_bound(plan) >= 3 * steps * optimiser.learning_rate * np.sqrt(numbers)
    else:
        noise = plan.privacy.noise_std_of_mean() * np.sqrt(numbers)
        one_step = optimiser.learning_rate / (1 - optimiser.momentum) * (plan.privacy.clip_norm_l2 + noise)
        assert norm_bound(plan) >= 3 * steps * one_step


def test_sum_does_not_depend_on_who_answers_first(
    make_plan: Callable[..., Any], make_federation: Callable[..., Any]
) -> None:
    plan = make_plan(cohort=("a", "b", "c"))
    institutions = make_federation("a", "b", "c").institutions
    members = {n: Member(name=n, identity=i.identity.public, flower_key="") for n, i in institutions.items()}
    generator = np.random.default_rng(1)
    replies = {
        n: i.reply(plan, **{t.name: generator.normal(0, 0.01, t.shape).astype(np.float32) for t in plan.trained})
        for n, i in institutions.items()
    }
    sums = []
    for order in (("a", "b", "c"), ("c", "a", "b")):
        collector = Collector(plan, members)
        for name in order:
            collector.take(name, replies[name])
        sums.append(collector.sum())
    assert all((sums[0].total[n] == sums[1].total[n]).all() for n in sums[0].total)


def test_rounds_that_were_counted_must_be_accounted_for(
    make_plan: Callable[..., Any], make_federation: Callable[..., Any]
) -> None:
    """One who states the cost of this round alone, after another was counted, hides one."""
    plan = make_plan(cohort=("a",))
    a = make_federation("a").institutions["a"]
    members = {"a": Member(name="a", identity=a.identity.public, flower_key="")}
    reply = a.reply(plan)
    for folded, dropped in ((0, {}), (1, {"a": "bad_spend"})):
        collector = Collector(plan, members, folded={"a": folded})
        collector.take("a", reply)
        assert collector.dropped == dropped


def test_what_a_contributor_signed_is_kept_for_the_certificate(
    make_plan: Callable[..., Any], make_federation: Callable[..., Any]
) -> None:
    plan = make_plan(cohort=("a", "b"))
    a, b = make_federation("a", "b").institutions.values()
    members = {i.name: Member(name=i.name, identity=i.identity.public, flower_key="") for i in (a, b)}
    collector = Collector(plan, members)
    collector.take("a", a.reply(plan))
    collector.take("b", seal_refusal(plan, "b", "no", b.identity))
    assert set(collector.attestations) == {"a"}
    assert collector.attestations["a"].verify()["spend"] == collector.spends["a"].to_dict()


def test_member_that_is_gone_counts_as_missing(make_plan: Callable[..., Any]) -> None:
    collector = Collector(make_plan(), {})
    assert collector.dropped == {"a": "missing", "b": "missing"}
    with pytest.raises(QuorumLost, match="a missing, b missing"):
        collector.sum()


def test_an_update_of_a_lower_rank_is_read_in_its_own_shapes_and_no_others(
    make_plan: Callable[..., Any], node_identity: SigningIdentity
) -> None:
    plan = make_plan(trains=("lora_A", "lora_B"), ranks=(("a", 1),))
    for name, expected in (("a", plan.trained_by("a")), ("b", plan.trained)):
        tensors = {t.name: np.ones(t.shape, dtype=np.float32) for t in expected}
        sealed = seal_reply(plan, name, tensors, {}, node_identity, ledger="1" * 64, dataset="2" * 64)
        assert {n: a.shape for n, a in read_update(sealed, plan, name).items()} == {t.name: t.shape for t in expected}
        with pytest.raises(BadReply, match="wrong shape") as refused:
            read_update(sealed, plan, "b" if name == "a" else "a")
        assert refused.value.kind == "wrong_shape"


def test_an_institution_of_a_lower_rank_is_believed_less(make_plan: Callable[..., Any]) -> None:
    plan = make_plan(trains=("lora_A", "lora_B"), ranks=(("a", 1),))
    sizes = {name: sum(t.size for t in plan.trained_by(name)) for name in "ab"}
    assert sizes["a"] == sizes["b"] / 2
    assert norm_bound(plan, "b") == norm_bound(plan)
    assert norm_bound(plan, "a") == pytest.approx(norm_bound(plan) / np.sqrt(2))
