"""What one encounter of a FHIR R4 bundle holds, read into the few facts that a note rests on.

Each fact keeps its path in the bundle. A resource that names another encounter is left out; refuted and
mistaken entries are left out; what no resource states is unknown, never "none".

>>> from domains.medicine.synthetic import records
>>> visit = visits(next(records("riverside", 1, seed=1))["bundle"])[0]
>>> visit.sex in ("female", "male"), len(visit.vitals) > 0
(True, True)
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from domains._figures import normalise
from domains.base import Sensitive
from domains.medicine.fhir import Resource, concept, document_text, resources, same

__all__ = ["Item", "Medication", "Visit", "Vital", "visits"]

_QUALIFIER = re.compile(
    r"\s*\((?:disorder|finding|situation|procedure|substance|organism|product|regime/therapy|event|person|"
    r"morphologic abnormality|observable entity|navigational concept|record artifact)\)$"
)
_NO_ALLERGY = frozenset({"716186003", "409137002", "428607008", "429625007", "716184000", "716185004"})
_HELD_BACK = frozenset("entered-in-error cancelled draft not-done revoked not-taken".split())  # noqa: SIM905
_FREQUENCIES = {
    (1, 1, "d"): "daily",
    (2, 1, "d"): "twice daily",
    (3, 1, "d"): "three times daily",
    (4, 1, "d"): "four times daily",
    (1, 1, "wk"): "weekly",
    (2, 1, "wk"): "twice weekly",
    (1, 1, "mo"): "monthly",
}
# LOINC code -> name in a note, unit in a note; pressure is read from its two components.
_VITALS = {
    "8867-4": ("heart rate", "/min"),
    "9279-1": ("respiratory rate", "/min"),
    "8310-5": ("temperature", "°C"),
    "59408-5": ("SpO2", "%"),
    "2708-6": ("SpO2", "%"),
    "29463-7": ("weight", "kg"),
    "8302-2": ("height", "cm"),
    "39156-5": ("BMI", "kg/m2"),
    "4548-4": ("HbA1c", "%"),
}
_UCUM = {"/min": "/min", "Cel": "°C", "%": "%", "kg": "kg", "cm": "cm", "kg/m2": "kg/m2", "mm[Hg]": "mmHg"}


@dataclass(frozen=True, kw_only=True, repr=False)
class Item(Sensitive):
    """A condition, procedure, allergy or plan in words."""

    text: str
    path: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Medication(Sensitive):
    """A drug with its dose and frequency, as far as the bundle states them."""

    name: str
    path: str
    amount: Decimal | None = None
    unit: str = ""
    frequency: str = ""
    as_needed: bool = False
    instruction: str = ""
    """The dosage's own words, kept where its structure does not say all."""


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
    paths: Mapping[str, str]
    """Where age, sex, day and kind were read."""
    document: str = ""


def visits(bundle: Resource) -> list[Visit]:
    """Read a checked bundle: one visit for each document in it, or else its latest encounter alone."""
    documents = [
        (text, resource)
        for _, resource in resources(bundle, "DocumentReference", "Composition")
        if resource.get("status") != "entered-in-error" and (text := document_text(resource))
    ]
    encounters = list(resources(bundle, "Encounter"))
    if not documents:
        return [_visit(bundle, _latest(encounters), "")]
    out = []
    for text, resource in documents:
        context = resource.get("context")
        links = context.get("encounter", []) if isinstance(context, Mapping) else [resource.get("encounter")]
        links = links if isinstance(links, list) else [links]
        own = [e for e in encounters if any(same(link, e[1]) for link in links)]
        out.append(_visit(bundle, own[0] if own else _latest(encounters), text))
    return out


def words(value: Any) -> str:
    """A coded thing's words: one line, normalised, without SNOMED's type in brackets; "" without a letter."""
    text = concept(value) if isinstance(value, Mapping) else value if isinstance(value, str) else ""
    text = normalise(text)
    text = _QUALIFIER.sub("", text).rstrip(" .;")
    return text if any(c.isalpha() for c in text) else ""


def _latest(encounters: list[tuple[str, Resource]]) -> tuple[str, Resource] | None:
    return max(encounters, key=lambda e: str(_at(e[1], "period", "start") or ""), default=None)


