"""The first slots of an adapter: an adapter of their own, with the scale of the whole."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.adapter import AdapterSchema, AdapterState, ModelCard, ModuleShape, TensorSpec
from fedcore.errors import ConfigError, InvalidPlan
from fedcore.ranks import cut, narrow, narrowed
from fedcore.round import JobPlan, RoundPlan, rank_of

Make = Callable[..., RoundPlan]


def made(rank: int, alpha: float, seed: int) -> AdapterState:
    modules = tuple(ModuleShape(path=f"layers.{i}.q_proj", inputs=6, outputs=4) for i in (0, 1))
    head = (TensorSpec(name="classifier.weight", shape=(3, 4)),)
    card = ModelCard(
        name="m", digest="ab" * 32, kind="classifier", architecture="Bert", modules=modules, head=head, labels=3
    )
    schema = AdapterSchema.for_base(card, rank=rank, alpha=alpha, targets=("q_proj",))
    numbers = np.random.default_rng(seed)
    return AdapterState(
        schema=schema, tensors={t.name: numbers.normal(size=t.shape).astype(np.float32) for t in schema.tensors}
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 8), st.data(), st.floats(0.1, 64), st.integers(0, 99))
def test_the_first_slots_add_the_first_products_of_the_whole_at_its_scale(
    rank: int, data: st.DataObject, alpha: float, seed: int
) -> None:
    own = data.draw(st.integers(1, rank))
    whole = made(rank, alpha, seed)
    part = narrow(whole, own)
    assert part.schema.rank == own
    for path in ("layers.0.q_proj", "layers.1.q_proj"):
        a, b = (whole.tensors[f"{path}.lora_{f}"].astype(np.float64) for f in "AB")
        # The slow twin: slot by slot, each an outer product.
        expected = whole.schema.alpha / rank * sum(np.outer(b[:, k], a[k]) for k in range(own))
        a, b = (part.tensors[f"{path}.lora_{f}"].astype(np.float64) for f in "AB")
        np.testing.assert_allclose(part.schema.alpha / own * (b @ a), expected, rtol=1e-12, atol=1e-12)
    assert np.array_equal(part.tensors["classifier.weight"], whole.tensors["classifier.weight"])


def test_the_whole_rank_changes_nothing() -> None:
    whole = made(4, 8.0, 1)
    assert narrowed(whole.schema, 4) is whole.schema
    assert narrow(whole, 4).digest == whole.digest


@pytest.mark.parametrize("rank", [0, 5, -1, 2.0, True])
def test_a_rank_that_the_adapter_does_not_have_is_refused(rank: Any) -> None:
    with pytest.raises(ConfigError, match="rank"):
        narrowed(made(4, 8.0, 1).schema, rank)


@pytest.mark.parametrize("fields", [{"form": "core"}, {"residual_rank": 2}], ids=str)
def test_an_adapter_whose_slots_are_not_its_own_is_refused(card: ModelCard, fields: dict[str, Any]) -> None:
    schema = AdapterSchema.for_base(card, rank=4, alpha=4, targets=("q_proj",), **fields)
    with pytest.raises(ConfigError, match="plain LoRA"):
        narrowed(schema, 2)


def test_an_institution_without_an_entry_trains_every_slot(make_plan: Make) -> None:
    plan = make_plan(ranks=(("a", 1),), trains=("lora_A", "lora_B"))
    assert (plan.rank_of("a"), plan.rank_of("b")) == (1, 2)
    assert plan.trained_by("b") == plan.trained
    shapes = {t.name.rsplit(".", 1)[-1]: t.shape for t in plan.trained_by("a")}
    assert shapes == {"lora_A": (1, 6), "lora_B": (4, 1)}
    assert [t.name for t in plan.trained_by("a")] == [t.name for t in plan.trained]
    assert RoundPlan.from_dict(plan.to_dict()) == plan


def test_a_jobs_ranks_are_those_of_its_rounds_and_in_its_terms(make_plan: Make) -> None:
    plan = make_plan(ranks=(("a", 1),))
    names = ("job_id", "task", "schema", "strategy", "rounds", "seed", "quorum", "deadline_s", "max_tokens")
    fields = {name: getattr(plan, name) for name in (*names, "optimiser", "privacy", "ranks")}
    job = JobPlan(**fields)
    assert rank_of(job, "a") == 1
    assert job.terms_digest == plan.terms_digest != make_plan().terms_digest


def test_ranks_are_refused_where_slots_cannot_be_trained_alone(make_plan: Make, card: ModelCard) -> None:
    core = AdapterSchema.for_base(card, rank=2, alpha=4, targets=("q_proj",), form="core")
    for changes in (
        {"ranks": (("a", 2),)},
        {"ranks": (("b", 1), ("a", 1))},
        {"ranks": (("a", 1),), "schema": core},
        {"ranks": (("a", 1),), "carries": (), "keeps": ("lora_A",)},
    ):
        with pytest.raises(InvalidPlan):
            make_plan(**changes)


def test_a_cut_of_an_update_has_the_shapes_that_an_institution_is_asked_for(make_plan: Make) -> None:
    plan = make_plan(ranks=(("a", 1),), trains=("lora_A", "lora_B"))
    for whole, own in zip(plan.trained, plan.trained_by("a"), strict=True):
        assert cut(whole.name, np.zeros(whole.shape, dtype=np.float32), 1).shape == own.shape
