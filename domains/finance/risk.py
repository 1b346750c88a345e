"""`finance.risk`: figures, events and text become risk factors in words, each with category, evidence and level.

Levels are given by rules with thresholds (`rules/risk.yaml`), on figures, on computed ratios, on counts of
events and on the words of sentences; a classifier may judge sentences too. A model words what was found, where
its sentences pass the check. A figure that an input lacks is said to be not specified.

>>> task = RiskTask()
>>> figures = [{"name": "Current assets", "value": 80, "period": "2024"},
...            {"name": "Current liabilities", "value": 100, "period": "2024"}]
>>> statement = task.skeleton(task.read({"figures": figures})).statements[0]
>>> statement.text.rpartition(":")[0]
'Current ratio: 0.8 in 2024, high liquidity risk, being below the threshold of 1'
>>> statement.rule
'liquidity.current-ratio@1'
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import Any, Literal

from domains.base import Example, Language, Sensitive, Skeleton
from domains.classifying import Judge, softmax
from domains.finance.risk_figures import Event, Figures, Finding, as_json, look, read_events, read_figures
from domains.finance.risk_rules import LANGUAGES, LEVELS, Level, Phrase, Rule, Rules, load_rules
from domains.finance.risk_text import Passage, RiskTextTask, category_of, sentences
from domains.finance.risk_wording import Factor, Wording
from domains.finance.table import read_tables
from fedcore.errors import RecordError

__all__ = ["RiskSource", "RiskTask"]

_FIELDS = ("figures", "tables", "events", "text")
_LIMIT = 2_000
_RISK = "risk"
"""The label of a classifier that says that a sentence is one."""


@dataclass(frozen=True, kw_only=True, repr=False)
class RiskSource(Sensitive):
    """A generator's input. `events` is None where nothing is said of events."""

    figures: Figures
    events: tuple[Event, ...] | None
    passages: tuple[Passage, ...]
    lang: Language
    probabilities: Mapping[int, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    """Number of a passage -> how probable a classifier holds it to be a risk."""
    categories: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    """Number of a passage -> the category that a classifier gives it."""


@dataclass(frozen=True, kw_only=True)
class RiskTask:
    """The task. It holds its rules alone."""

    name: str = "finance.risk"
    version: str = "1"
    kind: Literal["generate", "classify"] = "generate"
    fields: tuple[str, ...] = ("paragraph",)
    optional: tuple[str, ...] = (*_FIELDS, "lang")
    summary: str = "figures, events and text -> risk factors with category, evidence and level"
    languages: tuple[Language, ...] = LANGUAGES
    styles: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"plain": 0.1, "narrative": 0.5}))
    rules: Rules = field(default_factory=load_rules, repr=False)

    @property
    def rule_versions(self) -> Mapping[str, str]:
        """The version of the rules that decide, with the start of their digest, for a document's stamp."""
        return {"risk": f"{self.rules.version} ({self.rules.digest[:12]})"}

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """Render a record.

        Raises:
            RecordError: There is nothing to look at, or no paragraph.
        """
        paragraph = fields.get("paragraph")
        if not isinstance(paragraph, str) or not paragraph.strip():
            raise RecordError(
                "a record has no paragraph",
                expected="text in the field 'paragraph'",
                do="map 'paragraph' to its column",
            )
        return [Example(prompt=self.prompt(self.read(fields)), target=" " + paragraph.strip(), unit=unit)]

    def read(self, fields: Mapping[str, Any]) -> RiskSource:
        """Read figures, tables, events and text, at least one of them.

        Raises:
            RecordError: Something cannot be read; says where, never content.
        """
        given = {k: as_json(fields[k], k) if k != "text" else fields[k] for k in _FIELDS if fields.get(k) is not None}
        if not given:
            raise RecordError("a record has nothing to look at", expected="one of the fields " + ", ".join(_FIELDS))
        lang = fields.get("lang") or "en"
        if lang not in LANGUAGES:
            raise RecordError("the field 'lang' is wrong", expected="en or zh")
        tables = read_tables(given.get("tables", []))
        return RiskSource(
            figures=read_figures(given.get("figures", []), tables, self.rules),
            events=read_events(given["events"], self.rules) if "events" in given else None,
            passages=_passages(given.get("text", [])),
            lang=lang,
        )

    def judge(self, source: RiskSource, judge: Judge) -> RiskSource:
        """Add what a classifier says of each sentence: how probable a risk it is, or its category."""
        if not source.passages:
            return source
        task = RiskTextTask()
        prompts = [task.prompt(task.read({"text": p.text})) for p in source.passages]
        chances = softmax(judge.logits(prompts))
        if _RISK in judge.labels:
            place = judge.labels.index(_RISK)
            said = {p.number: _rounded(float(row[place])) for p, row in zip(source.passages, chances, strict=True)}
            return replace(source, probabilities=MappingProxyType(said))
        best = {p.number: judge.labels[int(row.argmax())] for p, row in zip(source.passages, chances, strict=True)}
        known = {n: label for n, label in best.items() if label in self.rules.categories}
        return replace(source, categories=MappingProxyType(known))

    def findings(self, source: RiskSource) -> tuple[tuple[Finding, ...], tuple[Rule, ...]]:
        """What the threshold rules found, the worst level first; and the rules that lack a figure."""
        looked = [(rule, look(rule, source.figures, source.events)) for rule in self.rules.rules]
        found = [f for _, f in looked if f is not None]
        ordered = sorted(found, key=lambda f: LEVELS.index(f.level))
        return tuple(ordered), tuple(rule for rule, f in looked if f is None)

    def factors(self, source: RiskSource) -> tuple[Factor, ...]:
        """The sentences that are risks, the worst first: by the words in them, or by a classifier's word."""
        found = [f for p in source.passages if (f := self._factor(source, p)) is not None]
        return tuple(sorted(found, key=lambda f: LEVELS.index(f.level)))

    def prompt(self, source: RiskSource) -> str:
        """What was found, a line each, then the marker after which the model writes."""
        wording = Wording(self.rules, source.lang)
        found, _ = self.findings(source)
        lines = [wording.line(f) for f in found if f.level != "low"] + [wording.quoted(f) for f in self.factors(source)]
        return "\n".join(
            ["Risks:" if source.lang == "en" else "风险：", *lines, "Text:" if source.lang == "en" else "正文："]
        )

    def skeleton(self, source: RiskSource) -> Skeleton:
        """A statement for each finding and risky sentence, and one for all that is not specified."""
        wording = Wording(self.rules, source.lang)
        found, lacking = self.findings(source)
        factors = self.factors(source)
        statements = [wording.finding(f) for f in found]
        statements += [wording.factor(f) for f in factors]
        if not factors and all(f.level == "low" for f in found):
            statements.append(wording.nothing_found())
        if lacking:
            statements.append(wording.not_specified(lacking))
        if source.figures.unknown:
            statements.append(wording.not_looked_at(source.figures.unknown))
        return Skeleton(
            statements=tuple(statements),
            vocabulary=wording.vocabulary,
            extra=(*(wording.why(f.rule, wording.label(f.rule)) for f in found),),
            lang=source.lang,
        )

    def _factor(self, source: RiskSource, passage: Passage) -> Factor | None:
        hits = [p for p in self.rules.phrases if p.holds(passage.text)]
        phrase = min(hits, key=lambda p: LEVELS.index(p.level), default=None)
        chance = source.probabilities.get(passage.number)
        judged = next((level for level, least in self.rules.judged if chance is not None and chance >= least), None)
        if phrase is None and judged is None:
            return None
        by_words = phrase is not None and (judged is None or LEVELS.index(phrase.level) <= LEVELS.index(judged))
        return Factor(
            passage=passage,
            category=self._category(source, passage, phrase),
            level=_worst(phrase, judged),
            phrase=phrase if by_words else None,
            probability=chance if judged is not None else None,
        )

    def _category(self, source: RiskSource, passage: Passage, phrase: Phrase | None) -> str | None:
        if passage.number in source.categories:
            return source.categories[passage.number]
        return phrase.category if phrase is not None else category_of(passage.text, self.rules.terms)


def _worst(phrase: Phrase | None, judged: Level | None) -> Level:
    """The worse of two levels, one of which is there."""
    return min((x for x in (phrase.level if phrase else None, judged) if x is not None), key=LEVELS.index)


def _rounded(probability: float) -> Decimal:
    """Two decimals, and never certain."""
    rounded = Decimal(repr(probability)).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return min(max(rounded, Decimal("0.01")), Decimal("0.99"))


def _passages(value: Any) -> tuple[Passage, ...]:
    """The sentences of a text, or of a list of them.

    Raises:
        RecordError: It is neither, or too long.
    """
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(t, str) for t in value)):
        raise RecordError("the field 'text' is wrong", expected="text, or a list of sentences")
    found = sentences(value)
    if len(found) > _LIMIT:
        raise RecordError("the text is too long", expected=f"at most {_LIMIT} sentences")
    return found
