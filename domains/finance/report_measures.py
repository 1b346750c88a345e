"""How well `finance.report` does, on records of two shapes told apart by their columns.

Records with `tables` and `target` (figures of annual reports with a paragraph) and with `table` and
`questions` (figures with questions and the calculations that answer them) become documents in every style:

- `untraced`: figures of the documents that are neither in the input under their own row nor what their stated
  calculation gives. They are looked for by a slow scan of its own (`domains.finance.report_scan`), never by the
  checker that the pipeline uses.
- `covered`: figures that a document must hold and that the scan finds beside their row's name.
- `derivations_right`: calculations whose operands are found in the input by value and scale and whose result,
  scale and rounding are the expected ones. What is expected is looked at last.
- `derivations_selected`: the same where our own reading of the question chooses the operands.

>>> from pathlib import Path
>>> rows = [{"tables": [[["$ millions", "2024", "2023"], ["Sales", "5", "4"]]], "target": "Sales rose."}]
>>> scores = measure(Bench(rows=rows, records=Path("own.jsonl")))
>>> scores.metrics["untraced"], scores.metrics["covered"]
(0.0, 1.0)
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from domains.evaluation import Bench, Scores
from domains.finance.operands import calculate, figures
from domains.finance.questions import answer
from domains.finance.report import STYLES, ReportTask
from domains.finance.report_scan import scan
from domains.finance.table import read_tables
from domains.finance.totals import totals
from domains.pipeline import Document, Settings, WritesText, generate
from fedcore.errors import RecordError

__all__ = ["measure"]

_WRONG = Decimal("1.07")
"""By what a total is falsified, to see whether the report says so."""
_CENT = Decimal("0.01")
_DIGITS = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


@dataclass
class _Tally:
    """Counts over all rows."""

    counts: Counter[str] = field(default_factory=Counter)
    by_style: dict[str, Counter[str]] = field(default_factory=dict)


def measure(bench: Bench) -> Scores:
    """Score the task.

    Raises:
        RecordError: The rows are of neither shape.
    """
    tally = _Tally()
    writer = bench.writer()
    for row in bench.track(bench.rows, "report"):
        fields = _input(row)
        for style in STYLES:
            _documents(row, fields, style, bench.lang, writer, tally)
        if writer is None:
            _planted(fields, bench.lang, tally)
        for question in row.get("questions", []):
            if isinstance(question, Mapping) and question.get("answer_type") == "arithmetic":
                _derivation(row, question, tally)
    return _scores(tally)


def _input(row: Mapping[str, Any]) -> dict[str, Any]:
    """The task's fields of a row of either shape."""
    if "tables" in row:
        return {"tables": row["tables"], "facts": row.get("facts") or [], "heading": row.get("section") or ""}
    if "table" in row:
        return {"tables": [row["table"]]}
    raise RecordError("the records are of no known shape", expected="a column 'tables' or 'table'")


def _documents(
    row: Mapping[str, Any],
    fields: Mapping[str, Any],
    style: str,
    lang: str | None,
    writer: WritesText | None,
    tally: _Tally,
) -> None:
    """Write one document and look at every figure in it."""
    task = ReportTask()
    counts = tally.by_style.setdefault(style, Counter())
    try:
        source = task.read({**fields, "style": style, "lang": lang or "en"})
    except RecordError:
        tally.counts["unreadable"] += 1
        return
    document = generate(task, source, writer, Settings(temperature=STYLES[style]))
    found = scan(document, fields)
    counts["documents"] += 1
    counts["sentences"] += len(document.sentences)
    counts["by_model"] += sum(s.source == "model" for s in document.sentences)
    counts["figures"] += found.figures
    counts["computed"] += found.computed
    counts["untraced"] += found.untraced
    asked, said = _covered(task, source, document)
    counts["must"] += asked
    counts["said"] += said
    said, there = _reference(row, document)
    counts["reference"] += there
    counts["reference_said"] += said
    counts["findings"] += sum(s.rule == "report.finding" for s in document.sentences)


