"""Figures and dates found in Chinese text, in digits or characters, with units and scales. Part of `domains._han`.

Units have the names of `domains._lexicon`, so that one fact serves both languages.

>>> [(f.text, str(f.value), f.scale, f.unit) for f in han_numbers("血压142/88毫米汞柱，收入3.2万元")]
[('142/88毫米汞柱', '142', '', 'mmhg'), ('3.2万元', '3.2', '万', 'cny')]
>>> [(f.text, str(f.value), f.scale, f.unit) for f in han_numbers("下降百分之五，两片")]
[('百分之五', '5', '', '%'), ('两片', '2', '', 'tablet')]
>>> [w.readings for w in han_dates("2020年9月8日和二〇二一年十月")]
[((2020, 9, 8),), ((2021, 10, 0),)]
"""

import re
from collections.abc import Iterator
from decimal import Decimal

from domains._figures import HELD, Figure, When, dates, normalise
from domains._han_numerals import DIGITS, NUMERALS, han_value
from domains._lexicon import UNITS

__all__ = ["HAN_SCALES", "han_dates", "han_goes_on", "han_normalise", "han_numbers"]

HAN_SCALES = {
    "百": Decimal(100),
    "千": Decimal(10**3),
    "万": Decimal(10**4),
    "百万": Decimal(10**6),
    "千万": Decimal(10**7),
    "亿": Decimal(10**8),
    "万亿": Decimal(10**12),
}
_UNITS = UNITS | {
    alias: unit
    for unit, aliases in {
        "year": "年 周年 岁 周岁",
        "month": "个月 月龄 个月龄",
        "week": "周 星期 个星期 周龄",
        "day": "天 日 日龄",
        "hour": "小时 个小时",
        "minute": "分钟",
        "second": "秒 秒钟",
        "mg": "毫克",
        "mcg": "微克",
        "ng": "纳克 ng",
        "g": "克",
        "kg": "千克 公斤",
        "ml": "毫升",
        "l": "升",
        "mg/ml": "毫克/毫升",
        "mcg/ml": "微克/毫升 ug/ml μg/ml",
        "ng/ml": "纳克/毫升 ng/ml",
        "mg/dl": "毫克/分升",
        "mg/l": "毫克/升 mg/l",
        "g/l": "克/升 g/l",
        "mmol/l": "毫摩尔/升 毫摩/升 毫摩尔每升",
        "mcmol/l": "微摩尔/升 umol/l μmol/l",
        "unt": "单位 个单位 国际单位 u",
        "unt/l": "单位/升 国际单位/升 u/l iu/l",
        "unt/ml": "单位/毫升 u/ml",
        "meq": "毫当量",
        "mmhg": "毫米汞柱",
        "kpa": "千帕 kpa",
        "/min": "次/分 次/分钟 次每分 次每分钟 次/min",
        "°c": "摄氏度 度",
        "°f": "华氏度",
        "cm": "厘米 公分",
        "mm": "毫米 mm",
        "m": "米",
        "kg/m2": "千克/平方米 公斤/平方米 千克/m2 公斤/m2",
        "point": "个百分点 百分点",
        "basis point": "个基点 基点",
        "permille": "‰",
        "puff": "喷 揿 吸",
        "tablet": "片",
        "capsule": "粒",
        "drop": "滴",
        "ampoule": "支",
        "time": "次",
        "fold": "倍",
        "score": "分",
        "cny": "元 元人民币 人民币 rmb cny",
        "usd": "美元",
        "hkd": "港元 港币 hkd",
        "eur": "欧元 eur",
        "jpy": "日元 jpy",
        "gbp": "英镑 gbp",
        "share": "股",
        "item": "个 名 例 位 项 家 人 条 种 件 只 笔 户 份 篇",
    }.items()
    for alias in aliases.split()
}
_ALIAS = re.compile(
    r" ?(" + "|".join(re.escape(a) for a in sorted(_UNITS, key=lambda a: (-len(a), a))) + ")", re.IGNORECASE
)
_SCALE = re.compile("(" + "|".join(sorted(HAN_SCALES, key=len, reverse=True)) + ")")
_DIGIT = "".join(DIGITS)
_START = re.compile(
    rf"(?P<share>百分之|千分之|万分之)|(?P<run>\d+(?:[.,]\d+)*)|"
    rf"(?P<words>[{_DIGIT}十拾][{NUMERALS}]*(?:点[{_DIGIT}]+[万亿萬億]*)?)|(?P<half>半)"
)
_PLAIN = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?$")
_PART = re.compile(rf"\d+(?:\.\d+)?(?![\d.,])|[{_DIGIT}十百拾佰]+(?:点[{_DIGIT}]+)?")
_FRACTION = re.compile(rf"分之(?:\d+|[{NUMERALS}]+)")
_VAGUE = "多余几来许强"
"""After a figure these make it a guess."""
_HALVES = frozenset({"year", "month", "week", "day", "hour", "tablet", "capsule", "fold", "point"})
_CURRENCY = "$€£¥"
_WIDE = str.maketrans(";!?()", "；！？（）")
_HAN = r"\u3400-\u9fff\uf900-\ufaff々〇，。；：！？（）、《》“”‘’「」『』【】"
_GAPS = re.compile(rf"(?<=[{_HAN}])\s+|\s+(?=[{_HAN}])")
_YEAR = rf"(?P<y>\d{{4}}|[{_DIGIT}]{{4}})"
_MONTH = r"(?P<m>\d{1,2}|十[一二]?|[一二三四五六七八九])"
_DAY = r"(?P<d>\d{1,2}|[二三]?十[一二三四五六七八九]?|[一二三四五六七八九])"
_DATES = (
    re.compile(rf"(?<![\d{_DIGIT}]){_YEAR}年{_MONTH}月(?:份|{_DAY}[日号])?"),
    re.compile(rf"(?<![\d.{NUMERALS}]){_MONTH}月(?!龄)(?:份|{_DAY}[日号])?"),
)


