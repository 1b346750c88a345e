"""Synthetic company figures of our own: small tables with a paragraph that reports them, from a seed.

No such company exists, and every word is ours. Three institutions differ in what they follow: `harbour`
banks and insurers, `meridian` technology and health, `oakfield` retail and industry.

>>> row = next(records("meridian", 1, seed=1))
>>> sorted(row)
['company', 'heading', 'id', 'paragraph', 'site', 'tables']
>>> row == next(records("meridian", 1, seed=1))
True
"""

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any

from fedcore.errors import ConfigError

__all__ = ["SITES", "public_examples", "records"]

_SECTORS = {
    "bank": ("Retail banking", "Group results", "Corporate banking"),
    "insurer": ("Property insurance", "Group results", "Life insurance"),
    "software": ("Cloud services", "Group results", "Licences"),
    "health": ("Medical devices", "Group results", "Diagnostics"),
    "retail": ("Stores", "Group results", "Online sales"),
    "industry": ("Machinery", "Group results", "Components"),
}
_LINES = {
    "bank": ("Net interest income", "Fee income", "Operating costs", "Loan losses", "Net income"),
    "insurer": ("Premiums earned", "Claims paid", "Investment income", "Operating costs", "Net income"),
    "software": ("Revenue", "Subscription revenue", "Research costs", "Operating income", "Net income"),
    "health": ("Revenue", "Research costs", "Gross profit", "Operating income", "Net income"),
    "retail": ("Net sales", "Gross profit", "Store costs", "Operating income", "Inventories"),
    "industry": ("Net sales", "Order intake", "Gross profit", "Operating income", "Capital spending"),
}
_MIXES = {
    "harbour": {"bank": 60, "insurer": 34, "industry": 6},
    "meridian": {"software": 58, "health": 36, "bank": 6},
    "oakfield": {"retail": 52, "industry": 42, "software": 6},
}
SITES = tuple(_MIXES)
"""The three institutions."""

_FIRST = ("Alder", "Birch", "Cedar", "Delta", "Ember", "Falcon", "Granite", "Helios", "Iris", "Juniper", "Kestrel")
_LAST = ("Group", "Holdings", "Industries", "Partners", "Works", "Corporation")
_UP = ("rose", "increased", "grew")
_DOWN = ("fell", "decreased", "declined")


def records(site: str, companies: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the reports on one institution's companies; some companies have more than one.

    Args:
        site: One of `SITES`.
        companies: How many companies, >= 0.
        seed: The same seed gives the same records on every machine.
    Raises:
        ConfigError: The site is not one of the three.
    """
    if site not in _MIXES:
        raise ConfigError(f"the site {site!r} is not known", expected="one of " + ", ".join(SITES))
    yield from _records(site, companies, f"institution/{site}/{seed}")


def public_examples(n: int, seed: int) -> list[dict[str, Any]]:
    """Reports on no institution's companies for held-out evaluation, as fields of the task, from all sites.

    Their random streams are never those of `records`, whatever the seeds.
    """
    streams = [_records(site, n, f"public/{site}/{seed}") for site in SITES]
    rows = (next(streams[i % len(streams)]) for i in range(n))
    return [{k: row[k] for k in ("heading", "tables", "paragraph")} for row in rows]


def _records(site: str, companies: int, stream: str) -> Iterator[dict[str, Any]]:
    for index in range(companies):
        random = Random(f"concordat/finance/{stream}/{index}")  # noqa: S311
        company = f"{random.choice(_FIRST)} {random.choice(_LAST)} {random.getrandbits(24):06x}"
        names, weights = zip(*_MIXES[site].items(), strict=True)
        sector = random.choices(names, weights)[0]
        size = random.choice((40, 300, 2400, 9000))
        year = random.randint(2021, 2025)
        for number in range(random.choices((1, 2, 3), (55, 30, 15))[0]):
            heading = _SECTORS[sector][number]
            table, paragraph = _report(_LINES[sector], size, year, random)
            yield {
                "id": f"{site}-{stream.rsplit('/', 1)[-1]}-{index}-{number}",
                "site": site,
                "company": company,
                "heading": heading,
                "tables": [table],
                "paragraph": paragraph,
            }


def _report(lines: tuple[str, ...], size: int, year: int, random: Random) -> tuple[list[list[str]], str]:
    """A table of two lines over two or three years, and the paragraph on its latest two."""
    years = [str(year - k) for k in range(random.choice((2, 2, 2, 3)))]
    chosen = sorted(random.sample(range(len(lines)), 2))
    table = [["($ millions)", *years]]
    sentences = []
    for position in chosen:
        base = size * (1.0 if position == 0 else random.uniform(0.12, 0.6))
        values = [Decimal(max(1, round(base)))]
        for _ in years[1:]:
            values.insert(0, Decimal(max(1, round(float(values[0]) * random.uniform(0.82, 1.28)))))
        table.append([lines[position], *(f"{v:,}" for v in values)])
        sentences.append(_sentence(lines[position], values[0], values[1], years, random))
    return table, " ".join(sentences)


def _sentence(label: str, new: Decimal, old: Decimal, years: list[str], random: Random) -> str:
    """One line's change in one of three wordings; all figures are the table's, or computed from two of them."""
    percent = abs((new - old) * 100 / old).quantize(Decimal("0.1"), ROUND_HALF_UP)
    if new == old:
        return f"{label} stayed at ${new:,} million in {years[0]}."
    verb = random.choice(_UP if new > old else _DOWN)
    way = "up" if new > old else "down"
    inside = label[:1].lower() + label[1:]
    return random.choice(
        (
            f"{label} {verb} {percent}% to ${new:,} million in {years[0]}.",
            f"In {years[0]}, {inside} {verb} by ${abs(new - old):,} million to ${new:,} million.",
            f"{label} of ${new:,} million in {years[0]} was {way} {percent}% from ${old:,} million in {years[1]}.",
        )
    )
