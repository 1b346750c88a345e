"""Tables as reports print them, read into rows of figures with their column, unit and scale.

Real tables are ragged: a header without a label cell, "$" and "%)" in cells of their own, footnote marks.
A figure whose column cannot be told keeps none; nothing is guessed.

>>> table = read_table([["($ millions)", "2025", "2024"], ["Net sales", "$794", "$601"], ["Loss", "(5)", "N/A"]], "T")
>>> [(r.label, [(str(c.value), c.when) for c in r.cells]) for r in table.rows]
[('Net sales', [('794', '2025'), ('601', '2024')]), ('Loss', [('-5', '2025')])]
>>> table.scale, table.currency
('million', '$')
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from domains._figures import normalise
from domains.base import Sensitive
from fedcore.errors import RecordError

__all__ = ["Cell", "Change", "Row", "Table", "change", "read_tables"]

_NUMBER = re.compile(r"^[($€£¥\s−–-]*(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)[\s)%]*$")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_SCALE = re.compile(r"\b(thousand|million|billion)s?\b", re.IGNORECASE)
_FOOTNOTE = re.compile(r"\s*\((?:\d{1,2}|[a-z])\)$")
_PERCENT = re.compile(r"%|\bpercent", re.IGNORECASE)
_RATIO = re.compile(r"%|\bpercent|\bmargins?\b|\brates?\b|\bratio\b|\byield\b", re.IGNORECASE)
_COUNT = re.compile(
    r"\bper (?:\w+ )?share\b|\bEPS\b|\bunits?\b|\bcounts?\b|\bnumber of\b|\bheadcount\b|\bemployees\b|"
    r"\bstores\b|\bsquare feet\b|\bdays\b",
    re.IGNORECASE,
)
_LIMIT_CELLS = 20_000


@dataclass(frozen=True, kw_only=True, repr=False)
class Cell(Sensitive):
    """One figure: its value as printed, the year of its column or the column's own words, and its path."""

    value: Decimal
    when: str
    column: str
    percent: bool
    path: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Row(Sensitive):
    """A label with its figures."""

    label: str
    cells: tuple[Cell, ...]
    scale: str
    currency: str
    path: str

    @property
    def years(self) -> tuple[Cell, ...]:
        """The figures that stand under a year, one a year, the latest first."""
        found: dict[str, Cell] = {}
        for cell in self.cells:
            if _YEAR.fullmatch(cell.when):
                found.setdefault(cell.when, cell)
        return tuple(sorted(found.values(), key=lambda c: c.when, reverse=True))


@dataclass(frozen=True, kw_only=True, repr=False)
class Table(Sensitive):
    """A table's rows that hold figures."""

    rows: tuple[Row, ...]
    scale: str
    currency: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Change(Sensitive):
    """What a figure changed by from one year to the next, computed; percent where the base is above zero."""

    absolute: Decimal
    percent: Decimal | None
    derivation: str


def read_tables(value: Any) -> tuple[Table, ...]:
    """Read a list of tables, each a list of rows of cells.

    Raises:
        RecordError: It is not that.
    """
    if not isinstance(value, list) or not all(isinstance(t, list) for t in value):
        raise RecordError("the field 'tables' is wrong", expected="a list of tables, each a list of rows of cells")
    for table in value:
        if not all(isinstance(row, list | tuple) for row in table):
            raise RecordError("the field 'tables' is wrong", expected="rows that are lists of cells")
    if sum(len(row) for table in value for row in table) > _LIMIT_CELLS:
        raise RecordError("the tables are too large", expected=f"at most {_LIMIT_CELLS} cells")
    tables = tuple(read_table(t, f"tables[{i}]") for i, t in enumerate(value))
    return tables


