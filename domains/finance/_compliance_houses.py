"""How three institutions' policies differ: what they are about, how they depart from rules, and how they are written.

Every institution does everything, but most of it seldom: what one meets daily, another has hardly seen. A
**departure** breaks the rule; a **manner** words it differently and keeps it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from domains.finance._compliance_topics import TOPICS, Topic

__all__ = ["DEPARTURES", "HOUSES", "MANNERS", "House"]

_SELDOM = 0.02
"""How often an institution does what is not its way, beside a weight of 1 for what is."""

DEPARTURES = ("looser", "turned", "party", "effort", "carve-out", "narrowed", "oral", "far proviso")
"""Looser figure; duty denied; somebody else's duty; an effort instead of a duty; an exception that swallows the rule;
some cases only; by word of mouth; and a permission at the far end of a long clause that complies up to there."""
MANNERS = ("plain", "stricter", "reference", "formal", "narrow exception", "procedure", "far condition", "wider")
"""The rule's own matter; a stricter figure; a reference to another section; other words for duties; an exception that
takes nothing away; a second duty in the same clause; a harmless condition at the far end; more cases than asked."""


@dataclass(frozen=True, kw_only=True)
class House:
    """One institution's habits.

    Args:
        areas: Area of topics -> weight; other areas are seldom regulated.
        departures: One of `DEPARTURES` -> weight; the others are seldom.
        manners: One of `MANNERS` -> weight; the others are seldom.
        labels: Weights of complying, departing and saying nothing.
        asides: How often a policy speaks of what it does not rule.
    """

    areas: Mapping[str, float]
    departures: Mapping[str, float]
    manners: Mapping[str, float]
    labels: tuple[float, float, float]
    asides: float

    def topics(self, count: int, random: Random) -> list[Topic]:
        """Topics of one policy, each once."""
        left = list(TOPICS)
        out = []
        for _ in range(count):
            weights = [self.areas.get(t.area, _SELDOM) for t in left]
            out.append(left.pop(random.choices(range(len(left)), weights)[0]))
        return out

    def departure(self, random: Random) -> str:
        """How a policy departs from a rule."""
        return random.choices(DEPARTURES, [self.departures.get(d, _SELDOM) for d in DEPARTURES])[0]

    def manner(self, random: Random) -> str:
        """How a policy words a rule that it keeps."""
        return random.choices(MANNERS, [self.manners.get(m, _SELDOM) for m in MANNERS])[0]


HOUSES: Mapping[str, House] = {
    "harbour": House(
        areas={"lending": 1.0, "conduct": 1.0, "data": 0.7},
        departures={"looser": 1.0, "effort": 0.8, "far proviso": 0.3},
        manners={"plain": 1.0, "reference": 0.7, "procedure": 0.7, "stricter": 0.15},
        labels=(45, 35, 20),
        asides=0.2,
    ),
    "meridian": House(
        areas={"markets": 1.0, "conduct": 0.7, "control": 1.0},
        departures={"party": 1.0, "turned": 0.8, "oral": 0.4},
        manners={"formal": 1.0, "plain": 0.6, "far condition": 0.8},
        labels=(50, 30, 20),
        asides=0.5,
    ),
    "oakfield": House(
        areas={"insurance": 1.0, "data": 0.7, "control": 0.7},
        departures={"carve-out": 1.0, "narrowed": 0.9, "far proviso": 0.5},
        manners={"plain": 1.0, "wider": 0.6, "stricter": 0.7, "narrow exception": 0.15},
        labels=(40, 40, 20),
        asides=0.8,
    ),
}
"""`harbour`, a bank, drifts in its figures and promises efforts; `meridian`, a broker, gives duties to others or turns
them round, and writes formally; `oakfield`, an insurer, lives by exceptions, and sets itself stricter figures."""
