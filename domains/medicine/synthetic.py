"""Synthetic clinical records of our own: FHIR R4 bundles with reference notes, from a seed.

Nobody in them exists, and every word of them is ours. Three institutions differ in their mix: `st-anne` is
heavy in cardiology, `riverside` is primary care, `northfield` sees children and the very old. The notes
share one style with some variety of wording, so that a model has a style to learn.

>>> rows = list(records("riverside", 2, seed=1))
>>> sorted(rows[0])
['bundle', 'id', 'note', 'patient', 'site']
>>> rows == list(records("riverside", 2, seed=1))
True
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random
from typing import Any

from domains.medicine._pictures import ALLERGENS, FAMILIES, GIVEN, MIXES, PICTURES, Drug, Picture
from fedcore.errors import ConfigError

__all__ = ["SITES", "public_examples", "records"]

SITES = tuple(MIXES)
"""The three institutions."""

_SCT = "http://snomed.info/sct"
_LOINC = "http://loinc.org"
_RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_UCUM = "http://unitsofmeasure.org"
_HL7 = "http://terminology.hl7.org/CodeSystem/"
_NO_ALLERGY = ("716186003", "No known allergy (situation)")


_WORD = re.compile(r"[A-Za-z]+|\d|[^\w\s]")
_SIZE = 31

_Vital = tuple[str, float | tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class _Visit:
    """What one encounter holds, before it becomes a bundle and a note."""

    number: int
    day: date
    age: str
    sex: str
    picture: Picture
    second: Picture | None
    drugs: tuple[tuple[Drug, str], ...]
    vitals: tuple["_Vital", ...]
    allergy: str | None
    plan: str


def records(site: str, patients: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the encounters of one institution's patients; some patients come more than once.

    Args:
        site: One of `SITES`.
        patients: How many patients, >= 0.
        seed: The same seed gives the same records on every machine.
    Raises:
        ConfigError: The site is not one of the three.
    """
    if site not in MIXES:
        raise ConfigError(f"the site {site!r} is not known", expected="one of " + ", ".join(SITES))
    yield from _records(site, patients, f"institution/{site}/{seed}")


def public_examples(n: int, seed: int) -> list[dict[str, Any]]:
    """Records of nobody's patients for held-out evaluation, as fields of the task, from all sites in turn.

    Their random streams are never those of `records`, whatever the seeds.
    """
    streams = [_records(site, n, f"public/{site}/{seed}") for site in SITES]
    rows = (next(streams[i % len(streams)]) for i in range(n))
    return [{"bundle": row["bundle"], "note": row["note"]} for row in rows]


def _records(site: str, patients: int, stream: str) -> Iterator[dict[str, Any]]:
    for index in range(patients):
        # A stream for each patient: the first n patients are the same whatever the total.
        random = Random(f"concordat/medicine/{stream}/{index}")  # noqa: S311
        patient = f"{site}-{random.getrandbits(40):010x}"
        for visit, person in _visits(site, random):
            identity = f"{patient}-{visit.number}"
            note = _note(visit, random)
            yield {
                "id": identity,
                "site": site,
                "patient": patient,
                "bundle": _bundle(patient, identity, visit, person, note),
                "note": note,
            }


def _visits(site: str, random: Random) -> Iterator[tuple[_Visit, dict[str, Any]]]:
    """One patient's encounters: one to three, of the same person with the same allergy."""
    names, weights = zip(*MIXES[site].items(), strict=True)
    main = PICTURES[random.choices(names, weights)[0]]
    low, high = main.months
    months = random.randint(low, high)
    sex = main.sex or random.choice(("female", "male"))
    first = date(2022, 1, 3) + timedelta(days=random.randrange(900))
    born = first - timedelta(days=int(months * 30.44) + random.randrange(28))
    person = {
        "name": [{"family": random.choice(FAMILIES), "given": [random.choice(GIVEN[sex])]}],
        "gender": sex,
        "birthDate": born.isoformat(),
    }
    allergy = random.choice(ALLERGENS) if random.random() < 0.3 else None
    build = random.gauss(1.0, 0.12)
    doses: dict[str, str] = {}
    day = first
    for number in range(1, random.choices((1, 2, 3), (60, 28, 12))[0] + 1):
        picture = main if number == 1 or random.random() < 0.6 else PICTURES[random.choices(names, weights)[0]]
        if not picture.fits(born, day, sex):
            picture = main
        others = [PICTURES[n] for n in picture.beside if PICTURES[n].fits(born, day, sex)]
        second = random.choice(others) if others and random.random() < 0.4 else None
        drugs = _pick((picture, second), allergy, 1 if random.random() < 0.6 else 2, random)
        for drug in drugs:
            doses.setdefault(drug.name, random.choice(drug.doses))
        visit = _Visit(
            number=number,
            day=day,
            age=_age(born, day),
            sex=sex,
            picture=picture,
            second=second,
            drugs=tuple((d, doses[d.name]) for d in drugs),
            vitals=_vitals(picture, born, day, build, random),
            allergy=allergy,
            plan=random.choice(picture.plans),
        )
        yield _fitted(visit), person
        day += timedelta(days=random.randint(20, 300))


def _fitted(visit: _Visit) -> _Visit:
    """Leave things out until prompt and note fit in about 112 tokens: a long context is dear on a CPU."""
    shorter = (
        visit,
        replace(visit, vitals=visit.vitals[:1]),
        replace(visit, second=None, vitals=visit.vitals[:1]),
        replace(visit, drugs=visit.drugs[:1]),
        replace(visit, drugs=visit.drugs[:1], vitals=visit.vitals[:1]),
        replace(visit, drugs=visit.drugs[:1], vitals=visit.vitals[:1], second=None),
        replace(visit, drugs=visit.drugs[:1], vitals=(), second=None),
    )
    return next((v for v in shorter if _size(v) <= _SIZE), shorter[-1])


