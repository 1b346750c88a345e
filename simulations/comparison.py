"""A scenario run in several ways, side by side: each way an ordinary run in a folder of its own.

    value = compare(out, scenario, records=None, base=base)
    value["rows"][0]

A scenario with a `[comparison]` section says what is compared. A **Kind** makes the ways (**arms**) of it and says
what their results mean; it knows nothing of directories or runs. Each arm is run as often as the section says,
and each run goes on where it was stopped.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedcore import canonical
from fedcore.errors import ConfigError, QuorumLost
from fedserver.progress import Progress
from simulations import noise_arms, poison_arms, strategy_arms
from simulations import results as files
from simulations.arms import Arm, Found
from simulations.directory import RunDirectory, records_digest
from simulations.scenario import Scenario
from simulations.units import Units
from simulations.world import World

__all__ = ["PICTURE", "Kind", "compare", "words"]

PICTURE = "comparison.png"
_MARK = "comparison.json"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of comparison.

    Args:
        arms: The scenario and the number of its institutions -> what is run.
        rows: The scenario and what was found -> the table, as JSON values.
        text: The same as lines of Markdown.
        draw: The same as a picture.
        summary: The scenario and the table -> what follows from it, as further keys.
    """

    arms: Callable[[Scenario, int], tuple[Arm, ...]]
    rows: Callable[[Scenario, Sequence[Found]], list[dict[str, Any]]]
    text: Callable[[Mapping[str, Any]], list[str]]
    draw: Callable[[Mapping[str, Any], Path], None]
    summary: Callable[[Scenario, list[dict[str, Any]]], dict[str, Any]] = lambda _scenario, _rows: {}


_KINDS: Mapping[str, Kind] = {
    "noise": Kind(arms=noise_arms.arms, rows=noise_arms.rows, text=noise_arms.text, draw=noise_arms.draw),
    "strategies": Kind(
        arms=strategy_arms.arms, rows=strategy_arms.rows, text=strategy_arms.text, draw=strategy_arms.draw
    ),
    "poisoning": Kind(
        arms=poison_arms.arms,
        rows=poison_arms.rows,
        text=poison_arms.text,
        draw=poison_arms.draw,
        summary=poison_arms.summary,
    ),
}


def compare(
    out: Path,
    scenario: Scenario,
    *,
    records: Path | None,
    base: Path,
    fresh: bool = False,
    start: Callable[[Arm, int, int], None] = lambda _arm, _number, _runs: None,
    report: Callable[[Progress], None] | None = None,
    end: Callable[[Arm, float], None] = lambda _arm, _loss: None,
    stopped: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Run what is left of a comparison and write its `results.json`, `results.md` and picture under `out`.

    Args:
        out: The directory.
        scenario: With a `[comparison]` section.
        records: File or directory of records; None for synthetic ones.
        base: Directory of the base model; a tiny one is made where it is missing.
        fresh: Remove the comparison that `out` holds first.
        start: Told of each run that begins: its arm, its number among all runs, and how many they are.
        report: Told what the coordinator of the run says.
        end: Told of each run that has ended, now or before: its arm, and the loss after it.
        stopped: Asked between steps.
    Returns:
        What `results.json` holds; a finished comparison is not run again.
    Raises:
        ConfigError: The scenario compares nothing or cannot be compared so, or `out` holds something else.
        QuorumLost: A run was abandoned.
        Interrupted: `stopped` said so; call again to go on.
    """
    if scenario.comparison is None:
        raise ConfigError("the scenario compares nothing", do="add a [comparison] section")
    kind, out = _KINDS[scenario.comparison.kind], out.absolute()
    digest = _prepare(out, scenario, records, fresh)
    if (earlier := files.read(out)) is not None:
        return earlier
    units = Units.of(scenario, records=records)
    arms = kind.arms(scenario, len(units.names))
    runs = [(arm, number) for number in range(1, scenario.comparison.repetitions + 1) for arm in arms]
    worlds: list[World] = []

    def directory(arm: Arm, number: int) -> RunDirectory:
        name = f"{arm.label}-run-{number}"
        return RunDirectory.prepare(out / "runs" / name, arm.repetition(number), records=records, base=base.absolute())

    for arm in arms:  # What cannot be planned is said before anything trains.
        _world(directory(arm, 1), worlds).job  # noqa: B018
    found: dict[str, list[Mapping[str, Any]]] = {arm.label: [] for arm in arms}
    for place, (arm, number) in enumerate(runs, start=1):
        start(arm, place, len(runs))
        value = _run(directory(arm, number), worlds, report, stopped)
        found[arm.label].append(value)
        end(arm, _loss(arm, value))
    results = [Found(arm=arm, runs=tuple(found[arm.label])) for arm in arms]
    return _write(out, digest, scenario, units, kind, results)


def words(value: Mapping[str, Any]) -> list[str]:
    """What a comparison found, as lines of Markdown."""
    return _KINDS[value["kind"]].text(value)


def _run(
    run: RunDirectory,
    worlds: list[World],
    report: Callable[[Progress], None] | None,
    stopped: Callable[[], bool] | None,
) -> dict[str, Any]:
    """One run of one arm: what it found, now or earlier."""
    if (earlier := files.read(run.out)) is not None:
        return earlier
    value = files.write(_world(run, worlds).run(report=report, stopped=stopped))
    if value["status"] != "completed":
        raise QuorumLost(f"{run.scenario.name} was {value['status']}", do=f"see {run.out}; --fresh starts again")
    return value


def _world(run: RunDirectory, worlds: list[World]) -> World:
    """A run's world; model and data sets of an earlier one serve again where they are the same, and nothing else."""
    alike = [w for w in worlds if w.scenario.split == run.scenario.split]
    world = World(run, like=next(iter(alike + worlds), None))
    if not alike:
        worlds.append(world)
    return world


def _prepare(out: Path, scenario: Scenario, records: Path | None, fresh: bool) -> str:
    """Make the directory, or take up the comparison that it holds; the digest of what decides the result."""
    wanted = canonical.digest({"comparison": scenario.digest(records_digest(records))})
    path = out / _MARK
    held = None
    if path.is_file():
        held = str(json.loads(path.read_text(encoding="utf-8")).get("digest"))
    elif out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} holds something else than a comparison", do="choose another --out")
    if held is not None and fresh:
        shutil.rmtree(out)
        held = None
    if held not in (None, wanted):
        raise ConfigError(
            f"{out} holds a comparison of another scenario or records",
            expected=f"digest {wanted[:12]}",
            got=str(held)[:12],
            do="choose another --out, or --fresh to remove that comparison",
        )
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"digest": wanted}) + "\n", encoding="utf-8")
    return wanted


