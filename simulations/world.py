"""A simulated federation: the coordinator and sessions of a live one, in one process or on Flower's Ray backend.

    run = RunDirectory.prepare(out, scenario, records=None, base=base)
    world = World(run)
    print(world.forecast().describe())
    results = world.run()

Each institution has its own identity, policy and ledger file, and its own units; base and trainer are
shared, and one institution trains at a time. Nothing here is imported by production code, and nothing
there asks whether it runs here.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import final

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from domains.base import load_task
from domains.language import Base
from fedclient.app import make_client_app
from fedclient.dataset import PrivateDataset
from fedclient.model import Trainer
from fedclient.session import Institution, TrainerLike
from fedcore.adapter import AdapterSchema
from fedcore.errors import ConfigError, LinkError
from fedcore.identity import SigningIdentity
from fedcore.privacy.plan import Forecast, PrivacyPlan
from fedcore.round import Evaluation, JobPlan
from fedserver.cohort import Member
from fedserver.coordinator import Coordinator
from fedserver.link import assume_identity
from fedserver.progress import Clock, Progress
from fedserver.store import Store
from fedserver.strategies import check_fit, load_strategy
from fedserver.sums import make_sums
from simulations.attacks import Memory, Saboteur
from simulations.directory import RunDirectory
from simulations.grid import MemoryGrid
from simulations.institutions import SharedTrainer, Step, make_institution, require_files
from simulations.outcome import CANARIES, HeldOut, own_states, results_of
from simulations.results import Results
from simulations.units import Units

__all__ = ["World", "make_clients", "open_world"]

_POLL_S = 0.02
_WHO_S = 600.0
"""How long nodes have to say which institution they are; Ray starts slowly."""
_QUIET_S = 10.0
"""Once some have come: how long nobody new may come until nobody is waited for."""


@final
class World:
    """A federation, opened from its run's directory. What is costly is made when it is first needed.

    Args:
        run: The directory.
        step: Told of each training step; only where institutions train in this process.
        like: A world of the same base, whose model is used here too; and its data sets, where they are the same.
    """

    def __init__(self, run: RunDirectory, *, step: Step | None = None, like: "World | None" = None) -> None:
        self.run_directory = run
        self.scenario = run.scenario
        self._like = like if like is not None and like.run_directory.base == run.base else None
        self._step = step or (lambda _name, _done, _steps: None)
        self._lock = threading.Lock()
        self._institutions: dict[str, Institution] = {}
        self._datasets: dict[str, PrivateDataset] = {}

    @cached_property
    def units(self) -> Units:
        """Who holds what."""
        same = self._same_data()
        return same.units if same else Units.of(self.scenario, records=self.run_directory.records)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The institutions; a node's partition is a place in this list."""
        return self.units.names

    @cached_property
    def base(self) -> Base:
        """The one base that all share."""
        return self._like.base if self._like else Base.load(self.run_directory.base)

    @cached_property
    def trainer(self) -> Trainer:
        """The one trainer that all share."""
        return self._like.trainer if self._like else Trainer(self.base)

    @cached_property
    def datasets(self) -> Mapping[str, PrivateDataset]:
        """Institution -> its dataset, all made before anything is spent.

        Raises:
            RecordError: A record cannot be rendered.
        """
        if (same := self._same_data()) is not None:
            return same.datasets
        return {name: self.dataset(name) for name in self.names}

    def dataset(self, name: str) -> PrivateDataset:
        """One institution's dataset. A worker of Ray's makes those alone whose institutions it trains."""
        if "datasets" in self.__dict__ or self._same_data() is not None:
            return self.datasets[name]
        if name not in self._datasets:
            task, tokens = load_task(self.scenario.task), self.scenario.max_tokens
            self._datasets[name] = PrivateDataset.build(self.units.of_institution(name), task, self.base, tokens)
        return self._datasets[name]

    @cached_property
    def privacy(self) -> PrivacyPlan:
        """The privacy of every round, calibrated."""
        return self.scenario.privacy_plan()

    @cached_property
    def job(self) -> JobPlan:
        """The job that the coordinator runs."""
        scenario = self.scenario
        traits = load_strategy(scenario.strategy).traits
        schema = AdapterSchema.for_base(
            self.base.card,
            rank=scenario.adapter.rank,
            alpha=scenario.adapter.alpha,
            targets=scenario.adapter.targets,
            form=traits.form,
            residual_rank=traits.residual_times * scenario.adapter.rank,
        )
        sums = None
        if scenario.secure_sums is not None:
            sums = make_sums(
                scenario.secure_sums,
                privacy=self.privacy,
                schema=schema,
                strategy=scenario.strategy,
                rounds=scenario.rounds,
                optimiser=scenario.optimiser,
                joint=scenario.joint,
                institutions=len(self.names),
            )
        job = JobPlan(
            job_id=scenario.name,
            task=scenario.task,
            schema=schema,
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
            joint=scenario.joint,
            sums=sums,
            rule=scenario.rule,
            server_optimiser=scenario.server_optimiser,
            gate=None if scenario.gate is None else replace(scenario.gate, records=CANARIES),
            widths=scenario.widths.choose(masked=sums is not None),
            ranks=tuple(sorted(scenario.ranks.items())),
            keeps=traits.keeps,
        )
        check_fit(job)
        return job

    def forecast(self) -> Forecast:
        """How large the noise is against the signal, for the institution with the fewest units."""
        strategy, schema = load_strategy(self.job.strategy), self.job.schema
        return self.privacy.forecast(
            rounds=self.job.rounds,
            parameters=max(
                sum(t.size for t in schema.part(*strategy.trains(r), *strategy.traits.keeps))
                for r in range(1, self.job.rounds + 1)
            ),
            institutions=len(self.names),
            units=min(len(d) for d in self.datasets.values()),
        )

    def institution(self, name: str) -> Institution:
        """One institution, with a ledger file of its own."""
        if name not in self._institutions:
            require_files(len(self.names))
            shared = SharedTrainer(lambda: self.trainer, name, self._lock, self._step)
            trainer: TrainerLike = self._bad(name, shared) if name in self.bad else shared
            self._institutions[name] = make_institution(
                name,
                self.run_directory,
                self.privacy,
                trainer,
                lambda _plan: self.dataset(name),
                members=self.names,
            )
        return self._institutions[name]

    @property
    def bad(self) -> tuple[str, ...]:
        """The institutions that attack."""
        attack = self.scenario.attack
        return self.names[len(self.names) - attack.bad :] if attack and attack.bad else ()

    def _bad(self, name: str, honest: SharedTrainer) -> Saboteur:
        """A trainer in bad hands."""
        attack = "none" if self.scenario.attack is None else self.scenario.attack.name
        memory = Memory(self.run_directory.out / "attack")
        return Saboteur(attack=attack, name=name, honest=honest, memory=memory, seed=self.scenario.seed)

    def members(self, grid: Grid) -> Mapping[int, Member]:
        """Ask the nodes which institution each is.

        Raises:
            LinkError: An institution has no node, or none answered.
        """
        found, asked = dict[int, Member](), set[int]()
        end = quiet = time.monotonic() + _WHO_S
        while len(found) < len(self.names) and time.monotonic() < min(end, quiet):
            # Flower registers the nodes of a simulation while the coordinator runs already.
            new = [node for node in grid.get_node_ids() if node not in asked]
            asked |= set(new)
            messages = [Message(RecordDict(), node, "query") for node in new]
            for reply in grid.send_and_receive(messages, timeout=end - time.monotonic()) if messages else ():
                if reply.has_content() and (name := str(_first(reply, "who", "name"))) in self.names:
                    identity = self.run_directory.identity(name).public
                    found[reply.metadata.src_node_id] = Member(name=name, identity=identity, flower_key="")
            if new:
                quiet = time.monotonic() + _QUIET_S
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
            heldout = HeldOut(self.base, self.units, self._lock, own=partial(own_states, directory, job, self.names))
            coordinator = Coordinator(
                job,
                store,
                SigningIdentity.load(directory.coordinator_key),
                lambda: members,
                evaluator=heldout if self.units.heldout else None,
                report=report,
                clock=Clock(poll_s=_POLL_S),
                stopped=stopped,
            )
            result = coordinator.run(grid)
            if result.status == "completed":
                store.complete_job(job.job_id, release=None)
            backdoor = None
            if self.scenario.attack is not None:
                evaluation = self.scenario.evaluation.examples
                backdoor = heldout.backdoor(store.checkpoint(job)[1], job, limit=evaluation)
        finally:
            store.close()
        return replace(results_of(self, result, forecast), backdoor_success=backdoor)

    def _same_data(self) -> "World | None":
        """The world whose units are these, tokenised for this task too."""
        other = self._like
        if other is None or other.run_directory.records != self.run_directory.records:
            return None
        of_data = ("task", "seed", "max_tokens", "records", "split")
        return other if all(getattr(other.scenario, n) == getattr(self.scenario, n) for n in of_data) else None


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


def _first(reply: Message, record: str, key: str) -> object:
    """One value of a reply's ConfigRecord; empty when it is not there."""
    found = reply.content.get(record)
    return found.get(key, "") if isinstance(found, ConfigRecord) else ""
