"""What a FHIR resource says, element by element, by rules that hold for every type.

The first clause names the type, its standing and what it is about ("Procedure, not done: colonoscopy"), so a
negation can never part from what it negates. Every other element follows under its label; what only machines
need (identifiers, addresses, links) is left out. A resource that was entered in error states nothing but that.

>>> flag = {"resourceType": "Flag", "status": "inactive", "code": {"text": "fall risk"}, "subject": {}}
>>> [c.text for c in narrate(flag, "Flag", Speech("en"))]
['flag, inactive: fall risk']
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from domains.base import Sensitive
from domains.medicine._labels import code_words, label, noun, stem
from domains.medicine._values import Speech, decimal, each, plain_number

__all__ = ["PERSONS", "Clause", "details", "head", "narrate", "standing"]

Resource = Mapping[str, Any]

_MACHINE = frozenset(
    """resourceType id meta implicitRules contained extension identifier masterIdentifier accessionIdentifier
    groupIdentifier requisition preAdmissionIdentifier telecom address photo link endpoint uid sopClass linkId sequence
    instantiatesCanonical instantiatesUri questionnaire system version userSelected use url hash size contentType rank
    sigFormat targetFormat data""".split()  # noqa: SIM905
)
"""Elements that no reader of a note needs."""
PERSONS = frozenset(
    """subject patient performer requester recorder asserter author authored informationSource source recipient
    sender participant serviceProvider managingOrganization generalPractitioner location custodian attester
    authenticator interpreter resultsInterpreter orderer assessor collector careTeam onBehalfOf manufacturer contact
    encounter context name birthDate gender""".split()  # noqa: SIM905
)
"""Elements that say who and where: a note of a visit leaves them out, a single resource's narrative does not."""
_STANDING = ("status", "clinicalStatus", "verificationStatus", "lifecycleStatus", "docStatus", "intent", "doNotPerform")
_HEADS: Mapping[str, tuple[str, ...]] = {
    "Patient": ("name",),
    "Encounter": ("type", "class"),
    "Immunization": ("vaccineCode",),
    "MedicationRequest": ("medication",),
    "MedicationStatement": ("medication",),
    "MedicationAdministration": ("medication",),
    "MedicationDispense": ("medication",),
    "CarePlan": ("title", "description", "category"),
    "Goal": ("description",),
    "ImagingStudy": ("description", "procedureCode", "modality"),
    "Specimen": ("type",),
    "DocumentReference": ("type", "description"),
    "Composition": ("title", "type"),
    "FamilyMemberHistory": ("relationship",),
    "Communication": ("topic", "category"),
    "ClinicalImpression": ("description", "code"),
}
_MUST_NOT = ("must not be done", "禁止执行")
_LEADS = frozenset(
    "code text item type outcome actor description function manifestation detail".split()  # noqa: SIM905
)
"""Elements that need no label where they come first in an element of elements."""
_DEPTH = 12


@dataclass(frozen=True, kw_only=True, repr=False)
class Clause(Sensitive):
    """One thing that a resource says, and where it says it."""

    text: str
    path: str
    element: str


def narrate(resource: Resource, path: str, speech: Speech) -> list[Clause]:
    """Everything that a resource says, what it is about first; a mistaken one says only that it is mistaken."""
    kind = str(resource.get("resourceType"))
    codes = standing(resource)
    words = [code_words(c, speech.lang) for c in codes]
    if resource.get("doNotPerform") is True:
        words.insert(0, _MUST_NOT[speech.zh])
    name = noun(kind, speech.lang)
    if "entered-in-error" in codes:
        return [
            Clause(
                text=_opening(name, [code_words("entered-in-error", speech.lang)], "", speech), path=path, element=""
            )
        ]
    element, about = head(resource, speech)
    place = f"{path}.{element}" if element else path
    first = Clause(text=_opening(name, words, about, speech), path=place, element=element)
    return [first, *details(resource, path, speech, without=frozenset({element, *_STANDING}))]


def standing(resource: Resource) -> list[str]:
    """The codes that say whether a resource holds, in the order in which they are said."""
    out = []
    for name in _STANDING:
        value = resource.get(name)
        if isinstance(value, Mapping):
            codes = [c.get("code") for c in each(value.get("coding")) if isinstance(c, Mapping)]
            out += [c for c in codes[:1] if isinstance(c, str)]
        elif isinstance(value, str):
            out.append(value)
    return list(dict.fromkeys(out))


def head(resource: Resource, speech: Speech) -> tuple[str, str]:
    """The element that says what a resource is about, and its words; ("", "") where there is none."""
    for wanted in _HEADS.get(str(resource.get("resourceType")), ("code",)):
        for name, value in resource.items():
            text = _inline(value, resource, speech) if stem(name) == wanted else ""
            if any(c.isalpha() for c in text):
                return name, text
    return "", ""


