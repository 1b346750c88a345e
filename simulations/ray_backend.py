"""A world on Flower's Ray backend: many clients in processes of their own, each opening the run's directory.

Ray's workers and this process share the disk, so an institution's ledger is one file whoever trains it. Each
worker loads the base once, and makes the data sets of those institutions alone that it is given. Ray itself reads
RAY_ADDRESS: where that names a cluster, the institutions train on its machines, which must see the same directory.

Flower 1.41 calls `run_simulation` deprecated in favour of `flwr run`, which also works (`flower_app.py`);
it is the one way to hand over apps that are objects rather than files.
"""

import contextlib
import logging
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context
from flwr.serverapp import Grid

from fedcore.errors import ConfigError, RoundError
from fedserver.app import make_server_app
from fedserver.progress import Progress
from simulations.results import Results
from simulations.world import World, make_clients, open_world

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp

__all__ = ["run_on_ray"]


def run_on_ray(
    world: World,
    *,
    report: Callable[[Progress], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> Results:
    """Run what is left of a scenario with its institutions in Ray's workers.

    Raises:
        ConfigError: Ray is not installed.
        ConcordatError: As `World.run_on`.
    """
    if find_spec("ray") is None:
        raise ConfigError("the backend 'ray' needs Ray", do="pip install 'concordat[simulation]'")
    from flwr.simulation import run_simulation

    found: list[Results] = []

    def serve(grid: Grid, context: Context) -> None:
        found.append(world.run_on(grid, report=report, stopped=stopped))

    logging.getLogger("flwr").setLevel(logging.ERROR)
    # Ray and Flower write to standard output, which belongs to --json.
    with contextlib.redirect_stdout(sys.stderr):
        run_simulation(
            make_server_app(serve),
            clients_of(world.run_directory.out),
            num_supernodes=len(world.names),
            backend_config={
                "client_resources": {"num_cpus": world.scenario.ray.cpus, "num_gpus": world.scenario.ray.gpus},
                "init_args": {"log_to_driver": False, "logging_level": "error"},
            },
        )
    if not found:
        raise RoundError("Flower's simulation ended without a result", do="run again; it goes on where it stopped")
    return found[0]


def clients_of(out: Path) -> "ClientApp":
    """The ClientApp of a run's directory; another process can be handed it."""
    return make_clients(partial(_world_at, str(out)))


def _world_at(out: str, context: Context) -> World:
    """The world in this process; its directory is all that a worker is told."""
    return open_world(Path(out))
