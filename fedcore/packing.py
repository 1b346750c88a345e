"""Arrays at the width that a job names: float32, bfloat16, int8 or int4, as bytes and back.

    width     bytes a parameter     what it adds to a Gaussian update's variance
    float32   4                     nothing
    bfloat16  2                     0.0006 %
    int8      1 + 2/64              0.0072 %
    int4      1/2 + 2/64            2.3 %

Privacy. An institution packs what it has clipped and noised already. Rounding looks at nothing else, so it is
post-processing: it costs no privacy, and nothing is promised of its coins but that they are fair. They come
from a secure source nevertheless, so that no sender of data can foresee them.

Rounding. A number between two steps goes up or down at random, so that its mean is itself: exactly for
bfloat16, within 2**-32 of a step for int8 and int4. Errors of many institutions then cancel in a mean instead
of adding up (Alistarh et al. 2017, QSGD, arXiv:1610.02132). For int8 and int4 a step is the
largest magnitude of a block of 64 numbers divided by 127 or 7. It is a bfloat16, rounded up: two bytes a block
instead of four, a step at most 1/128 larger, and a product of 8 and 7 bits that float32 holds exactly. Blocks
of 64 measured best: for normal, Laplace and heavy-tailed numbers their error is within 10 % of the least that
any block size from 16 to 256 reaches at the same count of bits. No block spans two tensors.

Form. A body is a safetensors file. For float32 it holds the named tensors and is what `wire.pack_arrays` makes
(which knows no scalars). Otherwise it holds "values" and, for integers, "scales", the tensors one after another
in order of names; its header names a digest of names, shapes and width. All but the numbers follows from `specs`
and `width`, so a reader knows every byte of the header and the length beforehand and compares them: a hostile
header is never parsed. This module knows neither rounds nor who sends what.

>>> specs = (TensorSpec(name="layers.0.lora_B", shape=(2, 3)),)
>>> tensors = {"layers.0.lora_B": np.array([[0.5, -2.0, 7.0], [1.0, 0.0, -7.0]], dtype=np.float32)}
>>> body = pack(tensors, specs, "int8")
>>> len(body) == packed_size_bytes(specs, "int8")
True
>>> error = unpack(body, specs, "int8")["layers.0.lora_B"] - tensors["layers.0.lora_B"]
>>> bool(np.abs(error).max() <= 7 / 127 * (1 + 1 / 128))
True
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from fedcore import canonical
from fedcore.adapter import FloatArray, TensorSpec, check_tensors, unflatten
from fedcore.errors import ConfigError
from fedcore.privacy.sampling import RandomSource, SystemRandom

__all__ = [
    "BLOCK",
    "LARGEST",
    "WIDTHS",
    "NotFinite",
    "Width",
    "bytes_per_parameter",
    "pack",
    "packed_size_bytes",
    "unpack",
]

Width = Literal["float32", "bfloat16", "int8", "int4"]
WIDTHS: tuple[Width, ...] = get_args(Width)

BLOCK = 64
"""Numbers that share a scale."""

LARGEST = 2.0**127
"""No number of larger magnitude is packed below float32: rounded up, it would be infinite."""

_BITS: dict[Width, int] = {"float32": 32, "bfloat16": 16, "int8": 8, "int4": 4}
_LEVELS: dict[Width, int] = {"int8": 127, "int4": 7}
_TYPES: dict[Width, str] = {"bfloat16": "BF16", "int8": "I8", "int4": "U8"}
_CHUNK = 1 << 15
"""Numbers at a time, a multiple of the block: temporaries stay in the processor's cache."""
_MOST = 1 << 48
"""Numbers in a tensor, beyond any machine: so that no arithmetic on shapes overflows."""
_SYSTEM = SystemRandom()


class NotFinite(ConfigError):
    """A body of the right form whose numbers are not all finite."""


Bytes = npt.NDArray[np.uint8]
Halves = npt.NDArray[np.uint16]
Steps = npt.NDArray[np.int8]