def _covered(task: ReportTask, source: Any, document: Document) -> tuple[int, int]:
    """How many figures must be said, and how many a sentence says beside their own name."""
    texts = [_bare(s.text) for s in document.sentences]
    asked = said = 0
    for statement in task.skeleton(source).statements:
        for fact in statement.facts if statement.must else ():
            if fact.kind == "number":
                asked += 1
                said += any(
                    _bare(fact.text) in text and any(_bare(cue) in text for cue in fact.cues or {""}) for text in texts
                )
    return asked, said


def _reference(row: Mapping[str, Any], document: Document) -> tuple[int, int]:
    """How many of the figures that the row's own paragraph takes from its tables a document states too."""
    wanted = {str(n["text"]) for n in row.get("numbers") or [] if n.get("traced")}
    digits = {d for text in wanted for d in _DIGITS.findall(text)}
    stated = {d for s in document.sentences for d in _DIGITS.findall(s.text)}
    return len(digits & stated), len(digits)


def _bare(text: str) -> str:
    """In lower case, without spaces and full-width marks, which languages set differently."""
    return "".join(unicodedata.normalize("NFKC", text).lower().split())


def _planted(fields: Mapping[str, Any], lang: str | None, tally: _Tally) -> None:
    """Falsify a total that adds up, and see whether the report says that it does not."""
    for t, table in enumerate(read_tables(fields["tables"])):
        total = next((x for x in totals(table) if x.adds_up and x.row.years and x.columns[0].cell.value), None)
        if total is None:
            continue
        cell = total.columns[0].cell
        wrong = (cell.value * _WRONG).quantize(Decimal(1)) + 3
        place = [int(part.rstrip("]")) for part in cell.path.split("[")[2:]]
        rows = [list(row) for row in fields["tables"][t]]
        rows[place[0]][place[1]] = f"({-wrong:,})" if wrong < 0 else f"{wrong:,}"
        source = ReportTask().read({"tables": [rows], "style": "research", "lang": lang or "en"})
        tally.counts["planted"] += 1
        tally.counts["planted_found"] += any(
            s.rule == "report.finding" for s in ReportTask().skeleton(source).statements
        )


def _derivation(row: Mapping[str, Any], question: Mapping[str, Any], tally: _Tally) -> None:
    """Carry out one calculation, by its own operands and by ours; only then compare."""
    given = figures([row["table"]], row.get("paragraphs") or [])
    tally.counts["derivations"] += 1
    try:
        made = calculate(question["derivation"], given, question["question"])
    except RecordError:
        tally.counts["refused"] += 1
    else:
        value, scale = _expected(question)
        tally.counts["derivations_value"] += made.value == value
        tally.counts["derivations_right"] += made.value == value and made.scale == scale
    chosen = answer(question["question"], row["table"], row.get("paragraphs") or [])
    if chosen is None:
        tally.counts["not_selected"] += 1
        return
    value, scale = _expected(question)
    tally.counts["derivations_selected"] += chosen.value == value and chosen.scale == scale


def _expected(question: Mapping[str, Any]) -> tuple[Decimal, str]:
    return Decimal(str(question["answer"])).quantize(_CENT), str(question.get("scale") or "")


def _scores(tally: _Tally) -> Scores:
    """The counts as shares."""
    whole: Counter[str] = sum(tally.by_style.values(), Counter())
    counts = tally.counts
    metrics: dict[str, float] = {
        "untraced": float(whole["untraced"]),
        "covered": _share(whole["said"], whole["must"]),
    }
    if counts["derivations"]:
        for name in ("derivations_right", "derivations_value", "derivations_selected"):
            metrics[name] = _share(counts[name], counts["derivations"])
    details = {
        "by_style": {style: dict(found) for style, found in tally.by_style.items()},
        "counts": dict(counts),
        "planted_totals_found": _share(counts["planted_found"], counts["planted"]),
        "reference_figures_said": {
            style: _share(found["reference_said"], found["reference"])
            for style, found in tally.by_style.items()
            if found["reference"]
        },
    }
    return Scores(metrics=metrics, details=details, notes=tuple(_notes(tally, whole)))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _notes(tally: _Tally, whole: Counter[str]) -> Iterator[str]:
    yield f"{whole['figures']} figures in {whole['documents']} documents, {whole['computed']} of them computed"
    if tally.counts["refused"]:
        yield f"{tally.counts['refused']} calculations refused: an operand is not in the input"
    if not whole["must"]:
        yield "nothing had to be said: covered is 1 for want of anything"
