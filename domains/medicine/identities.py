"""Whom a FHIR bundle names, and the bundle without them.

`identities_of` reads names, contacts, addresses and identifiers from a bundle's own fields, for
`domains.deidentify` to look for in its notes. `deidentify_bundle` takes them out of the bundle itself: names
become placeholders, contacts, identifiers, narratives, photographs and other attachments that are no text go,
addresses keep state and country, ids are numbered anew, every text runs through the pass.

>>> from domains.medicine.synthetic import records
>>> bundle = next(records("riverside", 1, seed=1))["bundle"]
>>> clean, report = deidentify_bundle(bundle)
>>> clean["entry"][0]["resource"]["name"], report.kinds["NAME"]
([{'text': '[NAME-1]'}], 1)
"""

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from domains._days import moved
from domains._found import Kind
from domains.deidentify import Deidentified, Finding, Identities, Pass, Person, Report
from domains.medicine.fhir import Resource, bundle_of

__all__ = ["deidentify_bundle", "identities_of", "without_identities"]

_CONTACTS: Mapping[str, Kind] = {
    "phone": "PHONE", "sms": "PHONE", "pager": "PHONE", "fax": "FAX", "email": "EMAIL", "url": "URL",
}  # fmt: skip
# Codes of v2-0203, the types of identifiers; any other identifier is a code of its own.
_TYPES: Mapping[str, Kind] = {
    "MR": "MRN", "PI": "MRN", "SS": "SSN", "DL": "LICENSE", "MD": "LICENSE", "RN": "LICENSE", "PRN": "LICENSE",
    "NPI": "LICENSE", "DEA": "LICENSE", "PPN": "LICENSE", "MB": "PLAN", "SN": "PLAN", "MC": "PLAN", "MA": "PLAN",
    "AN": "ACCOUNT", "AC": "ACCOUNT", "SNO": "DEVICE", "UDI": "DEVICE", "BRN": "LICENSE",
}  # fmt: skip
_PEOPLE = frozenset({"Patient", "Practitioner", "RelatedPerson", "Person"})
_GONE = frozenset(
    """telecom photo identifier meta contact qualification signature serialNumber udiCarrier deviceIdentifier
    distinctIdentifier subscriberId fullUrl implicitRules masterIdentifier valueIdentifier valueContactPoint
    valueHumanName valueSignature groupIdentifier requisition position accessionIdentifier""".split()  # noqa: SIM905
)
_CODES = frozenset(
    """resourceType system code status use type intent gender unit language contentType valueCode mode priority
    kind criticality valueUri valueCanonical periodUnit durationUnit url""".split()  # noqa: SIM905
)
_DATE = re.compile(r"((?:18|19|20)\d\d)(-\d\d(?:-\d\d)?)?(T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?")
_INSTANTS = frozenset({"timestamp", "issued", "lastUpdated", "recorded", "valueInstant"})


def identities_of(bundle: Resource) -> Identities:
    """Every name, contact, address and identifier that a bundle's fields hold, its patient's names first."""
    people: list[Person] = []
    values: list[tuple[Kind, str]] = []
    entries = [r for e in bundle.get("entry", ()) if isinstance(r := e.get("resource"), Mapping)]
    for resource in sorted(entries, key=lambda r: r.get("resourceType") != "Patient"):
        if resource.get("resourceType") in _PEOPLE:
            people += _people(resource)
        for key, value in _fields(resource):
            if key == "address" or key == "valueAddress":
                values += _address(value)
            elif key in ("telecom", "valueContactPoint"):
                values += [
                    (_CONTACTS.get(c.get("system", ""), "ID"), c["value"])
                    for c in _maps(value)
                    if _is_text(c.get("value"))
                ]
            elif key == "identifier":
                values += [_identifier(i) for i in _maps(value) if _is_text(i.get("value"))]
            elif key in ("serialNumber", "deviceIdentifier", "distinctIdentifier", "carrierHRF"):
                values += [("DEVICE", value)] if _is_text(value) else []
            elif key == "subscriberId":
                values += [("PLAN", value)] if _is_text(value) else []
            elif key == "contact" and resource.get("resourceType") == "Patient":
                for contact in _maps(value):
                    people += _people({"name": contact.get("name")})
            elif key == "display" or key == "reference":
                continue
            elif isinstance(value, Mapping) and _names_person(value):
                people.append(Person(other=(_untitled(value["display"]),)))
    # A number of one or two digits, or a word without any, is no identifier that could be looked for.
    kept = [(k, v) for k, v in values if k in ("ADDRESS", "EMAIL", "URL") or sum(c.isdigit() for c in v) > 3]
    return Identities(people=tuple(dict.fromkeys(people)), values=tuple(dict.fromkeys(kept)))


