"""Masked sums over a Grid in memory, with real parties: right sums, whoever vanishes, lies, or is killed."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import RecordDict

from fedcore import canonical
from fedcore.adapter import AdapterState
from fedcore.errors import Interrupted, TrustError
from fedcore.privacy.integer_noise import UnsafeSeededIntegerNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.receipt import read_receipt
from fedcore.round import Abandoned, Completed, Evaluation, Optimiser
from fedcore.secagg import party
from fedcore.secagg.messages import pack, unpack
from fedcore.secagg.shares import commitment
from fedcore.wire import Envelope, read_plan, read_sum, seal_refusal, seal_sum_refusal, seal_sum_reply
from fedserver import messages
from fedserver.gather import LOST
from fedserver.masked import NO_KEYS, NOT_JOINED
from fedserver.store import Store
from tests.fedserver.conftest import Federation, MaskedInstitution

ALL = ("a", "b", "c", "d", "e")
MakeMasked = Callable[..., Federation]


def values(*names: str, unit: float = 2.0**-10) -> float:
    """What these institutions add up to, in each number of a round of local steps."""
    return unit * sum("abcde".index(name) + 1 for name in names)


def sums(*names: str) -> float:
    """As `values`, in a joint round."""
    return values(*names, unit=2.0**-5)


def check_state(federation: Federation, result: Any, expected: float) -> None:
    """Every trained number is its initial value plus what was folded: exactly, but for float32."""
    initial = AdapterState.initial(federation.job.schema, federation.job.seed)
    for name, array in result.state.part("lora_B").items():
        np.testing.assert_allclose(array - initial.tensors[name], expected, rtol=1e-6, err_msg=name)
    for name, array in result.state.part("lora_A").items():
        assert np.array_equal(array, initial.tensors[name])


def vanish_after(federation: Federation, name: str, *kinds: str) -> None:
    """The node answers these questions and then is gone."""
    node, left = federation.institutions[name], list(kinds)

    def answer(envelope: Envelope) -> Iterable[RecordDict]:
        replies = list(node(envelope))
        kind = read_sum(envelope, federation.identity.public).phase if envelope.kind == "sum" else "plan"
        if kind in left:
            left.remove(kind)
            if not left:
                federation.leaves(name)
        return replies

    federation.answers(name, answer)


def phases(federation: Federation, name: str) -> list[str]:
    return [phase for phase, _, _ in federation.institutions[name].shown]  # type: ignore[attr-defined]


# Full rounds ------------------------------------------------------------------------------------------


def test_masked_job_folds_the_mean_of_updates_that_nobody_saw(make_masked: MakeMasked) -> None:
    federation = make_masked()
    result = federation.run()
    assert result.status == "completed"
    assert result.contributors == dict.fromkeys(ALL, 2)
    check_state(federation, result, 2 * values(*ALL) / 5)
    assert [o.dropped for o in result.outcomes] == [{}, {}]
    assert phases(federation, "a") == ["join", "roster", "open", "open"]
    assert [s.rounds for s in result.spends] == [2] * 5
    assert federation.time.now < 2
    assert federation.store.masked("job", 1) is None
    assert federation.store.masked("job", 2) is None


def test_no_vector_that_reaches_the_coordinator_is_an_update(make_masked: MakeMasked) -> None:
    """Each masked vector is uniform over the ring; two institutions' constant updates would show at once."""
    federation = make_masked(rounds=1)
    federation.run()
    for institution in federation.institutions.values():
        (reply,) = institution.replies.values()  # type: ignore[attr-defined]
        vector = np.frombuffer(unpack(reply.body)[1], dtype="<u4" if federation.job.sums.bits == 32 else "<u2")  # type: ignore[union-attr]
        assert len(set(vector.tolist())) > 12


def test_plans_name_all_members_and_a_cohort_of_those_connected(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=3)
    vanish_after(federation, "e", "join", "roster", "plan", "open")
    result = federation.run()
    plans = [read_plan(e, federation.identity.public)[0] for e in federation.institutions["a"].asked]
    assert [name for name, _ in plans[0].members] == list(ALL)
    assert [p.members for p in plans] == [plans[0].members] * 3
    assert [p.cohort for p in plans] == [ALL, ALL[:4], ALL[:4]]
    assert [o.dropped for o in result.outcomes] == [{}, {"e": "absent"}, {"e": "absent"}]
    # In the second round nobody vanished, so nothing had to be confirmed.
    assert "confirm" not in phases(federation, "a")


