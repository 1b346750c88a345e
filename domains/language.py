"""Base language models: load by digest, attach LoRA, score sequences, write text.

The only module of the house that imports peft and transformers. It knows nothing of privacy, rounds or
budgets: it offers a loaded **Base**, the trainable **Adapted** on top of it, exact losses per sequence, and a
**Writer**. Weights are read from safetensors alone, and no code that comes with a model is ever run. It is
longer than most files here because everything that leans on those two libraries must stand in one place.

>>> from pathlib import Path
>>> from simulations.tiny import make_tiny_base
>>> base = Base.load(make_tiny_base(Path(tmp), "llama"))                          # doctest: +SKIP
>>> schema = AdapterSchema.for_base(base.card, rank=2, alpha=4, targets=("q_proj",))  # doctest: +SKIP
>>> adapted = base.adapt(schema, trains=("lora_A", "lora_B"))                     # doctest: +SKIP
>>> batch = collate([base.encode("Facts: a", "Note: b", 32)], base.device)        # doctest: +SKIP
>>> adapted.sequence_losses(batch).shape                                          # doctest: +SKIP
torch.Size([1])
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, final

import numpy as np
import peft
import torch
import transformers
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from transformers.cache_utils import DynamicLayer
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D

from domains import bases, features
from domains._forms import RESIDUAL, attach_core, require_form, tensor_name
from domains._head import HeadAlone
from domains._prefixes import Prefixes, prefixes
from domains._sites import LoraSite, ResidualPair, lora_site
from domains._tokens import IGNORED, Encoded, TokenBatch, collate
from fedcore.adapter import AdapterSchema, AdapterState, FloatArray, ModelCard, ModuleShape, TensorSpec
from fedcore.errors import BaseMismatch, ModelError, UnsupportedModel

__all__ = [
    "Adapted",
    "Base",
    "Encoded",
    "LoraSite",
    "Quantization",
    "ResidualPair",
    "SentenceEncoder",
    "Shapes",
    "TokenBatch",
    "Writer",
    "collate",
    "convert_gguf",
    "load_encoder",
    "mean_loss",
    "set_threads",
    "write_random",
]

Quantization = Literal["none", "4bit", "8bit"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_ADAPTER = "default"
"""peft's own name for an adapter; a residual is the only other one."""

_ENCODED_AT_ONCE = 32
_ENCODED_TOKENS = 256
_WRITTEN_TOKENS = 16384
"""Of prompts and texts together, padding included, that are written at a time: they fill the model's cache."""

_PROBE = (3, 5)
"""Sequences and tokens of the probe that finds where LoRA can attach; unequal, so that axes cannot be confused."""


def _require_versions() -> None:
    """The libraries' internals are relied on here; another line of versions must be tried first."""
    for name, low, high in (("peft", (0, 21), (0, 22)), ("transformers", (5, 20), (6, 0))):
        found = version(name)
        major, minor = (int(part) for part in found.split(".")[:2])
        if not low <= (major, minor) < high:
            wanted = f">={low[0]}.{low[1]},<{high[0]}.{high[1]}"
            raise ModelError(f"{name} has another version", expected=wanted, got=found, do="install concordat[domains]")


_require_versions()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def set_threads(threads: int) -> None:
    """Let torch use this many CPU threads in this process."""
    torch.set_num_threads(threads)


