"""Tables become a prompt of their most fitting rows, and a skeleton whose figures are theirs or computed."""

import json
from pathlib import Path

import pytest

from domains.finance.report import ReportTask
from domains.finance.synthetic import SITES, public_examples, records
from domains.pipeline import Settings, generate
from fedcore.errors import RecordError

TASK = ReportTask()
EDGAR = Path(__file__).parents[4] / "shared/data/edgar_10k/dev_mdna.jsonl"
TABLE = [["(in $ millions)", "2024", "2023"], ["Net sales", "794", "601"], ["Net earnings", "(527)", "(1,430)"]]


def test_prompt_in_training_is_the_prompt_in_writing() -> None:
    row = next(records("meridian", 1, seed=1))
    (example,) = TASK.examples(row, unit="u")
    assert example.prompt == TASK.prompt(TASK.read(row))
    assert example.target == " " + row["paragraph"]


def test_a_statement_gives_both_years_and_the_computed_change() -> None:
    first, second = TASK.skeleton(TASK.read({"tables": [TABLE]})).statements
    assert first.text == "Net sales: $794 million in 2024, up 32.1% from $601 million in 2023."
    assert second.text == "Net earnings: -$527 million in 2024, up $903 million from -$1,430 million in 2023."


def test_rows_that_share_words_with_the_heading_go_first() -> None:
    rows = [["", "2024", "2023"], *([f"Line {c}", "5", "4"] for c in "abcdef"), ["Interest expense", "9", "8"]]
    assert "Interest expense" in TASK.prompt(TASK.read({"tables": [rows], "heading": "Interest expense"}))


def test_tagged_figures_serve_where_no_table_is() -> None:
    facts = [{"concept": "ShareBasedCompensation", "value": 541000000.0, "end": "2024-12-31"}]
    document = generate(TASK, TASK.read({"tables": [], "facts": facts}), None, Settings())
    assert document.text == "Share based compensation: $541 million in 2024."


def test_columns_as_json_text_are_read_too() -> None:
    assert TASK.prompt(TASK.read({"tables": json.dumps([TABLE])})) == TASK.prompt(TASK.read({"tables": [TABLE]}))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tables": [TABLE]},
        {"tables": [TABLE], "paragraph": " "},
        {"tables": [], "paragraph": "x"},
        {"tables": "{", "paragraph": "x"},
        {"tables": [TABLE], "paragraph": "x", "heading": 7},
    ],
)
def test_a_record_that_cannot_train_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        TASK.examples(fields, unit="u")


def test_synthetic_reports_are_seeded_and_sites_differ() -> None:
    assert list(records("harbour", 4, seed=1)) == list(records("harbour", 4, seed=1))
    texts = {site: " ".join(r["paragraph"] for r in records(site, 60, seed=1)) for site in SITES}
    assert texts["harbour"].count("Premiums") > texts["oakfield"].count("Premiums")
    assert set(public_examples(1, seed=1)[0]) == {"heading", "tables", "paragraph"}


@pytest.mark.skipif(not EDGAR.exists(), reason="the EDGAR sample is not here")
def test_real_tables_render_and_give_a_complete_document() -> None:
    for line in EDGAR.read_text(encoding="utf-8").splitlines()[::8]:
        row = json.loads(line)
        fields = {"tables": row["tables"], "paragraph": row["target"], "heading": row["section"], "facts": row["facts"]}
        (example,) = TASK.examples(fields, unit=row["company"])
        assert example.prompt.endswith("Text:")
        document = generate(TASK, TASK.read(fields), None, Settings())
        assert document.figures > 0
