"""A node's connection: what its operator reads when the coordinator says no."""

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from fedclient.link import Link


def refused(status: int, *, ahead_s: float | None) -> str:
    """What is said when the coordinator refuses, and dates its answer so much before this machine's time."""
    link = object.__new__(Link)
    link._address, link._stop = "coordinator:9443", threading.Event()
    headers = {}
    if ahead_s is not None:
        headers["date"] = format_datetime(datetime.now(UTC) - timedelta(seconds=ahead_s), usegmt=True)
    return str(link._refused(httpx.Response(status, headers=headers)))


@pytest.mark.parametrize(
    ("ahead_s", "words"),
    [
        (3 * 3600.0, "about 3 h ahead"),
        (-3 * 3600.0, "about 3 h behind"),
        (-600.0, "about 10 min behind"),
        (20.0, "about 20 s ahead"),
    ],
)
def test_clock_that_is_wrong_is_named(ahead_s: float, words: str) -> None:
    said = refused(401, ahead_s=ahead_s)
    assert words in said
    assert "set whichever clock is wrong" in said
    assert "enrol" not in said


@pytest.mark.parametrize("ahead_s", [None, 0.0, -200.0])
def test_clock_that_is_right_is_not_blamed(ahead_s: float | None) -> None:
    assert "has to enrol it" in refused(401, ahead_s=ahead_s)


def test_clock_is_not_blamed_for_another_refusal() -> None:
    assert "clock" not in refused(412, ahead_s=7200.0)
    assert "answered 500" in refused(500, ahead_s=7200.0)
