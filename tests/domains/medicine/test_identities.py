"""A bundle names people in its own fields: they are looked for in its notes, and taken out of the bundle itself."""

import base64
import json
from typing import Any

import pytest

from domains.deidentify import deidentify
from domains.medicine.fhir import resources, validate
from domains.medicine.identities import deidentify_bundle, identities_of, without_identities
from domains.medicine.record import RecordTask
from domains.medicine.synthetic import records
from domains.pipeline import Settings, generate
from fedcore.errors import RecordError

NOTE = (
    "Birgitta Haverstock (born 1961-05-03) lives at 14 Quarry Lane, Millbrook. MRN 77-4411. Call 020 7946 0011. "
    "Seen 2023-04-02 by O. Winterbourne. Metformin 500 mg daily, BP 142/88 mmHg."
)


def bundle() -> dict[str, Any]:
    """A bundle that names somebody in every field that can."""
    return {
        "resourceType": "Bundle",
        "id": "whole-77-4411",
        "type": "collection",
        "timestamp": "2023-04-02T09:00:00Z",
        "entry": [
            {
                "fullUrl": "urn:uuid:11111111-2222-3333-4444-555555555555",
                "resource": {
                    "resourceType": "Patient",
                    "id": "p-77-4411",
                    "text": {
                        "status": "generated",
                        "div": '<div xmlns="http://www.w3.org/1999/xhtml">Haverstock</div>',
                    },
                    "identifier": [{"type": {"coding": [{"code": "MR"}]}, "value": "77-4411"}],
                    "name": [
                        {"family": "Haverstock", "given": ["Birgitta"]},
                        {"use": "maiden", "family": "Zamora", "given": ["Birgitta"]},
                    ],
                    "telecom": [{"system": "phone", "value": "020 7946 0011"}],
                    "gender": "female",
                    "birthDate": "1961-05-03",
                    "address": [{"line": ["14 Quarry Lane"], "city": "Millbrook", "state": "OH", "country": "US"}],
                    "photo": [{"contentType": "image/png", "data": "AAAA"}],
                    "contact": [{"name": {"family": "Petrakis", "given": ["Leopold"]}}],
                },
            },
            {"resource": {"resourceType": "Practitioner", "id": "d1", "name": [{"text": "Ottilie Winterbourne"}]}},
            {
                "resource": {
                    "resourceType": "Encounter",
                    "id": "e1",
                    "status": "finished",
                    "class": {"code": "AMB"},
                    "subject": {"reference": "urn:uuid:11111111-2222-3333-4444-555555555555"},
                    "participant": [{"individual": {"reference": "Practitioner/x", "display": "Dr. Cormac Aldridge"}}],
                    "period": {"start": "2023-04-02T09:00:00Z", "end": "2023-04-02T10:00:00Z"},
                }
            },
            {
                "resource": {
                    "resourceType": "DocumentReference",
                    "id": "n1",
                    "status": "current",
                    "subject": {"reference": "Patient/p-77-4411"},
                    "content": [
                        {
                            "attachment": {
                                "contentType": "text/plain",
                                "data": base64.b64encode(NOTE.encode()).decode(),
                            }
                        }
                    ],
                }
            },
        ],
    }


SECRETS = (
    "Haverstock", "Birgitta", "Zamora", "Petrakis", "Leopold", "Winterbourne", "Ottilie", "Aldridge", "77-4411", "7946",
    "Quarry", "Millbrook", "1961-05-03", "2023-04-02", "11111111", "AAAA",
)  # fmt: skip


def plain(value: dict[str, Any]) -> str:
    """A bundle as JSON, its documents decoded."""
    notes = [
        base64.b64decode(c["attachment"]["data"]).decode()
        for _, r in resources(value, "DocumentReference")
        for c in r["content"]
    ]
    return json.dumps(value, ensure_ascii=False) + " ".join(notes)


def test_every_secret_stands_in_the_bundle_before() -> None:
    assert all(secret in plain(bundle()) for secret in SECRETS)


def test_identities_are_read_from_every_field_that_names_somebody() -> None:
    known = identities_of(bundle())
    names = " ".join(" ".join((p.family, *p.given, *p.other)) for p in known.people)
    assert all(n in names for n in ("Haverstock", "Zamora", "Petrakis", "Winterbourne", "Aldridge"))
    assert {k for k, _ in known.values} == {"MRN", "PHONE", "ADDRESS"}


def test_a_note_loses_what_its_bundle_names_and_keeps_its_figures() -> None:
    text = deidentify(NOTE, known=identities_of(bundle())).text
    assert not any(secret in text for secret in SECRETS)
    assert text.endswith("Metformin 500 mg daily, BP 142/88 mmHg.")


