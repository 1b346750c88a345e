"""What a report says, part by part, in its own wording. Part of `finance.report`.

`row_statement` is one row's latest figure and how it moved; `sections` a whole report: years covered, the
accounts by part, ratios, composition, compound growth, and totals that do not add up. A research report is
of one company; an industry report puts what each part has of its total first, with the growth of each.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from domains.base import Fact, Statement
from domains.finance.accounts import SECTIONS, recognise, section_title
from domains.finance.derivations import evaluate, parse
from domains.finance.ratios import Ratio, compound, grouped, ratios
from domains.finance.report_facts import (
    amount,
    beside,
    figure_fact,
    label_fact,
    label_of,
    moves,
    ratio_facts,
    ratio_moves,
    ratio_text,
    row_facts,
    year_fact,
)
from domains.finance.table import Cell, Row, Table
from domains.finance.totals import Column, Total, identities, totals

__all__ = ["named", "row_statement", "sections"]

_OTHERS = 12
"""Rows of no known account that a report must give."""
_PARTS = 12
"""Parts of a total whose shares are given; a total of more is left to its rows."""
_LEADING = 3
"""Parts that a concentration ratio takes together."""
_COMPOUND = frozenset({"revenue", "net_income", "total_assets", "operating_cash"})
_VAGUE = re.compile(r"^(?:sub-?)?total$|^others?$|^合计$|^小计$|^其他$|^总计$", re.IGNORECASE)


def named(tables: Sequence[Table]) -> tuple[Table, ...]:
    """The tables with rows such as "Other" named after the heading that they stand under."""
    return tuple(replace(t, rows=tuple(_named(r) for r in t.rows)) for t in tables)


def _named(row: Row) -> Row:
    vague = bool(_VAGUE.search(row.label)) and row.section
    return replace(row, label=f"{row.label} ({row.section})") if vague else row


def row_statement(row: Row, lang: str, section: str = "") -> Statement:
    """The latest figure, and how it moved from the year before.

    The latest figure must be said; the change stands in the wording, since prose may state it in two ways.
    """
    years = row.years
    name = label_fact(row, lang)
    new = years[0] if years else row.cells[0]
    now = figure_fact(new, row, lang)
    facts = (name, now, year_fact(new)) if years else (name, now)
    old = years[1] if len(years) > 1 else None
    text = (_chinese_row if lang == "zh" else _english_row)(row, name.text, now.text, new, old)
    return Statement(rule=f"report.{'change' if old else 'figure'}", text=text, facts=facts, section=section)


def _english_row(row: Row, name: str, now: str, new: Cell, old: Cell | None) -> str:
    if not new.when:
        return f"{name}: {now}."
    if old is None:
        return f"{name}: {now} in {new.when}."
    then = f"{figure_fact(old, row, 'en').text} in {old.when}"
    if new.value == old.value:
        return f"{name}: {now} in {new.when}, unchanged from {then}."
    moved = moves(row, new, old, "en")
    step = moved[-1].text
    if new.percent:
        step += " point" if moved[-1].value == 1 else " points"
    return f"{name}: {now} in {new.when}, {'up' if new.value > old.value else 'down'} {step} from {then}."


def _chinese_row(row: Row, name: str, now: str, new: Cell, old: Cell | None) -> str:
    if not new.when:
        return f"{name}为{now}。"
    head = f"{beside(name, new.when)}年为{now}"
    if old is None:
        return f"{head}。"
    if new.value == old.value:
        return f"{head}，与{old.when}年持平。"
    moved = moves(row, new, old, "zh")
    up = new.value > old.value
    if new.percent:
        return f"{head}，较{old.when}年{'上升' if up else '下降'}{moved[-1].text}个百分点。"
    if len(moved) < 2:
        return f"{head}，较{old.when}年{'增加' if up else '减少'}{moved[0].text}。"
    since = "同比" if int(new.when) - int(old.when) == 1 else f"较{old.when}年"
    return f"{head}，{since}{'增长' if up else '下降'}{moved[-1].text}。"


def sections(
    rows: Sequence[Row], tables: Sequence[Table], lang: str, style: str
) -> tuple[tuple[Statement, ...], tuple[Fact, ...]]:
    """The statements of a whole report in order, and all else that may be said.

    Args:
        rows: The distinct rows, as `Report.rows` gives them.
        tables: The tables that they come from.
        lang: "en" or "zh".
        style: "research" or "industry".
    """
    found = ratios(tables)
    sums = [t for table in tables for t in totals(table)]
    summed = {label_of(r, lang) for t in sums for r in (t.row, *t.parts)}
    distinct = tuple({label_of(r, lang).lower(): r for r in reversed(rows)}.values())[::-1]
    parts: dict[str, list[Statement]] = {key: [] for key in SECTIONS}
    parts["overview"] += [*_years(distinct, lang), *_headline(distinct, lang)]
    others = 0
    for row in distinct:
        account = recognise(row.label)
        others += account is None
        if account is not None or others <= _OTHERS:
            section = account.section if account else "other"
            parts[section].append(row_statement(row, lang))
        if (style == "industry" and label_of(row, lang) in summed) or (account and account.key in _COMPOUND):
            parts[section if account else "other"] += _compounded(row, lang)
    for ratio, before in grouped(found):
        parts[ratio.section].append(_ratio(ratio, before, lang))
    for total in sums:
        account = recognise(total.row.label)
        if style == "industry" or (account and account.key == "revenue"):
            parts["composition"] += _composition(total, lang, style)
    failed = [t for t in sums if not t.adds_up] + list(identities(tables))
    parts["findings"] += [s for t in failed for s in _findings(t, lang)]
    order = list(SECTIONS)
    if style == "industry":
        order.remove("composition")
        order.insert(1, "composition")
    out = [replace(s, section=section_title(key, lang)) for key in order for s in _once(parts[key])]
    extra = [f for row in distinct for f in row_facts(row, lang)]
    for ratio, before in grouped(found):
        extra += [*ratio_facts(ratio, lang), *((ratio_moves(ratio, before, lang),) if before else ())]
        extra += list(ratio_facts(before, lang)) if before else []
    return tuple(out), tuple(extra)


def _once(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    return tuple({s.text: s for s in statements}.values())


def _years(rows: Sequence[Row], lang: str) -> Iterator[Statement]:
    """The years that the figures are of."""
    found: dict[str, Fact] = {}
    for row in rows:
        for cell in row.years:
            found.setdefault(cell.when, year_fact(cell))
    years = sorted(found, reverse=True)
    if years:
        text = (
            f"报告所涉年份：{'、'.join(y + '年' for y in years)}。" if lang == "zh" else f"Years: {', '.join(years)}."
        )
        yield Statement(rule="report.years", text=text, facts=tuple(found[y] for y in years))


def _headline(rows: Sequence[Row], lang: str) -> Iterator[Statement]:
    """Growth of revenue and profit in the latest year, in one sentence."""
    said: list[tuple[str, Fact, Fact]] = []
    when = max((r.years[0].when for r in rows if r.years), default="")
    for row in rows:
        account = recognise(row.label)
        if account is None or account.key not in ("revenue", "net_income") or len(row.years) < 2:
            continue
        new, old = row.years[:2]
        growth = moves(row, new, old, lang)
        if new.when == when and int(old.when) == int(new.when) - 1 and len(growth) > 1 and growth[1].value:
            said.append((label_of(row, lang), label_fact(row, lang), growth[1]))
    if not said:
        return
    if lang == "zh":
        steps = "，".join(f"{n}同比{'增长' if g.sense == 'up' else '下降'}{g.text}" for n, _, g in said)
        text = f"{when}年，{steps}。"
    else:
        text = f"In {when}: " + "; ".join(f"{n} {g.sense} {g.text}" for n, _, g in said) + "."
    yield Statement(rule="report.headline", text=text, facts=tuple(f for _, name, g in said for f in (name, g)))


def _compounded(row: Row, lang: str) -> Iterator[Statement]:
    """Growth a year over three years and more."""
    made = compound(row)
    if made is None:
        return
    last, first, value, derivation = made
    label = label_of(row, lang)
    # The years are part of the name: no figure of one year stands under it.
    if lang == "zh":
        name = f"{beside(label, first.when)}年至{last.when}年复合年均增长率"
    else:
        name = f"Compound annual growth of {label}, {first.when} to {last.when}"
    fact = Fact(
        kind="number",
        path=f"{last.path}, {first.path}",
        cues=frozenset({name}),
        derivation=derivation,
        **amount(value, "", "", lang, percent=True),
    )
    called = Fact(kind="name", text=name, path=row.path, derivation="compound annual growth")
    text = f"{name}为{fact.text}。" if lang == "zh" else f"{name}: {fact.text}."
    yield Statement(rule="report.compound", text=text, facts=(called, fact))


def _ratio(ratio: Ratio, before: Ratio | None, lang: str) -> Statement:
    """A ratio, and how it moved from the year before."""
    facts = ratio_facts(ratio, lang)
    name, value = facts[0].text, facts[1].text
    if lang == "zh":
        text = f"{beside(name, ratio.when)}年为{value}"
        if before is not None:
            text += _chinese_step(ratio, before)
        return Statement(rule=f"ratio.{ratio.key}", text=text + "。", facts=facts)
    text = f"{name}: {value} in {ratio.when}"
    if before is not None:
        moved = ratio_moves(ratio, before, lang)
        then = f"{ratio_text(before, lang)} in {before.when}"
        if not moved.value:
            text += f", unchanged from {then}"
        else:
            points = (" point" if moved.value == 1 else " points") if ratio.kind == "percent" else ""
            text += f", {moved.sense} {moved.text}{points} from {then}"
    return Statement(rule=f"ratio.{ratio.key}", text=text + ".", facts=facts)


def _chinese_step(ratio: Ratio, before: Ratio) -> str:
    moved = ratio_moves(ratio, before, "zh")
    if not moved.value:
        return f"，与{before.when}年持平"
    points = "个百分点" if ratio.kind == "percent" else ""
    way = ("增加" if moved.sense == "up" else "减少") if ratio.kind == "amount" else ""
    return f"，较{before.when}年{way or ('上升' if moved.sense == 'up' else '下降')}{moved.text}{points}"


def _composition(total: Total, lang: str, style: str) -> Iterator[Statement]:
    """What each part has of its total in the latest year, the largest first."""
    year = next(iter(total.row.years), None)
    column = next((c for c in total.columns if year is not None and c.cell.path == year.path), None)
    if (
        year is None
        or column is None
        or column.difference
        or column.cell.value <= 0
        or not 2 <= len(column.parts) <= _PARTS
    ):
        return
    owners = {cell.path: row for row in total.parts for cell in row.cells}
    cells = sorted(column.parts, key=lambda c: -c.value)
    if any(c.value < 0 for c in cells) or any(recognise(owners[c.path].label) for c in cells):
        return
    whole = label_of(total.row, lang)
    # A name of its own keeps a share from standing for the part's growth.
    names = [f"{label_of(owners[c.path], lang)}{'所占比重' if lang == 'zh' else ' share'}" for c in cells]
    shares = [_share(n, c, column.cell, lang) for n, c in zip(names, cells, strict=True)]
    called = [
        Fact(kind="name", text=n, path=owners[c.path].path, derivation="share of the total")
        for n, c in zip(names, cells, strict=True)
    ]
    facts = (label_fact(total.row, lang), year_fact(year), *called, *shares)
    listed = [f"{n}{'' if lang == 'zh' else ' '}{f.text}" for n, f in zip(names, shares, strict=True)]
    if lang == "zh":
        text = f"{year.when}年{whole}的构成：{'，'.join(listed)}。"
    else:
        text = f"Composition of {whole} in {year.when}: {', '.join(listed)}."
    yield Statement(rule="report.share", text=text, facts=facts)
    if style == "industry" and len(cells) > _LEADING:
        yield _leading(total.row, column, cells[:_LEADING], lang)


def _share(name: str, cell: Cell, whole: Cell, lang: str) -> Fact:
    derivation = f"share of the total: round({cell.path} / {whole.path} * 100, 1)"
    value = evaluate(parse(derivation), {cell.path: cell.value, whole.path: whole.value}.__getitem__)
    return Fact(
        kind="number",
        path=f"{cell.path}, {whole.path}",
        cues=frozenset({name}),
        when=whole.when,
        derivation=derivation,
        **amount(value, "", "", lang, percent=True),
    )


def _leading(row: Row, column: Column, cells: Sequence[Cell], lang: str) -> Statement:
    """The concentration ratio: what the three largest parts have together."""
    whole = column.cell
    name = f"{label_of(row, lang)}的CR{_LEADING}" if lang == "zh" else f"CR{_LEADING} of {label_of(row, lang)}"
    calculation = f"round(({' + '.join(c.path for c in cells)}) / {whole.path} * 100, 1)"
    resolve = {c.path: c.value for c in (*cells, whole)}.__getitem__
    fact = Fact(
        kind="number",
        path=", ".join(c.path for c in (*cells, whole)),
        cues=frozenset({name}),
        when=whole.when,
        derivation=f"share of the {_LEADING} largest: {calculation}",
        **amount(evaluate(parse(calculation), resolve), "", "", lang, percent=True),
    )
    called = Fact(kind="name", text=name, path=row.path, derivation=f"share of the {_LEADING} largest")
    text = f"{beside(name, whole.when)}年为{fact.text}。" if lang == "zh" else f"{name}: {fact.text} in {whole.when}."
    return Statement(rule="report.concentration", text=text, facts=(called, fact, year_fact(whole)))


def _findings(total: Total, lang: str) -> Iterator[Statement]:
    """A total that its parts do not add up to: what is stated, what they give, and the difference."""
    label = label_of(total.row, lang)
    # Names of their own keep the computed sum from standing for the total itself.
    summed, gap = (
        (f"{label}各分项之和", f"{label}与分项之差")
        if lang == "zh"
        else (
            f"Sum of the parts of {label}",
            f"difference to stated {label}",
        )
    )
    for column in total.columns:
        if not column.difference:
            continue
        cell = column.cell
        stated = figure_fact(cell, total.row, lang)
        calculation = column.derivation.rpartition(": ")[2]
        made = _computed(summed, column, column.sum, column.derivation, total.row, lang)
        missing = _computed(
            gap, column, abs(column.difference), f"difference: abs({cell.path} - ({calculation}))", total.row, lang
        )
        names = tuple(
            Fact(kind="name", text=n, path=total.row.path, derivation="sum of the parts") for n in (summed, gap)
        )
        facts = (*names, label_fact(total.row, lang), stated, made, missing, year_fact(cell))
        if lang == "zh":
            text = f"{beside(label, cell.when)}年列示为{stated.text}；{summed}为{made.text}；{gap}为{missing.text}。"
            text = text.replace("；", "，")
        else:
            text = (
                f"{label} is stated as {stated.text} in {cell.when}, while the {_small(summed)} is {made.text}; "
                f"{gap}: {missing.text}."
            )
        yield Statement(rule="report.finding", text=text, facts=facts)


def _small(name: str) -> str:
    return name[:1].lower() + name[1:]


def _computed(name: str, column: Column, value: Decimal, derivation: str, row: Row, lang: str) -> Fact:
    shared: dict[str, Any] = amount(value, row.scale, row.currency, lang)
    return Fact(
        kind="number",
        path=", ".join(c.path for c in (column.cell, *column.parts)),
        cues=frozenset({name}),
        when=column.cell.when,
        derivation=derivation,
        **shared,
    )
