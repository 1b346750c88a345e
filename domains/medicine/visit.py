"""What one encounter of a FHIR R4 bundle holds, read into the few facts that a note rests on.

Each fact keeps its path in the bundle. A resource that names another encounter is left out, and so is one that
was entered in error; what no resource states is unknown, never "none". What is refuted, uncertain, over or not
done is one phrase together with the word that says so.

>>> from domains.medicine.synthetic import records
>>> visit = visits(next(records("riverside", 1, seed=1))["bundle"])[0]
>>> visit.sex in ("female", "male"), len(visit.vitals) > 0
(True, True)
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from domains.base import Language
from domains.medicine._drugs import Medication
from domains.medicine._layout import layout
from domains.medicine._parts import Entry, Item, Visit, Vital
from domains.medicine._reading import Reader, at
from domains.medicine._values import Speech
from domains.medicine.fhir import Resource, document_text, resources, same

__all__ = ["Entry", "Item", "Medication", "Visit", "Vital", "visits"]


def visits(bundle: Resource, lang: Language = "en", sections: Any = None) -> list[Visit]:
    """Read a checked bundle: one visit for each document in it, or else its latest encounter alone.

    Args:
        bundle: The bundle.
        lang: "en" or "zh": how values are worded.
        sections: As `layout` takes it.
    Raises:
        RecordError: The sections are no layout.
    """
    whole = layout(sections, lang)
    return [replace(v, layout=whole) for v in _visits(bundle, lang)]


def _visits(bundle: Resource, lang: Language) -> list[Visit]:
    documents = [
        (text, resource)
        for _, resource in resources(bundle, "DocumentReference", "Composition")
        if resource.get("status") != "entered-in-error" and (text := document_text(resource))
    ]
    encounters = [e for e in resources(bundle, "Encounter") if e[1].get("status") != "entered-in-error"]
    if not documents:
        return [_visit(bundle, _latest(encounters), "", lang)]
    out = []
    for text, resource in documents:
        context = resource.get("context")
        links = context.get("encounter", []) if isinstance(context, Mapping) else [resource.get("encounter")]
        links = links if isinstance(links, list) else [links]
        own = [e for e in encounters if any(same(link, e[1]) for link in links)]
        out.append(_visit(bundle, own[0] if own else _latest(encounters), text, lang))
    return out


def _latest(encounters: list[tuple[str, Resource]]) -> tuple[str, Resource] | None:
    """The latest encounter that took place, or else the latest at all."""
    held = [e for e in encounters if e[1].get("status") not in ("cancelled", "planned")]
    return max(held or encounters, key=lambda e: str(at(e[1], "period", "start") or ""), default=None)


def _visit(bundle: Resource, encounter: tuple[str, Resource] | None, document: str, lang: Language) -> Visit:
    """Gather what belongs to one encounter."""
    where, visit = encounter if encounter else ("", {})
    subject = next(resources(bundle, "Patient"), ("", {}))
    return Reader(bundle, where, visit, Speech(lang, brief=True)).visit(subject, document)
