"""Every width: unbiased, within a step, of exactly the size that is known beforehand, or refused."""

import json
import math
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import deserialize

from fedcore.adapter import AdapterState, FloatArray, TensorSpec
from fedcore.errors import ConfigError
from fedcore.packing import (
    BLOCK,
    LARGEST,
    WIDTHS,
    Width,
    bytes_per_parameter,
    pack,
    packed_size_bytes,
    unpack,
)
from fedcore.privacy.sampling import UnsafeSeeded
from fedcore.wire import pack_arrays

NARROW: tuple[Width, ...] = ("bfloat16", "int8", "int4")
LEVELS: dict[str, int] = {"int8": 127, "int4": 7}

shapes = st.one_of(
    st.just(()),
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple),
    st.integers(60, 200).map(lambda n: (n,)),
)
floats = st.floats(-LARGEST, LARGEST, width=32)


def spec_of(name: str, array: FloatArray) -> TensorSpec:
    return TensorSpec(name=name, shape=array.shape)


@st.composite
def tensor_maps(draw: st.DrawFn) -> dict[str, FloatArray]:
    names = draw(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), max_size=3, unique=True))
    made = {name: draw(arrays.arrays(np.float32, draw(shapes), elements=floats)) for name in names}
    made.pop("__metadata__", None)
    return made


def specs_of(tensors: dict[str, FloatArray]) -> tuple[TensorSpec, ...]:
    return tuple(spec_of(name, array) for name, array in tensors.items())


def one(values: Any, width: Width, seed: int = 0) -> FloatArray:
    """Values there and back, as one tensor."""
    array = np.asarray(values, dtype=np.float32)
    specs = (spec_of("x", array),)
    return unpack(pack({"x": array}, specs, width, coins=UnsafeSeeded(seed)), specs, width)["x"]


def step_of(values: FloatArray, width: Width) -> FloatArray:
    """The longest step that each number may be rounded over, slowly, from the definition."""
    flat = [abs(float(v)) for v in values.reshape(-1)]
    if width == "bfloat16":
        steps = [max(2.0 ** (math.floor(math.log2(v)) - 7), 2.0**-133) if v else 0.0 for v in flat]
    else:
        steps = []
        for start in range(0, len(flat), BLOCK):
            block = flat[start : start + BLOCK]
            longest = max(max(block) / LEVELS[width] * (1 + 1 / 128), 2.0**-133) if max(block) else 0.0
            steps += [longest] * len(block)
    return np.asarray(steps).reshape(values.shape)


@given(tensor_maps(), st.sampled_from(WIDTHS))
@settings(max_examples=80, deadline=None)
def test_what_comes_back_is_finite_within_a_step_and_of_the_known_size(
    tensors: dict[str, FloatArray], width: Width
) -> None:
    specs = specs_of(tensors)
    body = pack(tensors, specs, width)
    assert len(body) == packed_size_bytes(specs, width)
    back = unpack(body, specs, width)
    assert list(back) == [t.name for t in specs]
    for name, array in tensors.items():
        assert back[name].dtype == np.float32
        assert back[name].shape == array.shape
        assert np.isfinite(back[name]).all()
        error = np.abs(back[name].astype(np.float64) - array)
        if width == "float32":
            assert not error.any()
        else:
            assert ((error < step_of(array, width)) | (error == 0)).all()


@given(tensor_maps(), st.sampled_from(WIDTHS))
@settings(max_examples=60, deadline=None)
def test_bodies_are_safetensors(tensors: dict[str, FloatArray], width: Width) -> None:
    read = dict(deserialize(pack(tensors, specs_of(tensors), width)))
    if width == "float32":
        assert {name: (v["dtype"], tuple(v["shape"]), bytes(v["data"])) for name, v in read.items()} == {
            name: ("F32", array.shape, array.tobytes()) for name, array in tensors.items()
        }
    else:
        assert set(read) == ({"values"} if width == "bfloat16" else {"scales", "values"})


