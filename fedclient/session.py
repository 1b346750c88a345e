"""One round at one institution, start to finish.

    reply = run_round(envelope, institution)      # signed by the institution: an update, or a refusal

The steps: verify the plan, hold the ledger against the coordinator's receipts, ask the institution's own
policy, make sure that the update can be masked where the plan says so, audit the step on made-up gradients,
reserve the budget, only then read records and train, mask, commit, and let the update leave. The exchanges
around masks come through the same door (see `fedclient.sums`). Live and simulated rounds run this same code.
It knows neither how envelopes travel nor what a model is made of.

What leaves is an update, noised or masked or both, with a privacy spend, what `fedcore.secagg` signs around
masks, or one reason code. No exception's text ever leaves.
One code tells more than the plan: "too_many_units" says that the records pass the plan's `largest_units`,
which the institution agreed to as a public bound.
"""

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from fedclient.consent import Agreement
from fedclient.ledger import Ledger
from fedclient.personal import own_round
from fedclient.receipts import Receipts, beside, dataset_tag
from fedclient.sums import SumMember
from fedcore.adapter import AdapterSchema, AdapterState, FloatArray, ModelCard
from fedcore.errors import BaseMismatch, ConcordatError, ConfigError, LedgerError, PlanRefused
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.manifest import PrivacySpend
from fedcore.privacy.integer_noise import IntegerNoiseSource, SecureIntegerNoise
from fedcore.privacy.noise import NoiseSource, SecureNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import RandomSource, SystemRandom
from fedcore.round import RoundPlan
from fedcore.secagg import RingArray
from fedcore.wire import (
    Envelope,
    carried_receipt,
    read_plan,
    read_sum,
    seal_ack,
    seal_masked_reply,
    seal_refusal,
    seal_reply,
    seal_sum_refusal,
    seal_sum_reply,
    seal_unread,
)

if TYPE_CHECKING:
    from fedclient.audit import AuditedBound
    from fedclient.dataset import PrivateDataset
    from fedclient.update import AdapterUpdate

__all__ = ["INTERNAL_ERROR", "Institution", "TrainerLike", "audited", "run_round", "unsafe_unaudited"]

INTERNAL_ERROR = "internal_error"

Report = Callable[[int, int], None]
"""Told (steps done, steps of the round); local, never sent."""

Keep = Callable[[Mapping[str, FloatArray]], None]
"""Told what a plan keeps here became; local, never sent."""

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
        keep: Keep | None = None,
    ) -> "AdapterUpdate":
        """One round's private steps, for a plan without `sums`."""
        ...

    def train_ring(
        self,
        plan: RoundPlan,
        state: AdapterState,
        dataset: "PrivateDataset",
        *,
        source: RandomSource,
        noise: NoiseSource | IntegerNoiseSource,
        report: Report | None = None,
        keep: Keep | None = None,
    ) -> RingArray:
        """One round's private steps, for a plan with `sums`: encoded in its ring, noise included, not masked yet.

        Returns:
            Shape (plan.parameters,): the trained tensors in order of `plan.trained`, each ravelled.
        """
        ...


def _system_random(plan: RoundPlan) -> RandomSource:
    return SystemRandom()


def _secure_noise(plan: RoundPlan) -> NoiseSource | IntegerNoiseSource:
    return SecureIntegerNoise() if plan.privacy.shares_noise else SecureNoise()


def audited(plan: RoundPlan) -> "AuditedBound | None":
    """Audit the step code under a plan, once for each privacy plan in a process; None where it adds no noise.

    Raises:
        PrivacyError: What was measured contradicts the plan.
    """
    return _audited(plan.privacy, plan.joint) if plan.privacy.is_private else None


@lru_cache(maxsize=64)
def _audited(privacy: PrivacyPlan, joint: bool) -> "AuditedBound":
    from fedclient.audit import audit_step  # Deferred: it trains, and so needs torch.

    return audit_step(privacy, steps=privacy.steps_per_round, joint=joint)


