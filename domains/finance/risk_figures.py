"""Figures and events as an input gives them, and what rules look at: ratios computed, or said to be missing.

A figure is known by its name. Two that contradict each other, units that differ and a denominator that is not
above zero leave a ratio **not specified**: nothing is guessed.

>>> from domains.finance.risk_rules import load_rules
>>> given = read_figures([{"name": "Current assets", "value": "80", "period": "2024"},
...                       {"name": "Current liabilities", "value": "100", "period": "2024"}], [], load_rules())
>>> found = look(load_rules().rule("liquidity.current-ratio"), given, None)
>>> str(found.value), found.level, found.derivation
('0.8', 'high', 'figures[0].value / figures[1].value')
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from domains.base import Sensitive
from domains.finance.risk_rules import Level, Rule, Rules, plain_name
from domains.finance.table import Table
from fedcore.errors import RecordError

__all__ = ["Event", "Figure", "Figures", "Finding", "as_json", "look", "read_events", "read_figures"]

_SCALES = {
    "thousand": 3, "thousands": 3, "k": 3, "million": 6, "millions": 6, "mn": 6, "billion": 9, "billions": 9, "bn": 9,
    "千": 3, "万": 4, "百万": 6, "千万": 7, "亿": 8, "十亿": 9,
}  # fmt: skip
_HAN_UNIT = re.compile(r"^(十亿|千万|百万|亿|万|千)?(人民币|美元|港元|欧元|元)?$")
_PERCENT = frozenset({"%", "percent", "per cent", "pct", "百分比"})
_PLACES = 6
_LIMIT = 10_000
"""Most figures, events or sentences of an input."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Figure(Sensitive):
    """One figure: in units of one, or a percentage."""

    key: str
    value: Decimal
    percent: bool
    currency: str
    period: str
    path: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Figures(Sensitive):
    """All of an input's figures, and the names that no rule knows."""

    known: tuple[Figure, ...]
    unknown: tuple[tuple[str, str], ...] = ()
    """Name and path."""

    def at(self, key: str, period: str) -> Figure | None:
        """The figure of a period; None where there is none, or several that differ."""
        found = [f for f in self.known if f.key == key and f.period == period]
        same = len({(f.value, f.percent) for f in found}) == 1
        return found[0] if same else None

    def periods(self, key: str) -> frozenset[str]:
        """The periods that a figure is given for."""
        return frozenset(f.period for f in self.known if f.key == key)


@dataclass(frozen=True, kw_only=True, repr=False)
class Event(Sensitive):
    """Something that happened on a day."""

    key: str
    day: str
    path: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Finding(Sensitive):
    """What a rule found: the exact value decides on the level, `shown` is printed."""

    rule: Rule
    value: Decimal
    shown: Decimal
    level: Level
    period: str
    path: str
    derivation: str
    events: tuple[Event, ...] = ()


