"""Helper processes with one fault each, for `test_distributed.py`; they run in processes of their own."""

import os
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import torch

from fedclient import _group
from fedclient._helper import Added, Go, Setup, Share, help_out


class Wire:
    """A pipe on which something is changed on the way."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def recv(self) -> Any:
        return self.pipe.recv()

    def send(self, what: Any) -> None:
        self.pipe.send(what)


def twice(setup: Setup, rank: int, pipe: Connection) -> None:
    """Counts a unit twice, and says so."""

    class Twice(Wire):
        def recv(self) -> Any:
            said = super().recv()
            return replace(said, units=said.units + said.units[:1]) if isinstance(said, Share) else said

    help_out(setup, rank, Twice(pipe))  # type: ignore[arg-type]


def twice_unsaid(setup: Setup, rank: int, pipe: Connection) -> None:
    """Counts a unit twice, and says that it did once."""

    class Unsaid(Wire):
        def recv(self) -> Any:
            said = super().recv()
            return replace(said, units=said.units + said.units[:1]) if isinstance(said, Share) else said

        def send(self, what: Any) -> None:
            if isinstance(what, Added):
                what = replace(what, positions=tuple(sorted(set(what.positions))))
            super().send(what)

    help_out(setup, rank, Unsaid(pipe))  # type: ignore[arg-type]


def elsewhere(setup: Setup, rank: int, pipe: Connection) -> None:
    """Has another parameter than the first process: a bit that flipped."""
    spread = _group.Group.spread

    def spread_and_flip(group: _group.Group, parameters: Any) -> None:
        spread(group, parameters)
        with torch.no_grad():
            parameters[0].view(-1)[0] += 1e-3

    _group.Group.spread = spread_and_flip  # type: ignore[method-assign]
    help_out(setup, rank, pipe)


def dies_before_the_sum(setup: Setup, rank: int, pipe: Connection) -> None:
    """Ends after it said what it added, before it hands the sum over."""

    class Dies(Wire):
        def recv(self) -> Any:
            said = super().recv()
            if isinstance(said, Go):
                os._exit(9)
            return said

    help_out(setup, rank, Dies(pipe))  # type: ignore[arg-type]


def fails(setup: Setup, rank: int, pipe: Connection) -> None:
    """Meets an error in the middle of a step, whose message holds what it was about."""

    class Fails(Wire):
        def recv(self) -> Any:
            said = super().recv()
            if isinstance(said, Share):
                raise ValueError("patient 4711")
            return said

    help_out(setup, rank, Fails(pipe))  # type: ignore[arg-type]
