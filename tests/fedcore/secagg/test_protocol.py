"""Rounds of honest parties: right sums whatever drops out, down to the threshold."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.errors import InvalidPlan
from fedcore.secagg import graph
from fedcore.secagg.aggregator import Abandoned, Aggregator, Ask, Opened
from fedcore.secagg.errors import (
    AlreadyAnswered,
    BelowThreshold,
    Malformed,
    RoundOver,
    SubstitutedKey,
    SurvivorsDisagree,
    WrongBinding,
)
from fedcore.secagg.messages import pack, unpack
from fedcore.secagg.party import Party
from fedcore.secagg.terms import Terms
from tests.fedcore.secagg.cohort import Cohort, identity, make_terms, names, play


def check(cohort: Cohort, outcome: Opened | Abandoned, who: list[str]) -> None:
    assert isinstance(outcome, Opened)
    assert list(outcome.contributors) == who
    assert (outcome.total == cohort.expected(who)).all()


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_round_without_dropouts_takes_two_exchanges(count: int, bits: int) -> None:
    cohort = Cohort.form(make_terms(count, threshold=count // 2 + 1 if count > 2 else 2, bits=bits))
    for number in (1, 2, 9):
        outcome, exchanges = play(cohort, number)
        check(cohort, outcome, names(count))
        assert exchanges == 2


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_dropouts_down_to_the_threshold_recover_and_below_it_the_round_is_abandoned(data: st.DataObject) -> None:
    count = data.draw(st.integers(3, 8))
    threshold = data.draw(st.integers(count // 2 + 1, count).filter(lambda t: t >= 2))
    cohort = Cohort.form(make_terms(count, threshold=threshold))
    for number in (1, 2):
        fate = {n: data.draw(st.sampled_from(["stays"] * 4 + ["before", "masked", "confirmed"])) for n in names(count)}

        def those(*fates: str, fate: dict[str, str] = fate) -> list[str]:
            return [name for name, f in fate.items() if f in fates]

        outcome, exchanges = play(
            cohort, number, before=those("before"), masked=those("masked"), confirmed=those("confirmed")
        )
        if len(those("stays")) >= threshold:
            check(cohort, outcome, those("stays", "masked", "confirmed"))
            assert exchanges == (3 if those("before") else 2)
        else:
            assert isinstance(outcome, Abandoned)


def test_every_pair_of_faults_at_every_step_recovers() -> None:
    cohort = Cohort.form(make_terms(5, threshold=3, rounds=100))
    steps = ("before", "masked", "confirmed")
    cases = itertools.product(itertools.combinations(names(5), 2), steps, steps)
    for number, (pair, first, second) in enumerate(cases, start=1):
        fates = dict(zip(pair, (first, second), strict=True))
        groups = {s: [n for n, f in fates.items() if f == s] for s in steps}
        outcome, _ = play(cohort, number, **groups)
        check(cohort, outcome, [n for n in names(5) if fates.get(n) != "before"])


def test_a_member_that_sends_no_key_is_left_out_of_the_job() -> None:
    cohort = Cohort.form(make_terms(5, threshold=3), absent=["p002"])
    outcome, exchanges = play(cohort, 1)
    check(cohort, outcome, ["p000", "p001", "p003", "p004"])
    assert exchanges == 2


def test_a_round_may_name_its_participants_and_skip_numbers() -> None:
    cohort = Cohort.form(make_terms(5, threshold=3))
    for number, who in ((1, names(5)), (4, names(5)[1:]), (30, names(5)[:3])):
        outcome, exchanges = play(cohort, number, participants=who)
        check(cohort, outcome, who)
        assert exchanges == 2


def test_a_party_that_missed_rounds_comes_back() -> None:
    cohort = Cohort.form(make_terms(4, threshold=3))
    play(cohort, 1, before=["p001"])
    play(cohort, 2, before=["p001"])
    outcome, _ = play(cohort, 3)
    check(cohort, outcome, names(4))


@pytest.fixture
def _loose_graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Graphs that are sparse for small cohorts, at a security that suits no one."""
    for name, value in (("COMPLETE_UP_TO", 5), ("SECURITY_BITS", 4), ("GRINDING_BITS", 0), ("FAILURE_BITS", 4)):
        monkeypatch.setattr(graph, name, value)
    graph.choose.cache_clear()
    yield
    graph.choose.cache_clear()


