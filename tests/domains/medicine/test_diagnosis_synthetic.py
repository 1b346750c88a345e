"""Synthetic patients: the same seed gives the same, institutions differ, and each record trains."""

from collections import Counter

import pytest

from domains.medicine.conditions import COMMON
from domains.medicine.diagnosis import DiagnosisTask
from domains.medicine.diagnosis_synthetic import SITES, public_examples, records
from fedcore.errors import ConfigError


def test_the_same_seed_gives_the_same_and_more_patients_keep_the_first() -> None:
    for site in SITES:
        assert list(records(site, 3, 7)) == list(records(site, 5, 7))[:3]
    assert list(records("riverside", 3, 7)) != list(records("riverside", 3, 8))


def test_institutions_differ() -> None:
    counts = {s: Counter(r["diagnosis"] for r in records(s, 300, 1)) for s in SITES}
    assert counts["st-anne"]["Heart failure"] > 2 * counts["riverside"]["Heart failure"]
    assert counts["riverside"]["Common cold"] > 2 * counts["st-anne"]["Common cold"]


def test_each_record_trains_and_is_read() -> None:
    task = DiagnosisTask()
    for site in SITES:
        for row in records(site, 20, 3):
            assert {e.label for e in task.examples(row, unit=row["patient"])} == {row["diagnosis"]}
            assert row["first"] in COMMON.condition(row["diagnosis"]).symptoms
            assert task.read(row).ranking.listed


def test_public_examples_are_nobodys() -> None:
    rows = public_examples(30, 1)
    assert len(rows) == 30
    assert not any({"id", "patient", "site"} & row.keys() for row in rows)
    own = [r["findings"] for s in SITES for r in records(s, 30, 1)]
    assert sum(r["findings"] in own for r in rows) < 5


def test_an_unknown_site_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not known"):
        next(records("elsewhere", 1, 1))
