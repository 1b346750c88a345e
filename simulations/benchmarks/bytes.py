"""Bytes a round and final loss, for each width at which updates and state travel, and for each strategy.

Whole federations in memory, private at one epsilon, on a tiny base that an adapter can teach. Bytes are those
of real envelopes, headers and signatures counted, both ways, for one institution, the mean of all rounds; the
first, in which no state travels, is among them. Sampling and noise are drawn from seeds, and runs that differ in width
alone draw the same, so that what differs in their losses is the rounding. Every ratio is to FedAvg on both factors
at float32, with the same seeds.

Headers weigh more beside a tiny adapter than beside a real one. So each row also says what its ratio is at the size
of the demonstration's adapter (SmolLM2-135M, rank 4, q_proj and v_proj), computed: bodies of exactly those
tensors, and the headers that were measured with the other schema in the place of their own.

A strategy whose training stays at the institutions has no loss that held-out units could show: it is named under
`left_out`, as is one that refuses the job.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from fedcore import canonical
from fedcore.adapter import AdapterSchema, ModelCard, ModuleShape
from fedcore.errors import ConfigError, RoundError
from fedcore.folding import DEFAULT_WIDTHS, Widths, WidthSettings
from fedcore.packing import packed_size_bytes
from fedcore.round import Completed, Optimiser
from fedserver.store import Store
from fedserver.strategies import DEFAULT, load_strategy, strategy_names
from simulations.benchmarks.work import Say
from simulations.demo import DemoSettings
from simulations.directory import RunDirectory
from simulations.scenario import (
    AdapterSettings,
    EvaluationSettings,
    PrivacySettings,
    RecordsSettings,
    Scenario,
    SplitSettings,
)
from simulations.tiny import make_tiny_base
from simulations.world import World

__all__ = ["EVERYWHERE", "GOAL_BYTES", "GOAL_LOSS", "PAIRS", "BytesBenchmark", "BytesRow", "measure"]

GOAL_BYTES, GOAL_LOSS = 0.25, 1.01
"""What the default should reach: a quarter of the bytes, at the same loss within 1 %."""

REFERENCE = Widths()
PAIRS: tuple[Widths, ...] = (
    REFERENCE,
    Widths(up="bfloat16", down="bfloat16"),
    Widths(up="int8", down="bfloat16"),
    Widths(up="int8", down="int8"),
    Widths(up="int4", down="bfloat16"),
    Widths(up="int4", down="int8"),
    Widths(up="int4", down="int4"),
)
"""Those worth comparing: an update is rounded beside its noise, a state is not, so that up is the narrower."""

EVERYWHERE = ("alternating", "fedavg", "frozen_a")
"""Strategies that are measured at every pair; the others at float32 and the default."""

_UNITS, _BATCH, _SITES = 400, 12.0, 3
_NAME = "bytes"


@dataclass(frozen=True, kw_only=True)
class BytesRow:
    """One strategy at one pair of widths.

    Args:
        bytes_up, bytes_down: Of one institution, the mean of a round.
        bytes_ratio: Up and down together, to the reference.
        bytes_ratio_at_demo_size: The same, computed for the demonstration's adapter.
        loss: On held-out units after the last round, the mean over seeds; `losses` are those.
        loss_ratio: Of that mean to the reference's.
        gain_ratio: How much the loss fell below the base's, as a share of what it fell in the reference.
        loss_ratio_to_float32: To that of the same strategy at float32: what the width alone does.
        worst_ratio_to_float32: The largest of any one seed.
    """

    strategy: str
    width: str
    up: str
    down: str
    bytes_up: int
    bytes_down: int
    bytes_ratio: float
    bytes_ratio_at_demo_size: float
    loss: float
    loss_ratio: float
    gain_ratio: float
    loss_ratio_to_float32: float
    worst_ratio_to_float32: float
    losses: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class BytesBenchmark:
    """The result; `default` is the row of what a job gets that names neither strategy nor width."""

    rows: tuple[BytesRow, ...]
    default: Mapping[str, Any]
    left_out: Mapping[str, str]
    base: str
    parameters: int
    institutions: int
    rounds: int
    seeds: int
    epsilon: float
    delta: float
    loss_base: float
    unsafe: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            **asdict(self),
            "rows": [{**asdict(r), "losses": list(r.losses)} for r in self.rows],
            "default": dict(self.default),
            "left_out": dict(self.left_out),
            "unsafe": list(self.unsafe),
        }


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What one run showed, for one institution; `up` and `down` are bytes of each round, headers included."""

    loss_base: float
    loss: float
    up: tuple[float, ...]
    down: tuple[float, ...]
    schema: AdapterSchema

    @property
    def bytes(self) -> float:
        """Of all rounds, both ways."""
        return sum(self.up) + sum(self.down)


