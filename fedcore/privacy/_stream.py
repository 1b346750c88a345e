"""AES-256 in counter mode as a stream of 64-bit words: what sampling and noise are drawn from.

A fresh key for each request leaves no state to copy: a forked process, a restarted one, a restored
snapshot and a second object all get other words, for the key comes from the operating system each time.
NIST SP 800-38A, section 6.5 (counter mode); the block limit of 2**64 is out of reach of one request.
"""

import hashlib
import os

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

__all__ = ["SeededStream", "Words", "fresh_words"]

Words = npt.NDArray[np.uint64]


def fresh_words(count: int) -> Words:
    """`count` uniform words under a key from `os.urandom` that is used for this call alone."""
    return _read(_cipher(os.urandom(32)), count)


class SeededStream:
    """A stream that a seed decides: for repeatable research, never for privacy. `purpose` keeps streams apart."""

    def __init__(self, purpose: str, seed: int) -> None:
        self._cipher = _cipher(hashlib.sha256(f"concordat/unsafe/{purpose}/{seed}".encode()).digest())

    def words(self, count: int) -> Words:
        """The next `count` words."""
        return _read(self._cipher, count)


def _cipher(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()


def _read(cipher: CipherContext, count: int) -> Words:
    return np.frombuffer(cipher.update(bytes(8 * count)), dtype="<u8").astype(np.uint64, copy=False)
