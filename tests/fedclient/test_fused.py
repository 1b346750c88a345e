"""Fused gradients of examples: equal to Opacus' hooks and to plain autograd, refused where they would not be."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from domains import _sites
from domains._sites import LoraSite, lora_site
from domains.language import Adapted, Base, Encoded, TokenBatch, collate
from fedclient import _fused
from fedclient._fused import FusedGradients
from fedclient._hooks import ExampleGradients
from fedcore.adapter import AdapterSchema
from fedcore.errors import UnsupportedModel
from simulations.tiny import KINDS, TinyKind, make_tiny_base

ALL = ("lora_A", "lora_B", "head")
TARGETS: dict[TinyKind, tuple[str, ...]] = {
    "llama": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "gpt2": ("c_attn", "c_proj", "c_fc"),
    "moe": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "bert": ("query", "key", "value"),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[TinyKind, Base]:
    root = Path(tmp_path_factory.mktemp("bases"))
    return {kind: Base.load(make_tiny_base(root / kind, kind), device="cpu") for kind in KINDS}


def adapt(
    base: Base,
    kind: TinyKind,
    *,
    trains: tuple[str, ...] = ALL,
    targets: tuple[str, ...] | None = None,
    rank: int = 2,
    seed: int = 1,
) -> Adapted:
    """An adapter with random values everywhere, so that no gradient vanishes."""
    schema = AdapterSchema.for_base(base.card, rank=rank, alpha=4, targets=targets or TARGETS[kind])
    adapted = base.adapt(schema, trains)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in adapted.parameters.values():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    return adapted


def examples(lengths: list[int], seed: int = 0, prompt: int = 1) -> list[Encoded]:
    """Random tokens; the first `prompt` of them have no loss, but the last always has."""
    generator = np.random.default_rng(seed)
    out = []
    for length in lengths:
        ids = tuple(int(t) for t in generator.integers(3, 380, length))
        hidden = min(prompt, length - 1)
        out.append(Encoded(ids=ids, labels=(-100,) * hidden + ids[hidden:], label=int(generator.integers(0, 3))))
    return out


def alone(adapted: Adapted, example: Encoded) -> list[torch.Tensor]:
    """The gradient of one example's loss in a batch of its own, by autograd through peft's layers."""
    trained = [p for p in adapted.parameters.values() if p.requires_grad]
    return list(torch.autograd.grad(adapted.sequence_losses(collate([example])).sum(), trained))


def gradients_of(gradients: Any, batch: TokenBatch) -> list[torch.Tensor]:
    with gradients.active():
        return [g.clone() for g in gradients.of(batch)]


def distance(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Largest over examples of the difference of an example's whole gradient, relative to its norm.

    A gradient that is zero but for rounding, as of a query that one key alone can answer, counts as 0.001 long.
    """
    error = sum((f.double() - e.double()).flatten(1).square().sum(1) for f, e in zip(found, expected, strict=True))
    size = sum(e.double().flatten(1).square().sum(1) for e in expected)
    assert isinstance(error, torch.Tensor)
    assert isinstance(size, torch.Tensor)
    return float((error / size.clamp(min=1e-6)).sqrt().max())


@settings(max_examples=24, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    lengths=st.lists(st.integers(2, 14), min_size=1, max_size=6),
    rank=st.integers(1, 9),
    prompt=st.integers(1, 5),
    chosen=st.integers(1, 127),
    trains=st.sampled_from([ALL, ("lora_A", "head"), ("lora_B",), ("lora_A",)]),
    seed=st.integers(0, 10_000),
)
def test_gradients_equal_opacus_hooks_and_each_example_alone(
    bases: dict[TinyKind, Base],
    kind: TinyKind,
    lengths: list[int],
    rank: int,
    prompt: int,
    chosen: int,
    trains: tuple[str, ...],
    seed: int,
) -> None:
    every = TARGETS[kind]
    targets = tuple(t for i, t in enumerate(every) if chosen >> i & 1) or every
    adapted = adapt(bases[kind], kind, trains=trains, targets=targets, rank=rank, seed=seed)
    data = examples(lengths, seed, prompt)
    found = gradients_of(FusedGradients(adapted), collate(data))
    hooks = gradients_of(ExampleGradients(adapted), collate(data))
    assert all(f.dtype == torch.float32 for f in found)
    assert distance(found, hooks) <= 1e-5
    singles = [alone(adapted, e) for e in data]
    assert distance(found, [torch.stack(rows) for rows in zip(*singles, strict=True)]) <= 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_pefts_own_layers(bases: dict[TinyKind, Base], kind: TinyKind) -> None:
    adapted = adapt(bases[kind], kind)
    batch = collate(examples([9, 4, 6]))
    plain = adapted.sequence_losses(batch)
    with FusedGradients(adapted).active():
        torch.testing.assert_close(adapted.sequence_losses(batch), plain, rtol=2e-6, atol=0)


