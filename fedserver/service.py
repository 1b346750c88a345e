"""The coordinator as a process: one front door, one job at a time, until it is told to stop.

It picks up where it stands. A job that was running when the process ended is taken first, at the round
it was in; queued jobs follow in order of submission. What a job made is published before it counts as
completed, so a release is never missing from a completed job. A disk that is full is no fault of a job: the
service says so, waits, and goes on with it as after a restart.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid

from fedcore.errors import ConcordatError, Interrupted, StorageError
from fedcore.identity import SigningIdentity
from fedserver.app import make_server_app
from fedserver.coordinator import Coordinator
from fedserver.evaluation import Evaluator, load_evaluator
from fedserver.link import Link, open_link
from fedserver.pki import check_validity
from fedserver.progress import Clock, JobResult, Progress
from fedserver.registry import Registry
from fedserver.settings import Place
from fedserver.store import JobRecord, Store

__all__ = ["Service"]

_IDLE_S = 0.5

_STORAGE_S = 5.0
"""How long to wait until a disk that could not be used is tried again."""

_LINGER_S = 3.0
"""How long the nodes have to fetch the receipts of a job that has ended, while no other waits."""


class Service:
    """See the module.

    Args:
        place: The coordinator's directory.
        say: Called with one line for people.
        stopped: Asked often; True ends the service with everything kept.
    """

    def __init__(self, place: Place, *, say: Callable[[str], None], stopped: Callable[[], bool]) -> None:
        self._place = place
        self._say = say
        self._stopped = stopped
        self._settings = place.settings()
        self._identity = SigningIdentity.load(place.identity)
        self._store = Store.open(place.store)
        self._registry = Registry(directory=place.releases, identity=self._identity)
        self._evaluator: Evaluator | None = None
        self._noted: dict[str, object] = {}
        self._said = ""

    def run(self) -> None:
        """Serve until stopped.

        Raises:
            LinkError: The port is in use.
            TrustError: The certificate cannot be used.
        """
        check_validity(self._place.certificate)
        with open_link(
            address=self._settings.listen or self._settings.address,
            certificate=self._place.certificate,
            key=self._place.key,
            ca=self._place.ca,
            home=self._place.directory / ".flwr",
            members=self._store.members,
        ) as link:
            self._note("tls", link.tls_version)
            self._say(f"{self._settings.name} listens on {self._settings.address} ({link.tls_version})")
            try:
                while not self._stopped():
                    try:
                        self._step(link)
                    except StorageError as error:
                        self._await_storage(error)
            finally:
                self._note("connected", ())
                self._note("progress", None)
        self._store.close()

    def _step(self, link: Link) -> None:
        """Work on the next job, or wait a moment for one."""
        self._note("connected", link.connected())
        if (record := self._store.next_job()) is None:
            time.sleep(_IDLE_S)
        else:
            self._work(record, link)

    def _await_storage(self, error: StorageError) -> None:
        """Say what is wrong, once for each message, and wait a while."""
        line = f"waiting, with everything kept: {error}"
        if line != self._said:
            self._said = line
            self._say(line)
        end = time.monotonic() + _STORAGE_S
        while time.monotonic() < end and not self._stopped():
            time.sleep(_IDLE_S)

    def _work(self, record: JobRecord, link: Link) -> None:
        """Run one job from where it stands, and publish what it made.

        Raises:
            StorageError: The disk cannot be used now; the job is where it was.
        """
        job_id = record.plan.job_id
        self._say(f"job {job_id}: {'goes on' if record.state == 'running' else 'starts'}")
        try:
            self._run(record, link)
        except Interrupted:
            self._say(f"job {job_id}: interrupted, its state is kept; 'concordat server run' goes on with it")
        except StorageError:
            raise
        except ConcordatError as error:
            self._store.fail_job(job_id, str(error))
            self._say(f"job {job_id}: failed: {error}")
        except Exception as error:
            # A fault of ours: the job would meet it again after each restart, and other jobs are to go on.
            logging.getLogger("concordat").exception("job %s failed by a fault of the coordinator", job_id)
            self._store.fail_job(job_id, f"a fault of the coordinator ({type(error).__name__}); see its log")
            self._say(f"job {job_id}: failed by a fault of the coordinator ({type(error).__name__}); report it")
        self._note("progress", None)

    def _run(self, record: JobRecord, link: Link) -> None:
        """The coordinator over the live link, as a ServerApp."""

        def run(grid: Grid, context: Context) -> None:
            coordinator = Coordinator(
                record.plan,
                self._store,
                self._identity,
                link.members,
                evaluator=self._scorer(record),
                report=lambda progress: self._progress(progress, link),
                traffic=link.traffic,
                clock=Clock(sleep=link.sleep),
                stopped=self._stopped,
            )
            self._finish(record, coordinator.run(grid))
            if self._store.next_job() is None:
                coordinator.linger(grid, limit_s=_LINGER_S)

        link.run(make_server_app(run))

    def _finish(self, record: JobRecord, result: JobResult) -> None:
        """Publish what a job made."""
        job_id = record.plan.job_id
        if result.status == "completed":
            release = self._registry.publish(
                record.plan, result, base_name=record.base_name, unsafe_ok=record.unsafe_ok
            )
            self._store.complete_job(job_id, release=release.name)
            self._say(f"job {job_id}: completed; the release is {release}")
        else:
            self._say(f"job {job_id}: failed: {result.reason}")

    def _scorer(self, record: JobRecord) -> Evaluator | None:
        """The evaluator, loaded once, when both the job and `server.toml` name one."""
        wanted = self._settings.evaluator
        if wanted is None or (record.plan.evaluation is None and record.plan.gate is None):
            return None
        if self._evaluator is None:
            self._evaluator = load_evaluator(wanted.name, Path(self._place.directory / wanted.base))
        return self._evaluator

    def _progress(self, progress: Progress, link: Link) -> None:
        """Leave progress for `server status`, and say what changed."""
        self._note("connected", link.connected())
        if not self._note("progress", asdict(progress)):
            return
        where = f"job {progress.job_id}: round {progress.round} of {progress.rounds}"
        if progress.stage == "folded":
            loss = "" if progress.loss is None else f", public loss {progress.loss:.4f}"
            line = f"{where}: {progress.answered} of {progress.asked} updates folded{loss}"
        elif progress.stage == "waiting":
            line = f"{where}: waiting, {progress.answered} of {progress.asked} institutions are connected"
        elif progress.stage in ("asked", "reply"):
            line = f"{where}: {progress.answered} of {progress.asked} have answered"
        elif progress.asked:
            line = f"{where}: {progress.stage}, {progress.answered} of {progress.asked} have answered"
        else:
            line = f"job {progress.job_id}: {progress.stage}"
        if line != self._said:
            self._said = line
            self._say(line)

    def _note(self, name: str, value: object) -> bool:
        """Note a value unless it is the one noted last."""
        if name in self._noted and self._noted[name] == value:
            return False
        # Notes are for people who watch; what must not be lost says by itself when it cannot be kept.
        with contextlib.suppress(StorageError):
            self._store.note(name, value)
            self._noted[name] = value
        return True
