"""Jobs and rounds: what is agreed before a node trains, and what came of it.

A **JobPlan** is what a coordinator is asked to do. Each of its rounds is a **RoundPlan**, which the
coordinator signs and every node checks against its own policy. All fields are public.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as fields_of
from functools import cached_property
from typing import Any

from fedcore import canonical
from fedcore.adapter import PARTS, AdapterSchema, FloatArray, TensorSpec, check_tensors
from fedcore.errors import ConfigError, InvalidPlan
from fedcore.folding import Gate, RobustRule, ServerOptimiser, Widths
from fedcore.privacy.plan import PrivacyPlan
from fedcore.ranks import first_slots
from fedcore.secagg import Terms
from fedcore.sums import SumPlan

__all__ = [
    "Abandoned",
    "CohortSum",
    "Completed",
    "Evaluation",
    "JobPlan",
    "Optimiser",
    "RoundOutcome",
    "RoundPlan",
    "name_of_sums",
    "rank_of",
    "terms",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """The optimiser that a node runs on noisy gradients: post-processing, which costs no privacy.

    - "adamw": DP-AdamW. The noise's own variance sits in the second moment, so that where noise outweighs the
      gradient every coordinate is scaled alike. `noise_correction` subtracts that variance, which is public:
      the bias correction of DP-AdamBC (Tang et al. 2024, arXiv:2312.14334). It has nothing to do with Adam's
      own correction for moments that start at zero, which is always on. It is off by default: plain DP-AdamW
      trained better where the two were compared.
    - "sgd": DP-SGD, with momentum where it is given.

    A number that the optimiser does not use must be at its default.

    `proximal` is FedProx's mu (Li et al. 2020, arXiv:1812.06127): each local step also sees the gradient of
    mu / 2 |w - w0|^2, where w0 is the round's state. It is added after the noise and knows no record. Local steps only.
    With "sgd" the learning rate times mu must stay below 2 (1 + momentum), from where on steps would swing up.

    Args:
        name: "adamw" or "sgd".
        learning_rate: In (0, 10].
        weight_decay: AdamW only, in [0, 1]; decoupled.
        momentum: SGD only, in [0, 1).
        beta1: AdamW only, decay of the first moment, in [0, 1).
        beta2: AdamW only, decay of the second moment, in [beta1 squared, 1): steps would have no bound below.
        stability: AdamW only, Adam's epsilon: added to the root of the second moment, in (0, 1].
        noise_correction: AdamW only.
        proximal: In [0, 100].
    Raises:
        ConfigError: A field is out of range, or belongs to the other optimiser.
    """

    name: str = "adamw"
    learning_rate: float = 5e-3
    weight_decay: float = 0.0
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    stability: float = 1e-8
    noise_correction: bool = False
    proximal: float = 0.0

    def __post_init__(self) -> None:
        unused = {"adamw": ("momentum",), "sgd": ("weight_decay", "beta1", "beta2", "stability", "noise_correction")}
        if self.name not in unused:
            raise ConfigError(f"unknown optimiser {self.name!r}", expected="adamw or sgd")
        for field_ in fields_of(self)[1:]:
            value, wanted = getattr(self, field_.name), type(field_.default)
            if type(value) is not wanted and not (wanted is float and type(value) is int):
                raise ConfigError(
                    f"optimiser: {field_.name} has the wrong type",
                    expected=wanted.__name__,
                    got=type(value).__name__,
                )
            if field_.name in unused[self.name] and value != field_.default:
                raise ConfigError(f"optimiser: {field_.name} is not used with {self.name}", do="remove it")
        for name, holds, expected in (
            ("learning_rate", 0 < self.learning_rate <= 10, "a number in (0, 10]"),
            ("weight_decay", 0 <= self.weight_decay <= 1, "a number in [0, 1]"),
            ("momentum", 0 <= self.momentum < 1, "a number in [0, 1)"),
            ("beta1", 0 <= self.beta1 < 1, "a number in [0, 1)"),
            ("beta2", self.beta1**2 <= self.beta2 < 1, "a number from beta1 squared to below 1"),
            ("stability", 0 < self.stability <= 1, "a number in (0, 1]"),
            ("proximal", 0 <= self.proximal <= 100, "a number in [0, 100]"),
        ):
            if not holds:  # Also when it is not a number.
                raise ConfigError(f"optimiser: {name} is out of range", expected=expected)
        if self.name == "sgd" and not self.learning_rate * self.proximal < 2 * (1 + self.momentum):
            raise ConfigError(
                "optimiser: each step would overshoot what proximal pulls to by more than the last",
                expected="learning_rate times proximal below 2 (1 + momentum)",
                do="lower one of them",
            )


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
    joint: bool = False
    """Whether a round is one step: nodes send clipped sums, and the coordinator's optimiser takes the step."""
    sums: SumPlan | None = None
    """How updates are summed behind masks; None where the coordinator sees each of them."""
    rule: RobustRule | None = None
    """What takes the place of the mean of visible updates."""
    server_optimiser: ServerOptimiser | None = None
    """How the coordinator steps towards what a strategy folded; None takes the fold."""
    gate: Gate | None = None
    """What a folded state must pass on public canary examples before it stands."""
    widths: Widths = field(default_factory=Widths)
    """At which updates and state travel."""
    ranks: tuple[tuple[str, int], ...] = ()
    """(institution, rank) of those that train fewer of the adapter's slots than its rank; sorted by name."""
    keeps: tuple[str, ...] = ()
    """Parts that train and stay at each institution, as its strategy has it."""

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
        if self.sums is not None and not (
            len(self.institutions) <= self.sums.parties and self.sums.threshold <= self.quorum <= self.sums.parties
        ):
            raise ConfigError(
                "job: the quorum and the secure sums do not fit",
                expected=f"a quorum from {self.sums.threshold} (threshold) to {self.sums.parties} (parties), and no "
                "more institutions than parties",
            )
        _check_privacy(self)
        _check_travel(self)
        if self.sums is not None and self.rule is not None:
            raise ConfigError(
                "a rule against bad updates needs to see them, and behind masks nobody does",
                do="leave [rule] or [secure_sums] out; [gate] works with both",
            )
        if self.joint and self.server_optimiser is not None:
            raise ConfigError("a joint round is the optimiser's own step", do="leave [server_optimiser] out")
        if self.rule is not None:
            self.rule.check(self.quorum)

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
            for name, kind in (("rule", RobustRule), ("server_optimiser", ServerOptimiser), ("gate", Gate)):
                fields[name] = None if fields.get(name) is None else kind(**fields[name])
            _read_travel(fields)
            if fields["evaluation"] is not None:
                fields["evaluation"] = Evaluation(**fields["evaluation"])
            fields["sums"] = _read_sums(fields)
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"a job plan cannot be read ({error})") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the job plan, hexadecimal."""
        return canonical.digest(self.to_dict())

    @property
    def terms_digest(self) -> str:
        """SHA-256 of `terms`, hexadecimal; that of each of the job's rounds is the same."""
        return canonical.digest(terms(self))


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """What one node is asked to do in one round. Every field is public.

    `trains` are the parts that change and travel back; `carries` are the parts of the state that travel
    to the node, the others being those of `AdapterState.initial(schema, seed)`.

    What travels back is new adapter minus old after `privacy.steps_per_round` local steps, or in a `joint` round
    the noised sum of one step's clipped gradients. With `sums` it travels masked, as elements of a ring.

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
    joint: bool = False
    """As in the job."""
    sums: SumPlan | None = None
    """As in the job."""
    members: tuple[tuple[str, str], ...] = ()
    """With `sums`: (name, Ed25519 public key in hexadecimal) of all whom the job's masks are agreed among."""
    widths: Widths = field(default_factory=Widths)
    """As in the job."""
    ranks: tuple[tuple[str, int], ...] = ()
    """As in the job."""
    keeps: tuple[str, ...] = ()
    """Parts that change in the round and stay at the institution, such as a personal B. They train in the same private
    steps as `trains`: one clipped vector, one noise, one cost."""

    def __post_init__(self) -> None:
        def require(holds: bool, what: str) -> None:
            if not holds:
                raise InvalidPlan(f"round plan: {what}")

        require(bool(_NAME.fullmatch(self.job_id)), "job_id cannot be used")
        require(
            type(self.round) is int and type(self.rounds) is int and 1 <= self.round <= self.rounds <= 100_000,
            "round is not within 1 and rounds, at most 100,000",
        )
        require(type(self.seed) is int, "seed must be a whole number")
        require(all(isinstance(n, str) for n in self.cohort), "cohort must hold names")
        require(bool(self.trains) and set(self.trains) <= set(PARTS), f"trains must name some of {PARTS}")
        require(
            not self.schema.frozen & {*self.trains, *self.keeps}, "trains names a part that the adapter's form freezes"
        )
        require(set(self.carries) <= set(PARTS), f"carries must name some of {PARTS}")
        require(
            set(self.keeps) <= set(PARTS) - set(self.trains) - set(self.carries),
            "what an institution keeps neither travels nor comes",
        )
        require(math.isfinite(self.weight) and self.weight > 0, "weight must be above 0")
        require(math.isfinite(self.deadline_s) and 0 < self.deadline_s <= 30 * 86400, "deadline_s is out of range")
        require(type(self.max_tokens) is int and 8 <= self.max_tokens <= 1_000_000, "max_tokens is out of range")
        require(type(self.quorum) is int and 1 <= self.quorum <= 100_000, "quorum is out of range")
        require(bool(self.members) == (self.sums is not None), "members are named exactly with secure sums")
        if self.sums is not None:
            require(set(self.cohort) <= {name for name, _ in self.members}, "the cohort is not among the members")
            require(self.quorum >= self.sums.threshold, "the quorum is below the threshold of the secure sums")
            require(self.weight == 1.0, "a masked update has the weight 1")
            self.terms_of_sums("")  # Raises where they do not fit.
        _check_privacy(self)
        _check_travel(self)

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

    def rank_of(self, name: str) -> int:
        """How many of the adapter's slots an institution trains: the first so many."""
        return rank_of(self, name)

    def trained_by(self, name: str) -> tuple[TensorSpec, ...]:
        """The tensors that the update of one institution holds: `trained`, in its own rank."""
        return tuple(first_slots(t, self.rank_of(name)) for t in self.trained)

    @property
    def parameters(self) -> int:
        """How many numbers travel back."""
        return sum(t.size for t in self.trained)

    @property
    def kept(self) -> tuple[TensorSpec, ...]:
        """The tensors that change and stay at the institution."""
        return self.schema.part(*self.keeps)

    def terms_of_sums(self, coordinator: str) -> Terms:
        """The terms of the job's masked sums.

        They name the coordinator, since two may use one name for a job, and the digest of what the job agreed on:
        whoever is shown other noise, another bound or another ring sums with nobody else.

        Args:
            coordinator: Its Ed25519 public key, hexadecimal.
        Raises:
            InvalidPlan: The plan has no secure sums, or its members do not fit.
        """
        if self.sums is None:
            raise InvalidPlan("the plan has no secure sums")
        return self.sums.terms(
            job=name_of_sums(self, coordinator),
            members=self.members,
            rounds=self.rounds,
            parameters=self.parameters,
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "RoundPlan":
        """Read a plan.

        Raises:
            InvalidPlan: It cannot be read or cannot hold.
        """
        try:
            fields = dict(value)
            fields["schema"] = AdapterSchema.from_dict(fields["schema"])
            fields["optimiser"] = Optimiser(**fields["optimiser"])
            fields["privacy"] = PrivacyPlan.from_dict(fields["privacy"])
            for name in ("trains", "carries", "cohort"):
                if not isinstance(fields[name], (list, tuple)):
                    raise TypeError(f"{name} is not a list")
                fields[name] = tuple(fields[name])
            _read_travel(fields)
            fields["sums"] = _read_sums(fields)
            fields["members"] = tuple((str(name), str(key)) for name, key in fields.get("members", ()))
            plan = cls(**fields)
            canonical.encode(plan.to_dict())  # Half a character, which JSON can write, has no bytes to sign.
            return plan
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, ConfigError) as error:
            # Anyone may have written what stands in the error: it is cut short and made printable.
            why = "".join(c if c.isprintable() else "?" for c in str(error)[:300])
            raise InvalidPlan(f"a round plan cannot be read ({why})") from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the plan, hexadecimal: what a node signs its reply to.

        Kept once it is computed: every reply is compared with it, and a plan names its whole cohort.
        """
        return canonical.digest(self.to_dict())

    @property
    def terms_digest(self) -> str:
        """SHA-256 of `terms`, hexadecimal; that of the job is the same."""
        return canonical.digest(terms(self))


def rank_of(plan: JobPlan | RoundPlan, name: str) -> int:
    """How many of the adapter's slots an institution trains; all of them where the plan says nothing of it."""
    return dict(plan.ranks).get(name, plan.schema.rank)