def han_normalise(text: str) -> str:
    """As `normalise`, but marks are full-width, and no space stands beside a Chinese character.

    A comma or colon between digits is the digits' own, and a full-width comma there parts two numbers.
    """
    text = "，".join(normalise(part) for part in text.split("，"))
    text = re.sub(r"(?<=\d) ?: ?(?=\d)", ":", text.translate(_WIDE))
    text = re.sub(r"(?<!\d),|,(?!\d)", "，", text)
    text = re.sub(r"(?<!\d):|:(?!\d)", "：", text)
    return _GAPS.sub("", text).strip()


def han_dates(text: str) -> Iterator[When]:
    """Dates with at least a month; a year alone is a number."""
    taken: list[tuple[int, int]] = []
    found = [When(text=w.text, start=w.start, end=w.end, readings=w.readings) for w in dates(text)]
    for pattern in _DATES:
        for m in pattern.finditer(text):
            parts = {k: _number(v) for k, v in m.groupdict(default="").items()}
            known = all(v is not None for v in parts.values())
            reading = (parts.get("y") or 0, parts.get("m") or 0, parts.get("d") or 0)
            found.append(When(text=m.group(), start=m.start(), end=m.end(), readings=(reading,) if known else ()))
    for when in sorted(found, key=lambda w: (w.start, -w.end)):
        if not any(when.start < end and start < when.end for start, end in taken):
            taken.append((when.start, when.end))
            yield when


def _number(text: str) -> int | None:
    """A part of a date; an empty one is 0."""
    if not text or text.isascii():
        return int(text or 0)
    value = han_value(text)
    return None if value is None else int(value)


def han_goes_on(text: str, end: int) -> bool:
    """Whether a unit or scale follows, so that the digits before it belong to a figure."""
    return _unit(text, end) is not None or _SCALE.match(text, end) is not None


def han_numbers(text: str) -> list[Figure]:
    """Every number of the text in order, in digits or in characters."""
    out: list[Figure] = []
    position = 0
    while m := _START.search(text, position):
        if m["share"]:
            figure = _share(text, m.start(), m.end())
        elif m["run"]:
            figure = _in_digits(text, m.start(), m.end())
        elif m["half"]:
            figure = _finish(text, m.start(), m.end(), Decimal("0.5"), scales=False)
            if not figure.unit and text[m.start() - 1 : m.start()] != "一":
                figure = _unknown(text, m.start(), m.end())
        else:
            figure = _in_words(text, m.start(), m.end())
        out.append(figure)
        position = max(figure.end, m.end())
    return out


def _unknown(text: str, start: int, end: int, *, code: bool = False) -> Figure:
    """A figure that cannot be told, and so is never right."""
    return Figure(text=text[start:end], start=start, end=end, value=None, code=code)


def _share(text: str, start: int, end: int) -> Figure:
    """百分之五 is 5%, 千分之五 is 5‰."""
    m = _PART.match(text, end)
    part = m.group() if m else ""
    value = None if not part else Decimal(part) if part[0].isascii() else han_value(part)
    begin, negative = (start - 1, True) if text[start - 1 : start] == "负" else (start, False)
    end = m.end() if m else end
    if value is None or text[start] == "万" or text[end : end + 1] in (*_VAGUE, *NUMERALS):
        return _unknown(text, begin, end)
    return Figure(
        text=text[begin:end],
        start=begin,
        end=end,
        value=value,
        unit="%" if text[start] == "百" else "permille",
        negative=negative,
        decimals=len(str(value).partition(".")[2]),
    )


