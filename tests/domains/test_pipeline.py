"""Whatever the model writes, a document is complete and holds no figure that the input lacks."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.base import Fact, Skeleton, Statement, Task, load_task
from domains.finance import synthetic as companies
from domains.medicine import synthetic as patients
from domains.medicine.visit import visits
from domains.pipeline import Document, Settings, draft, generate, generate_all
from fedcore.errors import ConcordatError

RECORD, REPORT = load_task("medicine.record"), load_task("finance.report")
ROWS: list[tuple[Task, dict[str, Any], str]] = [
    *((RECORD, row, row["note"]) for site in patients.SITES for row in patients.records(site, 4, 11)),
    *((REPORT, row, row["paragraph"]) for site in companies.SITES for row in companies.records(site, 4, 11)),
]
WORDS = "one two three seventeen twenty hundred million half twice once double dozen first second".split()  # noqa: SIM905
NUMERALS = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass
class Script:
    """A writer that says what it is given, in turn, and remembers what it was asked."""

    texts: list[str]
    asked: list[tuple[list[str], float, int]] = field(default_factory=list)

    def write(self, prompts: Sequence[str], *, max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        text = self.texts[min(len(self.asked), len(self.texts) - 1)]
        self.asked.append((list(prompts), temperature, seed))
        return [text] * len(prompts)


def _holds_only_the_input(task: Task, source: Any, document: Document) -> None:
    """The slow twin: digits and number words of the document against the skeleton's own, by plain search."""
    skeleton = task.skeleton(source)
    held = " ".join([t for f in skeleton.facts for t in (f.text, *f.also)] + [s.text for s in skeleton.statements])
    assert set(NUMERALS.findall(document.text)) <= set(NUMERALS.findall(held))
    said, known = set(re.findall(r"[a-z]+", document.text.lower())), set(re.findall(r"[a-z]+", held.lower()))
    assert said & set(WORDS) <= known
    assert not any(c.isnumeric() and not c.isascii() for c in document.text)
    assert document.untraced == 0


_PIECES = st.one_of(
    st.text(max_size=12),
    st.integers(-(10**6), 10**6).map(str),
    st.decimals(-1000, 1000, places=1, allow_nan=False).map(str),
    st.dates().map(str),
    st.sampled_from(
        [*WORDS, "mg", "mmHg", "%", "million", "$", "IV", "XII", "七", "十二", "７６", "٣", "½", ". ", ".\n", "\n"]
    ),
    st.sampled_from(["Takes", "metformin", "warfarin", "BP", "HR", "Net income", "rose", "fell", "no", "allergies"]),
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(ROWS) - 1), st.lists(_PIECES, max_size=30), st.sampled_from(["", " "]))
def test_no_random_text_puts_an_untraced_figure_into_a_document(row: int, pieces: list[str], glue: str) -> None:
    task, fields, _ = ROWS[row]
    source = task.read(fields)
    document = generate(task, source, Script([glue.join(pieces)]), Settings())
    _holds_only_the_input(task, source, document)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(ROWS) - 1), st.integers(0, 2**32))
def test_no_altered_figure_of_a_good_text_gets_through(row: int, seed: int) -> None:
    task, fields, reference = ROWS[row]
    source = task.read(fields)
    chooser = random.Random(seed)  # noqa: S311
    target = chooser.choice(list(re.finditer(r"\d+", reference)))
    altered = str(int(target.group()) + chooser.choice((1, 7, 10, 100)))
    document = generate(
        task, source, Script([f" {reference[: target.start()]}{altered}{reference[target.end() :]}"]), Settings()
    )
    _holds_only_the_input(task, source, document)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(ROWS) - 1), st.integers(0, 2**32))
