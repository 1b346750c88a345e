"""Check digits of the numbers that name a person, an account or a vehicle: whether a number can be one at all.

Only arithmetic and the published shape rules; whether a text means such a number is for `domains._identifiers`.

>>> is_resident_id("11010519491231002X"), is_resident_id("110105194912310021")
(True, False)
>>> is_luhn("4111111111111111"), is_nhs_number("9434765919"), is_ssn("219-09-9999")
(True, True, True)
"""

from datetime import date

__all__ = [
    "is_dea_number",
    "is_iban",
    "is_luhn",
    "is_nhs_number",
    "is_resident_id",
    "is_ssn",
    "is_vehicle_number",
    "resident_check",
]

_VIN = {c: n for n, cs in enumerate(("", "AJ", "BKS", "CLT", "DMU", "ENV", "FW", "GPX", "HY", "RZ")) for c in cs}
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_PROVINCES = frozenset(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83".split()  # noqa: SIM905
)


def resident_check(first: str) -> str:
    """The eighteenth character of a Chinese resident number from its first seventeen digits.

    Reference: GB 11643-1999 (ISO 7064, MOD 11-2).
    """
    total = sum(int(digit) * (2 ** (17 - i) % 11) for i, digit in enumerate(first))
    return "10X98765432"[total % 11]


def is_resident_id(text: str) -> bool:
    """Whether 18 characters are a Chinese resident number: province, day of birth and check character."""
    text = text.upper()
    if len(text) != 18 or not text[:17].isascii() or not text[:17].isdigit() or text[:2] not in _PROVINCES:
        return False
    try:
        born = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    return born.year >= 1850 and text[17] == resident_check(text[:17])


def is_ssn(text: str) -> bool:
    """Whether nine digits keep the shape rules of a US social security number.

    Area not 000, 666 or 900 to 999, group not 00, serial not 0000 (Social Security Administration, 2011).
    """
    digits = text.replace("-", "").replace(" ", "")
    if len(digits) != 9 or not digits.isdigit():
        return False
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def is_nhs_number(text: str) -> bool:
    """Whether ten digits are an NHS number: the weighted sum's remainder by 11 gives the tenth."""
    digits = text.replace(" ", "").replace("-", "")
    if len(digits) != 10 or not digits.isdigit() or len(set(digits)) == 1:
        return False
    check = 11 - sum(int(digit) * (10 - i) for i, digit in enumerate(digits[:9])) % 11
    return check != 10 and int(digits[9]) == check % 11


def is_luhn(text: str) -> bool:
    """Whether a run of digits passes the mod-10 check of payment cards (ISO/IEC 7812-1)."""
    digits = [int(c) for c in text if c.isdigit()]
    if len(digits) < 2 or not any(digits):
        return False
    total = sum(digits[-1::-2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return total % 10 == 0


def is_dea_number(text: str) -> bool:
    """Whether two letters and seven digits are a US drug enforcement number."""
    if len(text) != 9 or not text[:1].isalpha() or not text[2:].isdigit():
        return False
    d = [int(c) for c in text[2:]]
    return (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10 == d[6]


def is_iban(text: str) -> bool:
    """Whether a text is an international bank account number: remainder 1 by 97 (ISO 13616)."""
    plain = text.replace(" ", "").upper()
    if not 15 <= len(plain) <= 34 or not plain.isascii() or not plain.isalnum() or not plain[:2].isalpha():
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def is_vehicle_number(text: str) -> bool:
    """Whether 17 characters are a vehicle identification number with its check character (ISO 3779, 49 CFR 565)."""
    text = text.upper()
    if len(text) != 17 or not all(c.isascii() and (c.isdigit() or c in _VIN) for c in text):
        return False
    total = sum((int(c) if c.isdigit() else _VIN[c]) * w for c, w in zip(text, _VIN_WEIGHTS, strict=True))
    return text[8] == ("X" if total % 11 == 10 else str(total % 11))
