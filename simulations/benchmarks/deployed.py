"""The work deployed: a coordinator and nodes as processes, over TLS, by the commands that operators type.

Each node logs the seconds that it trained; the coordinator states the seconds of each round. Where masks are
measured, a round's seconds are those from one state to the next, with all that lies between.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from domains import bases
from domains.language import Base
from simulations.benchmarks.processes import Processes, free_port, program
from simulations.benchmarks.work import Say, Timing, Work
from simulations.peers import introduce

__all__ = ["Footing", "deployed_rounds", "federation", "trained_seconds"]

_TRAINED = re.compile(r"round (\d+) of bench: trained for ([0-9.]+) s")
_START_S = 180.0


@dataclass(frozen=True, kw_only=True)
class Footing:
    """A federation that runs: its processes, the coordinator's directory and each node's log."""

    processes: Processes
    server: Path
    job: Path
    logs: Mapping[str, Path]

    def trained(self) -> dict[int, list[float]]:
        """Round -> seconds of training of each node, so far."""
        return trained_seconds(self.logs.values())


@contextmanager
def federation(work: Work, folder: Path, say: Say) -> Iterator[Footing]:
    """Make and start a coordinator and its nodes, which end with the block.

    Raises:
        LinkError: A process failed or took too long.
    """
    folder.mkdir(parents=True)
    names = [f"node-{node}" for node in range(work.nodes)]
    with Processes(folder) as processes:
        say("deployed: making keys, enrolling")
        server = folder / "coordinator"
        _enrol(processes, work, folder, server, names)
        say("deployed: starting the coordinator and its nodes")
        processes.start("server", [program("concordat"), "server", "run", "--dir", str(server)])
        for name in names:
            processes.start(name, [program("concordat"), "node", "run", "--dir", str(folder / name)])
        for name in names:
            there = partial(_connected, folder / name / "status.json")
            processes.wait_until(there, f"{name} to connect", timeout_s=_START_S)
        logs = {name: folder / f"{name}.log" for name in names}
        yield Footing(processes=processes, server=server, job=folder / "job.toml", logs=logs)


def deployed_rounds(work: Work, folder: Path, say: Say) -> list[Timing]:
    """Run the work with `concordat server` and `concordat node`.

    Raises:
        LinkError: A process failed or took too long.
    """
    with federation(work, folder, say) as there:
        submit = ["server", "submit", str(there.job), "--dir", str(there.server), "--wait", "--json"]
        job = _concordat(there.processes, *submit, timeout_s=600.0)
        say(f"deployed: {work.rounds} rounds")
    trained = there.trained()
    return [
        Timing(wall_s=o["seconds"], training_s=max(trained[o["round"]]))
        for o in job["outcomes"]
        if o["round"] > 1 and len(trained[o["round"]]) == work.nodes
    ]


def _enrol(processes: Processes, work: Work, folder: Path, server: Path, names: list[str]) -> None:
    """Make both sides' keys and settings, the nodes' records and the job."""
    init = ["server", "init", str(server), "--name", "bench", "--address", f"127.0.0.1:{free_port()}", "--json"]
    told = _concordat(processes, *init)
    peers: list[str] = []
    for node, name in enumerate(names):
        records, directory = folder / f"{name}.jsonl", folder / name
        records.write_text("".join(json.dumps(row) + "\n" for row in work.rows(node)))
        make = ["node", "init", str(directory), "--name", name, "--records", str(records), "--unit", "patient"]
        make += ["--epsilon", str(work.epsilon_limit), "--delta", str(work.privacy.delta), "--threads", "1"]
        if work.threshold:
            make += ["--largest-honest-minimum", str(work.threshold)]
        peers.append(_concordat(processes, *make, "--base", str(work.base), "--json")["peer"])
        pin = ["node", "enrol", str(server / "coordinator.json"), "--dir", str(directory)]
        mine = _concordat(processes, *pin, "--fingerprint", told["fingerprint"], "--json")
        accept = ["server", "enrol", str(directory / "enrolment.json"), "--dir", str(server)]
        _concordat(processes, *accept, "--fingerprint", mine["fingerprint"], "--json")
    if work.threshold:
        for name in names:
            introduce(folder / name, peers)
    card = folder / "card.json"
    found = bases.read_card(work.base) or Base.load(work.base).card
    card.write_text(json.dumps(found.to_dict()))
    (folder / "job.toml").write_text(_job(work, card))


def _job(work: Work, card: Path) -> str:
    """The work as a JOB.toml, with one round more than is measured."""
    privacy, job = work.privacy, work
    return f"""name = "bench"
task = "{job.task}"
card = "{card}"
strategy = "frozen_a"
joint = {"true" if job.threshold else "false"}
rounds = {job.rounds + 1}
quorum = {job.nodes}
deadline_s = 600
max_tokens = {job.max_tokens}

[adapter]
rank = {job.rank}
alpha = {job.alpha}
targets = {json.dumps(list(job.targets))}

[optimiser]
name = "adamw"

[privacy]
unit = "{privacy.unit.key}"
sampling_rate = {privacy.sampling_rate}
steps_per_round = {privacy.steps_per_round}
expected_batch_units = {privacy.expected_batch_units}
examples_per_unit = {privacy.examples_per_unit}
clip_norm_l2 = {privacy.clip_norm_l2}
noise_multiplier = {privacy.noise_multiplier}
delta = {privacy.delta}
{_sums(work)}"""


def _sums(work: Work) -> str:
    """What masks add to the job."""
    if not work.threshold:
        return ""
    masks = f"threshold = {work.threshold}\nparties = {work.nodes}\n"
    return f"honest_minimum = {work.threshold}\n\n[secure_sums]\n{masks}"


def _concordat(processes: Processes, *arguments: str, timeout_s: float = 120.0) -> dict[str, Any]:
    """Run one command of ours that prints a JSON object."""
    name = " ".join(arguments[:2])
    return dict(json.loads(processes.call(name, [program("concordat"), *arguments], timeout_s=timeout_s)))


def _connected(status: Path) -> bool:
    """What a node says of itself."""
    try:
        return bool(json.loads(status.read_text())["state"] == "connected")
    except (OSError, ValueError, KeyError):
        return False


def trained_seconds(logs: Iterable[Path]) -> dict[int, list[float]]:
    """Round -> seconds of training of each node."""
    found: dict[int, list[float]] = defaultdict(list)
    for log in logs:
        for number, seconds in _TRAINED.findall(log.read_text(errors="replace")):
            found[int(number)].append(float(seconds))
    return found
