"""Figures found in text: numbers in digits or words with their unit and scale, ratios, and dates.

Only finding happens here; whether a figure is right is for `domains.checks`.

>>> [(f.text, str(f.value), f.unit) for f in numbers("BP 142/88 mmHg and a seventeen-year-old on 2.5 mg")]
[('142/88 mmHg', '142', 'mmhg'), ('seventeen-year-old', '17', 'year'), ('2.5 mg', '2.5', 'mg')]
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from domains._lexicon import NUMBER_WORDS, SCALES, UNITS, number_of

__all__ = ["HELD", "Figure", "When", "dates", "normalise", "numbers"]

HELD = "\x01"
"""Stands for each character of a span that is already accounted for."""

_MONTHS = {
    name: i
    for i, names in enumerate(
        (
            "january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
            "september sept sep", "october oct", "november nov", "december dec",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = "(" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\b\.?"
_DATES = (
    (re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?![\d/-])"), "ymd"),
    (re.compile(r"(?<![\d/.-])(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?![\d/-])"), "dmy|mdy"),
    (re.compile(rf"(?<![\w.])(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH},? (\d{{4}})(?!\d)", re.IGNORECASE), "dmy"),
    (re.compile(rf"\b{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})(?!\d)", re.IGNORECASE), "mdy"),
    (re.compile(rf"\b{_MONTH},? (\d{{4}})(?!\d)", re.IGNORECASE), "my"),
    (re.compile(rf"(?<![\w.])(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}", re.IGNORECASE), "dm"),
    (re.compile(rf"\b{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?(?![\d,.]*\d)", re.IGNORECASE), "md"),
)
_RUN = re.compile(r"\d+(?:[.,]\d+)*")
_PLAIN = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?$")
_AFTER = re.compile(r"(?P<gap>[ -]?)(?P<word>%|/min(?:ute)?\b|[A-Za-zμ°]+(?:-olds?)?(?:/[A-Za-z0-9]+)*)")
_LETTERS = re.compile(r"[A-Za-z]+")
_CURRENCY = "$€£¥"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number as it stands in a text. `value` is None where it cannot be told: such a figure is never right."""

    text: str
    start: int
    end: int
    value: Decimal | None
    second: Decimal | None = None
    unit: str = ""
    scale: str = ""
    currency: str = ""
    negative: bool = False
    decimals: int = 0
    code: bool = False
    """Digits grown together with letters, such as an article number."""


@dataclass(frozen=True, kw_only=True)
class When:
    """A date as it stands in a text, in every reading it allows: (year, month, day), 0 where it says none."""

    text: str
    start: int
    end: int
    readings: tuple[tuple[int, int, int], ...]


def normalise(text: str) -> str:
    """One line of NFKC text, without invisible characters: full-width and hidden digits become plain ones."""
    text = unicodedata.normalize("NFKC", text).translate({0x2212: "-", 0x2010: "-", 0x2011: "-", 0x2019: "'"})
    # Digits of other scripts are digits: 17 in Arabic-Indic digits is the number 17.
    text = "".join(str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in text)
    kept = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc", "Cs", "Co", "Cn") or c.isspace())
    return " ".join(kept.split())


def dates(text: str) -> Iterator[When]:
    """Dates with at least a month; a year alone is a number."""
    taken: list[tuple[int, int]] = []
    for pattern, orders in _DATES:
        for m in pattern.finditer(text):
            if any(m.start() < end and start < m.end() for start, end in taken):
                continue
            taken.append(m.span())
            readings = tuple(_reading(m.groups(), order) for order in orders.split("|"))
            yield When(text=m.group(), start=m.start(), end=m.end(), readings=readings)


def _reading(parts: tuple[str, ...], order: str) -> tuple[int, int, int]:
    found = {k: _MONTHS.get(p.lower()) or int(p) for k, p in zip(order, parts, strict=True)}
    return found.get("y", 0), found.get("m", 0), found.get("d", 0)


def numbers(text: str) -> list[Figure]:
    """Every number of the text in order, whether in digits or in words."""
    return sorted([*_in_digits(text), *_in_words(text)], key=lambda f: f.start)


def _in_digits(text: str) -> Iterator[Figure]:
    position = 0
    while m := _RUN.search(text, position):
        figure = _figure(text, m.start(), m.end())
        position = max(figure.end, m.end())
        yield figure


