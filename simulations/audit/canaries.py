"""Black-box canaries: what an attacker who sees only the trained model learns about who was in it.

Each canary is a unit of one made-up sequence: random tokens, then one token of its own, with a loss on that
token alone. Each enters training by its own fair coin. The real private step trains a LoRA adapter on those
that entered, and afterwards a canary's score is by how much its loss fell. The same is done without noise
and without clipping: a low bound beside a control that finds nothing would prove nothing.

A finished arm is stored in the run's directory and not computed again.

    result = audit(load(path), base=Base.load(directory), out=Path("runs/canaries"))
"""

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from domains.language import Base, Encoded, collate
from fedclient import accountant
from fedclient.dataset import PrivateDataset
from fedclient.step import train
from fedcore import canonical, config
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.errors import ConfigError
from fedcore.privacy.audit import Interval, auc, membership_epsilon
from fedcore.privacy.noise import SecureNoise, UnsafeNoNoise
from fedcore.privacy.plan import UNSAFE_NO_NOISE, PrivacyPlan
from fedcore.privacy.sampling import SystemRandom, bernoulli
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import Optimiser
from simulations.scenario import AdapterSettings

__all__ = ["CONFIDENCE", "CanaryAudit", "CanaryPrivacy", "CanaryScenario", "CanarySettings", "audit", "load"]

CONFIDENCE = 0.95

Arm = Literal["private", "control"]
Report = Callable[[Arm, int, int], None]
"""Told of the arm, steps done and steps in all."""

_MARK = "canaries.json"
_UNCLIPPED = 1e6
"""The control's clip norm: no gradient comes near it."""


