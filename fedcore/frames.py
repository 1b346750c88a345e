"""Several byte strings as one, for a call that carries a message together with its parts.

Each is preceded by its length, four bytes, most significant first.

>>> join([b"a message", b"", b"a part"])[:6]
b'\\x00\\x00\\x00\\ta '
>>> split(join([b"a message", b"", b"a part"]))
[b'a message', b'', b'a part']
"""

import struct
from collections.abc import Iterable

__all__ = ["join", "split"]

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


def split(data: bytes) -> list[bytes]:
    """The byte strings that `join` was given.

    Raises:
        ValueError: The data were not made by `join`.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH.size
        if start > len(data):
            raise ValueError("a length is cut off")
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise ValueError("a part is cut off")
        parts.append(data[start:at])
    return parts
