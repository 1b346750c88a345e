"""What FHIR R4 (4.0.1) requires of the resources that notes rest on: required elements and required codes.

The tables follow the terminology bindings of strength "required" on each resource's page at hl7.org/fhir/R4.
Bindings to open code systems (media types, languages, currencies) are left out. A path goes through lists
without saying so: "component.valueQuantity.comparator" is that of every component.

>>> list(wrong_codes({"resourceType": "Flag", "status": "off"}))
['status']
>>> list(wrong_codes({"resourceType": "Flag", "status": "inactive", "period": {}}))
[]
"""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["CODES", "CONCEPTS", "NEEDED", "READ", "missing_elements", "wrong_codes"]

_EVENT = "preparation in-progress not-done on-hold stopped completed entered-in-error unknown"
_REQUEST = "draft active on-hold revoked completed entered-in-error unknown"
_DRUG_REQUEST = "active on-hold cancelled completed entered-in-error stopped draft unknown"
_INTENT = "proposal plan directive order original-order reflex-order filler-order instance-order option"
_DRUG_INTENT = "proposal plan order original-order reflex-order filler-order instance-order option"
_OBSERVATION = "registered preliminary final amended corrected cancelled entered-in-error unknown"
_DOCUMENT = "preliminary final amended entered-in-error"
_PRIORITY = "routine urgent asap stat"
_ENCOUNTER = "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown"
_GENDER = "male female other unknown"

CODES: Mapping[tuple[str, str], frozenset[str]] = {
    key: frozenset(codes.split())
    for key, codes in {
        ("Patient", "gender"): _GENDER,
        ("Patient", "contact.gender"): _GENDER,
        ("Patient", "link.type"): "replaced-by replaces refer seealso",
        ("Practitioner", "gender"): _GENDER,
        ("RelatedPerson", "gender"): _GENDER,
        ("Encounter", "status"): _ENCOUNTER,
        ("Encounter", "statusHistory.status"): _ENCOUNTER,
        ("Encounter", "location.status"): "planned active reserved completed",
        ("Medication", "status"): "active inactive entered-in-error",
        ("MedicationRequest", "status"): _DRUG_REQUEST,
        ("MedicationRequest", "intent"): _DRUG_INTENT,
        ("MedicationRequest", "priority"): _PRIORITY,
        ("MedicationStatement", "status"): (
            "active completed entered-in-error intended stopped on-hold unknown not-taken"
        ),
        ("MedicationAdministration", "status"): (
            "in-progress not-done on-hold completed entered-in-error stopped unknown"
        ),
        ("MedicationDispense", "status"): (
            "preparation in-progress cancelled on-hold completed entered-in-error stopped declined unknown"
        ),
        ("Observation", "status"): _OBSERVATION,
        ("DiagnosticReport", "status"): (
            "registered partial preliminary final amended corrected appended cancelled entered-in-error unknown"
        ),
        ("Procedure", "status"): _EVENT,
        ("Immunization", "status"): "completed entered-in-error not-done",
        ("AllergyIntolerance", "type"): "allergy intolerance",
        ("AllergyIntolerance", "category"): "food medication environment biologic",
        ("AllergyIntolerance", "criticality"): "low high unable-to-assess",
        ("AllergyIntolerance", "reaction.severity"): "mild moderate severe",
        ("CarePlan", "status"): _REQUEST,
        ("CarePlan", "intent"): "proposal plan order option",
        ("CarePlan", "activity.detail.kind"): (
            "Appointment CommunicationRequest DeviceRequest MedicationRequest NutritionOrder Task ServiceRequest "
            "VisionPrescription"
        ),
        ("CarePlan", "activity.detail.status"): (
            "not-started scheduled in-progress on-hold completed cancelled stopped unknown entered-in-error"
        ),
        ("ServiceRequest", "status"): _REQUEST,
        ("ServiceRequest", "intent"): _INTENT,
        ("ServiceRequest", "priority"): _PRIORITY,
        ("NutritionOrder", "status"): _REQUEST,
        ("NutritionOrder", "intent"): _INTENT,
        ("RiskAssessment", "status"): _OBSERVATION,
        ("QuestionnaireResponse", "status"): "in-progress completed amended entered-in-error stopped",
        ("ImagingStudy", "status"): "registered available cancelled entered-in-error unknown",
        ("Goal", "lifecycleStatus"): (
            "proposed planned accepted active on-hold completed cancelled entered-in-error rejected"
        ),
        ("Specimen", "status"): "available unavailable unsatisfactory entered-in-error",
        ("Communication", "status"): _EVENT,
        ("Communication", "priority"): _PRIORITY,
        ("ClinicalImpression", "status"): "in-progress completed entered-in-error",
        ("FamilyMemberHistory", "status"): "partial completed entered-in-error health-unknown",
        ("Flag", "status"): "active inactive entered-in-error",
        ("DocumentReference", "status"): "current superseded entered-in-error",
        ("DocumentReference", "docStatus"): _DOCUMENT,
        ("DocumentReference", "relatesTo.code"): "replaces transforms signs appends",
        ("Composition", "status"): _DOCUMENT,
        ("Composition", "confidentiality"): "U L M N R V",
        ("Composition", "attester.mode"): "personal professional legal official",
        ("Composition", "relatesTo.code"): "replaces transforms signs appends",
        ("Composition", "section.mode"): "working snapshot changes",
    }.items()
}
"""(Resource type, path) -> the codes of the required value set."""

