"""FHIR R4 bundles: validation at two speeds, and the few ways of reading that records need.

`check` looks at structure and required codes, for thousands of training records; `validate` runs the whole
R4B model of fhir.resources as well (R4B is R4 with a few later resources; every official R4 example passes
it), which does not know the required bindings: those stand in a table of our own, `_bindings`. Errors say
where a bundle is wrong by path, never what stands there.

>>> check({"resourceType": "Bundle", "type": "collection", "entry": []})
>>> check({"resourceType": "Patient"})
Traceback (most recent call last):
    ...
fedcore.errors.NotFhirR4: resourceType is wrong; expected a FHIR R4 Bundle; give the whole bundle as JSON
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from domains.medicine._bindings import READ, missing_elements, wrong_codes
from fedcore.errors import NotFhirR4

__all__ = [
    "Resource",
    "bundle_of",
    "check",
    "check_resource",
    "concept",
    "document_text",
    "resources",
    "same",
    "validate",
]

Resource = Mapping[str, Any]

_BUNDLE_TYPES = frozenset(
    "document message transaction transaction-response batch batch-response history searchset collection".split()  # noqa: SIM905
)
_TYPES = frozenset(
    """Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic
    Binary BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry
    ChargeItem ChargeItemDefinition Claim ClaimResponse ClinicalImpression CodeSystem Communication
    CommunicationRequest CompartmentDefinition Composition ConceptMap Condition Consent Contract Coverage
    CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric
    DeviceRequest DeviceUseStatement DiagnosticReport DocumentManifest DocumentReference EffectEvidenceSynthesis
    Encounter Endpoint EnrollmentRequest EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable
    ExampleScenario ExplanationOfBenefit FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse
    HealthcareService ImagingStudy Immunization ImmunizationEvaluation ImmunizationRecommendation
    ImplementationGuide InsurancePlan Invoice Library Linkage List Location Measure MeasureReport Media Medication
    MedicationAdministration MedicationDispense MedicationKnowledge MedicationRequest MedicationStatement
    MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication MedicinalProductIndication
    MedicinalProductIngredient MedicinalProductInteraction MedicinalProductManufactured MedicinalProductPackaged
    MedicinalProductPharmaceutical MedicinalProductUndesirableEffect MessageDefinition MessageHeader
    MolecularSequence NamingSystem NutritionOrder Observation ObservationDefinition OperationDefinition
    OperationOutcome Organization OrganizationAffiliation Parameters Patient PaymentNotice PaymentReconciliation
    Person PlanDefinition Practitioner PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse
    RelatedPerson RequestGroup ResearchDefinition ResearchElementDefinition ResearchStudy ResearchSubject
    RiskAssessment RiskEvidenceSynthesis Schedule SearchParameter ServiceRequest Slot Specimen SpecimenDefinition
    StructureDefinition StructureMap Subscription Substance SubstanceNucleicAcid SubstancePolymer SubstanceProtein
    SubstanceReferenceInformation SubstanceSourceMaterial SubstanceSpecification SupplyDelivery SupplyRequest Task
    TerminologyCapabilities TestReport TestScript ValueSet VerificationResult VisionPrescription""".split()  # noqa: SIM905
)
_LISTS = frozenset("name component dosageInstruction content section reaction activity".split())  # noqa: SIM905
_NOT_LISTS = frozenset((kind, "name") for kind in _TYPES - {"Patient", "Person", "Practitioner", "RelatedPerson"}) | {
    ("Consent", "content"),
    ("Communication", "content"),
}
_ELEMENT = re.compile(r"_?[a-z][A-Za-z0-9]{0,40}")
_TAG = re.compile(r"<[^>]*>")
_RECORD = "give the whole bundle as JSON"


def bundle_of(value: Any) -> Resource:
    """A bundle or resource from a record's field: an object, or the JSON text of one.

    Raises:
        NotFhirR4: Neither.
    """
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise NotFhirR4("the bundle is not JSON", expected="a FHIR R4 Bundle", do=_RECORD) from error
    if not isinstance(value, Mapping):
        raise NotFhirR4("the bundle is not an object", expected="a FHIR R4 Bundle", do=_RECORD)
    return value


def check(bundle: Resource) -> None:
    """Check structure: types, required elements and required codes of what notes rest on.

    Raises:
        NotFhirR4: The first fault, by path.
    """
    if bundle.get("resourceType") != "Bundle":
        raise NotFhirR4("resourceType is wrong", expected="a FHIR R4 Bundle", do=_RECORD)
    if bundle.get("type") not in _BUNDLE_TYPES:
        raise _fault("type", "a code of the value set bundle-type")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise _fault("entry", "an array")
    for i, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise _fault(f"entry[{i}]", "an object")
        if (resource := entry.get("resource")) is not None:
            _check_resource(resource, f"entry[{i}].resource")


def check_resource(resource: Resource) -> None:
    """As `check`, for a single resource.

    Raises:
        NotFhirR4: The first fault, by path.
    """
    _check_resource(resource, str(resource.get("resourceType", "resource")))


def validate(value: Resource) -> None:
    """Check everything of a bundle, or of a single resource: structure, the R4B model, and required bindings.

    A modifierExtension or implicitRules may turn the meaning of what stands beside it, so R4 forbids to go on
    where one is not understood; none is here.

    Raises:
        NotFhirR4: The first fault, by path.
    """
    if value.get("resourceType") in READ:
        _check_resource(value, str(value["resourceType"]))
        _validate_resource(value, str(value["resourceType"]))
        return
    check(value)
    for i, entry in enumerate(value.get("entry", [])):
        if (resource := entry.get("resource")) is not None:
            _validate_resource(resource, f"entry[{i}].resource")


def _validate_resource(resource: Resource, path: str) -> None:
    """One resource against the model."""
    # pydantic takes 0.4 s to build the models; training never needs them.
    from fhir.resources.R4B import get_fhir_model_class
    from pydantic import ValidationError

    for place in _modifiers(resource, path):
        raise _fault(place, "no element that may turn the meaning of others and is not understood")
    try:
        model = get_fhir_model_class(resource["resourceType"])
    except KeyError:
        return  # A few types of R4 left in R4B, such as EffectEvidenceSynthesis: checked by structure alone.
    try:
        model.model_validate(dict(resource))
    except ValidationError as error:
        raise _located(path, error.errors(include_input=False, include_context=False)) from None
    except (KeyError, TypeError, ValueError, AttributeError):
        # Foreign errors quote the content that they stumbled on, so they are not chained.
        raise _fault(path, "valid FHIR R4") from None


def _modifiers(value: Any, path: str) -> Iterator[str]:
    """Where elements stand that R4 forbids to pass over."""
    if isinstance(value, list):
        for i, part in enumerate(value):
            yield from _modifiers(part, f"{path}[{i}]")
    elif isinstance(value, Mapping):
        for name, part in value.items():
            if name in ("modifierExtension", "implicitRules"):
                yield f"{path}.{name}"
            elif name != "extension":
                yield from _modifiers(part, f"{path}.{name}" if _ELEMENT.fullmatch(str(name)) else f"{path}.(key)")


def _located(start: str, faults: list[Any]) -> NotFhirR4:
    """The first fault of pydantic's list as a path and a kind."""
    path = start
    for part in faults[0]["loc"]:
        # An unknown key may be anything at all, even a name: only what looks like an element is shown.
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if _ELEMENT.fullmatch(str(part)) else ".(key)"
    kinds = {"missing": "an element that R4 requires", "extra_forbidden": "no element of a name that R4 does not know"}
    return _fault(path, kinds.get(faults[0]["type"], "a value that R4 allows"))


