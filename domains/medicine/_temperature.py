"""A temperature for a classifier, fitted on units of its own, privately where the training is private.

Which units calibrate follows from their names alone, and none of them is trained on; so the privacy cost of a
release is the larger of the training's and the calibration's, not their sum (parallel composition).

Guarantee of `private_temperature`: (epsilon, 0)-differential privacy for each unit, added or removed.

>>> import numpy as np
>>> sure_and_wrong = np.array([[9.0, 0.0], [9.0, 0.0]])
>>> private_temperature(sure_and_wrong, np.array([0, 1]), ("a", "b"), epsilon=1e3, rng=np.random.default_rng(0)) > 2
True
"""

from collections.abc import Sequence

import numpy as np

from domains.classifying import Labels, Logits, softmax

__all__ = ["GRID", "private_temperature", "unit_losses"]

GRID = tuple(float(t) for t in np.round(np.geomspace(0.5, 4.0, 25), 4))
"""The temperatures to choose from."""
_MOST = 5.0
"""A unit's loss counts at most so much: the sensitivity of the choice."""


def unit_losses(logits: Logits, labels: Labels, units: Sequence[str], temperature: float) -> dict[str, float]:
    """Each unit's mean log-loss over its examples, at most 5."""
    p = softmax(logits, temperature)[np.arange(len(labels)), labels]
    losses: dict[str, list[float]] = {}
    for unit, loss in zip(units, -np.log(np.maximum(p, 1e-300)), strict=True):
        losses.setdefault(unit, []).append(float(loss))
    return {unit: min(_MOST, sum(found) / len(found)) for unit, found in losses.items()}


def private_temperature(
    logits: Logits, labels: Labels, units: Sequence[str], *, epsilon: float, rng: np.random.Generator
) -> float:
    """Choose a temperature of `GRID` by the exponential mechanism.

    Args:
        logits: Shape (examples, labels).
        labels: The right label's place, shape (examples,).
        units: Whose each example is.
        epsilon: What a unit spends; > 0.
        rng: Seeded from the system wherever the choice is to be private.
    Reference: McSherry and Talwar 2007, FOCS, section 3.
    """
    scores = np.array([-sum(unit_losses(logits, labels, units, t).values()) for t in GRID])
    weights = np.exp(epsilon * (scores - scores.max()) / (2 * _MOST))
    return GRID[int(rng.choice(len(GRID), p=weights / weights.sum()))]
