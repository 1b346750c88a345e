"""Measures see records, a split that never mixes, and training on the fit share alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.evaluation import Bench, Fit, Recipe, load_measure, read_rows, split_units
from fedcore.errors import ConfigError, RecordError


@given(units=st.sets(st.text(min_size=1, max_size=3), min_size=2, max_size=40), share=st.floats(0.01, 0.99))
def test_a_split_covers_all_units_and_mixes_none(units: set[str], share: float) -> None:
    fitted, scored = split_units(tuple(units), share=share, seed=3)
    assert min(len(fitted), len(scored)) > 0
    assert not fitted & scored
    assert fitted | scored == units
    assert (fitted, scored) == split_units(tuple(sorted(units, reverse=True)), share=share, seed=3)


def test_another_seed_gives_another_split() -> None:
    units = [f"u{i}" for i in range(40)]
    assert split_units(units, share=0.6, seed=0) != split_units(units, share=0.6, seed=1)


def test_without_a_fit_everything_is_scored_and_nothing_trains(tmp_path: Path) -> None:
    bench = Bench(rows=[{"a": 1}], records=tmp_path)
    assert bench.split(["u", "v"]) == (frozenset(), frozenset({"u", "v"}))
    assert (bench.writer(), bench.released()) == (None, None)
    with pytest.raises(ConfigError, match="--fit"):
        bench.train("medicine.record", [], Recipe(base=tmp_path))


def test_the_writer_is_made_once(tmp_path: Path) -> None:
    made = []
    bench = Bench(rows=[], records=tmp_path, writer=lambda: made.append(1))  # type: ignore[func-returns-value]
    bench.writer(), bench.writer()
    assert made == [1]


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.0}, {"epsilon": 0.0}, {"epsilon": float("inf")}])
def test_a_fit_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        Fit(**{"share": 0.5, "epsilon": 1.0, **wrong})  # type: ignore[arg-type]


def test_joint_steps_are_one_a_round() -> None:
    with pytest.raises(ConfigError, match="joint"):
        Recipe(base="b", steps_per_round=2)


def test_rows_are_read_from_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    (tmp_path / "kb.jsonl").write_text('{"b": 3}\n')
    assert list(read_rows(tmp_path)) == list(read_rows(tmp_path / "dev.jsonl")) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(("text", "says"), [('{"name": "Ann"', "line 1 is not JSON"), ("[1]", "not a JSON object")])
def test_a_bad_row_is_named_by_its_line_and_never_quoted(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(RecordError, match=says) as caught:
        list(read_rows(tmp_path / "rows.jsonl"))
    assert "Ann" not in str(caught.value)


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no records"):
        list(read_rows(tmp_path))
    with pytest.raises(RecordError, match="cannot be read"):
        list(read_rows(tmp_path / "none.jsonl"))


def test_an_unknown_measure_names_the_known() -> None:
    with pytest.raises(ConfigError, match="not known"):
        load_measure("medicine.astrology")
