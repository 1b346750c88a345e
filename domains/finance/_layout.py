"""The cells of a table put under their header: which figure is of which year. Part of `domains.finance.table`.

>>> layout = Layout.of([["", "2024", "2023"]], [merged(["", "2024", "2023"])], 0, 1)
>>> [when for _, when, _ in layout.columns(merged(["Sales", "794", "601"]))]
['2024', '2023']
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from domains.base import Sensitive

__all__ = ["YEAR", "Layout", "Line", "figure", "is_data", "is_header", "merged", "suffix"]

_NUMBER = re.compile(
    r"^[($€£¥\s−–-]*(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)\s?"
    r"(thousand|million|billion|bn|千|万|百万|亿)?(?:美元|元)?[\s)%]*$",
    re.IGNORECASE,
)
_SUFFIXES = {"千": "thousand", "百万": "million", "bn": "billion"}
YEAR = re.compile(r"(?<![\d.])(?<!\d,)(?:19|20)\d\d(?!\d|[,.]\d)")
_PART = re.compile(
    r"\bQ[1-4]\b|\b[1-4]Q\b|\bH[12]\b|\b[12]H\b|\b(?:first|second|third|fourth) (?:quarter|half)\b|\bquarter\b|"
    r"\b(?:one|three|six|nine|[1-9]|1[01]) months\b|\b(?:12|13|16|24|26|39) weeks\b|"
    r"前?第?[一二三四1-4]?季度|[上下]半年|\d\s?[-—–~至]\s?\d{1,2}月",
    re.IGNORECASE,
)
_WHOLE = re.compile(r"\b(?:fiscal )?years?\b|\b(?:twelve|12) months\b|\b5[23] weeks\b|年度|全年", re.IGNORECASE)
_HEADING = re.compile(r"\byears?\b|\bperiod|\bended\b|\bas (?:of|at)\b|^\(|^at\b|^in\b|项目|单位|年度", re.IGNORECASE)
_CAPTION = re.compile(r"\bin\b.*\b(?:thousand|million|billion)s?\b|\bexcept\b|^单位", re.IGNORECASE)
_CHANGE = re.compile(r"change|\bvs\b|%|growth|increase|decrease|variance|同比|环比|增减|变动|增长|增幅", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, repr=False)
class Line(Sensitive):
    """A row whose cells hold whole figures, and where in the input each stood: its columns, and that of its digits."""

    texts: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    places: tuple[int, ...]
    width: int


def merged(row: list[str]) -> Line:
    """Put "$", "%" and ")" that stand in a cell of their own to the figure that they belong to."""
    out: list[list[int]] = []
    for i, cell in enumerate(row):
        before = "".join(row[k] for k in out[-1]) if out else ""
        opens = before in ("$", "€", "£", "¥", "(", "$(") and len(out) > 1 and cell
        closes = out and cell in (")", "%", "%)", ")%")
        if opens or closes:
            out[-1].append(i)
        elif cell or not out:
            out.append([i])
    return Line(
        texts=tuple("".join(row[k] for k in group) for group in out),
        spans=tuple((group[0], group[-1]) for group in out),
        places=tuple(next((k for k in group if any(c.isdigit() for c in row[k])), group[0]) for group in out),
        width=len(row),
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class Layout(Sensitive):
    """How a header lies over the rows under it: by column where the table is a grid, else by count."""

    header: tuple[str, ...]
    above: tuple[str, ...]
    """The words over each column of a grid; empty where the table is none."""
    own: tuple[str, ...]
    """The same, without those of a head that lies over several columns."""
    part: str
    """The part of a year that all columns are of, where they say none themselves."""
    mixed: bool
    """Whether the columns are of several parts, and which is of which cannot be told."""
    led: int
    """How many figures a row has whose first are of the header's years and the others changes; 0 for none."""

    @classmethod
    def of(cls, raw: list[list[str]], lines: list[Line], start: int, end: int) -> "Layout":
        heads = [line.texts for line in lines[start:end]]
        header: tuple[str, ...] = next(
            (row for row in reversed(heads) if len(row) > 1 or YEAR.search(" ".join(row))), ()
        )
        above: tuple[str, ...] = ()
        own: tuple[str, ...] = ()
        if len({len(row) for row in raw}) == 1 and start < end:
            rows = [_spread(row) for row in raw[start : end - 1]] + [raw[end - 1]]
            above, own = _over(rows), _over(raw[start:end])
        words = " ".join(c for row in heads for c in row)
        parts = {m.group().lower() for m in _PART.finditer(words)}
        mixed = len(parts) > 1 or (len(parts) == 1 and bool(_WHOLE.search(words)))
        part = next(iter(parts), "") if len(parts) == 1 else ""
        led = _led(header, lines[end:]) if _CHANGE.search(words) else 0
        return cls(header=header, above=above, own=own, part=part, mixed=mixed, led=led)

    def columns(self, line: Line) -> list[tuple[str, str, str]]:
        """The words over each cell after the label, their year and its part; "" where they cannot be told."""
        count = len(line.texts) - 1
        if line.width == len(self.above) and any(YEAR.search(c) for c in self.above[1:]):
            return [self._over(max(a, 1), b + 1) for a, b in line.spans[1:]]
        words = list(self.header[1:]) if len(self.header) == count + 1 else list(self.header)
        if len(words) != count:
            years = [w for w in self.header if YEAR.search(w)] if count == self.led else []
            words = years + [""] * (count - len(years))
        if self.mixed:
            return [(w, _year(w) if _part(w) else "", _part(w)) for w in words]
        return [(w, _year(w), _part(w) or self.part) for w in words]

    def _over(self, start: int, end: int) -> tuple[str, str, str]:
        own = " ".join(c for c in self.own[start:end] if c)
        words = " ".join(c for c in self.above[start:end] if c)
        # "2019 %" is a unit where the year is the column's own; else it may be a column of changes.
        dated = bool(YEAR.search(own))
        return own, _year(own.replace("%", "")) if dated else _year(words), _part(own) or _part(words)


