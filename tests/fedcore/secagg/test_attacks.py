"""One attack a test: what a coordinator or a party may try, and the error by which it is refused."""

from collections.abc import Sequence

import numpy as np
import pytest

from fedcore.errors import BadReply, TrustError
from fedcore.identity import SigningIdentity
from fedcore.secagg import party
from fedcore.secagg._primitives import AgreementKey, split
from fedcore.secagg.aggregator import Abandoned, Aggregator, Ask, Opened, SumRound
from fedcore.secagg.errors import (
    AlreadyAnswered,
    BelowThreshold,
    Malformed,
    RoundOver,
    SubstitutedKey,
    SurvivorsDisagree,
    WrongBinding,
)
from fedcore.secagg.messages import Begin, Binding, Statement, pack, sha256, unpack
from fedcore.secagg.party import Party
from tests.fedcore.secagg.cohort import Cohort, identity, make_terms, names, play, replace_part

FOUR = names(4)


@pytest.fixture
def cohort() -> Cohort:
    return Cohort.form(make_terms(4, threshold=3))


def masked_round(cohort: Cohort, number: int, who: list[str]) -> tuple[SumRound, Ask, dict[str, bytes]]:
    """A round up to the aggregator's next question."""
    one = cohort.aggregator.begin(number)
    messages = cohort.mask(one, who)
    for name, message in messages.items():
        one.add_masked(name, message)
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    return one, asked, messages


def confirmed(cohort: Cohort, one: SumRound, asked: Ask) -> Ask:
    for name, request in asked.requests.items():
        one.add_confirmation(name, cohort.parties[name].confirm(request))
    opening = one.close_confirmations()
    assert isinstance(opening, Ask)
    return opening


def statement_of(message: bytes) -> bytes:
    return unpack(message)[0]


# What a coordinator may try.


def test_a_party_listed_both_alive_and_dead(cohort: Cohort) -> None:
    """First alive (the full set), then dead: whoever opened one set opens no other."""
    _, asked, messages = masked_round(cohort, 1, FOUR)
    cohort.parties["p000"].unmask(asked.requests["p000"])
    without = pack([b"1", pack(statement_of(messages[n]) for n in FOUR[:3])])
    with pytest.raises(AlreadyAnswered):
        cohort.parties["p000"].confirm(without)
    # First dead, then alive.
    cohort.parties["p001"].confirm(without)
    with pytest.raises(SurvivorsDisagree):
        cohort.parties["p001"].unmask(asked.requests["p001"])


def test_a_party_listed_twice_among_the_survivors(cohort: Cohort) -> None:
    _, _, messages = masked_round(cohort, 1, FOUR)
    twice = pack([b"1", pack(statement_of(messages[n]) for n in ("p000", "p001", "p001"))])
    with pytest.raises(SurvivorsDisagree):
        cohort.parties["p000"].confirm(twice)


def test_an_earlier_rounds_keys_replayed(cohort: Cohort) -> None:
    """Sealed shares and statements of round 1 are nothing in round 2."""
    _, first, old = masked_round(cohort, 1, FOUR)
    _, second, messages = masked_round(cohort, 2, FOUR)
    with pytest.raises(RoundOver):
        cohort.parties["p000"].unmask(first.requests["p000"])
    with pytest.raises(WrongBinding):
        cohort.parties["p000"].unmask(replace_part(first.requests["p000"], 0, b"2"))
    mixed = [statement_of((old if n == "p003" else messages)[n]) for n in FOUR]
    with pytest.raises(WrongBinding):
        cohort.parties["p000"].unmask(replace_part(second.requests["p000"], 1, pack(mixed)))
    # Round 1's sealed pieces under round 2's statements do not open: they are reported missing.
    request = replace_part(second.requests["p000"], 3, unpack(first.requests["p000"])[3])
    body = unpack(cohort.parties["p000"].unmask(request))[1]
    assert body == b"\xff" * len(body)


def test_an_earlier_jobs_keys_replayed() -> None:
    old = Cohort.form(make_terms(3, threshold=2, job="old"))
    terms = make_terms(3, threshold=2, job="new")
    party, key = Party.join(terms, "p000", identity("p000"))
    with pytest.raises(WrongBinding):
        party.agree_keys(pack([key, old.keys["p001"], old.keys["p002"]]))


def test_a_request_for_an_earlier_round(cohort: Cohort) -> None:
    play(cohort, 5)
    for number in (3, 5):
        request = Begin(round=number, participants=tuple(FOUR[:3])).to_bytes()
        with pytest.raises((RoundOver, AlreadyAnswered)):
            cohort.parties["p000"].mask(request, cohort.values("p000", 99))


