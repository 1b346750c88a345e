"""CSV, XLSX, JSON and inline XBRL of our own become the same tables and facts."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from domains.finance.readers import read_file
from domains.finance.report import ReportTask
from domains.pipeline import Settings, generate
from fedcore.errors import RecordError

TASK = ReportTask()
ROWS = [["单位：万元", "2024年", "2023年"], ["营业收入", "3,200", "2,952"], ["毛利率", "41.5%", "40.0%"]]

IXBRL = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html SYSTEM "http://unreachable.invalid/xhtml.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:ix="http://www.xbrl.org/2013/inlineXBRL"
 xmlns:xbrli="http://www.xbrl.org/2003/instance" xmlns:xbrldi="http://xbrl.org/2006/xbrldi"
 xmlns:ixt="http://www.xbrl.org/inlineXBRL/transformation/2015-02-26" xmlns:link="http://www.xbrl.org/2003/linkbase"
 xmlns:xlink="http://www.w3.org/1999/xlink">
<body><div style="display:none"><ix:header><ix:references>
<link:schemaRef xlink:type="simple" xlink:href="http://unreachable.invalid/own.xsd"/></ix:references><ix:resources>
{contexts}
<xbrli:unit id="usd"><xbrli:measure>iso4217:USD</xbrli:measure></xbrli:unit>
<xbrli:unit id="shares"><xbrli:measure>xbrli:shares</xbrli:measure></xbrli:unit>
</ix:resources></ix:header></div><p>{facts}</p></body></html>"""


def context(name: str, start: str, end: str, member: str = "") -> str:
    segment = (
        '<xbrli:segment><xbrldi:explicitMember dimension="own:SegmentAxis">'
        f"own:{member}</xbrldi:explicitMember></xbrli:segment>"
        if member
        else ""
    )
    period = (
        f"<xbrli:startDate>{start}</xbrli:startDate><xbrli:endDate>{end}</xbrli:endDate>"
        if start
        else f"<xbrli:instant>{end}</xbrli:instant>"
    )
    return (
        f'<xbrli:context id="{name}"><xbrli:entity><xbrli:identifier scheme="own">x</xbrli:identifier>{segment}'
        f"</xbrli:entity><xbrli:period>{period}</xbrli:period></xbrli:context>"
    )


def tagged(name: str, where: str, text: str, more: str = 'unitRef="usd" scale="6"') -> str:
    return (
        f'<ix:nonFraction name="us-gaap:{name}" contextRef="{where}" decimals="-6" format="ixt:numdotdecimal" {more}>'
        f"{text}</ix:nonFraction> "
    )


@pytest.fixture
def filing(tmp_path: Path) -> Path:
    contexts = (
        context("y24", "2024-01-01", "2024-12-31")
        + context("y23", "2023-01-01", "2023-12-31")
        + context("q4", "2024-10-01", "2024-12-31")
        + context("e24", "", "2024-12-31")
        + context("s24", "2024-01-01", "2024-12-31", "CloudMember")
    )
    facts = (
        tagged("Revenues", "y24", "1,320")
        + tagged("Revenues", "y23", "1,200")
        + tagged("Revenues", "q4", "350")
        + tagged("Revenues", "s24", "700")
        + tagged("NetIncomeLoss", "y24", "66", 'unitRef="usd" scale="6" sign="-"')
        + tagged("Assets", "e24", "2,000")
        + tagged("SharesOutstanding", "e24", "41,000,000", 'unitRef="shares" scale="0"')
    )
    path = tmp_path / "own.xhtml"
    path.write_text(IXBRL.format(contexts=contexts, facts=facts), encoding="utf-8")
    return path


