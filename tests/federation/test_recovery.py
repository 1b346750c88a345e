"""Whatever is killed, cut, full or wrong about the time, wherever it strikes: the job goes on, and nothing is lost.

Every named point by itself, then two hundred random sequences of up to three faults. A fault that failed is played
again by its name: `pytest "tests/federation/test_recovery.py::test_sequence[17]"`. Two trials are played at a time,
in advance; see `Theatre`. Where tests are dealt out to several workers, each plays one at a time, its own alone.
The reference is the same job without any fault: institutions draw the same in a round however often they are asked
(`faults.py`), so states are compared to the last bit.
"""

import os
import queue
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fedcore.privacy.accounting import DpEvent
from fedcore.round import Completed
from fedserver.store import Store
from simulations.results import read as read_results
from simulations.scenario import named as named_scenario
from tests.federation.conftest import Trial
from tests.federation.cutter import Cut
from tests.federation.disturbed import HASTY, JOB, MASKED, NAMES, Played, Stage, check
from tests.federation.nursery import Nursery
from tests.federation.points import COORDINATOR, POINTS, SIMULATION, Action, Fault
from tests.ports import free_port

pytestmark = pytest.mark.slow

EVENT = DpEvent(sampler="poisson", sampling_rate=0.25, noise_multiplier=1.0, steps=2)
"""A round of each job."""
COUNT = 200
SEED = "concordat recovery 1"
_ALONE = "PYTEST_XDIST_WORKER" not in os.environ
_STAGES = 2 if _ALONE else 1
_SINGLE, _RANDOM = "single", "random"
_OF_WORKER = ("plan to read", "receipt to keep", "budget reserved", "trained", "answer committing", "answer committed")
_JUMPS = {
    COORDINATOR: ("job to start", "round opened", "plan handed out", "reply arrived", "round closed"),
    "b": ("message received", "budget reserved", "answer to send"),
}


def named(machine: str, point: str, action: Action, hit: int = 0) -> Fault:
    """A fault at the second time that a point is reached, where it is reached twice."""
    at = next(points[point] for points in POINTS.values() if point in points)
    return Fault(machine=machine, point=point, action=action, hit=hit or min(2, at.hits))


def singles() -> Iterator[Fault | Cut]:
    """Each point and cut by itself."""
    machines = {"coordinator": COORDINATOR, "node": "b", "researcher": "researcher"}
    for side in machines:
        for point, at in POINTS[side].items():
            yield named(machines[side], point, "kill")
            if at.when != "after" and not at.masked:
                yield named(machines[side], point, "disk")
    for point in _OF_WORKER:
        yield named("b", point, "power")
    for machine, jumping in _JUMPS.items():
        for point in jumping:
            yield named(machine, point, "ahead")
            yield named(machine, point, "behind")
    for after in (100, 1500, 3000):
        yield Cut(direction="up", after=after, nth=4)
        yield Cut(direction="down", after=after, nth=4)


def sequences() -> list[tuple[Fault | Cut, ...]]:
    """One to three faults each, drawn by a seed; no sequence twice."""
    draw, drawn = random.Random(SEED), dict[tuple[Fault | Cut, ...], None]()  # noqa: S311 - the same, everywhere.
    while len(drawn) < COUNT:
        drawn[tuple(_random_fault(draw) for _ in range(draw.randint(1, 3)))] = None
    return list(drawn)


def _random_fault(draw: random.Random) -> Fault | Cut:
    machine = draw.choice((COORDINATOR, COORDINATOR, *NAMES, "wire", "researcher"))
    if machine == "wire":
        way = draw.choice(("up", "down"))
        return Cut(direction=way, after=draw.randint(1, 3500), nth=draw.randint(1, 12))  # type: ignore[arg-type]
    side = "node" if machine in NAMES else machine
    point, at = draw.choice([(n, p) for n, p in POINTS[side].items() if not p.masked])
    actions: tuple[Action, ...] = ("kill", "kill", "kill", "disk", "ahead", "behind")
    if machine in NAMES:
        actions = ("power", *actions)
    return Fault(machine=machine, point=point, action=draw.choice(actions), hit=draw.randint(1, at.hits))