def deidentify_bundle(
    bundle: Resource, *, lang: str | None = None, shift: int | None = None
) -> tuple[dict[str, Any], Report]:
    """A bundle without identifiers, still FHIR R4, and counts of what was taken out.

    Args:
        bundle: A checked bundle; it is not changed.
        lang: As for `domains.deidentify.deidentify`.
        shift: Days by which all its dates are moved, of birth too, so that ages and intervals stay. None leaves
            the year of a date alone, and drops moments that cannot be a year. The birth date of somebody who
            is over 89 at the bundle's latest date goes either way.
    """
    return _Bundle(bundle, lang, shift).run()


def without_identities(
    fields: Mapping[str, Any], *, lang: str | None = None, shift: int | None = None
) -> tuple[dict[str, Any], Report]:
    """A record's fields with a clean bundle and a clean note, for training; a name has one number in both.

    Args:
        fields: `bundle`, as an object or its JSON text, and perhaps `note`; other fields stay as they are.
        lang: As for `deidentify_bundle`.
        shift: As for `deidentify_bundle`.
    Raises:
        NotFhirR4: The bundle is none.
    """
    whole = _Bundle(bundle_of(fields["bundle"]), lang, shift)
    out = dict(fields)
    out["bundle"], report = whole.run()
    if isinstance(note := fields.get("note"), str):
        done = whole.clean(note)
        out["note"] = done.text
        report += done.report
    return out, report


