"""Made-up units for auditing the private step: their gradients are known, and far above any clip norm.

A canary is a unit of one to three records. All of its examples have a gradient in one direction, which lies
in every layer, so that after clipping it moves a sum by exactly the clip norm along a known line. Canaries
share four such lines; every other coordinate stays silent and shows the noise alone. There is no model
and no record of anybody, and nothing here knows noise, sampling or accounting.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from domains.base import Example
from domains.language import Base, Encoded, TokenBatch
from fedclient.dataset import PrivateDataset
from fedclient.records import Record

__all__ = ["GROUPS", "LAYERS", "CanaryGradients", "grouped", "made_up_records"]

LAYERS: tuple[tuple[tuple[int, ...], float], ...] = (((48, 96), 0.48), ((96, 32), 0.64), ((512,), 0.60))
"""Shape of each layer, and the share of a canary's gradient that lies in it; the squares add up to 1."""

GROUPS = 4
"""Canaries of one group share a coordinate in each layer: the first four, flattened."""

_SIZES = (1e3, 3e4, 1e6)
"""Norms of a canary's examples, in clip norms: what is not clipped cannot be overlooked."""


def made_up_records(canaries: int) -> list[Record]:
    """Records of so many canaries, one to three each; a canary's records do not lie together."""
    rows = [(c, e) for e in range(len(_SIZES)) for c in range(canaries) if e <= c % len(_SIZES)]
    return [
        Record(unit=f"canary-{canary}", fields={"canary": canary, "example": example}, position=position)
        for position, (canary, example) in enumerate(rows, start=1)
    ]


def grouped(records: list[Record]) -> PrivateDataset:
    """The records as units, by the code that groups an institution's own."""
    # What `build` needs of a task and a base, and nothing else of either.
    task = cast(Any, SimpleNamespace(name="canaries", examples=_examples))
    base = SimpleNamespace(card=SimpleNamespace(kind="causal"), encode=_encode)
    return PrivateDataset.build(records, task, cast(Base, base), max_tokens=2)


def _examples(fields: Mapping[str, Any], *, unit: str) -> list[Example]:
    """One example a record."""
    return [Example(prompt=str(fields["canary"]), target=str(fields["example"]), unit=unit)]


def _encode(prompt: str, target: str, max_tokens: int, *, label: int | None) -> Encoded:
    """Two "tokens": which canary it is, and which of its examples."""
    ids = (int(prompt), int(target))[:max_tokens]
    return Encoded(ids=ids, labels=ids, label=label)


class CanaryGradients:
    """What `fedclient.step.train` asks for gradients, answered without a model.

    Args:
        unit_norm: Gradients are this times the sizes above: the clip norm, or what else is large.
    """

    def __init__(self, unit_norm: float) -> None:
        model = SimpleNamespace(dtype=torch.float32)  # There is none; gradients are float32.
        self.adapted: Any = SimpleNamespace(base=SimpleNamespace(device=torch.device("cpu"), model=model))
        self.parameters = [nn.Parameter(torch.zeros(shape)) for shape, _ in LAYERS]
        self._unit_norm = unit_norm
        self._seen: set[int] = set()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Nothing to attach."""
        yield

    def of(self, batch: TokenBatch) -> list[Tensor]:
        """Gradients of each example, by layer, shape (examples, *layer)."""
        canaries, examples = batch.input_ids[:, 0], batch.input_ids[:, 1]
        self._seen.update(canaries.tolist())
        sizes = torch.tensor(_SIZES)[examples] * self._unit_norm
        rows = torch.arange(len(canaries))
        grads = []
        for shape, share in LAYERS:
            flat = torch.zeros(len(canaries), math.prod(shape))
            flat[rows, canaries % GROUPS] = share * sizes
            grads.append(flat.view(-1, *shape))
        return grads

    def read(self) -> npt.NDArray[np.float64]:
        """The parameters as they stand, as one vector."""
        return np.concatenate([p.detach().flatten().double().numpy() for p in self.parameters])

    def design(self) -> npt.NDArray[np.float64]:
        """What the canaries seen since the last call add up to, if each has norm 1; each counts once."""
        groups = np.bincount([c % GROUPS for c in self._seen], minlength=GROUPS) if self._seen else np.zeros(GROUPS)
        self._seen = set()
        layers = []
        for shape, share in LAYERS:
            flat = np.zeros(math.prod(shape))
            flat[:GROUPS] = share * groups
            layers.append(flat)
        return np.concatenate(layers)
