"""Worlds on a tiny base: whole federations in a second or two."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from simulations.directory import RunDirectory
from simulations.scenario import Scenario, load, named
from simulations.tiny import make_tiny_base


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on a busy machine can be far slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("bases") / "tiny", "llama")


@pytest.fixture
def quickstart() -> Callable[..., Scenario]:
    """The quickstart scenario, seeded so that runs can be compared; privacy settings can be overridden."""

    def make(*, rounds: int = 2, seeded: bool = True, **privacy: Any) -> Scenario:
        scenario = load(named("quickstart"))
        settings = dataclasses.replace(scenario.privacy, unsafe_seeded=seeded, **privacy)
        return dataclasses.replace(scenario, rounds=rounds, privacy=settings)

    return make


@pytest.fixture
def prepare(tiny_base: Path) -> Callable[..., RunDirectory]:
    def make(out: Path, scenario: Scenario, *, records: Path | None = None, fresh: bool = False) -> RunDirectory:
        return RunDirectory.prepare(out, scenario, records=records, base=tiny_base, fresh=fresh)

    return make
