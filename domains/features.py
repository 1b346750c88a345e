"""The features base: a linear classifier of words that a task chooses, small enough to train in seconds.

A prompt for it is feature words with white space between them. Words that the base **knows** have an input of
their own; any other is hashed, with a sign, to one of `dimension` inputs (feature hashing, Weinberger et al.
2009, arXiv:0902.2206). A text's inputs are scaled to one length, so that a long text weighs as much as a short
one. The head that training changes is one linear layer. A frozen **prior**, in log-odds for each known word and
label, makes the base knowledgeable before any training: what a code book says of a disease stands there.

A directory of such a base has the layout of any other (`config.json`, safetensors), so that it is identified,
agreed on and refused by the same digest. This module knows nothing of adapters or privacy.

>>> ngrams("abc", 2, 3)
('ab', 'bc', 'abc')
>>> words("Shall NOT, ever")
('shall', 'not', 'ever')
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from fedcore.adapter import FloatArray
from fedcore.errors import ConfigError

__all__ = [
    "FeaturesForSequenceClassification",
    "FeaturesTokenizer",
    "is_features_base",
    "load",
    "make_features_base",
    "ngrams",
    "words",
]

_KIND = "concordat_features"
_LIMIT = 4096
"""Most words that a prompt may have."""
_SCALE = 8.0
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SPACE = re.compile(r"\s+")


def ngrams(text: str, low: int, high: int) -> tuple[str, ...]:
    """Every run of `low` to `high` characters, once each, in order; white space counts as one "_"."""
    plain = _SPACE.sub("_", text.strip())
    found = (plain[i : i + n] for n in range(low, high + 1) for i in range(len(plain) - n + 1))
    return tuple(dict.fromkeys(found))


def words(text: str) -> tuple[str, ...]:
    """The words of a text in a script with spaces, in lower case, once each, in order."""
    return tuple(dict.fromkeys(m.group().lower() for m in _WORD.finditer(text)))


def make_features_base(
    directory: Path,
    *,
    labels: Sequence[str],
    known: Sequence[str] = (),
    dimension: int = 1024,
    prior: Mapping[str, Sequence[float]] | None = None,
    scale: float = _SCALE,
) -> None:
    """Write a features base into a new directory. The same arguments give the same digest.

    Args:
        directory: Made here.
        labels: What there is to choose from, in order.
        known: Words with an input of their own.
        dimension: Inputs that all other words share, >= 1.
        prior: Known word -> log-odds for each label, added for each time that the word stands in a prompt.
        scale: The length of every input vector; larger learns in fewer steps.
    Raises:
        ConfigError: A number is out of range, a name stands twice, or a prior does not fit.
    """
    if len(labels) < 2 or len(set(labels)) != len(labels) or len(set(known)) != len(known):
        raise ConfigError("a features base needs two or more labels, and no label or word twice")
    if dimension < 1 or not (math.isfinite(scale) and scale > 0):
        raise ConfigError("a features base needs a dimension of at least 1 and a scale above 0")
    if any(_SPACE.search(w) or not w for w in known):
        raise ConfigError("a known word of a features base is empty or holds white space")
    table = np.zeros((len(known) + 1, len(labels)), dtype=np.float32)
    place = {word: i + 1 for i, word in enumerate(known)}
    for word, odds in (prior or {}).items():
        if word not in place or len(odds) != len(labels) or not all(map(math.isfinite, odds)):
            raise ConfigError(
                "a prior does not fit its features base", expected="a known word and a finite number for each label"
            )
        table[place[word]] = odds
    directory.mkdir(parents=True)
    config = {
        "architectures": [FeaturesForSequenceClassification.__name__],
        "model_type": _KIND,
        "labels": list(labels),
        "known": list(known),
        "dimension": dimension,
        "scale": scale,
    }
    (directory / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    save_file({"prior.weight": table}, directory / "model.safetensors")


def is_features_base(directory: Path) -> bool:
    """Whether a directory's configuration says that it holds one."""
    try:
        config = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == _KIND


