"""JOB.toml to JobPlan: what a researcher writes becomes what the parties agree on.

Relative paths are taken from the file's own folder. Privacy settings have no defaults; noise is either
given, or found as the least that keeps the whole job within an epsilon.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedcore import config
from fedcore.adapter import AdapterSchema, ModelCard
from fedcore.errors import ConfigError
from fedcore.folding import Gate, RobustRule, ServerOptimiser, WidthSettings
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.plan import DISCRETE_GAUSSIAN, GAUSSIAN, Forecast, PrivacyPlan
from fedcore.privacy.units import PrivacyUnit, Relation
from fedcore.round import Evaluation, JobPlan, Optimiser
from fedcore.sums import SumPlan
from fedserver.strategies import DEFAULT, check_fit, load_strategy
from fedserver.sum_forecast import parameters_of
from fedserver.sums import SecureSumSettings, make_sums

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
    honest_minimum: int | None = None
    """Where it is given, the noise of joint steps is shared; see `fedcore.privacy.plan.PrivacyPlan`."""

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
            "honest_minimum": self.honest_minimum,
        }
        if self.epsilon is not None:
            return PrivacyPlan.calibrate(epsilon=self.epsilon, rounds=rounds, **shared)  # type: ignore[arg-type]
        mechanism = GAUSSIAN if self.honest_minimum is None else DISCRETE_GAUSSIAN
        return PrivacyPlan(noise_multiplier=self.noise_multiplier, mechanism=mechanism, **shared)  # type: ignore[arg-type]


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
    joint: bool = False
    """Whether a round is one step, which the coordinator takes."""
    secure_sums: SecureSumSettings | None = None
    """Where the table is there, updates are summed behind masks."""
    rule: RobustRule | None = None
    server_optimiser: ServerOptimiser | None = None
    gate: Gate | None = None
    widths: WidthSettings = field(default_factory=WidthSettings)
    ranks: dict[str, int] = field(default_factory=dict)
    """Institution -> rank, of those that train fewer of the adapter's slots than `[adapter] rank`."""


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
    strategy = load_strategy(settings.strategy)
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
    schema = AdapterSchema.for_base(
        card,
        rank=a.rank,
        alpha=a.alpha,
        targets=a.targets,
        form=strategy.traits.form,
        residual_rank=strategy.traits.residual_times * a.rank,
    )
    gate = settings.gate
    if gate is not None:
        canaries = (path.parent / gate.records).resolve()
        if not canaries.is_file():
            raise ConfigError(f"{path}: the canary examples {canaries} do not exist", do="correct [gate] records")
        gate = replace(gate, records=str(canaries))
    privacy = settings.privacy.plan(settings.rounds)
    plan = JobPlan(
        job_id=settings.name,
        task=settings.task,
        schema=schema,
        strategy=settings.strategy,
        rounds=settings.rounds,
        seed=settings.seed,
        quorum=settings.quorum,
        deadline_s=settings.deadline_s,
        max_tokens=settings.max_tokens,
        optimiser=settings.optimiser,
        privacy=privacy,
        institutions=settings.institutions,
        evaluation=evaluation,
        joint=settings.joint,
        sums=_sums(settings, privacy, schema),
        rule=settings.rule,
        server_optimiser=settings.server_optimiser,
        gate=gate,
        widths=settings.widths.choose(masked=settings.secure_sums is not None),
        ranks=tuple(sorted(settings.ranks.items())),
        keeps=strategy.traits.keeps,
    )
    check_fit(plan)
    return LoadedJob(plan=plan, base_name=card.name)


def _sums(settings: JobSettings, privacy: PrivacyPlan, schema: AdapterSchema) -> SumPlan | None:
    """The plan of a job's secure sums; None where it has none.

    Raises:
        ConfigError, InvalidPlan: What was asked for does not fit; see `make_sums`.
    """
    if settings.secure_sums is None:
        if privacy.shares_noise:
            raise ConfigError(
                "shared noise needs masks",
                do="add [secure_sums] with a threshold, or leave [privacy] honest_minimum out",
            )
        return None
    if settings.joint and privacy.is_private and not privacy.shares_noise:
        raise ConfigError(
            "a joint step behind masks shares its noise, and the job does not say among how many",
            do="set [privacy] honest_minimum; 1 lets each institution add the whole noise",
        )
    if privacy.shares_noise and not settings.joint:
        raise ConfigError("shared noise needs joint steps", do="set joint = true and steps_per_round = 1")
    return make_sums(
        settings.secure_sums,
        privacy=privacy,
        schema=schema,
        strategy=settings.strategy,
        rounds=settings.rounds,
        optimiser=settings.optimiser,
        joint=settings.joint,
        institutions=len(settings.institutions),
    )


def forecast(plan: JobPlan, institutions: int) -> Forecast:
    """What the job can be expected to achieve with so many institutions, from public numbers only."""
    kept = sum(t.size for t in plan.schema.part(*plan.keeps))
    return plan.privacy.forecast(
        rounds=plan.rounds, parameters=max(parameters_of(plan) + kept, 1), institutions=max(institutions, 1)
    )


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