def unsafe_unaudited(plan: RoundPlan) -> None:
    """No audit at all, for simulations and benchmarks; the spend then states no audited figure."""


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
        coins: By which a noised update is rounded to the plan's width. Likewise.
        audit: Measures the step code on made-up gradients before anything is spent; raises PrivacyError when
            it contradicts the plan. A live institution never passes `unsafe_unaudited`.
        receipts_path: Where the coordinator's receipts are kept; by default beside the ledger.
    """

    name: str
    identity: SigningIdentity
    coordinator: PublicIdentity
    policy: Agreement
    ledger: Ledger
    trainer: TrainerLike
    dataset: Callable[[RoundPlan], "PrivateDataset"]
    source: Callable[[RoundPlan], RandomSource] = _system_random
    noise: Callable[[RoundPlan], NoiseSource | IntegerNoiseSource] = _secure_noise
    coins: Callable[[RoundPlan], RandomSource] = _system_random
    audit: Callable[[RoundPlan], "AuditedBound | None"] = audited
    receipts_path: Path | None = None

    @cached_property
    def receipts(self) -> Receipts:
        """The coordinator's receipts."""
        path = self.receipts_path or beside(self.ledger.path)
        return Receipts(path, institution=self.name, coordinator=self.coordinator)

    @cached_property
    def dataset_tag(self) -> str:
        """What replies call the data set."""
        return dataset_tag(self.identity, self.ledger.dataset)

    @cached_property
    def sums(self) -> SumMember:
        """This institution as a party of masked sums."""
        return SumMember(name=self.name, identity=self.identity, coordinator=self.coordinator, ledger=self.ledger)

    def __repr__(self) -> str:
        return f"Institution({self.name!r})"


def run_round(envelope: Envelope, institution: Institution, report: Report | None = None) -> Envelope:
    """Answer a coordinator's plan or its question of a masked sum, or take its receipt.

    Guarantee: no record is read before the cost is durably reserved; no update leaves before it is
    committed; a plan that was answered gets the same bytes again at no cost. A plan with `sums` costs nothing
    unless its update can be masked here, and no two vectors are masked for one round. Nothing is reserved,
    opened or sent again while the ledger lacks an entry that a receipt shows. What is refused before the
    reservation costs nothing; what fails after it has been paid for.

    Args:
        envelope: As it came, from anyone.
        institution: Who answers.
        report: Told of each step.
    Returns:
        A signed reply, or a signed refusal with a reason code. Refusals are logged here in full. For a
        receipt, that it came: whatever it holds, and without touching ledger or budget.
    """
    if envelope.kind == "receipt":
        _take_receipt(envelope, institution)
        return seal_ack(institution.name, institution.identity)
    if envelope.kind == "sum":
        return _answer_sum(envelope, institution)
    plan: RoundPlan | None = None
    try:
        plan, tensors = read_plan(envelope, institution.coordinator)
        if institution.name not in plan.cohort:
            raise PlanRefused(f"{institution.name} is not in the cohort of this round", reason="not_in_cohort")
        _require_receipts(envelope, institution)
        kept = institution.ledger.kept_reply(plan.digest)
        if kept is not None:
            _log.info("round %d of %s was answered before; the same reply is sent again", plan.round, plan.job_id)
            return kept
        institution.policy.accept(plan)
        _require_schema(plan, institution.trainer.base.card)
        state = _state(plan, tensors)
        return _train(plan, state, institution, report)
    except Exception as error:  # noqa: BLE001 - the edge of the institution: whatever it is, only a code may leave.
        code = _logged(error)
    if plan is None:
        return seal_unread(envelope, institution.name, code, institution.identity)
    return seal_refusal(plan, institution.name, code, institution.identity)


def _answer_sum(envelope: Envelope, institution: Institution) -> Envelope:
    """Answer a question of a masked sum, or refuse it by a code."""
    try:
        ask = read_sum(envelope, institution.coordinator)
        institution.receipts.check(institution.ledger)
        body = institution.sums.answer(ask, envelope.body)
        return seal_sum_reply(ask, institution.name, body, institution.identity)
    except Exception as error:  # noqa: BLE001 - as in `run_round`.
        return seal_sum_refusal(envelope, institution.name, _logged(error), institution.identity)


def _logged(error: Exception) -> str:
    """The one code of an error that may leave; the error itself is logged here."""
    if isinstance(error, ConcordatError):
        _log.warning("refused: %s", error)
        return error.reason if isinstance(error, PlanRefused) else error.code
    _log.error("a round failed with an unexpected error:\n%s", _without_content(error))
    return INTERNAL_ERROR


