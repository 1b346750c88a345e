"""Spending over time, drawn: in the terminal as steps of blocks, or as a file by matplotlib.

Both show the same **History**: epsilon after each reservation, the limit as a line, nothing before the first
entry. Figures come from the ledger's stored entries; nothing is accounted again.

>>> from datetime import UTC, datetime
>>> history = History(times=(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)),
...                   epsilons=(2.0, 4.0), end=datetime(2026, 1, 5, tzinfo=UTC), limit=8.0,
...                   title="admissions", unit="one patient")
>>> print("\\n".join(terminal(history, width=37, height=5)))
8.0 ┤╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌
    │
    │
    │                ████████████████
0.0 └████████████████████████████████
     2026-01-01            2026-01-05
"""

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedcore.errors import ConfigError

__all__ = ["FORMATS", "History", "draw", "terminal"]

FORMATS = (".png", ".svg", ".pdf")
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, kw_only=True)
class History:
    """Epsilon spent after each reservation, in order of time; what is not finite is left out of a drawing."""

    times: tuple[datetime, ...]
    epsilons: tuple[float, ...]
    end: datetime
    limit: float
    title: str
    unit: str

    def at(self, moment: datetime) -> float:
        """Epsilon spent at a moment: a step, never a slope."""
        spent = 0.0
        for time, epsilon in zip(self.times, self.epsilons, strict=True):
            if time > moment:
                break
            spent = epsilon
        return spent

    @property
    def top(self) -> float:
        """The largest finite figure to be shown."""
        return max([self.limit, *(e for e in self.epsilons if math.isfinite(e))])


def terminal(history: History, *, width: int, height: int = 8) -> list[str]:
    """Lines of at most `width` characters (20 at least), `height` rows and one of dates; empty without entries.

    The row at the top is at the largest figure, such as the limit; those below it share what is under it.
    """
    if not history.times:
        return []
    labels = [""] * height
    labels[0], labels[-1] = f"{history.top:.1f}", "0.0"
    left = max(map(len, labels))
    columns = max(20, width) - left - 2
    start, span = history.times[0], max((history.end - history.times[0]).total_seconds(), 1.0)
    spent = [history.at(start + (history.end - start) * (i + 0.5) / columns) for i in range(columns)]
    eighths = [round(8 * (height - 1) * min(s / history.top, 1.0)) if math.isfinite(s) else 8 * height for s in spent]
    lines = []
    for row in range(height):
        level = 8 * (height - 1 - row)
        cells = [_BLOCKS[max(0, min(8, e - level))] for e in eighths]
        limit = round((height - 1) * (1 - history.limit / history.top))
        text = "".join("╌" if row == limit and c == " " else c for c in cells)
        mark = "└" if row == height - 1 else "┤" if labels[row] else "│"
        lines.append(f"{labels[row]:>{left}} {mark}{text}".rstrip())
    first, last = f"{start:%Y-%m-%d}", f"{history.end:%Y-%m-%d}" if span >= 86400 else f"{history.end:%H:%M}"
    dates = first + last.rjust(columns - len(first)) if columns > len(first) + len(last) else first
    lines.append(" " * (left + 2) + dates)
    return lines


def draw(history: History, path: Path) -> None:
    """Write the drawing as PNG, SVG or PDF.

    Raises:
        ConfigError: Another ending, or the file cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{path} has another ending", expected=", ".join(FORMATS), do="choose another --plot")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # Deferred: it takes a second to import.
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    days = [float(date2num(t)) for t in (*history.times, history.end)]
    epsilons = [e if math.isfinite(e) else history.top for e in history.epsilons]
    if epsilons:
        x, y = [days[0], *days], [0.0, *epsilons, epsilons[-1]]
        axes.step(x, y, where="post", color="tab:blue", label="spent")
        axes.fill_between(x, y, step="post", color="tab:blue", alpha=0.15)
        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.axhline(history.limit, color="tab:red", linestyle="--", label=f"limit {history.limit:g}")
    axes.set_ylim(0, history.top * 1.08)
    axes.set(xlabel="time (UTC)", ylabel="epsilon", title=f"{history.title}\n{history.unit}")
    axes.legend(loc="best")
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", do="choose another --plot") from error
