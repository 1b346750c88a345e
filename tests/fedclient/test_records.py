"""Records stream from every format, each with its privacy unit; bad ones are named by position alone."""

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedclient.records import Record, RecordSettings, read_records
from fedcore import config
from fedcore.errors import ConfigError, NoPrivacyUnit, NotFhirR4, RecordError


def read(path: Path, unit: str = "patient", **more: Any) -> list[Record]:
    return list(read_records(RecordSettings(path=path, unit=unit, **more)))


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def bundle(patient: str = "p1", **encounter: Any) -> dict[str, Any]:
    subject = {"reference": f"Patient/{patient}"}
    resources: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": patient},
        {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, "subject": subject, **encounter},
    ]
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}


# Formats


def test_jsonl_keeps_order_lines_and_own_names(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", {"patient": "b", "note": "x"}, {"patient": "a", "note": "y"})
    records = read(path)
    assert [(r.unit, r.position, r.fields["note"]) for r in records] == [("b", 1, "x"), ("a", 2, "y")]


def test_empty_lines_are_passed_over_but_counted(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('\n{"patient": "a"}\n\n{"patient": "b"}\n')
    assert [r.position for r in read(path)] == [2, 4]


def test_jsonl_is_read_one_line_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"patient": "a"}\n{broken\n')
    records = read_records(RecordSettings(path=path, unit="patient"))
    assert next(records).unit == "a"
    with pytest.raises(RecordError, match="line 2"):
        next(records)


def test_csv_reads_long_quoted_cells_and_structures(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    note = 'line one\nline "two", ' + "long " * 40_000
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["patient", "note", "tables"], ["7", note, '[[["a", "1"]]]'], ["8", "[redacted] he", "{x"]])
    first, second = read(path)
    assert (first.unit, first.fields["note"], first.fields["tables"]) == ("7", note, [[["a", "1"]]])
    assert (second.fields["note"], second.fields["tables"]) == ("[redacted] he", "{x")


def test_parquet_reads_nested_values_and_dates(tmp_path: Path) -> None:
    rows = [{"patient": 7, "tables": [["a", "1"]], "day": date(2021, 3, 5), "text": '{"a": 1}'}] * 600
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "r.parquet")
    records = read(tmp_path / "r.parquet")
    assert [r.position for r in records] == list(range(1, 601))
    assert records[599].unit == "7"
    assert records[599].fields == {"patient": 7, "tables": [["a", "1"]], "day": "2021-03-05", "text": {"a": 1}}


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "patient": st.text(st.characters(categories=["L", "N"]), min_size=1),
                "note": st.text(st.characters(exclude_categories=["C"])).map(lambda t: "n" + t),
            }
        ),
        min_size=1,
        max_size=6,
    )
)
def test_every_format_gives_the_same_records(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    root = tmp_path_factory.mktemp("same")
    write_lines(root / "r.jsonl", *rows)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), root / "r.parquet")
    with (root / "r.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["patient", "note"])
        writer.writeheader()
        writer.writerows(rows)
    expected = [(row["patient"], row) for row in rows]
    for name in ("r.jsonl", "r.csv", "r.parquet"):
        assert [(r.unit, r.fields) for r in read(root / name)] == expected


def test_fhir_comes_as_one_bundle_as_lines_or_as_a_directory(tmp_path: Path) -> None:
    one = tmp_path / "one.json"
    one.write_text(json.dumps(bundle("p1"), indent=2))
    lines = write_lines(tmp_path / "many.ndjson", bundle("p2"), bundle("p3"))
    assert [r.unit for r in read(one)] == ["p1"]
    assert [(r.unit, r.fields["bundle"]) for r in read(lines)] == [("p2", bundle("p2")), ("p3", bundle("p3"))]
    (tmp_path / "dir/sub").mkdir(parents=True)
    (tmp_path / "dir/readme.txt").write_text("not a bundle")
    one.rename(tmp_path / "dir/sub/one.json")
    lines.rename(tmp_path / "dir/many.ndjson")
    assert [(r.unit, r.position) for r in read(tmp_path / "dir")] == [("p2", 1), ("p3", 2), ("p1", 3)]


def test_bundles_in_jsonl_are_known_by_their_first_line(tmp_path: Path) -> None:
    assert [r.unit for r in read(write_lines(tmp_path / "b.jsonl", bundle("p2")))] == ["p2"]


# Privacy units and paths


@pytest.mark.parametrize("unit", ["", "  "])
def test_no_unit_is_refused_before_anything_is_read(tmp_path: Path, unit: str) -> None:
    with pytest.raises(NoPrivacyUnit, match=r"set \[records\] unit"):
        read_records(RecordSettings(path=tmp_path / "does-not-exist", unit=unit))


def test_unit_record_makes_each_record_its_own(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", {"a": 1}, {"a": 1})
    assert [r.unit for r in read(path, "record")] == ["1", "2"]


@pytest.mark.parametrize("value", [7, 7.0, "7", " 7 "])
def test_one_unit_written_in_several_ways_is_one(tmp_path: Path, value: Any) -> None:
    assert read(write_lines(tmp_path / "r.jsonl", {"patient": value}))[0].unit == "7"


@pytest.mark.parametrize("value", [None, "", "  ", 1.5, True, [], {"id": 1}])
def test_record_without_a_usable_unit_is_refused_by_line(tmp_path: Path, value: Any) -> None:
    path = write_lines(tmp_path / "r.jsonl", {"patient": "a"}, {"patient": value})
    with pytest.raises(NoPrivacyUnit, match=r"^line 2: 'patient' is empty or no name"):
        read(path)


def test_missing_unit_column_names_those_that_exist(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", {"person": "secret", "note": "secret"})
    with pytest.raises(NoPrivacyUnit, match="expected one of note, person") as caught:
        read(path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "expected"), [("a.b.1.c", "x"), ("a.b.0", "first"), ("dotted.name", "y"), ("a.dotted.name", "z")]
)
def test_paths_reach_into_objects_and_lists(tmp_path: Path, path: str, expected: str) -> None:
    row = {"a": {"b": ["first", {"c": "x"}], "dotted.name": "z"}, "dotted.name": "y"}
    file = write_lines(tmp_path / "r.jsonl", row)
    record = read(file, path, fields={"note": path})[0]
    assert (record.unit, record.fields["note"]) == (expected, expected)


@pytest.mark.parametrize("path", ["a.b.9", "a.b.-1", "a.b.x", "a.b.0.c", "nothing", "a."])
def test_path_that_leads_nowhere_is_refused(tmp_path: Path, path: str) -> None:
    file = write_lines(tmp_path / "r.jsonl", {"patient": "p", "a": {"b": ["first"]}})
    with pytest.raises(RecordError, match=r"line 1 has no .*correct \[records\] fields"):
        read(file, fields={"note": path})
    with pytest.raises(NoPrivacyUnit, match=r"line 1 has no .*correct \[records\] unit"):
        read(file, path)


def test_mapped_fields_join_the_columns(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "r.jsonl", {"patient": "p", "target": "text", "site": "s"})
    assert read(file, fields={"note": "target"})[0].fields == {
        "patient": "p",
        "target": "text",
        "site": "s",
        "note": "text",
    }


@pytest.mark.parametrize(
    "subject",
    [{"reference": "Patient/p9"}, {"reference": "urn:uuid:p9"}, {"reference": "https://x.org/fhir/Patient/p9"}],
)
def test_patient_is_found_through_subjects_where_no_resource_is(tmp_path: Path, subject: dict[str, str]) -> None:
    value = bundle(subject=subject)
    del value["entry"][0]
    assert read(write_lines(tmp_path / "b.ndjson", value))[0].unit == "p9"


def test_bundle_of_several_patients_has_no_unit(tmp_path: Path) -> None:
    value = bundle("p1")
    value["entry"] += bundle("p2")["entry"]
    with pytest.raises(NoPrivacyUnit, match="line 1 is about several patients"):
        read(write_lines(tmp_path / "b.ndjson", value))


def test_bundle_of_no_patient_has_no_unit(tmp_path: Path) -> None:
    with pytest.raises(NoPrivacyUnit, match="no patient that it names"):
        read(write_lines(tmp_path / "b.ndjson", {"resourceType": "Bundle", "type": "collection"}))


def test_unit_of_a_bundle_can_be_a_path(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "b.ndjson", bundle("p1"))
    assert read(path, "bundle.entry.0.resource.id")[0].unit == "p1"


# Bad input: position, never content


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.jsonl", b'{"patient": "secret"}\n{"patient": "secret', "^line 2 is not JSON"),
        ("r.jsonl", b'{"patient": "secret \xff"}\n', "^line 1 is not JSON"),
        ("r.jsonl", b"[" * 100_000, "^line 1 is not JSON"),
        ("r.jsonl", b'"secret"\n', "^line 1 is not a JSON object"),
        ("r.csv", b"patient,note\nsecret,secret,secret\n", "^line 2 has another number of cells"),
        ("r.csv", b'patient,note\nsecret,"secret" secret\n', "not CSV"),
        ("r.csv", b"patient,note\nsecret,\xff\n", "not CSV"),
        ("r.csv", b"patient,patient\nsecret,secret\n", "^line 1 names a column twice"),
        ("r.parquet", b"PAR1secretPAR1", "not Parquet"),
        ("r.parquet", b"secret", "not Parquet"),
        ("r.json", b"{secret", "^the file is not JSON"),
        ("r.ndjson", b'{"resourceType": "Bundle", "type": "collection"}\n{"secret', "^line 1 is about|^line 2"),
    ],
)
def test_broken_file_is_named_by_position_and_shows_no_content(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordError, match=message) as caught:
        read(tmp_path / name)
    chain = [caught.value, caught.value.__cause__]
    assert not any("secret" in repr(error) for error in chain)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv", "r.json", "r.ndjson"])
