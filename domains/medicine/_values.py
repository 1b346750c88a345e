"""FHIR's datatypes as words and figures, English or Chinese: quantities, dates, timings, concepts, references.

Nothing is translated that the input holds in words: a display stays in its own language, unless the input has
it in Chinese too. Units, frequencies, dates and codes of R4's own value sets have a wording of ours.

>>> speech = Speech("en")
>>> speech.value({"value": 5, "comparator": "<", "code": "mg"})
'<5 mg'
>>> speech.value({"low": {"value": 4}, "high": {"value": 6}})
'4 to 6'
>>> Speech("zh").value({"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}})
'每日2次'
"""

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from domains._figures import normalise
from domains.medicine._labels import CODED_ONLY, code_words, label

__all__ = ["Speech", "decimal", "each", "plain_number"]

_DATE = re.compile(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?(?:T(\d\d:\d\d)(:\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?)?")
_QUALIFIER = re.compile(
    r"\s*\((?:disorder|finding|situation|procedure|substance|organism|product|regime/therapy|event|person|"
    r"morphologic abnormality|observable entity|navigational concept|record artifact|qualifier value|body structure)\)"
    r"(?=$|[;,])"
)
_HAN = re.compile(r"[㐀-鿿]")
_TAG = re.compile(r"<[^>]*>")
_READABLE = re.compile(r"[a-z]+(?:-[a-z]+)*")
_UCUM = {
    "Cel": "°C",
    "mm[Hg]": "mmHg",
    "[lb_av]": "lb",
    "[in_i]": "in",
    "[degF]": "°F",
    "a": "years",
    "mo": "months",
    "wk": "weeks",
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ug": "mcg",
    "{score}": "points",
    "1": "",
}
_UNITS_ZH = {
    unit: chinese
    for chinese, units in {
        "岁": "yr yrs year-old",
        "年": "a year years",
        "个月": "mo month months",
        "周": "wk week weeks",
        "天": "d day days",
        "小时": "h hr hour hours",
        "分钟": "min minute minutes",
        "秒": "s sec second seconds",
        "片": "tab tabs tablet tablets",
        "粒": "cap caps capsule capsules",
        "喷": "puff puffs",
        "滴": "drop drops",
        "支": "vial vials",
        "单位": "unit units",
        "次/分": "/min beats/min beats/minute bpm breaths/min",
        "分": "{score} point points score",
    }.items()
    for unit in units.split()
}
_TIMES = {"s": "second", "min": "minute", "h": "hour", "d": "day", "wk": "week", "mo": "month", "a": "year"}
_TIMES_ZH = {"s": "秒", "min": "分钟", "h": "小时", "d": "日", "wk": "周", "mo": "月", "a": "年"}
_DAYS = {
    "mon": ("Monday", "周一"),
    "tue": ("Tuesday", "周二"),
    "wed": ("Wednesday", "周三"),
    "thu": ("Thursday", "周四"),
    "fri": ("Friday", "周五"),
    "sat": ("Saturday", "周六"),
    "sun": ("Sunday", "周日"),
}
_WHEN = {
    "MORN": ("in the morning", "早上"),
    "MORN.early": ("early in the morning", "清晨"),
    "MORN.late": ("late in the morning", "上午晚些时候"),
    "NOON": ("at noon", "中午"),
    "AFT": ("in the afternoon", "下午"),
    "AFT.early": ("early in the afternoon", "下午早些时候"),
    "AFT.late": ("late in the afternoon", "下午晚些时候"),
    "EVE": ("in the evening", "晚上"),
    "EVE.early": ("early in the evening", "傍晚"),
    "EVE.late": ("late in the evening", "深夜"),
    "NIGHT": ("at night", "夜间"),
    "PHS": ("after sleep has begun", "入睡后"),
    "HS": ("before sleep", "睡前"),
    "WAKE": ("on waking", "醒后"),
    "C": ("at a meal", "随餐"),
    "CM": ("at breakfast", "早餐时"),
    "CD": ("at lunch", "午餐时"),
    "CV": ("at dinner", "晚餐时"),
    "AC": ("before a meal", "餐前"),
    "ACM": ("before breakfast", "早餐前"),
    "ACD": ("before lunch", "午餐前"),
    "ACV": ("before dinner", "晚餐前"),
    "PC": ("after a meal", "餐后"),
    "PCM": ("after breakfast", "早餐后"),
    "PCD": ("after lunch", "午餐后"),
    "PCV": ("after dinner", "晚餐后"),
}


def decimal(value: Any) -> Decimal | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def plain_number(value: Decimal) -> str:
    """Without exponent and trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def each(value: Any) -> Iterator[Any]:
    """The parts of a list, or a value by itself; nothing for None."""
    if isinstance(value, list):
        yield from value
    elif value is not None:
        yield value


@dataclass(frozen=True)
class Speech:
    """How values are worded; in brief, days without times of day, and concepts as they were entered alone."""

    lang: str
    brief: bool = False

    @property
    def zh(self) -> bool:
        """Whether the wording is Chinese."""
        return self.lang == "zh"

    def text(self, value: str) -> str:
        """Free words: one line, normalised, without SNOMED's type in brackets and the stop at the end."""
        return _QUALIFIER.sub("", normalise(value)).rstrip(" .;。；")

    def concept(self, value: Mapping[str, Any]) -> str:
        """A CodeableConcept or Coding: what was entered, or else its first display, or else its code.

        Unless in brief, a first display that says something else than what was entered follows in brackets.
        """
        codings = [value, *(c for c in each(value.get("coding")) if isinstance(c, Mapping))]
        words = [w for c in codings for w in (c.get("text"), c.get("display")) if isinstance(w, str) and w.strip()]
        words = [t for w in words if (t := self.text(w)) and any(c.isalnum() for c in t)]
        if self.zh and (han := next((w for w in words if _HAN.search(w)), None)):
            return han
        if words:
            more = next((w for w in words[1:2] if not self.brief and w.lower() not in words[0].lower()), "")
            return f"{words[0]} ({more})" if more else words[0]
        for coding in codings:
            if isinstance(code := coding.get("code"), str):
                system = str(coding.get("system", ""))
                if words_of := CODED_ONLY.get(system.rsplit("/", 1)[-1], {}).get(code):
                    return words_of[self.zh]
                if "terminology.hl7.org" in system and _READABLE.fullmatch(code):
                    return code_words(code, self.lang)
                return f"代码{code}" if self.zh else f"code {code}"
        return ""

    def named(self, value: Mapping[str, Any]) -> str:
        """A concept by which something is called; one without a letter is called a code."""
        text = self.concept(value)
        if not text or any(c.isalpha() for c in text):
            return text
        return f"代码{text}" if self.zh else f"code {text}"

    def unit(self, quantity: Mapping[str, Any]) -> str:
        """A quantity's unit as it stands, or that of its code."""
        stated = quantity.get("unit")
        code = str(quantity.get("code") or "")
        unit = normalise(stated) if isinstance(stated, str) and stated.strip() else _UCUM.get(code, code)
        return _UNITS_ZH.get(unit.lower(), unit) if self.zh else unit

    def quantity(self, quantity: Mapping[str, Any]) -> str:
        """A quantity with its comparator and unit; "" without a value."""
        value = decimal(quantity.get("value"))
        if value is None:
            return ""
        unit = self.unit(quantity)
        if value == 1 and unit != quantity.get("unit"):
            unit = unit.removesuffix("s") if unit in _UCUM.values() else unit
        gap = "" if unit in ("", "%") or unit.startswith("/") or _HAN.match(unit) else " "
        return f"{quantity.get('comparator', '')}{plain_number(value)}{gap}{unit}"

    def day(self, value: str) -> str:
        """A date, dateTime or instant, as far as it is stated."""
        m = _DATE.fullmatch(value.strip())
        if m is None:
            return normalise(value)
        year, month, day, clock, seconds = m.groups()
        if self.zh:
            text = f"{year}年" + (f"{int(month)}月" if month else "") + (f"{int(day)}日" if day else "")
        else:
            text = "-".join(p for p in (year, month, day) if p)
        if clock and not self.brief:
            clock += seconds if seconds and seconds != ":00" else ""
            text += f" {clock}" if self.zh else f" at {clock}"
        return text

    def period(self, value: Mapping[str, Any]) -> str:
        """From when to when."""
        start, end = (self.day(str(value[k])) if value.get(k) else "" for k in ("start", "end"))
        if start == end:
            return start
        if start and end:
            return f"{start}至{end}" if self.zh else f"{start} to {end}"
        if start:
            return f"自{start}起" if self.zh else f"from {start}"
        return f"至{end}" if self.zh else f"until {end}"

    def timing(self, value: Mapping[str, Any]) -> str:
        """A Timing in words."""
        repeat = value.get("repeat")
        parts = [self.concept(value["code"])] if isinstance(value.get("code"), Mapping) else []
        parts += [self.day(str(e)) for e in each(value.get("event"))]
        return self.joined([p for p in (*parts, *(self._repeat(repeat) if isinstance(repeat, Mapping) else ())) if p])

    def _repeat(self, r: Mapping[str, Any]) -> Iterator[str]:
        yield self._often(r)
        yield from (_DAYS[d][self.zh] for d in each(r.get("dayOfWeek")) if d in _DAYS)
        offset = f"{r['offset']} 分钟 " if self.zh and "offset" in r else f"{r['offset']} min " if "offset" in r else ""
        yield from (offset + _WHEN[w][self.zh] for w in each(r.get("when")) if w in _WHEN)
        yield from (str(t).removesuffix(":00") if str(t).count(":") == 2 else str(t) for t in each(r.get("timeOfDay")))
        if "duration" in r:
            text = self._span(r, "duration", "durationMax", str(r.get("durationUnit")))
            yield f"持续{text}" if self.zh else f"for {text}"
        if "count" in r:
            most = f"–{r['countMax']}" if "countMax" in r else ""
            yield f"共{r['count']}{most}次" if self.zh else f"{r['count']}{most} times in all"
        for name in ("boundsPeriod", "boundsDuration", "boundsRange"):
            if isinstance(bounds := r.get(name), Mapping):
                text = self.value(bounds) or ""
                yield text if name == "boundsPeriod" else f"共{text}" if self.zh else f"over {text}"

    def _often(self, r: Mapping[str, Any]) -> str:
        """How often: "twice a day", "once every 4 to 6 hours"; a frequency of 1 goes without saying in R4."""
        if "frequency" not in r and "period" not in r:
            return ""
        low, high = r.get("frequency", 1), r.get("frequencyMax")
        code = str(r.get("periodUnit", ""))
        alone = str(r.get("period", 1)) in ("1", "1.0") and "periodMax" not in r
        if self.zh:
            times = f"{low}至{high}次" if high else f"{low}次"
            return (
                f"每{_TIMES_ZH.get(code, code)}{times}"
                if alone
                else f"每{self._span(r, 'period', 'periodMax', code)}{times}"
            )
        times = f"{low} to {high} times" if high else {1: "once", 2: "twice"}.get(low, f"{low} times")
        if alone:
            return f"{times} a {_TIMES[code]}".replace("a hour", "an hour") if code in _TIMES else times
        return f"{times} every {self._span(r, 'period', 'periodMax', code)}"

    def _span(self, r: Mapping[str, Any], low: str, high: str, code: str) -> str:
        """A length of time, or a range of them."""
        figures = [plain_number(d) for name in (low, high) if (d := decimal(r.get(name))) is not None]
        if self.zh:
            return "至".join(figures) + {"d": "天", "mo": "个月"}.get(code, _TIMES_ZH.get(code, code))
        return " to ".join(figures) + f" {_TIMES.get(code, code)}{'' if figures == ['1'] else 's'}"

    def name(self, value: Mapping[str, Any]) -> str:
        """A HumanName as it is written, with the time in which it was borne."""
        if isinstance(period := value.get("period"), Mapping):
            alone = self.name({k: v for k, v in value.items() if k != "period"})
            return f"{alone}（{self.period(period)}）" if self.zh else f"{alone} ({self.period(period)})"
        if isinstance(text := value.get("text"), str):
            return self.text(text)
        family = value.get("family")
        given = [str(g) for g in each(value.get("given"))]
        if isinstance(family, str) and _HAN.search(family):
            return family + "".join(given)
        parts = [*map(str, each(value.get("prefix"))), *given, *each(family), *map(str, each(value.get("suffix")))]
        return self.text(" ".join(parts))

    def joined(self, parts: list[str]) -> str:
        """Several values of one element."""
        return ("、" if self.zh else ", ").join(parts)

    def yes(self, value: bool) -> str:
        """A boolean in words."""
        return ("否", "是")[value] if self.zh else ("no", "yes")[value]

    def value(self, value: Mapping[str, Any]) -> str | None:
        """Any datatype that stands as one value; None for what is made of elements of its own."""
        kind = _kind(value)
        if kind == "range":
            low, high = (self.quantity(value[k]) if isinstance(value.get(k), Mapping) else "" for k in ("low", "high"))
            if low and high:
                return f"{low}至{high}" if self.zh else f"{low} to {high}"
            if low:
                return f"{low}以上" if self.zh else f"{low} or more"
            return f"{high}以下" if self.zh else f"up to {high}"
        if kind == "ratio":
            top, low = (self.quantity(value[k]) if isinstance(value.get(k), Mapping) else "" for k in _RATIO)
            if low.isdigit():
                return f"{top}:{low}"
            return f"{top} / {low.removeprefix('1 ')}" if top and low else top or low
        if kind == "annotation":
            said = self.text(str(value.get("text", "")))
            when = [self.day(str(value["time"]))] if value.get("time") else []
            return f"{said} ({when[0]})" if when else said
        if kind == "sampled":
            origin = self.quantity(value["origin"])
            more = [f"{label(k, self.lang)} {value[k]}" for k in _SAMPLED if k in value]
            what = "波形数据未列出，原点" if self.zh else "sampled data, not printed, origin"
            return f"{what} {origin}" + "".join(f", {m}" for m in more)
        if kind == "narrative":
            return self.text(html.unescape(_TAG.sub(" ", str(value.get("div")))))
        words: dict[str, Callable[[Mapping[str, Any]], str]] = {
            "quantity": self.quantity,
            "period": self.period,
            "timing": self.timing,
            "name": self.name,
            "reference": lambda v: self.text(str(v.get("display", ""))),
            "attachment": lambda v: self.joined(
                [f(str(v[k])) for k, f in (("title", self.text), ("creation", self.day)) if k in v]
            ),
        }
        if kind == "concept":
            return self.concept(value)
        return words[kind](value) if kind in words else None


_RATIO = ("numerator", "denominator")
_SAMPLED = ("period", "factor", "lowerLimit", "upperLimit", "dimensions")
_SHAPES: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = tuple(
    (kind, frozenset(some.split()), frozenset(most.split()))
    for kind, some, most in (
        ("narrative", "div", "status div"),
        ("sampled", "origin", "origin period factor lowerLimit upperLimit dimensions data"),
        ("range", "low high", "low high"),
        ("ratio", "numerator denominator", "numerator denominator"),
        ("period", "start end", "start end"),
        ("quantity", "value", "value comparator unit system code"),
        ("concept", "coding", "coding text"),
        ("concept", "code display", "system version code display userSelected"),
        ("reference", "reference display", "reference display type identifier"),
        ("timing", "repeat event", "repeat event code"),
        ("attachment", "contentType data", "contentType language data url size hash title creation"),
        ("name", "family given prefix", "use text family given prefix suffix period"),
        ("annotation", "text time", "text time authorString authorReference"),
        ("concept", "text", "text"),
    )
)


def _kind(value: Mapping[str, Any]) -> str:
    """Which datatype an object is, by the elements that it has; "" for a backbone element."""
    keys = frozenset(k for k in value if k not in ("id", "extension") and not k.startswith("_"))
    if ("value" in keys and decimal(value["value"]) is None) or (
        "code" in keys and "repeat" not in keys and not isinstance(value["code"], str)
    ):
        return ""
    return next((kind for kind, some, most in _SHAPES if keys & some and keys <= most), "")
