"""What one encounter holds, as plain values. Part of `domains.medicine.visit`, which offers these names.

>>> Item(text="asthma", path="Bundle.entry[0].resource.code")
Item
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TypeVar

from domains.base import Language, Sensitive
from domains.medicine._drugs import Medication
from domains.medicine._layout import Layout, layout

__all__ = ["Entry", "Item", "ItemType", "Visit", "Vital"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Item(Sensitive):
    """A condition, procedure, allergy or plan in words."""

    text: str
    path: str
    words: tuple[str, ...] = ()
    """As the bundle writes what it is about; a note may call it so."""


ItemType = TypeVar("ItemType", bound=Item)


@dataclass(frozen=True, kw_only=True, repr=False)
class Entry(Item):
    """Anything else that a note must say, as one phrase; `kind` says what it is."""

    kind: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Vital(Sensitive):
    """A measured sign; `second` is the diastolic pressure."""

    name: str
    value: Decimal
    unit: str
    path: str
    second: Decimal | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Visit(Sensitive):
    """One encounter. `document` is the note that the bundle itself holds for it, "" when none."""

    age: tuple[int, str] | None
    sex: str
    day: date | None
    kind: str
    problems: tuple[Item, ...]
    vitals: tuple[Vital, ...]
    drugs: tuple[Medication, ...]
    procedures: tuple[Item, ...]
    vaccines: tuple[Item, ...]
    allergies: tuple[Item, ...]
    no_allergies: Item | None
    plans: tuple[Item, ...]
    entries: tuple[Entry, ...]
    """In the order of the bundle."""
    origins: tuple[Item, ...]
    """Race and ethnicity as US Core has them: a note may say them and need not."""
    names: tuple[str, ...]
    """What the patient is called: never said, and known so that it can be taken out."""
    paths: Mapping[str, str]
    """Where age, sex, day and kind were read."""
    lang: Language = "en"
    layout: Layout = field(default_factory=lambda: layout(None, "en"))
    document: str = ""
