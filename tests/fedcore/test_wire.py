from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore import canonical, wire
from fedcore.adapter import AdapterState
from fedcore.errors import BadReply, TrustError
from fedcore.identity import SigningIdentity
from fedcore.privacy.accounting import DpEvent
from fedcore.receipt import Receipt, read_line, read_receipt, seal_receipt, write_line
from fedcore.round import RoundPlan

Make = Callable[..., RoundPlan]
SPEND = {
    "institution": "a",
    "unit": "patient",
    "relation": "add_or_remove_one",
    "epsilon": 1.0,
    "delta": 1e-5,
    "rounds": 1,
    "accountant": "prv",
}
LEDGER = {"ledger": "1" * 64, "dataset": "2" * 64}


def update(plan: RoundPlan, value: float = 0.25) -> dict[str, np.ndarray]:
    return {t.name: np.full(t.shape, value, dtype=np.float32) for t in plan.trained}


def test_plan_reads_back_equal(make_plan: Make, state: AdapterState, coordinator_identity: SigningIdentity) -> None:
    plan = make_plan()
    sealed = wire.seal_plan(plan, state.part("lora_B"), coordinator_identity)
    read, tensors = wire.read_plan(sealed, coordinator_identity.public)
    assert read == plan
    assert all(np.array_equal(tensors[n], a) for n, a in state.part("lora_B").items())


def test_plan_of_another_coordinator_is_refused(
    make_plan: Make, state: AdapterState, coordinator_identity: SigningIdentity, node_identity: SigningIdentity
) -> None:
    sealed = wire.seal_plan(make_plan(), state.part("lora_B"), node_identity)
    with pytest.raises(TrustError, match="signature"):
        wire.read_plan(sealed, coordinator_identity.public)


def test_reply_reads_back_equal(make_plan: Make, node_identity: SigningIdentity) -> None:
    plan = make_plan()
    sealed = wire.seal_reply(plan, "a", update(plan), SPEND, node_identity, **LEDGER)
    tensors, spend = wire.read_reply(sealed, plan, "a", node_identity.public)
    assert spend == SPEND
    assert all((a == 0.25).all() for a in tensors.values())


@pytest.mark.parametrize("change", [{"round": 2}, {"job_id": "other"}, {"seed": 8}])
def test_reply_to_another_plan_is_refused(
    make_plan: Make, node_identity: SigningIdentity, change: dict[str, object]
) -> None:
    sealed = wire.seal_reply(make_plan(), "a", update(make_plan()), SPEND, node_identity, **LEDGER)
    with pytest.raises(BadReply) as caught:
        wire.read_reply(sealed, make_plan(**change), "a", node_identity.public)
    assert caught.value.kind == "wrong_plan"


def test_reply_under_another_name_is_refused(make_plan: Make, node_identity: SigningIdentity) -> None:
    sealed = wire.seal_reply(make_plan(), "a", update(make_plan()), SPEND, node_identity, **LEDGER)
    with pytest.raises(BadReply):
        wire.read_reply(sealed, make_plan(), "b", node_identity.public)


def test_reply_names_the_entry_that_paid_for_it(make_plan: Make, node_identity: SigningIdentity) -> None:
    plan = make_plan()
    sealed = wire.seal_reply(plan, "a", update(plan), SPEND, node_identity, **LEDGER)
    header = wire.read_reply_header(sealed, plan, "a", node_identity.public)
    assert (header.ledger, header.dataset, header.spend) == ("1" * 64, "2" * 64, SPEND)


@pytest.mark.parametrize("field", ["ledger", "dataset"])
@pytest.mark.parametrize("value", ["", "0" * 63, "G" * 64, "0" * 65, "patient 17"])
def test_reply_that_names_no_entry_is_refused(
    make_plan: Make, node_identity: SigningIdentity, field: str, value: str
) -> None:
    plan = make_plan()
    sealed = wire.seal_reply(plan, "a", update(plan), SPEND, node_identity, **{**LEDGER, field: value})
    with pytest.raises(BadReply) as caught:
        wire.read_reply(sealed, plan, "a", node_identity.public)
    assert caught.value.kind == "malformed"


def test_header_is_proven_without_its_body(make_plan: Make, node_identity: SigningIdentity) -> None:
    plan = make_plan()
    sealed = wire.seal_reply(plan, "a", update(plan), SPEND, node_identity, **LEDGER)
    assert wire.verify_header("reply", sealed.header, sealed.signature, node_identity.public)["spend"] == SPEND
    with pytest.raises(TrustError):
        wire.verify_header("refusal", sealed.header, sealed.signature, node_identity.public)
    with pytest.raises(TrustError):
        wire.verify_header("reply", sealed.header + b" ", sealed.signature, node_identity.public)


