r"""`medicine.note-check`: which sentence of a clinical note does not go with the rest of it, if any.

A note states one decision, as a rule: a diagnosis, a test, a treatment, the cause of an infection. The task
finds the sentence that states it and looks at how far the rest of the note backs it (`_pairs`). It doubts what
is opposed (the note's findings speak for a condition that it does not fit) and what is unbacked (it fits none
that they speak for); where the table is silent it abstains. A trained classifier judges the same sentence and
then decides instead. Where the note's bundle is given, every sentence is also checked against it: a figure, a
date, a drug or a denial that the bundle does not hold is named with its rule.

It supports and does not decide: a doubt is a reason to look again, no more.

>>> task = NoteCheckTask()
>>> found = "A man has sudden tearing chest pain radiating to the back.\nPressures differ between the arms."
>>> note = f"{found}\nHeparin is given."
>>> source = task.read({"note": note})
>>> [(d.number, d.rule, d.confidence) for d in source.doubts]
[(2, 'note.opposed', 0.7)]
>>> task.read({"note": note.replace("Heparin", "Esmolol")}).doubts
()
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from domains._figures import normalise
from domains.base import Example, Fact, Sensitive, Skeleton, Statement
from domains.checks import Checker
from domains.classifying import Judge, softmax
from domains.medicine._pairs import Backing, backing, believed
from domains.medicine.fhir import bundle_of, validate
from domains.medicine.record import RecordTask
from domains.medicine.visit import visits
from fedcore.errors import ConfigError, RecordError

__all__ = ["LABELS", "Doubt", "Note", "NoteCheckTask", "decision", "make_base", "sentences"]

LABELS = ("right", "wrong")
_EDGE = 0.02
"""Shares of belief below this count as none."""
_DECIDES = re.compile(
    r"\b(?:diagnos|suspect|recommend|prescrib|administer|order|perform|given|obtain|requir|advis|schedul|initiat|indicat|"
    r"confirm|reassur|admitted|consult|measured|started|plan\b|planned|is placed|was done|is done|will be|is continued|"
    r"was continued|encourag|provided|transfus|removed|undergo|is added|was added|switched|discontinued|treat|causal|"
    r"consistent with|presentation)",
    re.IGNORECASE,
)
_OPENS = re.compile(
    r"(?:Suspected of|Diagnosis is|Plan|Presentation|The patient is diagnosed|Patient (?:is|was)|After|Based on)"
)
_TELLS = re.compile(
    r"\b(?:ago|history|previous|since|her (?:mother|father|sister|brother)|his (?:mother|father|sister|brother)|"
    r"last (?:year|month|week)|years|months|current medications|takes|has been|had|denies|reports|states|comes to|"
    r"brought to|presents)\b",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(\d{1,4}) (.*)")
_BREAK = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(\"'])")
_CONFIDENCE = {"note.opposed": 0.7, "note.unbacked": 0.55}
"""How often such a doubt was right on 330 notes, half of them wrong, rounded down; a judge gives its own.

It flatters: most of these notes had been read before the table was written. On the 95 that had not, flags were
right for .56 of the notes, where a constant answer is right for .54.
"""
_WHY = {
    "note.opposed": "the findings of the note speak against it",
    "note.unbacked": "the findings of the note do not speak for it",
    "note.judged": "the trained classifier holds it for wrong",
    "bundle.number": "it holds a figure that the record does not hold",
    "bundle.date": "it holds a date that the record does not hold",
    "bundle.drug": "it holds a drug that the record does not hold",
    "bundle.negation": "it denies what the record does not deny",
    "bundle.attribution": "it holds a figure of something else",
    "bundle.code": "it holds a code that the record does not hold",
}
_FAULTS = ("number", "date", "drug", "negation", "attribution", "code")
_VOCABULARY = frozenset(
    " ".join(
        (
            *_WHY.values(),
            "sentence is doubted because confidence rule the a note opposed unbacked judged bundle number date",
        )
    ).split()
) | frozenset("drug negation attribution code".split())  # noqa: SIM905
_NONE = "no sentence is doubted"


@dataclass(frozen=True, kw_only=True, repr=False)
class Doubt(Sensitive):
    """A sentence that may be wrong: its number, the rule or model that doubts it, how sure that is."""

    number: int
    rule: str
    confidence: float | None
    """The chance that the sentence is wrong, from 0 to 1; None where the rule states no chance."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Note(Sensitive):
    """A note cut into sentences, with what was found."""

    sentences: tuple[str, ...]
    place: int
    """Which sentence states the note's decision."""
    backing: Backing
    doubts: tuple[Doubt, ...] = ()
    """The decision's first, if it is doubted; then those of the bundle, in the order of the note."""


