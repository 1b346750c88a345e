"""The measure of `medicine.note-check`: is a note flagged rightly, and is the wrong sentence named.

A row has `input` (numbered sentences, one a line), `error_flag`, and `error_sentence_id` (-1 where there is no
error). Notes that are versions of one case, one of them with an error, are one unit: otherwise a model would be
trained on the answer to what it is scored on. The baselines are the strongest constant answers on the very
notes that are scored.

>>> texts = {"a": "0 A man coughs and has a fever.", "b": "0 A man coughs and has fever.", "c": "0 Her knee hurts."}
>>> cases([{"id": name, "input": text} for name, text in texts.items()])
{'a': 'a', 'b': 'a', 'c': 'c'}
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from domains.evaluation import Bench, Recipe, Scores
from domains.medicine.note_check import Note, NoteCheckTask, make_base
from fedcore.errors import RecordError

__all__ = ["cases", "measure"]

_SAME = 0.75
"""Two notes that share so many of the shorter one's words are versions of one case."""
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What is right of a note, or what was said of it: the number of the wrong sentence, -1 for none."""

    said: int
    right: int
    last: int


def measure(bench: Bench) -> Scores:
    """Flag and sentence accuracy beside the strongest constant answers.

    Without a fit or a release the rules decide alone. With a fit, a features base is trained on the fit share.

    Raises:
        RecordError: A row has not the fields above.
    """
    records = _records(bench.rows)
    fit, scored = bench.split(r["unit"] for r in records)
    judge = bench.released()
    if bench.fit is not None:
        with tempfile.TemporaryDirectory(prefix="concordat-note-check-") as place:
            base = Path(place) / "base"
            make_base(base)
            judge = bench.train("medicine.note-check", [r for r in records if r["unit"] in fit], _recipe(base))
    notes = [r for r in records if r["unit"] in scored]
    task = NoteCheckTask()
    read = [(task.read({"note": r["note"]}), r["wrong"]) for r in bench.track(notes, "checking notes")]
    ruled = [_answer(note, wrong) for note, wrong in read]
    said = ruled if judge is None else [_answer(task.judge(note, judge), wrong) for note, wrong in read]
    metrics = {
        "flag_accuracy": _flagged(said),
        "sentence_accuracy": _named(said),
        "flag_majority": max(_flagged([replace(a, said=constant) for a in said]) for constant in (-1, 0)),
        "sentence_majority": max(_named([replace(a, said=constant) for a in said]) for constant in (-1, 0)),
    }
    last = _named([replace(a, said=a.last) for a in said])
    wrong_notes = [(note, wrong) for note, wrong in read if wrong >= 0]
    details = {
        "scored": len(said),
        "cases": len(scored),
        "flagged": sum(a.said >= 0 for a in said),
        "last_sentence": round(last, 4),
        "rules_flag_accuracy": round(_flagged(ruled), 4),
        "rules_sentence_accuracy": round(_named(ruled), 4),
        "decision_is_the_wrong_sentence": round(
            sum(note.place == wrong for note, wrong in wrong_notes) / max(1, len(wrong_notes)), 4
        ),
        "by_rule": _by_rule(read),
    }
    return Scores(
        metrics={k: round(v, 4) for k, v in metrics.items()},
        details=details,
        notes=(
            "Versions of one case are one unit: none is trained on where another is scored.",
            "Majority baselines are computed on the scored notes themselves.",
        ),
    )


def cases(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """For each row's id, the first id of its case, in the order of ids."""
    words = {str(r["id"]): frozenset(_WORD.findall(str(r["input"]).lower())) for r in rows}
    ids = sorted(words)
    case = {i: i for i in ids}
    for place, one in enumerate(ids):
        for other in ids[:place]:
            shared = len(words[one] & words[other])
            if case[one] != case[other] and shared > _SAME * min(len(words[one]), len(words[other])):
                first, second = sorted((case[one], case[other]))
                case = {i: first if c == second else c for i, c in case.items()}
    return case


def _records(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows as the task's fields, with the case for a unit."""
    out = []
    for number, row in enumerate(rows, start=1):
        try:
            wrong = int(row["error_sentence_id"]) if int(row["error_flag"]) else -1
            out.append({"id": str(row["id"]), "note": row["input"], "wrong": wrong, "site": str(row.get("site", "-"))})
        except (KeyError, TypeError, ValueError):
            raise RecordError(
                f"row {number} cannot be measured", expected="id, input, error_flag and error_sentence_id"
            ) from None
    case = cases(rows)
    return [{**r, "unit": case[r["id"]]} for r in out]


def _recipe(base: Path) -> Recipe:
    """A few gentle steps: the base knows the rules already, and there are few notes to learn from."""
    private = Recipe(base=base, rounds=20, sampling_rate=0.5, learning_rate=0.005, clip_norm_l2=0.5)
    return replace(private, clip_norm_l2=1.0, private=private)


def _answer(note: Note, right: int) -> _Answer:
    said = note.doubts[0].number if note.doubts else -1
    return _Answer(said=said, right=right, last=len(note.sentences) - 1)


def _flagged(answers: Sequence[_Answer]) -> float:
    """How often "there is an error" was right."""
    return sum((a.said >= 0) == (a.right >= 0) for a in answers) / len(answers)


def _named(answers: Sequence[_Answer]) -> float:
    """How often the very sentence, or that there is none, was right."""
    return sum(a.said == a.right for a in answers) / len(answers)


def _by_rule(read: Sequence[tuple[Note, int]]) -> dict[str, dict[str, float]]:
    """For each rule's verdict: how many notes, and how many of them are wrong."""
    out: dict[str, list[bool]] = {}
    for note, wrong in read:
        out.setdefault(note.doubts[0].rule if note.doubts else "none", []).append(wrong >= 0)
    return {
        rule: {"notes": len(found), "wrong": round(sum(found) / len(found), 4)} for rule, found in sorted(out.items())
    }