def as_json(value: Any, name: str) -> Any:
    """A value, or the JSON text of one, as CSV and Parquet columns hold it.

    Raises:
        RecordError: The text is not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise RecordError(f"the field {name!r} is not JSON", expected="a list") from None


def read_figures(value: Any, tables: Sequence[Table], rules: Rules) -> Figures:
    """Read figures with a name, value, unit and period, and the rows of tables whose label is such a name.

    Raises:
        RecordError: They are not that; names positions, never content.
    """
    if isinstance(value, Mapping):
        value = [{"name": k, "value": v} for k, v in value.items()]
    if not isinstance(value, list) or len(value) > _LIMIT:
        raise RecordError("the field 'figures' is wrong", expected=f"a list of at most {_LIMIT} figures")
    names = _names(rules)
    known: list[Figure] = []
    unknown: list[tuple[str, str]] = []
    for i, given in enumerate(value):
        where = f"figures[{i}]"
        if not isinstance(given, Mapping) or not isinstance(given.get("name"), str) or not given["name"].strip():
            raise RecordError(f"{where} has no name", expected='an object with "name" and "value"')
        number, sign = _number(given.get("value"), where)
        scale, currency, percent = _unit(given.get("unit"), where)
        key = names.get(plain_name(given["name"]))
        if key is None:
            unknown.append((given["name"].strip(), f"{where}.name"))
            continue
        period = given.get("period", "")
        if isinstance(period, bool) or not isinstance(period, str | int):
            raise RecordError(f"{where} has a period of another kind", expected="text such as 2024 or 2024-06-30")
        known.append(
            Figure(
                key=key,
                value=number.scaleb(scale),
                percent=percent or sign,
                currency=currency,
                period=str(period).strip(),
                path=f"{where}.value",
            )
        )
    for table in tables:
        for row in table.rows:
            if (key := names.get(plain_name(row.label))) is None:
                continue
            known += [
                Figure(
                    key=key,
                    value=c.value if c.percent else c.value.scaleb(_SCALES.get(row.scale, 0)),
                    percent=c.percent,
                    currency=row.currency,
                    period=c.when or c.column,
                    path=c.path,
                )
                for c in row.cells
            ]
    return Figures(known=tuple(known), unknown=tuple(unknown))


def read_events(value: Any, rules: Rules) -> tuple[Event, ...]:
    """Read dated, typed events; a type is a key of the rules or its name in either language.

    Raises:
        RecordError: They are not that; names positions, never content.
    """
    if not isinstance(value, list) or len(value) > _LIMIT:
        raise RecordError("the field 'events' is wrong", expected=f"a list of at most {_LIMIT} events")
    names = {plain_name(n): k for k in rules.events for n in (k, *rules.labels[k].values())}
    out = []
    for i, given in enumerate(value):
        kind = given.get("type") if isinstance(given, Mapping) else None
        if not isinstance(kind, str) or plain_name(kind) not in names:
            raise RecordError(f"events[{i}] has no known type", expected="one of " + ", ".join(sorted(rules.events)))
        try:
            day = date.fromisoformat(str(given.get("date"))).isoformat()
        except ValueError:
            raise RecordError(f"events[{i}] has no date", expected="a date such as 2024-06-30") from None
        out.append(Event(key=names[plain_name(kind)], day=day, path=f"events[{i}]"))
    return tuple(sorted(out, key=lambda e: e.day))


def look(rule: Rule, figures: Figures, events: tuple[Event, ...] | None) -> Finding | None:
    """What a rule finds in the latest period that holds all it needs; None where it is not specified.

    A figure that is given under the ratio's own name goes before one that is computed.

    Args:
        rule: The rule.
        figures: What is given.
        events: What happened; None where an input says nothing of events, [] where it says that nothing did.
    """
    if rule.ratio.shape == "count":
        if events is None:
            return None
        counted = tuple(e for e in events if e.key in rule.ratio.of)
        path = ", ".join(e.path for e in counted) or "events"
        return _finding(rule, Decimal(len(counted)), "", path, f"count({path})", counted)
    for period in sorted(figures.periods(rule.ratio.name), reverse=True):
        given = figures.at(rule.ratio.name, period)
        if given is not None and given.percent == rule.percent:
            return _finding(rule, given.value, period, given.path, "")
    if rule.ratio.shape == "change":
        return _change(rule, figures)
    if rule.ratio.shape == "figure":
        return None
    parts = [*rule.ratio.of, *([rule.ratio.less] if rule.ratio.less else [])]
    shared = frozenset.intersection(*(figures.periods(p) for p in parts))
    for period in sorted(shared, reverse=True):
        found = [figures.at(p, period) for p in parts]
        whole = [f for f in found if f is not None]
        if len(whole) < len(found) or any(f.percent for f in whole) or len({f.currency for f in whole}) > 1:
            continue
        if whole[1].value <= 0:
            continue
        taken = whole[2].value if rule.ratio.less else Decimal(0)
        value = (whole[0].value - taken) / whole[1].value
        top = f"({whole[0].path} - {whole[2].path})" if rule.ratio.less else whole[0].path
        by = " * 100" if rule.ratio.shape == "percent" else ""
        value = value * 100 if by else value
        return _finding(rule, value, period, whole[0].path, f"{top} / {whole[1].path}{by}")
    return None


def _change(rule: Rule, figures: Figures) -> Finding | None:
    """The latest figure against the one before it, in percent of that."""
    found = [figures.at(rule.ratio.of[0], p) for p in sorted(figures.periods(rule.ratio.of[0]), reverse=True)[:2]]
    if len(found) < 2 or found[0] is None or found[1] is None:
        return None
    new, old = found[0], found[1]
    if old.value <= 0 or new.percent or old.percent or new.currency != old.currency:
        return None
    derivation = f"({new.path} - {old.path}) / {old.path} * 100"
    return _finding(rule, (new.value - old.value) * 100 / old.value, new.period, new.path, derivation)


def _finding(
    rule: Rule, value: Decimal, period: str, path: str, derivation: str, events: tuple[Event, ...] = ()
) -> Finding:
    level = rule.level(value)
    return Finding(
        rule=rule,
        value=value,
        shown=_shown(value, rule, level) if derivation else value,
        level=level,
        period=period,
        path=path,
        derivation=derivation,
        events=events,
    )


def _shown(value: Decimal, rule: Rule, level: Level) -> Decimal:
    """Rounded to few places, and to more where the rounded figure would be of another level."""
    for places in range(1 if rule.percent else 2, _PLACES + 1):
        shown = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
        if rule.level(shown) == level:
            break
    else:
        shown = value
    plain = shown.normalize()
    return plain.quantize(Decimal(1)) if plain == plain.to_integral_value() else plain


def _names(rules: Rules) -> dict[str, str]:
    """Every name that a figure may go by, those of ratios too."""
    ratios = {
        plain_name(n): r.ratio.name for r in rules.rules if r.ratio.shape != "count" for n in r.ratio.label.values()
    }
    return ratios | dict(rules.figures)


def _number(value: Any, where: str) -> tuple[Decimal, bool]:
    """A figure's value, and whether it says that it is a percentage."""
    text = str(value).strip().replace(",", "").replace("−", "-") if not isinstance(value, bool | None) else ""
    percent = text.endswith(("%", "％"))
    text = text.rstrip("%％ ")
    if text.startswith("(") and text.endswith(")"):
        text = "-" + text[1:-1]
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise RecordError(f"{where} has no number", expected="a number such as 1234.5") from None
    if not number.is_finite():
        raise RecordError(f"{where} has no number", expected="a finite number")
    return number, percent


def _unit(value: Any, where: str) -> tuple[int, str, bool]:
    """The power of ten, the currency and whether it is a percentage."""
    if value is None or value == "":
        return 0, "", False
    if not isinstance(value, str):
        raise RecordError(f"{where} has a unit of another kind", expected="text such as USD million, 万元 or %")
    text = value.strip().lower()
    if text in _PERCENT:
        return 0, "", True
    if han := _HAN_UNIT.match(text):
        return _SCALES.get(han.group(1) or "", 0), {"元": "人民币"}.get(han.group(2) or "", han.group(2) or ""), False
    words = text.split()
    scale = next((_SCALES[w] for w in words if w in _SCALES), 0)
    return scale, " ".join(w for w in words if w not in _SCALES), False