CONCEPTS: Mapping[tuple[str, str], frozenset[str]] = {
    key: frozenset(codes.split())
    for key, codes in {
        ("Condition", "clinicalStatus"): "active recurrence relapse inactive remission resolved",
        ("Condition", "verificationStatus"): (
            "unconfirmed provisional differential confirmed refuted entered-in-error"
        ),
        ("AllergyIntolerance", "clinicalStatus"): "active inactive resolved",
        ("AllergyIntolerance", "verificationStatus"): "unconfirmed confirmed refuted entered-in-error",
    }.items()
}
"""The same for CodeableConcepts, of whose codings those of HL7's own system count."""

_EVERYWHERE: Mapping[tuple[str, str], frozenset[str]] = {
    key: frozenset(codes.split())
    for key, codes in {
        ("identifier", "use"): "usual official temp secondary old",
        ("name", "use"): "usual official temp nickname anonymous old maiden",
        ("telecom", "system"): "phone fax email pager url sms other",
        ("telecom", "use"): "home work temp old mobile",
        ("address", "use"): "home work temp old billing",
        ("address", "type"): "postal physical both",
        ("repeat", "durationUnit"): "s min h d wk mo a",
        ("repeat", "periodUnit"): "s min h d wk mo a",
        ("repeat", "dayOfWeek"): "mon tue wed thu fri sat sun",
        ("repeat", "when"): (
            "MORN MORN.early MORN.late NOON AFT AFT.early AFT.late EVE EVE.early EVE.late NIGHT PHS HS WAKE C CM CD "
            "CV AC ACM ACD ACV PC PCM PCD PCV"
        ),
    }.items()
}
"""(Element, element within it) of datatypes -> codes, wherever the datatype stands."""

_COMPARATORS = frozenset(("<", "<=", ">=", ">"))
_NARRATIVE = frozenset("generated extensions additional empty".split())  # noqa: SIM905

