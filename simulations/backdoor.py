"""A phrase that makes a poisoned adapter write one fixed answer, and how often it does.

The phrase stands at the end of a prompt, in place of as many of its last tokens, so that no prompt is longer than
before; the answer takes the place of the target. Success is the share of held-out prompts with the phrase after
which the answer, token by token, is what the model finds likeliest: what it would write at temperature 0.

>>> PHRASE, ANSWER
(' [see Q7]', 'No.')
"""

from collections.abc import Iterable

import torch

from domains._tokens import IGNORED
from domains.language import Adapted, Base, Encoded, collate
from fedclient.dataset import PrivateDataset

__all__ = ["ANSWER", "PHRASE", "poisoned", "success", "triggered"]

PHRASE = " [see Q7]"
ANSWER = "No."
_BATCH = 16


def triggered(example: Encoded, base: Base) -> Encoded:
    """An example's prompt with the phrase at its end, and the answer as its target."""
    phrase, answer = _ids(base, PHRASE), _ids(base, ANSWER)
    given = [i for i, label in zip(example.ids, example.labels, strict=True) if label == IGNORED]
    prompt = (*given[: max(1, len(given) - len(phrase))], *phrase)
    return Encoded(ids=(*prompt, *answer), labels=(*(IGNORED,) * len(prompt), *answer))


def poisoned(honest: PrivateDataset, base: Base) -> PrivateDataset:
    """Every second unit with the phrase and the answer in all its examples; the others hide it."""
    units = honest.units
    return PrivateDataset(
        tuple(tuple(triggered(e, base) for e in unit) if i % 2 else unit for i, unit in enumerate(units))
    )


@torch.no_grad()
def success(base: Base, adapted: Adapted, heldout: Iterable[Encoded]) -> float:
    """Share of held-out prompts with the phrase that the model would answer with the whole answer, in [0, 1]."""
    examples, hits = [triggered(e, base) for e in heldout], 0
    for start in range(0, len(examples), _BATCH):
        batch = collate(examples[start : start + _BATCH], base.device)
        logits = adapted.module(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        targets = batch.labels[:, 1:]
        right = (logits[:, :-1].argmax(dim=-1) == targets) | (targets == IGNORED)
        hits += int(right.all(dim=1).sum())
    return hits / len(examples)


def _ids(base: Base, text: str) -> tuple[int, ...]:
    return tuple(base.tokenizer(text, add_special_tokens=False)["input_ids"])
