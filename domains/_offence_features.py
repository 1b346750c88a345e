"""A text as feature words for the content filter's classifier: character runs, words by kind, and what meets what.

Words of `domains._offence_words` are found by Aho-Corasick, the longest at each place. Beside them stand their
kinds, how often each, the kinds that meet in one clause (a name of a group beside an insult says more than both
apart), the text's length and marks, and every run of one or two characters.

>>> found = feature_words("他们都是好人，不要歧视。")
>>> "k:fairness" in found, "k:slur" in found, "c:group+slur" in found
(True, False, False)
>>> len(known_words()) == len(set(known_words())) > 900
True
"""

import re
from collections import Counter
from functools import cache
from typing import Any

import ahocorasick

from domains._disguises import plain
from domains._offence_words import KINDS

__all__ = ["PRIOR", "feature_words", "known_words"]

_CLAUSE = re.compile(r"[，。！？!?；;,\s…~]+")
_MEETS_GROUP = ("slur", "epithet", "contempt", "crime", "animal", "sweeping", "fairness", "warmth", "quote", "address")
_MEETS = ("sweeping", "fairness", "epithet", "contempt", "crime", "quote")
_RUDE = frozenset({"slur", "epithet", "contempt", "crime", "animal"})
_COUNTS = (1, 2, 4)
_MARKS = "?!…[~"
_LENGTHS = 5
_LENGTH_STEP = 25

PRIOR = {
    "k:slur": 1.4,
    "k2:slur": 0.5,
    "k:epithet": 0.8,
    "k2:epithet": 0.4,
    "k:contempt": 0.5,
    "k:crime": 0.3,
    "k:animal": 0.4,
    "k:sweeping": 0.2,
    "k:address": 0.2,
    "k:fairness": -0.5,
    "k2:fairness": -0.4,
    "k:warmth": -0.5,
    "k2:warmth": -0.4,
    "k:quote": -0.2,
    "k:clean": -1.0,
    "c:group+slur": 0.5,
    "c:contempt+group": 0.5,
    "c:crime+group": 0.3,
    "c:animal+group": 0.3,
}
"""What we believe before any training, as log-odds of "offensive": set by hand, from no data."""


@cache
def _automaton() -> Any:
    """The words of all kinds, each with its kinds."""
    kinds: dict[str, set[str]] = {}
    for kind, found in KINDS.items():
        for word in found:
            kinds.setdefault(plain(word), set()).add(kind)
    automaton = ahocorasick.Automaton()
    for word, of in kinds.items():
        automaton.add_word(word, (word, frozenset(of)))
    automaton.make_automaton()
    return automaton


@cache
def known_words() -> tuple[str, ...]:
    """Every feature word that is no run of characters: a base gives each an input of its own."""
    kinds = sorted(KINDS)
    pairs = {_pair("group", k) for k in _MEETS_GROUP} | {_pair(a, b) for a in _MEETS_GROUP for b in _MEETS if a != b}
    return (
        "k:clean",
        *(_count(k, n) for k in kinds for n in _COUNTS),
        *sorted(pairs),
        *(f"s:len{i}" for i in range(_LENGTHS)),
        *(f"s:{m}" for m in _MARKS),
        "s:latin",
        "s:digit",
        *sorted(f"h:{w.replace(' ', '_')}" for w in _automaton()),
    )


def feature_words(text: str) -> tuple[str, ...]:
    """The feature words of a text, each once."""
    from domains.features import ngrams, words  # Imports torch: only where a classifier is used.

    shown = plain(text)
    counts = Counter(kind for _, kinds in _automaton().iter_long(shown) for kind in kinds[1])
    out = [_count(k, n) for k, c in sorted(counts.items()) for n in _COUNTS if c >= n]
    if not _RUDE & counts.keys():
        out.append("k:clean")
    for clause in _CLAUSE.split(shown):
        met = {kind for _, kinds in _automaton().iter_long(clause) for kind in kinds[1]}
        out += [_pair("group", k) for k in _MEETS_GROUP if {"group", k} <= met]
        out += [_pair(a, b) for a in _MEETS_GROUP for b in _MEETS if a != b and {a, b} <= met]
    out.append(f"s:len{min(_LENGTHS - 1, len(shown) // _LENGTH_STEP)}")
    out += [f"s:{m}" for m in _MARKS if m in shown]
    out += ["s:latin"] if re.search(r"[a-z]", shown) else []
    out += ["s:digit"] if re.search(r"\d", shown) else []
    out += [f"h:{word.replace(' ', '_')}" for _, (word, _) in _automaton().iter(shown)]
    runs = (*ngrams(re.sub(r"\s+", "", shown), 1, 2), *(w for w in words(shown) if w.isascii()))
    return tuple(dict.fromkeys((*out, *runs)))


def _count(kind: str, n: int) -> str:
    """The word for "at least n words of this kind"."""
    return f"k:{kind}" if n == 1 else f"k{n}:{kind}"


def _pair(a: str, b: str) -> str:
    """The word for two kinds in one clause, whichever comes first."""
    return "c:" + "+".join(sorted((a, b)))
