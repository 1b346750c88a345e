"""Whom an institution knows: only who stands on its own list with their own key."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedclient.peers import Peer, parse_peers, unknown
from fedcore.errors import ConfigError
from fedcore.identity import SigningIdentity
from tests.reference.shared_noise import IDENTITIES, members, peer

PEERS = parse_peers(map(peer, "abc"))


def test_a_peer_is_read_as_it_is_written() -> None:
    assert str(Peer.parse(peer("a"))) == peer("a")
    assert Peer.parse(peer("a")).fingerprint == IDENTITIES["a"].public.fingerprint


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "a=", "=1a2b", "a=1a2b", peer("a").upper(), peer("a") + " ", " " + peer("a"), peer("a") + "-1a2b"),
        *("../a" + peer("a")[1:], "a b" + peer("a")[1:], peer("a").replace("=", "=="), peer("a") + "\n"),
    ],
)
def test_what_is_no_peer_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a peer cannot be read"):
        Peer.parse(text)


def test_one_name_or_one_fingerprint_for_two_peers_is_refused() -> None:
    with pytest.raises(ConfigError, match="two peers have one name"):
        parse_peers([peer("a"), "a" + peer("b")[1:]])
    with pytest.raises(ConfigError, match="two peers have one fingerprint"):
        parse_peers([peer("a"), "z" + peer("a")[1:]])


def test_only_name_and_key_together_are_known() -> None:
    assert unknown(members("abc"), PEERS) == ()
    assert unknown(members("abcd"), PEERS) == ("d",)
    (a, b, c) = members("abc")
    assert unknown([("a", b[1]), ("b", a[1]), c], PEERS) == ("a", "b")
    assert unknown([("a", SigningIdentity.generate().public.key_hex)], PEERS) == ("a",)


@pytest.mark.parametrize("spell", [str.upper, lambda key: " ".join((key[:2], key[2:])), lambda key: key + " "])
def test_another_spelling_of_a_known_key_is_not_known(spell: Any) -> None:
    assert unknown([("a", spell(members("a")[0][1]))], PEERS) == ("a",)


@given(
    member=st.one_of(
        st.none(),
        st.integers(),
        st.text(),
        st.lists(st.text(), max_size=3),
        st.tuples(st.text(), st.one_of(st.text(alphabet="0123456789abcdef", min_size=60, max_size=66), st.integers())),
    )
)
def test_whatever_cannot_be_read_is_not_known(member: Any) -> None:
    assert len(unknown([member], PEERS)) == 1
