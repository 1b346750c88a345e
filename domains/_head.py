"""A classifier whose head alone is trained: no LoRA, so nothing for peft to attach.

The module has what the rest of the house uses of a peft model: it can be put aside for a while, and taken off.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

from torch import nn

__all__ = ["HeadAlone"]


@final
class HeadAlone(nn.Module):
    """A model with a copy of its head in the head's place.

    Args:
        model: A classifier, frozen.
        head: Name of its head, a direct part of it.
    """

    def __init__(self, model: Any, head: str) -> None:
        super().__init__()
        self.model = model
        self._head = head
        self._original = [getattr(model, head)]  # In a list, so that it is no part of this module.
        setattr(model, head, copy.deepcopy(self._original[0]))

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """The model's own head, within the block."""
        trained = getattr(self.model, self._head)
        setattr(self.model, self._head, self._original[0])
        try:
            yield
        finally:
            setattr(self.model, self._head, trained)

    def unload(self) -> Any:
        """The model as it was; this object is of no use afterwards."""
        setattr(self.model, self._head, self._original[0])
        return self.model