def test_different_survivor_sets_shown_to_different_parties() -> None:
    """Neither set finds a threshold of signatures: the two thresholds overlap in an honest party."""
    cohort = Cohort.form(make_terms(5, threshold=4, colluders=2))
    five = names(5)
    one = cohort.aggregator.begin(1)
    messages = cohort.mask(one, five)

    def show(who: list[str]) -> bytes:
        return pack([b"1", pack(statement_of(messages[n]) for n in who)])

    without_last, without_first = show(five[:4]), show(five[1:])
    signed_a = [cohort.parties[n].confirm(without_last) for n in ("p000", "p001")]
    signed_b = [cohort.parties[n].confirm(without_first) for n in ("p002", "p003")]
    with pytest.raises(AlreadyAnswered):
        cohort.parties["p002"].confirm(without_last)
    opening = pack([b"1", pack(statement_of(messages[n]) for n in five[:4]), pack(signed_a), b"", b""])
    with pytest.raises(BelowThreshold):
        cohort.parties["p000"].unmask(opening)
    mixed = pack([b"1", pack(statement_of(messages[n]) for n in five[:4]), pack(signed_a + signed_b), b"", b""])
    with pytest.raises(SurvivorsDisagree):
        cohort.parties["p000"].unmask(mixed)


def test_one_confirmation_counted_twice(cohort: Cohort) -> None:
    _, asked, messages = masked_round(cohort, 1, FOUR[:3])
    mine = cohort.parties["p000"].confirm(asked.requests["p000"])
    statements = pack(statement_of(messages[n]) for n in FOUR[:3])
    with pytest.raises(SurvivorsDisagree):
        cohort.parties["p000"].unmask(pack([b"1", statements, pack([mine, mine, mine]), b"", b""]))


def test_dropouts_without_a_confirmation(cohort: Cohort) -> None:
    _, _, messages = masked_round(cohort, 1, FOUR[:3])
    opening = pack([b"1", pack(statement_of(messages[n]) for n in FOUR[:3]), b"", b"", b""])
    with pytest.raises(SurvivorsDisagree):
        cohort.parties["p000"].unmask(opening)


def test_a_set_that_leaves_out_the_party_that_is_asked(cohort: Cohort) -> None:
    _, _, messages = masked_round(cohort, 1, FOUR)
    with pytest.raises(SurvivorsDisagree):
        cohort.parties["p000"].confirm(pack([b"1", pack(statement_of(messages[n]) for n in FOUR[1:])]))


def test_a_survivor_set_below_the_threshold(cohort: Cohort) -> None:
    _, _, messages = masked_round(cohort, 1, FOUR)
    with pytest.raises(BelowThreshold):
        cohort.parties["p000"].confirm(pack([b"1", pack(statement_of(messages[n]) for n in FOUR[:2])]))


def test_different_participants_shown_to_different_parties(cohort: Cohort) -> None:
    """Both mask, and neither accepts the other's statement."""
    all_four = Begin(round=1, participants=tuple(FOUR)).to_bytes()
    three = Begin(round=1, participants=tuple(FOUR[:3])).to_bytes()
    messages = {n: cohort.parties[n].mask(all_four if n == "p000" else three, cohort.values(n)) for n in FOUR[:3]}
    with pytest.raises(WrongBinding):
        cohort.parties["p000"].confirm(pack([b"1", pack(statement_of(messages[n]) for n in FOUR[:3])]))


def test_a_substituted_public_key(cohort: Cohort) -> None:
    terms, aggregator = cohort.terms, Aggregator(cohort.terms)
    party, key = Party.join(terms, "p000", identity("p000"))
    forged = Statement.sign(
        "keys",
        Binding(terms=terms),
        "p001",
        {"public": AgreementKey.generate().public.hex()},
        SigningIdentity.generate(),
    ).to_bytes()
    roster = [key, forged, cohort.keys["p002"], cohort.keys["p003"]]
    with pytest.raises(TrustError):
        party.agree_keys(pack(roster))
    with pytest.raises(BadReply) as caught:
        aggregator.add_keys("p001", forged)
    assert caught.value.kind == "bad_signature"
    # An older key of my own in place of the one that I just sent.
    with pytest.raises(SubstitutedKey):
        party.agree_keys(pack([cohort.keys["p000"], *(cohort.keys[n] for n in FOUR[1:])]))
    # Two keys of one party.
    second = Party.join(terms, "p001", identity("p001"))[1]
    with pytest.raises(SubstitutedKey):
        party.agree_keys(pack([key, cohort.keys["p001"], second]))


