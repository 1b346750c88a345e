"""Prompts that begin alike: the model reads such a beginning once.

A sentence that failed is written again from the prompt of its document, so the prompts of one document have nearly
everything in common, and to read that once instead of for each costs a fraction.

>>> prefixes([[1, 2, 3, 4, 5], [1, 2, 3, 6], [1, 2, 3, 4, 7], [8, 9]])
Prefixes(distinct=((1, 2, 3), (8,)), which=(0, 0, 0, 1))
>>> prefixes([[1, 2, 3], [4, 5, 6]]) is None
True
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Prefixes", "prefixes"]


@dataclass(frozen=True)
class Prefixes:
    """What rows of tokens begin with; each row has at least one token more than its prefix."""

    distinct: tuple[tuple[int, ...], ...]
    which: tuple[int, ...]
    """Row -> its prefix in `distinct`."""

    @property
    def width(self) -> int:
        """The longest prefix."""
        return max(map(len, self.distinct))


def prefixes(rows: Sequence[Sequence[int]]) -> Prefixes | None:
    """Find the long beginnings that neighbouring rows share.

    Args:
        rows: The tokens of each prompt, one or more each.
    Returns:
        The prefixes, or None where a model that reads them apart would have no fewer places to fill.
    """
    distinct, which = list[tuple[int, ...]](), list[int]()
    for row in rows:
        own = tuple(row[:-1])
        common = _common(distinct[-1], own) if distinct else 0
        if distinct and 2 * common >= max(len(distinct[-1]), len(own)):
            distinct[-1] = own[:common]
        else:
            distinct.append(own)
        which.append(len(distinct) - 1)
    found = Prefixes(distinct=tuple(distinct), which=tuple(which))
    rest = max(len(row) - len(distinct[i]) for row, i in zip(rows, which, strict=True))
    apart = len(distinct) * found.width + len(rows) * rest
    return found if apart < len(rows) * max(map(len, rows)) else None


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
