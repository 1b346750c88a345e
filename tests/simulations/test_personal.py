"""A simulated job whose institutions keep a part: what each of them has is what is measured."""

import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fedserver.strategies
from fedclient._personal_parts import Kept, read_personal
from fedcore.adapter import AdapterState
from fedcore.errors import Interrupted
from fedcore.wire import unpack_arrays
from fedserver.progress import Progress
from fedserver.store import Store
from simulations.directory import RunDirectory
from simulations.outcome import HeldOut, own_states
from simulations.scenario import Scenario, SecureSumSettings
from simulations.world import World

Quickstart = Callable[..., Scenario]
Prepare = Callable[..., RunDirectory]

STRATEGY = """
from dataclasses import dataclass
from fedserver.strategies import Traits, add_mean

@dataclass(frozen=True, kw_only=True)
class Shared:
    name: str = "shared_a"
    summary: str = "share A, keep B"
    traits: Traits = Traits(when="in this test", exact="yes", noise="once", keeps=("lora_B",))

    def trains(self, round):
        return ("lora_A",)

    def carries(self, round):
        return ("lora_A",)

    def fold(self, state, cohort):
        return add_mean(state, cohort)

strategy = Shared()
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quickstart: Quickstart) -> Callable[..., Scenario]:
    """The quickstart, by a strategy that is there for this test alone."""
    folder = tmp_path / "strategies"
    folder.mkdir()
    (folder / "shared_a.py").write_text(STRATEGY)
    monkeypatch.setattr(fedserver.strategies, "__path__", [*fedserver.strategies.__path__, str(folder)])

    def make(**options: int) -> Scenario:
        return dataclasses.replace(quickstart(**options), strategy="shared_a", max_tokens=64)

    return make


def kept(world: World, name: str) -> Kept:
    (row,) = read_personal(world.run_directory.ledger(name), world.scenario.name)
    return row


def final(world: World) -> AdapterState:
    store = Store.open(world.run_directory.store)
    try:
        return store.checkpoint(world.job)[1]
    finally:
        store.close()


def test_the_loss_is_the_mean_over_the_institutions_own_adapters(
    tmp_path: Path, scenario: Callable[..., Scenario], prepare: Prepare
) -> None:
    quiet = scenario(steps_per_round=6).without_noise()
    faster = dataclasses.replace(quiet, optimiser=dataclasses.replace(quiet.optimiser, learning_rate=5e-2))
    world = World(prepare(tmp_path / "run", faster))
    results = world.run()
    assert results.status == "completed"
    assert results.loss_released < results.loss_base
    state = final(world)
    assert not any(a.any() for a in state.part("lora_B").values())  # No B ever reached the coordinator.
    heldout = HeldOut(world.base, world.units, world._lock)
    given = {"task": quiet.task, "records": Path(), "limit": quiet.evaluation.examples, "max_tokens": 64}
    losses = []
    for name in world.names:
        values = unpack_arrays(kept(world, name).after, state.schema.part("lora_B"))
        assert any(a.any() for a in values.values())
        losses.append(heldout.loss(state.replace(values), **given))
    assert len(set(losses)) == len(losses)
    assert results.loss_released == pytest.approx(statistics.fmean(losses), rel=1e-12)
    # The shared state alone is the base: its B is zero.
    assert heldout.loss(state, **given) == pytest.approx(results.loss_base, rel=1e-6)


def test_who_keeps_nothing_yet_is_measured_by_the_shared_state(
    tmp_path: Path, scenario: Callable[..., Scenario], prepare: Prepare
) -> None:
    world = World(prepare(tmp_path / "run", scenario()))
    state = AdapterState.initial(world.job.schema, seed=1)
    assert own_states(world.run_directory, world.job, world.names, state) == (state,) * len(world.names)


@pytest.mark.parametrize("replies", [2, 4])
def test_a_stopped_run_goes_on_to_the_same_parts(
    replies: int, tmp_path: Path, scenario: Callable[..., Scenario], prepare: Prepare
) -> None:
    left = [replies]

    def report(progress: Progress) -> None:
        left[0] -= progress.stage == "reply"

    whole = World(prepare(tmp_path / "whole", scenario()))
    expected = whole.run()
    with pytest.raises(Interrupted):
        World(prepare(tmp_path / "stopped", scenario())).run(report=report, stopped=lambda: left[0] <= 0)
    world = World(prepare(tmp_path / "stopped", scenario()))
    found = world.run()
    assert found.loss_released == expected.loss_released
    assert [i.epsilon_spent for i in found.institutions] == [i.epsilon_spent for i in expected.institutions]
    for name in world.names:
        assert (kept(world, name).round, kept(world, name).after) == (2, kept(whole, name).after)


def test_behind_masks_the_parts_are_the_same_but_for_rounding(
    tmp_path: Path, scenario: Callable[..., Scenario], prepare: Prepare
) -> None:
    clear = World(prepare(tmp_path / "clear", scenario()))
    masked = World(
        prepare(
            tmp_path / "masked",
            dataclasses.replace(scenario(), secure_sums=SecureSumSettings(threshold=2, parties=3)),
        )
    )
    assert clear.run().status == masked.run().status == "completed"
    for name in clear.names:
        specs = clear.job.schema.part("lora_B")
        ours, theirs = (unpack_arrays(kept(w, name).after, specs) for w in (clear, masked))
        for tensor, array in ours.items():
            # The coins of rounding are the system's: 0.4 % of the largest number, give or take 0.1 %.
            np.testing.assert_allclose(theirs[tensor], array, rtol=0, atol=2e-2 * np.abs(array).max())
