"""`medicine.diagnosis`: symptoms and findings become ranked conditions with probabilities.

It supports and does not decide, and every document says so. Findings are codes or names of a code book: our own
(`COMMON`), or the file that the field `book` names. A record for training has `findings` and the `diagnosis`;
where it has a reference `differential`, its shares are learned, too. With `candidates` the question is which of
them it is, and `findings` may be any words.

What speaks for and against a condition, severities and questions come from the book; probabilities come from
the model, or without one from the book alone.

>>> task = DiagnosisTask()
>>> case = task.read({"findings": ["fever", "cough", "胸部压迫感"], "age": 61, "sex": "f"})
>>> task.prompt(case).split()[:4]
['?which', 'age:7', 'chest-pressure', 'cough']
>>> task.skeleton(case).statements[0].text
'This supports a decision and does not make it: a clinician decides.'
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Literal, Protocol, runtime_checkable

from domains.base import Example, Language, Sensitive, Skeleton
from domains.classifying import Judge, softmax
from domains.medicine._candidates import NO, YES, Choice, choice_statements, choice_words, read_choice
from domains.medicine._case import MARK, Case, read_case, whole_number
from domains.medicine._diagnosis_sentences import VOCABULARY, statements
from domains.medicine._diagnosis_words import DIFFERENTIAL, case_words, differential_words, make_base, prior
from domains.medicine._ranking import Ranking, book_probabilities, rank
from domains.medicine.conditions import COMMON, Conditions
from fedcore.errors import ConfigError, RecordError

__all__ = ["Assessment", "DiagnosisTask", "Explains", "partial_findings"]

_VIEWS = 12
"""Partial views of a record, each with the first finding and some others."""
_SHARES = 32
"""Examples that stand for a record's differential."""
_ASKED = (2, 8)


@runtime_checkable
class Explains(Protocol):
    """A judge that can say what each word of a prompt added: `domains.classifying.Classifier` can."""

    def contributions(self, prompt: str, label: str, against: Sequence[str] = ()) -> tuple[tuple[str, float], ...]:
        """Words and what each adds to a label's logit, less the mean of the others'."""
        ...


@dataclass(frozen=True, kw_only=True, repr=False)
class Assessment(Sensitive):
    """A case, and what is thought of it: of a book's conditions, or of given candidates."""

    case: Case | Choice
    temperature: float = 1.0
    """What logits are divided by; fitted on cases that are not scored."""
    probabilities: tuple[float, ...] = ()
    """Of the book's conditions or the candidates; empty until a model has judged."""
    weighed: tuple[tuple[str, float], ...] = ()
    """Codes of the findings that added most to the likeliest condition, where the model can tell."""

    @property
    def lang(self) -> Language:
        """The language of its document."""
        return self.case.lang

    @property
    def ranking(self) -> Ranking:
        """What to consider, of a case.

        Raises:
            ConfigError: It is a choice among candidates.
        """
        if not isinstance(self.case, Case):
            raise ConfigError("a choice among candidates has no ranking over a code book")
        return rank(self.case, self.probabilities or _by_book(self.case))


