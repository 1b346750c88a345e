"""A watermark in the model's own words: some tokens are made a little likelier, by a key that shows it later.

After each token the key decides which quarter of all tokens is green; green ones get a bonus, where the model
is undecided enough to have room for it (entropy; figures and names mostly have none). Who holds the key counts
green tokens in a text: far more than a quarter is no chance, and the **z-score** says how far. Deterministic
wording by rules carries none, and a text rewritten word by word loses it. The key is never printed.

>>> key = Key(secret=b"sixteen or more.")
>>> key, int(green(key, 7, 1000).sum()) in range(200, 300)
(Key, True)
>>> detect([[5, 6, 7, 8]], key, 1000).enough
False

Reference: Kirchenbauer et al. 2023, arXiv:2301.10226; entropy as in Lee et al. 2024, arXiv:2305.15060.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from domains.base import Sensitive
from fedcore.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Detection", "Green", "Key", "Marked", "detect", "green", "read_key", "write_key"]

_SHARE = 0.25
"""Of all tokens, green after each."""
_BONUS = 2.0
"""Added to a green token's logit."""
_ROOM_NATS = 1.0
"""Entropy of the next token from which there is room."""
_FEWEST = 25
"""Pairs of tokens under which nothing can be said."""
_Z = 4.0
"""From here on it is no chance: one text in 30,000 without the mark gets so far."""
_LEAST_BYTES, _MOST_BYTES = 16, 64
_KEPT = 4096
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, repr=False)
class Key(Sensitive):
    """The secret; who has it can mark texts and tell marked ones."""

    secret: bytes

    @property
    def fingerprint(self) -> str:
        """Tells keys apart and gives nothing of them away."""
        return blake2b(b"", key=self.secret, digest_size=8, person=b"concordat-print").hexdigest()

    def __post_init__(self) -> None:
        if not _LEAST_BYTES <= len(self.secret) <= _MOST_BYTES:
            raise ConfigError(
                "a watermark's key has the wrong length", expected=f"{_LEAST_BYTES} to {_MOST_BYTES} bytes"
            )


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What counting found."""

    pairs: int
    """Different pairs of neighbouring tokens."""
    green: int
    z: float

    @property
    def enough(self) -> bool:
        """Whether the text is long enough to say anything."""
        return self.pairs >= _FEWEST

    @property
    def marked(self) -> bool:
        """Whether the mark is there beyond chance."""
        return self.enough and self.z >= _Z


def read_key(path: Path) -> Key:
    """The key in a file: hexadecimal, as `write_key` writes it.

    Raises:
        ConfigError: It cannot be read, or is no key; never with content.
    """
    try:
        return Key(secret=bytes.fromhex(path.read_text(encoding="ascii").strip()))
    except (OSError, ValueError):
        raise ConfigError(
            f"the watermark key {path} cannot be used",
            expected="16 to 64 bytes in hexadecimal, such as `openssl rand -hex 32` writes",
        ) from None


def write_key(path: Path) -> None:
    """Make a new key in a new file that only its owner can read.

    Raises:
        ConfigError: The file is there already, or cannot be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(os.urandom(32).hex() + "\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", do="choose another file") from error


def green(key: Key, before: int, vocabulary: int) -> Mask:
    """Which tokens are green after a token; those of a larger vocabulary begin with the same."""
    seed = blake2b(before.to_bytes(8, "big"), key=key.secret, digest_size=16, person=b"concordat-green").digest()
    drawn = np.random.Generator(np.random.Philox(key=int.from_bytes(seed, "big"))).random(vocabulary, dtype=np.float32)
    mask: Mask = drawn < _SHARE
    return mask


def detect(texts: Iterable[Sequence[int]], key: Key, vocabulary: int) -> Detection:
    """Count green tokens, each pair of neighbours once: repetition would count one chance many times.

    Args:
        texts: Tokens of each piece of text; pairs across two pieces do not count.
        key: The key.
        vocabulary: Of the model, as `Base.vocabulary`.
    """
    pairs = sorted({(a, b) for tokens in texts for a, b in pairwise(tokens)})
    found, at, mask = 0, -1, np.zeros(vocabulary, dtype=np.bool_)
    for before, token in pairs:
        if before != at:
            at, mask = before, green(key, before, vocabulary)
        found += bool(mask[token])
    spread = (len(pairs) * _SHARE * (1 - _SHARE)) ** 0.5
    return Detection(pairs=len(pairs), green=found, z=(found - _SHARE * len(pairs)) / spread if pairs else 0.0)


@final
class Green(Sensitive):
    """Makes green tokens likelier: a shape for `domains.language.Writer`."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._masks: dict[int, Any] = {}

    def begin(self, rows: int, width: int, max_new_tokens: int) -> "Callable[[Tensor, Tensor], Tensor]":
        """As `domains.language.Shapes`."""
        return self._mark

    def _mark(self, ids: "Tensor", scores: "Tensor") -> "Tensor":
        """The logits with the bonus, in rows that have room."""
        shares = scores.float().softmax(dim=-1)
        entropy = -(shares * shares.clamp(min=1e-12).log()).sum(dim=-1)
        out = scores.clone()
        for row in (entropy >= _ROOM_NATS).nonzero().flatten().tolist():
            out[row] += self._bonus(int(ids[row, -1]), scores)
        return out

    def _bonus(self, before: int, scores: "Tensor") -> "Tensor":
        if before not in self._masks:
            if len(self._masks) >= _KEPT:
                self._masks.clear()
            import torch

            mask = torch.from_numpy(green(self._key, before, scores.shape[-1]))
            self._masks[before] = mask.to(device=scores.device, dtype=scores.dtype) * _BONUS
        bonus: Tensor = self._masks[before]
        return bonus


@final
class Marked(Sensitive):
    """A writer that marks what it writes, and can say how well that went.

    Args:
        base: Of the writer.
        adapted: Its adapter, or None.
        key: The key.
    """

    def __init__(self, base: Any, adapted: Any, key: Key) -> None:
        from domains.language import Writer

        self._base, self._key = base, key
        self._writer = Writer(base, adapted, (Green(key),))

    def write(self, prompts: Sequence[str], *, max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        """As `domains.language.Writer.write`."""
        return self._writer.write(prompts, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)

    def described(self, texts: Sequence[str]) -> str:
        """What a stamp says of the mark in the model's sentences of a document."""
        found = detect([self._base.tokens(f" {t}") for t in texts], self._key, self._base.vocabulary)
        if not found.enough:
            return f"not applied: too few words by the model ({found.pairs} pairs of tokens)"
        strength = "" if found.marked else ", too weak to prove: the text had little room"
        return f"green list, z {found.z:.1f} over {found.pairs} pairs of tokens{strength}"
