"""How `finance.risk` is measured: risky sentences found, categories told, rules that do what their thresholds say.

Rows are of two kinds. A sentence of a policy has `input`, `site` and `labels`, of which one says that it is a
risk. A risk factor of a filing has `input` (its heading), `target` and the filing's own `category`, which is
brought to ours by the words of the category alone.

A **unit** is a sentence with all its twins: letters and digits alike, wherever they stand, so that none is both
trained on and scored. Sentences of one site are read together, in their order: a list of exceptions is not
judged item by item. How many of the scored sentences are flagged follows from the rate of risks in the fit
share. That one rate is read without noise; it serves the measure alone and is part of no adapter and no release.

>>> our_category("Legal, Tax and Regulatory Risks"), our_category("General Risks")
('legal', None)
"""

import re
import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from domains.classifying import Judge, macro_f1
from domains.evaluation import Bench, Recipe, Scores
from domains.finance.risk_rules import Rule, Rules, load_rules
from domains.finance.risk_text import LABELS, RiskTextTask, category_of
from fedcore.errors import RecordError

__all__ = ["measure", "our_category", "rules_that_hold"]

_TASK = "finance.risk-text"
_RISK_MARKS = frozenset({"风险", "潜在风险", "risk"})
_NEIGHBOURS = 0.5
"""How much the mean chance of the two sentences beside it adds to a sentence's own."""
_FLATTER = 2.0
"""The temperature of those chances: a linear model that has seen a sentence is too sure of it."""
_FLAGGED = 0.9
"""How many are flagged, by the fit share's rate: the surest nine of ten. All three are from parts of fit shares."""
_HEADING = 3
"""How often a risk factor's heading counts, where the text under it counts once."""
_RECIPE: dict[str, Any] = {"rounds": 60, "sampling_rate": 0.5, "learning_rate": 0.05, "clip_norm_l2": 8.0}
_PRIVATE: dict[str, Any] = {"rounds": 20, "sampling_rate": 1.0, "learning_rate": 0.05, "clip_norm_l2": 4.0}
"""Few steps over everything: found on parts of fit shares, with the noise of epsilon 8 and 3."""
_OURS = (
    # The words of a filing's category -> ours; the first that fits is taken.
    ("data", r"privacy|cyber|information security|data[ ,]|data protection"),
    ("legal", r"legal|regulat|laws?\b|litigation|compliance|government|tax|intellectual property"),
    ("liquidity", r"liquidity|financing"),
    ("governance", r"ownership|common stock|our stock"),
    ("market", r"econom|financial|finance|market|macro|investments"),
    ("strategic", r"strateg|grow|demand|competit|industry|brand|talent|product offerings|consumer|stakeholder|social"),
    (
        "operational",
        r"operat|suppl|manufactur|business|contracts|system|technology|security|sellers|company|development",
    ),
)

Scored = npt.NDArray[np.float64]
"""One number a row."""


def measure(bench: Bench) -> Scores:
    """Score the kinds of rows that are there.

    Raises:
        RecordError: There is neither kind.
    """
    policies = [r for r in bench.rows if isinstance(r.get("labels"), list) and isinstance(r.get("input"), str)]
    filings = [r for r in bench.rows if isinstance(r.get("category"), str) and isinstance(r.get("target"), str)]
    if not policies and not filings:
        raise RecordError(
            "the records hold nothing that finance.risk is measured on",
            expected='"input" with "labels", or "input", "target" and "category"',
        )
    rules = load_rules()
    metrics: dict[str, float] = {"level_rules": rules_that_hold(rules)}
    details: dict[str, Any] = {"rules_version": rules.version, "rules_digest": rules.digest}
    notes: list[str] = []
    if policies:
        _add(_risks(bench, policies, rules), metrics, details, notes)
    if filings:
        _add(_categories(bench, filings, rules), metrics, details, notes)
    return Scores(metrics=metrics, details=details, notes=tuple(notes))


def rules_that_hold(rules: Rules) -> float:
    """The share of threshold rules whose levels are right at, under and over each of their thresholds."""
    return sum(all(rule.level(v) == level for v, level in _cases(rule)) for rule in rules.rules) / len(rules.rules)


def our_category(name: str) -> str | None:
    """Our category of a filing's; None where its words tell none."""
    low = name.lower()
    return next((ours for ours, pattern in _OURS if re.search(pattern, low)), None)


def _cases(rule: Rule) -> list[tuple[Decimal, str]]:
    """Values beside each threshold with the level that the file's words give them, worked out the slow way."""
    step = Decimal("0.001")
    out = []
    for _, threshold in rule.thresholds:
        for value in (threshold - step, threshold, threshold + step):
            reached = [lv for lv, t in rule.thresholds if (value >= t if rule.above else not value >= t)]
            out.append((value, "high" if "high" in reached else "medium" if "medium" in reached else "low"))
    return out


def _add(scores: Scores, metrics: dict[str, float], details: dict[str, Any], notes: list[str]) -> None:
    metrics.update(scores.metrics)
    details.update(scores.details)
    notes.extend(scores.notes)


