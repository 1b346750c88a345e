"""A point of a list is read after the words that open the list, and nothing else is."""

import pytest

from domains.finance._lead_ins import in_context
from domains.finance._pairs import pair_words


def test_points_follow_the_words_that_open_their_list() -> None:
    passages = ["1. The recipient must never:", "(a) lend the samples;", "(b) sell them.", "2. The term is a year."]
    assert in_context(passages) == (
        "1. The recipient must never:",
        "The recipient must never: lend the samples;",
        "The recipient must never: sell them.",
        "2. The term is a year.",
    )


@pytest.mark.parametrize("mark", ["(a)", "b)", "iv.", "(iii)", "2.1", "3.", "•"])
def test_marks_of_many_kinds_number_a_point(mark: str) -> None:
    assert in_context(["Nobody may:", f"{mark} lend the samples."])[1] == "Nobody may: lend the samples."


def test_a_list_may_open_without_a_colon_where_a_letter_follows() -> None:
    assert in_context(["The recipient will", "(i) lock them away, and", "(ii) count them."])[2] == (
        "The recipient will count them."
    )


@pytest.mark.parametrize(
    "passages",
    [
        ["SAMPLES OF THE WORKS", "1. The recipient keeps them."],  # A heading opens no list.
        ["The recipient must never lend them.", "(a) It may keep them."],
        ["The recipient must never:", "It may keep them."],
        ["The recipient must never:", "(a) lend them.", "(b) It may keep them."],
    ],
)
def test_what_hangs_on_nothing_stays_as_it_is(passages: list[str]) -> None:
    assert in_context(passages)[-1] == passages[-1]


def test_a_point_that_opens_a_list_is_read_alone_as_its_opening() -> None:
    passages = ["The recipient:", "(a) must never:", "(i) lend them."]
    assert in_context(passages)[-1] == "must never: lend them."


def test_there_are_as_many_passages_after_as_before_and_none_may_be_empty() -> None:
    assert in_context([]) == ()
    assert in_context(["", "Nobody may:", " ", "(a) lend them.", "(b)"]) == (
        "",
        "Nobody may:",
        " ",
        "Nobody may: lend them.",
        "(b)",
    )


def test_a_long_opening_is_cut_before_it_is_repeated() -> None:
    passages = ["a " * 5000 + "it must never:", *["(a) lend them;"] * 100]
    assert in_context(passages)[-1].endswith("it must never: lend them;")
    assert sum(map(len, in_context(passages))) < 100_000


def test_a_prohibition_reaches_the_points_below_it() -> None:
    clause = "Receiving Party may create a copy of some Confidential Information in some circumstances."
    text = "The recipient shall not: (a) lend the samples; or (b) duplicate the drawings."
    points = [text.index("(a)"), text.index("(b)")]
    spans = [(0, points[0] - 1), (points[0], points[1] - 4), (points[1], len(text))]
    assert "copy:denied" in pair_words(text, clause, spans).split()
    assert "copy:not-denied" in pair_words(text[points[1] :], clause).split()
