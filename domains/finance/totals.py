"""Sums that should add up: which rows of a table a total is the sum of, and where it is not.

A total is a row whose label says so. Going down a table, the rows since the last total or heading wait to be
summed, and a sum that holds takes their place, so that a total of totals is found too. Sums are compared
column by column; printed figures may miss their sum by half a last digit each. A total that fails is
reported only where its parts can be told: a heading that the total repeats, a column that does add up, or
three rows and more that come near it.

>>> from domains.finance.table import read_table
>>> table = read_table([["", "2024", "2023"], ["Cash", "5", "4"], ["Stock", "7", "6"], ["Total", "12", "12"]], "t")
>>> [(t.row.label, [p.label for p in t.parts], t.adds_up) for t in totals(table)]
[('Total', ['Cash', 'Stock'], False)]
>>> [(c.cell.when, str(c.sum), str(c.difference)) for c in totals(table)[0].columns if c.difference]
[('2023', '10', '2')]
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from domains.base import Sensitive
from domains.finance.ratios import Books
from domains.finance.table import Cell, Row, Table

__all__ = ["Column", "Total", "identities", "totals"]

_TOTAL = re.compile(r"^(?:sub-?)?total\b|合计$|总计$|小计$|^合计|^总计", re.IGNORECASE)
_LESS = re.compile(r"^less\b|^减[::]", re.IGNORECASE)
_WORD = re.compile(r"[a-z]{3,}|[\u4e00-\u9fff]")
_NEAR = Decimal("0.25")
_LONGEST = 40
"""Rows above a total that are tried as its parts."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Column(Sensitive):
    """A total's figure in one column, and what its parts there add up to."""

    cell: Cell
    parts: tuple[Cell, ...]
    sum: Decimal
    difference: Decimal
    """Stated less summed; zero where rounding explains it."""
    derivation: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Total(Sensitive):
    """A total and the rows that it should be the sum of."""

    row: Row
    parts: tuple[Row, ...]
    columns: tuple[Column, ...]

    @property
    def adds_up(self) -> bool:
        """Whether it does in every column."""
        return not any(c.difference for c in self.columns)


def totals(table: Table) -> tuple[Total, ...]:
    """Every total of a table whose parts can be told, in order."""
    out: list[Total] = []
    waiting: list[Row] = []
    since = 0
    section = ""
    for row in table.rows:
        if row.section != section:
            section, since = row.section, len(waiting)
        if not _TOTAL.search(row.label) or _is_share(row):
            if not _is_share(row):
                waiting.append(row)
            continue
        found = _sum(row, waiting) or _nearly(row, waiting) or _claimed(row, tuple(waiting[since:]))
        if found is not None:
            out.append(found)
            waiting = waiting[: len(waiting) - len(found.parts)]
        waiting.append(row)
        since = len(waiting)
    return tuple(out)


def _is_share(row: Row) -> bool:
    return row.counted or all(c.percent for c in row.cells)


def _sum(row: Row, waiting: Sequence[Row]) -> Total | None:
    """The longest run of rows right above a total that adds up to it in every column."""
    for start in range(max(0, len(waiting) - _LONGEST), len(waiting) - 1):
        total = _total(row, tuple(waiting[start:]))
        if total is not None and total.adds_up:
            return total
    return None


def _nearly(row: Row, waiting: Sequence[Row]) -> Total | None:
    """The run of rows that adds up in most years, though not in all."""
    best: tuple[int, Total] | None = None
    for start in range(max(0, len(waiting) - _LONGEST), len(waiting) - 1):
        total = _total(row, tuple(waiting[start:]))
        if total is None or not all(c.cell.when for c in total.columns):
            continue  # Columns that are no years may be shares, prices or changes, which do not add.
        right = sum(not c.difference and bool(c.sum) for c in total.columns)
        if right and (best is None or right > best[0]):
            best = right, total
    return best[1] if best else None


def _claimed(row: Row, block: tuple[Row, ...]) -> Total | None:
    """The rows since the last total or heading, where they were surely meant to be the sum."""
    total = _total(row, block) if len(block) <= _LONGEST else None
    return total if total is not None and _meant(total) else None