def texts(fields: Any, **more: Any) -> list[str]:
    return [s.text for s in TASK.skeleton(TASK.read({**fields, **more})).statements]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_of_either_encoding_and_any_separator_is_one_table(tmp_path: Path, encoding: str, separator: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text("\r\n".join(separator.join(f'"{c}"' for c in row) for row in ROWS), encoding=encoding)
    assert read_file(path)["tables"] == [ROWS]


def test_a_workbook_gives_its_sheets_with_percentages_dates_and_paths(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Alder Works"])
    sheet.append(["(in thousands)", date(2024, 12, 31), date(2023, 12, 31)])
    sheet.append(["Revenue", 1234.5, 1100])
    sheet.append([])
    sheet.append(["Gross margin", 0.1534, 0.12])
    sheet["B5"].number_format = sheet["C5"].number_format = "0.0%"
    other = book.create_sheet("Balance")
    other.append(["", 2024, 2023])
    other.append(["Total assets", 0.1 + 0.2, 4])
    book.create_sheet("Empty")
    path = tmp_path / "own.xlsx"
    book.save(path)
    fields = read_file(path)
    assert fields["heading"] == "Alder Works"
    assert fields["tables"] == [
        [
            ["Alder Works", "", ""],
            ["(in thousands)", "2024-12-31", "2023-12-31"],
            ["Revenue", "1234.5", "1100"],
            ["", "", ""],
            ["Gross margin", "15.3%", "12.0%"],
        ],
        [["", "2024", "2023"], ["Total assets", "0.3", "4"]],
    ]
    report = TASK.read(fields)
    assert [c.path for c in report.rows[0].cells] == ["tables[0][2][1]", "tables[0][2][2]"]
    assert "Gross margin: 15.3% in 2024, up 3.3 points from 12.0% in 2023." in texts(fields)


@pytest.mark.parametrize(
    "value",
    [
        {"tables": [[["($ millions)", "2024", "2023"], ["Revenue", "5", "4"]]]},
        [[["($ millions)", "2024", "2023"], ["Revenue", "5", "4"]]],
        [["($ millions)", "2024", "2023"], ["Revenue", "5", "4"]],
        [{"($ millions)": "Revenue", "2024": 5, "2023": 4}],
        {"Revenue": {"2024": 5, "2023": 4}},
    ],
)
def test_json_of_any_plain_shape_is_read(tmp_path: Path, value: object) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    (row,) = TASK.read(read_file(path)).rows
    assert [(str(c.value), c.when) for c in row.years] == [("5", "2024"), ("4", "2023")]


def test_inline_xbrl_is_read_offline_with_periods_units_and_members(filing: Path) -> None:
    fields = read_file(filing)
    found = texts(fields)
    assert "Revenues: $1,320 million in 2024, up 10.0% from $1,200 million in 2023." in found
    assert "Revenues (2024-10-01/2024-12-31): $350 million in 2024." in found
    assert "Revenues cloud: $700 million in 2024." in found
    assert "Net income loss: -$66 million in 2024." in found
    assert "Shares outstanding: 41,000,000 in 2024." in found
    assert "Net margin: -5.0% in 2024." in found
    generate(TASK, TASK.read(fields), None, Settings())


def test_a_chinese_report_of_an_english_filing_uses_chinese_names(filing: Path) -> None:
    assert "营业收入2024年为13.2亿美元，同比增长10.0%。" in texts(read_file(filing), lang="zh")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("own.pdf", b"%PDF"),
        ("own.csv", b"\xff\xfe\x81"),
        ("own.xlsx", b"PK\x03\x04 no workbook"),
        ("own.xlsx", b"secret 4711"),
        ("own.json", b"{"),
        ("own.json", b"7"),
        ("own.json", b'{"a": 1}'),
        ("own.xhtml", b"<html><body>secret 4711</body></html>"),
        ("own.html", b""),
    ],
)
def test_a_file_that_holds_no_statement_is_refused_without_its_content(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        TASK.read(read_file(path))
    assert "4711" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        read_file(tmp_path / "none.csv")


def test_entities_of_a_filing_are_not_fetched_or_expanded(tmp_path: Path, filing: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("4711")
    text = filing.read_text(encoding="utf-8").replace(
        '<!DOCTYPE html SYSTEM "http://unreachable.invalid/xhtml.dtd">',
        f'<!DOCTYPE html [<!ENTITY own SYSTEM "{secret.as_uri()}">]>',
    )
    filing.write_text(text.replace(">1,320<", ">&own;<"), encoding="utf-8")
    try:
        found = json.dumps(read_file(filing))
    except RecordError as error:
        found = str(error)
    assert "4711" not in found
