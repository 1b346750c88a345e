"""A trial of one job under faults: three institutions, three rounds, whatever goes wrong; then what must hold.

    played = Stage(template, nursery).play(directory, [Fault(machine="b", point="trained", action="kill")])
    check(played, undisturbed)

The operators here do one thing: they start again what has ended, with the command that they started it with. Each
trial starts from a copy of a directory in which everybody has been enrolled already.
"""

import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedclient._book import Book
from fedclient._chain import Chain, Entry
from fedclient.ledger import read_accounts
from fedcore.certificate import verify_release
from fedcore.enrolment import CoordinatorCard
from fedcore.identity import PublicIdentity
from fedcore.receipt import read_receipt
from fedcore.round import Completed, RoundOutcome, RoundPlan
from fedserver.store import JobRecord, Store
from tests.federation.cutter import Cut, Cutter
from tests.federation.faults import STRUCK
from tests.federation.nursery import Child, Nursery
from tests.federation.points import COORDINATOR, Fault
from tests.federation.rehearsal import READ

__all__ = ["HASTY", "JOB", "MASKED", "NAMES", "Played", "Stage", "check"]

NAMES = ("a", "b", "c")
ROUNDS = 3
JOB, MASKED, HASTY = "trial", "masked", "hasty"
"""Jobs, and the names of their files: one sums behind masks, one has a short deadline."""
_DONE = "exists already"
"""What a researcher reads who submits a job once more."""

_TICK_S = 0.05
_LONGEST_S = 120.0
_STARTS = 25
"""So often a machine's command is started before the trial is given up."""


@dataclass(frozen=True)
class Stage:
    """Where trials are played.

    Args:
        template: A directory with `coordinator`, a node for each of `NAMES`, and the files of jobs.
        nursery: Starts processes.
        port: Where nodes connect to.
        behind: Where the coordinator listens when a wire lies between.
    """

    template: Path
    nursery: Nursery
    port: int
    behind: int

    def play(
        self, directory: Path, faults: Sequence[Fault | Cut] = (), *, job: str = JOB, patience_s: float = 0.0
    ) -> "Played":
        """Play one job to its end.

        Args:
            directory: A new one.
            faults: What goes wrong.
            job: Its name, and that of its file.
            patience_s: How long to wait after the end for faults that have not struck.
        """
        shutil.copytree(self.template, directory)
        cuts = [f for f in faults if isinstance(f, Cut)]
        if not cuts:
            return self._play(directory, faults, list, job, patience_s)
        settings = directory / "coordinator" / "server.toml"
        settings.write_text(settings.read_text() + f'\nlisten = "127.0.0.1:{self.behind}"\n')
        with Cutter(self.port, self.behind, cuts) as wire:
            return self._play(directory, faults, lambda: wire.made, job, patience_s)

    def _play(
        self,
        directory: Path,
        faults: Sequence[Fault | Cut],
        cut: Callable[[], Sequence[Cut]],
        job: str,
        patience_s: float,
    ) -> "Played":
        """Start everything, and what ends again, until the job has ended."""
        commands = {
            COORDINATOR: ("server", "run", "--dir", "coordinator"),
            **{name: ("node", "run", "--dir", name) for name in NAMES},
            "researcher": ("server", "submit", f"{job}.toml", "--dir", "coordinator"),
        }
        strikes = [f for f in faults if isinstance(f, Fault)]
        machines = {
            name: _Operator(self.nursery, name, command, directory, [f for f in strikes if f.machine == name])
            for name, command in commands.items()
        }

        def struck() -> list[Fault | Cut]:
            return [*(f for machine in machines.values() for f in machine.struck()), *cut()]

        store = Store.open(directory / "coordinator" / "state.db")
        started = time.monotonic()
        ended, orphans = 0.0, dict[str, list[int]]()
        try:
            while True:
                for machine in machines.values():
                    machine.look()
                now = time.monotonic()
                if job in store.job_ids() and store.job(job).state in ("completed", "failed"):
                    ended = ended or now
                    if len(struck()) == len(faults) or now - ended >= patience_s:
                        break
                told = "\n".join(machine.text()[-2000:] for machine in machines.values())
                assert now - started < _LONGEST_S, f"the job does not end\n{told}"
                time.sleep(_TICK_S)
        finally:
            store.close()
            for machine in machines.values():
                machine.kill()
            orphans = {name: left for name, machine in machines.items() if (left := machine.left_over())}
        logs = {name: machine.text() for name, machine in machines.items()}
        return Played(directory, job, struck(), logs, orphans, ended - started)


@dataclass
class _Operator:
    """Keeps one machine's command running."""

    nursery: Nursery
    name: str
    command: Sequence[str]
    directory: Path
    faults: list[Fault]
    children: list[Child] = field(default_factory=list)

    def look(self) -> None:
        """Start the command, and start it again where it has ended badly."""
        last = self.children[-1] if self.children else None
        if last is None or (last.poll() not in (None, 0) and _DONE not in last.text()):
            assert len(self.children) < _STARTS, f"{self.name} ends again and again\n{self.text()[-3000:]}"
            log = self.directory / f"{self.name}-{len(self.children)}.log"
            left = [f for f in self.faults if f not in self.struck()]
            self.children.append(
                self.nursery.run(self.command, machine=self.name, cwd=self.directory, log=log, faults=left)
            )

    def struck(self) -> list[Fault]:
        """Faults that have struck."""
        told = self.text()
        return [f for f in self.faults if f"{STRUCK} {f}\n" in told]

    def text(self) -> str:
        return "".join(child.text() for child in self.children)

    def kill(self) -> None:
        for child in self.children:
            child.kill()

    def left_over(self, within_s: float = 5.0) -> list[int]:
        """Processes that are still there when that time is over."""
        end = time.monotonic() + within_s
        while (left := [pid for child in self.children for pid in child.session()]) and time.monotonic() < end:
            time.sleep(0.01)
        return left