def test_a_second_roster_after_keys_were_agreed(cohort: Cohort) -> None:
    with pytest.raises(AlreadyAnswered):
        cohort.parties["p000"].agree_keys(pack(cohort.keys[n] for n in FOUR[:3]))


def test_rosters_that_differ_between_parties(cohort: Cohort) -> None:
    terms = make_terms(4, threshold=3, job="split")
    joined = {n: Party.join(terms, n, identity(n)) for n in FOUR}
    full, partial = pack(joined[n][1] for n in FOUR), pack(joined[n][1] for n in FOUR[:3])
    for name in FOUR[:3]:
        joined[name][0].agree_keys(partial if name == "p000" else full)
    begin = Begin(round=1, participants=tuple(FOUR[:3])).to_bytes()
    messages = {n: joined[n][0].mask(begin, cohort.values(n)) for n in FOUR[:3]}
    request = pack([b"1", pack(statement_of(messages[n]) for n in FOUR[:3]), b"", b"", b""])
    for name in FOUR[:3]:
        with pytest.raises(WrongBinding):
            joined[name][0].unmask(request)


def test_asking_twice(cohort: Cohort) -> None:
    one, asked, messages = masked_round(cohort, 1, FOUR)
    party = cohort.parties["p000"]
    assert party.mask(one.request, cohort.values("p000", 77)) == messages["p000"]
    with pytest.raises(AlreadyAnswered):
        party.mask(Begin(round=1, participants=tuple(FOUR[:3])).to_bytes(), cohort.values("p000"))
    first = party.unmask(asked.requests["p000"])
    assert party.unmask(asked.requests["p000"]) == first
    with pytest.raises(AlreadyAnswered):
        party.unmask(replace_part(asked.requests["p000"], 3, unpack(asked.requests["p001"])[3]))


def test_asking_after_abandonment(cohort: Cohort) -> None:
    _, asked, _ = masked_round(cohort, 1, FOUR)
    cohort.parties["p000"].abandon()
    with pytest.raises(RoundOver):
        cohort.parties["p000"].unmask(asked.requests["p000"])
    with pytest.raises(RoundOver):
        cohort.parties["p000"].mask(cohort.aggregator.begin(1).request, cohort.values("p000"))
    # Beginning another round abandons the one before.
    _, asked, _ = masked_round(cohort, 2, FOUR)
    masked_round(cohort, 3, FOUR)
    with pytest.raises(RoundOver):
        cohort.parties["p001"].unmask(asked.requests["p001"])
    # The state of an abandoned round does not bring it back.
    cohort.parties["p000"].abandon()
    resumed = Party.resume(cohort.terms, "p000", identity("p000"), cohort.parties["p000"].state())
    with pytest.raises(RoundOver):
        resumed.unmask(asked.requests["p000"])


def test_a_masked_statement_of_mine_that_i_did_not_send_this_time(cohort: Cohort) -> None:
    """A party restored from an old state signed two inputs; it stands by the last alone."""
    stale = cohort.parties["p000"].state()
    one, asked, messages = masked_round(cohort, 1, FOUR)
    restored = Party.resume(cohort.terms, "p000", identity("p000"), stale)
    again = restored.mask(one.request, cohort.values("p000", 5))
    assert statement_of(again) != statement_of(messages["p000"])
    with pytest.raises(SurvivorsDisagree):
        restored.unmask(asked.requests["p000"])


def test_the_two_self_masks_of_a_restored_party_are_different(cohort: Cohort) -> None:
    stale = cohort.parties["p000"].state()
    one = cohort.aggregator.begin(1)
    values = cohort.values("p000")
    first = cohort.parties["p000"].mask(one.request, values)
    second = Party.resume(cohort.terms, "p000", identity("p000"), stale).mask(one.request, values)
    assert unpack(first)[1] != unpack(second)[1]


def test_bytes_that_are_no_message(cohort: Cohort) -> None:
    _, asked, _ = masked_round(cohort, 1, FOUR)
    party = cohort.parties["p000"]
    for data in (b"", b"\0", b"\xff" * 40, asked.requests["p000"][:-1], asked.requests["p000"] + b"\0"):
        for ask in (party.confirm, party.unmask, party.agree_keys):
            with pytest.raises(TrustError):
                ask(data)
        with pytest.raises(Malformed):
            Begin.from_bytes(data)
    with pytest.raises(Malformed):
        party.unmask(replace_part(asked.requests["p000"], 3, b"short"))
    # None of it changed anything.
    assert party.unmask(asked.requests["p000"])


