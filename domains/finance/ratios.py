"""Ratios of a company's figures, each with its formula, the paths of its operands and its rounding.

Rows are recognised by `domains.finance.accounts`. Guarantee: figures of different years, or of a quarter and
a whole year, are never in one ratio; where tables give one account two figures for a year, it is in none;
scales are brought to one. A base that is not above zero gives no ratio.

>>> from domains.finance.table import read_tables
>>> table = [["($ thousands)", "2024", "2023"], ["Revenue", "2,000", "1,600"], ["Net income", "150", "(40)"]]
>>> [(r.english, r.when, str(r.value), r.derivation) for r in ratios(read_tables([table]))][0]
('Net margin', '2024', '7.5', 'net income / revenue: round(tables[0][2][1] / tables[0][1][1] * 100, 1)')
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from domains.base import Sensitive
from domains.finance.accounts import ACCOUNTS, recognise
from domains.finance.derivations import evaluate, parse
from domains.finance.table import FACTORS, Cell, Row, Table

__all__ = ["RATIOS", "Books", "Ratio", "Spec", "compound", "grouped", "ratios"]

Kind = Literal["percent", "times", "amount"]
_STOCKS = frozenset(a.key for a in ACCOUNTS.values() if a.section == "balance")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """How a ratio is made: accounts above and below the line, "-" before those that are taken off."""

    key: str
    english: str
    chinese: str
    section: str
    top: tuple[str, ...]
    bottom: tuple[str, ...]
    kind: Kind = "percent"
    size: bool = False
    """Whether the sign of what is above the line is left out, as costs are printed with either."""

    @property
    def formula(self) -> str:
        """In words."""
        below = f" / {_words(self.bottom)}" if self.bottom else ""
        return (f"({_words(self.top)})" if below and len(self.top) > 1 else _words(self.top)) + below


def _words(keys: tuple[str, ...]) -> str:
    names = [ACCOUNTS[k.removeprefix("-")].english.lower() for k in keys]
    signs = [" - " if k.startswith("-") else " + " for k in keys]
    return names[0] + "".join(s + n for s, n in zip(signs[1:], names[1:], strict=True))


def _spec(
    key: str, names: str, section: str, top: str, bottom: str, kind: Kind = "percent", size: bool = False
) -> Spec:
    english, chinese = names.split("|")
    above, below = tuple(top.split()), tuple(bottom.split())
    return Spec(
        key=key, english=english, chinese=chinese, section=section, top=above, bottom=below, kind=kind, size=size
    )


RATIOS = (
    _spec("gross_margin", "Gross margin|毛利率", "margins", "gross_profit", "revenue"),
    _spec("gross_margin", "Gross margin|毛利率", "margins", "revenue -cost_of_revenue", "revenue"),
    _spec("operating_margin", "Operating margin|营业利润率", "margins", "operating_income", "revenue"),
    _spec("net_margin", "Net margin|净利率", "margins", "net_income", "revenue"),
    _spec("tax_rate", "Effective tax rate|实际税率", "margins", "tax", "pretax"),
    _spec("return_on_equity", "Return on year-end equity|净资产收益率(期末)", "margins", "net_income", "equity"),
    _spec("return_on_assets", "Return on year-end assets|总资产收益率(期末)", "margins", "net_income", "total_assets"),
    _spec("research_share", "Research costs to revenue|研发费用率", "costs", "research", "revenue", size=True),
    _spec("selling_share", "Selling expenses to revenue|销售费用率", "costs", "selling", "revenue", size=True),
    _spec(
        "admin_share", "Administrative expenses to revenue|管理费用率", "costs", "administrative", "revenue", size=True
    ),
    _spec(
        "overhead_share",
        "Selling and administration to revenue|销售及管理费用率",
        "costs",
        "selling_general",
        "revenue",
        size=True,
    ),
    _spec("current_ratio", "Current ratio|流动比率", "balance", "current_assets", "current_liabilities", "times"),
    _spec(
        "quick_ratio",
        "Quick ratio|速动比率",
        "balance",
        "current_assets -inventories",
        "current_liabilities",
        "times",
    ),
    _spec("leverage", "Liabilities to assets|资产负债率", "balance", "total_liabilities", "total_assets"),
    _spec("gearing", "Liabilities to equity|产权比率", "balance", "total_liabilities", "equity", "times"),
    _spec(
        "asset_turnover", "Asset turnover at year-end|总资产周转率(期末)", "balance", "revenue", "total_assets", "times"
    ),
    _spec(
        "cash_conversion",
        "Operating cash to net income|净利润现金含量",
        "cash",
        "operating_cash",
        "net_income",
        "times",
    ),
    _spec("free_cash", "Free cash flow|自由现金流", "cash", "operating_cash -capital_spending", "", "amount"),
)
"""Every ratio, in the order of a report; of two with one key the first that can be made is."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Ratio(Sensitive):
    """One computed figure."""

    key: str
    english: str
    chinese: str
    section: str
    when: str
    kind: Kind
    value: Decimal
    """In percent to one decimal, or times to two, or an exact amount in `scale`."""
    derivation: str
    """The formula in words, then the calculation over paths with its rounding."""
    operands: tuple[str, ...]
    scale: str = ""
    currency: str = ""
    part: str = ""

    def name(self, lang: str) -> str:
        """Its name in a language."""
        return self.chinese if lang == "zh" else self.english


