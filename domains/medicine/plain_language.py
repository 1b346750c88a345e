"""`medicine.plain-language`: a clinical text in words that a patient understands, sentence beside sentence.

Terms are replaced from a glossary. A check that knows nothing of the rewriting then reads both sentences: where
figures, units, dates, negations or sides differ, the sentence stays as it is and the plain words follow the
terms in brackets. A model may word a sentence anew, and its wording stands only where it holds the same
statements and the same words of content in the same order.

>>> task = PlainLanguageTask()
>>> source = task.read({"text": "HTN, well controlled. Denies dyspnea. Lisinopril 10 mg QD."})
>>> [p.plain for p in source.passages]
['High blood pressure, well controlled.', 'Denies trouble breathing.', 'Lisinopril 10 mg every day.']
>>> [s.rule for s in task.compose(source, None, Settings()).sentences]
['en.htn', 'en.dyspnea', 'en.qd']
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from domains._english import ENGLISH
from domains._figures import numbers
from domains._han import HAN
from domains._han_figures import han_numbers
from domains.base import Example, Fact, Language, Sensitive, Skeleton, Statement
from domains.checks import Mention
from domains.medicine._kept import stated
from domains.medicine.glossary import Use, bracketed, find, replaced
from domains.pipeline import Document, Sentence, Settings, WritesText
from fedcore.errors import RecordError

__all__ = ["Passage", "PlainLanguageTask", "Text"]

_CHARACTERS = 200_000
_BATCH = 16
"""Sentences that a model words at once."""
_CONTENT = re.compile(r"[^\W_]+(?:['.,/-][^\W_]+)*|[%°]")
_LINKING = {
    "en": frozenset("a an the is are was were be been being and that which of this these those it its also".split()),  # noqa: SIM905
    "zh": frozenset("的了是在和与及并且也这那其该"),
}
"""Words that a model may add, drop or move."""
_HAN = re.compile(r"[\u3400-\u9fff]")
_PLAIN = {"en": "Plain words:", "zh": "通俗说法："}


@dataclass(frozen=True, kw_only=True, repr=False)
class Passage(Sensitive):
    """One sentence: as written, in plain words, and the terms that were replaced or explained."""

    original: str
    plain: str
    uses: tuple[Use, ...]
    places: tuple[tuple[int, int], ...]
    """Where the plain words of each use stand in `plain`; empty where they stand in brackets."""

    @property
    def rule(self) -> str:
        """The names of the glossary's entries, or that nothing was changed."""
        names = ", ".join(dict.fromkeys(u.entry for u in self.uses))
        kind = "" if self.places or not self.uses else "plain.bracketed: "
        return kind + names if self.uses else "plain.as-written"


@dataclass(frozen=True, kw_only=True, repr=False)
class Text(Sensitive):
    """A generator's input: sentences of one language."""

    lang: Language
    sentences: tuple[str, ...]

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        """Each sentence with its plain words."""
        return tuple(_passage(s, self.lang) for s in self.sentences)


@dataclass(frozen=True, kw_only=True)
class PlainLanguageTask:
    """The task. It holds no state."""

    name: str = "medicine.plain-language"
    version: str = "1"
    kind: Literal["generate", "classify"] = "generate"
    fields: tuple[str, ...] = ("text", "plain")
    optional: tuple[str, ...] = ("lang",)
    summary: str = "a clinical text in words that a patient understands, side by side with the original"
    languages: tuple[Language, ...] = ("en", "zh")
    styles: Mapping[str, float] = field(default_factory=lambda: {"plain": 0.1})

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """Render a record: an example for each sentence where both texts have as many, else one for all.

        Raises:
            RecordError: A text is missing.
        """
        source = self.read(fields)
        plain = _text(fields, "plain")
        targets = tuple(_sentences(plain, source.lang))
        if len(targets) == len(source.sentences):
            pairs = list(zip(source.sentences, targets, strict=True))
        else:
            pairs = [(" ".join(source.sentences), plain)]
        return [Example(prompt=_prompt(s, source.lang), target=" " + t.strip(), unit=unit) for s, t in pairs]

    def read(self, fields: Mapping[str, Any]) -> Text:
        """Cut a text into sentences; without `lang`, it is Chinese where most of its letters are.

        Raises:
            RecordError: There is no text, it is too long, or its language is not known.
        """
        text = _text(fields, "text")
        given = fields.get("lang")
        if given not in (None, "", "en", "zh"):
            raise RecordError("the field 'lang' is wrong", expected="'en' or 'zh'")
        chinese = given == "zh" if given else 2 * len(_HAN.findall(text)) > len(re.findall(r"[^\W\d_]", text))
        lang: Language = "zh" if chinese else "en"
        return Text(lang=lang, sentences=tuple(_sentences(text, lang)))

    def prompt(self, source: Text) -> str:
        """All sentences with their terms; `compose` gives a model one sentence at a time."""
        return "\n".join(_prompt(s, source.lang) for s in source.sentences)

    def skeleton(self, source: Text) -> Skeleton:
        """A statement for each sentence: its plain words as a whole, in the order of the text."""
        statements = [
            Statement(
                rule=p.rule,
                text=p.plain,
                facts=(Fact(kind="name", text=p.plain, path=f"text.sentence[{i}]", derivation=_derivation(p.uses)),),
            )
            for i, p in enumerate(source.passages)
            if any(c.isalpha() for c in p.plain)
        ]
        return Skeleton(statements=tuple(statements), vocabulary=frozenset(), lang=source.lang)

    def compose(self, source: Text, writer: WritesText | None, settings: Settings) -> Document:
        """The whole document, every sentence beside its original.

        Args:
            source: What `read` gave.
            writer: A model that may word the sentences that hold terms; None leaves them to the glossary.
            settings: Length, temperature and seed.
        """
        worded = _worded(source, writer, settings) if writer is not None else {}
        sentences, replaced_count = [], 0
        for i, passage in enumerate(source.passages):
            text = worded.get(i)
            failed = text is not None and not _holds(text, passage, source.lang)
            replaced_count += failed
            sentences.append(_sentence(i, passage, source.lang, None if failed else text, failed))
        return Document(
            task=self.name,
            task_version=self.version,
            sentences=tuple(sentences),
            rewritten=0,
            replaced=replaced_count,
            repeated=0,
            added=0,
        )


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RecordError(
            f"a record has no field {name!r}", expected="a text", do=f"map {name!r} to the column that holds it"
        )
    if len(value) > _CHARACTERS:
        raise RecordError(f"the field {name!r} is too long", expected=f"up to {_CHARACTERS:,} characters")
    return value


