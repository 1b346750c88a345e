"""The records of a scenario as units: read or generated, some held out, the rest split into institutions.

>>> from simulations.scenario import load, named
>>> units = Units.of(load(named("quickstart")), records=None)                     # doctest: +SKIP
>>> sorted(units.split)                                                           # doctest: +SKIP
['northfield', 'riverside', 'st-anne']
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

from fedclient.records import Record, RecordSettings, read_records
from fedcore.errors import ConfigError, RecordError
from simulations import partitions
from simulations.scenario import RecordsSettings, Scenario

__all__ = ["Units"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Units:
    """Units and who holds them.

    Args:
        split: Institution -> its units.
        heldout: Units that no institution holds; the loss is measured on them.
        canaries: Likewise, and a gate looks at them; none of them is among `heldout`.
        records: Unit -> its records, in the order of the source.
    """

    split: partitions.Split
    heldout: tuple[str, ...]
    canaries: tuple[str, ...]
    records: Mapping[str, tuple[Record, ...]]

    @classmethod
    def of(cls, scenario: Scenario, *, records: Path | None) -> "Units":
        """Read or generate a scenario's records and split their units.

        Raises:
            ConfigError: There are neither records nor a generator, too few units, or no such column.
            RecordError: The records cannot be read.
        """
        grouped: dict[str, list[Record]] = {}
        for record in _read(scenario, records):
            grouped.setdefault(record.unit, []).append(record)
        # Canaries come from what is left, so that the loss is measured on the same units with and without them.
        left, heldout = partitions.hold_out(grouped, scenario.records.heldout_units, scenario.seed)
        kept, canaries = partitions.hold_out(left, scenario.records.canary_units, scenario.seed)
        return cls(
            split=_split(scenario, {unit: grouped[unit] for unit in kept}),
            heldout=heldout,
            canaries=canaries,
            records={unit: tuple(rows) for unit, rows in grouped.items()},
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The institutions, sorted."""
        return tuple(sorted(self.split))

    def of_institution(self, name: str) -> Iterator[Record]:
        """One institution's records."""
        return chain.from_iterable(self.records[unit] for unit in self.split[name])

    def heldout_records(self, limit: int) -> list[Record]:
        """At most `limit` held-out records, from each held-out unit in turn."""
        return self._in_turn(self.heldout, limit)

    def canary_records(self, limit: int) -> list[Record]:
        """At most `limit` records of the canary units, from each in turn."""
        return self._in_turn(self.canaries, limit)

    def _in_turn(self, units: tuple[str, ...], limit: int) -> list[Record]:
        """At most `limit` records of these units."""
        turns = zip_longest(*(self.records[unit] for unit in units))
        return list(islice((r for turn in turns for r in turn if r is not None), limit))

    def __repr__(self) -> str:
        return "Units"


def _read(scenario: Scenario, path: Path | None) -> Iterator[Record]:
    """The records of a file or directory, or those of a generator."""
    settings = scenario.records
    if path is not None:
        return read_records(
            RecordSettings(path=path, unit=settings.unit, format=settings.format, fields=settings.fields)
        )
    if not settings.synthetic:
        raise ConfigError("the scenario names no records", do="give --records, or set [records] synthetic")
    return _generated(settings, scenario.seed)


def _generated(settings: RecordsSettings, seed: int) -> Iterator[Record]:
    """Records that a domain pack generates; their fields are the task's own."""
    for position, row in enumerate(_rows(settings.synthetic, settings.units_per_site, seed), start=1):
        if not isinstance(unit := row.get(settings.unit), str):
            raise ConfigError(
                f"synthetic records have no unit {settings.unit!r}",
                expected="one of " + ", ".join(sorted(row)),
                do="correct [records] unit",
            )
        yield Record(unit=unit, fields=row, position=position)


def _rows(generator: str, units: int, seed: int) -> Iterable[dict[str, Any]]:
    """Rows of all sites of a generator."""
    if generator == "medicine":
        from domains.medicine import synthetic as medicine

        return chain.from_iterable(medicine.records(site, units, seed) for site in medicine.SITES)
    from domains.finance import synthetic as finance

    return chain.from_iterable(finance.records(site, units, seed) for site in finance.SITES)


def _split(scenario: Scenario, grouped: Mapping[str, list[Record]]) -> partitions.Split:
    """Units into institutions, as the scenario says."""
    how = scenario.split
    if how.kind == "iid":
        return partitions.iid(grouped, institutions=how.institutions, seed=scenario.seed)
    values = {unit: [_value(r, how.column) for r in rows] for unit, rows in grouped.items()}
    if how.kind == "dirichlet":
        return partitions.dirichlet(values, institutions=how.institutions, alpha=how.alpha, seed=scenario.seed)
    return partitions.by_column(values, merge_below=how.merge_below_units)


def _value(record: Record, column: str) -> str:
    """The column's value in a record."""
    if column not in record.fields:
        raise RecordError(
            f"record {record.position} has no column {column!r}, by which the scenario splits",
            expected="one of " + ", ".join(sorted(record.fields)),
            do="correct [split] column",
        )
    return str(record.fields[column])
