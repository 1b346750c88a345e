"""A text against a body of rules: which clause each passage belongs to, what conflicts, and what nothing says.

Each sentence of the text is laid beside the sentences of the clauses that retrieval finds, and belongs to the
one it resembles most, leaning to the clause that the rest of the text belongs to. Then `_conflicts` compares
the two. A **Finding** quotes both sides word for word: a quote is a slice of its text, never a rewording.

>>> from domains.knowledge import Clause, KnowledgeBase
>>> rule = Clause(id="7", text="A complaint must be answered within 15 days. Records must be kept for six years.")
>>> body = Body(KnowledgeBase(name="conduct", clauses=(rule,)))
>>> found = body.review("A complaint must be answered within 20 days.")
>>> [(f.verdict, f.kind, f.quote) for f in found]
[('conflict', 'looser deadline', 'A complaint must be answered within 20 days.'), ('conflict', 'missing duty', '')]
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from domains.base import Sensitive
from domains.dense import Embeds, NgramVectors
from domains.finance._clause_words import PARTIES
from domains.finance._clauses import Norm, norms, parties_of
from domains.finance._conflicts import RELATED, Kind, compare, features, missing, similarity
from domains.knowledge import KnowledgeBase
from domains.retrieval import is_chinese

__all__ = ["Body", "Finding", "Opinion", "Verdict"]

Verdict = Literal["conflict", "no conflict found", "not specified", "duplicate"]

Opinion = Literal["", "contradicts", "agrees", "neither"]

_CANDIDATES = 6
"""Clauses that are consulted for each passage, of those that words find and again of those that vectors find."""
_SMALL = 200
"""A body of so few clauses names its parties rarely."""
_WORDED = 0.5
"""From this similarity on, a sentence words the clause's, and the clause's other duties are looked for."""
_TOGETHER = 0.15
"""How much the clause of the rest of the text is preferred."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Finding(Sensitive):
    """What is said of one passage and one clause.

    Both quotes are slices of their texts; `quote` is empty where the text lacks what the clause asks for, and
    clause and `clause_quote` are empty where no rule speaks of the passage.
    """

    verdict: Verdict
    kind: Kind | Literal[""] = ""
    rule: str = ""
    clause_id: str = ""
    source: str = ""
    title: str = ""
    clause_quote: str = ""
    quote: str = ""
    start: int = 0
    """Where the quote begins in the text."""
    confidence: float = 0.0
    similarity: float = 0.0
    other_id: str = ""
    """The second clause, where two clauses are held against each other; `quote` is its."""
    probability: float | None = None
    """Of a contradiction, by the classifier, where one was at hand."""
    opinion: Opinion = ""
    """What a model that was asked sees; it decides nothing."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            "verdict": self.verdict,
            "kind": self.kind,
            "rule": self.rule,
            "clause": {"id": self.clause_id, "source": self.source, "title": self.title, "quote": self.clause_quote},
            "passage": {"quote": self.quote, "start": self.start, "clause": self.other_id},
            "confidence": self.confidence,
            "similarity": self.similarity,
            "probability": self.probability,
            "opinion": self.opinion,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """A norm and the words it is about."""

    norm: Norm
    words: Counter[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Match:
    """A passage's sentence beside a clause's."""

    passage: int
    clause: int
    sentence: int
    alike: float


class Body:
    """A knowledge base read as norms; a clause is read once, when it is first consulted.

    Args:
        base: The rules.
        embeds: Finds clauses by meaning beside BM25; for Chinese rules character n-grams do where none is given.
    """

    def __init__(self, base: KnowledgeBase, embeds: Embeds | None = None) -> None:
        self.base = base
        self._embeds = embeds or (NgramVectors() if is_chinese(base.clauses[0].text) else None)
        self._read: dict[int, list[_Read]] = {}

    @cached_property
    def parties(self) -> tuple[str, ...]:
        """Whoever the rules bind, beside those known."""
        often = 3 if len(self.base.clauses) > _SMALL else 1
        return (*PARTIES, *sorted(parties_of((c.text for c in self.base.clauses), often)))

    def review(self, text: str, *, without: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
        """Lay a text beside the rules.

        Args:
            text: A policy, a contract, or another rule.
            without: Ids of clauses that are not consulted, such as the text's own.
        Returns:
            For each passage that says something: its conflicts, or that none was found, or that no rule
            speaks of it; then the duties of the consulted clauses that the text lacks.
        """
        read = self._reads(text)
        matches = self._matches(text, read, without)
        out: list[Finding] = []
        for i, passage in enumerate(read):
            match = matches.get(i)
            if match is None:
                if passage.norm.modals or passage.norm.quantities:
                    out.append(_silent(passage.norm))
                continue
            out += self._judge(match, passage)
        out += self._lacking(matches, read)
        return tuple(out)

    def pairs(self, text: str) -> list[tuple[str, str]]:
        """(passage, clause sentence) for each passage that belongs to a clause, for a classifier."""
        read = self._reads(text)
        matches = self._matches(text, read, frozenset())
        return [
            (read[i].norm.segment.text, self._clause(m.clause)[m.sentence].norm.segment.text)
            for i, m in sorted(matches.items())
        ]

    def _reads(self, text: str) -> list[_Read]:
        return [_Read(norm=n, words=features(n)) for n in norms(text, self.parties)]

    def _clause(self, index: int) -> list[_Read]:
        if index not in self._read:
            self._read[index] = self._reads(self.base.clauses[index].text)
        return self._read[index]

    def _matches(self, text: str, read: list[_Read], without: frozenset[str]) -> dict[int, _Match]:
        """The clause sentence that each passage belongs to."""
        candidates = self._candidates(text, read, without)
        best: dict[tuple[int, int], _Match] = {}
        together: Counter[int] = Counter()
        total = sum(r.words.total() for r in read) or 1
        for i, passage in enumerate(read):
            for c in candidates:
                options = [
                    _Match(passage=i, clause=c, sentence=s, alike=similarity(passage.words, r.words))
                    for s, r in enumerate(self._clause(c))
                ]
                top = self._best(options, passage)
                if top is not None and top.alike >= RELATED:
                    best[i, c] = top
                    together[c] += round(1000 * top.alike * passage.words.total() / total)
        out: dict[int, _Match] = {}
        for i in range(len(read)):
            own = [m for (p, _), m in best.items() if p == i]
            if own:
                out[i] = max(own, key=lambda m: m.alike + _TOGETHER * together[m.clause] / 1000)
        return out

    def _best(self, options: list[_Match], passage: _Read) -> _Match | None:
        """The most alike; of equals, the one with the fewest conflicts, since a clause may repeat itself."""
        high = max((m.alike for m in options), default=0.0)
        equal = [m for m in options if m.alike > high - 1e-9]
        if len(equal) < 2:
            return equal[0] if equal else None
        return min(equal, key=lambda m: len(compare(self._clause(m.clause)[m.sentence].norm, passage.norm, m.alike)))

    def _candidates(self, text: str, read: list[_Read], without: frozenset[str]) -> list[int]:
        index = self.base.index(self._embeds)
        queries = [text[:2000], *(r.norm.segment.text[:2000] for r in read if r.words.total() >= 3)]
        rankings = [index.lexical(query) for query in queries]
        if self._embeds is not None:
            rankings += list(self._embeds.embed(queries) @ index.vectors.T)
        found: dict[int, None] = {}
        for scores in rankings:
            for i in scores.argsort()[::-1][:_CANDIDATES]:
                if scores[i] > 0 and self.base.clauses[int(i)].id not in without:
                    found[int(i)] = None
        return list(found)

    def _judge(self, match: _Match, passage: _Read) -> Iterator[Finding]:
        clause, other = self.base.clauses[match.clause], self._clause(match.clause)[match.sentence]
        sure = round(min(0.95, 0.4 + match.alike / 2), 2)
        conflicts = compare(other.norm, passage.norm, match.alike)
        for conflict in conflicts or (None,):
            yield Finding(
                verdict="conflict" if conflict else "no conflict found",
                kind=conflict.kind if conflict else "",
                rule=conflict.rule if conflict else "",
                clause_id=clause.id,
                source=clause.source,
                title=clause.title,
                clause_quote=other.norm.segment.text,
                quote=passage.norm.segment.text,
                start=passage.norm.segment.start,
                confidence=conflict.confidence if conflict else sure,
                similarity=round(match.alike, 3),
            )

    def _lacking(self, matches: dict[int, _Match], read: list[_Read]) -> Iterator[Finding]:
        """Duties of clauses that the text otherwise words, and that stand nowhere in it."""
        said: Counter[str] = Counter()
        for r in read:
            said |= r.words
        for c in dict.fromkeys(m.clause for m in matches.values() if m.alike >= _WORDED):
            clause, own = self.base.clauses[c], self._clause(c)
            left: Counter[str] = Counter()
            worded: set[int] = set()
            for i, r in enumerate(read):
                m = matches.get(i)
                if m is not None and m.clause == c and m.alike >= _WORDED:
                    worded.add(m.sentence)
                    left += r.words - own[m.sentence].words
                else:
                    left += r.words
            said_too = [own[s].words for s in worded]
            for i, r in enumerate(own):
                if i not in worded and r.words in said_too:
                    continue
                if missing(r.norm, said, None if i in worded else left):
                    yield Finding(
                        verdict="conflict",
                        kind="missing duty",
                        rule="coverage",
                        clause_id=clause.id,
                        source=clause.source,
                        title=clause.title,
                        clause_quote=r.norm.segment.text,
                        confidence=0.7,
                    )


def _silent(norm: Norm) -> Finding:
    return Finding(verdict="not specified", quote=norm.segment.text, start=norm.segment.start, confidence=0.5)
