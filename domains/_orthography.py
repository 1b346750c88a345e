"""What differs between the languages that `domains.checks` can read: one frozen set of rules a language.

The checker asks for names, figures, dates and leftovers; how a language writes them is told here alone.

>>> from domains._english import ENGLISH
>>> [(f.text, f.unit) for f in ENGLISH.numbers("HR 76 bpm")]
[('76 bpm', '/min')]
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from domains._figures import Figure, When

__all__ = ["Orthography", "Part"]

Part = tuple[int, int, str]
"""A piece of text: start, end, and what it is, lower case."""


@dataclass(frozen=True, kw_only=True)
class Orthography:
    """How one language writes what a checker must trace."""

    normalise: Callable[[str], str]
    """One line in which equal things are written equally; applied twice it changes nothing."""
    phrases: Callable[[Iterable[str]], re.Pattern[str]]
    """A pattern for any of some phrases, longest first, never inside a longer word or number."""
    breaks: Callable[[str], Iterator[tuple[int, int]]]
    """Where sentences end: the end of one, and the start of the next."""
    plain: Callable[[str, frozenset[str]], Iterator[tuple[int, int]]]
    """Words of the vocabulary that are written with the characters of numbers but are none."""
    numbers: Callable[[str], list[Figure]]
    dates: Callable[[str], Iterator[When]]
    goes_on: Callable[[str, int], bool]
    """Whether a unit or scale follows at a position, so that the digits before it belong to a figure."""
    directions: Callable[[str], list[Part]]
    """Words that say which way a figure went: "up", "down" or "flat"."""
    leftovers: Callable[[str, frozenset[str]], Iterator[str]]
    """The kinds of faults in what no fact accounts for, given the closed vocabulary."""
    role: Callable[[str, Sequence[Part], Sequence[tuple[int, int]], tuple[int, int]], str | None]
    """The word of a role that governs a name: from the text, the role words, all names, and the name."""
    compared: re.Pattern[str]
    """Stands directly before a figure that belongs to another year than the sentence's."""
    level: re.Pattern[str]
    """Stands directly before a figure that is a level, and so no change."""
    moved: re.Pattern[str]
    """Stands directly before a figure that is a change, and so no level."""
    year_first: bool
    """Whether a figure's own year stands before it rather than after it."""
