"""An auditor that reads a note against the raw JSON that it was written from, knowing nothing of how it was.

It is slow and plain on purpose: no reading of visits, no narrator, no checker of sentences is used here. Every
number and date of the text must stand in the input (the age is computed again); every word must be one of the
input, of an element's name, or of a short list, and one that says that something was done needs a resource that
says so; every element that a note must say is listed again from the JSON and looked up in the text; whatever is
refuted, over, stopped or not done must say so wherever it is named.

>>> flag = {"resourceType": "Flag", "status": "inactive", "code": {"text": "fall risk"}}
>>> audit(flag, "Flag, inactive: fall risk."), audit(flag, "A fall risk of 12 points.")
(Audit(unsupported=0, omitted=0, turned=0), Audit(unsupported=1, omitted=1, turned=1))
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from domains.medicine._audit_words import (
    DEEDS,
    HELD,
    MACHINE,
    OFTEN,
    OVER,
    PERSONS,
    PLAIN,
    QUIET,
    SPELT,
    STANDINGS,
    cues,
)

__all__ = ["Audit", "audit"]

_NUMBER = re.compile(r"(?<![\d.])\d+(?:\.\d+)?(?![\d])")
_CLOCK = re.compile(r"\b\d\d:\d\d(?::\d\d)?\b")
_ISO = re.compile(r"(?<![\d-])(?:19|20)\d\d-\d\d(?:-\d\d)?(?![\d-])")
_HAN_DATE = re.compile(r"(\d{4})年(?:(\d{1,2})月)?(?:(\d{1,2})日)?")
_WORD = re.compile(r"[A-Za-z]+")
_TAG = re.compile(r"<[^>]*>")
_TYPE = re.compile(r"\s*\([a-z/ ]+\)$")
_GAPS = re.compile(r"[\W_]+|(?<=[0-9A-Za-z])(?=[㐀-鿿])|(?<=[㐀-鿿])(?=[0-9A-Za-z])")
"""Between words; Chinese needs no space beside a word in Latin letters."""
_NONE_KNOWN = re.compile(
    r"no (?:known )?(?:drug )?allerg\w*(?! are recorded)\b|无已知过敏|无过敏|否认过敏", re.IGNORECASE
)
_NO = re.compile(r"(?:\bno|\bnot|\bwithout|\bruled out:?|\bdenies|无|未|否认|已排除：?)\s*$", re.IGNORECASE)
_REASON = re.compile(r"(?:reason[a-z ]*|原因)[:：][^.。]*$|(?:seen|visit) for $|comes because of $", re.IGNORECASE)


@dataclass(frozen=True)
class Audit:
    """What is wrong with a note: facts that the input does not hold, facts left out, negations turned round."""

    unsupported: int
    omitted: int
    turned: int

    def __add__(self, other: "Audit") -> "Audit":
        return Audit(self.unsupported + other.unsupported, self.omitted + other.omitted, self.turned + other.turned)


def audit(value: Mapping[str, Any], text: str, lang: str = "en") -> Audit:
    """Read a note against the bundle or the resource that it was written from.

    Args:
        value: As parsed from JSON.
        text: The whole note.
        lang: Language of the note.
    """
    day = _day_of(value)
    kept = list(_kept(value))
    deeds = list(_deeds(kept, value, text)) if _is_bundle(value) else []
    return Audit(
        len(list(_unsupported(value, text, lang, day))) + len(deeds),
        len([want for resource in kept for want in _musts(resource, value, day) if not _found(want, text)]),
        len(list(_turned(kept, value, text))),
    )


def _is_bundle(value: Mapping[str, Any]) -> bool:
    return value.get("resourceType") == "Bundle"


def _all(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if not _is_bundle(value):
        return [value]
    return [e["resource"] for e in value.get("entry", []) if isinstance(e.get("resource"), dict)]


def _encounter(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The encounter that a note of a bundle is about: the latest that took place."""
    found = [r for r in _all(value) if r.get("resourceType") == "Encounter" and r.get("status") != "entered-in-error"]
    held = [r for r in found if r.get("status") not in ("planned", "cancelled")] or found
    return max(held, key=lambda r: str(r.get("period", {}).get("start", "")), default={})


def _day_of(value: Mapping[str, Any]) -> str:
    return str(_encounter(value).get("period", {}).get("start", ""))[:10] if _is_bundle(value) else ""


