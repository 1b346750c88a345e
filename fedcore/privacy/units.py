"""Whom a promise protects: the privacy unit and the neighbouring relation.

A guarantee compares two data sets that differ in one unit: one record, or all records that share a key,
such as a patient. Without a unit an epsilon has no meaning, so none is ever assumed.

>>> PrivacyUnit(key="patient", relation="add_or_remove_one").describe()
'one patient (all of its records), added or removed'
"""

from dataclasses import dataclass
from typing import Literal

from fedcore.errors import NoPrivacyUnit

__all__ = ["PrivacyUnit", "Relation"]

Relation = Literal["add_or_remove_one"]
"""Add/remove: data sets differ by the presence of one unit. What Poisson sampling is accounted for with."""


@dataclass(frozen=True, kw_only=True)
class PrivacyUnit:
    """All records that share the value of `key`; the key "record" makes each record its own unit.

    Raises:
        NoPrivacyUnit: The key is empty.
    """

    key: str
    relation: Relation = "add_or_remove_one"

    def __post_init__(self) -> None:
        if not self.key.strip():
            raise NoPrivacyUnit(
                "no privacy unit is named",
                expected="the column or path of whom to protect, such as 'patient', or 'record'",
                do="set [records] unit",
            )

    def describe(self) -> str:
        """The unit and relation in words."""
        who = "one record" if self.key == "record" else f"one {self.key} (all of its records)"
        return f"{who}, added or removed"
