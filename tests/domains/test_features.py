"""The features base: what it computes, and that its head trains by the same exact per-example gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from domains import bases
from domains.features import FeaturesTokenizer, make_features_base, ngrams, words
from domains.language import Base, Writer, collate
from fedclient._fused import FusedGradients
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.errors import BaseMismatch, ConfigError, UnsupportedModel

LABELS = ("flu", "cold", "none")
KNOWN = ("fever", "cough")
PRIOR = {"fever": (2.0, -1.0, 0.0)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "base"
    make_features_base(path, labels=LABELS, known=KNOWN, dimension=16, prior=PRIOR, scale=2.0)
    return path


@pytest.fixture
def state(directory: Path) -> AdapterState:
    schema = AdapterSchema.for_base(Base.load(directory).card, rank=1, alpha=1, targets=())
    rng = np.random.default_rng(3)
    return AdapterState(
        schema=schema, tensors={t.name: rng.normal(size=t.shape).astype(np.float32) for t in schema.tensors}
    )


def slow_logits(prompt: str, state: AdapterState | None) -> np.ndarray:
    """Word by word, from the definition."""
    tokenizer = FeaturesTokenizer(KNOWN, 16)
    x, odds = np.zeros(len(KNOWN) + 16), np.zeros(len(LABELS))
    for word in prompt.split():
        if word in KNOWN:
            x[KNOWN.index(word)] += 1
            odds += np.array(PRIOR.get(word, (0.0, 0.0, 0.0)))
        else:
            number = tokenizer(word)["input_ids"][0] - len(KNOWN) - 1
            x[len(KNOWN) + number // 2] += -1 if number % 2 else 1
    length = np.sqrt((x**2).sum())
    x = 2.0 * x / length if length else x
    if state is None:
        return odds
    return np.asarray(state.tensors["classifier.weight"] @ x + state.tensors["classifier.bias"] + odds)


PROMPTS = st.lists(st.sampled_from(["fever", "cough", "chills", "咳嗽", "x1", "x2"]), max_size=8).map(" ".join)


@settings(deadline=None, max_examples=30)
@given(prompts=st.lists(PROMPTS, min_size=1, max_size=4))
def test_logits_are_those_of_the_definition_whatever_stands_beside(
    prompts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("base") / "base"
    make_features_base(path, labels=LABELS, known=KNOWN, dimension=16, prior=PRIOR, scale=2.0)
    base = Base.load(path)
    schema = AdapterSchema.for_base(base.card, rank=1, alpha=1, targets=())
    rng = np.random.default_rng(3)
    tensors = {t.name: rng.normal(size=t.shape).astype(np.float32) for t in schema.tensors}
    given_state = AdapterState(schema=schema, tensors=tensors)
    alone = base.logits(prompts, max_tokens=99, adapted=False)
    base.adapt(schema, ()).load(given_state)
    adapted = base.logits(prompts, max_tokens=99, adapted=True)
    put_aside = base.logits(prompts, max_tokens=99, adapted=False)
    for row, prompt in enumerate(prompts):
        np.testing.assert_allclose(alone[row], slow_logits(prompt, None), atol=1e-5)
        np.testing.assert_allclose(adapted[row], slow_logits(prompt, given_state), atol=1e-4)
    np.testing.assert_array_equal(alone, put_aside)


def test_each_example_has_its_own_gradient(directory: Path) -> None:
    base = Base.load(directory)
    schema = AdapterSchema.for_base(base.card, rank=1, alpha=1, targets=())
    adapted = base.adapt(schema, ("head",))
    adapted.load(AdapterState.initial(schema, seed=1))
    texts = ("fever cough", "chills x1 x2 cough", "咳嗽")
    encoded = [base.encode(t, "", 99, label=LABELS[i]) for i, t in enumerate(texts)]
    gradients = FusedGradients(adapted)
    with gradients.active():
        found = gradients.of(collate(encoded))
        for i, one in enumerate(encoded):
            alone = gradients.of(collate([one]))
            for together, single in zip(found, alone, strict=True):
                torch.testing.assert_close(together[i], single[0], atol=1e-6, rtol=1e-5)
    parameters = [adapted.parameters[n] for n in ("classifier.bias", "classifier.weight")]
    total = torch.autograd.grad(adapted.sequence_losses(collate(encoded)).sum(), parameters)
    for together, plain in zip(found, total, strict=True):
        torch.testing.assert_close(together.sum(dim=0), plain, atol=1e-6, rtol=1e-5)


def test_taking_the_head_off_leaves_the_base_as_it_was(directory: Path, state: AdapterState) -> None:
    base = Base.load(directory)
    before = base.logits(["fever chills"], max_tokens=9, adapted=False)
    adapted = base.adapt(state.schema, ())
    adapted.load(state)
    model = adapted.detach()
    assert not model.classifier.weight.any()
    np.testing.assert_array_equal(before, base.logits(["fever chills"], max_tokens=9, adapted=True))


def test_the_same_arguments_give_the_same_base_and_others_another(tmp_path: Path) -> None:
    digests = []
    for i, dimension in enumerate((16, 16, 17)):
        make_features_base(tmp_path / str(i), labels=LABELS, known=KNOWN, dimension=dimension, prior=PRIOR)
        digests.append(bases.digest_of(tmp_path / str(i)))
    assert digests[0] == digests[1] != digests[2]


def test_a_changed_prior_is_another_base(tmp_path: Path) -> None:
    make_features_base(tmp_path / "a", labels=LABELS, known=KNOWN, prior=PRIOR)
    make_features_base(tmp_path / "b", labels=LABELS, known=KNOWN, prior={"fever": (2.0, -1.0, 0.5)})
    assert bases.digest_of(tmp_path / "a") != bases.digest_of(tmp_path / "b")
    with pytest.raises(BaseMismatch):
        Base.load(tmp_path / "a", expected_digest=bases.digest_of(tmp_path / "b"))


def test_a_label_is_found_by_its_name_and_an_unknown_one_is_none_of_them(directory: Path) -> None:
    base = Base.load(directory)
    assert base.labels == LABELS
    assert base.encode("fever", "", 9, label="cold").label == 1
    assert base.encode("fever", "", 9, label="measles").label == -1


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": ("one",)},
        {"labels": ("a", "a")},
        {"known": ("a b",)},
        {"known": ("a", "a")},
        {"dimension": 0},
        {"scale": float("inf")},
        {"prior": {"unknown": (0.0, 0.0, 0.0)}},
        {"prior": {"fever": (0.0,)}},
        {"prior": {"fever": (0.0, float("nan"), 0.0)}},
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        make_features_base(tmp_path / "base", **{"labels": LABELS, "known": KNOWN, **wrong})  # type: ignore[arg-type]
    assert not (tmp_path / "base").exists()


def test_a_features_base_is_float32_and_writes_no_text(directory: Path) -> None:
    with pytest.raises(UnsupportedModel, match="float32"):
        Base.load(directory, dtype="bfloat16")
    with pytest.raises(UnsupportedModel, match="write"):
        Writer(Base.load(directory))


def test_features_are_told_once_and_in_order() -> None:
    assert ngrams("ab ab", 1, 2) == ("a", "b", "_", "ab", "b_", "_a")
    assert words("Must not, MUST pay 5%") == ("must", "not", "pay", "5")
    assert FeaturesTokenizer((), 4)("")["input_ids"] == [0]