def pack(
    tensors: Mapping[str, FloatArray], specs: Iterable[TensorSpec], width: Width, *, coins: RandomSource = _SYSTEM
) -> bytes:
    """Tensors as bytes, rounded at random to a width.

    Guarantee: `unpack` gives back numbers whose mean over the coins is the number packed, each nearer to it than
    one step: 2**-7 of its own magnitude for bfloat16; for int8 and int4 `1 + 1/128` times the largest magnitude
    of its block divided by 127 or 7; and 2**-133 where that is more. float32 is exact. How many coins are
    drawn depends on the shapes alone.

    Args:
        tensors: Exactly `specs`, float32 and finite; of magnitude `LARGEST` at most unless the width is float32.
        specs: Names and shapes, in any order.
        width: One of `WIDTHS`.
        coins: Of the rounding. A seeded source is for tests and repeatable research.
    Raises:
        ConfigError: The width is unknown, the specs cannot be used, or a tensor does not fit.
    """
    layout = _Layout.of(specs, width)
    check_tensors(layout.specs, tensors)
    out = np.empty(layout.size_bytes, dtype=np.uint8)
    out[: len(layout.header)] = np.frombuffer(layout.header, dtype=np.uint8)
    vectors = {t.name: np.ascontiguousarray(tensors[t.name]).reshape(-1) for t in layout.specs}
    for place in layout.places():
        flat = vectors[place.name][place.start : place.stop]
        if width == "float32":
            out[place.values] = flat.astype("<f4").view(np.uint8)
            continue
        if not (np.abs(flat) <= LARGEST).all():
            raise ConfigError(
                f"the tensor {place.name} holds a number too large for {width}",
                expected="magnitudes of at most 2**127",
                do="look for what made it diverge, or choose the width float32",
            )
        if width == "bfloat16":
            out[place.values] = _to_bfloat16(flat, coins).view(np.uint8)
            continue
        steps, scales = _to_steps(flat, _LEVELS[width], coins)
        out[place.scales] = scales.view(np.uint8)
        out[place.values] = steps.view(np.uint8) if width == "int8" else _to_nibbles(steps)
    return out.tobytes()


def unpack(body: bytes, specs: Iterable[TensorSpec], width: Width) -> dict[str, FloatArray]:
    """Read what `pack` wrote.

    Guarantee: every array is float32 and finite, and nothing larger than the specs say is ever allocated.

    Args:
        body: From anyone.
        specs: Names and shapes, in any order; that of the answer.
        width: One of `WIDTHS`.
    Raises:
        ConfigError: Anything that `pack` cannot have written for these specs and this width; `NotFinite` where only
            the numbers are at fault.
    """
    layout = _Layout.of(specs, width)
    if len(body) != layout.size_bytes:
        raise ConfigError(
            "a message body has the wrong size",
            expected=f"{layout.size_bytes} bytes for {width}",
            got=str(len(body)),
            do="check that both sides name the same width and adapter",
        )
    if body[: len(layout.header)] != layout.header:
        raise ConfigError(
            "a message body has a wrong header",
            expected=f"that of these tensors at {width}",
            do="check both sides' versions",
        )
    raw = np.frombuffer(body, dtype=np.uint8)
    vector = np.empty(layout.parameters, dtype=np.float32)
    for place in layout.places():
        piece = vector[place.offset : place.offset + place.stop - place.start]
        values = raw[place.values]
        if width == "float32":
            piece[:] = values.view("<f4")
        elif width == "bfloat16":
            piece[:] = _from_bfloat16(values.view("<u2"))
        else:
            steps = values.view(np.int8) if width == "int8" else _from_nibbles(values, len(piece), place.name)
            piece[:] = _from_steps(steps, raw[place.scales].view("<u2"), _LEVELS[width], place.name)
        if not np.isfinite(piece).all():
            raise NotFinite(f"the tensor {place.name} holds NaN or infinity")
    tensors = unflatten(layout.specs, vector)
    return {name: tensors[name] for name in layout.asked}


def packed_size_bytes(specs: Iterable[TensorSpec], width: Width) -> int:
    """The exact length of a body: every body of these specs at this width has it.

    Raises:
        ConfigError: The width is unknown, or the specs cannot be used.
    """
    return _Layout.of(specs, width).size_bytes


