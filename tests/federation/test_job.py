"""The main job with real processes: coordinator, nodes, release."""

from pathlib import Path
from typing import Any

import pytest

from fedcore.enrolment import CoordinatorCard
from fedcore.identity import PublicIdentity
from fedcore.manifest import ReleaseManifest


@pytest.mark.slow
def test_job_completes_and_its_release_verifies_with_the_public_key_alone(trial: Any) -> None:
    trial.add_node("a")
    trial.add_node("b")
    trial.run_server()
    nodes = [trial.run_node(name) for name in ("a", "b")]
    trial.submit("two-rounds")
    status = trial.wait_job("two-rounds")
    assert status["state"] == "completed", status
    assert status["tls"] == "TLSv1.3"
    assert [o["contributors"] for o in status["outcomes"]] == [["a", "b"], ["a", "b"]]
    assert all(b > 0 for b in status["bytes_up_per_round"] + status["bytes_down_per_round"])
    card = CoordinatorCard.read(trial.server / "coordinator.json")
    manifest = ReleaseManifest.verify(Path(status["release"]), PublicIdentity(card.identity))
    assert manifest.contributors == {"a": 2, "b": 2}
    assert manifest.unsafe == ()
    for spend in manifest.spends:
        budget = trial.json("node", "budget", "--dir", trial.node(spend.institution))
        assert budget["epsilon_spent"] == pytest.approx(spend.epsilon)
    assert [n.interrupt() for n in nodes] == [130, 130]
    assert "keys and ledger are kept" in nodes[0].text()
    assert trial.processes[0].interrupt() == 130
    assert "state is kept" in trial.processes[0].text()
