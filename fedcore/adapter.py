"""Adapters as named arrays: what is trained, in which shapes, and the state between rounds.

A base model is described by its **ModelCard** (public, no weights), from which anyone without torch
derives the **AdapterSchema** of a job. An **AdapterState** holds one value for each tensor of a schema.
This module never knows which party runs it, nor any framework.

A LoRA layer on a linear module W (out x in) adds (alpha / rank) * B A with A: (rank, in), B: (out, rank)
(Hu et al. 2021, arXiv:2106.09685). B starts at zero, A from a seed that is public, so an untouched
factor never travels.

>>> card = ModelCard(name="tiny", digest="0" * 64, kind="causal", architecture="Llama",
...                  modules=(ModuleShape(path="layers.0.q_proj", inputs=8, outputs=8),))
>>> schema = AdapterSchema.for_base(card, rank=2, alpha=4, targets=("q_proj",))
>>> [(t.name, t.shape) for t in schema.tensors]
[('layers.0.q_proj.lora_A', (2, 8)), ('layers.0.q_proj.lora_B', (8, 2))]
>>> AdapterState.initial(schema, seed=1).part("lora_B")["layers.0.q_proj.lora_B"].any()
np.False_
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedcore import canonical
from fedcore.errors import ConfigError, ModelError

__all__ = ["PARTS", "AdapterSchema", "AdapterState", "FloatArray", "Form", "ModelCard", "ModuleShape", "TensorSpec"]

FloatArray = npt.NDArray[np.float32]

PARTS = ("lora_A", "lora_B", "core", "head", "residual_A", "residual_B")
"""The parts of an adapter. `head` is a classifier's last layer, trained whole; `core` an r x r matrix between two
frozen factors; the residual a second, frozen pair of factors beside the first."""

Form = Literal["lora", "core"]
"""What a layer adds: B A, or B core A with B and A at their public initial values."""

_FACTORS = tuple(part for part in PARTS if part != "head")


@dataclass(frozen=True, kw_only=True)
class ModuleShape:
    """A linear module of a base model that LoRA can attach to."""

    path: str
    inputs: int
    outputs: int


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What everyone may know of a base model: identity and shapes, no weights.

    `head` lists the tensors of a classifier's head, empty for a causal model.
    """

    name: str
    digest: str
    kind: Literal["causal", "classifier"]
    architecture: str
    modules: tuple[ModuleShape, ...]
    head: tuple["TensorSpec", ...] = ()
    licence: str = "unknown"
    labels: int = 0

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "ModelCard":
        """Read a card.

        Raises:
            ModelError: A field is missing, unknown or of the wrong type.
        """
        try:
            fields = dict(value)
            fields["modules"] = tuple(ModuleShape(**m) for m in fields["modules"])
            fields["head"] = tuple(TensorSpec(name=h["name"], shape=tuple(h["shape"])) for h in fields.get("head", ()))
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ModelError(
                f"a model card cannot be read ({error})", do="make it again with 'concordat model add'"
            ) from error


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name and shape of one float32 tensor of an adapter."""

    name: str
    shape: tuple[int, ...]

    @property
    def part(self) -> str:
        """Which of `PARTS` it belongs to."""
        last = self.name.rsplit(".", 1)[-1]
        return last if last in _FACTORS else "head"

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class AdapterSchema:
    """Which tensors a job trains, by name, in one order, on one base.

    Raises:
        ConfigError: No tensors, a name that stands twice, or tensors out of order.
    """

    base_digest: str
    rank: int
    alpha: float
    targets: tuple[str, ...]
    tensors: tuple[TensorSpec, ...]
    form: Form = "lora"
    residual_rank: int = 0
    """Rank of the residual; 0 where there is none."""

    def __post_init__(self) -> None:
        names = [t.name for t in self.tensors]
        if not names or names != sorted(set(names)):
            raise ConfigError("an adapter schema needs tensors with distinct names in sorted order")
        if self.rank < 1 or not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError("an adapter's rank and alpha must be above zero")
        if self.form not in ("lora", "core") or type(self.residual_rank) is not int or self.residual_rank < 0:
            raise ConfigError("an adapter's form is not known, or its residual's rank is below zero")

    @classmethod
    def for_base(
        cls,
        card: ModelCard,
        *,
        rank: int,
        alpha: float,
        targets: Iterable[str],
        form: Form = "lora",
        residual_rank: int = 0,
    ) -> "AdapterSchema":
        """Derive the schema of a LoRA adapter on a base; a classifier's head is part of it.

        Args:
            card: The base.
            rank: Rank of each LoRA pair, >= 1.
            alpha: LoRA's scale is alpha / rank.
            targets: Last components of the module paths to attach to, such as "q_proj".
            form: "core" adds a square `core` between the factors.
            residual_rank: Rank of a second pair of factors; 0 for none.
        Raises:
            ConfigError: A target matches no module, or rank or alpha is out of range.
        """
        wanted = tuple(sorted(set(targets)))
        tensors = list(card.head)
        for target in wanted:
            hits = [m for m in card.modules if m.path == target or m.path.endswith("." + target)]
            if not hits:
                known = sorted({m.path.rsplit(".", 1)[-1] for m in card.modules})
                raise ConfigError(
                    f"the base {card.name} has no module {target!r}", expected="one of " + ", ".join(known)
                )
            for m in hits:
                tensors.append(TensorSpec(name=f"{m.path}.lora_A", shape=(rank, m.inputs)))
                tensors.append(TensorSpec(name=f"{m.path}.lora_B", shape=(m.outputs, rank)))
                if form == "core":
                    tensors.append(TensorSpec(name=f"{m.path}.core", shape=(rank, rank)))
                if residual_rank > 0:
                    tensors.append(TensorSpec(name=f"{m.path}.residual_A", shape=(residual_rank, m.inputs)))
                    tensors.append(TensorSpec(name=f"{m.path}.residual_B", shape=(m.outputs, residual_rank)))
        ordered = tuple(sorted(tensors, key=lambda t: t.name))
        return cls(
            base_digest=card.digest,
            rank=rank,
            alpha=alpha,
            targets=wanted,
            tensors=ordered,
            form=form,
            residual_rank=residual_rank,
        )

    def part(self, *parts: str) -> tuple[TensorSpec, ...]:
        """The tensors of the named parts, in order."""
        return tuple(t for t in self.tensors if t.part in parts)

    @property
    def frozen(self) -> frozenset[str]:
        """The parts that no institution trains: a residual, and the factors around a core."""
        return frozenset({"residual_A", "residual_B"} | ({"lora_A", "lora_B"} if self.form == "core" else set()))

    @property
    def parameters(self) -> int:
        """How many numbers the whole adapter holds."""
        return sum(t.size for t in self.tensors)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "AdapterSchema":
        """Read a schema.

        Raises:
            ConfigError: It cannot be read.
        """
        try:
            fields = dict(value)
            fields["targets"] = tuple(fields["targets"])
            fields["tensors"] = tuple(TensorSpec(name=t["name"], shape=tuple(t["shape"])) for t in fields["tensors"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"an adapter schema cannot be read ({error})") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the schema, hexadecimal."""
        return canonical.digest(self.to_dict())


