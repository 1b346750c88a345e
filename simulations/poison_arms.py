"""Ten attacks against each rule by which updates are combined: what is lost, and what recommends a rule.

Every arm runs the same scenario with another rule and another attack by the same institutions. Where draws are
seeded, an arm and its run without attack differ in the attack alone. For each of them:

- **clean_loss_lost**: (loss - clean loss) / (base loss - clean loss) on held-out examples, where the clean loss is that
  of the plain mean without attack: the share of the improvement that is lost. Below 0, nothing is.
- **backdoor_gap**: success of the backdoor in percent, minus that of the same rule without attack: points.

A rule's own price is its row with the attack "none". Recommended is, of the rules that hold every attack within
both goals, the one that loses least in the worst case; where none does, the one that comes nearest to the goals.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedcore.errors import ConfigError
from fedcore.folding import RobustRule
from simulations.arms import Arm, Found
from simulations.scenario import AttackSettings, Scenario

__all__ = ["LARGEST_GAP", "LARGEST_LOSS", "arms", "draw", "recommend", "rows", "summary", "text"]

LARGEST_LOSS = 0.02
"""Share of the clean improvement that an attack may cost."""
LARGEST_GAP = 5.0
"""Points by which an attack may raise the backdoor's success."""

Row = dict[str, Any]


def arms(scenario: Scenario, institutions: int) -> tuple[Arm, ...]:
    """Each rule, the plain mean among them, without attack and under each.

    Raises:
        ConfigError: Too many institutions are bad, or the scenario names a rule or an attack of its own.
    """
    asked = scenario.comparison
    if asked is None or asked.kind != "poisoning":
        raise ConfigError("the scenario compares no rules", do="set [comparison] kind = 'poisoning'")
    if 2 * asked.bad >= institutions:
        raise ConfigError(
            "[comparison] bad is no minority", expected=f"fewer than half of {institutions}", got=str(asked.bad)
        )
    if scenario.rule is not None or scenario.attack is not None:
        raise ConfigError("a comparison of rules names them itself", do="leave [rule] and [attack] out")
    epsilon = None if scenario.privacy.unsafe_no_noise else scenario.privacy.epsilon
    plain = dataclasses.replace(scenario, comparison=None)
    made = []
    for name in dict.fromkeys(("mean", *asked.rules)):
        rule = RobustRule(name=name, assumed_bad=0 if name == "mean" else asked.bad)
        rule.check(scenario.quorum or institutions)
        for attack in ("none", *asked.attacks):
            settings = AttackSettings(name=attack, bad=0 if attack == "none" else asked.bad)
            changed = dataclasses.replace(plain, rule=rule, attack=settings)
            made.append(Arm(way=f"{name}.{attack}", epsilon=epsilon, scenario=changed, paired=True))
    return tuple(made)


def rows(_scenario: Scenario, found: Sequence[Found]) -> list[Row]:
    """A row for each rule and attack, in the order of the arms."""
    base = float(found[0].runs[0]["loss_base"])
    named = [(*_names(f), f) for f in found]
    clean = next(f.loss for rule, attack, f in named if (rule, attack) == ("mean", "none"))
    if not base > clean:
        raise ConfigError("the clean run learns nothing that an attack could take", do="train for more rounds")
    quiet = {rule: _success(f) for rule, attack, f in named if attack == "none"}
    return [
        {
            "rule": rule,
            "attack": attack,
            "clean_loss_lost": (f.loss - clean) / (base - clean),
            "backdoor_gap": 100 * (_success(f) - quiet[rule]),
            "backdoor_success": 100 * _success(f),
            "loss": f.loss,
            "dropped": _dropped(f),
        }
        for rule, attack, f in named
    ]


def recommend(found: Sequence[Row]) -> tuple[str, bool]:
    """The recommended rule, and whether it meets both goals under every attack."""

    def worst(rule: str, key: str) -> float:
        return max(float(r[key]) for r in found if r["rule"] == rule)

    def excess(rule: str) -> float:
        """How far a rule misses the goals, in units of each; 1 or less meets both."""
        return max(worst(rule, "clean_loss_lost") / LARGEST_LOSS, worst(rule, "backdoor_gap") / LARGEST_GAP)

    names = list(dict.fromkeys(str(r["rule"]) for r in found))
    good = [name for name in names if excess(name) <= 1]
    if good:
        return min(good, key=lambda name: worst(name, "clean_loss_lost")), True
    return min(names, key=excess), False