def _size(visit: _Visit) -> int:
    """About how many tokens the facts are: digits and marks count one, long words one for three letters."""
    drugs = [f"{d.name} {dose}" for d, dose in visit.drugs]
    problems = [p.problem for p in (visit.picture, visit.second) if p]
    text = " ".join((*problems, *drugs, _phrases(visit), visit.allergy or "known", visit.plan))
    return sum(-(-len(w) // 3) if len(w) > 5 else 1 for w in _WORD.findall(text)) + (visit.number > 1)


def _pick(pictures: tuple[Picture, Picture | None], allergy: str | None, wanted: int, random: Random) -> list[Drug]:
    """One or two drugs of different groups, none of the patient's allergy's class."""
    out: list[Drug] = []
    for picture in (*pictures, pictures[0]):
        safe = [d for d in picture.drugs if allergy not in d.never_with] if picture else []
        safe = [d for d in safe if d.group not in {o.group for o in out}]
        if safe and len(out) < wanted:
            out.append(random.choice(safe))
    return out


def _age(born: date, day: date) -> str:
    """Age at the encounter as notes write it: months under two years, then whole years."""
    months = (day.year - born.year) * 12 + day.month - born.month - (day.day < born.day)
    return f"{months}-month-old" if months < 24 else f"{months // 12}-year-old"


def _vitals(picture: Picture, born: date, day: date, build: float, random: Random) -> tuple[_Vital, ...]:
    """Two of the vital signs that a clinician would write down for the picture."""
    years = (day - born).days / 365.25
    out: list[_Vital] = []
    for kind in sorted(random.sample(picture.vitals, 2), key=picture.vitals.index):
        if kind == "bp":
            shift = 18 if picture.high_pressure else 0
            top = round(random.gauss(118 + shift + min(years, 80) * 0.12, 9))
            out.append((kind, (top, round(top * random.uniform(0.54, 0.64)))))
        elif kind == "hr":
            rest = 128 - 4.2 * years if years < 12 else 76
            out.append((kind, round(random.gauss(rest + (22 if picture.fast_heart else 0), 7))))
        elif kind == "temp":
            out.append((kind, round(random.uniform(37.8, 39.4) if picture.fever else random.uniform(36.3, 37.2), 1)))
        elif kind == "spo2":
            out.append((kind, random.randint(89, 95) if picture.short_of_breath else random.randint(95, 99)))
        elif kind == "weight":
            ideal = 3.6 + 0.55 * years * 12 if years < 1 else 8 + 2.6 * years if years < 13 else 74
            out.append((kind, round(max(3.0, ideal * build * random.uniform(0.98, 1.02)), 1)))
        else:
            out.append((kind, round(random.uniform(6.4, 9.6), 1)))
    return tuple(out)


_CODES = {
    "hr": ("8867-4", "Heart rate", "heart rate", "beats/min", "/min"),
    "temp": ("8310-5", "Body temperature", "temperature", "°C", "Cel"),
    "spo2": ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry", "SpO2", "%", "%"),
    "weight": ("29463-7", "Body weight", "weight", "kg", "kg"),
    "hba1c": ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "HbA1c", "%", "%"),
}
_SHORT = {
    "hr": ("HR", ""),
    "temp": ("temperature", " °C"),
    "spo2": ("SpO2", "%"),
    "weight": ("weight", " kg"),
    "hba1c": ("HbA1c", "%"),
}
_FREQUENCY = {
    "daily": (1, 1, "d"),
    "twice daily": (2, 1, "d"),
    "three times daily": (3, 1, "d"),
    "four times daily": (4, 1, "d"),
    "weekly": (1, 1, "wk"),
}


def _note(visit: _Visit, random: Random) -> str:
    """The reference note: opening, vitals, drugs, allergies, plan; wording varies, order does not."""
    who = _who(visit)
    article = "an" if who.startswith(("8", "11-", "18-")) else "a"
    problems = visit.picture.problem + (f" and {visit.second.problem}" if visit.second else "")
    if visit.number > 1:
        opening = random.choice(
            (f"Follow-up of {article} {who} with {problems}.", f"{article} {who} back for {problems}.")
        )
    else:
        opening = f"{article} {who} {random.choice(('with', 'seen for'))} {problems}."
    drugs = " and ".join(f"{d.name} {dose}" for d, dose in visit.drugs)
    sentences = [opening] + ([f"{_phrases(visit)}."] if visit.vitals else [])
    if drugs:
        sentences.append(f"{random.choice(('On', 'Takes'))} {drugs}.")
    if visit.allergy:
        sentences.append(random.choice((f"Allergic to {visit.allergy}.", f"Known allergy to {visit.allergy}.")))
    else:
        sentences.append("No known allergies.")
    sentences.append(random.choice((f"Plan: {visit.plan}.", f"{visit.plan}.")))
    return " ".join(_upper(s) for s in sentences)


def _who(visit: _Visit) -> str:
    young = visit.age.endswith("month-old") or int(visit.age.split("-", 1)[0]) < 18
    words = ("girl", "boy") if young else ("woman", "man")
    return f"{visit.age} {words[visit.sex == 'male']}"


def _phrases(visit: _Visit) -> str:
    words = []
    for kind, value in visit.vitals:
        if isinstance(value, tuple):
            words.append(f"BP {value[0]}/{value[1]}")
        else:
            name, unit = _SHORT[kind]
            words.append(f"{name} {value:g}{unit}")
    return ", ".join(words)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _bundle(patient: str, identity: str, visit: _Visit, person: dict[str, Any], note: str) -> dict[str, Any]:
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