def name_of_sums(plan: JobPlan | RoundPlan, coordinator: str) -> str:
    """What the masked sums of a job are called: job, coordinator's key, digest of `terms`."""
    return f"{plan.job_id}/{coordinator}/{plan.terms_digest}"


def terms(plan: JobPlan | RoundPlan) -> dict[str, Any]:
    """What stays the same in all rounds of a job, and what a person at an institution approves.

    Not in it: the round's number, state, cohort, weight, quorum, deadline and seed, which cost no privacy.
    """
    return {
        "job_id": plan.job_id,
        "rounds": plan.rounds,
        "task": plan.task,
        "schema": plan.schema.to_dict(),
        "strategy": plan.strategy,
        "max_tokens": plan.max_tokens,
        "optimiser": asdict(plan.optimiser),
        "privacy": plan.privacy.to_dict(),
        "joint": plan.joint,
        "sums": None if plan.sums is None else asdict(plan.sums),
        "widths": asdict(plan.widths),
        "ranks": [list(pair) for pair in plan.ranks],
        "keeps": list(plan.keeps),
    }


def _check_privacy(plan: JobPlan | RoundPlan) -> None:
    """Joint steps, masks and shared noise must fit each other.

    Raises:
        InvalidPlan: They do not.
    """
    privacy = plan.privacy
    if type(plan.joint) is not bool:
        raise InvalidPlan("joint must be true or false", got=type(plan.joint).__name__)
    if plan.joint and privacy.steps_per_round != 1:
        raise InvalidPlan("a joint round is one step", expected="steps_per_round 1", got=str(privacy.steps_per_round))
    if plan.joint and privacy.clipping.releases_count:
        raise InvalidPlan("a joint round releases no noised count", do="use another clipping rule")
    if privacy.shares_noise and not (plan.joint and plan.sums is not None):
        raise InvalidPlan(
            "shared noise needs joint steps and secure sums", do="set joint and sums, or leave honest_minimum out"
        )
    if plan.joint and plan.sums is not None and privacy.mechanism == "gaussian":
        raise InvalidPlan(
            "a masked joint step shares its noise",
            do="set honest_minimum (1: each institution adds all of it), or leave the masks out",
        )
    if plan.sums is not None and isinstance(plan, RoundPlan):
        plan.sums.check(privacy, plan.parameters)  # A job alone does not say which parts its strategy trains.


