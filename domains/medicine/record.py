"""`medicine.record`: a FHIR R4 bundle becomes a clinical note.

A record for training has `bundle` and `note`; where `note` is absent, each document that the bundle itself
holds (DocumentReference, Composition) is taken for the encounter that it names. The prompt is a compact
line of facts, the same in training and in writing.

>>> from domains.medicine.synthetic import records
>>> row = next(records("riverside", 1, seed=1))
>>> example = RecordTask().examples(row, unit=row["patient"])[0]
>>> example.prompt.endswith("Note:"), example
(True, Example)
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from domains._lexicon import UNITS
from domains.base import Example, Fact, Skeleton, Statement
from domains.medicine._words import VOCABULARY
from domains.medicine.fhir import bundle_of, check, validate
from domains.medicine.visit import Item, Medication, Visit, Vital, visits
from fedcore.errors import RecordError

__all__ = ["RecordTask"]

_ADULTS = {"female": "woman", "male": "man"}
_CHILDREN = {"female": "girl", "male": "boy"}
_ALSO_SEX = {
    "female": ("woman", "girl", "female", "lady", "she", "her"),
    "male": ("man", "boy", "male", "gentleman", "he", "his", "him"),
}
_CUES = {
    "BP": ("BP", "blood pressure"),
    "heart rate": ("heart rate", "HR", "pulse"),
    "respiratory rate": ("respiratory rate", "RR"),
    "temperature": ("temperature", "temp"),
    "SpO2": ("SpO2", "oxygen saturation", "saturation", "sats"),
    "weight": ("weight", "weighs"),
    "height": ("height",),
    "BMI": ("BMI", "body mass index"),
    "HbA1c": ("HbA1c",),
}
_ALLERGY = ("allergic", "allergy", "allergies")
_NO_ALLERGIES = ("no known allergies", "no known allergy", "no known drug allergies", "nkda", "no allergies")
_ALSO_OFTEN = {
    "daily": ("once daily", "once a day", "every day", "per day", "a day"),
    "twice daily": ("twice a day", "two times daily", "two times a day", "bid"),
    "three times daily": ("three times a day", "thrice daily", "tid"),
    "four times daily": ("four times a day", "qid"),
    "weekly": ("once weekly", "once a week", "every week"),
    "twice weekly": ("twice a week",),
    "monthly": ("once monthly", "once a month"),
}
_STRENGTH = re.compile(r"(\d+(?:\.\d+)?) ?(mg/ml|mcg/ml|mg|mcg|g|ml|unt/ml|unt|meq)\b", re.IGNORECASE)
_ABSENT = "no allergies are recorded"


@dataclass(frozen=True, kw_only=True)
class RecordTask:
    """The task. It holds no state."""

    name: str = "medicine.record"
    version: str = "1"
    kind: Literal["generate", "classify"] = "generate"
    fields: tuple[str, ...] = ("bundle", "note")
    optional: tuple[str, ...] = ()

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """Render a record: one example for the note, or one for each document within the bundle.

        Raises:
            NotFhirR4: The bundle fails the structural check.
            RecordError: There is no note, neither as a field nor within the bundle.
        """
        bundle = _bundle(fields)
        check(bundle)
        note = fields.get("note")
        if note is not None and not isinstance(note, str):
            raise RecordError("the field 'note' is wrong", expected="text", got=type(note).__name__)
        found = visits(bundle)
        pairs = [(found[0], note)] if note and note.strip() else [(v, v.document) for v in found if v.document]
        if not pairs:
            raise RecordError(
                "a record has no note",
                expected="the field 'note', or a DocumentReference or Composition with text in the bundle",
                do="map 'note' to the column that holds it",
            )
        return [Example(prompt=self.prompt(v), target=" " + text.strip(), unit=unit) for v, text in pairs]

    def read(self, fields: Mapping[str, Any]) -> Visit:
        """Read and fully validate a bundle.

        Raises:
            NotFhirR4: It is not FHIR R4.
        """
        bundle = _bundle(fields)
        validate(bundle)
        return visits(bundle)[-1]

    def prompt(self, source: Visit) -> str:
        """The facts of the visit in one line, then "Note:" on the next."""
        age = f"{source.age[0]} {source.age[1]}s" if source.age else ""
        parts = [", ".join(x for x in (_person(source), age.removesuffix(" years"), _lower(source.kind)) if x)]
        parts += [_upper(", ".join(_lower(p.text) for p in source.problems))] if source.problems else []
        if source.vitals:
            parts.append(_upper(", ".join(_short(v) for v in source.vitals)))
        parts += _section("Drugs", [_drug(d) for d in source.drugs])
        parts += _section("Procedures", [_lower(p.text) for p in source.procedures])
        parts += _section("Vaccines", [v.text for v in source.vaccines])
        if source.allergies:
            parts += _section("Allergies", [_lower(a.text) for a in source.allergies])
        else:
            parts.append("Allergies: none known" if source.no_allergies else "Allergies: not recorded")
        parts += _section("Plan", [p.text for p in source.plans])
        return ". ".join(parts) + ".\nNote:"

    def skeleton(self, source: Visit) -> Skeleton:
        """What a note of this visit must say, rule by rule, in the order of a note."""
        statements = [
            *_opening(source),
            *(_vital_statement(v) for v in source.vitals),
            *(_drug_statement(d) for d in source.drugs),
            *_listed("record.procedure", "Procedures done", source.procedures),
            *_listed("record.vaccine", "Vaccines given", source.vaccines),
            _allergy_statement(source),
            *(
                Statement(rule="record.plan", text=f"Plan: {p.text}.", facts=(_name(p.text, p.path),))
                for p in source.plans
            ),
        ]
        vocabulary = VOCABULARY | set(_ALLERGY) | {"known"} if source.allergies else VOCABULARY
        forbidden = () if source.no_allergies else _NO_ALLERGIES
        extra = (_name(source.kind, source.paths["kind"]),) if source.kind else ()
        return Skeleton(
            statements=tuple(statements),
            vocabulary=frozenset(vocabulary),
            forbidden=forbidden if source.allergies or not source.no_allergies else (),
            extra=extra,
        )


def _bundle(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if "bundle" not in fields:
        raise RecordError(
            "a record has no field 'bundle'",
            expected="a FHIR R4 Bundle",
            do="map 'bundle' to the column that holds it",
        )
    return bundle_of(fields["bundle"])


def _lower(text: str) -> str:
    """Lower case at the start, unless the word is an abbreviation."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _section(title: str, items: Sequence[str]) -> list[str]:
    return [f"{title}: {', '.join(items)}"] if items else []


