"""The exchanges of a job's masked sums: keys once a job, and in each round whatever opens one total.

    cohort    once a job: fix the members, store them; join -> keys; store the roster; roster -> everyone in it
    collect   1  plan      -> masked replies, each checked and added as it comes          collect.py
              2  store the survivors with what they signed
              3  confirm   only where somebody dropped out, or among more than 64
              4  open      until enough shares have come; then the total is unmasked and decoded

What a party must never be shown twice in two versions (members, roster, survivors, confirmations) is stored before
it is sent, so a coordinator that was killed goes on with the very same. Nobody who is silent stops the others: each
exchange ends at the deadline, and earlier for who has not been connected for a while once enough have answered.

It never sees one institution's vector without its masks, and keeps none at all.
"""

from collections.abc import Callable, Collection, Mapping

import numpy as np

from fedcore.adapter import unflatten
from fedcore.errors import BadReply, QuorumLost
from fedcore.identity import SigningIdentity
from fedcore.round import CohortSum, JobPlan, RoundPlan, name_of_sums
from fedcore.secagg import Abandoned, Aggregator, Ask, SumRound, Terms
from fedcore.secagg.errors import BelowThreshold
from fedcore.sums import SumPlan
from fedcore.wire import Envelope, Phase, SumAsk, read_sum_reply, seal_sum
from fedserver.collect import RETRY, Collector
from fedserver.gather import Gatherer
from fedserver.store import MaskedRound, Store
from fedserver.strategies import load_strategy

__all__ = ["NOT_JOINED", "NO_KEYS", "Exchange", "JobSums"]

NOT_JOINED = "sum_not_joined"
"""The refusal of a node that has no keys, or lost them: it can take no further part in the job."""

NO_KEYS = "no_keys"
"""An institution that is not among those whose keys the job's sums were agreed with."""

_STAGES: dict[Phase, str] = {
    "join": "agreeing on keys",
    "roster": "agreeing on keys",
    "confirm": "confirming",
    "open": "opening",
}


