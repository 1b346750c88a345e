"""One way to turn a value into bytes, so that a digest or signature means the same to everyone.

JSON with sorted keys, no spaces, UTF-8, and no NaN or infinity. Floats keep Python's shortest
round-trip form, which is exact for binary64.

>>> encode({"b": 1, "a": [0.5, "é"]}).decode()
'{"a":[0.5,"é"],"b":1}'
"""

import hashlib
import json
from typing import Any

__all__ = ["decode", "digest", "encode"]


def encode(value: Any) -> bytes:
    """Return the canonical bytes of a JSON value.

    Raises:
        ValueError: The value holds NaN or infinity.
        TypeError: The value holds something that JSON does not know.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decode(data: bytes) -> Any:
    """Read JSON bytes; a key that stands twice, NaN and infinity are refused.

    Raises:
        ValueError: The bytes are not such JSON.
    """
    return json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse)


def digest(value: Any) -> str:
    """SHA-256 of the canonical bytes, as 64 hexadecimal characters."""
    return hashlib.sha256(encode(value)).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a repeated key: two readers could take different ones."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not allowed")
