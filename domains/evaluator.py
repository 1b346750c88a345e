"""Scores an adapter on public held-out examples, for a coordinator that has no torch of its own.

Reached through the entry point `concordat.evaluators`, where the [domains] extra is installed. It sees public
records only, and knows neither rounds nor institutions.

>>> from pathlib import Path
>>> evaluator = PublicEvaluator(Path("bases/smollm2-135m"))                       # doctest: +SKIP
>>> evaluator.loss(None, task="medicine.record", records=Path("public.jsonl"), limit=32, max_tokens=112)
...                                                                              # doctest: +SKIP
2.35
"""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, final

from domains.base import load_task
from domains.language import Base, Encoded, mean_loss
from fedcore.adapter import AdapterState
from fedcore.errors import RecordError

__all__ = ["PublicEvaluator"]


@final
class PublicEvaluator:
    """Keeps one base loaded, and the examples it has read, from one question to the next.

    Args:
        base: Directory of the base, or anything else that `Base.load` takes. Loaded at the first question.
    """

    def __init__(self, base: Path) -> None:
        self._path = base
        self._examples: dict[tuple[str, Path, int, int], tuple[Encoded, ...]] = {}

    @cached_property
    def _base(self) -> Base:
        return Base.load(self._path)

    def loss(self, state: AdapterState | None, *, task: str, records: Path, limit: int, max_tokens: int) -> float:
        """Mean loss over the examples of the first `limit` records; of the base alone when `state` is None.

        Args:
            state: The adapter.
            task: Name of an installed task.
            records: JSONL; each line an object with the task's own fields.
            limit: Most records read, >= 1.
            max_tokens: Longest example, as in the job.
        Raises:
            BaseMismatch: The state is of another base.
            RecordError: The records are missing, empty or broken; by line.
            ConfigError: The task is not known.
        """
        key = (task, records, limit, max_tokens)
        if key not in self._examples:
            self._examples[key] = self._encode(*key)
        adapted = None
        if state is not None:
            adapted = self._base.adapt(state.schema, trains=())
            adapted.load(state)
        return mean_loss(self._base, adapted, self._examples[key])

    def _encode(self, task: str, records: Path, limit: int, max_tokens: int) -> tuple[Encoded, ...]:
        """The examples of a file, as tokens."""
        renderer = load_task(task)
        examples = [e for f in islice(_lines(records), limit) for e in renderer.examples(f, unit="public")]
        if not examples:
            raise RecordError(f"the public records {records} give no examples", do="check the file and the task")
        labels = self._base.labels
        if labels and not {e.label for e in examples} <= {*range(len(labels)), *labels}:
            raise RecordError(
                f"the public records {records} hold a label that the base does not know",
                expected="one of " + ", ".join(labels),
            )
        return tuple(self._base.encode(e.prompt, e.target, max_tokens, label=e.label) for e in examples)


def _lines(records: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSONL file."""
    try:
        with records.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    raise RecordError(f"line {number} is not JSON", expected="JSON in UTF-8") from None
                if not isinstance(value, dict):
                    raise RecordError(f"line {number} is not a JSON object")
                yield value
    except OSError as error:
        raise RecordError(f"the public records {records} cannot be read ({error.strerror})") from error
