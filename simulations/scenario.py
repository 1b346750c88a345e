"""A scenario: everything a simulated federation is, in one TOML file.

Privacy settings have no defaults. What is relaxed for research is named `unsafe_…`, and every result of
it carries the mark. A scenario never knows where its records lie when `--records` names them.

>>> scenario = load(named("quickstart"))
>>> scenario.privacy.epsilon
8.0
>>> scenario.without_noise().unsafe
('UnsafeNoNoise',)
>>> load(named("joint-step")).comparison.epsilons
(1.0, 3.0, 8.0)
"""

import dataclasses
import re
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from fedcore import canonical, config
from fedcore.errors import ConfigError
from fedcore.folding import Gate, RobustRule, ServerOptimiser, WidthSettings
from fedcore.privacy import calibration
from fedcore.privacy.accounting import DpEvent
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.plan import DISCRETE_GAUSSIAN, GAUSSIAN, UNSAFE_NO_NOISE, PrivacyPlan
from fedcore.privacy.units import PrivacyUnit, Relation
from fedcore.round import Optimiser
from fedserver.strategies import DEFAULT
from fedserver.sums import SecureSumSettings
from simulations.compared import ATTACKS, AttackSettings, ComparisonSettings

__all__ = [
    "ATTACKS",
    "UNSAFE_SEEDED",
    "AdapterSettings",
    "AttackSettings",
    "ComparisonSettings",
    "EvaluationSettings",
    "PrivacySettings",
    "RaySettings",
    "RecordsSettings",
    "Scenario",
    "SplitSettings",
    "load",
    "named",
]

UNSAFE_SEEDED = "UnsafeSeeded"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MARGIN = 0.99
"""Noise is calibrated to this share of epsilon, so that a second accountant's last digit cannot pass it."""


