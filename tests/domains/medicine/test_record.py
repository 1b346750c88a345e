"""A bundle becomes the same compact prompt in training and in writing, and a skeleton that leaves nothing out."""

import json

import pytest

from domains.medicine.record import RecordTask
from domains.medicine.synthetic import SITES, public_examples, records
from domains.pipeline import Settings, generate
from fedcore.errors import NotFhirR4, RecordError

TASK = RecordTask()
ROW = next(records("riverside", 1, seed=3))


def test_prompt_in_training_is_the_prompt_in_writing() -> None:
    (example,) = TASK.examples(ROW, unit="u")
    assert example.prompt == TASK.prompt(TASK.read({"bundle": ROW["bundle"]}))
    assert (example.target, example.unit) == (" " + ROW["note"], "u")


def test_a_note_within_the_bundle_serves_for_training() -> None:
    assert TASK.examples({"bundle": ROW["bundle"]}, unit="u")[0].target == " " + ROW["note"]


def test_the_note_does_not_leak_into_the_prompt() -> None:
    for row in records("st-anne", 20, seed=4):
        assert row["note"] not in TASK.examples(row, unit="u")[0].prompt


def test_names_of_people_never_enter_a_prompt() -> None:
    for row in records("northfield", 20, seed=4):
        person = row["bundle"]["entry"][0]["resource"]["name"][0]
        assert person["family"] not in TASK.examples(row, unit="u")[0].prompt


def test_a_bundle_as_json_text_is_read_too() -> None:
    fields = {"bundle": json.dumps(ROW["bundle"]), "note": ROW["note"]}
    assert TASK.examples(fields, unit="u")[0].prompt == TASK.examples(ROW, unit="u")[0].prompt


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, RecordError),
        ({"bundle": {"resourceType": "Bundle", "type": "collection"}}, RecordError),
        ({"bundle": ROW["bundle"], "note": 7}, RecordError),
        ({"bundle": {"resourceType": "Practitioner"}, "note": "x"}, NotFhirR4),
    ],
)
def test_a_record_that_cannot_train_is_refused(fields: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        TASK.examples(fields, unit="u")


def test_every_fact_of_a_synthetic_visit_is_asked_for() -> None:
    for row in public_examples(30, seed=5):
        visit = TASK.read(row)
        asked = {f.path for s in TASK.skeleton(visit).statements for f in s.facts}
        items = (*visit.problems, *visit.vitals, *visit.drugs, *visit.allergies, *visit.plans)
        assert {i.path for i in items} <= asked


def test_prompt_and_note_stay_short() -> None:
    for site in SITES:
        for row in records(site, 60, seed=6):
            (example,) = TASK.examples(row, unit="u")
            assert len(example.prompt) + len(example.target) <= 380


@pytest.mark.parametrize("unit", ["mg", "TAB", "vagtab"])
def test_a_dose_in_any_unit_can_be_said(unit: str) -> None:
    request = {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p"},
        "medicationCodeableConcept": {"text": "Prednisone 5mg tablet"},
        "dosageInstruction": [
            {
                "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
                "doseAndRate": [{"doseQuantity": {"value": 4, "unit": unit}}],
            }
        ],
    }
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": request}]}
    assert f"4 {unit} daily" in generate(TASK, TASK.read({"bundle": bundle}), None, Settings()).text


def test_chinese_notes_have_our_labels_and_the_bundles_own_displays() -> None:
    source = TASK.read({"bundle": ROW["bundle"], "lang": "zh"})
    skeleton = TASK.skeleton(source)
    assert skeleton.lang == "zh"
    assert all(s.text.endswith("。") for s in skeleton.statements)
    said = "".join(s.text for s in skeleton.statements)
    visit = TASK.read({"bundle": ROW["bundle"]})
    for item in (*visit.problems, *visit.plans):
        assert item.text.lower() in said.lower()
    assert f"{visit.day.year}年{visit.day.month}月{visit.day.day}日" in said
    assert TASK.prompt(source).endswith("\n病历：")
    assert all(any("㐀" <= c <= "鿿" for c in w) for w in skeleton.vocabulary)


def test_a_language_that_is_not_spoken_is_refused() -> None:
    with pytest.raises(RecordError, match="lang"):
        TASK.read({"bundle": ROW["bundle"], "lang": "fr"})


def test_a_single_resource_trains_and_is_written_from() -> None:
    resource = {"resourceType": "Flag", "status": "active", "code": {"text": "fall risk"}, "subject": {}}
    (example,) = TASK.examples({"bundle": resource, "note": "Flag, active: fall risk."}, unit="u")
    assert example.prompt == TASK.prompt(TASK.read({"bundle": resource}))
    assert generate(TASK, TASK.read({"bundle": resource}), None, Settings()).text == "Flag, active: fall risk."


def test_a_bundle_too_long_for_a_prompt_is_written_whole_all_the_same() -> None:
    conditions = [
        {
            "resourceType": "Condition",
            "code": {"text": f"finding number {n} of a long list"},
            "verificationStatus": {"coding": [{"code": "refuted"}]},
            "subject": {"reference": "Patient/p"},
        }
        for n in range(300)
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in conditions]}
    source = TASK.read({"bundle": bundle})
    assert len(TASK.prompt(source)) < 4100
    assert len(TASK.skeleton(source).statements) > 300


def test_a_bundle_about_two_patients_is_refused() -> None:
    patients = [{"resourceType": "Patient", "id": name} for name in ("p", "q")]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": p} for p in patients]}
    with pytest.raises(RecordError, match="several patients"):
        TASK.read({"bundle": bundle})
