"""A simulated federation: the coordinator and sessions of a live one, in one process or on Flower's Ray backend.

    run = RunDirectory.prepare(out, scenario, records=None, base=base)
    world = World(run)
    print(world.forecast().describe())
    results = world.run()

Each institution has its own identity, policy and ledger file, and its own units; base and trainer are
shared, and one institution trains at a time. Nothing here is imported by production code, and nothing
there asks whether it runs here.
"""

import hashlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import final

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from domains.base import load_task
from domains.language import Base, Encoded, mean_loss
from fedclient.app import make_client_app
from fedclient.consent import LocalPolicy
from fedclient.dataset import PrivateDataset
from fedclient.ledger import BudgetLimit, Ledger
from fedclient.model import Trainer
from fedclient.session import Institution
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterSchema, AdapterState
from fedcore.errors import ConfigError, LinkError
from fedcore.identity import SigningIdentity
from fedcore.privacy.noise import NoiseSource, SecureNoise, UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.plan import Forecast, PrivacyPlan
from fedcore.privacy.sampling import RandomSource, SystemRandom, UnsafeSeeded
from fedcore.round import Completed, Evaluation, JobPlan, RoundPlan
from fedserver.cohort import Member
from fedserver.coordinator import Coordinator
from fedserver.link import assume_identity
from fedserver.progress import Clock, JobResult, Progress
from fedserver.store import Store
from fedserver.strategies import load_strategy
from simulations.directory import RunDirectory
from simulations.grid import MemoryGrid
from simulations.results import InstitutionLine, Results, RoundLine
from simulations.units import Units

__all__ = ["Step", "World", "make_clients", "open_world"]

Step = Callable[[str, int, int], None]
"""Institution, steps done, steps of the round."""

_POLL_S = 0.02
_WHO_S = 600.0
"""How long nodes have to say which institution they are; Ray starts slowly."""


