"""Trains an adapter for a measure: the federation of a scenario, on records that the measure hands over.

Reached through the entry point "concordat.fitters", so that `concordat domain evaluate --fit` trains with the
same sessions, ledgers and coordinator as a live job. What it trains is not published and has no release.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from domains.evaluation import Recipe
from fedcore.adapter import AdapterState
from fedcore.errors import QuorumLost, RecordError
from fedcore.folding import WidthSettings
from fedcore.round import Optimiser
from fedserver.progress import Progress
from fedserver.store import Store
from fedserver.sums import SecureSumSettings
from simulations import partitions
from simulations.directory import RunDirectory
from simulations.scenario import (
    AdapterSettings,
    EvaluationSettings,
    PrivacySettings,
    RecordsSettings,
    Scenario,
    SplitSettings,
)
from simulations.world import World

__all__ = ["DELTA", "fit", "scenario_of"]

DELTA = 1e-5
_MOMENTUM = 0.9
"""Of a recipe that asks for "sgd"."""
_MASKED = 4
"""From so many institutions on, joint steps are masked and share their noise."""
_ANY = 8.0
"""The epsilon that a scenario is written with before another, or none, is asked for."""


def fit(
    *,
    task: str,
    records: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    base: Path,
    epsilon: float | None,
    seed: int,
    report: Callable[[int, int], None] = lambda _done, _rounds: None,
    out: Path | None = None,
    stopped: Callable[[], bool] | None = None,
) -> AdapterState:
    """Train an adapter, federated across the records' sites.

    Args:
        task: Name of an installed task.
        records: Each with the task's fields, "unit" and "site".
        recipe: How.
        base: Directory of the base.
        epsilon: For each unit over the whole training, at `DELTA`; None for no privacy.
        seed: Of split, initial state and, without privacy alone, of sampling.
        report: Told of each round.
        out: Where the run is kept, and taken up again after a stop; None keeps nothing.
        stopped: Asked between steps.
    Raises:
        Interrupted: `stopped` said so.
        QuorumLost: A round was abandoned.
        RecordError: A record lacks "unit" or "site", or cannot be rendered.
    """
    if out is None:
        with tempfile.TemporaryDirectory(prefix="concordat-fit-") as place:
            return fit(
                task=task,
                records=records,
                recipe=recipe,
                base=base,
                epsilon=epsilon,
                seed=seed,
                report=report,
                out=Path(place),
                stopped=stopped,
            )
    out.mkdir(parents=True, exist_ok=True)
    held = out / "records.jsonl"
    _write(records, held)
    scenario = scenario_of(task, records, recipe, base=base, epsilon=epsilon, seed=seed)
    run = RunDirectory.prepare(out / "run", scenario, records=held, base=base)

    def tell(progress: Progress) -> None:
        if progress.stage == "folded":
            report(progress.round, progress.rounds)

    world = World(run)
    results = world.run(report=tell, stopped=stopped)
    if results.status != "completed":
        raise QuorumLost(f"training of {task} was {results.status}", do="see the log for what institutions refused")
    store = Store.open(run.store)
    try:
        return store.checkpoint(world.job)[1]
    finally:
        store.close()


def scenario_of(
    task: str,
    records: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    *,
    base: Path,
    epsilon: float | None,
    seed: int,
) -> Scenario:
    """The scenario that a recipe is, on these records."""
    units: dict[str, list[str]] = {}
    for record in records:
        units.setdefault(str(record["unit"]), []).append(str(record["site"]))
    sites = partitions.by_column(units, merge_below=recipe.least_units)
    masked = recipe.joint and epsilon is not None and len(sites) >= _MASKED
    privacy = PrivacySettings(
        epsilon=_ANY,
        epsilon_limit=1.5 * _ANY,
        delta=DELTA,
        sampling_rate=recipe.sampling_rate,
        steps_per_round=recipe.steps_per_round,
        expected_batch_units=max(1.0, round(recipe.sampling_rate * len(units) / len(sites), 3)),
        examples_per_unit=recipe.examples_per_unit,
        clip_norm_l2=recipe.clip_norm_l2,
        honest_minimum=len(sites) - 2 if masked else None,
        unsafe_seeded=epsilon is None,
    )
    scenario = Scenario(
        name="fit-" + task.replace(".", "-"),
        task=task,
        base=str(base),
        rounds=recipe.rounds,
        seed=seed,
        max_tokens=recipe.max_tokens,
        records=RecordsSettings(unit="unit", format="jsonl", heldout_units=0),
        split=SplitSettings(kind="column", column="site", merge_below_units=recipe.least_units),
        privacy=privacy,
        adapter=AdapterSettings(rank=recipe.rank, alpha=recipe.alpha, targets=recipe.targets),
        optimiser=Optimiser(
            name=recipe.optimiser,
            learning_rate=recipe.learning_rate,
            momentum=_MOMENTUM if recipe.optimiser == "sgd" else 0.0,
        ),
        evaluation=EvaluationSettings(every_round=False),
        joint=recipe.joint,
        secure_sums=SecureSumSettings(threshold=len(sites) - 1, colluders=1) if masked else None,
        widths=WidthSettings(up="float32", down="float32"),
    )
    return scenario.without_noise() if epsilon is None else scenario.with_epsilon(epsilon)


def _write(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One line a record; a run that was made from other records refuses them."""
    for position, record in enumerate(records, start=1):
        if not {"unit", "site"} <= record.keys():
            raise RecordError(f"record {position} lacks a unit or a site", expected='"unit" and "site"')
    text = "".join(json.dumps(dict(r), ensure_ascii=False, sort_keys=True, default=str) + "\n" for r in records)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
