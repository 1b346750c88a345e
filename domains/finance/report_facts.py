"""A report's rows and ratios as facts, in the words of its language. Part of `finance.report`.

English prints a figure in the scale of its table; Chinese in 亿 or 万 where that is exact. A row of an account
that both languages know by name is named in the report's language; any other keeps its label.

>>> from domains.finance.table import read_table
>>> row = read_table([["($ millions)", "2024", "2023"], ["Net sales", "320", "295.2"]], "T").rows[0]
>>> [f.text for f in row_facts(row, "en") if f.kind == "number"]
['$320 million', '$295.2 million', '$24.8 million', '8.4%']
>>> [f.text for f in row_facts(row, "zh") if f.kind == "number"]
['3.2亿美元', '2.952亿美元', '2480万美元', '8.4%']
"""

import re
from decimal import Decimal
from itertools import pairwise
from typing import Any

from domains.base import Fact
from domains.finance.accounts import recognise
from domains.finance.ratios import Ratio
from domains.finance.table import FACTORS, Cell, Change, Row, change

__all__ = [
    "amount",
    "beside",
    "figure_fact",
    "label_fact",
    "label_of",
    "moves",
    "ratio_facts",
    "ratio_moves",
    "ratio_text",
    "row_facts",
    "year_fact",
]

_HAN = re.compile(r"[\u4e00-\u9fff]")
_CHINESE_MONEY = {"¥": ("元", "cny"), "$": ("美元", "usd"), "€": ("欧元", "eur"), "£": ("英镑", "gbp"), "": ("", "")}
_POINTS = frozenset({"point", "percentage point"})


def label_of(row: Row, lang: str) -> str:
    """A row's name: the account's in the other language, with the part of the year where it is one."""
    label = row.label
    if bool(_HAN.search(label)) != (lang == "zh") and (account := recognise(label)) is not None:
        label = account.name(lang)
    return f"{label} ({row.part})" if row.part else label


def _cues(row: Row, lang: str) -> frozenset[str]:
    """The wordings under which a row's figures may stand; those of a part of a year never under the bare name."""
    label = label_of(row, lang)
    if row.part:
        return frozenset({label})
    short = re.sub(r"\s*\([^)]*\)", "", label).strip()
    return frozenset(x for x in (label, short) if x)


def beside(name: str, text: str) -> str:
    """A name and what follows it in Chinese: a space keeps letters and digits apart."""
    return f"{name} {text}" if name[-1:].isascii() and name[-1:].isalnum() and text[:1].isascii() else name + text


def amount(value: Decimal, scale: str, currency: str, lang: str, *, percent: bool = False) -> dict[str, Any]:
    """How a figure is printed: `text`, and the `value`, `units` and `scale` that it states."""
    sign = "-" if value < 0 else ""
    if percent:
        return {"text": f"{sign}{abs(value):,}%", "value": value, "units": frozenset({"%"}), "scale": ""}
    if lang == "zh":
        return _chinese_amount(value * FACTORS[scale], currency)
    if scale == "units":
        value, scale = _whole(value / FACTORS["million"]), "million"
    elif scale in ("万", "亿"):
        value, scale = _english_scale(value * FACTORS[scale])
    text = f"{sign}{currency}{abs(value):,}" + (f" {scale}" if scale else "")
    return {"text": text, "value": value, "units": frozenset({"", "$", "usd", "dollar"}), "scale": scale}


def _english_scale(value: Decimal) -> tuple[Decimal, str]:
    """Millions where that is exact to four decimals, else the figure itself."""
    million = value / FACTORS["million"]
    return (million.normalize() + 0, "million") if abs(value) >= 10**6 and million == round(million, 4) else (value, "")


def _chinese_amount(value: Decimal, currency: str) -> dict[str, Any]:
    """In the largest of 亿, 万 and one that prints it exactly with at most four decimals."""
    unit, name = _CHINESE_MONEY.get(currency, ("", ""))
    word, by = next(
        (w, FACTORS[w])
        for w in ("亿", "万", "")
        if not w or (abs(value) >= FACTORS[w] and value / FACTORS[w] == round(value / FACTORS[w], 4))
    )
    text = _plain(value / by) + word + unit
    return {"text": text, "value": _whole(value), "units": frozenset({name}), "scale": ""}


def _whole(value: Decimal) -> Decimal:
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value


