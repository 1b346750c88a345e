"""Risks are measured on units that were not trained on, beside what rules and a majority reach."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.base import load_task
from domains.evaluation import Bench, Fit, load_measure
from domains.finance import risk_text
from domains.finance.risk_measures import measure, our_category, rules_that_hold
from domains.finance.risk_rules import load_rules
from domains.finance.risk_synthetic import RISK_SITES, risk_records
from domains.finance.risk_text import LABELS, RiskTextTask
from fedcore.errors import RecordError


def policies(count: int, seed: int) -> list[dict[str, Any]]:
    rows = [r for site in RISK_SITES for r in risk_records(site, count, seed)]
    return [
        {
            "input": r["text"],
            "site": r["site"],
            "labels": ["数据收集", "风险"] if r["label"] == "risk" else ["数据收集"],
        }
        for r in rows
    ]


FILINGS = [
    {
        "input": f"{word} could harm us.",
        "target": f"More on {word}.",
        "category": heading,
        "site": "s",
        "company": str(n),
    }
    for n, (word, heading) in enumerate(
        [("Litigation", "Legal Risks"), ("Exchange rates", "Financial Risks"), ("Lawsuits", "Legal and Tax Risks")] * 2
    )
]


def bench(rows: list[dict[str, Any]], fit: Fit | None = None) -> Bench:
    return Bench(rows=rows, records=Path(__file__), fit=fit)


def test_without_training_sentences_are_judged_by_rules_and_that_is_said() -> None:
    scores = measure(bench(policies(30, seed=1)))
    assert scores.metrics["risk_macro_f1"] == scores.details["risk_macro_f1_rules_alone"]
    assert "rules alone" in scores.notes[0]
    assert scores.details["risk_scored"] == 90


def test_categories_are_told_by_terms_beside_a_majority() -> None:
    scores = measure(bench(FILINGS))
    assert scores.metrics == {"level_rules": 1.0, "category_accuracy": 1.0, "category_majority": pytest.approx(2 / 3)}
    left_out = measure(bench([*FILINGS, FILINGS[0] | {"category": "General Risks"}]))
    assert left_out.details["category_left_out"] == 1


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Risks Related to Data, Security, and Intellectual Property", "data"),
        ("Legal, Tax, Regulatory and Other Risks", "legal"),
        ("Risks Related to Financing and Liquidity", "liquidity"),
        ("Risks Related to the Ownership of Our Common Stock", "governance"),
        ("MACROECONOMIC CONDITIONS", "market"),
        ("Competition and Technology", "strategic"),
        ("Risks Related to Our Operations", "operational"),
        ("Other risks", None),
    ],
)
def test_a_filings_category_becomes_ours(name: str, ours: str | None) -> None:
    assert our_category(name) == ours
    assert ours is None or ours in load_rules().categories


def test_a_rule_that_gives_a_wrong_level_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = load_rules()
    assert rules_that_hold(rules) == 1.0
    monkeypatch.setattr(type(rules.rules[0]), "level", lambda _self, value: "high" if value > 5 else "low")
    assert rules_that_hold(rules) < 0.5


def test_twins_are_never_both_trained_on_and_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = policies(20, seed=2)
    twins = [r | {"input": "  " + r["input"].replace("，", "， "), "site": "elsewhere"} for r in rows]
    seen: list[str] = []

    class Learns:
        labels = LABELS

        def logits(self, prompts: list[str]) -> Any:
            return np.zeros((len(prompts), 2), dtype=np.float32)

    def train(_self: Bench, _task: str, records: list[dict[str, Any]], _recipe: Any) -> Any:
        seen.extend(r["text"] for r in records)
        return Learns()

    monkeypatch.setattr(Bench, "train", train)
    given = bench(rows + twins, Fit(share=0.6, epsilon=None))
    scored = measure(given).details["risk_scored"]
    assert scored + len(seen) == len(rows) * 2
    assert len({t.strip().replace("， ", "，") for t in seen}) * 2 == len(seen)


@pytest.mark.slow
def test_training_beats_the_rules_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk_text, "_DIMENSION", 512)
    scores = measure(bench(policies(60, seed=3), Fit(share=0.6, epsilon=None)))
    assert scores.metrics["risk_macro_f1"] > 0.7 > scores.details["risk_macro_f1_rules_alone"]


def test_a_base_is_what_its_labels_make_it(tmp_path: Path) -> None:
    RiskTextTask().make_base(tmp_path / "a")
    RiskTextTask().make_base(tmp_path / "b")
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    assert load_task("finance.risk-text").kind == "classify"


def test_records_of_another_kind_are_refused() -> None:
    with pytest.raises(RecordError, match="the records hold nothing"):
        measure(bench([{"text": "x"}]))


def test_the_measure_is_installed() -> None:
    assert load_measure("finance.risk") is measure
