"""Several byte strings as one, for a call that carries a message together with its parts.

Each is preceded by its length, four bytes, most significant first.

>>> join([b"a message", b"", b"a part"])[:6]
b'\\x00\\x00\\x00\\ta '
>>> split(join([b"a message", b"", b"a part"]))
[b'a message', b'', b'a part']
"""

import struct
from collections.abc import Iterable

__all__ = ["MOST_PARTS", "head", "join", "split"]

MOST_PARTS = 10_000
"""More parts than any message has: each costs work, however short it is."""

_LENGTH = struct.Struct(">I")


def join(parts: Iterable[bytes]) -> bytes:
    """One byte string of many.

    Raises:
        ValueError: A part has 4 GiB or more.
    """
    pieces: list[bytes] = []
    for part in parts:
        if len(part) >= 1 << 32:
            raise ValueError("a part is too large")
        pieces += (_LENGTH.pack(len(part)), part)
    return b"".join(pieces)


def head(data: bytes) -> tuple[bytes, bytes]:
    """The first byte string, and the rest for `split`.

    Raises:
        ValueError: The data were not made by `join`, of one part or more.
    """
    if len(data) < _LENGTH.size:
        raise ValueError("a length is cut off")
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    if end > len(data):
        raise ValueError("a part is cut off")
    return data[_LENGTH.size : end], data[end:]


def split(data: bytes) -> list[bytes]:
    """The byte strings that `join` was given.

    Raises:
        ValueError: The data were not made by `join`, or of more than `MOST_PARTS` parts.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        if len(parts) == MOST_PARTS:
            raise ValueError("there are too many parts")
        start = at + _LENGTH.size
        if start > len(data):
            raise ValueError("a length is cut off")
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise ValueError("a part is cut off")
        parts.append(data[start:at])
    return parts
