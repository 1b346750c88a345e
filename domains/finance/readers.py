"""Files of statements read into the fields of `finance.report`: CSV, XLSX, JSON and inline XBRL.

A sheet is a table, and a path into it counts its rows and columns from zero as they stand: `tables[0][3][1]`
is the cell B4 of the first sheet. XLSX gives the values that were last computed, and percentages as they
are formatted. Inline XBRL gives tagged figures, read offline: no taxonomy is fetched. A file never says a
language; its report is a research report unless the fields are changed.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "own.csv"
>>> _ = path.write_text("($ millions),2024,2023\\nRevenue,\\"1,200\\",1000\\n", encoding="utf-8")
>>> read_file(path)["tables"]
[[['($ millions)', '2024', '2023'], ['Revenue', '1,200', '1000']]]
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from fedcore.errors import ConfigError, RecordError

__all__ = ["FORMATS", "read_file"]

_LIMIT_BYTES = 64 << 20
_LIMIT_INFLATED_BYTES = 512 << 20
_LIMIT_CELLS = 20_000


def read_file(path: Path) -> Mapping[str, Any]:
    """The fields that a file gives: `tables` or `facts`, a `heading` where the first line is one, a `style`.

    Raises:
        RecordError: The file is missing, too large, of no known kind, or cannot be read; never with content.
        ConfigError: A package that reads its kind is not installed.
    """
    read = FORMATS.get(path.suffix.lower())
    if read is None:
        raise RecordError(f"{path} is of no kind that can be read", expected="one of " + " ".join(sorted(FORMATS)))
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise RecordError(f"{path} is too large", expected=f"at most {_LIMIT_BYTES >> 20} MiB")
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror})", do="check the path") from error
    try:
        return read(content)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from None
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path.suffix} files need the Python package {error.name!r}", do="pip install 'concordat[domains]'"
        ) from error


def _csv(content: bytes) -> dict[str, Any]:
    """UTF-8, or else GB 18030 as spreadsheets in Chinese write it; the separator is found in the first lines."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = content.decode("gb18030")
        except UnicodeDecodeError:
            raise RecordError("the text is in no known encoding", expected="UTF-8 or GB 18030") from None
    head = "\n".join(text.splitlines()[:20])
    try:
        dialect: Any = csv.Sniffer().sniff(head, ",;\t|")
    except csv.Error:
        dialect = csv.excel  # One column, or lines of different length: commas are the common case.
    try:
        rows = list(csv.reader(io.StringIO(text), dialect, strict=False))
    except csv.Error:
        raise RecordError("the text is not CSV", expected="rows of cells", do="save it as CSV again") from None
    return _fields([rows])


def _xlsx(content: bytes) -> dict[str, Any]:
    """Every sheet that holds something, hidden ones too, as a table."""
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > _LIMIT_INFLATED_BYTES:
            raise RecordError(
                "the workbook is too large", expected=f"at most {_LIMIT_INFLATED_BYTES >> 20} MiB unpacked"
            )
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        tables = []
        cells = 0
        for sheet in book.worksheets:
            rows: list[list[str]] = []
            for row in sheet.iter_rows():
                rows.append([_cell(c.value, str(getattr(c, "number_format", "") or "")) for c in row])
                cells += len(row)
                if cells > _LIMIT_CELLS:
                    raise RecordError("the workbook is too large", expected=f"at most {_LIMIT_CELLS} cells")
            while rows and not any(rows[-1]):
                rows.pop()
            if any(any(row) for row in rows):
                tables.append(rows)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError):
        # What the reader says of a damaged workbook may quote its cells.
        raise RecordError("the workbook cannot be read", expected="an .xlsx file", do="save it again") from None
    return _fields(tables)


