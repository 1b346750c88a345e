"""The sum of products B A over institutions, kept as two factors: what strategies need that fold products.

An institution's own product is (B + dB)(A + dA), with the factors as float32, as it holds them itself after the
round. Two ways to keep their sum, chosen for each module from the plan alone:

- *stacked*, where the whole cohort's factors side by side are no wider than the module's narrower side: left is
  [B_1 B_2 ...], right [A_1; A_2; ...], nothing is rounded, and institutions stand in order of their names.
- *multiplied out*, where they would be wider: the product itself is summed, in whole numbers (see `_units.py`),
  beside an identity matrix. The usual way to keep a wide stack small is to factor it again (QR) whenever it gets too
  wide; that rounds at other points when updates come in another order, and whole numbers do not.

So the memory of a module is at most about 8 * inputs * outputs bytes, however many institutions there are, and
neither way depends on who answered first.
"""

import math
from collections.abc import Mapping

import numpy as np

from fedcore.adapter import AdapterState, FloatArray
from fedcore.round import RoundPlan
from fedserver._units import WholeSum

__all__ = ["Products"]


class Products:
    """See the module.

    Guarantee: multiplied out, each number of `left @ right` is within w n 2^-(k + 1) + 2^-23 |sum| of the exact one,
    where k is `binary_places` of the largest product that the limit allows, for n institutions of weight w.

    Args:
        plan: The round's.
        state: Before the round.
        limit_l2: Largest norm of one update.
        institutions: How many are added at most; None takes the plan's cohort.
    """

    def __init__(
        self, plan: RoundPlan, state: AdapterState, *, limit_l2: float, institutions: int | None = None
    ) -> None:
        count = len(plan.cohort) if institutions is None else institutions
        ranks = dict(plan.ranks) if institutions is None else {}
        width = sum(ranks.get(name, plan.schema.rank) for name in plan.cohort[:count])
        paths = [t.name.removesuffix(".lora_B") for t in plan.schema.part("lora_B")]
        self._modules: dict[str, _Stack | _Product] = {}
        for path in paths:
            b, a = state.tensors[f"{path}.lora_B"], state.tensors[f"{path}.lora_A"]
            if width <= min(b.shape[0], a.shape[1]) or count == 1:
                self._modules[path] = _Stack(b, a)
            else:
                self._modules[path] = _Product(b, a, limit_l2, count)

    def add(self, institution: str, update: Mapping[str, FloatArray]) -> None:
        """Add an institution's product.

        Args:
            institution: Its name.
            update: Its update, each factor of the rank that it holds; a factor that is not trained is the state's.
        """
        for path, module in self._modules.items():
            d_b, d_a = update.get(f"{path}.lora_B"), update.get(f"{path}.lora_A")
            rank = module.rank if d_b is None else d_b.shape[1]
            rank = rank if d_a is None else min(rank, d_a.shape[0])
            b, a = module.b[:, :rank], module.a[:rank]
            module.add(institution, b if d_b is None else b + d_b[:, :rank], a if d_a is None else a + d_a[:rank])

    def pairs(self, weight: float) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Module path -> (left, right), float32, shapes (outputs, k) and (k, inputs); see `CohortSum.products`."""
        return {path: module.pair(weight) for path, module in self._modules.items()}


class _Stack:
    """One module's factors side by side."""

    def __init__(self, b: FloatArray, a: FloatArray) -> None:
        self.b, self.a, self.rank = b, a, b.shape[1]
        self._own: dict[str, tuple[FloatArray, FloatArray]] = {}

    def add(self, institution: str, b: FloatArray, a: FloatArray) -> None:
        self._own[institution] = (b, a)

    def pair(self, weight: float) -> tuple[FloatArray, FloatArray]:
        own = [self._own[name] for name in sorted(self._own)]
        left = np.concatenate([b for b, _ in own], axis=1)
        return left * np.float32(weight), np.concatenate([a for _, a in own], axis=0)


class _Product:
    """One module's products, added up as one matrix."""

    def __init__(self, b: FloatArray, a: FloatArray, limit_l2: float, members: int) -> None:
        self.b, self.a, self.rank = b, a, b.shape[1]
        # By Cauchy and Schwarz no number of (B + dB)(A + dA) is above the product of a row's and a column's length.
        row = math.sqrt(float(np.square(b, dtype=np.float64).sum(axis=1).max()))
        column = math.sqrt(float(np.square(a, dtype=np.float64).sum(axis=0).max()))
        self._sum = WholeSum((b.shape[0], a.shape[1]), (row + limit_l2) * (column + limit_l2), members)

    def add(self, institution: str, b: FloatArray, a: FloatArray) -> None:
        self._sum.add(b.astype(np.float64) @ a.astype(np.float64))

    def pair(self, weight: float) -> tuple[FloatArray, FloatArray]:
        total = self._sum.total(weight)
        outputs, inputs = total.shape
        if inputs <= outputs:
            return total, np.eye(inputs, dtype=np.float32)
        return np.eye(outputs, dtype=np.float32), total