NOISELESS = {"mechanism": "UnsafeNoNoise", "noise_multiplier": 0.0, "steps_per_round": 1}


def joint(privacy: PrivacyPlan, **changes: Any) -> dict[str, Any]:
    return {
        "joint": True,
        "privacy": replace(privacy, **{**NOISELESS, **changes}),
        "optimiser": Optimiser(name="sgd", learning_rate=0.5),
        "strategy": "frozen_a",
    }


def test_joint_masked_job_takes_the_step_of_the_pooled_batch(make_masked: MakeMasked, privacy: PrivacyPlan) -> None:
    federation = make_masked(**joint(privacy))
    result = federation.run()
    assert result.status == "completed"
    gradient = sums(*ALL) / (privacy.expected_batch_units * 5)
    check_state(federation, result, -2 * 0.5 * gradient)


def test_joint_job_without_masks_takes_the_same_step(
    make_masked: MakeMasked, make_federation: Callable[..., Any], privacy: PrivacyPlan
) -> None:
    masked = make_masked(**joint(privacy)).run()
    plain = make_federation(*ALL, quorum=3, **joint(privacy))
    for name, institution in plain.institutions.items():
        institution.value = sums(name)
    result = plain.run()
    for name, array in result.state.tensors.items():
        np.testing.assert_allclose(array, masked.state.tensors[name], rtol=1e-6, err_msg=name)


def test_shared_noise_is_in_the_sum_as_often_as_there_are_contributors(
    make_masked: MakeMasked, privacy: PrivacyPlan
) -> None:
    settings = joint(privacy, mechanism="discrete_gaussian", noise_multiplier=0.8, honest_minimum=3)
    federation = make_masked(rounds=12, noise=UnsafeSeededIntegerNoise(3), **settings)
    result = federation.run()
    assert result.status == "completed"
    plan = federation.job.sums
    assert plan is not None
    steps = 0.5 / (privacy.expected_batch_units * 5)
    expected_std = steps * plan.share_std_units * plan.resolution * np.sqrt(5 * 12)
    moved = np.concatenate([a.ravel() for a in result.state.part("lora_B").values()])
    noise = moved + 12 * steps * sums(*ALL)
    assert 0.5 * expected_std < np.sqrt(np.mean(noise**2)) < 1.7 * expected_std
    assert [s.mechanism for s in result.spends] == ["discrete_gaussian"] * 5


# Dropouts ---------------------------------------------------------------------------------------------


def test_one_that_vanishes_before_masking_is_lost_and_the_rest_confirm(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)

    def gone(envelope: Envelope) -> Iterable[RecordDict]:
        if envelope.kind == "plan":
            federation.leaves("e")
            return []
        return federation.institutions["e"](envelope)

    federation.answers("e", gone)
    result = federation.run()
    assert result.outcomes[0].contributors == ALL[:4]  # type: ignore[union-attr]
    assert result.outcomes[0].dropped == {"e": LOST}
    assert federation.time.now < 7, "nobody waits for the deadline"
    check_state(federation, result, values(*ALL[:4]) / 4)
    assert phases(federation, "a") == ["join", "roster", "confirm", "open"]


