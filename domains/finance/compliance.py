"""`finance.compliance`: a text or policy against a body of rules, with literal quotes of both for every finding.

Rules parse both sides and compare figures, deadlines, modality and parties; a classifier, trained across
institutions, adds how probable a contradiction is. What is consulted and not contradicted is said to be so; what
no rule speaks of is said to be "not specified". Without a text, the clauses of the rules are held against each
other: what repeats and what contradicts.

    concordat generate finance.compliance --input policy.json

>>> task = ComplianceTask()
>>> source = task.read({"text": "Complaints must be answered within 30 days.",
...                     "rules": [{"id": "3.1", "text": "Complaints must be answered within 15 days."}]})
>>> print(task.skeleton(source).statements[0].text)
Conflict, looser deadline: clause 3.1 says "Complaints must be answered within 15 days." The text says \
"Complaints must be answered within 30 days." Confidence: high.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from domains._clause_files import clauses_of_text
from domains.base import Example, Sensitive, Skeleton
from domains.classifying import Judge, softmax
from domains.finance._compliance_wording import statements, vocabulary
from domains.finance._cross import cross
from domains.finance._pairs import LABELS, pair_words
from domains.finance._review import Body, Finding, Opinion
from domains.knowledge import Clause, KnowledgeBase
from domains.retrieval import is_chinese
from domains.structured import Asks
from fedcore.errors import ConfigError, ModelError, RecordError

__all__ = ["ComplianceTask", "Pair", "Review"]

_RELATIONS = ("contradicts", "agrees", "neither")
_ANSWER = {
    "type": "object",
    "properties": {"relation": {"enum": list(_RELATIONS)}},
    "required": ["relation"],
    "additionalProperties": False,
}
"""The form of a model's answer about two quotes."""
_SURE = 0.9
"""From this probability on, the classifier's contradiction is a finding where the rules found none."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Pair(Sensitive):
    """A text and one clause, for training and for the classifier."""

    text: str
    clause: str
    spans: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Review(Sensitive):
    """A text, the rules it was held against, and what was found."""

    text: str
    lang: Literal["en", "zh"]
    findings: tuple[Finding, ...]
    stamps: tuple[Mapping[str, Any], ...] = ()
    """Name, version and digest of each body of rules."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON value: every finding with both quotes."""
        return {"findings": [f.to_dict() for f in self.findings], "knowledge": [dict(s) for s in self.stamps]}


class ComplianceTask:
    """Hold a text against a body of rules.

    To train: `text`, `clause` and `label` ("entailment", "contradiction" or "not mentioned"); `spans` where the
    text's sentences are known. To review: `text`, and `rules` (clauses as objects, or a document's text) or a
    knowledge base of clauses; without `text` the rules are held against each other.
    """

    name: str = "finance.compliance"
    version: str = "1"
    kind: Literal["generate", "classify"] = "classify"
    fields: tuple[str, ...] = ("text", "clause", "label")
    optional: tuple[str, ...] = ("spans", "rules", "knowledge", "lang")
    summary: str = "a text or policy against a body of rules: conflicts, with the clause and the passage quoted"
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    base: str = "compliance-features"
    knowledge: tuple[str, ...] = ("clauses",)

    def make_base(self, directory: Path) -> None:
        """Write the features base of this task into a new directory; it knows what we expect of each word."""
        from domains.finance.compliance_base import make_base  # Imports torch: only where a base is made.

        make_base(directory)

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """One example a pair.

        Raises:
            RecordError: A field is missing or wrong.
        """
        label = str(fields.get("label", "")).strip().lower().replace("_", " ")
        if label not in LABELS:
            raise RecordError(
                "a record's label is not known", expected="one of " + ", ".join(LABELS), do="map 'label' to its column"
            )
        return [Example(prompt=self.prompt(_pair(fields)), target="", unit=unit, label=label)]

    def read(self, fields: Mapping[str, Any]) -> Pair | Review:
        """A pair where there is a `clause`; else a review of the text, or of the rules themselves.

        Raises:
            RecordError: A field is missing or wrong.
            ConfigError: There are no rules.
        """
        if "clause" in fields:
            return _pair(fields)
        text = fields.get("text") or ""
        if not isinstance(text, str):
            raise RecordError("the field 'text' is wrong", expected="text", got=type(text).__name__)
        bodies = [Body(base, fields.get("embeds")) for base in _bases(fields)]
        if text.strip():
            findings = tuple(f for body in bodies for f in body.review(text))
            findings = findings if len(bodies) < 2 else _merged(findings)
        else:
            findings = tuple(cross(bodies))
        lang = fields.get("lang") or ("zh" if is_chinese(text or bodies[0].base.clauses[0].text) else "en")
        if lang not in self.languages:
            raise RecordError("the field 'lang' is wrong", expected="en or zh")
        return Review(text=text, lang=lang, findings=findings, stamps=tuple(body.base.stamp for body in bodies))

    def prompt(self, source: Pair | Review) -> str:
        """The feature words of a pair; a review is written by rules alone."""
        if isinstance(source, Review):
            return ""
        return pair_words(source.text, source.clause, source.spans)

    def judge(self, source: Pair | Review, judge: Judge) -> Pair | Review:
        """Add the probability of a contradiction to every finding that has both quotes.

        A probability of 0.9 or more makes a finding of its own where the rules found nothing.
        """
        if isinstance(source, Pair):
            return source
        both = [i for i, f in enumerate(source.findings) if f.quote and f.clause_quote]
        if not both:
            return source
        words = [pair_words(source.findings[i].quote, source.findings[i].clause_quote) for i in both]
        column = judge.labels.index("contradiction")
        findings = list(source.findings)
        for i, row in zip(both, softmax(judge.logits(words)), strict=True):
            found, p = findings[i], round(float(row[column]), 3)
            findings[i] = replace(found, probability=p)
            if found.verdict == "no conflict found" and p >= _SURE:
                findings[i] = replace(
                    found, verdict="conflict", kind="contradiction", rule="classifier", confidence=p, probability=p
                )
        return replace(source, findings=tuple(findings))

    def ask(self, source: Pair | Review, asks: Asks) -> Pair | Review:
        """Add a model's opinion to every finding that has both quotes. It stands beside the verdict and changes none.

        Raises:
            ConcordatError: As for `Asks.ask`.
        """
        if isinstance(source, Pair):
            return source
        both = [i for i, f in enumerate(source.findings) if f.quote and f.clause_quote]
        said = asks.ask([_question(source.findings[i], source.lang) for i in both], _ANSWER) if both else []
        findings = list(source.findings)
        for i, answer in zip(both, said, strict=True):
            findings[i] = replace(findings[i], opinion=_opinion(answer))
        return replace(source, findings=tuple(findings))

    def skeleton(self, source: Pair | Review) -> Skeleton:
        """A statement for each finding, conflicts first.

        Raises:
            ConfigError: The source is a pair, of which nothing is written.
        """
        if isinstance(source, Pair):
            raise ConfigError("a single pair is classified, not written about", do="give 'text' and 'rules'")
        return Skeleton(
            statements=statements(source.findings, source.lang),
            vocabulary=vocabulary(source.lang),
            lang=source.lang,
        )


