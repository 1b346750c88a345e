"""`finance.report`: statements and tables of figures become a paragraph, or a research or industry report.

A record for training has `tables` and `paragraph`, and may have `heading` and `facts` (tagged figures, as
inline XBRL has them). The prompt shows the rows nearest to the heading, with changes already computed:
a model copies figures well and computes badly. A generator's input may say a `style`: "paragraph" (the rows
nearest to the heading), "research" (a company's accounts part by part, with ratios), or "industry" (what each
part has of its total first), and a `lang`. Every figure is an input or a stated calculation on inputs.

>>> from domains.finance.synthetic import records
>>> row = next(records("harbour", 1, seed=1))
>>> example = ReportTask().examples(row, unit=row["company"])[0]
>>> example.prompt.endswith("Text:"), example
(True, Example)
>>> table = [["单位:百万元", "2024年", "2023年"], ["营业收入", "320", "295.2"], ["净利润", "25.6", "20"]]
>>> source = ReportTask().read({"tables": [table], "lang": "zh", "style": "research"})
>>> for statement in ReportTask().skeleton(source).statements[2:]:
...     print(statement.section, statement.text)
营业收入 营业收入2024年为3.2亿元，同比增长8.4%。
盈利能力 净利润2024年为2560万元，同比增长28.0%。
盈利能力 净利率2024年为8.0%，较2023年上升1.2个百分点。
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from domains._figures import normalise
from domains.base import Example, Fact, Sensitive, Skeleton
from domains.finance._words import VOCABULARY, VOCABULARY_ZH
from domains.finance.report_facts import label_of, row_facts
from domains.finance.report_sections import named, row_statement, sections
from domains.finance.table import FACTORS, Cell, Row, Table, change, read_tables
from fedcore.errors import RecordError

if TYPE_CHECKING:
    from domains.finance.charts import Chart

__all__ = ["STYLES", "Report", "ReportTask"]

STYLES: Mapping[str, float] = MappingProxyType({"research": 0.1, "industry": 0.1, "paragraph": 0.1})
"""Style label -> temperature. Facts are stated in all of them."""

_ROWS = 4
"""Rows that must be reported in a paragraph, and that the prompt shows."""
_CHARACTERS = 600
"""What the prompt may take for rows."""
_WORD = re.compile(r"[a-z]{3,}|[\u4e00-\u9fff]")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_COMMON = frozenset("and the for from with our total other net income results".split())  # noqa: SIM905


@dataclass(frozen=True, kw_only=True, repr=False)
class Report(Sensitive):
    """A generator's input: a heading, and tables, the last of which may be made of tagged figures."""

    heading: str
    tables: tuple[Table, ...]
    lang: Literal["en", "zh"] = "en"
    style: str = "paragraph"

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows of all tables; of two with one label and the same figures, the first."""
        found: dict[tuple[Any, ...], Row] = {}
        for table in self.tables:
            for row in table.rows:
                found.setdefault((row.label.lower(), *((c.value, c.when, c.part) for c in row.cells)), row)
        return tuple(found.values())


@dataclass(frozen=True, kw_only=True)
class ReportTask:
    """The task. It holds no state."""

    name: str = "finance.report"
    version: str = "2"
    kind: Literal["generate", "classify"] = "generate"
    fields: tuple[str, ...] = ("tables", "paragraph")
    optional: tuple[str, ...] = ("heading", "facts", "style", "lang")
    summary: str = "statements and tables become a research or industry report"
    languages: tuple[str, ...] = ("en", "zh")
    base: str = "smollm2-135m"
    styles: Mapping[str, float] = field(default_factory=lambda: STYLES)
    endings: tuple[str, ...] = (".csv", ".tsv", ".xlsx", ".xhtml", ".html", ".htm")
    """Of files that `read_file` reads beside JSON."""

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
        """Read tables, heading, tagged figures, style and language.

        Without a language it is that of the labels. Without a style it is a paragraph, as in training.

        Raises:
            RecordError: The tables cannot be read or hold no figures; a style or language is not known.
        """
        return _read(fields)

    def read_file(self, path: Path) -> Mapping[str, Any]:
        """The fields of a CSV, XLSX, JSON or inline XBRL file.

        Raises:
            RecordError: As for `domains.finance.readers.read_file`.
        """
        from domains.finance.readers import read_file

        return read_file(path)

    def prompt(self, source: Report) -> str:
        """The heading, then a line for each chosen row, then "Text:"."""
        lines: list[str] = []
        room = _CHARACTERS
        for row in _chosen(source):
            line = _line(row, source.lang)
            if lines and len(line) > room:
                break
            room -= len(line)
            lines.append(line)
        stop, marker = ("。", "正文：") if source.lang == "zh" else (".", "Text:")
        title = f"{source.heading}{stop}\n" if source.heading else ""
        return title + "\n".join(lines) + f"\n{marker}"

    def skeleton(self, source: Report) -> Skeleton:
        """What must be said, by style, and every other figure, which may be."""
        if source.style == "paragraph":
            statements = tuple(row_statement(row, source.lang) for row in _chosen(source))
            extra = [f for row in source.rows for f in row_facts(row, source.lang)]
        else:
            statements, found = sections(source.rows, source.tables, source.lang, source.style)
            extra = list(found)
        if source.heading:
            extra.append(Fact(kind="name", text=source.heading, path="heading"))
        return Skeleton(
            statements=statements,
            vocabulary=VOCABULARY_ZH if source.lang == "zh" else VOCABULARY,
            extra=tuple(extra),
            lang=source.lang,
        )

    def charts(self, source: Report) -> tuple["Chart", ...]:
        """Pictures of the main rows over the years, each with the facts that it draws.

        Raises:
            ConfigError: As for `domains.finance.charts.draw`.
        """
        from domains.finance.charts import charts

        return charts(source.rows, source.lang)

    def figures(self, source: Report) -> tuple[tuple[str, bytes], ...]:
        """The charts as captions and PNG images; a caption says what its picture could not show."""
        return tuple((chart.note or chart.title, chart.png) for chart in self.charts(source))

    def title(self, source: Report) -> str:
        """The heading, or what kind of report it is."""
        titles = {
            "research": ("Research report", "研究报告"),
            "industry": ("Industry report", "行业报告"),
            "paragraph": ("Report", "报告"),
        }
        return source.heading or titles[source.style][source.lang == "zh"]


def _read(fields: Mapping[str, Any]) -> Report:
    if "tables" not in fields:
        raise RecordError("a record has no field 'tables'", expected="tables", do="map 'tables' to its column")
    heading = fields.get("heading") or ""
    if not isinstance(heading, str):
        raise RecordError("the field 'heading' is wrong", expected="text", got=type(heading).__name__)
    heading = normalise(heading).rstrip(" .:")
    style = fields.get("style") or "paragraph"
    if not isinstance(style, str) or style not in STYLES:
        raise RecordError("the field 'style' is not known", expected="one of " + ", ".join(STYLES))
    tables = read_tables(_json(fields["tables"], "tables"))
    tagged = _tagged(_json(fields.get("facts") or [], "facts"))
    if not tagged.rows and not any(t.rows for t in tables):
        raise RecordError("the tables hold no figure under a label", expected="rows of a label and figures")
    if style != "paragraph":
        tables = named(tables)
    return Report(heading=heading[:120], tables=(*tables, tagged), lang=_lang(fields, tables), style=style)


def _lang(fields: Mapping[str, Any], tables: tuple[Table, ...]) -> Literal["en", "zh"]:
    """The language asked for, or else that of most labels."""
    asked = fields.get("lang")
    if asked == "en":
        return "en"
    if asked == "zh":
        return "zh"
    if asked is not None:
        raise RecordError("the field 'lang' is not known", expected="en or zh")
    labels = [row.label for table in tables for row in table.rows]
    return "zh" if sum(bool(_HAN.search(x)) for x in labels) * 2 > len(labels) else "en"


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
    rows: dict[tuple[str, str | None, str], list[Cell]] = {}
    for i, fact in enumerate(value if isinstance(value, list) else []):
        if not isinstance(fact, Mapping) or not isinstance(fact.get("concept"), str):
            continue
        try:
            number = Decimal(str(fact.get("value")))
        except InvalidOperation:
            continue
        members = [str(d[-1]).removesuffix("Member") for d in fact.get("dims") or [] if isinstance(d, list) and d]
        label = " ".join(_CAMEL.findall(" ".join([fact["concept"], *members]))).capitalize()[:120]
        when, part, unit = str(fact.get("end") or "")[:4], _length(fact), fact.get("unit")
        if number.is_finite() and number == number.to_integral_value():
            number = Decimal(int(number))
        cells = rows.setdefault((label, unit if isinstance(unit, str) else None, part), [])
        if label and number.is_finite() and not any(c.when == when for c in cells):
            path = f"facts[{i}].value"
            cells.append(Cell(value=number, when=when, column="", percent=False, path=path, part=part))
    found = [_scaled(label, unit, cells) for (label, unit, _), cells in rows.items() if cells]
    return Table(rows=tuple(found), scale="", currency="")


def _length(fact: Mapping[str, Any]) -> str:
    """A fact's period where it is no year: its first and last day; "" for a year, a day, or where none is said."""
    try:
        first, last = date.fromisoformat(str(fact.get("start"))), date.fromisoformat(str(fact.get("end")))
    except ValueError:
        return ""
    return "" if 340 < (last - first).days < 380 else f"{first}/{last}"


