"""What the strategies that fold products share: the mean product of a module, and the mean of a head.

>>> path_of("layers.0.q_proj.lora_A")
'layers.0.q_proj'
"""

from collections.abc import Iterator

import numpy as np

from fedcore.adapter import AdapterSchema, FloatArray
from fedcore.errors import ConfigError
from fedcore.round import CohortSum
from fedserver.strategies._low_rank import Double

__all__ = ["head_mean", "mean_products", "path_of"]


def mean_products(schema: AdapterSchema, cohort: CohortSum) -> Iterator[tuple[str, Double, Double]]:
    """For each module (path, left, right): left @ right is the weighted mean of the institutions' own B A.

    Raises:
        ConfigError: The sum has no product of a module, or one of another shape.
    """
    for spec in schema.part("lora_A"):
        path, inputs = path_of(spec.name), spec.shape[1]
        (outputs,) = (t.shape[0] for t in schema.part("lora_B") if t.name == f"{path}.lora_B")
        if path not in cohort.products:
            raise ConfigError(
                f"a cohort's sum holds no product of {path}", do="fold what the institutions sent in clear"
            )
        left, right = cohort.products[path]
        if (left.shape[0], right.shape[-1]) != (outputs, inputs):
            raise ConfigError(f"the product of {path} has another shape than its module")
        yield path, left.astype(np.float64) / cohort.weight, right.astype(np.float64)


def head_mean(schema: AdapterSchema, cohort: CohortSum) -> dict[str, FloatArray]:
    """The weighted mean update of a classifier's head, where the sum holds one."""
    heads = {t.name for t in schema.part("head")}
    return {name: update for name, update in cohort.mean().items() if name in heads}


def path_of(name: str) -> str:
    """The module that a tensor of an adapter belongs to."""
    return name.rpartition(".")[0]
