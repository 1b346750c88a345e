"""What `concordat server strategies` prints: each strategy, what it promises and when to use it.

>>> [row["name"] for row in strategy_rows() if row["default"]]
['fedavg']
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import typer

from fedserver.strategies import DEFAULT, load_strategy, strategy_names

__all__ = ["show_strategies", "strategy_rows"]


def strategy_rows() -> list[dict[str, Any]]:
    """One JSON object for each strategy: name, summary, whether it is the default, its traits and what it trains."""
    found = (load_strategy(name) for name in strategy_names())
    return [
        {
            "name": one.name,
            "summary": one.summary,
            "default": one.name == DEFAULT,
            **asdict(one.traits),
            "keeps": list(one.traits.keeps),
            "server_optimiser": not one.traits.ordered,
            "trains": [list(one.trains(number)) for number in (1, 2)],
        }
        for one in found
    ]


def show_strategies(rows: Iterable[Mapping[str, Any]]) -> None:
    """The rows for people."""
    for row in rows:
        typer.echo(f"{row['name']}{' (default)' if row['default'] else ''}: {row['summary']}")
        typer.echo(f"  when: {row['when']}")
        typer.echo(f"  exact: {row['exact']}")
        typer.echo(f"  noise: {row['noise']}{' [warned about in private jobs]' if row['noisier'] else ''}")
        works = (("behind masks", "masked"), ("different ranks", "ranks"), ("server optimiser", "server_optimiser"))
        typer.echo("  " + ", ".join(f"{what}: {'yes' if row[key] else 'no'}" for what, key in works))
