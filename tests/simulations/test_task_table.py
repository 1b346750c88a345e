"""A table of tasks: what is compared at which institution, resumption, and that its rows say what the losses say."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.errors import ConfigError, Interrupted
from simulations.scenario import named
from simulations.task_sources import source_of
from simulations.task_table import (
    TableSettings,
    TaskSettings,
    Training,
    _row,
    is_table,
    load_table,
    run_table,
    table_text,
)

SITES = ("institution-1", "institution-2", "institution-3")


def settings(**changes: Any) -> TableSettings:
    training = Training(
        rounds=1,
        sampling_rate=0.5,
        learning_rate=2e-2,
        clip_norm_l2=1.0,
        max_tokens=32,
        targets=("o_proj",),
        rank=1,
    )
    task = TaskSettings(task="medicine.record", institutions=2, units=6, heldout=2, training=training, private=training)
    return TableSettings(**{"name": "t", "kind": "tasks", "seed": 3, "epsilons": (8.0,), "tasks": (task,), **changes})


LOSSES = st.lists(st.floats(0.1, 5.0), min_size=3, max_size=3)


@given(base=LOSSES, pooled=LOSSES, federated=LOSSES, alone=st.lists(LOSSES, min_size=3, max_size=3))
def test_a_row_holds_each_model_at_the_institution_that_it_serves_worst(
    base: list[float], pooled: list[float], federated: list[float], alone: list[list[float]]
) -> None:
    training = settings().tasks[0].training
    task = TaskSettings(task="t", institutions=3, units=9, heldout=1, training=training, private=training)
    named_losses = {"t-base-epsilon-none": base, "t-pooled-epsilon-none": pooled, "t-federated-epsilon-8": federated}
    named_losses |= {f"t-alone-{i + 1}-epsilon-8": losses for i, losses in enumerate(alone)}
    found = {label: dict(zip(SITES, losses, strict=True)) for label, losses in named_losses.items()}
    row = _row(task, 8.0, found)
    k = SITES.index(row["worst"])
    assert row["federated"] == max(federated) == federated[k]
    assert (row["base"], row["pooled"]) == (max(base), max(pooled))
    assert row["alone"] == min(max(a) for a in alone)
    assert row["own"] == alone[k][k]
    assert row["beats_base"] == (max(federated) < max(base))
    assert row["beats_alone"] == all(max(federated) < max(a) for a in alone)


@pytest.mark.slow
def test_a_table_that_was_stopped_goes_on_and_says_the_same(tmp_path: Path) -> None:
    begun = list[str]()

    def start(label: str, _number: int, _runs: int) -> None:
        begun.append(label)

    with pytest.raises(Interrupted):
        run_table(tmp_path / "run", settings(), start=start, stopped=lambda: len(begun) >= 3)
    assert len(begun) == 3
    value = run_table(tmp_path / "run", settings(), start=start)
    labels = set(value["losses"])
    assert set(begun) == labels
    assert len(begun) == len(labels) + 1  # The one that was stopped began twice, no other did.
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == value
    assert [r["epsilon"] for r in value["rows"]] == [8.0, "none"]
    assert (tmp_path / "run" / "comparison.png").stat().st_size > 1000
    assert any("medicine.record" in line for line in table_text(value))
    assert not list((tmp_path / "run" / "runs").iterdir())
    with pytest.raises(ConfigError, match="other settings"):
        run_table(tmp_path / "run", settings(seed=4))


@pytest.mark.parametrize("task", [t.task for t in load_table(named("domains")).tasks])
def test_institutions_of_a_source_share_no_unit_and_repeat(task: str) -> None:
    source = source_of(task)
    first, second = source.records(0, 5, 7), source.records(1, 5, 7)
    assert len({r["unit"] for r in first}) == 5
    assert not {r["unit"] for r in first} & {r["unit"] for r in second}
    assert source.records(0, 5, 7) == first != source.records(0, 5, 8)


def test_an_ordinary_scenario_is_no_table(tmp_path: Path) -> None:
    assert is_table(named("domains"))
    assert not is_table(named("quickstart"))
    assert not is_table(tmp_path / "none.toml")


@pytest.mark.parametrize("wrong", [{"kind": "noise"}, {"epsilons": ()}, {"epsilons": (0.0,)}, {"tasks": ()}])
def test_a_table_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        settings(**wrong)


def test_a_task_without_records_of_its_own_is_named() -> None:
    with pytest.raises(ConfigError, match="no synthetic records"):
        source_of("medicine.astrology")
