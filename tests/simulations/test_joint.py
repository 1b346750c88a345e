"""Joint steps in simulation: DP-SGD on the pooled data, the epsilon of a ledger, and dropouts behind masks."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fedcore.adapter import AdapterState, FloatArray
from fedcore.errors import Interrupted, InvalidPlan, PlanRefused
from fedcore.folding import WidthSettings
from fedcore.privacy.integer_noise import SecureIntegerNoise, UnsafeSeededIntegerNoise
from fedcore.round import Optimiser, RoundPlan
from fedcore.secagg import RingPlan
from fedcore.sums import SumPlan
from fedserver.progress import Progress
from fedserver.store import Store
from fedserver.strategies import load_strategy
from fedserver.sums import SecureSumSettings
from simulations import results as files
from simulations.directory import RunDirectory
from simulations.scenario import Scenario
from simulations.world import World
from tests.reference.clipped_sum import clipped_sum

Prepare = Callable[..., RunDirectory]
Joint = Callable[..., Scenario]

SGD = Optimiser(name="sgd", learning_rate=0.5, momentum=0.9)
ADAMW = Optimiser(learning_rate=1e-2, weight_decay=0.01, stability=1e-4)


@pytest.fixture
def joint(quickstart: Callable[..., Scenario]) -> Joint:
    """Joint steps of three clinics, at the width that a twin can follow: behind masks unless `threshold` is None,
    with noise that two of them carry."""

    def make(
        *, rounds: int = 3, threshold: int | None = 2, noise: bool = True, optimiser: Optimiser = SGD, **privacy: Any
    ) -> Scenario:
        honest = 2 if noise and threshold is not None else None
        plain = quickstart(rounds=rounds, steps_per_round=1)
        return dataclasses.replace(
            plain,
            joint=True,
            secure_sums=None if threshold is None else SecureSumSettings(threshold=threshold),
            quorum=threshold or 0,
            optimiser=optimiser,
            widths=WidthSettings(up=None if threshold is not None else "float32", down="float32"),
            privacy=dataclasses.replace(plain.privacy, honest_minimum=honest, unsafe_no_noise=not noise, **privacy),
        )

    return make


def final(world: World) -> AdapterState:
    """The state after the last round, as the coordinator kept it."""
    store = Store.open(world.run_directory.store)
    try:
        return store.checkpoint(world.job)[1]
    finally:
        store.close()


def finely(world: World) -> None:
    """Let the job's ring have as small a step as its bits allow: masks without rounding to speak of."""
    sums, parameters = world.job.sums, world.job.schema.parameters
    assert sums is not None
    resolution = sums.resolution
    while fits(dataclasses.replace(sums, bits=32, resolution=resolution / 2), parameters):
        resolution /= 2
    vars(world)["job"] = dataclasses.replace(world.job, sums=dataclasses.replace(sums, bits=32, resolution=resolution))


def fits(sums: SumPlan, parameters: int) -> bool:
    try:
        return isinstance(sums.ring(parameters), RingPlan)
    except InvalidPlan:
        return False


def twin(world: World, present: Mapping[int, tuple[str, ...]]) -> dict[str, FloatArray]:
    """DP-SGD without noise on the pooled data, the slow way: unit by unit, and torch's own optimiser.

    `present` says who is counted in each round; the units are those that each institution's source draws.
    """
    job = world.job
    privacy, adapted = job.privacy, world.base.adapt(job.schema, load_strategy(job.strategy).trains(1))
    adapted.load(AdapterState.initial(job.schema, job.seed))
    trained = {name: p for name, p in adapted.parameters.items() if p.requires_grad}
    o = job.optimiser
    optimiser: torch.optim.Optimizer = (
        torch.optim.SGD(trained.values(), lr=o.learning_rate, momentum=o.momentum)
        if o.name == "sgd"
        else torch.optim.AdamW(
            trained.values(),
            lr=o.learning_rate,
            betas=(o.beta1, o.beta2),
            eps=o.stability,
            weight_decay=o.weight_decay,
        )
    )
    for number, names in present.items():
        pooled = []
        for name in names:
            source = world.institution(name).source(SimpleNamespace(round=number))  # type: ignore[arg-type]
            data = world.datasets[name]
            drawn = privacy.batches(len(data), source).draw()
            pooled += [data.examples_of(int(unit), privacy.examples_per_unit, source) for unit in drawn]
        total = clipped_sum(adapted, pooled, privacy.clip_norm_l2)
        for name, p in trained.items():
            p.grad = (total[name] / (privacy.expected_batch_units * len(names))).float()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    state: dict[str, FloatArray] = adapted.read(trained)
    return state