@dataclass(frozen=True)
class Played:
    """What came of a trial."""

    directory: Path
    job_id: str
    struck: Sequence[Fault | Cut]
    logs: dict[str, str]
    orphans: dict[str, list[int]]
    seconds: float

    @property
    def server(self) -> Path:
        return self.directory / "coordinator"

    def ask(self, question: Callable[[Store], Any]) -> Any:
        """Ask the coordinator's store."""
        store = Store.open(self.server / "state.db")
        try:
            return question(store)
        finally:
            store.close()

    @property
    def job(self) -> JobRecord:
        found: JobRecord = self.ask(lambda store: store.job(self.job_id))
        return found

    @property
    def outcomes(self) -> tuple[RoundOutcome, ...]:
        found: tuple[RoundOutcome, ...] = self.ask(lambda store: store.outcomes(self.job_id))
        return found

    @property
    def states(self) -> list[str]:
        """The digest of the state after each round."""
        return [o.state_digest for o in self.outcomes if isinstance(o, Completed)]

    def plans(self) -> list[RoundPlan]:
        """The plan of each round that is closed."""
        return [self.ask(lambda store, n=o.round: store.round_plan(self.job_id, n)) for o in self.outcomes]

    def entries(self, name: str) -> tuple[Entry, ...]:
        """A node's ledger, its chain checked from the first entry on."""
        chain = Chain(self.directory / name / "ledger.db", empty=Book, read_only=True)
        try:
            return chain.entries()
        finally:
            chain.close()


def check(played: Played, undisturbed: Sequence[str], *, lost_may_end_it: bool = False) -> None:
    """What must hold after any job, whatever went wrong.

    Args:
        undisturbed: The digest of the state after each round of the same job without faults.
        lost_may_end_it: Whether the job may have failed because a round lost all of its updates.
    """
    assert not played.orphans, played.orphans
    outcomes = played.outcomes
    if not (lost_may_end_it and played.job.state == "failed" and len(outcomes[-1].dropped) == len(NAMES)):
        assert played.job.state == "completed", (played.job.reason, played.logs)
        assert [o.round for o in outcomes] == list(range(1, ROUNDS + 1))
        _check_release(played)
    _check_rounds(played, undisturbed)
    for name in NAMES:
        _check_ledger(played, name)


def _check_rounds(played: Played, undisturbed: Sequence[str]) -> None:
    """No round is folded twice or lost, and what is folded is what would have been without the faults.

    That can be compared up to the first round that lacks somebody's update, whose absence has a reason.
    """
    plans, states = played.plans(), played.states
    assert [p.round for p in plans] == list(range(1, len(plans) + 1))
    assert len(set(states)) == len(states), "a round changed nothing"
    for plan, before in zip(plans[1:], states, strict=False):
        assert plan.state_digest == before, f"round {plan.round} does not start from what round {plan.round - 1} left"
    whole = 0
    for outcome in played.outcomes:
        counted = set(outcome.contributors) if isinstance(outcome, Completed) else set()
        assert counted | outcome.dropped.keys() == set(NAMES)
        if counted != set(NAMES):
            break
        whole += 1
    assert states[:whole] == list(undisturbed[:whole])


def _check_ledger(played: Played, name: str) -> None:
    """The ledger has a reservation for each time that records were read, and an entry for each receipt."""
    entries = played.entries(name)
    read_accounts(played.directory / name / "ledger.db")
    reserved = [e.body["plan"] for e in entries if e.kind == "reserve"]
    answered = [e.body["plan"] for e in entries if e.kind == "commit"]
    assert len(set(answered)) == len(answered), "a plan was answered twice"
    assert set(answered) <= set(reserved)
    read = re.findall(rf"{READ} (\w+)", played.logs[name])
    for plan in set(read):
        assert read.count(plan) <= reserved.count(plan), f"{name} read its records more often than it paid"
    coordinator = PublicIdentity(CoordinatorCard.read(played.directory / name / "coordinator.json").identity)
    sealed = played.ask(lambda store: store.receipts(name))
    receipts = [read_receipt(one, coordinator, institution=name) for one in sealed]
    assert {r.head for r in receipts} <= {e.hash for e in entries if e.kind == "reserve"}
    assert len({r.round for r in receipts}) == len(receipts), "a reply was countersigned twice"
    plans = {o.round: plan for o, plan in zip(played.outcomes, played.plans(), strict=True)}
    for outcome in played.outcomes:
        if isinstance(outcome, Completed) and name in outcome.contributors:
            assert outcome.round in {r.round for r in receipts}, f"{name} was counted without a receipt"
            assert plans[outcome.round].digest in answered
    steps = sum(r.event.steps for r in receipts)
    assert steps <= sum(e.body["event"]["steps"] for e in entries if e.kind == "reserve")


def _check_release(played: Played) -> None:
    """One release, which verifies; nothing half-written beside it."""
    found = sorted(p.name for p in (played.server / "releases").iterdir())
    assert found == [played.job.release]
    card = CoordinatorCard.read(played.server / "coordinator.json")
    _, manifest = verify_release(played.server / "releases" / found[0], PublicIdentity(card.identity))
    assert manifest.state_digest == played.states[-1]
