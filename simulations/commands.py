"""`concordat simulate`, `concordat bench` and `concordat demo`: what researchers run.

    concordat simulate simulations/scenarios/quickstart.toml
    concordat bench round --json

Settings and the environment are read here and nowhere below; what is heavy is imported when it is needed.
"""

import dataclasses
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from fedcore.cli import console, example
from fedcore.cli import report as tell
from fedcore.errors import ConfigError, QuorumLost
from simulations import results as files
from simulations.bytes_commands import bytes_command
from simulations.deployed_commands import joint_step_command
from simulations.fold_commands import fold_command
from simulations.task_commands import run_tasks, show_tasks

if TYPE_CHECKING:
    from fedserver.progress import Progress
    from simulations.arms import Arm
    from simulations.scenario import Scenario

__all__ = ["bench", "demo", "simulate"]

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

simulate = typer.Typer(rich_markup_mode=None, add_completion=False)
bench = typer.Typer(
    help="Measure Concordat beside its peers.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
demo = typer.Typer(rich_markup_mode=None, add_completion=False)


@simulate.command(
    "simulate",
    epilog=example(
        "concordat simulate simulations/scenarios/quickstart.toml",
        "concordat simulate simulations/scenarios/medicine-record.toml --records notes.jsonl --epsilon none --json",
    ),
)
def simulate_command(
    scenario_path: Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="The scenario.")],
    records: Annotated[Path | None, typer.Option("--records", help="File or directory of records to split.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Directory of the run. Default: runs/NAME-EPSILON.")] = None,
    epsilon: Annotated[
        str | None,
        typer.Option("--epsilon", metavar="X|none", help="Another epsilon; 'none' adds no noise: research only."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="memory|ray", help="Another backend than the scenario's.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove what an earlier run left, and start again.")] = False,
    as_json: _Json = False,
) -> None:
    """Run a federation in one process: the coordinator and sessions of a live one, without a network.

    A scenario with a [comparison] section is run in several ways side by side; with --epsilon, once and as it is.
    Stopped by Ctrl-C it goes on where it was when the same command is given again; a finished run is shown,
    not computed again.
    """
    from simulations.scenario import load
    from simulations.task_table import is_table

    if is_table(scenario_path):
        if (records, epsilon, backend) != (None, None, None):
            raise ConfigError("a table of tasks takes no --records, --epsilon or --backend", do="leave them out")
        with stopping() as stopped:
            value = run_tasks(scenario_path, out, fresh, stopped)
        tell(value, as_json=as_json, human=lambda: show_tasks(value))
        return
    scenario = _settings(load(scenario_path), epsilon, backend)
    found = records or (Path(scenario.records.path) if scenario.records.path else None)
    if scenario.comparison is not None:
        value = _compare(scenario, found, out or Path("runs") / f"{scenario.name}-comparison", fresh)
        tell(value, as_json=as_json, human=lambda: _show_comparison(value))
        return
    out = out or Path("runs") / f"{scenario.name}-{scenario.privacy_label}"
    value = _simulate(scenario, found, out, fresh)
    tell(value, as_json=as_json, human=lambda: _show(value))
    if value["status"] != "completed":
        raise QuorumLost(f"the simulation was {value['status']}", do="see results.json; --fresh starts again")


@bench.callback(epilog=example("concordat bench round --rounds 2 --json", "concordat bench dp-step --quick"))
def _bench() -> None:
    """Measure Concordat beside its peers."""


bench.command("fold", epilog=example("concordat bench fold --json"))(fold_command)
bench.command("joint-step", epilog=example("concordat bench joint-step --nodes 8 --json"))(joint_step_command)
bench.command("bytes", epilog=example("concordat bench bytes --json", "concordat bench bytes --quick"))(bytes_command)


@bench.command("round", epilog=example("concordat bench round --rounds 2 --json"))
def round_command(
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds that are measured in each form.")] = 2,
    base: Annotated[str, typer.Option("--base", help="A base of the store, or a directory.")] = "smollm2-135m",
    as_json: _Json = False,
) -> None:
    """Seconds that a round costs beyond training: deployed, in one process, and as Flower's examples do it."""
    from domains import bases
    from simulations.benchmarks.round import measure

    root = bases.default_root(os.environ)
    path = bases.prepare(base, root) if base in bases.KNOWN else bases.find(base, root)
    value = measure(path, rounds, _say).to_dict()

    def human() -> None:
        for name in ("deployed", "in_process", "flower_style"):
            _say(f"{name.replace('_', ' '):14} {value[f'{name}_overhead_s']:7.2f} s a round beyond training")
        _say(f"deployed over Flower-style: {value['ratio']:.2f}")

    tell(value, as_json=as_json, human=human)


