"""The value of a number in digits, in English words, or in Chinese characters.

>>> number("three hundred and twenty"), number("三百二十"), number("1,500.5")
(Fraction(320, 1), Fraction(320, 1), Fraction(3001, 2))
"""

import re
from fractions import Fraction

from domains.finance._clause_words import CJK_DIGITS, NUMBER_WORDS

__all__ = ["CJK_NUMBER", "number"]

CJK_NUMBER = r"[〇零一二两三四五六七八九十百千万亿]+"
"""A run of characters that can be a number."""


def number(text: str) -> Fraction | None:
    """The value of a number in digits, in English words or in Chinese characters; None where it is none."""
    text = text.strip().lower().replace(",", "")
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return Fraction(text)
    if re.fullmatch(rf"{CJK_NUMBER}(?:点{CJK_NUMBER})?", text):
        whole, _, part = text.partition("点")
        value = _chinese(whole)
        digits = "".join(str(CJK_DIGITS[c]) for c in part if c in CJK_DIGITS)
        return None if value is None else value + (Fraction(int(digits), 10 ** len(digits)) if digits else 0)
    total = held = 0
    words = [w for w in re.split(r"[- ]", text) if w and w != "and"]
    if not words or any(w not in NUMBER_WORDS and w not in ("hundred", "thousand") for w in words):
        return None
    for word in words:
        if word in NUMBER_WORDS:
            held += NUMBER_WORDS[word]
        elif word == "hundred":
            held = max(held, 1) * 100
        else:
            total, held = total + max(held, 1) * 1000, 0
    return Fraction(total + held)


def _chinese(text: str) -> Fraction | None:
    """A number in characters: 三百二十, 一万二千, 二〇二四."""
    if not re.search(r"[十百千万亿]", text):
        digits = [CJK_DIGITS.get(c) for c in text]
        return None if None in digits or not digits else Fraction(int("".join(map(str, digits))))
    total = section = digit = 0
    for c in text:
        if c in CJK_DIGITS:
            digit = CJK_DIGITS[c]
        elif c in "十百千":
            section += (digit or (1 if c == "十" or not section else 0)) * {"十": 10, "百": 100, "千": 1000}[c]
            digit = 0
        else:
            total = (total + section + digit) * {"万": 10**4, "亿": 10**8}[c]
            section = digit = 0
    return Fraction(total + section + digit)