NEEDED: Mapping[str, tuple[str, ...]] = {
    "Encounter": ("status", "class"),
    "Condition": ("subject",),
    "MedicationRequest": ("status", "intent", "medication[x]", "subject"),
    "MedicationStatement": ("status", "medication[x]", "subject"),
    "MedicationAdministration": ("status", "medication[x]", "subject", "effective[x]"),
    "MedicationDispense": ("status", "medication[x]"),
    "Observation": ("status", "code"),
    "DiagnosticReport": ("status", "code"),
    "AllergyIntolerance": ("patient",),
    "Procedure": ("status", "subject"),
    "Immunization": ("status", "vaccineCode", "patient", "occurrence[x]"),
    "CarePlan": ("status", "intent", "subject"),
    "ServiceRequest": ("status", "intent", "subject"),
    "NutritionOrder": ("status", "intent", "patient", "dateTime"),
    "RiskAssessment": ("status", "subject"),
    "QuestionnaireResponse": ("status",),
    "ImagingStudy": ("status", "subject"),
    "Goal": ("lifecycleStatus", "description", "subject"),
    "Communication": ("status",),
    "ClinicalImpression": ("status", "subject"),
    "FamilyMemberHistory": ("status", "patient", "relationship"),
    "Flag": ("status", "code", "subject"),
    "DocumentReference": ("status", "content"),
    "Composition": ("status", "type", "date", "author", "title"),
}
"""Elements of minimal cardinality 1; `name[x]` is any choice of type."""

READ = frozenset(NEEDED) | {"Patient", "Medication", "Specimen"}
"""The resource types that a note can be written from by themselves."""


def missing_elements(resource: Mapping[str, Any]) -> Iterator[str]:
    """The required elements that a resource lacks, as R4 names them."""
    for name in NEEDED.get(str(resource.get("resourceType")), ()):
        stem = name.removesuffix("[x]")
        choices = (k for k in resource if k.startswith(stem) and k[len(stem) : len(stem) + 1].isupper())
        if next(choices, "") == "" if name != stem else not {name, f"_{name}"} & resource.keys():
            yield name


def wrong_codes(resource: Mapping[str, Any]) -> Iterator[str]:
    """The paths of codes that are not of their required value set."""
    kind = resource.get("resourceType")
    for (owner, path), codes in CODES.items():
        if owner == kind:
            yield from (p for p, v in _at(resource, path.split("."), "") if not _is_code(v, codes))
    for (owner, name), codes in CONCEPTS.items():
        if owner == kind and name in resource:
            yield from _wrong_concept(resource[name], codes, name)
    yield from _wrong_datatypes(resource, "")


def _at(value: Any, names: list[str], path: str) -> Iterator[tuple[str, Any]]:
    """Every value under a path, each with its place."""
    if isinstance(value, list):
        for i, part in enumerate(value):
            yield from _at(part, names, f"{path}[{i}]")
    elif not names:
        yield path, value
    elif isinstance(value, Mapping) and names[0] in value:
        yield from _at(value[names[0]], names[1:], f"{path}.{names[0]}" if path else names[0])


def _wrong_concept(value: Any, codes: frozenset[str], path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield path
        return
    for place, coding in _at(value, ["coding"], path):
        # A coding of another system may stand beside the required one.
        ours = isinstance(coding, Mapping) and "terminology.hl7.org" in str(coding.get("system", ""))
        if ours and not _is_code(coding.get("code"), codes):
            yield f"{place}.code"


def _wrong_datatypes(value: Any, path: str, name: str = "") -> Iterator[str]:
    """Codes within datatypes: units of time, comparators, uses of names and addresses."""
    if isinstance(value, list):
        for i, part in enumerate(value):
            yield from _wrong_datatypes(part, f"{path}[{i}]", name)
    if not isinstance(value, Mapping):
        return
    for key, part in value.items():
        place = f"{path}.{key}" if path else str(key)
        codes = _EVERYWHERE.get((name, key))
        if key == "comparator" and "value" in value:
            codes = _COMPARATORS
        elif key == "status" and "div" in value:
            codes = _NARRATIVE
        for found, code in _at(part, [], place) if codes is not None else ():
            if codes is not None and isinstance(code, str) and code not in codes:
                yield found
        if key != "resource":
            yield from _wrong_datatypes(part, place, str(key))


def _is_code(value: Any, codes: frozenset[str]) -> bool:
    return isinstance(value, str) and value in codes
