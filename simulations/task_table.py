"""What federation is worth to the institution that is served worst: each task trained in four ways, by epsilon.

- **base**: the base model as it is.
- **alone**: one institution by itself, at the same epsilon for each of its units.
- **federated**: all of them, through the sessions, ledgers and sums of a live job.
- **pooled**: all units in one place, without privacy: what no rule of any institution allows.

Every model is measured on held-out units of every institution, and stands in the table with the largest of these
losses: the one of the institution that it serves worst. Of the models trained alone the best by this measure counts.
An institution's own model may still serve that institution better than any other, where institutions differ: the
column **own** is the loss, at the institution that the federated model serves worst, of what it trained by itself.

>>> from simulations.scenario import named
>>> load_table(named("domains")).epsilons
(1.0, 3.0, 8.0)
"""

import json
import shutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from domains.base import load_task
from domains.evaluation import Recipe
from domains.language import Base, mean_loss
from fedcore import canonical, config
from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError, Interrupted
from simulations import results as files
from simulations.fitting import fit
from simulations.task_sources import Source, source_of

__all__ = [
    "KIND",
    "TableSettings",
    "TaskSettings",
    "Training",
    "is_table",
    "load_table",
    "run_table",
    "table_text",
]

KIND = "tasks"
_MARK = "table.json"
_NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Training:
    """A recipe as a researcher writes it; see `domains.evaluation.Recipe`."""

    rounds: int
    sampling_rate: float
    learning_rate: float
    clip_norm_l2: float
    steps_per_round: int = 1
    examples_per_unit: int = 1
    max_tokens: int = 4096
    targets: tuple[str, ...] = ()
    rank: int = 4
    alpha: float = 8.0
    joint: bool = True
    optimiser: Literal["adamw", "sgd"] = "adamw"

    def recipe(self, base: Path) -> Recipe:
        """The recipe on a base."""
        return Recipe(base=base, least_units=1, **asdict(self))


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """One task of the table.

    Args:
        task: Its name; its pack's own synthetic records are used.
        institutions, units: How many, and how many units each trains on.
        heldout: Units of each that nobody trains on.
        training: Without privacy.
        private: With it.
    Raises:
        ConfigError: A number is out of range.
    """

    task: str
    institutions: int
    units: int
    heldout: int
    training: Training
    private: Training

    def __post_init__(self) -> None:
        if self.institutions < 2 or self.units < 4 or self.heldout < 1:
            raise ConfigError(f"[[tasks]] {self.task}: two institutions, four units and one held out are the least")


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """The whole table.

    Args:
        name: Of its directory.
        kind: "tasks": what tells such a file from an ordinary scenario.
        seed: Of records, splits and initial states.
        epsilons: Each is run, and no privacy beside them.
        tasks: In order.
    Raises:
        ConfigError: Nothing is compared, or an epsilon is out of range.
    """

    name: str
    kind: str
    seed: int
    epsilons: tuple[float, ...]
    tasks: tuple[TaskSettings, ...]

    def __post_init__(self) -> None:
        if self.kind != KIND or not self.tasks or len({t.task for t in self.tasks}) != len(self.tasks):
            raise ConfigError("a table of tasks needs kind = 'tasks' and [[tasks]], none of them twice")
        if not self.epsilons or not all(0 < e < float("inf") for e in self.epsilons):
            raise ConfigError("epsilons must be numbers above 0", expected="such as [1, 3, 8]")


def is_table(path: Path) -> bool:
    """Whether a file says that it is such a table, and not an ordinary scenario."""
    try:
        return bool(tomllib.loads(path.read_text(encoding="utf-8")).get("kind") == KIND)
    except (OSError, ValueError):
        return False  # An ordinary scenario's reader says what is wrong.


def load_table(path: Path) -> TableSettings:
    """Read a table's settings.

    Raises:
        ConfigError: As for any settings.
    """
    return config.load(TableSettings, path)


