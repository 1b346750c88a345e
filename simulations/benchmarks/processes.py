"""Processes that a benchmark starts, and ends by their own ids, whatever happens in between.

>>> with Processes(Path(tmp)) as processes:                                       # doctest: +SKIP
...     processes.start("superlink", ["flower-superlink", "--insecure"])
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from fedcore.errors import LinkError

__all__ = ["Processes", "free_port", "program"]

_GRACE_S = 10.0


def free_port() -> int:
    """A port on the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str) -> str:
    """A command that is installed beside this Python."""
    return str(Path(sys.executable).parent / name)


class Processes:
    """Child processes with their output in files; each leads a group of its own, which ends with the block.

    Args:
        folder: Where each process's output goes, as `NAME.log`.
        environment: Added to this process's own.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        quiet = {
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_HOME": str(folder / "flwr"),
            # Flower starts its own programs by name.
            "PATH": str(Path(sys.executable).parent) + os.pathsep + os.defpath,
        }
        # A child needs what this process was started with, such as its home and locale.
        self._environment = {**os.environ, **quiet, **(environment or {})}
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process that still runs: ask first, then insist."""
        for _, process in reversed(self._running):
            _signal(process, signal.SIGTERM)
        end = time.monotonic() + _GRACE_S
        for _, process in reversed(self._running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.1, end - time.monotonic()))
            # The group may outlive its leader.
            _signal(process, signal.SIGKILL)
            process.wait()

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a process in the background."""
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
            )
        self._running.append((name, process))

    def call(self, name: str, command: Sequence[str], *, timeout_s: float = 120.0) -> str:
        """Run a command to its end and return its standard output.

        Raises:
            LinkError: It failed or took too long.
        """
        try:
            done = subprocess.run(
                list(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=self._environment,
                cwd=self._folder,
                timeout=timeout_s,
                check=False,
                text=True,
            )
        except subprocess.TimeoutExpired as error:
            raise LinkError(f"the benchmark's step {name!r} took too long", expected=f"{timeout_s:g} s") from error
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise LinkError(f"the benchmark's step {name!r} failed", got=last[-1] if last else "no output")
        return done.stdout

    def pid(self, name: str) -> int:
        """The process started last under a name.

        Raises:
            LinkError: There is none.
        """
        for known, process in reversed(self._running):
            if known == name:
                return process.pid
        raise LinkError(f"no process {name!r} was started")

    def kill(self, name: str) -> int:
        """End a process at once, by SIGKILL to it alone, as a power cut would; its end is then no fault.

        Returns:
            Its id.
        Raises:
            LinkError: There is none.
        """
        pid = self.pid(name)
        process = next(p for _, p in self._running if p.pid == pid)
        process.kill()
        process.wait()
        self._running = [(n, p) for n, p in self._running if p is not process]
        return pid

    def cpu_s(self, name: str) -> float:
        """Seconds of CPU that a process and those in its group have spent; 0 where the system does not say."""
        group, ticks = self.pid(name), 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(") ")[2].split()
                if int(fields[2]) == group:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def wait_until(self, holds: Callable[[], bool], what: str, *, timeout_s: float, look_s: float = 0.05) -> None:
        """Wait for something to become true, looking every `look_s`.

        Raises:
            LinkError: It did not in time, or a process ended before.
        """
        end = time.monotonic() + timeout_s
        while not holds():
            for name, process in self._running:
                if process.poll() is not None:
                    tail = (self._folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
                    raise LinkError(
                        f"the benchmark's process {name!r} ended while waiting for {what}",
                        got=tail[-1] if tail else f"exit code {process.returncode}",
                    )
            if time.monotonic() > end:
                raise LinkError(f"waited too long for {what}", expected=f"at most {timeout_s:g} s")
            time.sleep(look_s)


def _signal(process: subprocess.Popen[bytes], which: signal.Signals) -> None:
    """Signal a process's own group, if it is still there."""
    try:
        os.killpg(process.pid, which)
    except ProcessLookupError:
        return
