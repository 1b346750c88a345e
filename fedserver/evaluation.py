"""Loss on public held-out examples, from an evaluator that is reached through an entry point.

The coordinator itself knows no tokens, no tasks and no torch. Where the `[domains]` extra is installed on
its machine, a class in the entry-point group "concordat.evaluators" can score a state; where it is not,
losses are simply not stated.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError

__all__ = ["Evaluator", "load_evaluator"]

_GROUP = "concordat.evaluators"


class Evaluator(Protocol):
    """Scores states on public examples."""

    def loss(self, state: AdapterState | None, *, task: str, records: Path, limit: int, max_tokens: int) -> float:
        """Mean loss over at most `limit` examples; None means the base model alone."""


def load_evaluator(name: str, base: Path) -> Evaluator:
    """Find an evaluator by its entry point's name and give it the base to score with.

    Raises:
        ConfigError: There is none of that name, or what it needs is not installed.
    """
    found = entry_points(group=_GROUP)
    entry = next((e for e in found if e.name == name), None)
    if entry is None:
        known = ", ".join(sorted(e.name for e in found)) or "(none is installed)"
        raise ConfigError(f"unknown evaluator {name!r}", expected=f"one of {known}", do="correct [evaluator] name")
    try:
        make = cast(Callable[[Path], Evaluator], entry.load())
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the evaluator {name!r} needs the Python package {error.name!r}",
            do="pip install 'concordat[domains]', or remove [evaluator] from server.toml",
        ) from error
    return make(base)
