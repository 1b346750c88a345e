"""AES-256 in counter mode as a stream of 64-bit words: what sampling and noise are drawn from.

A fresh key for each request leaves no state to copy: a forked process, a restarted one, a restored
snapshot and a second object all get other words, for the key comes from the operating system each time.
NIST SP 800-38A, section 6.5 (counter mode); the block limit of 2**64 is out of reach of one request.
"""

import hashlib
import os
import sys

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

__all__ = ["SYSTEM", "FreshStream", "SeededStream", "Words", "fresh_words"]

SYSTEM = "AES-256-CTR, keyed by the operating system"
"""How sources that nobody can predict call themselves."""

Words = npt.NDArray[np.uint64]

_ZEROS = memoryview(bytes(1 << 16))
"""Encrypted piece by piece; a fresh buffer of zeros for each request would cost five times the cipher."""


def fresh_words(count: int) -> Words:
    """`count` uniform words under a key from `os.urandom` that is used for this call alone."""
    return FreshStream().words(count)


class FreshStream:
    """A stream under a key from `os.urandom`. Hold it no longer than one request: a fork would copy it."""

    def __init__(self) -> None:
        self._cipher = _cipher(os.urandom(32))

    def words(self, count: int) -> Words:
        """The next `count` words."""
        words = np.empty(count, dtype=np.uint64)
        self.fill(words)
        return words

    def fill(self, words: Words) -> None:
        """Put the next words into a contiguous array."""
        _fill(self._cipher, words)


class SeededStream:
    """A stream that a seed decides: for repeatable research, never for privacy. `purpose` keeps streams apart."""

    def __init__(self, purpose: str, seed: int) -> None:
        self._cipher = _cipher(hashlib.sha256(f"concordat/unsafe/{purpose}/{seed}".encode()).digest())

    def words(self, count: int) -> Words:
        """The next `count` words."""
        words = np.empty(count, dtype=np.uint64)
        self.fill(words)
        return words

    def fill(self, words: Words) -> None:
        """Put the next words into a contiguous array."""
        _fill(self._cipher, words)


def _cipher(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()


def _fill(cipher: CipherContext, words: Words) -> None:
    """Write the cipher's next bytes over `words`, little-endian on every machine."""
    if not len(words):  # A view of nothing cannot be cast.
        return
    view = words.data.cast("B")
    # The cipher asks for a block more room than it fills, so the last two words are written through a copy.
    whole = max(0, len(view) - 16)
    for start in range(0, whole, len(_ZEROS)):
        piece = min(len(_ZEROS), whole - start)
        cipher.update_into(_ZEROS[:piece], view[start : start + piece + 15])
    view[whole:] = cipher.update(bytes(len(view) - whole))
    if sys.byteorder == "big":
        words.byteswap(inplace=True)
