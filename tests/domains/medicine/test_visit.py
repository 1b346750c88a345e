"""A visit holds what belongs to its encounter; what is unknown stays unknown."""

from decimal import Decimal
from typing import Any

from domains.medicine.visit import visits

PATIENT = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1990-06-15"}
WHO = {"reference": "Patient/p"}


def _encounter(name: str, start: str) -> dict[str, Any]:
    return {"resourceType": "Encounter", "id": name, "status": "finished", "class": {}, "period": {"start": start}}


def _at(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": kind, "subject": WHO, "encounter": {"reference": f"Encounter/{name}"}, **more}


def _bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}


EARLY, LATE = _encounter("e1", "2020-01-01T10:00:00Z"), _encounter("e2", "2024-06-14T10:00:00Z")


def test_age_is_whole_years_at_the_encounter() -> None:
    (visit,) = visits(_bundle(PATIENT, LATE))
    assert visit.age == (33, "year")
    (birthday,) = visits(_bundle(PATIENT, _encounter("e", "2024-06-15")))
    assert birthday.age == (34, "year")


def test_a_small_child_is_counted_in_months() -> None:
    child = PATIENT | {"birthDate": "2023-01-31"}
    assert visits(_bundle(child, _encounter("e", "2024-01-30")))[0].age == (11, "month")


def test_what_belongs_to_another_encounter_is_left_out() -> None:
    own = _at("e2", "Condition", code={"text": "asthma"})
    other = _at("e1", "Condition", code={"text": "gout"})
    (visit,) = visits(_bundle(PATIENT, EARLY, LATE, own, other))
    assert [p.text for p in visit.problems] == ["asthma"]


def test_refuted_mistaken_and_cancelled_entries_are_left_out() -> None:
    refuted = _at("e2", "Condition", code={"text": "gout"}, verificationStatus={"coding": [{"code": "refuted"}]})
    cancelled = _at("e2", "MedicationRequest", status="cancelled", medicationCodeableConcept={"text": "aspirin"})
    (visit,) = visits(_bundle(PATIENT, LATE, refuted, cancelled))
    assert visit.problems == visit.drugs == ()


def test_no_entry_on_allergies_is_not_none_known() -> None:
    (visit,) = visits(_bundle(PATIENT, LATE))
    assert visit.allergies == ()
    assert visit.no_allergies is None


def test_none_known_needs_its_own_entry_and_no_allergy_beside_it() -> None:
    none = {"resourceType": "AllergyIntolerance", "patient": WHO, "code": {"coding": [{"code": "716186003"}]}}
    some = {"resourceType": "AllergyIntolerance", "patient": WHO, "code": {"text": "Latex (substance)"}}
    assert visits(_bundle(PATIENT, LATE, none))[0].no_allergies is not None
    both = visits(_bundle(PATIENT, LATE, none, some))[0]
    assert both.no_allergies is None
    assert [a.text for a in both.allergies] == ["Latex"]


def test_a_measurement_in_another_unit_is_left_out_not_converted() -> None:
    weight = {"coding": [{"code": "29463-7"}]}
    pounds = _at("e2", "Observation", status="final", code=weight, valueQuantity={"value": 160, "code": "[lb_av]"})
    kilos = _at("e2", "Observation", status="final", code=weight, valueQuantity={"value": 72.5, "code": "kg"})
    (visit,) = visits(_bundle(PATIENT, LATE, pounds, kilos))
    assert [(v.value, v.unit) for v in visit.vitals] == [(Decimal("72.5"), "kg")]


def test_a_dose_without_its_structure_keeps_its_own_words() -> None:
    request = _at("e2", "MedicationRequest", status="active", medicationCodeableConcept={"text": "aspirin"})
    (visit,) = visits(_bundle(PATIENT, LATE, request | {"dosageInstruction": [{"text": "1 tablet at night"}]}))
    assert (visit.drugs[0].amount, visit.drugs[0].instruction) == (None, "1 tablet at night")


def test_a_drug_may_stand_in_its_own_resource() -> None:
    medication = {"resourceType": "Medication", "id": "m", "code": {"text": "lithium"}}
    request = _at("e2", "MedicationRequest", status="active", medicationReference={"reference": "Medication/m"})
    assert visits(_bundle(PATIENT, LATE, medication, request))[0].drugs[0].name == "lithium"


def test_each_document_is_a_visit_of_the_encounter_it_names() -> None:
    def document(encounter: str, data: str) -> dict[str, Any]:
        return {
            "resourceType": "DocumentReference",
            "status": "current",
            "content": [{"attachment": {"data": data}}],
            "context": {"encounter": [{"reference": f"Encounter/{encounter}"}]},
        }

    found = visits(_bundle(PATIENT, EARLY, LATE, document("e1", "Rmlyc3Qu"), document("e2", "U2Vjb25kLg==")))
    assert [(v.document, v.age) for v in found] == [("First.", (29, "year")), ("Second.", (33, "year"))]


