"""What a simulation's coordinator and ledgers say, as `Results`; and the loss on held-out units."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from domains.base import load_task
from domains.language import Base, Encoded, mean_loss
from fedclient._personal_parts import read_personal
from fedclient.ledger import Ledger
from fedclient.personal import lay_over
from fedcore.adapter import AdapterState
from fedcore.privacy.plan import Forecast
from fedcore.round import Completed, JobPlan
from fedserver.progress import JobResult
from fedserver.strategies import load_strategy
from fedserver.sum_forecast import parameters_of
from simulations.backdoor import success
from simulations.directory import RunDirectory
from simulations.results import InstitutionLine, Results, RoundLine
from simulations.units import Units

if TYPE_CHECKING:
    from simulations.world import World

__all__ = ["CANARIES", "HeldOut", "own_states", "results_of"]

CANARIES = "canary units"
"""What a simulated job's gate names as its records."""


def results_of(world: "World", result: JobResult, forecast: Forecast) -> Results:
    """Put together what came of a run; each epsilon is the ledger's own figure."""
    run, job = world.run_directory, world.job
    ledgers = {name: world.institution(name).ledger for name in world.names}
    spent = {name: _spent(ledger) for name, ledger in ledgers.items()}
    completed = [o for o in result.outcomes if isinstance(o, Completed)]
    return Results(
        scenario=world.scenario.name,
        digest=run.digest,
        backend=world.scenario.backend,
        task=world.scenario.task,
        base=world.base.card.name,
        strategy=job.strategy,
        status="completed" if result.status == "completed" else f"abandoned: {result.reason}",
        rounds=len(completed),
        rounds_planned=job.rounds,
        institutions=tuple(_line(name, ledger, len(world.datasets[name])) for name, ledger in ledgers.items()),
        heldout_units=len(world.units.heldout),
        loss_base=result.loss_base,
        loss_released=result.loss_released,
        forecast=_words(forecast),
        noise_multiplier=job.privacy.noise_multiplier,
        noise_std=_noise_std(job, len(world.names)),
        joint=job.joint,
        secure_sums=_sums(job),
        unsafe=world.scenario.unsafe,
        per_round=tuple(
            RoundLine(
                round=o.round,
                contributors=o.contributors,
                dropped=o.dropped,
                loss=o.loss,
                canary_loss=o.canary_loss,
                quarantined=o.quarantined,
                epsilon={name: _until(by_round, o.round) for name, by_round in spent.items()},
                seconds=o.seconds,
            )
            for o in completed
        ),
        seconds=round(sum(o.seconds for o in completed), 3),
        out=run.out,
    )


@final
class HeldOut:
    """Scores states on the units that no institution holds; what a coordinator calls an evaluator.

    Where a strategy leaves parts with the institutions, the shared state by itself is nobody's model: the loss is then
    the mean of the losses of the institutions' own adapters, each the shared state with what that institution keeps
    laid over. A live coordinator cannot measure it.

    Args:
        base: Shared with those who train.
        units: Says which are held out.
        lock: Held while it measures.
        own: A shared state -> the adapters that are in use; by default the state itself.
    """

    def __init__(
        self,
        base: Base,
        units: Units,
        lock: threading.Lock,
        *,
        own: Callable[[AdapterState], Sequence[AdapterState]] = lambda state: (state,),
    ) -> None:
        self._base = base
        self._units = units
        self._lock = lock
        self._own = own
        self._encoded: dict[tuple[bool, int], list[Encoded]] = {}

    def loss(self, state: AdapterState | None, *, task: str, records: Path, limit: int, max_tokens: int) -> float:
        """Mean loss over at most `limit` held-out records, or canary records where `records` is `CANARIES`.

        No file is read: the units are here.
        """
        base, encoded = self._base, self._examples(task, limit, max_tokens, canary=str(records) == CANARIES)
        states = () if state is None else self._own(state)
        with self._lock:
            if state is None:
                return mean_loss(base, None, encoded)
            losses = []
            for each in states:
                adapted = base.adapt(each.schema, ())
                adapted.load(each)
                losses.append(mean_loss(base, adapted, encoded))
            return math.fsum(losses) / len(losses)

    def backdoor(self, state: AdapterState, job: JobPlan, *, limit: int) -> float:
        """How often a backdoor's phrase brings its answer about, in [0, 1]; see `simulations.backdoor`."""
        encoded = self._examples(job.task, limit, job.max_tokens)
        with self._lock:
            adapted = self._base.adapt(state.schema, ())
            adapted.load(state)
            return success(self._base, adapted, encoded)

    def _examples(self, task: str, limit: int, max_tokens: int, *, canary: bool = False) -> list[Encoded]:
        """The held-out or the canary records as examples, made once."""
        if (canary, limit) not in self._encoded:
            self._encoded[canary, limit] = [
                self._base.encode(e.prompt, e.target, max_tokens, label=e.label)
                for record in (self._units.canary_records if canary else self._units.heldout_records)(limit)
                for e in load_task(task).examples(record.fields, unit=record.unit)
            ]
        return self._encoded[canary, limit]


