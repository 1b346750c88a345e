"""A helper of a node's first process: forms the clipped gradients of its share of a batch on a device of its own.

It holds a copy of the base, and for the length of one step the examples that it was handed. It reads no
records, draws no units, adds no noise and takes no step: it knows neither the ledger nor the data set. What it
says are positions, numbers of units and digests, on a pipe that only the first process reads; its clipped sum
goes to the first process alone, after that process has checked what is in it.
"""

import logging
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch

from domains.language import Base, set_threads
from fedclient._children import end_with_parent
from fedclient._group import Backend, Group, digest_of
from fedclient._proof import Gradients
from fedclient._sharing import Drawn
from fedclient.model import GradientRule, form_gradients
from fedclient.step import UnitOptimizer, add_units
from fedcore.adapter import AdapterSchema, AdapterState, FloatArray
from fedcore.errors import ConcordatError, RoundError
from fedcore.privacy.noise import UnsafeNoNoise
from fedcore.privacy.plan import PrivacyPlan

__all__ = ["Added", "Begin", "End", "Go", "Join", "Loaded", "Lost", "Setup", "Share", "help_out"]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a helper holds the base: as the first process does, on another device."""

    base: str
    """A directory, as `domains.bases.find` found it."""
    device: str
    dtype: str = "float32"
    quantization: Literal["none", "4bit", "8bit"] = "none"
    micro_batch: int = 8
    gradients: GradientRule = "fused"
    checkpointing: bool = False
    threads: int = 0


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The base is loaded, and this is its digest."""

    digest: str


@dataclass(frozen=True, kw_only=True)
class Join:
    """Meet the others."""

    store: Path
    processes: int
    backend: Backend


@dataclass(frozen=True, kw_only=True, repr=False)
class Begin:
    """A round, in the state where it starts."""

    schema: AdapterSchema
    trains: tuple[str, ...]
    privacy: PrivacyPlan
    tensors: Mapping[str, FloatArray]


@dataclass(frozen=True, kw_only=True, repr=False)
class Share:
    """Whole units of one batch. `whole` says that all parameters of the adapter follow, not only what trains."""

    units: tuple[Drawn, ...]
    clip_norm_l2: float
    whole: bool


@dataclass(frozen=True, kw_only=True, repr=False)
class Added:
    """What a helper's sum consists of; `parameters` is the digest of those at which it was formed."""

    positions: tuple[int, ...]
    units: int
    count: float
    parameters: str


@dataclass(frozen=True, kw_only=True)
class Go:
    """Everything was checked: the sums may be brought together."""


@dataclass(frozen=True, kw_only=True)
class End:
    """The round is over."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """The helper cannot go on."""

    kind: type[ConcordatError]
    message: str

    def error(self) -> ConcordatError:
        """The error as it was raised in the helper."""
        error = self.kind.__new__(self.kind)
        Exception.__init__(error, self.message)
        return error


def help_out(setup: Setup, rank: int, pipe: Connection) -> None:
    """The whole life of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides.
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=f"helper {rank}: %(message)s")
    logging.getLogger("opacus").setLevel(logging.ERROR)
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        _help(setup, rank, pipe)
    except EOFError:
        return  # The first process let go of its end of the pipe.
    except ConcordatError as error:
        pipe.send(Lost(kind=type(error), message=str(error)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the first process must hear that nobody helps.
        # Places and a class: a message may quote what it was about.
        logging.getLogger(__name__).error("%s%s", "".join(traceback.format_tb(error.__traceback__)), type(error))
        pipe.send(Lost(kind=RoundError, message=f"a helper process failed ({type(error).__name__})"))


def _help(setup: Setup, rank: int, pipe: Connection) -> None:
    """Load the base, meet the others, and help in one round after another.

    Raises:
        ConcordatError: The base cannot be used, or the model cannot be trained.
        EOFError: The first process is gone.
    """
    if setup.threads:
        set_threads(setup.threads)
    base = Base.load(setup.base, dtype=setup.dtype, quantization=setup.quantization, device=setup.device)
    pipe.send(Loaded(digest=base.card.digest))
    join: Join = pipe.recv()
    group = Group(
        join.store, rank=rank, processes=join.processes, device=torch.device(setup.device), backend=join.backend
    )
    gradients: Gradients | None = None
    while True:
        begin: Begin = pipe.recv()
        adapted = base.adapt(begin.schema, begin.trains)
        adapted.load(AdapterState(schema=begin.schema, tensors=begin.tensors))
        if gradients is None or gradients.adapted is not adapted:
            gradients = form_gradients(setup.gradients, adapted)
        checkpointing = base.checkpointing(reentrant=setup.gradients == "hooks") if setup.checkpointing else None
        with checkpointing or nullcontext(), gradients.active():
            while isinstance(share := pipe.recv(), Share):
                _step(share, begin.privacy, gradients, setup.micro_batch, group, pipe)


def _step(
    share: Share, privacy: PrivacyPlan, gradients: Gradients, micro_batch: int, group: Group, pipe: Connection
) -> None:
    """Add up one share; hand it over when the first process says so."""
    everything = list(gradients.adapted.parameters.values())
    parameters = everything if share.whole else gradients.parameters
    group.spread(parameters)
    # It can add no noise, and raises if it is asked to; it never steps.
    holder = UnitOptimizer(torch.optim.SGD(gradients.parameters, lr=0.0), plan=privacy, noise=UnsafeNoNoise())
    holder.max_grad_norm = share.clip_norm_l2
    try:
        positions = add_units(gradients, holder, share.units, micro_batch, stepping=False)
        units, count = holder.added
        pipe.send(Added(positions=tuple(positions), units=units, count=count, parameters=digest_of(parameters)))
        if not isinstance(pipe.recv(), Go):
            raise EOFError
        total = group.total(holder.flat_sum(group.home))
        total.zero_()
    finally:
        holder.forget()
