"""A synthetic encounter written as a FHIR R4 collection, with the codes that real systems use."""

import base64
from dataclasses import dataclass
from datetime import date
from typing import Any

from domains.medicine._pictures import Drug, Picture

__all__ = ["Draft", "Vital", "bundle_of_draft"]

_SCT = "http://snomed.info/sct"
_LOINC = "http://loinc.org"
_RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_UCUM = "http://unitsofmeasure.org"
_HL7 = "http://terminology.hl7.org/CodeSystem/"
_NO_ALLERGY = ("716186003", "No known allergy (situation)")
_CODES = {
    "hr": ("8867-4", "Heart rate", "heart rate", "beats/min", "/min"),
    "temp": ("8310-5", "Body temperature", "temperature", "°C", "Cel"),
    "spo2": ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry", "SpO2", "%", "%"),
    "weight": ("29463-7", "Body weight", "weight", "kg", "kg"),
    "hba1c": ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "HbA1c", "%", "%"),
}
_FREQUENCY = {
    "daily": (1, 1, "d"),
    "twice daily": (2, 1, "d"),
    "three times daily": (3, 1, "d"),
    "four times daily": (4, 1, "d"),
    "weekly": (1, 1, "wk"),
}

Vital = tuple[str, float | tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What one encounter holds, before it becomes a bundle and a note."""

    number: int
    day: date
    age: str
    sex: str
    picture: Picture
    second: Picture | None
    drugs: tuple[tuple[Drug, str], ...]
    vitals: tuple[Vital, ...]
    allergy: str | None
    plan: str


def bundle_of_draft(patient: str, identity: str, visit: Draft, person: dict[str, Any], note: str) -> dict[str, Any]:
    """The encounter as a FHIR R4 collection."""
    who = {"reference": f"Patient/{patient}"}
    where = {"reference": f"Encounter/{identity}"}
    start = f"{visit.day.isoformat()}T{9 + visit.number}:30:00+00:00"
    both = {"subject": who, "encounter": where}
    resources: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": patient, **person},
        {
            "resourceType": "Encounter",
            "id": identity,
            "status": "finished",
            "class": {"system": _HL7 + "v3-ActCode", "code": "AMB", "display": "ambulatory"},
            **({"type": [{"text": "follow-up"}]} if visit.number > 1 else {}),
            "subject": who,
            "period": {"start": start, "end": start.replace(":30:", ":55:")},
        },
    ]
    problems = [p for p in (visit.picture, visit.second) if p is not None]
    for n, picture in enumerate(problems, 1):
        code = {"coding": [_coding(_SCT, *picture.snomed)], "text": picture.problem}
        resources.append(
            {
                "resourceType": "Condition",
                "id": f"{identity}-c{n}",
                "clinicalStatus": {"coding": [{"system": _HL7 + "condition-clinical", "code": "active"}]},
                "verificationStatus": {"coding": [{"system": _HL7 + "condition-ver-status", "code": "confirmed"}]},
                "code": code,
                **both,
                "recordedDate": visit.day.isoformat(),
            }
        )
    resources += [
        _observation(identity, n, kind, value, both, start) for n, (kind, value) in enumerate(visit.vitals, 1)
    ]
    resources += [
        _prescription(identity, n, drug, dose, both, visit.day.isoformat())
        for n, (drug, dose) in enumerate(visit.drugs, 1)
    ]
    resources.append(_allergy(identity, visit.allergy, who))
    resources.append(
        {
            "resourceType": "CarePlan",
            "id": f"{identity}-p",
            "status": "active",
            "intent": "plan",
            "description": visit.plan,
            **both,
        }
    )
    resources.append(
        {
            "resourceType": "DocumentReference",
            "id": f"{identity}-d",
            "status": "current",
            "subject": who,
            "content": [
                {
                    "attachment": {
                        "contentType": "text/plain; charset=utf-8",
                        "data": base64.b64encode(note.encode()).decode("ascii"),
                    }
                }
            ],
            "context": {"encounter": [where]},
        }
    )
    return {
        "resourceType": "Bundle",
        "id": identity,
        "type": "collection",
        "timestamp": start,
        "entry": [{"resource": r} for r in resources],
    }


def _coding(system: str, code: str, display: str) -> dict[str, str]:
    return {"system": system, "code": code, "display": display}


def _observation(
    identity: str, n: int, kind: str, value: float | tuple[int, int], both: dict[str, Any], start: str
) -> dict[str, Any]:
    category = "laboratory" if kind == "hba1c" else "vital-signs"
    out: dict[str, Any] = {
        "resourceType": "Observation",
        "id": f"{identity}-o{n}",
        "status": "final",
        "category": [{"coding": [{"system": _HL7 + "observation-category", "code": category}]}],
        **both,
        "effectiveDateTime": start,
    }
    if isinstance(value, tuple):
        pressure = {"unit": "mmHg", "system": _UCUM, "code": "mm[Hg]"}
        out["code"] = {"coding": [_coding(_LOINC, "85354-9", "Blood pressure panel with all children optional")]}
        out["component"] = [
            {"code": {"coding": [_coding(_LOINC, code, name)]}, "valueQuantity": {"value": part, **pressure}}
            for code, name, part in (
                ("8480-6", "Systolic blood pressure", value[0]),
                ("8462-4", "Diastolic blood pressure", value[1]),
            )
        ]
        return out
    code, display, text, unit, ucum = _CODES[kind]
    out["code"] = {"coding": [_coding(_LOINC, code, display)], "text": text}
    out["valueQuantity"] = {"value": value, "unit": unit, "system": _UCUM, "code": ucum}
    return out


def _prescription(identity: str, n: int, drug: Drug, dose: str, both: dict[str, Any], day: str) -> dict[str, Any]:
    """A MedicationRequest whose dose is given both as text and as structure."""
    amount, unit, rest = dose.split(" ", 2)
    frequency = rest.removeprefix("puffs ").removesuffix(" as needed").removesuffix(" at night")
    times, period, period_unit = _FREQUENCY[frequency]
    dosage: dict[str, Any] = {
        "text": dose,
        "timing": {"repeat": {"frequency": times, "period": period, "periodUnit": period_unit}},
        "doseAndRate": [{"doseQuantity": {"value": float(amount) if "." in amount else int(amount), "unit": unit}}],
    }
    if rest.endswith("as needed"):
        dosage["asNeededBoolean"] = True
    return {
        "resourceType": "MedicationRequest",
        "id": f"{identity}-m{n}",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"coding": [_coding(_RXNORM, drug.rxnorm, drug.name)], "text": drug.name},
        **both,
        "authoredOn": day,
        "dosageInstruction": [dosage],
    }


def _allergy(identity: str, allergy: str | None, who: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "resourceType": "AllergyIntolerance",
        "id": f"{identity}-a",
        "clinicalStatus": {"coding": [{"system": _HL7 + "allergyintolerance-clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": _HL7 + "allergyintolerance-verification", "code": "confirmed"}]},
        "patient": who,
    }
    if allergy is None:
        out["code"] = {"coding": [_coding(_SCT, *_NO_ALLERGY)], "text": "no known allergies"}
    else:
        out |= {"type": "allergy", "code": {"text": allergy}}
    return out
