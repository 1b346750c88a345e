"""Clause against clause, within a body of rules and between bodies: what repeats, and what contradicts.

>>> from domains.knowledge import KnowledgeBase
>>> a = Clause(id="1", text="A complaint must be answered within 15 days.")
>>> b = Clause(id="9", text="A complaint must be answered within 20 days.")
>>> [(f.verdict, f.kind) for f in cross([Body(KnowledgeBase(name="r", clauses=(a, b)))])]
[('conflict', 'stricter deadline')]
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from domains.finance._review import Body, Finding
from domains.knowledge import Clause

__all__ = ["cross"]

_ALIKE = 0.6
"""Below this, two clauses rule different things."""
_REPEATED = 0.9


def cross(bodies: Sequence[Body]) -> Iterator[Finding]:
    """Hold every clause against the others of its body and of all others; each pair is told once.

    A finding's `quote` is the second clause's, and its place goes before it in `title`.
    """
    told: set[tuple[str, ...]] = set()
    for n, own in enumerate(bodies):
        for other in bodies[n:]:
            for clause in own.base.clauses:
                without = frozenset({clause.id}) if other is own else frozenset()
                for f in other.review(clause.text, without=without):
                    if f.quote and f.clause_quote and f.similarity >= _ALIKE:
                        key = (*sorted((f"{n}:{f.clause_quote}", f"{n}:{f.quote}")), f.rule)
                        if key not in told and (found := _told(f, clause)) is not None:
                            told.add(key)
                            yield found


def _told(found: Finding, clause: Clause) -> Finding | None:
    """The finding as one about two clauses; None where it is neither a conflict nor a repetition."""
    if found.verdict == "conflict":
        return replace(found, other_id=clause.id)
    if found.verdict == "no conflict found" and found.similarity >= _REPEATED:
        return replace(found, verdict="duplicate", other_id=clause.id, confidence=found.similarity)
    return None
