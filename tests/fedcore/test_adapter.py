from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.adapter import PARTS, AdapterSchema, AdapterState, ModelCard, unflatten
from fedcore.errors import ConfigError, ModelError


def test_card_and_schema_read_back_equal(card: ModelCard, schema: AdapterSchema) -> None:
    assert ModelCard.from_dict(card.to_dict()) == card
    assert AdapterSchema.from_dict(schema.to_dict()) == schema


def test_schema_digest_changes_with_every_field(schema: AdapterSchema) -> None:
    others = [
        replace(schema, alpha=8),
        replace(schema, base_digest="cd" * 32),
        replace(schema, tensors=schema.tensors[:2]),
    ]
    assert len({s.digest for s in [schema, *others]}) == 4


def test_unknown_target_names_what_the_base_has(card: ModelCard) -> None:
    with pytest.raises(ConfigError, match="q_proj, up"):
        AdapterSchema.for_base(card, rank=2, alpha=4, targets=("k_proj",))


def test_unreadable_card_is_refused() -> None:
    with pytest.raises(ModelError, match="model card"):
        ModelCard.from_dict({"name": "x"})


def test_initial_state_is_the_same_for_everyone(schema: AdapterSchema) -> None:
    first = AdapterState.initial(schema, seed=3)
    assert first.digest == AdapterState.initial(schema, seed=3).digest
    assert first.digest != AdapterState.initial(schema, seed=4).digest
    # Golden: a change here makes every party of an open job refuse the state.
    assert first.digest == "1b1c09920603a06f8aadc11f0fe49b84d9ebf8b22258fe1ed4ad1a4e61edc92e"


def test_initial_b_is_zero_and_a_within_its_bound(schema: AdapterSchema) -> None:
    state = AdapterState.initial(schema, seed=3)
    assert not any(a.any() for a in state.part("lora_B").values())
    for array in state.part("lora_A").values():
        assert np.abs(array).max() <= 1 / np.sqrt(6)
        assert np.abs(array).max() > 0.2


@given(st.integers(0, 2**32))
def test_flatten_and_unflatten_are_inverse(seed: int) -> None:
    from fedcore.adapter import ModuleShape

    card = ModelCard(
        name="c",
        digest="0" * 64,
        kind="causal",
        architecture="L",
        modules=(ModuleShape(path="m.q", inputs=3, outputs=5),),
    )
    schema = AdapterSchema.for_base(card, rank=2, alpha=1, targets=("q",))
    state = AdapterState.initial(schema, seed=seed)
    back = unflatten(schema.part(*PARTS), state.flatten())
    assert all(np.array_equal(back[n], a) for n, a in state.tensors.items())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", "missing"),
        ("extra", "not part of the schema"),
        ("dtype", "wrong type"),
        ("shape", "wrong shape"),
        ("nan", "NaN or infinity"),
        ("inf", "NaN or infinity"),
    ],
)
def test_state_refuses_tensors_that_do_not_fit(state: AdapterState, fault: str, words: str) -> None:
    tensors = dict(state.tensors)
    name = next(iter(tensors))
    if fault == "missing":
        del tensors[name]
    elif fault == "extra":
        tensors["other"] = tensors[name]
    elif fault == "dtype":
        tensors[name] = tensors[name].astype(np.float64)  # type: ignore[assignment]
    elif fault == "shape":
        tensors[name] = tensors[name].T
    else:
        tensors[name] = np.full_like(tensors[name], np.nan if fault == "nan" else np.inf)
    with pytest.raises(ConfigError, match=words):
        AdapterState(schema=state.schema, tensors=tensors)


def test_state_is_read_only_and_prints_no_number(state: AdapterState) -> None:
    with pytest.raises(ValueError, match="read-only"):
        next(iter(state.tensors.values()))[0] = 1
    assert repr(state) == f"AdapterState({state.digest[:12]})"
