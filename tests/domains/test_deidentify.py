"""Identifiers go, figures of the clinical kind stay, a name keeps its number, and a report holds no content."""

import re
from collections import Counter
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.deidentify import SAFE_HARBOR, Identities, Pass, Person, deidentify, shift_days
from fedcore.errors import ConfigError
from tests.domains.planted import notes

NOTES = 300


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("from_record", [True, False])
def test_planted_identifiers_are_found_by_kind(lang: str, from_record: bool) -> None:
    planted, found, right, false = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for note in notes(NOTES, seed=7, lang=lang):
        clean = deidentify(note.text, known=note.known if from_record else None, lang=lang)
        kinds = {i: f.kind for f in clean.findings for i in range(f.start, f.end)}
        inside = {i for _, a, b in note.spans for i in range(a, b)}
        for kind, start, end in note.spans:
            letters = [i for i in range(start, end) if note.text[i].isalnum()]
            planted[kind] += 1
            found[kind] += all(i in kinds for i in letters)
            right[kind] += all(kinds.get(i) == kind for i in letters)
        false.update(f.kind for f in clean.findings if inside.isdisjoint(range(f.start, f.end)))
    assert len(planted) >= 15
    for kind, n in planted.items():
        assert found[kind] >= (1.0 if from_record or kind != "NAME" else 0.97) * n, kind
        assert right[kind] >= 0.95 * n, kind
        assert false[kind] <= 0.02 * n, kind


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_clinical_lines_within_a_note_stay_as_they_are(lang: str) -> None:
    for note in notes(NOTES, seed=8, lang=lang):
        text = deidentify(note.text, known=note.known, lang=lang).text
        assert all(line in text for line in note.stays)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_second_pass_changes_nothing(lang: str) -> None:
    for note in notes(100, seed=9, lang=lang):
        text = deidentify(note.text, known=note.known).text
        assert deidentify(text, known=note.known).text == text


_NUMBER = st.integers(1, 999)
_PART = st.integers(0, 9)
CLINICAL = st.one_of(
    st.builds("BP {}/{} mmHg".format, st.integers(60, 250), st.integers(30, 150)),
    st.builds("{}.{} mg".format, _NUMBER, _PART),
    st.builds("{} mcg/kg/min".format, _NUMBER),
    st.builds("{} units".format, _NUMBER),
    st.builds("{}/{} strength".format, st.integers(0, 5), st.just(5)),
    st.builds("pain {}/10".format, st.integers(0, 10)),
    st.builds("HR {}, RR {}, T {}.{} C".format, _NUMBER, st.integers(5, 60), st.integers(34, 42), _PART),
    st.builds("platelets {},000/mm3".format, _NUMBER),
    st.builds("WBC {}.{} x 10^9/L".format, st.integers(0, 99), _PART),
    st.builds(
        "Na {} K {}.{} Cl {} mEq/L".format, st.integers(100, 180), st.integers(1, 9), _PART, st.integers(70, 140)
    ),
    st.builds("pH {}.{}{}".format, st.integers(6, 7), _PART, _PART),
    st.builds("SpO2 {}% on {} L".format, st.integers(50, 100), st.integers(1, 15)),
    st.builds("ICD-10 {}{:02d}.{}".format, st.sampled_from("ABCDEFGIJKLMNR"), st.integers(0, 99), _PART),
    st.builds("ICD-9 {:03d}.{:02d}".format, _NUMBER, st.integers(0, 99)),
    st.builds("LOINC {}-{}".format, st.integers(1000, 99999), _PART),
    st.builds("SNOMED {}".format, st.integers(10**5, 10**8)),
    st.builds("{}-year-old".format, st.integers(0, 89)),
    st.builds("every {} hours for {} days".format, st.integers(1, 24), st.integers(1, 90)),
    st.builds("血压{}/{}mmHg".format, st.integers(60, 250), st.integers(30, 150)),
    st.builds("血红蛋白{}g/L".format, _NUMBER),
    st.builds("体温{}.{}℃".format, st.integers(34, 42), _PART),
    st.builds("阿司匹林{}mg每日{}次".format, _NUMBER, st.integers(1, 4)),
    st.builds("白细胞{}.{}×10^9/L".format, st.integers(0, 99), _PART),
    st.builds("{}岁,病程{}个月".format, st.integers(0, 89), st.integers(1, 60)),
    st.builds("第{}腰椎,{}级".format, st.integers(1, 5), st.integers(1, 5)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(CLINICAL, min_size=1, max_size=5), st.sampled_from([", ", "; ", ". ", "，", "。"]))
def test_figures_of_the_clinical_kind_survive(parts: list[str], joint: str) -> None:
    text = joint.join(parts)
    assert deidentify(text).text == text


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_goes_through_and_what_is_no_finding_stays(text: str) -> None:
    clean = deidentify(text)
    rest, at = [], 0
    for finding in clean.findings:
        rest.append(text[at : finding.start])
        at = finding.end
    rest.append(text[at:])
    assert re.fullmatch("(?s:" + r"\[[A-Z0-9+-]+\]".join(map(re.escape, rest)) + ")", clean.text)


KNOWN = Identities(
    people=(Person(family="Haverstock", given=("Solveig", "Anne")), Person(family="王", given=("志远",)))
)


@pytest.mark.parametrize(
    "text",
    [
        "Solveig Haverstock came.", "Haverstock, Solveig A. came.", "HAVERSTOCK came.", "solveig haverstock came.",
        "S. Haverstock came.", "Haverstock's knee.", "Ms. Haverstock-Solveig came.", "王志远来诊。",
        "王 志远来诊。", "志远来诊。", "王先生来诊。", "Solve\u200big Haverstock came.", "Ｓolveig Haverstock came.",
    ],
)  # fmt: skip
def test_a_known_name_is_found_in_every_order_case_and_disguise(text: str) -> None:
    clean = deidentify(text, known=KNOWN).text
    assert "[NAME-1]" in clean
    assert not re.search("solveig|haverstock|志远|王", clean.replace("\u200b", ""), re.IGNORECASE)


@pytest.mark.parametrize(
    "text", ["Long QT syndrome is a risk.", "It may recur in May-be.", "a long walk", "Wilson's disease"]
)
def test_a_name_that_is_a_word_stays_a_word(text: str) -> None:
    known = Identities(people=(Person(family="Long", given=("May",)), Person(family="Wilson", given=("Will",))))
    assert deidentify(text, known=known).text == text


def test_one_person_has_one_number_and_another_person_another() -> None:
    text = "Solveig Haverstock met Dr. Okafor. Ms. Haverstock thanked Okafor. 王志远和王医生。"
    clean = deidentify(text, known=KNOWN).text
    assert clean.startswith("[NAME-1] met Dr. [NAME-2]. Ms. [NAME-1] thanked [NAME-2].")
    assert deidentify(text, known=KNOWN).report.people == 3


def test_a_name_keeps_its_number_in_the_next_text_of_the_same_record() -> None:
    whole = Pass(known=KNOWN)
    whole.clean("Dr. Okafor came.")
    assert whole.clean("Haverstock saw Dr. Okafor.").text == "[NAME-2] saw Dr. [NAME-1]."


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("11010519491231002X", "ID"), ("219-09-9999", "SSN"), ("943 476 5919", "ID"),
        ("4111 1111 1111 1111", "ACCOUNT"),
        ("GB82 WEST 1234 5698 7654 32", "ACCOUNT"), ("1HGCM82633A004352", "VEHICLE"), ("京A12345", "VEHICLE"),
        ("00:1A:2B:3C:4D:5E", "DEVICE"), ("fe80::1ff:fe23:4567:890a", "IP"), ("a.b@example.org", "EMAIL"),
    ],
)  # fmt: skip
def test_a_shape_tells_without_a_cue(text: str, kind: str) -> None:
    (finding,) = deidentify(f"see {text} there").findings
    assert (finding.kind, finding.start, finding.end) == (kind, 4, 4 + len(text))


