"""The points of a list, each with the words that open the list: a prohibition may stand there alone.

Contracts split one duty over passages: "The recipient shall not:", then "(a) copy the information;". Read alone, the
point says the opposite of what was agreed; such evidence is usual in contracts (Koreeda & Manning 2021, section 2,
arXiv:2110.01799).

>>> in_context(["The recipient shall not:", "(a) copy the information;", "(b) sell it.", "It may keep a file."])[1:]
('The recipient shall not: copy the information;', 'The recipient shall not: sell it.', 'It may keep a file.')
"""

import re
from collections.abc import Sequence
from itertools import zip_longest

__all__ = ["in_context"]

_MARK = re.compile(
    r"[\s\"“(]{0,2}(?:\d{1,2}(?:\.\d{1,2}){1,3}[.)]?(?=\s)|(?:[a-z]|[ivx]{1,5}|\d{1,2})[.)]+|[-•▪·](?=\s))\s*",
    re.IGNORECASE,
)
"""What numbers a point: (a), iv), 2.1, 3., or a bullet."""
_LETTERED = re.compile(r"[\s\"“(]{0,2}(?:[a-z]|[ivx]{1,5})[.)]|[-•▪·]\s", re.IGNORECASE)
_LONGEST = 600
"""Characters of an opening that are read with each point: the last ones."""
_ENDS = re.compile(r"[.;,!?]\W*\Z|\b(?:and|or)\W*\Z", re.IGNORECASE)


def in_context(passages: Sequence[str]) -> tuple[str, ...]:
    """Each passage, in order; a point of a list without its mark, after the words that open the list.

    A passage opens a list where it ends with a colon, or has no end and a lettered point follows. A passage without a
    mark ends the list, and so does a point that ends with a full stop. A point that opens a list of its own is read
    as the opening of that one alone.
    """
    out = []
    lead = ""
    for passage, after in zip_longest(passages, passages[1:], fillvalue=""):
        words = passage.strip()
        mark = _MARK.match(words)
        body = words[mark.end() :] if mark else words
        if words and not mark:
            lead = ""
        out.append(f"{lead} {body}" if lead and body else passage)
        if words.endswith(":") or (not lead and not _ENDS.search(words) and _LETTERED.match(after.strip())):
            lead = body[-_LONGEST:]
        elif words.endswith("."):
            lead = ""
    return tuple(out)
