"""A research or industry report says every account, ratio and failing total, in English and Chinese."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.base import traits
from domains.checks import Checker
from domains.finance.derivations import evaluate, parse
from domains.finance.report import STYLES, Report, ReportTask
from domains.finance.report_facts import amount
from domains.finance.report_scan import scan
from domains.pipeline import Settings, generate
from fedcore.errors import RecordError

TASK = ReportTask()
INCOME = [
    ["($ millions)", "2024", "2023", "2022"],
    ["Cloud", "700", "600", "500"],
    ["Licences", "300", "250", "240"],
    ["Services", "150", "120", "110"],
    ["Training", "50", "30", "20"],
    ["Total revenue", "1,200", "1,000", "870"],
    ["Cost of revenue", "660", "600", "520"],
    ["Net income", "120", "80", "(10)"],
]
BALANCE = [
    ["(in thousands)", "2024", "2023"],
    ["Total current assets", "900,000", "800,000"],
    ["Total current liabilities", "450,000", "500,000"],
    ["Total assets", "2,000,000", "1,900,000"],
    ["Total liabilities", "1,200,000", "1,150,000"],
    ["Total equity", "800,000", "750,000"],
]
CHINESE = [
    ["单位：百万元", "2024年", "2023年"],
    ["营业收入", "320", "295.2"],
    ["营业成本", "192", "180"],
    ["净利润", "(12.5)", "20"],
    ["资产总计", "12,345.678", "12,000"],
]


def read(*tables: Any, **more: Any) -> Report:
    return TASK.read({"tables": list(tables), "style": "research", **more})


def texts(*tables: Any, **more: Any) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for statement in TASK.skeleton(read(*tables, **more)).statements:
        out.setdefault(statement.section, []).append(statement.text)
    return out


def test_a_research_report_goes_part_by_part() -> None:
    found = texts(INCOME, BALANCE)
    assert list(found) == [
        "Overview",
        "Revenue",
        "Composition",
        "Costs",
        "Profit and margins",
        "Balance sheet",
        "Other figures",
    ]
    assert found["Overview"] == ["Years: 2024, 2023, 2022.", "In 2024: Total revenue up 20.0%; Net income up 50.0%."]
    assert found["Revenue"] == [
        "Total revenue: $1,200 million in 2024, up 20.0% from $1,000 million in 2023.",
        "Compound annual growth of Total revenue, 2022 to 2024: 17.4%.",
    ]
    assert found["Composition"] == [
        "Composition of Total revenue in 2024: Cloud share 58.3%, Licences share 25.0%, Services share 12.5%, "
        "Training share 4.2%."
    ]
    assert "Gross margin: 45.0% in 2024, up 5.0 points from 40.0% in 2023." in found["Profit and margins"]
    assert "Current ratio: 2.00 in 2024, up 0.40 from 1.60 in 2023." in found["Balance sheet"]


def test_ratios_over_tables_of_two_scales_are_right() -> None:
    table = [["$ thousands", "2024"], ["Total equity", "800,000"]]
    found = texts([["$ millions", "2024"], ["Net income", "120"]], table)
    assert "Return on year-end equity: 15.0% in 2024." in found["Profit and margins"]


def test_a_share_never_passes_for_growth() -> None:
    checker = Checker(TASK.skeleton(read(INCOME)))
    assert not checker.check("Cloud share 58.3% in 2024.").faults
    assert checker.check("Cloud rose 58.3% in 2024.").faults
    assert checker.check("Cloud rose 25.0% in 2024.").faults


def test_an_industry_report_gives_shares_first_and_growth_of_each_part() -> None:
    found = texts(INCOME, style="industry")
    assert list(found)[:2] == ["Overview", "Composition"]
    assert "CR3 of Total revenue: 95.8% in 2024." in found["Composition"]
    assert "Compound annual growth of Cloud, 2022 to 2024: 18.3%." in found["Other figures"]


def test_a_total_that_does_not_add_up_is_said() -> None:
    wrong = [list(row) for row in INCOME]
    wrong[5][1] = "1,300"
    (finding,) = texts(wrong)["Findings on the figures"]
    assert finding == (
        "Total revenue is stated as $1,300 million in 2024, while the sum of the parts of Total revenue is "
        "$1,200 million; difference to stated Total revenue: $100 million."
    )
    assert "Composition" not in texts(wrong)
    assert generate(TASK, read(wrong), None, Settings()).untraced == 0
    (chinese,) = texts(wrong, lang="zh")["数据核对"]
    assert chinese.startswith("营业收入2024年列示为13亿美元，") or chinese.startswith(
        "Total revenue2024年列示为13亿美元，"
    )


def test_a_chinese_report_is_worded_as_reports_are() -> None:
    found = texts(CHINESE)
    assert found["概览"] == ["报告所涉年份：2024年、2023年。", "2024年，营业收入同比增长8.4%。"]
    assert found["营业收入"] == ["营业收入2024年为3.2亿元，同比增长8.4%。"]
    assert found["盈利能力"] == [
        "净利润2024年为-1250万元，较2023年减少3250万元。",
        "毛利率2024年为40.0%，较2023年上升1.0个百分点。",
        "净利率2024年为-3.9%，较2023年下降10.7个百分点。",
        "总资产收益率(期末)2024年为-0.1%，较2023年下降0.3个百分点。",
    ]
    # What no 亿 or 万 prints exactly is printed in full.
    assert found["资产与负债"][0] == "资产总计2024年为1234567.8万元，同比增长2.9%。"


def test_years_apart_are_not_called_year_on_year() -> None:
    assert texts([["", "2024年", "2021年"], ["营业收入", "5", "4"]])["营业收入"] == [
        "营业收入2024年为5，较2021年增长25.0%。"
    ]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_names_follow_the_language_where_both_know_the_account(lang: str) -> None:
    assert ("营业收入" if lang == "zh" else "Total revenue") in str(texts(INCOME, lang=lang))
    assert ("净利润" if lang == "zh" else "Net income") in str(texts(CHINESE, lang=lang))


@pytest.mark.parametrize("style", list(STYLES))
@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    "tables", [(INCOME, BALANCE), (CHINESE,), ([["", "Q3 2024", "Q3 2023"], ["Revenue", "5", "4"]],)]
)
def test_every_style_gives_a_proven_document_in_both_languages(style: str, lang: str, tables: Any) -> None:
    document = generate(TASK, read(*tables, style=style, lang=lang), None, Settings())
    assert document.sentences
    assert all(m.fact.derivation or m.fact.path for s in document.sentences for m in s.mentions)


@pytest.mark.parametrize("style", ["research", "industry"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_stated_calculation_gives_its_figure_again(style: str, lang: str) -> None:
    source = read(INCOME, BALANCE, style=style, lang=lang)
    cells = {c.path: c.value for t in source.tables for r in t.rows for c in r.cells}
    rows = {c.path: r for t in source.tables for r in t.rows for c in r.cells}
    computed = [f for f in TASK.skeleton(source).facts if f.kind == "number" and f.derivation]
    assert len(computed) > 20
    for fact in computed:
        value = evaluate(parse(fact.derivation), cells.__getitem__)
        scale = next(rows[p].scale for p in rows if p in fact.derivation)
        assert fact.value is not None
        assert fact.value in (value, *(amount(value, scale, "$", lang)[k] for k in ("value",)))


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**5))
def test_a_changed_figure_changes_what_is_said_of_it(new: int, old: int, by: int) -> None:
    def said(value: int) -> str:
        return texts([["$ millions", "2024", "2023"], ["Revenue", f"{value:,}", f"{old:,}"]])["Revenue"][0]

    assert said(new) != said(new + by)
    growth = (Decimal(abs(new - old) * 100) / old).quantize(Decimal("0.1"), ROUND_HALF_UP)
    assert said(new) == f"Revenue: ${new:,} million in 2024, " + (
        f"unchanged from ${old:,} million in 2023."
        if new == old
        else f"{'up' if new > old else 'down'} {growth:,}% from ${old:,} million in 2023."
    )


LABELS = ("Revenue", "营业收入", "Cost of sales", "净利润", "Total assets", "Total liabilities", "Stores", "Total")
CELLS = st.integers(-(10**7), 10**7).map(lambda n: f"({-n:,})" if n < 0 else f"{n:,}") | st.sampled_from(
    ["—", "", "3.5%"]
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(LABELS), CELLS, CELLS, CELLS), min_size=1, max_size=8),
    st.sampled_from(["(in millions)", "$ thousands", "单位：万元", "", "RMB million", "HK$"]),
    st.sampled_from([["2024", "2023", "2022"], ["2024年", "2023年", "2021年"], ["Q1 2024", "Q1 2023", "Q4 2023"]]),
    st.sampled_from(list(STYLES)),
    st.sampled_from(["en", "zh"]),
)
def test_any_statement_gives_a_proven_report_with_nothing_untraced(
    rows: list[tuple[str, ...]], head: str, years: list[str], style: str, lang: str
) -> None:
    fields = {"tables": [[[head, *years], *map(list, rows)]], "style": style, "lang": lang}
    try:
        source = TASK.read(fields)
    except RecordError:
        assert not any(c[:1].isdigit() or c[:1] == "(" for row in rows for c in row[1:])
        return
    assert scan(generate(TASK, source, None, Settings()), fields).untraced == 0


@given(
    st.decimals(-(10**13), 10**13, places=2, allow_nan=False), st.sampled_from(["", "thousand", "万", "million", "亿"])
)
def test_a_chinese_amount_loses_nothing(value: Decimal, scale: str) -> None:
    shown = amount(value, scale, "¥", "zh")
    number = shown["text"].removesuffix("元")
    by = {"亿": 10**8, "万": 10**4}.get(number[-1], 1)
    exact = value * {"": 1, "thousand": 1000, "万": 10**4, "million": 10**6, "亿": 10**8}[scale]
    assert Decimal(number.rstrip("亿万")) * by == exact == shown["value"]


@pytest.mark.parametrize("fields", [{"style": "poem"}, {"style": 7}, {"lang": "fr"}])
def test_an_unknown_style_or_language_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        TASK.read({"tables": [INCOME], **fields})


def test_a_part_of_a_year_never_stands_under_the_bare_name() -> None:
    source = read([["", "Q3 2024", "Q3 2023"], ["Revenue", "5", "4"]])
    facts = [f for f in TASK.skeleton(source).facts if f.kind == "number"]
    assert {cue for f in facts for cue in f.cues} == {"Revenue (q3)"}


def test_the_task_says_its_languages_and_styles() -> None:
    told = traits(TASK)
    assert (told.languages, next(iter(told.styles)), bool(told.summary)) == (("en", "zh"), "research", True)


def test_prompts_of_plain_records_are_as_they_were() -> None:
    assert TASK.prompt(TASK.read({"tables": [INCOME[:1] + INCOME[5:6]], "heading": "Sales."})) == (
        "Sales.\nTotal revenue ($ million): 2024 1,200, 2023 1,000 (+200, +20.0%)\nText:"
    )