SEQUENCES = sequences()


# Stages -----------------------------------------------------------------------------------------------


class Theatre:
    """Stages on which trials are played, as many at a time as there are stages; each trial once."""

    def __init__(self, stages: Sequence[Stage], directory: Path) -> None:
        self._free: queue.Queue[Stage] = queue.Queue()
        for stage in stages:
            self._free.put(stage)
        self._pool = ThreadPoolExecutor(len(stages))
        self._directory = directory
        self._booked: dict[tuple[str, Sequence[Fault | Cut]], Future[Played]] = {}

    def book(self, job: str, faults: Sequence[Fault | Cut] = (), *, name: str = "") -> Future[Played]:
        """Have a trial played in its turn; with a name, it is for one test alone."""
        key = (name or job, faults)
        if key not in self._booked:
            place = self._directory / str(len(self._booked))
            patience_s = 3.0 if name == _SINGLE else 0.0
            self._booked[key] = self._pool.submit(self._play, place, faults, job, patience_s)
        return self._booked[key]

    def undisturbed(self, job: str) -> list[str]:
        """The state after each round where nothing goes wrong."""
        return self.book(job).result().states

    def close(self) -> None:
        """Play nothing more."""
        self._pool.shutdown(cancel_futures=True)

    def _play(self, place: Path, faults: Sequence[Fault | Cut], job: str, patience_s: float) -> Played:
        stage = self._free.get()
        try:
            return stage.play(place, faults, job=job, patience_s=patience_s)
        finally:
            self._free.put(stage)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[Sequence[Stage]]:
    """Stages whose institutions are enrolled, with one fork server."""
    nursery = Nursery.start(tiny_base, EVENT, delta=1e-4)
    yield [_stage(tmp_path_factory.mktemp("stage"), tiny_base, nursery) for _ in range(_STAGES)]
    nursery.stop()


def _stage(directory: Path, base: Path, nursery: Nursery) -> Stage:
    trial = Trial(directory, base)
    trial.init()
    for seed, name in enumerate(NAMES):
        trial.add_node(name, epsilon=5000.0, seed=seed)
    trial.job(JOB, rounds=3, quorum=1, deadline_s=60, steps=2)
    trial.job(HASTY, rounds=3, quorum=2, deadline_s=6, steps=2)
    masked = trial.job(MASKED, rounds=3, quorum=2, deadline_s=60, steps=2)
    masked.write_text(f"{masked.read_text()}\n[secure_sums]\nthreshold = 2\nparties = {len(NAMES)}\n")
    return Stage(directory, nursery, trial.port, free_port())


@pytest.fixture(scope="module")
def theatre(
    request: pytest.FixtureRequest, stages: Sequence[Stage], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Theatre]:
    """All trials of the tests that were asked for, in their order."""
    made = Theatre(stages, tmp_path_factory.mktemp("played"))
    made.book(JOB)
    # One of several workers knows of every test, and not which of them will be its own.
    for item in request.session.items if _ALONE else ():
        wanted: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
        if "job" in wanted:
            made.book(wanted["job"])
        elif "fault" in wanted:
            _single(made, wanted["fault"])
        elif "number" in wanted:
            made.book(JOB, SEQUENCES[wanted["number"]], name=_RANDOM)
    yield made
    made.close()


def _single(theatre: Theatre, fault: Fault | Cut) -> Future[Played]:
    job = MASKED if isinstance(fault, Fault) and fault.at.masked else JOB
    return theatre.book(job, (fault,), name=_SINGLE)


# What holds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", [JOB, MASKED])
def test_nothing_goes_wrong(job: str, theatre: Theatre) -> None:
    played = theatre.book(job).result()
    check(played, played.states)
    assert [o.dropped for o in played.outcomes] == [{}] * 3


