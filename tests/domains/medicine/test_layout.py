"""Every statement of a note stands in one section; which, is configured."""

import pytest

from domains.medicine._layout import KINDS, layout
from domains.medicine.record import RecordTask
from domains.medicine.synthetic import public_examples
from domains.pipeline import Settings, generate
from fedcore.errors import RecordError

TASK = RecordTask()
ROW = public_examples(1, seed=3)[0]


@pytest.mark.parametrize(
    ("lang", "headings"),
    [("en", ["Subjective", "Objective", "Assessment", "Plan"]), ("zh", ["主观资料", "客观资料", "评估", "计划"])],
)
def test_soap_is_the_default(lang: str, headings: list[str]) -> None:
    statements = TASK.skeleton(TASK.read({"bundle": ROW["bundle"], "lang": lang})).statements
    assert list(dict.fromkeys(s.section for s in statements)) == [
        h for h in headings if h in {s.section for s in statements}
    ]
    assert {s.section for s in statements} <= set(headings)


def test_a_document_shows_its_headings_and_every_sentence_once() -> None:
    document = generate(TASK, TASK.read(ROW), None, Settings())
    lines = document.rendered.splitlines()
    assert lines[0] == "Subjective"
    assert " ".join(line for line in lines if line and line not in document.sections) == document.text
    assert [s for _, group in document.parts for s in group] == list(document.sentences)
    assert {s["section"] for s in document.to_dict()["sentences"]} == set(document.sections)


def test_sections_of_ones_own_keep_what_no_heading_names() -> None:
    fields = {"bundle": ROW["bundle"], "sections": {"Drugs": ["drug", "taken"], "Story": ["opening", "problem"]}}
    document = generate(TASK, TASK.read(fields), None, Settings())
    assert document.rendered.startswith("Drugs\nPrescribed ")
    assert document.sections[-1] == "Other"
    plain = generate(TASK, TASK.read({"bundle": ROW["bundle"], "sections": "none"}), None, Settings())
    assert plain.rendered == plain.text
    assert sorted(s.text for s in plain.sentences) == sorted(s.text for s in document.sentences)


@pytest.mark.parametrize(
    "wrong", ["apso", 7, {"A": "drug"}, {"A": ["drugs"]}, {"A": ["drug"], "B": ["drug"]}, {"": []}]
)
def test_a_layout_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(RecordError, match="sections"):
        TASK.read({"bundle": ROW["bundle"], "sections": wrong})


def test_every_kind_has_one_place() -> None:
    soap = layout(None, "en")
    assert sorted(KINDS) == sorted(k for _, kinds in soap.headings for k in kinds)
    assert len({soap.place(f"record.{k}") for k in KINDS}) == len(KINDS)
