"""`medicine.record`: a FHIR R4 bundle becomes a clinical note, a single resource a narrative of what it says.

A record for training has `bundle` and `note`; where `note` is absent, each document that the bundle itself
holds (DocumentReference, Composition) is taken for the encounter that it names. The prompt is a compact
line of facts, the same in training and in writing; the note is learnt only as far as the facts bear it.
`lang` ("en", "zh") and `sections` may stand beside the bundle when a note is written.

>>> from domains.medicine.synthetic import records
>>> row = next(records("riverside", 1, seed=1))
>>> example = RecordTask().examples(row, unit=row["patient"])[0]
>>> example.prompt.endswith("Note:"), example
(True, Example)
>>> [s.section for s in RecordTask().skeleton(RecordTask().read({"bundle": row["bundle"]})).statements][-1]
'Plan'
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from domains.base import Example, Fact, Language, Sensitive, Skeleton, Statement
from domains.medicine._bindings import READ
from domains.medicine._layout import layout
from domains.medicine._narrative import Clause, narrate
from domains.medicine._note import forbidden, lower, person, phrase, statements, upper, vital_words
from domains.medicine._targets import Lifted, faithful
from domains.medicine._values import Speech
from domains.medicine._words import VOCABULARY, VOCABULARY_ZH
from domains.medicine.fhir import Resource, bundle_of, check, check_resource, resources, validate
from domains.medicine.identities import without_identities
from domains.medicine.visit import Visit, visits
from fedcore.errors import RecordError

__all__ = ["Narrative", "RecordTask"]

_LANGUAGES: tuple[Language, ...] = ("en", "zh")
_PROMPT_CHARACTERS = 4000
"""What does not fit is left out of the prompt, never of the note: the skeleton has all of it."""
_ALLERGIES = ("Allergies", "过敏")
_UNRECORDED = ("not recorded", "未记录")
_NONE_KNOWN = ("none known", "无已知过敏")


@dataclass(frozen=True, kw_only=True, repr=False)
class Narrative(Sensitive):
    """What a narrative is written from: the clauses of one resource."""

    kind: str
    clauses: tuple[Clause, ...]
    lang: Language


@dataclass(frozen=True, kw_only=True)
class RecordTask:
    """FHIR R4 to a clinical note; the object holds no state.

    Input: `bundle`, a Bundle or one resource of the types in `domains.medicine._bindings.READ`; beside it `lang`
    ("en", "zh") and `sections` ("soap", "none", or headings with the kinds of statement under each). A bundle's
    note is about its latest encounter; persons and places are left out of it. What is refuted, uncertain, over,
    stopped or not done is said with that word; what was entered in error is not said.
    """

    name: str = "medicine.record"
    version: str = "2"
    kind: Literal["generate", "classify"] = "generate"
    fields: tuple[str, ...] = ("bundle", "note")
    optional: tuple[str, ...] = ("lang", "sections", "deidentify")
    summary: str = "FHIR R4 bundle or resource -> clinical note, SOAP by default"
    languages: tuple[Language, ...] = _LANGUAGES
    base: str = "smollm2-135m"
    styles: Mapping[str, float] = field(default_factory=lambda: {"plain": 0.1, "varied": 0.7})

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """Render a record: one example for the note, or one for each document within the bundle.

        Raises:
            NotFhirR4: The bundle fails the structural check.
            RecordError: There is no note, neither as a field nor within the bundle.
        """
        fields = _clean(fields)
        value, lang = _bundle(fields), _lang(fields)
        note = fields.get("note")
        if note is not None and not isinstance(note, str):
            raise RecordError("the field 'note' is wrong", expected="text", got=type(note).__name__)
        pairs: list[tuple[Visit | Narrative, str]]
        if value.get("resourceType") in READ:
            check_resource(value)
            pairs = [(_narrative(value, lang), note)] if note and note.strip() else []
        else:
            check(value)
            found = visits(value, lang)
            pairs = [(found[0], note)] if note and note.strip() else [(v, v.document) for v in found if v.document]
        if not pairs:
            raise RecordError(
                "a record has no note",
                expected="the field 'note', or a DocumentReference or Composition with text in the bundle",
                do="map 'note' to the column that holds it",
            )
        return [Example(prompt=self.prompt(s), target=" " + self._target(s, text), unit=unit) for s, text in pairs]

    def _target(self, source: Visit | Narrative, note: str) -> str:
        """What of a note its facts bear."""
        return faithful(note, self.skeleton(source), _lifted(source))

    def read(self, fields: Mapping[str, Any]) -> Visit | Narrative:
        """Read and fully validate a bundle or a single resource.

        Raises:
            NotFhirR4: It is not FHIR R4.
            RecordError: `lang` or `sections` is none that this task knows, or there are several patients.
        """
        fields = _clean(fields)
        value, lang = _bundle(fields), _lang(fields)
        layout(fields.get("sections"), lang)
        validate(value)
        if value.get("resourceType") in READ:
            return _narrative(value, lang)
        if len({str(p.get("id")) for _, p in resources(value, "Patient")}) > 1:
            # Whose a finding is must never be a guess.
            raise RecordError(
                "a bundle is about several patients", expected="one patient in each bundle", do="split it by patient"
            )
        return visits(value, lang, fields.get("sections"))[-1]

    def prompt(self, source: Visit | Narrative) -> str:
        """The facts in one line, then "Note:" on the next; a very long line is cut after a whole fact."""
        zh = source.lang == "zh"
        if isinstance(source, Narrative):
            parts = [c.text if zh else upper(c.text) for c in source.clauses]
        else:
            parts = _visit_prompt(source, zh)
        room, kept = _PROMPT_CHARACTERS, list[str]()
        for part in parts:
            room -= len(part) + 2
            kept += [part] if room >= 0 else []
        return ("。".join(kept) + "。\n病历：") if zh else (". ".join(kept) + ".\nNote:")

    def skeleton(self, source: Visit | Narrative) -> Skeleton:
        """What a note must say, rule by rule, section by section."""
        zh = source.lang == "zh"
        vocabulary = VOCABULARY_ZH if zh else VOCABULARY
        if isinstance(source, Narrative):
            return Skeleton(statements=tuple(_clauses(source)), vocabulary=vocabulary, lang=source.lang)
        whole = source.layout
        made = [replace(s, section=whole.section(s.rule)) for s in statements(source)]
        if whole.headings:
            made.sort(key=lambda s: whole.place(s.rule))
        extra = tuple(Fact(kind="name", text=o.text, path=o.path, also=o.words) for o in source.origins)
        return Skeleton(
            statements=tuple(made),
            vocabulary=vocabulary,
            forbidden=forbidden(source),
            extra=extra,
            lang=source.lang,
        )


def _clean(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields as they are, or without identifiers where `deidentify` is true; days go too.

    Raises:
        RecordError: `deidentify` is neither true nor false.
    """
    wanted = fields.get("deidentify", False)
    if not isinstance(wanted, bool):
        raise RecordError("the field 'deidentify' is wrong", expected="true or false", got=type(wanted).__name__)
    if not wanted or "bundle" not in fields:
        return fields
    return without_identities(fields, lang=_lang(fields))[0]


