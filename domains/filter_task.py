"""`safety.filter`: is a text offensive, for the content filter's classifier.

A record has `text`, and for training `label`, which is "fine" or "offensive" (0 or 1 will do). The prompt is
feature words (`domains._offence_features`), for a features base that trains in seconds, privately too.
`make_filter_base` writes that base; what it believes before any training was set by hand, from no data.

>>> task = FilterTask()
>>> example = task.examples({"text": "你好", "label": "fine"}, unit="u1")[0]
>>> example.label, "k:clean" in example.prompt.split()
('fine', True)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from domains._offence_features import PRIOR, feature_words, known_words
from domains.base import Example, Sensitive, Skeleton
from fedcore.errors import RecordError

__all__ = ["LABELS", "FilterTask", "Text", "make_filter_base"]

LABELS = ("fine", "offensive")
_DIMENSION = 4096


@dataclass(frozen=True, kw_only=True, repr=False)
class Text(Sensitive):
    """What is judged."""

    text: str


@dataclass(frozen=True, kw_only=True)
class FilterTask:
    """The task. It holds no state."""

    name: str = "safety.filter"
    version: str = "1"
    kind: Literal["generate", "classify"] = "classify"
    fields: tuple[str, ...] = ("text", "label")
    optional: tuple[str, ...] = ()
    summary: str = "Is a text offensive: the classifier of the content filter."
    languages: tuple[str, ...] = ("zh", "en")

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """Render a record.

        Raises:
            RecordError: There is no text, or the label is not known.
        """
        label = fields.get("label")
        named = LABELS[int(label)] if label in (0, 1, "0", "1") else label
        if named not in LABELS:
            raise RecordError("the field 'label' is wrong", expected=" or ".join(LABELS), got=type(label).__name__)
        return [Example(prompt=self.prompt(self.read(fields)), target="", unit=unit, label=str(named))]

    def read(self, fields: Mapping[str, Any]) -> Text:
        """Read the text.

        Raises:
            RecordError: There is none.
        """
        text = fields.get("text")
        if not isinstance(text, str) or not text.strip():
            raise RecordError(
                "a record has no text", expected="text in the field 'text'", do="map 'text' to its column"
            )
        return Text(text=text)

    def prompt(self, source: Text) -> str:
        """Feature words."""
        return " ".join(feature_words(source.text))

    def skeleton(self, source: Text) -> Skeleton:
        """Nothing: this task writes no documents."""
        return Skeleton(statements=(), vocabulary=frozenset())

    def make_base(self, directory: Path) -> None:
        """Write the base of this task into a new directory."""
        make_filter_base(directory)


def make_filter_base(directory: Path, *, dimension: int = _DIMENSION, prior: bool = True) -> None:
    """Write the features base of this task into a new directory.

    Args:
        directory: Made here.
        dimension: Inputs that all runs of characters share; fewer suffer less from private noise.
        prior: Whether it starts from what was set by hand, or from nothing.
    """
    from domains.features import make_features_base  # Imports torch: only where a base is made.

    odds = {w: (0.0, v) for w, v in PRIOR.items()} if prior else None
    make_features_base(directory, labels=LABELS, known=known_words(), dimension=dimension, prior=odds)
