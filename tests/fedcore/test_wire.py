from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore import wire
from fedcore.adapter import AdapterState
from fedcore.errors import BadReply, TrustError
from fedcore.identity import SigningIdentity
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
    sealed = wire.seal_reply(plan, "a", update(plan), SPEND, node_identity)
    tensors, spend = wire.read_reply(sealed, plan, "a", node_identity.public)
    assert spend == SPEND
    assert all((a == 0.25).all() for a in tensors.values())


@pytest.mark.parametrize("change", [{"round": 2}, {"job_id": "other"}, {"seed": 8}])
def test_reply_to_another_plan_is_refused(
    make_plan: Make, node_identity: SigningIdentity, change: dict[str, object]
) -> None:
    sealed = wire.seal_reply(make_plan(), "a", update(make_plan()), SPEND, node_identity)
    with pytest.raises(BadReply) as caught:
        wire.read_reply(sealed, make_plan(**change), "a", node_identity.public)
    assert caught.value.kind == "wrong_plan"


def test_reply_under_another_name_is_refused(make_plan: Make, node_identity: SigningIdentity) -> None:
    sealed = wire.seal_reply(make_plan(), "a", update(make_plan()), SPEND, node_identity)
    with pytest.raises(BadReply):
        wire.read_reply(sealed, make_plan(), "b", node_identity.public)


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
    sealed = wire.seal_reply(plan, "a", faulty(kind, plan), SPEND, node_identity)
    with pytest.raises(BadReply) as caught:
        wire.read_reply(sealed, plan, "a", node_identity.public)
    assert caught.value.kind == kind


def test_body_that_was_not_signed_is_refused(make_plan: Make, node_identity: SigningIdentity) -> None:
    plan = make_plan()
    sealed = wire.seal_reply(plan, "a", update(plan), SPEND, node_identity)
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
        _CACHE.append((plan, node_identity, wire.seal_reply(plan, "a", update(plan), SPEND, node_identity)))


def _fixed() -> tuple[RoundPlan, SigningIdentity, wire.Envelope]:
    return _CACHE[0]
