"""Made-up models, units and plans for the tests of private steps."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from domains.language import Adapted, Base, Encoded, TokenBatch
from fedclient.dataset import PrivateDataset
from fedcore.adapter import AdapterSchema, Form
from fedcore.privacy.plan import UNSAFE_NO_NOISE, PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from simulations.tiny import TARGETS, TinyKind

ALL = ("lora_A", "lora_B", "head")


def adapt(
    base: Base,
    kind: TinyKind,
    trains: Sequence[str] = ALL,
    seed: int = 1,
    *,
    rank: int = 2,
    targets: tuple[str, ...] | None = None,
    form: Form = "lora",
    residual_rank: int = 0,
) -> Adapted:
    """An adapter with random values everywhere, so that no gradient vanishes."""
    schema = AdapterSchema.for_base(
        base.card, rank=rank, alpha=4, targets=targets or TARGETS[kind], form=form, residual_rank=residual_rank
    )
    adapted = base.adapt(schema, trains)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in adapted.parameters.values():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    return adapted


def sequences(shape: Sequence[Sequence[int]], seed: int) -> PrivateDataset:
    """A data set whose units have examples of the given lengths, of random tokens."""
    generator = np.random.default_rng(seed)

    def example(length: int) -> Encoded:
        ids = tuple(int(t) for t in generator.integers(3, 380, length))
        return Encoded(ids=ids, labels=(-100, *ids[1:]), label=int(generator.integers(0, 3)))

    return PrivateDataset(tuple(tuple(example(n) for n in unit) for unit in shape))


def plan(**changes: Any) -> PrivacyPlan:
    """Everyone sampled, no noise, one step, a clip norm that some units pass and others do not."""
    fields: dict[str, Any] = {
        "unit": PrivacyUnit(key="patient"),
        "sampling_rate": 1.0,
        "steps_per_round": 1,
        "expected_batch_units": 1.0,
        "examples_per_unit": 100,
        "clip_norm_l2": 1.0,
        "noise_multiplier": 0.0,
        "delta": 1e-5,
        "mechanism": UNSAFE_NO_NOISE,
    }
    return PrivacyPlan(**{**fields, **changes})


class GivenGradients:
    """What `train` asks for gradients, answered from a table: the first token of an example is its row."""

    def __init__(self, table: Tensor) -> None:
        self.adapted: Any = SimpleNamespace(base=SimpleNamespace(device=torch.device("cpu")))
        self.parameters = [nn.Parameter(torch.zeros(table.shape[1:]))]
        self.seen: list[list[int]] = []
        self._table = table

    @contextmanager
    def active(self) -> Iterator[None]:
        yield

    def of(self, batch: TokenBatch) -> list[Tensor]:
        rows = batch.input_ids[:, 0]
        self.seen.append(rows.tolist())
        return [self._table[rows].clone()]

    @property
    def data(self) -> PrivateDataset:
        """A unit for each row of the table."""
        return PrivateDataset(tuple((Encoded(ids=(row,), labels=(-100,)),) for row in range(len(self._table))))
