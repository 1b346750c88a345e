"""Bases load as what they are, adapters are plain peft's, losses are each sequence's own."""

import json
import math
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from domains import bases, language
from domains._sites import lora_site
from domains.language import Base, Encoded, Writer, collate, mean_loss, set_threads
from fedcore import canonical
from fedcore.adapter import AdapterSchema, AdapterState, TensorSpec
from fedcore.adapter_files import write_adapter
from fedcore.errors import BaseMismatch, ConfigError, ModelError, UnsupportedModel
from simulations.tiny import KINDS, TARGETS, TinyKind, make_tiny_base

CAUSAL: tuple[TinyKind, ...] = ("llama", "gpt2", "moe")
ALL_PARTS = ("lora_A", "lora_B", "head")
TEXTS = (("Facts: woman, 64", " Note: she is well"), ("Facts: man", " Note: he takes metformin 500 mg twice a day"))

set_threads(1)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {kind: make_tiny_base(root / kind, kind) for kind in KINDS}


@pytest.fixture
def load(directories: dict[str, Path]) -> Callable[..., Base]:
    return lambda kind, **options: Base.load(directories[kind], **options)


def schema_of(base: Base, kind: TinyKind, rank: int = 2) -> AdapterSchema:
    return AdapterSchema.for_base(base.card, rank=rank, alpha=4, targets=TARGETS[kind])


def random_state(schema: AdapterSchema, seed: int = 0) -> AdapterState:
    rng = np.random.default_rng(seed)
    tensors = {t.name: rng.normal(0, 0.3, t.shape).astype(np.float32) for t in schema.tensors}
    return AdapterState(schema=schema, tensors=tensors)


def encoded(base: Base) -> list[Encoded]:
    return [base.encode(p, t, 40, label=i) for i, (p, t) in enumerate(TEXTS)]


