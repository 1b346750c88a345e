"""How good diagnosis support is: ranking, calibration, severe conditions, differentials, choices.

Three shapes of rows are known: patients with `evidences`, `initial_evidence`, `diagnosis` and `differential`
beside a code book `kb.json`; cases in two languages with `candidates`; and records of the task itself. With a
fit, four fifths of the fitted units train and the rest calibrate the temperature; nothing that is scored does
either. Without one, the code book alone is scored, or the release that was asked for.

Each patient is scored in `_DRAWS` partial views, drawn by its id: the first evidence and four others.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from domains.base import Language
from domains.classifying import (
    Classifier,
    Judge,
    Logits,
    brier,
    expected_calibration_error,
    fit_temperature,
    softmax,
)
from domains.evaluation import Bench, Recipe, Scores, split_units
from domains.medicine._candidates import NO, YES, choice_words, make_choice_base, read_choice
from domains.medicine._case import read_case
from domains.medicine._diagnosis_words import DIFFERENTIAL, case_words, differential_words, make_base
from domains.medicine._ranking import SEVERE_FROM
from domains.medicine._temperature import private_temperature
from domains.medicine.conditions import COMMON, Conditions, load_code_book
from domains.medicine.diagnosis import partial_findings
from fedcore.errors import ConfigError, RecordError

__all__ = ["differential_recall", "divergence", "measure"]

_TASK = "medicine.diagnosis"
_DRAWS = 5
_ASKED = 4
_TRAINS = 0.8
"""Of the units to fit on; the rest calibrate."""


def _recipe(base: Path) -> Recipe:
    """Chosen by cross-validation within the share to fit on."""
    private = Recipe(base=base, rounds=12, learning_rate=0.015, clip_norm_l2=8.0, examples_per_unit=8)
    return Recipe(base=base, rounds=40, learning_rate=0.01, clip_norm_l2=1000.0, examples_per_unit=16, private=private)


def _choice_recipe(base: Path) -> Recipe:
    private = Recipe(base=base, rounds=30, learning_rate=0.01, clip_norm_l2=8.0, examples_per_unit=6)
    return Recipe(base=base, rounds=30, learning_rate=0.02, clip_norm_l2=1000.0, examples_per_unit=6, private=private)


def measure(bench: Bench) -> Scores:
    """Score diagnosis support on a bench's rows.

    Raises:
        RecordError: The rows have none of the shapes that are known, or their code book is missing.
    """
    row = bench.rows[0]
    with tempfile.TemporaryDirectory(prefix="concordat-diagnosis-") as place:
        if "evidences" in row:
            path = bench.folder / "kb.json"
            if not path.is_file():
                raise RecordError("the code book kb.json is missing", do="put it beside the records")
            return _patients(bench, Path(place) / "base", load_code_book(path), [_patient(r, path) for r in bench.rows])
        if any(isinstance(row.get(lang), Mapping) and "candidates" in row[lang] for lang in ("en", "zh")):
            return _choices(bench, Path(place) / "base")
        if "findings" in row and "diagnosis" in row:
            own = [{**r, "unit": str(r.get("patient") or r.get("id")), "asked": _ASKED} for r in bench.rows]
            return _patients(bench, Path(place) / "base", COMMON, own)
    raise RecordError(
        "these records are none that diagnosis is measured on",
        expected="rows with evidences, with candidates in en and zh, or with findings and a diagnosis",
    )


def _patient(row: Mapping[str, Any], book: Path) -> dict[str, Any]:
    """A row as a record of the task."""
    return {
        "unit": str(row["id"]),
        "site": str(row.get("site") or "one"),
        "findings": list(row["evidences"]),
        "first": row["initial_evidence"],
        "age": row["age"],
        "sex": row["sex"],
        "diagnosis": row["diagnosis"],
        "differential": row.get("differential"),
        "book": str(book.resolve()),
        "asked": _ASKED,
    }


def _patients(bench: Bench, base: Path, book: Conditions, records: Sequence[Mapping[str, Any]]) -> Scores:
    make_base(base, book)
    fit_units, scored_units = bench.split(r["unit"] for r in records)
    scored = [r for r in records if r["unit"] in scored_units]
    judge, temperature = bench.released() or Classifier.load(base), 1.0
    details: dict[str, Any] = {"scored": len(scored), "draws": _DRAWS}
    notes = ["the code book alone" if bench.released() is None else "the release"] if bench.fit is None else []
    if bench.fit is not None:
        train, rest = split_units(sorted(fit_units), share=_TRAINS, seed=bench.fit.seed + 1)
        held = [_for_training(r, r["unit"] in train, bench) for r in records if r["unit"] in fit_units]
        judge = bench.train(_TASK, [r for r in held if r is not None], _recipe(base))
        temperature = _temperature(bench, judge, book, [r for r in records if r["unit"] in rest])
        details |= {"trained": len(train), "calibrated": len(rest), "temperature": round(temperature, 4)}
        if bench.fit.epsilon is not None:
            notes.append("the temperature was chosen by the exponential mechanism at the same epsilon, on other units")
    prompts, labels, _ = _views(bench.track(scored, "patients"), book)
    logits = _of(judge, book, prompts)
    probabilities = softmax(logits, temperature)
    metrics = _ranking_metrics(probabilities, labels, book)
    first = np.arange(len(labels)) % _DRAWS == 0
    details["first_draw"] = _ranking_metrics(probabilities[first], labels[first], book)
    details["ece_before_temperature"] = expected_calibration_error(softmax(logits), labels)
    if all(r.get("differential") for r in scored):
        metrics |= _differential_metrics(judge, book, scored)
    return Scores(metrics=metrics, details=details, notes=tuple(notes))


def _for_training(record: Mapping[str, Any], trains: bool, bench: Bench) -> dict[str, Any] | None:
    """What a unit teaches: all of it, or, if it calibrates, only its differential, and nothing under privacy.

    The labels of a differential are others than those that are calibrated, so what is calibrated has not seen
    it. Under privacy the two sets of units must be apart for the costs not to add up.
    """
    if trains:
        return dict(record)
    if bench.fit is None or bench.fit.epsilon is not None or record.get("differential") is None:
        return None
    return {**record, "diagnosis": None}


def _views(records: Iterable[Mapping[str, Any]], book: Conditions) -> tuple[list[str], Any, list[str]]:
    """The partial views that are scored: prompts, places of the right labels, units."""
    place = {c.en: i for i, c in enumerate(book.conditions)}
    prompts, labels, units = [], [], []
    for record in records:
        for draw in range(_DRAWS):
            part = {**record, "findings": partial_findings(record, record["unit"], 1000 + draw)}
            prompts.append(" ".join(case_words(read_case(part))))
            labels.append(place[book.condition(record["diagnosis"]).en])
            units.append(str(record["unit"]))
    return prompts, np.array(labels, dtype=int), units


def _of(judge: Judge, book: Conditions, prompts: Sequence[str], mark: str = "") -> Logits:
    """A judge's logits of the book's conditions, in the book's order."""
    place = {label: i for i, label in enumerate(judge.labels)}
    names = [mark + c.en for c in book.conditions]
    if any(n not in place for n in names):
        raise ConfigError("the release knows other conditions than the code book", do="give the records that fit it")
    return judge.logits(prompts)[:, [place[n] for n in names]]


