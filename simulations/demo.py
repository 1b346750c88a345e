"""The main job, from nothing to a document: a coordinator and hospitals as processes on this machine.

Everything goes through the same commands that an operator types (`server init`, `node enrol`, `server
submit`, …), so that the demonstration cannot work where the product does not. Each hospital's records are
synthetic and its own; nothing but plans, noised updates and refusals crosses the front door.

With secure sums there are four hospitals, a round is one joint step, and only masked sums cross the door: the
coordinator reads totals of at least three. In mid-job the process of one hospital is killed after it has
masked its sum; that round still counts it, and the others go on without it.

    concordat demo            # writes everything into ./concordat-demo
    concordat demo --secure-sums --json
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from domains import bases
from domains.medicine import synthetic
from fedcore.errors import ConfigError, RoundError
from fedserver.settings import Place
from fedserver.store import JobRecord, Store
from fedserver.strategies import DEFAULT
from simulations.benchmarks.processes import Processes, free_port, program
from simulations.peers import introduce

__all__ = ["FOURTH", "HOSPITALS", "Demo", "DemoSettings", "SecureSums"]

HOSPITALS = ("st-anne", "riverside", "northfield")
FOURTH = "lakeside"
MARKER = ".concordat-demo"
JOB = "demo"
DELTA = 1e-5
JOINT_STEPS = 8
_JOB_S = 3600.0
_COMMAND_S = 900.0
"""Writing the record takes half a minute on two idle cores, and minutes beside other work."""
_LOOK_S = 0.5
_KILL_LOOK_S = 0.05
"""Between masking and what follows there is little time."""


@dataclass(frozen=True, kw_only=True)
class SecureSums:
    """The part of the demonstration that masks need.

    Args:
        threshold: Hospitals that must open a sum, and whose shares carry the whole noise.
        killed: Whose process is killed.
        killed_in: In which round, once it has sent its masked sum.
    """

    threshold: int = 3
    killed: str = "riverside"
    killed_in: int = 3


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What the demonstration runs. The defaults were chosen by measurement; see docs/researcher.md."""

    directory: Path = Path("concordat-demo")
    base: str = "smollm2-135m"
    rounds: int = 2
    patients: int = 2000
    steps_per_round: int = 4
    expected_batch_units: int = 16
    epsilon: float = 8.0
    clip_norm_l2: float = 0.2
    learning_rate: float = 3e-2
    rank: int = 4
    max_tokens: int = 112
    heldout: int = 24
    strategy: str = DEFAULT
    hospitals: tuple[str, ...] = HOSPITALS
    secure: SecureSums | None = None

    def with_secure_sums(self) -> Self:
        """The same with four hospitals and joint steps behind masks."""
        return replace(self, hospitals=(*HOSPITALS, FOURTH), rounds=JOINT_STEPS, steps_per_round=1, secure=SecureSums())