class _Bundle:
    """One bundle on its way through the pass."""

    def __init__(self, bundle: Resource, lang: str | None, shift: int | None) -> None:
        self._bundle = bundle
        self._pass = Pass(known=identities_of(bundle), lang=lang, shift=shift)
        self._shift = shift
        self._report = Report()
        self._ids: dict[str, str] = {}
        counts: Counter[str] = Counter()
        for entry in bundle.get("entry", ()):
            resource = entry.get("resource") or {}
            kind = str(resource.get("resourceType", ""))
            counts[kind] += 1
            new = f"{kind}/{kind.lower()}-{counts[kind]}"
            self._ids[f"{kind}/{resource.get('id')}"] = new
            if "fullUrl" in entry:
                self._ids[str(entry["fullUrl"])] = new
        self._latest = max((m[0][:10] for m in _dates(bundle)), default="")

    def run(self) -> tuple[dict[str, Any], Report]:
        """The new bundle and the counts."""
        out = {k: v for k, v in self._bundle.items() if k in ("resourceType", "type", "total")}
        entries = []
        for entry in self._bundle.get("entry", ()):
            resource = entry.get("resource")
            if isinstance(resource, Mapping):
                entries.append({"resource": self._resource(resource)})
        return {**out, "entry": entries}, self._report

    def clean(self, text: str) -> Deidentified:
        """Another text of the same record."""
        return self._pass.clean(text)

    def _resource(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        kind = str(resource.get("resourceType"))
        out: dict[str, Any] = {"resourceType": kind}
        if new := self._ids.get(f"{kind}/{resource.get('id')}"):
            out["id"] = new.partition("/")[2]
        for key, value in resource.items():
            if key in ("resourceType", "id", "text"):
                continue  # A narrative says again what the fields hold, with the name.
            if key == "name" and kind in _PEOPLE:
                out["name"] = [{"text": self._name(value)}]
            elif key == "birthDate" and self._is_old(value):
                self._count("AGE", "age.over-89")
            elif key == "contained":
                out[key] = [{**self._resource(r), "id": str(r.get("id"))} for r in _maps(value)]
            elif kind == "Binary" and key == "data":
                out |= self._content({"contentType": resource.get("contentType"), "data": value})
            elif (new_value := self._value(key, value)) is not None:
                out[key] = new_value
        return out

    def _value(self, key: str, value: Any) -> Any:
        """A field's new value; None where it goes."""
        if key in _GONE:
            self._count(_kind_of(key), "bundle.field")
            return None
        if key in ("address", "valueAddress"):
            self._count("ADDRESS", "bundle.field")
            kept = [{k: a[k] for k in ("state", "country") if k in a} for a in _maps(value)]
            kept = [a for a in kept if a]
            return (kept if isinstance(value, list) else kept[0]) if kept else None
        if isinstance(value, list):
            items = [v for v in (self._value(key, item) for item in value) if v not in (None, {})]
            return items or None
        if isinstance(value, Mapping):
            if "contentType" in value and key != "Binary":
                return self._content(value)
            new = {
                k: v
                for k, item in value.items()
                if k != "text" or isinstance(item, str)
                if (v := self._value(k, item)) is not None
            }
            return new or None
        return self._string(key, value) if isinstance(value, str) else value

    def _string(self, key: str, value: str) -> str | None:
        if key == "reference":
            return value if value.startswith("#") else self._ids.get(value)
        if key in _CODES:
            return value
        if _DATE.fullmatch(value):
            return self._date(key, value)
        done = self._pass.clean(value)
        self._report += done.report
        return done.text

    def _date(self, key: str, value: str) -> str | None:
        self._count("DATE", "bundle.date")
        if self._shift is not None and len(value) >= 10:
            new = moved(value[:10], self._shift)
            return None if new is None else new + value[10:]
        return None if key in _INSTANTS else value[:4]

    def _content(self, attachment: Mapping[str, Any]) -> dict[str, Any]:
        """An attachment: text is cleaned, anything else goes, photographs among it."""
        out = {k: attachment[k] for k in ("contentType", "language") if k in attachment}
        if str(attachment.get("contentType", "")).startswith("text/") and isinstance(attachment.get("data"), str):
            try:
                text = base64.b64decode(attachment["data"], validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return out
            done = self._pass.clean(text)
            self._report += done.report
            out["data"] = base64.b64encode(done.text.encode()).decode("ascii")
        return out

    def _name(self, names: Any) -> str:
        first = next(iter(_people({"name": names})), Person())
        done = self._pass.clean(" ".join((*first.given, first.family)) or next(iter(first.other), ""))
        self._count("NAME", "bundle.field")
        return done.text if done.text.startswith("[NAME") else "[NAME]"

    def _is_old(self, born: Any) -> bool:
        """Whether somebody was over 89 at the bundle's latest date."""
        try:
            start, end = date.fromisoformat(str(born)), date.fromisoformat(self._latest)
        except ValueError:
            return False
        return end.year - start.year - ((end.month, end.day) < (start.month, start.day)) > 89

    def _count(self, kind: Kind, rule: str) -> None:
        self._report += Report.of([Finding(kind=kind, start=0, end=0, rule=rule)])


def _kind_of(key: str) -> Kind:
    kinds: Mapping[str, Kind] = {
        "telecom": "PHONE",
        "valueContactPoint": "PHONE",
        "valueHumanName": "NAME",
        "contact": "NAME",
        "subscriberId": "PLAN",
        "serialNumber": "DEVICE",
        "udiCarrier": "DEVICE",
        "position": "ADDRESS",
    }
    return kinds.get(key, "ID")


def _people(resource: Mapping[str, Any]) -> list[Person]:
    """One person with all names that a resource gives."""
    names = list(_maps(resource.get("name")))
    if not names:
        return []
    whole = [n["text"] for n in names if _is_text(n.get("text"))]
    first = names[0]
    more = [" ".join(_texts([*n.get("given", ()), n.get("family")])) for n in names[1:]]
    given = tuple(_texts(first.get("given", ())))
    family = first.get("family") if _is_text(first.get("family")) else ""
    return [Person(family=str(family), given=given, other=tuple(dict.fromkeys(t for t in (*whole, *more) if t)))]


def _names_person(reference: Mapping[str, Any]) -> bool:
    kind = str(reference.get("type") or reference.get("reference") or "").split("/")[0]
    return kind in _PEOPLE and _is_text(reference.get("display"))


def _untitled(name: str) -> str:
    return re.sub(
        r"^(?:(?:Dr|Mr|Mrs|Ms|Miss|Prof)\b\.?\s*)+|(?:,\s*(?:M\.?D\.?|R\.?N\.?|Ph\.?D\.?))+$", "", name.strip()
    )


def _address(value: Any) -> list[tuple[Kind, str]]:
    out: list[tuple[Kind, str]] = []
    for address in _maps(value):
        lines = _texts([*address.get("line", ()), address.get("text")])
        towns = _texts(address.get(k) for k in ("city", "district", "postalCode"))
        out += [("ADDRESS", text) for text in (*lines, *towns) if len(text) > 2 or not text.isascii()]
    return out


def _identifier(identifier: Mapping[str, Any]) -> tuple[Kind, str]:
    codes = [str(c.get("code")) for c in _maps((identifier.get("type") or {}).get("coding"))]
    if str(identifier.get("system", "")).endswith(("us-ssn", "2.16.840.1.113883.4.1")):
        return "SSN", identifier["value"]
    return next((_TYPES[c] for c in codes if c in _TYPES), "ID"), identifier["value"]


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """Every field of a JSON value with its name, however deep."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield key, item
            for part in item if isinstance(item, list) else (item,):
                if isinstance(part, Mapping) and _names_person(part):
                    yield "individual", part
            yield from _fields(item)
    elif isinstance(value, list):
        for item in value:
            yield from _fields(item)


def _dates(value: Any) -> Iterator[re.Match[str]]:
    for _, item in _fields(value):
        if isinstance(item, str) and len(item) >= 10 and (m := _DATE.fullmatch(item)):
            yield m


def _maps(value: Any) -> Iterator[Mapping[str, Any]]:
    """Objects, whether one or a list of them."""
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, Mapping):
            yield item


def _texts(values: Any) -> list[str]:
    return [v for v in values if _is_text(v)]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