def _total(row: Row, parts: tuple[Row, ...]) -> Total | None:
    """The sums of some rows beside a total; None where they are of another unit, or nothing to compare."""
    if len(parts) < 2 or any((p.scale, p.currency) != (row.scale, row.currency) for p in parts):
        return None
    dated = row.years or row.cells
    columns = tuple(c for cell in dated if not cell.percent and (c := _column(cell, row, parts)) is not None)
    return Total(row=row, parts=parts, columns=columns) if columns else None


def _column(cell: Cell, row: Row, parts: Sequence[Row]) -> Column | None:
    signed = [
        (-1 if _LESS.search(p.label) and c.value > 0 else 1, c)
        for p in parts
        if (c := _under(cell, row, p)) is not None and not c.percent
    ]
    if len(signed) < 2:
        return None
    summed = sum((sign * c.value for sign, c in signed), Decimal(0))
    terms = "".join((" - " if sign < 0 else " + ") + c.path for sign, c in signed).removeprefix(" + ").lstrip()
    return Column(
        cell=cell,
        parts=tuple(c for _, c in signed),
        sum=summed,
        difference=_difference(cell.value, summed, [c.value for _, c in signed]),
        derivation=f"sum of the parts: {terms}",
    )


def _difference(stated: Decimal, summed: Decimal, values: Sequence[Decimal]) -> Decimal:
    """What rounding does not explain: half a last digit for the total and for each part."""
    digit = Decimal(1).scaleb(min(_exponent(v) for v in (stated, *values)))
    slack = digit * ((len(values) + 1) // 2) if len(values) > 2 else Decimal(0)
    return stated - summed if abs(stated - summed) > slack else Decimal(0)


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return min(exponent, 0) if isinstance(exponent, int) else 0


def _under(cell: Cell, total: Row, row: Row) -> Cell | None:
    """A row's cell in the column of a total's: where it stands, or in a ragged table of the same year."""
    places = {_place(c): c.when for c in total.cells}
    if any(places.get(_place(c), c.when) != c.when for c in row.cells):
        return next((c for c in row.years if (c.when, c.part) == (cell.when, cell.part)), None)
    return next((c for c in row.cells if _place(c) == _place(cell)), None)


def _place(cell: Cell) -> str:
    """The column in the input."""
    return cell.path.rpartition("[")[2]


def _meant(total: Total) -> bool:
    """Whether a total that fails was surely meant as the sum of these rows."""
    if not all(c.cell.when for c in total.columns):
        return False
    heading = set(_WORD.findall(total.parts[-1].section.lower()))
    if heading and heading <= set(_WORD.findall(total.row.label.lower())):
        return True
    return len(total.parts) > 2 and all(abs(c.difference) <= _NEAR * abs(c.cell.value) for c in total.columns)


_IDENTITIES = (
    ("total_assets", ("total_liabilities", "equity"), (1, 1)),
    ("gross_profit", ("revenue", "cost_of_revenue"), (1, -1)),
)


def identities(tables: Sequence[Table]) -> tuple[Total, ...]:
    """What must agree and does not: assets with liabilities and equity, gross profit with revenue and its cost."""
    books = Books(tables)
    out: list[Total] = []
    for key, parts, signs in _IDENTITIES:
        for when, part in books.periods:
            if any(books.one("minority", w, p) for w, p in books.periods) and key == "total_assets":
                continue
            whole, found = books.one(key, when, part), [books.one(k, when, part) for k in parts]
            if whole is None or any(f is None for f in found):
                continue
            entries = [f for f in found if f is not None]
            if len({(row.scale, row.currency) for row, _ in (whole, *entries)}) > 1:
                continue
            cells = [cell for _, cell in entries]
            # A cost printed below zero is added.
            way = [1 if s < 0 and c.value < 0 else s for s, c in zip(signs, cells, strict=True)]
            summed = sum((s * c.value for s, c in zip(way, cells, strict=True)), Decimal(0))
            difference = _difference(whole[1].value, summed, [c.value for c in cells])
            terms = f"{cells[0].path} {'+' if way[1] > 0 else '-'} {cells[1].path}"
            if difference:
                column = Column(
                    cell=whole[1],
                    parts=tuple(cells),
                    sum=summed,
                    difference=difference,
                    derivation=f"sum of the parts: {terms}",
                )
                out.append(Total(row=whole[0], parts=tuple(row for row, _ in entries), columns=(column,)))
    return tuple(out)