def measure(*, quick: bool, say: Say) -> BytesBenchmark:
    """Run every strategy that can be run.

    Args:
        quick: One seed and two rounds of two strategies, at float32 and the default: to see that it works.
        say: Called with a line for people.
    Raises:
        RoundError: A run was not completed.
    """
    started = time.perf_counter()
    rounds, seeds = (2, (1,)) if quick else (5, (1, 2, 3))
    names = ("fedavg", "frozen_a") if quick else strategy_names()
    found: dict[tuple[str, Widths], list[_Run]] = {}
    left_out: dict[str, str] = {}
    with TemporaryDirectory(prefix="concordat-bytes-") as folder:
        runner = _Runner(Path(folder), make_tiny_base(Path(folder) / "base", "llama_wide"), rounds)
        for name in sorted(names, key=lambda n: (n != "fedavg", n not in EVERYWHERE, n)):
            if load_strategy(name).traits.keeps:
                left_out[name] = "what it trains stays at each institution, so held-out units show nothing of it"
                continue
            for pair in _pairs(name, quick):
                try:
                    runs = [runner.run(name, pair, seed) for seed in seeds]
                except ConfigError as error:
                    left_out[name] = str(error)
                    break
                found[name, pair] = runs
                say(f"{name}, {_words(pair)}: {runs[0].bytes / rounds:,.0f} bytes a round, loss {_loss(runs):.4f}")
    rows = tuple(_rows(found, rounds))
    scenario = _scenario(DEFAULT, REFERENCE, 1, rounds)
    reference = found["fedavg", REFERENCE]
    return BytesBenchmark(
        rows=rows,
        default=_default(rows),
        left_out=left_out,
        base=scenario.base,
        parameters=reference[0].schema.parameters,
        institutions=_SITES,
        rounds=rounds,
        seeds=len(seeds),
        epsilon=scenario.privacy.epsilon,
        delta=scenario.privacy.delta,
        loss_base=fmean(run.loss_base for run in reference),
        unsafe=scenario.unsafe,
        seconds=round(time.perf_counter() - started, 1),
    )


def _pairs(strategy: str, quick: bool) -> Iterator[Widths]:
    """The widths that a strategy is measured at; float32 first."""
    every = strategy in EVERYWHERE and not quick
    yield from (pair for pair in PAIRS if every or pair in (REFERENCE, DEFAULT_WIDTHS))


class _Runner:
    """Runs federations in folders of their own; those of one seed share model and data sets."""

    def __init__(self, folder: Path, base: Path, rounds: int) -> None:
        self._folder, self._base, self._rounds = folder, base, rounds
        self._first: dict[int, World] = {}

    def run(self, strategy: str, pair: Widths, seed: int) -> _Run:
        """One run from its beginning to its end.

        Raises:
            ConfigError: The strategy cannot do such a job.
            RoundError: The run was not completed.
        """
        scenario = _scenario(strategy, pair, seed, self._rounds)
        out = self._folder / f"{strategy}-{pair.up}-{pair.down}-{seed}"
        run = RunDirectory.prepare(out, scenario, records=None, base=self._base)
        world = World(run, like=self._first.get(seed) or next(iter(self._first.values()), None))
        schema = world.job.schema
        results = world.run()
        self._first.setdefault(seed, world)
        store = Store.open(run.store)
        try:
            outcomes = [o for o in store.outcomes(_NAME) if isinstance(o, Completed)]
        finally:
            store.close()
        if results.status != "completed" or results.loss_base is None or results.loss_released is None:
            raise RoundError(
                f"{strategy} at {_words(pair)} was {results.status}", do="look at its loss and learning rate"
            )
        return _Run(
            loss_base=results.loss_base,
            loss=results.loss_released,
            up=tuple(o.bytes_up / _SITES for o in outcomes),
            down=tuple(o.bytes_down / _SITES for o in outcomes),
            schema=schema,
        )


def _scenario(strategy: str, pair: Widths, seed: int, rounds: int) -> Scenario:
    """The same federation but for what is compared; its name is the same too, and with it every seeded draw."""
    return Scenario(
        name=_NAME,
        task="medicine.record",
        base="tiny:llama_wide",
        rounds=rounds,
        seed=seed,
        max_tokens=48,
        records=RecordsSettings(unit="patient", synthetic="medicine", units_per_site=_UNITS, heldout_units=24),
        split=SplitSettings(kind="iid", institutions=_SITES),
        privacy=PrivacySettings(
            epsilon=8.0,
            epsilon_limit=12.0,
            delta=1e-5,
            sampling_rate=_BATCH / _UNITS,
            steps_per_round=3,
            expected_batch_units=_BATCH,
            examples_per_unit=1,
            clip_norm_l2=1.0,
            unsafe_seeded=True,
        ),
        strategy=strategy,
        adapter=AdapterSettings(
            rank=8,
            alpha=16.0,
            targets=("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"),
        ),
        optimiser=Optimiser(learning_rate=3e-2),
        evaluation=EvaluationSettings(examples=36, every_round=False),
        widths=WidthSettings(up=pair.up, down=pair.down),
    )


