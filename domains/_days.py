r"""Dates and ages in a text, and a date moved by some days in its own way of writing.

A year alone is no identifier (45 CFR 164.514(b)(2)(i)(C)) unless somebody was born in it. A day and month
in figures without a year ("3/14") need a cue: strengths, ratios and scores look the same. Of ages only
those over 89 count.

>>> text = "DOB 3 May 1961. Seen 2023-11-02, BP 142/88. 93-year-old father."
>>> [(text[f.start:f.end], f.rule) for f in days(text)]
[('3 May 1961', 'date.birth'), ('2023-11-02', 'date'), ('93', 'age.over-89')]
>>> moved("2023-11-02", -10), moved("Nov 2, 2023", 30), moved("2023年11月2日", 1), moved("March 2019", 5)
('2023-10-23', 'Dec 2, 2023', '2023年11月3日', None)
"""

# A pattern stands on one line, however long: cut in two it can no longer be compared with its neighbours.
# ruff: noqa: E501

import re
from datetime import date, timedelta

from domains._found import Found, settle

__all__ = ["days", "moved"]

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SHORT = {name[:3].lower(): i for i, name in enumerate(_MONTHS, 1)}
_MONTH = r"(?P<M>(?:" + "|".join(f"{m}|{m.upper()}|{m[:3]}|{m[:3].upper()}" for m in _MONTHS) + r"|Sept)(?![a-z])\.?)"
_D, _Y, _N = r"(?P<d>\d{1,2})", r"(?P<y>(?:18|19|20)\d\d)", r"(?P<m>\d{1,2})"
_TH = r"(?:st|nd|rd|th)?"
_WHOLE = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<![\d./-]){_Y}(?P<s>[-/.])\s?{_N}(?P=s)\s?{_D}(?![\d/-]|\.\d)",
        rf"(?<![\d./-]){_N}(?P<s>[-/.]){_D}(?P=s){_Y}(?![\d/-]|\.\d)",
        rf"(?<![\d./-]){_N}(?P<s>[-/]){_D}(?P=s)(?P<y>\d\d)(?![\d/-]|\.\d|\s?(?:mg|mcg|g|ml|mL|%|units?)\b)",
        rf"(?<![\w.]){_D}{_TH}(?: of)?[ -]{_MONTH},?[ -]{_Y}(?!\d)",
        rf"(?<!\w){_MONTH} ?{_D}{_TH},? {_Y}(?!\d)",
        rf"(?<!\d){_Y}\s?年\s?{_N}\s?月\s?{_D}\s?[日号]",
        rf"(?<![\d.]){_Y}(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])(?=T\d|日|(?<=(?:19|20)\d{{6}})(?![\w.]))",
    )
)
_PARTS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<!\w){_MONTH},? (?:of )?{_Y}(?!\d)",
        rf"(?<![\w.]){_D}{_TH}(?: of)? {_MONTH}(?!\w)",
        rf"(?<!\w){_MONTH} {_D}{_TH}(?![\d,.]*\d|\w|\s?(?:mg|mcg|ml|mL|%)\b)",
        rf"(?<!\d){_Y}\s?年\s?{_N}\s?月(?:份|初|底|中旬|上旬|下旬)?",
        rf"(?<![\d个]){_N}\s?月\s?{_D}\s?[日号]",
        r"[一二][〇零○一二三四五六七八九]{3}年[一二三四五六七八九十]{1,2}月(?:[一二三四五六七八九十]{1,3}[日号])?",
        rf"(?i:\b(?:seen|admitted|discharged|visit|appointment|surgery|dated|dated on|since|until|date|due|scheduled for|on date))"
        rf"(?i: on| of|:)? (?P<id>{_N}/{_D})(?![\d/]|\s?(?:strength|mg|tablets?|tabs?|pain|scale|on|in|bilateral))",
    )
)  # fmt: skip
_BORN = re.compile(
    r"(?:\bDOB|\bD\.O\.B\.?|\bborn(?: on| in)?|birth ?(?:date|day)?|出生(?:日期|年月|于)?|生日|生于)[^\w\n]{0,4}(?:is |was |on |为|是)?\s*$",
    re.IGNORECASE,
)
_BIRTH_YEAR = re.compile(
    r"(?:\b(?:born in|birth year:?|YOB:?|DOB:?)\s+|(?:生于|出生年份?:?)\s*)(?P<id>(?:18|19|20)\d\d)(?!\d|[-/.年]\s?\d)",
    re.IGNORECASE,
)
_BIRTH_YEAR_ZH = re.compile(r"(?<!\d)(?P<id>(?:18|19|20)\d\d)年(?:生|出生)")
_OLD = r"(?P<id>9\d|1[0-3]\d)"
_TENS = "ninety(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?"
_AGES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?<![\d.]){_OLD}(?=[- ]?(?:years?|yrs?|y)\.?[- /]?(?:olds?|o)\b|[- ]years? of age|\s?yo\b|\s?y/o\b)",
        rf"\b(?:aged?|age is|age of|年龄)\s?[:=]?\s?{_OLD}(?![\d.%/]|\s?(?:mg|mm|days?|months?|weeks?|hours?|个月|天|月|日))",
        rf"(?<![\d.]){_OLD}(?=\s?(?:周岁|岁))",
        rf"(?<!\w)(?P<id>{_TENS}|one hundred(?: and)?(?: (?:one|two|three|four|five|six|seven|eight|nine|ten))?)(?=[- ]years?[- ]old)",
        r"(?P<id>九十[一二三四五六七八九]?|一百[零〇]?[一二三四五六七八九十]{0,2})(?=\s?(?:周岁|岁))",
    )
)  # fmt: skip


