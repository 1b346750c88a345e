"""Examples grouped by the unit that privacy protects: what a private step samples from.

Everything of one unit (a patient, a company) lies in one group, however many records it came from, since
it is the unit that is sampled, clipped and protected. This module knows nothing of plans, rounds or noise.

>>> from domains.language import Encoded
>>> data = PrivateDataset(units=((Encoded(ids=(5, 6), labels=(-100, 6)),),))
>>> len(data), data
(1, PrivateDataset)
"""

from collections.abc import Iterable
from dataclasses import dataclass

from domains.base import Task
from domains.language import Base, Encoded
from fedclient.records import Record
from fedcore.errors import ModelError, RecordError
from fedcore.privacy.sampling import RandomSource, subset

__all__ = ["PrivateDataset"]


@dataclass(frozen=True, repr=False, eq=False)
class PrivateDataset:
    """Tokenised examples of every unit; `len` is the number of units, which is private.

    Args:
        units: For each unit its examples, at least one.
    Raises:
        RecordError: There are no units, or one without examples.
    """

    units: tuple[tuple[Encoded, ...], ...]

    def __post_init__(self) -> None:
        if not self.units or not all(self.units):
            raise RecordError("there is nothing to train on", expected="at least one unit with an example")

    @classmethod
    def build(cls, records: Iterable[Record], task: Task, base: Base, max_tokens: int) -> "PrivateDataset":
        """Render, tokenise and group records.

        Guarantee: every example of a record belongs to the unit of that record, whatever the task makes
        of it. Units stand in the order in which they first appear.

        Args:
            records: Read once, in order.
            task: Renders a record into examples; may render none.
            base: Its tokenizer encodes them.
            max_tokens: Longest example.
        Raises:
            RecordError: A record cannot be rendered (by position, never content), or nothing was rendered.
            ModelError: A classifier's example has no label, or one that the base does not have.
        """
        groups: dict[str, list[Encoded]] = {}
        count = 0
        for record in records:
            count += 1
            try:
                examples = task.examples(record.fields, unit=record.unit)
            except RecordError as error:
                raise type(error)(f"record {record.position}: {error}") from error
            for example in examples:
                encoded = base.encode(example.prompt, example.target, max_tokens, label=example.label)
                _check_label(encoded.label, base, record.position)
                groups.setdefault(record.unit, []).append(encoded)
        if not groups:
            raise RecordError(
                f"the task {task.name} found nothing to train on",
                expected="records with a text to learn",
                got="no records" if count == 0 else "records without one",
                do="check [records] path and fields",
            )
        return cls(tuple(tuple(group) for group in groups.values()))

    def __len__(self) -> int:
        return len(self.units)

    def examples_of(self, unit: int, cap: int, source: RandomSource) -> tuple[Encoded, ...]:
        """At most `cap` examples of a unit: a new uniformly random choice at each call where it has more."""
        held = self.units[unit]
        return held if len(held) <= cap else tuple(held[i] for i in subset(len(held), cap, source))

    def __repr__(self) -> str:
        return "PrivateDataset"


def _check_label(label: int | None, base: Base, position: int) -> None:
    """A classifier needs a class that it has."""
    if base.card.kind != "classifier":
        return
    if label is None or not 0 <= label < base.card.labels:
        raise ModelError(
            f"record {position}: the example's label does not fit the classifier",
            expected=f"a label in 0..{base.card.labels - 1}",
            do="use a task and base with the same classes",
        )