@dataclass(frozen=True, kw_only=True, eq=False)
class AdapterState:
    """One float32 array for every tensor of a schema; read-only.

    Raises:
        ConfigError: A tensor is missing, extra, of another shape or type, or not finite.
    """

    schema: AdapterSchema
    tensors: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        check_tensors(self.schema.tensors, self.tensors)
        frozen = {t.name: self.tensors[t.name].copy() for t in self.schema.tensors}
        for array in frozen.values():
            array.flags.writeable = False
        object.__setattr__(self, "tensors", MappingProxyType(frozen))

    @classmethod
    def initial(cls, schema: AdapterSchema, seed: int) -> "AdapterState":
        """The state before round 1: A uniform in +-1/sqrt(inputs) from the public seed, the rest zero.

        In the form "core" B is uniform in +-sqrt(3/outputs), so that its columns have length 1 on average.

        The bound is that of Kaiming uniform initialisation with a = sqrt(5), which peft uses. The stream
        is AES-256-CTR keyed by SHA-256 of seed and tensor name, so that every party and version agrees
        to the last bit. It is public: never a source of noise.
        """
        tensors = {}
        for spec in schema.tensors:
            if spec.part == "lora_A":
                bound = np.float32(1.0 / math.sqrt(spec.shape[1]))
                tensors[spec.name] = (_public_uniform(seed, spec) * 2 - 1) * bound
            elif spec.part == "lora_B" and schema.form == "core":
                bound = np.float32(math.sqrt(3.0 / spec.shape[0]))
                tensors[spec.name] = (_public_uniform(seed, spec) * 2 - 1) * bound
            else:
                tensors[spec.name] = np.zeros(spec.shape, dtype=np.float32)
        return cls(schema=schema, tensors=tensors)

    def part(self, *parts: str) -> dict[str, FloatArray]:
        """The tensors of the named parts, by name, in order."""
        return {t.name: self.tensors[t.name] for t in self.schema.part(*parts)}

    def replace(self, tensors: Mapping[str, FloatArray]) -> "AdapterState":
        """A new state with some tensors changed."""
        return AdapterState(schema=self.schema, tensors={**self.tensors, **tensors})

    def flatten(self, *parts: str) -> FloatArray:
        """The named parts (all, when none is named) as one vector, shape (parameters,)."""
        arrays = self.part(*(parts or PARTS)).values()
        return np.concatenate([a.ravel() for a in arrays]).astype(np.float32, copy=False)

    @property
    def digest(self) -> str:
        """SHA-256 over schema, names and little-endian bytes, hexadecimal."""
        h = hashlib.sha256(self.schema.digest.encode())
        for name, array in self.tensors.items():
            h.update(name.encode() + b"\0" + array.astype("<f4").tobytes())
        return h.hexdigest()

    def __repr__(self) -> str:
        return f"AdapterState({self.digest[:12]})"


