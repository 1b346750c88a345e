"""Tiny random bases, one of each kind, made on the spot: for tests and dry runs, never for use.

"llama_wide" is "llama" with weights so wide that an adapter alone can teach it: for comparing algorithms. Each
has two layers, a byte-level tokenizer of 384 tokens trained on the text below, and weights from a fixed seed,
so the same kind always has the same digest. Nothing is fetched.

>>> from pathlib import Path
>>> make_tiny_base(Path(tmp) / "llama", "llama").name   # doctest: +SKIP
'llama'
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from domains.language import write_random
from fedcore.errors import ConfigError

__all__ = ["KINDS", "NAMES", "TARGETS", "TinyKind", "make_tiny_base"]

TinyKind = Literal["llama", "gpt2", "moe", "bert", "llama_wide"]
NAMES: tuple[TinyKind, ...] = get_args(TinyKind)
KINDS: tuple[TinyKind, ...] = ("llama", "gpt2", "moe", "bert")
"""One of each architecture."""

TARGETS: Mapping[TinyKind, tuple[str, ...]] = MappingProxyType(
    {
        "llama": ("q_proj", "v_proj"),
        "gpt2": ("c_attn",),
        "moe": ("q_proj", "v_proj"),
        "bert": ("query", "value"),
        "llama_wide": ("q_proj", "v_proj", "o_proj", "down_proj"),
    }
)
"""LoRA targets that fit each kind."""

_VOCABULARY = 384
_SPECIAL = ("<end>", "<start>", "<pad>")
_END, _START, _PAD = range(3)
_TEXT = """
Facts: woman, 64, type 2 diabetes since 2014; metformin 500 mg twice a day; blood pressure 142/88.
Note: A 64-year-old woman with type 2 diabetes came to the clinic. She takes metformin 500 mg twice a day.
Facts: man, 41, asthma; salbutamol; no known allergies; visit on 2021-03-05.
Note: A 41-year-old man with asthma was seen on 2021-03-05. He has no known allergies.
Facts: revenue 412.5, previous year 388.1, net income 52.0, in million dollars.
Paragraph: Revenue rose to 412.5 million dollars from 388.1 million, and net income was 52.0 million dollars.
"""

_COMMON = {"vocab_size": _VOCABULARY, "eos_token_id": _END, "bos_token_id": _START, "pad_token_id": _PAD}
_ROTARY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
_CONFIGS: Mapping[TinyKind, dict[str, Any]] = {
    "llama": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "tie_word_embeddings": True,
        **_COMMON,
        **_ROTARY,
    },
    "llama_wide": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        # A tied output of the usual width holds every logit near zero, whatever the adapter does.
        "tie_word_embeddings": False,
        "initializer_range": 0.3,
        **_COMMON,
        **_ROTARY,
    },
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 512,
        **_COMMON,
    },
    "moe": {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": None,
        **_COMMON,
        **_ROTARY,
    },
    "bert": {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 512,
        "num_labels": 3,
        **_COMMON,
    },
}


def make_tiny_base(directory: Path, kind: TinyKind, *, seed: int = 0) -> Path:
    """Write a tiny random base and return its directory, made where it is missing.

    Args:
        directory: Where it goes.
        kind: "llama" (rotary positions, grouped queries, tied output), "gpt2" (Conv1D layers), "moe" (Mixtral,
            four experts), "bert" (an encoder with a head of three classes) or "llama_wide".
        seed: Another seed gives other weights, and so another digest.
    Raises:
        ConfigError: The kind is not known.
    """
    if kind not in _CONFIGS:
        raise ConfigError("the kind of tiny base is not known", expected="one of " + ", ".join(NAMES), got=repr(kind))
    directory.mkdir(parents=True, exist_ok=True)
    _tokenizer().save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": _SPECIAL[_END],
        "bos_token": _SPECIAL[_START],
        "pad_token": _SPECIAL[_PAD],
        "model_max_length": 512,
        "clean_up_tokenization_spaces": False,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    write_random(directory, _CONFIGS[kind], seed=seed)
    return directory


def _tokenizer() -> Tokenizer:
    """Byte-level BPE: every text is covered, common pieces of the text above are one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT.splitlines(), trainer)
    return tokenizer