def _visit(bundle: Resource, encounter: tuple[str, Resource] | None, document: str) -> Visit:
    """Gather what belongs to one encounter."""
    where, visit = encounter if encounter else ("", {})
    subject = next(resources(bundle, "Patient"), ("", {}))
    day = _date(_at(visit, "period", "start"))
    allergies, none = _allergies(bundle)
    return Visit(
        age=_age(_date(subject[1].get("birthDate")), day),
        sex=str(subject[1].get("gender", "unknown")),
        day=day,
        kind=next((words(t) for t in _list(visit.get("type"))), ""),
        problems=tuple(_problems(bundle, visit)),
        vitals=tuple(_vitals(bundle, visit)),
        drugs=tuple(_drugs(bundle, visit)),
        procedures=tuple(_coded(bundle, visit, "Procedure", "code")),
        vaccines=tuple(_coded(bundle, visit, "Immunization", "vaccineCode")),
        allergies=tuple(allergies),
        no_allergies=none,
        plans=tuple(_plans(bundle, visit)),
        paths={
            "age": f"{subject[0]}.birthDate",
            "sex": f"{subject[0]}.gender",
            "day": f"{where}.period.start",
            "kind": f"{where}.type[0]",
        },
        document=document,
    )


def _belongs(resource: Resource, visit: Resource) -> bool | None:
    """True: to this encounter; False: to another; None: the resource names none."""
    link = resource.get("encounter")
    if not isinstance(link, Mapping) or not visit:
        return None
    return same(link, visit)


def _status(resource: Resource, name: str) -> str:
    coding = _at(resource, name, "coding")
    return str(coding[0].get("code", "")) if isinstance(coding, list) and coding else ""


def _distinct(items: Iterator[Item]) -> Iterator[Item]:
    """Each wording once, in order."""
    seen: set[str] = set()
    for item in items:
        if item.text and item.text.lower() not in seen:
            seen.add(item.text.lower())
            yield item


def _problems(bundle: Resource, visit: Resource) -> Iterator[Item]:
    def all_of() -> Iterator[Item]:
        for path, r in resources(bundle, "Condition"):
            own = _belongs(r, visit)
            if own is False or _status(r, "verificationStatus") in ("refuted", "entered-in-error"):
                continue
            if own or _status(r, "clinicalStatus") in ("", "active", "recurrence", "relapse"):
                yield Item(text=words(r.get("code")), path=f"{path}.code")
        for i, reason in enumerate(_list(visit.get("reasonCode"))):
            yield Item(text=words(reason), path=f"Encounter.reasonCode[{i}]")

    return _distinct(all_of())


def _coded(bundle: Resource, visit: Resource, kind: str, name: str) -> Iterator[Item]:
    return _distinct(
        Item(text=words(r.get(name)), path=f"{path}.{name}")
        for path, r in resources(bundle, kind)
        if _belongs(r, visit) is not False and r.get("status") not in _HELD_BACK
    )


def _allergies(bundle: Resource) -> tuple[list[Item], Item | None]:
    """The allergies, and the explicit statement that there is none."""
    found: list[Item] = []
    none: Item | None = None
    for path, r in resources(bundle, "AllergyIntolerance"):
        if _status(r, "verificationStatus") in ("refuted", "entered-in-error"):
            continue
        if _status(r, "clinicalStatus") in ("inactive", "resolved"):
            continue
        item = Item(text=words(r.get("code")), path=f"{path}.code")
        codes = {str(c.get("code")) for c in _list(_at(r, "code", "coding")) if isinstance(c, Mapping)}
        if codes & _NO_ALLERGY or item.text.lower().startswith("no known"):
            none = item
        elif item.text:
            found.append(item)
    found = list(_distinct(iter(found)))
    return found, None if found else none


def _plans(bundle: Resource, visit: Resource) -> Iterator[Item]:
    def all_of() -> Iterator[Item]:
        for path, r in resources(bundle, "CarePlan", "ServiceRequest"):
            if _belongs(r, visit) is False or r.get("status") in _HELD_BACK:
                continue
            name = "description" if r["resourceType"] == "CarePlan" else "code"
            yield Item(text=words(r.get(name)), path=f"{path}.{name}")

    return _distinct(all_of())


