"""Strategies: what a round trains, what travels, and how a sum of updates becomes the next state.

A strategy is one small module here that ends in `strategy = …()`; its name is the module's. It is pure:
it knows neither who contributed, nor keys, nor noise. Most folds are a mean of updates, which is linear, so that they
work under a masked sum too and a mean of noised updates keeps its noise small. Three fold the mean of products B A,
which nobody can form behind masks and which carries more noise: their `Traits` say so, and a job is refused or warned.

>>> load_strategy("frozen_a").trains(1)
('lora_B', 'head')
>>> [name for name in strategy_names() if load_strategy(name).traits.products]
['fedex', 'flexlora', 'flora']
"""

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Protocol

from fedcore.adapter import AdapterState, Form
from fedcore.errors import ConfigError
from fedcore.round import CohortSum, JobPlan

__all__ = ["DEFAULT", "Strategy", "Traits", "add_mean", "check_fit", "load_strategy", "strategy_names", "warnings"]

DEFAULT = "fedavg"
"""The one that measures best on the demo's own model and data."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a job must know of a strategy before it is made.

    Args:
        when: When to use it, one line for people.
        exact: Whether the fold is exact for the product B A, and where it is not, why; one line.
        noise: How the noise of differential privacy behaves in it; one line.
        noisier: Under privacy its folded product carries more noise than that of the factors' means: said as a warning.
        masked: It works on a masked sum.
        products: It folds the sum of products, which nobody can form behind masks.
        ranks: Institutions may train different ranks.
        ordered: Its slots stand in an order that a server optimiser would break.
        form: Of the adapter.
        residual_times: Rank of the adapter's residual, as a multiple of its rank; 0 for none.
        keeps: Parts that train and stay at each institution.
    """

    when: str
    exact: str
    noise: str
    noisier: bool = False
    masked: bool = True
    products: bool = False
    ranks: bool = False
    ordered: bool = False
    form: Form = "lora"
    residual_times: int = 0
    keeps: tuple[str, ...] = ()


class Strategy(Protocol):
    """What is known of it, two public choices for each round and one pure function."""

    @property
    def name(self) -> str:
        """What a job calls it: the module's name."""

    @property
    def summary(self) -> str:
        """One line for people."""

    @property
    def traits(self) -> Traits:
        """What a job must know of it."""

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


def check_fit(job: JobPlan) -> None:
    """Require that a job's strategy can do what the job asks of it.

    Raises:
        ConfigError: It cannot.
    """
    traits = load_strategy(job.strategy).traits
    if job.sums is not None and not traits.masked:
        raise ConfigError(
            f"the strategy {job.strategy} needs to see each update, and behind masks nobody does",
            do="leave [secure_sums] out, or choose a strategy that works on sums ('concordat server strategies')",
        )
    if job.joint and (traits.products or traits.keeps):
        raise ConfigError(
            f"the strategy {job.strategy} folds what institutions trained, and a joint step trains nothing there",
            do="leave joint out, or choose another strategy",
        )
    if job.keeps != traits.keeps:
        raise ConfigError(
            f"the job keeps other parts at institutions than the strategy {job.strategy} leaves there",
            expected=", ".join(traits.keeps) or "none",
            got=", ".join(job.keeps) or "none",
        )
    if job.ranks and not traits.ranks:
        raise ConfigError(
            f"with the strategy {job.strategy} all institutions train the same rank",
            do="leave [ranks] out, or choose hetlora or flexlora",
        )
    if job.server_optimiser is not None and traits.ordered:
        raise ConfigError(
            f"the strategy {job.strategy} hands out slots in order of their singular values, and a server optimiser"
            " would move them out of it",
            do="leave [server_optimiser] out, or choose another strategy",
        )
    if job.gate is not None and traits.keeps:
        raise ConfigError(
            f"with the strategy {job.strategy} a part of each adapter stays at its institution, so that a gate has no"
            " whole one to score",
            do="leave [gate] out, or choose another strategy",
        )
    if (job.schema.form, job.schema.residual_rank) != (traits.form, traits.residual_times * job.schema.rank):
        raise ConfigError(f"the adapter has not the form that the strategy {job.strategy} trains")


def warnings(job: JobPlan) -> tuple[str, ...]:
    """What a person should know before such a job begins, in whole sentences; it may run all the same."""
    traits = load_strategy(job.strategy).traits
    if not (traits.noisier and job.privacy.is_private):
        return ()
    calm = ", ".join(n for n in strategy_names() if not load_strategy(n).traits.noisier)
    return (
        f"The strategy {job.strategy} is noisier under privacy than the mean of the factors: {traits.noise}."
        f" Less noise: {calm}.",
    )