def read_table(rows: Sequence[Sequence[Any]], path: str) -> Table:
    """Read one table: the header is every row before the first figure that is not a year."""
    cleaned = [_merged([_text(c) for c in row]) for row in rows]
    first = next((i for i, row in enumerate(cleaned) if _is_data(row)), len(cleaned))
    header = next((row for row in reversed(cleaned[:first]) if len(row) > 1 or _YEAR.search(" ".join(row))), [])
    head = " ".join(c for row in cleaned[:first] for c in row)
    scale = _SCALE.search(head)
    currency = next((s for s in "$€£¥" if any(s in c for row in cleaned for c in row)), "")
    currency = currency or ("$" if "dollar" in head.lower() else "")
    unit = scale.group(1).lower() if scale else ""
    out = []
    section = ""
    for n, row in enumerate(cleaned[first:], first):
        if len(row) < 2:
            section = row[0] if row else ""
            continue
        label = _FOOTNOTE.sub("", row[0]).rstrip(" :;,.")
        if _number(row[0]) is not None or not label:
            continue
        columns = _columns(header, len(row))
        cells = tuple(
            Cell(
                value=value,
                when=_year(columns[k]),
                column=columns[k],
                percent=_is_percent(value, cell, columns[k], label, section),
                path=f"{path}[{n}][{k + 1}]",
            )
            for k, cell in enumerate(row[1:])
            if (value := _number(cell)) is not None
        )
        counted = bool(_COUNT.search(label))
        if cells:
            out.append(
                Row(
                    label=label,
                    cells=cells,
                    scale="" if counted else unit,
                    currency="" if counted else currency,
                    path=f"{path}[{n}]",
                )
            )
    return Table(rows=tuple(out), scale=unit, currency=currency)


def change(new: Cell, old: Cell) -> Change:
    """The stated calculation: the difference, and its percentage of the earlier figure to one decimal."""
    difference = new.value - old.value
    percent = None
    if new.value >= 0 and old.value > 0 and not new.percent:
        percent = (difference * 100 / old.value).quantize(Decimal("0.1"), ROUND_HALF_UP)
    return Change(absolute=difference, percent=percent, derivation=f"{new.path} - {old.path}")


def _text(cell: Any) -> str:
    return normalise("" if cell is None else str(cell))


def _merged(row: list[str]) -> list[str]:
    """Put "$", "%" and ")" that stand in a cell of their own to the figure that they belong to."""
    out: list[str] = []
    for cell in row:
        if out and (out[-1] in ("$", "€", "£", "¥", "(") or cell in (")", "%", "%)", ")%")):
            out[-1] += cell
        elif cell or not out:
            out.append(cell)
    return out


def _number(cell: str) -> Decimal | None:
    """A cell's figure; in brackets or after a minus it is negative. Text and dashes are no figure."""
    match = _NUMBER.match(cell)
    if match is None:
        return None
    value = Decimal(match.group(1).replace(",", ""))
    return -value if re.match(r"[$€£¥\s]*[(−–-]", cell) else value


def _is_data(row: list[str]) -> bool:
    """Whether a row holds a label and a figure other than a year."""
    return (
        len(row) > 1
        and bool(row[0])
        and _number(row[0]) is None
        and any(_number(c) is not None and not _YEAR.fullmatch(c) for c in row[1:])
    )


def _is_percent(value: Decimal, cell: str, column: str, label: str, section: str) -> bool:
    """Whether a figure is a percentage: by its sign, or by words above or beside it where its size allows."""
    if _PERCENT.search(cell) or _PERCENT.search(column):
        return True
    return abs(value) <= 100 and not re.search(r"[$€£¥]", cell) and bool(_RATIO.search(label) or _RATIO.search(section))


def _columns(header: list[str], width: int) -> list[str]:
    """The column of each cell after the label; unknown where header and row cannot be laid side by side."""
    if len(header) == width:
        return header[1:]
    if len(header) == width - 1:
        return header
    return [""] * (width - 1)


def _year(column: str) -> str:
    """The one year that a column's words name; "" for none, or for a change between two."""
    years = _YEAR.findall(column)
    return years[0] if len(years) == 1 and not re.search(r"change|vs|%", column, re.IGNORECASE) else ""