def details(resource: Resource, path: str, speech: Speech, *, without: frozenset[str] = frozenset()) -> list[Clause]:
    """Every element but some, each under its label."""
    out: list[Clause] = []
    for name, value in resource.items():
        if (
            name in without
            or name in _MACHINE
            or name.startswith("_")
            or (name == "text" and "resourceType" in resource)
        ):
            continue
        if name == "language" and isinstance(value, str):
            continue
        for text in _labelled(name, value, resource, speech, 0):
            out.append(Clause(text=text, path=f"{path}.{name}", element=name))
    return out


def _opening(name: str, words: list[str], about: str, speech: Speech) -> str:
    """The first clause, lower case but for names."""
    if speech.zh:
        return name + (f"（{'，'.join(words)}）" if words else "") + (f"：{about}" if about else "")
    text = ", ".join([name[:1].lower() + name[1:], *words])
    return f"{text}: {about}" if about else text


def _labelled(name: str, value: Any, owner: Resource, speech: Speech, depth: int) -> Iterator[str]:
    """An element's values under its label: simple ones together, each that has elements of its own apart."""
    title = label(name, speech.lang)
    gap = "：" if speech.zh else ": "
    simple: list[str] = []
    composed: list[str] = []
    for part in each(value):
        text = _simple(name, part, owner, speech)
        if text is None:
            if inner := _inner(part, owner, speech, depth):
                composed.append(inner)
        elif text:
            simple.append(text)
    if composed and not any(gap.strip() in text or ";" in text for text in composed):
        simple, composed = [*simple, *composed], []
    yield from (f"{title}{gap}{text}" for text in composed)
    if simple:
        yield f"{title}{gap}{speech.joined(simple)}"


def _simple(name: str, value: Any, owner: Resource, speech: Speech) -> str | None:
    """A value that stands by itself; None for an object of elements."""
    if isinstance(value, bool):
        return speech.yes(value)
    if isinstance(value, int | float):
        return plain_number(number) if (number := decimal(value)) is not None else ""
    if isinstance(value, str):
        return _string(name, value, speech)
    if not isinstance(value, Mapping):
        return ""
    text = speech.value(value)
    if isinstance(target := value.get("reference"), str) and target.startswith("#"):
        found = _contained(target, owner, speech)
        return f"{text} ({found})" if text and found else text or found
    return text


def _string(name: str, value: str, speech: Speech) -> str:
    """Free words, a date, or a code of a value set."""
    if name in (
        "status",
        "kind",
        "priority",
        "gender",
        "criticality",
        "severity",
        "category",
        "mode",
        "intent",
        "type",
        "code",
        "confidentiality",
    ):
        known = noun(value, speech.lang)
        return known if known != value else code_words(value, speech.lang)
    return speech.day(value) if value[:4].isdigit() else speech.text(value)


def _inner(value: Any, owner: Resource, speech: Speech, depth: int) -> str:
    """An element made of elements: what it is about, then the rest under their labels."""
    if not isinstance(value, Mapping) or depth > _DEPTH:
        return ""
    parts: list[str] = []
    for name, part in value.items():
        if name in _MACHINE or name.startswith("_"):
            continue
        if name == "doNotPerform" and part is not True:
            continue
        if name == "doNotPerform":
            parts.insert(0, _MUST_NOT[speech.zh])
            continue
        lead = name in _LEADS and not parts
        texts = list(_labelled(name, part, owner, speech, depth + 1))
        gap = "：" if speech.zh else ": "
        parts += [t.split(gap, 1)[1] for t in texts] if lead else texts
    if not any(n in value for n in ("text", "code")) and isinstance(value.get("linkId"), str) and parts:
        parts.insert(0, f"项目{value['linkId']}" if speech.zh else f"item {value['linkId']}")
    return ("，" if speech.zh else "; ").join(parts)


def _inline(value: Any, owner: Resource, speech: Speech) -> str:
    """An element's simple values without a label."""
    return speech.joined([t for part in each(value) if (t := _simple("", part, owner, speech))])


def _contained(target: str, owner: Resource, speech: Speech) -> str:
    """What a contained resource says, for the reference that points to it."""
    for inner in each(owner.get("contained")):
        if isinstance(inner, Mapping) and f"#{inner.get('id')}" == target:
            alone = {k: v for k, v in inner.items() if k != "contained"}
            texts = [c.text for c in narrate(alone, "", speech)]
            return ("，" if speech.zh else "; ").join(texts)
    return ""