Entry = tuple[Row, Cell]


class Books:
    """The recognised figures of some tables by account, year and part of the year."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._entries: dict[tuple[str, str, str], list[Entry]] = {}
        periods: set[tuple[str, str]] = set()
        for table in tables:
            for row in table.rows:
                account = recognise(row.label)
                for cell in row.years if account else ():
                    if account and not cell.percent and not row.counted:
                        self._entries.setdefault((account.key, cell.when, cell.part), []).append((row, cell))
                        periods.add((cell.when, cell.part))
        self.periods = tuple(sorted(periods, reverse=True))
        """Years with their part, the latest first."""
        self.stated = {a.key for t in tables for r in t.rows if (a := recognise(r.label)) and r.cells[0].percent}
        """Accounts that the tables give as percentages themselves."""

    def one(self, key: str, when: str, part: str) -> Entry | None:
        """The one figure of an account; None where there is none, or where tables differ."""
        found = self._entries.get((key, when, part), [])
        amounts = {(cell.value * FACTORS[row.scale], row.currency) for row, cell in found}
        return found[0] if len(amounts) == 1 else None


def ratios(tables: Sequence[Table]) -> tuple[Ratio, ...]:
    """Every ratio that the tables allow, for every year, the latest first within each ratio."""
    books = Books(tables)
    made: dict[tuple[str, str, str], Ratio] = {}
    for spec in RATIOS:
        if spec.key in books.stated:
            continue
        for when, part in books.periods:
            if (spec.key, when, part) not in made and (ratio := _ratio(spec, books, when, part)):
                made[spec.key, when, part] = ratio
    return tuple(made.values())


def _ratio(spec: Spec, books: Books, when: str, part: str) -> Ratio | None:
    keys = [k.removeprefix("-") for k in (*spec.top, *spec.bottom)]
    entries = [books.one(k, when, part) for k in keys]
    found = [e for e in entries if e is not None]
    if len(found) < len(keys) or len({row.currency for row, _ in found}) > 1:
        return None
    # A quarter's profit over a balance is no year's return; nothing is annualised.
    if part and len({k in _STOCKS for k in keys}) > 1:
        return None
    same = len({FACTORS[row.scale] for row, _ in found}) == 1
    terms = [cell.path if same else _scaled(row, cell) for row, cell in found]
    values = [cell.value for _, cell in found]
    costs = {k: v for k, v in zip(keys, values, strict=True) if ACCOUNTS[k].section == "costs"}
    if len(spec.top) > 1 and spec.key != "free_cash" and any(v < 0 for v in costs.values()):
        return None
    if spec.key == "tax_rate" and values[0] < 0:
        return None
    if spec.key == "free_cash":
        terms[1] = f"abs({terms[1]})"
    above = terms[0] + "".join(f" - {t}" for t in terms[1 : len(spec.top)])
    above = f"abs({above})" if spec.size else above
    if not spec.bottom:
        calculation = above
    elif values[-1] <= 0:
        return None
    else:
        above = f"({above})" if len(spec.top) > 1 else above
        by_hundred = " * 100, 1" if spec.kind == "percent" else ", 2"
        calculation = f"round({above} / {terms[-1]}{by_hundred})"
    resolve = {cell.path: cell.value for _, cell in found}.__getitem__
    row = found[0][0]
    return Ratio(
        key=spec.key,
        english=spec.english,
        chinese=spec.chinese,
        section=spec.section,
        when=when,
        kind=spec.kind,
        value=evaluate(parse(calculation), resolve),
        derivation=f"{spec.formula}: {calculation}",
        operands=tuple(cell.path for _, cell in found),
        scale=row.scale if same and len({row.scale for row, _ in found}) == 1 else "",
        currency=row.currency,
        part=part,
    )


def _scaled(row: Row, cell: Cell) -> str:
    return f"({cell.path} * {FACTORS[row.scale]})" if FACTORS[row.scale] != 1 else cell.path


def compound(row: Row) -> tuple[Cell, Cell, Decimal, str] | None:
    """A row's compound annual growth from its first year to its last: both cells, percent, derivation.

    None with fewer than three years, an end that is not above zero, percentages, or parts of a year.
    """
    years = row.years
    if len(years) < 3 or row.part or any(c.percent for c in years):
        return None
    last, first = years[0], years[-1]
    if first.value <= 0 or last.value <= 0:
        return None
    span = int(last.when) - int(first.when)
    calculation = f"round((root({last.path} / {first.path}, {span}) - 1) * 100, 1)"
    value = evaluate(parse(calculation), {last.path: last.value, first.path: first.value}.__getitem__)
    return last, first, value, f"compound annual growth over {span} years: {calculation}"


def grouped(found: Sequence[Ratio]) -> Iterator[tuple[Ratio, Ratio | None]]:
    """The latest of each ratio with the one of the year before it, of the same part of a year."""
    done: set[tuple[str, str]] = set()
    for ratio in found:
        if (ratio.key, ratio.part) not in done:
            done.add((ratio.key, ratio.part))
            same = [r for r in found if (r.key, r.part) == (ratio.key, ratio.part) and r.when < ratio.when]
            yield ratio, next(iter(same), None)
