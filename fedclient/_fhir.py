"""Whose a FHIR bundle is, and that it is R4 at all. Never names content.

The rules of R4 stand in `domains.medicine.fhir`; here they get a position in the source of records.

>>> patient_of({"entry": [{"resource": {"resourceType": "Patient", "id": "p1"}}]}, "line 1")
'p1'
"""

from collections.abc import Iterator, Mapping
from typing import Any

from domains.medicine import fhir
from fedcore.errors import NoPrivacyUnit, NotFhirR4

__all__ = ["patient_of", "require_r4"]


def require_r4(bundle: Any, where: str) -> dict[str, Any]:
    """Return the bundle if it is an R4 one by its structure.

    Raises:
        NotFhirR4: It is not; says where and which element, never what it holds.
    """
    if not isinstance(bundle, dict) or not isinstance(bundle.get("type"), str):
        raise NotFhirR4(f"{where} is not a FHIR bundle", expected="an object with resourceType and type")
    try:
        fhir.check(bundle)
    except NotFhirR4 as error:
        raise NotFhirR4(f"{where}: {error}") from error
    return bundle


def patient_of(bundle: Mapping[str, Any], where: str) -> str:
    """The id of the one patient whom a bundle is about.

    It is the Patient resource's id; without such a resource, what all subjects refer to.

    Raises:
        NoPrivacyUnit: The bundle names no patient, or several.
    """
    patients = {_id_of(r, url) for r, url in _resources(bundle) if r.get("resourceType") == "Patient"}
    if not patients:
        patients = set(_subjects(bundle))
    patients.discard("")
    if len(patients) != 1:
        raise NoPrivacyUnit(
            f"{where} is about {'several patients' if patients else 'no patient that it names'}",
            expected="one patient in each bundle",
            do="split it by patient, or set [records] unit to another path",
        )
    return patients.pop()


def _resources(bundle: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Resources with their full URLs."""
    for entry in bundle.get("entry", []):
        if resource := entry.get("resource"):
            url = entry.get("fullUrl")
            yield resource, url if isinstance(url, str) else ""


def _id_of(patient: Mapping[str, Any], url: str) -> str:
    given = patient.get("id")
    return given if isinstance(given, str) and given else _last(url)


def _subjects(bundle: Mapping[str, Any]) -> Iterator[str]:
    """Ids of the patients that resources refer to."""
    for resource, _url in _resources(bundle):
        for name in ("subject", "patient"):
            reference = resource.get(name)
            target = reference.get("reference") if isinstance(reference, dict) else None
            if isinstance(target, str) and ("Patient/" in target or target.startswith("urn:")):
                yield _last(target.split("/_history/")[0])


def _last(reference: str) -> str:
    """The id in "Patient/x", "https://…/Patient/x" or "urn:uuid:x"."""
    return reference.rsplit("/", 1)[-1].rsplit(":", 1)[-1]
