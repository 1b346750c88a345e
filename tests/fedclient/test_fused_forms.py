"""Gradients of single examples for cores, and beside residuals: equal to autograd, to hooks and to the chain rule."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from domains import _sites
from domains.language import Adapted, Base, LoraSite, collate
from fedclient import _fused, _fused_forms
from fedclient._fused import FusedGradients
from fedclient._hooks import ExampleGradients
from fedcore.adapter import Form
from fedcore.errors import UnsupportedModel
from simulations.tiny import KINDS, TinyKind, make_tiny_base
from tests.fedclient.test_fused import TARGETS, alone, assert_untouched, distance, examples, gradients_of
from tests.reference.models import adapt as adapt_any

CORE, BOTH = ("core", "head"), ("lora_A", "lora_B", "head")
FORMS: list[tuple[Form, int]] = [("core", 0), ("core", 3), ("lora", 5)]


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


def adapt(base: Base, kind: TinyKind, form: Form, residual: int, **options: Any) -> Adapted:
    options.setdefault("targets", TARGETS[kind])
    options.setdefault("trains", CORE if form == "core" else BOTH)
    return adapt_any(base, kind, form=form, residual_rank=residual, **options)


@settings(max_examples=24, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    form=st.sampled_from(FORMS),
    lengths=st.lists(st.integers(2, 14), min_size=1, max_size=6),
    rank=st.integers(1, 9),
    prompt=st.integers(1, 5),
    chosen=st.integers(1, 127),
    only_b=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_gradients_equal_opacus_hooks_and_each_example_alone(
    bases: dict[TinyKind, Base],
    kind: TinyKind,
    form: tuple[Form, int],
    lengths: list[int],
    rank: int,
    prompt: int,
    chosen: int,
    only_b: bool,
    seed: int,
) -> None:
    targets = tuple(t for i, t in enumerate(TARGETS[kind]) if chosen >> i & 1) or TARGETS[kind]
    trains = ("core",) if form[0] == "core" else ("lora_B",)
    options: dict[str, Any] = {"trains": trains} if only_b else {}
    adapted = adapt(bases[kind], kind, *form, targets=targets, rank=rank, seed=seed, **options)
    data = examples(lengths, seed, prompt)
    found = gradients_of(FusedGradients(adapted), collate(data))
    assert all(f.dtype == torch.float32 for f in found)
    assert distance(found, gradients_of(ExampleGradients(adapted), collate(data))) <= 2e-5
    singles = [alone(adapted, e) for e in data]
    assert distance(found, [torch.stack(rows) for rows in zip(*singles, strict=True)]) <= 2e-5


def test_a_cores_gradient_is_the_weights_gradient_between_its_factors(bases: dict[TinyKind, Base]) -> None:
    """dL/dC = s B' (dL/dW) A': from the gradient of the whole weight, which no layer here forms."""
    adapted = adapt(bases["llama"], "llama", "core", 3, targets=("q_proj", "down_proj"), trains=("core",))
    data = examples([9, 4])
    found = gradients_of(FusedGradients(adapted), collate(data))
    names = [name for name, p in adapted.parameters.items() if p.requires_grad]
    sites = adapted.sites
    for row, example in enumerate(data):
        weights = [sites[name.removesuffix(".core")].base.weight for name in names]
        for weight in weights:
            weight.requires_grad_(True)
        try:
            wholes = torch.autograd.grad(adapted.sequence_losses(collate([example])).sum(), weights)
        finally:
            for weight in weights:
                weight.requires_grad_(False)
        for index, (name, whole) in enumerate(zip(names, wholes, strict=True)):
            site = sites[name.removesuffix(".core")]
            expected = site.scale * site.b.weight.t() @ whole @ site.a.weight.t()
            torch.testing.assert_close(found[index][row], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("form", "residual"), FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_pefts_own_layers(
    bases: dict[TinyKind, Base], kind: TinyKind, form: Form, residual: int
) -> None:
    adapted = adapt(bases[kind], kind, form, residual)
    batch = collate(examples([9, 4, 6]))
    plain = adapted.sequence_losses(batch)
    with FusedGradients(adapted).active():
        torch.testing.assert_close(adapted.sequence_losses(batch), plain, rtol=2e-6, atol=0)


@pytest.mark.parametrize("rounds_first", [False, True], ids=["peft's Linear", "peft's quantised layers"])
@pytest.mark.parametrize(("form", "residual"), FORMS)
def test_a_bfloat16_base_gives_float32_gradients_of_the_same_loss(
    bases: dict[TinyKind, Base], monkeypatch: pytest.MonkeyPatch, form: Form, residual: int, rounds_first: bool
) -> None:
    base = Base.load(bases["llama"].path, dtype="bfloat16", device="cpu")
    adapted = adapt(base, "llama", form, residual)
    batch = collate(examples([9, 4, 12, 6]))
    monkeypatch.setattr(_sites, "_JOINS", {"peft.tuners.lora.layer.Linear": rounds_first})
    fused = FusedGradients(adapted)
    with fused.active():
        losses = adapted.sequence_losses(batch)
        found = fused.of(batch)
    assert all(f.dtype == torch.float32 for f in found)
    torch.testing.assert_close(losses, adapted.sequence_losses(batch), rtol=5e-3, atol=0)
    assert distance(found, gradients_of(ExampleGradients(adapted), batch)) <= 2e-2


@torch.no_grad()
@pytest.mark.parametrize("rounds_first", [False, True])
@pytest.mark.parametrize(("form", "residual"), FORMS)
def test_branches_take_the_dtypes_that_peft_gives_them(
    bases: dict[TinyKind, Base], form: Form, residual: int, rounds_first: bool
) -> None:
    base = Base.load(bases["llama"].path, dtype="bfloat16", device="cpu")
    adapted = adapt(base, "llama", form, residual, targets=("q_proj",))
    x = torch.randn(4, 7, 32, generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)
    site = next(iter(adapted.sites.values()))
    site = LoraSite(**{**vars(site), "rounds_first": rounds_first})
    found = _fused._lora_forward(site, lambda *_: None)(x)
    branches = [site.b(site.a(x.float())) * site.scale]  # The core follows A by itself.
    if site.residual is not None:
        branches.append(site.residual.b(site.residual.a(x.float())) * site.residual.scale)
    expected = site.base(x)
    for branch in branches:
        expected = expected + (branch.to(x.dtype) if rounds_first else branch)
    expected = expected.to(x.dtype)
    assert found.dtype == torch.bfloat16
    assert torch.isclose(found.float(), expected.float(), rtol=2**-7, atol=2**-9).all()
    assert float((found == expected).float().mean()) > 0.95  # The rest are ties broken by float32 rounding.
    if not rounds_first:
        assert float((found == site.layer(x)).float().mean()) > 0.95


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize(("form", "residual"), FORMS)
def test_checkpointing_changes_nothing(bases: dict[TinyKind, Base], form: Form, residual: int, reentrant: bool) -> None:
    adapted = adapt(bases["llama"], "llama", form, residual)
    batch = collate(examples([9, 4, 12, 6]))
    expected = gradients_of(FusedGradients(adapted), batch)
    with adapted.base.checkpointing(reentrant=reentrant):
        found = gradients_of(FusedGradients(adapted), batch)
    assert distance(found, expected) <= 1e-6


@pytest.mark.parametrize(("form", "residual"), FORMS)
def test_a_frozen_part_gets_no_gradient_and_nothing_stays(
    bases: dict[TinyKind, Base], form: Form, residual: int
) -> None:
    adapted = adapt(bases["bert"], "bert", form, residual)
    before = {name: p.detach().clone() for name, p in adapted.parameters.items()}
    fused = FusedGradients(adapted)
    with fused.active():
        assert len(fused.parameters) == len(adapted.schema.part(*(CORE if form == "core" else BOTH)))
        assert sum("forward" in vars(m) for m in adapted.module.modules()) == len(adapted.sites) + 1
        fused.of(collate(examples([5, 3])))
        assert all(p.grad is None for p in adapted.parameters.values())
    assert_untouched(adapted)
    assert all(torch.equal(before[name], p) for name, p in adapted.parameters.items())


@pytest.mark.parametrize(("form", "residual"), FORMS)
def test_a_base_without_its_adapter_is_the_base_meanwhile(
    bases: dict[TinyKind, Base], form: Form, residual: int
) -> None:
    adapted = adapt(bases["llama"], "llama", form, residual)
    batch = collate(examples([5, 3]))
    with adapted.base.without_adapter(), torch.no_grad():
        expected = adapted.base.sequence_losses(batch)
    with FusedGradients(adapted).active(), adapted.base.without_adapter(), torch.no_grad():
        assert torch.equal(adapted.base.sequence_losses(batch), expected)


@pytest.mark.parametrize("part", ["lora_A", "lora_B"])
def test_a_factor_that_trains_beside_its_core_is_refused(bases: dict[TinyKind, Base], part: str) -> None:
    adapted = adapt(bases["llama"], "llama", "core", 0)
    stray = next(p for name, p in adapted.parameters.items() if name.endswith(part))
    stray.requires_grad_(True)
    try:
        with pytest.raises(UnsupportedModel, match="no gradient for each example"), FusedGradients(adapted).active():
            pass
    finally:
        stray.requires_grad_(False)
    assert_untouched(adapted)


@pytest.mark.parametrize("wrong", ["another example's", "without the scale", "transposed"])
def test_a_wrong_rule_for_the_core_does_not_pass_the_proof(
    bases: dict[TinyKind, Base], monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    adapted = adapt(bases["llama"], "llama", "core", 0, trains=("core",))

    class Wrong(_fused_forms.CoreBranch):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> torch.Tensor:
            *others, record = given

            def changed(core: nn.Parameter, grads: torch.Tensor) -> None:
                ways = {
                    "another example's": grads.roll(1, dims=0),
                    "without the scale": grads / 2,
                    "transposed": grads.transpose(1, 2),
                }
                record(core, ways[wrong])

            return _fused_forms.CoreBranch.forward(ctx, *others, changed)

    monkeypatch.setattr(_fused, "CoreBranch", Wrong)
    with pytest.raises(UnsupportedModel, match="mixes the examples"), FusedGradients(adapted).active():
        pass
    assert_untouched(adapted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize(("form", "residual"), FORMS)
@pytest.mark.parametrize("quantization", ["none", "4bit", "8bit"])
def test_gradients_on_a_gpu_equal_opacus_hooks(
    bases: dict[TinyKind, Base], quantization: Any, form: Form, residual: int
) -> None:
    base = Base.load(bases["llama"].path, dtype="bfloat16", quantization=quantization, device="cuda")
    adapted = adapt(base, "llama", form, residual)
    batch = collate(examples([9, 4, 12, 6]), base.device)
    found = gradients_of(FusedGradients(adapted), batch)
    assert distance(found, gradients_of(ExampleGradients(adapted), batch)) <= 2e-2