@bench.command(
    "dp-step",
    epilog=example("concordat bench dp-step --quick", "concordat bench dp-step --shape 32x128 --base none --json"),
)
def dp_step_command(
    quick: Annotated[bool, typer.Option("--quick", help="One repetition, and no base: about a minute.")] = False,
    shape: Annotated[
        list[str] | None, typer.Option("--shape", metavar="NxT", help="Another batch on the tiny Llama; repeatable.")
    ] = None,
    base: Annotated[
        str, typer.Option("--base", help="Measured with 8x128: of the store, a directory, or 'none'.")
    ] = "smollm2-135m",
    repetitions: Annotated[int, typer.Option("--repetitions", min=1, help="Steps that are timed.")] = 9,
    as_json: _Json = False,
) -> None:
    """CPU time and peak memory of a private step, beside a step without privacy and Opacus.

    Takes about fifteen minutes. Times are of this process, on one thread; on a GPU, of the device as well.
    """
    from domains import bases
    from simulations.benchmarks import dp_step

    shapes = tuple(dp_step.parse_shape(text) for text in shape) if shape else dp_step.SHAPES
    path = None
    if base != "none" and not quick:
        root = bases.default_root(os.environ)
        path = bases.prepare(base, root) if base in bases.KNOWN else bases.find(base, root)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True) as bar:
        task = bar.add_task("preparing", total=None)

        def tick(what: str, done: int, steps: int) -> None:
            bar.update(task, description=what, completed=done, total=steps)

        measured = dp_step.measure(path, shapes=shapes, repetitions=1 if quick else repetitions, tick=tick)
    value = measured.to_dict()
    tell(value, as_json=as_json, human=lambda: _show_steps(value))


@bench.command("secagg", epilog=example("concordat bench secagg --parties 4,16 --parameters 100000 --json"))
def secagg_command(
    parties: Annotated[str, typer.Option("--parties", metavar="N,N", help="Sizes of cohorts.")] = "4,16,64,256",
    parameters: Annotated[
        str, typer.Option("--parameters", metavar="N,N", help="Lengths of vectors.")
    ] = "100000,1000000,10000000",
    as_json: _Json = False,
) -> None:
    """CPU seconds and bytes that a masked sum costs one party, beside Flower's SecAgg+ on the same work.

    Takes a minute or two with its defaults, most of it for 256 parties.
    """
    from simulations.benchmarks.secagg import measure

    value = measure(_counts(parties, "--parties", 3), _counts(parameters, "--parameters", 1), _say).to_dict()

    def human() -> None:
        for row in value["rows"]:
            theirs = row["flower_cpu_s_per_party"]
            beside = "" if theirs is None else f"; Flower's SecAgg+ {theirs:.3f} s"
            _say(
                f"{row['parties']:4} parties, {row['parameters']:>10,} parameters: {row['cpu_s_per_party']:.3f} s, "
                f"{row['bytes_ratio']:.3f} times 4 bytes a parameter{beside}"
            )

    tell(value, as_json=as_json, human=human)


