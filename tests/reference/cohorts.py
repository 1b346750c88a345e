"""Made-up cohorts for the tests of strategies: what each institution holds after a round, and the sum of it all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedcore.adapter import AdapterSchema, AdapterState, ModelCard, ModuleShape, TensorSpec
from fedcore.round import CohortSum
from fedserver.strategies import Strategy
from tests.reference.folds import Factors

PATHS = ("layers.0.proj", "layers.1.proj")


def schema_for(strategy: Strategy, *, rank: int = 2, outputs: int = 6, inputs: int = 5) -> AdapterSchema:
    """Two modules and a classifier's head, in the form that a strategy trains."""
    card = ModelCard(
        name="paper",
        digest="ab" * 32,
        kind="classifier",
        architecture="Llama",
        modules=tuple(ModuleShape(path=path, inputs=inputs, outputs=outputs) for path in PATHS),
        head=(TensorSpec(name="score.weight", shape=(3, outputs)),),
        labels=3,
    )
    traits = strategy.traits
    return AdapterSchema.for_base(
        card, rank=rank, alpha=4, targets=("proj",), form=traits.form, residual_rank=traits.residual_times * rank
    )


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """A state, and an update of each institution, of its own rank and weight."""

    state: AdapterState
    trains: tuple[str, ...]
    updates: tuple[dict[str, Any], ...]
    """Padded with zeros to the full rank."""
    ranks: tuple[int, ...]
    weights: tuple[float, ...]

    @classmethod
    def drawn(
        cls,
        strategy: Strategy,
        seed: int,
        *,
        round: int = 1,
        count: int = 3,
        ranks: Sequence[int] = (),
        weights: Sequence[float] = (),
        schema: AdapterSchema | None = None,
        fresh: bool = False,
        alike: bool = False,
    ) -> "Cohort":
        """Random numbers everywhere.

        Args:
            strategy: Whose parts are trained.
            seed: Of all numbers.
            round: What its `trains` is asked for.
            count: How many institutions.
            ranks, weights: Of each; by default the full rank and 1.
            schema: Of the adapter.
            fresh: Start from the initial state and not from one in the middle of a job.
            alike: All send the same update.
        """
        random = np.random.default_rng(seed)
        schema = schema or schema_for(strategy)
        state = AdapterState.initial(schema, seed=seed)
        if not fresh:
            # The residual is small beside the adapter, as it is in life.
            scale = {"residual_A": 0.1, "residual_B": 0.1}
            state = state.replace({t.name: _normal(random, t.shape, scale.get(t.part, 0.5)) for t in schema.tensors})
        trains, ranks = strategy.trains(round), tuple(ranks) or (schema.rank,) * count
        updates = [
            {t.name: padded(_normal(random, t.shape, 0.2), t, rank) for t in schema.part(*trains)} for rank in ranks
        ]
        return cls(
            state=state,
            trains=trains,
            updates=tuple(updates[:1] * len(ranks) if alike else updates),
            ranks=ranks,
            weights=tuple(weights) or (1.0,) * len(ranks),
        )

    def own(self, path: str) -> list[Factors]:
        """Each institution's B and A of a module after the round, at its own rank."""

        def factor(update: dict[str, Any], name: str) -> Any:
            change = update.get(name, np.float32(0))
            return (self.state.tensors[name] + change).astype(np.float32)

        return [
            (factor(update, f"{path}.lora_B")[:, :rank], factor(update, f"{path}.lora_A")[:rank])
            for update, rank in zip(self.updates, self.ranks, strict=True)
        ]

    def sum(self, *, order: Sequence[int] = (), scale: float = 1.0) -> CohortSum:
        """What a strategy sees of it.

        Args:
            order: In which the institutions are added.
            scale: Of all weights.
        """
        order = order or range(len(self.updates))
        weights = [self.weights[i] * scale for i in order]
        specs = self.state.schema.part(*self.trains)
        total = {
            t.name: sum(w * self.updates[i][t.name].astype(np.float64) for w, i in zip(weights, order, strict=True))
            for t in specs
        }
        products = {}
        for path in PATHS:
            own = self.own(path)
            products[path] = (
                np.hstack([w * own[i][0] for w, i in zip(weights, order, strict=True)]).astype(np.float32),
                np.vstack([own[i][1] for i in order]).astype(np.float32),
            )
        rank = self.state.schema.rank
        equal = set(self.ranks) == {rank}
        return CohortSum(
            specs=specs,
            total={name: np.asarray(array, dtype=np.float32) for name, array in total.items()},
            weight=sum(weights),
            count=len(self.updates),
            products=products,
            held=() if equal else tuple(sum(r > slot for r in self.ranks) for slot in range(rank)),
        )

    def alone(self, which: int) -> CohortSum:
        """The sum of one institution."""
        one = Cohort(
            state=self.state,
            trains=self.trains,
            updates=(self.updates[which],),
            ranks=(self.ranks[which],),
            weights=(self.weights[which],),
        )
        return one.sum()


def adds(state: AdapterState, path: str) -> Any:
    """What an adapter adds to a module but for its scale, multiplied out in float64: B A or B core A, and residual."""
    held = {part: state.tensors[f"{path}.{part}"].astype(np.float64) for part in _parts(state, path)}
    middle = held.get("core", np.eye(state.schema.rank))
    found = held["lora_B"] @ middle @ held["lora_A"]
    if "residual_B" in held:
        found = found + held["residual_B"] @ held["residual_A"]
    return found


def padded(array: Any, spec: TensorSpec, rank: int) -> Any:
    """Zeros in the slots that an institution of that rank does not hold."""
    array = array.copy()
    if spec.part == "lora_A":
        array[rank:] = 0
    elif spec.part == "lora_B":
        array[:, rank:] = 0
    return array


def _parts(state: AdapterState, path: str) -> list[str]:
    return [name.rpartition(".")[2] for name in state.tensors if name.startswith(f"{path}.")]


def _normal(random: np.random.Generator, shape: tuple[int, ...], std: float) -> Any:
    return random.normal(0, std, shape).astype(np.float32)