def _write(
    out: Path, digest: str, scenario: Scenario, units: Units, kind: Kind, found: Sequence[Found]
) -> dict[str, Any]:
    """Put everything together and write it, the JSON last: where it stands, the others do."""
    first = found[0].runs[0]
    asked, rows = scenario.comparison, kind.rows(scenario, found)
    value: dict[str, Any] = {
        "scenario": scenario.name,
        "digest": digest,
        "kind": None if asked is None else asked.kind,
        "status": "completed",
        "task": scenario.task,
        "base": first["base"],
        "institutions": len(units.names),
        "unit": scenario.records.unit,
        "units": sum(len(held) for held in units.split.values()),
        "heldout_units": len(units.heldout),
        "heldout_examples": len(units.heldout_records(scenario.evaluation.examples)),
        "steps": scenario.rounds * scenario.privacy.steps_per_round,
        "sampling_rate": scenario.privacy.sampling_rate,
        "clip_norm_l2": scenario.privacy.clip_norm_l2,
        "delta": scenario.privacy.delta,
        "optimiser": asdict(scenario.optimiser),
        "honest_minimum": scenario.privacy.honest_minimum,
        "threshold": None if scenario.secure_sums is None else scenario.secure_sums.threshold,
        "colluders": None if scenario.secure_sums is None else scenario.secure_sums.colluders,
        "seed": scenario.seed,
        "repetitions": 1 if asked is None else asked.repetitions,
        "loss_base": first["loss_base"],
        "rows": rows,
        **kind.summary(scenario, rows),
        "arms": [_arm(f) for f in found],
        "unsafe": sorted({mark for f in found for mark in f.arm.scenario.unsafe}),
        "seconds": round(sum(run["seconds"] for f in found for run in f.runs), 1),
        "plot": str(out / PICTURE),
        "out": str(out),
    }
    kind.draw(value, out / PICTURE)
    page = [f"# {scenario.name}", "", *kind.text(value), "", f"![The comparison]({PICTURE})", ""]
    (out / files.MARKDOWN).write_text("\n".join(page), encoding="utf-8")
    written = out / f".{files.JSON}.new"
    written.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    written.replace(out / files.JSON)
    return value


def _arm(found: Found) -> dict[str, Any]:
    """What is needed to read one arm's losses."""
    run = found.runs[0]
    spent = [i["epsilon_spent"] for r in found.runs for i in r["institutions"]]
    return {
        "arm": found.arm.way,
        "epsilon": found.arm.epsilon,
        "loss": found.loss,
        "losses": list(found.losses),
        "noise_multiplier": run["noise_multiplier"],
        "noise_std": run["noise_std"],
        "epsilon_spent": None if None in spent else max(spent),
        "institutions": len(run["institutions"]),
        "rounds": run["rounds"],
        "secure_sums": run["secure_sums"],
        "unsafe": run["unsafe"],
        "seconds": round(sum(r["seconds"] for r in found.runs), 1),
    }


def _loss(arm: Arm, value: Mapping[str, Any]) -> float:
    """The loss after a run."""
    loss = value["loss_released"]
    if not isinstance(loss, float):
        raise ConfigError(f"{arm.label}: the loss is not a finite number", do="lower the learning rate")
    return loss
