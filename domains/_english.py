"""How English writes what a checker must trace. Part of `domains.checks`.

>>> list(ENGLISH.breaks("Seen today. HR 76."))
[(11, 12)]
>>> list(ENGLISH.leftovers("denies pain", frozenset({"pain"})))
['negation']
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from domains._figures import HELD, dates, normalise, numbers
from domains._lexicon import NEGATIONS, SCALES, SENSES, UNITS, looks_like_drug
from domains._orthography import Orthography, Part

__all__ = ["ENGLISH"]

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_SYMBOLS = frozenset(" .,;:()'\"-–—/&!?" + HELD)
_THAN = re.compile(r"\b(?:from|against|versus|vs|compared (?:with|to)|than|over|of)\s*$", re.IGNORECASE)
_BREAK = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(\"'])")
_SHORT = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|St|No|vs|approx|e\.g|i\.e|Inc|Co|Corp|Ltd)\.$")
_NEVER = re.compile(r"(?!)")
_LEVEL = re.compile(r"\b(?:to|at)\s*$", re.IGNORECASE)
_MOVED = re.compile(
    r"(?<![\w-])(?:rose|ris(?:e|es|ing)|increas(?:e|ed|es|ing)|gr(?:ew|ow|ows|owing|owth)|climbed|gained|fell"
    r"|fall(?:s|ing)?|decreas(?:e|ed|es|ing)|declin(?:e|ed|es|ing)|dropped|up|down)(?:\s+(?:by|of))?\s*$",
    re.IGNORECASE,
)


def _phrases(phrases: Iterable[str]) -> re.Pattern[str]:
    """Never inside a longer word or number."""
    ordered = sorted({normalise(p) for p in phrases} - {""}, key=lambda p: (-len(p), p))
    if not ordered:
        return _NEVER
    body = "|".join(re.escape(p) for p in ordered)
    return re.compile(rf"(?<![\w+<>~.-])(?<!\d[,/])(?:{body})(?!\w)(?!-\w)(?![.,/:]\d)", re.IGNORECASE)


def _breaks(text: str) -> Iterator[tuple[int, int]]:
    """After a stop before a capital or digit, but not after "Dr."."""
    for m in _BREAK.finditer(text):
        if not _SHORT.search(text[: m.start()]):
            yield m.span()


def _goes_on(text: str, end: int) -> bool:
    m = re.match(r"\s?(%|[A-Za-z°μ/]+)", text[end:])
    return m is not None and (m.group(1).lower() in UNITS or m.group(1).lower() in SCALES)


def _directions(text: str) -> list[Part]:
    return [
        (m.start(), m.end(), sense)
        for m in _WORD.finditer(text)
        for sense, words in SENSES.items()
        if m.group().lower() in words
    ]


def _leftovers(rest: str, vocabulary: frozenset[str]) -> Iterator[str]:
    """Whatever is left must be plain words and marks."""
    for m in _WORD.finditer(rest):
        word = m.group().lower()
        if word in NEGATIONS:
            yield "negation"
        elif word not in vocabulary:
            yield "drug" if looks_like_drug(word) else "word"
    if any(c not in _SYMBOLS for c in _WORD.sub("", rest)):
        yield "symbol"


def _role(text: str, roles: Sequence[Part], names: Sequence[tuple[int, int]], name: tuple[int, int]) -> str | None:
    """The last word of a role before the name."""
    return next((r[2] for r in reversed(roles) if r[1] <= name[0]), None)


ENGLISH = Orthography(
    normalise=normalise,
    phrases=_phrases,
    breaks=_breaks,
    plain=lambda text, vocabulary: iter(()),
    numbers=numbers,
    dates=dates,
    goes_on=_goes_on,
    directions=_directions,
    leftovers=_leftovers,
    role=_role,
    compared=_THAN,
    level=_LEVEL,
    moved=_MOVED,
    year_first=False,
)
