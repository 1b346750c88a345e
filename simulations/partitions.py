"""Units into institutions: by a column, evenly, or skewed. A unit is never cut in two.

What is split are **units** (patients, companies), not records: a unit whose records lie at several sites
goes to its home, the site that holds most of them (ties: the first by name). So one institution's ledger
answers for all that a simulation releases about a unit. The same seed gives the same split.

>>> by_column({"p1": ["north", "north", "south"], "p2": ["south"]}, merge_below=1)
{'north': ('p1',), 'south': ('p2',)}
>>> by_column({"p1": ["north"], "p2": ["south"]}, merge_below=2)
{'north-and-1-more': ('p1', 'p2')}
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fedcore.errors import ConfigError

__all__ = ["Split", "by_column", "dirichlet", "hold_out", "iid"]

Split = dict[str, tuple[str, ...]]
"""Institution -> its units, both sorted."""


def hold_out(units: Iterable[str], count: int, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Set `count` units aside: (those kept, those held out), both sorted.

    Raises:
        ConfigError: Fewer than two units would be left.
    """
    names = sorted(set(units))
    if len(names) - count < 2:
        raise ConfigError(
            "too few units to hold some out",
            expected=f"at least {count + 2}",
            got=str(len(names)),
            do="use more records",
        )
    aside = set(np.random.default_rng([seed, 1]).permutation(len(names))[:count].tolist())
    return (
        tuple(n for i, n in enumerate(names) if i not in aside),
        tuple(n for i, n in enumerate(names) if i in aside),
    )


def by_column(values: Mapping[str, Sequence[str]], *, merge_below: int) -> Split:
    """One institution a value of the column; those with too few units are merged, in order of name.

    Args:
        values: Unit -> the column's value in each of its records.
        merge_below: Institutions with fewer units than this are merged, until each has as many. What is
            left over joins the smallest (ties: the first by name).
    Raises:
        ConfigError: There are no units.
    """
    sites: dict[str, list[str]] = defaultdict(list)
    for unit in sorted(_some(values)):
        sites[_home(values[unit])].append(unit)
    groups: list[tuple[list[str], list[str]]] = [([s], u) for s, u in sorted(sites.items()) if len(u) >= merge_below]
    open_sites: list[str] = []
    open_units: list[str] = []
    for site, units in sorted(sites.items()):
        if len(units) < merge_below:
            open_sites.append(site)
            open_units += units
            if len(open_units) >= merge_below:
                groups.append((open_sites, open_units))
                open_sites, open_units = [], []
    if open_units and groups:
        smallest = min(groups, key=lambda g: (len(g[1]), g[0][0]))
        smallest[0].extend(open_sites)
        smallest[1].extend(open_units)
    elif open_units:
        groups.append((open_sites, open_units))
    return _named({_label(names): units for names, units in groups}, expected=len(groups))


def iid(units: Iterable[str], *, institutions: int, seed: int) -> Split:
    """Units dealt out evenly at random; sizes differ by one at most.

    Raises:
        ConfigError: Fewer units than institutions.
    """
    names = _enough(units, institutions)
    order = np.random.default_rng([seed, 2]).permutation(len(names))
    return {
        f"institution-{k + 1}": tuple(sorted(names[i] for i in order[k::institutions])) for k in range(institutions)
    }


def dirichlet(values: Mapping[str, Sequence[str]], *, institutions: int, alpha: float, seed: int) -> Split:
    """Units skewed by a column: the units of each value are shared out by a draw from Dirichlet(alpha).

    Small alpha: each institution holds few values; large alpha: nearly even. An institution that drew no
    unit gets one of the largest's, so that none is empty.

    Raises:
        ConfigError: Fewer units than institutions.
    Reference: Hsu, Qi and Brown 2019, arXiv:1909.06335.
    """
    _enough(values, institutions)
    rng = np.random.default_rng([seed, 3])
    kinds: dict[str, list[str]] = defaultdict(list)
    for unit in sorted(values):
        kinds[_home(values[unit])].append(unit)
    parts: list[list[str]] = [[] for _ in range(institutions)]
    for _, units in sorted(kinds.items()):
        shares = rng.dirichlet([alpha] * institutions)
        for unit, k in zip(units, rng.choice(institutions, size=len(units), p=shares), strict=True):
            parts[int(k)].append(unit)
    for part in parts:
        if not part:
            part.append(max(parts, key=len).pop())
    return {f"institution-{k + 1}": tuple(sorted(part)) for k, part in enumerate(parts)}


def _home(sites: Sequence[str]) -> str:
    """The value that most records have; ties go to the first by name."""
    counts = Counter(sites)
    return min(counts, key=lambda s: (-counts[s], s))


def _label(names: Sequence[str]) -> str:
    """A name for one or several sites that identities and directories can bear."""
    slug = re.sub(r"[^a-z0-9]+", "-", names[0].lower()).strip("-")[:40].strip("-") or "site"
    return slug if len(names) == 1 else f"{slug}-and-{len(names) - 1}-more"


def _named(groups: Mapping[str, Sequence[str]], *, expected: int) -> Split:
    """Sort, and refuse two sites whose names look alike once shortened."""
    if len(groups) != expected:
        raise ConfigError("two sites have names that cannot be told apart", do="rename one of them")
    return {name: tuple(sorted(units)) for name, units in sorted(groups.items())}


def _some(values: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    if not values:
        raise ConfigError("there are no units to split")
    return values


def _enough(units: Iterable[str], institutions: int) -> list[str]:
    names = sorted(set(units))
    if len(names) < institutions:
        raise ConfigError(
            "there are fewer units than institutions", expected=f"at least {institutions}", got=str(len(names))
        )
    return names