@dataclass(frozen=True, kw_only=True)
class NoteCheckTask:
    """The task. It holds no state."""

    name: str = "medicine.note-check"
    version: str = "1"
    kind: Literal["generate", "classify"] = "classify"
    fields: tuple[str, ...] = ("note", "wrong")
    optional: tuple[str, ...] = ("bundle",)
    summary: str = "the sentence of a clinical note that does not go with the rest of it"
    languages: tuple[str, ...] = ("en",)
    base: str = "note-check"

    def make_base(self, directory: Path) -> None:
        """Write the features base of this task into a new directory: it knows the rules' verdicts."""
        make_base(directory)

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """One example: the note's decision, or the sentence that is known to be wrong.

        Args:
            fields: `note`, and `wrong`: the number of the wrong sentence, from 0; -1 where all are right.
            unit: Whose it is.
        Raises:
            RecordError: The note is no text, or no sentence has that number.
        """
        note = _note(fields)
        wrong = fields.get("wrong")
        if not isinstance(wrong, int) or isinstance(wrong, bool) or not -1 <= wrong < len(note.sentences):
            raise RecordError("the field 'wrong' is wrong", expected="the number of a sentence, or -1")
        if wrong >= 0:
            note = _about(note.sentences, wrong)
        return [Example(prompt=self.prompt(note), target="", unit=unit, label=LABELS[wrong >= 0])]

    def read(self, fields: Mapping[str, Any]) -> Note:
        """Read a note, check its decision by the rules, and all of it against the bundle where there is one.

        Raises:
            RecordError: The note is no text.
            NotFhirR4: The bundle is not FHIR R4.
        """
        note = _note(fields)
        rule = _rule(note.backing)
        own = (Doubt(number=note.place, rule=rule, confidence=_CONFIDENCE[rule]),) if rule in _CONFIDENCE else ()
        return replace(note, doubts=(*own, *_against_bundle(note.sentences, fields.get("bundle"))))

    def judge(self, source: Note, judge: Judge) -> Note:
        """The note with a classifier's word on its decision in place of the rules'."""
        wrong = float(softmax(judge.logits([self.prompt(source)]))[0, judge.labels.index("wrong")])
        own = (Doubt(number=source.place, rule="note.judged", confidence=round(wrong, 2)),) if wrong > 0.5 else ()
        return replace(source, doubts=(*own, *(d for d in source.doubts if d.rule.startswith("bundle."))))

    def prompt(self, source: Note) -> str:
        """Feature words for how far the note backs its decision."""
        return " ".join(_features(source.backing))

    def skeleton(self, source: Note) -> Skeleton:
        """A statement for each doubtful sentence, or that there is none."""
        statements = tuple(_statement(source, d) for d in source.doubts)
        if not statements:
            fact = Fact(kind="none", text=_NONE, path="note")
            statements = (Statement(rule="note.none", text=f"{_NONE[:1].upper()}{_NONE[1:]}.", facts=(fact,)),)
        return Skeleton(statements=statements, vocabulary=_VOCABULARY)


def sentences(note: str) -> tuple[str, ...]:
    """A note's sentences: by their numbers from 0 where each line begins with one, or else by their stops."""
    found: list[str] = []
    for line in note.splitlines():
        m = _NUMBERED.match(line)
        if m and int(m.group(1)) == len(found):
            found.append(m.group(2))
        elif found:
            found[-1] += f" {line}"
        else:
            found = []
            break
    if not found:
        found = [s for line in note.splitlines() for s in _BREAK.split(line)]
    return tuple(" ".join(s.split()) for s in found if s.strip())


def decision(note: Sequence[str]) -> int:
    """Which sentence states what was decided, rather than what was found or told; the later of two equals."""
    return max(range(len(note)), key=lambda i: (_decides(note, i), i))


def make_base(directory: Path) -> None:
    """Write the features base of this task into a new directory: it knows the rules' verdicts before any training."""
    from domains.features import make_features_base  # Imports torch: only where a base is made.

    odds = {"opposed": 0.9, "unbacked": 0.5, "silent": -0.2, "backed": -0.5}
    make_features_base(
        directory,
        labels=LABELS,
        known=_WORDS,
        dimension=1,
        prior={word: (-value / 2, value / 2) for word, value in odds.items()},
        scale=1.0,
    )


