"""Real faults in a real federation: SIGKILL to a node in mid-round, and to the coordinator in mid-job."""

import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fedcore import canonical
from fedcore.privacy import accounting
from fedserver.store import Store

pytestmark = pytest.mark.slow

ROUNDS = 3
STEPS = 80


def is_training(trial: Any, name: str, number: int) -> Callable[[], bool]:
    def holds() -> bool:
        status = trial.node_status(name)
        return bool(status.get("state") == "training" and status.get("round") == number and status.get("step", 0) >= 2)

    return holds


def test_killed_node_and_killed_coordinator_come_back_and_the_job_completes(
    trial: Any, wait_for: Callable[..., Any]
) -> None:
    for seed, name in enumerate(("a", "b")):
        trial.add_node(name, epsilon=5000.0, seed=seed)
    server = trial.run_server()
    nodes = {name: trial.run_node(name) for name in ("a", "b")}
    trial.submit("faults", rounds=ROUNDS, steps=STEPS, deadline_s=300)

    wait_for("a to train in round 1", is_training(trial, "a", 1), timeout_s=120)
    children = children_of(nodes["a"].popen.pid)
    assert children, "a node has a worker"
    nodes["a"].kill()
    wait_for("the worker of a supervisor that was killed to end", lambda: not any(map(is_alive, children)))
    nodes["a"] = trial.run_node("a")

    wait_for("b to train in round 2", is_training(trial, "b", 2), timeout_s=180)
    plan_before = stored_plan(trial, "faults", 2)
    server.kill()
    trial.run_server()

    status = trial.wait_job("faults", timeout_s=300)
    assert status["state"] == "completed", status
    assert [o["round"] for o in status["outcomes"]] == [1, 2, 3]
    assert [o["contributors"] for o in status["outcomes"]] == [["a", "b"]] * ROUNDS
    assert stored_plan(trial, "faults", 2) == plan_before

    store = Store.open(trial.server / "state.db")
    job = store.job("faults").plan
    outcomes = store.outcomes("faults")
    plans = [store.round_plan("faults", o.round) for o in outcomes]
    store.close()
    # No round was folded twice: each one starts from the state that the one before it left.
    for plan, outcome in zip(plans[1:], outcomes[:-1], strict=True):
        assert plan.state_digest == outcome.state_digest
    assert len({o.state_digest for o in outcomes}) == ROUNDS

    # No ledger under-counts: the round in which a was killed is paid for twice, a repeated question once.
    for name, trained in (("a", ROUNDS + 1), ("b", ROUNDS)):
        budget = trial.json("node", "budget", "--dir", trial.node(name))
        assert budget["rounds_answered"] == ROUNDS
        assert trained <= budget["rounds_reserved"] <= trained + 1
        events = [job.privacy.event()] * budget["rounds_reserved"]
        assert budget["epsilon_spent"] >= accounting.epsilon(events, job.privacy.delta) * 0.999
    for earlier, later in pairwise(status["spends"]):
        assert earlier["institution"] < later["institution"]


def children_of(pid: int) -> list[int]:
    """Processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether a process runs, or at least has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stored_plan(trial: Any, job: str, number: int) -> bytes:
    """The bytes of a round's plan as the coordinator keeps them."""
    with sqlite3.connect(trial.server / "state.db") as db:
        row = db.execute("SELECT plan FROM rounds WHERE job_id = ? AND round = ?", (job, number)).fetchone()
    data: bytes = row[0]
    assert canonical.decode(data)["round"] == number
    return data