def bytes_per_parameter(width: Width) -> float:
    """What one number costs in a large tensor, its share of a scale included and the header not.

    Raises:
        ConfigError: The width is unknown.
    """
    return _bits(width) / 8 + (2 / BLOCK if width in _LEVELS else 0.0)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where numbers `start` to `stop` of a tensor lie: in the vector of all, and in the body."""

    name: str
    start: int
    stop: int
    offset: int
    values: slice
    scales: slice


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Everything about a body but its numbers."""

    asked: tuple[str, ...]
    specs: tuple[TensorSpec, ...]
    width: Width
    header: bytes

    @classmethod
    def of(cls, specs: Iterable[TensorSpec], width: Width) -> "_Layout":
        """Check names, shapes and width, and write the header."""
        asked = tuple(specs)
        _bits(width)
        for spec in asked:
            _check_spec(spec)
        ordered = tuple(sorted(asked, key=lambda t: t.name))
        names = [t.name for t in ordered]
        if len(set(names)) != len(names) or "__metadata__" in names:
            raise ConfigError("tensors that are packed need distinct names", expected='none called "__metadata__"')
        return cls(
            asked=tuple(t.name for t in asked), specs=ordered, width=width, header=_header(_fields(ordered, width))
        )

    @property
    def parameters(self) -> int:
        """Numbers in all."""
        return sum(t.size for t in self.specs)

    @property
    def size_bytes(self) -> int:
        """Of the whole body."""
        scales = _scales_bytes(self.specs, self.width)
        return len(self.header) + scales + sum(_values_bytes(t.size, self.width) for t in self.specs)

    def places(self) -> Iterator[_Place]:
        """Every piece of every tensor, in order."""
        scales_at = len(self.header)
        values_at = scales_at + _scales_bytes(self.specs, self.width)
        offset = 0
        for spec in self.specs:
            for start in range(0, spec.size, _CHUNK):
                count = min(_CHUNK, spec.size - start)
                values_end = values_at + _values_bytes(count, self.width)
                scales_end = scales_at + 2 * _blocks(count, self.width)
                yield _Place(
                    name=spec.name,
                    start=start,
                    stop=start + count,
                    offset=offset,
                    values=slice(values_at, values_end),
                    scales=slice(scales_at, scales_end),
                )
                values_at, scales_at, offset = values_end, scales_end, offset + count


def _check_spec(spec: TensorSpec) -> None:
    """Refuse what no array can be, before anything is computed from it."""
    sides = [d if type(d) is int else -1 for d in spec.shape]
    if len(sides) > 8 or min(sides, default=0) < 0 or math.prod(max(d, 1) for d in sides) > _MOST:
        raise ConfigError("a tensor's shape cannot be packed", expected="at most 8 whole numbers >= 0")
    try:
        spec.name.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("a tensor's name is not text") from error


def _bits(width: Width) -> int:
    """Of one value."""
    if width not in WIDTHS:
        raise ConfigError(f"unknown width {width!r}", expected="one of " + ", ".join(WIDTHS))
    return _BITS[width]