def _vitals(bundle: Resource, visit: Resource) -> Iterator[Vital]:
    for path, r in resources(bundle, "Observation"):
        if _belongs(r, visit) is False or r.get("status") in (*_HELD_BACK, "registered"):
            continue
        codes = _loinc(r.get("code"))
        parts = {c: p for p in _list(r.get("component")) if isinstance(p, Mapping) for c in _loinc(p.get("code"))}
        top, low = (_quantity(parts.get(c, {}), "mmHg") for c in ("8480-6", "8462-4"))
        if top is not None and low is not None:
            yield Vital(name="BP", value=top, second=low, unit="mmHg", path=f"{path}.component")
        for code in codes & _VITALS.keys():
            name, unit = _VITALS[code]
            if (value := _quantity(r, unit)) is not None:
                yield Vital(name=name, value=value, unit=unit, path=f"{path}.valueQuantity")


def _loinc(code: Any) -> set[str]:
    return {str(c.get("code")) for c in _list(_at(code, "coding")) if isinstance(c, Mapping)}


def _quantity(holder: Any, unit: str) -> Decimal | None:
    """A quantity's value when it is in the unit that notes use; another unit is left out, never converted."""
    quantity = _at(holder, "valueQuantity")
    if not isinstance(quantity, Mapping):
        return None
    stated = str(quantity.get("code") or quantity.get("unit") or "")
    return _decimal(quantity.get("value")) if unit in (_UCUM.get(stated, stated), stated) else None


def _drugs(bundle: Resource, visit: Resource) -> Iterator[Medication]:
    seen: set[tuple[str, Decimal | None, str, str]] = set()
    for path, r in resources(bundle, "MedicationRequest", "MedicationStatement"):
        own = _belongs(r, visit)
        if own is False or r.get("status") in _HELD_BACK or (own is None and r.get("status") != "active"):
            continue
        name = words(r.get("medicationCodeableConcept")) or _referenced(bundle, r)
        dosage = next((d for d in _list(r.get("dosageInstruction", r.get("dosage"))) if isinstance(d, Mapping)), {})
        drug = _dosed(name, path, dosage)
        key = (drug.name.lower(), drug.amount, drug.unit, drug.frequency)
        if name and key not in seen:
            seen.add(key)
            yield drug


def _dosed(name: str, path: str, dosage: Mapping[str, Any]) -> Medication:
    """Dose and frequency from structure; what only the text says is kept as the instruction."""
    repeat = _at(dosage, "timing", "repeat")
    repeat = repeat if isinstance(repeat, Mapping) else {}
    key = (repeat.get("frequency"), repeat.get("period"), repeat.get("periodUnit"))
    frequency = _FREQUENCIES.get(key, "")  # type: ignore[arg-type]
    rate: Any = next(iter(_list(dosage.get("doseAndRate"))), {})
    quantity = _at(rate, "doseQuantity")
    amount = _decimal(quantity.get("value")) if isinstance(quantity, Mapping) else None
    unit = str(quantity.get("unit", "")) if isinstance(quantity, Mapping) else ""
    complete = amount is not None and bool(unit) and bool(frequency)
    return Medication(
        name=name,
        path=path,
        amount=amount if complete else None,
        unit=unit if complete else "",
        frequency=frequency if complete else "",
        as_needed=complete and dosage.get("asNeededBoolean") is True,
        instruction="" if complete else words(dosage.get("text")),
    )


def _referenced(bundle: Resource, request: Resource) -> str:
    """The name of a drug that stands in a Medication resource, contained or in the bundle."""
    link = request.get("medicationReference")
    if not isinstance(link, Mapping):
        return ""
    target = str(link.get("reference", ""))
    for contained in _list(request.get("contained")):
        if isinstance(contained, Mapping) and target == f"#{contained.get('id')}":
            return words(contained.get("code"))
    for _, medication in resources(bundle, "Medication"):
        if same(link, medication):
            return words(medication.get("code"))
    return words(link.get("display"))


def _age(born: date | None, day: date | None) -> tuple[int, str] | None:
    """Whole months under two years, whole years from then on; None when either date is unknown."""
    if born is None or day is None or born > day:
        return None
    months = (day.year - born.year) * 12 + day.month - born.month - (day.day < born.day)
    return (months, "month") if months < 24 else (months // 12, "year")


def _date(value: Any) -> date | None:
    """The day of a FHIR date or dateTime; a year or month alone is no day."""
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _at(value: Any, *names: str) -> Any:
    """A nested element, or None."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
