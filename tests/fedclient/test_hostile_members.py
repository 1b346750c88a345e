"""Plans of shared noise from a hostile coordinator, through the real session: refused by a code, nothing spent."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcore.adapter import AdapterState, ModelCard
from fedcore.identity import SigningIdentity
from fedcore.round import RoundPlan
from fedcore.wire import pack_arrays, seal_plan
from tests.fedclient.test_hostile_plans import Target, pack
from tests.reference.shared_noise import members, peer, shared_fields

Plans = Callable[..., RoundPlan]


class Victim(Target):
    """An institution "a" that knows "b", "c" and "d", and agrees to noise that three share."""

    def __init__(self, directory: Path, card: ModelCard, **policy: Any) -> None:
        super().__init__(directory, card)
        known = {"largest_honest_minimum": 3, "peers": tuple(map(peer, "bcd"))} | policy
        own = f"a={self.identity.public.fingerprint}"
        consent = self.institution.policy
        consent._policy = dataclasses.replace(consent._policy, own=own, **known)  # type: ignore[attr-defined]

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """All four, with their real keys."""
        return (("a", self.identity.public.key_hex), *members("bcd"))


@pytest.fixture
def victim(tmp_path: Path, card: ModelCard) -> Victim:
    return Victim(tmp_path, card)


@pytest.fixture
def asked(victim: Victim, make_plan: Plans, state: AdapterState) -> Callable[..., str]:
    """The code with which a signed plan is refused."""

    def send(**changes: Any) -> str:
        plan = make_plan(**{**shared_fields(make_plan()), "members": victim.members, **changes})
        return victim.refusal(seal_plan(plan, state.part(*plan.carries), victim.coordinator))

    return send


def test_an_honest_plan_passes_the_policy(victim: Victim, asked: Callable[..., str]) -> None:
    """What stops it is only that nobody agreed on keys: the rules below are what stops the others."""
    assert asked() == "sum_not_joined"


def test_members_that_the_coordinator_invented(victim: Victim, asked: Callable[..., str]) -> None:
    mine = SigningIdentity.generate().public.key_hex
    assert asked(members=(*victim.members[:3], ("d", mine))) == "peers_unknown"
    assert asked(members=(*victim.members[:3], ("e", mine)), cohort=("a", "b", "c")) == "peers_unknown"


def test_a_member_under_another_ones_name(victim: Victim, asked: Callable[..., str]) -> None:
    a, b, c, d = victim.members
    assert asked(members=(a, ("b", c[1]), ("c", b[1]), d)) == "peers_unknown"


def test_the_institutions_own_key_replaced(victim: Victim, asked: Callable[..., str]) -> None:
    assert asked(members=(("a", SigningIdentity.generate().public.key_hex), *victim.members[1:])) == "peers_unknown"


def test_two_members_with_one_key(victim: Victim, good: dict[str, Any], state: AdapterState) -> None:
    body = pack_arrays(state.part("lora_B"))
    # The same key in other letters is no second one either: nobody is known by it.
    for twin in (victim.members[1][1], victim.members[1][1].upper()):
        changed = good | {"members": [*map(list, victim.members[:3]), ["d", twin]]}
        assert victim.refusal(victim.sign(pack(changed, body), body)) in ("invalid_plan", "peers_unknown")


def test_shares_that_carry_less_than_the_plan_claims(victim: Victim, good: dict[str, Any]) -> None:
    assert good["sums"]["share_std_units"] > 100
    for less in (good["sums"]["share_std_units"] - 1, 4, 0, -1, "x"):
        sums = good["sums"] | {"share_std_units": less}
        assert victim.refusal(victim.sign(pack(good | {"sums": sums}, b""))) == "invalid_plan"
    privacy = good["privacy"] | {"honest_minimum": 2}
    assert victim.refusal(victim.sign(pack(good | {"privacy": privacy}, b""))) == "invalid_plan"


@pytest.mark.parametrize("honest", [0, -1, 4, 4097, 2.5, True, "3", None, []])
def test_an_assumption_out_of_range(victim: Victim, good: dict[str, Any], honest: Any) -> None:
    privacy = good["privacy"] | {"honest_minimum": honest}
    assert victim.refusal(victim.sign(pack(good | {"privacy": privacy}, b""))) == "invalid_plan"


@pytest.mark.parametrize("broken", [[["a"]], [["a", 1]], [[["a"], "00"]], "abcd", [None], {"a": "00"}, 7, None, []])
def test_members_that_cannot_be_read(victim: Victim, good: dict[str, Any], broken: Any) -> None:
    assert victim.refusal(victim.sign(pack(good | {"members": broken}, b""))) == "invalid_plan"


def test_more_honesty_than_was_agreed_to(
    tmp_path: Path, card: ModelCard, make_plan: Plans, state: AdapterState
) -> None:
    for most, code in ((2, "honest_minimum_too_large"), (None, "honest_minimum_too_large")):
        victim = Victim(tmp_path / str(most), card, largest_honest_minimum=most)
        plan = make_plan(**{**shared_fields(make_plan()), "members": victim.members})
        assert victim.refusal(seal_plan(plan, state.part(*plan.carries), victim.coordinator)) == code


@pytest.fixture
def good(victim: Victim, make_plan: Plans) -> dict[str, Any]:
    """A plan that would be accepted, as JSON."""
    plan = make_plan(**{**shared_fields(make_plan()), "members": victim.members})
    value: dict[str, Any] = json.loads(json.dumps(plan.to_dict()))
    return value
