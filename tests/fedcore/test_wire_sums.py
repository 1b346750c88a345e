"""The messages of masked sums: read back equal, bound to their question, and nothing else is believed."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore import canonical, wire
from fedcore.errors import BadReply, InvalidPlan, TrustError
from fedcore.identity import SigningIdentity
from fedcore.secagg import Terms

COORDINATOR = SigningIdentity(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
NODE = SigningIdentity(Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))))
TERMS = Terms(
    job="job/" + COORDINATOR.public.key_hex,
    members=tuple((name, f"{place:064x}") for place, name in enumerate("abcd", start=10)),
    threshold=3,
    colluders=1,
    rounds=5,
    length=6,
    bits=32,
)
ASK = wire.SumAsk(job="job", round=2, phase="open", terms=TERMS)


def asked(body: bytes = b"shares", **changes: Any) -> tuple[wire.SumAsk, wire.Envelope]:
    return wire.seal_sum(replace(ASK, **changes), body, COORDINATOR)


@pytest.mark.parametrize("phase", wire.PHASES)
def test_a_question_reads_back_equal_and_knows_what_its_answer_is_bound_to(phase: wire.Phase) -> None:
    ask, sealed = asked(phase=phase)
    assert wire.read_sum(sealed, COORDINATOR.public) == ask
    assert ask.asked == hashlib.sha256(sealed.header).hexdigest()
    assert sealed.body == b"shares"


def test_an_answer_reads_back_equal() -> None:
    ask, _ = asked()
    sealed = wire.seal_sum_reply(ask, "a", b"opened", NODE)
    assert wire.read_sum_reply(sealed, ask, "a", NODE.public) == b"opened"
    assert wire.read_sum_reply(wire.seal_sum_reply(ask, "a", b"", NODE), ask, "a", NODE.public) == b""


def test_a_refusal_is_one_code_and_no_bytes() -> None:
    ask, question = asked()
    sealed = wire.seal_sum_refusal(question, "a", "sum_not_joined", NODE)
    assert sealed.body == b""
    with pytest.raises(BadReply) as caught:
        wire.read_sum_reply(sealed, ask, "a", NODE.public)
    assert caught.value.kind == "sum_not_joined"


def test_a_question_that_could_not_be_read_is_refused_to_whoever_asked_it() -> None:
    """Its answer is bound to its bytes, whatever they are."""
    broken = wire.seal_bare("sum", {"job": 7}, COORDINATOR)
    with pytest.raises(TrustError):
        wire.read_sum(broken, COORDINATOR.public)
    ask = replace(ASK, asked=hashlib.sha256(broken.header).hexdigest())
    with pytest.raises(BadReply) as caught:
        wire.read_sum_reply(wire.seal_sum_refusal(broken, "a", "trust", NODE), ask, "a", NODE.public)
    assert caught.value.kind == "trust"


@pytest.mark.parametrize(
    ("what", "signer", "kind"),
    [
        ({"asked": "0" * 64}, NODE, "wrong_plan"),
        ({"asked": None}, NODE, "wrong_plan"),
        ({"institution": "b"}, NODE, "wrong_plan"),
        ({"institution": ["a"]}, NODE, "wrong_plan"),
        ({"code": None}, NODE, "malformed"),
        ({"code": "two words"}, NODE, "malformed"),
        ({"code": "x" * 41}, NODE, "malformed"),
        ({"code": 7}, NODE, "malformed"),
        ({}, COORDINATOR, "bad_signature"),
    ],
)
def test_an_answer_that_does_not_hold_is_named(what: Mapping[str, Any], signer: SigningIdentity, kind: str) -> None:
    ask, _ = asked()
    header = {"asked": ask.asked, "institution": "a", "code": "", **what}
    with pytest.raises(BadReply) as caught:
        wire.read_sum_reply(wire.seal_bare("sum_reply", header, signer), ask, "a", NODE.public)
    assert caught.value.kind == kind


def test_an_answer_to_another_question_is_refused() -> None:
    """The same job and round, asked again with other bytes, is another question."""
    first, _ = asked(b"one set")
    second, _ = asked(b"another set")
    sealed = wire.seal_sum_reply(first, "a", b"opened", NODE)
    with pytest.raises(BadReply) as caught:
        wire.read_sum_reply(sealed, second, "a", NODE.public)
    assert caught.value.kind == "wrong_plan"


def test_an_answer_under_another_institutions_name_is_refused() -> None:
    ask, _ = asked()
    sealed = wire.seal_sum_reply(ask, "b", b"opened", NODE)
    with pytest.raises(BadReply) as caught:
        wire.read_sum_reply(sealed, ask, "a", NODE.public)
    assert caught.value.kind == "wrong_plan"


def test_a_body_that_was_not_signed_is_refused_on_both_sides() -> None:
    ask, question = asked()
    with pytest.raises(TrustError, match="not the one that was signed"):
        wire.read_sum(replace(question, body=b"other"), COORDINATOR.public)
    sealed = replace(wire.seal_sum_reply(ask, "a", b"opened", NODE), body=b"other")
    with pytest.raises(BadReply) as caught:
        wire.read_sum_reply(sealed, ask, "a", NODE.public)
    assert caught.value.kind == "bad_signature"


def test_another_signature_or_kind_is_no_question() -> None:
    _, question = asked()
    reply = wire.seal_sum_reply(asked()[0], "a", b"", NODE)
    for other in (
        replace(question, signature=NODE.sign(question.header)),
        replace(question, signature=b""),
        replace(question, kind="plan"),
        replace(reply, kind="sum"),
        wire.seal_sum(ASK, b"shares", NODE)[1],
    ):
        with pytest.raises(TrustError):
            wire.read_sum(other, COORDINATOR.public)


def test_a_header_that_is_too_large_is_refused_on_both_sides() -> None:
    ask, question = asked()
    large = b" " * (wire.HEADER_LIMIT_BYTES + 1)
    with pytest.raises(TrustError, match="too large"):
        wire.read_sum(replace(question, header=large), COORDINATOR.public)
    with pytest.raises(BadReply):
        wire.read_sum_reply(wire.Envelope(kind="sum_reply", header=large, signature=b""), ask, "a", NODE.public)


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "abandon"},
        {"phase": None},
        {"round": "2"},
        {"round": True},
        {"round": 2.0},
        {"job": 7},
        {"terms": None},
        {"terms": []},
        {"terms": {}},
        {"terms": {**asdict(TERMS), "more": 1}},
        {"terms": {**asdict(TERMS), "members": 7}},
        {"terms": {**asdict(TERMS), "members": [["a"]]}},
        {"terms": {k: v for k, v in asdict(TERMS).items() if k != "bits"}},
    ],
)
def test_a_malformed_question_is_refused(change: Mapping[str, Any]) -> None:
    header = {"job": "job", "round": 2, "phase": "open", "terms": asdict(TERMS), **change}
    with pytest.raises(TrustError, match="cannot be read"):
        wire.read_sum(wire.seal_bare("sum", header, COORDINATOR), COORDINATOR.public)


@pytest.mark.parametrize("change", [{"threshold": 2}, {"members": [["a", "0" * 64]]}, {"colluders": 3}, {"bits": 8}])
def test_terms_that_cannot_hold_are_refused(change: Mapping[str, Any]) -> None:
    header = {"job": "job", "round": 2, "phase": "open", "terms": {**asdict(TERMS), **change}}
    with pytest.raises(InvalidPlan):
        wire.read_sum(wire.seal_bare("sum", header, COORDINATOR), COORDINATOR.public)


def test_the_bytes_of_question_and_answer_are_fixed() -> None:
    """Two versions that read each other's messages differently would refuse each other's signatures."""
    ask, question = asked()
    assert question.header == (
        b'{"body_sha256":"' + hashlib.sha256(b"shares").hexdigest().encode() + b'",'
        b'"job":"job","phase":"open","round":2,"terms":{"bits":32,"colluders":1,'
        b'"job":"job/' + COORDINATOR.public.key_hex.encode() + b'","length":6,'
        b'"members":[["a","' + f"{10:064x}".encode() + b'"],["b","' + f"{11:064x}".encode() + b'"],'
        b'["c","' + f"{12:064x}".encode() + b'"],["d","' + f"{13:064x}".encode() + b'"]],'
        b'"rounds":5,"threshold":3},"version":1}'
    )
    reply = wire.seal_sum_reply(ask, "a", b"opened", NODE)
    assert reply.header == (
        b'{"asked":"' + ask.asked.encode() + b'",'
        b'"body_sha256":"' + hashlib.sha256(b"opened").hexdigest().encode() + b'",'
        b'"code":"","institution":"a","version":1}'
    )
    assert reply.signature == NODE.sign(b"concordat/1/sum_reply\0" + reply.header)
    assert question.signature == COORDINATOR.sign(b"concordat/1/sum\0" + question.header)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=6), st.just("00" * 32)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


def signed(kind: wire.Kind, value: Any, signer: SigningIdentity) -> wire.Envelope | None:
    """Whatever its signer wrote; None where it has no bytes."""
    empty = hashlib.sha256(b"").hexdigest()
    try:
        header = canonical.encode({"version": 1, "body_sha256": empty, **value} if isinstance(value, dict) else value)
    except (ValueError, TypeError):
        return None
    return wire.Envelope(
        kind=kind, header=header, signature=signer.sign(f"concordat/1/{kind}".encode() + b"\0" + header)
    )


@settings(max_examples=300, deadline=None)
@given(
    top=st.dictionaries(st.sampled_from(["job", "round", "phase", "terms", "version", "x"]), VALUES, max_size=2),
    inner=st.dictionaries(st.sampled_from([*asdict(TERMS), "x"]), VALUES, max_size=2),
    other=VALUES,
)
def test_whatever_a_coordinator_signs_raises_only_the_named_errors(
    top: dict[str, Any], inner: dict[str, Any], other: Any
) -> None:
    good = {"job": "job", "round": 2, "phase": "open", "terms": {**asdict(TERMS), **inner}}
    for value in ({**good, **top}, other):
        envelope = signed("sum", value, COORDINATOR)
        if envelope is None:
            continue
        try:
            ask = wire.read_sum(envelope, COORDINATOR.public)
        except (TrustError, InvalidPlan):
            continue
        # Whatever is read can be bound to, and is a question.
        assert (type(ask.job), type(ask.round), len(ask.terms.digest)) == (str, int, 64)
        assert ask.phase in wire.PHASES


@settings(max_examples=200, deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(["asked", "institution", "code", "version", "x"]), VALUES, max_size=3),
    other=VALUES,
    noise=st.binary(max_size=60),
)
def test_whatever_a_node_signs_raises_only_the_named_error(changes: dict[str, Any], other: Any, noise: bytes) -> None:
    ask, _ = asked()
    good = {"asked": ask.asked, "institution": "a", "code": ""}
    for envelope in (
        signed("sum_reply", {**good, **changes}, NODE),
        signed("sum_reply", other, NODE),
        wire.Envelope(kind="sum_reply", header=noise, signature=NODE.sign(b"concordat/1/sum_reply\0" + noise)),
    ):
        if envelope is None:
            continue
        kind = ""
        try:
            wire.read_sum_reply(envelope, ask, "a", NODE.public)
        except BadReply as error:
            kind = error.kind
        assert len(kind) <= 40
