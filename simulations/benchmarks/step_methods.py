"""One training step done in five ways, on the same model and batch: without privacy, ours, and Opacus' three.

Each way has a model of its own from the same files, AdamW, and the house's loss of a sequence; a step is
everything from the batch to changed weights. Ours is `fedclient.step.train` itself, a round of one step in
which every unit is drawn: making the optimiser, sampling, grouping, clipping, secure noise and all checks are
in it. The others keep their optimiser from step to step, and Opacus draws its noise from torch's generator.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor

from domains.language import Adapted, Base, Encoded, Quantization, TokenBatch, collate, write_random
from fedclient._fused import FusedGradients
from fedclient.dataset import PrivateDataset
from fedclient.step import train
from fedcore.adapter import AdapterSchema
from fedcore.privacy.noise import SecureNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import SystemRandom
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import Optimiser
from simulations.tiny import make_tiny_base

__all__ = ["METHODS", "OURS", "PLAIN", "Step", "StepWork", "write_llama"]

Step = Callable[[], None]
"""One whole step, in place."""

PLAIN, OURS = "non_private", "concordat"

_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_RATE = 1e-4
_CLIP = 1.0
_NOISE = 1.0


@dataclass(frozen=True, kw_only=True)
class StepWork:
    """The model and the batch of a step.

    Args:
        base: A prepared base of Llama's layout.
        sequences: Of the batch.
        tokens: Of the longest sequence; the others are from a third of it upwards, padded on the right.
        rank: Of the LoRA, on all seven linears of a block.
        dtype, quantization, device: As `Base.load` takes them.
    """

    base: Path
    sequences: int
    tokens: int
    rank: int = 8
    dtype: str = "float32"
    quantization: Quantization = "none"
    device: str = "cpu"

    def adapted(self) -> Adapted:
        """The model, with the same adapter each time; nothing in it is zero."""
        base = Base.load(self.base, dtype=self.dtype, quantization=self.quantization, device=self.device)
        schema = AdapterSchema.for_base(base.card, rank=self.rank, alpha=2.0 * self.rank, targets=_TARGETS)
        adapted = base.adapt(schema, ("lora_A", "lora_B"))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in adapted.parameters.values():
                p.copy_(torch.randn(p.shape, generator=generator) * 0.02)
        return adapted

    def examples(self, vocabulary: int) -> list[Encoded]:
        """Random tokens, the same each time."""
        generator = np.random.default_rng(1)
        lengths = generator.integers(max(2, self.tokens // 3), self.tokens + 1, self.sequences)
        lengths[0] = self.tokens
        rows = [tuple(int(t) for t in generator.integers(5, vocabulary, n)) for n in lengths]
        return [Encoded(ids=ids, labels=(-100, *ids[1:])) for ids in rows]


def write_llama(directory: Path, *, hidden: int, inner: int, layers: int, heads: int, vocabulary: int) -> Path:
    """A Llama with random weights, in a directory that loads as a base."""
    make_tiny_base(directory, "llama")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "tie_word_embeddings": True,
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "max_position_embeddings": 4096,
        "bos_token_id": 1,
        "eos_token_id": 0,
        "pad_token_id": 2,
    }
    write_random(directory, config, seed=0)
    return directory


Method = Callable[[StepWork, int], AbstractContextManager[Step]]
"""From the work and the number of records a unit has to a step that may be taken many times."""


def _ready(work: StepWork) -> tuple[Adapted, TokenBatch, list[Encoded]]:
    """Model, batch, and the batch's examples."""
    adapted = work.adapted()
    examples = work.examples(int(adapted.base.model.config.vocab_size))
    return adapted, collate(examples, adapted.base.device), examples


def _adamw(adapted: Adapted) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in adapted.parameters.values() if p.requires_grad], lr=_RATE, weight_decay=0.0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remark that the first layer's input needs no gradient."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
        yield


@contextmanager
def _plain(work: StepWork, per_unit: int) -> Iterator[Step]:
    """peft's layers, the mean loss, AdamW."""
    adapted, batch, _ = _ready(work)
    optimizer = _adamw(adapted)

    def step() -> None:
        adapted.sequence_losses(batch).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    yield step


@contextmanager
def _ours(work: StepWork, per_unit: int) -> Iterator[Step]:
    """The real round code, over units of `per_unit` records, the whole batch at a time."""
    adapted, _, examples = _ready(work)
    units = [tuple(examples[i : i + per_unit]) for i in range(0, len(examples), per_unit)]
    dataset, source, noise = PrivateDataset(tuple(units)), SystemRandom(), SecureNoise()
    gradients = FusedGradients(adapted)
    plan = PrivacyPlan(
        unit=PrivacyUnit(key="record" if per_unit == 1 else "patient"),
        sampling_rate=1.0,
        steps_per_round=1,
        expected_batch_units=float(len(units)),
        examples_per_unit=per_unit,
        clip_norm_l2=_CLIP,
        noise_multiplier=_NOISE,
        delta=1e-5,
    )

    def step() -> None:
        train(
            adapted,
            dataset,
            plan,
            Optimiser(learning_rate=_RATE),
            batches=plan.batches(len(dataset), source),
            noise=noise,
            micro_batch=len(examples),
            gradients=gradients,
        )

    yield step


def _opacus(*, functorch: bool) -> Method:
    """Opacus' hooks, or its functorch, with its own optimiser."""

    @contextmanager
    def method(work: StepWork, per_unit: int) -> Iterator[Step]:
        adapted, batch, examples = _ready(work)
        adapted.module.train()
        hooked = GradSampleModule(adapted.module, loss_reduction="mean", force_functorch=functorch)
        optimizer = DPOptimizer(
            _adamw(adapted), noise_multiplier=_NOISE, max_grad_norm=_CLIP, expected_batch_size=len(examples)
        )

        def step() -> None:
            adapted.sequence_losses(batch).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        try:
            with _quiet():
                yield step
        finally:
            hooked.cleanup()

    return method


class _Losses(torch.nn.Module):
    """Our losses in the form of a criterion, which Opacus' ghost clipping asks for."""

    def __init__(self, adapted: Adapted) -> None:
        super().__init__()
        self._of = adapted.sequence_losses
        self.reduction = "mean"

    def forward(self, batch: TokenBatch) -> Tensor:
        losses = self._of(batch)
        return losses if self.reduction == "none" else losses.mean()


@contextmanager
def _ghost(work: StepWork, per_unit: int) -> Iterator[Step]:
    """Opacus' ghost clipping: norms first, then a second backward pass."""
    adapted, batch, examples = _ready(work)
    adapted.module.train()
    hooked = GradSampleModuleFastGradientClipping(adapted.module, max_grad_norm=_CLIP, use_ghost_clipping=True)
    optimizer = DPOptimizerFastGradientClipping(
        _adamw(adapted), noise_multiplier=_NOISE, max_grad_norm=_CLIP, expected_batch_size=len(examples)
    )
    criterion: Any = DPLossFastGradientClipping(hooked, optimizer, _Losses(adapted), "mean")

    def step() -> None:
        criterion(batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    try:
        with _quiet():
            yield step
    finally:
        hooked.cleanup()


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        PLAIN: _plain,
        OURS: _ours,
        "opacus_hooks": _opacus(functorch=False),
        "opacus_ghost": _ghost,
        "opacus_functorch": _opacus(functorch=True),
    }
)
"""Name -> the way a step is done."""