_STEPS = (0.02, 0.1, 0.3)
_WORDS = (
    "opposed", "unbacked", "silent", "backed", "first-for", "first-against", "named-1", "named-3", "named-later",
    *(f"{what}-{i}" for what in ("fits", "against") for i in range(len(_STEPS))),
)  # fmt: skip


def _features(found: Backing) -> list[str]:
    """The verdict, and by what it came about, in steps: few words, since there are few notes to learn from."""
    out = [_rule(found).removeprefix("note.")]
    out += [{1: "first-for", -1: "first-against"}[found.first]] if found.first else []
    if found.rank:
        out.append("named-1" if found.rank == 1 else "named-3" if found.rank <= 3 else "named-later")
    for what, value in (("fits", found.fits), ("against", found.against)):
        out += [f"{what}-{i}" for i, step in enumerate(_STEPS) if value > step]
    return out


def _note(fields: Mapping[str, Any]) -> Note:
    text = fields.get("note")
    if not isinstance(text, str) or not (found := sentences(text)):
        raise RecordError("the field 'note' is wrong", expected="text", do="map 'note' to the column that holds it")
    return _about(found, decision(found))


def _about(found: Sequence[str], place: int) -> Note:
    """A note whose decision is the sentence at a place, backed by all others."""
    rest = [s for i, s in enumerate(found) if i != place]
    return Note(sentences=tuple(found), place=place, backing=backing(found[place], believed(rest)))


def _decides(note: Sequence[str], i: int) -> float:
    """How much a sentence looks like a decision."""
    text = note[i]
    score = 2.0 * bool(_DECIDES.search(text)) + 2.0 * bool(_OPENS.match(text)) - 1.5 * bool(_TELLS.search(text))
    score += 0.5 * (len(text.split()) < 12) + 0.8 * (i == len(note) - 1) - (i == 0)
    return score + _names_something(text)


def _names_something(text: str) -> bool:
    """Whether the table knows anything that a sentence names."""
    return not backing(text, believed(())).silent


def _rule(found: Backing) -> str:
    if found.silent:
        return "note.silent"
    return "note.opposed" if found.net < -_EDGE else "note.unbacked" if found.net <= _EDGE else "note.backed"


def _against_bundle(found: Iterable[str], bundle: Any) -> tuple[Doubt, ...]:
    """What a note says and its bundle does not hold: figures, dates, drugs and denials, not words."""
    if bundle is None:
        return ()
    whole = bundle_of(bundle)
    validate(whole)
    checker = Checker(RecordTask().skeleton(visits(whole)[-1]))
    return tuple(
        Doubt(number=i, rule=f"bundle.{fault}", confidence=None)
        for i, sentence in enumerate(found)
        for fault in checker.check(sentence).faults
        if fault in _FAULTS
    )


def _statement(note: Note, doubt: Doubt) -> Statement:
    """Its number, the sentence itself, why it is doubted, by what, and how sure that is."""
    path = f"note.sentence[{doubt.number}]"
    if doubt.rule not in _WHY:
        raise ConfigError(f"the rule {doubt.rule!r} is not known", expected="one of " + ", ".join(_WHY))
    text = normalise(note.sentences[doubt.number]).strip(" \"'.,;:-") or "-"
    facts = [
        Fact(
            kind="number",
            text=str(doubt.number),
            path=path,
            value=Decimal(doubt.number),
            units=frozenset({""}),
            cues=frozenset({"sentence"}),
        ),
        Fact(kind="name", text=text, path=path),
    ]
    wording = f'Sentence {doubt.number} is doubted: "{text}", because {_WHY[doubt.rule]} (rule {doubt.rule}'
    if doubt.confidence is not None:
        value = Decimal(str(doubt.confidence))
        facts.append(
            Fact(
                kind="number",
                text=str(value),
                path=path,
                value=value,
                units=frozenset({""}),
                cues=frozenset({"confidence"}),
                derivation="how often such doubts were right"
                if doubt.rule in _CONFIDENCE
                else "classifier's probability",
            )
        )
        wording += f", confidence {value}"
    return Statement(rule=doubt.rule, text=f"{wording}).", facts=tuple(facts))