@dataclass(frozen=True, kw_only=True)
class DiagnosisTask:
    """Ranks conditions for a patient's findings.

    Fields: findings (codes or names; or pairs of a name and true or false), diagnosis (for training). Optional:
    age, sex, first (what the patient came with), book (path of a code book), candidates and department,
    differential (pairs of a condition and its share), asked (further findings in a training view), temperature.
    """

    name: str = "medicine.diagnosis"
    version: str = "1"
    kind: Literal["generate", "classify"] = "classify"
    fields: tuple[str, ...] = ("findings",)
    optional: tuple[str, ...] = (
        "diagnosis",
        "age",
        "sex",
        "first",
        "book",
        "candidates",
        "department",
        "differential",
        "asked",
        "temperature",
    )
    summary: str = "findings -> ranked conditions with probabilities, for and against, what to ask next"
    languages: tuple[Language, ...] = ("en", "zh")
    base: str = "diagnosis"
    styles: Mapping[str, float] = field(default_factory=lambda: {"plain": 0.1})

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """Render a record: partial views of its findings, and its differential where it has one.

        Raises:
            RecordError: There is neither a diagnosis nor a differential, or a field is wrong.
        """
        if fields.get("candidates"):
            return _choice_examples(fields, unit)
        case = read_case(fields)
        out = []
        if fields.get("diagnosis") is not None:
            label = _condition(fields["diagnosis"], case.book)
            for view in range(_VIEWS):
                part = {**fields, "findings": partial_findings(fields, unit, view)}
                out.append(Example(prompt=self.prompt(_held(part)), target="", unit=unit, label=label))
        if fields.get("differential") is not None:
            prompt = " ".join(differential_words(case))
            for name in _spread(_shares(fields["differential"], case.book), _SHARES):
                out.append(Example(prompt=prompt, target="", unit=unit, label=DIFFERENTIAL + name))
        if not out:
            raise RecordError("a record has nothing to learn", expected="the field 'diagnosis' or 'differential'")
        return out

    def read(self, fields: Mapping[str, Any]) -> Assessment:
        """Read and fully validate a case.

        Raises:
            RecordError: A field is missing or wrong.
        """
        return _held(fields)

    def prompt(self, source: Assessment) -> str:
        """Feature words that ask which condition it is; of candidates, those of the first."""
        if isinstance(source.case, Choice):
            return " ".join(choice_words(source.case, 0))
        return " ".join(case_words(source.case))

    def judge(self, source: Assessment, judge: Judge) -> Assessment:
        """Add a model's probabilities.

        Raises:
            ConfigError: The model knows other conditions than the case's book.
        """
        if isinstance(source.case, Choice):
            prompts = [" ".join(choice_words(source.case, i)) for i in range(len(source.case.candidates))]
            logits = judge.logits(prompts)[:, list(_places(judge, (NO, YES)))]
            odds = logits[:, 1] - logits[:, 0]
        else:
            names = [c.en for c in source.case.book.conditions]
            odds = judge.logits([self.prompt(source)])[0, list(_places(judge, names))]
            if isinstance(judge, Explains):
                top = names[int(odds.argmax())]
                found = judge.contributions(self.prompt(source), top, [n for n in names if n != top])
                source = replace(source, weighed=_weighed(source.case, found))
        p = softmax(odds[None, :], source.temperature)[0]
        return replace(source, probabilities=tuple(float(x) for x in p))

    def skeleton(self, source: Assessment) -> Skeleton:
        """The whole document: notice, what is known, ranked conditions, severe ones, what to ask next."""
        if isinstance(source.case, Choice):
            said = choice_statements(source.case, source.probabilities, source.temperature)
        else:
            said = statements(
                source.case,
                source.ranking,
                judged=bool(source.probabilities),
                temperature=source.temperature,
                weighed=source.weighed,
            )
        return Skeleton(statements=said, vocabulary=VOCABULARY, lang=source.lang)

    def make_base(self, directory: Path, book: Conditions = COMMON) -> None:
        """Write the features base of a code book into a new directory: what the book says, before any training."""
        make_base(directory, book)


def partial_findings(fields: Mapping[str, Any], unit: str, view: int) -> list[Any]:
    """What is known early: the first finding and a few others, drawn by unit and view.

    With a field `asked` there are so many others, without it two to eight.
    """
    random = Random(f"concordat/diagnosis/{unit}/{view}")  # noqa: S311
    found, first = list(fields["findings"]), fields.get("first")
    rest = [f for f in found if f != first]
    random.shuffle(rest)
    asked = whole_number(fields.get("asked"))
    return ([first] if first else []) + rest[: random.randint(*_ASKED) if asked is None else asked]


