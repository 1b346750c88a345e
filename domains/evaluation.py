"""What a measure of a task is given: records, a split, models as they were asked for, and training on a share.

Each task's measure lives in a module of its own, named in the entry-point group "concordat.measures":

    def measure(bench: Bench) -> Scores: ...

Guarantee: `train` sees only what a measure hands it, and a measure hands it units of the fit share alone; which
those are follows from the seed and the units' names. Training is federated, by whatever is registered in the
group "concordat.fitters"; this module knows no federation.

>>> fit_units, scored = split_units(("a", "b", "c", "d", "e"), share=0.6, seed=0)
>>> len(fit_units), len(scored)
(3, 2)
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeVar, final

import numpy as np

from domains.base import task_names
from domains.classifying import Classifier, Judge
from domains.pipeline import WritesText
from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError, RecordError

__all__ = ["Bench", "Fit", "Measure", "Recipe", "Scores", "Track", "load_measure", "read_rows", "split_units"]

MEASURES = "concordat.measures"
FITTERS = "concordat.fitters"

T = TypeVar("T")
Track = Callable[[Iterable[Any], str], Iterable[Any]]
"""Passes things through and shows how far it is."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a task is trained for a measure; the same for every epsilon unless `private` says otherwise.

    Args:
        base: Name, directory or hub id of the base.
        rounds: Federated rounds; with `joint` each is one step that all institutions take together.
        steps_per_round: Local steps of a round, 1 with `joint`.
        sampling_rate: Chance of each unit to be in a step, in (0, 1].
        learning_rate: Of AdamW.
        clip_norm_l2: Longest gradient of a unit.
        examples_per_unit: Most examples of a unit in a step.
        max_tokens: Longest example.
        targets: Modules that LoRA attaches to; none for a features base.
        rank, alpha: Of LoRA.
        joint: Joint steps, with shared noise behind masks where there are four or more institutions.
        least_units: Institutions with fewer are merged.
        private: The recipe in place of this one where noise is added.
    Raises:
        ConfigError: Local steps and joint steps at once.
    """

    base: Path | str
    rounds: int = 60
    steps_per_round: int = 1
    sampling_rate: float = 0.5
    learning_rate: float = 0.05
    clip_norm_l2: float = 8.0
    examples_per_unit: int = 1
    max_tokens: int = 4096
    targets: tuple[str, ...] = ()
    rank: int = 4
    alpha: float = 8.0
    joint: bool = True
    least_units: int = 4
    private: "Recipe | None" = None

    def __post_init__(self) -> None:
        if self.joint and self.steps_per_round != 1:
            raise ConfigError("a recipe of joint steps has one step a round", do="set joint = False for local steps")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What is trained on before the rest is scored.

    Args:
        share: Of the units, between 0 and 1.
        epsilon: For each unit, over the whole training; None trains without privacy.
        seed: Decides the split.
    Raises:
        ConfigError: A number is out of range.
    """

    share: float
    epsilon: float | None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError("--fit is out of range", expected="a share between 0 and 1", got=repr(self.share))
        if self.epsilon is not None and not 0 < self.epsilon < float("inf"):
            raise ConfigError("--epsilon is out of range", expected="a number above 0, or 'none'")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a measure found.

    Args:
        metrics: Name -> value.
        details: Whatever else may be printed: counts, baselines, figures by kind. No text of records.
        notes: Sentences for people.
    """

    metrics: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Fitter(Protocol):
    """Trains an adapter, federated across the records' sites."""

    def __call__(
        self,
        *,
        task: str,
        records: Sequence[Mapping[str, Any]],
        recipe: Recipe,
        base: Path,
        epsilon: float | None,
        seed: int,
        report: Callable[[int, int], None],
    ) -> AdapterState:
        """The adapter after the last round."""
        ...