def load(directory: Path) -> "tuple[FeaturesForSequenceClassification, FeaturesTokenizer]":
    """Read what `make_features_base` wrote.

    Raises:
        OSError, ValueError, KeyError, TypeError: It is not such a directory.
    """
    config = json.loads((directory / "config.json").read_bytes())
    model = FeaturesForSequenceClassification(config)
    weight: FloatArray = load_file(directory / "model.safetensors")["prior.weight"]
    if weight.shape != tuple(model.prior.weight.shape):
        raise ValueError("the prior has the wrong shape")
    with torch.no_grad():
        model.prior.weight.copy_(torch.from_numpy(weight))
    return model, FeaturesTokenizer(config["known"], int(config["dimension"]))


class FeaturesTokenizer:
    """Words to numbers: 0 is padding, then the known words, then a number for each hashed input and sign."""

    pad_token_id = 0
    eos_token_id = 0
    pad_token = eos_token = ""

    def __init__(self, known: Sequence[str], dimension: int) -> None:
        self._known = {word: i + 1 for i, word in enumerate(known)}
        self._dimension = dimension

    def __call__(self, prompt: str, *, truncation: bool = True, max_length: int = _LIMIT) -> dict[str, list[int]]:
        """The numbers of a prompt's words; a prompt without any gets one padding."""
        found = [self._number(w) for w in prompt.split()]
        return {"input_ids": (found[:max_length] if truncation else found) or [0]}

    def _number(self, word: str) -> int:
        if (known := self._known.get(word)) is not None:
            return known
        value = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")
        return len(self._known) + 1 + value % (2 * self._dimension)


class FeaturesForSequenceClassification(nn.Module):
    """The model: inputs of one length through one linear layer, plus the prior."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self._known, self._dimension = len(config["known"]), int(config["dimension"])
        self._scale = float(config["scale"])
        labels = tuple(config["labels"])
        self.config = SimpleNamespace(
            architectures=list(config["architectures"]),
            model_type=_KIND,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            max_position_embeddings=_LIMIT,
            vocab_size=self._known + 1 + 2 * self._dimension,
            pad_token_id=0,
        )
        self.prior = nn.Embedding(self._known + 1, len(labels))
        self.classifier = nn.Linear(self._known + self._dimension, len(labels))
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def get_input_embeddings(self) -> nn.Module:
        """The layer whose device is the model's."""
        return self.prior

    def inputs(
        self, input_ids: Int[Tensor, "sequences tokens"], attention_mask: Int[Tensor, "sequences tokens"]
    ) -> Float[Tensor, "sequences inputs"]:
        """What the head sees: +-1 for each word at its input, scaled to one length; zero for no words."""
        hashed = input_ids - (self._known + 1)
        is_hashed = hashed >= 0
        place = torch.where(is_hashed, self._known + hashed.clamp(min=0) // 2, (input_ids - 1).clamp(min=0))
        sign = torch.where(is_hashed & (hashed % 2 == 1), -1.0, 1.0)
        value = torch.where(input_ids == 0, 0.0, sign) * attention_mask
        found = value.new_zeros(len(input_ids), self._known + self._dimension)
        return self._scale * functional.normalize(found.scatter_add(1, place, value), dim=1)

    def forward(
        self, input_ids: Int[Tensor, "sequences tokens"], attention_mask: Int[Tensor, "sequences tokens"]
    ) -> SimpleNamespace:
        """Logits, shape (sequences, labels), as transformers' classifiers give them."""
        is_known = (input_ids <= self._known) & (input_ids > 0) & (attention_mask > 0)
        odds = self.prior(torch.where(is_known, input_ids, 0)) * is_known.unsqueeze(-1)
        return SimpleNamespace(logits=self.classifier(self.inputs(input_ids, attention_mask)) + odds.sum(dim=1))
