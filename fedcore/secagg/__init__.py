"""Masked sums: the coordinator sees totals, never one party's numbers. See README.md beside this file.

Pure state machines over bytes. Nothing here knows a socket, a file, an adapter or a budget: it sums integers.
"""

from fedcore.secagg._primitives import RingArray
from fedcore.secagg.aggregator import Abandoned, Aggregator, Ask, Opened, SumRound
from fedcore.secagg.encoding import RingPlan
from fedcore.secagg.party import Party
from fedcore.secagg.terms import Terms

__all__ = ["Abandoned", "Aggregator", "Ask", "Opened", "Party", "RingArray", "RingPlan", "SumRound", "Terms"]
