"""The drugs of a visit: name, dose and frequency where their structure says all, and whatever else is stated.

Only a drug that is in force is said plainly. One that was stopped, is on hold or was merely proposed is one
phrase with its standing, so that no sentence can say the drug without it.

>>> request = {"resourceType": "MedicationRequest", "status": "stopped", "intent": "order",
...            "medicationCodeableConcept": {"text": "Aspirin 81 mg tablet"}}
>>> read_drug({}, request, "path", Speech("en", brief=True), None).whole
'Aspirin 81 mg tablet (stopped)'
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from domains.base import Sensitive
from domains.medicine._labels import code_words, noun
from domains.medicine._narrative import PERSONS, details, standing
from domains.medicine._values import Speech, decimal, each, plain_number
from domains.medicine.fhir import Resource, resources, same

__all__ = ["FREQUENCIES", "IN_FORCE", "Medication", "bracketed", "read_drug", "said_elsewhere", "wordings"]

FREQUENCIES: Mapping[tuple[int, int, str], tuple[str, str]] = {
    (1, 1, "d"): ("daily", "每日1次"),
    (2, 1, "d"): ("twice daily", "每日2次"),
    (3, 1, "d"): ("three times daily", "每日3次"),
    (4, 1, "d"): ("four times daily", "每日4次"),
    (1, 1, "wk"): ("weekly", "每周1次"),
    (2, 1, "wk"): ("twice weekly", "每周2次"),
    (1, 1, "mo"): ("monthly", "每月1次"),
}
IN_FORCE = frozenset("active order original-order reflex-order filler-order instance-order".split())  # noqa: SIM905
_NEVER = frozenset(
    "draft cancelled declined proposal plan directive option intended not-taken not-done".split()  # noqa: SIM905
)
"""Standings of what was never in force, and so was never prescribed or taken."""
_PLAIN_DOSAGE = frozenset("text timing doseAndRate asNeededBoolean sequence".split())  # noqa: SIM905
_PLAIN_REPEAT = frozenset("frequency period periodUnit".split())  # noqa: SIM905
_PLAIN_RATE = frozenset("doseQuantity type".split())  # noqa: SIM905
_DOSAGES = ("dosageInstruction", "dosage")
_WORD = re.compile(r"[^\W_]+")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
# Who pays, how it is dispensed for whom, and what the setting was, are not said in a note of a visit.
_UNSAID = PERSONS | {"category", "primarySource", "language", "status"}


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
    more: str = ""
    """Whatever else is stated of it, such as the reason."""
    whole: str = ""
    """All of it as one phrase with its standing, where it is not in force: nothing of it may be said alone."""
    taken: bool = False
    """Reported as taken, rather than prescribed."""
    words: tuple[str, ...] = ()
    """Names under which notes may call it."""


def read_drug(bundle: Resource, request: Resource, path: str, speech: Speech, day: date | None) -> Medication:
    """A MedicationRequest or MedicationStatement; `name` is "" where it names no drug."""
    name, also = _named(bundle, request, speech)
    key = next((k for k in _DOSAGES if k in request), _DOSAGES[0])
    dosages = [d for d in each(request.get(key)) if isinstance(d, Mapping)]
    first: Mapping[str, Any] = dosages[0] if dosages else {}
    amount, unit, frequency = _structured(first, speech)
    complete = amount is not None and bool(unit) and bool(frequency)
    needed = complete and first.get("asNeededBoolean") is True
    said, instruction = {key} if len(dosages) < 2 else set(), ""
    if complete and amount is not None and dosages:
        # Dosages are written in English here; their structure is read in English to tell what they add to it.
        _, plain_unit, plain_often = _structured(first, Speech("en", brief=True))
        compact = f"{plain_number(amount)} {plain_unit} {plain_often}" + (" as needed" if needed else "")
        instruction = _beyond(str(first.get("text", "")), compact, speech)
    elif dosages:
        instruction = speech.text(str(first.get("text", "")))
    if _is_more(first, complete):
        said, instruction = set(), ""
    without = _UNSAID | said | {"medicationCodeableConcept", "medicationReference", "intent", "doNotPerform"}
    more = [c.text for c in details(request, path, speech, without=frozenset(without | said_elsewhere(request, day)))]
    codes = [c for c in standing(request) if c not in IN_FORCE]
    words = [code_words(c, speech.lang) for c in codes]
    if request.get("doNotPerform") is True:
        words.insert(0, "禁止使用" if speech.zh else "must not be given")
    drug = Medication(
        name=name,
        path=path,
        amount=amount if complete else None,
        unit=unit if complete else "",
        frequency=frequency if complete else "",
        as_needed=needed,
        instruction=instruction,
        more=("，" if speech.zh else "; ").join(more),
        taken=request.get("resourceType") == "MedicationStatement",
        words=also,
    )
    if not words:
        return drug
    dose = [p for p in (_compact(drug, speech),) if p]
    if _NEVER & set(codes) or request.get("doNotPerform") is True:
        kind = noun(str(request.get("resourceType")), speech.lang)
        opened = (
            f"{kind}（{'，'.join(words)}）：{name}"
            if speech.zh
            else f"{kind[:1].lower() + kind[1:]}, {', '.join(words)}: {name}"
        )
        whole = bracketed(opened, [*dose, *more], speech)
    else:
        whole = bracketed(name, [*words, *dose, *more], speech)
    return Medication(name=name, path=path, taken=drug.taken, words=also, whole=whole)


def bracketed(name: str, parts: list[str], speech: Speech) -> str:
    """Words with what is stated of them behind, in brackets."""
    if not parts:
        return name
    return f"{name}（{'，'.join(parts)}）" if speech.zh else f"{name} ({'; '.join(parts)})"


def said_elsewhere(resource: Resource, day: date | None) -> frozenset[str]:
    """Elements that say no more than the visit's own day; the day of recording, where another date is stated."""
    if day is None:
        return frozenset()
    out = set()
    for name, value in resource.items():
        if isinstance(value, str) and _DAY.match(value) and value[:10] == day.isoformat():
            out.add(name)
        if isinstance(value, Mapping) and value.keys() <= {"start", "end"} and value:
            days = {str(v)[:10] for v in value.values()}
            if days == {day.isoformat()}:
                out.add(name)
    if any(name.startswith("onset") for name in resource):
        out.add("recordedDate")
    return frozenset(out)