class Demo:
    """One run of the main job.

    Args:
        settings: What to run.
        bases_root: Where prepared bases are kept.
        report: Is told each stage, and while the job runs what `server status` and `node status` say.
    """

    def __init__(
        self, settings: DemoSettings, bases_root: Path, report: Callable[[str, Mapping[str, Any]], None]
    ) -> None:
        self._settings = settings
        self._bases = bases_root
        self._report = report
        self._root = settings.directory.resolve()
        self._server = self._root / "coordinator"
        self._nodes = {name: self._root / name for name in settings.hospitals}
        self._killed: dict[str, Any] | None = None

    def run(self) -> dict[str, Any]:
        """Set up, run and look at the result.

        Returns:
            What `concordat demo --json` prints.
        Raises:
            ConfigError: The directory holds something that is not a demonstration.
            LinkError: A party did not start.
            RoundError: The job failed.
        """
        started = time.monotonic()
        base = bases.prepare(self._settings.base, self._bases, lambda what, share: self._report(what, {"share": share}))
        self._clear()
        self._report(f"writing {len(self._nodes)} hospitals' synthetic records", {})
        self._write_records()
        with Processes(self._root) as processes:
            self._report("making keys and certificates; comparing fingerprints; enrolling", {})
            self._initialise(processes, base)
            self._report(f"starting the coordinator and {len(self._nodes)} nodes", {})
            processes.start("coordinator", [program("concordat"), "server", "run", "--dir", str(self._server)])
            for name, directory in self._nodes.items():
                processes.start(name, [program("concordat"), "node", "run", "--dir", str(directory)])
            self._concordat(processes, "server", "submit", str(self._root / "job.toml"), "--dir", str(self._server))
            self._watch(processes)
        with Processes(self._root) as processes:
            self._report("verifying the release and writing a record from it", {})
            result = self._result(processes, base)
        return {**result, "seconds": round(time.monotonic() - started, 1), "directory": str(self._root)}

    # Setting up ---------------------------------------------------------------------------------------

    def _clear(self) -> None:
        """Begin with an empty directory; only one that an earlier demonstration made is removed."""
        if self._root.exists():
            if not (self._root / MARKER).exists() and any(self._root.iterdir()):
                raise ConfigError(f"{self._root} is not empty and not a demonstration's", do="name another with --dir")
            shutil.rmtree(self._root)
        self._root.mkdir(parents=True)
        (self._root / MARKER).write_text("made by 'concordat demo'; removed when it runs again\n")

    def _write_records(self) -> None:
        for seed, (name, directory) in enumerate(self._nodes.items(), start=1):
            directory.mkdir()
            # Another hospital than the three that are drawn draws from one of them, with a seed of its own.
            site = name if name in synthetic.SITES else synthetic.SITES[seed % len(synthetic.SITES)]
            _write_jsonl(directory / "records.jsonl", synthetic.records(site, self._settings.patients, seed))
        public = synthetic.public_examples(self._settings.heldout + 1, seed=0)
        _write_jsonl(self._root / "heldout.jsonl", iter(public[1:]))
        (self._root / "input.json").write_text(json.dumps(public[0]["bundle"], indent=1))

    def _initialise(self, processes: Processes, base: Path) -> None:
        """Make both sides' keys and settings; compare fingerprints as the two operators would."""
        s = self._settings
        address = f"127.0.0.1:{free_port()}"
        told = self._concordat(processes, "server", "init", str(self._server), "--address", address, "--json")
        with (self._server / "server.toml").open("a", encoding="utf-8") as settings:
            settings.write(f'\n[evaluator]\nname = "public"\nbase = "{base}"\n')
        card = self._server / "coordinator.json"
        peers: list[str] = []
        for name, directory in self._nodes.items():
            options = ["--name", name, "--records", str(directory / "records.jsonl"), "--unit", "patient"]
            options += ["--base", str(base), "--epsilon", str(s.epsilon), "--delta", str(DELTA), "--threads", "1"]
            options += ["--task", "medicine.record"]
            if s.secure is not None:
                options += ["--largest-honest-minimum", str(s.secure.threshold)]
            peers.append(self._concordat(processes, "node", "init", str(directory), *options, "--json")["peer"])
            enrol = ["node", "enrol", str(card), "--dir", str(directory), "--fingerprint", told["fingerprint"]]
            mine = self._concordat(processes, *enrol, "--json")
            accept = ["server", "enrol", str(directory / "enrolment.json"), "--dir", str(self._server)]
            self._concordat(processes, *accept, "--fingerprint", mine["fingerprint"])
        if s.secure is not None:
            for directory in self._nodes.values():
                introduce(directory, peers)
        (self._root / "job.toml").write_text(self._job(base))

    def _job(self, base: Path) -> str:
        s = self._settings
        honest, sums = "", ""
        if s.secure is not None:
            honest = f"honest_minimum = {s.secure.threshold}   # So many honest hospitals carry the whole noise.\n"
            sums = f"\n[secure_sums]\nthreshold = {s.secure.threshold}\nparties = {len(s.hospitals)}\n"
        return f"""# The demonstration's job: hospitals learn to write clinical notes together.
name = "demo"
task = "medicine.record"
card = "{base / "card.json"}"
strategy = "{s.strategy}"
rounds = {s.rounds}
joint = {"false" if s.secure is None else "true"}
quorum = {2 if s.secure is None else s.secure.threshold}
deadline_s = 900
max_tokens = {s.max_tokens}

[adapter]
rank = {s.rank}
alpha = {2 * s.rank}
targets = ["q_proj", "v_proj"]

[optimiser]
name = "adamw"
learning_rate = {s.learning_rate}

[privacy]
unit = "patient"
epsilon = {s.epsilon}          # The noise is calibrated so that all rounds together stay within it.
delta = {DELTA}
sampling_rate = {s.expected_batch_units / s.patients}
expected_batch_units = {s.expected_batch_units}
steps_per_round = {s.steps_per_round}
examples_per_unit = 1
clip_norm_l2 = {s.clip_norm_l2}
{honest}{sums}
[evaluation]
records = "{self._root / "heldout.jsonl"}"
limit = {s.heldout}
"""

    # Running ------------------------------------------------------------------------------------------

    def _watch(self, processes: Processes) -> JobRecord:
        """Follow the job to its end, telling what each party says of itself.

        Raises:
            LinkError: A party ended before.
            RoundError: The job failed.
        """
        store = Store.open(Place(self._server).store)

        def is_over() -> bool:
            job = store.job(JOB)
            nodes = {name: _read_json(directory / "status.json") for name, directory in self._nodes.items()}
            facts = {"state": job.state, "progress": store.noted("progress") or {}, "nodes": nodes}
            self._report("the job runs", {**facts, "loss_base": job.loss_base})
            self._maybe_kill(processes, _LOOK_S)
            return job.state in ("completed", "failed")

        try:
            processes.wait_until(is_over, "the job", timeout_s=_JOB_S)
            job = store.job(JOB)
        finally:
            store.close()
        if job.state != "completed":
            raise RoundError(f"the job failed: {job.reason}", do=f"see the logs in {self._root}")
        return job

    def _maybe_kill(self, processes: Processes, wait_s: float) -> None:
        """Wait; and when the hospital that is to be killed has sent its masked sum of the round, kill it."""
        secure, end = self._settings.secure, time.monotonic() + wait_s
        while (left := end - time.monotonic()) > 0:
            if secure is not None and self._killed is None:
                sent = _read_json(self._nodes[secure.killed] / "status.json").get("answered") or {}
                if sent.get("round", 0) >= secure.killed_in and sent.get("what") in ("update", "opened"):
                    pid = processes.kill(secure.killed)
                    self._killed = {"name": secure.killed, "round": sent["round"], "pid": pid, "signal": "SIGKILL"}
                    self._killed["after"] = "it had sent its masked sum"
                    self._report(f"{secure.killed} was killed in round {sent['round']}, after masking", {})
            time.sleep(min(_KILL_LOOK_S, left))

    def _result(self, processes: Processes, base: Path) -> dict[str, Any]:
        """Verify the release, write one record from it, and ask each party what it knows."""
        card = str(self._server / "coordinator.json")
        job = self._concordat(processes, "server", "status", JOB, "--dir", str(self._server), "--json")
        key = ["--key", card, "--json"]
        verified = self._concordat(processes, "release", "verify", job["release"], *key)
        source = ["--input", str(self._root / "input.json"), "--release", job["release"], "--base", str(base)]
        written = self._concordat(processes, "generate", "medicine.record", *source, *key)
        return {
            "rounds": job["rounds_done"],
            "institutions": [self._institution(processes, name) for name in self._nodes],
            "loss_base": job["loss_base"],
            "loss_released": job["loss_released"],
            "bytes_up_per_round": job["bytes_up_per_round"],
            "bytes_down_per_round": job["bytes_down_per_round"],
            "release": job["release"],
            "verified": verified["verified"],
            "document": written["text"],
            "checks": written["checks"],
            "stamp": written["stamp"],
            "tls": job["tls"],
            "contributors": [o["contributors"] for o in job["outcomes"]],
            "secure_sums": self._secure(),
        }

    def _secure(self) -> dict[str, Any] | None:
        """What the masks and the noise rest on, and who was killed; None without masks."""
        secure = self._settings.secure
        if secure is None:
            return None
        return {
            "threshold": secure.threshold,
            "honest_minimum": secure.threshold,
            "assumption": f"epsilon holds while at least {secure.threshold} hospitals in each sum are honest: "
            "so many together add the whole noise",
            "killed": self._killed,
        }

    def _institution(self, processes: Processes, name: str) -> dict[str, Any]:
        """What one institution's own ledger and records say; it never left that institution."""
        place = ["--dir", str(self._nodes[name]), "--json"]
        budget = self._concordat(processes, "node", "budget", *place)
        held = self._concordat(processes, "node", "check", *place)
        kept = ("unit", "relation", "epsilon_spent", "epsilon_limit", "epsilon_left", "delta")
        return {"name": name, "units": held["units"], **{k: budget[k] for k in kept}}

    def _concordat(self, processes: Processes, *arguments: str) -> dict[str, Any]:
        """Run one command of ours; its JSON object, or nothing where it prints none."""
        output = processes.call(" ".join(arguments[:2]), [program("concordat"), *arguments], timeout_s=_COMMAND_S)
        return dict(json.loads(output)) if "--json" in arguments else {}


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    """A small file that another process replaces; empty before it is first written."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