def receipt_of(coordinator: SigningIdentity, **changes: object) -> wire.Envelope:
    fields = {
        "institution": "a",
        "number": 1,
        "previous": "",
        "job": "job",
        "round": 1,
        "plan": "0" * 64,
        "head": "1" * 64,
        "dataset": "2" * 64,
        "event": DpEvent(sampler="poisson", sampling_rate=0.05, noise_multiplier=0.8, steps=3),
        "at": "2026-11-01T12:00:00+00:00",
    }
    return seal_receipt(Receipt(**{**fields, **changes}), coordinator)  # type: ignore[arg-type]


def test_plan_with_a_receipt_is_the_same_plan(
    make_plan: Make, state: AdapterState, coordinator_identity: SigningIdentity
) -> None:
    plain = wire.seal_plan(make_plan(), state.part("lora_B"), coordinator_identity)
    receipt = receipt_of(coordinator_identity)
    carrying = wire.add_receipt(plain, receipt, coordinator_identity)
    assert wire.carried_receipt(plain) is None
    assert wire.carried_receipt(carrying) == receipt
    assert carrying.body == plain.body
    plan, _ = wire.read_plan(carrying, coordinator_identity.public)
    assert plan.digest == make_plan().digest


@pytest.mark.parametrize("carried", [3, "text", [], {}, {"header": "x"}, {"header": "x", "signature": "zz"}])
def test_plan_that_carries_no_receipt_but_something_else_is_refused(
    make_plan: Make, state: AdapterState, coordinator_identity: SigningIdentity, carried: object
) -> None:
    plain = wire.seal_plan(make_plan(), state.part("lora_B"), coordinator_identity)
    header = {**canonical.decode(plain.header), "receipt": carried}
    odd = wire.seal_bare("plan", header, coordinator_identity)
    with pytest.raises(TrustError, match="not a receipt"):
        wire.carried_receipt(odd)


def test_receipt_is_believed_only_from_its_coordinator_and_for_its_institution(
    coordinator_identity: SigningIdentity, node_identity: SigningIdentity
) -> None:
    sealed = receipt_of(coordinator_identity)
    assert read_receipt(sealed, coordinator_identity.public, institution="a").head == "1" * 64
    with pytest.raises(TrustError, match="signature"):
        read_receipt(sealed, node_identity.public, institution="a")
    with pytest.raises(TrustError, match="another institution"):
        read_receipt(sealed, coordinator_identity.public, institution="b")
    with pytest.raises(TrustError):
        read_receipt(replace(sealed, body=b"x"), coordinator_identity.public, institution="a")


def test_other_messages_of_the_coordinator_do_not_pass_as_receipts(
    make_plan: Make, state: AdapterState, coordinator_identity: SigningIdentity
) -> None:
    plan = wire.seal_plan(make_plan(), {}, coordinator_identity)
    with pytest.raises(TrustError):
        read_receipt(replace(plan, kind="receipt", body=b""), coordinator_identity.public, institution="a")
    bare = wire.seal_bare("receipt", {"number": 1}, coordinator_identity)
    with pytest.raises(TrustError, match="cannot be read"):
        read_receipt(bare, coordinator_identity.public, institution="a")


@pytest.mark.parametrize(
    "change",
    [
        {"number": 0},
        {"number": True},
        {"round": -1},
        {"head": "zz"},
        {"previous": "1"},
        {"dataset": ""},
        {"at": "yesterday"},
        {"at": "2026-11-01T12:00:00"},
        {"event": None},
        {"institution": "a" * 201},
    ],
)
def test_receipt_out_of_range_is_refused(coordinator_identity: SigningIdentity, change: dict[str, object]) -> None:
    with pytest.raises(TrustError):
        receipt_of(coordinator_identity, **change)