def summary(_scenario: Scenario, found: Sequence[Row]) -> dict[str, Any]:
    """What the table recommends, and under which goals."""
    name, met = recommend(found)
    return {
        "recommended": name,
        "goals_met": met,
        "largest_loss_lost": LARGEST_LOSS,
        "largest_backdoor_gap": LARGEST_GAP,
    }


def text(value: Mapping[str, Any]) -> list[str]:
    """What was compared, and the table: an attack a line, a rule a column."""
    table, repetitions = value["rows"], value["repetitions"]
    names = list(dict.fromkeys(r["rule"] for r in table))
    by = {(r["rule"], r["attack"]): r for r in table}
    epsilon = value["arms"][0]["epsilon"]
    private = "without noise" if epsilon is None else f"at epsilon {epsilon:g}"
    clean = by["mean", "none"]["loss"]
    lines = [
        f"{value['task']} on {value['base']}: {value['institutions']} institutions with {value['units']:,} units "
        f"({value['unit']}) together, {value['steps']} steps, {private}, {_of(repetitions)}.",
        "",
        f"Share of the clean improvement that is lost, on {value['heldout_examples']} held-out examples "
        f"({value['loss_base']:.3f} before training, {clean:.3f} after it with the plain mean and no attack); in "
        "brackets, where it is not 0, by how many points more often the backdoor works than without attack.",
        "",
        "| attack | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for attack in dict.fromkeys(r["attack"] for r in table):
        lines.append(f"| {attack} | " + " | ".join(_cell(by[name, attack]) for name in names) + " |")
    goals = f"{value['largest_loss_lost']:.0%} of the improvement and {value['largest_backdoor_gap']:g} points"
    met = (
        f"it holds every attack within {goals}" if value["goals_met"] else f"no rule holds every attack within {goals}"
    )
    return [*lines, "", f"Recommended: `{value['recommended']}`; {met}."]


def draw(value: Mapping[str, Any], path: Path) -> None:
    """What each attack costs under each rule, and below it what the backdoor gains: a bar for each rule."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = value["rows"]
    names = list(dict.fromkeys(r["rule"] for r in table))
    attacks = list(dict.fromkeys(r["attack"] for r in table))
    figure = Figure(figsize=(9.5, 6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    width = 0.84 / len(names)
    for place, name in enumerate(names):
        found = [next(r for r in table if (r["rule"], r["attack"]) == (name, a)) for a in attacks]
        at = [i + (place - (len(names) - 1) / 2) * width for i in range(len(attacks))]
        style: dict[str, Any] = {"width": width, "color": f"C{place}", "label": name}
        above.bar(at, [100 * r["clean_loss_lost"] for r in found], **style)
        below.bar(at, [r["backdoor_gap"] for r in found], **style)
    # From goals to the loss of everything and more: straight around 0, logarithmic beyond.
    above.set_yscale("symlog", linthresh=100 * value["largest_loss_lost"])
    above.axhline(100 * value["largest_loss_lost"], color="#444444", linewidth=1, linestyle="--")
    below.axhline(value["largest_backdoor_gap"], color="#444444", linewidth=1, linestyle="--")
    above.set_ylabel("share of the clean\nimprovement lost (%)")
    below.set_ylabel("backdoor: points\nabove no attack")
    below.set_xticks(range(len(attacks)), attacks, rotation=30, ha="right")
    above.set_title(
        f"{value['institutions']} institutions, {_of(value['repetitions'])}; dashed: the goals", fontsize=10, loc="left"
    )
    for axes in (above, below):
        axes.grid(visible=True, axis="y", color="#dddddd")
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    handles, labels = above.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8)
    canvas.print_figure(str(path), dpi=150)


def _cell(row: Row) -> str:
    """One attack under one rule."""
    gap = f" ({row['backdoor_gap']:+.0f})" if abs(row["backdoor_gap"]) >= 0.5 else ""
    return f"{100 * row['clean_loss_lost']:.1f} %{gap}"


def _names(found: Found) -> tuple[str, str]:
    """Rule and attack of an arm."""
    rule, attack = found.arm.way.split(".")
    return rule, attack


def _success(found: Found) -> float:
    """The mean over the runs, in [0, 1]."""
    return sum(float(run["backdoor_success"]) for run in found.runs) / len(found.runs)


def _dropped(found: Found) -> list[str]:
    """Why replies were dropped, in any round of any run."""
    return sorted({why for run in found.runs for r in run["per_round"] for why in r["dropped"].values()})


def _of(repetitions: int) -> str:
    return "one run" if repetitions == 1 else f"mean of {repetitions} runs"
