"""`concordat simulate` of a table of tasks: progress, and the table for people."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fedcore.cli import console

__all__ = ["run_tasks", "show_tasks"]


def run_tasks(path: Path, out: Path | None, fresh: bool, stopped: Callable[[], bool]) -> dict[str, Any]:
    """Run a table of tasks, or show what an earlier run of the same found."""
    from simulations.task_table import load_table, run_table

    settings = load_table(path)
    out = out or Path("runs") / settings.name
    console.print(f"{settings.name}: {len(settings.tasks)} tasks, each in four ways, in {out}", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def start(label: str, number: int, runs: int) -> None:
            bar.update(task, description=f"{number}/{runs} {label}", completed=0, total=None)
            if not console.is_terminal:
                console.print(f"{number}/{runs} {label}", highlight=False, markup=False)

        def report(done: int, rounds: int) -> None:
            bar.update(task, completed=done, total=rounds)

        return run_table(out, settings, fresh=fresh, start=start, report=report, stopped=stopped)


def show_tasks(value: Mapping[str, Any]) -> None:
    """The table, and where everything lies."""
    from simulations.task_table import table_text

    for line in table_text(value):
        typer.echo(line)
    typer.echo(f"{value['out']}: results.json, results.md, comparison.png")