@pytest.mark.parametrize(
    "text",
    ["110105194912310021", "000-12-3456", "666-12-3456", "912-34-5678", "143 476 5919", "4111 1111 1111 1112"],
)
def test_a_wrong_check_digit_is_no_identifier_by_shape(text: str) -> None:
    assert deidentify(f"count {text} of").report.kinds == {}


def test_a_wrong_number_after_its_cue_goes_all_the_same() -> None:
    assert deidentify("身份证号110105194912310021。").text == "身份证号[ID-1]。"
    assert deidentify("SSN 000-12-3456").text == "SSN [SSN-1]"


def test_dates_move_by_the_shift_in_their_own_writing_and_birth_dates_go() -> None:
    text = "DOB 5/3/1961. Seen 2023-02-27, again March 2, 2023, 2023年3月2日 and in March 2023."
    clean = deidentify(text, shift=10)
    assert clean.text == "DOB [DATE-1]. Seen 2023-03-09, again March 12, 2023, 2023年3月12日 and in [DATE-2]."
    assert clean.report.shifted == 3


def test_a_shift_is_one_for_a_patient_and_hangs_on_the_key() -> None:
    keys = (b"k" * 16, b"l" * 16)
    assert shift_days(keys[0], "p") == shift_days(keys[0], "p")
    shifts = [shift_days(keys[0], f"p{i}", limit_days=30) for i in range(500)]
    assert set(shifts) == set(range(-30, 31)) - {0}
    assert [shift_days(keys[1], f"p{i}", limit_days=30) for i in range(500)] != shifts
    with pytest.raises(ConfigError):
        shift_days(b"short", "p")


def test_only_ages_over_89_go() -> None:
    text = "89-year-old, 90-year-old, aged 101, 八十九岁, 93岁, ninety-two-year-old"
    assert deidentify(text).text == (
        "89-year-old, [AGE-90+]-year-old, aged [AGE-90+], 八十九岁, [AGE-90+]岁, [AGE-90+]-year-old"
    )


def test_reports_and_findings_hold_no_content() -> None:
    clean = deidentify("Solveig Haverstock, MRN 7654321", known=KNOWN)
    shown = f"{clean.report}{clean.report.to_dict()}{clean.findings}{clean}{KNOWN}"
    assert "Haverstock" not in shown
    assert "7654321" not in shown
    assert {f.name for f in fields(clean.findings[0])} == {"kind", "start", "end", "rule"}


def test_every_identifier_of_the_rule_is_accounted_for() -> None:
    assert list(SAFE_HARBOR) == list("ABCDEFGHIJKLMNOPQR")


def test_a_language_that_is_not_spoken_is_refused() -> None:
    with pytest.raises(ConfigError):
        deidentify("x", lang="fr")
