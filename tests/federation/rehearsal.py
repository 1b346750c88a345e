"""What a trial changes in every process of coordinator and nodes, so that it takes seconds and can be compared.

Waits are shorter, an institution draws the same in a job's round however often it is asked, and a node's worker is
forked instead of started anew. What is kept, counted, signed and sent, and in which order, is production's.
"""

import contextlib
import functools
import hashlib
import os
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

__all__ = ["READ", "prepare"]

READ = "READ"
"""What a worker prints before it reads records for a plan."""


def prepare() -> None:
    """Change this process, which runs one command and ends."""
    _hasten()
    _repeat_draws()
    _stay_one_machine()


def _hasten() -> None:
    """Shorter waits, so that a trial takes seconds: nothing but time depends on them."""
    import flwr.superlink.servicer.fleet.fleet_handlers as handlers

    import fedclient.link
    import fedclient.node
    import fedserver.courier
    import fedserver.service

    handlers.HEARTBEAT_MIN_INTERVAL = 0.1
    fedserver.courier.Courier.__init__.__kwdefaults__["hold_s"] = 1.0
    fedclient.link.HEARTBEAT_S, fedclient.link._BEAT_S, fedclient.link._LOOK_S = 1.5, 0.5, 0.05
    fedclient.node._BACKOFF_S, fedclient.node._POLL_S = (0.1, 0.2), 0.05
    fedserver.service._IDLE_S, fedserver.service._LINGER_S, fedserver.service._STORAGE_S = 0.05, 0.3, 0.2


def _repeat_draws() -> None:
    """An institution draws the same in a job's round however often it is asked, as `simulations` does by a seed."""
    import fedclient._worker as worker
    from fedclient.session import unsafe_unaudited
    from fedcore.privacy._stream import SYSTEM
    from fedcore.privacy.noise import UnsafeSeededNoise
    from fedcore.privacy.sampling import UnsafeSeeded
    from fedcore.secagg import encoding

    coins = hashlib.shake_256(b"coins").digest
    encoding.os = types.SimpleNamespace(urandom=coins)  # type: ignore[assignment]
    # Said to be the system's: a release that is not marked as unsafe needs it.
    UnsafeSeededNoise.origin = UnsafeSeeded.origin = SYSTEM
    made = worker._institution

    def institution(*args: Any) -> Any:
        one = made(*args)
        seed: Callable[[Any], int] = functools.partial(_seed, one.name)
        return replace(
            one,
            audit=unsafe_unaudited,
            dataset=lambda plan: _read(one, plan),
            source=lambda plan: UnsafeSeeded(seed(plan)),
            noise=lambda plan: UnsafeSeededNoise(seed(plan)) if not plan.privacy.shares_noise else one.noise(plan),
        )

    worker._institution = institution


def _read(institution: Any, plan: Any) -> Any:
    """Read the records, and say so: each reading must have been paid for."""
    os.write(2, f"{READ} {plan.digest}\n".encode())
    return institution.dataset(plan)


def _seed(name: str, plan: Any) -> int:
    text = f"{plan.job_id}/{plan.round}/{name}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _stay_one_machine() -> None:
    """A node's worker is forked and not started anew; it keeps nothing of its supervisor but their pipe."""
    import multiprocessing

    import fedclient._worker as worker

    fork, work = multiprocessing.get_context("fork"), worker._work
    worker.multiprocessing.get_context = lambda method=None: fork  # type: ignore[assignment]

    def work_alone(settings: Any, bases: Any, pipe: Any) -> None:
        parent = multiprocessing.parent_process()
        keep = {0, 1, 2, pipe.fileno(), parent.sentinel if parent else 0}
        for place in list(Path("/proc/self/fd").iterdir()):
            if int(place.name) not in keep:
                with contextlib.suppress(OSError):
                    os.close(int(place.name))
        work(settings, bases, pipe)

    worker._work = work_alone
