"""The release gate: whether a folded state may stand, by its loss on public canary examples.

    due       every `every` rounds, and always in the last
    judge     not finite, or above (1 + largest_rise) times the least so far -> quarantined
    last_look where the state stands again that is undone to

The least so far is over the losses of the states that stood, beginning with the base's own: before round 1 the
adapter changes nothing, so the base's loss is the initial state's. What lies between two looks stands or falls with the
second of them. A quarantined round is undone, not unspent: its institutions trained, and their ledgers remember.

All of it is arithmetic on public numbers. It sees no update, so it works behind masks and with joint steps too; and
it sees a backdoor only where a canary example shows it.

>>> gate = Gate(records="canary.jsonl", largest_rise=0.05)
>>> judge(gate, round=2, loss=2.0, base=2.1, outcomes=()).quarantined is None
True
>>> judge(gate, round=2, loss=2.3, base=2.1, outcomes=()).quarantined
'round 2: canary loss 2.3, 5 % over the least so far is 2.205; its state is put aside, the initial one stands again'
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fedcore.errors import ConfigError
from fedcore.folding import Gate
from fedcore.round import Completed, JobPlan, RoundOutcome

__all__ = ["Look", "check_gate", "due", "judge", "last_look", "none_passed", "undone"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the gate saw of a round's state; nothing, where it did not look.

    Args:
        loss: On the canary examples; None where it was not looked at, or not finite.
        quarantined: Why the state may not stand, one line; None where it may.
    """

    loss: float | None = None
    quarantined: str | None = None


def check_gate(job: JobPlan, *, evaluator: bool) -> None:
    """Require that a job with a gate has somebody to look.

    Raises:
        ConfigError: It has not.
    """
    if job.gate is not None and not evaluator:
        raise ConfigError(
            f"the job {job.job_id} has a gate, and this coordinator has no evaluator to measure canary losses",
            do="add [evaluator] to server.toml, or leave [gate] out of the job",
        )


def due(gate: Gate, round: int, rounds: int) -> bool:
    """Whether the gate looks at the state after a round of so many."""
    return round % gate.every == 0 or round == rounds


def last_look(gate: Gate, round: int) -> int:
    """The newest round before this one after which the gate looked; 0 for the initial state.

    What stands after it is good: it passed, or an earlier good state was put in its place.
    """
    return (round - 1) // gate.every * gate.every


def judge(gate: Gate, *, round: int, loss: float, base: float, outcomes: Sequence[RoundOutcome]) -> Look:
    """Whether the state after a round may stand.

    Args:
        gate: The job's.
        round: Which.
        loss: Of its state, on the canary examples; any float.
        base: Of the base alone, finite.
        outcomes: Of the rounds before.
    """
    stood = _stood(outcomes)
    limit = (1 + gate.largest_rise) * min([base, *stood.values()])
    if math.isfinite(loss) and loss <= limit:
        return Look(loss=loss)
    first = last_look(gate, round) + 1
    which, whose = (f"round {round}", "its") if first == round else (f"rounds {first} to {round}", "their")
    allowed = f"{100 * gate.largest_rise:g} % over the least so far is {limit:.6g}"
    said = f"canary loss {loss:.6g}, {allowed}" if math.isfinite(loss) else "the canary loss is not finite"
    good = f"that of round {max(stood)}" if stood else "the initial one"
    return Look(
        loss=loss if math.isfinite(loss) else None,
        quarantined=f"{which}: {said}; {whose} state is put aside, {good} stands again",
    )


def none_passed(outcomes: Sequence[RoundOutcome]) -> str | None:
    """Why a job with a gate has nothing to release, where no state ever passed."""
    if _stood(outcomes):
        return None
    return "no state passed the gate: " + "; ".join(undone(outcomes).values())


def undone(outcomes: Sequence[RoundOutcome]) -> dict[int, str]:
    """Round whose state was put aside -> why, which names the rounds that were undone with it."""
    return {o.round: o.quarantined for o in outcomes if isinstance(o, Completed) and o.quarantined is not None}


def _stood(outcomes: Sequence[RoundOutcome]) -> dict[int, float]:
    """Round -> canary loss, of the states that were looked at and stood."""
    return {
        o.round: o.canary_loss
        for o in outcomes
        if isinstance(o, Completed) and o.canary_loss is not None and o.quarantined is None
    }