def _joined(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _person(visit: Visit) -> str:
    young = visit.age is not None and (visit.age[1] == "month" or visit.age[0] < 18)
    return (_CHILDREN if young else _ADULTS).get(visit.sex, "patient")


def _who(visit: Visit) -> str:
    return f"{visit.age[0]}-{visit.age[1]}-old {_person(visit)}" if visit.age else _person(visit)


def _number(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _vital(vital: Vital) -> str:
    second = f"/{_number(vital.second)}" if vital.second is not None else ""
    gap = "" if vital.unit in ("%", "/min") else " "
    return f"{vital.name} {_number(vital.value)}{second}{gap}{vital.unit}"


def _short(vital: Vital) -> str:
    """As the prompt has it: tokens are dear, and these two units go without saying."""
    text = _vital(vital).replace("heart rate ", "HR ")
    return text.removesuffix(" mmHg").removesuffix("/min") if vital.name in ("BP", "heart rate") else text


def _drug(drug: Medication) -> str:
    parts = [_lower(drug.name)]
    if drug.amount is not None:
        parts += [_number(drug.amount), drug.unit, drug.frequency]
    elif drug.instruction:
        parts.append(f"({drug.instruction})")
    return " ".join(parts) + (" as needed" if drug.as_needed else "")


def _name(text: str, path: str, **more: Any) -> Fact:
    return Fact(kind="name", text=text, path=path, **more)


def _opening(visit: Visit) -> list[Statement]:
    """The day; then who it is, with the first three problems; then the other problems in threes."""
    out = []
    if visit.day is not None:
        fact = Fact(kind="date", text=visit.day.isoformat(), path=visit.paths["day"])
        out.append(Statement(rule="record.date", text=f"Visit of {visit.day.isoformat()}.", facts=(fact,)))
    who: list[Fact] = []
    if visit.age is not None:
        who.append(
            Fact(
                kind="number",
                text=str(visit.age[0]),
                path=visit.paths["age"],
                value=Decimal(visit.age[0]),
                units=frozenset({"", visit.age[1]}),
                cues=frozenset({"aged", "age"}),
                derivation="encounter date - birth date",
            )
        )
    if visit.sex in _ALSO_SEX:
        who.append(_name(_person(visit), visit.paths["sex"], also=_ALSO_SEX[visit.sex]))
    first, rest = visit.problems[:3], visit.problems[3:]
    text = _who(visit)
    article = "An" if re.match(r"8|11-|18-", text) else "A"
    problems = f" with {_joined([_lower(p.text) for p in first])}" if first else ""
    facts = (*who, *(_name(p.text, p.path) for p in first))
    if facts:
        out.append(Statement(rule="record.opening", text=f"{article} {text}{problems}.", facts=facts))
    return out + _listed("record.problem", "Further problems", rest)


def _listed(rule: str, title: str, items: Sequence[Item]) -> list[Statement]:
    """Statements of at most three items each."""
    return [
        Statement(
            rule=rule,
            text=f"{title}: {_joined([_lower(i.text) for i in items[n : n + 3]])}.",
            facts=tuple(_name(i.text, i.path) for i in items[n : n + 3]),
        )
        for n in range(0, len(items), 3)
    ]


def _vital_statement(vital: Vital) -> Statement:
    fact = Fact(
        kind="number",
        text=_vital(vital),
        path=vital.path,
        value=vital.value,
        second=vital.second,
        units=frozenset({"", vital.unit.lower()}),
        cues=frozenset(_CUES[vital.name]),
    )
    return Statement(rule="record.vital", text=f"{_upper(_vital(vital))}.", facts=(fact,))


def _drug_statement(drug: Medication) -> Statement:
    """The drug by name; its dose and frequency belong to it and to no other."""
    plain = re.split(r"\s+\d", drug.name, maxsplit=1)[0]
    names = (drug.name, plain) if plain else (drug.name,)
    facts = [_name(drug.name, drug.path, also=names[1:], drug=True)]
    for value, unit in _STRENGTH.findall(drug.name):
        # A strength stands inside the name; on its own it may be said only beside the name.
        facts.append(_dose(Decimal(value), unit.lower(), names, drug.path))
    needed = facts[:1]
    if drug.amount is not None:
        dose = _dose(drug.amount, drug.unit.lower(), names, f"{drug.path}.dosageInstruction[0].doseAndRate[0]")
        often = _name(
            drug.frequency,
            f"{drug.path}.dosageInstruction[0].timing",
            also=_ALSO_OFTEN.get(drug.frequency, ()),
            subject=names,
        )
        needed += [dose, often]
        if drug.as_needed:
            needed.append(_name("as needed", f"{drug.path}.dosageInstruction[0].asNeededBoolean", subject=names))
    elif drug.instruction:
        needed.append(_name(drug.instruction, f"{drug.path}.dosageInstruction[0].text", subject=names))
    return Statement(rule="record.drug", text=f"Prescribed {_drug(drug)}.", facts=tuple(needed))


def _dose(value: Decimal, unit: str, names: tuple[str, ...], path: str) -> Fact:
    """A dose; one in a unit of the bundle's own, such as "vagtab", may be said only in its own words."""
    text = f"{_number(value)} {unit}"
    if unit.lower() not in UNITS:
        return _name(text, path, subject=names)
    return Fact(kind="number", text=text, path=path, value=value, units=frozenset({UNITS[unit.lower()]}), subject=names)


def _allergy_statement(visit: Visit) -> Statement:
    """Allergies, or that none is known, or that none is recorded: three different things."""
    if visit.allergies:
        facts = tuple(_name(a.text, a.path, cues=frozenset(_ALLERGY)) for a in visit.allergies)
        text = f"Allergic to {_joined([_lower(a.text) for a in visit.allergies])}."
        return Statement(rule="record.allergy", text=text, facts=facts)
    if visit.no_allergies:
        fact = Fact(kind="none", text="no known allergies", also=_NO_ALLERGIES, path=visit.no_allergies.path)
        return Statement(rule="record.allergy", text="No known allergies.", facts=(fact,))
    fact = Fact(kind="none", text=_ABSENT, path="Bundle.entry (no AllergyIntolerance)")
    return Statement(rule="record.allergy", text=f"{_upper(_ABSENT)}.", facts=(fact,))
