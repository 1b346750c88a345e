"""Sources of records: JSONL, CSV, Parquet and FHIR R4 bundles, as one stream of **Record**s.

Each record names its privacy unit; a source that does not say whom to protect is refused. Bad input is
reported by position (line, row or file in sorted order), never by content. Records are read one after the
other: only a Parquet batch or one bundle is in memory. Knows nothing of tasks, models or budgets.

>>> from pathlib import Path
>>> _ = Path(tmp, "notes.jsonl").write_text('{"who": "p1", "text": "..."}')       # doctest: +SKIP
>>> settings = RecordSettings(path=Path(tmp, "notes.jsonl"), unit="who", fields={"note": "text"})  # doctest: +SKIP
>>> [(r, r.unit, sorted(r.fields)) for r in read_records(settings)]              # doctest: +SKIP
[(Record, 'p1', ['note', 'text', 'who'])]
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from fedclient._fhir import patient_of, require_r4
from fedcore.errors import NoPrivacyUnit, RecordError

__all__ = ["Format", "Record", "RecordSettings", "read_records"]

Format = Literal["auto", "jsonl", "csv", "parquet", "fhir"]

_SUFFIXES: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".json": "fhir",
}
_CELL_LIMIT_BYTES = 64 << 20
_NAMES_SHOWN = 20
_MISSING = object()


@dataclass(frozen=True, kw_only=True)
class RecordSettings:
    """Where records are and how to read them.

    `unit` is the column or JSON path of whom to protect, such as "patient" or
    "bundle.entry.0.resource.id"; "record" protects each record by itself, and "patient" of a FHIR source is
    the bundle's Patient. `fields` maps a task's field to a column or path; fields not mentioned keep the
    name they have in the source.
    """

    path: Path
    unit: str = ""
    format: Format = "auto"
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, repr=False)
class Record:
    """One record. `position` is its line or row, or its place among the bundles, from 1."""

    unit: str
    fields: Mapping[str, Any]
    position: int

    def __repr__(self) -> str:
        return "Record"


def read_records(settings: RecordSettings) -> Iterator[Record]:
    """Stream the records of a source.

    Settings, path and format are checked at the call; each record as it comes.

    Raises:
        NoPrivacyUnit: No unit is named, or a record does not have it.
        NotFhirR4: A bundle is not FHIR R4.
        RecordError: The source is missing, empty or broken, or a mapped column does not exist.
    """
    if not settings.unit.strip():
        raise NoPrivacyUnit(
            "no privacy unit is named",
            expected="the column or path of whom to protect, such as 'patient', or 'record'",
            do="set [records] unit",
        )
    source = settings.path
    if not source.exists():
        raise RecordError(f"the records {source} do not exist", do="set [records] path")
    form = _format(settings)
    return _records(settings, form)


def _records(settings: RecordSettings, form: Format) -> Iterator[Record]:
    """Rows made into records; refuses a source without any."""
    count = 0
    try:
        for where, position, row in _rows(settings.path, form):
            count += 1
            yield Record(
                unit=_unit(settings, form, row, where, position),
                fields=_fields(settings, row, where),
                position=position,
            )
    except OSError as error:
        raise RecordError(f"the records {settings.path} cannot be read ({error.strerror or 'damaged'})") from error
    if not count:
        raise RecordError(f"the records {settings.path} are empty", expected="at least one record")


def _format(settings: RecordSettings) -> Format:
    """The format that is set, or what suffix and first line say."""
    if settings.format != "auto":
        return settings.format
    if settings.path.is_dir():
        return "fhir"
    form = _SUFFIXES.get(settings.path.suffix.lower())
    if form is None:
        raise RecordError(
            "the format of the records cannot be told from the file's name",
            expected="one of " + ", ".join(sorted(_SUFFIXES)),
            do="set [records] format",
        )
    if form == "jsonl":
        first = next(_json_lines(settings.path, ""), None)
        if first is not None and isinstance(first[2], dict) and "resourceType" in first[2]:
            return "fhir"
    return form


def _rows(path: Path, form: Format) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """(where, position, row) of any source."""
    if form == "fhir":
        yield from _bundles(path)
    elif path.is_dir():
        raise RecordError(f"the records {path} are a directory", expected=f"a {form} file", do="set [records] path")
    elif form == "csv":
        yield from _csv_rows(path)
    elif form == "parquet":
        yield from _parquet_rows(path)
    else:
        for where, line, value in _json_lines(path, ""):
            if not isinstance(value, dict):
                raise RecordError(f"{where} is not a JSON object")
            yield where, line, value


def _json_lines(path: Path, prefix: str) -> Iterator[tuple[str, int, Any]]:
    """One JSON value a line; empty lines are passed over."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{prefix}line {number}", number, _parse(line, f"{prefix}line {number}")


