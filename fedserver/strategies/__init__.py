"""Strategies: what a round trains, what travels, and how a sum of updates becomes the next state.

A strategy is one small module here that ends in `strategy = …()`; its name is the module's. It is pure:
it knows neither who contributed, nor keys, nor noise. Every fold here is a mean of updates, which is
linear, so that it works under a masked sum too and a mean of noised updates keeps its noise small.

>>> load_strategy("frozen_a").trains(1)
('lora_B', 'head')
>>> sorted(strategy_names())
['alternating', 'fedavg', 'frozen_a']
"""

import importlib
import pkgutil
from typing import Protocol

from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError
from fedcore.round import CohortSum

__all__ = ["DEFAULT", "Strategy", "add_mean", "load_strategy", "strategy_names"]

DEFAULT = "fedavg"
"""The one that measures best on the demo's own model and data."""


class Strategy(Protocol):
    """Two public choices for each round and one pure function."""

    @property
    def name(self) -> str:
        """What a job calls it: the module's name."""

    @property
    def summary(self) -> str:
        """One line for people."""

    def trains(self, round: int) -> tuple[str, ...]:
        """The parts that change in this round and travel back."""

    def carries(self, round: int) -> tuple[str, ...]:
        """The parts that travel to the nodes: those that an earlier round may have changed."""

    def fold(self, state: AdapterState, cohort: CohortSum) -> AdapterState:
        """The next state. Pure: neither argument changes."""


def add_mean(state: AdapterState, cohort: CohortSum) -> AdapterState:
    """The state plus the weighted mean update; parts that were not trained stay."""
    return state.replace({name: state.tensors[name] + update for name, update in cohort.mean().items()})


def strategy_names() -> tuple[str, ...]:
    """The strategies that stand in this folder, sorted."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def load_strategy(name: str) -> Strategy:
    """Find a strategy by name.

    Raises:
        ConfigError: There is no such strategy.
    """
    known = strategy_names()
    if name not in known:
        raise ConfigError(f"unknown strategy {name!r}", expected="one of " + ", ".join(known))
    found: Strategy = importlib.import_module(f"{__name__}.{name}").strategy
    return found
