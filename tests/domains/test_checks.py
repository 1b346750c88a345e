"""What passes a check stands in the input; each test is one way to print something that does not."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains._figures import dates, normalise, numbers
from domains._lexicon import looks_like_drug, number_of
from domains.base import Fact, Skeleton, Statement
from domains.checks import Checker
from domains.finance._words import VOCABULARY as REPORT_WORDS
from domains.medicine._words import VOCABULARY as NOTE_WORDS


def _drug(name: str, dose: int, often: str) -> tuple[Fact, ...]:
    return (
        Fact(kind="name", path="m", text=name, drug=True, beside=frozenset({"takes"})),
        Fact(kind="number", path="m", text=f"{dose} mg", value=Decimal(dose), units=frozenset({"mg"}), subject=(name,)),
        Fact(kind="name", path="m", text=often, subject=(name,)),
    )


_VISIT = (
    Fact(kind="date", path="day", text="2024-03-02"),
    Fact(
        kind="number", path="age", text="67", value=Decimal(67), units=frozenset({"year", ""}), cues=frozenset({"aged"})
    ),
    Fact(kind="name", path="sex", text="woman", also=("she", "her")),
    Fact(kind="name", path="c1", text="type 2 diabetes"),
    Fact(kind="name", path="c2", text="no chest pain"),
    Fact(
        kind="number",
        path="bp",
        text="BP 142/88 mmHg",
        value=Decimal(142),
        second=Decimal(88),
        units=frozenset({"", "mmhg"}),
        cues=frozenset({"BP", "blood pressure"}),
    ),
    Fact(
        kind="number",
        path="hr",
        text="HR 76/min",
        value=Decimal(76),
        units=frozenset({"", "/min"}),
        cues=frozenset({"HR", "pulse"}),
    ),
    *_drug("metformin", 500, "twice daily"),
    *_drug("aspirin", 75, "daily"),
    Fact(kind="name", path="a", text="penicillin", cues=frozenset({"allergic"}), beside=frozenset({"allergic"})),
)
NOTE = Checker(
    Skeleton(
        statements=(Statement(rule="all", text="", facts=_VISIT),),
        vocabulary=NOTE_WORDS,
        forbidden=("no known allergies",),
    )
)


@pytest.mark.parametrize(
    "sentence",
    [
        "A 67-year-old woman with type 2 diabetes.",
        "She is sixty-seven years old.",
        "Seen on 2 March 2024, aged 67.",
        "Visit of March 2, 2024: blood pressure 142/88, pulse 76 beats per minute.",
        "On metformin 500 mg twice daily and aspirin 75 mg daily.",
        "Takes 500 milligrams of metformin.",
        "Allergic to penicillin.",
        "There was no chest pain.",
        "HR ７６/min in a 67-year-old woman.",
    ],
)
def test_what_the_input_holds_passes(sentence: str) -> None:
    assert NOTE.check(sentence).faults == ()


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        ("A 68-year-old woman.", "number"),
        ("She is sixty-eight years old.", "number"),
        ("A 67-year-old woman takes.", "word"),
        ("A 67-year-old woman is allergic.", "word"),
        ("A 67-month-old woman.", "number"),
        ("BP 142/89.", "number"),
        ("BP 142.", "number"),
        ("BP 1,42/88.", "number"),
        ("BP -142/88.", "number"),
        ("HR 76-80.", "number"),
        ("HR 76.5.", "number"),
        ("HR > 76.", "symbol"),
        ("HR 76%.", "number"),
        ("HR 142/88, BP 76.", "attribution"),
        ("Seen on 3 March 2024.", "date"),
        ("Seen on 02.03.2023.", "date"),
        ("Seen in April 2024.", "date"),
        ("Seen in 2023.", "number"),
        ("HR 76 at 9:30.", "number"),
        ("On metformin 75 mg daily.", "attribution"),
        ("On metformin 500 mg daily and aspirin 75 mg twice daily.", "attribution"),
        ("On metformin 500 mcg twice daily.", "number"),
        ("On metformin 500 twice daily.", "number"),
        ("On atorvastatin 500 mg twice daily.", "drug"),
        ("Prescribed rivastigmine.", "drug"),
        ("Prescribed penicillin.", "attribution"),
        ("Allergic to metformin.", "attribution"),
        ("No known allergies.", "negation"),
        ("There was chest pain.", "word"),
        ("A woman without type 2 diabetes.", "negation"),
        ("Denies type 2 diabetes.", "negation"),
        ("A 67-year-old man.", "word"),
        ("A woman with type 1 diabetes.", "word"),
        ("A woman with diabetes.", "word"),
        ("Ward B12.", "code"),
        ("HR 76abc.", "code"),
        ("HR LXXVI.", "word"),
        ("HR 七十六.", "word"),
        ("HR soixante-seize.", "word"),
        ("HR ½.", "number"),
        ("HR ⑦⑥ and 77.", "number"),
        ("A couple of visits.", "number"),
        ("Seen a dozen times.", "number"),
        ("HR 76 🙂.", "symbol"),
    ],
)
def test_what_the_input_does_not_hold_fails(sentence: str, fault: str) -> None:
    assert fault in NOTE.check(sentence).faults


def test_hidden_characters_do_not_hide_a_figure() -> None:
    assert "number" in NOTE.check("HR 7\u200b7.").faults
    assert "number" in NOTE.check("HR ٧٧.").faults
    assert NOTE.check("HR 7\u200b6.").text == "HR 76."


def _row(label: str, new: int, old: int) -> tuple[Fact, ...]:
    shared = {"cues": frozenset({label}), "scale": "million", "units": frozenset({"", "$"})}
    sense = "up" if new > old else "down"
    percent = abs(Decimal(new - old) * 100 / old).quantize(Decimal("0.1"))
    return (
        Fact(kind="name", path=label, text=label),
        Fact(kind="number", path="new", text=f"${new:,}", value=Decimal(new), when="2024", **shared),  # type: ignore[arg-type]
        Fact(kind="number", path="old", text=f"${old:,}", value=Decimal(old), when="2023", **shared),  # type: ignore[arg-type]
        Fact(
            kind="number",
            path="new",
            text=f"{percent}%",
            value=percent,
            units=frozenset({"%"}),
            cues=frozenset({label}),
            when="2024",
            sense=sense,
            derivation="(new - old) / old",
        ),
    )


REPORT = Checker(
    Skeleton(
        statements=(
            Statement(
                rule="all", text="", facts=(*_row("Net sales", 12682, 11517), *_row("Operating costs", 940, 1000))
            ),
        ),
        vocabulary=REPORT_WORDS,
        extra=(Fact(kind="date", path="h", text="2024"), Fact(kind="date", path="h", text="2023")),
    )
)


@pytest.mark.parametrize(
    "sentence",
    [
        "Net sales rose 10.1% to $12,682 million in 2024 from $11,517 million in 2023.",
        "In 2024, net sales were $12,682 million, compared with $11,517 million in 2023.",
        "Net sales of $12.68 billion were up 10.1%.",
        "Net sales increased 10.1% while operating costs fell 6.0% to $940 million.",
        "Operating costs declined to $940 million from $1,000 million.",
    ],
)
def test_a_report_of_the_tables_own_figures_passes(sentence: str) -> None:
    assert REPORT.check(sentence).faults == ()


MARGIN = Fact(
    kind="number", path="m", text="45%", value=Decimal(45), units=frozenset({"%"}), cues=frozenset({"Gross margin"})
)
LEVEL = Checker(
    Skeleton(statements=(Statement(rule="all", text="", facts=(MARGIN,)),), vocabulary=REPORT_WORDS | {"up", "down"})
)


@pytest.mark.parametrize("sentence", ["Gross margin was 45%.", "Gross margin of 45%.", "Gross margin rose to 45%."])
def test_a_level_passes_as_a_level(sentence: str) -> None:
    assert LEVEL.check(sentence).faults == ()


@pytest.mark.parametrize(
    "words", ["rose", "rose by", "fell", "declined by", "increased", "grew", "was up", "with growth of"]
)
def test_a_level_is_no_change(words: str) -> None:
    assert "attribution" in LEVEL.check(f"Gross margin {words} 45%.").faults


def test_a_change_is_no_level() -> None:
    assert REPORT.check("Net sales increased 10.1%.").faults == ()
    assert "attribution" in REPORT.check("Net sales increased to 10.1%.").faults
    assert "attribution" in REPORT.check("Net sales increased $12,682 million.").faults


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        ("Net sales rose 10.2% to $12,682 million.", "number"),
        ("Net sales rose 10% to $12,682 million.", "number"),
        ("Net sales were $12,682.", "number"),
        ("Net sales were $12,682 billion.", "number"),
        ("Net sales were $13 billion.", "number"),
        ("Net sales were €12,682 million.", "number"),
        ("Net sales were -$12,682 million.", "number"),
        ("Net sales were $940 million.", "attribution"),
        ("Net sales were $12,682 million in 2023.", "attribution"),
        ("Net sales were $11,517 million.", "attribution"),
        ("Net sales fell 10.1% to $12,682 million.", "attribution"),
        ("Net sales fell to $12,682 million.", "direction"),
        ("Operating costs rose to $940 million.", "direction"),
        ("Net sales rose on strong demand.", "word"),
        ("Net sales doubled to $12,682 million.", "number"),
        ("Net sales rose ten percent.", "number"),
        ("Net sales were $12,682 million in 2025.", "number"),
    ],
)
def test_a_report_of_other_figures_fails(sentence: str, fault: str) -> None:
    assert fault in REPORT.check(sentence).faults


def test_a_rounded_figure_says_so_in_its_trace() -> None:
    mentions = REPORT.check("Net sales of $12.68 billion in 2024.").mentions
    assert [m.rounded for m in mentions if m.kind == "number"] == [True]


@given(st.integers(0, 10**6), st.sampled_from(["HR {}.", "HR {} bpm.", "A {}-year-old woman.", "On metformin {} mg."]))
def test_any_other_number_in_a_good_sentence_fails(number: int, sentence: str) -> None:
    allowed = {"HR {}.": {76}, "HR {} bpm.": {76}, "A {}-year-old woman.": {67}, "On metformin {} mg.": {500}}
    checked = NOTE.check(sentence.format(number))
    assert (checked.faults == ()) == (number in allowed[sentence])


_ALPHABET = st.sampled_from(list("0123456789.,/-%$() abcdefghijklmnopqrstuvwxyzABCDEFG½²七十٣７Ⅳ①"))


@given(st.text(_ALPHABET, max_size=40))
def test_no_random_text_passes_with_a_figure_that_the_input_lacks(text: str) -> None:
    """The slow twin looks at digits alone, knowing nothing of the checker."""
    checked = NOTE.check(text)
    if not checked.faults:
        held = {"2024", "03", "02", "2", "67", "142", "88", "76", "500", "75"}
        assert set(re.findall(r"\d+", checked.text)) <= held
        assert checked.text.isascii()


@pytest.mark.parametrize(
    ("words", "value"),
    [("seventeen", 17), ("twenty one", 21), ("two hundred", 200), ("three million", 3_000_000), ("ninety", 90)],
)
def test_numbers_in_words_have_their_value(words: str, value: int) -> None:
    assert number_of(words.split()) == value
    assert [f.value for f in numbers(words)] == [value]


@given(st.integers(0, 99), st.integers(0, 99))
def test_a_ratio_and_a_plain_number_are_read_as_written(first: int, second: int) -> None:
    (ratio,) = numbers(f"{first}/{second}")
    assert (ratio.value, ratio.second) == (first, second)


def test_an_ambiguous_date_is_read_both_ways() -> None:
    (when,) = dates("on 02/03/2024")
    assert set(when.readings) == {(2024, 3, 2), (2024, 2, 3)}


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_drug_names_are_known_by_list_and_by_stem() -> None:
    assert all(map(looks_like_drug, ("metformin", "Lisinopril", "evolozumab", "losartan")))
    assert not any(map(looks_like_drug, ("April", "reservoir", "woman", "daily")))


def test_a_stop_inside_a_name_ends_no_sentence() -> None:
    name = Fact(kind="name", path="n", text="Vit. D deficiency")
    checker = Checker(
        Skeleton(statements=(Statement(rule="r", text="", facts=(name,)),), vocabulary=frozenset({"has"}))
    )
    assert checker.sentences("Has Vit. D deficiency. Has Vit. D deficiency.") == ["Has Vit. D deficiency."] * 2
