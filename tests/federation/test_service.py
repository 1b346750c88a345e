"""The coordinator's service on a machine that is at fault."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from fedserver import service
from fedserver.settings import Place
from fedserver.store import Store
from tests.full_disk import full_disk


def test_full_disk_is_waited_for_and_fails_no_job(
    trial: Any, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., Any]
) -> None:
    monkeypatch.setattr(service, "_STORAGE_S", 0.2)
    for name in ("a", "b"):
        trial.add_node(name)
    trial.submit("waits")
    said, stop, store = list[str](), threading.Event(), Store.open(trial.server / "state.db")
    serving = service.Service(Place(trial.server), say=said.append, stopped=stop.is_set)
    thread = threading.Thread(target=serving.run)
    try:
        with full_disk():
            thread.start()
            wait_for("the coordinator to wait", lambda: any("everything kept" in line for line in said))
            assert store.job("waits").state == "queued"
        wait_for("the job to start", lambda: store.job("waits").state == "running")
    finally:
        stop.set()
        thread.join(timeout=30)
    assert (store.job("waits").state, store.job("waits").reason) == ("running", None)
    assert sum("everything kept" in line for line in said) == 1
    store.close()
