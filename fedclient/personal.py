"""A round as this institution trains it: in its own rank, and from the personal parts that it kept.

    own = own_round(plan, state, name="hospital-a", ledger=ledger, coordinator=key)     # before anything is spent
    update = trainer.train(own.plan, own.state, dataset, ..., **own.options)
    ledger.commit(reservation, reply, personal=own.change())                             # together, or not at all

Parts that a plan names in `keeps` train in the same private steps as those that travel, and stay here: no message
holds them. What the next round starts from is the plan's state, whose digest was checked, with the kept parts laid
over. They follow the rounds that this institution answered, whichever the coordinator counted:

- a later round starts from what the newest answered one left, also after rounds that were missed;
- the same round, asked again by another plan, starts where it started before, and what it leaves takes the place of
  what the first answer left: no round enters a personal part twice;
- an earlier round is refused: what it started from is gone.

They are noised like everything that training releases, so that keeping them costs nothing; they are this
institution's alone all the same. Nothing here knows a record, and nothing here reaches the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from fedclient._personal_parts import Kept, PersonalChange
from fedclient.ledger import Ledger
from fedcore.adapter import AdapterState, FloatArray, TensorSpec, check_tensors
from fedcore.errors import ConfigError, LedgerError, PlanRefused
from fedcore.ranks import narrow
from fedcore.round import RoundPlan
from fedcore.wire import pack_arrays, unpack_arrays

__all__ = ["OwnRound", "lay_over", "own_round"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class OwnRound:
    """What is trained here for a plan. Made by `own_round`.

    Args:
        plan: The plan, its adapter narrowed to this institution's rank. Replies are sealed with the plan that came.
        state: Where training starts.
        read: What was kept when the round began.
        before: The kept parts that the round starts from; None where it starts from the plan's state.
        coordinator: Its key, hexadecimal.
    """

    plan: RoundPlan
    state: AdapterState
    coordinator: str
    read: Kept | None = None
    before: bytes | None = field(default=None, repr=False)
    _stays: dict[str, FloatArray] = field(default_factory=dict, init=False, repr=False)

    @property
    def options(self) -> Mapping[str, Any]:
        """What a trainer is called with beside the usual: where to hand what stays, when anything does."""
        return {"keep": self._stays.update} if self.plan.keeps else {}

    def change(self) -> PersonalChange | None:
        """What is to be kept of the round, after training; None where its plan keeps nothing.

        Raises:
            ConfigError: The trainer did not hand over exactly what stays.
        """
        if not self.plan.keeps:
            return None
        check_tensors(self.plan.kept, self._stays)
        kept = Kept(
            coordinator=self.coordinator,
            job=self.plan.job_id,
            schema=self.plan.schema.digest,
            parts=_parts(self.plan),
            round=self.plan.round,
            before=self.before,
            after=pack_arrays(self._stays),
        )
        return PersonalChange(read=self.read, kept=kept)


def own_round(plan: RoundPlan, state: AdapterState, *, name: str, ledger: Ledger, coordinator: str) -> OwnRound:
    """Make ready what is trained here for a plan; changes nothing.

    Args:
        plan: As it came.
        state: The round's state, which the plan names.
        name: This institution's.
        ledger: Where kept parts are.
        coordinator: Key of the pinned one, hexadecimal.
    Raises:
        PlanRefused: "personal_round_passed": a later round of the job was answered. "personal_parts_changed": the job
            kept other parts before.
        LedgerError: What is kept cannot be read, or is not what was committed.
    """
    rank = plan.rank_of(name)
    if rank < plan.schema.rank:
        state = narrow(state, rank)
        plan = replace(plan, schema=state.schema, state_digest=state.digest, ranks=())
    if not plan.keeps:
        return OwnRound(plan=plan, state=state, coordinator=coordinator)
    read = ledger.personal.find(coordinator, plan.job_id, plan.schema.digest)
    before = None if read is None else _start(plan, read)
    if before is not None:
        state = lay_over(state, before, plan.kept)
    return OwnRound(plan=plan, state=state, coordinator=coordinator, read=read, before=before)


def lay_over(state: AdapterState, kept: bytes, specs: tuple[TensorSpec, ...]) -> AdapterState:
    """A state with kept parts in the place of its own.

    Raises:
        LedgerError: They are not these tensors.
    """
    try:
        return state.replace(unpack_arrays(kept, specs))
    except ConfigError as error:
        raise LedgerError(
            f"a kept personal part cannot be read ({error})", do="restore the ledger from its newest backup"
        ) from error


def _start(plan: RoundPlan, kept: Kept) -> bytes | None:
    """The kept parts that a round starts from."""
    if kept.parts != _parts(plan):
        raise PlanRefused(
            f"the job {plan.job_id} keeps other parts here than before",
            reason="personal_parts_changed",
            expected=kept.parts,
            got=_parts(plan),
            do="ask the coordinator for a new job",
        )
    if plan.round < kept.round:
        raise PlanRefused(
            f"round {plan.round} of {plan.job_id} comes after round {kept.round} was answered with a personal part",
            reason="personal_round_passed",
            do="ask the coordinator for a new job, if it lost what it had",
        )
    return kept.after if plan.round > kept.round else kept.before


def _parts(plan: RoundPlan) -> str:
    return ",".join(sorted(plan.keeps))
