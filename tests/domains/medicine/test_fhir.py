"""A bundle that is not FHIR R4 is refused by path, and what stands there is never repeated."""

import copy
from typing import Any

import pytest

from domains.medicine.fhir import bundle_of, check, document_text, validate
from domains.medicine.synthetic import SITES, records
from fedcore.errors import NotFhirR4

SECRET = "Zaphod-4711"


def _bundle(*resources: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}


_REQUEST = {
    "resourceType": "MedicationRequest",
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/1"},
}


@pytest.mark.parametrize(
    ("bundle", "where"),
    [
        ({"resourceType": "Patient", "id": SECRET}, "resourceType"),
        ({"resourceType": "Bundle", "type": SECRET}, "at type"),
        ({"resourceType": "Bundle", "type": "collection", "entry": {"a": SECRET}}, "at entry"),
        (_bundle({"resourceType": SECRET}), r"entry\[0\]\.resource\.resourceType"),
        (_bundle({"resourceType": "MedicationOrder"}), r"entry\[0\]\.resource\.resourceType"),
        (_bundle({"resourceType": "Patient", "gender": SECRET}), r"entry\[0\]\.resource\.gender"),
        (_bundle({"resourceType": "Patient", "name": {"family": SECRET}}), r"entry\[0\]\.resource\.name"),
        (_bundle({"resourceType": "Encounter", "status": "finished"}), r"entry\[0\]\.resource\.class"),
        (_bundle({"resourceType": "Encounter", "status": "completed", "class": {}}), r"entry\[0\]\.resource\.status"),
        (_bundle({"resourceType": "Encounter", "status": "finished", "class": [{}]}), r"entry\[0\]\.resource\.class"),
        (_bundle(_REQUEST | {"medication": {"concept": {"text": SECRET}}}), r"entry\[0\]\.resource\.medication"),
        (
            _bundle(
                {
                    "resourceType": "Condition",
                    "subject": {},
                    "clinicalStatus": {
                        "coding": [
                            {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": SECRET}
                        ]
                    },
                }
            ),
            r"clinicalStatus\.coding\[0\]\.code",
        ),
    ],
)
def test_structure_is_checked_by_path(bundle: Any, where: str) -> None:
    with pytest.raises(NotFhirR4, match=where) as raised:
        check(bundle)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("resource", "where"),
    [
        ({"resourceType": "Patient", "birthDate": SECRET}, "birthDate"),
        ({"resourceType": "Patient", "birthDate": "1986-13-19"}, "birthDate"),
        ({"resourceType": "Patient", SECRET: 1}, r"\(key\)"),
        ({"resourceType": "Observation", "status": "final", "code": {}, "valueQuantity": {"value": SECRET}}, "value"),
    ],
)
def test_full_validation_finds_what_structure_alone_does_not(resource: Any, where: str) -> None:
    check(_bundle(resource))
    with pytest.raises(NotFhirR4, match=where) as raised:
        validate(_bundle(resource))
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_every_synthetic_bundle_is_valid() -> None:
    for site in SITES:
        for row in records(site, 25, seed=2):
            validate(row["bundle"])


def test_validation_leaves_the_bundle_as_it_was() -> None:
    bundle = next(records("northfield", 1, seed=2))["bundle"]
    before = copy.deepcopy(bundle)
    validate(bundle)
    assert bundle == before


def test_json_text_serves_as_a_bundle_and_broken_json_is_not_quoted() -> None:
    assert bundle_of('{"resourceType": "Bundle"}') == {"resourceType": "Bundle"}
    with pytest.raises(NotFhirR4) as raised:
        bundle_of("{" + SECRET)
    assert SECRET not in str(raised.value)
    with pytest.raises(NotFhirR4):
        bundle_of(7)


def test_text_is_read_from_attachments_and_sections() -> None:
    reference = {"resourceType": "DocumentReference", "content": [{"attachment": {"data": "SGVsbG8u"}}]}
    composition = {"resourceType": "Composition", "section": [{"text": {"div": "<div>A &amp; B</div>"}}]}
    assert document_text(reference) == "Hello."
    assert document_text(composition) == "A & B"
    assert document_text({"resourceType": "DocumentReference", "content": [{"attachment": {"data": "%%"}}]}) == ""
