"""`concordat bench fold`: what collecting and folding a round costs a coordinator."""

from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fedcore.cli import console, report

__all__ = ["fold_command"]

_FULL = ((10, 100, 1000), (500_000, 5_000_000))
_QUICK = ((2, 8), (5_000,))


def fold_command(
    quick: Annotated[
        bool, typer.Option("--quick", help="A few small updates: whether it runs, not how it grows.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Seconds and peak memory of collecting and folding 10, 100 and 1,000 institutions' updates.

    Updates of 0.5 and of 5 million numbers; each pair of sizes in a process of its own. Takes some minutes.
    """
    from simulations.benchmarks.fold import measure

    institutions, parameters = _QUICK if quick else _FULL
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        found = measure(
            institutions,
            parameters,
            lambda done, total, words: bar.update(task, advance=done, total=total, description=words),
        )
    value = found.to_dict()
    report(value, as_json=as_json, human=lambda: _show(value))


def _show(value: dict[str, Any]) -> None:
    """The rows for people."""
    for row in value["rows"]:
        memory = "memory unknown" if row["peak_mib"] is None else f"{row['peak_mib']:,.0f} MiB over the start"
        typer.echo(
            f"{row['institutions']:5,} institutions, {row['parameters']:>9,} parameters: {row['seconds']:8.2f} s "
            f"({1000 * row['seconds_per_institution']:.1f} ms each), {memory}"
        )
    if value["memory_ratio"] is not None:
        typer.echo(f"memory with the most institutions over that with the fewest: {value['memory_ratio']:.2f}")
    if value["seconds_growth"] is not None:
        typer.echo(f"seconds grow as institutions to the power of {value['seconds_growth']:.2f}")
