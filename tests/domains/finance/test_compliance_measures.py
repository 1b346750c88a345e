"""The measures count what they say, on records of our own."""

import json
from pathlib import Path

import pytest

from domains.evaluation import Bench, read_rows
from domains.finance._edits import CONFLICTS, HARMLESS
from domains.finance.compliance_measures import measure
from domains.finance.compliance_synthetic import regulation
from domains.finance.planted import planted
from domains.knowledge import Clause
from fedcore.errors import RecordError

STATUTES = [
    {"id": f"办法-{c.id}", "law": "办法", "article": c.id, "chapter": c.title, "text": c.text}
    for c in regulation("zh", seed=40)
]


def bench(folder: Path, rows: list[dict[str, object]], **more: object) -> Bench:
    path = folder / "dev.jsonl"
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    return Bench(rows=list(read_rows(path)), records=path, **more)  # type: ignore[arg-type]


def test_planted_conflicts_are_found_and_harmless_edits_are_not(tmp_path: Path) -> None:
    scores = measure(bench(tmp_path, STATUTES))
    assert scores.metrics["conflict_precision"] >= 0.95
    assert scores.metrics["conflict_recall"] >= 0.9
    assert scores.metrics["quotes_literal"] == 1.0
    assert scores.details["quotes"] > 500


def test_the_planted_set_holds_both_languages_and_no_text_unchanged() -> None:
    clauses = [Clause(id=str(r["id"]), text=str(r["text"]), lang="zh") for r in STATUTES]
    items = planted(clauses, conflicts=60, harmless=60, seed=3)
    assert sum(i.conflict for i in items) == 60
    assert {i.lang for i in items} == {"en", "zh"}
    assert {i.edit for i in items} <= {*CONFLICTS, *HARMLESS}
    texts = {c.id: c.text for c in clauses}
    assert all(i.text != texts[i.clause_id] for i in items if i.body == "statutes")


def test_recall_counts_gold_passages_among_ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domains.finance.compliance_measures.find_spec", lambda name: None)
    names = [a + b for a in "bdfgk" for b in ("ark", "ond", "ule", "ipp", "elm")]
    passages = [{"doc": n, "passage_id": "1", "text": f"Rules on {w} are here."} for n, w in enumerate(names)]
    (tmp_path / "kb_passages.jsonl").write_text("".join(json.dumps(p) + "\n" for p in passages))
    rows: list[dict[str, object]] = [
        {"id": "a", "input": f"What about {names[3]}?", "gold": [[3, "1"]]},
        {"id": "b", "input": f"What about {names[4]}?", "gold": [[4, "1"], [20, "1"]]},
    ]
    scores = measure(bench(tmp_path, rows))
    assert scores.metrics["recall_at_10"] == pytest.approx(0.75)
    assert "BM25 alone" in scores.notes[0]


def test_contracts_are_judged_by_their_sentences(tmp_path: Path) -> None:
    text = "The recipient shall not reverse engineer any sample. The weather is fine."
    hypothesis = "Receiving Party shall not reverse engineer Confidential Information."
    (tmp_path / "hypotheses.json").write_text(json.dumps({"h": {"hypothesis": hypothesis}}))
    rows: list[dict[str, object]] = [
        {"id": "a", "site": "s", "text": text, "spans": [[0, 52]], "annotations": {"h": {"choice": "Entailment"}}},
        {"id": "b", "site": "s", "text": text, "spans": [[53, 73]], "annotations": {"h": {"choice": "NotMentioned"}}},
    ]
    scores = measure(bench(tmp_path, rows))
    assert scores.metrics["accuracy"] == 1.0
    assert scores.notes


def test_other_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="none that"):
        measure(bench(tmp_path, [{"id": "x"}]))
    with pytest.raises(RecordError, match="kb_passages"):
        measure(bench(tmp_path, [{"id": "x", "input": "?", "gold": []}]))
