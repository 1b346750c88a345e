"""How well `medicine.record` does: nothing made up, nothing left out, nothing turned round; and how near to notes.

Rows hold a bundle or a resource in `input` and a note in `target`; where there is a `patient`, it is the unit.
Each document is read against the raw JSON by an auditor that shares no code with the pipeline. With a share to
fit, a writer is first trained on the notes of those patients, and only the others' rows are scored.

>>> from pathlib import Path
>>> from domains.evaluation import Bench
>>> from domains.medicine.synthetic import public_examples
>>> rows = [{"input": r["bundle"], "target": r["note"]} for r in public_examples(2, seed=1)]
>>> scores = measure(Bench(rows=rows, records=Path("notes.jsonl")))
>>> scores.metrics["unsupported"], scores.metrics["omitted"], scores.metrics["negations_turned"]
(0.0, 0.0, 0.0)
"""

import json
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rouge_score.rouge_scorer import RougeScorer

from domains.base import Sensitive
from domains.evaluation import Bench, Recipe, Scores
from domains.medicine._audit import Audit, audit
from domains.medicine.record import RecordTask
from domains.pipeline import Document, Settings, WritesText, generate, generate_all
from fedcore.errors import RecordError

__all__ = ["RECIPE", "measure"]

RECIPE = Recipe(
    base="smollm2-135m",
    rounds=30,
    sampling_rate=1.0,
    learning_rate=0.005,
    clip_norm_l2=1.0,
    examples_per_unit=4,
    max_tokens=320,
    targets=("q_proj", "v_proj"),
    rank=8,
    alpha=16.0,
    least_units=1,
)
"""How a writer of notes is trained: few patients with many notes each."""
_SETTINGS = Settings(max_new_tokens=112, temperature=0.1, seed=0)
_AT_ONCE = 16
"""Rows whose prompts go to the model together."""


@dataclass(frozen=True, kw_only=True, repr=False)
class _Row(Sensitive):
    """One row, whatever the set calls its parts."""

    value: Mapping[str, Any]
    target: str
    unit: str
    site: str
    kind: str


@dataclass(frozen=True, kw_only=True, repr=False)
class _Scored(Sensitive):
    """What one row came to."""

    kind: str
    audit: Audit
    rouge: float | None
    rouge_skeleton: float | None
    seconds: float
    document: Document


def measure(bench: Bench) -> Scores:
    """Write every scored row and read it against its input.

    Raises:
        RecordError: A row has no bundle or resource.
    """
    rows = [_row(r, i) for i, r in enumerate(bench.rows, start=1)]
    lang = bench.lang or "en"
    fit_units, scored_units = bench.split(r.unit for r in rows)
    notes = [r for r in rows if r.unit in fit_units and r.value.get("resourceType") == "Bundle" and r.target]
    trained = bool(bench.fit and notes and lang == "en")
    writer = bench.train_writer(RecordTask().name, [_record(r) for r in notes], RECIPE) if trained else bench.writer()
    kept = [r for r in rows if r.unit in scored_units]
    # Rows of like length go together, so that little of a batch is padding.
    kept.sort(key=lambda r: len(json.dumps(r.value)))
    batches = [kept[i : i + _AT_ONCE] for i in range(0, len(kept), _AT_ONCE)]
    told = bench.track(batches, f"writing {_AT_ONCE} at a time and reading against the input")
    scored = [s for batch in told for s in _score(batch, lang, writer)]
    total = sum((s.audit for s in scored), Audit(0, 0, 0))
    metrics: dict[str, float] = {
        "unsupported": float(total.unsupported),
        "omitted": float(total.omitted),
        "negations_turned": float(total.turned),
    }
    for name, values in (
        ("rouge_l", [s.rouge for s in scored]),
        ("rouge_l_skeleton", [s.rouge_skeleton for s in scored]),
    ):
        if known := [v for v in values if v is not None]:
            metrics[name] = sum(known) / len(known)
    return Scores(metrics=metrics, details=_details(scored, writer, trained), notes=_notes(rows, trained, writer))


def _row(row: Mapping[str, Any], number: int) -> _Row:
    value = row.get("input", row.get("bundle"))
    if not isinstance(value, Mapping) or not isinstance(value.get("resourceType"), str):
        raise RecordError(
            f"row {number} has no FHIR resource",
            expected='"input": a Bundle or a resource, and "target": its note',
        )
    target = row.get("target", row.get("note"))
    kind = str(value["resourceType"])
    if kind == "Bundle":
        kind = "note"
    elif isinstance(row.get("narrative_status"), str):
        kind = f"narrative, {row['narrative_status']}"
    return _Row(
        value=value,
        target=target if isinstance(target, str) else "",
        unit=str(row.get("patient") or row.get("id") or number),
        site=str(row.get("site") or "all"),
        kind=kind,
    )


def _record(row: _Row) -> dict[str, Any]:
    return {"bundle": row.value, "note": row.target, "unit": row.unit, "site": row.site}


def _score(rows: list[_Row], lang: str, writer: WritesText | None) -> list[_Scored]:
    """Write rows, read each against its input, and hold it beside the note that people or templates wrote."""
    start = time.perf_counter()
    task = RecordTask()
    sources = [task.read({"bundle": r.value, "lang": lang}) for r in rows]
    documents = generate_all(task, sources, writer, _SETTINGS)
    seconds = (time.perf_counter() - start) / len(rows)
    out = []
    for row, source, document in zip(rows, sources, documents, strict=True):
        comparable = bool(row.target) and lang == "en"
        bare = document if writer is None else generate(task, source, None, _SETTINGS)
        out.append(
            _Scored(
                kind=row.kind,
                audit=audit(row.value, document.rendered, lang),
                rouge=_rouge(row.target, document.rendered) if comparable else None,
                rouge_skeleton=_rouge(row.target, bare.rendered) if comparable else None,
                seconds=seconds,
                document=document,
            )
        )
    return out


def _rouge(target: str, text: str) -> float:
    return float(RougeScorer(["rougeL"]).score(target, text)["rougeL"].fmeasure)


def _details(scored: list[_Scored], writer: WritesText | None, trained: bool) -> dict[str, Any]:
    """Counts and figures by kind of row; no text."""
    kinds: dict[str, list[_Scored]] = defaultdict(list)
    for s in scored:
        kinds[s.kind].append(s)
    sentences = [x for s in scored for x in s.document.sentences]
    return {
        "scored": len(scored),
        "model": "none" if writer is None else "trained" if trained else "as asked",
        "seconds_per_row": round(sum(s.seconds for s in scored) / max(1, len(scored)), 3),
        "sentences": len(sentences),
        "sentences_by_model": sum(x.source == "model" for x in sentences),
        "written_again": sum(s.document.rewritten for s in scored),
        "failed_for_good": sum(s.document.replaced for s in scored),
        "kinds": {
            kind: {
                "rows": len(group),
                "rouge_l": _mean([s.rouge for s in group]),
                "rouge_l_skeleton": _mean([s.rouge_skeleton for s in group]),
            }
            for kind, group in sorted(kinds.items())
        },
    }


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return round(sum(known) / len(known), 4) if known else None


def _notes(rows: list[_Row], trained: bool, writer: WritesText | None) -> tuple[str, ...]:
    out = []
    if writer is None:
        out.append("no model: rouge_l is that of the skeleton's own wording")
    if trained:
        out.append("trained on the notes of the fit patients, as far as their bundles bear them")
    if any(r.kind == "note" for r in rows):
        out.append("a note may tell of what its bundle does not hold; that part is out of reach by design")
    return tuple(out)
