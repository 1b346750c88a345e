"""Results: complete, marked, readable again."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fedcore.errors import ConfigError
from simulations.results import JSON, MARKDOWN, PICTURE, InstitutionLine, Results, RoundLine, read, write


def make(out: Path, **changes: Any) -> Results:
    line = InstitutionLine(name="north", unit="patient", units=3, epsilon_spent=7.9, epsilon_limit=12.0, delta=0.01)
    rounds = tuple(
        RoundLine(round=r, contributors=("north",), dropped={}, loss=2.0 / r, epsilon={"north": 4.0 * r}, seconds=1.0)
        for r in (1, 2)
    )
    fields: dict[str, Any] = {
        "scenario": "quickstart",
        "digest": "ab",
        "backend": "memory",
        "task": "medicine.record",
        "base": "tiny",
        "strategy": "frozen_a",
        "status": "completed",
        "rounds": 2,
        "rounds_planned": 2,
        "institutions": (line,),
        "heldout_units": 2,
        "loss_base": 2.5,
        "loss_released": 1.0,
        "forecast": {"text": "No gain is to be expected.", "gain_expected": False},
        "noise_multiplier": 1.1,
        "noise_std": 0.02,
        "joint": False,
        "secure_sums": None,
        "unsafe": (),
        "per_round": rounds,
        "seconds": 3.0,
        "out": out,
    }
    return Results(**{**fields, **changes})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    value = write(make(tmp_path))
    assert read(tmp_path) == value
    assert {"rounds", "institutions", "loss_base", "loss_released", "out", "forecast", "unsafe", "per_round"} <= set(
        value
    )
    institution = {"name", "unit", "units", "epsilon_spent", "epsilon_limit", "delta"}
    assert set(value["institutions"][0]) == institution


def test_the_picture_and_the_table_are_there(tmp_path: Path) -> None:
    write(make(tmp_path))
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / MARKDOWN).read_text()
    assert "| north | patient | 3 | 7.900 | 12.000 | 0.01 |" in page
    assert "No gain is to be expected." in page


def test_a_run_without_noise_is_marked_everywhere(tmp_path: Path) -> None:
    line = InstitutionLine(
        name="north", unit="patient", units=3, epsilon_spent=math.inf, epsilon_limit=12.0, delta=0.01
    )
    rounds = (
        RoundLine(round=1, contributors=("north",), dropped={}, loss=1.0, epsilon={"north": math.inf}, seconds=1),
    )
    value = write(make(tmp_path, unsafe=("UnsafeNoNoise",), institutions=(line,), per_round=rounds))
    assert value["unsafe"] == ["UnsafeNoNoise"]
    assert value["publishable"] is False
    assert value["institutions"][0]["epsilon_spent"] is None
    assert "never publishable" in (tmp_path / MARKDOWN).read_text()
    json.loads((tmp_path / JSON).read_text(), parse_constant=lambda name: pytest.fail(name))


def test_nothing_is_read_before_a_run_has_finished(tmp_path: Path) -> None:
    assert read(tmp_path) is None


def test_a_damaged_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / JSON).write_text('{"rounds": ')
    with pytest.raises(ConfigError, match="--fresh"):
        read(tmp_path)