@given(tensor_maps())
@settings(max_examples=60, deadline=None)
def test_float32_bodies_are_those_of_the_wire(tensors: dict[str, FloatArray]) -> None:
    # The wire has no scalars: it turns them into vectors of one number.
    shaped = {name: array for name, array in tensors.items() if array.ndim}
    if shaped:
        assert pack(shaped, specs_of(shaped), "float32") == pack_arrays(shaped)


def test_float32_body_of_a_state_is_that_of_the_wire(state: AdapterState) -> None:
    assert pack(dict(state.tensors), state.schema.tensors, "float32") == pack_arrays(dict(state.tensors))


@pytest.mark.parametrize("width", WIDTHS)
def test_order_of_tensors_does_not_change_the_bytes(width: Width) -> None:
    tensors = {n: np.linspace(-1, i + 1, 130, dtype=np.float32) for i, n in enumerate("bac")}
    turned = dict(reversed(tensors.items()))
    first = pack(tensors, specs_of(tensors), width, coins=UnsafeSeeded(5))
    assert first == pack(turned, specs_of(turned), width, coins=UnsafeSeeded(5))


@pytest.mark.parametrize("width", NARROW)
def test_memory_layout_does_not_change_the_bytes(width: Width) -> None:
    array = np.linspace(-1, 2, 600, dtype=np.float32).reshape(20, 30)
    turned = np.asfortranarray(array)
    specs = (spec_of("x", array),)
    assert pack({"x": array}, specs, width, coins=UnsafeSeeded(1)) == pack(
        {"x": turned}, specs, width, coins=UnsafeSeeded(1)
    )


@pytest.mark.parametrize("width", NARROW)
def test_rounding_is_unbiased_and_its_coins_are_independent(width: Width) -> None:
    # Many copies of one block, so that each of its 64 numbers is rounded 4,000 times.
    copies, chance = 4000, 1e-6
    block = np.random.default_rng(1).standard_normal(BLOCK).astype(np.float32)
    back = one(np.tile(block, copies), width).reshape(copies, BLOCK).astype(np.float64)
    steps = step_of(block, width)
    # Hoeffding for numbers in an interval of one step, a union over 64 numbers and two sides: 1e-6 in all.
    limit = steps * math.sqrt(math.log(2 * BLOCK / chance) / (2 * copies))
    assert (np.abs(back.mean(axis=0) - block) <= limit).all()
    assert (limit < steps / 20).all()
    # Each copy's total error: were the coins of a block one coin, its variance would be some 64 times as large.
    total = (back - block).sum(axis=1)
    assert total.var() <= 2 * (steps**2 / 4).sum()
    assert back.std(axis=0).max() > 0


@pytest.mark.parametrize("width", NARROW)
def test_rounding_to_the_nearest_would_be_seen(width: Width) -> None:
    # The number lies a quarter of a step above a step: nearest rounding would lose it every time.
    copies = 4000
    block = np.zeros(BLOCK, dtype=np.float32)
    block[0], block[1:] = (1.0, 1 + 2.0**-9) if width == "bfloat16" else (LEVELS[width], 1.25)
    back = one(np.tile(block, copies), width).reshape(copies, BLOCK)[:, 1:].astype(np.float64)
    down, up = (1.0, 1 + 2.0**-7) if width == "bfloat16" else (1.0, 2.0)
    assert set(np.unique(back)) == {down, up}
    count, draws = int((back == up).sum()), back.size
    # Chernoff, both sides: below 1e-6.
    assert abs(count / draws - 0.25) <= math.sqrt(math.log(2e6) / (2 * draws)) < 0.01


class Fixed:
    """The same word for every coin."""

    origin: ClassVar[str] = "fixed"

    def __init__(self, word: int) -> None:
        self.word = word

    def words(self, count: int) -> Any:
        return np.full(count, self.word, dtype=np.uint64)


