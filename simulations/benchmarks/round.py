"""What a round costs besides training: deployed, in one process, and as Flower's own examples do it.

Overhead of a round = its seconds from "asked" to "folded", less the seconds in which some node trained. Each
form does the same work (`work.py`), on the same machine, one after the other. The form in the style of
Flower's examples starts a process a message, which imports torch and loads the base each time; the digest
check that our loader adds is not Flower's, so its time is taken off there.
"""

import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from shutil import copyfile
from statistics import median

from domains import bases
from fedcore import __version__
from fedcore.errors import LinkError
from simulations.benchmarks import flower_style
from simulations.benchmarks.processes import Processes, free_port, program
from simulations.benchmarks.work import Work

__all__ = ["RoundBenchmark", "flower_style_rounds"]

Say = Callable[[str], None]

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
class Timing:
    """One measured round: wall time and the seconds in which some node trained."""

    wall_s: float
    training_s: float

    @property
    def overhead_s(self) -> float:
        """What the round cost besides."""
        return max(0.0, self.wall_s - self.training_s)


@dataclass(frozen=True, kw_only=True)
class RoundBenchmark:
    """The result; every figure is the median over the rounds measured."""

    rounds: int
    nodes: int
    base: str
    deployed_overhead_s: float
    in_process_overhead_s: float
    flower_style_overhead_s: float
    ratio: float
    """Deployed over Flower-style."""
    training_s: float
    digest_s: float
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """A JSON value."""
        return asdict(self)


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