@final
class World:
    """A federation, opened from its run's directory. What is costly is made when it is first needed.

    Args:
        run: The directory.
        step: Told of each training step; only where institutions train in this process.
    """

    def __init__(self, run: RunDirectory, *, step: Step | None = None) -> None:
        self.run_directory = run
        self.scenario = run.scenario
        self._step = step or (lambda _name, _done, _steps: None)
        self._lock = threading.Lock()
        self._institutions: dict[str, Institution] = {}

    @cached_property
    def units(self) -> Units:
        """Who holds what."""
        return Units.of(self.scenario, records=self.run_directory.records)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The institutions; a node's partition is a place in this list."""
        return self.units.names

    @cached_property
    def base(self) -> Base:
        """The one base that all share."""
        return Base.load(self.run_directory.base)

    @cached_property
    def trainer(self) -> Trainer:
        """The one trainer that all share."""
        return Trainer(self.base)

    @cached_property
    def datasets(self) -> Mapping[str, PrivateDataset]:
        """Institution -> its dataset, all made before anything is spent.

        Raises:
            RecordError: A record cannot be rendered.
        """
        task, tokens = load_task(self.scenario.task), self.scenario.max_tokens
        return {
            name: PrivateDataset.build(self.units.of_institution(name), task, self.base, tokens) for name in self.names
        }

    @cached_property
    def privacy(self) -> PrivacyPlan:
        """The privacy of every round, calibrated."""
        return self.scenario.privacy_plan()

    @cached_property
    def job(self) -> JobPlan:
        """The job that the coordinator runs."""
        scenario = self.scenario
        return JobPlan(
            job_id=scenario.name,
            task=scenario.task,
            schema=AdapterSchema.for_base(
                self.base.card,
                rank=scenario.adapter.rank,
                alpha=scenario.adapter.alpha,
                targets=scenario.adapter.targets,
            ),
            strategy=scenario.strategy,
            rounds=scenario.rounds,
            seed=scenario.seed,
            quorum=scenario.quorum or len(self.names),
            deadline_s=scenario.deadline_s,
            max_tokens=scenario.max_tokens,
            optimiser=scenario.optimiser,
            privacy=self.privacy,
            institutions=self.names,
            evaluation=Evaluation(
                records="held-out units",
                limit=scenario.evaluation.examples,
                every_round=scenario.evaluation.every_round,
            ),
        )

    def forecast(self) -> Forecast:
        """How large the noise is against the signal, for the institution with the fewest units."""
        strategy, schema = load_strategy(self.job.strategy), self.job.schema
        return self.privacy.forecast(
            rounds=self.job.rounds,
            parameters=max(
                sum(t.size for t in schema.part(*strategy.trains(r))) for r in range(1, self.job.rounds + 1)
            ),
            institutions=len(self.names),
            units=min(len(d) for d in self.datasets.values()),
        )

    def institution(self, name: str) -> Institution:
        """One institution, with a ledger file of its own."""
        if name not in self._institutions:
            self._institutions[name] = self._make(name)
        return self._institutions[name]

    def members(self, grid: Grid) -> Mapping[int, Member]:
        """Ask the nodes which institution each is.

        Raises:
            LinkError: An institution has no node, or none answered.
        """
        end, found = time.monotonic() + _WHO_S, dict[int, Member]()
        while len(found) < len(self.names) and time.monotonic() < end:
            asked = [Message(RecordDict(), node, "query") for node in grid.get_node_ids() if node not in found]
            for reply in grid.send_and_receive(asked, timeout=end - time.monotonic()) if asked else ():
                if reply.has_content() and (name := str(_first(reply, "who", "name"))) in self.names:
                    identity = self.run_directory.identity(name).public
                    found[reply.metadata.src_node_id] = Member(name=name, identity=identity, flower_key="")
            if asked and len(found) < len(self.names):
                break
            time.sleep(_POLL_S)
        if len(found) != len(self.names):
            raise LinkError(
                "there is not one node for each institution",
                expected=f"{len(self.names)} nodes",
                got=str(len(found)),
                do="give Flower's simulation at least that many nodes",
            )
        return found

    def run(
        self, *, report: Callable[[Progress], None] | None = None, stopped: Callable[[], bool] | None = None
    ) -> Results:
        """Run what is left of the scenario on its backend.

        Raises:
            Interrupted: `stopped` said so; run again to go on.
            ConcordatError: What was asked for cannot be run.
        """
        if self.scenario.backend == "ray":
            from simulations.ray_backend import run_on_ray

            return run_on_ray(self, report=report, stopped=stopped)
        assume_identity(1)
        contexts = {
            number: Context(1, number, {"partition-id": number - 1}, RecordDict(), {})
            for number in range(1, len(self.names) + 1)
        }
        app = make_clients(lambda _context: self)
        with MemoryGrid(app, contexts) as grid:
            return self.run_on(grid, report=report, stopped=stopped)

    def run_on(
        self,
        grid: Grid,
        *,
        report: Callable[[Progress], None] | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> Results:
        """Run what is left of the scenario on a Grid whose nodes are `make_clients`.

        Raises:
            ConfigError: The directory holds a job on another base.
            Interrupted: `stopped` said so.
        """
        directory, job = self.run_directory, self.job
        forecast = self.forecast()
        members = self.members(grid)
        store = Store.open(directory.store)
        try:
            if job.job_id not in store.job_ids():
                store.submit(job, base_name=self.base.card.name, unsafe_ok=False)
            elif store.job(job.job_id).plan.digest != job.digest:
                raise ConfigError(
                    f"{directory.out} holds a run on another base model or code version", do="run again with --fresh"
                )
            coordinator = Coordinator(
                job,
                store,
                SigningIdentity.load(directory.coordinator_key),
                lambda: members,
                evaluator=_HeldOut(self, self._lock),
                report=report,
                clock=Clock(poll_s=_POLL_S),
                stopped=stopped,
            )
            result = coordinator.run(grid)
            if result.status == "completed":
                store.complete_job(job.job_id, release=None)
        finally:
            store.close()
        return self._results(result, forecast)

    def _make(self, name: str) -> Institution:
        """Build one institution: its policy accepts what the scenario says, and nothing looser."""
        privacy, directory = self.privacy, self.run_directory
        unsafe = not privacy.is_private
        ledger = Ledger.open(
            directory.ledger(name),
            dataset=self.scenario.name,
            unit=privacy.unit,
            limit=BudgetLimit(epsilon=math.inf if unsafe else self.scenario.privacy.epsilon_limit, delta=privacy.delta),
        )
        policy = LocalPolicy(
            tasks=(self.scenario.task,),
            unit=privacy.unit,
            least_noise_multiplier=1e-6,
            largest_clip_norm_l2=privacy.clip_norm_l2,
            largest_rank=self.scenario.adapter.rank,
            largest_delta=privacy.delta,
            unsafe_allow_no_noise=unsafe,
        )
        return Institution(
            name=name,
            identity=directory.identity(name),
            coordinator=SigningIdentity.load(directory.coordinator_key).public,
            policy=policy,
            ledger=ledger,
            trainer=_Shared(self, name, self._lock, self._step),
            dataset=lambda _plan: self.datasets[name],
            source=lambda plan: self._source(name, plan),
            noise=lambda plan: self._noise(name, plan),
        )

    def _source(self, name: str, plan: RoundPlan) -> RandomSource:
        """Of sampling: the system's, unless the scenario asks for a seed."""
        return UnsafeSeeded(self._seed(name, plan)) if self.scenario.privacy.unsafe_seeded else SystemRandom()

    def _noise(self, name: str, plan: RoundPlan) -> NoiseSource:
        """That of the plan's mechanism."""
        if not plan.privacy.is_private:
            return UnsafeNoNoise()
        return UnsafeSeededNoise(self._seed(name, plan)) if self.scenario.privacy.unsafe_seeded else SecureNoise()

    def _seed(self, name: str, plan: RoundPlan) -> int:
        """Another seed for each institution and round, so that none repeats another's draws."""
        text = f"{self.scenario.seed}/{name}/{plan.round}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def _results(self, result: JobResult, forecast: Forecast) -> Results:
        """What came of it, with each ledger's own figures."""
        spent = {name: _spent(self.institution(name).ledger) for name in self.names}
        completed = [o for o in result.outcomes if isinstance(o, Completed)]
        return Results(
            scenario=self.scenario.name,
            digest=self.run_directory.digest,
            backend=self.scenario.backend,
            task=self.scenario.task,
            base=self.base.card.name,
            strategy=self.job.strategy,
            status="completed" if result.status == "completed" else f"abandoned: {result.reason}",
            rounds=len(completed),
            rounds_planned=self.job.rounds,
            institutions=tuple(self._line(name) for name in self.names),
            heldout_units=len(self.units.heldout),
            loss_base=result.loss_base,
            loss_released=result.loss_released,
            forecast={
                "text": forecast.describe(),
                "epsilon": forecast.epsilon,
                "delta": forecast.delta,
                "noise_to_signal": forecast.noise_to_signal,
                "gain_expected": forecast.gain_expected,
                "units_needed": forecast.units_needed,
            },
            unsafe=self.scenario.unsafe,
            per_round=tuple(
                RoundLine(
                    round=o.round,
                    contributors=o.contributors,
                    dropped=o.dropped,
                    loss=o.loss,
                    epsilon={name: _until(by_round, o.round) for name, by_round in spent.items()},
                    seconds=o.seconds,
                )
                for o in completed
            ),
            seconds=round(sum(o.seconds for o in completed), 3),
            out=self.run_directory.out,
        )

    def _line(self, name: str) -> InstitutionLine:
        account = self.institution(name).ledger.account()
        return InstitutionLine(
            name=name,
            unit=self.privacy.unit.key,
            units=len(self.datasets[name]),
            epsilon_spent=account.epsilon,
            epsilon_limit=account.limit,
            delta=account.delta,
        )


def make_clients(world: Callable[[Context], World]) -> ClientApp:
    """The ClientApp of every node: trains as one institution, and says which one it is when asked.

    Args:
        world: Finds the world that a node belongs to; its partition says which institution it is.
    """

    def institution(context: Context) -> Institution:
        there = world(context)
        return there.institution(there.names[int(context.node_config["partition-id"])])

    app = make_client_app(institution)

    @app.query()
    def who(message: Message, context: Context) -> Message:
        names, place = world(context).names, int(context.node_config["partition-id"])
        name = names[place] if place < len(names) else ""
        return Message(RecordDict({"who": ConfigRecord({"name": name})}), reply_to=message)

    return app


@lru_cache(maxsize=4)
def open_world(out: Path) -> World:
    """The world of a run's directory, opened once in this process: for processes that others start."""
    return World(RunDirectory.open(out))


@final
class _Shared:
    """The one trainer, in the hands of one institution at a time."""

    def __init__(self, world: World, name: str, lock: threading.Lock, step: Step) -> None:
        self._world = world
        self._name = name
        self._lock = lock
        self._step = step

    @property
    def base(self) -> Base:
        return self._world.base

    def train(
        self,
        plan: RoundPlan,
        state: AdapterState,
        dataset: PrivateDataset,
        *,
        source: RandomSource,
        noise: NoiseSource,
        report: Callable[[int, int], None] | None = None,
    ) -> AdapterUpdate:
        """As `Trainer.train`; steps are told to those who watch the simulation."""
        with self._lock:
            return self._world.trainer.train(
                plan, state, dataset, source=source, noise=noise, report=partial(self._step, self._name)
            )


@final
class _HeldOut:
    """Scores states on the units that no institution holds."""

    def __init__(self, world: World, lock: threading.Lock) -> None:
        self._world = world
        self._lock = lock
        self._encoded: list[Encoded] = []

    def loss(self, state: AdapterState | None, *, task: str, records: Path, limit: int, max_tokens: int) -> float:
        """Mean loss over at most `limit` held-out examples; `records` names none, as the units are here."""
        base = self._world.base
        if not self._encoded:
            self._encoded = [
                base.encode(e.prompt, e.target, max_tokens, label=e.label)
                for record in self._world.units.heldout_records(limit)
                for e in load_task(task).examples(record.fields, unit=record.unit)
            ]
        with self._lock:
            if state is None:
                return mean_loss(base, None, self._encoded)
            adapted = base.adapt(state.schema, ())
            adapted.load(state)
            return mean_loss(base, adapted, self._encoded)


def _spent(ledger: Ledger) -> dict[int, float]:
    """Round -> epsilon of everything reserved up to and with it; a repeated round counts each time."""
    reserved = [e.body for e in ledger.entries() if e.kind == "reserve"]
    return {int(b["round"]): math.inf if b["epsilon"] is None else float(b["epsilon"]) for b in reserved}


def _until(by_round: Mapping[int, float], number: int) -> float:
    """Epsilon after a round: that of the last round up to it that cost anything."""
    return max((epsilon for r, epsilon in by_round.items() if r <= number), default=0.0)


def _first(reply: Message, record: str, key: str) -> object:
    """One value of a reply's ConfigRecord; empty when it is not there."""
    found = reply.content.get(record)
    return found.get(key, "") if isinstance(found, ConfigRecord) else ""