@pytest.mark.parametrize("rounds_first", [False, True], ids=["peft's Linear", "peft's quantised layers"])
def test_a_bfloat16_base_gives_float32_gradients_of_the_same_loss(
    bases: dict[TinyKind, Base], monkeypatch: pytest.MonkeyPatch, rounds_first: bool
) -> None:
    base = Base.load(bases["llama"].path, dtype="bfloat16", device="cpu")
    adapted = adapt(base, "llama")
    data = examples([9, 4, 12, 6])
    batch = collate(data)
    monkeypatch.setattr(_sites, "_JOINS", {"peft.tuners.lora.layer.Linear": rounds_first})
    fused = FusedGradients(adapted)
    with fused.active():
        assert all(site.rounds_first == rounds_first for site in adapted.sites.values())
        losses = adapted.sequence_losses(batch)
        found = fused.of(batch)
    assert all(f.dtype == torch.float32 for f in found)
    torch.testing.assert_close(losses, adapted.sequence_losses(batch), rtol=5e-3, atol=0)
    # Rounded to 8 bits on the way, in another order: measured at 0.004.
    assert distance(found, gradients_of(ExampleGradients(adapted), batch)) <= 2e-2


@pytest.mark.parametrize("rounds_first", [False, True])
def test_the_branch_takes_the_dtypes_that_peft_gives_it(rounds_first: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    model = peft.get_peft_model(
        nn.Sequential(nn.Linear(6, 5, dtype=torch.bfloat16)), peft.LoraConfig(r=3, target_modules=["0"])
    )
    layer = model.base_model.model[0]
    for p in (layer.lora_A.default.weight, layer.lora_B.default.weight):
        p.data = torch.randn(p.shape, generator=generator)
    site = lora_site("0", layer, "default")
    site = LoraSite(**{**vars(site), "rounds_first": rounds_first})
    x = torch.randn(4, 7, 6, generator=generator).to(torch.bfloat16)
    found = _fused._lora_forward(site, lambda *_: None)(x)
    branch = site.b(site.a(x.float())) * site.scale
    expected = site.base(x) + branch.to(x.dtype) if rounds_first else (site.base(x) + branch).to(x.dtype)
    assert found.dtype == torch.bfloat16
    close = torch.isclose(found.float(), expected.float(), rtol=2**-7, atol=0)
    assert bool(close.all())
    assert float((found == expected).float().mean()) > 0.95  # The rest are ties broken by float32 rounding.
    if not rounds_first:
        assert float((found == layer(x)).float().mean()) > 0.95


@pytest.mark.parametrize("trains", [ALL, ("lora_B",)])
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_checkpointing_changes_nothing(
    bases: dict[TinyKind, Base], kind: TinyKind, reentrant: bool, trains: tuple[str, ...]
) -> None:
    adapted = adapt(bases[kind], kind, trains=trains)
    batch = collate(examples([9, 4, 12, 6]))
    expected = gradients_of(FusedGradients(adapted), batch)
    calls: list[int] = []
    first = next(iter(adapted.sites.values())).layer
    handle = first.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        with adapted.base.checkpointing(reentrant=reentrant):
            fused = FusedGradients(adapted)
            with fused.active():
                calls.clear()
                found = [g.clone() for g in fused.of(batch)]
    finally:
        handle.remove()
    assert len(calls) == 2  # Computed again on the way back, and recorded once.
    assert distance(found, expected) <= 1e-6


def test_no_gradient_of_the_batch_is_formed_and_nothing_stays(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["bert"], "bert")
    fused = FusedGradients(adapted)
    with fused.active():
        assert len(fused.parameters) == len(adapted.parameters)
        assert any("forward" in vars(m) for m in adapted.module.modules())
        fused.of(collate(examples([5, 3])))
        assert all(p.grad is None for p in adapted.parameters.values())
        assert not fused._found
    assert_untouched(adapted)
    assert fused.parameters == []


def assert_untouched(adapted: Adapted) -> None:
    assert not any("forward" in vars(m) for m in adapted.module.modules())
    assert not any(m.training for m in adapted.module.modules())
    assert all(p.grad is None for p in adapted.parameters.values())


def test_layers_are_put_back_whatever_ends_the_block(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    fused = FusedGradients(adapted)
    batch = collate(examples([5, 3]))
    clean = gradients_of(fused, batch)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = adapted.base.model.model.layers[0].register_full_backward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt), fused.active():
        fused.of(batch)
    handle.remove()
    assert_untouched(adapted)
    assert not fused._found
    assert all(torch.equal(a, b) for a, b in zip(clean, gradients_of(fused, batch), strict=True))


def test_the_proof_leaves_the_adapter_as_it_was_and_is_not_repeated(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["gpt2"], "gpt2")
    before = {name: p.detach().clone() for name, p in adapted.parameters.items()}
    passes: list[int] = []
    handle = adapted.base.model.get_input_embeddings().register_forward_hook(lambda *_: passes.append(1))
    fused = FusedGradients(adapted)
    try:
        for _ in range(2):
            with fused.active():
                pass
    finally:
        handle.remove()
    assert len(passes) == 4  # A batch of three made-up sequences and each alone, once.
    assert all(torch.equal(before[n], p) for n, p in adapted.parameters.items())


def test_a_base_without_its_adapter_is_the_base_meanwhile(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    batch = collate(examples([5, 3]))
    with adapted.base.without_adapter(), torch.no_grad():
        expected = adapted.base.sequence_losses(batch)
    with FusedGradients(adapted).active(), adapted.base.without_adapter(), torch.no_grad():
        assert torch.equal(adapted.base.sequence_losses(batch), expected)


def test_only_layers_that_own_what_trains_are_replaced(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["bert"], "bert", trains=("head",))
    with FusedGradients(adapted).active():
        replaced = [type(m) for m in adapted.module.modules() if "forward" in vars(m)]
    assert replaced == [nn.Linear]


class Odd:
    """A stand-in for `Adapted` around any module that turns (sequences, 4) into numbers; LoRA of peft's is found."""

    def __init__(self, module: nn.Module) -> None:
        lora = {path: layer for path, layer in module.named_modules() if hasattr(layer, "lora_A")}
        self.sites = {path: lora_site(path, layer, "default") for path, layer in lora.items()}
        self.parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.module = nn.ModuleList([module, nn.Linear(1, 1).requires_grad_(False)])
        self.base = SimpleNamespace(device=torch.device("cpu"), card=SimpleNamespace(name="odd"))

    def sequence_losses(self, batch: TokenBatch) -> torch.Tensor:
        ids = nn.functional.pad(batch.input_ids, (0, 4))[:, :4].float() / 50
        out: torch.Tensor = self.module[0](ids)
        return (out**2).flatten(1).sum(1)


def fused_of(module: nn.Module) -> Any:
    return FusedGradients(Odd(module))  # type: ignore[arg-type]


class Twice(nn.Module):
    """Calls the same layer twice in a pass."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.tanh(self.linear(x)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("lora", [False, True])
def test_a_layer_called_twice_gives_the_sum_of_its_calls(lora: bool) -> None:
    module: nn.Module = Twice()
    if lora:
        module = peft.get_peft_model(module, peft.LoraConfig(r=2, target_modules=["linear"], init_lora_weights=False))
    fused = fused_of(module)
    data = examples([4, 3, 4])
    with fused.active():
        found = [g.clone() for g in fused.of(collate(data))]
    singles = [alone(fused.adapted, e) for e in data]
    assert distance(found, [torch.stack(rows) for rows in zip(*singles, strict=True)]) <= 1e-5


class Mixing(nn.Module):
    """Subtracts the batch's mean, so that every example's loss depends on the others."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(x)
        return out - out.mean(dim=0, keepdim=True)


class Flattening(nn.Module):
    """Shows its layer one row a token instead of one a sequence, as experts do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(x.reshape(-1, 2))
        return out.reshape(len(x), -1)


class Bypassing(nn.Module):
    """Uses a layer's weight without calling the layer, from the second time on if it is told to wait."""

    def __init__(self, wait: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.wait = wait

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(x)
        return out if self.wait else out + x @ self.linear.weight.t()


class Own(nn.Module):
    """Trains a tensor of its own, for which there is no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


class Unused(nn.Module):
    """Has a layer that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.idle = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("module", [Mixing(), Flattening(), Bypassing(), Own(), Unused(), nn.PReLU()])
def test_a_model_without_exact_gradients_of_examples_is_refused(module: nn.Module) -> None:
    with pytest.raises(UnsupportedModel), fused_of(module).active():
        pass
    assert not any("forward" in vars(m) for m in module.modules())


def test_a_weight_that_is_reached_past_its_layer_later_is_refused_then() -> None:
    module = Bypassing(wait=True)
    fused = fused_of(module)
    with fused.active():
        fused.of(collate(examples([4, 4])))
        module.wait = False
        with pytest.raises(UnsupportedModel, match=r"linear.weight has no gradient for each example"):
            fused.of(collate(examples([4, 4])))


@pytest.mark.parametrize("how", ["disabled", "merged"])
def test_a_pass_that_leaves_the_adapter_out_is_refused(bases: dict[TinyKind, Base], how: str) -> None:
    adapted = adapt(bases["bert"], "bert")  # Its head trains, so that there is something to go backwards from.
    fused = FusedGradients(adapted)
    layer = next(iter(adapted.sites.values())).layer
    with fused.active():
        if how == "merged":
            layer.merge()
        else:
            layer._disable_adapters = True
        try:
            with pytest.raises(UnsupportedModel, match="no gradient for each example"):
                fused.of(collate(examples([5, 3])))
        finally:
            if how == "merged":
                layer.unmerge()
            layer._disable_adapters = False


def test_what_the_fused_rule_does_not_cover_names_the_way_that_may() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    told = r"1\.weight has no fused.*LayerNorm.*gradients = \"hooks\""
    with pytest.raises(UnsupportedModel, match=told), fused_of(module).active():
        pass
    with ExampleGradients(Odd(module)).active():  # type: ignore[arg-type]
        pass


def test_a_tensor_outside_the_adapter_that_trains_is_refused(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    stray = adapted.base.model.get_input_embeddings().weight.requires_grad_(True)
    try:
        with pytest.raises(UnsupportedModel, match="not part of the adapter"), FusedGradients(adapted).active():
            pass
    finally:
        stray.requires_grad_(False)


def test_an_adapter_in_half_precision_is_refused() -> None:
    fused = fused_of(nn.Linear(4, 3, dtype=torch.bfloat16))
    with pytest.raises(UnsupportedModel, match="float32"), fused.active():
        pass


def test_an_adapter_of_which_nothing_trains_is_refused(bases: dict[TinyKind, Base]) -> None:
    fused = FusedGradients(adapt(bases["llama"], "llama", trains=("head",)))
    with pytest.raises(UnsupportedModel, match="nothing"), fused.active():
        pass


def test_two_at_a_time_on_one_model_are_refused(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    first, second = FusedGradients(adapted), FusedGradients(adapted)
    with first.active(), pytest.raises(UnsupportedModel, match="already replaced"), second.active():
        pass
    assert_untouched(adapted)


def test_a_wrong_rule_does_not_pass_the_proof(bases: dict[TinyKind, Base], monkeypatch: pytest.MonkeyPatch) -> None:
    adapted = adapt(bases["llama"], "llama")
    right = _fused._products

    def wrong(left: torch.Tensor, right_: torch.Tensor, count: int) -> torch.Tensor:
        return right(left, right_, count).roll(1, dims=0)

    monkeypatch.setattr(_fused, "_products", wrong)
    with pytest.raises(UnsupportedModel, match="mixes the examples"), FusedGradients(adapted).active():
        pass
    assert_untouched(adapted)


def test_an_example_without_any_loss_has_a_zero_gradient(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    silent = Encoded(ids=(5, 6, 7), labels=(-100, -100, -100))
    found = gradients_of(FusedGradients(adapted), collate([*examples([6]), silent]))
    assert all(bool(g[0].any()) and not bool(g[1].any()) for g in found)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("quantization", ["none", "4bit", "8bit"])
def test_gradients_on_a_gpu_equal_opacus_hooks(bases: dict[TinyKind, Base], quantization: Any) -> None:
    base = Base.load(bases["llama"].path, dtype="bfloat16", quantization=quantization, device="cuda")
    adapted = adapt(base, "llama")
    batch = collate(examples([9, 4, 12, 6]), base.device)
    found = gradients_of(FusedGradients(adapted), batch)
    assert distance(found, gradients_of(ExampleGradients(adapted), batch)) <= 2e-2
    assert math.isfinite(sum(float(f.sum()) for f in found))
