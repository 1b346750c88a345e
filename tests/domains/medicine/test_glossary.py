"""The glossary is whole, plain, and says nothing that its terms do not."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wordfreq import zipf_frequency

from domains._han_figures import han_numbers
from domains._lexicon import NEGATIONS, NUMBER_WORDS
from domains.medicine._kept import stated
from domains.medicine.glossary import bracketed, entries, find, replaced, reworded


def test_there_are_as_many_terms_as_promised() -> None:
    assert len(entries("en")) >= 250
    assert len(entries("zh")) >= 150
    assert len({e.name for lang in ("en", "zh") for e in entries(lang)}) == len(entries("en")) + len(entries("zh"))  # type: ignore[arg-type]


def test_no_term_is_in_two_entries() -> None:
    for lang in ("en", "zh"):
        terms = [t if e.table == "abbreviations" else t.lower() for e in entries(lang) for t in e.terms]  # type: ignore[arg-type]
        assert len(terms) == len(set(terms)), [t for t in terms if terms.count(t) > 1]


def test_plain_words_state_what_their_terms_state() -> None:
    """No figure, negation or side comes in or goes out with a gloss."""
    for lang in ("en", "zh"):
        for entry in entries(lang):  # type: ignore[arg-type]
            for i, term in enumerate(entry.terms):
                plain = entry.plain[i] if entry.table == "verbs" else entry.plain[0]
                assert stated(plain, lang) == stated(term, lang), (entry.name, term)  # type: ignore[arg-type]


def test_only_terms_of_absence_and_of_dosing_bring_negations_and_numbers() -> None:
    for entry in entries("en"):
        words = set(" ".join(entry.plain).lower().replace(",", " ").split())
        assert bool(words & NEGATIONS) == entry.absent or entry.name == "en.discontinue", entry.name
        assert not words & NUMBER_WORDS or entry.table == "dosing", entry.name
    for entry in entries("zh"):
        assert not any(han_numbers(p) for p in entry.plain) or entry.table == "dosing", entry.name


def test_plain_words_are_hardly_ever_rare() -> None:
    for entry in entries("en"):
        rare = [
            w for w in entry.plain[0].lower().replace(",", " ").replace("-", " ").split() if zipf_frequency(w, "en") < 3
        ]
        terms = {w for t in entry.terms for w in t.lower().split()}
        assert len(set(rare) - terms) <= 1, (entry.name, rare)


def test_no_plain_wording_holds_another_term() -> None:
    """What stands in plain words needs no glossary."""
    again = {e.name for e in entries("en") if e.table in ("nouns", "verbs") for p in e.plain if find(p, "en")}
    assert not again - {"en.anorexia"}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Multiple nodules and metastases.", "Multiple small lumps and spread of the cancer."),
        ("A fracture of the humerus with an edematous arm.", "A fracture of the humerus with a swollen arm."),
        ("The patient ambulates; he was ambulating.", "The patient walks; he was walking."),
        ("MYOCARDIAL INFARCTION", "HEART ATTACK"),
        ("Takes 5 mg bid prn.", "Takes 5 mg twice a day when needed."),
        ("They bid for the house.", "They bid for the house."),
        ("Has multiple sclerosis.", "Has multiple sclerosis."),
        ("Seen at Pulmonary Associates.", "Seen at Pulmonary Associates."),
        ("Tylenol q6h.", "Tylenol every 6 hours."),
        ("The prognosis (likely outcome) is good.", "The likely outcome is good."),
        ("Takes 5 mg b.i.d.", "Takes 5 mg twice a day."),
        ("Takes 5 mg b.i.d. with food.", "Takes 5 mg twice a day with food."),
        ("Afebrile.", "Without fever."),
        ("A post-hypertension-like state.", "A post-hypertension-like state."),
    ],
)
def test_english_terms_are_found_as_they_are_written(text: str, plain: str) -> None:
    assert reworded(text, "en") == plain


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("患者劳力性呼吸困难。", "患者活动后喘气费力。"),
        ("口服0.5g bid。", "吃0.5g 每天两次。"),
        ("双侧水肿，无发热。", "左边和右边肿，无发烧。"),
        ("去发热门诊。", "去发热门诊。"),
        ("心率90次/分，ABCbid。", "心率90次/分，ABCbid。"),
    ],
)
def test_chinese_terms_are_found_longest_first(text: str, plain: str) -> None:
    assert reworded(text, "zh") == plain


def test_brackets_hold_the_plain_words_and_leave_the_text_whole() -> None:
    assert bracketed("HTN; 5 mg BID.", "en") == "HTN (High blood pressure); 5 mg BID."
    assert bracketed("无心悸。", "zh") == "无心悸（心慌）。"


_TERMS = [t for e in entries("en") for t in e.terms] + ["and", "5 mg", "no", "of the", "left", "A", "12/80", ",", "."]


@given(st.lists(st.sampled_from(_TERMS), max_size=8).map(" ".join))
def test_uses_never_overlap_and_places_hold_the_plain_words(text: str) -> None:
    uses = find(text, "en")
    assert all(a.end <= b.start for a, b in pairwise(uses))
    plain, places = replaced(text, uses, "en")
    assert [plain[a:b] for a, b in places] == [u.plain for u in uses]
    assert all(text[u.start : u.end] == u.term for u in uses)
