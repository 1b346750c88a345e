"""What of a note its facts bear: the text that a writer is trained on.

A note holds more than its bundle: history, habits, turns of phrase that state things. A writer that learns
them learns to invent, and every such sentence of its own would be thrown out later. So a note is cut into
sentences (headings and lists of Markdown become prose), what it calls by a code's bare words is lifted to the
wording of the fact ("sinusitis" that is over becomes "sinusitis (resolved)"), and only sentences that pass
the same check as the writer's own are kept. A note all of whose sentences pass is left as it is.

>>> from domains.base import Fact, Skeleton, Statement
>>> fact = Fact(kind="name", path="p", text="asthma (resolved)")
>>> skeleton = Skeleton(statements=(Statement(rule="r", text="Asthma (resolved).", facts=(fact,)),),
...                     vocabulary=frozenset({"history", "of"}))
>>> faithful("# Past\\nHistory of asthma. Never smoked.", skeleton, [Lifted(words=("Asthma",), text=fact.text)])
'History of asthma (resolved).'
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from domains.base import Sensitive, Skeleton
from domains.checks import Checker

__all__ = ["Lifted", "faithful"]

_HEADING = re.compile(r"#{1,6}\s+(.*)")
_BULLET = re.compile(r"(?:[-*•]|\d+[.)])\s+(.*)")
_END = (".", "!", "?", "。", "！", "？")


@dataclass(frozen=True, kw_only=True, repr=False)
class Lifted(Sensitive):
    """A fact's wording, and the words by which a note may call it."""

    words: tuple[str, ...]
    text: str


def faithful(note: str, skeleton: Skeleton, lifted: Sequence[Lifted]) -> str:
    """The sentences of a note that its facts bear, in order; the whole note where none does, or all do.

    Args:
        note: The note.
        skeleton: What may be stated.
        lifted: How to reword what the note calls otherwise.
    """
    checker = Checker(skeleton)
    patterns = [
        (re.compile(rf"(?<!\w){re.escape(w)}(?!\w)", re.IGNORECASE), i.text)
        for i in lifted
        for w in i.words
        if any(c.isalpha() for c in w)
    ]
    patterns.sort(key=lambda p: -len(p[0].pattern))
    kept: list[str] = []
    dropped = False
    for heading, line in _lines(note):
        for sentence in checker.sentences(line):
            text = next(
                (
                    ended
                    for variant in (sentence, _lift(sentence, patterns), f"{heading}: {_lift(sentence, patterns)}")
                    if (ended := variant if variant.endswith(_END) else f"{variant}.")
                    and (result := checker.check(ended)).mentions
                    and not result.faults
                ),
                "",
            )
            dropped |= text != sentence
            kept += [text] if text else []
    return " ".join(kept) if kept and dropped else note.strip()


def _lift(sentence: str, patterns: Sequence[tuple[re.Pattern[str], str]]) -> str:
    """Each name replaced by its fact's wording, the longest first, and never within another."""
    held: list[str] = []

    for pattern, text in patterns:
        held.append(text)
        sentence = pattern.sub(f"\x02{len(held) - 1}\x03", sentence)
    return re.sub("\x02(\\d+)\x03", lambda m: held[int(m.group(1))], sentence)


def _lines(note: str) -> Iterator[tuple[str, str]]:
    """The paragraphs with the heading above each; a list becomes part of the line before it.

    As in Markdown, lines that follow each other are one paragraph, unless one ends a sentence.
    """
    heading, line, listed = "", "", False
    for raw in [*note.splitlines(), ""]:
        text = raw.strip()
        title, item = _HEADING.fullmatch(text), _BULLET.fullmatch(text)
        if item and line:
            line += (" " if line.endswith(":") else ", ") + item.group(1)
            listed = True
        elif text and line and not (title or item or listed or line.endswith(_END)):
            line += f" {text}"
        elif text or not line.endswith(":"):
            if line:
                yield heading, line
            heading = title.group(1).rstrip(":") if title else heading
            line, listed = ("" if title else item.group(1) if item else text), bool(item)
