"""Cores and residuals on a base are the function of their products, and what peft makes of a release's files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from transformers.pytorch_utils import Conv1D

from domains._forms import attach_core, core_of
from domains._sites import lora_site
from domains.language import Adapted, Base, Writer, collate, mean_loss, set_threads
from fedcore.adapter import AdapterSchema, AdapterState, Form
from fedcore.adapter_files import RESIDUAL, write_adapter
from fedcore.adapter_forms import plain
from fedcore.errors import BaseMismatch, UnsupportedModel
from simulations.tiny import KINDS, TARGETS, TinyKind, make_tiny_base
from tests.reference.multiplied_out import gains

FORMS: list[tuple[Form, int]] = [("core", 0), ("lora", 5), ("core", 3)]
EVERY = [(kind, *form) for kind in KINDS for form in FORMS]
TEXTS = (("Facts: woman, 64", " Note: she is well"), ("Facts: man", " Note: he takes metformin 500 mg twice a day"))

set_threads(1)

kinds_and_forms = pytest.mark.parametrize(("kind", "form", "residual"), EVERY)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {kind: make_tiny_base(root / kind, kind) for kind in KINDS}


@pytest.fixture
def load(directories: dict[str, Path]) -> Callable[..., Base]:
    return lambda kind, **options: Base.load(directories[kind], device="cpu", **options)


def schema_of(base: Base, kind: TinyKind, form: Form, residual: int, rank: int = 2) -> AdapterSchema:
    return AdapterSchema.for_base(
        base.card, rank=rank, alpha=4, targets=TARGETS[kind], form=form, residual_rank=residual
    )


def random_state(schema: AdapterSchema, seed: int = 0) -> AdapterState:
    rng = np.random.default_rng(seed)
    return AdapterState(
        schema=schema, tensors={t.name: rng.normal(0, 0.4, t.shape).astype(np.float32) for t in schema.tensors}
    )


def ready(base: Base, kind: TinyKind, form: Form, residual: int, trains: tuple[str, ...] = ()) -> Adapted:
    state = random_state(schema_of(base, kind, form, residual))
    adapted = base.adapt(state.schema, trains)
    adapted.load(state)
    return adapted


def trained(adapted: Adapted) -> set[str]:
    return {name for name, p in adapted.parameters.items() if p.requires_grad}


def inputs(base: Base) -> dict[str, torch.Tensor]:
    batch = collate([base.encode(p, t, 40, label=i) for i, (p, t) in enumerate(TEXTS)])
    return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}


def fresh(directory: Path, kind: TinyKind, dtype: torch.dtype = torch.float32) -> Any:
    name = "AutoModelForSequenceClassification" if kind == "bert" else "AutoModelForCausalLM"
    return getattr(transformers, name).from_pretrained(directory, dtype=dtype)


def as_peft(model: Any, release: Path, residual: int) -> Any:
    """A release as anyone loads it who has peft and nothing of ours."""
    module: Any = peft.PeftModel.from_pretrained(model, release)
    if residual:
        module.load_adapter(release / RESIDUAL, RESIDUAL)
        module.base_model.set_adapter(["default", RESIDUAL])
    return module.eval()


@torch.no_grad()
@kinds_and_forms
def test_a_form_is_the_function_of_its_weights_multiplied_out(
    load: Callable[..., Base], directories: dict[str, Path], kind: TinyKind, form: Form, residual: int
) -> None:
    base = load(kind)
    adapted = ready(base, kind, form, residual)
    twin = fresh(directories[kind], kind)
    state = random_state(adapted.schema)
    for path, gain in gains(state).items():
        module = twin.get_submodule(path)
        module.weight += torch.tensor(gain.T if isinstance(module, Conv1D) else gain, dtype=torch.float32)
    for name, array in state.part("head").items():
        twin.get_parameter(name).copy_(torch.tensor(array))
    expected = twin(**inputs(base)).logits
    assert (expected - fresh(directories[kind], kind)(**inputs(base)).logits).abs().max() > 1e-2
    torch.testing.assert_close(base.model(**inputs(base)).logits, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@kinds_and_forms
def test_a_release_loads_through_peft_with_the_logits_of_the_trained_state(
    load: Callable[..., Base],
    directories: dict[str, Path],
    tmp_path: Path,
    kind: TinyKind,
    form: Form,
    residual: int,
) -> None:
    base = load(kind)
    adapted = ready(base, kind, form, residual)
    write_adapter(tmp_path, random_state(adapted.schema), base.card.name)
    theirs = as_peft(fresh(directories[kind], kind), tmp_path, residual)(**inputs(base)).logits
    ours = base.model(**inputs(base)).logits
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6 if form == "core" else 0)


@torch.no_grad()
@kinds_and_forms
def test_the_state_written_out_as_plain_lora_has_the_same_losses(
    load: Callable[..., Base], kind: TinyKind, form: Form, residual: int
) -> None:
    base = load(kind)
    examples = [base.encode(p, t, 40, label=i) for i, (p, t) in enumerate(TEXTS)]
    state = random_state(schema_of(base, kind, form, residual))
    found = []
    for one in (state, plain(state)):
        adapted = base.adapt(one.schema, ())
        adapted.load(one)
        found.append(mean_loss(base, adapted, examples))
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert found[0] != pytest.approx(mean_loss(base, None, examples), abs=1e-3)


@kinds_and_forms
def test_every_tensor_is_set_and_read_and_only_what_a_form_trains_trains(
    load: Callable[..., Base], kind: TinyKind, form: Form, residual: int
) -> None:
    base = load(kind)
    parts = ("core", "head") if form == "core" else ("lora_B", "head")
    adapted = ready(base, kind, form, residual, parts)
    state = random_state(adapted.schema)
    read = adapted.read(t.name for t in state.schema.tensors)
    assert all(np.array_equal(read[name], array) for name, array in state.tensors.items())
    assert trained(adapted) == {t.name for t in state.schema.part(*parts)}
    known = {id(p) for p in adapted.parameters.values()}
    assert all(id(p) in known for p in adapted.module.parameters() if p.requires_grad)
    assert base.adapt(state.schema, ()) is adapted
    assert not trained(adapted)


@kinds_and_forms
def test_without_its_adapter_a_base_is_the_base(
    load: Callable[..., Base], kind: TinyKind, form: Form, residual: int
) -> None:
    base = load(kind)
    with torch.no_grad():
        before = base.model(**inputs(base)).logits
    adapted = ready(base, kind, form, residual, ("core",) if form == "core" else ("lora_B",))
    was = trained(adapted)
    with torch.no_grad(), base.without_adapter():
        assert torch.equal(base.model(**inputs(base)).logits, before)
    with torch.no_grad():
        assert not torch.equal(base.model(**inputs(base)).logits, before)
    assert was
    assert trained(adapted) == was


@kinds_and_forms
def test_what_is_taken_off_leaves_nothing_behind(
    load: Callable[..., Base], kind: TinyKind, form: Form, residual: int
) -> None:
    base = load(kind)
    with torch.no_grad():
        before = base.model(**inputs(base)).logits
    names = [name for name, _ in base.model.named_modules()]
    layers = [base.model.get_submodule(path) for path in names]
    adapted = ready(base, kind, form, residual)
    base.model = adapted.detach()
    assert [name for name, _ in base.model.named_modules()] == names
    assert all(base.model.get_submodule(path) is layer for path, layer in zip(names, layers, strict=True))
    assert not any(m._forward_hooks or "forward" in vars(m) for m in base.model.modules())
    with torch.no_grad():
        assert torch.equal(base.model(**inputs(base)).logits, before)


def test_forms_replace_each_other_on_one_base(load: Callable[..., Base]) -> None:
    base = load("llama")
    batch = collate([base.encode(*TEXTS[0], 40)])
    once = {}
    for _ in range(2):
        for form, residual in [("lora", 0), *FORMS]:
            adapted = ready(base, "llama", form, residual)
            with torch.no_grad():
                loss = adapted.sequence_losses(batch)
            assert torch.equal(once.setdefault((form, residual), loss), loss)
    assert len({float(loss) for loss in once.values()}) == len(once)


@pytest.mark.parametrize("form", ["lora", "core"])
def test_an_untrained_adapter_with_a_residual_leaves_losses_unchanged(load: Callable[..., Base], form: Form) -> None:
    base = load("llama")
    batch = collate([base.encode(*TEXTS[0], 40)])
    with torch.no_grad():
        before = base.sequence_losses(batch)
        schema = schema_of(base, "llama", form, 4)
        base.adapt(schema, ()).load(AdapterState.initial(schema, seed=3))
        assert torch.equal(base.sequence_losses(batch), before)


@pytest.mark.parametrize(("form", "residual"), FORMS)
def test_a_writer_writes_what_the_plain_adapter_writes(load: Callable[..., Base], form: Form, residual: int) -> None:
    base = load("llama")
    state = random_state(schema_of(base, "llama", form, residual))
    texts = []
    for one in (state, plain(state)):
        adapted = base.adapt(one.schema, ())
        adapted.load(one)
        prompts = [prompt for prompt, _ in TEXTS]
        texts.append(Writer(base, adapted).write(prompts, max_new_tokens=8, temperature=0, seed=0))
    alone = Writer(base).write(prompts, max_new_tokens=8, temperature=0, seed=0)
    assert texts[0] == texts[1] != alone


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize(("form", "residual"), FORMS)
def test_checkpointing_changes_no_gradient(
    load: Callable[..., Base], form: Form, residual: int, reentrant: bool
) -> None:
    base = load("llama")
    adapted = ready(base, "llama", form, residual, ("core",) if form == "core" else ("lora_A", "lora_B"))
    batch = collate([base.encode(*TEXTS[0], 40)])
    parameters = [p for p in adapted.parameters.values() if p.requires_grad]

    def gradients() -> list[torch.Tensor]:
        adapted.sequence_losses(batch).sum().backward()  # type: ignore[no-untyped-call]
        grads = [p.grad for p in parameters if p.grad is not None]
        for p in parameters:
            p.grad = None
        return grads

    expected = gradients()
    with base.checkpointing(reentrant=reentrant):
        found = gradients()
    assert len(expected) == len(found) == len(parameters)
    for a, b in zip(expected, found, strict=True):
        assert a.any()
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@torch.no_grad()
@pytest.mark.parametrize(("form", "residual"), FORMS)
def test_branches_on_a_bfloat16_base_are_float32_and_rounded_as_pefts(
    load: Callable[..., Base], directories: dict[str, Path], tmp_path: Path, form: Form, residual: int
) -> None:
    base = load("llama", dtype="bfloat16")
    adapted = ready(base, "llama", form, residual)
    assert {p.dtype for p in adapted.parameters.values()} == {torch.float32}
    write_adapter(tmp_path, random_state(adapted.schema), base.card.name)
    theirs = as_peft(fresh(directories["llama"], "llama", torch.bfloat16), tmp_path, residual)
    x = torch.randn(4, 7, 32, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    for path, site in adapted.sites.items():
        ours, expected = site.layer(x), theirs.base_model.model.get_submodule(path)(x)
        assert ours.dtype == torch.bfloat16
        same = float((ours == expected).float().mean())
        assert same == 1 if form == "lora" else same > 0.99  # Ties that the product's own rounding breaks.
        assert not torch.equal(ours, site.base(x))


@kinds_and_forms
def test_a_site_describes_cores_and_residuals(
    load: Callable[..., Base], kind: TinyKind, form: Form, residual: int
) -> None:
    adapted = ready(load(kind), kind, form, residual)
    for path, site in adapted.sites.items():
        assert site.weight is not None
        x = torch.randn(2, 3, site.weight.shape[1], generator=torch.Generator().manual_seed(0))
        low = torch.nn.functional.linear(x, site.a.weight)
        if form == "core":
            assert site.core is not None
            assert site.core.weight is adapted.parameters[f"{path}.core"]
            low = site.core(low)
        expected = torch.nn.functional.linear(x, site.weight, site.bias) + site.scale * site.b(low)
        assert (site.residual is None) == (residual == 0)
        if site.residual is not None:
            assert site.residual.a.weight is adapted.parameters[f"{path}.residual_A"]
            assert site.residual.b.weight is adapted.parameters[f"{path}.residual_B"]
            assert site.residual.scale == site.scale
            expected = expected + site.residual.scale * site.residual.b(site.residual.a(x))
        torch.testing.assert_close(expected, site.layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("form", "residual", "part"),
    [("core", 0, "lora_A"), ("core", 0, "lora_B"), ("lora", 3, "residual_A"), ("core", 3, "residual_B")],
)
def test_what_a_form_freezes_does_not_train(load: Callable[..., Base], form: Form, residual: int, part: str) -> None:
    base = load("llama")
    with pytest.raises(UnsupportedModel, match=f"{part} does not train in this form"):
        base.adapt(schema_of(base, "llama", form, residual), (part, "head"))


def test_a_residual_that_trains_is_no_site(load: Callable[..., Base]) -> None:
    adapted = ready(load("llama"), "llama", "lora", 3)
    path = next(iter(adapted.sites))
    adapted.parameters[f"{path}.residual_B"].requires_grad_(True)
    with pytest.raises(UnsupportedModel, match="residual that trains"):
        _ = adapted.sites


def test_a_second_adapter_that_nobody_named_is_no_site(load: Callable[..., Base]) -> None:
    adapted = ready(load("llama"), "llama", "lora", 3)
    path, site = next(iter(adapted.sites.items()))
    with pytest.raises(UnsupportedModel, match="several adapters"):
        lora_site(path, site.layer, "default")


@pytest.mark.parametrize(("form", "residual"), FORMS)
def test_a_schema_whose_forms_shapes_are_not_the_bases_is_refused(
    load: Callable[..., Base], form: Form, residual: int
) -> None:
    base = load("llama")
    schema = schema_of(base, "llama", form, residual)
    last = schema.part("core", "residual_A")[0]
    value = schema.to_dict()
    for tensor in value["tensors"]:
        if tensor["name"] == last.name:
            tensor["shape"] = (last.shape[0] + 1, *last.shape[1:])
    with pytest.raises(BaseMismatch, match=f"{last.name} does not fit"):
        base.adapt(AdapterSchema.from_dict(value), ())


def test_a_core_starts_at_nothing_in_the_dtype_of_its_factor() -> None:
    a = torch.nn.Linear(5, 3, bias=False, dtype=torch.float64)
    assert core_of(a) is None
    x = torch.randn(2, 5, dtype=torch.float64)
    attach_core(a)
    core = core_of(a)
    assert (core.weight.shape, core.weight.dtype) == ((3, 3), torch.float64)
    assert not a(x).any()
    core.weight.data = torch.eye(3, dtype=torch.float64) * 2
    torch.testing.assert_close(a(x), 2 * x @ a.weight.t())