def _question(finding: Finding, lang: Literal["en", "zh"]) -> str:
    """What a model is asked about two quotes."""
    rule, text = " ".join(finding.clause_quote.split()), " ".join(finding.quote.split())
    if lang == "zh":
        return f"条款：{rule}\n文本：{text}\n文本与条款矛盾（contradicts）、一致（agrees）还是无关（neither）？\n回答："
    return (
        f"Clause: {rule}\nText: {text}\n"
        "Does the text contradict the clause (contradicts), agree with it (agrees), or neither?\nAnswer:"
    )


def _opinion(answer: Any) -> Opinion:
    """The opinion in an answer; a server may not have held to the form.

    Raises:
        ModelError: It is of another form.
    """
    value = answer.get("relation") if isinstance(answer, Mapping) else None
    if value not in _RELATIONS:
        raise ModelError("the model's answer is not of the agreed form", do="use a server that holds to schemas")
    return cast("Opinion", value)


def _pair(fields: Mapping[str, Any]) -> Pair:
    text, clause = fields.get("text"), fields.get("clause")
    if not isinstance(text, str) or not text.strip() or not isinstance(clause, str) or not clause.strip():
        raise RecordError(
            "a record has no text or no clause", expected="text in the fields 'text' and 'clause'", do="map both"
        )
    spans = fields.get("spans")
    if spans is None:
        return Pair(text=text, clause=clause)
    try:
        cut = tuple((int(a), int(b)) for a, b in spans)
    except (TypeError, ValueError):
        raise RecordError("the field 'spans' is wrong", expected="pairs of positions in the text") from None
    if any(not 0 <= a < b <= len(text) for a, b in cut):
        raise RecordError("a span lies outside of its text", expected="start < end <= length")
    return Pair(text=text, clause=clause, spans=cut)


def _bases(fields: Mapping[str, Any]) -> list[KnowledgeBase]:
    """The bodies of rules: those that are given with the text, and the knowledge bases."""
    out = [base for base in (fields.get("knowledge") or {}).values() if base.kind == "clauses"]
    rules = fields.get("rules")
    if rules:
        out.append(KnowledgeBase(name="rules", clauses=tuple(_rules(rules))))
    if not out:
        raise ConfigError(
            "there are no rules to hold a text against",
            expected="the field 'rules', or a knowledge base of clauses",
            do="concordat knowledge add NAME PATH",
        )
    return out


def _rules(value: Any) -> Sequence[Clause]:
    if isinstance(value, str):
        return clauses_of_text(value, "")
    try:
        names = ("id", "text", "source", "title", "lang", "date")
        return [Clause(**{k: str(row[k]) for k in names if row.get(k)}) for row in value]
    except (TypeError, KeyError, AttributeError):
        raise RecordError("the field 'rules' is wrong", expected="objects with 'id' and 'text', or a text") from None


def _merged(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Of several bodies: a passage is "not specified" only where none of them speaks of it."""
    spoken = {f.start for f in findings if f.quote and f.verdict != "not specified"}
    seen: set[int] = set()
    out = []
    for f in findings:
        if f.verdict == "not specified":
            if f.start in spoken or f.start in seen:
                continue
            seen.add(f.start)
        out.append(f)
    return tuple(out)