def _kept(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The resources that a note must speak of."""
    visit = _encounter(value) if _is_bundle(value) else {}
    for resource in _all(value):
        kind = resource.get("resourceType")
        if _is_bundle(value):
            link = resource.get("encounter") or resource.get("context")
            target = str(link.get("reference", "")) if isinstance(link, dict) else ""
            if visit and target and not f"/{target}".endswith(f"/Encounter/{visit.get('id')}"):
                continue
            if (
                kind not in PLAIN
                or "entered-in-error" in _codes(resource)
                or (kind == "Encounter" and resource is not visit)
            ):
                continue
        yield resource


def _codes(resource: Mapping[str, Any]) -> list[str]:
    """The codes of a resource's standing."""
    out = []
    for name in STANDINGS:
        value = resource.get(name)
        if isinstance(value, str):
            out.append(value)
        elif isinstance(value, dict):
            out += [str(c.get("code")) for c in value.get("coding", [])[:1]]
    return out + ["must-not"] * (resource.get("doNotPerform") is True)


def _strings(value: Any, name: str = "") -> Iterator[str]:
    """Every text of the input that people may read."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in ("id", "system", "reference", "fullUrl", "url", "identifier", "meta", "data", "hash"):
                yield from _strings(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part, name)
    elif isinstance(value, str):
        yield _TAG.sub(" ", value)


def _leaves(value: Any) -> Iterator[Decimal]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield Decimal(str(value))


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _keys(part)
    elif isinstance(value, list):
        for part in value:
            yield from _keys(part)


def _ages(value: Mapping[str, Any], day: str) -> Iterator[Decimal]:
    """The ages that a note may state: computed here once more, by counting birthdays."""
    for resource in _all(value):
        born = str(resource.get("birthDate", ""))
        if resource.get("resourceType") == "Patient" and len(born) == 10 and len(day) == 10 and born <= day:
            first, then = date.fromisoformat(born), date.fromisoformat(day)
            years = then.year - first.year - ((then.month, then.day) < (first.month, first.day))
            months = (then.year * 12 + then.month) - (first.year * 12 + first.month) - (then.day < first.day)
            yield Decimal(months if months < 24 else years)


def _unsupported(value: Mapping[str, Any], text: str, lang: str, day: str) -> Iterator[str]:
    """Numbers, dates, times and words of the text that the input does not hold."""
    strings = list(_strings(value))
    joined = "\n".join(strings)
    dates = {m.group() for m in _ISO.finditer(joined)}
    dates |= {d[:7] for d in dates}
    rest = text
    for m in _HAN_DATE.finditer(text):
        iso = "-".join(p.zfill(2) for p in m.groups() if p)
        if iso not in dates and not re.search(rf"\b{iso}\b", joined):
            yield m.group()
        rest = rest.replace(m.group(), " ")
    for m in _ISO.finditer(rest):
        if m.group() not in dates:
            yield m.group()
    rest = _ISO.sub(" ", rest)
    for m in _CLOCK.finditer(rest):
        if m.group() not in joined:
            yield m.group()
    rest = _CLOCK.sub(" ", rest)
    numbers = {Decimal(n) for s in strings for n in _NUMBER.findall(s)} | set(_leaves(value)) | set(_ages(value, day))
    numbers |= {Decimal(1)} if "periodUnit" in set(_keys(value)) else set()
    yield from (n for n in _NUMBER.findall(rest) if Decimal(n) not in numbers and -Decimal(n) not in numbers)
    held = {w.lower() for w in _WORD.findall(joined)}
    held |= {w.lower() for k in _keys(value) for w in _WORD.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", k))}
    for word in {w.lower() for w in _WORD.findall(rest)}:
        if word in SPELT and word not in held:
            if SPELT[word] not in numbers:
                yield word
        elif word not in held and word not in cues(lang):
            yield word


def _deeds(kept: list[Mapping[str, Any]], value: Mapping[str, Any], text: str) -> Iterator[str]:
    """Words of a visit's note that say that something was done or found, where no resource of that kind was kept.

    The input's own texts, and the words of a standing such as "not done", are passed over.
    """
    rest, deeds = _GAPS.sub(" ", text.lower()), {w for words, _ in DEEDS for w in words}
    own = {_GAPS.sub(" ", part.lower()).strip() for s in _strings(value) for part in (s, _TYPE.sub("", s))}
    own |= {cue for cues_of in OVER.values() for cue in cues_of}
    for cue in sorted(own - deeds - {""}, key=len, reverse=True):
        rest = re.sub(rf"(?<!\w){re.escape(cue)}(?!\w)" if cue.isascii() else re.escape(cue), " ", rest)
    for words, types in DEEDS:
        if not any(str(r.get("resourceType")).startswith(types) for r in kept):
            yield from (w for w in words if re.search(rf"\b{w}\b" if w.isascii() else w, rest))


def _musts(resource: Mapping[str, Any], value: Mapping[str, Any], day: str) -> Iterator[tuple[str, Any]]:
    """Everything that must be said of a resource: ("text", words), ("number", n), ("date", iso), ("cue", code)."""
    bundle = _is_bundle(value)
    codes = _codes(resource)
    if "entered-in-error" in codes:
        yield "cue", "entered-in-error"
        return
    kind = str(resource.get("resourceType"))
    yield from (("cue", c) for c in codes if (not bundle) or c in OVER)
    if bundle and day and kind == "Encounter":
        yield "date", day
    skip = MACHINE | frozenset(STANDINGS) | {"doNotPerform"}
    if bundle:
        skip |= PERSONS | QUIET.get(kind, frozenset()) | {"category", "primarySource"}
        skip |= {"recordedDate"} if any(k.startswith("onset") for k in resource) else set()
        skip |= {"class"} if resource.get("class", {}).get("code") == "AMB" else set()
        if kind == "AllergyIntolerance" and resource.get("type") == "allergy":
            skip |= {"type"}
        if kind == "AllergyIntolerance" and _says_none(resource):
            yield "none", ""
            return
    for name, part in resource.items():
        if name not in skip and not name.startswith("_"):
            yield from _leaf_musts(name, part, resource, day)


def _says_none(resource: Mapping[str, Any]) -> bool:
    words = " ".join(_strings(resource.get("code", {}))).lower()
    return "no known" in words or "716186003" in words


def _leaf_musts(name: str, value: Any, owner: Mapping[str, Any], day: str) -> Iterator[tuple[str, Any]]:
    """The same for an element, whatever it is made of."""
    if isinstance(value, list):
        for part in value:
            yield from _leaf_musts(name, part, owner, day)
    elif isinstance(value, dict):
        if "div" in value:
            yield "text", _TAG.sub(" ", str(value["div"]))
        elif "coding" in value and name != "timing":
            said = value.get("text") or next((c["display"] for c in value["coding"] if c.get("display")), None)
            known = {
                short for c in value["coding"] if "loinc" in str(c.get("system")) for short in cues(str(c.get("code")))
            }
            if known:
                yield "any", {str(said), *known}
            else:
                yield ("text", said) if said else ("code", next((c.get("code") for c in value["coding"]), ""))
        elif "display" in value:
            yield "text", value["display"]
        elif str(value.get("reference", "")).startswith("#"):
            inner: Mapping[str, Any] = next(
                (c for c in owner.get("contained", []) if f"#{c.get('id')}" == value["reference"]), {}
            )
            for key, part in inner.items():
                if key not in MACHINE and key not in STANDINGS:
                    yield from _leaf_musts(key, part, {}, day)
        elif "repeat" in value:
            yield from (
                ("number", Decimal(str(n)))
                for n in _leaves({k: v for k, v in value["repeat"].items() if k != "period" or v != 1})
            )
            yield from _leaf_musts("bounds", value["repeat"].get("boundsPeriod", {}), owner, day)
            yield from _leaf_musts("event", value.get("event", []), owner, day)
        elif "given" in value and "text" in value:
            yield "text", value["text"]
        elif "origin" in value and "data" in value:
            yield from _leaf_musts("origin", value["origin"], owner, day)
        else:
            for key, part in value.items():
                unit = key == "code" and "value" in value
                if key == "text" and "doseAndRate" in value:
                    yield "dosage", (part, str(value["doseAndRate"]))
                elif (
                    key not in MACHINE
                    and not key.startswith("_")
                    and not unit
                    and not (key == "denominator" and part.get("value") == 1)
                ):
                    yield from _leaf_musts(key, part, owner, day)
    elif isinstance(value, bool):
        return
    elif isinstance(value, int | float):
        yield "number", Decimal(str(value))
    elif re.match(r"\d{4}(-|$)", str(value)):
        if str(value)[:10] != day:
            yield "date", str(value)[:10]
    elif name not in (
        "kind",
        "use",
        "mode",
        "comparator",
        "unit",
        "confidentiality",
        "linkId",
        "criticality",
        "severity",
        "gender",
        "priority",
        "status",
        "category",
        "type",
        "code",
    ):
        yield "text", value


def _plain(text: str) -> str:
    """Letters and figures alone, for looking up; the type that SNOMED puts in brackets at the end does not count."""
    return _GAPS.sub(" ", _TYPE.sub("", " ".join(text.split())).lower()).strip()


def _found(want: tuple[str, Any], text: str) -> bool:
    """Whether the text says something that it must."""
    kind, content = want
    if kind == "text":
        return f" {_plain(str(content))} " in f" {_GAPS.sub(' ', text.lower())} " or not _plain(str(content))
    if kind == "dosage":
        # In another language a dosage is said from its structure, where its words say no more than that.
        words, structure = content
        left = {w.lower() for w in _WORD.findall(words)} - OFTEN - {w.lower() for w in _WORD.findall(structure)}
        stated = set(_NUMBER.findall(text))
        return _found(("text", words), text) or (not left and set(_NUMBER.findall(words)) <= stated)
    if kind == "any":
        return any(_found(("text", word), text) or word in text for word in content)
    if kind == "code":
        words = _plain(str(content))
        return words in _GAPS.sub(" ", text.lower()) or any(w.lower() in text.lower() for w in cues(str(content)))
    if kind == "number":
        spelt = {w for w, n in SPELT.items() if n == content}
        stated = {Decimal(n) for n in _NUMBER.findall(text)} | {
            -Decimal(n) for n in re.findall(r"-(\d+(?:\.\d+)?)", text)
        }
        return content in stated or bool(spelt & {w.lower() for w in _WORD.findall(text)})
    if kind == "date":
        y, m, d = (*str(content).split("-"), "", "")[:3]
        han = f"{y}年" + (f"{int(m)}月" if m else "") + (f"{int(d)}日" if d else "")
        return str(content) in text or han in text
    if kind == "none":
        return bool(_NONE_KNOWN.search(text))
    plain = (str(content).replace("-", " "), HELD.get(str(content), "\0"))
    return any(c in text.lower() for c in OVER.get(str(content), plain))


def _named(resource: Mapping[str, Any]) -> str:
    """What a resource is about."""
    for key in ("code", "vaccineCode", "medicationCodeableConcept"):
        concept = resource.get(key)
        if isinstance(concept, dict):
            display = next((c["display"] for c in concept.get("coding", []) if c.get("display")), "")
            return _TYPE.sub("", str(concept.get("text") or display).strip())
    return ""


def _turned(kept: list[Mapping[str, Any]], value: Mapping[str, Any], text: str) -> Iterator[str]:
    """Names that stand without the word that must go with them, or with one that must not."""
    held = [r for r in kept if not set(_codes(r)) & OVER.keys()]
    plain = {_named(r).lower() for r in held}
    for resource in kept:
        name = _named(resource)
        codes = [c for c in _codes(resource) if c in OVER]
        for m in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) if name else ():
            before, after = text[max(0, m.start() - 90) : m.start()], text[m.end() : m.end() + 160]
            before = re.split(r"[.。]\s", before)[-1]
            bracket = re.match(r"[^.。]*?[(（]([^)）]*)", after)
            near = f"{before} {bracket.group(1) if bracket else ''}".lower()
            if codes and name.lower() not in plain and not _REASON.search(before):
                if not any(cue in near for code in codes for cue in OVER[code]):
                    yield name
            elif not codes and _NO.search(before) and not _said_so(value, before[-12:] + name):
                yield name
    allergies = [r for r in kept if r.get("resourceType") == "AllergyIntolerance"]
    stated = any(_says_none(r) for r in allergies) or any(_NONE_KNOWN.search(s) for s in _strings(value))
    if _NONE_KNOWN.search(text) and not stated:
        yield "allergies"


def _said_so(value: Mapping[str, Any], words: str) -> bool:
    """Whether the input itself has these words in a row."""
    return any(_plain(words) in _plain(s) for s in _strings(value))