@pytest.mark.usefixtures("_loose_graphs")
def test_a_sparse_round_recovers_in_three_exchanges() -> None:
    cohort = Cohort.form(make_terms(30, threshold=24, colluders=2))
    assert not graph.choose(30, colluders=2, threshold=24).is_complete
    outcome, exchanges = play(cohort, 1)
    check(cohort, outcome, names(30))
    assert exchanges == 3
    gone, lost, silent = ["p003", "p017"], ["p005"], ["p020"]
    outcome, exchanges = play(cohort, 2, before=gone, masked=lost, confirmed=silent)
    check(cohort, outcome, [n for n in names(30) if n not in gone])
    assert exchanges == 3


@pytest.mark.usefixtures("_loose_graphs")
def test_a_sparse_survivor_set_that_falls_apart_is_refused_by_every_party() -> None:
    """A coordinator that drops one victim's whole neighbourhood would learn the victim's input."""
    cohort = Cohort.form(make_terms(30, threshold=17, colluders=2))
    shape = graph.choose(30, colluders=2, threshold=17)
    assert not shape.is_complete
    one = cohort.aggregator.begin(1)
    messages = cohort.mask(one, names(30))
    ring = one._layout.graph.ring
    gone = set(ring[1 : 1 + shape.degree // 2])
    statements = pack(unpack(messages[n])[0] for n in names(30) if n not in gone)
    with pytest.raises(SurvivorsDisagree):
        cohort.parties[ring[0]].confirm(pack([b"1", statements]))


def test_a_resumed_party_finishes_the_round_at_every_step_but_masks_it_only_once() -> None:
    terms = make_terms(4, threshold=3)
    cohort = Cohort.form(terms)

    def restart(name: str) -> Party:
        return Party.resume(terms, name, identity(name), cohort.parties[name].state())

    for number, gone in ((1, "p003"), (2, None)):
        cohort.parties = {name: restart(name) for name in names(4)}
        one = cohort.aggregator.begin(number)
        for name, message in cohort.mask(one, [n for n in names(4) if n != gone]).items():
            one.add_masked(name, message)
            cohort.parties[name] = restart(name)
            with pytest.raises(AlreadyAnswered):
                cohort.parties[name].mask(one.request, cohort.inputs[name])
        asked = one.close_masked()
        assert isinstance(asked, Ask)
        if asked.kind == "confirm":
            for name, request in asked.requests.items():
                one.add_confirmation(name, cohort.parties[name].confirm(request))
                cohort.parties[name] = restart(name)
                assert cohort.parties[name].confirm(request)
            asked = one.close_confirmations()
        assert isinstance(asked, Ask)
        for name, request in asked.requests.items():
            reply = cohort.parties[name].unmask(request)
            cohort.parties[name] = restart(name)
            assert cohort.parties[name].unmask(request) == reply
            one.add_unmasked(name, reply)
        check(cohort, one.finish(), [n for n in names(4) if n != gone])


def test_a_party_resumes_before_keys_are_agreed() -> None:
    terms = make_terms(3, threshold=2)
    aggregator = Aggregator(terms)
    parties = {}
    for name in names(3):
        party, key = Party.join(terms, name, identity(name))
        parties[name] = Party.resume(terms, name, identity(name), party.state())
        aggregator.add_keys(name, key)
    roster = aggregator.roster()
    for party in parties.values():
        party.agree_keys(roster)
        party.agree_keys(roster)
    again = Aggregator.resume(terms, roster)
    outcome, _ = play(Cohort(terms, parties, again, {}), 1)
    assert isinstance(outcome, Opened)


def test_a_state_of_another_job_or_no_state_is_refused() -> None:
    terms = make_terms(3, threshold=2)
    state = Party.join(terms, "p000", identity("p000"))[0].state()
    for other, name in ((make_terms(3, threshold=2, job="other"), "p000"), (terms, "p001")):
        with pytest.raises(WrongBinding):
            Party.resume(other, name, identity(name), state)
    for bad in (b"", b"{}", b"[]", b"\xff", state[:-3]):
        with pytest.raises(Malformed):
            Party.resume(terms, "p000", identity("p000"), bad)


def test_chains_move_forward_so_that_a_state_does_not_open_earlier_rounds() -> None:
    """Nothing in a later state equals any key that an earlier state held."""
    cohort = Cohort.form(make_terms(3, threshold=2))
    seen: list[set[str]] = []
    for number in (1, 2, 3):
        play(cohort, number)
        chains = {chain.hex() for chain in cohort.parties["p000"]._chains.values()}
        assert all(not chains & earlier for earlier in seen)
        assert cohort.parties["p000"]._round is not None
        assert not cohort.parties["p000"]._round.keys
        seen.append(chains)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"threshold": 2}, "two different survivor sets"),
        ({"threshold": 3, "colluders": 2}, "two different survivor sets"),
        ({"threshold": 5}, "larger than the cohort"),
        ({"threshold": 3, "bits": 24}, "bits"),
        ({"threshold": 3, "rounds": 0}, "rounds"),
        ({"threshold": 3, "length": 0}, "length"),
    ],
)
def test_terms_that_cannot_hold_are_refused(changes: dict[str, int], what: str) -> None:
    with pytest.raises(InvalidPlan, match=what):
        make_terms(4, **changes)


