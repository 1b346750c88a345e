"""Books of conditions: our own is whole, and another's is read or refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from domains.medicine.conditions import COMMON, load_code_book, read_code_book
from fedcore.errors import ConfigError


def book() -> dict[str, Any]:
    return {
        "conditions": {
            "Flu": {"icd10": "j11", "severity": 3, "symptoms": ["E_1", "E_2"], "antecedents": ["E_3"]},
            "Croup": {"icd10": "J05.0, J05", "severity": 2, "name_zh": "哮吼", "symptoms": ["E_2"]},
        },
        "evidences": {
            "E_1": {"q": "Do you have a fever?", "type": "B"},
            "E_2": {
                "q": "Where?",
                "type": "M",
                "parent": "E_1",
                "default": "V_0",
                "values": {"V_0": "n", "V_1": "ear"},
            },
            "E_3": {"q": "Do you smoke?", "antecedent": True, "type": "B"},
        },
    }


def test_our_own_book_names_everything_in_both_languages() -> None:
    assert len(COMMON.conditions) >= 25
    for thing in (*COMMON.conditions, *COMMON.findings):
        assert thing.name("en") != thing.name("zh")
        assert any("\u4e00" <= c <= "\u9fff" for c in thing.name("zh"))
    assert len({c.icd10 for c in COMMON.conditions}) == len(COMMON.conditions)


def test_every_finding_of_our_own_belongs_to_a_condition() -> None:
    used = {code for c in COMMON.conditions for code in c.findings}
    assert {f.code for f in COMMON.findings} == used


def test_a_book_is_read(tmp_path: Path) -> None:
    path = tmp_path / "kb.json"
    path.write_text(json.dumps(book()), encoding="utf-8")
    read = load_code_book(path)
    assert read.condition("哮吼").icd10 == "J05.0"
    assert read.condition("croup").is_severe
    assert not read.condition("Flu").is_severe
    assert read.finding("where?").values == {"V_0": "n", "V_1": "ear"}
    assert read.finding("E_2").describes
    assert read.finding("E_3").history


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b.pop("evidences"),
        lambda b: b["conditions"]["Flu"].pop("severity"),
        lambda b: b["conditions"]["Flu"].update(severity="grave"),
        lambda b: b["conditions"]["Flu"]["symptoms"].append("E_9"),
        lambda b: b["conditions"].pop("Flu"),
        lambda b: b["evidences"].update({"E 4": {"q": "What?"}}),
    ],
)
def test_a_book_of_another_shape_is_refused(spoil: Any) -> None:
    value = book()
    spoil(value)
    with pytest.raises(ConfigError):
        read_code_book(value, name="kb.json")


def test_a_missing_book_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        load_code_book(tmp_path / "none.json")


def test_a_changed_book_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "kb.json"
    value = book()
    path.write_text(json.dumps(value), encoding="utf-8")
    assert load_code_book(path).condition("Flu").severity == 3
    value["conditions"]["Flu"]["severity"] = 1
    value["conditions"]["Flu"]["note"] = "longer"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert load_code_book(path).condition("Flu").severity == 1
