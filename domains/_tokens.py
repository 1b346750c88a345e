"""Examples as tokens, and batches of them. Part of `domains.language`, which offers these names."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["IGNORED", "Encoded", "TokenBatch", "collate"]

IGNORED = -100
"""The label of a position that no loss is taken at; torch's own convention."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Encoded:
    """One example as tokens: `labels` are -100 on the prompt; `label` is a class, for classifiers."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    label: int | None = None

    def __repr__(self) -> str:
        return "Encoded"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class TokenBatch:
    """Sequences padded on the right to one length; labels are -100 on prompts and padding."""

    input_ids: Int[Tensor, "sequences tokens"]
    attention_mask: Int[Tensor, "sequences tokens"]
    labels: Int[Tensor, "sequences tokens"]
    class_labels: Int[Tensor, " sequences"] | None = None

    def __repr__(self) -> str:
        return "TokenBatch"


def collate(encoded: Sequence[Encoded], device: torch.device | str = "cpu") -> TokenBatch:
    """Pad at least one sequence on the right to the longest of them.

    The padding token is 0: it is masked from attention and from the loss, so its value changes nothing.
    """
    width = max(len(e.ids) for e in encoded)
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORED)
    for row, example in enumerate(encoded):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        labels[row, :length] = torch.tensor(example.labels)
        mask[row, :length] = 1
    classes = [e.label for e in encoded if e.label is not None]
    return TokenBatch(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        labels=labels.to(device),
        class_labels=torch.tensor(classes, device=device) if len(classes) == len(encoded) else None,
    )