class Exchange:
    """One question of a masked sum and the answers to it: a Desk of `gather.py`, and what it asks.

    Args:
        ask: The question.
        requests: Institution -> its body; those who are asked.
        signer: The coordinator's.
        add: Takes the body of an answer whose signature holds; raises `BadReply`.
        needed: So many good answers are enough to wait for no one who was lost.
        done: Whether nothing more is needed at all.
    """

    def __init__(
        self,
        ask: SumAsk,
        requests: Mapping[str, bytes],
        signer: SigningIdentity,
        add: Callable[[str, bytes], None],
        *,
        needed: int,
        done: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ask, self._requests, self._signer, self._add = ask, requests, signer, add
        self._needed, self._done = needed, done
        self._asked: dict[str, SumAsk] = {}
        self.heard: set[str] = set()
        """Those who answered, or were given up."""
        self.good: set[str] = set()
        self.wrong: dict[str, str] = {}
        """Institution -> reason code, of those whose answer does not hold, and of those who refused."""
        self.silent: dict[str, str] = {}
        """Institution -> reason code, of those who did not answer."""

    def question(self, institution: str) -> Envelope:
        """What one institution is asked, always the same bytes."""
        self._asked[institution], envelope = seal_sum(self._ask, self._requests[institution], self._signer)
        return envelope

    @property
    def waiting(self) -> frozenset[str]:
        """Those who have not answered yet; nobody once no more is needed."""
        return frozenset() if self._done() else frozenset(self._requests.keys() - self.heard)

    @property
    def enough(self) -> bool:
        """Whether so many good answers have come that nobody waits for who was lost."""
        return len(self.good) >= self._needed

    def take(self, institution: str, envelope: Envelope) -> None:
        """Take an answer; whatever does not hold is dropped, never raised."""
        if institution in self.heard:
            self.wrong[institution] = "duplicate"
            return
        try:
            identity = self._ask.terms.identity(institution)
            self._add(institution, read_sum_reply(envelope, self._asked[institution], institution, identity))
        except BadReply as error:
            if error.kind == RETRY:
                return
            self.wrong[institution] = error.kind
        else:
            self.good.add(institution)
        self.heard.add(institution)

    def drop(self, institution: str, reason: str) -> None:
        """An answer could not be read at all, or never came."""
        self.heard.add(institution)
        (self.wrong if reason == "malformed" else self.silent)[institution] = reason

    def close(self, connected: Collection[str]) -> None:
        """The exchange is over: who has not answered is late, or missing when not connected."""
        for name in self.waiting:
            self.drop(name, "late" if name in connected else "missing")


class JobSums:
    """See the module.

    Args:
        job: With `sums`.
        plan: Its sums.
        store: Where they stand.
        identity: Signs the questions.
        gatherer: Asks.
    """

    def __init__(
        self, job: JobPlan, plan: SumPlan, store: Store, identity: SigningIdentity, gatherer: Gatherer
    ) -> None:
        self._job, self._plan, self._store = job, plan, store
        self._identity, self._gatherer = identity, gatherer
        self._aggregator: Aggregator | None = None
        self._ready: set[str] = set()
        self._left_out: dict[str, str] = {}

    def cohort(
        self, invited: Callable[[], tuple[str, ...]], *, spare: Collection[str]
    ) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
        """Those with whom keys are agreed, agreeing on them first where that is not done, and who can take part now.

        Returns:
            All members of the job's terms, and the next round's cohort.
        Raises:
            QuorumLost: Too few are connected, agree on keys or have the roster.
            Interrupted: The coordinator was told to stop.
        """
        aggregator = self._agreed(invited)
        able = set(aggregator.members)
        names = self._gatherer.wait_for(
            lambda: tuple(n for n in invited() if n in able and n not in self._left_out),
            quorum=self._job.quorum,
            deadline_s=self._job.deadline_s,
            spare=spare,
        )
        if unready := [name for name in names if name not in self._ready]:
            missing = max(0, self._job.quorum - len(self._ready))
            roster = dict.fromkeys(unready, aggregator.roster())
            desk = self._exchange("roster", 0, roster, _nothing, needed=missing)
            self._ready |= desk.good
            # Who is connected and silent is not waited for again; who was lost may come back.
            self._left_out |= desk.wrong | {n: r for n, r in desk.silent.items() if r == "late"}
        ready = tuple(name for name in names if name in self._ready)
        self._require(len(ready), "too few institutions have the keys of all others")
        return aggregator.terms.members, ready

    def why_not(self, name: str) -> str | None:
        """Why one of the invited is in no cohort of this job, when that is so."""
        if self._aggregator is None or name in self._left_out:
            return self._left_out.get(name)
        return None if name in self._aggregator.members else NO_KEYS

    def begin(self, plan: RoundPlan) -> SumRound:
        """A round, from where it stands."""
        aggregator = self._agreed(lambda: plan.cohort)
        kept = self._store.masked(plan.job_id, plan.round)
        return aggregator.begin(plan.round, plan.cohort) if kept is None else aggregator.resume_round(kept.state)

    def collect(
        self, plan: RoundPlan, question: Callable[[str], Envelope], collector: Collector, one: SumRound
    ) -> CohortSum:
        """Gather what a round needs, from where it stands, and open its sum.

        Args:
            plan: The round's.
            question: Institution -> the plan as it is sent to it.
            collector: Takes the masked replies; made with `one`.
            one: From `begin`.
        Raises:
            QuorumLost: Too few good replies, confirmations or shares: nothing is opened.
            Interrupted: The coordinator was told to stop.
        """
        kept = self._store.masked(plan.job_id, plan.round)
        if kept is None:
            self._gatherer.ask(question, collector, deadline_s=plan.deadline_s, group=str(plan.round))
            self._left_out |= {n: code for n, code in collector.dropped.items() if code == NOT_JOINED}
            collector.check_quorum()
            asked = _asked(one.close_masked(), collector)
            self._keep(plan, one, collector)
        else:
            collector.resume(one.survivors, kept.replies, kept.dropped)
            asked = _asked(one.pending, collector)
        if asked.kind == "confirm":
            desk = self._exchange("confirm", plan.round, asked.requests, one.add_confirmation)
            _note(desk, collector)
            asked = _asked(one.close_confirmations(), collector, desk)
            self._keep(plan, one, collector)
        desk = self._exchange("open", plan.round, asked.requests, one.add_unmasked, done=lambda: one.can_finish)
        _note(desk, collector)
        outcome = one.finish()
        if isinstance(outcome, Abandoned) and (
            rest := {n: r for n, r in asked.requests.items() if n not in desk.heard}
        ):
            # Shares that were just enough do not give a seed: somebody lies, and more shares find out who does not.
            desk = self._exchange("open", plan.round, rest, one.add_unmasked, needed=0)
            _note(desk, collector)
            outcome = one.finish()
        if isinstance(outcome, Abandoned):
            raise _lost(outcome, collector, desk)
        numbers = self._plan.ring(plan.parameters).decode(outcome.total).astype(np.float32)
        count = len(outcome.contributors)
        return CohortSum(specs=plan.trained, total=unflatten(plan.trained, numbers), weight=float(count), count=count)

    def _agreed(self, invited: Callable[[], tuple[str, ...]]) -> Aggregator:
        """The keys of the job, agreed once in its life."""
        if self._aggregator is None:
            terms = self._store.terms(self._job.job_id) or self._store.open_sums(self._job.job_id, self._fix(invited))
            roster = self._store.roster(self._job.job_id)
            self._aggregator = self._join(terms) if roster is None else Aggregator.resume(terms, roster)
        return self._aggregator

    def _fix(self, invited: Callable[[], tuple[str, ...]]) -> Terms:
        """Whose keys are asked for: those invited who are connected, as for a round."""
        job = self._job
        names = self._gatherer.wait_for(invited, quorum=job.quorum, deadline_s=job.deadline_s)[: self._plan.parties]
        keys = {m.name: m.identity.key_hex for m in self._gatherer.members().values()}
        return self._plan.terms(
            job=name_of_sums(job, self._identity.public.key_hex),
            members=tuple((name, keys[name]) for name in sorted(names)),
            rounds=job.rounds,
            parameters=sum(t.size for t in job.schema.part(*load_strategy(job.strategy).trains(1))),
        )

    def _join(self, terms: Terms) -> Aggregator:
        """Ask for keys and close the roster with those that came."""
        aggregator = Aggregator(terms)
        requests = dict.fromkeys((name for name, _ in terms.members), b"")
        desk = self._exchange("join", 0, requests, aggregator.add_keys, terms=terms)
        self._left_out |= desk.silent | desk.wrong
        try:
            roster = aggregator.roster()
        except BelowThreshold:
            roster = b""
        self._require(len(aggregator.members) if roster else 0, "too few institutions agreed on keys")
        self._store.keep_roster(self._job.job_id, roster)
        return aggregator

    def _exchange(
        self,
        phase: Phase,
        number: int,
        requests: Mapping[str, bytes],
        add: Callable[[str, bytes], None],
        *,
        terms: Terms | None = None,
        needed: int | None = None,
        done: Callable[[], bool] = lambda: False,
    ) -> Exchange:
        """Ask those who are named in `requests`, and take what they answer.

        Once `needed` good answers are there, nobody waits for who was lost; by default the quorum for keys, and the
        threshold in a round.
        """
        if terms is None:
            terms = self._agreed(tuple).terms
        ask = SumAsk(job=self._job.job_id, round=number, phase=phase, terms=terms)
        if needed is None:
            needed = self._job.quorum if number == 0 else self._plan.threshold
        desk = Exchange(ask, requests, self._identity, add, needed=needed, done=done)
        stage, group = _STAGES[phase], f"{phase} {number}"
        self._gatherer.ask(desk.question, desk, deadline_s=self._job.deadline_s, group=group, stages=(stage, stage))
        return desk

    def _keep(self, plan: RoundPlan, one: SumRound, collector: Collector) -> None:
        masked = MaskedRound(state=one.state(), replies=collector.signed, dropped=collector.dropped)
        self._store.keep_masked(plan.job_id, plan.round, masked)

    def _require(self, count: int, what: str) -> None:
        if count < self._job.quorum:
            reasons = "".join(f", {name} {reason}" for name, reason in sorted(self._left_out.items()))
            raise QuorumLost(what, expected=f"at least {self._job.quorum}", got=f"{count}{reasons}")


def _nothing(institution: str, body: bytes) -> None:
    """Takes an answer that says nothing but that the question came."""
    if body:
        raise BadReply(f"{institution}: an answer says more than was asked", kind="malformed")


def _note(desk: Exchange, collector: Collector) -> None:
    """Name who answered wrongly; a vector that was taken stays in the sum."""
    for name, reason in desk.wrong.items():
        collector.drop(name, reason)


def _asked(asked: Ask | Abandoned | None, collector: Collector, desk: Exchange | None = None) -> Ask:
    """The next question of a round that goes on."""
    if isinstance(asked, Ask):
        return asked
    raise _lost(asked, collector, desk)


def _lost(outcome: Abandoned | None, collector: Collector, desk: Exchange | None) -> QuorumLost:
    """Why a round ends without a sum; nothing about any single vector was learnt."""
    for name, reason in (desk.silent if desk else {}).items():
        collector.drop(name, reason)
    for name in outcome.blamed if outcome else ():
        collector.drop(name, "wrong_seed")
    reasons = "".join(f", {name} {reason}" for name, reason in sorted(collector.dropped.items()))
    why = outcome.reason.replace("_", " ") if outcome else "it was kept before its survivors were decided"
    return QuorumLost(f"the masked sum could not be opened: {why}{reasons}")