def _temperature(bench: Bench, judge: Judge, book: Conditions, records: Sequence[Mapping[str, Any]]) -> float:
    prompts, labels, units = _views(records, book)
    logits = _of(judge, book, prompts)
    if bench.fit is None or bench.fit.epsilon is None:
        return fit_temperature(logits, labels)
    rng = np.random.default_rng()  # From the system: a seed that anyone knows would undo the privacy.
    return private_temperature(logits, labels, units, epsilon=bench.fit.epsilon, rng=rng)


def _ranking_metrics(probabilities: Logits, labels: Any, book: Conditions) -> dict[str, float]:
    """Top-1, top-5, calibration, Brier score, and how many severe conditions are listed where they are right."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    right = probabilities[np.arange(len(labels)), labels]
    severe = np.array([c.is_severe for c in book.conditions])[labels]
    metrics = {
        "top1": float((order[:, 0] == labels).mean()),
        "top5": float((order[:, :5] == labels[:, None]).any(axis=1).mean()),
        "ece": expected_calibration_error(probabilities, labels),
        "brier": brier(probabilities, labels),
    }
    if severe.any():
        metrics["severe_recall"] = float((right[severe] >= SEVERE_FROM).mean())
    return metrics


def _differential_metrics(judge: Judge, book: Conditions, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """KL from the reference differential to ours on all findings, and the share of its conditions that ours lists."""
    prompts = [" ".join(differential_words(read_case(r))) for r in records]
    ours = softmax(_of(judge, book, prompts, DIFFERENTIAL))
    place = {c.en: i for i, c in enumerate(book.conditions)}
    reference = np.zeros_like(ours)
    for row, record in zip(reference, records, strict=True):
        for name, share in record["differential"]:
            row[place[book.condition(name).en]] += share
    reference /= reference.sum(axis=1, keepdims=True)
    return {"kl": divergence(reference, ours), "ddr": differential_recall(reference, ours)}


def divergence(reference: Logits, ours: Logits) -> float:
    """The mean over rows of KL(reference || ours), in nats."""
    held = np.where(reference > 0, reference, 1.0)
    return float((reference * (np.log(held) - np.log(np.maximum(ours, 1e-12)))).sum(axis=1).mean())


def differential_recall(reference: Logits, ours: Logits) -> float:
    """The mean share of a reference's conditions to which ours gives at least one percent."""
    return float(np.mean([(o[r > 0] >= 0.01).mean() for r, o in zip(reference, ours, strict=True)]))


