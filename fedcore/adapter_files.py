"""An adapter as files in peft's own layout, written and read without torch.

`adapter_model.safetensors` holds "base_model.model.<module>.lora_A.weight" and so on, and
`adapter_config.json` the LoRA settings, so that `peft.PeftModel.from_pretrained(base, directory)` loads a
release as it is. Of the other forms of adapter

- a residual is a second adapter, in the same layout, in the folder `residual`; both are to be switched on;
- a core is multiplied into B for peft, and `core.safetensors` keeps the two that were multiplied, by their
  names in the schema, so that the files hold the state itself. That they belong together is checked on reading.

    model = peft.PeftModel.from_pretrained(base, directory)
    model.load_adapter(directory / "residual", "residual")
    model.base_model.set_adapter(["default", "residual"])
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedcore import adapter_forms
from fedcore.adapter import AdapterSchema, AdapterState, FloatArray, TensorSpec, check_tensors
from fedcore.errors import ConfigError, TamperedRelease
from fedcore.manifest import file_digest

__all__ = ["CONFIG", "CORE", "RESIDUAL", "WEIGHTS", "read_adapter", "write_adapter"]

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CORE = "core.safetensors"
RESIDUAL = "residual"
_PREFIX = "base_model.model."


def write_adapter(directory: Path, state: AdapterState, base_name: str) -> dict[str, str]:
    """Write a state's files.

    Returns:
        File name -> SHA-256; a name is relative to the directory, with "/" between folder and file.
    Raises:
        ConfigError: B times the core is not finite.
    """
    second = adapter_forms.residual(state)
    written = _write_pair(directory, adapter_forms.pair(state), base_name, alone=second is None)
    if state.schema.form == "core":
        path = directory / CORE
        path.write_bytes(save({t.name: np.ascontiguousarray(state.tensors[t.name]) for t in _kept(state.schema)}))
        written.append(path)
    if second is not None:
        written += _write_pair(directory / RESIDUAL, second, base_name, alone=False)
    return {path.relative_to(directory).as_posix(): file_digest(path) for path in written}


def read_adapter(directory: Path, schema: AdapterSchema) -> AdapterState:
    """Read the weights back. Verify the release before: this checks names and shapes, not origin.

    Raises:
        TamperedRelease: A file is missing, not safetensors, or does not fit the schema, or what peft would load
            is not what the core was multiplied to.
    """
    try:
        pair = _read(directory / WEIGHTS, schema.part("lora_A", "lora_B", "head"), _peft_name)
        tensors = dict(pair)
        if schema.form == "core":
            tensors |= _read(directory / CORE, _kept(schema), str)
        if schema.residual_rank:
            parts = schema.part("residual_A", "residual_B")
            tensors |= _read(
                directory / RESIDUAL / WEIGHTS, parts, lambda n: _peft_name(n.replace(".residual_", ".lora_"))
            )
        state = AdapterState(schema=schema, tensors=tensors)
        product = adapter_forms.pair(state).tensors
        if not all(np.array_equal(product[name], array) for name, array in pair.items()):
            raise ConfigError(f"{WEIGHTS} is not the product that {CORE} gives")
        return state
    except (OSError, SafetensorError, KeyError, ValueError, ConfigError) as error:
        raise TamperedRelease(
            f"the adapter in {directory} cannot be read",
            expected="files that fit their manifest",
            do="fetch the release again",
        ) from error


def _kept(schema: AdapterSchema) -> tuple[TensorSpec, ...]:
    """What `core.safetensors` holds: the cores, and the factors that stand before them."""
    return schema.part("core", "lora_B")


def _write_pair(directory: Path, state: AdapterState, base_name: str, *, alone: bool) -> list[Path]:
    """Weights and settings of an ordinary adapter, by itself or one of two."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {_peft_name(name): np.ascontiguousarray(array) for name, array in state.tensors.items()}
    (directory / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
    text = json.dumps(_peft_config(state.schema, base_name, alone=alone), indent=2, sort_keys=True) + "\n"
    (directory / CONFIG).write_text(text, encoding="utf-8")
    return [directory / CONFIG, directory / WEIGHTS]


def _read(path: Path, specs: Sequence[TensorSpec], named: Callable[[str], str]) -> dict[str, FloatArray]:
    """The tensors of a file, which holds exactly these; `named` says what it calls each.

    Raises:
        ConfigError: It holds others, or others' shapes.
    """
    raw = load(path.read_bytes())
    tensors = {t.name: raw.pop(named(t.name)) for t in specs}
    if raw:
        raise ConfigError(f"{path.name} holds tensors that are not part of the schema")
    check_tensors(specs, tensors)
    return tensors


def _peft_name(name: str) -> str:
    """peft keeps ".weight" after a factor; a head's tensors keep their own names."""
    return _PREFIX + (f"{name}.weight" if name.endswith((".lora_A", ".lora_B")) else name)


def _peft_config(schema: AdapterSchema, base_name: str, *, alone: bool) -> dict[str, Any]:
    """The part of peft's LoraConfig that is not its default.

    Of two adapters neither names a task: peft's own class for classifiers would ask the second for a head as
    well, and then refuse to switch both on.
    """
    heads = sorted({t.name.split(".", 1)[0] for t in schema.part("head")})
    return {
        "peft_type": "LORA",
        "task_type": None if not alone else "SEQ_CLS" if heads else "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": schema.rank,
        "lora_alpha": schema.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(schema.targets),
        "modules_to_save": heads or None,
        "inference_mode": True,
    }
