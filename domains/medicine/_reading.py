"""Reads what belongs to one encounter of a bundle. Part of `domains.medicine.visit`.

What holds is kept as plain items; whatever is refuted, uncertain, over, not in force or not done becomes an
entry: one phrase together with the word that says so.

>>> reader = Reader({"entry": []}, "", {}, Speech("en", brief=True))
>>> reader.visit(("", {}), "").entries
()
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from domains.medicine._bindings import READ
from domains.medicine._drugs import IN_FORCE, Medication, bracketed, read_drug, said_elsewhere, wordings
from domains.medicine._labels import code_words, noun
from domains.medicine._narrative import PERSONS, Clause, details, head, narrate, standing
from domains.medicine._parts import Entry, Item, ItemType, Visit, Vital
from domains.medicine._patient import age_at, day_of, names, origins
from domains.medicine._values import Speech, decimal, each
from domains.medicine.fhir import Resource, resources, same

__all__ = ["Reader", "at"]

_NO_ALLERGY = frozenset({"716186003", "409137002", "428607008", "429625007", "716184000", "716185004"})
_NONE_AT_ALL = "716186003"
_OVER = frozenset(("inactive", "resolved", "remission"))
_UNCERTAIN = frozenset(("unconfirmed", "provisional", "differential"))
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
_HELD = frozenset(("final", "amended", "corrected", "appended", "completed", "available", "finished")) | IN_FORCE
"""Standings that go without saying: what has them is said plainly."""
_SIMPLY: Mapping[str, frozenset[str]] = {
    "Procedure": frozenset(("completed",)),
    "Immunization": frozenset(("completed",)),
    "CarePlan": IN_FORCE | {"plan"},
    "ServiceRequest": IN_FORCE | {"plan"},
}
"""Of what is listed without its standing: the standings that go without saying."""
_QUIET: Mapping[str, frozenset[str]] = {
    "Patient": frozenset(("active", "multipleBirthBoolean")),
    "Encounter": frozenset(("type", "reasonCode", "length")),
    "AllergyIntolerance": frozenset(("code",)),
    "Observation": frozenset(("issued",)),
    "DiagnosticReport": frozenset(("issued", "result")),
}
"""Elements that other parts of a note say, or that no note of a visit needs."""
_PLAIN_VITAL = frozenset(
    """resourceType id meta identifier text status category code subject encounter performer issued valueQuantity
    component""".split()  # noqa: SIM905
)
_KINDS = {
    "Procedure": "procedure",
    "Immunization": "vaccine",
    "Observation": "finding",
    "DiagnosticReport": "report",
    "ImagingStudy": "report",
    "Specimen": "report",
    "MedicationAdministration": "administration",
    "MedicationDispense": "administration",
    "FamilyMemberHistory": "history",
    "QuestionnaireResponse": "history",
    "Flag": "flag",
    "RiskAssessment": "impression",
    "ClinicalImpression": "impression",
    "CarePlan": "plan",
    "ServiceRequest": "plan",
    "NutritionOrder": "plan",
    "Goal": "plan",
    "Communication": "plan",
}
"""Resource type -> what its entries are in a note."""


class Reader:
    """One encounter being read."""

    def __init__(self, bundle: Resource, where: str, visit: Resource, speech: Speech) -> None:
        self._bundle = bundle
        self._where = where
        self._visit = visit
        self._speech = speech
        self._day = day_of(at(visit, "period", "start"))
        self._entries: list[Entry] = []

    def visit(self, subject: tuple[str, Resource], document: str) -> Visit:
        """Everything, in the order in which a note is read."""
        self._social(subject)
        self._about_encounter()
        problems = self._problems()
        allergies, none = self._allergies()
        drugs = self._drugs()
        vitals = self._vitals()
        plain = {kind: self._plain(kind) for kind in ("Procedure", "Immunization", "CarePlan", "ServiceRequest")}
        self._rest()
        return Visit(
            age=age_at(day_of(subject[1].get("birthDate")), self._day),
            sex=str(subject[1].get("gender", "unknown")),
            day=self._day,
            kind=self._speech.joined([self._speech.named(t) for t in each(self._visit.get("type")) if t]),
            problems=problems,
            vitals=vitals,
            drugs=drugs,
            procedures=plain["Procedure"],
            vaccines=plain["Immunization"],
            allergies=allergies,
            no_allergies=none,
            plans=tuple(_distinct([*plain["CarePlan"], *plain["ServiceRequest"]])),
            entries=tuple(_distinct(self._entries)),
            origins=tuple(origins(*subject)),
            names=tuple(names(subject[1])),
            paths={
                "age": f"{subject[0]}.birthDate",
                "sex": f"{subject[0]}.gender",
                "day": f"{self._where}.period.start",
                "kind": f"{self._where}.type[0]",
            },
            lang="zh" if self._speech.zh else "en",
            document=document,
        )

    def _add(self, kind: str, item: Item) -> None:
        if item.text:
            self._entries.append(Entry(kind=kind, text=item.text, path=item.path, words=item.words))

    def _own(self, *kinds: str) -> Iterator[tuple[str, Resource]]:
        """Resources of this encounter, or of none, that were not entered in error."""
        for path, resource in resources(self._bundle, *kinds):
            if self._belongs(resource) is not False and "entered-in-error" not in standing(resource):
                yield path, resource

    def _belongs(self, resource: Resource) -> bool | None:
        """True: to this encounter; False: to another; None: the resource names none."""
        link = resource.get("encounter") or resource.get("context")
        if not isinstance(link, Mapping) or not self._visit:
            return None
        return same(link, self._visit)

    def _details(self, path: str, resource: Resource, *without: str) -> list[Clause]:
        """What is stated of a resource beyond its name, its standing, its persons and the visit's own day."""
        quiet = _QUIET.get(str(resource.get("resourceType")), frozenset())
        skip = PERSONS | quiet | said_elsewhere(resource, self._day) | frozenset(without)
        skip |= {"category", "primarySource", *_STANDINGS}
        return details(resource, path, self._speech, without=skip)

    def _item(self, path: str, resource: Resource, *first: str) -> Item:
        """What a resource is about, with everything else that is stated of it in brackets."""
        element, about = head(resource, self._speech)
        rest = [c.text for c in self._details(path, resource, element)]
        place = f"{path}.{element}" if element else path
        words = wordings(resource.get(element))
        about = about or noun(str(resource.get("resourceType")), self._speech.lang)
        return Item(text=bracketed(about, [*first, *rest], self._speech), path=place, words=words)

    def _with_standing(self, path: str, resource: Resource) -> Item:
        """A resource that is not plainly so: its type and its standing come before what it is about."""
        element, _ = head(resource, self._speech)
        first = narrate(resource, path, self._speech)[0]
        rest = [c.text for c in self._details(path, resource, element)]
        return Item(
            text=bracketed(first.text, rest, self._speech), path=first.path, words=wordings(resource.get(element))
        )

    def _social(self, subject: tuple[str, Resource]) -> None:
        for clause in self._details(*subject):
            kind = "deceased" if clause.element.startswith("deceased") else "social"
            self._add(kind, Item(text=clause.text, path=clause.path))

    def _about_encounter(self) -> None:
        visit, path = self._visit, self._where
        if not visit:
            return
        codes = [c for c in standing(visit) if c not in ("finished", "in-progress")]
        if codes:
            self._add("encounter", Item(text=narrate(visit, path, self._speech)[0].text, path=f"{path}.status"))
        ambulatory = ("class",) if at(visit, "class", "code") == "AMB" else ()
        for clause in self._details(path, visit, *ambulatory):
            self._add("encounter", Item(text=clause.text, path=clause.path))
        for i, reason in enumerate(each(visit.get("reasonCode"))):
            if isinstance(reason, Mapping):
                place = f"{path}.reasonCode[{i}]"
                self._add("reason", Item(text=self._speech.named(reason), path=place, words=wordings(reason)))

    def _problems(self) -> tuple[Item, ...]:
        """Conditions that hold; the others become entries with the word that says why they do not."""
        zh, out = self._speech.zh, []
        for path, r in self._own("Condition"):
            codes = standing(r)
            words = [code_words(c, self._speech.lang) for c in codes if c in _OVER | _UNCERTAIN]
            if "refuted" in codes:
                item = self._item(path, r, *words)
                self._add("ruled-out", Item(text=("已排除：" if zh else "ruled out: ") + item.text, path=item.path))
            elif _UNCERTAIN & set(codes):
                item = self._item(path, r, *words)
                self._add("uncertain", Item(text=("可能：" if zh else "possible ") + item.text, path=item.path))
            elif _OVER & set(codes):
                item = self._item(path, r, *words)
                self._add("past", item)
            else:
                more = [code_words(c, self._speech.lang) for c in codes if c in ("recurrence", "relapse")]
                out.append(self._item(path, r, *more))
        return tuple(_distinct(out))

    def _allergies(self) -> tuple[tuple[Item, ...], Item | None]:
        """The allergies, and the explicit statement that there is none."""
        zh, found = self._speech.zh, []
        none: Item | None = None
        for path, r in self._own("AllergyIntolerance"):
            codes = standing(r)
            allergy = r.get("type") != "intolerance"
            coded = {str(c.get("code")) for c in each(at(r, "code", "coding")) if isinstance(c, Mapping)}
            words = [code_words(c, self._speech.lang) for c in codes if c in _OVER | _UNCERTAIN]
            plain = not words and "refuted" not in codes and not allergy
            item = self._item(path, {k: v for k, v in r.items() if k != "type" or plain}, *words)
            what = _INTOLERANCES[zh][allergy]
            if "refuted" in codes:
                text = ("已排除：" if zh else "ruled out: ") + what.format(item.text)
                self._add("allergy", Item(text=text, path=item.path))
            elif words:
                prefix = ("可能" if zh else "possible ") if _UNCERTAIN & set(codes) else "既往" if zh else "former "
                self._add("allergy", Item(text=prefix + what.format(item.text), path=item.path))
            elif coded & _NO_ALLERGY or item.text.lower().startswith("no known"):
                whole = _NONE_AT_ALL in coded or item.text.lower() in ("no known allergies", "no known allergy")
                none = Item(text="" if whole else item.text, path=item.path)
            elif item.text:
                found.append(item)
        found = list(_distinct(found))
        return tuple(found), None if found else none

    def _drugs(self) -> tuple[Medication, ...]:
        out: dict[tuple[str, ...], Medication] = {}
        for path, r in self._own("MedicationRequest", "MedicationStatement"):
            drug = read_drug(self._bundle, r, path, self._speech, self._day)
            if drug.whole:
                self._add("taken" if drug.taken else "drug", Item(text=drug.whole, path=path, words=drug.words))
            elif drug.name:
                key = (drug.name.lower(), str(drug.amount), drug.unit, drug.frequency, drug.instruction, drug.more)
                out.setdefault((*key, str(drug.taken)), drug)
        return tuple(out.values())

    def _plain(self, kind: str) -> tuple[Item, ...]:
        """What was done or is planned, where it simply holds; anything else becomes an entry with its standing."""
        out = []
        for path, r in self._own(kind):
            holds = set(standing(r)) <= _SIMPLY[kind] and r.get("doNotPerform") is not True
            if holds and head(r, self._speech)[1]:
                out.append(self._item(path, r))
            else:
                self._add(_KINDS[kind], self._with_standing(path, r))
        return tuple(_distinct(out))

    def _vitals(self) -> tuple[Vital, ...]:
        out = []
        for path, r in self._own("Observation"):
            vital = self._vital(path, r)
            if vital is not None:
                out.append(vital)
            elif set(standing(r)) <= _HELD:
                self._add("finding", self._finding(path, r))
            else:
                self._add("finding", self._with_standing(path, r))
        return tuple(out)

    def _vital(self, path: str, r: Resource) -> Vital | None:
        """A vital sign in the unit that notes use and with nothing else to say; another unit is never converted."""
        dated = said_elsewhere(r, self._day) | {n for n in r if n.startswith("effective") and self._day is None}
        if not r.keys() <= _PLAIN_VITAL | dated or not set(standing(r)) <= _HELD:
            return None
        parts = {c: p for p in each(r.get("component")) if isinstance(p, Mapping) for c in _codes(p)}
        top, low = (_quantity(parts.get(c, {}), "mmHg") for c in ("8480-6", "8462-4"))
        if top is not None and low is not None and len(_listed(r.get("component"))) == 2 and "valueQuantity" not in r:
            return Vital(name="BP", value=top, second=low, unit="mmHg", path=f"{path}.component")
        for code in sorted(_codes(r) & _VITALS.keys()):
            name, unit = _VITALS[code]
            if "component" not in r and (value := _quantity(r, unit)) is not None:
                return Vital(name=name, value=value, unit=unit, path=f"{path}.valueQuantity")
        return None

    def _finding(self, path: str, r: Resource) -> Item:
        """An observation as "name: value", with the rest in brackets."""
        element, about = head(r, self._speech)
        value = next((n for n in r if n.startswith("value")), "")
        stated = {k: v for k, v in r.items() if k in (value, "contained")}
        said = [c.text for c in details(stated, path, self._speech)]
        gap = "：" if self._speech.zh else ": "
        name = f"{about}{gap}{said[0].split(gap, 1)[1]}" if said else about
        rest = [c.text for c in self._details(path, r, element, value)]
        return Item(text=bracketed(name, rest, self._speech), path=f"{path}.{value or element}")

    def _rest(self) -> None:
        """Every other type that a note can rest on."""
        done = {"Procedure", "Immunization", "CarePlan", "ServiceRequest", "Observation"}
        for path, r in self._own(*(READ & _KINDS.keys() - done)):
            self._add(_KINDS[str(r["resourceType"])], self._with_standing(path, r))


