"""`finance.report`: tables of figures become a paragraph.

A record for training has `tables` and `paragraph`, and may have `heading` and `facts` (tagged figures, as
inline XBRL has them). The prompt shows the rows nearest to the heading, with changes already computed:
a model copies figures well and computes badly.

>>> from domains.finance.synthetic import records
>>> row = next(records("harbour", 1, seed=1))
>>> example = ReportTask().examples(row, unit=row["company"])[0]
>>> example.prompt.endswith("Text:"), example
(True, Example)
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Literal

from domains._figures import normalise
from domains.base import Example, Fact, Sensitive, Skeleton, Statement
from domains.finance._words import VOCABULARY
from domains.finance.table import Cell, Change, Row, Table, change, read_tables
from fedcore.errors import RecordError

__all__ = ["Report", "ReportTask"]

_ROWS = 4
"""Rows that must be reported, and that the prompt shows."""
_CHARACTERS = 600
"""What the prompt may take for rows."""
_WORD = re.compile(r"[a-z]{3,}")
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_COMMON = frozenset("and the for from with our total other net income results".split())  # noqa: SIM905


@dataclass(frozen=True, kw_only=True, repr=False)
class Report(Sensitive):
    """A generator's input: a heading, and tables, the last of which may be made of tagged figures."""

    heading: str
    tables: tuple[Table, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows of all tables; of two with one label and the same figures, the first."""
        found: dict[tuple[Any, ...], Row] = {}
        for table in self.tables:
            for row in table.rows:
                found.setdefault((row.label.lower(), *((c.value, c.when) for c in row.cells)), row)
        return tuple(found.values())


@dataclass(frozen=True, kw_only=True)
class ReportTask:
    """The task. It holds no state."""

    name: str = "finance.report"
    version: str = "1"
    kind: Literal["generate", "classify"] = "generate"
    fields: tuple[str, ...] = ("tables", "paragraph")
    optional: tuple[str, ...] = ("heading", "facts")

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """Render a record.

        Raises:
            RecordError: The tables hold no figures, or there is no paragraph.
        """
        paragraph = fields.get("paragraph")
        if not isinstance(paragraph, str) or not paragraph.strip():
            raise RecordError(
                "a record has no paragraph",
                expected="text in the field 'paragraph'",
                do="map 'paragraph' to its column",
            )
        return [Example(prompt=self.prompt(_read(fields)), target=" " + paragraph.strip(), unit=unit)]

    def read(self, fields: Mapping[str, Any]) -> Report:
        """Read tables, heading and tagged figures.

        Raises:
            RecordError: The tables cannot be read or hold no figures.
        """
        return _read(fields)

    def prompt(self, source: Report) -> str:
        """The heading, then a line for each chosen row, then "Text:"."""
        lines: list[str] = []
        room = _CHARACTERS
        for row in _chosen(source):
            line = _line(row)
            if lines and len(line) > room:
                break
            room -= len(line)
            lines.append(line)
        title = f"{source.heading}.\n" if source.heading else ""
        return title + "\n".join(lines) + "\nText:"

    def skeleton(self, source: Report) -> Skeleton:
        """A statement for each chosen row; every other figure may be stated, none must be."""
        chosen = _chosen(source)
        extra = [f for row in source.rows for f in _row_facts(row)]
        if source.heading:
            extra.append(Fact(kind="name", text=source.heading, path="heading"))
        return Skeleton(
            statements=tuple(_statement(row) for row in chosen),
            vocabulary=VOCABULARY,
            extra=tuple(extra),
        )


def _read(fields: Mapping[str, Any]) -> Report:
    if "tables" not in fields:
        raise RecordError("a record has no field 'tables'", expected="tables", do="map 'tables' to its column")
    heading = fields.get("heading") or ""
    if not isinstance(heading, str):
        raise RecordError("the field 'heading' is wrong", expected="text", got=type(heading).__name__)
    heading = normalise(heading).rstrip(" .:")
    tables = read_tables(_json(fields["tables"], "tables"))
    tagged = _tagged(_json(fields.get("facts") or [], "facts"))
    if not tagged.rows and not any(t.rows for t in tables):
        raise RecordError("the tables hold no figure under a label", expected="rows of a label and figures")
    return Report(heading=heading[:120], tables=(*tables, tagged))


def _json(value: Any, name: str) -> Any:
    """A list, or the JSON text of one, as CSV and Parquet columns hold it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise RecordError(f"the field {name!r} is not JSON", expected="a list") from error


def _tagged(value: Any) -> Table:
    """Tagged figures as a table: a row a concept, a column a year; what cannot be read is left out."""
    rows: dict[str, list[Cell]] = {}
    for i, fact in enumerate(value if isinstance(value, list) else []):
        if not isinstance(fact, Mapping) or not isinstance(fact.get("concept"), str):
            continue
        try:
            number = Decimal(str(fact.get("value")))
        except InvalidOperation:
            continue
        members = [str(d[-1]).removesuffix("Member") for d in fact.get("dims") or [] if isinstance(d, list) and d]
        label = " ".join(_CAMEL.findall(" ".join([fact["concept"], *members]))).capitalize()[:120]
        when = str(fact.get("end") or "")[:4]
        if number.is_finite() and number == number.to_integral_value():
            number = Decimal(int(number))
        if label and number.is_finite() and not any(c.when == when for c in rows.get(label, [])):
            cell = Cell(value=number, when=when, column="", percent=False, path=f"facts[{i}].value")
            rows.setdefault(label, []).append(cell)
    return Table(rows=tuple(_scaled(label, cells) for label, cells in rows.items()), scale="", currency="")


def _scaled(label: str, cells: list[Cell]) -> Row:
    """Whole millions are printed as millions, which is exact; anything else as it is."""
    million = Decimal(1_000_000)
    if all(c.value % million == 0 and c.value != 0 for c in cells):
        cells = [replace(c, value=c.value / million) for c in cells]
        return Row(label=label, cells=tuple(cells), scale="million", currency="$", path=cells[0].path)
    return Row(label=label, cells=tuple(cells), scale="", currency="", path=cells[0].path)


_AMOUNT: dict[str, Any] = {"units": frozenset({"", "$", "usd", "dollar"})}


def _chosen(report: Report) -> tuple[Row, ...]:
    """The rows that share most words with the heading, in the order of the tables; ties go to the earlier row.

    Rows of two years go before others, and of two rows under one label the first is taken.
    """
    wanted = set(_WORD.findall(report.heading.lower())) - _COMMON
    distinct = {row.label.lower(): row for row in reversed(report.rows)}
    rows = [r for r in report.rows if distinct[r.label.lower()] is r]
    rows = [r for r in rows if len(r.years) >= 2] or rows
    ranked = sorted(range(len(rows)), key=lambda i: (-len(wanted & set(_WORD.findall(rows[i].label.lower()))), i))
    return tuple(rows[i] for i in sorted(ranked[:_ROWS]))


def _amount(value: Decimal, row: Row, percent: bool) -> str:
    """A figure as a sentence prints it."""
    sign = "-" if value < 0 else ""
    if percent:
        return f"{sign}{abs(value):,}%"
    return f"{sign}{row.currency}{abs(value):,}" + (f" {row.scale}" if row.scale else "")


def _line(row: Row) -> str:
    """A row of the prompt: its unit once, figures by year, and the change where one can be computed."""
    unit = " ".join(x for x in (row.currency, row.scale) if x)
    head = f"{row.label} ({unit}): " if unit and not row.cells[0].percent else f"{row.label}: "
    years = row.years
    if not years:
        return head + ", ".join(_plain(c) for c in row.cells[:3])
    text = head + ", ".join(f"{c.when} {_plain(c)}" for c in years[:2])
    if len(years) < 2:
        return text
    moved = change(years[0], years[1])
    if moved.absolute == 0:
        return f"{text} (unchanged)"
    return f"{text} ({moved.absolute:+,}" + (f", {moved.percent:+}%)" if moved.percent is not None else ")")


def _plain(cell: Cell) -> str:
    return f"{cell.value:,}" + ("%" if cell.percent else "")


def _cues(label: str) -> frozenset[str]:
    """The wordings under which a row's figures may stand."""
    short = re.sub(r"\s*\([^)]*\)", "", label).strip()
    return frozenset(x for x in (label, short) if x)


def _figure(cell: Cell, row: Row) -> Fact:
    """A figure of the table as a fact."""
    return Fact(
        kind="number",
        text=_amount(cell.value, row, cell.percent),
        path=cell.path,
        value=cell.value,
        units=frozenset({"%"}) if cell.percent else _AMOUNT["units"],
        cues=_cues(row.label),
        scale="" if cell.percent else row.scale,
        when=cell.when,
    )


def _moves(row: Row, new: Cell, moved: Change) -> tuple[Fact, ...]:
    """The computed change as facts: the difference and the percentage, each with its direction."""
    sense = "up" if moved.absolute > 0 else "down" if moved.absolute < 0 else "flat"
    shared: dict[str, Any] = {"kind": "number", "cues": _cues(row.label), "when": new.when, "sense": sense}
    points = frozenset({"point", "percentage point"})
    out = [
        Fact(
            text=_amount(abs(moved.absolute), row, False),
            path=new.path,
            value=abs(moved.absolute),
            units=points if new.percent else _AMOUNT["units"],
            scale="" if new.percent else row.scale,
            derivation=moved.derivation,
            **shared,
        )
    ]
    if moved.percent is not None:
        out.append(
            Fact(
                text=f"{abs(moved.percent)}%",
                path=new.path,
                value=abs(moved.percent),
                units=frozenset({"%"}),
                derivation=f"({moved.derivation}) / {moved.derivation.rsplit(' - ', 1)[-1]}",
                **shared,
            )
        )
    return tuple(out)


def _label_fact(row: Row) -> Fact:
    return Fact(kind="name", text=row.label, path=row.path, also=tuple(_cues(row.label)))


def _year_fact(cell: Cell) -> Fact:
    return Fact(kind="date", text=cell.when, path=f"{cell.path} (column heading)")


def _row_facts(row: Row) -> list[Fact]:
    """Everything that may be said of a row."""
    years = row.years
    facts = [_label_fact(row), *(_figure(c, row) for c in row.cells)]
    facts += [_year_fact(c) for c in years]
    for new, old in pairwise(years):
        facts += _moves(row, new, change(new, old))
    return facts


def _statement(row: Row) -> Statement:
    """The latest figure, and how it moved from the year before."""
    years = row.years
    label = _label_fact(row)
    if not years:
        cell = row.cells[0]
        text = f"{row.label}: {_amount(cell.value, row, cell.percent)}."
        return Statement(rule="report.figure", text=text, facts=(label, _figure(cell, row)))
    new = years[0]
    now = f"{row.label}: {_amount(new.value, row, new.percent)} in {new.when}"
    facts = (label, _figure(new, row), _year_fact(new))
    if len(years) < 2:
        return Statement(rule="report.figure", text=f"{now}.", facts=facts)
    old = years[1]
    moved = change(new, old)
    then = f"{_amount(old.value, row, old.percent)} in {old.when}"
    moves = _moves(row, new, moved)
    if moved.absolute == 0:
        return Statement(rule="report.change", text=f"{now}, unchanged from {then}.", facts=facts)
    way = "up" if moved.absolute > 0 else "down"
    points = f"{abs(moved.absolute):,} point{'' if abs(moved.absolute) == 1 else 's'}"
    step = points if new.percent else moves[-1].text
    # The latest figure must be said; the change stands in the wording, since prose may state it in two ways.
    return Statement(rule="report.change", text=f"{now}, {way} {step} from {then}.", facts=facts)