def _counts(text: str, option: str, least: int) -> tuple[int, ...]:
    """Numbers between commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and least <= int(part) <= 10**9 for part in parts):
        raise ConfigError(f"{option} cannot be read", expected=f"whole numbers from {least}, such as 4,16", got=text)
    return tuple(int(part) for part in parts)


@demo.command("demo", epilog=example("concordat demo", "concordat demo --secure-sums --json"))
def demo_command(
    directory: Annotated[Path, typer.Option("--dir", help="Where everything is written.")] = Path("concordat-demo"),
    secure_sums: Annotated[
        bool,
        typer.Option("--secure-sums", help="Four hospitals, masked sums and shared noise; one is killed in mid-job."),
    ] = False,
    as_json: _Json = False,
) -> None:
    """Run the main job here: a coordinator and hospitals, from nothing to a document. Some minutes on two cores."""
    from domains import bases
    from simulations.demo import Demo, DemoSettings
    from simulations.demo_view import DemoView, show

    with DemoView(console) as view:
        settings = DemoSettings(directory=directory)
        settings = settings.with_secure_sums() if secure_sums else settings
        value = Demo(settings, bases.default_root(os.environ), view.report).run()
    tell(value, as_json=as_json, human=lambda: show(value, Console()))


def _settings(scenario: "Scenario", epsilon: str | None, backend: str | None) -> "Scenario":
    """The scenario with what the command line changes."""
    if epsilon is not None:
        scenario = dataclasses.replace(scenario, comparison=None)
    if epsilon == "none":
        scenario = scenario.without_noise()
    elif epsilon is not None:
        try:
            scenario = scenario.with_epsilon(float(epsilon))
        except ValueError as error:
            raise ConfigError("--epsilon is not a number", expected="a number above 0, or 'none'") from error
    if backend is not None:
        if backend not in ("memory", "ray"):
            raise ConfigError("--backend is not known", expected="memory or ray", got=repr(backend))
        kind: Literal["memory", "ray"] = "ray" if backend == "ray" else "memory"
        scenario = dataclasses.replace(scenario, backend=kind)
    return scenario


def _simulate(scenario: "Scenario", records: Path | None, out: Path, fresh: bool) -> dict[str, Any]:
    """Run, or show what an earlier run of the same found."""
    from domains import bases
    from simulations.directory import RunDirectory, base_of

    def preparing(what: str, share: float) -> None:
        console.print(f"{what}: {share:.0%}", end="\r")

    base = base_of(scenario, out, bases.default_root(os.environ), preparing)
    run = RunDirectory.prepare(out, scenario, records=records, base=base, fresh=fresh)
    if (earlier := files.read(run.out)) is not None:
        _say(f"{run.out} is finished; --fresh runs it again")
        return earlier
    from fedserver.strategies import warnings
    from simulations.world import World

    display = Display(scenario)
    world = World(run, step=display.step)
    _say(f"{scenario.name}: {scenario.task} on {world.base.card.name}, backend {scenario.backend}, in {run.out}")
    for name, dataset in world.datasets.items():
        _say(f"  {name}: {len(dataset)} units ({scenario.records.unit})")
    if scenario.unsafe:
        console.print(f"[bold red]{', '.join(scenario.unsafe)}[/]: research only, never publishable")
    # Before anything is spent.
    console.print(f"[bold]forecast[/] {escape(world.forecast().describe())}", highlight=False, soft_wrap=True)
    for words in warnings(world.job):
        console.print(f"[bold red]warning[/] {escape(words)}", highlight=False, soft_wrap=True)
    with stopping() as stopped:
        return files.write(world.run(report=display.report, stopped=stopped))


def _compare(scenario: "Scenario", records: Path | None, out: Path, fresh: bool) -> dict[str, Any]:
    """Run a comparison, or show what an earlier one of the same found."""
    from domains import bases
    from simulations.comparison import compare
    from simulations.directory import base_of

    base = base_of(scenario, out, bases.default_root(os.environ))
    _say(f"{scenario.name}: a comparison of kind {scenario.comparison.kind!r}, in {out}" if scenario.comparison else "")
    with stopping() as stopped:
        watch = ArmsDisplay()
        return compare(
            out,
            scenario,
            records=records,
            base=base,
            fresh=fresh,
            start=watch.start,
            end=watch.end,
            report=watch.report,
            stopped=stopped,
        )


class ArmsDisplay:
    """Live progress of a comparison on standard error: a line for each run, and one that changes meanwhile."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._line = ""

    def start(self, arm: "Arm", number: int, runs: int) -> None:
        """A run begins."""
        at = "without noise" if arm.epsilon is None else f"at epsilon {arm.epsilon:g}"
        self._line = f"run {number} of {runs}: {arm.way} {at}"

    def report(self, progress: "Progress") -> None:
        """The coordinator of the run has something to tell."""
        if console.is_terminal:
            line = f"{self._line}, round {progress.round}/{progress.rounds}"
            console.print(f"{line:<100}"[: console.width - 1], end="\r", highlight=False)

    def end(self, arm: "Arm", loss: float) -> None:
        """The run has ended."""
        _say(f"{self._line}: loss {loss:.3f} ({time.monotonic() - self._started:.0f} s)")


