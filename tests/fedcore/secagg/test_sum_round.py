"""A round of the aggregator that goes on after a restart: the same questions, the same sum, and nothing damaged."""

from collections.abc import Callable

import pytest

from fedcore import canonical
from fedcore.errors import BadReply, TrustError
from fedcore.secagg.aggregator import Aggregator, Ask, Opened, SumRound
from fedcore.secagg.messages import pack, unpack
from tests.fedcore.secagg.cohort import Cohort, make_terms, names, replace_part


def restarted(cohort: Cohort, one: SumRound) -> SumRound:
    """The round of another process, from what the first one kept."""
    return Aggregator.resume(cohort.terms, cohort.aggregator.roster()).resume_round(one.state())


def same(left: Ask | None, right: Ask | None) -> bool:
    return left is not None and right is not None and (left.kind, left.requests) == (right.kind, right.requests)


@pytest.mark.parametrize("dropped", [(), ("p001",)])
@pytest.mark.parametrize("count", [4, 5])
def test_a_restart_after_every_message_asks_the_same_and_finds_the_same_sum(
    count: int, dropped: tuple[str, ...]
) -> None:
    cohort = Cohort.form(make_terms(count, threshold=3))
    alive = [n for n in names(count) if n not in dropped]
    one = cohort.aggregator.begin(7)
    for name, message in cohort.mask(one, alive).items():
        one.add_masked(name, message)
        one = restarted(cohort, one)
        assert one.pending is None
        with pytest.raises(BadReply, match="twice"):
            one.add_masked(name, message)
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    assert asked.kind == ("confirm" if dropped else "open")
    one = restarted(cohort, one)
    assert same(one.pending, asked)
    assert one.survivors == tuple(alive)
    if dropped:
        for name, request in asked.requests.items():
            one.add_confirmation(name, cohort.parties[name].confirm(request))
            one = restarted(cohort, one)
        asked = one.close_confirmations()
        assert isinstance(asked, Ask)
        one = restarted(cohort, one)
        assert same(one.pending, asked)
    for name, request in asked.requests.items():
        one.add_unmasked(name, cohort.parties[name].unmask(request))
    # Shares are asked for again after a restart: the same requests get the same answers.
    one = restarted(cohort, one)
    assert not one.can_finish
    for name, request in asked.requests.items():
        one.add_unmasked(name, cohort.parties[name].unmask(request))
    outcome = one.finish()
    assert isinstance(outcome, Opened)
    assert outcome.contributors == tuple(alive)
    assert (outcome.total == cohort.expected(alive)).all()


def test_who_confirmed_too_late_before_the_kill_cannot_do_it_after() -> None:
    cohort = Cohort.form(make_terms(5, threshold=3))
    one = cohort.aggregator.begin(1)
    for name, message in cohort.mask(one, names(5)[:4]).items():
        one.add_masked(name, message)
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    answers = {name: cohort.parties[name].confirm(request) for name, request in asked.requests.items()}
    for name in names(5)[:3]:
        one.add_confirmation(name, answers[name])
    opening = one.close_confirmations()
    again = restarted(cohort, one)
    with pytest.raises(BadReply, match="after they were closed"):
        again.add_confirmation("p003", answers["p003"])
    with pytest.raises(BadReply, match="after the set was closed"):
        again.add_masked("p004", cohort.parties["p004"].mask(one.request, cohort.values("p004")))
    assert isinstance(opening, Ask)
    assert same(again.pending, opening)


def closed(cohort: Cohort) -> SumRound:
    """Four of five masked and confirmed."""
    one = cohort.aggregator.begin(1)
    for name, message in cohort.mask(one, names(5)[:4]).items():
        one.add_masked(name, message)
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    for name, request in asked.requests.items():
        one.add_confirmation(name, cohort.parties[name].confirm(request))
    one.close_confirmations()
    return one


def header(**changes: object) -> Callable[[bytes], bytes]:
    return lambda state: replace_part(state, 0, canonical.encode({**canonical.decode(unpack(state)[0]), **changes}))


def in_message(place: int, edit: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def change(state: bytes) -> bytes:
        found = unpack(unpack(state)[2])
        found[0] = replace_part(found[0], place, edit(unpack(found[0])[place]))
        return replace_part(state, 2, pack(found))

    return change


def list_of(place: int, edit: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda state: replace_part(state, place, pack(edit(unpack(unpack(state)[place]))))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda state: state[:-1],
    "nothing": lambda state: b"",
    "a header that is no JSON": lambda state: replace_part(state, 0, b"{"),
    "another version": header(version=2),
    "a phase that there is none of": header(phase="over"),
    "an earlier phase than its confirmations": header(phase="masked"),
    "another round": header(round=2),
    "a round that is no number": header(round="1"),
    "other participants": header(participants=names(5)[:4]),
    "a participant that is in no roster": header(participants=[*names(5), "stranger"]),
    "participants that are no names": header(participants=[1, 2]),
    "another binding": header(binding="00" * 32),
    "a total that is too short": lambda state: replace_part(state, 1, unpack(state)[1][:-2]),
    "a survivor less": list_of(2, lambda found: found[1:]),
    "a survivor twice": list_of(2, lambda found: [*found, found[0]]),
    "a header that was not signed": in_message(0, lambda part: part[:-1] + bytes([part[-1] ^ 1])),
    "shares that were not signed": in_message(1, lambda part: bytes(len(part))),
    "shares that are too short": in_message(2, lambda part: part[1:]),
    "commitments that were not signed": in_message(3, lambda part: bytes(len(part))),
    "too few confirmations": list_of(3, lambda found: found[:2]),
    "a confirmation twice": list_of(3, lambda found: [*found, found[0]]),
    "a confirmation that is none": list_of(3, lambda found: [*found[1:], b"x"]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_state_is_refused(damage: str) -> None:
    cohort = Cohort.form(make_terms(5, threshold=3))
    state = closed(cohort).state()
    with pytest.raises(TrustError):
        cohort.aggregator.resume_round(DAMAGE[damage](state))
    assert cohort.aggregator.resume_round(state).state() == state


def test_state_of_another_job_or_roster_is_refused() -> None:
    state = closed(Cohort.form(make_terms(5, threshold=3))).state()
    for other in (make_terms(5, threshold=3, job="another"), make_terms(5, threshold=3), make_terms(5, threshold=4)):
        with pytest.raises(TrustError):
            Cohort.form(other).aggregator.resume_round(state)
