"""Faults inside the process that meets them: its functions are wrapped, and at the right hit something goes wrong.

`enter` is called in a process that is about to become `concordat server run`, `node run` or `simulate`; see
`points.py` for what can go wrong where. The clock that is moved is that of Python: `time.time`, `datetime.now` and
all that is built on them, Flower's included. The monotonic clock is never moved, since no machine's is. TLS asks the
system, whose clock is not ours.
"""

import contextlib
import datetime
import functools
import importlib
import mmap
import os
import resource
import signal
import sqlite3
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.federation import rehearsal
from tests.federation.points import SIMULATION, Fault

__all__ = ["STRUCK", "enter"]

STRUCK = "FAULT:"
"""What a process prints before a fault strikes."""

DISK_S = 0.7
CLOCK_S = 0.7
PAUSE_S = 9.0
JUMP_S = 3 * 3600.0


def enter(machine: str, faults: Sequence[Fault]) -> None:
    """Make this process one of a machine's, with its faults: for a process that runs one command and ends."""
    if machine != SIMULATION:
        rehearsal.prepare()
    if not faults:
        return
    shared = _Machine(len(faults))
    if any(f.action in ("ahead", "behind") for f in faults):
        _wrap_clock(shared)
    if any(f.at.when == "inside" for f in faults):
        sqlite3.connect = functools.partial(sqlite3.connect, factory=_Connection)  # type: ignore[assignment]
    for number, fault in enumerate(faults):
        _set_trap(fault, _Trap(fault, shared, number))


# Machines ---------------------------------------------------------------------------------------------


class _Machine:
    """What the processes of one machine share: how often its points were reached, and what its clock says."""

    def __init__(self, faults: int) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._lock = threading.Lock()

    def reach(self, number: int) -> int:
        """Count a point as reached once more; how often that makes."""
        with self._lock:
            count = struct.unpack_from("q", self._memory, 16 + 8 * number)[0] + 1
            struct.pack_into("q", self._memory, 16 + 8 * number, count)
            return int(count)

    def put_clock(self, jump_s: float) -> None:
        """Put the clock wrong by so much, for a while."""
        struct.pack_into("dd", self._memory, 0, jump_s, time.monotonic() + CLOCK_S)

    @property
    def wrong_by_s(self) -> float:
        """How wrong the clock is now."""
        jump_s, until = struct.unpack_from("dd", self._memory, 0)
        return float(jump_s) if time.monotonic() < until else 0.0


@dataclass(frozen=True)
class _Trap:
    """Strikes once, at its hit."""

    fault: Fault
    machine: _Machine
    number: int

    def reached(self) -> None:
        """The point was reached; at the right hit, the fault strikes."""
        if self.machine.reach(self.number) != self.fault.hit:
            return
        os.write(2, f"{STRUCK} {self.fault}\n".encode())
        action = self.fault.action
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "pause":
            _pause()
        elif action == "power":
            os.killpg(0, signal.SIGKILL)
        elif action == "disk":
            _fill_disk()
        else:
            self.machine.put_clock(JUMP_S if action == "ahead" else -JUMP_S)


def _pause() -> None:
    """This process stands still for a while; a child of its own wakes it."""
    process = os.getpid()
    if os.fork() == 0:
        os.closerange(0, 4096)
        time.sleep(PAUSE_S)
        os.kill(process, signal.SIGCONT)
        os._exit(0)
    os.kill(process, signal.SIGSTOP)


def _fill_disk() -> None:
    """No process of this machine can write to a file, for a while; a child of its own ends that."""
    _limit_writes(0)
    if os.fork() == 0:
        os.closerange(0, 4096)
        time.sleep(DISK_S)
        _limit_writes(resource.RLIM_INFINITY)
        os._exit(0)


def _limit_writes(size: int) -> None:
    """The kernel lets no process of this machine write to a file past this size."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(int(place.name)) == os.getpgrp():
                resource.prlimit(int(place.name), resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


# Traps ------------------------------------------------------------------------------------------------

_inside = threading.local()
"""The traps that the functions which this thread is in have set for their COMMIT."""


class _Connection(sqlite3.Connection):
    """Says when a transaction is about to be committed."""

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            for trap in list(getattr(_inside, "traps", ())):
                trap.reached()
        return super().execute(sql, *args)


@contextmanager
def _armed(trap: _Trap) -> Iterator[None]:
    traps = _inside.__dict__.setdefault("traps", [])
    traps.append(trap)
    try:
        yield
    finally:
        traps.remove(trap)


def _set_trap(fault: Fault, trap: _Trap) -> None:
    """Wrap the function of a fault's point."""
    module, _, path = fault.at.where.partition(":")
    *owners, name = path.split(".")
    owner: Any = functools.reduce(getattr, owners, importlib.import_module(module))
    found, when = owner.__dict__[name], fault.at.when

    @functools.wraps(found)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            trap.reached()
        if when == "inside":
            with _armed(trap):
                return found(*args, **kwargs)
        value = found(*args, **kwargs)
        # What waits for something and comes back with nothing has not done what the point is about.
        if when == "after" and not (value is None and name in ("receive", "look")) and value != b"":
            trap.reached()
        return value

    setattr(owner, name, wrapped)


# The clock --------------------------------------------------------------------------------------------


def _wrap_clock(machine: _Machine) -> None:
    """Let everything in this process that asks for the time ask the machine."""
    real_time, real_ns, real = time.time, time.time_ns, datetime.datetime
    time.time = lambda: real_time() + machine.wrong_by_s
    time.time_ns = lambda: real_ns() + int(machine.wrong_by_s * 1e9)

    class Meta(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, real)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, real)

    class Moved(real, metaclass=Meta):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return real.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> datetime.datetime:  # type: ignore[override]
            return real.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

    datetime.datetime = Moved  # type: ignore[misc]
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get("datetime") is real:
            module.datetime = Moved  # type: ignore[attr-defined]
