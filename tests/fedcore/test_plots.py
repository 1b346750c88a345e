"""Charts: what is drawn is where the numbers say, in the terminal and in a file."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fedcore.errors import ConfigError
from fedcore.plots import Chart, Series, draw, sketch


def chart(*ys: float, **changes: object) -> Chart:
    series = (Series(label="", x=tuple(range(1, len(ys) + 1)), y=ys),)
    fields = {"title": "a title", "x_label": "rounds", "y_label": "epsilon", "series": series}
    return Chart(**{**fields, **changes})  # type: ignore[arg-type]


def dots(text: str) -> list[tuple[int, int]]:
    """(row, column) of each character that holds dots."""
    rows = text.splitlines()[2:]
    return [(r, c) for r, row in enumerate(rows) for c, letter in enumerate(row) if "\u2800" < letter <= "\u28ff"]


def test_a_rising_line_rises_and_a_falling_one_falls() -> None:
    for values, sign in (((1.0, 2.0, 3.0), -1), ((3.0, 2.0, 1.0), 1)):
        by_column = sorted(dots(sketch(chart(*values), width=20, height=5)), key=lambda d: (d[1], sign * d[0]))
        rows = [row for row, _ in by_column]
        assert rows == sorted(rows, reverse=sign < 0)
        assert {rows[0], rows[-1]} == {0, 4}


def test_axes_are_named_and_their_ends_are_the_data_s() -> None:
    text = sketch(chart(0.25, 8.0), width=20, height=4)
    assert text.startswith("a title\nepsilon\n")
    lines = text.splitlines()
    assert lines[2].split("┤")[0].strip() == "8"
    assert lines[5].split("┤")[0].strip() == "0.25"
    assert lines[-2].split() == ["1", "2"]
    assert lines[-1].strip() == "rounds"
    assert all(len(line) <= len("0.25 ┤") + 20 for line in lines)


def test_a_logarithmic_axis_makes_a_power_straight() -> None:
    powers = Series(label="", x=(1.0, 10.0, 100.0), y=(1.0, 10.0, 100.0))
    straight = Series(label="", x=(1.0, 2.0, 3.0), y=(1.0, 2.0, 3.0))
    logarithmic = sketch(chart(1, series=(powers,), log_x=True, log_y=True), width=30, height=6)
    assert [d[0] for d in dots(logarithmic)] == [
        d[0] for d in dots(sketch(chart(1, series=(straight,)), width=30, height=6))
    ]


def test_what_cannot_be_shown_is_left_out_and_nothing_at_all_is_refused() -> None:
    assert dots(sketch(chart(1.0, math.inf, 2.0), width=20, height=4)) == dots(
        sketch(chart(1, series=(Series(label="", x=(1, 3), y=(1.0, 2.0)),)), width=20, height=4)
    )
    for empty in (chart, lambda *y: chart(*y, log_y=True)):
        with pytest.raises(ConfigError, match="nothing to plot"):
            empty(math.nan) if empty is chart else empty(0.0)


def test_one_point_and_a_flat_line_are_drawn() -> None:
    assert len(dots(sketch(chart(2.0), width=20, height=5))) == 1
    assert {row for row, _ in dots(sketch(chart(2.0, 2.0, 2.0), width=20, height=5))} == {2}


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_each_format_is_written(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"plot.{suffix}"
    draw(chart(1.0, 4.0, log_x=True, log_y=True), path)
    assert path.read_bytes().startswith(start)


def test_a_file_says_what_its_axes_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    two = (Series(label="one", x=(1, 2), y=(1, 2)), Series(label="two", x=(1, 2), y=(2, 4)))
    draw(chart(1, series=two), tmp_path / "plot.svg")
    words = {e.text for e in ET.parse(tmp_path / "plot.svg").iter() if e.text and e.text.strip()}  # noqa: S314
    assert {"a title", "rounds", "epsilon", "one", "two"} <= words


def test_a_file_without_a_known_format_or_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "plot", tmp_path / "plot.gif", tmp_path / "none" / "plot.png"):
        with pytest.raises(ConfigError):
            draw(chart(1.0, 2.0), path)
    assert list(tmp_path.iterdir()) == []
