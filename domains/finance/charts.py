"""Pictures of a report's rows over the years, each with the facts that it draws.

Bars for a few years, a line for many. A chart shows no figure but its rows' own; where a figure is printed it
is printed as the text prints it. Chinese words need a font that has them: it is looked for among the fonts of
the machine, and where there is none the chart names rows by letters and says so in `note`, rather than
print empty boxes.

>>> from domains.finance.table import read_table
>>> rows = read_table([["($ millions)", "2024", "2023"], ["Revenue", "320", "295"]], "tables[0]").rows
>>> (chart,) = charts(rows, "en")
>>> chart.png[:4], [f.text for f in chart.facts], chart.title
(b'\\x89PNG', ['$320 million', '$295 million'], 'Revenue')
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from domains.base import Fact, Sensitive
from domains.finance.accounts import recognise
from domains.finance.report_facts import figure_fact, label_of
from domains.finance.table import Row
from fedcore.errors import ConfigError

__all__ = ["CHINESE_FONTS", "Chart", "charts", "draw"]

CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti",
    "Microsoft YaHei", "SimHei", "SimSun", "Noto Serif CJK SC", "AR PL UMing CN", "AR PL UKai CN",
)  # fmt: skip
"""Fonts that hold the characters of a Chinese report, the first that is there is used."""

_MAIN = ("revenue", "net_income", "operating_cash", "total_assets")
_BARS = 6
"""Years up to which bars are drawn; more are a line."""
_HAN = re.compile(r"[\u3400-\u9fff]")
_PIXELS = (1120, 640)
_DPI = 160


@dataclass(frozen=True, kw_only=True, repr=False)
class Chart(Sensitive):
    """A picture and what it draws."""

    title: str
    png: bytes
    facts: tuple[Fact, ...]
    """Every figure drawn, the latest year first."""
    note: str = ""
    """What the picture could not show, such as Chinese words without a font for them."""


def charts(rows: Sequence[Row], lang: str, font: Path | None = None) -> tuple[Chart, ...]:
    """A chart for each main account that has two years; where there is none, for the first such row.

    Args:
        rows: A report's rows.
        lang: "en" or "zh".
        font: A font file to draw with; by default one of the machine's.
    Raises:
        ConfigError: As for `draw`.
    """
    able = [r for r in rows if len(r.years) > 1]
    found: dict[str, Row] = {}
    for row in able:
        account = recognise(row.label)
        if account is not None and account.key in _MAIN and not row.years[0].percent:
            found.setdefault(account.key, row)
    chosen = [found[key] for key in _MAIN if key in found] or able[:1]
    return tuple(draw(row, lang, font) for row in chosen)


def draw(row: Row, lang: str, font: Path | None = None) -> Chart:
    """Draw a row over its years; the same row gives the same bytes.

    Raises:
        ConfigError: The drawing package is not installed, or the font file cannot be read.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"charts need the Python package {error.name!r}", do="pip install 'concordat[domains]'"
        ) from error
    years = row.years[::-1]
    facts = tuple(figure_fact(c, row, lang) for c in years)
    title = label_of(row, lang)
    needed = "".join(_HAN.findall("".join((title, *(f.text for f in facts)))))
    family, note = _font(needed, font)
    shown = "A" if note else title
    values = [float(c.value) for c in years]
    picture = Figure(figsize=(_PIXELS[0] / _DPI, _PIXELS[1] / _DPI), dpi=_DPI, layout="constrained")
    axes = picture.add_subplot()
    names = [c.when for c in years]
    if len(years) <= _BARS:
        axes.bar(names, values, color="#3b6ea5", width=0.6)
    else:
        axes.plot(names, values, color="#3b6ea5", marker="o")
    for name, value, fact in zip(names, values, facts, strict=True):
        text = f"{value:,g}" if note else fact.text
        axes.annotate(
            text.replace("$", r"\$"), (name, value), ha="center", va="bottom" if value >= 0 else "top", **family
        )
    axes.axhline(0, color="#444444", linewidth=0.8)
    axes.margins(y=0.15)
    axes.set_yticks([])
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title(shown.replace("$", r"\$"), **family)
    out = io.BytesIO()
    picture.savefig(out, format="png", metadata={"Software": None})
    text = f"A: {title}. {note}" if note else ""
    return Chart(title=title, png=out.getvalue(), facts=facts[::-1], note=text)


def _font(needed: str, font: Path | None) -> tuple[dict[str, Any], str]:
    """What text is drawn with, and what to say where Chinese is needed and no font has it."""
    if font is not None:
        from matplotlib.font_manager import FontProperties, get_font

        try:
            face = get_font(str(font))
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(f"the font {font} cannot be read", expected="a TrueType or OpenType file") from error
        if any(not face.get_char_index(ord(c)) for c in needed):
            return {}, "The font lacks Chinese characters."
        return {"fontproperties": FontProperties(fname=str(font))}, ""
    if not needed:
        return {}, ""
    name = _installed()
    return ({"fontfamily": name}, "") if name else ({}, "No font with Chinese characters is installed.")


@cache
def _installed() -> str | None:
    """The first of `CHINESE_FONTS` on this machine."""
    from matplotlib.font_manager import fontManager

    there = {entry.name for entry in fontManager.ttflist}
    return next((name for name in CHINESE_FONTS if name in there), None)
