"""Who masks with whom: everybody up to 64 participants, a sparse random ring lattice above.

A sparse graph puts the participants on a ring in an order that nobody chose, and joins each to the `degree`
nearest, half on either side (a Harary graph; Bell et al. 2020, arXiv/ePrint 2020/704, section 3.1). Each
shares its round's secrets with its neighbours and itself.

What the parameters promise, when `colluders` were chosen before the order was known:

- Less than `share_threshold` of any honest participant's neighbours collude, so they alone open nothing.
- Any `degree / 2` places in a row hold less than `window_least` colluders. Every party checks that any such
  window of a survivor set holds at least `window_least` survivors, thus an honest one; so the honest
  survivors form one connected ring, and only the sum of all of them can be learnt, *whichever* survivors the
  coordinator chose to declare. (Bell et al. bound random dropouts; a check that everybody makes needs no such
  assumption.)

Both fail with a chance of at most 2**-(`SECURITY_BITS` + `GRINDING_BITS`) over the order. The order is that
of the hashes of the names under a seed of the round, the participants and all public keys of the job. The
coordinator cannot choose it, but it can try: which parties to invite, and keys of parties that collude with
it, once it has seen the others'. `GRINDING_BITS` pays for 2**40 tries by a union bound. It does not pay for
parties that are corrupted after the order is known.

With no more than `members - threshold` random dropouts the sum is recovered but for a chance of
2**-`FAILURE_BITS`. All tails are hypergeometric and exact.

>>> choose(64, colluders=6, threshold=44).is_complete
True
>>> sparse = choose(1000, colluders=50, threshold=800)
>>> sparse.degree, sparse.share_threshold, sparse.window_least
(130, 40, 31)
"""

import functools
import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

__all__ = ["COMPLETE_UP_TO", "FAILURE_BITS", "GRINDING_BITS", "SECURITY_BITS", "Graph", "Parameters", "choose", "draw"]

COMPLETE_UP_TO = 64
SECURITY_BITS = 40
GRINDING_BITS = 40
FAILURE_BITS = 20


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The shape of a round's graph. A complete one has `degree` participants - 1 and needs no window."""

    participants: int
    degree: int
    share_threshold: int
    window_least: int

    @property
    def is_complete(self) -> bool:
        """Whether everybody masks with everybody."""
        return self.degree == self.participants - 1


@functools.lru_cache(maxsize=256)
def choose(participants: int, *, colluders: int, threshold: int) -> Parameters:
    """The least degree that keeps the module's promises; complete where no sparse graph does.

    Args:
        participants: Of one round, at least `threshold`.
        colluders: How many of them may collude.
        threshold: How many stay at least.
    """
    complete = Parameters(participants=participants, degree=participants - 1, share_threshold=threshold, window_least=0)
    if participants <= COMPLETE_UP_TO:
        return complete
    bad = min(colluders, participants - 1)
    gone = participants - threshold
    secure, correct = SECURITY_BITS + GRINDING_BITS, FAILURE_BITS
    for degree in range(2, participants - 1, 2):
        half = degree // 2
        share = _least_rare(participants - 1, bad, degree, participants, secure)
        window = _least_rare(participants, bad, half, participants, secure)
        # More than degree - share dropped neighbours, or half - window dropped in a window, lose the round.
        enough = _is_rare(participants - 1, gone, degree, degree - share + 1, participants, correct)
        if enough and _is_rare(participants, gone, half, half - window + 1, participants, correct):
            return Parameters(participants=participants, degree=degree, share_threshold=share, window_least=window)
    return complete


def _least_rare(population: int, marked: int, drawn: int, times: int, bits: int) -> int:
    """The least count, >= 1, that `drawn` without replacement reach with a chance of 2**-bits / times at most."""
    total = math.comb(population, drawn)
    tail = 0
    for count in range(min(marked, drawn), 0, -1):
        tail += math.comb(marked, count) * math.comb(population - marked, drawn - count)
        if (times * tail) << bits > total:
            return count + 1
    return 1


def _is_rare(population: int, marked: int, drawn: int, count: int, times: int, bits: int) -> bool:
    """Whether `drawn` reach `count` marked ones with a chance of 2**-bits / times at most."""
    return count >= 1 and _least_rare(population, marked, drawn, times, bits) <= count


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The graph of one round over the names of its participants."""

    names: tuple[str, ...]
    """Sorted."""
    parameters: Parameters
    ring: tuple[str, ...]
    """The names in the order of the ring; empty when complete."""

    @functools.cached_property
    def _neighbours(self) -> dict[str, tuple[str, ...]]:
        if self.parameters.is_complete:
            return {name: tuple(n for n in self.names if n != name) for name in self.names}
        half, size = self.parameters.degree // 2, len(self.ring)
        steps = [step for step in range(-half, half + 1) if step]
        return {
            name: tuple(sorted(self.ring[(place + step) % size] for step in steps))
            for place, name in enumerate(self.ring)
        }

    @functools.cached_property
    def _holders(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(sorted((*near, name))) for name, near in self._neighbours.items()}

    def neighbours(self, name: str) -> tuple[str, ...]:
        """With whom `name` masks, sorted."""
        return self._neighbours[name]

    def holders(self, name: str) -> tuple[str, ...]:
        """Who holds shares of what `name` shares: its neighbours and itself, sorted. The relation is mutual."""
        return self._holders[name]

    def connects(self, survivors: Collection[str]) -> bool:
        """Whether every window of the ring holds enough survivors."""
        if self.parameters.is_complete:
            return True
        here = set(survivors)
        marks = [name in here for name in self.ring]
        half = self.parameters.degree // 2
        count = sum(marks[:half])
        for start in range(len(marks)):
            if count < self.parameters.window_least:
                return False
            count += marks[(start + half) % len(marks)] - marks[start]
        return True


def draw(names: Sequence[str], seed: str, *, colluders: int, threshold: int) -> Graph:
    """The graph that `seed` gives to the participants.

    Args:
        names: Sorted, all different.
        seed: The digest of everything that the order depends on.
        colluders: As in `choose`.
        threshold: As in `choose`.
    """
    parameters = choose(len(names), colluders=colluders, threshold=threshold)
    ring: tuple[str, ...] = ()
    if not parameters.is_complete:
        ring = tuple(sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest()))
    return Graph(names=tuple(names), parameters=parameters, ring=ring)
