"""What one institution's adapter changed by in one round: the only plaintext delta in the house.

It holds noised gradients only, yet it is this institution's alone until it is summed with others': it
leaves by choice of a plan, and never shows in a log.

>>> AdapterUpdate(specs=(), tensors={})
AdapterUpdate
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from fedcore.adapter import AdapterState, FloatArray, TensorSpec, check_tensors
from fedcore.errors import ConfigError, ModelError

__all__ = ["AdapterUpdate"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AdapterUpdate:
    """New adapter minus old, one float32 array for each tensor that a plan trains; read-only.

    Raises:
        ConfigError: A tensor is missing, extra, of another shape or type, or not finite.
    """

    specs: tuple[TensorSpec, ...]
    tensors: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        check_tensors(self.specs, self.tensors)
        frozen = {t.name: self.tensors[t.name].copy() for t in self.specs}
        for array in frozen.values():
            array.flags.writeable = False
        object.__setattr__(self, "tensors", MappingProxyType(frozen))

    @classmethod
    def between(cls, old: AdapterState, new: Mapping[str, FloatArray], specs: Iterable[TensorSpec]) -> "AdapterUpdate":
        """What `specs` changed by from `old` to `new`.

        Raises:
            ModelError: Training left the finite numbers.
        """
        specs = tuple(specs)
        with np.errstate(invalid="ignore", over="ignore"):
            tensors = {t.name: (new[t.name] - old.tensors[t.name]).astype(np.float32, copy=False) for t in specs}
        try:
            return cls(specs=specs, tensors=tensors)
        except ConfigError as error:
            raise ModelError(
                f"the round did not end in a usable adapter ({error})", do="lower learning_rate"
            ) from error

    def __repr__(self) -> str:
        return "AdapterUpdate"
