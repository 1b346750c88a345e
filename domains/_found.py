"""What the recognisers of identifiers share: a finding, and a text folded so that disguised digits are plain.

>>> folded = fold("电话：１３８0013\\u200b8000")
>>> folded.text, folded.span(3, 14)
('电话:13800138000', (3, 15))
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from re import Match, Pattern
from typing import Literal

from domains.base import Sensitive

__all__ = ["HAN", "Folded", "Found", "Kind", "Rule", "fold", "settle"]

Kind = Literal[
    "NAME", "ADDRESS", "DATE", "AGE", "PHONE", "FAX", "EMAIL", "SSN", "MRN", "PLAN", "ACCOUNT", "LICENSE", "VEHICLE",
    "DEVICE", "URL", "IP", "ID",
]  # fmt: skip
HAN = "\u3400-\u9fff\uf900-\ufaff"
"""Chinese characters, for a class of a pattern."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Found(Sensitive):
    """One identifier: where it stands, what it is, and the rule that says so."""

    kind: Kind
    start: int
    end: int
    rule: str
    rank: int = 2
    """Which of two readings of one span is believed: 0 the record's own field, 1 a cue, 2 a shape."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Folded(Sensitive):
    """A text in plain characters, and where each of them stood."""

    text: str
    places: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """A span of the folded text as a span of the text it was made from."""
        return self.places[start], self.places[end - 1] + 1


def fold(text: str) -> Folded:
    """Full-width and other digits become plain ones, invisible characters go; every place is kept."""
    out: list[str] = []
    places: list[int] = []
    for i, char in enumerate(text):
        if unicodedata.category(char) == "Cf":
            continue
        plain = char if char in "\n\t\r" else unicodedata.normalize("NFKC", char)
        if not plain.isascii() and plain.isdecimal():
            plain = str(unicodedata.decimal(plain))
        plain = {"\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2019": "'"}.get(plain, plain)
        out.append(plain)
        places += [i] * len(plain)
    return Folded(text="".join(out), places=tuple(places))


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A pattern whose group "id", or whole, is an identifier where `check` agrees."""

    rule: str
    kind: Kind
    pattern: Pattern[str]
    check: Callable[[str], bool] | None = None
    rank: int = 2

    def find(self, text: str) -> Iterator[Found]:
        """Every place where it holds."""
        for m in self.pattern.finditer(text):
            start, end = _group(m)
            if end > start and (self.check is None or self.check(text[start:end])):
                yield Found(kind=self.kind, start=start, end=end, rule=self.rule, rank=self.rank)


def _group(m: Match[str]) -> tuple[int, int]:
    named: Mapping[str, str | None] = m.groupdict()
    return m.span("id") if named.get("id") is not None else m.span()


def settle(found: Iterable[Found], held: Iterable[Found] = ()) -> list[Found]:
    """Findings without overlap that cover all that any of them covers, in the order of the text.

    The longer wins, then the better rank; what a shorter one covers beyond it stays a finding of its own.
    What is `held` is covered by none.
    """
    taken = list(held)
    out: list[Found] = []
    waiting = sorted(set(found), key=lambda f: (f.start - f.end, f.rank, f.start, f.rule))
    for item in waiting:
        pieces = [(item.start, item.end)]
        for other in (*taken, *out):
            pieces = [
                piece
                for start, end in pieces
                for piece in ((start, min(end, other.start)), (max(start, other.end), end))
                if piece[0] < piece[1]
            ]
        out += [replace(item, start=start, end=end) for start, end in pieces]
    return sorted(out, key=lambda f: f.start)
