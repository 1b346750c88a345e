"""Files of an adapter of any form hold its state to the last bit, verify as a whole, and read back or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from safetensors.numpy import load, save

from fedcore.adapter import AdapterState
from fedcore.adapter_files import CONFIG, CORE, RESIDUAL, WEIGHTS, read_adapter, write_adapter
from fedcore.adapter_forms import pair, residual
from fedcore.errors import TamperedRelease
from tests.fedcore.test_adapter_forms import random_state, states

BOTH = {CONFIG, WEIGHTS}
NAMES = {
    ("lora", 0): BOTH,
    ("core", 0): {*BOTH, CORE},
    ("lora", 3): {*BOTH, *(f"{RESIDUAL}/{n}" for n in BOTH)},
    ("core", 3): {*BOTH, CORE, *(f"{RESIDUAL}/{n}" for n in BOTH)},
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states)
def test_files_hold_the_state_itself(tmp_path: Path, state: AdapterState) -> None:
    shutil.rmtree(tmp_path)
    files = write_adapter(tmp_path, state, "paper")
    assert read_adapter(tmp_path, state.schema).digest == state.digest
    assert set(files) == {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}


@pytest.mark.parametrize("form", NAMES)
def test_a_form_has_its_files_and_no_others(tmp_path: Path, form: tuple[str, int]) -> None:
    state = random_state(form=form[0], residual_rank=form[1])
    assert set(write_adapter(tmp_path, state, "paper")) == NAMES[form]


def test_a_file_without_forms_has_the_bytes_that_it_always_had(tmp_path: Path) -> None:
    state = random_state()
    write_adapter(tmp_path, state, "paper")
    named = {f"base_model.model.{name}.weight": array for name, array in state.tensors.items()}
    assert (tmp_path / WEIGHTS).read_bytes() == save(named, metadata={"format": "pt"})


def test_what_peft_loads_of_a_core_is_the_product(tmp_path: Path) -> None:
    state = random_state(form="core")
    write_adapter(tmp_path, state, "paper")
    found = load((tmp_path / WEIGHTS).read_bytes())
    assert {n.removeprefix("base_model.model.").removesuffix(".weight") for n in found} == set(pair(state).tensors)
    for name, array in pair(state).tensors.items():
        assert found[f"base_model.model.{name}.weight"].tobytes() == array.tobytes()


def test_a_residual_is_an_adapter_of_the_same_scale(tmp_path: Path) -> None:
    state = random_state(residual_rank=6)
    write_adapter(tmp_path, state, "paper")
    first, second = (json.loads((tmp_path / d / CONFIG).read_text()) for d in (".", RESIDUAL))
    assert (first["r"], second["r"]) == (2, 6)
    assert second["lora_alpha"] / second["r"] == first["lora_alpha"] / first["r"]
    assert second["target_modules"] == first["target_modules"]
    separate = residual(state)
    assert separate is not None
    assert read_adapter(tmp_path / RESIDUAL, separate.schema).digest == separate.digest


def rewrite(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    tensors = load(path.read_bytes())
    change(tensors)
    path.write_bytes(save(tensors))


def nudge(name: str) -> Callable[[dict[str, np.ndarray]], object]:
    def change(tensors: dict[str, np.ndarray]) -> None:
        key = next(k for k in tensors if name in k)
        tensors[key] = tensors[key] + np.float32(1e-3)

    return change


def stray(tensors: dict[str, np.ndarray]) -> None:
    tensors["base_model.model.layers.0.q_proj.core"] = np.eye(2, dtype=np.float32)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (CORE, nudge("core")),
        (CORE, nudge("lora_B")),
        (WEIGHTS, nudge("lora_B")),
        (CORE, lambda t: t.pop("layers.0.q_proj.core")),
        (CORE, stray),
        (WEIGHTS, stray),
        (f"{RESIDUAL}/{WEIGHTS}", stray),
        (f"{RESIDUAL}/{WEIGHTS}", lambda t: t.popitem()),
        (f"{RESIDUAL}/{WEIGHTS}", lambda t: t.update({k: a[:1] for k, a in t.items()})),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, file: str, change: Callable[[dict[str, np.ndarray]], object]
) -> None:
    state = random_state(form="core", residual_rank=3)
    write_adapter(tmp_path, state, "paper")
    rewrite(tmp_path / file, change)
    with pytest.raises(TamperedRelease):
        read_adapter(tmp_path, state.schema)


@pytest.mark.parametrize("file", [CORE, WEIGHTS, f"{RESIDUAL}/{WEIGHTS}"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_file_that_is_missing_or_no_safetensors_is_refused(tmp_path: Path, file: str, gone: bool) -> None:
    state = random_state(form="core", residual_rank=3)
    write_adapter(tmp_path, state, "paper")
    (tmp_path / file).unlink() if gone else (tmp_path / file).write_bytes(b"x" * 100)
    with pytest.raises(TamperedRelease):
        read_adapter(tmp_path, state.schema)