def test_begin_with_strangers_or_without_me(cohort: Cohort) -> None:
    values = cohort.values("p000")
    for who in (("p000", "p001", "zz"), ("p001", "p002", "p003"), ("p000", "p002", "p001"), ("p000",) * 3):
        with pytest.raises(WrongBinding):
            cohort.parties["p000"].mask(Begin(round=1, participants=who).to_bytes(), values)
    with pytest.raises(BelowThreshold):
        cohort.parties["p000"].mask(Begin(round=1, participants=("p000", "p001")).to_bytes(), values)
    for bad in (b'{"round":true,"participants":[]}', b'{"round":1,"participants":[1]}', b"[]"):
        with pytest.raises(Malformed):
            cohort.parties["p000"].mask(bad, values)


# What a party may send.


def refused(one: SumRound, sender: str, data: bytes) -> str:
    with pytest.raises(BadReply) as caught:
        one.add_masked(sender, data)
    return caught.value.kind


def test_a_wrong_signature(cohort: Cohort) -> None:
    one = cohort.aggregator.begin(1)
    message = cohort.mask(one, ["p000"])["p000"]
    header, signature = unpack(statement_of(message))
    broken = pack([header, signature[:-1] + bytes([signature[-1] ^ 1])])
    assert refused(one, "p000", replace_part(message, 0, broken)) == "bad_signature"
    assert refused(one, "p000", replace_part(message, 0, pack([header, b""]))) == "bad_signature"
    assert refused(one, "p001", message) == "bad_signature"
    assert refused(one, "zz", message) == "unknown_party"


@pytest.mark.parametrize("commitment", ["zz" * 32, "AA" * 32, "00" * 31, " " * 64, "\u0661" * 64])
def test_a_commitment_that_is_no_number(cohort: Cohort, commitment: str) -> None:
    """It is signed, and its shares would open: it must be refused before the round depends on it."""
    one = cohort.aggregator.begin(1)
    message = cohort.mask(one, ["p000"])["p000"]
    fields = one._statement("p000", "masked", statement_of(message)).fields
    values = {k: fields[k] for k in ("vector_sha256", "shares_sha256", "commitments_sha256")}
    values["self_commitment"] = commitment
    forged = Statement.sign("masked", one._binding, "p000", values, identity("p000")).to_bytes()
    assert refused(one, "p000", replace_part(message, 0, forged)) == "malformed"


@pytest.mark.parametrize("public", ["00" * 32, "01" + "00" * 31, "00" * 31, "zz" * 32])
def test_a_key_that_agrees_with_no_secret_is_its_owners_fault(public: str) -> None:
    """In the roster every honest party would refuse it, and with it the roster."""
    terms = make_terms(4, threshold=3)
    statement = Statement.sign("keys", Binding(terms=terms), "p000", {"public": public}, identity("p000"))
    with pytest.raises(BadReply) as caught:
        Aggregator(terms).add_keys("p000", statement.to_bytes())
    assert caught.value.kind == "malformed"


def test_values_outside_the_ring(cohort: Cohort) -> None:
    """Numbers of 32 bits where the ring has 16, one too few, or another vector than was signed."""
    one = cohort.aggregator.begin(1)
    message = cohort.mask(one, ["p000"])["p000"]
    vector = unpack(message)[1]
    assert refused(one, "p000", replace_part(message, 1, vector * 2)) == "wrong_length"
    assert refused(one, "p000", replace_part(message, 1, vector[:-2])) == "wrong_length"
    assert refused(one, "p000", replace_part(message, 1, bytes(len(vector)))) == "wrong_digest"


@pytest.mark.parametrize("part", [2, 3, 4])
def test_a_share_of_the_wrong_length(cohort: Cohort, part: int) -> None:
    one = cohort.aggregator.begin(1)
    message = cohort.mask(one, ["p000"])["p000"]
    data = unpack(message)[part]
    assert refused(one, "p000", replace_part(message, part, data[:-1])) == "wrong_length"
    assert refused(one, "p000", replace_part(message, part, data[:-1] + bytes([data[-1] ^ 1]))) == "wrong_digest"
    one.add_masked("p000", message)