def _choices(bench: Bench, base: Path) -> Scores:
    """Cases in one or both languages: which candidate it is; ties count as their share."""
    langs: tuple[Language, ...] = ("en", "zh") if bench.lang is None else ("zh",) if bench.lang == "zh" else ("en",)
    make_choice_base(base)
    fit_units, scored_units = bench.split(str(r["id"]) for r in bench.rows)
    judge = bench.released() or Classifier.load(base)
    if bench.fit is not None:
        held = [_choice(r, lang) for r in bench.rows if str(r["id"]) in fit_units for lang in langs]
        judge = bench.train(_TASK, held, _choice_recipe(base))
    metrics: dict[str, float] = {}
    details: dict[str, Any] = {"scored": len(scored_units), "trained": len(fit_units)}
    for lang in langs:
        cases = [_choice(r, lang) for r in bench.rows if str(r["id"]) in scored_units]
        p = [_judged(judge, c) for c in bench.track(cases, f"cases, {lang}")]
        hits = [_hit(q, c["candidates"].index(c["diagnosis"])) for q, c in zip(p, cases, strict=True)]
        metrics[f"top1_{lang}"] = sum(hits) / len(hits)
        details[f"chance_{lang}"] = sum(1 / len(c["candidates"]) for c in cases) / len(cases)
    metrics["top1"] = sum(metrics[f"top1_{lang}"] for lang in langs) / len(langs)
    metrics["prior"] = _popularity(bench, fit_units, scored_units, langs[0])
    return Scores(
        metrics=metrics,
        details=details,
        notes=("the order in which candidates stand is not used", "prior: the candidate that was right most often"),
    )


def _choice(row: Mapping[str, Any], lang: Language) -> dict[str, Any]:
    """A case in one language as a record of the task."""
    case = row[lang]
    return {
        "unit": str(row["id"]),
        "site": str(row.get("site") or "one"),
        "findings": [*case.get("explicit", ()), *case.get("implicit", ())],
        "candidates": list(dict.fromkeys(case["candidates"])),  # Two may be translated alike.
        "department": case.get("department"),
        "diagnosis": case["disease"],
        "lang": lang,
    }


def _judged(judge: Judge, record: Mapping[str, Any]) -> Logits:
    """How much a judge is for each candidate."""
    choice = read_choice(record)
    logits = judge.logits([" ".join(choice_words(choice, i)) for i in range(len(choice.candidates))])
    return np.asarray(logits[:, judge.labels.index(YES)] - logits[:, judge.labels.index(NO)])


def _hit(scores: Logits, right: int) -> float:
    """1 where the right one stands alone at the top; its share of the top where several do."""
    top = np.isclose(scores, scores.max(), atol=1e-6)
    return float(top[right]) / float(top.sum())


def _popularity(bench: Bench, fit_units: frozenset[str], scored_units: frozenset[str], lang: Language) -> float:
    """The accuracy of the candidate that was right most often among the fitted cases; chance without a fit."""
    counts: dict[str, int] = {}
    for row in bench.rows:
        if str(row["id"]) in fit_units:
            counts[row[lang]["disease"]] = counts.get(row[lang]["disease"], 0) + 1
    cases = [_choice(r, lang) for r in bench.rows if str(r["id"]) in scored_units]
    hits = [
        _hit(np.array([counts.get(c, 0) for c in r["candidates"]], dtype=float), r["candidates"].index(r["diagnosis"]))
        for r in cases
    ]
    return sum(hits) / len(hits)
