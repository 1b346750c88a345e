"""Gradients of single examples by Opacus' hooks: exact or refused, and nothing stays on the model."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from domains.language import Adapted, Base, TokenBatch
from fedclient._fused import FusedGradients
from fedclient._hooks import ExampleGradients
from fedcore.errors import UnsupportedModel
from simulations.tiny import make_tiny_base
from tests.reference.models import adapt, plan, sequences
from tests.reference.observed import sum_of

DATA = sequences([[9, 4], [3], [12, 5, 7, 2]], seed=0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base.load(make_tiny_base(Path(tmp_path_factory.mktemp("bases")) / "llama", "llama"), device="cpu")


class Odd:
    """A stand-in for `Adapted` around any module that turns (sequences, 4) into (sequences, outputs)."""

    def __init__(self, module: nn.Module) -> None:
        self.parameters = dict(module.named_parameters())
        self.module = nn.ModuleList([module, nn.Linear(1, 1).requires_grad_(False)])
        self.base = SimpleNamespace(device=torch.device("cpu"), card=SimpleNamespace(name="odd"))

    def sequence_losses(self, batch: Any) -> torch.Tensor:
        ids = nn.functional.pad(batch.input_ids, (0, 4))[:, :4].float()
        return (self.module[0](ids) ** 2).flatten(1).sum(1)


class Mixing(nn.Module):
    """Subtracts the batch's mean, so that every example's loss depends on the others."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.linear(x)
        return out - out.mean(dim=0, keepdim=True)


class Flattening(nn.Module):
    """Shows its layer one row a token instead of one a sequence, as experts do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.reshape(-1, 2)).reshape(len(x), -1)


class Bypassing(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + x @ self.linear.weight.t()


class Own(nn.Module):
    """Trains a tensor of its own, for which there is no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


@pytest.mark.parametrize("module", [Mixing(), Flattening(), Bypassing(), Own(), nn.PReLU()])
def test_a_model_without_exact_gradients_of_examples_is_refused(module: nn.Module) -> None:
    gradients = ExampleGradients(Odd(module))  # type: ignore[arg-type]
    with pytest.raises(UnsupportedModel), gradients.active():
        pass
    assert not any(m._forward_hooks or m._backward_hooks for m in module.modules())


@pytest.mark.parametrize(
    "module", [nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 1))]
)
def test_layers_with_an_exact_rule_are_accepted(module: nn.Module) -> None:
    with ExampleGradients(Odd(module)).active():  # type: ignore[arg-type]
        pass


def test_the_proof_leaves_the_adapter_as_it_was(base: Base) -> None:
    adapted = adapt(base, "llama")
    before = {name: p.detach().clone() for name, p in adapted.parameters.items()}
    with ExampleGradients(adapted).active():
        pass
    assert all(torch.equal(before[n], p) for n, p in adapted.parameters.items())


def test_a_tensor_outside_the_adapter_that_trains_is_refused(base: Base) -> None:
    adapted = adapt(base, "llama")
    stray = adapted.base.model.get_input_embeddings().weight
    stray.requires_grad_(True)
    try:
        with pytest.raises(UnsupportedModel, match="not part of the adapter"):
            sum_of(ExampleGradients(adapted), DATA, plan())
    finally:
        stray.requires_grad_(False)


def test_an_adapter_in_half_precision_is_refused(base: Base) -> None:
    module = nn.Linear(4, 3, dtype=torch.bfloat16)
    with pytest.raises(UnsupportedModel, match="float32"), ExampleGradients(Odd(module)).active():  # type: ignore[arg-type]
        pass


class TokenMean:
    """An adapted base whose losses add up to a mean over the tokens of the batch, as transformers' own is."""

    def __init__(self, adapted: Adapted) -> None:
        self._adapted = adapted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapted, name)

    def sequence_losses(self, batch: TokenBatch) -> torch.Tensor:
        tokens = (batch.labels[:, 1:] != -100).sum(dim=1)
        return self._adapted.sequence_losses(batch) * tokens / tokens.sum()


@pytest.mark.parametrize("form", [FusedGradients, ExampleGradients])
def test_a_token_mean_over_the_batch_is_refused(base: Base, form: Callable[[Any], Any]) -> None:
    adapted = adapt(base, "llama")
    sum_of(form(adapted), DATA, plan())
    with pytest.raises(UnsupportedModel, match="mixes the examples"):
        sum_of(form(TokenMean(adapted)), DATA, plan())
