"""What an operator reads of an adapter: its form, its size and what of it does not train."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fedclient.terms import in_words
from fedcore.adapter import AdapterSchema, Form, ModelCard, TensorSpec
from fedcore.round import RoundPlan

HEAD = (TensorSpec(name="classifier.bias", shape=(3,)),)
PLAIN = "LoRA of rank 2 on q_proj: "


@pytest.mark.parametrize(
    ("form", "residual", "head", "words"),
    [
        ("lora", 0, False, PLAIN + "40 numbers"),
        ("lora", 6, False, PLAIN + "160 numbers; a residual of rank 6, 120 of the numbers, does not train"),
        ("core", 0, False, PLAIN + "48 numbers; only the square cores between its factors train, 8 numbers"),
        (
            "core",
            0,
            True,
            PLAIN + "51 numbers; only the square cores between its factors and the head train, 11 numbers",
        ),
        (
            "core",
            3,
            False,
            PLAIN + "108 numbers; only the square cores between its factors train, 8 numbers;"
            " a residual of rank 3, 60 of the numbers, does not train",
        ),
    ],
)
def test_the_words_name_the_form_of_the_adapter(
    make_plan: Callable[..., RoundPlan], card: ModelCard, form: Form, residual: int, head: bool, words: str
) -> None:
    card = replace(card, head=HEAD if head else ())
    schema = AdapterSchema.for_base(card, rank=2, alpha=4, targets=("q_proj",), form=form, residual_rank=residual)
    trains = ("core",) if form == "core" else ("lora_B",)
    assert dict(in_words(make_plan(schema=schema, trains=trains, carries=())))["adapter"] == words
