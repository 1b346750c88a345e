"""Whose noise a step carries, at one epsilon: four ways to take the same steps on the same units.

- **local**: local steps, averaged; each institution adds all the noise itself.
- **shared**: joint steps behind masks; `honest_minimum` institutions carry the noise together.
- **pooled**: joint steps of one institution that holds every unit: what a single trusted party would learn.
- **none**: joint steps behind masks without noise. It has no epsilon, so it is the same in each row.

Base, records, split, seed, optimiser, sampling rate, clip norm and number of steps are the same in all of them.
The pooled party divides its sums by the expected batch of the whole.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedcore.errors import ConfigError
from simulations.arms import Arm, Found
from simulations.scenario import Scenario, SplitSettings

__all__ = ["WAYS", "arms", "draw", "rows", "text"]

WAYS = ("local", "shared", "pooled", "none")

_WORDS = {
    "local": "local steps, each institution's own noise",
    "shared": "joint steps, masked, shared noise",
    "pooled": "all data in one place",
    "none": "no privacy",
}
_STYLES: Mapping[str, dict[str, Any]] = {
    "local": {"color": "#b5521b", "marker": "s"},
    "shared": {"color": "#1f5a96", "marker": "o"},
    "pooled": {"color": "#3c7d3c", "marker": "D", "linestyle": "--"},
    "none": {"color": "#666666", "linestyle": ":"},
}


def arms(scenario: Scenario, institutions: int) -> tuple[Arm, ...]:
    """The arms of a scenario of joint steps with shared noise.

    Raises:
        ConfigError: It is no such scenario, or its steps do not divide into rounds of local steps.
    """
    asked, privacy = scenario.comparison, scenario.privacy
    if asked is None or privacy.honest_minimum is None:
        raise ConfigError(
            "a comparison of kind 'noise' starts from a scenario with shared noise",
            do="set joint, [secure_sums] and [privacy] honest_minimum",
        )
    if scenario.rounds % asked.local_steps:
        raise ConfigError(
            "[comparison] local_steps does not divide the scenario's steps",
            expected=f"a divisor of {scenario.rounds}",
            got=str(asked.local_steps),
        )
    shared = dataclasses.replace(scenario, comparison=None)
    own = dataclasses.replace(privacy, honest_minimum=None)
    local = dataclasses.replace(
        shared,
        joint=False,
        secure_sums=None,
        rounds=scenario.rounds // asked.local_steps,
        privacy=dataclasses.replace(own, steps_per_round=asked.local_steps),
    )
    pooled = dataclasses.replace(
        shared,
        secure_sums=None,
        quorum=0,
        split=SplitSettings(kind="iid", institutions=1),
        privacy=dataclasses.replace(own, expected_batch_units=privacy.expected_batch_units * institutions),
    )
    ways = {"local": local, "shared": shared, "pooled": pooled}
    return (
        *(Arm(way=w, epsilon=e, scenario=s.with_epsilon(e)) for e in asked.epsilons for w, s in ways.items()),
        Arm(way="none", epsilon=None, scenario=shared.without_noise()),
    )


def rows(scenario: Scenario, found: Sequence[Found]) -> list[dict[str, Any]]:
    """A row for each epsilon: mean losses by way, and how shared noise stands to pooled data."""
    by = {(f.arm.way, f.arm.epsilon): f.loss for f in found}
    epsilons = sorted({f.arm.epsilon for f in found if f.arm.epsilon is not None})
    made = []
    for epsilon in epsilons:
        row = {way: by[way, epsilon] for way in WAYS[:3]}
        made.append(
            {"epsilon": epsilon, **row, "none": by["none", None], "shared_over_pooled": row["shared"] / row["pooled"]}
        )
    return made


def text(value: Mapping[str, Any]) -> list[str]:
    """What was compared, and the table."""
    repetitions, arms_ = value["repetitions"], value["arms"]
    lines = [
        f"{value['task']} on {value['base']}: {value['institutions']} institutions with {value['units']:,} units "
        f"({value['unit']}) together, {value['steps']} steps, delta {value['delta']:g}. Noise of any "
        f"{value['honest_minimum']} institutions is enough; a sum needs {value['threshold']}, of which "
        f"{value['colluders']} may collude.",
        "",
        f"Loss on {value['heldout_examples']} held-out examples, {_of(repetitions)}; "
        f"{value['loss_base']:.3f} before training.",
        "",
        "| ε | " + " | ".join(WAYS) + " | shared over pooled |",
        "|---:|" + "---:|" * (len(WAYS) + 1),
    ]
    lines += [
        f"| {r['epsilon']:g} | "
        + " | ".join(f"{r[way]:.3f}" for way in WAYS)
        + f" | {100 * (r['shared_over_pooled'] - 1):+.1f} % |"
        for r in value["rows"]
    ]
    lines += ["", *(f"- {way}: {_WORDS[way]}" for way in WAYS)]
    if repetitions > 1:
        spread = max((max(a["losses"]) - min(a["losses"])) / a["loss"] for a in arms_)
        lines += ["", f"Runs of one way differ by at most {100 * spread:.1f} % of their mean."]
    return lines


def draw(value: Mapping[str, Any], path: Path) -> None:
    """Loss against epsilon, a line for each way; bars reach from the best run to the worst."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure = Figure(figsize=(7, 4.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epsilons = [row["epsilon"] for row in value["rows"]]
    handles: list[Any] = []
    for way in WAYS:
        found = sorted((a for a in value["arms"] if a["arm"] == way), key=lambda a: a["epsilon"] or 0.0)
        style = {"linewidth": 1.6, "markersize": 5, **_STYLES[way], "label": _WORDS[way]}
        if way == "none":
            handles.append(axes.axhline(found[0]["loss"], **style))
            continue
        losses = [a["loss"] for a in found]
        below = [a["loss"] - min(a["losses"]) for a in found]
        above = [max(a["losses"]) - a["loss"] for a in found]
        handles.append(axes.errorbar(epsilons, losses, yerr=[below, above], capsize=3, elinewidth=1, **style))
    axes.margins(y=0.12)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(epsilons))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"ε of each {value['unit']}, at δ = {_power(value['delta'])}")
    axes.set_ylabel("loss on held-out examples (nats a token)")
    axes.set_title(
        f"{value['institutions']} institutions, {value['units']:,} units ({value['unit']}), {value['steps']} steps; "
        f"{_of(value['repetitions'])}{', bars from best to worst' if value['repetitions'] > 1 else ''}",
        fontsize=10,
        loc="left",
    )
    axes.grid(visible=True, which="major", color="#dddddd")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    # Beside nothing and over nothing: under the axes, where no point can lie.
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    canvas.print_figure(str(path), dpi=150)


def _power(number: float) -> str:
    """A small number as a typesetter would write it."""
    digits, power = f"{number:e}".split("e")
    front = "" if float(digits) == 1 else rf"{float(digits):g} \cdot "
    return rf"${front}10^{{{int(power)}}}$"


def _of(repetitions: int) -> str:
    return "one run" if repetitions == 1 else f"mean of {repetitions} runs"
