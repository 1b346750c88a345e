"""One institution of a simulation: its own identity, policy, ledger and units; the base and trainer are shared.

Randomness is the system's and noise is secure, as live, unless the scenario asks for a seed by its unsafe
name, also for the coins that round an update to its width; those that round a masked one into its ring are always
the system's. The policy accepts what the
scenario says and nothing looser.
"""

import hashlib
import math
import resource
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import final

from domains.language import Base
from fedclient.consent import LocalPolicy
from fedclient.dataset import PrivateDataset
from fedclient.ledger import BudgetLimit, Ledger
from fedclient.model import Keep, Trainer
from fedclient.session import Institution, TrainerLike
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError
from fedcore.identity import SigningIdentity
from fedcore.privacy.integer_noise import IntegerNoiseSource, SecureIntegerNoise, UnsafeSeededIntegerNoise
from fedcore.privacy.noise import NoiseSource, SecureNoise, UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import RandomSource, SystemRandom, UnsafeSeeded
from fedcore.round import RoundPlan
from fedcore.secagg import RingArray
from fedserver.strategies import load_strategy
from simulations.directory import RunDirectory
from simulations.scenario import Scenario

__all__ = ["SharedTrainer", "Step", "make_institution", "require_files"]

_FILES_EACH = 4
"""A ledger, what SQLite keeps beside it, and one to spare."""
_FILES_BESIDE = 256

Step = Callable[[str, int, int], None]
"""Institution, steps done, steps of the round."""


def make_institution(
    name: str,
    directory: RunDirectory,
    privacy: PrivacyPlan,
    trainer: TrainerLike,
    dataset: Callable[[RoundPlan], PrivateDataset],
    *,
    members: Sequence[str],
) -> Institution:
    """Build one institution, its ledger opened in the run's directory.

    Args:
        name: As the split calls it.
        directory: Of the run.
        privacy: What the scenario asks of everyone.
        trainer: Shared by all.
        dataset: This institution's units.
        members: All institutions of the run; it knows each one's key, as operators who met would.
    Raises:
        LedgerError: The ledger in the directory is damaged.
    """
    scenario, unsafe = directory.scenario, not privacy.is_private
    limit = math.inf if unsafe else scenario.privacy.epsilon_limit
    return Institution(
        name=name,
        identity=directory.identity(name),
        coordinator=SigningIdentity.load(directory.coordinator_key).public,
        policy=LocalPolicy(
            tasks=(scenario.task,),
            unit=privacy.unit,
            least_noise_multiplier=1e-6 if unsafe else privacy.noise_multiplier,
            largest_clip_norm_l2=privacy.clip_norm_l2,
            largest_rank=max(1, load_strategy(scenario.strategy).traits.residual_times) * scenario.adapter.rank,
            largest_delta=privacy.delta,
            samplers=(privacy.sampler,),
            largest_honest_minimum=privacy.honest_minimum,
            peers=() if scenario.secure_sums is None else _peers(directory.out, tuple(members)),
            unsafe_allow_no_noise=unsafe,
        ),
        ledger=Ledger.open(
            directory.ledger(name),
            dataset=scenario.name,
            unit=privacy.unit,
            limit=BudgetLimit(epsilon=limit, delta=privacy.delta),
            shared_disk=scenario.backend == "ray",
        ),
        trainer=trainer,
        dataset=dataset,
        source=partial(_source, scenario, name),
        noise=partial(_noise, scenario, name),
        coins=partial(_coins, scenario, name),
    )


def require_files(institutions: int) -> None:
    """Let this process hold the ledgers of so many institutions open, where its system has set less.

    Raises:
        ConfigError: The system does not allow it.
    """
    needed = _FILES_EACH * institutions + _FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            "this system lets a process open too few files for so many institutions",
            expected=f"{needed:,} for {institutions:,} institutions",
            got=f"{hard:,}",
            do="raise 'ulimit -Hn', or simulate fewer institutions",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@final
class SharedTrainer:
    """The one trainer, in the hands of one institution at a time.

    Args:
        trainer: Made when it is first needed.
        name: Of the institution.
        lock: Held while it trains.
        step: Told of each step.
    """

    def __init__(self, trainer: Callable[[], Trainer], name: str, lock: threading.Lock, step: Step) -> None:
        self._trainer = trainer
        self._name = name
        self._lock = lock
        self._step = step

    @property
    def base(self) -> Base:
        """The one base."""
        return self._trainer().base

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
        """As `Trainer.train`; steps are told to those who watch the simulation."""
        with self._lock:
            return self._trainer().train(
                plan, state, dataset, source=source, noise=noise, report=partial(self._step, self._name), keep=keep
            )

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
        """As `Trainer.train_ring`; likewise."""
        with self._lock:
            return self._trainer().train_ring(
                plan, state, dataset, source=source, noise=noise, report=partial(self._step, self._name), keep=keep
            )


def _source(scenario: Scenario, name: str, plan: RoundPlan) -> RandomSource:
    """Of sampling."""
    return UnsafeSeeded(_seed(scenario, name, plan)) if scenario.privacy.unsafe_seeded else SystemRandom()


def _noise(scenario: Scenario, name: str, plan: RoundPlan) -> NoiseSource | IntegerNoiseSource:
    """That of the plan's mechanism."""
    seeded = scenario.privacy.unsafe_seeded
    if not plan.privacy.is_private:
        return UnsafeNoNoise()
    if plan.privacy.shares_noise:
        return UnsafeSeededIntegerNoise(_seed(scenario, name, plan)) if seeded else SecureIntegerNoise()
    return UnsafeSeededNoise(_seed(scenario, name, plan)) if seeded else SecureNoise()


def _coins(scenario: Scenario, name: str, plan: RoundPlan) -> RandomSource:
    """Of rounding; from another seed than the sampling."""
    seed = _seed(scenario, f"{name}/coins", plan)
    return UnsafeSeeded(seed) if scenario.privacy.unsafe_seeded else SystemRandom()


@lru_cache(maxsize=4)
def _peers(out: Path, members: tuple[str, ...]) -> tuple[str, ...]:
    """All members as a policy names them; read once, since each of hundreds of institutions knows them all."""
    directory = RunDirectory.open(out)
    return tuple(f"{name}={directory.identity(name).public.fingerprint}" for name in members)


def _seed(scenario: Scenario, name: str, plan: RoundPlan) -> int:
    """Another seed for each run, institution and round, so that none repeats another's draws."""
    text = f"{scenario.seed}/{scenario.name}/{name}/{plan.round}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
