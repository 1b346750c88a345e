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
import torch
from typer.testing import CliRunner

from fedcore.errors import ConfigError, LinkError
from simulations.benchmarks import dp_step, step_meters, step_methods
from simulations.benchmarks.dp_step import StepBenchmark, StepRow, parse_shape
from simulations.benchmarks.fold import FoldBenchmark, Row, measure
from simulations.benchmarks.in_process import in_process_rounds
from simulations.benchmarks.processes import Processes, program
from simulations.benchmarks.round import overhead
from simulations.benchmarks.work import Timing, Work
from simulations.commands import bench
from simulations.measured import form, kept
from tests.ports import free_port

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
    # Loading a base anew for each message costs seconds; the two that keep it loaded may come out either way.
    assert max(value["in_process_overhead_s"], value["deployed_overhead_s"]) < value["flower_style_overhead_s"]
    assert value["ratio"] == pytest.approx(value["deployed_overhead_s"] / value["flower_style_overhead_s"], rel=0.01)
    assert value["ratio"] <= 1 / 3


@pytest.mark.slow
def test_flwr_run_works_out_of_the_box(tmp_path: Path) -> None:
    repository = Path(__file__).parents[2]
    port = free_port()
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


METHODS = ("non_private", "concordat", "opacus_hooks", "opacus_ghost", "opacus_functorch")