@given(
    arrays.arrays(np.float32, st.integers(1, 150), elements=floats),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["int8", "int4"]),
)
@settings(max_examples=100, deadline=None)
def test_integers_are_those_of_a_slow_twin(values: FloatArray, coin: int, width: Width) -> None:
    specs, levels = (spec_of("x", values),), LEVELS[width]
    body = pack({"x": values}, specs, width, coins=Fixed(coin << 32 | coin))
    back = unpack(body, specs, width)["x"]
    for start in range(0, len(values), BLOCK):
        block = [Fraction(float(v)) for v in values[start : start + BLOCK]]
        # The scale: the least bfloat16 that is no less than the largest magnitude over the levels.
        wanted, bits = max(abs(v) for v in block) / levels, 0
        low, high = 0, 0x7F00
        while low < high:
            bits = (low + high) // 2
            stands_for = Fraction(float(np.asarray(bits << 16, dtype=np.uint32).view(np.float32)))
            low, high = (bits + 1, high) if stands_for < wanted else (low, bits)
        scale = Fraction(float(np.asarray(low << 16, dtype=np.uint32).view(np.float32)))
        for v, got in zip(block, back[start : start + BLOCK], strict=True):
            if not scale:
                assert got == 0
                continue
            exact = v / scale + Fraction(coin, 2**32)
            # Floats may fall on the other side of a step only where the twin's sum is on one, but for 2**-45.
            allowed = {
                math.floor(exact),
                math.floor(exact + Fraction(1, 2**45)),
                math.floor(exact - Fraction(1, 2**45)),
            }
            assert Fraction(float(got)) in {k * scale for k in allowed if abs(k) <= levels}


