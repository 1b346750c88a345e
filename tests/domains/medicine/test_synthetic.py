"""Synthetic patients: the same from the same seed, different between sites, never those of another stream."""

import time
from collections import Counter

import pytest

from domains.medicine.synthetic import SITES, public_examples, records
from fedcore.errors import ConfigError


def test_same_seed_gives_same_records() -> None:
    assert list(records("st-anne", 5, seed=1)) == list(records("st-anne", 5, seed=1))
    assert list(records("st-anne", 5, seed=1)) != list(records("st-anne", 5, seed=2))


def test_more_patients_leave_the_first_ones_as_they_were() -> None:
    few, many = list(records("riverside", 3, seed=1)), list(records("riverside", 9, seed=1))
    assert many[: len(few)] == few


def test_some_patients_come_more_than_once() -> None:
    visits = Counter(row["patient"] for row in records("northfield", 60, seed=1))
    assert len(visits) == 60
    assert max(visits.values()) > 1


def test_sites_differ_in_their_mix() -> None:
    def share(site: str, word: str) -> float:
        rows = list(records(site, 120, seed=1))
        return sum(word in row["note"] for row in rows) / len(rows)

    assert share("st-anne", "heart failure") > 0.1 > share("riverside", "heart failure")
    assert share("northfield", "otitis") > 0.05 > share("st-anne", "otitis")


def test_public_examples_are_nobodys_patients() -> None:
    known = {row["note"] for site in SITES for row in records(site, 50, seed=1)}
    patients = {row["bundle"]["entry"][0]["resource"]["id"] for row in public_examples(30, seed=1)}
    own = {row["patient"] for site in SITES for row in records(site, 50, seed=1)}
    assert not patients & own
    assert sum(row["note"] in known for row in public_examples(30, seed=1)) < 3


def test_nobody_is_given_what_they_are_allergic_to() -> None:
    for site in SITES:
        for row in records(site, 100, seed=8):
            note = row["note"].lower()
            assert not ("penicillin" in note.split("allerg")[-1] and "amoxicillin" in note)
            assert not ("to aspirin" in note and ("naproxen" in note or "ibuprofen" in note))


def test_an_unknown_site_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of st-anne, riverside, northfield"):
        list(records("nowhere", 1, seed=1))


def test_five_hundred_patients_take_less_than_a_second_of_work() -> None:
    start = time.process_time()
    assert sum(1 for _ in records("riverside", 500, seed=1)) >= 500
    assert time.process_time() - start < 1.0