def test_one_that_vanishes_after_masking_is_in_the_sum(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    vanish_after(federation, "e", "join", "roster", "plan")
    result = federation.run()
    assert result.outcomes[0].contributors == ALL  # type: ignore[union-attr]
    assert result.outcomes[0].dropped == {}
    check_state(federation, result, values(*ALL) / 5)
    assert federation.time.now < 2, "enough shares came from the others"


def test_two_that_vanish_after_masking_beside_one_before_leave_the_threshold(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    federation.answers("c", refusing(federation, "c", "no_noise"))
    vanish_after(federation, "e", "join", "roster", "plan")
    result = federation.run()
    assert result.outcomes[0].contributors == ("a", "b", "d", "e")  # type: ignore[union-attr]
    assert result.outcomes[0].dropped == {"c": "no_noise"}
    check_state(federation, result, values("a", "b", "d", "e") / 4)


def refusing(federation: Federation, name: str, code: str) -> Callable[[Envelope], Iterable[RecordDict]]:
    node = federation.institutions[name]

    def answer(envelope: Envelope) -> Iterable[RecordDict]:
        if envelope.kind == "sum":
            return node(envelope)
        return [messages.pack(seal_refusal(node.plan(envelope), name, code, node.identity))]

    return answer


def test_one_that_vanishes_after_it_sent_its_key_never_has_the_roster_and_stops_nobody(make_masked: MakeMasked) -> None:
    federation = make_masked()
    vanish_after(federation, "e", "join")
    result = federation.run()
    assert result.contributors == dict.fromkeys(ALL[:4], 2)
    assert [o.dropped for o in result.outcomes] == [{"e": "absent"}] * 2
    check_state(federation, result, 2 * values(*ALL[:4]) / 4)
    assert federation.time.now < 20


def test_one_that_is_back_and_vanishes_at_the_roster_again_stops_nobody(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=3)
    vanish_after(federation, "e", "join")

    def back(progress: Any) -> None:
        if progress.stage == "folded":
            federation.grid.offline.clear()

            def gone(envelope: Envelope) -> Iterable[RecordDict]:
                federation.leaves("e")
                return []

            federation.answers("e", gone)

    result = federation.run(report=back)
    assert result.contributors == dict.fromkeys(ALL[:4], 3)
    assert federation.time.now < 60, "the deadline of one exchange"


def test_one_that_missed_the_roster_gets_it_when_it_is_back(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=3)
    vanish_after(federation, "e", "join")

    def back(progress: Any) -> None:
        if progress.stage == "folded" and progress.round == 1:
            federation.grid.offline.clear()

    result = federation.run(report=back)
    assert [o.contributors for o in result.outcomes] == [ALL[:4], ALL, ALL]  # type: ignore[union-attr]
    check_state(federation, result, values(*ALL[:4]) / 4 + 2 * values(*ALL) / 5)


@pytest.mark.parametrize("answer", ["nothing", "a refusal", "another's key"])
def test_one_that_sends_no_key_is_left_out_of_the_job_by_name(make_masked: MakeMasked, answer: str) -> None:
    federation = make_masked()
    e, b = federation.institutions["e"], federation.institutions["b"]

    def join(envelope: Envelope) -> Iterable[RecordDict]:
        if answer == "nothing":
            return []
        if answer == "a refusal":
            return [messages.pack(seal_sum_refusal(envelope, "e", "peers_unknown", e.identity))]
        ask = read_sum(envelope, federation.identity.public)
        return [messages.pack(seal_sum_reply(ask, "e", b.keys, e.identity))]  # type: ignore[attr-defined]

    federation.answers("e", join)
    result = federation.run()
    reason = {"nothing": "late", "a refusal": "peers_unknown", "another's key": "bad_signature"}[answer]
    assert [o.dropped for o in result.outcomes] == [{"e": reason}] * 2
    assert result.contributors == dict.fromkeys(ALL[:4], 2)
    check_state(federation, result, 2 * values(*ALL[:4]) / 4)
    # After a restart it is still known that keys were not agreed with it.
    again = federation.run()
    assert again.status == "completed"


def test_one_that_connects_after_the_keys_were_agreed_is_in_no_round(make_masked: MakeMasked) -> None:
    federation = make_masked()
    federation.leaves("e")

    def back(progress: Any) -> None:
        if progress.stage == "folded":
            federation.grid.offline.clear()

    result = federation.run(report=back)
    assert [o.dropped for o in result.outcomes] == [{"e": NO_KEYS}] * 2
    assert federation.institutions["e"].asked == []


def test_one_that_lost_its_keys_is_not_asked_again(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=3)
    federation.answers("e", refusing(federation, "e", NOT_JOINED))
    result = federation.run()
    assert [o.dropped for o in result.outcomes] == [{"e": NOT_JOINED}] * 3
    assert len(federation.institutions["e"].asked) == 1
    assert phases(federation, "a").count("confirm") == 1, "the rounds after it are full"


def test_below_the_threshold_the_round_is_abandoned_and_nothing_is_folded(make_masked: MakeMasked) -> None:
    federation = make_masked()
    for name in ("c", "d", "e"):
        vanish_after(federation, name, "join", "roster", "plan")
    result = federation.run()
    assert result.status == "failed"
    assert "too few unmasked" in (result.reason or "")
    assert isinstance(result.outcomes[0], Abandoned)
    assert result.outcomes[0].dropped == {"c": "missing", "d": "missing", "e": "missing"}
    assert federation.store.checkpoint(federation.job)[0] == 0
    assert federation.store.masked("job", 1) is None
    # All five had paid, so all five have a receipt.
    assert [len(federation.store.receipts(name)) for name in ALL] == [1] * 5


def test_below_the_quorum_nothing_is_asked_after_the_replies(make_masked: MakeMasked) -> None:
    federation = make_masked(quorum=5)
    federation.answers("e", refusing(federation, "e", "no_noise"))
    result = federation.run()
    assert result.status == "failed"
    assert "e no_noise" in (result.reason or "")
    assert phases(federation, "a") == ["join", "roster"]


def test_too_few_keys_fail_the_job(make_masked: MakeMasked) -> None:
    federation = make_masked()
    for name in ("c", "d", "e"):
        federation.answers(name, lambda envelope: [])
    result = federation.run()
    assert result.status == "failed"
    assert "agreed on keys" in (result.reason or "")
    assert "c late, d late, e late" in (result.reason or "")
    assert result.outcomes[0].dropped == {"c": "late", "d": "late", "e": "late"}
    assert 60 <= federation.time.now <= 61


def test_silent_but_connected_node_is_waited_for_until_the_deadline(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    e = federation.institutions["e"]
    federation.answers("e", lambda envelope: [] if envelope.kind == "plan" else e(envelope))
    result = federation.run()
    assert result.outcomes[0].dropped == {"e": "late"}
    assert 60 <= federation.time.now <= 62
    check_state(federation, result, values(*ALL[:4]) / 4)


def test_lost_node_that_is_back_soon_is_asked_again(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    e = federation.institutions["e"]
    away: list[float] = []

    def flickers(envelope: Envelope) -> Iterable[RecordDict]:
        if envelope.kind == "plan" and not away:
            away.append(federation.time.now)
            return []
        return e(envelope)

    federation.answers("e", flickers)
    grid, pull = federation.grid, federation.grid.pull_messages

    def lose_once(ids: Iterable[str]) -> Any:
        ids = list(ids)
        replies = list(pull(ids))
        if away and len(away) == 1 and federation.time.now >= away[0] + 2:
            away.append(0.0)
            replies += grid.lost(ids)
        return replies

    grid.pull_messages = lose_once  # type: ignore[method-assign]
    result = federation.run()
    assert result.outcomes[0].contributors == ALL  # type: ignore[union-attr]
    assert federation.time.now < 5


def test_node_that_was_asked_twice_at_once_is_asked_again(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    e = federation.institutions["e"]
    busy = {"plan", "open"}

    def answer(envelope: Envelope) -> Iterable[RecordDict]:
        kind = read_sum(envelope, federation.identity.public).phase if envelope.kind == "sum" else "plan"
        if kind not in busy:
            return e(envelope)
        busy.discard(kind)
        code = "sum_state_changed"
        if kind == "plan":
            return [messages.pack(seal_refusal(e.plan(envelope), "e", code, e.identity))]
        return [messages.pack(seal_sum_refusal(envelope, "e", code, e.identity))]

    federation.answers("e", answer)
    result = federation.run()
    assert result.outcomes[0].contributors == ALL  # type: ignore[union-attr]
    assert result.outcomes[0].dropped == {}


# Hostile parties --------------------------------------------------------------------------------------


def edited(place: int, edit: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """A masked message with one part changed, under a good signature of the reply around it."""

    def change(message: bytes) -> bytes:
        parts = unpack(message)
        parts[place] = edit(parts[place])
        return pack(parts)

    return change


MASKED_ATTACKS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a vector that is too short": ("wrong_length", edited(1, lambda v: v[:-2])),
    "a vector that is too long": ("wrong_length", edited(1, lambda v: v + b"\0\0")),
    "another vector than the signed": ("wrong_digest", edited(1, lambda v: v[::-1])),
    "shares of the wrong length": ("wrong_length", edited(2, lambda v: v[1:])),
    "another's shares": ("wrong_digest", edited(2, lambda v: bytes(len(v)))),
    "commitments that were not signed": ("wrong_digest", edited(4, lambda v: bytes(len(v)))),
    "a header that nobody signed": ("bad_signature", edited(0, lambda h: h[:-1] + bytes([h[-1] ^ 1]))),
    "no message at all": ("malformed", lambda message: b""),
    "parts too few": ("malformed", lambda message: pack(unpack(message)[:4])),
}


@pytest.mark.parametrize("attack", MASKED_ATTACKS)
def test_bad_masked_reply_is_dropped_by_name_and_the_sum_of_the_rest_is_right(
    make_masked: MakeMasked, attack: str
) -> None:
    reason, change = MASKED_ATTACKS[attack]
    federation = make_masked(rounds=1)
    c = federation.institutions["c"]
    federation.answers(
        "c",
        lambda e: c(e) if e.kind == "sum" else [messages.pack(c.masked_reply(c.plan(e), body=change))],  # type: ignore[attr-defined]
    )
    result = federation.run()
    assert result.outcomes[0].dropped == {"c": reason}
    assert result.outcomes[0].contributors == ("a", "b", "d", "e")  # type: ignore[union-attr]
    check_state(federation, result, values("a", "b", "d", "e") / 4)
    # It signed a reply, and its ledger paid for it: it has a receipt, and no spend in the release.
    assert len(federation.store.receipts("c")) == 1
    assert [s.institution for s in result.spends] == ["a", "b", "d", "e"]


def test_bad_spend_keeps_a_masked_vector_out_of_the_sum(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    c = federation.institutions["c"]

    def lies(envelope: Envelope) -> Iterable[RecordDict]:
        if envelope.kind == "sum":
            return c(envelope)
        good = c.masked_reply(c.plan(envelope))  # type: ignore[attr-defined]
        fields = canonical.decode(good.header)
        fields["spend"]["epsilon_job"] = 0.01
        data = canonical.encode(fields)
        return [messages.pack(replace(good, header=data, signature=c.identity.sign(b"concordat/1/reply\0" + data)))]

    federation.answers("c", lies)
    result = federation.run()
    assert result.outcomes[0].dropped == {"c": "bad_spend"}
    check_state(federation, result, values("a", "b", "d", "e") / 4)
    assert len(federation.store.receipts("c")) == 1


def test_masked_reply_that_comes_twice_counts_once(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    c = federation.institutions["c"]
    federation.answers("c", lambda e: [*c(e), *c(e)] if e.kind == "plan" else c(e))
    result = federation.run()
    assert result.outcomes[0].contributors == ALL  # type: ignore[union-attr]
    assert result.outcomes[0].dropped == {"c": "duplicate"}
    check_state(federation, result, values(*ALL) / 5)


def reshared(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda message: pack([unpack(message)[0], change(unpack(message)[1])])


SHARE_ATTACKS: dict[str, tuple[str, Callable[[MaskedInstitution, bytes], bytes]]] = {
    "shares of the wrong length": ("wrong_digest", lambda c, m: reshared(lambda s: s[:-1])(m)),
    "shares that are no field elements": ("wrong_digest", lambda c, m: reshared(lambda s: b"\xfe" * len(s))(m)),
    "a signature that does not hold": (
        "bad_signature",
        lambda c, m: edited(0, lambda h: h[:-1] + bytes([h[-1] ^ 1]))(m),
    ),
    "nothing in them": ("malformed", lambda c, m: b""),
}


@pytest.mark.parametrize("attack", SHARE_ATTACKS)
def test_bad_shares_are_dropped_by_name_and_the_sum_is_right(make_masked: MakeMasked, attack: str) -> None:
    reason, change = SHARE_ATTACKS[attack]
    federation = make_masked(rounds=1)
    c: Any = federation.institutions["c"]

    def lies(envelope: Envelope) -> Iterable[RecordDict]:
        if envelope.kind == "plan" or read_sum(envelope, federation.identity.public).phase != "open":
            return c(envelope)
        ask = read_sum(envelope, federation.identity.public)
        return [messages.pack(seal_sum_reply(ask, "c", change(c, c.answer(ask, envelope.body)), c.identity))]

    federation.answers("c", lies)
    result = federation.run()
    assert result.outcomes[0].contributors == ALL  # type: ignore[union-attr]
    assert result.outcomes[0].dropped == {"c": reason}
    check_state(federation, result, values(*ALL) / 5)


def test_confirmation_of_another_set_is_dropped_by_name(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    c: Any = federation.institutions["c"]
    federation.answers("e", refusing(federation, "e", "no_noise"))

    def lies(envelope: Envelope) -> Iterable[RecordDict]:
        if envelope.kind == "plan" or read_sum(envelope, federation.identity.public).phase != "confirm":
            return c(envelope)
        ask = read_sum(envelope, federation.identity.public)
        good = federation.institutions["a"].answer(ask, envelope.body)  # type: ignore[attr-defined]
        return [messages.pack(seal_sum_reply(ask, "c", good, c.identity))]

    federation.answers("c", lies)
    result = federation.run()
    assert result.outcomes[0].dropped == {"c": "bad_signature", "e": "no_noise"}
    check_state(federation, result, values(*ALL[:4]) / 4)
    assert phases(federation, "c") == ["join", "roster"], "it is not asked to open what it did not confirm"


def test_answers_of_strangers_and_to_other_questions_are_dropped(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    a, b = federation.institutions["a"], federation.institutions["b"]
    kept: list[RecordDict] = []

    def replays(envelope: Envelope) -> Iterable[RecordDict]:
        if envelope.kind == "plan":
            return a(envelope)
        kept.extend(a(envelope))
        return [kept[-1]] if read_sum(envelope, federation.identity.public).phase != "open" else [kept[0]]

    def unsigned(envelope: Envelope) -> Iterable[RecordDict]:
        if envelope.kind == "plan" or read_sum(envelope, federation.identity.public).phase != "open":
            return b(envelope)
        ask = read_sum(envelope, federation.identity.public)
        body = b.answer(ask, envelope.body)  # type: ignore[attr-defined]
        return [messages.pack(seal_sum_reply(ask, "b", body, a.identity))]

    federation.answers("a", replays)
    federation.answers("b", unsigned)
    result = federation.run()
    assert result.outcomes[0].dropped == {"a": "wrong_plan", "b": "bad_signature"}
    check_state(federation, result, values(*ALL) / 5)


def lying_dealer(c: Any, monkeypatch: pytest.MonkeyPatch, purpose: str) -> Callable[[Envelope], Iterable[RecordDict]]:
    """It masks with one seed and commits to another, under good signatures."""

    def commit(binding: Any, owner: str, what: str, secret: bytes) -> bytes:
        return commitment(binding, owner, what, bytes(32) if what == purpose else secret)

    def answer(envelope: Envelope) -> Iterable[RecordDict]:
        with monkeypatch.context() as patch:
            patch.setattr(party, "commitment", commit)
            return list(c(envelope))

    return answer


def test_dealer_that_shares_another_seed_ends_the_round_and_is_named(
    make_masked: MakeMasked, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = make_masked(rounds=1)
    federation.answers("c", lying_dealer(federation.institutions["c"], monkeypatch, "self"))
    result = federation.run()
    assert result.status == "failed"
    assert "wrong seed" in (result.reason or "")
    assert result.outcomes[0].dropped == {"c": "wrong_seed"}
    assert federation.store.checkpoint(federation.job)[0] == 0


def test_liar_about_a_share_of_a_pair_is_outvoted_by_those_who_are_asked_in_addition(make_masked: MakeMasked) -> None:
    """Only shares of self-masks are committed to; a wrong share of a pair shows when the seed does not fit."""
    federation = make_masked(rounds=1)
    federation.answers("e", refusing(federation, "e", "no_noise"))
    a: Any = federation.institutions["a"]

    def lies(envelope: Envelope) -> Iterable[RecordDict]:
        if envelope.kind == "plan" or read_sum(envelope, federation.identity.public).phase != "open":
            return a(envelope)
        ask = read_sum(envelope, federation.identity.public)
        header, shares = unpack(a.answer(ask, envelope.body))
        size = (
            len(shares) // 8
        )  # For each of four survivors: of its own mask, and of its pair with the one that dropped.
        changed = shares[:size] + bytes(size) + shares[2 * size :]
        fields = canonical.decode(unpack(header)[0])
        data = canonical.encode({**fields, "shares_sha256": hashlib.sha256(changed).hexdigest()})
        signed = pack([data, a.identity.sign(b"concordat/1/secagg/unmask\0" + data)])
        return [messages.pack(seal_sum_reply(ask, "a", pack([signed, changed]), a.identity))]

    federation.answers("a", lies)
    federation.grid.slow = {federation.node("d")}
    result = federation.run()
    assert result.status == "completed"
    assert result.outcomes[0].contributors == ALL[:4]  # type: ignore[union-attr]
    check_state(federation, result, values(*ALL[:4]) / 4)
    # Three had answered when d was still to: it was asked in addition.
    assert phases(federation, "d").count("open") == 2


# Kills ------------------------------------------------------------------------------------------------


class Killed(Exception):
    """The coordinator's process is gone."""


def kill_at(federation: Federation, phase: str, after: int) -> None:
    """Kill the coordinator when it sends the message number `after` of a phase of round 1, before it goes out."""
    count = 0

    def before(envelope: Envelope, node: int) -> None:
        nonlocal count
        if envelope.kind == "receipt":
            return
        kind = read_sum(envelope, federation.identity.public).phase if envelope.kind == "sum" else "plan"
        if kind == phase:
            count += 1
            if count == after:
                raise Killed

    federation.grid.before = before


class KilledWhileScoring:
    """An evaluator under which the coordinator dies after the sum was opened and before it is folded."""

    def __init__(self) -> None:
        self.alive = False

    def loss(self, state: Any, **_: Any) -> float:
        if state is not None and not self.alive:
            self.alive = True
            raise Killed
        return 1.0


def shown_once(federation: Federation) -> None:
    """No party was ever shown two versions of anything, or refused what it was asked."""
    for institution in federation.institutions.values():
        seen: dict[tuple[str, int], set[bytes]] = {}
        for phase, number, request in institution.shown:  # type: ignore[attr-defined]
            seen.setdefault((phase, number), set()).add(request)
        assert all(len(requests) == 1 for requests in seen.values())
        assert institution.refused == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("vanished", ["", "d"])
@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("phase", ["join", "roster", "plan", "confirm", "open", "fold"])
def test_coordinator_killed_anywhere_shows_the_same_set_and_folds_the_right_sum(
    make_masked: MakeMasked, phase: str, after: int, vanished: str
) -> None:
    federation = make_masked(evaluation=Evaluation(records="public.jsonl", every_round=True))
    federation.answers("e", refusing(federation, "e", "no_noise"))
    scorer = KilledWhileScoring()
    scorer.alive = phase != "fold"
    kill_at(federation, phase, after)
    with pytest.raises(Killed):
        federation.run(evaluator=scorer)
    assert federation.store.outcomes("job") == ()
    federation.grid.before = lambda envelope, node: None
    federation.grid.forget()
    if vanished:
        federation.leaves(vanished)
    result = federation.run(evaluator=scorer)
    assert result.status == "completed"
    shown_once(federation)
    early = vanished and phase in ("join", "roster", "plan")
    first = ("a", "b", "c") if early else ALL[:4]
    second = ("a", "b", "c") if vanished else ALL[:4]
    assert [o.contributors for o in result.outcomes] == [first, second]  # type: ignore[union-attr]
    check_state(federation, result, values(*first) / len(first) + values(*second) / len(second))
    # What the survivors signed in round 1 is there after the restart, and so is everybody's receipt.
    rounds = {name: 2 - (name == "d" and bool(vanished)) - (name == "d" and bool(early)) for name in ALL[:4]}
    assert {s.institution: s.rounds for s in result.spends} == {n: r for n, r in rounds.items() if r}
    for attestation in result.attestations:
        assert attestation.verify()["round"] == rounds[attestation.institution]
    assert {name: len(federation.store.receipts(name)) for name in ALL[:4]} == rounds
    assert federation.store.masked("job", 1) is None


def test_replies_that_were_not_counted_have_their_receipts_after_a_kill_too(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    c: Any = federation.institutions["c"]
    cut = edited(1, lambda v: v[:-2])
    federation.answers("c", lambda e: c(e) if e.kind == "sum" else [messages.pack(c.masked_reply(c.plan(e), body=cut))])
    kill_at(federation, "open", 2)
    with pytest.raises(Killed):
        federation.run()
    federation.grid.before = lambda envelope, node: None
    result = federation.run()
    assert result.outcomes[0].dropped == {"c": "wrong_length"}
    (receipt,) = federation.store.receipts("c")
    assert read_receipt(receipt, federation.identity.public, institution="c").round == 1
    assert [a.institution for a in result.attestations] == ["a", "b", "d", "e"]


def test_stopped_coordinator_goes_on_at_the_exchange_it_was_in(make_masked: MakeMasked) -> None:
    federation = make_masked(rounds=1)
    federation.answers("e", refusing(federation, "e", "no_noise"))
    d = federation.institutions["d"]
    silent = True

    def answer(envelope: Envelope) -> Iterable[RecordDict]:
        quiet = envelope.kind == "sum" and read_sum(envelope, federation.identity.public).phase == "confirm" and silent
        return [] if quiet else d(envelope)

    federation.answers("d", answer)
    with pytest.raises(Interrupted):
        federation.run(stopped=lambda: "confirm" in phases(federation, "a"))
    silent = False
    result = federation.run()
    assert result.outcomes[0].contributors == ALL[:4]  # type: ignore[union-attr]
    assert len(federation.institutions["a"].asked) == 1, "masked vectors are not asked for again"
    shown_once(federation)


def test_optimisers_memory_after_a_kill_is_that_of_the_undisturbed_run(
    make_masked: MakeMasked, make_federation: Callable[..., Any], privacy: PrivacyPlan
) -> None:
    settings = {**joint(privacy), "optimiser": Optimiser(learning_rate=0.1, weight_decay=0.01), "rounds": 5}
    whole = make_masked(**settings)
    undisturbed = whole.run()
    disturbed = make_masked(**settings)
    for phase in ("open", "plan", "open"):
        kill_at(disturbed, phase, 6)  # In the round after the one that it is in.
        with pytest.raises(Killed):
            disturbed.run()
        disturbed.grid.before = lambda envelope, node: None
        disturbed.grid.forget()
    result = disturbed.run()
    assert result.state.digest == undisturbed.state.digest
    memory, expected = disturbed.store.memory("job", 5), whole.store.memory("job", 5)
    assert memory.keys() == expected.keys()
    assert memory
    assert all(np.array_equal(memory[name], expected[name]) for name in memory)
    assert {float(a[0]) for name, a in memory.items() if name.endswith("/steps")} == {5.0}
    assert disturbed.store.memory("job", 3) == {}


def test_damaged_state_of_a_round_is_never_gone_on_with(make_masked: MakeMasked, tmp_path: Any) -> None:
    store = Store.open(tmp_path / "store.db")
    federation = make_masked(rounds=1, store=store)
    kill_at(federation, "open", 1)
    with pytest.raises(Killed):
        federation.run()
    federation.grid.before = lambda envelope, node: None
    kept = store.masked("job", 1)
    assert kept is not None
    a, b = kept.replies["a"], kept.replies["b"]
    for damaged in (
        replace(kept, state=kept.state[:-1]),
        replace(kept, replies={**kept.replies, "a": replace(a, header=a.header.replace('"round":1', '"round":2'))}),
        replace(kept, replies={**kept.replies, "a": b}),
    ):
        store.keep_masked("job", 1, damaged)
        with pytest.raises(TrustError):
            federation.run()
    store.keep_masked("job", 1, kept)
    result = federation.run()
    assert isinstance(result.outcomes[0], Completed)
    check_state(federation, result, values(*ALL) / 5)