def test_figures_shuffled_within_a_good_text_never_change_what_is_said(row: int, seed: int) -> None:
    """Every figure is the input's own, only in the wrong place: each trace still leads to a fact of that value."""
    task, fields, reference = ROWS[row]
    source = task.read(fields)
    found = NUMERALS.findall(reference)
    random.Random(seed).shuffle(found)  # noqa: S311
    turns = iter(found)
    document = generate(task, source, Script([" " + NUMERALS.sub(lambda _: next(turns), reference)]), Settings())
    for sentence in document.sentences:
        for mention in sentence.mentions:
            if mention.kind == "number" and mention.fact.cues and mention.fact.scale:
                label = min(mention.fact.cues, key=len)
                assert label.lower() in sentence.text.lower()
    _holds_only_the_input(task, source, document)


@pytest.mark.parametrize("text", ["", " ", "\n\n\n", "garbage", "0", "." * 500, "\x00\ufffd", "Note: " * 50])
def test_nothing_useful_from_the_model_still_gives_a_complete_document(text: str) -> None:
    for task, fields, _ in ROWS[::6]:
        source = task.read(fields)
        document = generate(task, source, Script([text]), Settings())
        assert [s.text for s in document.sentences] == [s.text for s in task.skeleton(source).statements]
        assert {s.source for s in document.sentences} == {"skeleton"}
        assert document.figures > 0


def test_good_prose_is_kept_as_the_model_wrote_it() -> None:
    for task, fields, reference in ROWS:
        document = generate(task, task.read(fields), Script([" " + reference]), Settings())
        written = [s.text for s in document.sentences if s.source == "model"]
        assert document.replaced == document.rewritten == 0
        assert " ".join(written) == reference


def test_a_failed_sentence_is_written_again_cooler_and_with_another_seed() -> None:
    task, fields, reference = ROWS[0]
    good = reference.split(". ")[0] + "."
    script = Script([" A 199-year-old patient.", " " + good])
    document = generate(task, task.read(fields), script, Settings(temperature=0.6, seed=5))
    assert document.rewritten == 1
    assert document.replaced == 0
    assert good in document.text
    (_, first, seed), (_, second, other) = script.asked
    assert second < first
    assert seed != other