def run_table(
    out: Path,
    settings: TableSettings,
    *,
    fresh: bool = False,
    start: Callable[[str, int, int], None] = lambda _label, _number, _runs: None,
    report: Callable[[int, int], None] = lambda _done, _rounds: None,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Run what is left of a table and write `results.json`, `results.md` and a picture under `out`.

    Args:
        out: The directory. What ended there is not run again.
        fresh: Remove what it holds first.
        start: Told of each training that begins: its label, its number and how many they are.
        report: Told of each round.
        stopped: Asked between trainings and rounds.
    Raises:
        ConfigError: The directory holds something else.
        Interrupted: `stopped` said so; call again to go on.
    """
    out = out.absolute()
    _prepare(out, settings, fresh)
    if (earlier := files.read(out)) is not None:
        return earlier
    plans = [plan for task in settings.tasks for plan in _plans(task, settings)]
    found: dict[str, Mapping[str, float]] = {}
    worlds: dict[str, _Held] = {}
    for number, plan in enumerate(plans, start=1):
        kept = out / "losses" / f"{plan.label}.json"
        if kept.is_file():
            found[plan.label] = json.loads(kept.read_text())
            continue
        start(plan.label, number, len(plans))
        if stopped():
            raise Interrupted("stopped; the same command goes on from here")
        if plan.settings.task not in worlds:
            worlds = {plan.settings.task: _Held.make(plan.settings, settings.seed, out)}
        found[plan.label] = _run(plan, worlds[plan.settings.task], settings.seed, out, report, stopped)
        kept.parent.mkdir(exist_ok=True)
        _write_json(kept, found[plan.label])
    return _finish(out, settings, found)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """One training, or none for the base."""

    settings: TaskSettings
    way: str
    epsilon: float | None
    institution: int | None = None

    @property
    def label(self) -> str:
        """Names it among all."""
        epsilon = _NONE if self.epsilon is None else f"{self.epsilon:g}"
        where = "" if self.institution is None else f"-{self.institution + 1}"
        return f"{self.settings.task}-{self.way}{where}-epsilon-{epsilon}"


def _plans(task: TaskSettings, settings: TableSettings) -> list[_Plan]:
    plans = [_Plan(settings=task, way="base", epsilon=None), _Plan(settings=task, way="pooled", epsilon=None)]
    for epsilon in (*settings.epsilons, None):
        plans.append(_Plan(settings=task, way="federated", epsilon=epsilon))
        plans += [_Plan(settings=task, way="alone", epsilon=epsilon, institution=i) for i in range(task.institutions)]
    return plans


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A task's records, cut into what is trained on and what is not, and its base."""

    base: Path
    sites: tuple[str, ...]
    trained: tuple[Mapping[str, Any], ...]
    heldout: tuple[Mapping[str, Any], ...]

    @classmethod
    def make(cls, task: TaskSettings, seed: int, out: Path) -> "_Held":
        source: Source = source_of(task.task)
        base = out / "bases" / task.task
        if not base.exists():
            draft = base.with_name(f".{base.name}.new")
            shutil.rmtree(draft, ignore_errors=True)
            draft.parent.mkdir(parents=True, exist_ok=True)
            source.make_base(draft)
            draft.rename(base)
        trained, heldout = list[Mapping[str, Any]](), list[Mapping[str, Any]]()
        sites = tuple(f"institution-{k + 1}" for k in range(task.institutions))
        for k, site in enumerate(sites):
            rows = source.records(k, task.units + task.heldout, seed)
            units = list(dict.fromkeys(str(r["unit"]) for r in rows))
            aside = set(units[task.units :])
            for row in rows:
                (heldout if row["unit"] in aside else trained).append({**row, "site": site})
        return cls(base=base, sites=sites, trained=tuple(trained), heldout=tuple(heldout))


def _run(
    plan: _Plan,
    held: _Held,
    seed: int,
    out: Path,
    report: Callable[[int, int], None],
    stopped: Callable[[], bool],
) -> dict[str, float]:
    """Train one model and measure it at every institution."""
    state: AdapterState | None = None
    if plan.way != "base":
        rows = [r for r in held.trained if plan.institution is None or r["site"] == held.sites[plan.institution]]
        training = plan.settings.training if plan.epsilon is None else plan.settings.private
        recipe = training.recipe(held.base)
        if plan.way == "pooled":
            recipe = replace(recipe, least_units=len(rows))  # All sites are merged into one.
        place = out / "runs" / plan.label
        state = fit(
            task=plan.settings.task,
            records=rows,
            recipe=recipe,
            base=held.base,
            epsilon=plan.epsilon,
            seed=seed,
            report=report,
            out=place,
            stopped=stopped,
        )
    losses = _losses(plan, held, state)
    if state is not None:
        shutil.rmtree(out / "runs" / plan.label)  # The losses are what is kept.
    return losses


def _losses(plan: _Plan, held: _Held, state: AdapterState | None) -> dict[str, float]:
    """Institution -> mean loss on its held-out units."""
    base, task, training = Base.load(held.base), load_task(plan.settings.task), plan.settings.training
    adapted = None
    if state is not None:
        adapted = base.adapt(state.schema, ())
        adapted.load(state)
    losses = {}
    for site in held.sites:
        examples = [e for r in held.heldout if r["site"] == site for e in task.examples(r, unit=str(r["unit"]))]
        encoded = [base.encode(e.prompt, e.target, training.max_tokens, label=e.label) for e in examples]
        losses[site] = mean_loss(base, adapted, encoded, batch=64)
    return losses


def _prepare(out: Path, settings: TableSettings, fresh: bool) -> None:
    """Make the directory, or take up the table that it holds."""
    digest = canonical.digest({"table": asdict(settings)})
    mark = out / _MARK
    if mark.is_file() and fresh:
        shutil.rmtree(out)
    if mark.is_file():
        if json.loads(mark.read_text()).get("digest") != digest:
            raise ConfigError(
                f"{out} holds a table of other settings", do="choose another --out, or --fresh to remove that table"
            )
        return
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} holds something else than a table", do="choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    _write_json(mark, {"digest": digest})


