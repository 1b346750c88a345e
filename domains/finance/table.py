"""Tables as reports print them, read into rows of figures with their column, unit and scale.

Real tables are ragged: a header without a label cell, "$" and "%)" in cells of their own, footnote marks.
A figure whose column cannot be told keeps none; a column of a quarter or half is no year; nothing is guessed.
Tables in Chinese are read alike: 单位:万元, 2024年, 合计. A path names the cell as the input holds it.

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
from domains.finance._layout import YEAR, Layout, Line, figure, is_data, is_header, merged, suffix
from fedcore.errors import RecordError

__all__ = ["FACTORS", "Cell", "Change", "Row", "Table", "change", "figure", "read_table", "read_tables", "scale_of"]

FACTORS = {
    "": Decimal(1),
    "units": Decimal(1),
    "thousand": Decimal(10**3),
    "万": Decimal(10**4),
    "million": Decimal(10**6),
    "亿": Decimal(10**8),
    "billion": Decimal(10**9),
}
"""What a figure of a row is counted in, by the row's scale; "units" are whole millions given in full."""

_SCALES = (
    (re.compile(r"\b(?:thousand|bn(?=\b)|million|billion)s?\b", re.IGNORECASE), ""),
    (re.compile(r"(?:[$€£¥]|\bUSD|\bRMB|\bHK\$)\s?['’`]?000s?\b|[(]0{3}s?[)]|['’`]000s?\b"), "thousand"),
    (re.compile(r"(?:[$€£¥]|\bUSD|\bRMB|\bEUR)\s?(?:m|mn|mm|M)\b"), "million"),
    (re.compile(r"(?:[$€£¥]|\bUSD|\bRMB|\bEUR)\s?bn\b"), "billion"),
    (re.compile(r"百万(?=[美港欧日加澳韩]?元|股|人民币|\b)"), "million"),
    (re.compile(r"(?<!百)(?<!亿)万(?=[美港欧日加澳韩]?元|股|人民币)"), "万"),
    (re.compile(r"亿(?=[美港欧日加澳韩]?元|股|人民币)"), "亿"),
    (re.compile(r"千(?=[美港欧日加澳韩]?元|股|人民币)"), "thousand"),
)
_CURRENCIES = (
    (re.compile(r"(?<![A-Z])\$|\bUS\$|\bUSD|美元|\bdollars?\b", re.IGNORECASE), "$"),
    (re.compile(r"€|\bEUR\b|欧元"), "€"),
    (re.compile(r"£|\bGBP\b"), "£"),
    (re.compile(r"¥|\bRMB|\bCNY\b|人民币|元"), "¥"),
)
_FOREIGN = re.compile(r"\b(?:HK|NT|AU?|CA?|S|NZ)\$|\bJPY|\bHKD|\b[Yy]en\b|[港日加澳韩]元|\bCHF|\bSEK|\bDKK|\bINR|₹")
_FOOTNOTE = re.compile(r"\s*\((?:\d{1,2}|[a-z])\)$")
_PERCENT = re.compile(r"%|\bpercent|百分", re.IGNORECASE)
_RATIO = re.compile(
    r"%|\bpercent|\bmargins?\b|\brates?\b|\bratio\b|\byield\b|占比|比重|比例|(?<!汇)(?<!效)率", re.IGNORECASE
)
_COUNT = re.compile(
    r"\bper (?:\w+ )?share\b|\bEPS\b|\bunits?\b|\bcounts?\b|\bnumber of\b|\bheadcount\b|\bemployees\b|"
    r"\bstores\b|\bsquare feet\b|\bdays\b|每股|人数|户数|家数|天数|股数|员工|销量",
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
    part: str = ""
    """The part of the year that its column is of, such as "three months"; "" for a whole year or a day."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Row(Sensitive):
    """A label with its figures."""

    label: str
    cells: tuple[Cell, ...]
    scale: str
    currency: str
    path: str
    section: str = ""
    """The words of the line above it that holds no figure."""
    counted: bool = False
    """It counts things, or is a price of one: the table's scale and currency are not its own."""

    @property
    def years(self) -> tuple[Cell, ...]:
        """The figures that stand under a year, one a year, the latest first, all of one part of the year."""
        found: dict[str, Cell] = {}
        dated = [c for c in self.cells if YEAR.fullmatch(c.when)]
        for cell in dated:
            if cell.part == self.part and cell.percent == dated[0].percent:
                found.setdefault(cell.when, cell)
        return tuple(sorted(found.values(), key=lambda c: c.when, reverse=True))

    @property
    def part(self) -> str:
        """The part of the year that `years` are of; "" for whole years."""
        parts = [c.part for c in self.cells if YEAR.fullmatch(c.when)]
        return "" if "" in parts else next(iter(parts), "")


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
    """Read one table: the header is every row before the first figure that is not a year.

    A later row without figures that names years is a new header for what follows.
    """
    raw = [[_text(c) for c in row] for row in rows]
    cleaned = [merged(row) for row in raw]
    headed = next((i for i, row in enumerate(cleaned) if any(YEAR.search(c) for c in row.texts)), len(cleaned))
    first = next((i for i, row in enumerate(cleaned) if is_data(row.texts, headed=i > headed)), len(cleaned))
    head = " ".join(c for row in cleaned[:first] for c in row.texts)
    unit, currency = scale_of(head), _currency(head, raw)
    layout = Layout.of(raw, cleaned, 0, first)
    out: list[Row] = []
    section = ""
    for n, row in enumerate(cleaned[first:], first):
        if is_header(row.texts):
            layout = Layout.of(raw, cleaned, n, n + 1)
            continue
        if len(row.texts) < 2:
            section = row.texts[0].rstrip(" :;,.") if row.texts else ""
            continue
        label = _FOOTNOTE.sub("", row.texts[0]).rstrip(" :;,.")
        if figure(row.texts[0]) is not None or not label:
            continue
        found = _figures(row, layout, f"{path}[{n}]", label, section)
        if found:
            counted = bool(_COUNT.search(label))
            own = found[0][1]
            out.append(
                Row(
                    label=label,
                    cells=tuple(cell for cell, suffix in found if suffix == own),
                    scale=own or ("" if counted else unit),
                    currency="" if counted else currency,
                    path=f"{path}[{n}]",
                    section=section,
                    counted=counted,
                )
            )
    return Table(rows=tuple(out), scale=unit, currency=currency)


def scale_of(text: str) -> str:
    """The scale that words beside a table state first, such as "(in thousands)" or 单位:万元; "" for none."""
    found = []
    for pattern, scale in _SCALES:
        if m := pattern.search(text):
            word = m.group().lower().rstrip("s")
            found.append((m.start(), scale or ("billion" if word == "bn" else word)))
    return min(found)[1] if found else ""


def change(new: Cell, old: Cell) -> Change:
    """The stated calculation: the difference, and its percentage of the earlier figure to one decimal."""
    difference = new.value - old.value
    percent = None
    if new.value >= 0 and old.value > 0 and not new.percent:
        percent = (difference * 100 / old.value).quantize(Decimal("0.1"), ROUND_HALF_UP)
    return Change(absolute=difference, percent=percent, derivation=f"{new.path} - {old.path}")


def _text(cell: Any) -> str:
    return normalise("" if cell is None else str(cell))


def _figures(line: Line, layout: Layout, path: str, label: str, section: str) -> list[tuple[Cell, str]]:
    """The figures of a row, each with the scale that its own cell states."""
    out = []
    for text, place, (column, when, part) in zip(line.texts[1:], line.places[1:], layout.columns(line), strict=True):
        value = figure(text)
        if value is not None:
            percent = _is_percent(value, text, column, label, section)
            cell = Cell(value=value, when=when, column=column, percent=percent, path=f"{path}[{place}]", part=part)
            out.append((cell, suffix(text)))
    return out


def _is_percent(value: Decimal, cell: str, column: str, label: str, section: str) -> bool:
    """Whether a figure is a percentage: by its sign, or by words above or beside it where its size allows."""
    if _PERCENT.search(cell) or _PERCENT.search(column):
        return True
    return abs(value) <= 100 and not re.search(r"[$€£¥]", cell) and bool(_RATIO.search(label) or _RATIO.search(section))


def _currency(head: str, rows: list[list[str]]) -> str:
    """The currency of the head's words, or else the first sign in a cell; "" for one that is not printed here."""
    if _FOREIGN.search(head):
        return ""
    found = [(m.start(), sign) for pattern, sign in _CURRENCIES if (m := pattern.search(head))]
    if found:
        return min(found)[1]
    return next((s for s in "$€£¥" if any(s in c for row in rows for c in row)), "")
