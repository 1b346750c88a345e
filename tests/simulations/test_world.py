"""Simulated federations: the live code, ledgers that tell the truth, and runs that go on where they stopped."""

import dataclasses
import json
import resource
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from domains.medicine import synthetic
from fedcore.errors import ConfigError, Interrupted, RecordError
from fedcore.folding import DEFAULT_WIDTHS, Gate, WidthSettings
from fedcore.privacy import accounting
from fedcore.round import Completed
from fedserver.progress import Progress
from fedserver.store import Store
from simulations import results as files
from simulations.directory import RunDirectory
from simulations.institutions import require_files
from simulations.scenario import RecordsSettings, Scenario, SplitSettings
from simulations.world import World

Quickstart = Callable[..., Scenario]
Prepare = Callable[..., RunDirectory]


class StopAfter:
    """Says stop once so many replies have come."""

    def __init__(self, replies: int) -> None:
        self._left = replies

    def report(self, progress: Progress) -> None:
        self._left -= progress.stage == "reply"

    def __call__(self) -> bool:
        return self._left <= 0


def test_a_run_completes_and_states_what_each_ledger_holds(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    world = World(prepare(tmp_path / "run", quickstart()))
    value = files.write(world.run())
    assert value["status"] == "completed"
    assert value["rounds"] == 2
    assert [i["name"] for i in value["institutions"]] == ["northfield", "riverside", "st-anne"]
    for line in value["institutions"]:
        ledger = world.institution(line["name"]).ledger
        ledger.verify()
        # The independent computation: dp-accounting's PLD over the recorded events.
        assert line["epsilon_spent"] == pytest.approx(accounting.epsilon(ledger.events(), line["delta"]), rel=0.01)
        assert line["epsilon_spent"] <= world.scenario.privacy.epsilon
    assert [r["round"] for r in value["per_round"]] == [1, 2]
    assert value["per_round"][0]["epsilon"]["riverside"] < value["per_round"][1]["epsilon"]["riverside"]
    assert value["unsafe"] == ["UnsafeSeeded"]


def test_nobody_trains_on_heldout_units(tmp_path: Path, quickstart: Quickstart, prepare: Prepare) -> None:
    world = World(prepare(tmp_path / "run", quickstart()))
    held = set(world.units.heldout)
    trained = [u for units in world.units.split.values() for u in units]
    assert len(held) == 2
    assert not held & set(trained)
    assert len(trained) == len(set(trained))


def test_a_gate_looks_at_units_that_nobody_holds_and_that_the_loss_does_not_see(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    plain = quickstart(steps_per_round=1)
    gated = dataclasses.replace(
        plain,
        records=dataclasses.replace(plain.records, canary_units=3),
        gate=Gate(records="whatever", largest_rise=1.0),
    )
    world = World(prepare(tmp_path / "run", gated))
    canaries, held = set(world.units.canaries), set(world.units.heldout)
    assert len(canaries) == 3
    assert not canaries & (held | {u for units in world.units.split.values() for u in units})
    assert world.units.heldout == World(prepare(tmp_path / "plain", plain)).units.heldout
    value = files.write(world.run())
    assert value["status"] == "completed"
    for line in value["per_round"]:
        assert line["canary_loss"] > 0
        assert line["canary_loss"] != line["loss"], "measured on other records"
        assert line["quarantined"] is None


def test_without_heldout_units_everyone_trains_and_no_loss_is_stated(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    plain = quickstart(steps_per_round=1)
    everyone = dataclasses.replace(plain, records=dataclasses.replace(plain.records, heldout_units=0))
    results = World(prepare(tmp_path / "run", everyone)).run()
    assert (results.status, results.heldout_units) == ("completed", 0)
    assert (results.loss_base, results.loss_released) == (None, None)
    with pytest.raises(ConfigError, match="heldout_units"):
        dataclasses.replace(
            everyone,
            records=dataclasses.replace(everyone.records, canary_units=3),
            gate=Gate(records="whatever", largest_rise=1.0),
        )


def test_a_gate_without_canary_units_is_refused(quickstart: Quickstart) -> None:
    with pytest.raises(ConfigError, match="canary_units"):
        dataclasses.replace(quickstart(), gate=Gate(records="whatever", largest_rise=1.0))


def test_without_noise_the_heldout_loss_falls_and_everything_is_marked(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    scenario = dataclasses.replace(quickstart(steps_per_round=6).without_noise(), max_tokens=64)
    faster = dataclasses.replace(scenario, optimiser=dataclasses.replace(scenario.optimiser, learning_rate=5e-2))
    world = World(prepare(tmp_path / "run", faster))
    assert "UnsafeNoNoise" in world.forecast().describe()
    value = files.write(world.run())
    assert value["loss_released"] < value["loss_base"]
    assert "UnsafeNoNoise" in value["unsafe"]
    assert value["publishable"] is False
    assert all(i["epsilon_spent"] is None and i["epsilon_limit"] is None for i in value["institutions"])


@pytest.mark.parametrize("replies", [1, 3, 4])
def test_a_stopped_run_goes_on_to_the_same_end_at_no_extra_cost(
    replies: int, tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    whole = World(prepare(tmp_path / "whole", quickstart())).run()
    out, stop = tmp_path / "stopped", StopAfter(replies)
    with pytest.raises(Interrupted):
        World(prepare(out, quickstart())).run(report=stop.report, stopped=stop)
    assert files.read(out) is None
    resumed = World(prepare(out, quickstart())).run()
    assert resumed.loss_released == whole.loss_released
    assert [i.epsilon_spent for i in resumed.institutions] == [i.epsilon_spent for i in whole.institutions]
    assert [r.contributors for r in resumed.per_round] == [r.contributors for r in whole.per_round]


def test_a_seeded_run_repeats_to_the_last_bit_at_every_width(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    def run(name: str, **widths: Any) -> tuple[str, int]:
        scenario = dataclasses.replace(quickstart(), widths=WidthSettings(**widths))
        world = World(prepare(tmp_path / name, scenario))
        assert world.run().status == "completed"
        store = Store.open(world.run_directory.store)
        try:
            outcome = store.outcomes(scenario.name)[-1]
        finally:
            store.close()
        assert isinstance(outcome, Completed)
        return outcome.state_digest, outcome.bytes_up

    default = run("one")
    assert run("two", up=DEFAULT_WIDTHS.up, down=DEFAULT_WIDTHS.down) == default
    wide = run("wide", up="float32", down="float32")
    assert wide[0] != default[0]
    assert wide[1] > default[1]


def test_a_budget_that_is_too_small_ends_the_run_with_the_reason(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    results = World(prepare(tmp_path / "run", quickstart(epsilon_limit=6.0))).run()
    assert results.rounds == 1
    assert results.status.startswith("abandoned: round 2")
    assert "budget_exhausted" in results.status
    assert all(i.epsilon_spent <= 6.0 for i in results.institutions)


def test_the_forecast_speaks_of_the_smallest_institution(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    world = World(prepare(tmp_path / "run", quickstart()))
    smallest = min(len(d) for d in world.datasets.values())
    parameters = world.job.schema.parameters  # The default strategy trains both factors.
    expected = world.privacy.forecast(rounds=2, parameters=parameters, institutions=3, units=smallest)
    assert world.forecast() == expected


def test_rows_of_a_file_are_mapped_and_split_by_column(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [row for site in synthetic.SITES for row in synthetic.records(site, 4, 3)]
    with path.open("w") as file:
        for row in rows:
            renamed = {"who": row["patient"], "where": row["site"], "input": row["bundle"], "target": row["note"]}
            file.write(json.dumps(renamed) + "\n")
    scenario = dataclasses.replace(
        quickstart(rounds=1),
        records=RecordsSettings(unit="who", fields={"bundle": "input", "note": "target"}, heldout_units=2),
        split=SplitSettings(kind="column", column="where", merge_below_units=4),
    )
    world = World(prepare(tmp_path / "run", scenario, records=path))
    assert len(world.names) < 3  # Held-out units left a site with fewer than four, so it was merged.
    assert sum(len(d) for d in world.datasets.values()) == 10
    assert world.run().status == "completed"


def test_an_unknown_column_is_refused_by_position(tmp_path: Path, quickstart: Quickstart, prepare: Prepare) -> None:
    scenario = dataclasses.replace(quickstart(), split=SplitSettings(kind="column", column="region"))
    with pytest.raises(RecordError, match=r"record \d+ has no column 'region'"):
        _ = World(prepare(tmp_path / "run", scenario)).names


@pytest.mark.parametrize("kind", ["iid", "dirichlet"])
def test_other_splits_run_too(kind: str, tmp_path: Path, quickstart: Quickstart, prepare: Prepare) -> None:
    split = SplitSettings(kind="iid" if kind == "iid" else "dirichlet", column="site", institutions=2)
    world = World(prepare(tmp_path / "run", dataclasses.replace(quickstart(rounds=1), split=split)))
    assert world.names == ("institution-1", "institution-2")
    assert world.run().status == "completed"


def test_another_scenario_in_the_same_directory_is_refused(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    out = tmp_path / "run"
    prepare(out, quickstart())
    with pytest.raises(ConfigError, match="another scenario"):
        prepare(out, quickstart(rounds=3))
    prepare(out, quickstart(rounds=3), fresh=True)
    assert RunDirectory.open(out).scenario.rounds == 3


def test_other_records_in_the_same_directory_are_refused(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    records = tmp_path / "rows.jsonl"
    records.write_text('{"patient": "p1"}\n')
    prepare(tmp_path / "run", quickstart(), records=records)
    records.write_text('{"patient": "p2"}\n')
    with pytest.raises(ConfigError, match="records"):
        prepare(tmp_path / "run", quickstart(), records=records)


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path, quickstart: Quickstart, prepare: Prepare) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    for fresh in (False, True):
        with pytest.raises(ConfigError, match="something else"):
            prepare(tmp_path, quickstart(), fresh=fresh)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_missing_records_are_refused(tmp_path: Path, quickstart: Quickstart, prepare: Prepare) -> None:
    with pytest.raises(RecordError, match="--records"):
        prepare(tmp_path / "run", quickstart(), records=tmp_path / "none.jsonl")


def test_a_worker_makes_the_datasets_of_its_institutions_alone(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    run = prepare(tmp_path / "run", quickstart())
    worker, whole = World(run), World(run)
    name = worker.names[1]
    assert worker.dataset(name).units == whole.datasets[name].units
    assert worker.dataset(name) is worker.dataset(name)
    assert list(worker._datasets) == [name]
    assert worker.datasets.keys() == whole.datasets.keys()  # And all of them when it is asked.
    assert worker.datasets[name] is worker.dataset(name)


def test_more_institutions_than_files_are_refused_and_a_low_limit_is_raised() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert before[1] != resource.RLIM_INFINITY
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        require_files(3)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
        require_files(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 100 * 3 + 100
        with pytest.raises(ConfigError, match="too few files"):
            require_files(before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_ledger_on_a_shared_disk_goes_on_with_one_that_was_not(
    tmp_path: Path, quickstart: Quickstart, prepare: Prepare
) -> None:
    """A run begun in one process and ended on Ray: the file has no write-ahead log from then on."""
    memory = prepare(tmp_path / "run", quickstart(rounds=1))
    first = World(memory)
    assert first.run().status == "completed"
    name = first.names[0]
    for institution in first._institutions.values():
        institution.ledger.close()
    path = memory.ledger(name)
    shared = World(dataclasses.replace(memory, scenario=dataclasses.replace(memory.scenario, backend="ray")))
    ledger = shared.institution(name).ledger
    assert ledger.account().epsilon > 0
    assert not path.with_name(path.name + "-wal").exists()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.slow
def test_ray_gives_what_one_process_gives(tmp_path: Path, quickstart: Quickstart, prepare: Prepare) -> None:
    """Many more institutions than workers: each worker serves several, and one institution meets several workers."""
    scenario = dataclasses.replace(
        quickstart(),
        split=SplitSettings(kind="iid", institutions=24),
        records=RecordsSettings(unit="patient", synthetic="medicine", units_per_site=17, heldout_units=3),
    )
    here = World(prepare(tmp_path / "memory", scenario)).run()
    there = World(prepare(tmp_path / "ray", dataclasses.replace(scenario, backend="ray"))).run()
    assert there.backend == "ray"
    assert len(there.institutions) == 24
    assert there.loss_released == pytest.approx(here.loss_released, abs=1e-5)
    assert [i.epsilon_spent for i in there.institutions] == [i.epsilon_spent for i in here.institutions]