def test_an_opened_share_of_the_wrong_length_or_value(cohort: Cohort) -> None:
    one, asked, _ = masked_round(cohort, 1, FOUR)
    reply = cohort.parties["p000"].unmask(asked.requests["p000"])
    statement, body = unpack(reply)
    binding = one._binding
    view = one._require_view().digest

    def resigned(shares: bytes) -> bytes:
        values = {"view": view, "shares_sha256": sha256(shares)}
        return pack([Statement.sign("unmask", binding, "p000", values, identity("p000")).to_bytes(), shares])

    for shares, kind in (
        (body[:-1], "wrong_length"),
        (body + body[:33], "wrong_length"),
        (b"\x02" + body[1:], "wrong_share"),
        (body[:-1] + bytes([body[-1] ^ 1]), "wrong_share"),
    ):
        with pytest.raises(BadReply) as caught:
            one.add_unmasked("p000", resigned(shares))
        assert caught.value.kind == kind
    with pytest.raises(BadReply) as caught:
        one.add_unmasked("p000", pack([statement, body[:-1] + bytes([body[-1] ^ 1])]))
    assert caught.value.kind == "wrong_digest"
    one.add_unmasked("p000", reply)


def test_a_party_that_sends_nothing(cohort: Cohort) -> None:
    """A party that never answers is one that dropped out."""
    outcome, _ = play(cohort, 1, before=["p000"])
    assert isinstance(outcome, Opened)
    assert outcome.dropped == ("p000",)
    outcome, _ = play(cohort, 2, before=["p000"], masked=["p001"])
    assert isinstance(outcome, Abandoned)
    one = cohort.aggregator.begin(3)
    assert refused(one, "p000", b"") == "malformed"


def test_a_party_that_sends_everything_twice(cohort: Cohort) -> None:
    one = cohort.aggregator.begin(1)
    messages = cohort.mask(one, FOUR[:3])
    for name, message in messages.items():
        one.add_masked(name, message)
        assert refused(one, name, message) == "duplicate"
    with pytest.raises(BadReply) as caught:
        cohort.aggregator.add_keys("p000", cohort.keys["p000"])
    assert caught.value.kind == "duplicate"
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    for name, request in asked.requests.items():
        reply = cohort.parties[name].confirm(request)
        one.add_confirmation(name, reply)
        with pytest.raises(BadReply) as caught:
            one.add_confirmation(name, reply)
        assert caught.value.kind == "duplicate"
    opening = one.close_confirmations()
    assert isinstance(opening, Ask)
    for name, request in opening.requests.items():
        reply = cohort.parties[name].unmask(request)
        one.add_unmasked(name, reply)
        with pytest.raises(BadReply) as caught:
            one.add_unmasked(name, reply)
        assert caught.value.kind == "duplicate"
    outcome = one.finish()
    assert isinstance(outcome, Opened)
    assert (outcome.total == cohort.expected(FOUR[:3])).all()


def test_answers_that_come_late_or_to_nothing(cohort: Cohort) -> None:
    one, asked, messages = masked_round(cohort, 1, FOUR[:3])
    assert refused(one, "p003", messages["p000"]) == "late"
    with pytest.raises(BadReply) as caught:
        one.add_unmasked("p000", b"")
    assert caught.value.kind == "late"
    confirmed(cohort, one, asked)
    with pytest.raises(BadReply) as caught:
        one.add_confirmation("p000", b"")
    assert caught.value.kind == "late"
    with pytest.raises(BadReply) as caught:
        one.add_unmasked("p003", b"")
    assert caught.value.kind == "unknown_party"


def test_a_holder_that_lies_about_a_pair_is_outvoted() -> None:
    """One liar among the holders of a dropped party's pairs: the commitment tells, the others suffice."""
    cohort = Cohort.form(make_terms(6, threshold=4))
    one, asked, _ = masked_round(cohort, 1, names(5))
    opening = confirmed(cohort, one, asked)
    for name, request in opening.requests.items():
        one.add_unmasked(name, cohort.parties[name].unmask(request))
    assert one._unmasked is not None
    for (owner, peer), share in one._unmasked["p001"].items():
        if peer is not None:
            one._unmasked["p001"][owner, peer] = bytes([share[0]]) + bytes(32)
    outcome = one.finish()
    assert isinstance(outcome, Opened)
    assert (outcome.total == cohort.expected(names(5))).all()