def _sentences(text: str, lang: Language) -> Iterator[str]:
    """Sentences as they are written, but for white space."""
    breaks = HAN.breaks if lang == "zh" else ENGLISH.breaks
    for line in text.splitlines():
        line, start = " ".join(line.split()), 0
        for stop, following in breaks(line):
            yield line[start:stop]
            start = following
        if line[start:].strip():
            yield line[start:].strip()


def _passage(sentence: str, lang: Language) -> Passage:
    """Plain words in place of the terms, or beside them where the sentence would not say the same."""
    uses = find(sentence, lang)
    plain, places = replaced(sentence, uses, lang)
    if stated(plain, lang) == stated(sentence, lang):
        return Passage(original=sentence, plain=plain, uses=uses, places=tuple(places))
    return Passage(original=sentence, plain=bracketed(sentence, lang), uses=uses, places=())


def _derivation(uses: Sequence[Use]) -> str:
    return "; ".join(f"glossary {u.entry}" for u in uses)


def _prompt(sentence: str, lang: Language) -> str:
    """A sentence, its terms with their plain words, and the call for the plain sentence."""
    terms = dict.fromkeys(f"{u.term} = {u.plain}" for u in find(sentence, lang))
    listed = f"{'; '.join(terms)}\n" if terms else ""
    return f"{sentence}\n{listed}{_PLAIN[lang]}"


def _worded(source: Text, writer: WritesText, settings: Settings) -> dict[int, str]:
    """The model's wording of each sentence that holds a term."""
    asked = [i for i, p in enumerate(source.passages) if p.places]
    out: dict[int, str] = {}
    for start in range(0, len(asked), _BATCH):
        batch = asked[start : start + _BATCH]
        texts = writer.write(
            [_prompt(source.sentences[i], source.lang) for i in batch],
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            seed=settings.seed + start,
        )
        out |= {i: t.strip().partition("\n")[0].strip() for i, t in zip(batch, texts, strict=True)}
    return out


def _holds(text: str, passage: Passage, lang: Language) -> bool:
    """Whether a wording says what the passage says: the same statements, the same words of content in order."""
    return (
        stated(text, lang) == stated(passage.original, lang)
        and _content(text, lang) == _content(passage.plain, lang)
        and text[-1:] == passage.plain[-1:]
    )


def _content(text: str, lang: Language) -> list[str]:
    """Words, or Chinese characters, but for those that only link others."""
    normal = (HAN if lang == "zh" else ENGLISH).normalise(text).lower()
    found = _CONTENT.findall(normal)
    pieces = [p for w in found for p in (re.findall(r"[\u3400-\u9fff]|[^\u3400-\u9fff]+", w) if lang == "zh" else [w])]
    return [p for p in pieces if p not in _LINKING[lang]]


def _sentence(i: int, passage: Passage, lang: Language, model: str | None, failed: bool) -> Sentence:
    """A sentence of the document with a mention for every term and every figure."""
    path = f"text.sentence[{i}]"
    text = passage.plain if model is None else model
    mentions = []
    for use, (start, end) in zip(passage.uses, passage.places, strict=False) if model is None else ():
        fact = Fact(kind="name", text=use.term, path=path, derivation=f"glossary {use.entry}")
        mentions.append(Mention(text=text[start:end], start=start, end=end, facts=(fact,)))
    covered = [(m.start, m.end) for m in mentions]
    for figure in han_numbers(text) if lang == "zh" else numbers(text):
        if not any(a <= figure.start < b for a, b in covered):
            held = text[figure.start : figure.end]
            fact = Fact(kind="number", text=held, path=path, value=figure.value)
            mentions.append(Mention(text=held, start=figure.start, end=figure.end, facts=(fact,)))
    whole = Fact(kind="name", text=text, path=path, derivation=_derivation(passage.uses))
    return Sentence(
        text=text,
        source="skeleton" if model is None else "model",
        rule=passage.rule,
        mentions=tuple(sorted(mentions, key=lambda m: m.start)),
        claims=frozenset({whole.claim}),
        replaces=failed,
        original=passage.original,
    )