_UNITS = {"USD": "$", "CNY": "¥", "EUR": "€", "GBP": "£"}


def _scaled(label: str, unit: str | None, cells: list[Cell]) -> Row:
    """Whole millions are to be printed as millions, which is exact; anything else as it is.

    Facts that name no unit are in dollars where they are whole millions.
    """
    million = Decimal(1_000_000)
    currency = _UNITS.get(unit or "", "")
    counted = unit is not None and not currency
    if all(c.value % million == 0 for c in cells) and any(c.value for c in cells) and not counted:
        money = "$" if unit is None else currency
        return Row(label=label, cells=tuple(cells), scale="units", currency=money, path=cells[0].path)
    return Row(label=label, cells=tuple(cells), scale="", currency=currency, path=cells[0].path, counted=counted)


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


def _line(row: Row, lang: str) -> str:
    """A row of the prompt: its unit once, figures by year, and the change where one can be computed."""
    if row.scale == "units":
        million = FACTORS["million"]
        cells = tuple(replace(c, value=Decimal(int(c.value / million))) for c in row.cells)
        row = replace(row, scale="million", cells=cells)
    unit = " ".join(x for x in (row.currency, row.scale) if x)
    label = label_of(row, lang)
    head = f"{label} ({unit}): " if unit and not row.cells[0].percent else f"{label}: "
    years = row.years
    if not years:
        return head + ", ".join(_plain(c) for c in row.cells[:3])
    text = head + ", ".join(f"{c.when} {_plain(c)}" for c in years[:2])
    if len(years) < 2:
        return text
    moved = change(years[0], years[1])
    if moved.absolute == 0:
        return f"{text} ({'持平' if lang == 'zh' else 'unchanged'})"
    return f"{text} ({moved.absolute:+,}" + (f", {moved.percent:+}%)" if moved.percent is not None else ")")


def _plain(cell: Cell) -> str:
    return f"{cell.value:,}" + ("%" if cell.percent else "")