def test_a_dealer_that_commits_to_another_seed_ends_the_round(cohort: Cohort) -> None:
    one = cohort.aggregator.begin(1)
    for name, message in cohort.mask(one, FOUR).items():
        if name == "p001":
            fields = dict(one._statement("p001", "masked", statement_of(message)).fields)
            values = {k: fields[k] for k in ("vector_sha256", "shares_sha256", "commitments_sha256")}
            values["self_commitment"] = "00" * 32
            forged = Statement.sign("masked", one._binding, "p001", values, identity("p001")).to_bytes()
            message = replace_part(message, 0, forged)
        one.add_masked(name, message)
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    for name in ("p000", "p002", "p003"):
        one.add_unmasked(name, cohort.parties[name].unmask(asked.requests[name]))
    outcome = one.finish()
    assert isinstance(outcome, Abandoned)
    assert outcome.reason == "too_few_unmasked"  # Its sealed shares were bound to the commitment: nobody opens them.


def test_an_input_that_is_not_finite_never_reaches_the_ring(cohort: Cohort) -> None:
    from fedcore.errors import RoundError
    from fedcore.secagg.encoding import RingPlan

    plan = RingPlan(parties=4, parameters=6, bound_l2=1.0, resolution=2.0**-8, share_std_units=0, bits=16)
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(RoundError):
            plan.encode(np.array([0, 0, bad, 0, 0, 0]))


# A dealer that cheats: every message of it holds, but what it shared is not what it committed to.


def lying_mask(cohort: Cohort, name: str, request: bytes, secret: int, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The masked message of a party whose shares of one secret (0: of its own mask) give another one."""
    calls = 0

    def cheat(value: bytes, threshold: int, points: Sequence[int]) -> dict[int, bytes]:
        nonlocal calls
        calls += 1
        return split(bytes(32) if calls == secret + 1 else value, threshold, points)

    cohort.inputs[name] = cohort.values(name)
    with monkeypatch.context() as patch:
        patch.setattr(party, "split", cheat)
        message = cohort.parties[name].mask(request, cohort.inputs[name])
    assert calls > secret
    return message


def test_a_dealer_that_shares_another_seed_than_its_masks_is_blamed(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each share is the one that it committed to, so that no holder can be blamed instead."""
    one = cohort.aggregator.begin(1)
    one.add_masked("p001", lying_mask(cohort, "p001", one.request, 0, monkeypatch))
    for name, message in cohort.mask(one, ("p000", "p002", "p003")).items():
        one.add_masked(name, message)
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    for name in FOUR:
        one.add_unmasked(name, cohort.parties[name].unmask(asked.requests[name]))
    outcome = one.finish()
    assert isinstance(outcome, Abandoned)
    assert (outcome.reason, outcome.blamed, outcome.dropped) == ("wrong_seed", ("p001",), ())
    # The others go on without it.
    after, _ = play(cohort, 2, participants=("p000", "p002", "p003"))
    assert isinstance(after, Opened)
    assert (after.total == cohort.expected(("p000", "p002", "p003"))).all()


def test_a_dealer_that_shares_another_seed_of_a_pair_is_blamed_once_the_pair_is_needed(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first neighbour drops out, so the seed of their pair is opened."""
    one = cohort.aggregator.begin(1)
    alive = ("p001", "p002", "p003")
    one.add_masked("p001", lying_mask(cohort, "p001", one.request, 1, monkeypatch))
    for name, message in cohort.mask(one, alive[1:]).items():
        one.add_masked(name, message)
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    assert asked.kind == "confirm"
    for name, request in asked.requests.items():
        one.add_confirmation(name, cohort.parties[name].confirm(request))
    asked = one.close_confirmations()
    assert isinstance(asked, Ask)
    for name, request in asked.requests.items():
        one.add_unmasked(name, cohort.parties[name].unmask(request))
    outcome = one.finish()
    assert isinstance(outcome, Abandoned)
    assert (outcome.reason, outcome.blamed, outcome.dropped) == ("wrong_seed", ("p001",), ("p000",))


def test_a_dealer_that_shares_another_seed_of_a_pair_goes_unnoticed_while_nobody_needs_it(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cohort.aggregator.begin(1)
    one.add_masked("p001", lying_mask(cohort, "p001", one.request, 1, monkeypatch))
    for name, message in cohort.mask(one, ("p000", "p002", "p003")).items():
        one.add_masked(name, message)
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    for name in FOUR:
        one.add_unmasked(name, cohort.parties[name].unmask(asked.requests[name]))
    outcome = one.finish()
    assert isinstance(outcome, Opened)
    assert (outcome.total == cohort.expected(FOUR)).all()
