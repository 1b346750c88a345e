"""Bodies at every width: what comes out is what went in, rounded; whatever else is sent is refused by name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore import wire
from fedcore.adapter import AdapterState, FloatArray
from fedcore.errors import BadReply, ConfigError, InvalidPlan
from fedcore.folding import DEFAULT_WIDTHS, Widths, WidthSettings
from fedcore.identity import SigningIdentity
from fedcore.packing import WIDTHS, Width, pack, packed_size_bytes, unpack
from fedcore.privacy.sampling import UnsafeSeeded
from fedcore.round import RoundPlan
from fedcore.sums import SumPlan

Make = Callable[..., RoundPlan]
NARROW: tuple[Width, ...] = ("bfloat16", "int8", "int4")
LEDGER = {"ledger": "ab" * 32, "dataset": "cd" * 32}
LARGEST_STEP = {"float32": 0.0, "bfloat16": 2.0**-7, "int8": 1 / 127 * 129 / 128, "int4": 1 / 7 * 129 / 128}


def update(plan: RoundPlan, seed: int = 0) -> dict[str, FloatArray]:
    draw = np.random.default_rng(seed)
    return {t.name: draw.standard_normal(t.shape).astype(np.float32) for t in plan.trained}


def sealed(plan: RoundPlan, signer: SigningIdentity, body: bytes | None = None) -> wire.Envelope:
    """An update; or whatever a sender who owns the key puts into a body."""
    if body is None:
        return wire.seal_reply(plan, "a", update(plan), {}, signer, **LEDGER)
    return wire.seal_masked_reply(plan, "a", body, {}, signer, **LEDGER)


def refused(plan: RoundPlan, signer: SigningIdentity, body: bytes) -> str:
    with pytest.raises(BadReply) as caught:
        wire.read_reply(sealed(plan, signer, body), plan, "a", signer.public)
    return caught.value.kind


@pytest.mark.parametrize("width", WIDTHS)
def test_an_update_comes_back_rounded_to_its_width(
    make_plan: Make, node_identity: SigningIdentity, width: Width
) -> None:
    plan = make_plan(widths=Widths(up=width), trains=("lora_A", "lora_B"))
    reply = sealed(plan, node_identity)
    assert len(reply.body) == packed_size_bytes(plan.trained, width)
    read, _ = wire.read_reply(reply, plan, "a", node_identity.public)
    assert list(read) == [t.name for t in plan.trained]
    for name, array in update(plan).items():
        error = np.abs(read[name] - array).max()
        assert error <= LARGEST_STEP[width] * np.abs(array).max()
        assert (width == "float32") == (error == 0)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_state_comes_down_as_its_body_says(
    make_plan: Make, state: AdapterState, coordinator_identity: SigningIdentity, width: Width
) -> None:
    plan = make_plan(widths=Widths(down=width), carries=("lora_A", "lora_B"))
    body = pack(state.part(*plan.carries), plan.carried, width, coins=UnsafeSeeded(3))
    envelope = wire.seal_plan(plan, body, coordinator_identity)
    read, tensors = wire.read_plan(envelope, coordinator_identity.public)
    assert (read, envelope.body) == (plan, body)
    for name, array in unpack(body, plan.carried, width).items():
        np.testing.assert_array_equal(tensors[name], array)
    whole = wire.seal_plan(plan, state.part(*plan.carries), coordinator_identity)
    assert len(whole.body) == len(body)


def test_the_coins_of_an_update_are_those_given_else_the_systems(
    make_plan: Make, node_identity: SigningIdentity
) -> None:
    plan = make_plan(widths=Widths(up="int4"))

    def body(seed: int | None) -> bytes:
        coins = {} if seed is None else {"coins": UnsafeSeeded(seed)}
        return wire.seal_reply(plan, "a", update(plan), {}, node_identity, **LEDGER, **coins).body

    assert body(1) == body(1)
    assert len({body(1), body(2), body(None), body(None)}) == 4


@pytest.mark.parametrize("width", NARROW)
def test_a_body_at_another_width_is_named(make_plan: Make, node_identity: SigningIdentity, width: Width) -> None:
    plan = make_plan(widths=Widths(up=width))
    for other in WIDTHS:
        if other != width:
            assert refused(plan, node_identity, pack(update(plan), plan.trained, other)) == "wrong_width"


@pytest.mark.parametrize("width", NARROW)
def test_a_body_that_is_cut_filled_up_or_of_other_tensors_is_named(
    make_plan: Make, node_identity: SigningIdentity, width: Width
) -> None:
    plan = make_plan(widths=Widths(up=width))
    body = pack(update(plan), plan.trained, width)
    for wrong in (b"", body[:-1], body + b"\0"):
        assert refused(plan, node_identity, wrong) == "wrong_size"
    renamed = tuple(replace(t, name="x" + t.name[1:]) for t in plan.trained)
    same_size = pack({"x" + n[1:]: a for n, a in update(plan).items()}, renamed, width)
    assert refused(plan, node_identity, same_size) == "malformed"
    turned = tuple(replace(t, shape=t.shape[::-1]) for t in plan.trained)
    same_size = pack({n: a.T.copy() for n, a in update(plan).items()}, turned, width)
    assert refused(plan, node_identity, same_size) == "malformed"


@pytest.mark.parametrize(
    ("width", "where", "two", "kind"),
    [
        ("bfloat16", "last", 0x7FC0, "not_finite"),
        ("bfloat16", "last", 0xFF80, "not_finite"),
        ("int8", "first", 0x7F80, "not_finite"),
        ("int8", "first", 0xFFC0, "not_finite"),
        ("int8", "first", 0x7F7F, "not_finite"),  # A finite scale, and products that are not.
        ("int4", "first", 0x7FC0, "not_finite"),
        ("int8", "first", 0x8001, "malformed"),  # A negative step.
        ("int8", "last", 0x8080, "malformed"),  # 128 steps down, which rounding never takes.
        ("int4", "last", 0x8888, "malformed"),
    ],
)
def test_numbers_that_cannot_be_are_named(
    make_plan: Make, node_identity: SigningIdentity, width: Width, where: str, two: int, kind: str
) -> None:
    plan = make_plan(widths=Widths(up=width))
    body = bytearray(pack(update(plan), plan.trained, width))
    # Scales and values are all that follows the header: the first scale, or the last values.
    start = int.from_bytes(body[:8], "little") + 8 if where == "first" else len(body) - 2
    body[start : start + 2] = two.to_bytes(2, "little")
    assert refused(plan, node_identity, bytes(body)) == kind


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=300), position=st.integers(0, 10_000), bit=st.integers(0, 7), width=st.sampled_from(NARROW)
)
def test_whatever_a_sender_signs_is_finite_numbers_or_refused(
    data: bytes, position: int, bit: int, width: Width
) -> None:
    make, signer = _CACHE[0]
    plan = make(widths=Widths(up=width))
    body = bytearray(pack(update(plan), plan.trained, width))
    header = int.from_bytes(body[:8], "little") + 8
    place = position % len(body)
    body[place] ^= 1 << bit
    for given_ in (bytes(body), data, bytes(body[:header]) + (data * 99)[: len(body) - header]):
        try:
            tensors, _ = wire.read_reply(sealed(plan, signer, given_), plan, "a", signer.public)
        except BadReply as error:
            if error.kind not in ("wrong_width", "wrong_size", "malformed", "not_finite"):
                raise
            continue
        assert given_[:header] == pack(update(plan), plan.trained, width)[:header]
        assert all(np.isfinite(a).all() and a.dtype == np.float32 for a in tensors.values())


@pytest.mark.parametrize("width", NARROW)
def test_a_plan_whose_body_does_not_fit_is_refused(
    make_plan: Make, state: AdapterState, coordinator_identity: SigningIdentity, width: Width
) -> None:
    plan = make_plan(widths=Widths(down=width))
    good = pack(state.part(*plan.carries), plan.carried, width)
    for body in (b"", good[:-1], wire.pack_arrays(state.part(*plan.carries)), b"\xff" * len(good)):
        with pytest.raises(ConfigError):
            wire.read_plan(wire.seal_plan(plan, body, coordinator_identity), coordinator_identity.public)


def test_a_huge_plan_allocates_nothing(make_plan: Make, coordinator_identity: SigningIdentity) -> None:
    plan = make_plan(widths=Widths(down="int8"))
    huge = tuple(replace(t, shape=(1 << 40, *t.shape[1:])) for t in plan.schema.tensors)
    plan = make_plan(widths=Widths(down="int8"), schema=replace(plan.schema, tensors=huge))
    with pytest.raises(ConfigError, match="wrong size"):
        wire.read_plan(wire.seal_plan(plan, b"\0" * 64, coordinator_identity), coordinator_identity.public)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_what_no_narrow_width_holds_is_not_sealed(make_plan: Make, node_identity: SigningIdentity, bad: float) -> None:
    plan = make_plan(widths=Widths(up="int8"))
    tensors = update(plan)
    next(iter(tensors.values()))[0, 0] = bad
    with pytest.raises(ConfigError):
        wire.seal_reply(plan, "a", tensors, {}, node_identity, **LEDGER)


def test_what_is_left_out_is_chosen_and_what_is_named_stands() -> None:
    assert WidthSettings().choose(masked=False) == DEFAULT_WIDTHS
    assert WidthSettings(up="float32", down="float32").choose(masked=False) == Widths()
    assert WidthSettings(up="bfloat16").choose(masked=False) == Widths(up="bfloat16", down=DEFAULT_WIDTHS.down)
    assert WidthSettings().choose(masked=True) == Widths(up="float32", down=DEFAULT_WIDTHS.down)
    with pytest.raises(ConfigError, match=r"\[widths\] down is not known"):
        WidthSettings(down="int7")  # type: ignore[arg-type]


def test_a_width_named_for_masked_updates_is_kept_so_that_the_plan_refuses_it(make_plan: Make) -> None:
    sums = SumPlan(parties=3, threshold=3, colluders=0, bits=32, resolution=2.0**-12, bound_l2=4.0, share_std_units=0)
    members = (("a", "aa" * 32), ("b", "bb" * 32), ("c", "cc" * 32))
    widths = WidthSettings(up="int8").choose(masked=True)
    with pytest.raises(InvalidPlan, match="the width of masked updates is that of their ring"):
        make_plan(widths=widths, sums=sums, members=members, cohort=("a", "b", "c"), quorum=3)


_CACHE: list[tuple[Make, SigningIdentity]] = []


@pytest.fixture(autouse=True)
def _remember(make_plan: Make, node_identity: SigningIdentity) -> None:
    """Hypothesis runs one test many times, with the plan and key of the first."""
    if not _CACHE:
        _CACHE.append((make_plan, node_identity))
