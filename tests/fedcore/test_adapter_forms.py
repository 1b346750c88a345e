"""Every form of adapter written out as ordinary LoRA is the same function, and no two machines differ on it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.adapter import AdapterSchema, AdapterState, Form, ModelCard, ModuleShape, TensorSpec
from fedcore.adapter_forms import is_plain, pair, plain, residual
from fedcore.errors import ConfigError
from tests.reference.multiplied_out import gains

FORMS: tuple[tuple[Form, int], ...] = (("lora", 0), ("core", 0), ("lora", 3), ("core", 3))


def card(inputs: int = 5, outputs: int = 4, head: bool = False) -> ModelCard:
    modules = tuple(ModuleShape(path=f"layers.{i}.q_proj", inputs=inputs, outputs=outputs) for i in (0, 1))
    tensors = (TensorSpec(name="classifier.bias", shape=(2,)), TensorSpec(name="classifier.weight", shape=(2, 3)))
    return ModelCard(
        name="paper",
        digest="ab" * 32,
        kind="classifier" if head else "causal",
        architecture="Llama",
        modules=modules,
        head=tensors if head else (),
    )


def random_state(seed: int = 0, *, base: ModelCard | None = None, **options: Any) -> AdapterState:
    fields: dict[str, Any] = {"rank": 2, "alpha": 4.0, "targets": ("q_proj",), **options}
    schema = AdapterSchema.for_base(base or card(), **fields)
    rng = np.random.default_rng(seed)
    return AdapterState(
        schema=schema, tensors={t.name: rng.normal(0, 1, t.shape).astype(np.float32) for t in schema.tensors}
    )


states = st.builds(
    lambda inputs, outputs, head, seed, rank, alpha, form: random_state(
        seed,
        base=card(inputs, outputs, head),
        rank=rank,
        alpha=alpha,
        form=form[0],
        residual_rank=form[1] * rank,
    ),
    inputs=st.integers(1, 7),
    outputs=st.integers(1, 7),
    head=st.booleans(),
    seed=st.integers(0, 2**31),
    rank=st.integers(1, 5),
    alpha=st.floats(0.1, 64),
    form=st.sampled_from(FORMS),
)


@settings(max_examples=150, deadline=None)
@given(states)
def test_a_state_written_out_adds_what_it_added(state: AdapterState) -> None:
    written = plain(state)
    expected, found = gains(state), gains(written)
    assert found.keys() == expected.keys()
    for path, gain in expected.items():
        bound = 1e-6 * (1 + np.abs(gain).max() + np.abs(state.schema.alpha / state.schema.rank) * 40)
        np.testing.assert_allclose(found[path], gain, rtol=0, atol=bound)
    assert {n: a.tobytes() for n, a in written.part("head").items()} == {
        n: a.tobytes() for n, a in state.part("head").items()
    }


@settings(max_examples=80, deadline=None)
@given(states)
def test_what_is_written_out_is_the_adapter_that_anyone_would_derive(state: AdapterState) -> None:
    schema, written = state.schema, plain(state).schema
    head = bool(schema.part("head"))
    shape = next(iter(state.part("lora_A").values())).shape[1], next(iter(state.part("lora_B").values())).shape[0]
    assert written == AdapterSchema.for_base(
        card(*shape, head),
        rank=schema.rank + schema.residual_rank,
        alpha=written.alpha,
        targets=schema.targets,
    )
    assert is_plain(written)
    assert written.alpha / written.rank == pytest.approx(schema.alpha / schema.rank, rel=4e-16)


@settings(max_examples=80, deadline=None)
@given(states)
def test_the_two_pairs_together_are_the_whole(state: AdapterState) -> None:
    first, second = pair(state), residual(state)
    assert (second is None) == (state.schema.residual_rank == 0)
    whole, parts = gains(state), gains(first)
    if second is not None:
        assert second.schema.part("head") == ()
        assert second.schema.rank == state.schema.residual_rank
        parts = {path: gain + gains(second)[path] for path, gain in parts.items()}
    for path, gain in whole.items():
        np.testing.assert_allclose(parts[path], gain, rtol=0, atol=1e-5 * (1 + np.abs(gain).max()) * 64)


def test_a_plain_state_comes_back_as_it_is() -> None:
    state = random_state()
    assert plain(state) is state
    assert pair(state) is state
    assert residual(state) is None


def test_the_product_with_the_core_is_rounded_once_from_sums_in_one_order() -> None:
    state = random_state(form="core", rank=4)
    for name, core in state.part("core").items():
        b = state.tensors[name.replace(".core", ".lora_B")].astype(float)
        expected = np.zeros_like(b)
        for row in range(b.shape[0]):
            for column in range(4):
                for k in range(4):
                    expected[row, column] += b[row, k] * float(core[k, column])
        found = pair(state).tensors[name.replace(".core", ".lora_B")]
        assert found.tobytes() == expected.astype(np.float32).tobytes()


def test_cores_that_multiply_to_infinity_are_refused_by_name() -> None:
    state = random_state(form="core")
    huge = state.replace({n: np.full_like(a, 3e38) for n, a in state.part("core").items()})
    with pytest.raises(ConfigError, match=r"layers\.0\.q_proj\.lora_B holds NaN or infinity"):
        plain(huge)


def test_an_untrained_adapter_of_any_form_adds_nothing() -> None:
    for form, rank in FORMS:
        schema = AdapterSchema.for_base(card(), rank=2, alpha=4, targets=("q_proj",), form=form, residual_rank=rank)
        written = plain(AdapterState.initial(schema, seed=3))
        assert not any(gain.any() for gain in gains(written).values())