def own_states(
    directory: RunDirectory, job: JobPlan, names: Sequence[str], state: AdapterState
) -> tuple[AdapterState, ...]:
    """Each institution's own adapter, from what its ledger's file keeps of the job; the state where it keeps nothing.

    Args:
        directory: Of the run.
        job: Whose strategy may leave parts with the institutions.
        names: The institutions.
        state: The shared one.
    Raises:
        LedgerError: A ledger is damaged.
    """
    if not load_strategy(job.strategy).traits.keeps:
        return (state,)
    found = []
    for name in names:
        path = directory.ledger(name)
        rows = read_personal(path, directory.scenario.name) if path.exists() else ()
        row = next((r for r in rows if (r.job, r.schema) == (job.job_id, state.schema.digest)), None)
        parts = () if row is None else state.schema.part(*row.parts.split(","))
        found.append(state if row is None else lay_over(state, row.after, parts))
    return tuple(found)


def _line(name: str, ledger: Ledger, units: int) -> InstitutionLine:
    """One institution, by its ledger."""
    account = ledger.account()
    return InstitutionLine(
        name=name,
        unit=account.unit.key,
        units=units,
        epsilon_spent=account.epsilon,
        epsilon_limit=account.limit,
        delta=account.delta,
    )


def _noise_std(job: JobPlan, institutions: int) -> float:
    """Of the mean of all, in each number; integers and their rounding ask for slightly more than real numbers."""
    std = job.privacy.noise_std_of_mean(institutions)
    if job.sums is None or not job.privacy.shares_noise:
        return std
    return std * job.sums.noise(job.privacy, parameters_of(job)).price


def _sums(job: JobPlan) -> dict[str, Any] | None:
    """The plan of masked sums as JSON."""
    return None if job.sums is None else {**asdict(job.sums), "honest_minimum": job.privacy.honest_minimum}


def _words(forecast: Forecast) -> dict[str, Any]:
    """The forecast as JSON."""
    return {
        "text": forecast.describe(),
        "epsilon": forecast.epsilon,
        "delta": forecast.delta,
        "noise_to_signal": forecast.noise_to_signal,
        "gain_expected": forecast.gain_expected,
        "units_needed": forecast.units_needed,
    }


def _spent(ledger: Ledger) -> dict[int, float]:
    """Round -> epsilon of everything reserved up to and with it; a repeated round counts each time."""
    reserved = [e.body for e in ledger.entries() if e.kind == "reserve"]
    return {int(b["round"]): math.inf if b["epsilon"] is None else float(b["epsilon"]) for b in reserved}


def _until(by_round: Mapping[int, float], number: int) -> float:
    """Epsilon after a round: that of the last round up to it that cost anything."""
    return max((epsilon for r, epsilon in by_round.items() if r <= number), default=0.0)
