"""An adapter as files in peft's own layout, written and read without torch.

`adapter_model.safetensors` holds "base_model.model.<module>.lora_A.weight" and so on, and
`adapter_config.json` the LoRA settings, so that `peft.PeftModel.from_pretrained(base, directory)` loads a
release as it is.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.errors import ConfigError, TamperedRelease
from fedcore.manifest import file_digest

__all__ = ["CONFIG", "WEIGHTS", "read_adapter", "write_adapter"]

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def write_adapter(directory: Path, state: AdapterState, base_name: str) -> dict[str, str]:
    """Write both files.

    Returns:
        File name -> SHA-256.
    """
    schema = state.schema
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {_peft_name(name): np.ascontiguousarray(array) for name, array in state.tensors.items()}
    (directory / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
    text = json.dumps(_peft_config(schema, base_name), indent=2, sort_keys=True) + "\n"
    (directory / CONFIG).write_text(text, encoding="utf-8")
    return {name: file_digest(directory / name) for name in (CONFIG, WEIGHTS)}


def read_adapter(directory: Path, schema: AdapterSchema) -> AdapterState:
    """Read the weights back. Verify the release before: this checks names and shapes, not origin.

    Raises:
        TamperedRelease: The file is missing, not safetensors, or does not fit the schema.
    """
    try:
        raw = load((directory / WEIGHTS).read_bytes())
        tensors = {t.name: raw.pop(_peft_name(t.name)) for t in schema.tensors}
        if raw:
            raise ConfigError(f"{WEIGHTS} holds tensors that are not part of the schema")
        return AdapterState(schema=schema, tensors=tensors)
    except (OSError, SafetensorError, KeyError, ValueError, ConfigError) as error:
        raise TamperedRelease(
            f"the adapter in {directory} cannot be read",
            expected=f"{WEIGHTS} that fits its manifest",
            do="fetch the release again",
        ) from error


def _peft_name(name: str) -> str:
    """peft keeps ".weight" after a factor; a head's tensors keep their own names."""
    return _PREFIX + (f"{name}.weight" if name.endswith((".lora_A", ".lora_B")) else name)


def _peft_config(schema: AdapterSchema, base_name: str) -> dict[str, Any]:
    """The part of peft's LoraConfig that is not its default."""
    heads = sorted({t.name.split(".", 1)[0] for t in schema.part("head")})
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if heads else "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": schema.rank,
        "lora_alpha": schema.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(schema.targets),
        "modules_to_save": heads or None,
        "inference_mode": True,
    }
