"""The work in one process: the coordinator and sessions over an in-memory Grid, the base loaded once.

Institutions take turns, so that their seconds of training add up. Ledgers, signatures and checks are those
of a live round.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flwr.app import Context, RecordDict

from domains.language import Base, set_threads
from fedclient.app import make_client_app
from fedclient.consent import LocalPolicy
from fedclient.dataset import PrivateDataset
from fedclient.ledger import BudgetLimit, Ledger
from fedclient.model import Keep, Trainer
from fedclient.session import Institution
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterState
from fedcore.identity import SigningIdentity
from fedcore.privacy.integer_noise import IntegerNoiseSource
from fedcore.privacy.noise import NoiseSource
from fedcore.privacy.sampling import RandomSource
from fedcore.round import Completed, RoundPlan
from fedcore.secagg import RingArray
from fedserver.cohort import Member
from fedserver.coordinator import Coordinator
from fedserver.link import assume_identity
from fedserver.progress import Clock
from fedserver.store import Store
from simulations.benchmarks.work import Say, Timing, Work
from simulations.grid import MemoryGrid

__all__ = ["in_process_rounds"]

_POLL_S = 0.02


def in_process_rounds(work: Work, folder: Path, say: Say) -> list[Timing]:
    """Run the work over an in-memory Grid.

    Raises:
        QuorumLost: A round failed.
    """
    folder.mkdir(parents=True)
    say("in one process: loading")
    set_threads(1)
    base = Base.load(work.base)
    job = work.job(base, rounds=work.rounds + 1)
    coordinator, trainer = SigningIdentity.generate(), _Timed(Trainer(base))
    institutions = {
        node + 1: _institution(work, folder, node, coordinator, trainer, work.dataset(base, node))
        for node in range(work.nodes)
    }
    members = {
        number: Member(name=one.name, identity=one.identity.public, flower_key="")
        for number, one in institutions.items()
    }
    store = Store.open(folder / "state.db")
    store.submit(job, base_name=base.card.name)
    assume_identity(1)
    contexts = {number: Context(1, number, {}, RecordDict(), {}) for number in institutions}
    app = make_client_app(lambda context: institutions[context.node_id])
    with MemoryGrid(app, contexts) as grid:
        result = Coordinator(job, store, coordinator, lambda: members, clock=Clock(poll_s=_POLL_S)).run(grid)
    store.close()
    result.check()
    rounds = [o for o in result.outcomes if isinstance(o, Completed)]
    say(f"in one process: {work.rounds} rounds")
    return [Timing(wall_s=o.seconds, training_s=trainer.seconds[o.round]) for o in rounds[1:]]


def _institution(
    work: Work, folder: Path, node: int, coordinator: SigningIdentity, trainer: "_Timed", dataset: PrivateDataset
) -> Institution:
    """One institution, with a ledger of its own."""
    privacy = work.privacy
    return Institution(
        name=f"node-{node}",
        identity=SigningIdentity.generate(),
        coordinator=coordinator.public,
        policy=LocalPolicy(
            tasks=(work.task,),
            unit=privacy.unit,
            least_noise_multiplier=privacy.noise_multiplier,
            largest_clip_norm_l2=privacy.clip_norm_l2,
            largest_rank=64,
            largest_delta=privacy.delta,
        ),
        ledger=Ledger.open(
            folder / f"ledger-{node}.db",
            dataset="bench",
            unit=privacy.unit,
            limit=BudgetLimit(epsilon=work.epsilon_limit, delta=privacy.delta),
        ),
        trainer=trainer,
        dataset=lambda _plan: dataset,
    )


class _Timed:
    """A trainer with a clock."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.base = trainer.base
        self.seconds: dict[int, float] = {}
        """Round -> seconds of training, all institutions together."""

    def train(
        self,
        plan: RoundPlan,
        state: AdapterState,
        dataset: PrivateDataset,
        *,
        source: RandomSource,
        noise: NoiseSource,
        report: Callable[[int, int], None] | None = None,
        keep: Keep | None = None,
    ) -> AdapterUpdate:
        with self._clock(plan):
            return self._trainer.train(plan, state, dataset, source=source, noise=noise, report=report, keep=keep)

    def train_ring(
        self,
        plan: RoundPlan,
        state: AdapterState,
        dataset: PrivateDataset,
        *,
        source: RandomSource,
        noise: NoiseSource | IntegerNoiseSource,
        report: Callable[[int, int], None] | None = None,
        keep: Keep | None = None,
    ) -> RingArray:
        with self._clock(plan):
            return self._trainer.train_ring(plan, state, dataset, source=source, noise=noise, report=report, keep=keep)

    @contextmanager
    def _clock(self, plan: RoundPlan) -> Iterator[None]:
        """Count the seconds of the block as training."""
        started = time.perf_counter()
        yield
        self.seconds[plan.round] = self.seconds.get(plan.round, 0.0) + time.perf_counter() - started