def check_tensors(specs: Iterable[TensorSpec], tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Require exactly the named tensors, float32, in their shapes, all finite.

    Raises:
        ConfigError: The first fault found, by tensor name; never a value.
    """
    expected = {t.name: t for t in specs}
    if missing := sorted(expected.keys() - tensors.keys()):
        raise ConfigError(f"the tensor {missing[0]} is missing ({len(missing)} in all)")
    if extra := sorted(tensors.keys() - expected.keys()):
        raise ConfigError(f"the tensor {extra[0]!r} is not part of the schema ({len(extra)} in all)")
    for name, spec in expected.items():
        array = tensors[name]
        if array.dtype != np.float32:
            raise ConfigError(f"the tensor {name} has the wrong type", expected="float32", got=str(array.dtype))
        if array.shape != spec.shape:
            raise ConfigError(f"the tensor {name} has the wrong shape", expected=str(spec.shape), got=str(array.shape))
        if not np.isfinite(array).all():
            raise ConfigError(f"the tensor {name} holds NaN or infinity")


def unflatten(specs: Iterable[TensorSpec], vector: FloatArray) -> dict[str, FloatArray]:
    """Cut a vector, shape (parameters,), into the named tensors.

    Raises:
        ConfigError: The vector is longer or shorter than the tensors.
    """
    specs = tuple(specs)
    total = sum(t.size for t in specs)
    if vector.shape != (total,):
        raise ConfigError("a vector does not fit its tensors", expected=f"({total},)", got=str(vector.shape))
    out, start = {}, 0
    for spec in specs:
        out[spec.name] = vector[start : start + spec.size].reshape(spec.shape)
        start += spec.size
    return out


def _public_uniform(seed: int, spec: TensorSpec) -> FloatArray:
    """Uniform float32 in [0, 1) on 24 bits, shape of `spec`, from a public stream."""
    key = hashlib.sha256(f"concordat/initial/{seed}/{spec.name}".encode()).digest()
    stream = Cipher(algorithms.AES256(key), modes.CTR(b"\0" * 16)).encryptor()
    words = np.frombuffer(stream.update(b"\0" * (4 * spec.size)), dtype="<u4")
    return ((words >> 8).astype(np.float32) / np.float32(1 << 24)).reshape(spec.shape)
