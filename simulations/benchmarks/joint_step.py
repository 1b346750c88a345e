"""What a joint step costs besides training, deployed: 8 institutions behind masks, one noise for all.

A round is one step: the plan goes out, each node trains, reserves and masks, the masked sums come back, those
who answered open the total, and the coordinator takes the step. Its seconds are those from one stored state to
the next, so that everything counts: selection, both exchanges, accounting, checks, the disk. Overhead is what
is left without the training of the slowest node, as each node logs it. The first round is not counted: it
agrees on keys, and each node audits its step and measures its data set once.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from fedcore.errors import ConfigError, RoundError
from fedserver.settings import Place
from fedserver.store import Store
from simulations.benchmarks.deployed import Footing, federation
from simulations.benchmarks.processes import program
from simulations.benchmarks.work import Say, Timing, Work

__all__ = ["JOINT_STEP_LIMIT_S", "JointStepBenchmark", "measure_joint_steps"]

JOINT_STEP_LIMIT_S = 1.0
"""What a joint step of 8 nodes may cost beyond the slowest one's training."""

_LOOK_S = 0.02
_JOB_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class JointStepBenchmark:
    """The result.

    Args:
        agreement_s: Seconds of the first round, with its agreement on keys, which is not among `timings`.
        timings: Each measured round.
        cpu_s: Seconds of CPU a round of "coordinator" and "node" (the mean of all), training included.
    """

    nodes: int
    threshold: int
    rounds: int
    base: str
    parameters: int
    overhead_median_s: float
    overhead_worst_s: float
    training_median_s: float
    limit_s: float
    agreement_s: float
    bytes_up_per_node: int
    bytes_down_per_node: int
    cpu_s: dict[str, float]
    timings: tuple[Timing, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {**asdict(self), "timings": [{**asdict(t), "overhead_s": round(t.overhead_s, 4)} for t in self.timings]}


def measure_joint_steps(base: Path, *, nodes: int, rounds: int, say: Say) -> JointStepBenchmark:
    """Run joint steps on a federation of processes.

    Args:
        base: A base's directory.
        nodes: Institutions. The threshold is the least above half of them.
        rounds: Rounds that are measured; one more is run first.
        say: Called with a line for people.
    Raises:
        ConfigError: There are too few of something.
        LinkError: A process failed or took too long.
        RoundError: The job failed.
    """
    if nodes < 3 or rounds < 1:
        raise ConfigError("a joint step cannot be measured so", expected="at least 3 nodes and 1 round")
    started = time.perf_counter()
    work = Work(base=base.absolute(), rounds=rounds, nodes=nodes, threshold=nodes // 2 + 1)
    with (
        TemporaryDirectory(prefix="concordat-bench-") as name,
        federation(work, Path(name) / "deployed", say) as there,
    ):
        walls, cpu_s, job = _run(there, work, say)
        trained = there.trained()
    # Several answers of one node in a round would be a fault; one that is missing is one that was dropped.
    whole = [n for n in range(2, rounds + 2) if len(trained[n]) == nodes]
    if len(whole) != rounds:
        raise RoundError("a node was lost in a measured round", expected=f"{nodes} that train in each")
    timings = tuple(Timing(wall_s=round(walls[n], 4), training_s=max(trained[n])) for n in whole)
    over = [t.overhead_s for t in timings]
    return JointStepBenchmark(
        nodes=nodes,
        threshold=work.threshold,
        rounds=rounds,
        base=base.name,
        parameters=job.parameters,
        overhead_median_s=round(median(over), 3),
        overhead_worst_s=round(max(over), 3),
        training_median_s=round(median(t.training_s for t in timings), 3),
        limit_s=JOINT_STEP_LIMIT_S,
        agreement_s=round(walls[1], 3),
        bytes_up_per_node=_a_node(job.bytes_up[1:], nodes),
        bytes_down_per_node=_a_node(job.bytes_down[1:], nodes),
        cpu_s={who: round(spent / rounds, 4) for who, spent in cpu_s.items()},
        timings=timings,
        seconds=round(time.perf_counter() - started, 1),
    )


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What the coordinator's store says of the job."""

    parameters: int
    bytes_up: tuple[int, ...]
    bytes_down: tuple[int, ...]


def _run(there: Footing, work: Work, say: Say) -> tuple[dict[int, float], dict[str, float], _Job]:
    """Seconds of each round, seconds of CPU of the measured rounds, and the job.

    Raises:
        LinkError: A process ended.
        RoundError: The job failed.
    """
    submit = [program("concordat"), "server", "submit", str(there.job), "--dir", str(there.server), "--json"]
    store = Store.open(Place(there.server).store)
    ends: list[float] = []
    spent: list[dict[str, float]] = []

    def is_over() -> bool:
        done = len(store.outcomes("bench"))
        while len(ends) < done:
            ends.append(time.perf_counter())
            spent.append(_cpu_seconds(there))
            say(f"deployed: {len(ends)} of {work.rounds + 1} joint steps")
        return store.job("bench").state in ("completed", "failed")

    try:
        there.processes.call("server submit", submit)
        begun = time.perf_counter()
        there.processes.wait_until(is_over, "the joint steps", timeout_s=_JOB_S, look_s=_LOOK_S)
        job, outcomes = store.job("bench"), store.outcomes("bench")
    finally:
        store.close()
    if job.state != "completed":
        raise RoundError(f"the joint steps failed: {job.reason}")
    walls = {n: end - start for n, (start, end) in enumerate(zip([begun, *ends], ends, strict=False), 1)}
    first, last = spent[0], spent[-1]
    names = [name for name in last if name != "server"]
    nodes = sum(last[n] - first[n] for n in names) / len(names)
    facts = _Job(
        parameters=sum(t.size for t in job.plan.schema.tensors if t.name.endswith("lora_B")),
        bytes_up=tuple(getattr(o, "bytes_up", 0) for o in outcomes),
        bytes_down=tuple(getattr(o, "bytes_down", 0) for o in outcomes),
    )
    return walls, {"coordinator": last["server"] - first["server"], "node": nodes}, facts


def _cpu_seconds(there: Footing) -> dict[str, float]:
    """Seconds of CPU so far, of each process and its children."""
    return {name: there.processes.cpu_s(name) for name in ("server", *there.logs)}


def _a_node(counts: Sequence[int], nodes: int) -> int:
    """The median of bytes a round, for one node."""
    return round(median(counts) / nodes)
