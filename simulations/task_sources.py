"""Where the records of a table of tasks come from, and which base each task starts from.

Records are those that the packs generate themselves, never anybody's. Institutions differ as their pack lets them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcore.errors import ConfigError
from simulations.tiny import TinyKind, make_tiny_base

__all__ = ["Source", "source_of"]

Rows = list[dict[str, Any]]
Records = Callable[[int, int, int], Rows]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A task's records and base.

    Args:
        records: Number of the institution, of its units, and a seed -> rows with the task's fields and "unit".
        make_base: Writes the base into a new directory.
    """

    records: Records
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

    return Source(
        records=_by_site(synthetic.records, synthetic.SITES, "patient"),
        make_base=lambda directory: _tiny(directory, "llama_wide"),
    )


def _diagnosis() -> Source:
    """Findings of three hospitals that see different conditions, on what the book of conditions says."""
    from domains.base import load_task
    from domains.medicine import diagnosis_synthetic

    return Source(
        records=_by_site(diagnosis_synthetic.records, diagnosis_synthetic.SITES, "patient"),
        make_base=_made_by(load_task("medicine.diagnosis")),
    )


def _risk() -> Source:
    """Sentences of three kinds of house, on a base that knows nothing."""
    from domains.features import make_features_base
    from domains.finance import risk_synthetic
    from domains.finance.risk_text import LABELS

    return Source(
        records=_by_site(risk_synthetic.risk_records, risk_synthetic.RISK_SITES, "id"),
        make_base=lambda directory: make_features_base(directory, labels=LABELS, dimension=1024),
    )


def _compliance() -> Source:
    """Policies of three houses beside their rules, on a base that expects nothing."""
    from domains.finance import compliance_synthetic
    from domains.finance.compliance_base import make_base

    return Source(
        records=_by_site(compliance_synthetic.compliance_records, compliance_synthetic.SITES, "policy"),
        make_base=lambda directory: make_base(directory, prior=False),
    )


def _by_site(generate: Callable[[str, int, int], Iterable[dict[str, Any]]], sites: Sequence[str], unit: str) -> Records:
    """A pack's generator as records by number; institutions beyond its sites repeat their kinds."""

    def records(institution: int, units: int, seed: int) -> Rows:
        found = generate(sites[institution % len(sites)], units, seed + 1000 * institution)
        return [{**row, "unit": f"{institution}-{row[unit]}"} for row in found]

    return records


def _made_by(task: Any) -> Callable[[Path], None]:
    """The base that a task makes itself."""
    make: Callable[[Path], None] = task.make_base
    return make


def _tiny(directory: Path, kind: TinyKind) -> None:
    make_tiny_base(directory, kind)


_SOURCES: Mapping[str, Callable[[], Source]] = {
    "medicine.record": _record,
    "medicine.diagnosis": _diagnosis,
    "finance.risk-text": _risk,
    "finance.compliance": _compliance,
}
