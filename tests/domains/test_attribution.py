"""Contributions sum to the answer that they explain: exactly for words, closely for a transformer's tokens."""

from pathlib import Path

import numpy as np
import pytest

from domains.attribution import contributions
from domains.classifying import Classifier
from domains.features import make_features_base
from domains.language import Base
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.errors import ConfigError
from simulations.tiny import make_tiny_base

PROMPT = "fever cough chills zz fever 咳嗽"


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, AdapterState]:
    path = tmp_path / "base"
    prior = {"fever": (2.0, -1.0, 0.0)}
    make_features_base(path, labels=("flu", "cold", "none"), known=("fever", "cough"), dimension=4, prior=prior)
    schema = AdapterSchema.for_base(Base.load(path).card, rank=1, alpha=1, targets=())
    rng = np.random.default_rng(3)
    return path, AdapterState(
        schema=schema, tensors={t.name: rng.normal(size=t.shape).astype(np.float32) for t in schema.tensors}
    )


def test_words_and_bias_sum_to_the_logit(trained: tuple[Path, AdapterState]) -> None:
    judge = Classifier.load(*trained)
    logits = judge.logits([PROMPT])[0]
    for i, label in enumerate(judge.labels):
        total = sum(value for _, value in judge.contributions(PROMPT, label))
        assert total + trained[1].tensors["classifier.bias"][i] == pytest.approx(logits[i], abs=1e-4)


def test_against_others_it_is_the_difference(trained: tuple[Path, AdapterState]) -> None:
    judge = Classifier.load(*trained)
    alone = [np.array([v for _, v in judge.contributions(PROMPT, label)]) for label in judge.labels]
    held = [v for _, v in judge.contributions(PROMPT, "flu", ("cold", "none"))]
    np.testing.assert_allclose(held, alone[0] - (alone[1] + alone[2]) / 2, atol=1e-5)


def test_base_alone_explains_its_prior(trained: tuple[Path, AdapterState]) -> None:
    found = contributions(Base.load(trained[0]), "fever cough", "flu", adapted=False)
    assert [(c.text, c.value) for c in found] == [("fever", 2.0), ("cough", 0.0)]


def test_unknown_label_is_refused(trained: tuple[Path, AdapterState]) -> None:
    with pytest.raises(ConfigError, match="does not have the label"):
        contributions(Base.load(trained[0]), "fever", "measles", adapted=False)


def test_tokens_of_a_transformer_sum_to_the_difference_from_padding(tmp_path: Path) -> None:
    base = Base.load(make_tiny_base(tmp_path / "bert", "bert"))
    label = base.labels[0]
    found = contributions(base, "fever and cough", label, adapted=False)
    ids = base.tokenizer("fever and cough")["input_ids"]
    blank = Base.logits(base, ["fever and cough"], max_tokens=99, adapted=False)[0, 0]
    import torch

    padding = torch.full((1, len(ids)), base.tokenizer.pad_token_id)
    with torch.no_grad():
        start = float(base.model(input_ids=padding, attention_mask=torch.ones_like(padding)).logits[0, 0])
    assert sum(c.value for c in found) == pytest.approx(float(blank) - start, abs=0.02)