def _parse(data: bytes, where: str) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        # The cause holds the text that failed, which must not reach a log.
        raise RecordError(f"{where} is not JSON", expected="JSON in UTF-8") from None


def _csv_rows(path: Path) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Rows under a header of column names."""
    csv.field_size_limit(max(csv.field_size_limit(), _CELL_LIMIT_BYTES))
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            if len(set(header)) != len(header):
                raise RecordError("line 1 names a column twice", expected="a header of distinct column names")
            for cells in reader:
                where = f"line {reader.line_num}"
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise RecordError(f"{where} has another number of cells than the header", expected=str(len(header)))
                yield where, reader.line_num, {n: _cell(c) for n, c in zip(header, cells, strict=True)}
        except (csv.Error, UnicodeDecodeError):
            raise RecordError(f"the text after line {reader.line_num} is not CSV", expected="CSV in UTF-8") from None


def _parquet_rows(path: Path) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Rows, a batch at a time."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", number, {name: _cell(value) for name, value in row.items()}
    except pyarrow.ArrowException:
        raise RecordError(f"the file is not Parquet, or is damaged after row {number}") from None


def _bundles(path: Path) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """FHIR bundles of a file (.json: one, else one a line) or of all such files under a directory, sorted."""
    files = [path]
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in (".json", ".ndjson", ".jsonl") and f.is_file())
    position = 0
    for number, file in enumerate(files, start=1):
        prefix = f"file {number}" if path.is_dir() else ""
        if file.suffix.lower() == ".json":
            where = prefix or "the file"
            data = file.read_bytes()
            if not data.strip():
                raise RecordError(f"{where} is empty", expected="a FHIR R4 bundle")
            values: Iterable[tuple[str, Any]] = [(where, _parse(data, where))]
        else:
            values = ((w, v) for w, _line, v in _json_lines(file, prefix + ", " if prefix else ""))
        for where, value in values:
            position += 1
            yield where, position, {"bundle": require_r4(value, where)}


def _cell(value: Any) -> Any:
    """A cell's value: JSON text of a list or object is read, a date becomes ISO text."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value.isoformat() if isinstance(value, date) else value


def _unit(settings: RecordSettings, form: Format, row: Mapping[str, Any], where: str, position: int) -> str:
    """Whom this record belongs to, as text; 7, 7.0 and "7" are the same."""
    if settings.unit == "record":
        return str(position)
    value = _at(row, settings.unit)
    if value is _MISSING and form == "fhir" and settings.unit == "patient":
        return patient_of(row["bundle"], where)
    if value is _MISSING:
        raise NoPrivacyUnit(
            f"{where} has no {settings.unit!r}, which [records] unit names", **_known(row, "correct [records] unit")
        )
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text:
        raise NoPrivacyUnit(
            f"{where}: {settings.unit!r} is empty or no name",
            expected="text or a whole number in every record",
            do="correct the record or leave it out",
        )
    return text


def _fields(settings: RecordSettings, row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The row with the mapped fields added."""
    mapped = {}
    for name, path in settings.fields.items():
        value = _at(row, path)
        if value is _MISSING:
            raise RecordError(
                f"{where} has no {path!r}, which [records] fields names for {name!r}",
                **_known(row, "correct [records] fields"),
            )
        mapped[name] = value
    return {**row, **mapped}


def _at(value: Any, path: str) -> Any:
    """What stands at a dotted path; a key that holds dots itself comes first."""
    if isinstance(value, Mapping):
        if path in value:
            return value[path]
        head, dot, rest = path.partition(".")
        return _at(value[head], rest) if dot and head in value else _MISSING
    if isinstance(value, list):
        head, dot, rest = path.partition(".")
        if head.isdecimal() and int(head) < len(value):
            return _at(value[int(head)], rest) if dot else value[int(head)]
    return _MISSING


def _known(row: Mapping[str, Any], do: str) -> dict[str, str]:
    """The columns that there are, for an error; names only."""
    names = sorted(str(n) for n in row)[:_NAMES_SHOWN]
    return {"expected": "one of " + ", ".join(names), "do": do}
