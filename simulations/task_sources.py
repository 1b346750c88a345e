"""Where the records of a table of tasks come from, and which base each task starts from.

Records are those that the packs generate themselves, never anybody's. Institutions differ as their pack lets them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcore.errors import ConfigError
from simulations.tiny import make_tiny_base

__all__ = ["Source", "source_of"]

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A task's records and base.

    Args:
        records: Number of the institution, of its units, and a seed -> rows with the task's fields and "unit".
        make_base: Writes the base into a new directory.
    """

    records: Callable[[int, int, int], Rows]
    make_base: Callable[[Path], None]


def source_of(task: str) -> Source:
    """The source of a task's records.

    Raises:
        ConfigError: The task has none.
    """
    if task not in _SOURCES:
        raise ConfigError(f"the task {task!r} has no synthetic records", expected="one of " + ", ".join(_SOURCES))
    return _SOURCES[task]()


def _record() -> Source:
    """Visits, on a small random model that an adapter can teach."""
    from domains.medicine import synthetic

    def records(institution: int, units: int, seed: int) -> Rows:
        site = synthetic.SITES[institution % len(synthetic.SITES)]
        found = synthetic.records(site, units, seed + 1000 * institution)
        return [{**row, "unit": f"{institution}-{row['patient']}"} for row in found]

    return Source(records=records, make_base=lambda directory: _tiny(directory, "llama_wide"))


def _tiny(directory: Path, kind: Any) -> None:
    make_tiny_base(directory, kind)


_SOURCES: Mapping[str, Callable[[], Source]] = {"medicine.record": _record}
