"""What a simulation found, as `results.json`, a Markdown table and a picture of loss and epsilon by round.

A result that was made without privacy says so in each of the three. Infinity, the epsilon of a run without
noise, is null in JSON.

>>> line = RoundLine(round=1, contributors=("north",), dropped={}, loss=2.0, epsilon={"north": 1.5}, seconds=3.0)
>>> line.to_dict()["epsilon"]
{'north': 1.5}
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedcore.errors import ConfigError

__all__ = ["JSON", "MARKDOWN", "PICTURE", "InstitutionLine", "Results", "RoundLine", "markdown", "read", "write"]

JSON, MARKDOWN, PICTURE = "results.json", "results.md", "rounds.png"


@dataclass(frozen=True, kw_only=True)
class RoundLine:
    """One round: who was folded, who was dropped and why, the loss after it and each epsilon so far."""

    round: int
    contributors: tuple[str, ...]
    dropped: Mapping[str, str]
    loss: float | None
    epsilon: Mapping[str, float]
    seconds: float
    canary_loss: float | None = None
    """What a gate saw of the round's state."""
    quarantined: str | None = None
    """Why the gate undid the round, where it did."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        epsilon = {name: _finite(value) for name, value in self.epsilon.items()}
        return {**asdict(self), "contributors": list(self.contributors), "epsilon": epsilon}


@dataclass(frozen=True, kw_only=True)
class InstitutionLine:
    """One institution: how many units it protects, and what that cost."""

    name: str
    unit: str
    units: int
    epsilon_spent: float
    epsilon_limit: float
    delta: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            **asdict(self),
            "epsilon_spent": _finite(self.epsilon_spent),
            "epsilon_limit": _finite(self.epsilon_limit),
        }


@dataclass(frozen=True, kw_only=True)
class Results:
    """A finished simulation.

    `status` is "completed", or else why it was abandoned. `loss_base` and `loss_released` are measured on
    the held-out units. `noise_std` is the standard deviation, in each number, of the noise in a step averaged over
    all institutions; with `secure_sums` (None without masks), of the noise as the ring holds it. `backdoor_success` is
    measured where the scenario names an attack: see `simulations.backdoor`.
    """

    scenario: str
    digest: str
    backend: str
    task: str
    base: str
    strategy: str
    status: str
    rounds: int
    rounds_planned: int
    institutions: tuple[InstitutionLine, ...]
    heldout_units: int
    loss_base: float | None
    loss_released: float | None
    forecast: Mapping[str, Any]
    noise_multiplier: float
    noise_std: float
    joint: bool
    secure_sums: Mapping[str, Any] | None
    unsafe: tuple[str, ...]
    per_round: tuple[RoundLine, ...]
    seconds: float
    out: Path
    backdoor_success: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            **asdict(self),
            "institutions": [i.to_dict() for i in self.institutions],
            "per_round": [r.to_dict() for r in self.per_round],
            "forecast": dict(self.forecast),
            "secure_sums": None if self.secure_sums is None else dict(self.secure_sums),
            "unsafe": list(self.unsafe),
            "publishable": not self.unsafe,
            "out": str(self.out),
        }


def write(results: Results) -> dict[str, Any]:
    """Write the three files under `results.out`, the JSON last: where it stands, the others do.

    Returns:
        What `results.json` holds.
    """
    value = results.to_dict()
    results.out.mkdir(parents=True, exist_ok=True)
    (results.out / MARKDOWN).write_text(markdown(results), encoding="utf-8")
    _draw(results, results.out / PICTURE)
    written = results.out / f".{JSON}.new"
    written.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    written.replace(results.out / JSON)
    return value


def read(out: Path) -> dict[str, Any] | None:
    """What an earlier run wrote; None when it did not finish.

    Raises:
        ConfigError: The file is damaged.
    """
    path = out / JSON
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read", do="run again with --fresh") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} cannot be read", do="run again with --fresh")
    return {**value, "out": os.fspath(out)}


def markdown(results: Results) -> str:
    """The result as a page: what was run, the forecast, a table of institutions and one of rounds."""
    lines = [f"# {results.scenario}", ""]
    if results.unsafe:
        lines += [f"**{', '.join(results.unsafe)}: research only, never publishable.**", ""]
    lines += [
        f"{results.task} on {results.base}, strategy {results.strategy}, backend {results.backend}: "
        f"{results.status}, {results.rounds} of {results.rounds_planned} rounds in {results.seconds:.0f} s.",
        "",
        *_how(results),
        f"Before training: {results.forecast['text']}",
        "",
        f"Loss on {results.heldout_units} held-out units: base {_number(results.loss_base)}, "
        f"released {_number(results.loss_released)}.",
        "",
        "| institution | unit | units | ε spent | ε limit | δ |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {i.name} | {i.unit} | {i.units} | {_number(i.epsilon_spent)} | {_number(i.epsilon_limit)} | {i.delta:g} |"
        for i in results.institutions
    ]
    lines += ["", "| round | loss | largest ε | folded | dropped | seconds |", "|---:|---:|---:|---|---|---:|"]
    for r in results.per_round:
        dropped = ", ".join(f"{name} ({why})" for name, why in sorted(r.dropped.items())) or "–"
        largest = max(r.epsilon.values(), default=0.0)
        lines.append(
            f"| {r.round} | {_number(r.loss)} | {_number(largest)} | {', '.join(r.contributors)} | {dropped} "
            f"| {r.seconds:.1f} |"
        )
    lines += ["", *(f"Quarantined {r.quarantined}.\n" for r in results.per_round if r.quarantined)]
    return "\n".join([*lines, f"![Loss and epsilon by round]({PICTURE})", ""])


def _how(results: Results) -> list[str]:
    """Joint steps and masks in words; nothing for local steps in clear."""
    words = ["Joint steps: a round is one step, taken by the coordinator."] if results.joint else []
    if (sums := results.secure_sums) is not None:
        words.append(
            f"Sums behind masks: {sums['threshold']} of {sums['parties']} institutions, of which {sums['colluders']} "
            "may collude."
        )
        if sums["honest_minimum"] is not None:
            words.append(f"Any {sums['honest_minimum']} institutions carry the noise together.")
    return [" ".join(words), ""] if words else []


def _draw(results: Results, path: Path) -> None:
    """Loss and epsilon by round, side by side; no display is needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    points = [(r.round, r.loss) for r in results.per_round if r.loss is not None]
    if results.loss_base is not None:
        points = [(0, results.loss_base), *points]
    left.plot([p[0] for p in points], [p[1] for p in points], marker="o")
    left.set(xlabel="round", ylabel="loss", title="Loss on held-out units")
    for institution in results.institutions:
        spent = [(r.round, r.epsilon[institution.name]) for r in results.per_round if institution.name in r.epsilon]
        finite = [(0, 0.0), *(s for s in spent if math.isfinite(s[1]))]
        right.plot([s[0] for s in finite], [s[1] for s in finite], marker="o", label=institution.name)
    right.set(xlabel="round", ylabel="epsilon", title="Privacy spent by each institution")
    if "UnsafeNoNoise" in results.unsafe:
        right.text(0.5, 0.5, "no noise: epsilon is infinite", ha="center", transform=right.transAxes)
    elif len(results.institutions) <= 8:
        right.legend(fontsize="small")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    mark = f"  [{', '.join(results.unsafe)}: research only]" if results.unsafe else ""
    figure.suptitle(f"{results.scenario}{mark}")
    canvas.print_png(str(path))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if math.isfinite(value) else "∞"
