"""Numbers in Chinese characters and their value. Only what can be read in one way has one.

"三四天" is three or four days and no 34; "三百二" is said for 320 and read as 302: neither has a value here.

>>> [str(han_value(n)) for n in ("三百二十", "十五", "一万零五", "三点二五", "二〇二〇", "三四", "三百二")]
['320', '15', '10005', '3.25', '2020', 'None', 'None']
"""

from decimal import Decimal

__all__ = ["DIGITS", "NUMERALS", "han_value"]

DIGITS = {
    c: i
    for i, cs in enumerate(("零〇○", "一壹", "二贰两", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖"))
    for c in cs
}
"""Character -> digit."""
_PLACES = {"千": 1000, "百": 100, "十": 10}
_FORMAL = str.maketrans("壹贰叁肆伍陆柒捌玖拾佰仟萬億〇○", "一二三四五六七八九十百千万亿零零")
NUMERALS = "".join(DIGITS) + "十百千万亿拾佰仟萬億"
"""Every character of a number."""
_NAMES = "零一二三四五六七八九"


def han_value(text: str) -> Decimal | None:
    """The value of a number in Chinese characters, whole or with a point.

    Returns:
        None where it is no number, or could be read as another one.
    """
    whole, point, decimals = text.translate(_FORMAL).partition("点")
    value = _whole(whole)
    if not point or value is None:
        return None if value is None else Decimal(value)
    if not decimals or any(c not in _NAMES for c in decimals):
        return None
    return Decimal(f"{value}.{''.join(str(_NAMES.index(c)) for c in decimals)}")


def _whole(text: str) -> int | None:
    """A whole number, accepted only as it is commonly written."""
    if not text:
        return None
    if all(c in _NAMES for c in text):
        # Digit by digit, as years are written; two or three in a row may be "three or four".
        return int("".join(str(_NAMES.index(c)) for c in text)) if len(text) == 1 or len(text) >= 4 else None
    if text == "两":
        return 2
    value = _added(text)
    if value is None or value >= 10**16:
        return None
    plain = text.replace("两", "二")
    plain = "一" + plain if plain.startswith("十") else plain
    return value if plain == written(value) else None


def _added(text: str) -> int | None:
    """What the characters come to when each digit is multiplied by the place after it."""
    for name, size in (("亿", 10**8), ("万", 10**4)):
        head, found, tail = text.rpartition(name)
        if found:
            left, right = _added(head), _added(tail) if tail else 0
            return None if left is None or right is None else left * size + right
    total, digit = 0, None
    for c in text:
        if c in DIGITS:
            digit = DIGITS[c]
        elif c in _PLACES:
            total += (1 if digit is None else digit) * _PLACES[c]
            digit = None
        else:
            return None
    return total + (digit or 0)


def written(value: int) -> str:
    """The one way in which a whole number is written out, 0 <= value < 10^16; 10 is "一十"."""
    if value == 0:
        return "零"
    for name, size in (("亿", 10**8), ("万", 10**4)):
        if value >= size:
            head, tail = divmod(value, size)
            gap = "零" if 0 < tail < size // 10 else ""
            return written(head) + name + gap + (written(tail) if tail else "")
    out, skipped = "", False
    for name, size in (("千", 1000), ("百", 100), ("十", 10), ("", 1)):
        digit, value = divmod(value, size)
        if digit:
            out += ("零" if skipped else "") + _NAMES[digit] + name
        skipped = bool(out) and not digit
    return out