def _train(plan: RoundPlan, state: AdapterState, institution: Institution, report: Report | None) -> Envelope:
    """Reserve, read, train, mask, commit; the order is the guarantee."""
    key = institution.coordinator.key_hex
    masking = None if plan.sums is None else institution.sums.prepare(plan)
    own = own_round(plan, state, name=institution.name, ledger=institution.ledger, coordinator=key)
    bound = institution.audit(plan)
    source, noise = institution.source(plan), institution.noise(plan)
    reservation = institution.ledger.reserve(plan, coordinator=key)
    dataset = institution.dataset(plan)
    started, work = time.perf_counter(), (own.plan, own.state, dataset)
    seal: Callable[..., Envelope]
    if masking is None:
        # A plan without sums shares no noise, so that its noise is of real numbers.
        real = cast(NoiseSource, noise)
        update = institution.trainer.train(*work, source=source, noise=real, report=report, **own.options)
        # Rounding sees the noised update alone: post-processing.
        packed = partial(seal_reply, coins=institution.coins(plan))
        seal, change = partial(packed, plan, institution.name, update.tensors), None
    else:
        values = institution.trainer.train_ring(*work, source=source, noise=noise, report=report, **own.options)
        masked, change = masking.mask(values)
        seal = partial(seal_masked_reply, plan, institution.name, masked)
    # Local: how long training takes follows the number of units sampled, so it never leaves.
    _log.info("round %d of %s: trained for %.3f s", plan.round, plan.job_id, time.perf_counter() - started)
    spend = institution.ledger.spend(
        institution.name,
        reservation,
        noise_source=noise.origin,
        sampling_source=source.origin,
    )
    spend = replace(spend, mechanism=noise.mechanism, honest_minimum=plan.privacy.honest_minimum)
    if bound is not None:
        spend = _with_audit(spend, plan.privacy, bound)
    reply = seal(
        spend.to_dict(),
        institution.identity,
        ledger=reservation.head,
        dataset=institution.dataset_tag,
    )
    institution.ledger.commit(reservation, reply, sums=change, personal=own.change())
    return reply


def _with_audit(spend: PrivacySpend, privacy: PrivacyPlan, bound: "AuditedBound") -> PrivacySpend:
    """A spend with the audited bound of this plan's steps in it, at the delta of the spend and not the plan's."""
    alike = replace(privacy.event(), steps=1)
    steps = sum(e.steps for e in spend.events if replace(e, steps=1) == alike)
    lower = bound.epsilon_of(replace(privacy, delta=spend.delta), steps=steps)
    return replace(spend, audited_epsilon=lower, audit_confidence=bound.confidence)


def _require_receipts(envelope: Envelope, institution: Institution) -> None:
    """Keep the receipt that came with a plan, and hold the ledger against all of them.

    It is kept before it is looked up: what shows that the ledger is behind must not be lost again.

    Raises:
        TrustError: What came is not a receipt of the pinned coordinator for this institution.
        LedgerBehind: The ledger lacks an entry.
        LedgerError: The receipts or the ledger are damaged.
    """
    carried = carried_receipt(envelope)
    if carried is not None:
        institution.receipts.keep(carried)
    institution.receipts.check(institution.ledger)


def _take_receipt(envelope: Envelope, institution: Institution) -> None:
    """Keep a receipt that came by itself; whatever is wrong with it concerns the operator alone."""
    try:
        receipt = institution.receipts.keep(envelope)
        _log.info("receipt %d: round %d of %s", receipt.number, receipt.round, receipt.job)
        institution.receipts.check(institution.ledger)
    except LedgerError as error:
        _log.error("%s", error)
    except ConcordatError as error:
        _log.warning("a receipt was not kept: %s", error)
    except Exception as error:  # noqa: BLE001 - as in `run_round`: nothing but that it came may leave.
        _log.error("a receipt could not be taken:\n%s", _without_content(error))


def _require_schema(plan: RoundPlan, card: ModelCard) -> None:
    """The base here must be the plan's and fit its schema, before anything is made or spent for it."""
    if plan.base_digest != card.digest:
        raise BaseMismatch(
            "the plan is for another base model than the one loaded here",
            expected=plan.base_digest[:12],
            got=card.digest[:12],
            do="set [base] path to the base of this job",
        )
    asked = plan.schema
    try:
        own = AdapterSchema.for_base(
            card,
            rank=asked.rank,
            alpha=asked.alpha,
            targets=asked.targets,
            form=asked.form,
            residual_rank=asked.residual_rank,
        )
    except ConfigError as error:
        raise BaseMismatch(f"the plan's adapter cannot be made on the base here ({error})") from error
    if own != asked:
        raise BaseMismatch("the plan's tensors are not those of its adapter on the base here")


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