def _cell(value: Any, number_format: str) -> str:
    """A cell as it is shown: dates in ISO form, percentages with their sign, numbers without binary noise."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return ""
    if isinstance(value, datetime | date):
        return value.strftime("%Y-%m-%d")
    if isinstance(value, int | float):
        number = _decimal(value)
        if "%" in number_format:
            digits = len(number_format.partition(".")[2].partition("%")[0]) if "." in number_format else 0
            exact = number * 100
            return f"{round(exact, digits) if digits else exact.normalize():f}%"
        return f"{number:f}"
    return str(value).strip()


def _decimal(value: int | float) -> Decimal:
    """Without the noise that binary fractions have beyond 15 digits."""
    if isinstance(value, int):
        return Decimal(value)
    number = Decimal(f"{value:.15g}")
    return Decimal(int(number)) if number.is_finite() and number == number.to_integral_value() else number


def _json(content: bytes) -> dict[str, Any]:
    """The task's own fields; or a table, a list of tables, or rows as objects, by shape."""
    try:
        value = json.loads(content.decode("utf-8-sig"), parse_float=Decimal)
    except (UnicodeDecodeError, ValueError):
        raise RecordError("the text is not JSON", expected="UTF-8 JSON", do="correct the file") from None
    if isinstance(value, dict) and ("tables" in value or "facts" in value):
        return {"tables": [], **value}
    if isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        value = [{"": name, **cells} for name, cells in value.items()]
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        header = list(dict.fromkeys(key for row in value for key in row))
        return _fields([[header, *([row.get(key) for key in header] for row in value)]])
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        nested = all(isinstance(row, list) for table in value for row in table)
        return _fields(value if nested else [value])
    raise RecordError(
        "the JSON holds no table", expected="an object with 'tables', a table as rows of cells, or rows as objects"
    )


def _xbrl(content: bytes) -> dict[str, Any]:
    """Tagged figures with their period, dimensions and unit; one that cannot be read is left out."""
    from bs4.exceptions import ParserRejectedMarkup
    from ixbrlparse import IXBRL
    from ixbrlparse.core import IXBRLParseError

    try:
        document = IXBRL(io.BytesIO(content), raise_on_error=False)
        found = list(_facts(document))
    except (IXBRLParseError, ParserRejectedMarkup, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # The parser raises whatever its parts do, with the document's text in it.
        raise RecordError(
            "the inline XBRL cannot be read", expected="an XHTML document with an ix:header", do="check the file"
        ) from None
    if not found:
        raise RecordError("the document holds no tagged figure", expected="inline XBRL with ix:nonFraction elements")
    return {"tables": [], "facts": found, "style": "research"}


def _facts(document: Any) -> Iterator[dict[str, Any]]:
    for item in document.numeric:
        context = item.context
        end = getattr(context, "enddate", None) or getattr(context, "instant", None)
        if item.value is None or end is None or not item.name:
            continue
        start = getattr(context, "startdate", None)
        # A member stands in the segment as prefix:Member, explicit members inside their dimension.
        members = [
            [str(s.get("dimension", "")).rpartition(":")[2], str(s.get("value", "")).rpartition(":")[2]]
            for s in context.segments or []
        ]
        yield {
            "concept": item.name,
            "value": str(_decimal(item.value)),
            "start": start.isoformat() if start else None,
            "end": end.isoformat(),
            "dims": members,
            "unit": str(document.units.get(item.unit) or item.unit or "").rpartition(":")[2],
        }


def _fields(tables: list[list[list[Any]]]) -> dict[str, Any]:
    """Tables as fields of the task; a first line of one cell without digits is the heading."""
    fields: dict[str, Any] = {"tables": tables, "style": "research"}
    first = next((row for table in tables for row in table if any(row)), [])
    title = [str(c) for c in first if c]
    if len(title) == 1 and not any(c.isdigit() for c in title[0]) and len(title[0]) <= 120:
        fields["heading"] = title[0]
    return fields


FORMATS = {
    ".csv": _csv,
    ".tsv": _csv,
    ".xlsx": _xlsx,
    ".json": _json,
    ".xhtml": _xbrl,
    ".html": _xbrl,
    ".htm": _xbrl,
}
"""How each kind of file is read, by its ending."""
