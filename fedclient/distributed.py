"""A private step over several processes of one node, each with a device of its own, such as a GPU.

This process stays the only one that reads records, draws units, adds noise and takes steps. Of each batch it
hands whole units to its helpers (`_helper.py`), together with the parameters and the clip norm of the step; each
process adds up the clipped gradients of its units in float64 by the code of one process (`step.add_units`), and
the sums are added up here. So the sum is that of one process but for the order of additions, which the bound in
`clipping.py` covers, and noise is added once because there is one place that adds any.

Before sums are brought together, every process says which units are in its own, how many rows that were, and at
which parameters. Unless each unit of the batch is in exactly one sum, formed at these very parameters, nothing
is added up, noised or released.

    helpers = Helpers(setups, base, directory=node)
    trainer = Trainer(base, helpers=helpers)

The audit of the step on made-up gradients (`audit.py`) runs in this process alone: it measures the code that
clips, adds up and noises, which is the same; that no unit is in two sums is checked in every step.
"""

import multiprocessing
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, TypeVar, final

from torch import nn

from domains.language import Adapted, Base
from fedclient._group import Group, backend_of, devices_of, digest_of
from fedclient._helper import Added, Begin, End, Go, Join, Loaded, Lost, Setup, Share, help_out
from fedclient._sharing import Drawn, Summed
from fedcore.adapter import AdapterState
from fedcore.errors import BaseMismatch, PrivacyError, RoundError
from fedcore.privacy.plan import PrivacyPlan

__all__ = ["Helpers", "Setup", "deal", "devices_of", "require_each_once"]

_SILENT_S = 3600.0
"""A helper that says nothing for so long, dead or not, ends the round."""

Said = TypeVar("Said")


def deal(batch: Sequence[Drawn], processes: int) -> list[list[Drawn]]:
    """Shares of whole units, of about as many tokens each: the longest unit first, to whoever has the least.

    Args:
        batch: Units with their examples; may be fewer than processes, or none.
        processes: How many shares, >= 1; some may be empty.
    """
    shares: list[list[Drawn]] = [[] for _ in range(processes)]
    loads = [0] * processes
    for unit in sorted(batch, key=_tokens, reverse=True):
        least = loads.index(min(loads))
        shares[least].append(unit)
        loads[least] += _tokens(unit)
    return shares


