"""Plans as files: what was written is read, and nothing else is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcore import canonical
from fedcore.errors import ConcordatError, ConfigError
from fedcore.plan_file import LIMIT_BYTES, read_plan_file, write_plan
from fedcore.round import Evaluation, JobPlan, RoundPlan

Plans = Callable[..., RoundPlan]


def job_of(plan: RoundPlan, **changes: Any) -> JobPlan:
    fields: dict[str, Any] = {
        "job_id": plan.job_id, "task": plan.task, "schema": plan.schema, "strategy": plan.strategy, "seed": plan.seed,
        "rounds": plan.rounds, "quorum": plan.quorum, "deadline_s": plan.deadline_s, "max_tokens": plan.max_tokens,
        "optimiser": plan.optimiser, "privacy": plan.privacy,
    }  # fmt: skip
    return JobPlan(**{**fields, **changes})


def test_what_is_written_is_read(tmp_path: Path, make_plan: Plans) -> None:
    for plan in (make_plan(), job_of(make_plan())):
        write_plan(tmp_path / "plan.json", plan)
        assert read_plan_file(tmp_path / "plan.json") == plan
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_where_the_coordinator_keeps_its_examples_is_left_out(tmp_path: Path, make_plan: Plans) -> None:
    job = job_of(make_plan(), evaluation=Evaluation(records="/home/mallory/heldout.jsonl"))
    write_plan(tmp_path / "plan.json", job)
    assert b"mallory" not in (tmp_path / "plan.json").read_bytes()
    read = read_plan_file(tmp_path / "plan.json")
    assert read.terms_digest == job.terms_digest


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path, make_plan: Plans) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_plan(tmp_path / "none" / "plan.json", make_plan())


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 1, "kind": "job"}', b'{"version": 1, "kind": "job", "plan": []}',
     b'{"version": 1, "kind": "job", "plan": {}, "run": "rm"}', b'{"version": 2, "kind": "job", "plan": {}}',
     b'{"version": true, "kind": "job", "plan": {}}', b'{"version": 1, "kind": "update", "plan": {}}',
     b'{"version": 1, "kind": ["job"], "plan": {}}', b"[" * 100_000, b"x" * (LIMIT_BYTES + 1), b"cos\nsystem\n.",
     b'{"version": 1, "version": 1, "kind": "job", "plan": {}}', b'{"version": 1, "kind": "job", "plan": NaN}'],
    ids=range(17),
)  # fmt: skip
def test_what_is_no_plan_gets_one_clear_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(data)
    with pytest.raises(ConcordatError) as refused:
        read_plan_file(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [None, [], {}, "x", -1, 10**400, [[]], True])
@pytest.mark.parametrize("kind", ["job", "round"])
def test_a_hostile_value_anywhere_gets_one_clear_line(tmp_path: Path, make_plan: Plans, kind: str, value: Any) -> None:
    """Each field in turn, of the plan and of what is in it."""
    plan = make_plan() if kind == "round" else job_of(make_plan())
    whole = json.loads(canonical.encode(plan.to_dict()))
    said = []
    for table in (whole, whole["privacy"], whole["schema"], whole["optimiser"]):
        for key in list(table):
            before, table[key] = table[key], value
            path = tmp_path / "plan.json"
            path.write_text(json.dumps({"version": 1, "kind": kind, "plan": whole}))
            try:
                read_plan_file(path)
            except ConcordatError as error:
                said.append(str(error))
            table[key] = before
    assert len(said) > 15  # Some fields may hold some of the values, such as no evaluation.
    assert all(text.isprintable() and len(text) < 800 for text in said)


def test_a_directory_or_no_file_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_plan_file(path)