def _risks(bench: Bench, rows: Sequence[Mapping[str, Any]], rules: Rules) -> Scores:
    """Risky sentences: trained on a share, by a release, or by the words of the rules alone."""
    truth = np.array([bool(_RISK_MARKS & set(map(str, r["labels"]))) for r in rows], dtype=np.int64)
    units = [_unit(r["input"]) for r in rows]
    fitted, scored = bench.split(units)
    chosen = np.array([u in scored for u in units])
    details: dict[str, Any] = {
        "risk_unit": "sentence",
        "risk_scored": int(chosen.sum()),
        "risks": int(truth[chosen].sum()),
    }
    by_words = np.array([any(p.holds(r["input"]) for p in rules.phrases) for r in rows], dtype=np.int64)
    details["risk_macro_f1_rules_alone"] = macro_f1(by_words[chosen], truth[chosen], 2)
    details["risk_macro_f1_majority"] = macro_f1(np.zeros(int(chosen.sum()), dtype=np.int64), truth[chosen], 2)
    notes: tuple[str, ...] = ()
    if bench.fit is not None:
        predicted = _trained(bench, rows, truth, units, fitted)
    elif (judge := bench.released()) is not None:
        predicted = (_score(judge, rows, sites=False) >= 0).astype(np.int64)
    else:
        predicted, notes = by_words, ("no classifier was asked for: sentences were judged by rules alone",)
    return Scores(
        metrics={"risk_macro_f1": macro_f1(predicted[chosen], truth[chosen], 2)}, details=details, notes=notes
    )


def _trained(
    bench: Bench,
    rows: Sequence[Mapping[str, Any]],
    truth: npt.NDArray[np.int64],
    units: Sequence[str],
    fitted: frozenset[str],
) -> npt.NDArray[np.int64]:
    """Train on the fit share, and flag of the rest what is likeliest to be a risk."""
    records = [
        {"text": r["input"], "label": LABELS[t], "site": str(r["site"]), "unit": f"{u}-{r['site']}"}
        for r, t, u in zip(rows, truth.tolist(), units, strict=True)
        if u in fitted
    ]
    with tempfile.TemporaryDirectory(prefix="concordat-risk-") as place:
        base = Path(place) / "risk-text"
        RiskTextTask().make_base(base)
        judge = bench.train(_TASK, records, Recipe(base=base, private=Recipe(base=base, **_PRIVATE), **_RECIPE))
    chances = 1 / (1 + np.exp(-_score(judge, rows, sites=True) / _FLATTER))
    seen = _together(chances, rows)
    inside = np.array([u in fitted for u in units])
    least = np.quantile(seen[~inside], 1 - _FLAGGED * truth[inside].mean())
    flagged: npt.NDArray[np.int64] = (seen >= least).astype(np.int64)
    return flagged


def _score(judge: Judge, rows: Sequence[Mapping[str, Any]], *, sites: bool) -> Scored:
    """How much likelier than not each row is a risk, in log-odds."""
    task = RiskTextTask()
    prompts = [task.prompt(task.read({"text": r["input"], "site": str(r["site"]) if sites else ""})) for r in rows]
    logits = judge.logits(prompts).astype(np.float64)
    place = judge.labels.index("risk")
    return np.asarray(logits[:, place] - np.delete(logits, place, axis=1).max(axis=1))


def _together(scores: Scored, rows: Sequence[Mapping[str, Any]]) -> Scored:
    """Each number with part of the mean of those beside it in the same site."""
    out = scores.copy()
    for i in range(len(rows)):
        beside = [scores[j] for j in (i - 1, i + 1) if 0 <= j < len(rows) and rows[j]["site"] == rows[i]["site"]]
        out[i] += _NEIGHBOURS * float(np.mean(beside)) if beside else 0.0
    return out


def _categories(bench: Bench, rows: Sequence[Mapping[str, Any]], rules: Rules) -> Scores:
    """Categories of filings' risk factors, by the terms of the rules; a fit share only sets the majority.

    A classifier trained on the few filings of a fit share did worse than the terms.
    """
    named = [(r, ours) for r in rows if (ours := our_category(r["category"])) is not None]
    units = [f"{r.get('company', '')}/{_unit(r['input'])}" for r, _ in named]
    fitted, scored = bench.split(units)
    chosen = [i for i, u in enumerate(units) if u in scored]
    inside = [named[i][1] for i, u in enumerate(units) if u in fitted] or [ours for _, ours in named]
    common = max(sorted(set(inside)), key=inside.count)
    texts = [" ".join([r["input"]] * _HEADING + [r["target"]]) for r, _ in named]
    by_terms = [category_of(text, rules.terms) for text in texts]

    def share(found: Sequence[str | None]) -> float:
        return sum(found[i] == named[i][1] for i in chosen) / len(chosen)

    return Scores(
        metrics={"category_accuracy": share(by_terms), "category_majority": share([common] * len(named))},
        details={"category_scored": len(chosen), "category_left_out": len(rows) - len(named)},
    )


def _unit(text: str) -> str:
    """A sentence's letters and digits, hashed: twins have one unit."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())
    return blake2b(plain.encode(), digest_size=8).hexdigest()
