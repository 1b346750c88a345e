"""What each piece of a prompt adds to a classifier's answer: exact for a features base, integrated for others.

The answer explained is a label's logit, less the mean logit of the labels that it is held against. A features
base is linear in its inputs, so the contributions of its words and the bias sum to the answer exactly. For a
transformer they are integrated gradients along the path from padding to the prompt (by captum), which sum to the
difference of the two answers as closely as the steps allow.

    with attribution to words:  contributions(base, prompt, "Pneumonia", against=("Influenza",), adapted=True)
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from domains.base import Sensitive
from domains.features import FeaturesForSequenceClassification
from domains.language import Base, collate
from fedcore.errors import ConfigError, UnsupportedModel

__all__ = ["Contribution", "contributions"]

_STEPS = 64


@dataclass(frozen=True, kw_only=True, repr=False)
class Contribution(Sensitive):
    """A piece of a prompt and what it adds; positive speaks for the label."""

    text: str
    value: float


def contributions(
    base: Base, prompt: str, label: str, *, against: Sequence[str] = (), adapted: bool, max_tokens: int = 4096
) -> tuple[Contribution, ...]:
    """What each word (of a features base) or token (of a transformer) adds, in the prompt's order.

    Args:
        base: A classifier.
        prompt: As it was judged.
        label: One of the base's labels.
        against: Labels that it is held against; none for the bare logit.
        adapted: With the adapter that is attached, or the base alone.
        max_tokens: As it was judged with.
    Raises:
        ConfigError: The base does not have such a label.
        UnsupportedModel: captum is not installed, for a transformer.
    """
    unknown = [name for name in (label, *against) if name not in base.labels]
    if unknown:
        raise ConfigError("the classifier does not have the label that is to be explained", do="use one of its labels")
    weights = torch.zeros(len(base.labels), dtype=torch.float32)
    weights[base.labels.index(label)] = 1.0
    for other in against:
        weights[base.labels.index(other)] -= 1.0 / len(against)
    with nullcontext() if adapted else base.without_adapter():
        model = base.model
        if isinstance(model, FeaturesForSequenceClassification):
            return _linear(base, model, prompt, weights, max_tokens)
        return _integrated(base, prompt, weights, max_tokens)


@torch.no_grad()
def _linear(
    base: Base, model: FeaturesForSequenceClassification, prompt: str, weights: Any, max_tokens: int
) -> tuple[Contribution, ...]:
    """Each word's share of the scaled input through the head, plus its prior."""
    words = prompt.split()[:max_tokens]
    batch = collate([base.encode(prompt, "", max_tokens)], base.device)
    whole = model.inputs(batch.input_ids, batch.attention_mask)[0]
    out = []
    for word in words:
        one = collate([base.encode(word, "", 1)], base.device)
        unit = model.inputs(one.input_ids, one.attention_mask)[0]  # +-scale at the word's input, 0 elsewhere.
        odds = model(input_ids=one.input_ids, attention_mask=one.attention_mask).logits[0]
        head = model.classifier(unit) - model.classifier.bias
        prior = odds - head - model.classifier.bias
        out.append((word, float(head @ weights), float(prior @ weights)))
    shrink = _shrink(base, model, words, whole)
    return tuple(Contribution(text=w, value=h * shrink + p) for w, h, p in out)


def _shrink(base: Base, model: FeaturesForSequenceClassification, words: Sequence[str], whole: Any) -> float:
    """How much scaling to one length shrinks each word's input."""
    total = torch.zeros_like(whole)
    for word in words:
        one = collate([base.encode(word, "", 1)], base.device)
        total += model.inputs(one.input_ids, one.attention_mask)[0]
    length = float(total.norm())
    return float(whole.norm()) / length if length else 0.0


def _integrated(base: Base, prompt: str, weights: Any, max_tokens: int) -> tuple[Contribution, ...]:
    """Integrated gradients over the input embeddings (Sundararajan et al. 2017, arXiv:1703.01365)."""
    try:
        from captum.attr import LayerIntegratedGradients
    except ModuleNotFoundError as error:
        raise UnsupportedModel(
            "attribution for a transformer needs the Python package 'captum'", do="pip install 'concordat[domains]'"
        ) from error
    batch = collate([base.encode(prompt, "", max_tokens)], base.device)
    ids, mask = batch.input_ids, batch.attention_mask
    ids = ids.masked_fill(mask == 0, base.tokenizer.pad_token_id)

    def answer(tokens: Any) -> Any:
        return base.model(input_ids=tokens, attention_mask=mask).logits.float() @ weights.to(ids.device)

    method = LayerIntegratedGradients(answer, base.model.get_input_embeddings())
    found = method.attribute(ids, baselines=torch.full_like(ids, base.tokenizer.pad_token_id), n_steps=_STEPS)
    values = found.sum(dim=-1)[0].tolist()
    return tuple(
        Contribution(text=str(base.tokenizer.decode([i])).strip(), value=float(v))
        for i, v in zip(ids[0].tolist(), values, strict=True)
    )
