"""How `concordat server` shows a job: everything that is known of it, as JSON and for people."""

from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from fedcore.round import Completed
from fedserver.gate import undone
from fedserver.settings import Place
from fedserver.store import JobRecord, Store

__all__ = ["show_job", "status_of"]


def status_of(place: Place, store: Store, record: JobRecord) -> dict[str, Any]:
    """Everything that is known of a job, as JSON."""
    plan = record.plan
    outcomes = store.outcomes(plan.job_id)
    folded = [o for o in outcomes if isinstance(o, Completed)]
    dropped: dict[str, int] = {}
    for outcome in outcomes:
        for name in outcome.dropped:
            dropped[name] = dropped.get(name, 0) + 1
    progress = store.noted("progress")
    return {
        "job": plan.job_id,
        "state": record.state,
        "reason": record.reason,
        "task": plan.task,
        "strategy": plan.strategy,
        "rounds": plan.rounds,
        "rounds_done": len(folded),
        "progress": progress if progress and progress["job_id"] == plan.job_id else None,
        "outcomes": [
            {
                "round": o.round,
                "kind": "completed" if isinstance(o, Completed) else "abandoned",
                "dropped": dict(o.dropped),
                "contributors": list(o.contributors) if isinstance(o, Completed) else [],
                "bytes_up": o.bytes_up if isinstance(o, Completed) else None,
                "bytes_down": o.bytes_down if isinstance(o, Completed) else None,
                "seconds": o.seconds if isinstance(o, Completed) else None,
                "loss": o.loss if isinstance(o, Completed) else None,
                "canary_loss": o.canary_loss if isinstance(o, Completed) else None,
                "quarantined": o.quarantined if isinstance(o, Completed) else None,
                "reason": None if isinstance(o, Completed) else o.reason,
            }
            for o in outcomes
        ],
        "dropped": dropped,
        "quarantined": sorted(undone(outcomes)),
        "canary_loss_base": store.canary_base(plan.job_id),
        "bytes_up_per_round": [o.bytes_up for o in folded],
        "bytes_down_per_round": [o.bytes_down for o in folded],
        "loss_base": record.loss_base,
        "loss_released": record.loss_released,
        "spends": [s.to_dict() for s in store.spends(plan.job_id)],
        "release": str(place.releases / record.release) if record.release else None,
        "connected": store.noted("connected") or [],
        "tls": store.noted("tls"),
    }


def show_job(value: dict[str, Any]) -> None:
    """A job for people."""
    reason = f": {value['reason']}" if value["reason"] else ""
    typer.echo(f"{value['job']} ({value['task']}, {value['strategy']}): {value['state']}{reason}")
    table = Table("round", "updates", "dropped", "seconds", "bytes up", "bytes down", "public loss")
    for o in value["outcomes"]:
        drops = ", ".join(f"{n} {r}" for n, r in sorted(o["dropped"].items()))
        figures = ["" if o[k] is None else f"{o[k]:,}" for k in ("seconds", "bytes_up", "bytes_down")]
        loss = "" if o["loss"] is None else f"{o['loss']:.4f}"
        table.add_row(f"{o['round']} of {value['rounds']}", str(len(o["contributors"])), drops, *figures, loss)
    Console().print(table)
    for o in value["outcomes"]:
        if o["quarantined"] is not None:
            typer.echo(f"quarantined {o['quarantined']}")
    for which, words in (("loss_base", "the base model"), ("loss_released", "the released adapter")):
        if value[which] is not None:
            typer.echo(f"public loss of {words}: {value[which]:.4f}")
    for s in value["spends"]:
        spent = "infinite" if s["epsilon"] is None else f"{s['epsilon']:.3f}"
        typer.echo(f"{s['institution']}: epsilon {spent} at delta {s['delta']:g} for one {s['unit']}")
    if value["release"]:
        typer.echo(f"release: {value['release']}")
