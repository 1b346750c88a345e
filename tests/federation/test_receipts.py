"""A real node whose ledger is put back from a backup: it refuses, is resolved, and takes part again."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from fedcore.identity import SigningIdentity
from fedcore.receipt import Receipt, read_receipt
from fedserver.store import Store

pytestmark = pytest.mark.slow


def receipts_of(trial: Any, name: str) -> list[Receipt]:
    store = Store.open(trial.server / "state.db")
    key = SigningIdentity.load(trial.server / "identity.key").public
    found = [read_receipt(sealed, key, institution=name) for sealed in store.receipts(name)]
    store.close()
    return found


def spent(trial: Any, name: str) -> tuple[int, float]:
    budget = trial.json("node", "budget", "--dir", trial.node(name))
    return budget["rounds_reserved"], budget["epsilon_spent"]


def restore(trial: Any, name: str, backup: Path, *, whole: bool) -> None:
    """Put a backup in the place of a node's ledger, or of its whole directory."""
    if whole:
        shutil.rmtree(trial.node(name))
        shutil.copytree(backup, trial.node(name))
        return
    for path in trial.node(name).glob("ledger.db*"):
        path.unlink()
    shutil.copy(backup / "ledger.db", trial.node(name) / "ledger.db")


def test_node_with_an_older_ledger_refuses_until_it_is_resolved_and_then_takes_part(
    trial: Any, tmp_path: Path, wait_for: Any
) -> None:
    for name in ("a", "b"):
        trial.add_node(name)
    trial.run_server()
    trial.run_node("b")

    def start() -> Any:
        process = trial.run_node("a")
        wait_for("a to connect", lambda: trial.node_status("a").get("state") == "connected", timeout_s=120)
        return process

    def job(name: str, *, rounds: int = 1) -> dict[str, str]:
        trial.submit(name, rounds=rounds, quorum=1)
        status = trial.wait_job(name)
        assert status["state"] == "completed", status
        return {n: c for o in status["outcomes"] for n, c in o["dropped"].items()}

    node = start()
    assert job("first") == {}
    lines = trial.node("a") / "receipts.jsonl"
    wait_for("the job's receipt at its end", lambda: lines.exists() and lines.read_text().count("\n") == 1)
    node.interrupt()
    backup = Path(shutil.copytree(trial.node("a"), tmp_path / "backup"))
    node = start()
    assert job("second", rounds=2) == {}
    wait_for("the newest receipt", lambda: lines.read_text().count("\n") == 3)
    node.interrupt()
    assert [(r.number, r.job, r.round) for r in receipts_of(trial, "a")] == [
        (1, "first", 1), (2, "second", 1), (3, "second", 2)
    ]  # fmt: skip
    before = spent(trial, "a")

    # The ledger alone: the node's own receipts give it away, and are enough to resolve it.
    restore(trial, "a", backup, whole=False)
    assert spent(trial, "a") < before
    trial.call("node", "ledger", "verify", "--dir", trial.node("a"), code=4)
    node = start()
    assert job("third") == {"a": "ledger_behind"}
    node.interrupt()
    assert "put back from an older copy" in node.text()
    trial.call("node", "ledger", "resolve", "--dir", trial.node("a"))
    assert spent(trial, "a") == pytest.approx(before, rel=1e-9)  # Events in another order, floats in another order.
    node = start()
    assert job("fourth") == {}
    node.interrupt()
    before = spent(trial, "a")

    # The whole directory: the coordinator's newest receipt gives it away, and its others are needed.
    restore(trial, "a", backup, whole=True)
    node = start()
    assert job("fifth") == {"a": "ledger_behind"}
    node.interrupt()
    trial.call("node", "ledger", "resolve", "--dir", trial.node("a"), code=4)
    out = tmp_path / "receipts-of-a.jsonl"
    assert trial.json("server", "receipts", "a", "--out", out, "--dir", trial.server)["receipts"] == 4
    trial.call("node", "ledger", "resolve", "--receipts", out, "--dir", trial.node("a"))
    assert spent(trial, "a") == pytest.approx(before, rel=1e-9)  # Events in another order, floats in another order.
    trial.call("node", "ledger", "verify", "--dir", trial.node("a"))
    start()
    assert job("sixth") == {}
    assert [r.number for r in receipts_of(trial, "a")] == [1, 2, 3, 4, 5]