@dataclass(frozen=True, kw_only=True)
class RecordsSettings:
    """Which records are split into institutions.

    Args:
        unit: Column or path that names whom to protect.
        path: A file or directory; `--records` overrides it.
        synthetic: "medicine" or "finance": records that the domain pack generates, when no path is given.
        units_per_site: How many units each synthetic site has.
        format: As in a node's settings.
        fields: Task field -> column or path, for files that name things in another way.
        heldout_units: Units that no institution holds; the loss is measured on them, and nowhere where there are none.
        canary_units: Further units that no institution holds; a gate looks at them.
    Raises:
        ConfigError: A number is out of range.
    """

    unit: str
    path: str = ""
    synthetic: Literal["", "medicine", "finance"] = ""
    units_per_site: int = 8
    format: Literal["auto", "jsonl", "csv", "parquet", "fhir"] = "auto"
    fields: dict[str, str] = field(default_factory=dict)
    heldout_units: int = 2
    canary_units: int = 0

    def __post_init__(self) -> None:
        if self.heldout_units < 0 or self.units_per_site < 1 or self.canary_units < 0:
            raise ConfigError("[records] units_per_site must be at least 1, heldout_units and canary_units not below 0")


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How units become institutions: by a column, evenly (iid), or skewed (dirichlet).

    Raises:
        ConfigError: A column is missing, or a number is out of range.
    """

    kind: Literal["column", "iid", "dirichlet"]
    column: str = ""
    merge_below_units: int = 1
    institutions: int = 3
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if self.kind != "iid" and not self.column:
            raise ConfigError(f"[split] kind {self.kind!r} needs a column", do="set [split] column")
        if self.merge_below_units < 1 or self.institutions < 1 or not self.alpha > 0:
            raise ConfigError("[split] merge_below_units, institutions and alpha must be above zero")


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """Shape of the LoRA adapter."""

    rank: int = 4
    alpha: float = 8.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")


@dataclass(frozen=True, kw_only=True)
class PrivacySettings:
    """The privacy of every institution; nothing has a default but what it relaxes.

    Args:
        epsilon: What all rounds together may cost; the noise is calibrated to it.
        epsilon_limit: Each institution's own limit. Above `epsilon`, so that a round repeated after a
            crash, which costs twice, still fits.
        relation: How neighbouring data sets differ.
        sampler: With `batch_limit` and `largest_units` where it is "truncated_poisson".
        clipping: The rule by which a unit's gradient is bounded.
        honest_minimum: Where it is given, the noise of masked joint steps is shared, and so many honest
            institutions carry the whole of it.
        unsafe_no_noise: Research without privacy: `--epsilon none`.
        unsafe_seeded: Sampling and noise from the scenario's seed, so that a run repeats exactly. Behind masks it
            repeats up to rounding alone: the coins by which numbers are rounded into the ring are the system's.
    """

    epsilon: float
    epsilon_limit: float
    delta: float
    sampling_rate: float
    steps_per_round: int
    expected_batch_units: float
    examples_per_unit: int
    clip_norm_l2: float
    relation: Relation = "add_or_remove_one"
    sampler: str = "poisson"
    batch_limit: int | None = None
    largest_units: int | None = None
    clipping: Clipping = field(default_factory=Clipping)
    honest_minimum: int | None = None
    unsafe_no_noise: bool = False
    unsafe_seeded: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How the loss on held-out units is measured."""

    examples: int = 8
    every_round: bool = True


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """What an institution at work takes of a machine on Flower's Ray backend; speed, never the result.

    Args:
        cpus: So many institutions train at a time as the machines have this many CPUs for.
        gpus: Likewise; 0.25 lets four share a GPU, 0 leaves all GPUs alone.
    Raises:
        ConfigError: A number is out of range.
    """

    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.cpus <= 1024 and 0 <= self.gpus <= 64):
            raise ConfigError("[ray] cpus must be above 0 and gpus 0 or more")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A simulated federation.

    Args:
        base: A prepared base, a directory, or "tiny:NAME" for a small random model made on the spot.
        quorum: Replies that a round needs; 0 means all institutions.
        joint: Whether a round is one step, which the coordinator's optimiser takes.
        secure_sums: Where it is given, updates are summed behind masks.
        comparison: Where it is given, the scenario is run in several ways instead of once.
        rule, server_optimiser, gate, widths: As in a job. The gate's canary examples are those of the canary units,
            whatever its `records` name.
        ranks: Institution -> rank, as in a job.
        attack: Where it is given, some institutions are bad.
    Raises:
        ConfigError: A field is out of range, or two do not fit each other.
    """

    name: str
    task: str
    base: str
    rounds: int
    seed: int
    max_tokens: int
    records: RecordsSettings
    split: SplitSettings
    privacy: PrivacySettings
    strategy: str = DEFAULT
    quorum: int = 0
    deadline_s: float = 86400.0
    backend: Literal["memory", "ray"] = "memory"
    ray: RaySettings = RaySettings()
    adapter: AdapterSettings = AdapterSettings()
    optimiser: Optimiser = field(default_factory=Optimiser)
    evaluation: EvaluationSettings = EvaluationSettings()
    joint: bool = False
    secure_sums: SecureSumSettings | None = None
    comparison: ComparisonSettings | None = None
    rule: RobustRule | None = None
    server_optimiser: ServerOptimiser | None = None
    gate: Gate | None = None
    widths: WidthSettings = field(default_factory=WidthSettings)
    ranks: dict[str, int] = field(default_factory=dict)
    attack: AttackSettings | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"the scenario name {self.name!r} cannot be used", expected="letters, digits, '.-_'")
        if self.rounds < 1 or self.quorum < 0 or self.evaluation.examples < 1:
            raise ConfigError("scenario: rounds and evaluation.examples must be at least 1, quorum at least 0")
        if self.gate is not None and not self.records.canary_units:
            raise ConfigError("a gate needs units to look at", do="set [records] canary_units, or leave [gate] out")
        measured = self.gate is not None or self.attack is not None or self.comparison is not None
        if measured and not self.records.heldout_units:
            raise ConfigError("a gate, an attack and a comparison measure a loss", do="set [records] heldout_units")
        if self.attack is not None and self.secure_sums is not None:
            raise ConfigError("attacks are simulated on visible updates", do="leave [attack] or [secure_sums] out")
        shared = self.privacy.honest_minimum is not None
        if shared and not (self.joint and self.secure_sums is not None):
            raise ConfigError(
                "shared noise needs joint steps and masks",
                do="set joint = true and [secure_sums], or leave [privacy] honest_minimum out",
            )
        if self.joint and self.secure_sums is not None and not shared and not self.privacy.unsafe_no_noise:
            raise ConfigError(
                "a joint step behind masks shares its noise, and the scenario does not say among how many",
                do="set [privacy] honest_minimum; 1 lets each institution add the whole noise",
            )

    def without_noise(self) -> "Scenario":
        """The same scenario without privacy: research only, marked, never publishable. No noise, none to share."""
        without = dataclasses.replace(self.privacy, unsafe_no_noise=True, honest_minimum=None)
        return dataclasses.replace(self, privacy=without)

    def with_epsilon(self, epsilon: float) -> "Scenario":
        """The same scenario at another epsilon; the limit keeps its distance.

        Raises:
            ConfigError: `epsilon` is not above zero.
        """
        if not 0 < epsilon < float("inf"):
            raise ConfigError("--epsilon is out of range", expected="a number above 0, or 'none'", got=repr(epsilon))
        limit = epsilon * self.privacy.epsilon_limit / self.privacy.epsilon
        changed = dataclasses.replace(self.privacy, epsilon=epsilon, epsilon_limit=limit, unsafe_no_noise=False)
        return dataclasses.replace(self, privacy=changed)

    @property
    def unsafe(self) -> tuple[str, ...]:
        """Whatever weakens the promise, by name."""
        marks = ((self.privacy.unsafe_no_noise, UNSAFE_NO_NOISE), (self.privacy.unsafe_seeded, UNSAFE_SEEDED))
        return tuple(name for holds, name in marks if holds)

    @property
    def privacy_label(self) -> str:
        """A word for directories: "epsilon-8" or "no-noise"."""
        return "no-noise" if self.privacy.unsafe_no_noise else f"epsilon-{self.privacy.epsilon:g}"

    def privacy_plan(self) -> PrivacyPlan:
        """The plan of every round, its noise calibrated to epsilon over all rounds.

        Raises:
            InvalidPlan: A number is out of range, or no noise is enough.
            NoPrivacyUnit: The unit is empty.
        """
        fixed: dict[str, Any] = {
            name: getattr(self.privacy, name)
            for name in (
                "delta",
                "sampling_rate",
                "steps_per_round",
                "expected_batch_units",
                "examples_per_unit",
                "clip_norm_l2",
                "sampler",
                "batch_limit",
                "largest_units",
                "clipping",
            )
        }
        fixed["unit"] = PrivacyUnit(key=self.records.unit, relation=self.privacy.relation)
        if self.privacy.unsafe_no_noise:
            if self.privacy.clipping.releases_count:
                fixed["clipping"] = dataclasses.replace(self.privacy.clipping, count_noise_multiplier=0.0)
            return PrivacyPlan(noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE, **fixed)
        honest = self.privacy.honest_minimum
        mechanism = GAUSSIAN if honest is None else DISCRETE_GAUSSIAN
        stand_in = PrivacyPlan(noise_multiplier=1.0, mechanism=mechanism, honest_minimum=honest, **fixed)
        noise = _least_noise(stand_in.event(self.rounds), _MARGIN * self.privacy.epsilon, self.privacy.delta)
        return dataclasses.replace(stand_in, noise_multiplier=noise)

    def digest(self, records_digest: str) -> str:
        """SHA-256 of what decides the result: the scenario without its backend, and the records."""
        value = asdict(self)
        del value["backend"], value["ray"], value["records"]["path"]
        return canonical.digest({"scenario": value, "records": records_digest})


@lru_cache(maxsize=64)
def _least_noise(event: DpEvent, epsilon: float, delta: float) -> float:
    """What `PrivacyPlan.calibrate` would find; the runs of a comparison ask for the same again and again."""
    return calibration.least_noise(event, epsilon=epsilon, delta=delta)


def load(path: Path) -> Scenario:
    """Read a scenario.

    Raises:
        ConfigError: The file is missing, is not TOML, or a key is unknown, missing or out of range.
    """
    return config.load(Scenario, path)


def named(name: str) -> Path:
    """Where a scenario that ships with the package lies, such as "quickstart".

    Raises:
        ConfigError: No such scenario.
    """
    folder = Path(str(resources.files("simulations"))) / "scenarios"
    path = folder / f"{name}.toml"
    if not _NAME.fullmatch(name) or not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise ConfigError(f"no scenario is called {name!r}", expected=f"one of {known}")
    return path