def _led(header: Sequence[str], lines: Sequence[Line]) -> int:
    """The length of rows that go on, after their years, with changes: most of them prove it by a difference."""
    years = sum(bool(YEAR.search(w)) for w in header)
    votes: dict[int, int] = {}
    for line in lines:
        values = [figure(text) for text in line.texts[1:]]
        first, second, moved = (*values[:2], values[years]) if 2 <= years < len(values) else (None, None, None)
        if first is not None and second is not None and moved is not None:
            votes[len(values)] = votes.get(len(values), 0) + (1 if moved == first - second else -1)
    return max((n for n, sure in votes.items() if sure > 0), key=votes.__getitem__, default=0)


def _over(rows: list[list[str]]) -> tuple[str, ...]:
    """The words of each column, without those that say for the whole table what its figures are counted in."""
    columns = zip(*rows, strict=True)
    return tuple(" ".join(dict.fromkeys(c for c in column if c and not _CAPTION.search(c))) for column in columns)


def _spread(row: list[str]) -> list[str]:
    """A head over several columns stands over each of them."""
    out = row[:1]
    for cell in row[1:]:
        out.append(cell or (out[-1] if len(out) > 1 else ""))
    return out


def figure(cell: str) -> Decimal | None:
    """The figure of a cell's text; in brackets or after a minus it is negative. Text and dashes are no figure."""
    match = _NUMBER.match(cell)
    if match is None:
        return None
    value = Decimal(match.group(1).replace(",", ""))
    return -value if re.match(r"[$€£¥\s]*[(−–-]", cell) else value


def is_data(row: Sequence[str], *, headed: bool) -> bool:
    """Whether a row is one of figures: a label, and a figure other than a year.

    A figure that could be a year is one where a row above names years already, which `headed` says.
    """
    if len(row) < 2 or not row[0] or figure(row[0]) is not None:
        return False
    found = [c for c in row[1:] if figure(c) is not None]
    if all(YEAR.fullmatch(c) for c in found):
        return bool(found) and headed and not _HEADING.search(row[0])
    return True


def is_header(row: Sequence[str]) -> bool:
    """Whether a row below the first figures heads what follows: it names years and holds no other figure."""
    if len(row) < 2 or not any(YEAR.search(c) for c in row[1:]):
        return False
    if any(figure(c) is not None and not YEAR.fullmatch(c) for c in row[1:]):
        return False
    return not row[0] or bool(_HEADING.search(row[0]))


def _part(column: str) -> str:
    """The part of a year that a column's words name."""
    m = _PART.search(column)
    return m.group().lower() if m else ""


def suffix(cell: str) -> str:
    """The scale within a cell."""
    m = _NUMBER.match(cell)
    word = (m.group(2) or "").lower() if m else ""
    return _SUFFIXES.get(word, word)


def _year(column: str) -> str:
    """The one year that a column's words name; "" for none, or for a change between two."""
    years = YEAR.findall(column)
    return years[0] if len(years) == 1 and not _CHANGE.search(column) else ""