def _rows(found: Mapping[tuple[str, Widths], Sequence[_Run]], rounds: int) -> Iterator[BytesRow]:
    """What was found, beside the reference."""
    reference = found["fedavg", REFERENCE]
    demo_reference = _at_demo_size("fedavg", REFERENCE, reference[0])
    for (strategy, pair), runs in found.items():
        own = found[strategy, REFERENCE]
        yield BytesRow(
            strategy=strategy,
            width=_words(pair),
            up=pair.up,
            down=pair.down,
            bytes_up=round(_mean(runs, lambda run: sum(run.up)) / rounds),
            bytes_down=round(_mean(runs, lambda run: sum(run.down)) / rounds),
            bytes_ratio=round(_mean(runs, lambda run: run.bytes) / _mean(reference, lambda run: run.bytes), 4),
            bytes_ratio_at_demo_size=round(_at_demo_size(strategy, pair, runs[0]) / demo_reference, 4),
            loss=round(_loss(runs), 5),
            loss_ratio=round(_loss(runs) / _loss(reference), 5),
            gain_ratio=round(_gain(runs) / _gain(reference), 4),
            loss_ratio_to_float32=round(_loss(runs) / _loss(own), 5),
            worst_ratio_to_float32=round(max(a.loss / b.loss for a, b in zip(runs, own, strict=True)), 5),
            losses=tuple(round(run.loss, 5) for run in runs),
        )


def _at_demo_size(strategy: str, pair: Widths, run: _Run) -> float:
    """Bytes of all rounds of one institution, were the adapter that of the demonstration."""
    one, schema = load_strategy(strategy), _demo_schema(strategy)
    more = len(canonical.encode(schema.to_dict())) - len(canonical.encode(run.schema.to_dict()))
    total = 0.0
    for number, (up, down) in enumerate(zip(run.up, run.down, strict=True), start=1):
        trains, carries = one.trains(number), one.carries(number)
        for parts, width, size, extra in ((trains, pair.up, up, 0), (carries, pair.down, down, more)):
            header = size - packed_size_bytes(run.schema.part(*parts), width)
            total += header + extra + packed_size_bytes(schema.part(*parts), width)
    return total


def _demo_schema(strategy: str) -> AdapterSchema:
    """The demonstration's adapter; shapes of SmolLM2-135M, which need no weights."""
    modules = tuple(
        ModuleShape(path=f"model.layers.{layer}.self_attn.{name}", inputs=576, outputs=outputs)
        for layer in range(30)
        for name, outputs in (("q_proj", 576), ("v_proj", 192))
    )
    card = ModelCard(name="smollm2-135m", digest="0" * 64, kind="causal", architecture="Llama", modules=modules)
    traits, rank = load_strategy(strategy).traits, DemoSettings().rank
    return AdapterSchema.for_base(
        card,
        rank=rank,
        alpha=2.0 * rank,
        targets=("q_proj", "v_proj"),
        form=traits.form,
        residual_rank=traits.residual_times * rank,
    )


def _default(rows: Sequence[BytesRow]) -> dict[str, Any]:
    """The default's row and whether it reaches the goal, with the tiny base's headers too."""
    (row,) = [r for r in rows if r.strategy == DEFAULT and r.width == _words(DEFAULT_WIDTHS)]
    kept = ("strategy", "width", "up", "down", "bytes_ratio", "bytes_ratio_at_demo_size", "loss_ratio", "gain_ratio")
    return {
        **{name: getattr(row, name) for name in kept},
        "goal": {"bytes_ratio": GOAL_BYTES, "loss_ratio": GOAL_LOSS},
        "met": row.bytes_ratio <= GOAL_BYTES and row.loss_ratio <= GOAL_LOSS,
    }


def _mean(runs: Sequence[_Run], of: Callable[[_Run], float]) -> float:
    return fmean(of(run) for run in runs)


def _loss(runs: Sequence[_Run]) -> float:
    return _mean(runs, lambda run: run.loss)


def _gain(runs: Sequence[_Run]) -> float:
    return _mean(runs, lambda run: run.loss_base - run.loss)


def _words(pair: Widths) -> str:
    """Names a pair in tables."""
    return pair.up if pair.up == pair.down else f"{pair.up} up, {pair.down} down"
