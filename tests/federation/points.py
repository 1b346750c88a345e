"""Named points in coordinator, node and simulation, and what can go wrong at them.

    Fault(machine="b", point="budget reserved", action="kill", hit=2)

`POINTS` is a table: a name, the function, and whether a fault strikes before it, inside it (everything written,
nothing committed) or after it. Production code knows nothing of this; `faults.py` wraps the functions in the process
that is to meet the fault.

What can go wrong:
  kill      SIGKILL to the one process that is at the point: the worker of a node, its supervisor, or the coordinator
  pause     the one process at the point stands still for a while
  power     SIGKILL to every process of the machine at once
  disk      every write to a file fails, by the kernel's own word (a limit of 0 on the size of files), for a while
  ahead     the machine's clock is put three hours ahead, and back after a while, as when somebody corrects it
  behind    likewise, three hours behind
Connections that drop in the middle of a message are made by `cutter.py`, between the machines.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["COORDINATOR", "POINTS", "SIMULATION", "Action", "Fault", "Point"]

COORDINATOR, SIMULATION = "coordinator", "simulation"

Action = Literal["kill", "pause", "power", "disk", "ahead", "behind"]
When = Literal["before", "inside", "after"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where a fault can strike.

    Args:
        where: Module, colon, dotted name in it.
        when: Relative to that function. "inside" is at the COMMIT of a transaction in it.
        masked: Reached only in a job with masked sums.
        hits: How often it is reached in an undisturbed job of three rounds, at least.
    """

    where: str
    when: When
    masked: bool = False
    hits: int = 3


_STORE, _LEDGER = "fedserver.store:Store", "fedclient.ledger:Ledger"

_OF_COORDINATOR = {
    "job to start": Point(where=f"{_STORE}.start_job", when="before", hits=1),
    "job starting": Point(where=f"{_STORE}.start_job", when="inside", hits=1),
    "round to open": Point(where=f"{_STORE}.open_round", when="before"),
    "round opening": Point(where=f"{_STORE}.open_round", when="inside"),
    "round opened": Point(where=f"{_STORE}.open_round", when="after"),
    "plan to send": Point(where="fedserver.link:_StateGrid.push_messages", when="before"),
    "plan sent": Point(where="fedserver.link:_StateGrid.push_messages", when="after"),
    "plan handed out": Point(where="fedserver.link:_Desk.look", when="after", hits=9),
    "reply arriving": Point(where="fedserver.link:_Desk.keep", when="before", hits=9),
    "reply arrived": Point(where="fedserver.link:_Desk.keep", when="after", hits=9),
    "reply taken": Point(where="fedserver.collect:Collector.take", when="after", hits=9),
    "fold to come": Point(where="fedserver.coordinator:Coordinator._fold", when="before"),
    "fold made": Point(where="fedserver.coordinator:Coordinator._fold", when="after"),
    "round closing, receipt written": Point(where="fedserver.store:_number", when="after", hits=9),
    "round closing": Point(where=f"{_STORE}.close_round", when="inside"),
    "round closed": Point(where=f"{_STORE}.close_round", when="after"),
    "receipts to hand out": Point(where="fedserver.gather:Gatherer.hand_out", when="before", hits=1),
    "release to publish": Point(where="fedserver.registry:Registry.publish", when="before", hits=1),
    "release drafted": Point(where="fedserver.registry:Registry._write", when="after", hits=1),
    "release published": Point(where="fedserver.registry:Registry.publish", when="after", hits=1),
    "job completing": Point(where=f"{_STORE}.complete_job", when="inside", hits=1),
    "job completed": Point(where=f"{_STORE}.complete_job", when="after", hits=1),
    "terms to keep": Point(where=f"{_STORE}.open_sums", when="before", masked=True, hits=1),
    "terms kept": Point(where=f"{_STORE}.open_sums", when="after", masked=True, hits=1),
    "roster to keep": Point(where=f"{_STORE}.keep_roster", when="before", masked=True, hits=1),
    "roster kept": Point(where=f"{_STORE}.keep_roster", when="after", masked=True, hits=1),
    "survivors keeping": Point(where=f"{_STORE}.keep_masked", when="inside", masked=True),
    "survivors kept": Point(where=f"{_STORE}.keep_masked", when="after", masked=True),
}

_OF_NODE = {
    "ledger opening": Point(where=f"{_LEDGER}._enter", when="inside", hits=1),
    "message received": Point(where="fedclient.link:Link.receive", when="after"),
    "message to hand over": Point(where="fedclient._worker:Worker.ask", when="before"),
    "plan to read": Point(where="fedclient.session:read_plan", when="before"),
    "receipt to keep": Point(where="fedclient.receipts:Receipts._append", when="before"),
    "receipt kept": Point(where="fedclient.receipts:Receipts._append", when="after"),
    "budget to reserve": Point(where=f"{_LEDGER}.reserve", when="before"),
    "budget reserving": Point(where=f"{_LEDGER}.reserve", when="inside"),
    "budget reserved": Point(where=f"{_LEDGER}.reserve", when="after"),
    "trained": Point(where=f"{_LEDGER}.spend", when="before"),
    "answer to commit": Point(where=f"{_LEDGER}.commit", when="before"),
    "answer committing": Point(where=f"{_LEDGER}.commit", when="inside"),
    "answer committed": Point(where=f"{_LEDGER}.commit", when="after"),
    "answer to send": Point(where="fedclient.link:Link.send", when="before"),
    "answer sent": Point(where="fedclient.link:Link.send", when="after"),
    "receipt taken": Point(where="fedclient.session:_take_receipt", when="before", hits=1),
    "share to keep": Point(where="fedclient._sum_states:SumStates.keep", when="before", masked=True),
    "share keeping": Point(where="fedclient._sum_states:SumStates.keep", when="inside", masked=True),
    "share kept": Point(where="fedclient._sum_states:SumStates.keep", when="after", masked=True),
}

_OF_RESEARCHER = {
    "job storing": Point(where=f"{_STORE}.submit", when="inside", hits=1),
    "job stored": Point(where=f"{_STORE}.submit", when="after", hits=1),
}

_OF_SIMULATION = {
    "run marked": Point(where="simulations.directory:_make_tiny", when="before", hits=1),
    "base made": Point(where="simulations.tiny:make_tiny_base", when="after", hits=1),
    "first key made": Point(where="fedcore.identity:SigningIdentity.save", when="after", hits=1),
    "simulated job stored": Point(where=f"{_STORE}.submit", when="after", hits=1),
    "simulated budget reserved": Point(where=f"{_LEDGER}.reserve", when="after", hits=9),
    "simulated answer committing": Point(where=f"{_LEDGER}.commit", when="inside", hits=9),
    "simulated answer committed": Point(where=f"{_LEDGER}.commit", when="after", hits=9),
    "simulated round closing": Point(where=f"{_STORE}.close_round", when="inside"),
    "simulated round closed": Point(where=f"{_STORE}.close_round", when="after"),
    "results to draw": Point(where="simulations.results:_draw", when="before", hits=1),
}

POINTS = {"coordinator": _OF_COORDINATOR, "node": _OF_NODE, "researcher": _OF_RESEARCHER, "simulation": _OF_SIMULATION}
"""Whose process -> name -> point."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong, where, and the how-manieth time that this point is reached."""

    machine: str
    point: str
    action: Action
    hit: int = 1

    @property
    def at(self) -> Point:
        """Where it strikes."""
        return next(points[self.point] for points in POINTS.values() if self.point in points)

    def __str__(self) -> str:
        return f"{self.machine}: {self.action} at {self.point!r}, hit {self.hit}"