def _figure(text: str, start: int, end: int) -> Figure:
    """A run of digits with the signs before it and the unit after it."""
    value = _value(text[start:end])
    decimals = len(text[start:end].partition(".")[2])
    before = text[:start]
    currency = before[-1:] if before[-1:] in tuple(_CURRENCY) else ""
    head = before[: len(before) - len(currency)]
    sign = head[-1:] if head[-1:] in ("-", "+", ".", "~", "<", ">", "±", "×", "–") else ""
    joined = head[: len(head) - len(sign)][-1:]
    odd = bool(sign) and (sign != "-" or bool(joined and (joined.isalnum() or joined == HELD)))
    code = not currency and (before[-1:].isalpha() or before[-1:] == "_")
    begin = start - len(currency) - (1 if sign == "-" and not odd else 0)
    second = None
    if ratio := re.match(r"/(\d+(?:\.\d+)?)(?!\d|[/,.]\d)", text[end:]):
        second, end = Decimal(ratio.group(1)), end + ratio.end()
    elif re.match(r"[/:⁄]\d|[-–]\d|[.,]?\d", text[end:]):
        odd = True
    unit, scale, end, grown = _unit(text, end, bool(currency))
    return Figure(
        text=text[begin:end],
        start=begin,
        end=end,
        value=None if odd or code or grown else value,
        second=second,
        unit=unit,
        scale=scale,
        currency=currency,
        negative=sign == "-" and not odd,
        decimals=decimals,
        code=code or grown,
    )


def _value(run: str) -> Decimal | None:
    """1,234.5 and 1234.5; anything else, such as 1.234.5 or 12,34, cannot be told."""
    return Decimal(run.replace(",", "")) if _PLAIN.match(run) else None


def _unit(text: str, end: int, money: bool) -> tuple[str, str, int, bool]:
    """The unit and scale after a number: unit, scale, new end, and whether letters have grown onto the digits."""
    scale = ""
    for _ in range(2):
        m = _AFTER.match(text, end)
        if m is None:
            break
        word, gap = m.group("word").lower(), m.group("gap")
        if not scale and word in SCALES and (len(word) > 1 or money):
            scale, end = word, m.end()
            continue
        if word == "percentage" and (points := re.match(r" points?", text[m.end() :])):
            return "point", scale, m.end() + points.end(), False
        if word in UNITS:
            end = m.end()
            if word in ("beats", "breaths") and (rest := re.match(r" (?:per minute|a minute|/ ?min)\b", text[end:])):
                end += rest.end()
            return UNITS[word], scale, end, False
        # "12abc" and "24-hour" are not the numbers 12 and 24.
        return "", scale, end, gap != " " and not scale
    return "", scale, end, False


def _in_words(text: str) -> Iterator[Figure]:
    words = [(m.start(), m.end(), m.group().lower()) for m in _LETTERS.finditer(text)]
    i = 0
    while i < len(words):
        if words[i][2] not in NUMBER_WORDS or _is_scale(text, words[i]):
            i += 1
            continue
        j = i + 1
        while j < len(words) and _continues(text, words, j):
            j += 1
        start, end = words[i][0], words[j - 1][1]
        group = [w for _, _, w in words[i:j] if w != "and"]
        unit, scale, stop, grown = _unit(text, end, False)
        value = number_of(group)
        yield Figure(
            text=text[start:stop], start=start, end=stop, value=None if grown else value, unit=unit, scale=scale
        )
        i = j


def _continues(text: str, words: list[tuple[int, int, str]], j: int) -> bool:
    """Whether word j belongs to the number in words that ends at word j - 1."""
    near = text[words[j - 1][1] : words[j][0]] in (" ", "-")
    if words[j][2] == "and":
        big = words[j - 1][2] in ("hundred", "thousand", "million")
        return near and big and j + 1 < len(words) and words[j + 1][2] in NUMBER_WORDS
    return near and words[j][2] in NUMBER_WORDS


def _is_scale(text: str, word: tuple[int, int, str]) -> bool:
    """Whether "million" belongs to digits before it."""
    return word[2] in SCALES and bool(re.search(r"\d[ -]?$", text[: word[0]]))