def test_receipt_bytes_are_fixed() -> None:
    """What a node keeps for years must be read by every later version: these bytes never change."""
    signer = SigningIdentity(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    sealed = receipt_of(signer)
    assert sealed.header == (
        b'{"at":"2026-11-01T12:00:00+00:00",'
        b'"body_sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",'
        b'"dataset":"' + b"2" * 64 + b'",'
        b'"event":{"noise_multiplier":0.8,"sampler":"poisson","sampling_rate":0.05,"steps":3},'
        b'"head":"' + b"1" * 64 + b'","institution":"a","job":"job","number":1,'
        b'"plan":"' + b"0" * 64 + b'","previous":"","round":1,"version":1}'
    )
    assert sealed.signature.hex() == (
        "64111917fc54dc385719fe374e885e572efd72a160254a618055ce0da496c6a7"
        "9ccc5beb107b706ea2e2cb0116bac2cb92236e8e9cf7b1aa2ecc6b54ce19300f"
    )
    line = write_line(sealed, signer.public)
    assert set(canonical.decode(line.encode())) == {"header", "signature", "signer"}
    read, key = read_line(line)
    assert (read, key) == (sealed, signer.public)
    assert read_receipt(read, key, institution="a").number == 1


def test_refusal_carries_one_code_and_nothing_else(make_plan: Make, node_identity: SigningIdentity) -> None:
    sealed = wire.seal_refusal(make_plan(), "a", "budget_exhausted", node_identity)
    assert sealed.body == b""
    assert wire.read_refusal(sealed, make_plan(), "a", node_identity.public) == "budget_exhausted"


def test_refusal_with_text_is_refused(make_plan: Make, node_identity: SigningIdentity) -> None:
    sealed = wire.seal_refusal(make_plan(), "a", "patient 17 is odd", node_identity)
    with pytest.raises(BadReply):
        wire.read_refusal(sealed, make_plan(), "a", node_identity.public)


def faulty(kind: str, plan: RoundPlan) -> dict[str, np.ndarray]:
    tensors = update(plan)
    name = next(iter(tensors))
    match kind:
        case "missing_tensor":
            del tensors[name]
        case "extra_tensor":
            tensors["other"] = tensors[name]
        case "wrong_dtype":
            tensors[name] = tensors[name].astype(np.float64)
        case "wrong_shape":
            tensors[name] = tensors[name].T.copy()
        case "not_finite":
            tensors[name][0, 0] = np.nan
    return tensors


@pytest.mark.parametrize("kind", ["missing_tensor", "extra_tensor", "wrong_dtype", "wrong_shape", "not_finite"])
def test_each_faulty_update_is_named(make_plan: Make, node_identity: SigningIdentity, kind: str) -> None:
    plan = make_plan()
    sealed = wire.seal_reply(plan, "a", faulty(kind, plan), SPEND, node_identity, **LEDGER)
    with pytest.raises(BadReply) as caught:
        wire.read_reply(sealed, plan, "a", node_identity.public)
    assert caught.value.kind == kind


def test_body_that_was_not_signed_is_refused(make_plan: Make, node_identity: SigningIdentity) -> None:
    plan = make_plan()
    sealed = wire.seal_reply(plan, "a", update(plan), SPEND, node_identity, **LEDGER)
    swapped = replace(sealed, body=wire.pack_arrays(update(plan, 9.0)))
    with pytest.raises(BadReply) as caught:
        wire.read_reply(swapped, plan, "a", node_identity.public)
    assert caught.value.kind == "bad_signature"


def test_refusal_does_not_pass_as_reply(make_plan: Make, node_identity: SigningIdentity) -> None:
    sealed = wire.seal_refusal(make_plan(), "a", "no", node_identity)
    with pytest.raises(BadReply):
        wire.read_reply(replace(sealed, kind="reply"), make_plan(), "a", node_identity.public)


def test_header_that_is_too_large_is_refused(make_plan: Make, node_identity: SigningIdentity) -> None:
    sealed = wire.seal_refusal(make_plan(), "a", "no", node_identity)
    with pytest.raises(BadReply):
        wire.read_refusal(
            replace(sealed, header=b" " * (wire.HEADER_LIMIT_BYTES + 1)), make_plan(), "a", node_identity.public
        )


@settings(max_examples=200)
@given(data=st.binary(max_size=400), position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_flipped_bit_and_no_random_body_passes(data: bytes, position: int, bit: int) -> None:
    plan, signer, sealed = _fixed()
    flipped = bytearray(sealed.body)
    flipped[position % len(flipped)] ^= 1 << bit
    for body in (bytes(flipped), data):
        with pytest.raises(BadReply):
            wire.read_reply(replace(sealed, body=body), plan, "a", signer.public)


_CACHE: list[tuple[RoundPlan, SigningIdentity, wire.Envelope]] = []


@pytest.fixture(autouse=True)
def _remember(make_plan: Make, node_identity: SigningIdentity) -> None:
    """Hypothesis runs one test many times; the sealed reply it damages is made once."""
    if not _CACHE:
        plan = make_plan()
        _CACHE.append((plan, node_identity, wire.seal_reply(plan, "a", update(plan), SPEND, node_identity, **LEDGER)))


def _fixed() -> tuple[RoundPlan, SigningIdentity, wire.Envelope]:
    return _CACHE[0]