def _held(fields: Mapping[str, Any]) -> Assessment:
    """A record's case and temperature."""
    temperature = fields.get("temperature", 1.0)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0.05 <= temperature <= 20:
        raise RecordError("the field 'temperature' is wrong", expected="a number from 0.05 to 20")
    case = read_choice(fields) if fields.get("candidates") else read_case(fields)
    return Assessment(case=case, temperature=float(temperature))


def _weighed(case: Case, found: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """The findings that are there and whose words added most, at most three; only what speaks for."""
    totals: dict[str, float] = {}
    for word, value in found:
        for code in case.present:
            if word == code or word.startswith(tuple(code + mark for mark in (MARK, ":", "~", "<", ">"))):
                totals[code] = totals.get(code, 0.0) + value
    best = sorted(totals.items(), key=lambda t: (-t[1], t[0]))[:3]
    return tuple((code, value) for code, value in best if value > 0)


def _by_book(case: Case) -> tuple[float, ...]:
    """What the book alone says: each condition's log-odds, summed over the words of the case."""
    table, count = _prior(case.book), len(case.book.conditions)
    odds = [0.0] * count
    for word in case_words(case):
        for i, value in enumerate(table.get(word, ())[:count]):
            odds[i] += value
    return book_probabilities(odds)


_PRIORS: dict[int, tuple[Conditions, dict[str, list[float]]]] = {}


def _prior(book: Conditions) -> dict[str, list[float]]:
    """`prior`, kept for the book at hand."""
    held = _PRIORS.get(id(book))
    if held is None or held[0] is not book:
        _PRIORS.clear()
        held = _PRIORS[id(book)] = book, prior(book)
    return held[1]


def _places(judge: Judge, names: Sequence[str]) -> tuple[int, ...]:
    """Where a judge has the given labels."""
    place = {label: i for i, label in enumerate(judge.labels)}
    if any(n not in place for n in names):
        raise ConfigError(
            "the model knows other conditions than the code book", do="use a base that was made from this code book"
        )
    return tuple(place[n] for n in names)


def _condition(value: Any, book: Conditions) -> str:
    """The label of a condition's name.

    Raises:
        RecordError: The book has none such.
    """
    try:
        return book.condition(value).en
    except (KeyError, AttributeError):
        raise RecordError(
            f"the field 'diagnosis' or 'differential' names a condition that the code book {book.name} lacks"
        ) from None


def _shares(value: Any, book: Conditions) -> list[tuple[str, float]]:
    """A differential's conditions and shares, which sum to one.

    Raises:
        RecordError: It has another shape.
    """
    try:
        pairs = [(_condition(name, book), float(share)) for name, share in value]
    except (TypeError, ValueError):
        pairs = []
    total = sum(share for _, share in pairs)
    if not pairs or any(not 0 <= share < float("inf") for _, share in pairs) or total <= 0:
        raise RecordError("the field 'differential' is wrong", expected="pairs of a condition and its share")
    return [(name, share / total) for name, share in pairs]


def _spread(shares: Sequence[tuple[str, float]], count: int) -> list[str]:
    """Names, each as often as its share of `count` says, by equal steps along the shares."""
    out, place, reached = [], 0, shares[0][1]
    for step in range(count):
        while (step + 0.5) / count > reached and place + 1 < len(shares):
            place += 1
            reached += shares[place][1]
        out.append(shares[place][0])
    return out


def _choice_examples(fields: Mapping[str, Any], unit: str) -> list[Example]:
    """One example for each candidate: whether it is the one."""
    choice = read_choice(fields)
    if fields.get("diagnosis") not in choice.candidates:
        raise RecordError("the field 'diagnosis' is none of the candidates", expected="one of 'candidates'")
    return [
        Example(
            prompt=" ".join(choice_words(choice, i)),
            target="",
            unit=unit,
            label=YES if candidate == fields["diagnosis"] else NO,
        )
        for i, candidate in enumerate(choice.candidates)
    ]
