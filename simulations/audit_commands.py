"""`concordat privacy audit`: what really holds beside what is accounted for.

    concordat privacy audit white-box
    concordat privacy audit canaries --scenario simulations/scenarios/canaries.toml

Exit code 4 when an audit finds more than is accounted for, or a planted fault passes a gate.
"""

import dataclasses
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from fedcore.cli import console, example
from fedcore.cli import report as tell
from fedcore.errors import ConfigError, PrivacyError

if TYPE_CHECKING:
    from domains.language import Base
    from fedcore.privacy.plan import PrivacyPlan

__all__ = ["audit"]

_WEAK_CONTROL_AUC = 0.95
"""A control that finds no more than this says so."""

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

audit = typer.Typer(
    help="Measure what really holds beside what is accounted for.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@audit.callback(
    epilog=example(
        "concordat privacy audit white-box",
        "concordat privacy audit canaries --scenario simulations/scenarios/canaries.toml",
    )
)
def _audit() -> None:
    """Measure what really holds beside what is accounted for."""


@audit.command(
    "white-box",
    epilog=example(
        "concordat privacy audit white-box",
        "concordat privacy audit white-box --noise-multiplier 0.8 --sampling-rate 0.01 --steps 300 --json",
    ),
)
def white_box_command(
    noise_multiplier: Annotated[float, typer.Option("--noise-multiplier", help="Of the plan audited, above 0.")] = 1.0,
    sampling_rate: Annotated[float, typer.Option("--sampling-rate", help="Chance of each unit in a step.")] = 1.0,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps that both bounds are for.")] = 1,
    delta: Annotated[float, typer.Option("--delta", help="At which epsilon is stated.")] = 1e-5,
    canaries: Annotated[int, typer.Option("--canaries", min=64, max=20_000, help="Made-up units.")] = 2000,
    as_json: _Json = False,
) -> None:
    """Put canaries through the real clip-and-noise code, and plant faults that its gates must catch.

    No model or record is needed: canaries have made-up gradients far above the clip norm. The lower bound is
    what an attacker who sees every step achieves on them.
    """
    from fedcore.privacy.plan import PrivacyPlan
    from fedcore.privacy.units import PrivacyUnit

    plan = PrivacyPlan(
        unit=PrivacyUnit(key="record"),
        sampling_rate=sampling_rate,
        steps_per_round=steps,
        expected_batch_units=max(1.0, canaries * sampling_rate),
        examples_per_unit=3,
        clip_norm_l2=1.0,
        noise_multiplier=noise_multiplier,
        delta=delta,
    )
    value = _white_box(plan, canaries)
    tell(value, as_json=as_json, human=lambda: _show_white_box(value))
    missed = [p["fault"] for p in value["planted"] if not p["caught"]]
    alarms = [p["fault"] for p in value["planted"] if p["false_alarm"]]
    if missed or alarms:
        raise PrivacyError(
            "the audit's gates do not hold",
            expected="every planted fault caught, honest code accepted",
            got=f"missed: {', '.join(missed) or 'none'}; false alarms: {', '.join(alarms) or 'none'}",
        )


@audit.command(
    "canaries",
    epilog=example(
        "concordat privacy audit canaries --scenario simulations/scenarios/canaries.toml",
        "concordat privacy audit canaries --scenario simulations/scenarios/canaries.toml --json",
    ),
)
def canaries_command(
    scenario_path: Annotated[Path, typer.Option("--scenario", metavar="SCENARIO.toml", help="What to audit.")],
    base: Annotated[str | None, typer.Option("--base", help="Another base than the scenario's.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Directory of the run. Default: runs/NAME.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove what an earlier run left, and start again.")] = False,
    as_json: _Json = False,
) -> None:
    """Train canaries into a real LoRA adapter, and attack the result from outside.

    The same is done without privacy beside it: where that control finds nothing, a low bound proves nothing.
    A part that is finished is stored and not computed again.
    """
    from simulations.audit import canaries

    scenario = canaries.load(scenario_path)
    if base is not None:
        scenario = dataclasses.replace(scenario, base=base)
    out = out or Path("runs") / scenario.name
    with _progress(scenario.privacy.steps) as step:
        result = canaries.audit(scenario, base=lambda: _base(scenario.base, out), out=out, fresh=fresh, report=step)
    value = {**result.to_dict(), "out": str(out)}
    tell(value, as_json=as_json, human=lambda: _show_canaries(value))
    if result.contradicts:
        raise PrivacyError(
            "the attack found more than is accounted for",
            expected=f"epsilon at most {result.epsilon_upper:.4g}",
            got=f"at least {result.epsilon_lower:.4g}, at {result.confidence:.0%} confidence",
            do="run it again with --fresh; if it stays, report it",
        )