def _blocks(count: int, width: Width) -> int:
    """Scales of a tensor of `count` numbers."""
    return -(-count // BLOCK) if width in _LEVELS else 0


def _scales_bytes(specs: Iterable[TensorSpec], width: Width) -> int:
    return sum(2 * _blocks(t.size, width) for t in specs)


def _values_bytes(count: int, width: Width) -> int:
    """Of `count` numbers of one tensor; a last half byte is filled up."""
    return -(-count * _BITS[width] // 8)


def _fields(specs: tuple[TensorSpec, ...], width: Width) -> dict[str, Any]:
    """The header of a safetensors file, in the order in which its library writes it."""
    entries: list[tuple[str, str, list[int], int]] = []
    fields: dict[str, Any] = {}
    if width == "float32":
        entries = [(t.name, "F32", list(t.shape), 4 * t.size) for t in specs]
    else:
        layout = {"block": BLOCK, "tensors": [[t.name, list(t.shape)] for t in specs], "width": width}
        fields["__metadata__"] = {"layout": canonical.digest(layout)}
        size = sum(_values_bytes(t.size, width) for t in specs)
        if width in _LEVELS:
            scales = _scales_bytes(specs, width)
            entries.append(("scales", "BF16", [scales // 2], scales))
        entries.append(("values", _TYPES[width], [size // 2 if width == "bfloat16" else size], size))
    start = 0
    for name, kind, shape, size in entries:
        fields[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, start + size]}
        start += size
    return fields


def _header(fields: dict[str, Any]) -> bytes:
    """Length and JSON, filled with spaces to a multiple of eight bytes, as the safetensors library does."""
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _to_bfloat16(values: FloatArray, coins: RandomSource) -> Halves:
    """Add 16 random bits below the last that is kept: a carry comes with the chance of the part cut off."""
    fair = coins.words(-(-len(values) // 4)).view(np.uint16)[: len(values)]
    return ((values.view(np.uint32) + fair) >> np.uint32(16)).astype("<u2")


def _from_bfloat16(halves: Halves) -> FloatArray:
    """Exactly the numbers that they stand for, whatever those are."""
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _to_steps(values: FloatArray, levels: int, coins: RandomSource) -> tuple[Steps, Halves]:
    """Whole steps in [-levels, levels], and the steps' lengths, one for each block."""
    blocks = -(-len(values) // BLOCK)
    filled = np.zeros((blocks, BLOCK), dtype=np.float64)
    filled.reshape(-1)[: len(values)] = values
    largest = np.abs(filled).max(axis=1)
    scale = (largest / levels).astype(np.float32)
    # Both roundings go up, so that no number is more than `levels` steps and none has to be cut.
    scale = np.where(scale.astype(np.float64) * levels < largest, np.nextafter(scale, np.float32(np.inf)), scale)
    halves = ((scale.view(np.uint32) + np.uint32(0xFFFF)) >> np.uint32(16)).astype("<u2")
    step = _from_bfloat16(halves).astype(np.float64)
    filled /= np.where(step > 0, step, 1.0)[:, None]
    fair = coins.words(-(-len(values) // 2)).view(np.uint32)[: len(values)]
    # The sum lies below levels + 1, with 32 bits of the coin and 45 of the number, so the floor is at most levels.
    steps = np.floor(filled.reshape(-1)[: len(values)] + fair * 2.0**-32)
    return steps.astype(np.int8), halves


def _from_steps(steps: Steps, halves: Halves, levels: int, name: str) -> FloatArray:
    """Steps times their length; float32 holds every product exactly, unless it overflows."""
    if ((halves & np.uint16(0x7F80)) == 0x7F80).any():
        raise NotFinite(f"the tensor {name} has a scale that cannot be, NaN or infinity")
    if (halves >= 0x8000).any() or (steps < -levels).any():
        raise ConfigError(f"the tensor {name} has a scale or a value that cannot be")
    filled = np.zeros((len(halves), BLOCK), dtype=np.float32)
    filled.reshape(-1)[: len(steps)] = steps
    if filled[halves == 0].any():
        raise ConfigError(f"the tensor {name} has values where its scale is zero")
    with np.errstate(over="ignore"):
        filled *= _from_bfloat16(halves)[:, None]
    return filled.reshape(-1)[: len(steps)]


def _to_nibbles(steps: Steps) -> Bytes:
    """Two's complement in four bits, the first of two in the lower half; a last half stays zero."""
    halves = np.zeros(len(steps) + len(steps) % 2, dtype=np.uint8)
    halves[: len(steps)] = steps.view(np.uint8) & 15
    return halves[0::2] | (halves[1::2] << np.uint8(4))


def _from_nibbles(packed: Bytes, count: int, name: str) -> Steps:
    """The reverse; a filled half that is not zero is refused, so that a tensor has one form."""
    halves = np.empty(2 * len(packed), dtype=np.uint8)
    halves[0::2], halves[1::2] = packed & 15, packed >> np.uint8(4)
    if halves[count:].any():
        raise ConfigError(f"the tensor {name} has something where nothing may stand")
    return ((halves[:count] ^ np.uint8(8)).view(np.int8)) - np.int8(8)
