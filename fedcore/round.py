"""Jobs and rounds: what is agreed before a node trains, and what came of it.

A **JobPlan** is what a coordinator is asked to do. Each of its rounds is a **RoundPlan**, which the
coordinator signs and every node checks against its own policy. All fields are public.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fedcore import canonical
from fedcore.adapter import PARTS, AdapterSchema, FloatArray, TensorSpec, check_tensors
from fedcore.errors import ConfigError, InvalidPlan
from fedcore.privacy.plan import PrivacyPlan

__all__ = [
    "Abandoned",
    "CohortSum",
    "Completed",
    "Evaluation",
    "JobPlan",
    "Optimiser",
    "RoundOutcome",
    "RoundPlan",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """The optimiser that a node runs on noisy gradients.

    Args:
        name: "adamw" or "sgd".
        learning_rate: > 0.
        weight_decay: >= 0, AdamW only.
        momentum: In [0, 1), SGD only.
    Raises:
        ConfigError: A field is out of range.
    """

    name: str = "adamw"
    learning_rate: float = 5e-3
    weight_decay: float = 0.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in ("adamw", "sgd"):
            raise ConfigError(f"unknown optimiser {self.name!r}", expected="adamw or sgd")
        if not (math.isfinite(self.learning_rate) and 0 < self.learning_rate <= 10):
            raise ConfigError("learning_rate is out of range", expected="a number in (0, 10]")
        if not (0 <= self.momentum < 1 and 0 <= self.weight_decay <= 1):
            raise ConfigError("momentum or weight_decay is out of range", expected="[0, 1) and [0, 1]")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Public held-out examples that the coordinator's evaluator scores."""

    records: str
    limit: int = 32
    every_round: bool = False


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    """What a coordinator is asked to do.

    Raises:
        ConfigError: A field is out of range.
    """

    job_id: str
    task: str
    schema: AdapterSchema
    strategy: str
    rounds: int
    seed: int
    quorum: int
    deadline_s: float
    max_tokens: int
    optimiser: Optimiser
    privacy: PrivacyPlan
    institutions: tuple[str, ...] = ()
    """Names of those invited; none named means every enrolled institution."""
    evaluation: Evaluation | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.job_id):
            raise ConfigError(
                f"the job name {self.job_id!r} cannot be used", expected="1 to 64 letters, digits, '.', '_' or '-'"
            )
        for name, low, high in (("rounds", 1, 100_000), ("quorum", 1, 100_000), ("max_tokens", 8, 1_000_000)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(f"job: {name} is out of range", expected=f"{low} to {high:,}", got=repr(value))
        if not (math.isfinite(self.deadline_s) and 0 < self.deadline_s <= 30 * 86400):
            raise ConfigError("job: deadline_s is out of range", expected="seconds, above 0, at most 30 days")
        if self.institutions and self.quorum > len(self.institutions):
            raise ConfigError("job: the quorum is larger than the list of institutions")

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "JobPlan":
        """Read a job.

        Raises:
            ConfigError: It cannot be read.
            InvalidPlan: Its privacy plan cannot hold.
        """
        fields = dict(value)
        try:
            fields["schema"] = AdapterSchema.from_dict(fields["schema"])
            fields["optimiser"] = Optimiser(**fields["optimiser"])
            fields["privacy"] = PrivacyPlan.from_dict(fields["privacy"])
            fields["institutions"] = tuple(fields["institutions"])
            if fields["evaluation"] is not None:
                fields["evaluation"] = Evaluation(**fields["evaluation"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"a job plan cannot be read ({error})") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the job plan, hexadecimal."""
        return canonical.digest(self.to_dict())


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """What one node is asked to do in one round. Every field is public.

    `trains` are the parts that change and travel back; `carries` are the parts of the state that travel
    to the node, the others being those of `AdapterState.initial(schema, seed)`.

    Raises:
        InvalidPlan: A field is out of range.
    """

    job_id: str
    round: int
    rounds: int
    task: str
    schema: AdapterSchema
    state_digest: str
    seed: int
    strategy: str
    trains: tuple[str, ...]
    carries: tuple[str, ...]
    cohort: tuple[str, ...]
    """Names of the institutions that the round's plan was sent to."""
    weight: float
    """Public weight of each institution's update in the sum."""
    quorum: int
    deadline_s: float
    max_tokens: int
    optimiser: Optimiser
    privacy: PrivacyPlan

    def __post_init__(self) -> None:
        def require(holds: bool, what: str) -> None:
            if not holds:
                raise InvalidPlan(f"round plan: {what}")

        require(bool(_NAME.fullmatch(self.job_id)), "job_id cannot be used")
        require(
            type(self.round) is int and type(self.rounds) is int and 1 <= self.round <= self.rounds,
            "round is not within 1 and rounds",
        )
        require(bool(self.trains) and set(self.trains) <= set(PARTS), f"trains must name some of {PARTS}")
        require(set(self.carries) <= set(PARTS), f"carries must name some of {PARTS}")
        require(math.isfinite(self.weight) and self.weight > 0, "weight must be above 0")
        require(math.isfinite(self.deadline_s) and self.deadline_s > 0, "deadline_s must be above 0")
        require(type(self.max_tokens) is int and self.max_tokens >= 8, "max_tokens must be at least 8")
        require(type(self.quorum) is int and self.quorum >= 1, "quorum must be at least 1")

    @property
    def base_digest(self) -> str:
        """Identity of the base model."""
        return self.schema.base_digest

    @property
    def trained(self) -> tuple[TensorSpec, ...]:
        """The tensors that an update holds."""
        return self.schema.part(*self.trains)

    @property
    def carried(self) -> tuple[TensorSpec, ...]:
        """The tensors that travel to the node."""
        return self.schema.part(*self.carries)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "RoundPlan":
        """Read a plan.

        Raises:
            InvalidPlan: It cannot be read or cannot hold.
        """
        fields = dict(value)
        try:
            fields["schema"] = AdapterSchema.from_dict(fields["schema"])
            fields["optimiser"] = Optimiser(**fields["optimiser"])
            fields["privacy"] = PrivacyPlan.from_dict(fields["privacy"])
            for name in ("trains", "carries", "cohort"):
                fields[name] = tuple(fields[name])
            return cls(**fields)
        except (KeyError, TypeError, ConfigError) as error:
            raise InvalidPlan(f"a round plan cannot be read ({error})") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the plan, hexadecimal: what a node signs its reply to."""
        return canonical.digest(self.to_dict())


@dataclass(frozen=True, kw_only=True, eq=False)
class CohortSum:
    """The weighted sum of the updates of a cohort: all that a strategy sees.

    Args:
        specs: The tensors summed.
        total: Sum over institutions of weight times update, by tensor name, float32.
        weight: Sum of the weights, > 0.
        count: How many institutions are in it.
    Raises:
        ConfigError: A tensor is missing, extra or not finite, or the weight is not above zero.
    """

    specs: tuple[TensorSpec, ...]
    total: Mapping[str, FloatArray] = field(repr=False)
    weight: float
    count: int

    def __post_init__(self) -> None:
        check_tensors(self.specs, self.total)
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ConfigError("a cohort's weight must be above 0")

    def mean(self) -> dict[str, FloatArray]:
        """The weighted mean update, by tensor name."""
        return {name: (array / self.weight).astype("float32") for name, array in self.total.items()}


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A round whose quorum held; `state_digest` is that of the folded state."""

    round: int
    contributors: tuple[str, ...]
    dropped: Mapping[str, str]
    """Institution -> reason code, for replies that were refused, missing or late."""
    state_digest: str
    seconds: float
    bytes_up: int
    bytes_down: int
    loss: float | None = None
    """Loss on public held-out examples, where it was measured this round."""


@dataclass(frozen=True, kw_only=True)
class Abandoned:
    """A round that lost its quorum; nothing was folded and no budget is refunded."""

    round: int
    dropped: Mapping[str, str]
    reason: str


RoundOutcome = Completed | Abandoned
