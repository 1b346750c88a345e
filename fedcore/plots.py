"""Line charts, in the terminal or as a file, from the same description.

A **Chart** says what is drawn and names its axes; `sketch` draws it in braille for a terminal, `draw` with
matplotlib into a PNG, SVG or PDF. matplotlib is imported when it is first needed: help stays fast.

>>> chart = Chart(title="cost", x_label="rounds", y_label="epsilon", series=(Series(label="", x=(1, 2), y=(1, 3)),))
>>> print(sketch(chart, width=12, height=3))
cost
epsilon
3 ┤        ⣀⠤⠒⠉
  │    ⣀⠤⠒⠉
1 ┤⣀⠤⠒⠉
  └────────────
   1          2
   rounds
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fedcore.errors import ConfigError

__all__ = ["FORMATS", "Chart", "Series", "draw", "sketch"]

FORMATS = (".png", ".svg", ".pdf")
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_COLOURS = ("#1f5a96", "#b5521b", "#3c7d3c", "#7a4f9a")


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that a line joins, in order of x; what is not finite is left out."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]

    def points(self, *, log_x: bool = False, log_y: bool = False) -> list[tuple[float, float]]:
        """The points that can be shown on such axes."""
        return [
            (x, y)
            for x, y in zip(self.x, self.y, strict=True)
            if math.isfinite(x) and math.isfinite(y) and (x > 0 or not log_x) and (y > 0 or not log_y)
        ]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a chart shows.

    Raises:
        ConfigError: It has nothing to show.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_y: bool = False

    def __post_init__(self) -> None:
        if not self.points():
            raise ConfigError("there is nothing to plot", expected="at least one finite point")

    def points(self) -> list[tuple[float, float]]:
        """All points that can be shown."""
        return [p for s in self.series for p in s.points(log_x=self.log_x, log_y=self.log_y)]


def draw(chart: Chart, path: Path) -> None:
    """Write the chart as a PNG, SVG or PDF file.

    Raises:
        ConfigError: The name ends otherwise, or the file cannot be written.
    """
    check_path(path)
    # The object interface: no window, no state shared between charts, and no search for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for series, colour in zip(chart.series, _COLOURS * len(chart.series), strict=False):
        points = series.points(log_x=chart.log_x, log_y=chart.log_y)
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=series.label)
    if chart.log_x:
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis, [x for x, _ in chart.points()])
    if chart.log_y:
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis, [y for _, y in chart.points()])
    axes.set_title(chart.title, fontsize=10, loc="left", wrap=True)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(visible=True, which="major", color="#dddddd")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(chart.series) > 1:
        axes.legend(frameon=False)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", do="choose another --plot") from error


def check_path(path: Path) -> None:
    """Return when a chart can be written under that name.

    Raises:
        ConfigError: It cannot.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"the plot {path} has no format", expected="a name that ends in " + ", ".join(FORMATS))
    if not path.parent.is_dir():
        raise ConfigError(f"the folder of the plot {path} does not exist", do="choose another --plot")


def sketch(chart: Chart, *, width: int = 60, height: int = 12) -> str:
    """The chart as lines of text, of `width` and `height` characters without its axes."""
    points = chart.points()
    (left, right), (low, high) = (_range([p[i] for p in points]) for i in (0, 1))
    dots = [[0] * width for _ in range(height)]

    def place(value: float, least: float, most: float, dots_along: int, log: bool) -> float:
        if log:
            value, least, most = math.log(value), math.log(least), math.log(most)
        return (value - least) / (most - least) * (dots_along - 1) if most > least else (dots_along - 1) / 2

    for series in chart.series:
        path = [
            (
                place(x, left, right, 2 * width, chart.log_x),
                4 * height - 1 - place(y, low, high, 4 * height, chart.log_y),
            )
            for x, y in series.points(log_x=chart.log_x, log_y=chart.log_y)
        ]
        for column, row in _line(path):
            dots[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
    labels = {0: _short(high), height - 1: _short(low)} if high > low else {height // 2: _short(high)}
    margin = max(map(len, labels.values()))
    rows = [
        f"{labels.get(i, ''):>{margin}} {'┤' if i in labels else '│'}"
        + "".join(chr(0x2800 + d) if d else " " for d in row).rstrip()
        for i, row in enumerate(dots)
    ]
    ends = _short(left) + _short(right).rjust(width - len(_short(left))) if right > left else _short(left)
    names = [s.label for s in chart.series if s.label]
    below = [f"{'':{margin}} └{'─' * width}", f"{'':{margin}}  {ends}", f"{'':{margin}}  {chart.x_label}"]
    return "\n".join([chart.title, chart.y_label + (f" ({', '.join(names)})" if names else ""), *rows, *below])


def _line(points: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """The dots on the way from each point to the next."""
    dots = [(round(x), round(y)) for x, y in points[:1]]
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = max(1, math.ceil(max(abs(x1 - x0), abs(y1 - y0))))
        dots += [(round(x0 + (x1 - x0) * i / steps), round(y0 + (y1 - y0) * i / steps)) for i in range(steps + 1)]
    return dots


def _plain_ticks(axis: object, values: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 of each decade, written as plain numbers; few values are their own ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

    own = sorted(set(values))
    axis.set_major_locator(FixedLocator(own) if len(own) <= 8 else LogLocator(subs=(1, 2, 5)))  # type: ignore[attr-defined]
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))  # type: ignore[attr-defined]
    axis.set_minor_formatter(NullFormatter())  # type: ignore[attr-defined]


def _range(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _short(value: float) -> str:
    """A number for an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