def plain(directory: Path, kind: TinyKind) -> Any:
    name = "AutoModelForSequenceClassification" if kind == "bert" else "AutoModelForCausalLM"
    return getattr(transformers, name).from_pretrained(directory, dtype=torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_adapter_changes_logits_and_equals_plain_peft(
    load: Callable[..., Base], directories: dict[str, Path], tmp_path: Path, kind: TinyKind
) -> None:
    base = load(kind)
    batch = collate(encoded(base))
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    state = random_state(schema_of(base, kind))
    with torch.no_grad():
        before = base.model(**inputs).logits
        base.adapt(state.schema, ALL_PARTS).load(state)
        ours = base.model(**inputs).logits
        write_adapter(tmp_path, state, base.card.name)
        theirs = peft.PeftModel.from_pretrained(plain(directories[kind], kind), tmp_path).eval()(**inputs).logits
    assert (ours - before).abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", CAUSAL)
def test_initial_state_leaves_losses_unchanged(load: Callable[..., Base], kind: TinyKind) -> None:
    base = load(kind)
    batch = collate(encoded(base))
    before = base.sequence_losses(batch)
    schema = schema_of(base, kind)
    adapted = base.adapt(schema, ALL_PARTS)
    adapted.load(AdapterState.initial(schema, seed=3))
    torch.testing.assert_close(adapted.sequence_losses(batch).detach(), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", CAUSAL)
def test_sequence_losses_equal_slow_twin(load: Callable[..., Base], kind: TinyKind) -> None:
    base = load(kind)
    examples = encoded(base)
    losses = base.sequence_losses(collate(examples)).tolist()
    for example, loss in zip(examples, losses, strict=True):
        logits = base.model(input_ids=torch.tensor([example.ids])).logits[0].double()
        costs = []
        for position in range(1, len(example.ids)):
            if example.labels[position] != -100:
                scores = logits[position - 1]
                costs.append(float(torch.logsumexp(scores, 0) - scores[example.ids[position]]))
        assert loss == pytest.approx(sum(costs) / len(costs), abs=1e-5)


def test_classifier_loss_equals_slow_twin(load: Callable[..., Base]) -> None:
    base = load("bert")
    examples = encoded(base)
    for example, loss in zip(examples, base.sequence_losses(collate(examples)).tolist(), strict=True):
        scores = base.model(input_ids=torch.tensor([example.ids])).logits[0].double()
        assert example.label is not None
        assert loss == pytest.approx(float(torch.logsumexp(scores, 0) - scores[example.label]), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_a_sequence_is_the_same_alone_and_in_a_batch(load: Callable[..., Base], kind: TinyKind) -> None:
    base = load(kind)
    state = random_state(schema_of(base, kind))
    adapted = base.adapt(state.schema, ALL_PARTS)
    adapted.load(state)
    examples = encoded(base)

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        values = torch.autograd.grad(loss, list(adapted.parameters.values()))
        return dict(zip(adapted.parameters, values, strict=True))

    together = gradients(adapted.sequence_losses(collate(examples))[0])
    alone = gradients(adapted.sequence_losses(collate(examples[:1]))[0])
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-6)


def test_output_layer_is_applied_to_target_positions_alone(load: Callable[..., Base]) -> None:
    base = load("llama")
    rows: list[int] = []
    base.model.lm_head.register_forward_pre_hook(lambda _m, given: rows.append(given[0].shape[0]))
    examples = encoded(base)
    base.sequence_losses(collate(examples))
    assert rows == [sum(label != -100 for e in examples for label in e.labels)]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_named_parts_require_gradients(load: Callable[..., Base], kind: TinyKind) -> None:
    base = load(kind)
    schema = schema_of(base, kind)
    first = base.adapt(schema, ("lora_B",))
    wanted = {id(first.parameters[t.name]) for t in schema.part("lora_B")}
    assert {id(p) for p in first.module.parameters() if p.requires_grad} == wanted
    second = base.adapt(schema, ("lora_A", "head"))
    assert second is first
    assert {id(p) for p in first.module.parameters() if p.requires_grad} == {
        id(first.parameters[t.name]) for t in schema.part("lora_A", "head")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_trainable_modules_see_the_batch_first_and_once(load: Callable[..., Base], kind: TinyKind) -> None:
    base = load(kind)
    schema = schema_of(base, kind)
    adapted = base.adapt(schema, ALL_PARTS)
    calls: dict[str, list[int]] = {}
    trainable = {id(p) for p in adapted.parameters.values()}
    for name, module in adapted.module.named_modules():
        if any(id(p) in trainable for p in module.parameters(recurse=False)):
            calls[name] = []
            module.register_forward_pre_hook(lambda _m, given, name=name: calls[name].append(given[0].shape[0]))
    adapted.sequence_losses(collate(encoded(base)))
    assert calls
    assert all(seen == [2] for seen in calls.values())


@pytest.mark.parametrize("kind", KINDS)
def test_without_adapter_is_the_base_and_keeps_what_trains(load: Callable[..., Base], kind: TinyKind) -> None:
    base = load(kind)
    batch = collate(encoded(base))
    before = base.sequence_losses(batch)
    state = random_state(schema_of(base, kind))
    adapted = base.adapt(state.schema, ("lora_B",))
    adapted.load(state)
    with base.without_adapter():
        assert torch.equal(base.sequence_losses(batch), before)
    assert not torch.equal(adapted.sequence_losses(batch), before)
    trained = {name for name, p in adapted.parameters.items() if p.requires_grad}
    assert trained == {t.name for t in state.schema.part("lora_B")}


@pytest.mark.parametrize("kind", KINDS)
def test_another_schema_replaces_the_first(load: Callable[..., Base], kind: TinyKind) -> None:
    base = load(kind)
    batch = collate(encoded(base))
    before = base.sequence_losses(batch)
    state = random_state(schema_of(base, kind))
    base.adapt(state.schema, ALL_PARTS).load(state)
    other = random_state(schema_of(base, kind, rank=3))
    adapted = base.adapt(other.schema, ALL_PARTS)
    adapted.load(other)
    with base.without_adapter():
        assert torch.equal(base.sequence_losses(batch), before)
    read = adapted.read(t.name for t in other.schema.tensors)
    assert all(np.array_equal(read[name], array) for name, array in other.tensors.items())


def test_read_gives_copies_of_what_load_set(load: Callable[..., Base]) -> None:
    base = load("llama")
    state = random_state(schema_of(base, "llama"))
    adapted = base.adapt(state.schema, ALL_PARTS)
    adapted.load(state)
    name = state.schema.tensors[0].name
    adapted.read([name])[name][:] = 0
    assert np.array_equal(adapted.read([name])[name], state.tensors[name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_site_describes_what_pefts_layer_computes(load: Callable[..., Base], kind: TinyKind) -> None:
    base = load(kind)
    state = random_state(schema_of(base, kind))
    adapted = base.adapt(state.schema, ALL_PARTS)
    adapted.load(state)
    assert {f"{path}.lora_A" for path in adapted.sites} == {t.name for t in state.schema.part("lora_A")}
    for path, site in adapted.sites.items():
        assert site.a.weight is adapted.parameters[f"{path}.lora_A"]
        assert site.b.weight is adapted.parameters[f"{path}.lora_B"]
        assert site.weight is not None
        x = torch.randn(2, 3, site.weight.shape[1], generator=torch.Generator().manual_seed(0))
        base_part = torch.nn.functional.linear(x, site.weight, site.bias)
        torch.testing.assert_close(base_part + site.scale * site.b(site.a(x)), site.layer(x), rtol=1e-5, atol=1e-6)
        assert not site.bypassed
        with base.without_adapter():
            assert site.bypassed


def test_a_base_layer_that_something_listens_to_is_called(load: Callable[..., Base]) -> None:
    base = load("llama")
    adapted = base.adapt(schema_of(base, "llama"), ALL_PARTS)
    path, site = next(iter(adapted.sites.items()))
    handle = site.base.register_forward_hook(lambda *_: None)
    assert adapted.sites[path].weight is None
    handle.remove()
    assert adapted.sites[path].weight is not None
    site.base.forward = site.base.forward  # type: ignore[method-assign]
    assert adapted.sites[path].weight is None
    del site.base.forward


@pytest.mark.parametrize(
    "options",
    [{"use_dora": True}, {"lora_bias": True}, {"lora_dropout": 0.1}, {"target_modules": ["model.embed_tokens"]}],
    ids=lambda options: next(iter(options)),
)
def test_a_layer_that_is_not_plain_lora_is_no_site(directories: dict[str, Path], options: dict[str, Any]) -> None:
    config = peft.LoraConfig(r=2, **{"target_modules": ["model.layers.0.self_attn.q_proj"], **options})
    module = peft.get_peft_model(plain(directories["llama"], "llama"), config)
    path = config.target_modules.pop()
    with pytest.raises(UnsupportedModel, match="not plain LoRA"):
        lora_site(path, module.base_model.model.get_submodule(path), "default")


def test_a_layer_of_a_class_that_is_not_known_is_no_site(load: Callable[..., Base]) -> None:
    base = load("llama")
    adapted = base.adapt(schema_of(base, "llama"), ALL_PARTS)
    layer = next(iter(adapted.sites.values())).layer

    class Renamed(type(layer)):  # type: ignore[misc]
        """What an upgrade of peft might attach."""

    layer.__class__ = Renamed
    with pytest.raises(UnsupportedModel, match=r"expected one of peft\.tuners.*got .*Renamed"):
        _ = adapted.sites


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("kind", CAUSAL)
def test_checkpointing_computes_blocks_again_and_ends_with_its_block(
    load: Callable[..., Base], kind: TinyKind, reentrant: bool
) -> None:
    base = load(kind)
    state = random_state(schema_of(base, kind))
    adapted = base.adapt(state.schema, ALL_PARTS)
    adapted.load(state)
    batch, calls = collate(encoded(base)), []
    site = next(iter(adapted.sites.values()))
    site.layer.register_forward_pre_hook(lambda *_: calls.append(1))

    def gradients() -> list[torch.Tensor]:
        calls.clear()
        adapted.sequence_losses(batch).sum().backward()  # type: ignore[no-untyped-call]
        grads = [p.grad for p in adapted.parameters.values() if p.grad is not None]
        for p in adapted.parameters.values():
            p.grad = None
        return grads

    expected = gradients()
    assert len(calls) == 1
    with base.checkpointing(reentrant=reentrant):
        found = gradients()
        assert len(calls) == 2
    again = gradients()
    assert len(calls) == 1
    assert not any(m.training for m in base.model.modules())
    for a, b, c in zip(expected, found, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
        assert torch.equal(a, c)


def test_schema_of_another_base_is_refused(load: Callable[..., Base], tmp_path: Path) -> None:
    other = Base.load(make_tiny_base(tmp_path, "llama", seed=1))
    with pytest.raises(BaseMismatch, match="another base"):
        load("llama").adapt(schema_of(other, "llama"), ALL_PARTS)


def test_state_of_another_schema_is_refused(load: Callable[..., Base]) -> None:
    base = load("llama")
    adapted = base.adapt(schema_of(base, "llama"), ALL_PARTS)
    with pytest.raises(BaseMismatch, match="another schema"):
        adapted.load(random_state(schema_of(base, "llama", rank=3)))


def forged(base: Base, path: str, inputs: int = 32, outputs: int = 32) -> AdapterSchema:
    """A schema that no card gives."""
    tensors = (
        TensorSpec(name=f"{path}.lora_A", shape=(2, inputs)),
        TensorSpec(name=f"{path}.lora_B", shape=(outputs, 2)),
    )
    return AdapterSchema(base_digest=base.card.digest, rank=2, alpha=4, targets=(path,), tensors=tensors)


@pytest.mark.parametrize("path", ["model.layers.0.mlp.experts", "model.layers.0.mlp.gate", "lm_head"])
def test_experts_router_and_output_layer_are_refused(load: Callable[..., Base], path: str) -> None:
    base = load("moe")
    with pytest.raises(UnsupportedModel, match="cannot be trained privately"):
        base.adapt(forged(base, path), ALL_PARTS)


@pytest.mark.parametrize("target", ["experts", "gate", "gate_up_proj", "lm_head"])
def test_card_of_a_mixture_offers_attention_alone(load: Callable[..., Base], target: str) -> None:
    with pytest.raises(ConfigError, match="expected one of k_proj, o_proj, q_proj, v_proj"):
        AdapterSchema.for_base(load("moe").card, rank=2, alpha=4, targets=(target,))


def test_schema_of_other_shapes_is_refused(load: Callable[..., Base]) -> None:
    base = load("llama")
    with pytest.raises(BaseMismatch, match="does not fit this base"):
        base.adapt(forged(base, "model.layers.0.self_attn.q_proj", inputs=31), ALL_PARTS)


def test_refused_schema_leaves_the_attached_one(load: Callable[..., Base]) -> None:
    base = load("llama")
    state = random_state(schema_of(base, "llama"))
    adapted = base.adapt(state.schema, ("lora_B",))
    with pytest.raises(BaseMismatch):
        base.adapt(forged(base, "model.layers.0.self_attn.q_proj", inputs=31), ALL_PARTS)
    assert base.adapt(state.schema, ("lora_B",)) is adapted


def test_expected_digest_is_required_to_match(load: Callable[..., Base], directories: dict[str, Path]) -> None:
    digest = bases.digest_of(directories["llama"])
    assert load("llama", expected_digest=digest).card.digest == digest
    with pytest.raises(BaseMismatch, match=r"expected 0000.*got .*concordat model add"):
        load("llama", expected_digest="0" * 64)


def test_weights_that_are_not_the_cards_are_refused(tmp_path: Path) -> None:
    directory = make_tiny_base(tmp_path, "llama")
    card = Base.load(directory).card
    (directory / "card.json").write_bytes(canonical.encode(card.to_dict()))
    assert Base.load(directory).card == card
    weights = bytearray((directory / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (directory / "model.safetensors").write_bytes(weights)
    with pytest.raises(BaseMismatch, match="its card"):
        Base.load(directory)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    directory = make_tiny_base(tmp_path, "llama")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(UnsupportedModel, match="safetensors"):
        Base.load(directory)


def test_unknown_architecture_is_refused(tmp_path: Path) -> None:
    directory = make_tiny_base(tmp_path, "llama")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "model_type": "unheard_of"}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        Base.load(directory)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantization": "4bit"}, "need a CUDA GPU"),
        ({"quantization": "8bit"}, "need a CUDA GPU"),
        ({"quantization": "2bit"}, "not known"),
        ({"dtype": "float16"}, "float32 or bfloat16"),
        ({"device": "cuda:1"}, "is not there"),
        ({"device": "auto"}, "is not there"),
    ],
)
def test_what_this_machine_cannot_do_is_refused(
    load: Callable[..., Base], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        load("llama", **options)


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}])
def test_classifier_is_trained_in_float32_alone(load: Callable[..., Base], options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModel, match="float32"):
        load("bert", **options)


def test_bfloat16_base_has_float32_adapter_and_losses(load: Callable[..., Base]) -> None:
    base = load("llama", dtype="bfloat16")
    assert next(base.model.parameters()).dtype == torch.bfloat16
    state = random_state(schema_of(base, "llama"))
    adapted = base.adapt(state.schema, ALL_PARTS)
    adapted.load(state)
    assert {p.dtype for p in adapted.parameters.values()} == {torch.float32}
    losses = adapted.sequence_losses(collate(encoded(base)))
    assert losses.dtype == torch.float32
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in adapted.parameters.values())
    assert load("llama").card.digest == base.card.digest


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_four_bit_base_trains_and_keeps_its_digest(load: Callable[..., Base]) -> None:
    base = load("llama", quantization="4bit", dtype="bfloat16")
    state = random_state(schema_of(base, "llama"))
    adapted = base.adapt(state.schema, ALL_PARTS)
    adapted.load(state)
    adapted.sequence_losses(collate(encoded(base), base.device)).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in adapted.parameters.values())
    assert load("llama", device="cpu").card.digest == base.card.digest


def test_loading_and_adapting_are_in_evaluation_mode(load: Callable[..., Base]) -> None:
    base = load("gpt2")
    adapted = base.adapt(schema_of(base, "gpt2"), ALL_PARTS)
    assert not any(m.training for m in adapted.module.modules())


def test_example_is_prompt_then_target_then_end(load: Callable[..., Base]) -> None:
    base = load("llama")
    example = base.encode("Facts: woman", " Note: well", 64)
    prompt = base.tokenizer("Facts: woman")["input_ids"]
    assert list(example.ids[: len(prompt)]) == prompt
    assert example.labels[: len(prompt)] == (-100,) * len(prompt)
    assert example.labels[len(prompt) :] == example.ids[len(prompt) :]
    assert example.ids[-1] == base.tokenizer.eos_token_id
    assert base.tokenizer.decode(example.ids[len(prompt) : -1]) == " Note: well"


@pytest.fixture(scope="module")
def llama(directories: dict[str, Path]) -> Base:
    return Base.load(directories["llama"])


@settings(deadline=None, max_examples=60)
@given(prompt=st.text(max_size=80), target=st.text(max_size=80), max_tokens=st.integers(8, 48))
def test_encoding_fits_and_always_has_a_target(llama: Base, prompt: str, target: str, max_tokens: int) -> None:
    example = llama.encode(prompt, target, max_tokens)
    targets = [label for label in example.labels if label != -100]
    whole = len(llama.tokenizer(target)["input_ids"]) + 1
    assert len(example.ids) == len(example.labels) <= max_tokens
    assert len(targets) >= min(whole, max_tokens // 4)
    assert math.isfinite(float(llama.sequence_losses(collate([example]))[0]))


def test_classifier_example_has_a_label_and_no_target(load: Callable[..., Base]) -> None:
    example = load("bert").encode("Facts: woman", "ignored", 64, label=2)
    assert example.label == 2
    assert set(example.labels) == {-100}


def test_classifier_without_label_is_refused(load: Callable[..., Base]) -> None:
    base = load("bert")
    with pytest.raises(ModelError, match="need a label"):
        base.sequence_losses(collate([base.encode("Facts: woman", "", 64)]))


def test_sensitive_types_print_their_class_alone(load: Callable[..., Base]) -> None:
    example = load("llama").encode("Facts: secret", " Note: secret", 64)
    assert repr(example) == "Encoded"
    assert repr(collate([example])) == "TokenBatch"


def test_mean_loss_is_the_mean_over_examples(load: Callable[..., Base]) -> None:
    base = load("llama")
    examples = encoded(base) * 3
    state = random_state(schema_of(base, "llama"))
    alone = base.sequence_losses(collate(examples)).mean().item()
    adapted = base.adapt(state.schema, ())
    adapted.load(state)
    with_adapter = adapted.sequence_losses(collate(examples)).mean().item()
    assert mean_loss(base, None, examples, batch=4) == pytest.approx(alone, abs=1e-5)
    assert mean_loss(base, adapted, examples, batch=4) == pytest.approx(with_adapter, abs=1e-5)
    assert alone != pytest.approx(with_adapter, abs=1e-3)


def test_loss_of_no_examples_is_refused(load: Callable[..., Base]) -> None:
    with pytest.raises(ModelError, match="no examples"):
        mean_loss(load("llama"), None, [])


@pytest.mark.parametrize("kind", CAUSAL)
def test_greedy_writing_equals_slow_twin_in_any_batch(load: Callable[..., Base], kind: TinyKind) -> None:
    base = load(kind)
    state = random_state(schema_of(base, kind))
    adapted = base.adapt(state.schema, ())
    adapted.load(state)
    prompts = ["Facts: woman, 64, type 2 diabetes since 2014", "Facts: a"]

    def twin(prompt: str) -> str:
        ids = list(base.tokenizer(prompt)["input_ids"])
        start = len(ids)
        for _ in range(12):
            ids.append(int(base.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == base.tokenizer.eos_token_id:
                break
        return str(base.tokenizer.decode(ids[start:], skip_special_tokens=True))

    with torch.no_grad():
        expected = [twin(p) for p in prompts]
    assert Writer(base, adapted).write(prompts, max_new_tokens=12, temperature=0, seed=0) == expected


@pytest.mark.parametrize("kind", CAUSAL)
def test_prompts_that_begin_alike_are_read_once_and_continued_as_alone(
    load: Callable[..., Base], kind: TinyKind
) -> None:
    base = load(kind)
    state = random_state(schema_of(base, kind))
    adapted = base.adapt(state.schema, ())
    adapted.load(state)
    note = "Facts: woman, 64, type 2 diabetes since 2014. Note:"
    prompts = [
        note,
        note + " A woman.",
        note + " A woman. She is 64.",
        "Facts: man, 3. Note:",
        "Facts: man, 3. Note: He",
    ]
    writer = Writer(base, adapted)
    alone = [writer.write([p], max_new_tokens=12, temperature=0, seed=0)[0] for p in prompts]
    read: list[tuple[int, ...]] = []
    handle = base.model.register_forward_pre_hook(
        lambda _m, _a, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    assert writer.write(prompts, max_new_tokens=12, temperature=0, seed=0) == alone
    handle.remove()
    assert [rows for rows, _ in read[:2]] == [2, 5], "the two beginnings, then what is left of each prompt"
    longest = max(len(base.tokens(p)) for p in prompts)
    assert sum(rows * tokens for rows, tokens in read[:2]) < 5 * longest


def test_a_model_that_reads_through_a_window_reads_every_prompt_whole(
    tmp_path: Path, directories: dict[str, Path]
) -> None:
    config = json.loads((directories["llama"] / "config.json").read_text())
    kept = {k: v for k, v in config.items() if k not in ("architectures", "model_type")}
    settings = transformers.MistralConfig(**{**kept, "sliding_window": 8})
    transformers.MistralForCausalLM(settings).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((directories["llama"] / name).read_bytes())
    base = Base.load(tmp_path)
    note = "Facts: woman, 64, type 2 diabetes since 2014. Note:"
    prompts = [note, note + " A woman.", note + " A woman. She is 64 years old."]
    read: list[tuple[int, ...]] = []
    handle = base.model.register_forward_pre_hook(
        lambda _m, _a, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    Writer(base).write(prompts, max_new_tokens=12, temperature=0, seed=0)
    handle.remove()
    assert (3, max(len(base.tokens(p)) for p in prompts)) in read


def test_prompts_that_are_too_many_for_the_cache_go_in_parts(
    load: Callable[..., Base], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, prompts = load("llama"), ["Facts: woman, 64", "Facts: man", "Facts: a", "Facts: a girl", "Facts:"]
    whole = Writer(base).write(prompts, max_new_tokens=12, temperature=0, seed=0)
    sizes = set[int]()
    handle = base.model.register_forward_pre_hook(
        lambda _m, _a, given: sizes.add(len(given["input_ids"])), with_kwargs=True
    )
    width = max(len(base.tokens(p)) for p in prompts) + 1
    monkeypatch.setattr("domains.language._WRITTEN_TOKENS", 2 * (width + 12) + 1)
    assert Writer(base).write(prompts, max_new_tokens=12, temperature=0, seed=0) == whole
    handle.remove()
    assert sizes == {1, 2}


def test_writer_without_adapter_is_the_base(load: Callable[..., Base]) -> None:
    base = load("llama")
    prompts = ["Facts: woman, 64", "Facts: man"]
    before = Writer(base).write(prompts, max_new_tokens=12, temperature=0, seed=0)
    state = random_state(schema_of(base, "llama"))
    adapted = base.adapt(state.schema, ())
    adapted.load(state)
    assert Writer(base).write(prompts, max_new_tokens=12, temperature=0, seed=0) == before
    assert Writer(base, adapted).write(prompts, max_new_tokens=12, temperature=0, seed=0) != before


def test_seed_decides_samples_and_leaves_global_state(load: Callable[..., Base]) -> None:
    writer = Writer(load("llama"))
    state = torch.random.get_rng_state()
    texts = [writer.write(["Facts:"], max_new_tokens=12, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_sampling_takes_the_whole_distribution(load: Callable[..., Base]) -> None:
    # Nearly uniform over 384 tokens: keeping the 50 likeliest, as some defaults do, would show at once.
    base = load("llama")
    seen: set[int] = set()
    handle = base.model.register_forward_pre_hook(
        lambda _m, _a, given: seen.update(given["input_ids"][:, -1].tolist()), with_kwargs=True
    )
    Writer(base).write(["Facts:"] * 64, max_new_tokens=8, temperature=1.0, seed=0)
    handle.remove()
    assert len(seen) > 100


def test_prompt_longer_than_the_model_is_refused(load: Callable[..., Base]) -> None:
    with pytest.raises(ModelError, match="do not fit the model"):
        Writer(load("gpt2")).write(["\x01" * 505], max_new_tokens=12, temperature=0, seed=0)


def test_classifier_cannot_write(load: Callable[..., Base]) -> None:
    with pytest.raises(UnsupportedModel, match="cannot write"):
        Writer(load("bert"))


def test_decoder_classifier_reads_the_last_real_token(directories: dict[str, Path], tmp_path: Path) -> None:
    config = json.loads((directories["llama"] / "config.json").read_text())
    settings = transformers.AutoConfig.for_model(**{**config, "num_labels": 3})
    transformers.LlamaForSequenceClassification(settings).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((directories["llama"] / name).read_bytes())
    base = Base.load(tmp_path)
    assert base.card.head == (TensorSpec(name="score.weight", shape=(3, 32)),)
    examples = encoded(base)
    together = base.sequence_losses(collate(examples)).tolist()
    alone = [base.sequence_losses(collate([e])).item() for e in examples]
    assert together == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_tiny_base_is_the_same_each_time(directories: dict[str, Path], tmp_path: Path, kind: TinyKind) -> None:
    assert bases.digest_of(make_tiny_base(tmp_path / "a", kind)) == bases.digest_of(directories[kind])
    assert bases.digest_of(make_tiny_base(tmp_path / "b", kind, seed=1)) != bases.digest_of(directories[kind])


@pytest.mark.parametrize(("name", "found"), [("peft", "0.20.1"), ("transformers", "6.0.0")])
def test_other_versions_of_the_libraries_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, found: str) -> None:
    monkeypatch.setattr(language, "version", lambda asked: found if asked == name else version(asked))
    with pytest.raises(ModelError, match=rf"{name} has another version; expected >=.*; got {found}"):
        language._require_versions()