@final
class Bench:
    """What a measure works with.

    Args:
        rows: Of the records file, as they stand.
        records: The file or directory; what lies beside it may be read too.
        lang: The language that was asked for; None for all that a measure knows.
        fit: What to train on; None where nothing is trained.
        writer: Makes the model that writes, when a measure first asks; gives None for rules alone.
        state: A verified release's adapter, and its base; None without one.
        track: Shows progress.
        find_base: Turns a base's name into its directory.
        tell: Is told of each step of a training.
    """

    def __init__(
        self,
        *,
        rows: Sequence[Mapping[str, Any]],
        records: Path,
        lang: str | None = None,
        fit: Fit | None = None,
        writer: Callable[[], WritesText | None] = lambda: None,
        state: tuple[Path, AdapterState] | None = None,
        track: Track = lambda things, _title: things,
        find_base: Callable[[str], Path] = Path,
        tell: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> None:
        self.rows = [dict(r) for r in rows]
        self.records = records
        self.lang = lang
        self.fit = fit
        self._writer, self._made = writer, list[WritesText | None]()
        self._state = state
        self._track = track
        self._find_base = find_base
        self._tell = tell

    @property
    def folder(self) -> Path:
        """Where the records lie, with what belongs to them."""
        return self.records if self.records.is_dir() else self.records.parent

    def track(self, things: Iterable[T], title: str) -> Iterable[T]:
        """Pass things through and show how far it is."""
        return self._track(things, title)

    def split(self, units: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Units to train on, and units to score; without a fit all are scored."""
        distinct = sorted(set(units))
        if self.fit is None:
            return frozenset(), frozenset(distinct)
        return split_units(distinct, share=self.fit.share, seed=self.fit.seed)

    def writer(self) -> WritesText | None:
        """The model that writes: the base or the release that was asked for, None for rules alone."""
        if not self._made:
            self._made.append(self._writer())
        return self._made[0]

    def released(self) -> Judge | None:
        """The release that was asked for, as a classifier; None without one."""
        return None if self._state is None else Classifier.load(*self._state)

    def train(self, task: str, records: Sequence[Mapping[str, Any]], recipe: Recipe) -> Judge:
        """Train a classifier, federated across `site`, privately unless the fit's epsilon is none.

        Args:
            task: An installed task of kind "classify".
            records: Each holds the task's fields, "unit" and "site"; of the fit share alone.
            recipe: How.
        Raises:
            ConfigError: There is no fit, or nothing that trains is installed.
        """
        base, state, chosen = self._fitted(task, records, recipe)
        return Classifier.load(base, state, max_tokens=chosen.max_tokens)

    def train_writer(self, task: str, records: Sequence[Mapping[str, Any]], recipe: Recipe) -> WritesText:
        """As `train`, for a task whose model writes text."""
        from domains.language import Base, Writer  # Imports torch.

        base_path, state, _ = self._fitted(task, records, recipe)
        base = Base.load(base_path)
        adapted = base.adapt(state.schema, ())
        adapted.load(state)
        return Writer(base, adapted)

    def _fitted(
        self, task: str, records: Sequence[Mapping[str, Any]], recipe: Recipe
    ) -> tuple[Path, AdapterState, Recipe]:
        if self.fit is None:
            raise ConfigError("this measure trains, and no share to train on was given", do="give --fit 0.6")
        chosen = recipe.private if self.fit.epsilon is not None and recipe.private is not None else recipe
        base = chosen.base if isinstance(chosen.base, Path) else self._find_base(chosen.base)
        fitter = _fitter()
        state = fitter(
            task=task,
            records=records,
            recipe=chosen,
            base=base,
            epsilon=self.fit.epsilon,
            seed=self.fit.seed,
            report=self._tell,
        )
        return base, state, chosen


Measure = Callable[[Bench], Scores]


def load_measure(task: str) -> Measure:
    """The measure of a task.

    Raises:
        ConfigError: The task is not known or has none, or a package is missing.
    """
    entry = next((e for e in entry_points(group=MEASURES) if e.name == task), None)
    if entry is None:
        known = sorted(e.name for e in entry_points(group=MEASURES))
        what = f"the task {task} has no measure" if task in task_names() else f"the task {task!r} is not known"
        raise ConfigError(what, expected="one of " + ", ".join(known))
    try:
        measure: Measure = entry.load()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the measure of {task} needs the Python package {error.name!r}", do="pip install 'concordat[domains]'"
        ) from error
    return measure


def split_units(units: Sequence[str], *, share: float, seed: int) -> tuple[frozenset[str], frozenset[str]]:
    """Cut distinct units in two at random: those to train on, at least one, and those to score, at least one.

    Raises:
        ConfigError: Fewer than two units.
    """
    names = sorted(set(units))
    if len(names) < 2:
        raise ConfigError("there are too few units to train on some and score others", expected="two or more")
    count = min(len(names) - 1, max(1, round(share * len(names))))
    chosen = {names[i] for i in np.random.default_rng([seed, 17]).permutation(len(names))[:count].tolist()}
    return frozenset(chosen), frozenset(names) - chosen


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file, or of all JSONL files of a directory whose rows are records (`dev*.jsonl` first).

    Raises:
        RecordError: A line is not a JSON object, by number; or nothing can be read.
    """
    files = [path]
    if path.is_dir():
        files = sorted(path.glob("dev*.jsonl")) or sorted(path.glob("*.jsonl"))
        if not files:
            raise RecordError(f"{path} holds no records", expected="*.jsonl")
    for file in files:
        try:
            with file.open("rb") as handle:
                for number, line in enumerate(handle, start=1):
                    if line.strip():
                        yield _row(line, f"{file}, line {number}")
        except OSError as error:
            raise RecordError(f"{file} cannot be read ({error.strerror})", do="check --records") from error


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise RecordError(f"{where} is not JSON", expected="a JSON object in UTF-8") from None
    if not isinstance(value, dict):
        raise RecordError(f"{where} is not a JSON object")
    return value


def _fitter() -> Fitter:
    """What trains."""
    entry = next(iter(sorted(entry_points(group=FITTERS), key=lambda e: e.name)), None)
    try:
        loaded = entry.load() if entry is not None else None
    except ModuleNotFoundError:
        loaded = None
    if loaded is None:
        raise ConfigError("nothing that trains is installed", do="pip install 'concordat[simulation]'")
    fitter: Fitter = loaded
    return fitter