def test_a_sum_that_could_hold_one_honest_input_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="single honest"):
        make_terms(2, threshold=2, colluders=1)


def test_members_are_sorted_and_different() -> None:
    members = make_terms(3, threshold=2).members
    for wrong in (members[::-1], (members[0], members[0], members[1]), (members[0], ("x", members[0][1]))):
        with pytest.raises(InvalidPlan):
            Terms(job="j", members=wrong, threshold=2, colluders=0, rounds=1, length=1, bits=16)


def test_masking_checks_the_ring_and_leaves_the_input_alone() -> None:
    cohort = Cohort.form(make_terms(3, threshold=2))
    one = cohort.aggregator.begin(1)
    values = cohort.values("p000")
    before = values.copy()
    for bad in (values.astype("<u4"), values[:-1], values.astype("<i2"), values.reshape(2, 3)):
        with pytest.raises(InvalidPlan):
            cohort.parties["p000"].mask(one.request, bad)
    cohort.parties["p000"].mask(one.request, values)
    assert (values == before).all()


def test_too_few_keys_participants_and_unknown_rounds_are_refused() -> None:
    aggregator = Aggregator(make_terms(4, threshold=3))
    with pytest.raises(BelowThreshold):
        aggregator.roster()
    cohort = Cohort.form(make_terms(4, threshold=3))
    with pytest.raises(BelowThreshold):
        cohort.aggregator.begin(1, ["p000", "p001"])
    party, _ = Party.join(cohort.terms, "p000", identity("p000"))
    with pytest.raises(RoundOver):
        party.mask(cohort.aggregator.begin(1).request, cohort.values("p000"))
    with pytest.raises(SubstitutedKey):
        party.agree_keys(pack(cohort.keys[n] for n in names(4)[:2]))
    with pytest.raises(RoundOver):
        cohort.parties["p001"].mask(cohort.aggregator.begin(51).request, cohort.values("p001"))


def test_nothing_secret_prints() -> None:
    cohort = Cohort.form(make_terms(3, threshold=2))
    one = cohort.aggregator.begin(1)
    message = cohort.mask(one, ["p000"])["p000"]
    one.add_masked("p000", message)
    assert repr(cohort.parties["p000"]) == "Party"
    assert "keys=" not in repr(cohort.parties["p000"]._round)


def test_a_sum_of_sums_wraps_as_the_ring_does() -> None:
    cohort = Cohort.form(make_terms(3, threshold=2, length=1))
    one = cohort.aggregator.begin(1)
    for name in names(3):
        one.add_masked(name, cohort.parties[name].mask(one.request, np.array([40_000], dtype="<u2")))
    asked = one.close_masked()
    assert isinstance(asked, Ask)
    for name, request in asked.requests.items():
        one.add_unmasked(name, cohort.parties[name].unmask(request))
    outcome = one.finish()
    assert isinstance(outcome, Opened)
    assert outcome.total.tolist() == [120_000 % 65_536]