def days(text: str) -> list[Found]:
    """Every date but a lone year, and every age over 89, in a folded text."""
    found: list[Found] = []
    for pattern in _WHOLE:
        for m in pattern.finditer(text):
            if _read(m) is not None:
                rule = "date.birth" if _BORN.search(text, max(0, m.start() - 24), m.start()) else "date"
                found.append(Found(kind="DATE", start=m.start(), end=m.end(), rule=rule, rank=1))
    for pattern in _PARTS:
        for m in pattern.finditer(text):
            held = m.groupdict()
            if int(held.get("d") or 1) in range(1, 32) and int(held.get("m") or 1) in range(1, 13):
                start, end = m.span("id") if held.get("id") else m.span()
                rule = "date.birth" if _BORN.search(text, max(0, start - 24), start) else "date.part"
                found.append(Found(kind="DATE", start=start, end=end, rule=rule))
    for pattern in (_BIRTH_YEAR, _BIRTH_YEAR_ZH):
        found += [
            Found(kind="DATE", start=m.start("id"), end=m.end("id"), rule="date.birth") for m in pattern.finditer(text)
        ]
    for pattern in _AGES:
        for m in pattern.finditer(text):
            found.append(Found(kind="AGE", start=m.start("id"), end=m.end("id"), rule="age.over-89"))
    return settle(found)


def moved(text: str, by_days: int) -> str | None:
    """A date moved by some days, written as it was; None where it is not a whole date."""
    for pattern in _WHOLE:
        m = pattern.fullmatch(text)
        read = _read(m) if m else None
        if m is None or read is None:
            continue
        when, swapped = read
        try:
            new = when + timedelta(days=by_days)
        except OverflowError:
            return None
        m_at, d_at = ("d", "m") if swapped else ("m", "d")
        values = {"y": f"{new.year:04d}"[-len(m["y"]) :], d_at: f"{new.day}".zfill(_width(m, d_at))}
        if m.groupdict().get("M"):
            values["M"] = _month(m["M"], new.month)
        else:
            values[m_at] = f"{new.month}".zfill(_width(m, m_at))
        out = text
        for name in sorted(values, key=m.start, reverse=True):
            out = out[: m.start(name)] + values[name] + out[m.end(name) :]
        return re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", _ordinal(new.day), out)
    return None


def _width(m: re.Match[str], name: str) -> int:
    """Two digits where the date was written so, as far as it tells: "2023-11-02", not "2023/11/2"."""
    worded = bool(m.groupdict().get("M")) or "年" in m.group()
    return 2 if m[name].startswith("0") or (not worded and len(m["m"]) == len(m["d"]) == 2) else 1


def _month(written: str, month: int) -> str:
    """A month's name as long and in the case that another was written in."""
    bare = written.rstrip(".")
    name = (
        _MONTHS[month - 1]
        if len(bare) > 4 or (bare.lower() in ("may", "june", "july") and len(bare) > 3)
        else _MONTHS[month - 1][:3]
    )
    return (name.upper() if bare.isupper() else name) + ("." if written.endswith(".") else "")


def _ordinal(day: int) -> str:
    return "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _read(m: re.Match[str]) -> tuple[date, bool] | None:
    """The day, and whether the first figure was the day of the month; None where there is no such day."""
    held = m.groupdict()
    year = int(held["y"]) + (0 if len(held["y"]) == 4 else 2000 if int(held["y"]) < 70 else 1900)
    month = _SHORT[held["M"][:3].lower()] if held.get("M") else int(held["m"])
    day = int(held["d"])
    for first, second, swapped in ((month, day, False), (day, month, True)):
        if swapped and (held.get("M") or m.start("y") < m.start("m")):
            break
        try:
            return date(year, first, second), swapped
        except ValueError:
            continue
    return None