class Display:
    """Live progress on standard error: a line that changes where it is a terminal, else a line a round.

    Args:
        scenario: What is run.
    """

    def __init__(self, scenario: "Scenario") -> None:
        self._scenario = scenario
        self._started = time.monotonic()
        self._round = 0

    def step(self, institution: str, done: int, steps: int) -> None:
        """One institution has taken a step."""
        if console.is_terminal:
            line = f"round {self._round}/{self._scenario.rounds}: {institution}, step {done} of {steps}"
            console.print(f"{line:<100}"[: console.width - 1], end="\r", highlight=False)

    def report(self, progress: "Progress") -> None:
        """The coordinator has something to tell."""
        self._round = progress.round
        seconds = f"{time.monotonic() - self._started:.0f} s"
        if progress.stage == "folded":
            loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
            _say(f"round {progress.round}/{progress.rounds}: {progress.answered} folded{loss} ({seconds})")
        elif progress.stage in ("base loss", "released loss"):
            _say(f"measuring the {progress.stage} on held-out units ({seconds})")
        elif progress.stage.startswith("quarantined"):
            _say(f"{progress.stage} ({seconds})")
        elif progress.stage == "abandoned":
            _say(f"round {progress.round} was abandoned ({seconds})")


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Make Ctrl-C end the run between steps, with everything kept; a second one ends it at once."""
    stop = threading.Event()

    def ask(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        _say("stopping when the institution that trains now has answered; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _show_steps(value: Mapping[str, Any]) -> None:
    """The ways of a step as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("base", "batch", "way"):
        table.add_column(name, no_wrap=True)
    for name in ("unit", "time", "memory", "seconds", "tokens/s", "floor"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in (*value["rows"], *value["device_rows"]):
        share = "" if row["floor_share"] is None else f"{row['floor_share']:.0%}"
        numbers = [f"{row['cpu_ratio']:.2f}", f"{row['memory_ratio']:.2f}", f"{row['cpu_s']:.3f}"]
        numbers += [f"{row['tokens_per_s']:.0f}", share]
        table.add_row(row["base"], row["shape"], row["method"], str(row["records_per_unit"]), *numbers)
    Console().print(table)
    _say(
        f"our step over a step without privacy: {value['median_cpu_ratio']:.2f} (median), "
        f"{value['worst_cpu_ratio']:.2f} (worst), memory {value['worst_memory_ratio']:.2f} (worst); "
        f"Opacus' hooks {value['opacus_hooks_median_cpu_ratio']:.2f} (median)"
    )
    if value["device_note"]:
        _say(value["device_note"])


def _show_comparison(value: Mapping[str, Any]) -> None:
    """The comparison's table and what it means."""
    from rich.markdown import Markdown

    from simulations.comparison import words

    Console().print(Markdown("\n".join(words(value))))
    if value["unsafe"]:
        _say(f"{', '.join(value['unsafe'])} in some of the runs: research only, never publishable")
    _say(f"written: {value['plot']}, and {files.JSON} and {files.MARKDOWN} beside it")


def _show(value: Mapping[str, Any]) -> None:
    """The result for people; everything else is in the files."""
    for i in value["institutions"]:
        spent = math.inf if i["epsilon_spent"] is None else i["epsilon_spent"]
        limit = math.inf if i["epsilon_limit"] is None else i["epsilon_limit"]
        _say(f"{i['name']}: {i['units']} units ({i['unit']}), epsilon {spent:.3f} of {limit:g} at delta {i['delta']:g}")
    if value["loss_base"] is not None and value["loss_released"] is not None:
        _say(f"loss on held-out units: base {value['loss_base']:.3f}, released {value['loss_released']:.3f}")
    if value["unsafe"]:
        _say(f"{', '.join(value['unsafe'])}: research only, never publishable")
    _say(f"written: {', '.join(str(Path(value['out']) / n) for n in (files.JSON, files.MARKDOWN, files.PICTURE))}")


def _say(line: str) -> None:
    console.print(escape(line), highlight=False, soft_wrap=True)