def _in_digits(text: str, start: int, end: int) -> Figure:
    """A run of digits with the signs before it and the unit after it."""
    run, before = text[start:end], text[:start]
    if re.fullmatch(r"(?:19|20)\d\d", run) and (year := re.compile("年度?").match(text, end)):
        return Figure(text=run, start=start, end=year.end(), value=Decimal(run), unit="year")
    currency = before[-1:] if before[-1:] in tuple(_CURRENCY) else ""
    head = before[: len(before) - len(currency)]
    sign = head[-1:] if head[-1:] in tuple("-+.~<>±×–—≥≤第数几") else ""
    sign = "负" if head[-1:] == "负" else sign
    joined = head[: len(head) - len(sign)][-1:]
    minus = sign == "负" or (sign == "-" and not (joined == HELD or (joined.isascii() and joined.isalnum())))
    code = not currency and before[-1:].isascii() and (before[-1:].isalpha() or before[-1:] == "_")
    second = None
    odd = bool(sign) and not minus
    if ratio := re.compile(r"/(\d+(?:\.\d+)?)(?!\d|[/,.]\d)").match(text, end):
        second, end = Decimal(ratio.group(1)), ratio.end()
    elif re.compile(r"[/:⁄]\d|[-–—~]\d|[.,]?\d").match(text, end):
        odd = True
    value = Decimal(run.replace(",", "")) if _PLAIN.match(run) and not odd and not code else None
    begin = start - len(currency) - (1 if minus else 0)
    return _finish(
        text, begin, end, value, second=second, currency=currency, negative=minus, code=code,
        decimals=len(run.partition(".")[2]),
    )  # fmt: skip


def _in_words(text: str, start: int, end: int) -> Figure:
    """A number in characters. A unit that starts like a place, as 千克 does, keeps its first character."""
    if (m := _ALIAS.match(text, end - 1)) and end - start > 1 and m.end() > end:
        end -= 1
    run = text[start:end]
    if len(run) == 4 and (year := re.compile("年度?").match(text, end)) and run[0] in "一二" and run[1] in _DIGIT:
        value = han_value(run)
        if value is not None and 1900 <= value < 2100:
            return Figure(text=str(value), start=start, end=year.end(), value=value, unit="year")
    scale = next((s for s in ("万亿", "亿", "万") if run.endswith(s)), "")
    short = han_value(run.removesuffix(scale)) if scale else None
    value = short if short is not None and short < 10000 else han_value(run)
    scale = scale if value is not None and value == short else ""
    before = text[start - 1 : start]
    if before in tuple("第数几点之初") and before:
        value = None
    begin = start - 1 if before == "负" else start
    decimals = len(run.partition("点")[2].rstrip("万亿"))
    return _finish(text, begin, end, value, scale=scale, negative=before == "负", decimals=decimals, scales=False)


def _unit(text: str, end: int) -> re.Match[str] | None:
    """A unit, unless its letters go on as another word."""
    m = _ALIAS.match(text, end)
    if m and m.group(1)[-1].isascii() and m.group(1)[-1].isalnum() and re.match(r"[A-Za-z0-9]", text[m.end() :]):
        return None
    return m


def _finish(
    text: str, start: int, end: int, value: Decimal | None, *, scale: str = "", second: Decimal | None = None,
    currency: str = "", negative: bool = False, code: bool = False, decimals: int = 0, scales: bool = True,
) -> Figure:  # fmt: skip
    """Read scale and unit after a number. What makes it a guess, or goes on, takes its value away."""
    number = end
    unit = _unit(text, end)
    if scales and not (unit and len(unit.group(1)) > 1) and (m := _SCALE.match(text, end)):
        scale, end = m.group(), m.end()
        unit = _unit(text, end)
    guess = text[end : end + 1] in tuple(_VAGUE) or bool(_FRACTION.match(text, number))
    name = _UNITS[unit.group(1).lower()] if unit else ""
    # After a day's preposition 8日 is a day of the month, not eight days.
    if unit and unit.group(1) == "日" and text[start - 1 : start] in tuple("于在月至到"):
        guess = True
    end = unit.end() if unit else end
    if name in _HALVES and text[end : end + 1] == "半" and value is not None:
        value, end = value + Decimal("0.5"), end + 1
    elif name == "item" and (m2 := re.compile("半(年|月|小时|星期)").match(text, end)) and value is not None:
        value, end = value + Decimal("0.5"), m2.end()
        name = {"年": "year", "月": "month", "小时": "hour", "星期": "week"}[m2.group(1)]
    following = text[end : end + 1]
    guess = guess or following in tuple(_VAGUE + NUMERALS) or (following.isdigit() and following != "")
    compound = following == "/" and text[end + 1 : end + 2].isalnum()
    grown = not unit and not scale and bool(re.match(r"[A-Za-zμ_]", text[end : end + 1]))
    return Figure(
        text=text[start:end],
        start=start,
        end=end,
        value=None if guess or compound or grown or code else value,
        second=second,
        unit=name,
        scale=scale,
        currency=currency,
        negative=negative,
        decimals=decimals,
        code=code or grown,
    )