def _plain(value: Decimal) -> str:
    """Without an exponent or closing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def figure_fact(cell: Cell, row: Row, lang: str) -> Fact:
    """A figure of the table."""
    return Fact(
        kind="number",
        path=cell.path,
        cues=_cues(row, lang),
        when=cell.when,
        **amount(cell.value, row.scale, row.currency, lang, percent=cell.percent),
    )


def label_fact(row: Row, lang: str) -> Fact:
    """A row's name."""
    label = label_of(row, lang)
    also = () if row.part else tuple(sorted({*_cues(row, lang), row.label} - {label}))
    return Fact(kind="name", text=label, path=row.path, also=also)


def year_fact(cell: Cell) -> Fact:
    """The year of a figure's column."""
    return Fact(kind="date", text=cell.when, path=f"{cell.path} (column heading)")


def moves(row: Row, new: Cell, old: Cell, lang: str) -> tuple[Fact, ...]:
    """The computed change as facts: the difference and the percentage, each with its direction."""
    moved = change(new, old)
    shared: dict[str, Any] = {
        "kind": "number",
        "path": new.path,
        "cues": _cues(row, lang),
        "when": new.when,
        "sense": _sense(moved),
    }
    size = abs(moved.absolute)
    step = f"abs({new.path} - {old.path})"
    if new.percent:
        printed: dict[str, Any] = {"text": f"{size:,}", "value": size, "units": _POINTS, "scale": ""}
        return (Fact(derivation=f"change in points: {step}", **printed, **shared),)
    out = [Fact(derivation=f"change: {step}", **amount(size, row.scale, row.currency, lang), **shared)]
    if moved.percent is not None:
        rounding = f"growth: round({step} / {old.path} * 100, 1)"
        out.append(Fact(derivation=rounding, **amount(abs(moved.percent), "", "", lang, percent=True), **shared))
    return tuple(out)


def _sense(moved: Change) -> str:
    return "up" if moved.absolute > 0 else "down" if moved.absolute < 0 else "flat"


def row_facts(row: Row, lang: str) -> list[Fact]:
    """Everything that may be said of a row.

    Where columns are years, a figure of another column is not used: what it measures is not known.
    """
    years = row.years
    facts = [label_fact(row, lang), *(figure_fact(c, row, lang) for c in years or row.cells)]
    facts += [year_fact(c) for c in years]
    for new, old in pairwise(years):
        facts += moves(row, new, old, lang)
    return facts


def _ratio_name(ratio: Ratio, lang: str) -> str:
    return f"{ratio.name(lang)} ({ratio.part})" if ratio.part else ratio.name(lang)


def ratio_text(ratio: Ratio, lang: str) -> str:
    """A ratio's value as it is printed."""
    return str(_printed(ratio, ratio.value, lang)["text"])


def _printed(ratio: Ratio, value: Decimal, lang: str) -> dict[str, Any]:
    if ratio.kind == "amount":
        return amount(value, ratio.scale, ratio.currency, lang)
    if ratio.kind == "percent":
        return amount(value, "", "", lang, percent=True)
    return {"text": f"{value:,}", "value": value, "units": frozenset({""}), "scale": ""}


def ratio_facts(ratio: Ratio, lang: str) -> tuple[Fact, Fact, Fact]:
    """A ratio's name, value and year."""
    name = _ratio_name(ratio, lang)
    value = Fact(
        kind="number",
        path=", ".join(ratio.operands),
        cues=frozenset({name}),
        when=ratio.when,
        derivation=ratio.derivation,
        **_printed(ratio, ratio.value, lang),
    )
    label = Fact(kind="name", text=name, path=ratio.operands[0], derivation=ratio.derivation.partition(":")[0])
    return label, value, Fact(kind="date", text=ratio.when, path=f"{ratio.operands[0]} (column heading)")


def ratio_moves(new: Ratio, old: Ratio, lang: str) -> Fact:
    """By how much a ratio changed: points of a percentage, or the difference."""
    moved = new.value - old.value
    printed = _printed(new, abs(moved), lang)
    if new.kind == "percent":
        printed = {"text": f"{abs(moved):,}", "value": abs(moved), "units": _POINTS, "scale": ""}
    now, then = (r.derivation.rpartition(": ")[2] for r in (new, old))
    return Fact(
        kind="number",
        path=", ".join((*new.operands, *old.operands)),
        cues=frozenset({_ratio_name(new, lang)}),
        when=new.when,
        sense="up" if moved > 0 else "down" if moved < 0 else "flat",
        derivation=f"change of the ratio: abs({now} - {then})",
        **printed,
    )