@pytest.mark.parametrize("shift", [None, -40])
def test_a_bundle_without_identifiers_is_still_fhir(shift: int | None) -> None:
    clean, report = deidentify_bundle(bundle(), shift=shift)
    validate(clean)
    assert not any(secret in plain(clean) for secret in SECRETS)
    assert report.kinds["NAME"] >= 3
    patient = next(r for _, r in resources(clean, "Patient"))
    assert patient["address"] == [{"state": "OH", "country": "US"}]
    assert next(r for _, r in resources(clean, "Encounter"))["subject"] == {"reference": "Patient/patient-1"}
    assert next(r for _, r in resources(clean, "DocumentReference"))["subject"] == {"reference": "Patient/patient-1"}


def test_years_stay_without_a_shift_and_intervals_stay_with_one() -> None:
    years, _ = deidentify_bundle(bundle())
    assert next(r for _, r in resources(years, "Patient"))["birthDate"] == "1961"
    moved, _ = deidentify_bundle(bundle(), shift=-40)
    assert next(r for _, r in resources(moved, "Patient"))["birthDate"] == "1961-03-24"
    assert next(r for _, r in resources(moved, "Encounter"))["period"]["start"] == "2023-02-21T09:00:00Z"


def test_the_birth_date_of_somebody_over_89_goes() -> None:
    old = bundle()
    old["entry"][0]["resource"]["birthDate"] = "1930-01-01"
    for shift in (None, 5):
        assert "birthDate" not in next(r for _, r in resources(deidentify_bundle(old, shift=shift)[0], "Patient"))


def test_the_bundle_that_was_given_stays_as_it_was() -> None:
    given = bundle()
    deidentify_bundle(given, shift=3)
    assert given == bundle()


def test_a_record_without_identifiers_still_trains_and_reads() -> None:
    task = RecordTask()
    for row in records("northfield", 15, seed=2):
        clean, _ = deidentify_bundle(row["bundle"], shift=11)
        validate(clean)
        person = row["bundle"]["entry"][0]["resource"]["name"][0]
        assert person["family"] not in plain(clean)
        before, after = task.read({"bundle": row["bundle"]}), task.read({"bundle": clean})
        over_89 = before.age is not None and before.age > (89, "year")
        assert after.age == (None if over_89 else before.age)
        assert (len(before.drugs), len(before.vitals)) == (len(after.drugs), len(after.vitals))


def test_chinese_names_of_a_bundle_are_found_in_its_note() -> None:
    value = bundle()
    value["entry"][0]["resource"]["name"] = [{"text": "欧阳志远"}, {"family": "Ouyang", "given": ["Zhiyuan"]}]
    text = "欧阳志远，男，因头晕就诊。Zhiyuan Ouyang signed. 志远诉头晕3天，血压142/88mmHg。"
    clean = deidentify(text, known=identities_of(value), lang="zh").text
    assert clean == "[NAME-1]，男，因头晕就诊。[NAME-1] signed. [NAME-1]诉头晕3天，血压142/88mmHg。"


def test_a_record_for_training_loses_its_names_in_bundle_and_note_alike() -> None:
    fields = {"bundle": json.dumps(bundle()), "note": NOTE, "site": "a"}
    clean, report = without_identities(fields)
    assert not any(secret in plain(clean["bundle"]) + clean["note"] for secret in SECRETS)
    assert clean["site"] == "a"
    assert clean["bundle"]["entry"][0]["resource"]["name"] == [{"text": "[NAME-1]"}]
    assert clean["note"].startswith("[NAME-1] ")
    assert report.kinds["MRN"] >= 1
    assert fields["note"] == NOTE


def test_training_examples_of_a_clean_record_hold_no_name() -> None:
    task = RecordTask()
    for row in records("riverside", 10, seed=6):
        person = row["bundle"]["entry"][0]["resource"]["name"][0]
        note = f"{person['given'][0]} {person['family']} came. {row['note']}"
        clean, _ = without_identities({"bundle": row["bundle"], "note": note}, shift=9)
        (example,) = task.examples(clean, unit="u")
        assert person["family"] not in example.target + example.prompt
        assert person["given"][0] not in example.target + example.prompt
        assert example.target.strip()


def test_a_record_that_is_to_be_clean_is_written_and_trained_without_names() -> None:
    task = RecordTask()
    for row in records("northfield", 8, seed=2):
        person = row["bundle"]["entry"][0]["resource"]["name"][0]
        name = {person["family"], *person["given"]}
        note = f"{person['given'][0]} {person['family']} came. {row['note']}"
        fields = {"bundle": row["bundle"], "note": note, "deidentify": True}
        (example,) = task.examples(fields, unit="u")
        document = generate(task, task.read(fields), None, Settings())
        said = example.prompt + example.target + document.text
        assert not any(part in said for part in name)
        plain_text = generate(task, task.read({**fields, "deidentify": False}), None, Settings()).text
        assert len(document.sentences) >= 2
        assert document.text != plain_text  # The day of the visit is gone.
    with pytest.raises(RecordError, match="deidentify"):
        task.read({"bundle": row["bundle"], "deidentify": "yes"})
