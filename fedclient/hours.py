"""When a node may train: windows of the wall clock, on some days of the week.

A window is written "22:00-06:00", "Mon-Fri 20:00-06:00" or "Sat,Sun 00:00-24:00". One that ends before it
starts runs past midnight and belongs to the day on which it starts. Times are those that a clock on the wall
shows: where the clock is put forward, a skipped hour never comes; where it is put back, an hour comes twice
and both are in the window or neither. A round that has started is not stopped when its window ends.

>>> hours = Hours.parse(("Mon-Fri 20:00-06:00",), timezone="Europe/Berlin")
>>> hours.allow(datetime.fromisoformat("2026-01-10T04:59+00:00"))  # Saturday, 05:59 in Berlin: Friday's window
True
>>> hours.allow(datetime.fromisoformat("2026-01-10T20:00+00:00"))  # Saturday evening
False
"""

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fedcore.errors import ConfigError

__all__ = ["Hours", "Window"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TIME = r"([01]\d|2[0-4]):([0-5]\d)"
_WINDOW = re.compile(rf"(?:(?P<days>[A-Za-z,-]+) +)?(?P<start>{_TIME})-(?P<end>{_TIME})")
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, kw_only=True)
class Window:
    """From one time of day up to, not including, another; `days` are those on which it starts, Monday 0."""

    text: str
    days: frozenset[int]
    start_minute: int
    end_minute: int

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Read a window as an operator writes it.

        Raises:
            ConfigError: It cannot be read, or is empty.
        """
        found = _WINDOW.fullmatch(text.strip())
        if found is None:
            raise _unreadable(text)
        start, end = _minute(found["start"]), _minute(found["end"])
        if start >= _DAY_MINUTES or end > _DAY_MINUTES or start == end:
            raise _unreadable(text)
        days = frozenset(range(7)) if found["days"] is None else _days(found["days"], text)
        return cls(text=text.strip(), days=days, start_minute=start, end_minute=end)

    def holds(self, local: datetime) -> bool:
        """Whether the wall clock is within it."""
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.start_minute < self.end_minute:
            return today in self.days and self.start_minute <= minute < self.end_minute
        evening = today in self.days and minute >= self.start_minute
        return evening or ((today - 1) % 7 in self.days and minute < self.end_minute)


@dataclass(frozen=True, kw_only=True)
class Hours:
    """The windows of a node; without any, every time is allowed.

    Args:
        windows: Any of them is enough.
        timezone: An IANA name, such as "Europe/Berlin"; "" is that of the machine.
    Raises:
        ConfigError: The time zone is not known here.
    """

    windows: tuple[Window, ...] = ()
    timezone: str = ""

    def __post_init__(self) -> None:
        self._zone()

    @classmethod
    def parse(cls, windows: tuple[str, ...], *, timezone: str) -> "Hours":
        """Read windows as an operator writes them.

        Raises:
            ConfigError: One cannot be read, or the time zone is not known.
        """
        return cls(windows=tuple(Window.parse(w) for w in windows), timezone=timezone)

    def allow(self, now: datetime) -> bool:
        """Whether a round may start now; `now` knows its time zone."""
        if now.tzinfo is None:
            raise ValueError("a time without a time zone says nothing")
        local = now.astimezone(self._zone())
        return not self.windows or any(w.holds(local) for w in self.windows)

    def clock(self, now: datetime) -> str:
        """What the wall clock shows, with the day."""
        local = now.astimezone(self._zone())
        return f"{_DAYS[local.weekday()]} {local:%H:%M}"

    def describe(self) -> str:
        """The windows in words."""
        if not self.windows:
            return "any time"
        return ", ".join(w.text for w in self.windows) + f" ({self.timezone or 'local time'})"

    def _zone(self) -> ZoneInfo | None:
        """The time zone; None is the machine's."""
        if not self.timezone:
            return None
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(
                f"the time zone {self.timezone!r} is not known here",
                expected="a name such as 'Europe/Berlin', or '' for the machine's own",
                do="correct [policy] timezone, or install the Python package tzdata",
            ) from error


def _minute(time: str) -> int:
    """Minutes since midnight; 24:00 is the end of the day."""
    hour, minute = time.split(":")
    return int(hour) * 60 + int(minute)


def _days(text: str, window: str) -> frozenset[int]:
    """Days such as "Mon-Fri" or "Sat,Sun"; a range may pass Sunday."""
    days: set[int] = set()
    for part in text.split(","):
        ends = [_DAYS.index(d.capitalize()) if d.capitalize() in _DAYS else -1 for d in part.split("-")]
        if -1 in ends or len(ends) > 2:
            raise _unreadable(window)
        first, last = ends[0], ends[-1]
        days |= {(first + i) % 7 for i in range((last - first) % 7 + 1)}
    return frozenset(days)


def _unreadable(text: str) -> ConfigError:
    """The error for a window that cannot be read."""
    return ConfigError(
        f"policy: the hours {text!r} cannot be read",
        expected="'22:00-06:00', or with days 'Mon-Fri 20:00-06:00' or 'Sat,Sun 00:00-24:00'",
        do="correct [policy] hours; [] allows any time",
    )
