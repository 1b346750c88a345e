"""One round at one institution, start to finish.

    reply = run_round(envelope, institution)      # signed by the institution: an update, or a refusal

The steps: verify the plan, ask the institution's own policy, reserve the budget,
only then read records and train, commit, and let the update leave. Live and simulated rounds run this
same code. It knows neither how envelopes travel nor what a model is made of.

What leaves is a noised update with a privacy spend, or one reason code. No exception's text ever leaves.
"""

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fedclient.consent import LocalPolicy
from fedclient.ledger import Ledger
from fedcore.adapter import AdapterState, FloatArray, ModelCard
from fedcore.errors import BaseMismatch, ConcordatError, PlanRefused
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.privacy.noise import NoiseSource, SecureNoise
from fedcore.privacy.sampling import RandomSource, SystemRandom
from fedcore.round import RoundPlan
from fedcore.wire import Envelope, read_plan, seal_refusal, seal_reply, seal_unread

if TYPE_CHECKING:
    from fedclient.dataset import PrivateDataset
    from fedclient.update import AdapterUpdate

__all__ = ["INTERNAL_ERROR", "Institution", "TrainerLike", "run_round"]

INTERNAL_ERROR = "internal_error"

Report = Callable[[int, int], None]
"""Told (steps done, steps of the round); local, never sent."""

_log = logging.getLogger(__name__)


class HasCard(Protocol):
    """A loaded base, as far as a session knows it."""

    @property
    def card(self) -> ModelCard:
        """Its identity and shapes."""
        ...


class TrainerLike(Protocol):
    """What a session needs of `fedclient.model.Trainer`."""

    @property
    def base(self) -> HasCard:
        """The base that it trains on."""
        ...

    def train(
        self,
        plan: RoundPlan,
        state: AdapterState,
        dataset: "PrivateDataset",
        *,
        source: RandomSource,
        noise: NoiseSource,
        report: Report | None = None,
    ) -> "AdapterUpdate":
        """One round's private steps."""
        ...


def _system_random(plan: RoundPlan) -> RandomSource:
    return SystemRandom()


def _secure_noise(plan: RoundPlan) -> NoiseSource:
    return SecureNoise()


@dataclass(frozen=True, kw_only=True, eq=False)
class Institution:
    """Everything that takes part in a round at one institution.

    Args:
        name: As enrolled.
        identity: Signs what leaves.
        coordinator: The pinned key that plans must be signed with.
        policy: What this institution agrees to.
        ledger: The budget of its records.
        trainer: Holds the loaded base.
        dataset: Reads the records for a plan; called only after the cost is reserved.
        source: Of sampling. What is not the default is for simulation.
        noise: Of the mechanism. Likewise; the trainer refuses one that is not the plan's.
    """

    name: str
    identity: SigningIdentity
    coordinator: PublicIdentity
    policy: LocalPolicy
    ledger: Ledger
    trainer: TrainerLike
    dataset: Callable[[RoundPlan], "PrivateDataset"]
    source: Callable[[RoundPlan], RandomSource] = _system_random
    noise: Callable[[RoundPlan], NoiseSource] = _secure_noise

    def __repr__(self) -> str:
        return f"Institution({self.name!r})"


def run_round(envelope: Envelope, institution: Institution, report: Report | None = None) -> Envelope:
    """Answer a coordinator's plan.

    Guarantee: no record is read before the cost is durably reserved; no update leaves before it is
    committed; a plan that was answered gets the same bytes again at no cost. What is refused before
    the reservation costs nothing; what fails after it has been paid for.

    Args:
        envelope: As it came, from anyone.
        institution: Who answers.
        report: Told of each step.
    Returns:
        A signed reply, or a signed refusal with a reason code. Refusals are logged here in full.
    """
    plan: RoundPlan | None = None
    try:
        plan, tensors = read_plan(envelope, institution.coordinator)
        if institution.name not in plan.cohort:
            raise PlanRefused(f"{institution.name} is not in the cohort of this round", reason="not_in_cohort")
        kept = institution.ledger.kept_reply(plan.digest)
        if kept is not None:
            _log.info("round %d of %s was answered before; the same reply is sent again", plan.round, plan.job_id)
            return kept
        institution.policy.accept(plan)
        _require_base(plan, institution.trainer.base.card)
        state = _state(plan, tensors)
        return _train(plan, state, institution, report)
    except ConcordatError as error:
        _log.warning("refused: %s", error)
        code = error.reason if isinstance(error, PlanRefused) else error.code
    except Exception as error:  # noqa: BLE001 - the edge of the institution: whatever it is, only a code may leave.
        _log.error("a round failed with an unexpected error:\n%s", _without_content(error))
        code = INTERNAL_ERROR
    if plan is None:
        return seal_unread(envelope, institution.name, code, institution.identity)
    return seal_refusal(plan, institution.name, code, institution.identity)


def _train(plan: RoundPlan, state: AdapterState, institution: Institution, report: Report | None) -> Envelope:
    """Reserve, read, train, commit; the order is the guarantee."""
    reservation = institution.ledger.reserve(plan)
    dataset = institution.dataset(plan)
    started = time.perf_counter()
    update = institution.trainer.train(
        plan,
        state,
        dataset,
        source=institution.source(plan),
        noise=institution.noise(plan),
        report=report,
    )
    # Local: how long training takes follows the number of units sampled, so it never leaves.
    _log.info("round %d of %s: trained for %.3f s", plan.round, plan.job_id, time.perf_counter() - started)
    spend = institution.ledger.spend(institution.name, reservation)
    reply = seal_reply(plan, institution.name, update.tensors, spend.to_dict(), institution.identity)
    institution.ledger.commit(reservation, reply)
    return reply


def _require_base(plan: RoundPlan, card: ModelCard) -> None:
    """The base here must be the plan's, before anything is spent on it."""
    if plan.base_digest != card.digest:
        raise BaseMismatch(
            "the plan is for another base model than the one loaded here",
            expected=plan.base_digest[:12],
            got=card.digest[:12],
            do="set [base] path to the base of this job",
        )


def _state(plan: RoundPlan, tensors: dict[str, FloatArray]) -> AdapterState:
    """The round's state: the carried tensors over the public initial ones; its digest must be the plan's."""
    state = AdapterState.initial(plan.schema, plan.seed).replace(tensors)
    if state.digest != plan.state_digest:
        raise PlanRefused(
            "the state that came is not the one that the plan names",
            reason="state_mismatch",
            do="check both sides' versions",
        )
    return state


def _without_content(error: BaseException | None) -> str:
    """Classes and places of an exception and its causes. Messages may quote records, so they are left out."""
    lines: list[str] = []
    while error is not None and len(lines) < 200:
        lines += [line.rstrip() for line in traceback.format_tb(error.__traceback__)]
        lines.append(type(error).__qualname__)
        error = error.__cause__ or error.__context__
    return "\n".join(lines)
