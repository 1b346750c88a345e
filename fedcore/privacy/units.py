"""Whom a promise protects: the privacy unit and the neighbouring relation.

A guarantee compares two data sets that differ in one unit: one record, or all records that share a key,
such as a patient. Without a unit an epsilon has no meaning, so none is ever assumed.

>>> PrivacyUnit(key="patient", relation="add_or_remove_one").describe()
'one patient (all of its records), added or removed'
"""

from dataclasses import dataclass
from typing import Literal

from fedcore.errors import NoPrivacyUnit

__all__ = ["RELATIONS", "PrivacyUnit", "Relation"]

Relation = Literal["add_or_remove_one", "replace_one"]
"""How two data sets differ: by the presence of one unit, or by what one unit holds."""

RELATIONS: tuple[Relation, ...] = ("add_or_remove_one", "replace_one")

_WORDS = {"add_or_remove_one": "added or removed", "replace_one": "replaced by another"}


@dataclass(frozen=True, kw_only=True)
class PrivacyUnit:
    """All records that share the value of `key`; the key "record" makes each record its own unit.

    Raises:
        NoPrivacyUnit: The key is empty, or the relation is not known.
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
        if self.relation not in RELATIONS:
            raise NoPrivacyUnit(
                f"the neighbouring relation {self.relation!r} is not known",
                expected=" or ".join(RELATIONS),
                do="set [records] relation",
            )

    def describe(self) -> str:
        """The unit and relation in words."""
        who = "one record" if self.key == "record" else f"one {self.key} (all of its records)"
        return f"{who}, {_WORDS[self.relation]}"