@pytest.mark.parametrize(("width", "levels"), LEVELS.items())
def test_largest_of_a_block_never_needs_a_step_too_many(width: Width, levels: int) -> None:
    # Its scale lies a hair above a bfloat16: rounded down, the coin could take it out of range. With subnormal
    # numbers even the division alone would round down.
    for unit in (1.0, 2.0**-133):
        value = np.array([np.nextafter(np.float32(levels * unit), np.float32(np.inf))])
        for sign in (1, -1):
            specs = (spec_of("x", value),)
            for word in (0, 2**64 - 1):
                back = unpack(pack({"x": sign * value}, specs, width, coins=Fixed(word)), specs, width)["x"]
                step = max(unit * 2.0**-7, 2.0**-133) + unit
                assert (sign * back[0] / step) in {levels // 2, levels // 2 + 1, levels - 1, levels}


def test_whole_steps_come_back_exactly() -> None:
    for width, levels in LEVELS.items():
        steps = np.arange(-levels, levels + 1, dtype=np.float32)
        values = np.concatenate([np.full(1, levels, dtype=np.float32), steps])[:BLOCK] * np.float32(2.0**-9)
        assert (one(values, width) == values).all()  # type: ignore[arg-type]
    kept = np.array([0.0, 1.0, -1.5, 2.0**100, 2.0**-130, LARGEST, -LARGEST], dtype=np.float32)
    assert (one(kept, "bfloat16") == kept).all()


@pytest.mark.parametrize("width", NARROW)
@pytest.mark.parametrize("seed", range(4))
def test_subnormal_and_huge_numbers_stay_within_a_step(width: Width, seed: int) -> None:
    least = float(np.finfo(np.float32).smallest_subnormal)
    for values in ([least], [-least, 0.0], [1e-40, -3e-42], [LARGEST, -LARGEST, 1.0, least], [0.0] * 65 + [1e-39]):
        array = np.asarray(values, dtype=np.float32)
        back = one(array, width, seed)
        error = np.abs(back.astype(np.float64) - array)
        assert ((error < step_of(array, width)) | (error == 0)).all()
        assert np.isfinite(back).all()


@pytest.mark.parametrize("width", NARROW)
def test_more_than_the_largest_is_refused_and_named(width: Width) -> None:
    above = np.nextafter(np.float32(LARGEST), np.float32(np.inf))
    with pytest.raises(ConfigError, match=r"tensor x .*float32"):
        one([1.0, -above], width)
    assert one([1.0, -above], "float32")[1] == -above


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(width: Width, value: float) -> None:
    with pytest.raises(ConfigError, match="NaN"):
        one([0.0, value], width)


@pytest.mark.parametrize("width", WIDTHS)
def test_empty_tensors_and_scalars(width: Width) -> None:
    tensors = {
        "empty": np.zeros((0, 4), dtype=np.float32),
        "scalar": np.asarray(-3.0, dtype=np.float32),
        "void": np.zeros((2, 0), dtype=np.float32),
    }
    back = unpack(pack(tensors, specs_of(tensors), width), specs_of(tensors), width)
    assert {n: a.shape for n, a in back.items()} == {"empty": (0, 4), "scalar": (), "void": (2, 0)}
    assert abs(float(back["scalar"]) + 3.0) <= 3 / 64
    assert unpack(pack({}, (), width), (), width) == {}


@pytest.mark.parametrize("length", [1, 2, 3, 63, 64, 65, 127, 129, 32767, 32768, 32769])
def test_int4_holds_every_length_with_its_last_half_byte_zero(length: int) -> None:
    values = np.full(length, -7.0, dtype=np.float32)
    specs = (spec_of("x", values),)
    body = pack({"x": values}, specs, "int4")
    assert (unpack(body, specs, "int4")["x"] == values).all()
    assert body[-1] == (0x09 if length % 2 else 0x99)
    if length % 2:
        with pytest.raises(ConfigError, match="nothing may stand"):
            unpack(body[:-1] + bytes([body[-1] | 0x10]), specs, "int4")


@pytest.mark.parametrize("width", WIDTHS)
def test_bytes_a_parameter_are_those_of_a_large_tensor(width: Width) -> None:
    specs = (TensorSpec(name="x", shape=(1 << 14, 1 << 8)),)
    assert packed_size_bytes(specs, width) / specs[0].size == pytest.approx(bytes_per_parameter(width), abs=1e-3)
    assert [bytes_per_parameter(w) for w in WIDTHS] == [4, 2, 1.03125, 0.53125]


@pytest.mark.parametrize(("width", "share"), [("bfloat16", 0.000006), ("int8", 0.000072), ("int4", 0.0234)])
def test_added_variance_is_the_documented_share(width: Width, share: float) -> None:
    values = np.random.default_rng(3).standard_normal(1 << 18).astype(np.float32)
    error = one(values, width).astype(np.float64) - values
    assert error.var() == pytest.approx(share, rel=0.1)


def test_one_large_number_spoils_no_other_tensor_and_no_other_block() -> None:
    tensors = {
        "a": np.full(10, 1e6, dtype=np.float32),
        "b": np.concatenate([np.full(BLOCK, 1e-3), np.full(BLOCK, 1e6)]).astype(np.float32),
    }
    back = unpack(pack(tensors, specs_of(tensors), "int8"), specs_of(tensors), "int8")
    assert np.abs(back["b"][:BLOCK] - 1e-3).max() < 1e-3 / 64


@pytest.mark.parametrize("width", NARROW)
def test_coins_are_fresh_unless_they_are_seeded(width: Width) -> None:
    values = np.linspace(-1, 1, 999, dtype=np.float32)
    specs = (spec_of("x", values),)
    assert pack({"x": values}, specs, width) != pack({"x": values}, specs, width)
    twice = [pack({"x": values}, specs, width, coins=UnsafeSeeded(9)) for _ in range(2)]
    assert twice[0] == twice[1]


class Counted:
    """Counts the words that are asked for."""

    origin: ClassVar[str] = "counted"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def words(self, count: int) -> Any:
        self.asked.append(count)
        return np.zeros(count, dtype=np.uint64)


@pytest.mark.parametrize("width", NARROW)
def test_how_many_coins_are_drawn_tells_nothing_of_the_numbers(width: Width) -> None:
    asked = []
    for values in (np.zeros(1000), np.linspace(-1, 1, 1000), np.full(1000, 1e30)):
        coins, array = Counted(), values.astype(np.float32)
        pack({"x": array}, (spec_of("x", array),), width, coins=coins)
        asked.append(coins.asked)
    assert asked[0] == asked[1] == asked[2]
    assert sum(asked[0]) > 0


SPECS = (TensorSpec(name="a", shape=(3, 5)), TensorSpec(name="b", shape=(67,)))


def good(width: Width) -> bytes:
    rng = np.random.default_rng(0)
    return pack({t.name: rng.standard_normal(t.shape).astype(np.float32) for t in SPECS}, SPECS, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_longer_and_shorter_bodies_are_refused(width: Width) -> None:
    body = good(width)
    for bad in (b"", body[:-1], body + b"\0", body[1:], body * 2, body[:8]):
        with pytest.raises(ConfigError, match="size"):
            unpack(bad, SPECS, width)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("other", WIDTHS)
def test_body_of_another_width_is_refused(width: Width, other: Width) -> None:
    if width != other:
        with pytest.raises(ConfigError):
            unpack(good(width), SPECS, other)


@pytest.mark.parametrize("width", WIDTHS)
def test_body_of_other_tensors_of_the_same_size_is_refused(width: Width) -> None:
    for others in (
        (TensorSpec(name="a", shape=(5, 3)), SPECS[1]),
        (TensorSpec(name="c", shape=(3, 5)), SPECS[1]),
    ):
        with pytest.raises(ConfigError, match="header"):
            unpack(good(width), others, width)


@given(st.sampled_from(WIDTHS), st.data())
@settings(max_examples=120, deadline=None)
def test_any_change_of_bytes_is_refused_or_reads_as_finite_numbers(width: Width, data: st.DataObject) -> None:
    body = bytearray(good(width))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        back = unpack(bytes(body), SPECS, width)
    except ConfigError:
        return
    assert all(np.isfinite(a).all() for a in back.values())
    assert {n: a.shape for n, a in back.items()} == {t.name: t.shape for t in SPECS}
    header = 8 + int.from_bytes(body[:8], "little")
    assert bytes(body[:header]) == good(width)[:header]


@given(st.binary(max_size=600), st.sampled_from(WIDTHS))
@settings(deadline=None)
def test_any_bytes_are_refused(body: bytes, width: Width) -> None:
    with pytest.raises(ConfigError):
        unpack(body, SPECS, width)


@given(st.sampled_from(WIDTHS), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_any_numbers_behind_a_good_header_are_refused_or_finite(width: Width, seed: int) -> None:
    body = good(width)
    header = 8 + int.from_bytes(body[:8], "little")
    # Bytes of few kinds, so that scales of infinity, zero and the largest come often.
    rng = np.random.default_rng(seed)
    few = np.array([0x00, 0x01, 0x7F, 0x80, 0x88, 0xFF], dtype=np.uint8)
    tail = rng.choice(few[: rng.integers(1, 7)], len(body) - header).tobytes()
    try:
        back = unpack(body[:header] + tail, SPECS, width)
    except ConfigError:
        return
    assert all(np.isfinite(a).all() for a in back.values())


@pytest.mark.parametrize(
    ("width", "scale", "value", "match"),
    [
        ("int8", 0x7F80, 1, "cannot be"),  # Infinity.
        ("int8", 0xFFC0, 1, "cannot be"),  # NaN.
        ("int8", 0xBF80, 1, "cannot be"),  # Minus one.
        ("int8", 0x8000, 0, "cannot be"),  # Minus zero.
        ("int8", 0x3F80, 0x80, "cannot be"),  # -128 steps.
        ("int4", 0x3F80, 0x08, "cannot be"),  # -8 steps.
        ("int8", 0x0000, 1, "scale is zero"),
        ("int8", 0x7F7F, 0x7F, "NaN or infinity"),  # A product that overflows.
        ("bfloat16", None, 0x7F80, "NaN or infinity"),
    ],
)
def test_number_that_cannot_be_is_refused(width: Width, scale: int | None, value: int, match: str) -> None:
    specs = (TensorSpec(name="x", shape=(1,)),)
    body = pack({"x": np.ones(1, dtype=np.float32)}, specs, width)
    tail = value.to_bytes(2, "little") if scale is None else scale.to_bytes(2, "little") + bytes([value])
    with pytest.raises(ConfigError, match=match):
        unpack(body[: -len(tail)] + tail, specs, width)


def test_numbers_of_float32_that_are_not_finite_are_refused() -> None:
    specs = (TensorSpec(name="x", shape=(1,)),)
    body = pack({"x": np.ones(1, dtype=np.float32)}, specs, "float32")
    with pytest.raises(ConfigError, match="NaN or infinity"):
        unpack(body[:-4] + np.float32(np.nan).tobytes(), specs, "float32")


@pytest.mark.parametrize(
    "specs",
    [
        (TensorSpec(name="x", shape=(-1,)),),
        (TensorSpec(name="x", shape=(0, 1 << 62)),),
        (TensorSpec(name="x", shape=(1.5,)),),  # type: ignore[arg-type]
        (TensorSpec(name="x", shape=(True,)),),
        (TensorSpec(name="x", shape=(1,) * 9),),
        (TensorSpec(name="\ud800", shape=(1,)),),
        (TensorSpec(name="__metadata__", shape=(1,)),),
        (TensorSpec(name="x", shape=(1,)), TensorSpec(name="x", shape=(1,))),
    ],
)
@pytest.mark.parametrize("width", WIDTHS)
def test_specs_that_cannot_be_are_refused(specs: tuple[TensorSpec, ...], width: Width) -> None:
    with pytest.raises(ConfigError):
        unpack(bytes(64), specs, width)
    with pytest.raises(ConfigError):
        packed_size_bytes(specs, width)


def test_a_tensor_too_large_for_memory_is_refused_by_its_size_alone() -> None:
    specs = (TensorSpec(name="x", shape=(1 << 24, 1 << 24)),)
    with pytest.raises(ConfigError, match="size"):
        unpack(good("int4"), specs, "int4")


@pytest.mark.parametrize("call", [lambda w: pack({}, (), w), lambda w: unpack(b"", (), w), bytes_per_parameter])
def test_unknown_width_is_refused_and_the_known_are_named(call: Any) -> None:
    with pytest.raises(ConfigError, match="float32, bfloat16, int8, int4"):
        call("int2")


def test_tensor_of_another_type_or_name_is_refused() -> None:
    specs = (TensorSpec(name="x", shape=(2,)),)
    for tensors in ({"x": np.zeros(2)}, {"y": np.zeros(2, dtype=np.float32)}, {"x": np.zeros(3, dtype=np.float32)}):
        with pytest.raises(ConfigError):
            pack(tensors, specs, "int8")  # type: ignore[arg-type]


def test_golden_bytes() -> None:
    # A change here means that parties of different versions no longer read each other.
    specs = (TensorSpec(name="x", shape=(3,)),)
    values = {"x": np.array([7.0, -3.0, 0.0], dtype=np.float32)}
    body = pack(values, specs, "int4")
    size = int.from_bytes(body[:8], "little")
    assert body[8 + size :] == bytes([0x80, 0x3F, 0xD7, 0x00])
    assert json.loads(body[8 : 8 + size]) == {
        "__metadata__": {"layout": "87e3f24b05d5178c127b4d7123ce3c2f64cc5878e6b1ba38a87e7e32f821aaa1"},
        "scales": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
        "values": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]},
    }