def largest_gap(one: Mapping[str, FloatArray], other: Mapping[str, FloatArray]) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in other)


def moved(world: World, state: Mapping[str, FloatArray]) -> float:
    """How far training has come from its start, so that a gap can be held against it."""
    return largest_gap(AdapterState.initial(world.job.schema, world.job.seed).tensors, state)


@pytest.mark.parametrize("optimiser", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_joint_steps_without_noise_are_dp_sgd_on_the_pooled_data(
    masked: bool, optimiser: Optimiser, tmp_path: Path, joint: Joint, prepare: Prepare
) -> None:
    scenario = joint(noise=False, optimiser=optimiser, threshold=2 if masked else None)
    world = World(prepare(tmp_path / "run", scenario))
    if masked:
        finely(world)
    results = world.run()
    assert results.status == "completed"
    expected = twin(world, dict.fromkeys((1, 2, 3), world.names))
    assert moved(world, expected) > 1e-3
    assert largest_gap(final(world).tensors, expected) < 2e-6


def test_the_ring_that_a_job_chooses_rounds_far_below_a_step(tmp_path: Path, joint: Joint, prepare: Prepare) -> None:
    world = World(prepare(tmp_path / "run", joint(noise=False)))
    world.run()
    expected = twin(world, dict.fromkeys((1, 2, 3), world.names))
    sums, privacy = world.job.sums, world.job.privacy
    assert sums is not None
    # Each of three inputs is rounded by less than one step of the ring, in each of three rounds; momentum adds up.
    gradient = sums.resolution / privacy.expected_batch_units
    assert largest_gap(final(world).tensors, expected) < SGD.learning_rate * gradient * (3 + 2 * 0.9 + 0.81)


def test_shared_noise_costs_each_institution_what_its_own_noise_would(
    tmp_path: Path, joint: Joint, prepare: Prepare
) -> None:
    shared = World(prepare(tmp_path / "shared", joint()))
    own = World(prepare(tmp_path / "own", joint(threshold=None)))
    theirs, ours = own.run(), shared.run()
    assert (theirs.status, ours.status) == ("completed", "completed")
    assert [i.epsilon_spent for i in ours.institutions] == [i.epsilon_spent for i in theirs.institutions]
    assert ours.institutions[0].epsilon_spent == pytest.approx(shared.privacy.epsilon(3), rel=0.01)
    # The same promise for less noise: two carry together what each of three would add alone.
    assert ours.noise_std == pytest.approx(theirs.noise_std / 2**0.5, rel=0.01)
    assert ours.secure_sums is not None
    assert ours.secure_sums["honest_minimum"] == 2
    for name in shared.names:
        ledger = shared.institution(name).ledger
        ledger.verify()
        assert [e.noise_multiplier for e in ledger.events()] == [shared.privacy.noise_multiplier] * len(ledger.events())


class RefusesOneRound:
    """A policy that says no in one round."""

    def __init__(self, policy: Any, number: int) -> None:
        self._policy, self._number = policy, number

    def accept(self, plan: RoundPlan) -> None:
        if plan.round == self._number:
            raise PlanRefused("not this one", reason="outside_hours")
        self._policy.accept(plan)


def test_a_round_survives_an_institution_that_never_masks(tmp_path: Path, joint: Joint, prepare: Prepare) -> None:
    world = World(prepare(tmp_path / "run", joint(noise=False)))
    finely(world)
    first = world.institution(world.names[0])
    world._institutions[first.name] = dataclasses.replace(first, policy=RefusesOneRound(first.policy, 2))
    results = world.run()
    assert results.status == "completed"
    assert [r.contributors for r in results.per_round] == [world.names, world.names[1:], world.names]
    assert results.per_round[1].dropped == {first.name: "outside_hours"}
    expected = twin(world, {1: world.names, 2: world.names[1:], 3: world.names})
    assert largest_gap(final(world).tensors, expected) < 2e-6


def test_below_the_threshold_a_round_is_abandoned(tmp_path: Path, joint: Joint, prepare: Prepare) -> None:
    world = World(prepare(tmp_path / "run", joint(threshold=3)))
    first = world.institution(world.names[0])
    world._institutions[first.name] = dataclasses.replace(first, policy=RefusesOneRound(first.policy, 2))
    results = world.run()
    assert results.rounds == 1
    assert results.status.startswith("abandoned: round 2")


class StopAt:
    """Says stop once a stage of a round has been reached."""

    def __init__(self, number: int, stage: str) -> None:
        self._wanted, self._reached = (number, stage), False

    def report(self, progress: Progress) -> None:
        self._reached = self._reached or (progress.round, progress.stage) == self._wanted

    def __call__(self) -> bool:
        return self._reached


@pytest.mark.parametrize("stage", ["reply", "opening"])
def test_a_stopped_run_behind_masks_goes_on_at_no_extra_cost(
    stage: str, tmp_path: Path, joint: Joint, prepare: Prepare
) -> None:
    whole = World(prepare(tmp_path / "whole", joint())).run()
    out, stop = tmp_path / "stopped", StopAt(2, stage)
    with pytest.raises(Interrupted):
        World(prepare(out, joint())).run(report=stop.report, stopped=stop)
    assert files.read(out) is None
    resumed = World(prepare(out, joint())).run()
    assert resumed.status == "completed"
    assert [i.epsilon_spent for i in resumed.institutions] == [i.epsilon_spent for i in whole.institutions]
    assert [r.contributors for r in resumed.per_round] == [r.contributors for r in whole.per_round]
    # Seeded, so the same but for the coins of rounding, which are the system's.
    assert resumed.loss_released == pytest.approx(whole.loss_released, abs=1e-3)


def test_institutions_allow_what_the_scenario_says_and_nothing_looser(
    tmp_path: Path, joint: Joint, prepare: Prepare
) -> None:
    world = World(prepare(tmp_path / "run", joint()))
    policy: Any = world.institution(world.names[0]).policy
    known = {n: world.run_directory.identity(n).public.fingerprint for n in world.names}
    assert policy.largest_honest_minimum == 2
    assert dict(p.split("=") for p in policy.peers) == known
    plain: Any = World(prepare(tmp_path / "plain", joint(threshold=None))).institution(world.names[0]).policy
    assert plain.largest_honest_minimum is None
    assert plain.peers == ()


@pytest.mark.parametrize(
    ("seeded", "kind"), [(True, UnsafeSeededIntegerNoise), (False, SecureIntegerNoise)], ids=["seeded", "secure"]
)
def test_shared_noise_is_secure_unless_the_scenario_asks_for_a_seed(
    seeded: bool, kind: type, tmp_path: Path, joint: Joint, prepare: Prepare
) -> None:
    world = World(prepare(tmp_path / "run", joint(unsafe_seeded=seeded)))
    plan = SimpleNamespace(round=1, privacy=world.privacy)
    assert type(world.institution(world.names[0]).noise(plan)) is kind  # type: ignore[arg-type]