def _check_travel(plan: JobPlan | RoundPlan) -> None:
    """Widths and ranks must fit how a round's updates are summed.

    Raises:
        InvalidPlan: They do not.
    """
    names = [name for name, _ in plan.ranks]
    if names != sorted(set(names)) or not all(
        type(rank) is int and 1 <= rank < plan.schema.rank for _, rank in plan.ranks
    ):
        raise InvalidPlan(
            "ranks must name institutions once, in order", expected=f"ranks from 1 to below {plan.schema.rank}"
        )
    if plan.ranks and (plan.schema.form != "lora" or plan.schema.residual_rank):
        raise InvalidPlan("only plain LoRA can be trained at different ranks", do="leave [ranks] out")
    if plan.sums is not None and plan.widths.up != "float32":
        raise InvalidPlan("the width of masked updates is that of their ring", do="leave [widths] up out")
    if plan.ranks and (plan.joint or plan.sums is not None):
        raise InvalidPlan("institutions of different ranks train by local steps, without masks", do="leave [ranks] out")
    if plan.keeps and (plan.joint or plan.ranks or not set(plan.keeps) <= set(PARTS)):
        raise InvalidPlan("what institutions keep are parts of the adapter, trained by local steps at one rank")
    if plan.joint and plan.optimiser.proximal:
        raise InvalidPlan("a joint round is one step, from which nothing can stray", do="leave proximal out")


