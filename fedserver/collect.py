"""Replies of one round, checked one by one: what holds enters the sum, the rest is dropped by name.

Every reply that its institution signed is acknowledged, counted or not: it has left the institution, and
its ledger must never forget it.

A **Collector** is a small state machine without I/O: hand it what arrived, ask it what is still open,
and take the sum at the end. One bad reply never stops the round for the others; a refusal is an answer,
so nobody waits for it twice.

What holds is handed to a pool (see `pool.py`), whose result does not depend on who answered first, and no update is
kept here. In a masked round nothing here sees an update: what it would be goes into a `SumRound` as it came.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from fedcore.adapter import FloatArray
from fedcore.certificate import Attestation, check_spend
from fedcore.errors import BadReply, ConfigError, PrivacyError, QuorumLost, TrustError
from fedcore.manifest import PrivacySpend
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import CohortSum, Optimiser, RoundPlan
from fedcore.secagg import SumRound
from fedcore.sums import largest_batch_units
from fedcore.wire import Envelope, ReplyHeader, read_refusal, read_reply_header, read_update
from fedserver.cohort import Member
from fedserver.pool import Pool, make_pool

__all__ = ["RETRY", "Acknowledged", "Collector", "norm_bound", "update_bound_l2"]

RETRY = "sum_state_changed"
"""The refusal of a node that was asked twice at once: it is asked again."""

_MARGIN = 10.0


def norm_bound(plan: RoundPlan, institution: str = "") -> float:
    """The largest L2 norm of what an institution sends that is believed: ten times what the plan can reach.

    Args:
        plan: What is answered.
        institution: Who answers; one of a lower rank reaches less far. By default one of the full rank.
    """
    if plan.joint:
        noise = plan.privacy.noise_multiplier * plan.privacy.clip_norm_l2 * math.sqrt(plan.parameters)
        return _MARGIN * (plan.privacy.clip_norm_l2 * largest_batch_units(plan.privacy) + noise)
    parameters = sum(t.size for t in plan.trained_by(institution))
    return update_bound_l2(plan.privacy, plan.optimiser, parameters)


def update_bound_l2(privacy: PrivacyPlan, optimiser: Optimiser, parameters: int) -> float:
    """Ten times the L2 norm that an update of local steps can reach.

    AdamW moves a coordinate by about the learning rate a step, so steps * lr * sqrt(numbers). SGD moves by
    lr / (1 - momentum) times the step's length: the clipped mean plus noise of std z C / B a coordinate.
    """
    steps, rate, root = privacy.steps_per_round, optimiser.learning_rate, math.sqrt(parameters)
    if optimiser.name == "adamw":
        return _MARGIN * steps * rate * root
    length = privacy.clip_norm_l2 + privacy.noise_std_of_mean() * root
    return _MARGIN * steps * rate / (1 - optimiser.momentum) * length


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """What a receipt needs of a signed reply."""

    ledger: str
    dataset: str
    steps: int
    """Of the job, as far as the institution's ledger has reserved them; 0 where it cannot be believed."""


