"""Bundles of our own in which anything may be refuted, over, stopped, uncertain or not done."""

from typing import Any

from hypothesis import strategies as st

HL7 = "http://terminology.hl7.org/CodeSystem/"
DAY = "2024-06-14"
PROBLEMS = ("asthma", "gout", "migraine", "psoriasis", "tonsillitis", "sciatica")
DRUGS = ("ramipril", "metformin", "salbutamol", "naproxen")
DONE = ("colonoscopy", "spirometry", "skin biopsy", "chest X-ray")
VACCINES = ("tetanus vaccine", "influenza vaccine")
ALLERGENS = ("penicillin", "latex", "peanut")
TESTS = ("ferritin", "creatinine", "sodium")
SITES = ("left knee", "right knee", "left forearm", "both hands")

_WHO = {"subject": {"reference": "Patient/p"}, "encounter": {"reference": "Encounter/e"}}
_DATES = st.dates().filter(lambda d: 1990 < d.year < 2024).map(str)


def coded(system: str, code: str) -> dict[str, Any]:
    """A concept that is a code of HL7's alone."""
    return {"coding": [{"system": HL7 + system, "code": code}]}


@st.composite
def condition(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A condition of any standing."""
    out = {"resourceType": "Condition", "code": {"text": name}, **_WHO}
    clinical = draw(st.sampled_from(("active", "recurrence", "inactive", "remission", "resolved")))
    verified = draw(st.sampled_from(("confirmed", "provisional", "differential", "refuted")))
    out["clinicalStatus"] = coded("condition-clinical", clinical)
    out["verificationStatus"] = coded("condition-ver-status", verified)
    if draw(st.booleans()):
        out["bodySite"] = [{"text": draw(st.sampled_from(SITES))}]
    if draw(st.booleans()):
        out["onsetDateTime"] = draw(_DATES)
    if clinical in ("inactive", "resolved") and draw(st.booleans()):
        out["abatementDateTime"] = draw(_DATES)
    return out


@st.composite
def prescription(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A medication request of any standing."""
    out = {
        "resourceType": "MedicationRequest",
        "status": draw(st.sampled_from(("active", "stopped", "on-hold", "cancelled", "completed", "draft"))),
        "intent": draw(st.sampled_from(("order", "order", "proposal"))),
        "medicationCodeableConcept": {"text": name},
        **_WHO,
    }
    if draw(st.booleans()):
        repeat = {"frequency": draw(st.integers(1, 4)), "period": draw(st.integers(1, 3)), "periodUnit": "d"}
        quantity = {"value": draw(st.integers(1, 900)), "unit": draw(st.sampled_from(("mg", "puffs", "vagtab")))}
        out["dosageInstruction"] = [{"timing": {"repeat": repeat}, "doseAndRate": [{"doseQuantity": quantity}]}]
    if draw(st.integers(0, 4)) == 0:
        out["doNotPerform"] = True
    return out


@st.composite
def done(draw: st.DrawFn, kind: str, name: str) -> dict[str, Any]:
    """A procedure or immunisation of any standing."""
    if kind == "Immunization":
        status = draw(st.sampled_from(("completed", "not-done")))
        who = {"patient": _WHO["subject"], "encounter": _WHO["encounter"]}
        return {
            "resourceType": kind,
            "status": status,
            "vaccineCode": {"text": name},
            "occurrenceDateTime": DAY,
            **who,
        }
    status = draw(st.sampled_from(("completed", "not-done", "in-progress", "stopped", "preparation")))
    out = {"resourceType": kind, "status": status, "code": {"text": name}, **_WHO}
    if draw(st.booleans()):
        out["bodySite"] = [{"text": draw(st.sampled_from(SITES))}]
    return out


@st.composite
def measured(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A laboratory value, perhaps below a limit, perhaps preliminary."""
    quantity = {"value": draw(st.integers(1, 9999)) / 10, "unit": draw(st.sampled_from(("mmol/L", "g/L")))}
    if draw(st.booleans()):
        quantity["comparator"] = draw(st.sampled_from(("<", ">")))
    status = draw(st.sampled_from(("final", "preliminary")))
    return {
        "resourceType": "Observation",
        "status": status,
        "code": {"text": name},
        "valueQuantity": quantity,
        "effectiveDateTime": DAY,
        **_WHO,
    }


@st.composite
def allergy(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """An allergy of any standing."""
    verified = draw(st.sampled_from(("confirmed", "unconfirmed", "refuted")))
    clinical = draw(st.sampled_from(("active", "resolved")))
    return {
        "resourceType": "AllergyIntolerance",
        "clinicalStatus": coded("allergyintolerance-clinical", clinical),
        "verificationStatus": coded("allergyintolerance-verification", verified),
        "type": draw(st.sampled_from(("allergy", "intolerance"))),
        "code": {"text": name},
        "patient": _WHO["subject"],
    }


def whole(*resources: dict[str, Any]) -> dict[str, Any]:
    """A collection about one woman's one encounter."""
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1990-06-15"}
    encounter = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"system": HL7 + "v3-ActCode", "code": "AMB"},
        "period": {"start": f"{DAY}T10:00:00Z", "end": f"{DAY}T10:30:00Z"},
    }
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": r} for r in (patient, encounter, *resources)],
    }


@st.composite
def bundles(draw: st.DrawFn) -> dict[str, Any]:
    """A bundle with up to four things of each kind, no name twice."""

    def some(names: tuple[str, ...], make: Any) -> list[dict[str, Any]]:
        return [draw(make(n)) for n in draw(st.lists(st.sampled_from(names), unique=True, max_size=4))]

    return whole(
        *some(PROBLEMS, condition),
        *some(DRUGS, prescription),
        *some(DONE, lambda n: done("Procedure", n)),
        *some(VACCINES, lambda n: done("Immunization", n)),
        *some(TESTS, measured),
        *some(ALLERGENS, allergy),
    )
