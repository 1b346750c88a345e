"""The measure counts nothing wrong in the pipeline's notes, compares with the skeleton, and holds the split."""

from pathlib import Path
from typing import Any

import pytest

from domains.evaluation import Bench
from domains.medicine.record_measures import measure
from domains.medicine.synthetic import public_examples, records
from fedcore.errors import RecordError

ROWS = [
    {"input": r["bundle"], "target": r["note"], "patient": str(i)} for i, r in enumerate(public_examples(6, seed=2))
]


class Quotes:
    """A writer that knows the notes of some prompts by heart."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        from domains.medicine.record import RecordTask

        task = RecordTask()
        self._notes = {task.prompt(task.read({"bundle": r["input"]})): r["target"] for r in rows}

    def write(self, prompts: Any, **_: Any) -> list[str]:
        return [" " + self._notes.get(p, "A 400-year-old man with rabies.") for p in prompts]


def _bench(rows: list[dict[str, Any]], **more: Any) -> Bench:
    return Bench(rows=rows, records=Path("notes.jsonl"), **more)


def test_without_a_model_the_note_is_the_skeletons() -> None:
    scores = measure(_bench(ROWS))
    assert [scores.metrics[k] for k in ("unsupported", "omitted", "negations_turned")] == [0, 0, 0]
    assert scores.metrics["rouge_l"] == scores.metrics["rouge_l_skeleton"]
    assert scores.details["model"] == "none"


def test_a_writer_of_such_notes_comes_nearer_than_the_skeleton_and_a_liar_does_no_harm() -> None:
    near = measure(_bench(ROWS, writer=lambda: Quotes(ROWS)))
    assert near.metrics["rouge_l"] > near.metrics["rouge_l_skeleton"] + 0.1
    lies = measure(_bench(ROWS, writer=lambda: Quotes([])))
    for scores in (near, lies):
        assert [scores.metrics[k] for k in ("unsupported", "omitted", "negations_turned")] == [0, 0, 0]
    assert lies.details["failed_for_good"] > 0


def test_our_own_records_serve_as_rows_and_others_are_refused() -> None:
    assert measure(_bench(list(records("riverside", 2, seed=1)))).metrics["omitted"] == 0
    with pytest.raises(RecordError, match="row 1"):
        measure(_bench([{"target": "x"}]))
