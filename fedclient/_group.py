"""The collective operations of a node's processes: parameters to all, clipped sums to the first.

Each process has its own device, or all have the CPU. Between GPUs the numbers travel by NCCL, else by gloo
over this machine's loopback interface. Nothing here knows units, clipping or noise; what is in a sum is not
its business, so whoever calls must have checked that.
"""

import hashlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fedcore.errors import ConfigError, RoundError

__all__ = ["Backend", "Group", "backend_of", "devices_of", "digest_of"]

Backend = Literal["gloo", "nccl"]

_WITHIN_S = 120.0
"""No operation waits for work: all processes have said before that they are ready for it."""
_POLL_S = 0.0005


def devices_of(chosen: str, processes: int) -> tuple[str, ...]:
    """The device of each process: a GPU for each where there are any, else the CPU for all.

    Args:
        chosen: [base] device: "", "cuda" or "cpu".
        processes: How many, >= 1.
    Raises:
        ConfigError: There are fewer GPUs, or a device is chosen that several processes cannot have.
    """
    if chosen not in ("", "cuda", "cpu"):
        raise ConfigError(
            "several processes cannot share one device",
            expected='[base] device = "", "cuda" or "cpu"',
            got=repr(chosen),
            do="leave device out, or set processes = 1",
        )
    if chosen == "cpu" or not (chosen or torch.cuda.is_available()):
        return ("cpu",) * processes
    if (there := torch.cuda.device_count()) < processes:
        raise ConfigError(
            "there are more processes than GPUs",
            expected=f"[base] processes of at most {there}",
            got=str(processes),
            do="a process without a GPU of its own would only wait for the others",
        )
    return tuple(f"cuda:{i}" for i in range(processes))


def backend_of(devices: Sequence[str]) -> Backend:
    """NCCL where every process has a GPU of its own, else gloo."""
    own = len(set(devices)) == len(devices) and all(d.startswith("cuda") for d in devices)
    return "nccl" if own and dist.is_nccl_available() else "gloo"


@torch.no_grad()
def digest_of(parameters: Sequence[nn.Parameter]) -> str:
    """SHA-256 over the bytes of parameters, hexadecimal."""
    h = hashlib.sha256()
    for p in parameters:
        h.update(p.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return h.hexdigest()


@final
class Group:
    """This process among those of a node. A process is in one group at a time.

    Args:
        store: A file that all can write, in a directory of the node's alone; made anew for each group.
        rank: Of this process; the first is 0.
        processes: How many.
        device: Of this process.
        backend: The same in all.
        alive: Called while waiting; raises when another process is gone, so that nobody waits for it.
    Raises:
        RoundError: The processes do not find each other.
    """

    def __init__(
        self,
        store: Path,
        *,
        rank: int,
        processes: int,
        device: torch.device,
        backend: Backend,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._rank = rank
        self._alive = alive
        self._backend = backend
        self.home = device if backend == "nccl" else torch.device("cpu")
        """Where what travels lies."""
        # Either would choose an interface by itself and listen on it for the whole building, for sums without noise.
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = _loopback()
        os.environ["NCCL_IB_DISABLE"] = "1"
        if backend == "nccl":
            torch.cuda.set_device(device)
        try:
            dist.init_process_group(
                backend,
                store=dist.FileStore(str(store), processes),  # type: ignore[attr-defined]
                rank=rank,
                world_size=processes,
                timeout=timedelta(seconds=_WITHIN_S),
            )
        except (RuntimeError, ValueError) as error:
            raise RoundError("the processes of this node do not find each other", do="look at the lines above") from (
                error
            )

    @torch.no_grad()
    def spread(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give the first process' parameters to all."""
        flat = torch.cat([p.detach().flatten().to(self.home) for p in parameters])
        self._finish(lambda: dist.broadcast(flat, src=0, async_op=True))
        if self._rank:
            for p, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
                p.copy_(part.view_as(p))

    def total(self, summed: Tensor) -> Tensor:
        """The sum of all processes' vectors, float64, in the first process; what the others hold is lost."""
        self._finish(lambda: dist.reduce(summed, dst=0, async_op=True))
        return summed

    def leave(self) -> None:
        """Leave it, also when the others are gone."""
        if dist.is_initialized():
            if self._backend == "nccl" and (world := dist.group.WORLD) is not None:
                world.abort()  # Else NCCL would wait for those that are gone.
            dist.destroy_process_group()

    def _finish(self, begin: Callable[[], Any]) -> None:
        """Begin an operation and wait for it, and for nobody who is gone."""
        try:
            work = begin()
            while not work.is_completed():
                self._alive()
                time.sleep(_POLL_S)
            work.wait()
        except RuntimeError as error:
            raise RoundError("a process of this node is gone", do="look at the lines above") from error


def _loopback() -> str:
    """This machine's name for the interface that reaches nobody else."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    return names[0] if names else "lo"
