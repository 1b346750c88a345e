"""Which strategy at one epsilon: each of them on the same units, split evenly and split with skew.

Base, records, seed, sampling rate, clip norm, noise and number of steps are the same for all. What differs is the
strategy; its learning rate, where `[comparison.rates]` names one, since a core of r x r numbers moves at another rate
than whole factors; and the ranks, which only strategies that take them are given. Where a strategy leaves a part with
each institution, the loss is the mean over the institutions' own adapters.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedcore.errors import ConfigError
from fedserver.strategies import DEFAULT, load_strategy, strategy_names
from simulations.arms import Arm, Found
from simulations.scenario import Scenario

__all__ = ["SPLITS", "arms", "draw", "rows", "text"]

SPLITS = ("even", "skewed")


def arms(scenario: Scenario, institutions: int) -> tuple[Arm, ...]:
    """An arm for each strategy and split.

    Raises:
        ConfigError: A name is no strategy, more than one epsilon is asked for, or the scenario splits by a column.
    """
    asked = scenario.comparison
    if asked is None or len(asked.epsilons) != 1 or scenario.split.kind == "column":
        raise ConfigError(
            "a comparison of kind 'strategies' has one epsilon and a split that can be even or skewed",
            do="name one of [comparison] epsilons, and set [split] kind to 'dirichlet'",
        )
    names = asked.strategies or strategy_names()
    if unknown := sorted(asked.rates.keys() - set(names)):
        raise ConfigError(f"[comparison.rates] names {unknown[0]!r}, which is not compared")
    plain = dataclasses.replace(scenario, comparison=None)
    splits = {
        "even": dataclasses.replace(scenario.split, kind="iid"),
        "skewed": dataclasses.replace(scenario.split, kind="dirichlet"),
    }
    made = []
    for split in SPLITS:
        for name in names:
            rate = asked.rates.get(name, scenario.optimiser.learning_rate)
            one = dataclasses.replace(
                plain,
                strategy=name,
                split=splits[split],
                optimiser=dataclasses.replace(scenario.optimiser, learning_rate=rate),
                ranks=_ranks(name, asked.ranks, institutions, scenario.adapter.rank),
            )
            epsilon = asked.epsilons[0]
            made.append(Arm(way=f"{name}-{split}", epsilon=epsilon, scenario=one.with_epsilon(epsilon)))
    return tuple(made)


def rows(scenario: Scenario, found: Sequence[Found]) -> list[dict[str, Any]]:
    """A row for each strategy: its losses on both splits, and what travels up in a round."""
    by = {f.arm.way: f for f in found}
    made = []
    for name in dict.fromkeys(f.arm.scenario.strategy for f in found):
        pair = {split: by[f"{name}-{split}"] for split in SPLITS}
        base = pair["even"].runs[0]["loss_base"]
        made.append(
            {
                "strategy": name,
                "epsilon": pair["even"].arm.epsilon,
                "base": base,
                **{split: one.loss for split, one in pair.items()},
                **{f"{split}_losses": list(one.losses) for split, one in pair.items()},
                "learning_rate": pair["even"].arm.scenario.optimiser.learning_rate,
                "ranks": sorted(set(dict(pair["even"].arm.scenario.ranks).values())),
                "own_parts": list(load_strategy(name).traits.keeps),
            }
        )
    return made


def text(value: Mapping[str, Any]) -> list[str]:
    """What was compared, and the table, the best on even data first."""
    table = sorted(value["rows"], key=lambda r: r["even"])
    first = table[0]
    lines = [
        f"{value['task']} on {value['base']}: {value['institutions']} institutions with {value['units']:,} units "
        f"({value['unit']}) together, {value['steps']} steps, epsilon {first['epsilon']:g} at delta "
        f"{value['delta']:g} for each {value['unit']}.",
        "",
        f"Loss on {value['heldout_examples']} held-out examples, {_of(value['repetitions'])}; {first['base']:.3f} "
        "before training.",
        "",
        "| strategy | even | skewed | learning rate | exact for B A |",
        "|---|---:|---:|---:|---|",
    ]
    for row in table:
        name, exact = row["strategy"], re.split("[:;,]", load_strategy(row["strategy"]).traits.exact)[0]
        notes = ["default"] if name == DEFAULT else []
        notes += [f"ranks {', '.join(map(str, row['ranks']))} beside the full one"] if row["ranks"] else []
        notes += ["own " + ", ".join(row["own_parts"])] if row["own_parts"] else []
        label = f"`{name}`" + (f" ({'; '.join(notes)})" if notes else "")
        lines.append(f"| {label} | {row['even']:.3f} | {row['skewed']:.3f} | {row['learning_rate']:g} | {exact} |")
    if value["repetitions"] > 1:
        spread = max(
            (max(row[f"{split}_losses"]) - min(row[f"{split}_losses"])) / row[split]
            for row in table
            for split in SPLITS
        )
        lines += ["", f"Runs of one strategy differ by at most {100 * spread:.1f} % of their mean."]
    return lines


def draw(value: Mapping[str, Any], path: Path) -> None:
    """A pair of bars for each strategy, even beside skewed; lines reach from the best run to the worst."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = sorted(value["rows"], key=lambda r: r["even"], reverse=True)
    figure = Figure(figsize=(7, 0.46 * len(table) + 1.7), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for offset, split, colour in ((0.2, "even", "#1f5a96"), (-0.2, "skewed", "#b5521b")):
        losses = [row[split] for row in table]
        below = [row[split] - min(row[f"{split}_losses"]) for row in table]
        above = [max(row[f"{split}_losses"]) - row[split] for row in table]
        places = [k + offset for k in range(len(table))]
        axes.errorbar(losses, places, xerr=[below, above], fmt="o", markersize=5, capsize=3, color=colour, label=split)
    axes.axvline(table[0]["base"], color="#666666", linestyle=":", label="before training")
    axes.set_yticks(range(len(table)), [row["strategy"] for row in table])
    axes.set_xlabel("loss on held-out examples (nats a token)")
    axes.set_title(
        f"{value['institutions']} institutions, {value['units']:,} units ({value['unit']}), ε = "
        f"{table[0]['epsilon']:g}; {_of(value['repetitions'])}",
        fontsize=10,
        loc="left",
    )
    axes.grid(visible=True, axis="x", color="#dddddd")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    canvas.print_figure(str(path), dpi=150)


def _ranks(name: str, ranks: Sequence[int], institutions: int, full: int) -> dict[str, int]:
    """The ranks of a split's institutions, in turn; the full one needs no entry."""
    if not ranks or not load_strategy(name).traits.ranks:
        return {}
    return {f"institution-{k + 1}": r for k in range(institutions) if (r := ranks[k % len(ranks)]) < full}


def _of(repetitions: int) -> str:
    return "one run" if repetitions == 1 else f"mean of {repetitions} runs"