def _bundle(fields: Mapping[str, Any]) -> Resource:
    if "bundle" not in fields:
        raise RecordError(
            "a record has no field 'bundle'",
            expected="a FHIR R4 Bundle, or one resource",
            do="map 'bundle' to the column that holds it",
        )
    return bundle_of(fields["bundle"])


def _lang(fields: Mapping[str, Any]) -> Language:
    lang = fields.get("lang") or "en"
    if lang not in _LANGUAGES:
        raise RecordError("the field 'lang' is wrong", expected="one of " + ", ".join(_LANGUAGES))
    return "zh" if lang == "zh" else "en"


def _narrative(resource: Resource, lang: Language) -> Narrative:
    kind = str(resource["resourceType"])
    return Narrative(kind=kind, clauses=tuple(narrate(resource, kind, Speech(lang))), lang=lang)


def _clauses(source: Narrative) -> list[Statement]:
    """A statement for each clause; each is one phrase, so that no value can change its label."""
    zh = source.lang == "zh"
    return [
        Statement(
            rule=f"record.{c.element or 'resource'}",
            text=f"{c.text}。" if zh else f"{upper(c.text)}.",
            facts=(Fact(kind="name", text=c.text, path=c.path),),
        )
        for c in source.clauses
    ]


def _lifted(source: Visit | Narrative) -> list[Lifted]:
    """How a note may call what the facts call otherwise."""
    if isinstance(source, Narrative):
        return []
    v = source
    # A reason for the visit may be spoken of as such only: it need not be so.
    entries = [e for e in v.entries if e.kind != "reason"]
    items = (*v.problems, *v.procedures, *v.vaccines, *v.allergies, *v.plans, *entries)
    out = [Lifted(words=i.words, text=lower(i.text)) for i in items]
    out += [Lifted(words=d.words, text=lower(d.whole or d.name)) for d in v.drugs]
    return [*out, Lifted(words=v.names, text="患者" if v.lang == "zh" else "Patient")]


def _visit_prompt(visit: Visit, zh: bool) -> list[str]:
    """The facts of a visit, kind by kind."""

    def low(text: str) -> str:
        return text if zh else lower(text)

    age = ""
    if visit.age:
        age = f"{visit.age[0]}{'岁' if visit.age[1] == 'year' else '个月'}" if zh else f"{visit.age[0]} {visit.age[1]}s"
    first = (person(visit), age.removesuffix(" years"), *(o.text for o in visit.origins), low(visit.kind))
    parts = [_joined([x for x in first if x], zh)]
    parts += [upper(_joined([low(p.text) for p in visit.problems], zh))] if visit.problems else []
    if visit.vitals:
        parts.append(upper(_joined([_short(vital_words(v, zh)) for v in visit.vitals], zh)))
    parts += _section(("Drugs", "药品"), [low(phrase(d, zh)) for d in visit.drugs], zh)
    parts += _section(("Procedures", "操作"), [low(p.text) for p in visit.procedures], zh)
    parts += _section(("Vaccines", "疫苗"), [v.text for v in visit.vaccines], zh)
    if visit.allergies:
        parts += _section(_ALLERGIES, [low(a.text) for a in visit.allergies], zh)
    else:
        none = visit.no_allergies.text or _NONE_KNOWN[zh] if visit.no_allergies else _UNRECORDED[zh]
        parts += _section(_ALLERGIES, [none], zh)
    parts += _section(("Plan", "计划"), [p.text for p in visit.plans], zh)
    return parts + [e.text if zh else upper(e.text) for e in visit.entries]


def _short(text: str) -> str:
    """As the prompt has it: tokens are dear, and these two units go without saying."""
    text = text.replace("heart rate ", "HR ")
    return text.removesuffix(" mmHg").removesuffix("/min") if text.startswith(("BP", "HR")) else text


def _joined(items: Sequence[str], zh: bool) -> str:
    return ("，" if zh else ", ").join(items)


def _section(titles: tuple[str, str], items: Sequence[str], zh: bool) -> list[str]:
    return [f"{titles[zh]}{'：' if zh else ': '}{_joined(items, zh)}"] if items else []
