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

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from random import Random
from typing import Any

from domains.medicine._bundle import Draft, Vital, bundle_of_draft
from domains.medicine._pictures import ALLERGENS, FAMILIES, GIVEN, MIXES, PICTURES, Drug, Picture
from fedcore.errors import ConfigError

__all__ = ["SITES", "public_examples", "records"]

SITES = tuple(MIXES)
"""The three institutions."""


_WORD = re.compile(r"[A-Za-z]+|\d|[^\w\s]")
_SIZE = 31


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
                "bundle": bundle_of_draft(patient, identity, visit, person, note),
                "note": note,
            }


def _visits(site: str, random: Random) -> Iterator[tuple[Draft, dict[str, Any]]]:
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
        visit = Draft(
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


def _fitted(visit: Draft) -> Draft:
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


def _size(visit: Draft) -> int:
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


def _vitals(picture: Picture, born: date, day: date, build: float, random: Random) -> tuple[Vital, ...]:
    """Two of the vital signs that a clinician would write down for the picture."""
    years = (day - born).days / 365.25
    out: list[Vital] = []
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


_SHORT = {
    "hr": ("HR", ""),
    "temp": ("temperature", " °C"),
    "spo2": ("SpO2", "%"),
    "weight": ("weight", " kg"),
    "hba1c": ("HbA1c", "%"),
}


def _note(visit: Draft, random: Random) -> str:
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


def _who(visit: Draft) -> str:
    young = visit.age.endswith("month-old") or int(visit.age.split("-", 1)[0]) < 18
    words = ("girl", "boy") if young else ("woman", "man")
    return f"{visit.age} {words[visit.sex == 'male']}"


def _phrases(visit: Draft) -> str:
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
