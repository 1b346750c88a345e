"""The measure's own scan finds what is not in the input; its counts are of what they say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domains.evaluation import Bench
from domains.finance.report import ReportTask
from domains.finance.report_measures import measure
from domains.finance.report_scan import scan
from domains.pipeline import Document, Settings, generate
from fedcore.errors import RecordError

TASK = ReportTask()
TABLE = [
    ["(in millions)", "2024", "2023", "2022"],
    ["Cloud", "$", "700", "$", "600", "$", "500"],
    ["Licences", "300", "250", "240"],
    ["Total revenue", "1,000", "850", "740"],
    ["Net income", "(12)", "80", "75"],
]
FIELDS: dict[str, Any] = {"tables": [TABLE], "facts": [{"concept": "Assets", "value": 3000000, "end": "2024-12-31"}]}


def document(**more: Any) -> Document:
    return generate(TASK, TASK.read({**FIELDS, "style": "industry", **more}), None, Settings())


def altered(document: Document, old: str, new: str) -> Document:
    """The document with one figure changed in its text, as a faulty pipeline would print it."""
    assert any(old in s.text for s in document.sentences)
    return replace(document, sentences=tuple(replace(s, text=s.text.replace(old, new, 1)) for s in document.sentences))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_right_report_has_nothing_untraced(lang: str) -> None:
    found = scan(document(lang=lang), FIELDS)
    assert (found.untraced, found.figures > 30, found.computed > 8) == (0, True, True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("$700 million", "$701 million"),
        ("$700 million", "$700 billion"),
        ("16.7%", "16.8%"),
        ("70.0%", "71.0%"),
        ("in 2024", "in 2019"),
        ("-$12 million", "$12 million"),
        ("2022 to 2024", "2021 to 2024"),
        ("Cloud: $700", "Net income: $700"),
    ],
)
def test_one_wrong_figure_scale_sign_year_or_row_is_found(old: str, new: str) -> None:
    assert scan(altered(document(), old, new), FIELDS).untraced >= 1


def test_a_calculation_that_gives_something_else_traces_nothing() -> None:
    whole = document()
    sentences = []
    for sentence in whole.sentences:
        mentions = tuple(
            replace(m, facts=tuple(replace(f, derivation=f.derivation.replace(", 1)", ", 0)")) for f in m.facts))
            for m in sentence.mentions
        )
        sentences.append(replace(sentence, mentions=mentions))
    assert scan(replace(whole, sentences=tuple(sentences)), FIELDS).untraced > 3


def rows() -> list[dict[str, Any]]:
    def question(text: str, derivation: str, answer: float, scale: str) -> dict[str, Any]:
        return {
            "question": text,
            "derivation": derivation,
            "answer": answer,
            "scale": scale,
            "answer_type": "arithmetic",
        }

    return [
        {
            "table": [["(in millions)", "2024", "2023"], ["Net sales", "110", "100"], ["Costs", "60", "50"]],
            "paragraphs": [],
            "questions": [
                question("What was the change in net sales between 2023 and 2024?", "110 - 100", 10, "million"),
                question("What was the percentage change in costs from 2023 to 2024?", "(60-50)/50", 20, "percent"),
                question("What was the change in costs from 2023 to 2024?", "60 - 50", 11, "million"),
                question("What was the change in costs from 2023 to 2024?", "60 - 50", 10, "thousand"),
                question("What is left?", "110 - 99", 11, "million"),
                {"question": "Which year?", "derivation": "", "answer": "2024", "answer_type": "span"},
            ],
        }
    ]


def test_derivations_count_value_and_scale() -> None:
    scores = measure(Bench(rows=rows(), records=Path("own.jsonl")))
    assert scores.metrics == {
        "untraced": 0.0,
        "covered": 1.0,
        "derivations_right": 2 / 5,
        "derivations_value": 3 / 5,
        "derivations_selected": 2 / 5,
    }
    assert scores.details["counts"]["refused"] == 1


def test_rows_of_figures_with_a_paragraph_are_measured_too() -> None:
    row = {"tables": [TABLE], "facts": [], "section": "Revenue", "target": "Revenue rose to $1,000 million."}
    scores = measure(Bench(rows=[row], records=Path("own.jsonl")))
    assert scores.metrics == {"untraced": 0.0, "covered": 1.0}
    assert scores.details["planted_totals_found"] == 1.0
    assert set(scores.details["by_style"]) == {"research", "industry", "paragraph"}


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(RecordError, match="shape"):
        measure(Bench(rows=[{"text": "x"}], records=Path("own.jsonl")))


class Liar:
    """A model that states figures of its own."""

    def write(self, prompts: Any, **_: Any) -> list[str]:
        return [" Cloud rose 16.7% to $700 million in 2024. Licences were $999 million in 2024." for _ in prompts]


def test_what_a_model_makes_up_never_reaches_a_document() -> None:
    row = {"tables": [TABLE], "facts": [], "section": "Cloud", "target": "x"}
    scores = measure(Bench(rows=[row], records=Path("own.jsonl"), writer=Liar))
    assert (scores.metrics["untraced"], scores.metrics["covered"]) == (0.0, 1.0)
    assert scores.details["by_style"]["paragraph"]["by_model"] >= 1
