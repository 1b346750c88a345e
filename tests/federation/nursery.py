"""A fork server for the federation's processes: it imports everything once, and forks children that run real commands.

    nursery = Nursery.start(base, plan.privacy.event(), delta=1e-4)
    child = nursery.run(["node", "run", "--dir", "a"], machine="a", cwd=directory, log=directory / "a.log")
    child.poll(), child.kill()

Torch and Flower take seconds to import, and a fault suite starts thousands of processes. Each child leads a session
of its own, as if an operator had typed the command on a machine of its own: `faults.enter` prepares it, then
`fedcore.cli.main` runs. The server has one thread, since only such a process may fork in peace. What children print
goes through a pipe to a file, so that a child whose disk is full can still say so.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fedcore.privacy.accounting import DpEvent
from tests.federation.faults import enter
from tests.federation.points import Fault

__all__ = ["Child", "Nursery"]

_ROOT = Path(__file__).parents[2]
_WARM = (
    "fedserver.commands", "fedserver.service", "fedserver.strategies.frozen_a", "fedclient.commands",
    "fedclient.node", "fedclient._worker", "fedclient.audit", "fedclient.model", "fedclient.dataset",
    "fedclient.records", "domains.base", "domains.bases", "domains.language", "domains.medicine.record",
    "simulations.commands", "simulations.world", "anyio._backends._asyncio", "anyio.streams.memory", "dp_accounting",
    "httpcore", "multiprocessing.popen_fork", "peft.utils.transformers_weight_conversion", "rich._emoji_codes",
    "uvicorn.lifespan.off", "uvicorn.loops.auto", "uvicorn.protocols.http.auto", "xml.dom.minidom",
)  # fmt: skip
_ROUNDS = 8
"""Of so many rounds a child knows what they cost."""


@dataclass(frozen=True)
class Child:
    """A running command."""

    nursery: "Nursery"
    pid: int
    log: Path

    def poll(self) -> int | None:
        """Its exit code, negative where a signal ended it; None while it runs."""
        code: int | None = self.nursery._call({"op": "poll", "pid": self.pid})["code"]
        return code

    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """SIGKILL to this one process."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def session(self) -> list[int]:
        """Living processes of its session, itself included."""
        pids = [int(place.name) for place in Path("/proc").glob("[0-9]*")]
        return [pid for pid in pids if _session(pid) == self.pid]


class Nursery:
    """A handle on the fork server."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lock = threading.Lock()

    @classmethod
    def start(cls, base: Path, event: DpEvent, *, delta: float) -> "Nursery":
        """Start one whose children share a base that is loaded already, and know what rounds of an event cost."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), environment.get("PYTHONPATH"))))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.federation.nursery", str(base), json.dumps(event.to_dict()), str(delta)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT, env=environment,
        )  # fmt: skip
        made = cls(process)
        made._read()
        return made

    def run(self, argv: Sequence[object], *, machine: str, cwd: Path, log: Path, faults: Sequence[Fault] = ()) -> Child:
        """Run a command on a machine, which has these faults."""
        request = {"op": "run", "argv": [str(a) for a in argv], "machine": machine, "cwd": str(cwd), "log": str(log)}
        return Child(self, self._call({**request, "faults": [asdict(f) for f in faults]})["pid"], log)

    def stop(self) -> None:
        """End the server and every child of it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=30)

    def _call(self, request: dict[str, Any]) -> Any:
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the fork server has ended"
        return json.loads(line)


def _session(pid: int) -> int:
    """A living process's session; 0 for none, and for one that has ended and waits to be reaped."""
    try:
        state, _, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return 0
    return 0 if state == "Z" else int(session)


# The server -------------------------------------------------------------------------------------------


def _serve(base: Path, event: DpEvent, delta: float) -> None:
    """Answer requests until nobody is there to ask; then end every child."""
    _warm(base, event, delta)
    ends: dict[int, int | None] = {}
    try:
        _answer(ends)
    except BrokenPipeError:
        pass  # Whoever asked was killed before the answer.
    finally:
        _end_all(ends)


def _answer(ends: dict[int, int | None]) -> None:
    """Answer requests from standard input until it closes."""
    answers, sys.stdout = sys.stdout, sys.stderr
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    _tell(answers, {})
    waiting = b""
    while True:
        for key, _ in selector.select():
            data = os.read(key.fd, 65536)
            if key.fd == 0 and data:
                waiting += data
            elif key.fd == 0:
                return
            elif data:
                os.write(key.data, data)
            else:
                selector.unregister(key.fd)
                os.close(key.fd)
                os.close(key.data)
        while b"\n" in waiting:
            line, waiting = waiting.split(b"\n", 1)
            request = json.loads(line)
            if request["op"] == "poll":
                _tell(answers, {"code": _poll(ends, request["pid"])})
            else:
                pid, output = _fork(request)
                ends[pid] = None
                log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                selector.register(output, selectors.EVENT_READ, log)
                _tell(answers, {"pid": pid})


def _warm(base: Path, event: DpEvent, delta: float) -> None:
    """Import what children need, load the base, and work out what rounds cost; nothing that starts a thread."""
    import functools
    import gc
    import importlib

    import torch

    torch.set_num_threads(1)
    for name in _WARM:
        importlib.import_module(name)
    from domains.base import load_task
    from domains.language import Base
    from fedclient import accountant
    from simulations.scenario import load, named

    load_task("medicine.record")
    for rounds in range(1, _ROUNDS + 1):
        accountant.epsilon([event] * rounds, delta)
    replace(load(named("quickstart")), rounds=3).privacy_plan()  # The noise that simulations look for.
    Base.load = functools.lru_cache(Base.load)  # type: ignore[method-assign]
    Base.load(base, dtype="float32", quantization="none", device=None)
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()


def _fork(request: dict[str, Any]) -> tuple[int, int]:
    """Start a child; returns its pid and the pipe with what it prints."""
    near, far = os.pipe()
    pid = os.fork()
    if pid:
        os.close(far)
        return pid, near
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(far, 1)
        os.dup2(far, 2)
        os.closerange(3, 4096)
        sys.stdout, sys.stderr = (os.fdopen(fd, "w", buffering=1, closefd=False) for fd in (1, 2))
        os.chdir(request["cwd"])
        enter(request["machine"], [Fault(**f) for f in request["faults"]])
        code = _command(request["argv"])
    except BaseException:  # noqa: BLE001 - whatever it is, the child ends here.
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _command(argv: list[str]) -> int:
    """`concordat` with these arguments; its exit code."""
    from fedcore.cli import main

    sys.argv = ["concordat", *argv]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _poll(ends: dict[int, int | None], pid: int) -> int | None:
    if ends[pid] is None:
        found, status = os.waitpid(pid, os.WNOHANG)
        ends[pid] = os.waitstatus_to_exitcode(status) if found else None
    return ends[pid]


def _end_all(ends: dict[int, int | None]) -> None:
    for pid in ends:
        if _poll(ends, pid) is None:
            os.kill(pid, signal.SIGKILL)


def _tell(answers: Any, value: object) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), DpEvent.from_dict(json.loads(sys.argv[2])), float(sys.argv[3]))
