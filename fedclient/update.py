"""What one institution adds to a round, in clear: the only plaintext delta in the house.

It holds noised gradients only, yet it is this institution's alone until it is summed with others': it
leaves by choice of a plan, and never shows in a log.

>>> AdapterUpdate(specs=(), tensors={})
AdapterUpdate
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from fedcore.adapter import AdapterState, FloatArray, TensorSpec, check_tensors, unflatten
from fedcore.errors import ConfigError, ModelError

__all__ = ["AdapterUpdate"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AdapterUpdate:
    """One float32 array for each tensor that a plan trains; read-only.

    After local steps it is new adapter minus old, in a joint round the noised sum of one step's clipped gradients.

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
        return cls._finite(specs, tensors)

    @classmethod
    def of_sum(cls, vector: FloatArray, specs: Iterable[TensorSpec]) -> "AdapterUpdate":
        """A noised sum, shape (parameters,), as the tensors of `specs` in their order.

        Raises:
            ModelError: It left the finite numbers.
        """
        specs = tuple(specs)
        return cls._finite(specs, unflatten(specs, vector))

    def flatten(self) -> FloatArray:
        """All tensors as one vector, in the order of `specs`: shape (parameters,)."""
        return np.concatenate([self.tensors[t.name].ravel() for t in self.specs])

    @classmethod
    def _finite(cls, specs: tuple[TensorSpec, ...], tensors: Mapping[str, FloatArray]) -> "AdapterUpdate":
        """An update, unless training went wrong."""
        try:
            return cls(specs=specs, tensors=tensors)
        except ConfigError as error:
            raise ModelError(
                f"the round did not end in a usable adapter ({error})", do="lower learning_rate"
            ) from error

    def __repr__(self) -> str:
        return "AdapterUpdate"
