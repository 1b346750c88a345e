"""What a round costs besides training: deployed, in one process, and as Flower's own examples do it.

Overhead of a round = its seconds, from choosing whom to ask to the new state, less the seconds of training
as the nodes measured them: of the slowest where nodes train at the same time, of all where they take
turns. Each form does the same work (`work.py`), one thread a node, on the same machine, one after the
other. Forms that keep the base loaded run one round first that is not counted.

The form in the style of Flower's examples starts a process a message, which imports torch and loads the
base each time. The digest check that our loader adds is not Flower's, so its time is taken off there, and
what a cold first step costs more counts as training there: both in its favour.
"""

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from shutil import copyfile
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from domains import bases
from fedcore import __version__
from fedcore.errors import LinkError
from simulations.benchmarks import flower_style
from simulations.benchmarks.deployed import deployed_rounds
from simulations.benchmarks.in_process import in_process_rounds
from simulations.benchmarks.processes import Processes, free_port, program
from simulations.benchmarks.work import Say, Timing, Work

__all__ = ["RoundBenchmark", "flower_style_rounds", "measure", "overhead"]

_APP = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "bench"
version = "{version}"
license = "Apache-2.0"
dependencies = ["flwr"]

[tool.flwr.app]
publisher = "concordat"

[tool.flwr.app.components]
serverapp = "bench_app:server"
clientapp = "bench_app:client"

[tool.flwr.app.config]
folder = ""
"""


@dataclass(frozen=True, kw_only=True)
class RoundBenchmark:
    """The result; every figure is the median over the rounds measured.

    `ratio` is deployed over Flower-style.
    """

    rounds: int
    nodes: int
    base: str
    deployed_overhead_s: float
    in_process_overhead_s: float
    flower_style_overhead_s: float
    ratio: float
    deployed: tuple[Timing, ...]
    in_process: tuple[Timing, ...]
    flower_style: tuple[Timing, ...]
    digest_s: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return asdict(self)


def measure(base: Path, rounds: int, say: Say, *, nodes: int = 2) -> RoundBenchmark:
    """Run the same work in the three forms, one after the other.

    Args:
        base: A base's directory.
        rounds: Rounds that are measured in each form.
        say: Called with a line for people.
        nodes: Institutions.
    Raises:
        LinkError: A process failed or took too long.
        QuorumLost: A round of ours failed.
    """
    started = time.perf_counter()
    work = Work(base=base.absolute(), rounds=rounds, nodes=nodes)
    digest_s = digest_seconds(base)
    with TemporaryDirectory(prefix="concordat-bench-") as name:
        folder = Path(name)
        flower_style = flower_style_rounds(work, folder / "flower", say)
        deployed = deployed_rounds(work, folder / "deployed", say)
        in_process = in_process_rounds(work, folder / "process", say)
    theirs, ours = max(0.0, overhead(flower_style) - digest_s), overhead(deployed)
    return RoundBenchmark(
        rounds=rounds,
        nodes=nodes,
        base=base.name,
        deployed_overhead_s=round(ours, 6),
        in_process_overhead_s=round(overhead(in_process), 6),
        flower_style_overhead_s=round(theirs, 6),
        ratio=round(ours / theirs, 6) if theirs else float("nan"),
        deployed=tuple(deployed),
        in_process=tuple(in_process),
        flower_style=tuple(flower_style),
        digest_s=round(digest_s, 3),
        seconds=round(time.perf_counter() - started, 1),
    )


def flower_style_rounds(work: Work, folder: Path, say: Say) -> list[Timing]:
    """Run the work with Flower's own programs and a process a message.

    Raises:
        LinkError: A program failed or took too long.
    """
    app = folder / "app"
    app.mkdir(parents=True)
    (folder / flower_style.WORK).write_text(work.to_json())
    (app / "pyproject.toml").write_text(_APP.format(version=__version__))
    copyfile(flower_style.__file__, app / "bench_app.py")
    port = free_port()
    (folder / "flwr").mkdir()
    connection = f'[superlink]\ndefault = "bench"\n\n[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    (folder / "flwr" / "config.toml").write_text(connection)
    timings = folder / flower_style.TIMINGS
    with Processes(folder) as processes:
        say("Flower's own programs: starting")
        processes.start("superlink", [program("flower-superlink"), "--insecure", "--port", str(port)])
        processes.wait_until(lambda: _listens(port), "Flower's server", timeout_s=60)
        for node in range(work.nodes):
            command = [program("flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{port}"]
            command += ["--port", str(free_port()), "--node-config", f"partition-id={node}"]
            processes.start(f"node-{node}", command)
        processes.call("flwr run", [program("flwr"), "run", str(app), "bench", "-c", f'folder="{folder}"'])
        for done in range(work.rounds):
            finished = partial(_has_lines, timings, done + 1)
            processes.wait_until(finished, "a round in Flower's style", timeout_s=180)
            say(f"Flower's own programs: round {done + 1} of {work.rounds}")
        return [_timing(line, work) for line in _lines(timings)]


def digest_seconds(base: Path) -> float:
    """How long the digest of a base takes, the files being in memory."""
    bases.digest_of(base)
    started = time.perf_counter()
    bases.digest_of(base)
    return time.perf_counter() - started


def overhead(timings: Sequence[Timing]) -> float:
    """The median overhead of a round."""
    return median(t.overhead_s for t in timings)


def _timing(line: str, work: Work) -> Timing:
    """Read one line of the app's timings; nodes train at the same time, so the longest counts."""
    value = json.loads(line)
    if len(value["training_s"]) != work.nodes:
        raise LinkError("a node failed in Flower's style", expected=f"{work.nodes} replies in a round")
    return Timing(wall_s=value["wall_s"], training_s=max(value["training_s"]))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _has_lines(path: Path, count: int) -> bool:
    return len(_lines(path)) >= count


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