def _read_travel(fields: dict[str, Any]) -> None:
    """`widths` and `ranks` as they stand in JSON."""
    fields["widths"] = Widths(**fields.get("widths", {}))
    fields["ranks"] = tuple((str(name), rank) for name, rank in fields.get("ranks", ()))
    fields["keeps"] = tuple(fields.get("keeps", ()))


def _read_sums(fields: Mapping[str, Any]) -> SumPlan | None:
    value = fields.get("sums")
    return None if value is None else SumPlan.from_dict(value)


@dataclass(frozen=True, kw_only=True, eq=False)
class CohortSum:
    """The weighted sum of the updates of a cohort: all that a strategy sees.

    Args:
        specs: The tensors summed.
        total: Sum over institutions of weight times update, by tensor name, float32.
        weight: Sum of the weights, > 0.
        count: How many institutions are in it.
        products: For strategies that fold products: module path -> (left, right), shapes (outputs, k) and (k, inputs),
            whose product is the sum over institutions of weight times their own B A after the round.
        held: For institutions of different ranks: how many in the sum hold slot 0, 1, ... of the adapter; (rank,).
    Raises:
        ConfigError: A tensor is missing, extra or not finite, or the weight is not above zero.
    """

    specs: tuple[TensorSpec, ...]
    total: Mapping[str, FloatArray] = field(repr=False)
    weight: float
    count: int
    products: Mapping[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict, repr=False)
    held: tuple[int, ...] = ()

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
    canary_loss: float | None = None
    """Loss on the gate's canary examples of the state that was folded, where the gate looked and it is finite."""
    quarantined: str | None = None
    """Why the folded state was put aside and the last good one stands again; None where it stands."""


@dataclass(frozen=True, kw_only=True)
class Abandoned:
    """A round that lost its quorum; nothing was folded and no budget is refunded."""

    round: int
    dropped: Mapping[str, str]
    reason: str


RoundOutcome = Completed | Abandoned
