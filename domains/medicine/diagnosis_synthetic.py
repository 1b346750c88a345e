"""Synthetic patients of our own for diagnosis support: findings and the condition, from a seed.

Nobody in them exists. Each has a condition of our own book, most of its typical findings, now and then one that
has nothing to do with it, and some findings that were looked for and denied. Three institutions see different
conditions, as in `domains.medicine.synthetic`.

>>> row = next(records("riverside", 1, seed=1))
>>> sorted(row)
['age', 'diagnosis', 'findings', 'first', 'id', 'patient', 'sex', 'site']
>>> row == next(records("riverside", 1, seed=1))
True
"""

from collections.abc import Iterator
from random import Random
from typing import Any

from domains.medicine.conditions import COMMON, Condition
from fedcore.errors import ConfigError

__all__ = ["SITES", "public_examples", "records"]

SITES = ("st-anne", "riverside", "northfield")
"""The three institutions."""
_OFTEN = {
    "st-anne": "I21 I20 I50 I48 I26 I63 D64",
    "riverside": "J00 J11 J20 J30 J01 K21 N30 G43 E03 M10",
    "northfield": "J18 J45 A09 K35 G03 T78.2 J11 I50 N20",
}
_WEIGHT = 6.0
_TYPICAL, _RISK, _STRAY, _DENIED = 0.75, 0.35, 0.015, 0.1


def records(site: str, patients: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the patients of one institution, one record each.

    Args:
        site: One of `SITES`.
        patients: How many, >= 0.
        seed: The same seed gives the same records on every machine.
    Raises:
        ConfigError: The site is not one of the three.
    """
    if site not in SITES:
        raise ConfigError(f"the site {site!r} is not known", expected="one of " + ", ".join(SITES))
    yield from _records(site, patients, f"institution/{site}/{seed}")


def public_examples(n: int, seed: int) -> list[dict[str, Any]]:
    """Records of nobody's patients for held-out evaluation, from all sites in turn; never those of `records`."""
    streams = [_records(site, n, f"public/{site}/{seed}") for site in SITES]
    rows = (next(streams[i % len(streams)]) for i in range(n))
    return [{k: v for k, v in row.items() if k not in ("id", "site", "patient")} for row in rows]


def _records(site: str, patients: int, stream: str) -> Iterator[dict[str, Any]]:
    often = _OFTEN[site].split()
    weights = [_WEIGHT if c.icd10 in often else 1.0 for c in COMMON.conditions]
    for index in range(patients):
        random = Random(f"concordat/diagnosis/{stream}/{index}")  # noqa: S311
        condition = random.choices(COMMON.conditions, weights)[0]
        patient = f"{site}-{random.getrandbits(40):010x}"
        findings, first = _findings(condition, random)
        low = 3 if site == "northfield" else 18
        yield {
            "id": f"{patient}-1",
            "site": site,
            "patient": patient,
            "age": random.randint(low, 90),
            "sex": random.choice("FM"),
            "findings": findings,
            "first": first,
            "diagnosis": condition.en,
        }


def _findings(condition: Condition, random: Random) -> tuple[list[Any], str]:
    """Findings in the book's order, and the one that the patient came with."""
    first = random.choice(sorted(condition.symptoms))
    found: list[Any] = []
    for finding in COMMON.findings:
        chance = _STRAY
        if finding.code in condition.symptoms:
            chance = _TYPICAL
        elif finding.code in condition.history:
            chance = _RISK
        if finding.code == first or random.random() < chance:
            found.append(finding.code)
        elif random.random() < _DENIED:
            found.append([finding.code, False])
    return found, first
