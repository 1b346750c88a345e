"""Concordat as a Flower app: `flwr run .` simulates a scenario with Flower's own simulation runtime.

    flwr run . --stream
    flwr run . -c 'scenario="medicine-record" epsilon="none"'

Both apps share a directory on this machine, where keys, state and ledgers lie as in `concordat simulate`,
so this is for simulation alone: a live institution runs `concordat node`, which takes no code from anyone.
Keys of the run configuration: `scenario` (a name that ships with the package, or a file), `records`,
`epsilon` (a number, "none", or empty for the scenario's own) and `out`; all may be empty. A scenario that
splits evenly has as many institutions as Flower has nodes; another needs at least one node for each.
"""

import dataclasses
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid

from domains import bases
from fedcore.errors import ConfigError
from fedserver.app import make_server_app
from fedserver.progress import Progress
from fedserver.strategies import warnings
from simulations import results as files
from simulations.directory import RunDirectory, base_of
from simulations.scenario import load, named
from simulations.world import World, make_clients, open_world

__all__ = ["client", "server"]

_DEFAULT = "flower-app"
_SETTLE_S = 0.5


def _directory(context: Context) -> Path:
    """Where a run lies: where it says, or a place of its own in the system's folder for such things."""
    given = str(context.run_config.get("out", ""))
    return Path(given) if given else Path(tempfile.gettempdir()) / f"concordat-flwr-{context.run_id}"


def _prepare(out: Path, settings: Mapping[str, Any], nodes: int) -> RunDirectory:
    """The run's directory from the run configuration."""
    name = str(settings.get("scenario", "")) or _DEFAULT
    scenario = load(Path(name) if name.endswith(".toml") else named(name))
    scenario = dataclasses.replace(scenario, backend="ray")
    if scenario.split.kind == "iid":
        scenario = dataclasses.replace(scenario, split=dataclasses.replace(scenario.split, institutions=nodes))
    epsilon = str(settings.get("epsilon", ""))
    if epsilon == "none":
        scenario = scenario.without_noise()
    elif epsilon:
        try:
            scenario = scenario.with_epsilon(float(epsilon))
        except ValueError as error:
            raise ConfigError("epsilon is not a number", expected="a number above 0, or 'none'") from error
    records = str(settings.get("records", "")) or scenario.records.path
    base = base_of(scenario, out, bases.default_root(os.environ))
    return RunDirectory.prepare(out, scenario, records=Path(records) if records else None, base=base)


def _serve(grid: Grid, context: Context) -> None:
    """Run the scenario on the nodes that Flower's simulation offers."""
    run = _prepare(_directory(context), context.run_config, _nodes(grid))
    world = World(run)
    print(f"{run.scenario.name}: {len(world.names)} institutions, in {run.out}")
    print(f"forecast: {world.forecast().describe()}")
    for words in warnings(world.job):
        print(f"warning: {words}")
    if run.scenario.unsafe:
        print(f"{', '.join(run.scenario.unsafe)}: research only, never publishable")
    results = world.run_on(grid, report=_tell)
    files.write(results)
    print(files.markdown(results))


def _nodes(grid: Grid) -> int:
    """How many nodes Flower has, once their number stands still."""
    before, now = -1, 0
    while now == 0 or now != before:
        time.sleep(_SETTLE_S)
        before, now = now, len(list(grid.get_node_ids()))
    return now


def _tell(progress: Progress) -> None:
    """One line a round, in Flower's log."""
    if progress.stage in ("folded", "abandoned"):
        loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
        print(f"round {progress.round}/{progress.rounds}: {progress.stage}{loss}", flush=True)


def _world(context: Context) -> World:
    """The world in a worker's process, which the server's side has prepared."""
    return open_world(_directory(context))


server = make_server_app(_serve)
client = make_clients(_world)
