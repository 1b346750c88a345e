"""What a scenario says of several ways to run it, and of institutions that attack; a part of `simulations.scenario`.

>>> ComparisonSettings(kind="noise", epsilons=(1.0, 8.0)).repetitions
3
>>> AttackSettings(name="nan", bad=2).bad
2
"""

from dataclasses import dataclass, field
from typing import Literal

from fedcore.errors import ConfigError
from fedcore.folding import rules

__all__ = ["ATTACKS", "AttackSettings", "ComparisonSettings"]

ATTACKS = (
    "none",
    "sign_flip",
    "scaling",
    "noise",
    "label_flip",
    "backdoor",
    "nan",
    "huge",
    "constant",
    "replay",
    "collusion",
)
"""Ways to send a bad update, and none at all; see `simulations.attacks`."""


@dataclass(frozen=True, kw_only=True)
class AttackSettings:
    """Institutions that send bad updates; see `simulations.attacks`.

    Args:
        name: One of its `ATTACKS`. "none" attacks nothing; the backdoor's success is measured all the same.
        bad: How many institutions are bad: the last by name.
    Raises:
        ConfigError: The attack is not known, or the number is out of range.
    """

    name: str
    bad: int = 0

    def __post_init__(self) -> None:
        if self.name not in ATTACKS:
            raise ConfigError(
                "[attack] name is not known", expected="one of " + ", ".join(ATTACKS), got=repr(self.name)
            )
        if self.bad < 0 or (self.name == "none") != (self.bad == 0):
            raise ConfigError("[attack] bad must be above 0, and 0 for 'none'", got=str(self.bad))


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """Several ways to run one scenario, side by side; see `simulations.comparison`.

    Args:
        kind: What is compared. "noise": whose noise a step carries, at the same epsilon. "strategies": each strategy,
            on even and on skewed institutions, at one epsilon. "poisoning": how much bad updates harm under each rule,
            at the scenario's own epsilon.
        epsilons: "noise" and "strategies" only: the ways are compared at each of them.
        repetitions: Runs of each way, which differ in samples and noise alone; losses are their means.
        local_steps: "noise" only: steps between two averages where a way trains by local steps; the number of steps
            in all stays that of the scenario.
        rules: "poisoning" only: those of `fedcore.folding.rules()`; the mean is always among them.
        attacks: "poisoning" only: of `simulations.attacks.ATTACKS`, beside none at all.
        bad: "poisoning" only: how many institutions are bad, and how many each rule assumes.
        strategies: "strategies" only: which; none named means all.
        rates: "strategies" only: learning rates of those that need another than the scenario's.
        ranks: "strategies" only: the institutions' ranks, in turn, for strategies that take different ones.
    Raises:
        ConfigError: A number is out of range, or a setting belongs to another kind.
    """

    kind: Literal["noise", "strategies", "poisoning"]
    epsilons: tuple[float, ...] = ()
    repetitions: int = 3
    local_steps: int = 1
    rules: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    bad: int = 0
    strategies: tuple[str, ...] = ()
    rates: dict[str, float] = field(default_factory=dict)
    ranks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind != "strategies" and (self.strategies or self.rates or self.ranks):
            raise ConfigError(
                "[comparison] strategies, rates and ranks belong to the kind 'strategies'", do="leave them out"
            )
        if self.kind == "poisoning":
            self._check_poisoning()
        elif self.rules or self.attacks or self.bad:
            raise ConfigError("[comparison] rules, attacks and bad belong to the kind 'poisoning'", do="leave them out")
        elif not self.epsilons or not all(0 < e < float("inf") for e in self.epsilons):
            raise ConfigError("[comparison] epsilons must be numbers above 0", expected="such as [1, 3, 8]")
        for name in ("epsilons", "rules", "attacks", "strategies"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ConfigError(f"[comparison] {name} holds a value twice")
        if self.repetitions < 1 or self.local_steps < 1:
            raise ConfigError("[comparison] repetitions and local_steps must be at least 1")

    def _check_poisoning(self) -> None:
        """What a comparison of rules needs, and nothing of another kind."""
        if self.epsilons or self.local_steps != 1:
            raise ConfigError(
                "[comparison] epsilons and local_steps belong to the kind 'noise'", do="set [privacy] epsilon"
            )
        if unknown := sorted({*self.rules} - {*rules()}):
            raise ConfigError("[comparison] rules are not known", expected=", ".join(rules()), got=", ".join(unknown))
        if unknown := sorted({*self.attacks} - {*ATTACKS[1:]}):
            raise ConfigError(
                "[comparison] attacks are not known", expected=", ".join(ATTACKS[1:]), got=", ".join(unknown)
            )
        if not self.rules or not self.attacks or self.bad < 1:
            raise ConfigError("[comparison] of kind 'poisoning' needs rules, attacks and bad", do="set all three")
