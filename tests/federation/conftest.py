"""A federation of real processes on 127.0.0.1: the commands that operators use, a tiny random base."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from domains.language import Base
from domains.medicine.synthetic import SITES, records
from fedclient.commands import node
from fedcore.adapter import ModelCard
from fedcore.enrolment import CoordinatorCard, EnrolmentRequest
from fedcore.errors import ConcordatError
from fedserver.commands import server
from fedserver.store import Store
from simulations.tiny import make_tiny_base
from tests.ports import free_port

COMMAND = [sys.executable, "-c", "from fedcore.cli import main; main()"]
_GROUPS = {"server": server, "node": node}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

JOB = """
name = "{name}"
task = "medicine.record"
card = "{card}"
rounds = {rounds}
quorum = {quorum}
deadline_s = {deadline_s}
max_tokens = 64
strategy = "{strategy}"

[adapter]
rank = 2
alpha = 4
targets = ["q_proj"]

# The state that nodes are sent is the coordinator's own, so that plans can be held against outcomes.
[widths]
up = "float32"
down = "float32"

[privacy]
unit = "patient"
sampling_rate = 0.25
steps_per_round = {steps}
expected_batch_units = 3
examples_per_unit = 1
clip_norm_l2 = 1.0
delta = 1e-4
noise_multiplier = {noise}
"""


def wait_for(what: str, holds: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Poll until something is true, and return it."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if value := holds():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {timeout_s:g} s for {what}")


@dataclass
class Process:
    """A running command, its lines in a file."""

    popen: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(timeout=20)

    def interrupt(self) -> int:
        self.popen.send_signal(signal.SIGINT)
        return self.popen.wait(timeout=30)


@dataclass
class Trial:
    """A coordinator and its institutions, each in a directory of its own."""

    directory: Path
    base: Path
    port: int = field(default_factory=free_port)
    processes: list[Process] = field(default_factory=list)

    @property
    def server(self) -> Path:
        return self.directory / "coordinator"

    def node(self, name: str) -> Path:
        return self.directory / name

    def call(self, *args: object, code: int = 0) -> Result:
        """Run a command to its end, in this process for speed, and require its exit code."""
        done = CliRunner().invoke(_GROUPS[str(args[0])], [str(a) for a in args[1:]])
        if done.exception is not None and not isinstance(done.exception, ConcordatError | SystemExit):
            raise done.exception
        found = done.exception.exit_code if isinstance(done.exception, ConcordatError) else done.exit_code
        assert found == code, f"{args}: {found}\n{done.output}\n{done.exception}"
        return done

    def json(self, *args: object, code: int = 0) -> Any:
        return json.loads(self.call(*args, "--json", code=code).stdout)

    def start(self, name: str, *args: object) -> Process:
        log = self.directory / f"{name}-{len(self.processes)}.log"
        with log.open("wb") as file:
            popen = subprocess.Popen(
                [*COMMAND, *map(str, args)], stdout=file, stderr=subprocess.STDOUT, env=ENVIRONMENT, cwd=self.directory
            )
        process = Process(popen, log)
        self.processes.append(process)
        return process

    def init(self) -> None:
        self.json("server", "init", self.server, "--address", f"127.0.0.1:{self.port}", "--name", "trial")

    def add_node(self, name: str, *, site: str = "", patients: int = 12, epsilon: float = 200.0, seed: int = 1) -> None:
        """Make a node with synthetic records, and enrol it on both sides."""
        lines = [json.dumps(r) for r in records(site or SITES[0], patients, seed)]
        path = self.directory / f"{name}.jsonl"
        path.write_text("\n".join(lines) + "\n")
        self.call(
            "node", "init", self.node(name), "--records", path, "--unit", "patient", "--epsilon", epsilon,
            "--delta", "1e-4", "--base", self.base, "--task", "medicine.record",
        )  # fmt: skip
        card = self.server / "coordinator.json"
        fingerprint = CoordinatorCard.read(card).fingerprint
        self.call("node", "enrol", card, "--dir", self.node(name), "--fingerprint", fingerprint)
        request = self.node(name) / "enrolment.json"
        own = EnrolmentRequest.read(request).fingerprint
        self.call("server", "enrol", request, "--fingerprint", own, "--dir", self.server)

    def run_server(self) -> Process:
        process = self.start("server", "server", "run", "--dir", self.server)
        wait_for("the coordinator to listen", lambda: "listens on" in process.text() or process.popen.poll())
        assert process.popen.poll() is None, process.text()
        return process

    def run_node(self, name: str) -> Process:
        return self.start(name, "node", "run", "--dir", self.node(name))

    def job(self, name: str, **changes: Any) -> Path:
        fields = {"rounds": 2, "quorum": 2, "deadline_s": 120, "strategy": "frozen_a", "steps": 4, "noise": 1.0}
        path = self.directory / f"{name}.toml"
        path.write_text(JOB.format(name=name, card=self.base / "card.json", **{**fields, **changes}))
        return path

    def submit(self, name: str, **changes: Any) -> None:
        self.call("server", "submit", self.job(name, **changes), "--dir", self.server)

    def status(self, name: str) -> Any:
        return self.json("server", "status", name, "--dir", self.server)

    def node_status(self, name: str) -> dict[str, Any]:
        path = self.node(name) / "status.json"
        try:
            value: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return value

    def wait_job(self, name: str, timeout_s: float = 180.0) -> Any:
        store = Store.open(self.server / "state.db")
        try:
            wait_for(
                f"the job {name} to end", lambda: store.job(name).state in ("completed", "failed"), timeout_s=timeout_s
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(p.text()[-3000:] for p in self.processes)) from None
        finally:
            store.close()
        return self.status(name)


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., Any]:
    return wait_for


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with its card."""
    directory = make_tiny_base(tmp_path_factory.mktemp("base") / "tiny", "llama")
    card: ModelCard = Base.load(directory).card
    (directory / "card.json").write_text(json.dumps(card.to_dict()))
    return directory


@pytest.fixture
def trial(tmp_path: Path, tiny_base: Path) -> Iterator[Trial]:
    """A coordinator's directory; every process that a test starts is ended with it."""
    made = Trial(tmp_path, tiny_base)
    made.init()
    yield made
    for process in made.processes:
        if process.popen.poll() is None:
            process.kill()
