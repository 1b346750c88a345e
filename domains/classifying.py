"""What classifiers say, and how far their probabilities can be believed.

A **Judge** gives a number to each of its labels for a prompt; `Classifier` is one made of a base and, where
there is one, an adapter. The measures are the field's: calibration by one temperature, its expected error,
and the Brier score. Nothing here knows a field of work.

>>> import numpy as np
>>> p = softmax(np.array([[2.0, 0.0], [0.0, 4.0]]))
>>> [round(float(x), 3) for x in p[:, 1]]
[0.119, 0.982]
>>> round(brier(p, np.array([0, 1])), 4)
0.0145
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError

__all__ = [
    "Classifier",
    "Judge",
    "brier",
    "expected_calibration_error",
    "fit_temperature",
    "macro_f1",
    "softmax",
]

Logits = npt.NDArray[Any]
Labels = npt.NDArray[Any]

_BATCH = 64


@runtime_checkable
class Judge(Protocol):
    """Whatever gives a number to each label."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What there is to choose from."""
        ...

    def logits(self, prompts: Sequence[str]) -> Logits:
        """One row a prompt, one column a label, float32; any constant may be added to a row."""
        ...


@final
class Classifier:
    """A base that classifies, with an adapter or alone. Make one with `Classifier.load`."""

    def __init__(self, base: Any, state: AdapterState | None, max_tokens: int) -> None:
        self._base, self._state, self._max_tokens = base, state, max_tokens

    @classmethod
    def load(cls, path: Path | str, state: AdapterState | None = None, *, max_tokens: int = 4096) -> "Classifier":
        """Load a base and hold it.

        Raises:
            ConfigError: The base classifies nothing.
            ModelError, BaseMismatch: As for `Base.load` and `Base.adapt`.
        """
        from domains.language import Base  # Imports torch: only where a model is used.

        base = Base.load(path)
        if base.card.kind != "classifier":
            raise ConfigError(f"the base {base.card.name} classifies nothing", expected="a classifier")
        return cls(base, state, max_tokens)

    @property
    def labels(self) -> tuple[str, ...]:
        """The base's labels, in order."""
        labels: tuple[str, ...] = self._base.labels
        return labels

    def logits(self, prompts: Sequence[str]) -> Logits:
        """As `Judge.logits`."""
        if self._state is not None:
            self._base.adapt(self._state.schema, ()).load(self._state)
        rows = [
            self._base.logits(prompts[i : i + _BATCH], max_tokens=self._max_tokens, adapted=self._state is not None)
            for i in range(0, len(prompts), _BATCH)
        ]
        return np.concatenate(rows) if rows else np.zeros((0, len(self.labels)), dtype=np.float32)


def softmax(logits: Logits, temperature: float = 1.0) -> Logits:
    """Probabilities of each row, float64."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    e = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The one temperature, between 1/20 and 20, at which the labels are likeliest.

    Args:
        logits: Shape (examples, labels); of examples that are not scored.
        labels: The right label's place, shape (examples,).
    Raises:
        ConfigError: There are no examples.
    Reference: Guo et al. 2017, section 4.2, arXiv:1706.04599.
    """
    if not len(labels):
        raise ConfigError("there are no examples to fit a temperature on")
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        p = softmax(logits, float(np.exp(log_temperature)))[rows, labels]
        return float(-np.log(np.maximum(p, 1e-300)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded").x))


def expected_calibration_error(probabilities: Logits, labels: Labels, bins: int = 15) -> float:
    """How far confidence lies from accuracy: the mean over equal bins of the top probability, by their share.

    Reference: Guo et al. 2017, equation 3, arXiv:1706.04599.
    """
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    gaps = [abs(right[place == b].mean() - top[place == b].mean()) * (place == b).mean() for b in set(place.tolist())]
    return float(sum(gaps))


def brier(probabilities: Logits, labels: Labels) -> float:
    """The mean squared distance between probabilities and what was right, over all labels; 0 to 2.

    Reference: Brier 1950, Monthly Weather Review 78.
    """
    right = np.zeros_like(probabilities)
    right[np.arange(len(labels)), labels] = 1.0
    return float(((probabilities - right) ** 2).sum(axis=1).mean())


def macro_f1(predicted: Labels, labels: Labels, classes: int) -> float:
    """The mean of each class's F1; a class that is neither there nor predicted counts as 0."""
    scores = []
    for c in range(classes):
        both = int(((predicted == c) & (labels == c)).sum())
        total = int((predicted == c).sum() + (labels == c).sum())
        scores.append(2 * both / total if total else 0.0)
    return sum(scores) / classes