@final
class Base:
    """A loaded base model, frozen, in evaluation mode. Make one with `Base.load`."""

    def __init__(self, *, model: Any, tokenizer: Any, path: Path, digest: str, card: ModelCard | None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.path = path
        self.device: torch.device = self.model.get_input_embeddings().weight.device
        self._kind: Literal["causal", "classifier"] = "classifier" if _is_classifier(self.model.config) else "causal"
        self._limit: int = getattr(model.config, "max_position_embeddings", None) or 1 << 30
        self._attachable, self._plain_head = self._probe()
        self.card = card or self._describe(digest)
        self._adapted: Adapted | None = None

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        expected_digest: str | None = None,
        dtype: str = "float32",
        quantization: Quantization = "none",
        device: str | None = None,
    ) -> "Base":
        """Load a base and establish which one it is.

        Guarantee: the digest is computed from the files that are loaded, and compared with `card.json`
        where there is one and with `expected_digest` where it is given, before any weight is used.

        Args:
            path: A prepared base (`domains.bases`), any directory in transformers' layout with safetensors
                weights, or a hub id such as "org/name".
            expected_digest: The base that a plan or release names.
            dtype: "float32" or "bfloat16". Adapters are float32 either way.
            quantization: "4bit" and "8bit" need a CUDA GPU and bitsandbytes.
            device: "cpu", "cuda:1", ... or "auto" to spread one model over several GPUs. None: the first
                GPU if there is one, else the CPU.
        Raises:
            BaseMismatch: The files are not those of the card or of `expected_digest`.
            UnsupportedModel: The model or the way to load it is not supported on this machine.
            ModelError: There is no base at `path`, or it cannot be read.
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        options = _load_options(dtype, quantization, device)
        directory = bases.resolve(path)
        card = bases.read_card(directory)
        digest = bases.digest_of(directory)
        for expected, who in ((card.digest if card else None, "its card"), (expected_digest, "the plan or release")):
            if expected is not None and digest != expected:
                raise BaseMismatch(
                    f"the base at {directory} is not the one that {who} names",
                    expected=expected[:16],
                    got=digest[:16],
                    do="prepare the right base with 'concordat model add'",
                )
        if features.is_features_base(directory):
            return cls._load_features(directory, digest, card, dtype, quantization, device)
        try:
            config = transformers.AutoConfig.from_pretrained(directory, local_files_only=True)
            tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
            if _is_classifier(config) and (quantization != "none" or dtype != "float32"):
                raise UnsupportedModel("a classifier's head is trained in float32", do="use float32, unquantised")
            kind = "AutoModelForSequenceClassification" if _is_classifier(config) else "AutoModelForCausalLM"
            model = getattr(transformers, kind).from_pretrained(
                directory, config=config, local_files_only=True, use_safetensors=True, **options
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise ModelError(
                f"the base at {directory} cannot be loaded ({type(error).__name__})",
                expected="a causal language model or sequence classifier that transformers knows",
                do="check the directory",
            ) from error
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        model.config.pad_token_id = tokenizer.pad_token_id
        # What a model's author thinks of sampling must not leak into ours.
        model.generation_config = transformers.GenerationConfig()
        model.requires_grad_(False)
        model.eval()
        return cls(model=model, tokenizer=tokenizer, path=directory, digest=digest, card=card)

    @classmethod
    def _load_features(
        cls, directory: Path, digest: str, card: ModelCard | None, dtype: str, quantization: str, device: str
    ) -> "Base":
        """Load a features base, which is no model of transformers'."""
        if dtype != "float32" or quantization != "none":
            raise UnsupportedModel("a classifier's head is trained in float32", do="use float32, unquantised")
        try:
            model, tokenizer = features.load(directory)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"the features base at {directory} cannot be loaded", do="make it again") from error
        model.requires_grad_(False).eval().to("cuda" if device == "auto" else device)
        return cls(model=model, tokenizer=tokenizer, path=directory, digest=digest, card=card)

    @property
    def labels(self) -> tuple[str, ...]:
        """A classifier's labels by name, in the order of its logits; empty for a causal model."""
        if self._kind != "classifier":
            return ()
        names = self.model.config.id2label
        return tuple(str(names[i]) for i in range(int(self.model.config.num_labels)))

    def _label(self, label: int | str | None) -> int | None:
        """The place of a label given by name; -1, which no classifier has, where the name is not one of its."""
        if not isinstance(label, str):
            return label
        return self.labels.index(label) if label in self.labels else -1

    def encode(self, prompt: str, target: str, max_tokens: int, *, label: int | str | None = None) -> Encoded:
        """Turn an example into at most `max_tokens` tokens.

        A causal example is the prompt, the target and the end token, cut on the right. A prompt too long
        gives way until at least one token in four is the target's (all of a shorter target), so that every
        example teaches something. A classifier sees the prompt alone.
        """
        if self._kind == "classifier":
            ids = self.tokenizer(prompt, truncation=True, max_length=min(max_tokens, self._limit))["input_ids"]
            return Encoded(ids=tuple(ids), labels=(IGNORED,) * len(ids), label=self._label(label))
        max_tokens = min(max_tokens, self._limit)
        start = self._prompt_ids(prompt)
        end = [*self.tokenizer(target, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]
        start = start[: max_tokens - min(len(end), max(1, max_tokens // 4))]
        end = end[: max_tokens - len(start)]
        return Encoded(ids=(*start, *end), labels=((IGNORED,) * len(start)) + tuple(end))

    def adapt(self, schema: AdapterSchema, trains: Sequence[str]) -> "Adapted":
        """Attach the LoRA layers of a schema, once; everything else stays frozen.

        The same schema gives the same modules again, so hooks on them persist; another schema replaces them.

        Args:
            schema: What to attach; its base must be this one.
            trains: The parts that require gradients: some of "lora_A", "lora_B", "head", or of "core", "head" in an
                adapter with a core. What a form freezes cannot train.
        Raises:
            BaseMismatch: The schema is of another base, or its shapes are not those of the modules here.
            UnsupportedModel: A module that cannot be trained privately, such as an expert or a router, or a part
                that is frozen.
        """
        require_form(schema, tuple(trains))
        if schema.base_digest != self.card.digest:
            raise BaseMismatch(
                "the adapter belongs to another base",
                expected=schema.base_digest[:16],
                got=self.card.digest[:16],
                do="load the base that the plan names",
            )
        if self._adapted is None or self._adapted.schema.digest != schema.digest:
            paths = self._check(schema)
            if self._adapted is not None:
                self.model = self._adapted.detach()
                self._adapted = None
            self._adapted = Adapted(base=self, schema=schema, paths=paths)
        for name, parameter in self._adapted.parameters.items():
            parameter.requires_grad_(TensorSpec(name=name, shape=()).part in trains)
        return self._adapted

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """The base alone, whatever is attached."""
        attached: AbstractContextManager[Any] = (
            self._adapted.module.disable_adapter() if self._adapted is not None else nullcontext()
        )
        # disable_adapter re-enables gradients on every adapter tensor when it ends; put back what was.
        kept = {n: p.requires_grad for n, p in self._adapted.parameters.items()} if self._adapted is not None else {}
        try:
            with attached:
                yield
        finally:
            for name, wanted in kept.items():
                if self._adapted is not None:
                    self._adapted.parameters[name].requires_grad_(wanted)

    @contextmanager
    def checkpointing(self, *, reentrant: bool = False) -> Iterator[None]:
        """Within it, training keeps each block's input alone and computes the block again on the way back.

        It saves memory for about a third more work, and changes no result. The blocks alone are in training
        mode meanwhile, as transformers asks; nothing may be written, since no block keeps keys and values.

        Args:
            reentrant: torch's older form, which hooks on modules need.
        Raises:
            UnsupportedModel: The model cannot.
        """
        blocks = [m for m in self.model.modules() if isinstance(m, GradientCheckpointingLayer)]
        if not blocks or not self.model.supports_gradient_checkpointing:
            raise UnsupportedModel("the base has no blocks that can be computed again", do="train it without")
        modes = [block.training for block in blocks]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # The older name is the one that all our versions have.
            self.model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        if reentrant:  # A block whose input needs no gradient would give none to what trains in it.
            self.model.enable_input_require_grads()
        try:
            for block in blocks:
                block.training = True
            yield
        finally:
            for block, mode in zip(blocks, modes, strict=True):
                block.training = mode
            if reentrant:
                self.model.disable_input_require_grads()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                self.model.gradient_checkpointing_disable()

    def sequence_losses(self, batch: TokenBatch) -> Float[Tensor, " sequences"]:
        """Mean cross entropy of each sequence's target tokens (classifier: of its label), float32.

        Each sequence's loss depends on that sequence alone, so that its gradient is its own. The output
        layer is applied to target positions only: with prompts and a large vocabulary, most of its work.
        """
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if self._kind == "classifier":
            if batch.class_labels is None:
                raise ModelError("a classifier's examples need a label each", do="use a task of kind 'classify'")
            # A decoder's head reads the last token that is not padding, which it knows by its id.
            inputs["input_ids"] = batch.input_ids.masked_fill(batch.attention_mask == 0, self.tokenizer.pad_token_id)
            return functional.cross_entropy(self.model(**inputs).logits.float(), batch.class_labels, reduction="none")
        targets = batch.labels[:, 1:]
        kept: Bool[Tensor, "sequences tokens"] = targets != IGNORED
        if self._plain_head:
            hidden = self.model.base_model(**inputs, use_cache=False).last_hidden_state
            logits = self.model.get_output_embeddings()(hidden[:, :-1][kept.to(hidden.device)])
        else:
            logits = self.model(**inputs, use_cache=False).logits[:, :-1][kept]
        # Parts of one model may lie on several GPUs; on one device these moves do nothing.
        losses = functional.cross_entropy(logits.float(), targets[kept].to(logits.device), reduction="none")
        losses = losses.to(kept.device)
        # A mean over all tokens of the batch would tie one sequence's gradient to the others' lengths.
        grid = losses.new_zeros(kept.shape).masked_scatter(kept, losses)
        means: Tensor = grid.sum(dim=1) / kept.sum(dim=1).clamp(min=1)
        return means

    @torch.no_grad()
    def logits(self, prompts: Sequence[str], *, max_tokens: int, adapted: bool) -> FloatArray:
        """A classifier's logits, shape (prompts, labels), with or without the adapter that is attached."""
        batch = collate([self.encode(p, "", max_tokens) for p in prompts], self.device)
        ids = batch.input_ids.masked_fill(batch.attention_mask == 0, self.tokenizer.pad_token_id)
        with nullcontext() if adapted else self.without_adapter():
            found = self.model(input_ids=ids, attention_mask=batch.attention_mask).logits
        return found.float().cpu().numpy()  # type: ignore[no-any-return]

    def tokens(self, text: str) -> list[int]:
        """A text's tokens, with no start or end token."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @property
    def vocabulary(self) -> int:
        """How many logits a causal model gives, which can be more than its tokenizer knows."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    def _prompt_ids(self, prompt: str) -> list[int]:
        """The prompt with the start token that the model expects, and never an end token."""
        ids: list[int] = list(self.tokenizer(prompt)["input_ids"])
        while ids and ids[-1] == self.tokenizer.eos_token_id and len(ids) > 1:
            ids.pop()
        return ids or [self.tokenizer.eos_token_id]

    @torch.no_grad()
    def _probe(self) -> tuple[dict[str, ModuleShape], bool]:
        """Find the linear modules that see (sequence, token) rows, once each; and whether logits = head(hidden).

        A per-sample gradient is exact only where the batch comes first. Experts and routers see tokens of all
        sequences mixed, so they do not qualify, whatever their names are.
        """
        seen: dict[str, list[torch.Size]] = {}
        handles = []
        output = self.model.get_output_embeddings() if self._kind == "causal" else None
        for path, module in self.model.named_modules():
            if isinstance(module, nn.Linear | Conv1D) and module is not output:

                def note(_module: nn.Module, given: tuple[Tensor, ...], path: str = path) -> None:
                    seen.setdefault(path, []).append(given[0].shape)

                handles.append(module.register_forward_pre_hook(note))
        ids = torch.arange(_PROBE[0] * _PROBE[1], device=self.device).reshape(_PROBE) % self.model.config.vocab_size
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        try:
            logits = self.model(**inputs).logits
        finally:
            for handle in handles:
                handle.remove()
        shapes = {}
        for path, calls in seen.items():
            if len(calls) == 1 and len(calls[0]) == 3 and calls[0][:2] == _PROBE:
                shapes[path] = _shape(path, self.model.get_submodule(path))
        if output is None:
            return shapes, False
        hidden = self.model.base_model(**inputs, use_cache=False).last_hidden_state
        return shapes, bool(torch.equal(output(hidden).to(logits.device), logits))

    def _describe(self, digest: str) -> ModelCard:
        """The public card of a base that has none yet."""
        config = self.model.config
        head: tuple[TensorSpec, ...] = ()
        if self._kind == "classifier":
            name = _head_name(self.model)
            tensors = self.model.get_submodule(name).named_parameters(prefix=name)
            head = tuple(sorted((TensorSpec(name=n, shape=tuple(p.shape)) for n, p in tensors), key=lambda t: t.name))
        return ModelCard(
            name=self.path.name,
            digest=digest,
            kind=self._kind,
            architecture=type(self.model).__name__.split("For")[0].removesuffix("LMHeadModel"),
            modules=tuple(self._attachable[path] for path in sorted(self._attachable)),
            head=head,
            labels=int(config.num_labels) if self._kind == "classifier" else 0,
        )

    def _check(self, schema: AdapterSchema) -> tuple[str, ...]:
        """Require that every LoRA tensor of the schema fits a module here; return their paths."""
        paths = []
        for spec in schema.part("lora_A"):
            path = spec.name.removesuffix(".lora_A")
            shape = self._attachable.get(path)
            if shape is None:
                raise UnsupportedModel(
                    f"LoRA cannot be trained privately on {path!r}",
                    expected="a linear module that sees whole sequences: no expert, router or output layer",
                    do="choose other targets, such as those of the attention",
                )
            wanted = AdapterSchema.for_base(
                ModelCard(name="", digest=schema.base_digest, kind="causal", architecture="", modules=(shape,)),
                rank=schema.rank,
                alpha=schema.alpha,
                targets=(path,),
                form=schema.form,
                residual_rank=schema.residual_rank,
            )
            have = {t.name: t.shape for t in schema.tensors}
            for tensor in wanted.tensors:
                if have.get(tensor.name) != tensor.shape:
                    raise BaseMismatch(
                        f"the tensor {tensor.name} does not fit this base",
                        expected=str(tensor.shape),
                        got=str(have.get(tensor.name)),
                        do="derive the schema from this base's card",
                    )
            paths.append(path)
        if {(t.name, t.shape) for t in schema.part("head")} != {(t.name, t.shape) for t in self.card.head}:
            raise BaseMismatch("the adapter's head does not fit this base", do="derive the schema from its card")
        return tuple(paths)


@final
class Adapted:
    """A base with LoRA attached. `module` is the peft model; make one with `Base.adapt`.

    The model stays in evaluation mode (no dropout). The trainable modules are peft's `lora_A` and `lora_B`
    linears, a core's linear and a classifier's head, each called once a forward pass with the batch first.
    """

    def __init__(self, *, base: Base, schema: AdapterSchema, paths: tuple[str, ...]) -> None:
        self.base = base
        self.schema = schema
        self._paths = paths
        head = _head_name(base.model) if schema.part("head") else None
        if not paths:
            self._train_head_alone(head)
            return
        common: dict[str, Any] = {
            "target_modules": list(paths),
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": isinstance(base.model.get_submodule(paths[0]), Conv1D),
        }
        config = peft.LoraConfig(
            r=schema.rank, lora_alpha=schema.alpha, modules_to_save=[head] if head else None, **common
        )
        with warnings.catch_warnings():
            # peft asks transformers for a name that transformers has just renamed.
            warnings.simplefilter("ignore", FutureWarning)
            self.module: Any = peft.get_peft_model(base.model, config, adapter_name=_ADAPTER)
            if schema.residual_rank:
                alpha = schema.alpha * schema.residual_rank / schema.rank
                self.module.add_adapter(RESIDUAL, peft.LoraConfig(r=schema.residual_rank, lora_alpha=alpha, **common))
                self.module.base_model.set_adapter([_ADAPTER, RESIDUAL])
        if schema.form == "core":
            for path in paths:
                attach_core(base.model.get_submodule(path).lora_A[_ADAPTER])
        self.module.eval()
        found = dict(self.module.named_parameters())
        self.parameters: dict[str, nn.Parameter] = {}
        for spec in schema.tensors:
            name = tensor_name(spec, head, _ADAPTER)
            if name not in found or tuple(found[name].shape) != spec.shape:
                raise UnsupportedModel(
                    f"peft did not attach {spec.name} in the expected shape", expected=str(spec.shape)
                )
            self.parameters[spec.name] = found[name]
        extra = sum(p.requires_grad for p in found.values()) - sum(p.requires_grad for p in self.parameters.values())
        if extra:
            raise UnsupportedModel(f"peft attached {extra} tensors that the schema does not name")

    def _train_head_alone(self, head: str | None) -> None:
        """Attach no LoRA; peft, which would refuse, is not needed."""
        if head is None:
            raise UnsupportedModel("an adapter without LoRA needs a classifier's head", do="name LoRA targets")
        self.module = HeadAlone(self.base.model, head).eval()
        found = dict(self.base.model.get_submodule(head).named_parameters(prefix=head))
        self.parameters = {spec.name: found[spec.name] for spec in self.schema.tensors}

    @property
    def sites(self) -> dict[str, LoraSite]:
        """Path -> where LoRA is attached, for those who replace its arithmetic by an equal one.

        Raises:
            UnsupportedModel: peft attached something else than plain LoRA.
        """
        second = RESIDUAL if self.schema.residual_rank else None
        return {path: lora_site(path, self.base.model.get_submodule(path), _ADAPTER, second) for path in self._paths}

    def detach(self) -> Any:
        """Take the adapter off and return the base model as it was; this object is of no use afterwards."""
        if isinstance(self.module, HeadAlone):
            return self.module.unload()
        head = _head_name(self.base.model) if self.schema.part("head") else None
        # peft would leave the trained head in place of the base's own.
        original = self.base.model.get_submodule(head).original_module if head else None
        model = self.module.unload()
        if head:
            setattr(model, head, original)
        return model

    @torch.no_grad()
    def load(self, state: AdapterState) -> None:
        """Set every tensor from a state.

        Raises:
            BaseMismatch: The state is of another schema.
        """
        if state.schema.digest != self.schema.digest:
            raise BaseMismatch("the adapter's state has another schema", do="adapt the base with the state's schema")
        for name, array in state.tensors.items():
            self.parameters[name].copy_(torch.tensor(array))

    def read(self, names: Iterable[str]) -> dict[str, FloatArray]:
        """Copies of the named tensors, float32."""
        return {
            name: self.parameters[name].detach().to("cpu", torch.float32).numpy().astype(np.float32, copy=True)
            for name in names
        }

    def sequence_losses(self, batch: TokenBatch) -> Float[Tensor, " sequences"]:
        """As `Base.sequence_losses`, with the adapter."""
        return self.base.sequence_losses(batch)


@torch.no_grad()
def mean_loss(base: Base, adapted: Adapted | None, examples: Iterable[Encoded], batch: int = 8) -> float:
    """Mean over examples of each one's loss; `adapted` None measures the base alone.

    Raises:
        ModelError: There are no examples.
    """
    ordered = sorted(examples, key=lambda e: len(e.ids))
    if not ordered:
        raise ModelError("there are no examples to measure a loss on")
    total = 0.0
    with base.without_adapter() if adapted is None else nullcontext():
        for start in range(0, len(ordered), batch):
            losses = base.sequence_losses(collate(ordered[start : start + batch], base.device))
            total += math.fsum(losses.tolist())
    return total / len(ordered)


class Shapes(Protocol):
    """Changes what may be written next: a grammar, or a watermark. One for each writer, asked anew for each call."""

    def begin(self, rows: int, width: int, max_new_tokens: int) -> Callable[[Tensor, Tensor], Tensor]:
        """From all tokens so far, the prompt's `width` first, and the logits of the next, to other logits."""
        ...


@final
class Writer:
    """Writes text with a base, with or without its adapter; keys and values are cached between tokens.

    Args:
        base: A causal language model.
        adapted: Its adapter, or None for the base alone.
        shapes: Change the logits of each next token, in this order, before temperature does.
    """

    def __init__(self, base: Base, adapted: Adapted | None = None, shapes: Sequence[Shapes] = ()) -> None:
        if base.card.kind != "causal":
            raise UnsupportedModel("a classifier cannot write text", expected="a causal language model")
        self._base = base
        self._adapted = adapted
        self._shapes = tuple(shapes)

    @torch.no_grad()
    def write(self, prompts: Sequence[str], *, max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        """Continue each prompt until the end token or `max_new_tokens`.

        Args:
            prompts: Padded on the left, with padding masked; many go through the model in parts.
            max_new_tokens: Most tokens to write, >= 1.
            temperature: 0 takes the likeliest token each time; otherwise the distribution is sampled whole.
            seed: Decides the samples; the process's own random state is untouched.
        Raises:
            ModelError: Prompt and text together are longer than the model can read.
        """
        if not prompts:
            return []
        base = self._base
        rows = [base._prompt_ids(p) for p in prompts]
        width = max(map(len, rows))
        if width + max_new_tokens > base._limit:
            raise ModelError(
                "the prompt and the text to write do not fit the model",
                expected=f"at most {base._limit} tokens together",
                got=str(width + max_new_tokens),
                do="shorten the input",
            )
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        config = transformers.GenerationConfig(
            max_new_tokens=max_new_tokens,
            pad_token_id=base.tokenizer.pad_token_id,
            eos_token_id=base.tokenizer.eos_token_id,
            use_cache=True,
            **sampling,
        )
        at_once = max(1, _WRITTEN_TOKENS // (width + max_new_tokens))
        devices = range(torch.cuda.device_count()) if base.device.type == "cuda" else []
        with base.without_adapter() if self._adapted is None else nullcontext(), torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            return [t for i in range(0, len(rows), at_once) for t in self._batch(rows[i : i + at_once], config)]

    def _batch(self, rows: Sequence[list[int]], config: transformers.GenerationConfig) -> list[str]:
        """Continue prompts that go through the model together; a beginning that several share is read once."""
        shared = prefixes(rows)
        cache = None if shared is None else self._read(shared, config)
        cuts = [0] * len(rows)
        if shared is not None and cache is not None:
            cuts = [len(shared.distinct[i]) for i in shared.which]
        # Padding stands before what is in the cache, and again before what is still to be read.
        read, rest = max(cuts), max(len(r) - c for r, c in zip(rows, cuts, strict=True))
        ids, mask = self._padded(
            [[*_left(r[:c], read), *_left(r[c:], rest)] for r, c in zip(rows, cuts, strict=True)], config
        )
        width = read + rest
        shaping = transformers.LogitsProcessorList(
            [_Shaped(s.begin(len(rows), width, config.max_new_tokens)) for s in self._shapes]
        )
        out = self._base.model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            generation_config=config,
            logits_processor=shaping,
        )
        return [str(t) for t in self._base.tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)]

    def _read(self, shared: Prefixes, config: transformers.GenerationConfig) -> Any | None:
        """The cache of every row's prefix, or None where padding inside a text would change what a layer sees."""
        ids, mask = self._padded([_left(p, shared.width) for p in shared.distinct], config)
        reading = transformers.GenerationConfig(
            max_new_tokens=1,
            pad_token_id=config.pad_token_id,
            eos_token_id=config.eos_token_id,
            use_cache=True,
            do_sample=False,
            return_dict_in_generate=True,
        )
        cache = self._base.model.generate(input_ids=ids, attention_mask=mask, generation_config=reading).past_key_values
        # Windows count places, not tokens, and a state has no places at all.
        if not all(type(layer) is DynamicLayer for layer in cache.layers):
            return None
        cache.batch_select_indices(torch.tensor(shared.which))
        return cache

    def _padded(
        self, rows: Sequence[Sequence[int | None]], config: transformers.GenerationConfig
    ) -> tuple[Tensor, Tensor]:
        """Tokens and mask of rows of one length, None where there is nothing to read."""
        ids = [[config.pad_token_id if t is None else t for t in row] for row in rows]
        mask = [[int(t is not None) for t in row] for row in rows]
        return torch.tensor(ids, device=self._base.device), torch.tensor(mask, device=self._base.device)


def _left(tokens: Sequence[int], width: int) -> list[int | None]:
    """Tokens with nothing before them, so many places in all."""
    return [*[None] * (width - len(tokens)), *tokens]


class _Shaped(transformers.LogitsProcessor):  # type: ignore[misc]
    """A shape as transformers wants it."""

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._change = change

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return self._change(input_ids, scores)


@final
class SentenceEncoder:
    """An encoder whose mean over tokens is a sentence's vector, as `domains.dense.Embeds`. Made by `load_encoder`."""

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self._model, self._tokenizer = model, tokenizer
        self.name = name
        self.dimension = int(model.config.hidden_size)

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors of the texts, the long ones cut; texts of one length go together."""
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        with torch.inference_mode():
            for at in range(0, len(order), _ENCODED_AT_ONCE):
                chosen = order[at : at + _ENCODED_AT_ONCE]
                batch = self._tokenizer(
                    [texts[i] for i in chosen],
                    padding=True,
                    truncation=True,
                    max_length=_ENCODED_TOKENS,
                    return_tensors="pt",
                )
                hidden = self._model(**batch).last_hidden_state
                mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                out[chosen] = functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()
        return out


def load_encoder(path: Path) -> SentenceEncoder:
    """Load a sentence encoder from a directory in transformers' layout with safetensors weights.

    Raises:
        ModelError: It cannot be read.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = transformers.AutoModel.from_pretrained(path, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the encoder at {path} cannot be read ({type(error).__name__})", do="check --encoder"
        ) from error
    return SentenceEncoder(model.eval(), tokenizer, f"encoder-{bases.digest_of(path)[:16]}")


def write_random(directory: Path, config: Mapping[str, Any], *, seed: int) -> None:
    """Write a model with random weights from its configuration, in transformers' layout, without a tokenizer.

    For tests and dry runs: the smallest thing that loads as a base.
    """
    architecture = str(config["architectures"][0])
    settings = transformers.AutoConfig.for_model(**config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, architecture)(settings)
    model.save_pretrained(directory)


def convert_gguf(file: Path, directory: Path) -> None:
    """Write a GGUF file's model as float32 safetensors, with its tokenizer, in transformers' layout.

    Raises:
        ModelError: The file cannot be read.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        plain = transformers.GgufConfig(gguf_file=file.name, dequantize=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32, quantization_config=plain
        )
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ModelError(
            f"{file.name} cannot be read as GGUF ({type(error).__name__})", do="install its package again"
        ) from error
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _load_options(dtype: str, quantization: str, device: str) -> dict[str, Any]:
    """Arguments of from_pretrained, or the reason why this machine cannot do it."""
    if dtype not in _DTYPES:
        raise UnsupportedModel("the dtype is not known", expected="float32 or bfloat16", got=repr(dtype))
    if device != "cpu" and not torch.cuda.is_available():
        raise UnsupportedModel(f"the device {device!r} is not there", expected="'cpu' on this machine")
    options: dict[str, Any] = {"dtype": _DTYPES[dtype], "device_map": device}
    if device == "cpu":
        del options["device_map"]
    if quantization == "none":
        return options
    if quantization not in ("4bit", "8bit"):
        raise UnsupportedModel("the quantization is not known", expected="none, 4bit or 8bit", got=repr(quantization))
    if device == "cpu":
        raise UnsupportedModel(
            f"{quantization} weights need a CUDA GPU", got="the CPU", do="use quantization = 'none' on this machine"
        )
    if find_spec("bitsandbytes") is None:
        raise UnsupportedModel(f"{quantization} weights need bitsandbytes", do="install concordat[gpu]")
    if quantization == "4bit":
        config = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=_DTYPES[dtype]
        )
    else:
        config = transformers.BitsAndBytesConfig(load_in_8bit=True)
    return {**options, "quantization_config": config}


def _is_classifier(config: Any) -> bool:
    return any(name.endswith("ForSequenceClassification") for name in config.architectures or ())


def _head_name(model: Any) -> str:
    """The classifier's last module: what lies outside the encoder."""
    for name in ("classifier", "score"):
        if hasattr(model, name):
            return name
    raise UnsupportedModel(f"the head of {type(model).__name__} is not known", expected="a 'classifier' or 'score'")


def _shape(path: str, module: nn.Module) -> ModuleShape:
    """Logical sizes: transformers' Conv1D stores its weight as (inputs, outputs)."""
    if isinstance(module, Conv1D):
        return ModuleShape(path=path, inputs=int(module.weight.shape[0]), outputs=int(module.weight.shape[1]))
    linear: Any = module
    return ModuleShape(path=path, inputs=int(linear.in_features), outputs=int(linear.out_features))
