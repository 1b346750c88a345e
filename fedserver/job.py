"""JOB.toml to JobPlan: what a researcher writes becomes what the parties agree on.

Relative paths are taken from the file's own folder. Privacy settings have no defaults; noise is either
given, or found as the least that keeps the whole job within an epsilon.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from fedcore import config
from fedcore.adapter import AdapterSchema, ModelCard
from fedcore.errors import ConfigError
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.plan import Forecast, PrivacyPlan
from fedcore.privacy.units import PrivacyUnit, Relation
from fedcore.round import Evaluation, JobPlan, Optimiser
from fedserver.strategies import DEFAULT, load_strategy

__all__ = ["JobSettings", "LoadedJob", "forecast", "load_job"]


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """The LoRA adapter: rank, alpha and the modules it attaches to."""

    rank: int
    alpha: float
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PrivacySettings:
    """`PrivacyPlan`, with `epsilon` for the whole job in the place of `noise_multiplier` if so wished."""

    unit: str
    sampling_rate: float
    steps_per_round: int
    expected_batch_units: float
    examples_per_unit: int
    clip_norm_l2: float
    delta: float
    epsilon: float | None = None
    noise_multiplier: float | None = None
    relation: Relation = "add_or_remove_one"
    sampler: str = "poisson"
    batch_limit: int | None = None
    largest_units: int | None = None
    clipping: Clipping = field(default_factory=Clipping)

    def plan(self, rounds: int) -> PrivacyPlan:
        """The plan of a job of so many rounds.

        Raises:
            ConfigError: Both or neither of `epsilon` and `noise_multiplier` are given.
            InvalidPlan: A number is out of range, or the epsilon cannot be reached.
        """
        given = [
            n for n, v in (("epsilon", self.epsilon), ("noise_multiplier", self.noise_multiplier)) if v is not None
        ]
        if len(given) != 1:
            raise ConfigError(
                "[privacy] must set the noise in one way",
                expected="either epsilon or noise_multiplier",
                got=" and ".join(given) or "neither",
                do="set one of them",
            )
        shared = {
            "unit": PrivacyUnit(key=self.unit, relation=self.relation),
            "sampling_rate": self.sampling_rate,
            "steps_per_round": self.steps_per_round,
            "expected_batch_units": self.expected_batch_units,
            "examples_per_unit": self.examples_per_unit,
            "clip_norm_l2": self.clip_norm_l2,
            "delta": self.delta,
            "sampler": self.sampler,
            "batch_limit": self.batch_limit,
            "largest_units": self.largest_units,
            "clipping": self.clipping,
        }
        if self.epsilon is not None:
            return PrivacyPlan.calibrate(epsilon=self.epsilon, rounds=rounds, **shared)  # type: ignore[arg-type]
        return PrivacyPlan(noise_multiplier=self.noise_multiplier, **shared)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Public held-out examples, JSONL with the task's own field names."""

    records: Path
    limit: int = 32
    every_round: bool = False


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What a JOB.toml holds."""

    name: str
    task: str
    card: Path
    rounds: int
    quorum: int
    deadline_s: float
    max_tokens: int
    adapter: AdapterSettings
    privacy: PrivacySettings
    optimiser: Optimiser = field(default_factory=Optimiser)
    strategy: str = DEFAULT
    seed: int = 0
    institutions: tuple[str, ...] = ()
    evaluation: EvaluationSettings | None = None


@dataclass(frozen=True, kw_only=True)
class LoadedJob:
    """A job that can be submitted."""

    plan: JobPlan
    base_name: str


def load_job(path: Path) -> LoadedJob:
    """Read a JOB.toml and everything that it names.

    Raises:
        ConfigError: A file is missing, a key unknown, or a value cannot be used.
        InvalidPlan: The privacy numbers cannot hold.
        ModelError: The model card cannot be read.
    """
    settings = config.load(JobSettings, path)
    if settings.rounds < 1:
        raise ConfigError(f"{path}: rounds is out of range", expected="at least 1", got=str(settings.rounds))
    load_strategy(settings.strategy)
    card = _card(path.parent / settings.card)
    a = settings.adapter
    evaluation = None
    if settings.evaluation is not None:
        records = (path.parent / settings.evaluation.records).resolve()
        if not records.is_file():
            raise ConfigError(f"{path}: the public examples {records} do not exist", do="correct [evaluation] records")
        if settings.evaluation.limit < 1:
            raise ConfigError(f"{path}: evaluation: limit is out of range", expected="at least 1")
        evaluation = Evaluation(
            records=str(records), limit=settings.evaluation.limit, every_round=settings.evaluation.every_round
        )
    plan = JobPlan(
        job_id=settings.name,
        task=settings.task,
        schema=AdapterSchema.for_base(card, rank=a.rank, alpha=a.alpha, targets=a.targets),
        strategy=settings.strategy,
        rounds=settings.rounds,
        seed=settings.seed,
        quorum=settings.quorum,
        deadline_s=settings.deadline_s,
        max_tokens=settings.max_tokens,
        optimiser=settings.optimiser,
        privacy=settings.privacy.plan(settings.rounds),
        institutions=settings.institutions,
        evaluation=evaluation,
    )
    return LoadedJob(plan=plan, base_name=card.name)


def forecast(plan: JobPlan, institutions: int) -> Forecast:
    """What the job can be expected to achieve with so many institutions, from public numbers only."""
    trained = set(load_strategy(plan.strategy).trains(1))
    parameters = sum(t.size for t in plan.schema.part(*trained))
    return plan.privacy.forecast(rounds=plan.rounds, parameters=max(parameters, 1), institutions=max(institutions, 1))


def _card(path: Path) -> ModelCard:
    """Read a base model's card.

    Raises:
        ConfigError: The file is missing or not JSON.
        ModelError: It is not a card.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the model card {path} cannot be read",
            expected="a card.json as 'concordat model add' makes it",
            do="correct card in the job",
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(f"the model card {path} is not a JSON object")
    return ModelCard.from_dict(value)