@pytest.mark.parametrize("fault", list(singles()), ids=str)
def test_fault(fault: Fault | Cut, theatre: Theatre) -> None:
    played = _single(theatre, fault).result()
    assert list(played.struck) == [fault]
    check(played, theatre.undisturbed(played.job_id))
    lost = [o.dropped for o in played.outcomes if o.dropped]
    if isinstance(fault, Cut) or (fault.machine == COORDINATOR and fault.action == "kill"):
        assert not lost, "neither a cut nor a coordinator that is killed loses anybody's update"
    shutil.rmtree(played.directory)


@pytest.mark.parametrize("number", range(COUNT))
def test_sequence(number: int, theatre: Theatre) -> None:
    faults = SEQUENCES[number]
    played = theatre.book(JOB, faults, name=_RANDOM).result()
    try:
        check(played, theatre.undisturbed(JOB), lost_may_end_it=True)
    except AssertionError as error:
        raise AssertionError(f"sequence {number} of {SEED!r}: {'; '.join(map(str, faults))}\n{error}") from error
    shutil.rmtree(played.directory)


def test_round_closes_at_its_deadline_and_a_late_reply_is_refused_by_name(theatre: Theatre) -> None:
    played = theatre.book(HASTY, (named("b", "trained", "pause", 1),)).result()
    first, *_, last = played.outcomes
    assert played.job.state == "completed"
    assert (first.dropped, last.dropped) == ({"b": "late"}, {})
    assert "too late" in played.logs["b"]
    answered = [e.body["plan"] for e in played.entries("b") if e.kind == "commit"]
    assert played.plans()[0].digest in answered, "the late reply was paid for"
    assert played.plans()[-1].digest in answered


# Simulations ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulate(stages: Sequence[Stage], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Run a seeded scenario until it ends, by its command; what its directory then holds."""
    place = tmp_path_factory.mktemp("simulations")
    scenario = place / "seeded.toml"
    text = named_scenario("quickstart").read_text().replace("rounds = 2", "rounds = 3")
    scenario.write_text(text.replace("epsilon_limit = 12.0", "epsilon_limit = 100.0\nunsafe_seeded = true"))

    def run(out: Path, *faults: Fault) -> dict[str, Any]:
        for start, left in enumerate((faults, ())):
            log = place / f"{out.name}-{start}.log"
            child = stages[0].nursery.run(
                ["simulate", scenario, "--out", out], machine=SIMULATION, cwd=place, log=log, faults=left
            )
            while (code := child.poll()) is None:
                time.sleep(0.05)
            assert code == (-signal.SIGKILL if left else 0), child.text()
            if code == 0:
                break
        store = Store.open(out / "state.db")
        states = [o.state_digest for o in store.outcomes("quickstart") if isinstance(o, Completed)]
        store.close()
        found = read_results(out)
        assert found is not None
        return {
            "states": states,
            "losses": [r["loss"] for r in found["per_round"]],
            "counted": [r["contributors"] for r in found["per_round"]],
            "spent": {i["name"]: i["epsilon_spent"] for i in found["institutions"]},
        }

    return run


@pytest.fixture(scope="module")
def whole(simulate: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the same run finds that nothing kills."""
    return simulate(tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.parametrize("point", POINTS["simulation"])
def test_simulation_that_is_killed_goes_on_to_the_same_end(
    point: str, simulate: Callable[..., dict[str, Any]], whole: dict[str, Any], tmp_path: Path
) -> None:
    at = POINTS["simulation"][point]
    found = simulate(tmp_path / "run", Fault(machine=SIMULATION, point=point, action="kill", hit=(at.hits + 1) // 2))
    spent, usual = found.pop("spent"), {name: value for name, value in whole.items() if name != "spent"}
    assert found == usual
    # A round that was paid for and not answered is paid for again; nothing else costs more.
    more = {name for name in spent if spent[name] > whole["spent"][name]}
    assert all(spent[name] >= whole["spent"][name] for name in spent)
    assert len(more) == (point in ("simulated budget reserved", "simulated answer committing"))
