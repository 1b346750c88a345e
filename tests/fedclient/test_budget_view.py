"""Spending over time in a terminal: steps, the limit, and lines that fit."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedclient.budget_view import History, draw, terminal

START = datetime(2026, 1, 1, tzinfo=UTC)


def history(*spent: float, limit: float = 8.0, days: float = 1.0) -> History:
    times = tuple(START + timedelta(days=days * i) for i in range(len(spent)))
    end = START + timedelta(days=days * max(len(spent), 1))
    return History(times=times, epsilons=spent, end=end, limit=limit, title="t", unit="one patient")


def test_nothing_spent_draws_nothing() -> None:
    assert terminal(history(), width=80) == []


@given(
    increments=st.lists(st.floats(0.001, 10), min_size=1, max_size=40),
    width=st.integers(20, 200),
    height=st.integers(3, 20),
    limit=st.floats(0.1, 100),
    days=st.floats(0.0001, 400),
)
def test_lines_fit_the_width_and_bars_never_fall(
    increments: list[float], width: int, height: int, limit: float, days: float
) -> None:
    """Spending only grows, so each column is at least as high as the one before it."""
    spent = [math.fsum(increments[: i + 1]) for i in range(len(increments))]
    lines = terminal(history(*spent, limit=limit, days=days), width=width, height=height)
    assert len(lines) == height + 1
    assert all(len(line) <= width for line in lines)
    start = min(line.find(c) for line in lines[:-1] for c in "└┤│" if c in line) + 1
    columns = max(map(len, lines)) - start
    filled = [sum(" ▁▂▃▄▅▆▇█".find((line + " " * width)[start + i]) > 0 for line in lines[:-1]) for i in range(columns)]
    assert filled == sorted(filled)


def test_a_step_is_drawn_where_the_round_was_reserved() -> None:
    """Half of the time at a quarter of the limit, half at three quarters."""
    lines = terminal(history(2.0, 6.0), width=45, height=5)
    assert [line.count("█") for line in lines[:5]] == [0, 0, 20, 20, 40]
    assert lines[0].count("╌") == 40
    assert (lines[0][:3], lines[-1].split()) == ("8.0", ["2026-01-01", "2026-01-03"])


def test_what_passes_a_lowered_limit_is_above_its_line() -> None:
    lines = terminal(history(8.0, limit=4.0), width=45, height=5)
    assert lines[0].count("█") == 0
    assert [line.count("█") for line in lines[1:5]] == [40] * 4
    assert lines[0][:3] == "8.0"


def test_spending_without_noise_reaches_the_top() -> None:
    assert terminal(history(math.inf), width=45, height=5)[0].count("█") > 30


def test_a_drawing_says_what_its_axes_are(tmp_path: Path) -> None:
    draw(history(2.0, 4.0), tmp_path / "b.svg")
    text = (tmp_path / "b.svg").read_text()
    for words in ("epsilon", "time (UTC)", "limit 8", "spent"):
        assert f"<!-- {words} -->" in text
    assert "one patient" in text


@pytest.mark.parametrize("spent", [(), (math.inf,), (1.0,)])
def test_every_history_can_be_drawn(tmp_path: Path, spent: tuple[float, ...]) -> None:
    draw(history(*spent), tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 5000