def _white_box(plan: "PrivacyPlan", canaries: int) -> dict[str, Any]:
    """The audit and the planted faults, as one JSON object."""
    from fedclient import accountant
    from fedclient.audit import FALSE_ALARM, audit_step
    from simulations.audit.planted import plant_all

    upper = accountant.epsilon([plan.event()], plan.delta)
    bound = audit_step(plan, steps=plan.steps_per_round, canaries=canaries, rounds=4)
    planted = plant_all(plan, lambda fault: console.print(f"planting: {fault}", highlight=False))
    return {
        "epsilon_upper": upper if math.isfinite(upper) else None,
        "epsilon_lower": bound.epsilon_lower,
        "confidence": bound.confidence,
        "false_alarm": FALSE_ALARM,
        "delta": plan.delta,
        "unit": plan.unit.describe(),
        "relation": plan.unit.relation,
        "noise_multiplier": plan.noise_multiplier,
        "noise_multiplier_upper": bound.noise_multiplier_upper,
        "sampling_rate": plan.sampling_rate,
        "steps": plan.steps_per_round,
        "canaries": canaries,
        "accountant": accountant.ACCOUNTANT,
        "planted": [dataclasses.asdict(p) for p in planted],
    }


def _show_white_box(value: dict[str, Any]) -> None:
    """The bounds and the planted faults, for people."""
    # A share such as 99.99995 % is not rounded up.
    _say(
        f"epsilon between {value['epsilon_lower']:.2f} (audit, {100 * value['confidence']:.7g} %) and "
        f"{value['epsilon_upper']:.2f} (accountant), at delta {value['delta']:g}, for {value['unit']}"
    )
    table = Table("planted fault", "caught", "honest code", "by")
    for p in value["planted"]:
        alarm = "[bold red]refused[/]" if p["false_alarm"] else "passes"
        table.add_row(p["fault"], "yes" if p["caught"] else "[bold red]NO[/]", alarm, p["gate"])
    Console(stderr=True).print(table)


def _show_canaries(value: dict[str, Any]) -> None:
    """The bounds, with the control beside them, for people."""
    _say(
        f"epsilon between {value['epsilon_lower']:.2f} (audit, {100 * value['confidence']:g} %) and "
        f"{value['epsilon_upper']:.2f} (accountant), at delta {value['delta']:g}, for {value['unit']}"
    )
    low, high = value["auc_interval"]
    _say(f"private: AUC {value['auc']:.3f} ({low:.2f} to {high:.2f}), in {value['seconds']:.0f} s")
    low, high = value["control_auc_interval"]
    _say(
        f"control without privacy: AUC {value['control_auc']:.3f} ({low:.2f} to {high:.2f}), "
        f"epsilon at least {value['control_epsilon_lower']:.2f}, in {value['control_seconds']:.0f} s"
    )
    if value["control_auc"] <= _WEAK_CONTROL_AUC:
        _say("the control is weak: canaries that are not learnt without privacy prove nothing about it")


def _base(name: str, out: Path) -> "Base":
    """The scenario's base, loaded; a tiny one is made in the run's directory."""
    from domains import bases
    from domains.language import Base
    from simulations.tiny import KINDS, make_tiny_base

    if name.startswith("tiny:"):
        kind = next((k for k in KINDS if k == name.removeprefix("tiny:")), None)
        if kind is None:
            raise ConfigError(f"no tiny base is called {name!r}", expected="tiny: and one of " + ", ".join(KINDS))
        return Base.load(make_tiny_base(out / f"tiny-{kind}", kind))
    root = bases.default_root(os.environ)
    return Base.load(bases.prepare(name, root) if name in bases.KNOWN else bases.find(name, root))


@contextmanager
def _progress(steps: int) -> "Iterator[Any]":
    """A bar for each arm where a person looks, else a line a fifth."""
    if not console.is_terminal:

        def told(arm: str, done: int, total: int) -> None:
            if done == total or done % max(1, steps // 5) == 0:
                _say(f"{arm}: step {done} of {total}")

        yield told
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("step {task.completed} of {task.total}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        lines: dict[str, Any] = {}

        def drawn(arm: str, done: int, total: int) -> None:
            if arm not in lines:
                lines[arm] = bar.add_task(arm, total=total)
            bar.update(lines[arm], completed=done)

        yield drawn


def _say(line: str) -> None:
    console.print(escape(line), highlight=False, soft_wrap=True)