def test_every_way_of_a_step_is_measured_on_every_shape_in_one_run() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        done = CliRunner().invoke(bench, ["dp-step", "--quick", "--shape", "8x16", "--json"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    found = [(r["shape"], r["method"], r["records_per_unit"]) for r in value["rows"]]
    assert found == [*(("8x16", method, 1) for method in METHODS), ("8x16", "concordat", 4)]
    for row in value["rows"]:
        assert row["cpu_s"] > 0
        assert row["peak_mb"] > 0
        assert row["tokens_per_s"] > 0
        assert 0 < row["floor_share"] < 1
        assert (row["cpu_ratio"], row["memory_ratio"]) == (1, 1) or row["method"] != "non_private"
    assert {"median_cpu_ratio", "worst_cpu_ratio", "worst_memory_ratio", "opacus_hooks_median_cpu_ratio"} < set(value)
    assert value["device_note"].startswith("no CUDA device") == (not torch.cuda.is_available())
    assert torch.cuda.is_available() or form(value) == form(kept("dp-step"))


def row(method: str, cpu: float, memory: float = 1.0) -> StepRow:
    return StepRow(
        shape="8x16",
        base="tiny-llama",
        method=method,
        records_per_unit=1,
        units=8,
        cpu_ratio=cpu,
        memory_ratio=memory,
        cpu_s=1.0,
        peak_mb=1.0,
        tokens_per_s=1.0,
        floor_share=0.5,
    )


def test_what_is_said_of_our_step_is_said_of_its_rows_alone() -> None:
    rows = [row("non_private", 1.0), row("opacus_hooks", 1.2, 2.0), row("opacus_hooks", 1.4)]
    rows += [row("concordat", 1.03, 1.02), row("concordat", 0.97, 1.08), row("concordat", 1.01)]
    done = StepBenchmark(rows=tuple(rows), device_rows=(), device_note="none", repetitions=1, torch="2").to_dict()
    names = ("median_cpu_ratio", "worst_cpu_ratio", "worst_memory_ratio", "opacus_hooks_median_cpu_ratio")
    assert tuple(done[name] for name in names) == (1.01, 1.03, 1.08, 1.3)


@pytest.mark.parametrize("text", ["32", "32x", "x128", "0x8", "4x1", "axb", "6x16", "8x8x8", "-4x8", "8x99999"])
def test_a_shape_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a shape is not known"):
        parse_shape(text)


def test_shapes_are_sequences_by_tokens() -> None:
    assert parse_shape("32x128") == (32, 128)
    assert dp_step.SHAPES == ((32, 128), (8, 512), (128, 32))


def test_a_private_step_of_the_bench_moves_the_adapter_by_the_real_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = step_methods.write_llama(tmp_path / "m", hidden=32, inner=48, layers=1, heads=4, vocabulary=400)
    work = step_methods.StepWork(base=base, sequences=8, tokens=12)
    calls = []
    real = step_methods.train

    def spy(adapted: object, dataset: object, plan: object, *rest: object, **options: object) -> None:
        calls.append((plan, len(dataset), options["noise"]))  # type: ignore[arg-type]
        real(adapted, dataset, plan, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(step_methods, "train", spy)
    with step_methods.METHODS["concordat"](work, 4) as step:
        step()
    ((plan, units, noise),) = calls
    assert units == 2
    assert type(noise).__name__ == "SecureNoise"
    assert (plan.examples_per_unit, plan.noise_multiplier, plan.sampling_rate, plan.steps_per_round) == (4, 1.0, 1.0, 1)


def test_the_batch_is_the_same_for_everyone_and_has_padding() -> None:
    work = step_methods.StepWork(base=Path("m"), sequences=8, tokens=30)
    first, again = work.examples(400), work.examples(400)
    assert [e.ids for e in first] == [e.ids for e in again]
    lengths = [len(e.ids) for e in first]
    assert max(lengths) == 30
    assert 10 <= min(lengths) < 30


def test_peak_memory_counts_what_is_held_at_once() -> None:
    def step() -> None:
        one = torch.zeros(1_000_000)
        del one
        two = torch.zeros(500_000)
        three = torch.ones(750_000)
        del two, three

    assert step_meters.peak_bytes(step) == pytest.approx(5_000_000, rel=0.01)


def test_the_meters_keep_standard_output_clean(capfd: pytest.CaptureFixture[str]) -> None:
    step_meters.peak_bytes(lambda: None)
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"


def test_operations_are_those_of_the_products() -> None:
    a, b = torch.ones(7, 5, requires_grad=True), torch.ones(5, 3)
    assert step_meters.operations(lambda: torch.mm(a, b).sum().backward()) == 2 * (2 * 7 * 5 * 3)  # type: ignore[no-untyped-call]


def test_cpu_time_is_of_this_process_and_not_of_the_clock() -> None:
    assert step_meters.cpu_seconds(lambda: time.sleep(0.3)) < 0.2
    assert step_meters.matmul_flops_per_s(64) > 1e6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_layers_of_a_large_model_are_measured_on_a_gpu() -> None:
    measured = dp_step.measure(None, shapes=(), repetitions=5)
    ours = [r for r in measured.device_rows if r.method == "concordat"]
    assert {r.base for r in ours} == {"7b-layers bfloat16", "7b-layers 4bit"}
    assert all(r.cpu_ratio <= 1.10 for r in ours)


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


def test_a_masked_sum_is_measured_beside_flower_s_on_the_same_work() -> None:
    done = CliRunner().invoke(bench, ["secagg", "--parties", "4,6", "--parameters", "2000", "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert [(r["parties"], r["parameters"]) for r in value["rows"]] == [(4, 2000), (6, 2000)]
    for row in value["rows"]:
        assert row["exchanges"] == 2
        assert row["bytes_per_party"] == round(row["bytes_ratio"] * 8000) > 8000
        assert row["flower_bytes_per_party"] > row["bytes_per_party"]
    with pytest.raises(ConfigError, match="--parties"):
        CliRunner().invoke(bench, ["secagg", "--parties", "two"], catch_exceptions=False)


def test_folding_is_measured_in_processes_of_their_own() -> None:
    done = CliRunner().invoke(bench, ["fold", "--quick", "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert [(r["institutions"], r["parameters"]) for r in value["rows"]] == [(2, 5000), (8, 5000)]
    assert set(value) == {"rows", "memory_ratio", "seconds_growth", "seconds_per_institution", "wall_s"}
    for row in value["rows"]:
        assert 0 < row["seconds"] < value["wall_s"]
        assert row["cpu_s"] > 0
        assert row["seconds_per_institution"] == pytest.approx(row["seconds"] / row["institutions"], abs=1e-5)
        assert row["peak_mib"] is None or 0 < row["peak_mib"] < row["peak_absolute_mib"]


def test_growth_is_judged_where_it_is_worst() -> None:
    def row(institutions: int, parameters: int, seconds: float, peak: float | None) -> Row:
        return Row(
            institutions=institutions,
            parameters=parameters,
            seconds=seconds,
            cpu_s=seconds,
            peak_mib=peak,
            peak_absolute_mib=peak,
        )

    rows = (row(1000, 5, 200.0, 14.0), row(10, 5, 2.0, 10.0), row(10, 50, 1.0, 10.0), row(1000, 50, 1000.0, 11.0))
    found = FoldBenchmark(rows=rows, wall_s=1.0).to_dict()
    assert found["memory_ratio"] == 1.4
    assert found["seconds_growth"] == 1.5
    assert found["seconds_per_institution"] == {"5": 0.2, "50": 1.0}
    unknown = FoldBenchmark(rows=(*rows, row(1, 5, 1.0, None)), wall_s=1.0)
    assert unknown.memory_ratio is None
    assert FoldBenchmark(rows=rows[:1], wall_s=1.0).seconds_growth is None


def test_a_process_that_ends_early_fails_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LinkError, match="ended early"):
        measure((2,), (500,), lambda done, total, words: None)
