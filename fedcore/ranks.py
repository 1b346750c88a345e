"""The first slots of an adapter: what an institution trains whose rank is lower than the job's.

Slot k of a LoRA pair is row k of A and column k of B; B A is the sum of the slots' own products, so that the first
slots by themselves are an adapter, and the more important ones where a strategy orders them. Its scale is that of the
whole: alpha times own rank over rank, which divided by the own rank is alpha over rank again.

>>> first_slots(TensorSpec(name="q_proj.lora_B", shape=(8, 4)), 2).shape
(8, 2)
>>> first_slots(TensorSpec(name="classifier.weight", shape=(3, 8)), 2).shape
(3, 8)
"""

from dataclasses import replace

from fedcore.adapter import AdapterSchema, AdapterState, FloatArray, TensorSpec
from fedcore.errors import ConfigError

__all__ = ["cut", "first_slots", "narrow", "narrowed"]

_AXES = {"lora_A": 0, "lora_B": 1}
"""Along which axis the slots of a factor lie."""


def first_slots(spec: TensorSpec, rank: int) -> TensorSpec:
    """A tensor of an adapter with the first `rank` slots alone; a head has no slots and stays whole."""
    axis = _AXES.get(spec.part)
    if axis is None:
        return spec
    return replace(spec, shape=tuple(rank if i == axis else size for i, size in enumerate(spec.shape)))


def cut(name: str, array: FloatArray, rank: int) -> FloatArray:
    """The values of `first_slots`: a view."""
    axis = _AXES.get(TensorSpec(name=name, shape=array.shape).part)
    if axis is None:
        return array
    return array[:rank] if axis == 0 else array[:, :rank]


def narrowed(schema: AdapterSchema, rank: int) -> AdapterSchema:
    """The schema of the first `rank` slots, which scales as the whole does.

    Raises:
        ConfigError: The adapter has not so many slots, or is not plain LoRA, whose slots are independent.
    """
    if schema.form != "lora" or schema.residual_rank:
        raise ConfigError("only plain LoRA has slots that can be trained by themselves", got=f"form {schema.form}")
    if type(rank) is not int or not 1 <= rank <= schema.rank:
        raise ConfigError(
            "an own rank is out of range", expected=f"a whole number from 1 to {schema.rank}", got=repr(rank)
        )
    if rank == schema.rank:
        return schema
    return replace(
        schema,
        rank=rank,
        alpha=schema.alpha * rank / schema.rank,
        tensors=tuple(first_slots(t, rank) for t in schema.tensors),
    )


def narrow(state: AdapterState, rank: int) -> AdapterState:
    """The first `rank` slots of a state.

    Raises:
        ConfigError: As `narrowed`.
    """
    schema = narrowed(state.schema, rank)
    return AdapterState(schema=schema, tensors={n: cut(n, array, rank) for n, array in state.tensors.items()})