_INTOLERANCES = (("intolerance to {}", "allergy to {}"), ("不耐受：{}", "过敏：{}"))
_STANDINGS = frozenset(
    "status clinicalStatus verificationStatus lifecycleStatus docStatus intent doNotPerform".split()  # noqa: SIM905
)


def _distinct(items: list[ItemType]) -> Iterator[ItemType]:
    """Each wording once, in order."""
    seen: set[str] = set()
    for item in items:
        if item.text and item.text.lower() not in seen:
            seen.add(item.text.lower())
            yield item


def _listed(value: Any) -> list[Any]:
    """A list, or an empty one for anything else."""
    return value if isinstance(value, list) else []


def _codes(holder: Resource) -> set[str]:
    return {str(c.get("code")) for c in each(at(holder, "code", "coding")) if isinstance(c, Mapping)}


def _quantity(holder: Any, unit: str) -> Decimal | None:
    """A quantity's value when it is exact and in the unit that notes use."""
    quantity = at(holder, "valueQuantity")
    if not isinstance(quantity, Mapping) or "comparator" in quantity:
        return None
    if isinstance(holder, Mapping) and holder.keys() - _PLAIN_VITAL and "resourceType" not in holder:
        return None
    stated = str(quantity.get("code") or quantity.get("unit") or "")
    return decimal(quantity.get("value")) if unit in (_UCUM.get(stated, stated), stated) else None


def at(value: Any, *names: str) -> Any:
    """A nested element, or None."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
