"""What `concordat demo` shows: each party's state while it works, and what came of it.

The display goes to standard error; on a terminal it is redrawn in place, elsewhere a line is printed when
something changes.
"""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

__all__ = ["DemoView", "show"]


class DemoView:
    """A live display. Hand `report` to `simulations.demo.Demo`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._started = time.monotonic()
        self._said = ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def report(self, stage: str, facts: Mapping[str, Any]) -> None:
        """Show a stage, and where each party stands while the job runs."""
        line = _line(stage, facts)
        if self._live is not None:
            clock = f"[{time.monotonic() - self._started:4.0f} s] "
            self._live.update(Group(Text(clock + line, style="bold"), _parties(facts.get("nodes", {}))))
        if line != self._said and not (self._live is not None and facts.get("nodes")):
            self._console.print(f"[dim]{time.monotonic() - self._started:4.0f} s[/] {escape(line)}", highlight=False)
        self._said = line


def _line(stage: str, facts: Mapping[str, Any]) -> str:
    """The stage in words, with round and count where the coordinator has told them."""
    progress = facts.get("progress") or {}
    if not progress:
        return stage
    line = f"round {progress['round']} of {progress['rounds']}: {progress['stage']}" if progress["round"] else stage
    if progress.get("asked"):
        line += f", {progress['answered']} of {progress['asked']} institutions have answered"
    return line


def _parties(nodes: Mapping[str, Mapping[str, Any]]) -> Table:
    """One line a node: what it is doing, and how far it is."""
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, status in nodes.items():
        step, steps = status.get("step") or 0, status.get("steps") or 0
        bar = "█" * round(20 * step / steps) + "·" * (20 - round(20 * step / steps)) if steps else ""
        detail = f"round {status['round']}, step {step} of {steps}" if steps else ""
        table.add_row(name, str(status.get("state", "starting")), bar, detail)
    return table


def show(value: Mapping[str, Any], console: Console) -> None:
    """Print what the demonstration found."""
    table = Table(
        "institution", "protects", "units", "epsilon spent", "left", "delta", title="Privacy, from each ledger"
    )
    for row in value["institutions"]:
        spent, left = f"{row['epsilon_spent']:.3f}", f"{row['epsilon_left']:.3f} of {row['epsilon_limit']:g}"
        table.add_row(row["name"], f"one {row['unit']}", str(row["units"]), spent, left, f"{row['delta']:g}")
    console.print(table)
    console.print(
        f"loss on public held-out examples: base {value['loss_base']:.4f}, released {value['loss_released']:.4f}"
    )
    for number, (up, down) in enumerate(
        zip(value["bytes_up_per_round"], value["bytes_down_per_round"], strict=True), 1
    ):
        console.print(f"round {number}: {up:,} bytes from the institutions, {down:,} to them, over {value['tls']}")
    if (secure := value.get("secure_sums")) is not None:
        _show_sums(value["contributors"], secure, console)
    verified = "verified: signature and every file" if value["verified"] else "NOT VERIFIED"
    console.print(f"release: {value['release']} ({verified})", soft_wrap=True, highlight=False)
    console.rule("a clinical record, written from the release")
    console.print(value["document"], markup=False, highlight=False)
    stamp, checks = value["stamp"], value["checks"]
    console.print(
        f"release {stamp['release']}, epsilon {stamp['epsilon']:.2f}, {stamp['task']} version {stamp['task_version']}"
    )
    console.rule(f"{checks['figures']} figures, {checks['untraced']} untraced; {value['seconds']:.0f} s in all")


def _show_sums(contributors: Sequence[Sequence[str]], secure: Mapping[str, Any], console: Console) -> None:
    """Who was in each sum, who was killed, and what the noise rests on."""
    for number, names in enumerate(contributors, 1):
        console.print(f"round {number}: the sum of {len(names)}: {', '.join(names)}", highlight=False)
    if (killed := secure["killed"]) is not None:
        console.print(f"{killed['name']} was killed in round {killed['round']}, after {killed['after']}")
    console.print(secure["assumption"], soft_wrap=True)