def _compact(drug: Medication, speech: Speech) -> str:
    if drug.amount is None:
        return drug.instruction
    gap = "" if speech.zh and not drug.unit.isascii() else " "
    needed = ("，必要时" if speech.zh else " as needed") if drug.as_needed else ""
    text = f"{plain_number(drug.amount)}{gap}{drug.unit}{'，' if speech.zh else ' '}{drug.frequency}{needed}"
    return text + (f" {drug.instruction}" if drug.instruction else "")


def _structured(dosage: Mapping[str, Any], speech: Speech) -> tuple[Decimal | None, str, str]:
    """Amount, unit and frequency, as far as they are structured."""
    timing = dosage.get("timing")
    repeat = timing.get("repeat") if isinstance(timing, Mapping) else None
    repeat = repeat if isinstance(repeat, Mapping) else {}
    key = (repeat.get("frequency"), repeat.get("period"), repeat.get("periodUnit"))
    often = FREQUENCIES.get(key, ("", ""))[speech.zh]  # type: ignore[arg-type]
    rate = next((r for r in each(dosage.get("doseAndRate")) if isinstance(r, Mapping)), {})
    quantity = rate.get("doseQuantity")
    if not isinstance(quantity, Mapping):
        return None, "", often
    return decimal(quantity.get("value")), speech.unit(quantity), often


def _is_more(dosage: Mapping[str, Any], complete: bool) -> bool:
    """Whether a dosage holds what name, amount, frequency and its own words do not say."""
    if not complete:
        return bool(dosage.keys() - {"text", "sequence"})
    rates = [r for r in each(dosage.get("doseAndRate")) if isinstance(r, Mapping)]
    timing = dosage["timing"]
    plain = dosage.keys() <= _PLAIN_DOSAGE and timing.keys() <= {"repeat"} and timing["repeat"].keys() <= _PLAIN_REPEAT
    return not plain or len(rates) > 1 or not rates[0].keys() <= _PLAIN_RATE or "comparator" in rates[0]["doseQuantity"]


def _beyond(text: str, compact: str, speech: Speech) -> str:
    """What the dosage's words say beyond its structure, such as "at night"."""
    text = speech.text(text)
    if not {w.lower() for w in _WORD.findall(text)} - {w.lower() for w in _WORD.findall(compact)}:
        return ""
    return text[len(compact) :].strip(" ,;") if text.lower().startswith(f"{compact.lower()} ") else f"({text})"


def _named(bundle: Resource, request: Resource, speech: Speech) -> tuple[str, tuple[str, ...]]:
    """The name of the drug, wherever it stands, and the wordings of its codes."""
    concept = request.get("medicationCodeableConcept")
    if isinstance(concept, Mapping):
        return speech.named(concept), wordings(concept)
    link = request.get("medicationReference")
    if not isinstance(link, Mapping):
        return "", ()
    target = str(link.get("reference", ""))
    inner = [c for c in each(request.get("contained")) if isinstance(c, Mapping) and target == f"#{c.get('id')}"]
    inner += [m for _, m in resources(bundle, "Medication") if same(link, m)]
    for medication in inner:
        if isinstance(code := medication.get("code"), Mapping) and (name := speech.named(code)):
            parts = details(medication, "", speech, without=frozenset({"code", "status"}))
            return bracketed(name, [c.text for c in parts], speech), wordings(code)
    return speech.text(str(link.get("display", ""))), ()


def wordings(concept: Any) -> tuple[str, ...]:
    """A concept's words as they stand."""
    if not isinstance(concept, Mapping):
        return ()
    found = [concept.get("text"), *(c.get("display") for c in each(concept.get("coding")) if isinstance(c, Mapping))]
    return tuple(dict.fromkeys(" ".join(w.split()) for w in found if isinstance(w, str) and w.strip()))
