"""The work deployed: a coordinator and nodes as processes, over TLS, by the commands that operators type.

Each node logs the seconds that it trained; the coordinator states the seconds of each round.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from domains import bases
from domains.language import Base
from simulations.benchmarks.processes import Processes, free_port, program
from simulations.benchmarks.work import Say, Timing, Work

__all__ = ["deployed_rounds"]

_TRAINED = re.compile(r"round (\d+) of bench: trained for ([0-9.]+) s")
_START_S = 180.0


def deployed_rounds(work: Work, folder: Path, say: Say) -> list[Timing]:
    """Run the work with `concordat server` and `concordat node`.

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
        submit = ["server", "submit", str(folder / "job.toml"), "--dir", str(server), "--wait", "--json"]
        job = _concordat(processes, *submit, timeout_s=600.0)
        say(f"deployed: {work.rounds} rounds")
    trained = _trained(folder / f"{name}.log" for name in names)
    return [
        Timing(wall_s=o["seconds"], training_s=max(trained[o["round"]]))
        for o in job["outcomes"]
        if o["round"] > 1 and len(trained[o["round"]]) == work.nodes
    ]


def _enrol(processes: Processes, work: Work, folder: Path, server: Path, names: list[str]) -> None:
    """Make both sides' keys and settings, the nodes' records and the job."""
    init = ["server", "init", str(server), "--name", "bench", "--address", f"127.0.0.1:{free_port()}", "--json"]
    told = _concordat(processes, *init)
    for node, name in enumerate(names):
        records, directory = folder / f"{name}.jsonl", folder / name
        records.write_text("".join(json.dumps(row) + "\n" for row in work.rows(node)))
        make = ["node", "init", str(directory), "--name", name, "--records", str(records), "--unit", "patient"]
        make += ["--epsilon", str(work.epsilon_limit), "--delta", str(work.privacy.delta), "--threads", "1"]
        _concordat(processes, *make, "--base", str(work.base), "--json")
        pin = ["node", "enrol", str(server / "coordinator.json"), "--dir", str(directory)]
        mine = _concordat(processes, *pin, "--fingerprint", told["fingerprint"], "--json")
        accept = ["server", "enrol", str(directory / "enrolment.json"), "--dir", str(server)]
        _concordat(processes, *accept, "--fingerprint", mine["fingerprint"], "--json")
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
"""


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


def _trained(logs: Iterable[Path]) -> dict[int, list[float]]:
    """Round -> seconds of training of each node."""
    found: dict[int, list[float]] = defaultdict(list)
    for log in logs:
        for number, seconds in _TRAINED.findall(log.read_text(errors="replace")):
            found[int(number)].append(float(seconds))
    return found