class Recites:
    """A writer whose texts follow from each prompt alone, the longest of which never pass."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def write(self, prompts: Sequence[str], *, max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        self.calls.append(len(prompts))
        known = {task.prompt(task.read(fields)): text for task, fields, text in ROWS}
        return [" " + known.get(p, "A 199-year-old patient.") + " Seen 99 times. Takes 98 mg." for p in prompts]


def test_many_documents_are_what_each_is_alone_and_ask_the_model_together() -> None:
    several = [task.read(fields) for task, fields, _ in ROWS if task is RECORD]
    alone = [generate(RECORD, source, Recites(), Settings()) for source in several]
    together = Recites()
    assert generate_all(RECORD, several, together, Settings()) == alone
    assert together.calls[0] == len(several)
    assert len(together.calls) == 3, "once for all first drafts, twice for what failed"
    assert generate_all(RECORD, several, None, Settings()) == [generate(RECORD, s, None, Settings()) for s in several]


def test_a_sentence_is_written_again_at_most_twice() -> None:
    task, fields, _ = ROWS[0]
    script = Script([" A 199-year-old patient."])
    document = generate(task, task.read(fields), script, Settings())
    assert len(script.asked) == 3
    assert document.replaced == 1


def test_failed_sentences_in_a_row_are_taken_up_one_after_the_other() -> None:
    task, fields, reference = ROWS[0]
    first, second, *_ = (s.rstrip(".") + "." for s in reference.split(". "))

    class Better:
        """Writes what the note has next, once it is asked again."""

        def __init__(self) -> None:
            self.asked: list[tuple[str, ...]] = []

        def write(self, prompts: Sequence[str], **_: object) -> list[str]:
            self.asked.append(tuple(prompts))
            if len(self.asked) == 1:
                return [" Seen 99 times. Takes 98 mg. Weighs 97 kg."]
            return [" " + (second if first in p else first) for p in prompts]

    writer = Better()
    document = generate(task, task.read(fields), writer, Settings())
    prompt = task.prompt(task.read(fields))
    assert writer.asked == [(prompt,), (prompt,), (f"{prompt} {first}",)]
    assert [s.text for s in document.sentences if s.source == "model"] == [first, second]
    assert (document.rewritten, document.replaced) == (2, 1)


def test_a_sentence_that_fails_for_good_is_replaced_and_marked() -> None:
    task, fields, _ = ROWS[0]
    source = task.read(fields)
    plan = next(s for s in task.skeleton(source).statements if s.rule == "record.plan")
    document = generate(task, source, Script([f" {plan.text[:-1]} 999 times."]), Settings())
    replacement = next(s for s in document.sentences if s.replaces)
    assert (replacement.text, replacement.source, replacement.rule) == (plan.text, "skeleton", "record.plan")


def test_what_must_be_said_is_added_where_it_belongs() -> None:
    task, fields, reference = ROWS[0]
    first, *_ = reference.split(". ")
    document = generate(task, task.read(fields), Script([f" {first}."]), Settings())
    rules = [s.rule for s in document.sentences]
    assert rules == sorted(rules, key=["record.date", "record.opening", *rules].index)
    assert document.added == len(document.sentences) - 1


def test_another_record_that_the_model_makes_up_is_cut_off() -> None:
    task, fields, reference = ROWS[0]
    document = generate(task, task.read(fields), Script([f" {reference}\nNote: A 12-year-old girl."]), Settings())
    assert document.replaced == 0


def test_a_repeated_sentence_is_said_once() -> None:
    task, fields, reference = ROWS[0]
    document = generate(task, task.read(fields), Script([f" {reference} {reference}"]), Settings())
    assert document.repeated > 0
    assert document.text.count(reference.split(". ")[0]) == 1


def test_a_text_cut_off_in_mid_sentence_loses_its_last_piece() -> None:
    task, fields, reference = ROWS[0]
    cut = reference.rsplit(". ", 1)[0]
    document = generate(task, task.read(fields), Script([f" {cut}"]), Settings())
    assert document.replaced == 0


def test_without_a_model_the_skeleton_alone_speaks() -> None:
    task, fields, _ = ROWS[0]
    document = generate(task, task.read(fields), None, Settings())
    assert document.added == document.replaced == 0
    assert {s.source for s in document.sentences} == {"skeleton"}


def test_a_skeleton_that_says_more_than_its_facts_gives_no_document() -> None:
    fact = Fact(kind="name", path="p", text="asthma")
    wrong = Statement(rule="r.wrong", text="Asthma for 12 years.", facts=(fact,))
    skeleton = Skeleton(statements=(wrong,), vocabulary=frozenset({"for", "years"}))
    with pytest.raises(ConcordatError, match=r"rule r\.wrong cannot be traced"):
        draft(RECORD, skeleton, "Note:", None, Settings())


def test_the_trace_of_a_document_leads_to_the_input() -> None:
    task, fields, reference = ROWS[0]
    value = generate(task, task.read(fields), Script([" " + reference]), Settings()).to_dict()
    figures = [t for s in value["sentences"] for t in s["trace"] if t["figure"]]
    assert len(figures) == value["checks"]["figures"] > 0
    assert all(t["path"].startswith("Bundle.entry[") for t in figures)
    assert value["text"] == " ".join(s["text"] for s in value["sentences"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4), st.text(min_size=1, max_size=15))
def test_any_wording_of_an_input_can_be_said_whole(problems: list[str], drug: str) -> None:
    who = {"subject": {"reference": "Patient/p"}}
    resources = [
        *({"resourceType": "Condition", "code": {"text": text}, **who} for text in problems),
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": {"text": drug},
            **who,
        },
    ]
    visit = visits({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]})[0]
    document = generate(RECORD, visit, None, Settings())
    for item in (*visit.problems, *(d.name for d in visit.drugs)):
        text = item if isinstance(item, str) else item.text
        assert text.lower() in document.text.lower()