def require_each_once(batch: Sequence[int], added: Sequence[Sequence[int]]) -> None:
    """Refuse sums that do not hold each unit of a batch in exactly one of them, exactly once.

    Args:
        batch: Positions of the units that were drawn.
        added: For each process, the position of each unit that it added, as often as it did.
    Raises:
        PrivacyError: A unit was added twice, by another's mistake as well, was left out, or was never drawn.
    """
    if len(set(batch)) != len(batch) or Counter(p for positions in added for p in positions) != Counter(batch):
        raise PrivacyError(
            "the processes of this node did not add up each unit of the batch exactly once",
            do="nothing was released; report this, and train with processes = 1 meanwhile",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Helper:
    """One process and the pipe to it."""

    process: SpawnProcess
    pipe: Connection


@final
class Helpers:
    """The helper processes of a node. Started at first use, and again after a round that failed.

    Guarantee: within `round`, what a step adds noise to is the sum of the clipped gradients of exactly the units
    that were drawn, each once, each wholly in one process. Otherwise the round ends with an error and the
    helpers with it. A helper that dies ends the round likewise; nobody waits for it.

    Args:
        setups: One for each helper; this process is one more.
        base: Of this process.
        directory: Where the processes leave word of each other; of this node alone.
        work: What a helper runs; another one is for tests.
    """

    def __init__(
        self,
        setups: Sequence[Setup],
        base: Base,
        *,
        directory: Path,
        work: Callable[[Setup, int, Connection], None] = help_out,
    ) -> None:
        self._setups = tuple(setups)
        self._base = base
        self._directory = directory
        self._work = work
        self._helpers: list[_Helper] = []
        self._group: Group | None = None
        self._meeting: Path | None = None
        self._adapted: Adapted | None = None
        self._batch: list[int] = []
        self._whole = True

    def start(self) -> None:
        """Start the processes and wait until each has loaded the base.

        Raises:
            ConcordatError: One cannot; then none runs.
        """
        context = multiprocessing.get_context("spawn")
        try:
            for rank, setup in enumerate(self._setups, start=1):
                near, far = context.Pipe()
                process = context.Process(
                    target=self._work, args=(setup, rank, far), name=f"concordat helper {rank}", daemon=True
                )
                process.start()
                far.close()
                self._helpers.append(_Helper(process=process, pipe=near))
            for helper in self._helpers:
                if self._hear(helper, Loaded).digest != self._base.card.digest:
                    raise BaseMismatch("a helper process loaded another base", do="start the node again")
            self._group = self._meet()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def round(self, adapted: Adapted, trains: tuple[str, ...], privacy: PrivacyPlan) -> Iterator["Helpers"]:
        """Within: a round on a model as it is now, with this as the `sharing` of its steps.

        Args:
            adapted: In the state where the round starts.
            trains: The parts that train, as `adapted` was made for.
            privacy: Of the round.
        Raises:
            PrivacyError: See the class.
            RoundError: A helper is gone.
            ConcordatError: A helper cannot train this model.
        """
        if self._group is None:
            self.start()
        self._adapted, self._whole = adapted, True
        state = AdapterState(schema=adapted.schema, tensors=adapted.read(t.name for t in adapted.schema.tensors))
        try:
            self._tell(
                Begin(schema=adapted.schema, trains=trains, privacy=privacy, tensors=dict(state.tensors)),
            )
            yield self
            self._tell(End())
        except BaseException:
            self.close()  # A helper in the middle of something is of no use to the next round.
            raise
        finally:
            self._adapted, self._batch = None, []

    def split(self, batch: Sequence[Drawn], clip_norm_l2: float) -> Sequence[Drawn]:
        """Hand out the shares of the helpers; see `Sharing`."""
        own, *others = deal(batch, len(self._helpers) + 1)
        self._batch = [position for position, _ in batch]
        for helper, units in zip(self._helpers, others, strict=True):
            self._send(helper, Share(units=tuple(units), clip_norm_l2=clip_norm_l2, whole=self._whole))
        group, parameters = self._together(), self._parameters()
        self._at_once(lambda: group.spread(parameters))
        return own

    def join(self, summed: Summed, added: Sequence[int]) -> None:
        """Check what every process added up, then bring the sums together; see `Sharing`."""
        said = [self._hear(helper, Added) for helper in self._helpers]
        require_each_once(self._batch, [added, *(s.positions for s in said)])
        units, count = summed.added
        units += sum(s.units for s in said)
        if units != len(self._batch):
            raise PrivacyError("the sums of this node's processes hold more or fewer units than were drawn")
        mine = digest_of(self._parameters())
        if any(s.parameters != mine for s in said):
            raise PrivacyError(
                "a process of this node formed gradients at other parameters",
                do="nothing was released; start the node again",
            )
        self._tell(Go())
        group = self._together()
        total = self._at_once(lambda: group.total(summed.flat_sum(group.home)))
        summed.take_over(total, units=units, count=count + sum(s.count for s in said))
        total.zero_()
        self._whole = False

    def close(self) -> None:
        """End the helpers, whatever they are doing."""
        helpers, self._helpers = self._helpers, []
        for helper in helpers:
            helper.process.kill()
        for helper in helpers:
            helper.process.join()
            helper.pipe.close()
        group, self._group = self._group, None
        if group is not None:
            group.leave()
        self._forget_meeting()

    def _meet(self) -> Group:
        """Bring all processes into one group."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._meeting = Path(tempfile.mkdtemp(prefix=".helpers-", dir=self._directory))
        devices = [str(self._base.device), *(s.device for s in self._setups)]
        join = Join(store=self._meeting / "store", processes=len(devices), backend=backend_of(devices))
        self._tell(join)
        return Group(
            join.store,
            rank=0,
            processes=join.processes,
            device=self._base.device,
            backend=join.backend,
            alive=self._require_alive,
        )

    def _forget_meeting(self) -> None:
        if self._meeting is not None:
            shutil.rmtree(self._meeting, ignore_errors=True)
            self._meeting = None

    def _together(self) -> Group:
        if self._group is None:
            raise RoundError("the helper processes of this node do not run")
        return self._group

    def _parameters(self) -> list[nn.Parameter]:
        """What the helpers must have as it is here: everything in the first step of a round, then what trains."""
        if self._adapted is None:
            raise RoundError("the helper processes of this node are in no round")
        return [p for p in self._adapted.parameters.values() if self._whole or p.requires_grad]

    def _tell(self, what: Any) -> None:
        for helper in self._helpers:
            self._send(helper, what)

    def _send(self, helper: _Helper, what: Any) -> None:
        try:
            helper.pipe.send(what)
        except OSError as error:
            raise self._gone(helper) from error

    def _hear(self, helper: _Helper, kind: type[Said]) -> Said:
        """What a helper says next, which must be of a kind.

        Raises:
            ConcordatError: It says that it cannot go on, or is gone.
        """
        wait([helper.pipe, helper.process.sentinel], timeout=_SILENT_S)
        try:
            said = helper.pipe.recv() if helper.pipe.poll() else None
        except (EOFError, OSError) as error:
            raise self._gone(helper) from error
        if isinstance(said, Lost):
            raise said.error()
        if not isinstance(said, kind):
            raise self._gone(helper)
        return said

    def _at_once(self, operation: Callable[[], Said]) -> Said:
        """An operation of all processes; the error of a helper that said why it cannot take part, where one did."""
        try:
            return operation()
        except RoundError as error:
            for helper in self._helpers:
                if (said := _pending(helper)) is not None:
                    raise said.error() from error
            raise

    def _require_alive(self) -> None:
        for helper in self._helpers:
            if not helper.process.is_alive():
                raise self._gone(helper)

    def _gone(self, helper: _Helper) -> RoundError:
        """The error for a helper that ended, or that hangs."""
        end = time.monotonic() + 1.0
        while helper.process.is_alive() and time.monotonic() < end:
            time.sleep(0.01)
        code = helper.process.exitcode
        return RoundError(
            "a helper process of this node is gone" if code is not None else "a helper process does not answer",
            expected="one process for each device until the round ends",
            got="no answer" if code is None else f"exit {code}",
            do="look at its lines above; the next round starts it again",
        )


def _tokens(unit: Drawn) -> int:
    """What a unit costs."""
    return sum(len(e.ids) for e in unit[1])


def _pending(helper: _Helper) -> Lost | None:
    """The last words of a helper that failed; None where there are none."""
    try:
        while helper.pipe.poll():
            if isinstance(said := helper.pipe.recv(), Lost):
                return said
    except (EOFError, OSError):
        pass
    return None