def test_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(RecordError, match="empty"):
        read(tmp_path / name)


def test_header_without_rows_and_directory_without_files_are_empty(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("patient,note\n")
    with pytest.raises(RecordError, match="empty"):
        read(tmp_path / "r.csv")
    (tmp_path / "dir").mkdir()
    with pytest.raises(RecordError, match="empty"):
        read(tmp_path / "dir")


def test_missing_file_unknown_suffix_and_directory_of_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="do not exist"):
        read(tmp_path / "r.jsonl")
    (tmp_path / "r.xlsx").write_text("x")
    with pytest.raises(RecordError, match=r"set \[records\] format"):
        read(tmp_path / "r.xlsx")
    with pytest.raises(RecordError, match="are a directory"):
        read(tmp_path, format="csv")


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"resourceType": "Patient", "id": "secret"},
        {"resourceType": "Bundle", "type": "secret"},
        {"resourceType": "Bundle", "type": "collection", "entry": {"secret": 1}},
        {"resourceType": "Bundle", "type": "collection", "entry": ["secret"]},
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"id": "secret"}}]},
        bundle("secret", **{"class": [{"coding": []}]}),
        bundle("secret", **{"class": "ambulatory"}),
        {"resourceType": "Bundle", "type": ["secret"]},
        {"type": "collection"},
    ],
)
def test_bundle_that_is_not_r4_is_refused_by_position(tmp_path: Path, value: Any) -> None:
    path = write_lines(tmp_path / "b.ndjson", bundle("p1"), value)
    with pytest.raises(NotFhirR4, match=r"^line 2") as caught:
        read(path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "MedicationRequest", "medication": {"concept": {}}},  # R5
        {"resourceType": "NutritionIntake"},  # R5
        {"resourceType": "Condition", "subject": {}, "clinicalStatus": "active"},  # STU3
        {"resourceType": "ReferralRequest"},  # STU3
        {"resourceType": "MedicationOrder"},  # DSTU2
    ],
)
def test_resources_of_other_releases_are_refused(tmp_path: Path, resource: dict[str, Any]) -> None:
    value = bundle()
    value["entry"].append({"resource": resource})
    with pytest.raises(NotFhirR4, match=r"^line 1: .*not FHIR R4 at entry\[2\]"):
        read(write_lines(tmp_path / "b.ndjson", value))


def test_records_print_their_class_alone(tmp_path: Path) -> None:
    assert repr(read(write_lines(tmp_path / "r.jsonl", {"patient": "secret"}))[0]) == "Record"


def test_settings_come_from_toml(tmp_path: Path) -> None:
    table = {"path": "r.jsonl", "unit": "patient", "fields": {"note": "target"}}
    assert config.parse(RecordSettings, table, where="node.toml").fields == {"note": "target"}
    with pytest.raises(ConfigError, match="unknown key"):
        config.parse(RecordSettings, {**table, "units": "x"}, where="node.toml")