def _check_resource(resource: Any, path: str) -> None:
    """One resource's type, required elements and required codes."""
    if not isinstance(resource, Mapping):
        raise _fault(path, "an object")
    kind = resource.get("resourceType")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _fault(f"{path}.resourceType", "a resource type of R4")
    for name in missing_elements(resource):
        raise _fault(f"{path}.{name}", "an element that R4 requires")
    if kind == "Encounter" and not isinstance(resource["class"], Mapping):
        raise _fault(f"{path}.class", "a Coding (a list of concepts is R5)")
    for name in _LISTS & resource.keys():
        if isinstance(resource[name], Mapping | str) and (kind, name) not in _NOT_LISTS:
            raise _fault(f"{path}.{name}", "an array")
    for place in wrong_codes(resource):
        raise _fault(f"{path}.{place}", "a code of its required value set")
    contained = resource.get("contained", [])
    if not isinstance(contained, list):
        raise _fault(f"{path}.contained", "an array")
    for i, inner in enumerate(contained):
        _check_resource(inner, f"{path}.contained[{i}]")


def _fault(path: str, expected: str) -> NotFhirR4:
    return NotFhirR4(f"the bundle is not FHIR R4 at {path}", expected=expected, do="correct it at its source")


def _each(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a list; nothing for anything else."""
    if isinstance(value, list):
        yield from (v for v in value if isinstance(v, Mapping))


def resources(bundle: Resource, *kinds: str) -> Iterator[tuple[str, Resource]]:
    """The bundle's resources of some types, each with its path."""
    for i, entry in enumerate(bundle.get("entry", [])):
        resource = entry.get("resource") if isinstance(entry, Mapping) else None
        if isinstance(resource, Mapping) and resource.get("resourceType") in kinds:
            yield f"Bundle.entry[{i}].resource", resource


def concept(value: Any) -> str:
    """The words of a CodeableConcept: its text, or else its first coding's display."""
    if not isinstance(value, Mapping):
        return ""
    for text in (value.get("text"), *(c.get("display") for c in _each(value.get("coding")))):
        if isinstance(text, str) and text.strip():
            return " ".join(text.split())
    return ""


def same(reference: Any, resource: Resource, full_url: str = "") -> bool:
    """Whether a Reference points to a resource, by relative or absolute URL or urn."""
    target = reference.get("reference") if isinstance(reference, Mapping) else None
    if not isinstance(target, str):
        return False
    identity = f"{resource.get('resourceType')}/{resource.get('id')}"
    return target == full_url != "" or target == identity or target.endswith("/" + identity)


def document_text(resource: Resource) -> str:
    """The plain text of a DocumentReference's attachments or a Composition's sections; "" when none."""
    parts: list[str] = []
    if resource.get("resourceType") == "DocumentReference":
        for content in _each(resource.get("content")):
            attachment = content.get("attachment")
            if isinstance(attachment, Mapping) and str(attachment.get("contentType", "text/plain")).startswith("text/"):
                parts.append(_decoded(attachment.get("data")))
    else:
        for section in _each(resource.get("section")):
            text = section.get("text")
            if isinstance(text, Mapping):
                parts.append(html.unescape(_TAG.sub(" ", str(text.get("div", "")))))
    return "\n".join(part.strip() for part in parts if part.strip())


def _decoded(data: Any) -> str:
    """Base64 text; "" when it is not."""
    if not isinstance(data, str):
        return ""
    try:
        return base64.b64decode(data, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
