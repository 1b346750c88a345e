"""When rounds may start: wall clocks, days, midnight and the change of clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedclient.hours import Hours, Window
from fedcore.errors import ConfigError

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def utc(*windows: str) -> Hours:
    return Hours.parse(windows, timezone="UTC")


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def test_no_windows_allow_any_time() -> None:
    assert all(Hours().allow(MONDAY + timedelta(minutes=m)) for m in range(0, 7 * 1440, 61))


def test_a_window_holds_from_its_start_up_to_its_end() -> None:
    hours = utc("08:30-17:00")
    times = {"08:29": False, "08:30": True, "16:59": True, "17:00": False}
    assert {t: hours.allow(datetime.fromisoformat(f"2026-01-05T{t}+00:00")) for t in times} == times


def test_a_window_past_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    hours = utc("Mon-Fri 20:00-06:00")
    for text, allowed in {
        "2026-01-05T05:59": False,  # Monday morning: Sunday's evening is not in it.
        "2026-01-05T20:00": True,
        "2026-01-06T05:59": True,
        "2026-01-06T06:00": False,
        "2026-01-10T05:59": True,  # Saturday morning: Friday's window.
        "2026-01-10T20:00": False,
        "2026-01-11T03:00": False,
    }.items():
        assert hours.allow(datetime.fromisoformat(f"{text}+00:00")) is allowed, text


@given(
    start=st.integers(0, 1439), end=st.integers(1, 1440), days=st.sets(st.integers(0, 6), min_size=1),
    minute=st.integers(0, 7 * 1440 - 1),
)  # fmt: skip
def test_a_window_is_what_counting_its_minutes_says(start: int, end: int, days: set[int], minute: int) -> None:
    """The slow twin marks every minute of a week, one window start after the other."""
    if start == end:
        return
    names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    window = Window.parse(
        f"{','.join(names[d] for d in sorted(days))} {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    )
    length = (end - start) % 1440 or 1440
    marked = {(day * 1440 + start + i) % (7 * 1440) for day in days for i in range(length)}
    assert window.holds(MONDAY + timedelta(minutes=minute)) is (minute in marked)


def test_hours_are_those_of_the_time_zone() -> None:
    hours = Hours.parse(("22:00-06:00",), timezone="Europe/Berlin")
    assert hours.allow(datetime(2026, 1, 5, 21, 30, tzinfo=UTC))
    assert not hours.allow(datetime(2026, 7, 5, 4, 30, tzinfo=UTC))  # 06:30 in summer.
    assert hours.clock(datetime(2026, 1, 5, 21, 30, tzinfo=UTC)) == "Mon 22:30"


def test_where_the_clock_is_put_forward_the_skipped_hour_never_comes() -> None:
    hours = Hours.parse(("02:00-03:00",), timezone="Europe/Berlin")
    start = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)  # 02:00 becomes 03:00 at 01:00 UTC.
    assert not any(hours.allow(start + timedelta(minutes=m)) for m in range(180))
    night = Hours.parse(("22:00-06:00",), timezone="Europe/Berlin")
    open_minutes = sum(
        night.allow(berlin("2026-03-28T22:00").astimezone(UTC) + timedelta(minutes=m)) for m in range(900)
    )
    assert open_minutes == 7 * 60


def test_where_the_clock_is_put_back_the_hour_comes_twice() -> None:
    hours = Hours.parse(("02:00-03:00",), timezone="Europe/Berlin")
    start = datetime(2026, 10, 24, 23, 0, tzinfo=UTC)  # 03:00 becomes 02:00 at 01:00 UTC.
    assert sum(hours.allow(start + timedelta(minutes=m)) for m in range(300)) == 120


@pytest.mark.parametrize(
    "text",
    ["", "22:00", "22-06", "25:00-06:00", "22:60-06:00", "08:00-08:00", "24:00-06:00", "08:00-24:01", "Mo 08:00-09:00",
     "Mon-Fri-Sun 08:00-09:00", "Mon, 08:00-09:00", "08:00-09:00 Mon", "Mon-Fri  08:00 - 09:00"],
)  # fmt: skip
def test_a_window_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="hours"):
        utc(text)


def test_days_may_be_a_list_or_pass_sunday() -> None:
    assert Window.parse("sat,SUN 00:00-24:00").days == {5, 6}
    assert Window.parse("Fri-Mon 10:00-12:00").days == {4, 5, 6, 0}
    assert utc("Sat 00:00-24:00").allow(datetime(2026, 1, 10, 23, 59, tzinfo=UTC))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "/etc/localtime"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ConfigError, match="time zone"):
        Hours.parse((), timezone=zone)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        utc("08:00-09:00").allow(datetime(2026, 1, 5, 8, 0))