@dataclass(frozen=True, kw_only=True)
class CanarySettings:
    """The canaries.

    Args:
        count: How many are made; about half of them enter training.
        prefix_tokens: Random tokens before the canary's own.
        guesses: How many are guessed on each side; chosen before anything is seen, the best of them counts
            at its share of the confidence.
    Raises:
        ConfigError: A number is out of range.
    """

    count: int
    prefix_tokens: int
    guesses: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.count < 8 or self.prefix_tokens < 1:
            raise ConfigError("[canaries] is out of range", expected="count of at least 8, prefix_tokens above 0")
        if not self.guesses or not all(1 <= k <= self.count // 2 for k in self.guesses):
            raise ConfigError("[canaries] guesses are out of range", expected="from 1 to half of count")


@dataclass(frozen=True, kw_only=True)
class CanaryPrivacy:
    """The private arm's plan: `steps` steps cost `epsilon` at `delta`; nothing has a default."""

    epsilon: float
    delta: float
    sampling_rate: float
    steps: int
    clip_norm_l2: float


@dataclass(frozen=True, kw_only=True)
class CanaryScenario:
    """A black-box audit, in one TOML file.

    Args:
        base: A prepared base, a directory, or "tiny:KIND" for a small random model.
        seed: Of canaries and adapter. Coins, sampling and noise are the system's.
    Raises:
        ConfigError: The name cannot be used.
    """

    name: str
    base: str
    seed: int
    canaries: CanarySettings
    privacy: CanaryPrivacy
    adapter: AdapterSettings = dataclasses.field(default_factory=AdapterSettings)
    optimiser: Optimiser = dataclasses.field(default_factory=Optimiser)

    def __post_init__(self) -> None:
        if not self.name or not set(self.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"):
            raise ConfigError(f"the scenario name {self.name!r} cannot be used", expected="a-z, 0-9 and '-'")

    def plan(self, arm: Arm) -> PrivacyPlan:
        """The arm's privacy plan; the control's has neither noise nor clipping that matters.

        Raises:
            InvalidPlan: A number is out of range, or no noise is enough.
        """
        given: dict[str, Any] = {
            "unit": PrivacyUnit(key="record"),
            "delta": self.privacy.delta,
            "sampling_rate": self.privacy.sampling_rate,
            "steps_per_round": self.privacy.steps,
            # Half of the canaries enter: a public number.
            "expected_batch_units": self.privacy.sampling_rate * self.canaries.count / 2,
            "examples_per_unit": 1,
        }
        if arm == "control":
            return PrivacyPlan(clip_norm_l2=_UNCLIPPED, noise_multiplier=0.0, mechanism=UNSAFE_NO_NOISE, **given)
        return PrivacyPlan.calibrate(
            epsilon=self.privacy.epsilon, rounds=1, clip_norm_l2=self.privacy.clip_norm_l2, **given
        )


@dataclass(frozen=True, kw_only=True)
class CanaryAudit:
    """What an audit found. `epsilon_upper` is the accountant's; bounds hold at `confidence`."""

    scenario: CanaryScenario
    plan: PrivacyPlan
    epsilon_upper: float
    epsilon_lower: float
    auc: Interval
    control_epsilon_lower: float
    control_auc: Interval
    confidence: float
    members: int
    seconds: float
    control_seconds: float

    @property
    def contradicts(self) -> bool:
        """Whether the attack found more than is accounted for."""
        return self.epsilon_lower > self.epsilon_upper

    def to_dict(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "scenario": self.scenario.name,
            "base": self.scenario.base,
            "unit": self.plan.unit.describe(),
            "relation": self.plan.unit.relation,
            "epsilon_upper": self.epsilon_upper,
            "epsilon_lower": self.epsilon_lower,
            "delta": self.plan.delta,
            "confidence": self.confidence,
            "auc": self.auc.estimate,
            "auc_interval": [self.auc.low, self.auc.high],
            "control_auc": self.control_auc.estimate,
            "control_auc_interval": [self.control_auc.low, self.control_auc.high],
            "control_epsilon_lower": self.control_epsilon_lower,
            "noise_multiplier": self.plan.noise_multiplier,
            "sampling_rate": self.plan.sampling_rate,
            "steps": self.plan.steps_per_round,
            "canaries": self.scenario.canaries.count,
            "members": self.members,
            "seconds": self.seconds,
            "control_seconds": self.control_seconds,
        }


def load(path: Path) -> CanaryScenario:
    """Read a scenario.

    Raises:
        ConfigError: The file is missing, is not TOML, or a key is unknown, missing or out of range.
    """
    return config.load(CanaryScenario, path)


def audit(
    scenario: CanaryScenario,
    *,
    base: Callable[[], Base],
    out: Path,
    fresh: bool = False,
    report: Report | None = None,
) -> CanaryAudit:
    """Train both arms, or take what is stored of them, and bound epsilon from below.

    Args:
        scenario: What to audit.
        base: Loads the base; called only where an arm is still to be trained.
        out: The run's directory.
        fresh: Remove what it holds first.
        report: Told of each step.
    Raises:
        ConfigError: `out` holds another audit, or something else.
        UnsupportedModel: The base cannot be trained privately.
    """
    plan = scenario.plan("private")
    members = _members(scenario, out, fresh)
    loaded: list[Base] = []
    found = {}
    for arm in ("private", "control"):
        path = out / f"{arm}.json"
        if not path.exists():
            if not loaded:
                loaded.append(base())
            _write(path, _train(scenario, arm, loaded[0], members, report))
        found[arm] = _read(path)
    lower, areas = {}, {}
    for arm, value in found.items():
        scores = np.asarray(value["scores"], dtype=np.float64)
        lower[arm] = membership_epsilon(
            scores, members, guesses=scenario.canaries.guesses, delta=plan.delta, confidence=CONFIDENCE
        )
        areas[arm] = auc(scores[members], scores[~members], confidence=CONFIDENCE)
    return CanaryAudit(
        scenario=scenario,
        plan=plan,
        epsilon_upper=accountant.epsilon([plan.event()], plan.delta),
        epsilon_lower=lower["private"],
        auc=areas["private"],
        control_epsilon_lower=lower["control"],
        control_auc=areas["control"],
        confidence=CONFIDENCE,
        members=int(np.sum(members)),
        seconds=found["private"]["seconds"],
        control_seconds=found["control"]["seconds"],
    )


def _train(
    scenario: CanaryScenario, arm: Arm, base: Base, members: npt.NDArray[np.bool_], report: Report | None
) -> dict[str, Any]:
    """Train one arm; return the scores of all canaries."""
    started = time.monotonic()
    made = _canaries(scenario, base)
    data = PrivateDataset(tuple((made[i],) for i in np.flatnonzero(members)))
    settings = scenario.adapter
    schema = AdapterSchema.for_base(base.card, rank=settings.rank, alpha=settings.alpha, targets=settings.targets)
    adapted = base.adapt(schema, ("lora_A", "lora_B"))
    adapted.load(AdapterState.initial(schema, seed=scenario.seed))
    before = _losses(base, made)  # An adapter at its start changes nothing.
    plan = scenario.plan(arm)
    train(
        adapted,
        data,
        plan,
        scenario.optimiser,
        batches=plan.batches(len(data), SystemRandom()),
        noise=SecureNoise() if plan.is_private else UnsafeNoNoise(),
        micro_batch=32,
        report=None if report is None else lambda done, steps: report(arm, done, steps),
    )
    scores = before - _losses(base, made)
    return {"scores": scores.tolist(), "seconds": round(time.monotonic() - started, 1)}


def _canaries(scenario: CanaryScenario, base: Base) -> list[Encoded]:
    """The sequences, which the seed decides: no two end in the same token."""
    random = np.random.default_rng(scenario.seed)
    usable = np.setdiff1d(np.arange(len(base.tokenizer)), np.asarray(base.tokenizer.all_special_ids))
    count, length = scenario.canaries.count, scenario.canaries.prefix_tokens
    if len(usable) < count:
        raise ConfigError("the base has fewer tokens than there are canaries", expected=f"at most {len(usable)}")
    own = random.permutation(usable)[:count]
    prefixes = random.choice(usable, size=(count, length))
    return [
        Encoded(ids=(*prefix, token), labels=(*(-100,) * length, token))
        for prefix, token in zip(prefixes.tolist(), own.tolist(), strict=True)
    ]


@torch.no_grad()
def _losses(base: Base, made: list[Encoded]) -> npt.NDArray[np.float64]:
    """The loss of each sequence, by the model as it stands."""
    parts = [base.sequence_losses(collate(made[i : i + 32], base.device)) for i in range(0, len(made), 32)]
    return torch.cat(parts).double().cpu().numpy()


def _members(scenario: CanaryScenario, out: Path, fresh: bool) -> npt.NDArray[np.bool_]:
    """Who enters, by coins that are tossed once for a run's directory and serve both arms."""
    wanted = canonical.digest({"canaries": asdict(scenario)})
    mark = out / _MARK
    if fresh and mark.exists():
        shutil.rmtree(out)
    if mark.exists():
        held = _read(mark)
        if held.get("digest") != wanted:
            raise ConfigError(
                f"{out} holds an audit of another scenario or base", do="choose another --out, or --fresh"
            )
        return np.asarray(held["members"], dtype=np.bool_)
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} holds something else than an audit", do="choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    members = bernoulli(0.5, scenario.canaries.count, SystemRandom())
    if not 0 < np.sum(members) < len(members):  # One chance in 2**(count - 1).
        members[0] = not members[0]
    _write(mark, {"digest": wanted, "members": members.tolist()})
    return members


def _write(path: Path, value: dict[str, Any]) -> None:
    """Write whole or not at all: what is there counts as finished."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(value) + "\n", encoding="utf-8")
    new.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read", do="remove the directory, or give --fresh") from error
    if not isinstance(value, dict) or not all(math.isfinite(s) for s in value.get("scores", [])):
        raise ConfigError(f"{path} is not an audit's", do="remove the directory, or give --fresh")
    return value