class Collector:
    """The replies to one round's plan.

    Guarantee: an institution enters the sum at most once, with the first reply of its own that holds.

    Args:
        plan: What was asked.
        members: Who is enrolled, by name; one of the cohort who is not counts as missing.
        folded: Institution -> rounds of this job in which it was counted before.
        masks: Where the plan has secure sums: takes the masked vectors.
        pool: What visible updates are added into; None takes the plain sum.
    """

    def __init__(
        self,
        plan: RoundPlan,
        members: Mapping[str, Member],
        *,
        folded: Mapping[str, int] | None = None,
        masks: SumRound | None = None,
        pool: Pool | None = None,
    ) -> None:
        self._plan = plan
        self._masks = masks
        self._folded = dict(folded or {})
        self._members = {name: members[name] for name in plan.cohort if name in members}
        self._pool = pool or (None if masks is not None else make_pool(plan, limit_l2=norm_bound(plan)))
        self._spends: dict[str, PrivacySpend] = {}
        self._signed: dict[str, Attestation] = {}
        self._acknowledged: dict[str, Acknowledged] = {}
        self._answered: set[str] = set()
        self._dropped: dict[str, str] = {name: "missing" for name in plan.cohort if name not in members}

    @property
    def waiting(self) -> frozenset[str]:
        """Those who have not answered yet."""
        return frozenset(self._members.keys() - self._answered)

    @property
    def enough(self) -> bool:
        """Whether a masked round has its quorum; without masks everybody has until the deadline."""
        return self._masks is not None and len(self._spends) >= self._plan.quorum

    @property
    def contributors(self) -> tuple[str, ...]:
        """Those whose update holds, sorted."""
        return tuple(sorted(self._spends))

    @property
    def dropped(self) -> Mapping[str, str]:
        """Institution -> reason code, for refusals and for replies that do not hold."""
        return MappingProxyType(dict(self._dropped))

    @property
    def spends(self) -> Mapping[str, PrivacySpend]:
        """What each contributor states that its part has cost so far."""
        return MappingProxyType(dict(self._spends))

    @property
    def attestations(self) -> Mapping[str, Attestation]:
        """What each contributor signed."""
        return MappingProxyType({name: self._signed[name] for name in self.contributors})

    @property
    def signed(self) -> Mapping[str, Attestation]:
        """What each institution signed with its reply, whether or not it was counted."""
        return MappingProxyType(dict(self._signed))

    @property
    def acknowledged(self) -> Mapping[str, Acknowledged]:
        """Institution -> what its signed reply says of its ledger, whether or not it was counted."""
        return MappingProxyType(dict(self._acknowledged))

    def take(self, institution: str, envelope: Envelope) -> None:
        """Take what a member sent; whatever does not hold is dropped, never raised."""
        if institution in self._answered:
            self._dropped[institution] = "duplicate"
            return
        self._answered.add(institution)
        try:
            self._read(institution, envelope)
        except BadReply as error:
            if error.kind == RETRY:
                self._answered.discard(institution)
            else:
                self._dropped[institution] = error.kind

    def drop(self, institution: str, reason: str) -> None:
        """Note that a member's answer could not be read at all, or never came."""
        self._answered.add(institution)
        self._dropped[institution] = reason

    def close(self, connected: Collection[str]) -> None:
        """The deadline has passed: who has not answered is late, or missing when not connected."""
        for name in self.waiting:
            self.drop(name, "late" if name in connected else "missing")

    def resume(
        self, contributors: Collection[str], signed: Mapping[str, Attestation], dropped: Mapping[str, str]
    ) -> None:
        """Go on after a restart with replies that were taken before, of which the headers were kept.

        Args:
            contributors: Those whose vectors are in the sum.
            signed: What `signed` was.
            dropped: What `dropped` was.
        Raises:
            TrustError: A kept header does not hold, or is not of this round.
        """
        for name, reply in sorted(signed.items()):
            header = reply.verify()
            if (header.get("plan"), header.get("institution"), reply.institution) != (self._plan.digest, name, name):
                raise TrustError(f"a kept reply of {name} is not of this round")
            kept = ReplyHeader(spend=header["spend"], ledger=header["ledger"], dataset=header["dataset"])
            try:
                spend = self._acknowledge(name, kept, reply)
            except BadReply:
                continue
            if name in contributors:
                self._spends[name] = spend
        if set(contributors) != self._spends.keys():
            raise TrustError("a masked round was kept without the replies of all its survivors")
        self._answered |= self._members.keys()
        self._dropped = dict(dropped)

    def check_quorum(self) -> None:
        """Return when there are enough good replies.

        Raises:
            QuorumLost: Fewer than the quorum.
        """
        names = self.contributors
        if len(names) < self._plan.quorum:
            raise QuorumLost(
                f"round {self._plan.round} of {self._plan.job_id} has too few good replies",
                expected=f"at least {self._plan.quorum}",
                got=f"{len(names)}" + "".join(f", {n} {r}" for n, r in sorted(self._dropped.items())),
            )

    def sum(self) -> CohortSum:
        """What a strategy folds of what holds, where nothing is masked.

        Raises:
            QuorumLost: Fewer good replies than the quorum, or than the job's rule can work on.
        """
        self.check_quorum()
        if self._pool is None:
            raise ConfigError("a masked round has no sum before its masks are off")
        return self._pool.sum()

    def _read(self, institution: str, envelope: Envelope) -> None:
        """Accept an update, or raise what is wrong with it."""
        identity = self._members[institution].identity
        if envelope.kind == "refusal":
            code = read_refusal(envelope, self._plan, institution, identity)
            raise BadReply(f"{institution} refused the round", kind=code)
        header = read_reply_header(envelope, self._plan, institution, identity)
        spend = self._acknowledge(institution, header, Attestation.of(institution, identity, envelope))
        if self._masks is not None:
            self._masks.add_masked(institution, envelope.body)
        elif self._pool is not None:
            self._pool.add(institution, self._update(institution, envelope))
        self._spends[institution] = spend

    def _update(self, institution: str, envelope: Envelope) -> dict[str, FloatArray]:
        """An update in the clear, when it is not absurd."""
        tensors = read_update(envelope, self._plan, institution)
        square = sum(float(np.square(a, dtype=np.float64).sum()) for a in tensors.values())
        limit = norm_bound(self._plan, institution)
        if not math.sqrt(square) <= limit:
            raise BadReply(
                f"{institution}: the update's norm is absurd", kind="too_large", expected=f"at most {limit:g}"
            )
        return tensors

    def _acknowledge(self, institution: str, header: ReplyHeader, reply: Attestation) -> PrivacySpend:
        """Note what was signed, also where its spend cannot be believed, which then is raised."""
        self._signed[institution] = reply
        noted = Acknowledged(ledger=header.ledger, dataset=header.dataset, steps=0)
        self._acknowledged[institution] = noted
        spend = self._spend(institution, header.spend)
        self._acknowledged[institution] = replace(noted, steps=sum(e.steps for e in spend.events))
        return spend

    def _spend(self, institution: str, stated: Mapping[str, Any]) -> PrivacySpend:
        """What an institution states, when it can be that of this plan.

        A release is refused over one spend that does not hold, so none gets that far.

        Raises:
            BadReply: It cannot.
        """
        plan, folded = self._plan, self._folded.get(institution, 0) + 1
        try:
            spend = PrivacySpend.from_dict(stated)
            check_spend(spend, plan.privacy, rounds=plan.rounds, folded=folded)
        except (TrustError, PrivacyError) as error:
            raise BadReply(f"{institution}: {error}", kind="bad_spend") from error
        if spend.institution != institution or not spend.rounds >= 1:
            raise BadReply(f"{institution}: its privacy spend cannot be that of this plan", kind="bad_spend")
        return spend
