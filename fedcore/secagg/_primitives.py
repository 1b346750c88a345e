"""Hazardous material: key agreement, derivation, sealing, masks and secret sharing.

Everything is from `cryptography`, except the arithmetic of Shamir's scheme. Python's integers do not run in
constant time: whoever can time a party's own process to the nanosecond is outside of the model.

Hazards, each by its function: a seed given to `add_mask` must never mask two inputs; `expand` separates
domains only if its labels differ; `seal` draws its nonce at random, so a key may seal many, but not 2**32,
messages; shares of one secret must all come from one call of `split`.

>>> shares = split(bytes(range(32)), 2, (1, 2, 3))
>>> combine({1: shares[1], 3: shares[3]}) == bytes(range(32))
True
"""

import functools
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from fedcore.secagg.errors import Malformed, SubstitutedKey

__all__ = [
    "PRIME",
    "SEALED_EXTRA_BYTES",
    "SECRET_BYTES",
    "SHARE_BYTES",
    "AgreementKey",
    "RingArray",
    "add_mask",
    "combine",
    "dtype_of",
    "expand",
    "extract",
    "open_sealed",
    "seal",
    "split",
]

RingArray = npt.NDArray[Any]
"""Unsigned integers of 16, 32 or 64 bits, little-endian: elements of Z_2^bits."""

SECRET_BYTES = 32
SHARE_BYTES = 33
SEALED_EXTRA_BYTES = 12 + 16
"""Nonce and tag of a sealed message."""

PRIME = 2**256 + 297
"""The field of the shares: the least prime above 2**256, so that every 256-bit secret is one element."""

_BLOCK_BYTES = 1 << 17
"""Mask bytes made at a time: the work stays in the processor's cache."""
_ZEROS = bytes(_BLOCK_BYTES)


def dtype_of(bits: int) -> np.dtype[Any]:
    """The array type of the ring Z_2^bits."""
    return np.dtype({16: "<u2", 32: "<u4", 64: "<u8"}[bits])


class AgreementKey:
    """An X25519 private key (RFC 7748). It prints as its class name alone."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> "AgreementKey":
        """A new key from the operating system's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, data: bytes) -> "AgreementKey":
        """Read what `to_bytes` wrote."""
        return cls(X25519PrivateKey.from_private_bytes(data))

    def to_bytes(self) -> bytes:
        """The private key itself, 32 bytes."""
        return self._key.private_bytes_raw()

    @property
    def public(self) -> bytes:
        """The half that may be known, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        """The secret that both halves give.

        Raises:
            SubstitutedKey: Not a key, or one of low order, whose secret would be known to all.
        """
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise SubstitutedKey("a public key agrees with no secret", expected="an X25519 key") from error

    def __repr__(self) -> str:
        return "AgreementKey"


def extract(secret: bytes, salt: bytes, *labels: str) -> bytes:
    """HKDF-SHA256 (RFC 5869), extract and expand: from a key agreement to a key, 32 bytes."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=_info(labels)).derive(secret)


def expand(key: bytes, *labels: str) -> bytes:
    """HKDF-Expand (RFC 5869, section 2.3) of a uniform key: one for each list of labels, 32 bytes."""
    return HKDFExpand(algorithm=SHA256(), length=32, info=_info(labels)).derive(key)


def _info(labels: tuple[str, ...]) -> bytes:
    """Labels with their lengths, so that no two lists give the same bytes."""
    parts = [b"concordat/1/secagg"]
    for label in labels:
        data = label.encode()
        parts += [len(data).to_bytes(4, "big"), data]
    return b"".join(parts)


def seal(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """AES-256-GCM under a random nonce, which goes before the ciphertext."""
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to)


def open_sealed(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    """Open what `seal` made.

    Raises:
        Malformed: Another key, another binding, or changed bytes.
    """
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], bound_to)
    except (InvalidTag, ValueError) as error:
        raise Malformed("a sealed share does not open") from error


def add_mask(values: RingArray, seed: bytes, sign: Literal[1, -1]) -> None:
    """Add (or take off) the mask of a 256-bit seed, in place, modulo the ring.

    The mask is the key stream of AES-256 in counter mode (NIST SP 800-38A) from counter 0: to whoever does
    not know the seed it is uniform. The whole seed is the key: no two seeds share a stream.
    """
    stream = Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor()
    buffer = bytearray(_BLOCK_BYTES + 16)
    step = _BLOCK_BYTES // values.itemsize
    for start in range(0, len(values), step):
        block = values[start : start + step]
        stream.update_into(memoryview(_ZEROS)[: block.nbytes], buffer)
        mask = np.frombuffer(buffer, dtype=values.dtype, count=len(block))
        if sign == 1:
            np.add(block, mask, out=block)
        else:
            np.subtract(block, mask, out=block)


def split(secret: bytes, threshold: int, points: Sequence[int]) -> dict[int, bytes]:
    """Share a secret among `points`: any `threshold` shares give it back, fewer say nothing about it.

    Args:
        secret: 32 bytes.
        threshold: Between 1 and the number of points.
        points: Different whole numbers, 1 to 2**32.
    Returns:
        One share for each point, 33 bytes whatever its value.
    Reference: Shamir 1979, "How to share a secret", over the prime field of `PRIME`.
    """
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= len(set(points)) == len(points) or min(points) < 1:
        raise ValueError("a secret of 32 bytes, and different points, no fewer than the threshold, are needed")
    # The highest power first, the secret last.
    coefficients = [*(secrets.randbelow(PRIME) for _ in range(threshold - 1)), int.from_bytes(secret, "big")]
    shares = {}
    for point in points:
        value = 0
        for coefficient in coefficients:
            value = value * point + coefficient
        shares[point] = (value % PRIME).to_bytes(SHARE_BYTES, "big")
    return shares


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The secret of exactly as many shares as the threshold asks for.

    Raises:
        Malformed: A share is not a field element, or the shares give no 256-bit secret.
    """
    points = tuple(sorted(shares))
    total = 0
    for point, weight in zip(points, _weights(points), strict=True):
        value = int.from_bytes(shares[point], "big")
        if len(shares[point]) != SHARE_BYTES or value >= PRIME:
            raise Malformed("a share is not an element of the field", expected=f"{SHARE_BYTES} bytes, below the prime")
        total += weight * value
    total %= PRIME
    if total >> (8 * SECRET_BYTES):
        raise Malformed("shares do not belong together")
    return total.to_bytes(SECRET_BYTES, "big")


@functools.lru_cache(maxsize=1024)
def _weights(points: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights for the value at 0."""
    weights = []
    for here in points:
        top = bottom = 1
        for other in points:
            if other != here:
                top = top * other % PRIME
                bottom = bottom * (other - here) % PRIME
        weights.append(top * pow(bottom, -1, PRIME) % PRIME)
    return tuple(weights)
