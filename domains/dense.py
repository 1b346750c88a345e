"""Vectors of texts: what an encoder offers, and one for Chinese that needs no model.

`domains.language.load_encoder` loads a transformers encoder for English; `NgramVectors` hashes a text's
character n-grams, which serves Chinese, where wordings of one rule share most of their characters.

>>> vectors = NgramVectors().embed(["不得泄露客户信息", "禁止泄露客户资料", "每年披露一次报告"])
>>> bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])
True
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Embeds", "FloatArray", "NgramVectors"]

FloatArray = NDArray[np.float32]


class Embeds(Protocol):
    """Whatever turns texts into vectors of length 1."""

    @property
    def name(self) -> str:
        """Which encoder it is; vectors of another name are never compared with its own."""
        ...

    @property
    def dimension(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """One vector of L2 norm 1 (or 0 for an empty text) for each text, shape (texts, dimension)."""
        ...


class NgramVectors:
    """Character n-grams hashed with signs into a fixed number of places, square roots of their counts."""

    def __init__(self, dimension: int = 512) -> None:
        self._dimension = dimension

    @property
    def name(self) -> str:
        return f"ngrams-{self._dimension}"

    @property
    def dimension(self) -> int:
        return self._dimension

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """As `Embeds.embed`."""
        out = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            plain = "".join(c for c in text.lower() if c.isalnum())
            counts = Counter(plain[i : i + n] for n in (1, 2, 3) for i in range(len(plain) - n + 1))
            for gram, count in counts.items():
                code = zlib.crc32(gram.encode())
                row[code % self._dimension] += (1 if code >> 31 else -1) * count**0.5
            row /= max(float(np.linalg.norm(row)), 1e-9)
        return out
