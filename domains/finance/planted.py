"""A planted set: rules restated with an edit that conflicts with them, or with one that does no harm.

Chinese statutes from a knowledge base, and policies of our own in both languages. Part of the measure of
`finance.compliance`; the task never sees it.

>>> items = planted((), conflicts=10, harmless=10, seed=1)
>>> len(items), sum(i.conflict for i in items), {i.lang for i in items} == {"en", "zh"}
(20, 10, True)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from domains.base import Sensitive
from domains.finance._edits import CONFLICTS, HARMLESS, Edit
from domains.finance.compliance_synthetic import policy, regulation
from domains.knowledge import Clause

__all__ = ["Planted", "planted", "regulations"]

_REGULATIONS = 6
"""Made-up regulations of each language."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Planted(Sensitive):
    """A text, the clause that it restates, and whether its edit conflicts with it."""

    body: str
    """Which body of rules it is held against: "statutes", or a made-up regulation such as "en-3"."""
    clause_id: str
    text: str
    edit: str
    conflict: bool
    lang: str


def regulations() -> dict[str, tuple[Clause, ...]]:
    """The made-up bodies of rules, by name."""
    return {f"{lang}-{seed}": regulation(lang, seed) for lang in ("en", "zh") for seed in range(_REGULATIONS)}


def planted(
    statutes: Sequence[Clause],
    *,
    conflicts: int = 300,
    harmless: int = 300,
    seed: int = 0,
    kinds: frozenset[str] | None = None,
) -> list[Planted]:
    """Make the set: half of it on statutes where there are any, the kinds of edit in turn.

    Args:
        statutes: Clauses in Chinese; each is used at most once.
        conflicts: How many conflict.
        harmless: How many do not.
        seed: Decides clauses and edits.
        kinds: Use these kinds of edit alone.
    """  # fmt: skip
    random = Random(f"concordat/compliance/planted/{seed}")  # noqa: S311
    laws = [("statutes", c.id, c.text, "zh") for c in statutes if c.lang == "zh" and 20 <= len(c.text) <= 600]
    own = [
        (name, clause_id, text, name[:2])
        for name in regulations()
        for clause_id, text in policy(name[:2], int(name[3:])).items()
    ]
    random.shuffle(laws)
    random.shuffle(own)
    out: list[Planted] = []
    for conflict, wanted, edits in ((True, conflicts, CONFLICTS), (False, harmless, HARMLESS)):
        chosen = {k: e for k, e in edits.items() if kinds is None or k in kinds}
        share = wanted // 2 if laws else 0
        drawn = _draw(laws, chosen, share, conflict, random)
        out += drawn + _draw(own, chosen, wanted - len(drawn), conflict, random)
    return out


def _draw(
    sources: list[tuple[str, str, str, str]], edits: Mapping[str, Edit], wanted: int, conflict: bool, random: Random
) -> list[Planted]:
    """Edit sources until there are enough, the kind that has been used least first; what is used is taken out."""
    out: list[Planted] = []
    used: Counter[str] = Counter()
    waiting = list(sources)
    while waiting and len(out) < wanted:
        body, clause_id, text, lang = source = waiting.pop(0)
        for kind in sorted(edits, key=lambda k: (used[k], random.random())):
            edited = edits[kind](text, random)
            if edited is not None and edited != text:
                used[kind] += 1
                out.append(
                    Planted(body=body, clause_id=clause_id, text=edited, edit=kind, conflict=conflict, lang=lang)
                )
                if body == "statutes":
                    sources.remove(source)
                break
    return out