def _finish(out: Path, settings: TableSettings, found: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    rows = [_row(task, epsilon, found) for task in settings.tasks for epsilon in (*settings.epsilons, None)]
    value: dict[str, Any] = {
        "scenario": settings.name,
        "kind": KIND,
        "status": "completed",
        "seed": settings.seed,
        "delta": 1e-5,
        "tasks": [asdict(t) for t in settings.tasks],
        "rows": rows,
        "goals_met": all(r["beats_base"] and r["beats_alone"] for r in rows),
        "losses": {label: dict(losses) for label, losses in found.items()},
        "plot": str(out / "comparison.png"),
        "out": str(out),
    }
    _draw(value, out / "comparison.png")
    page = [f"# {settings.name}", "", *table_text(value), "", "![The table](comparison.png)", ""]
    (out / files.MARKDOWN).write_text("\n".join(page), encoding="utf-8")
    _write_json(out / files.JSON, value)
    found_again: dict[str, Any] = json.loads((out / files.JSON).read_text(encoding="utf-8"))
    return found_again


def _row(task: TaskSettings, epsilon: float | None, found: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What stands beside what at the institution that the federated model serves worst."""
    one = _Plan(settings=task, way="federated", epsilon=epsilon)
    federated = found[one.label]
    worst = max(federated, key=lambda site: (federated[site], site))
    alone = [found[replace(one, way="alone", institution=i).label] for i in range(task.institutions)]
    best_alone = min(max(losses.values()) for losses in alone)
    base = max(found[replace(one, way="base", epsilon=None).label].values())
    pooled = max(found[replace(one, way="pooled", epsilon=None).label].values())
    return {
        "task": task.task,
        "epsilon": _NONE if epsilon is None else epsilon,
        "worst": worst,
        "base": base,
        "alone": best_alone,
        "own": alone[int(worst.rsplit("-", 1)[1]) - 1][worst],
        "federated": federated[worst],
        "pooled": pooled,
        "behind_pooled": (federated[worst] - pooled) / (base - pooled) if base > pooled else None,
        "beats_base": federated[worst] < base,
        "beats_alone": federated[worst] < best_alone,
    }


def table_text(value: Mapping[str, Any]) -> list[str]:
    """The table as lines of Markdown."""
    lines = [
        "Mean loss on held-out units of the institution that each model serves worst; alone: the best of the models "
        "that one institution trained by itself; own: at the federated model's worst institution, the one that it "
        f"trained itself. One run, seed {value['seed']}, delta {value['delta']:g}.",
        "",
        "| task | ε | base | alone | federated | pooled, no privacy | of the pooled gain, missing | own |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in value["rows"]:
        lines.append(
            f"| {r['task']} | {r['epsilon']} | {r['base']:.3f} | {r['alone']:.3f} | {r['federated']:.3f} | "
            f"{r['pooled']:.3f} | {_percent(r['behind_pooled'])} | {r['own']:.3f} |"
        )
    return lines


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _draw(value: Mapping[str, Any], path: Path) -> None:
    """A panel for each task: the share of the pooled gain, federated and alone, by epsilon."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = [t["task"] for t in value["tasks"]]
    figure = Figure(figsize=(3.0 * len(tasks), 3.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for place, task in enumerate(tasks):
        axes = figure.add_subplot(1, len(tasks), place + 1)
        rows = [r for r in value["rows"] if r["task"] == task]
        ticks = [str(r["epsilon"]) for r in rows]
        for way, colour, marker in (("federated", "#1f5a96", "o"), ("alone", "#b5521b", "s")):
            axes.plot(ticks, [r[way] for r in rows], color=colour, marker=marker, label=way if place == 0 else None)
        axes.axhline(rows[0]["base"], color="#666666", linestyle=":", label="base" if place == 0 else None)
        axes.axhline(rows[0]["pooled"], color="#3c7d3c", linestyle="--", label="pooled" if place == 0 else None)
        axes.set_title(task, fontsize=9)
        axes.set_xlabel("ε")
        if place == 0:
            axes.set_ylabel("loss at the worst institution")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    canvas.print_figure(str(path), dpi=150)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)
