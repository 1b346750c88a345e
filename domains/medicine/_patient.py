"""What a Patient resource says of a person that a note needs: age, origin, and the names to keep out.

>>> age_at(date(1990, 6, 15), date(2024, 6, 14)), age_at(date(2023, 1, 31), date(2024, 1, 30))
((33, 'year'), (11, 'month'))
>>> next(names({"name": [{"given": ["Ada", "May"], "family": "Quux"}]}))
'Ada May Quux'
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from domains.medicine._parts import Item
from domains.medicine._values import each
from domains.medicine.fhir import Resource

__all__ = ["age_at", "day_of", "names", "origins"]

_ORIGIN = re.compile(r"/us-core-(?:race|ethnicity)$")
_ALSO_ORIGIN = {
    "not hispanic or latino": ("non-hispanic", "nonhispanic", "not hispanic"),
    "hispanic or latino": ("hispanic",),
}


def origins(path: str, patient: Resource) -> Iterator[Item]:
    for i, extension in enumerate(each(patient.get("extension"))):
        if not isinstance(extension, Mapping) or not _ORIGIN.search(str(extension.get("url", ""))):
            continue
        inner = [extension, *(e for e in each(extension.get("extension")) if isinstance(e, Mapping))]
        text = next((e["valueString"] for e in inner if isinstance(e.get("valueString"), str)), "")
        if any(c.isalpha() for c in text):
            yield Item(text=text, path=f"{path}.extension[{i}]", words=_ALSO_ORIGIN.get(text.lower(), ()))


def names(patient: Resource) -> Iterator[str]:
    """Every way in which a note may call the patient, the longest first."""
    found = set()
    for name in each(patient.get("name")):
        if not isinstance(name, Mapping):
            continue
        given, family = [str(g) for g in each(name.get("given"))], str(name.get("family", ""))
        prefix = " ".join(str(p) for p in each(name.get("prefix")))
        for first in (" ".join(given), *given[:1]):
            for whole in (
                f"{first} {family}",
                first,
                f"{prefix} {family}",
                f"{prefix} {first} {family}",
                family + first,
            ):
                found.add(" ".join(whole.split()))
    yield from sorted((n for n in found if len(n) > 2), key=lambda n: (-len(n), n))


def age_at(born: date | None, day: date | None) -> tuple[int, str] | None:
    """Whole months under two years, whole years from then on; None when either date is unknown."""
    if born is None or day is None or born > day:
        return None
    months = (day.year - born.year) * 12 + day.month - born.month - (day.day < born.day)
    return (months, "month") if months < 24 else (months // 12, "year")


def day_of(value: Any) -> date | None:
    """The day of a FHIR date or dateTime; a year or month alone is no day."""
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None