def test_every_fact_keeps_a_path_that_leads_to_it() -> None:
    condition = _at("e2", "Condition", code={"text": "asthma"})
    (visit,) = visits(_bundle(PATIENT, LATE, condition))
    assert visit.problems[0].path == "Bundle.entry[2].resource.code"
    assert visit.paths["age"] == "Bundle.entry[0].resource.birthDate"


def _concept(code: str) -> dict[str, Any]:
    return {"coding": [{"code": code}]}


def test_what_does_not_hold_is_one_phrase_with_the_word_that_says_so() -> None:
    found = {
        "active": _at("e2", "Condition", code={"text": "asthma"}, clinicalStatus=_concept("active")),
        "over": _at("e2", "Condition", code={"text": "gout"}, clinicalStatus=_concept("resolved")),
        "refuted": _at("e2", "Condition", code={"text": "sepsis"}, verificationStatus=_concept("refuted")),
        "unsure": _at("e2", "Condition", code={"text": "lupus"}, verificationStatus=_concept("provisional")),
        "mistaken": _at("e2", "Condition", code={"text": "mumps"}, verificationStatus=_concept("entered-in-error")),
        "not done": _at("e2", "Procedure", status="not-done", code={"text": "biopsy"}),
        "stopped": _at("e2", "MedicationRequest", status="stopped", medicationCodeableConcept={"text": "aspirin"}),
    }
    (visit,) = visits(_bundle(PATIENT, LATE, *found.values()))
    assert [p.text for p in visit.problems] == ["asthma"]
    assert visit.drugs == visit.procedures == ()
    assert {e.kind: e.text for e in visit.entries} == {
        "past": "gout (resolved)",
        "ruled-out": "ruled out: sepsis",
        "uncertain": "possible lupus (provisional)",
        "procedure": "procedure, not done: biopsy",
        "drug": "aspirin (stopped)",
    }


def test_side_and_severity_stay_with_what_they_qualify() -> None:
    wound = _at("e2", "Condition", code={"text": "cut"}, bodySite=[{"text": "left hand"}], severity={"text": "mild"})
    (visit,) = visits(_bundle(PATIENT, LATE, wound))
    assert [p.text for p in visit.problems] == ["cut (body site: left hand; severity: mild)"]


def test_a_sign_with_a_comparator_or_a_note_is_said_whole() -> None:
    weight = {"coding": [{"code": "29463-7"}], "text": "weight"}
    quantity = {"value": 72, "code": "kg"}
    above = _at("e2", "Observation", status="final", code=weight, valueQuantity=quantity | {"comparator": ">"})
    noted = _at("e2", "Observation", status="final", code=weight, valueQuantity=quantity, note=[{"text": "clothed"}])
    (visit,) = visits(_bundle(PATIENT, LATE, above, noted))
    assert visit.vitals == ()
    assert [e.text for e in visit.entries] == ["weight: >72 kg", "weight: 72 kg (note: clothed)"]


def test_what_a_dosages_words_add_to_its_structure_is_kept() -> None:
    dosage = {
        "text": "5 mg daily at night",
        "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
        "doseAndRate": [{"doseQuantity": {"value": 5, "unit": "mg"}}],
    }
    request = _at("e2", "MedicationRequest", status="active", medicationCodeableConcept={"text": "ramipril"})
    (plain,) = visits(_bundle(PATIENT, LATE, request | {"dosageInstruction": [dosage]}))[0].drugs
    assert (plain.amount, plain.instruction, plain.more) == (Decimal(5), "at night", "")
    (more,) = visits(_bundle(PATIENT, LATE, request | {"dosageInstruction": [dosage | {"route": {"text": "oral"}}]}))[
        0
    ].drugs
    assert "route: oral" in more.more


def test_an_encounter_that_was_cancelled_gives_way_to_one_that_took_place() -> None:
    cancelled = _encounter("e3", "2025-01-01T10:00:00Z") | {"status": "cancelled"}
    assert visits(_bundle(PATIENT, LATE, cancelled))[0].day == visits(_bundle(PATIENT, LATE))[0].day
    (alone,) = visits(_bundle(PATIENT, cancelled))
    assert [e.text for e in alone.entries] == ["encounter, cancelled"]


def test_no_known_drug_allergies_is_not_no_allergies_at_all() -> None:
    drugs = {
        "resourceType": "AllergyIntolerance",
        "patient": WHO,
        "code": {"coding": [{"code": "409137002"}], "text": "No known drug allergies"},
    }
    (visit,) = visits(_bundle(PATIENT, LATE, drugs))
    assert visit.no_allergies is not None
    assert visit.no_allergies.text == "No known drug allergies"
