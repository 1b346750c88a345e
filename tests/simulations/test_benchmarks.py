"""The benchmark's parts: the same work in each form, processes that never outlive it, honest arithmetic."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedcore.errors import LinkError
from simulations.benchmarks.in_process import in_process_rounds
from simulations.benchmarks.processes import Processes, program
from simulations.benchmarks.round import overhead
from simulations.benchmarks.work import Timing, Work

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_overhead_is_the_median_of_what_was_not_training() -> None:
    timings = [
        Timing(wall_s=5.0, training_s=4.0),
        Timing(wall_s=9.0, training_s=6.0),
        Timing(wall_s=3.0, training_s=1.0),
    ]
    assert overhead(timings) == 2.0


def test_one_process_trains_every_round_and_costs_little_besides(tmp_path: Path, tiny_base: Path) -> None:
    work = Work(base=tiny_base, rounds=2, nodes=2)
    timings = in_process_rounds(work, tmp_path / "run", lambda _line: None)
    assert len(timings) == 2
    assert all(0 < t.training_s <= t.wall_s for t in timings)


def test_processes_end_with_the_block_and_their_children_too(tmp_path: Path) -> None:
    child = "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); p.wait()"
    with Processes(tmp_path) as processes:
        processes.start("parent", [sys.executable, "-c", child, *SLEEP])
        log = tmp_path / "parent.log"
        processes.wait_until(lambda: log.read_text().strip() != "", "a child", timeout_s=30)
        pid = int(log.read_text())
        os.kill(pid, 0)
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split(") ")[1].startswith("Z"):
            return
        time.sleep(0.05)
    pytest.fail("the child outlived the block")


def test_a_process_that_ends_too_soon_is_named(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("short", [sys.executable, "-c", "print('no base')"])
        with pytest.raises(LinkError, match="'short' ended while waiting for the end; got no base"):
            processes.wait_until(lambda: False, "the end", timeout_s=30)


def test_a_step_that_fails_says_its_last_line(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes, pytest.raises(LinkError, match="'step' failed; got it broke"):
        processes.call("step", [sys.executable, "-c", "import sys; sys.exit('it broke')"])


@pytest.mark.slow
def test_the_benchmark_compares_three_forms_in_one_run(tmp_path: Path, tiny_base: Path) -> None:
    command = [program("concordat"), "bench", "round", "--rounds", "1", "--base", str(tiny_base), "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["rounds"] == 1
    assert value["in_process_overhead_s"] < value["deployed_overhead_s"] < value["flower_style_overhead_s"]
    assert value["ratio"] == pytest.approx(value["deployed_overhead_s"] / value["flower_style_overhead_s"], rel=0.01)
    assert value["ratio"] <= 1 / 3


@pytest.mark.slow
def test_flwr_run_works_out_of_the_box(tmp_path: Path) -> None:
    repository = Path(__file__).parents[2]
    port = 39000 + os.getpid() % 900
    environment = {"FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(port)}
    before = _superlinks(port)
    try:
        with Processes(tmp_path, environment) as processes:
            command = [program("flwr"), "run", str(repository), "--stream"]
            output = processes.call("flwr run", command, timeout_s=400)
    finally:
        # Flower leaves its local SuperLink running for the next `flwr run`.
        for pid in _superlinks(port) - before:
            os.kill(pid, signal.SIGTERM)
    assert "forecast:" in output
    assert "completed, 2 of 2 rounds" in output
    found = re.search(r"2 institutions, in (\S+)", output)
    assert found is not None
    assert (Path(found[1]) / "results.json").is_file()
    shutil.rmtree(found[1])


def _superlinks(port: int) -> set[int]:
    """Flower's own processes that were started for a port of ours."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any("flower-" in w or "flwr-" in w for w in words) and any(str(port) in w for w in words):
            found.add(int(path.parent.name))
    return found
