"""A code outside its required value set is found wherever it stands; one inside is not."""

from typing import Any

import pytest

from domains.medicine._bindings import CODES, CONCEPTS, missing_elements, wrong_codes


def _nested(path: str, value: Any) -> dict[str, Any]:
    name, _, rest = path.partition(".")
    return {name: [_nested(rest, value)] if rest else value}


@pytest.mark.parametrize(("kind", "path"), sorted(CODES))
def test_every_binding_takes_its_own_codes_and_no_other(kind: str, path: str) -> None:
    for code in CODES[kind, path]:
        assert list(wrong_codes({"resourceType": kind, **_nested(path, code)})) == []
    for wrong in ("no-such-code", 7, None, ""):
        (found,) = wrong_codes({"resourceType": kind, **_nested(path, wrong)})
        assert found.replace("[0]", "") == path


@pytest.mark.parametrize(("kind", "name"), sorted(CONCEPTS))
def test_a_concept_is_held_to_the_codes_of_its_own_system_alone(kind: str, name: str) -> None:
    ours, other = "http://terminology.hl7.org/CodeSystem/x", "http://snomed.info/sct"
    concept = {"coding": [{"system": other, "code": "7"}, {"system": ours, "code": "no-such-code"}]}
    assert list(wrong_codes({"resourceType": kind, name: concept})) == [f"{name}.coding[1].code"]
    good = {"coding": [{"system": ours, "code": sorted(CONCEPTS[kind, name])[0]}]}
    assert list(wrong_codes({"resourceType": kind, name: good})) == []


@pytest.mark.parametrize(
    ("resource", "where"),
    [
        ({"valueQuantity": {"value": 5, "comparator": "=<"}}, "valueQuantity.comparator"),
        ({"component": [{}, {"value": {"value": 1, "comparator": "~"}}]}, "component[1].value.comparator"),
        ({"timing": {"repeat": {"periodUnit": "days"}}}, "timing.repeat.periodUnit"),
        ({"timing": {"repeat": {"when": ["HS", "bedtime"]}}}, "timing.repeat.when[1]"),
        ({"identifier": [{"use": "main"}]}, "identifier[0].use"),
        ({"text": {"status": "ok", "div": "<div/>"}}, "text.status"),
    ],
)  # fmt: skip
def test_codes_within_datatypes_are_found_in_any_resource(resource: dict[str, Any], where: str) -> None:
    assert list(wrong_codes({"resourceType": "Observation", **resource})) == [where]


def test_a_choice_of_type_counts_as_the_required_element() -> None:
    given = {"resourceType": "Immunization", "status": "completed", "vaccineCode": {}, "patient": {}}
    assert list(missing_elements(given)) == ["occurrence[x]"]
    assert list(missing_elements(given | {"occurrenceString": "childhood"})) == []
    assert list(missing_elements(given | {"occurrence": "childhood"})) == ["occurrence[x]"]
