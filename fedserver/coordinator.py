"""The round loop: select, ask, collect, fold, checkpoint. Read this first.

    run ── for each round that is not folded yet
            1  select    wait until the invited are connected, at least a quorum    cohort.py
            2  plan      store the plan, then send it; after a restart, the same     store.py
            3  ask       the connected; again whoever was lost and came back
            4  collect   check each reply; stop at the deadline                      collect.py
            5  fold      the strategy's pure function of state and sum               strategies/
            6  checkpoint  state, outcome, spends and receipts in one transaction    store.py

Every reply that an institution signed is countersigned by a receipt for the entry of its ledger; the newest
one goes with the next plan, and at a job's end by itself (see `fedcore.receipt`).

A live coordinator and a simulation call the same `Coordinator.run`; only the Grid differs. It is a Flower
`Strategy` with a loop of its own, since Flower's always runs from round 1, waits without bound and
believes what it is told.

It never knows a record, a token, or one institution's loss or number of examples.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result
from flwr.serverapp.strategy import Strategy as FlowerStrategy

from fedcore.adapter import AdapterState
from fedcore.errors import QuorumLost
from fedcore.identity import SigningIdentity
from fedcore.receipt import Receipt, seal_receipt
from fedcore.round import Abandoned, Completed, JobPlan, RoundOutcome, RoundPlan
from fedcore.wire import Envelope, add_receipt, seal_plan
from fedserver.cohort import Member, invited
from fedserver.collect import Collector
from fedserver.evaluation import Evaluator
from fedserver.gather import Gatherer
from fedserver.progress import Clock, JobResult, Progress
from fedserver.store import Store
from fedserver.strategies import load_strategy

__all__ = ["ABSENT", "EXHAUSTED", "Coordinator"]

ABSENT = "absent"
"""An invited institution that was not connected when a round's cohort was selected."""

EXHAUSTED = "budget_exhausted"
"""The refusal after which an institution is not asked again in the same job."""


class Coordinator(FlowerStrategy):
    """Runs one job over a Grid, from wherever it stands to its end.

    Args:
        job: What to do.
        store: Where it stands; knows the job already.
        identity: Signs the plans.
        members: Flower's node id -> member, of the nodes known now.
        evaluator: Scores states on public examples, where the job asks for it and one is at hand.
        report: Called with each step of progress.
        traffic: Bytes up and down so far, as counted on the network; else envelopes are counted.
        clock: Time.
        stopped: Asked between steps; True ends the run with everything kept.
    """

    def __init__(
        self,
        job: JobPlan,
        store: Store,
        identity: SigningIdentity,
        members: Callable[[], Mapping[int, Member]],
        *,
        evaluator: Evaluator | None = None,
        report: Callable[[Progress], None] | None = None,
        traffic: Callable[[], tuple[int, int]] | None = None,
        clock: Clock | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> None:
        self._job = job
        self._store = store
        self._identity = identity
        self._members = members
        self._evaluator = evaluator
        self._report = report
        self._traffic = traffic
        self._clock = clock or Clock()
        self._stopped = stopped or (lambda: False)
        self._strategy = load_strategy(job.strategy)
        self._outcomes: list[RoundOutcome] = []
        self._round = 0
        self._unheard: frozenset[str] = frozenset()

    def run(self, grid: Grid) -> JobResult:
        """Run every round that is not folded yet.

        A job that cannot go on is marked as failed in the store and returned as such; `JobResult.check`
        raises. A job that is interrupted stays as it is: run it again to go on.

        Raises:
            Interrupted: `stopped` said so.
            ConcordatError: The evaluator failed.
        """
        started = self._clock.now()
        self._store.start_job(self._job.job_id)
        done, state = self._store.checkpoint(self._job)
        self._outcomes = list(self._store.outcomes(self._job.job_id))
        gatherer = Gatherer(grid=grid, members=self._members, clock=self._clock, stopped=self._stopped, tell=self._tell)
        self._evaluate("loss_base", None)
        while done < self._job.rounds and self._abandoned() is None:
            self._round = done + 1
            outcome, state = self._run_round(gatherer, self._round, state)
            self._outcomes.append(outcome)
            done += isinstance(outcome, Completed)
        if (reason := self._abandoned()) is None:
            self._evaluate("loss_released", state)
        else:
            self._store.fail_job(self._job.job_id, reason)
        self._unheard = gatherer.hand_out(self._receipts())
        return self._result(state, reason, self._clock.now() - started)

    def linger(self, grid: Grid, *, limit_s: float) -> None:
        """After `run`: leave those who are connected a moment to fetch their receipts; nothing depends on it.

        Whoever misses its receipt gets it with its next plan.
        """
        end = self._clock.now() + limit_s
        while self._unheard and self._clock.now() < end and not self._stopped():
            heard = {reply.metadata.reply_to_message_id for reply in grid.pull_messages(sorted(self._unheard))}
            self._unheard -= heard
            self._clock.sleep(self._clock.poll_s)

    def _run_round(self, gatherer: Gatherer, number: int, state: AdapterState) -> tuple[RoundOutcome, AdapterState]:
        """Select, plan, ask, collect, fold, checkpoint; or abandon, with the state as it was."""
        dropped: dict[str, str] = {}
        collector: Collector | None = None
        plan = self._store.round_plan(self._job.job_id, number)
        try:
            if plan is None:
                plan = self._store.open_round(self._plan(gatherer, number, state))
            started, before = self._clock.now(), self._bytes(gatherer)
            collector = Collector(plan, {m.name: m for m in self._members().values()}, folded=self._folded())
            envelope = seal_plan(plan, state.part(*plan.carries), self._identity)
            gatherer.collect(plan, self._addressed(envelope), collector)
            dropped = {n: ABSENT for n in self._invited() if n not in plan.cohort} | dict(collector.dropped)
            cohort = collector.sum()
        except QuorumLost as error:
            abandoned = Abandoned(round=number, dropped=dropped, reason=str(error))
            if plan is not None and collector is not None:
                drafts = self._drafts(plan, collector)
                self._store.close_round(self._job.job_id, abandoned, receipts=drafts, seal=self._seal)
            self._tell("abandoned")
            return abandoned, state
        folded = self._strategy.fold(state, cohort)
        wants_loss = self._job.evaluation is not None and self._job.evaluation.every_round
        loss = self._score(folded) if wants_loss else None
        after = self._bytes(gatherer)
        completed = Completed(
            round=number,
            contributors=collector.contributors,
            dropped=dropped,
            state_digest=folded.digest,
            seconds=round(self._clock.now() - started, 3),
            bytes_up=after[0] - before[0],
            bytes_down=after[1] - before[1],
            loss=loss,
        )
        self._store.close_round(
            self._job.job_id,
            completed,
            state=folded,
            spends=collector.spends,
            attestations=collector.attestations,
            receipts=self._drafts(plan, collector),
            seal=self._seal,
        )
        self._tell("folded", cohort.count, len(plan.cohort), loss=loss)
        return completed, folded

    def _plan(self, gatherer: Gatherer, number: int, state: AdapterState) -> RoundPlan:
        """Select a cohort and write a round's plan for it.

        Raises:
            QuorumLost: Too few can take part, or too few are connected at the deadline.
        """
        job = self._job
        if len(self._invited()) < job.quorum:
            gone = "".join(f", {name} {EXHAUSTED}" for name in sorted(self._exhausted()))
            raise QuorumLost(
                "too few institutions can take part",
                expected=f"at least {job.quorum}",
                got=f"{len(self._invited())}{gone}",
            )
        return RoundPlan(
            job_id=job.job_id,
            round=number,
            rounds=job.rounds,
            task=job.task,
            schema=job.schema,
            state_digest=state.digest,
            seed=job.seed,
            strategy=job.strategy,
            trains=self._strategy.trains(number),
            carries=self._strategy.carries(number),
            cohort=gatherer.wait_for(self._invited, quorum=job.quorum, deadline_s=job.deadline_s, spare=self._absent()),
            weight=1.0,
            quorum=job.quorum,
            deadline_s=job.deadline_s,
            max_tokens=job.max_tokens,
            optimiser=job.optimiser,
            privacy=job.privacy,
        )

    def _abandoned(self) -> str | None:
        """Why the job cannot go on, when it cannot."""
        last = self._outcomes[-1] if self._outcomes else None
        if not isinstance(last, Abandoned):
            return None
        return f"round {last.round} of {self._job.rounds} was abandoned: {last.reason}"

    # Receipts -----------------------------------------------------------------------------------------

    def _addressed(self, envelope: Envelope) -> Callable[[str], Envelope]:
        """A plan as each institution gets it: with its own newest receipt, and nobody else's."""
        made: dict[str, Envelope] = {}

        def addressed(name: str) -> Envelope:
            if name not in made:
                newest = self._store.newest_receipt(name)
                made[name] = envelope if newest is None else add_receipt(envelope, newest, self._identity)
            return made[name]

        return addressed

    def _drafts(self, plan: RoundPlan, collector: Collector) -> tuple[Receipt, ...]:
        """A receipt for every signed reply; the store gives them their numbers."""
        before, now = self._store.receipted(plan.job_id), datetime.now(UTC).isoformat(timespec="seconds")
        event = plan.privacy.event()
        return tuple(
            Receipt(
                institution=name,
                number=1,
                previous="",
                job=plan.job_id,
                round=plan.round,
                plan=plan.digest,
                head=reply.ledger,
                dataset=reply.dataset,
                # With rounds that were reserved since the last receipt and never answered.
                event=replace(event, steps=max(event.steps, reply.steps - before.get(name, 0))),
                at=now,
            )
            for name, reply in sorted(collector.acknowledged.items())
        )

    def _seal(self, receipt: Receipt) -> Envelope:
        return seal_receipt(receipt, self._identity)

    def _receipts(self) -> dict[str, Envelope]:
        """The newest receipt of everyone who answered in this job."""
        newest = {name: self._store.newest_receipt(name) for name in self._store.receipted(self._job.job_id)}
        return {name: receipt for name, receipt in newest.items() if receipt is not None}

    # What the steps share -----------------------------------------------------------------------------

    def _folded(self) -> dict[str, int]:
        """Institution -> rounds of this job in which it was counted."""
        counts: dict[str, int] = {}
        for outcome in self._outcomes:
            for name in outcome.contributors if isinstance(outcome, Completed) else ():
                counts[name] = counts.get(name, 0) + 1
        return counts

    def _exhausted(self) -> set[str]:
        """Those who said in this job that their budget is exhausted."""
        return {name for o in self._outcomes for name, code in o.dropped.items() if code == EXHAUSTED}

    def _absent(self) -> set[str]:
        """Those who were invited to the last round and not connected."""
        last = self._outcomes[-1] if self._outcomes else None
        return {name for name, code in last.dropped.items() if code == ABSENT} if last else set()

    def _invited(self) -> tuple[str, ...]:
        enrolled = [m.name for m in self._members().values()]
        return invited(self._job.institutions, exclude=self._exhausted(), enrolled=enrolled)

    def _bytes(self, gatherer: Gatherer) -> tuple[int, int]:
        """Up and down so far."""
        return self._traffic() if self._traffic else (gatherer.bytes_up, gatherer.bytes_down)

    def _evaluate(self, which: Literal["loss_base", "loss_released"], state: AdapterState | None) -> None:
        """Score the base, or what will be released, once in a job's life."""
        if self._evaluator is None or self._job.evaluation is None:
            return
        if getattr(self._store.job(self._job.job_id), which) is None:
            self._tell("base loss" if state is None else "released loss")
            self._store.set_loss(self._job.job_id, which, self._score(state))

    def _score(self, state: AdapterState | None) -> float | None:
        """Loss on the job's public examples; None where there are none, or nobody to score them."""
        public = self._job.evaluation
        if self._evaluator is None or public is None:
            return None
        loss = self._evaluator.loss(
            state,
            task=self._job.task,
            records=Path(public.records),
            limit=public.limit,
            max_tokens=self._job.max_tokens,
        )
        return loss if math.isfinite(loss) else None

    def _tell(self, stage: str, answered: int = 0, asked: int = 0, *, loss: float | None = None) -> None:
        """Report progress."""
        if self._report is not None:
            self._report(
                Progress(
                    job_id=self._job.job_id,
                    round=self._round,
                    rounds=self._job.rounds,
                    stage=stage,
                    answered=answered,
                    asked=asked,
                    loss=loss,
                )
            )

    def _result(self, state: AdapterState, reason: str | None, seconds: float) -> JobResult:
        """Everything that is known of the job now."""
        record = self._store.job(self._job.job_id)
        return JobResult(
            job_id=self._job.job_id,
            status="completed" if reason is None else "failed",
            reason=reason,
            state=state,
            outcomes=tuple(self._outcomes),
            spends=self._store.spends(self._job.job_id),
            loss_base=record.loss_base,
            loss_released=record.loss_released,
            seconds=round(seconds, 3),
            attestations=self._store.attestations(self._job.job_id),
        )

    # Flower's Strategy --------------------------------------------------------------------------------

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int = 0,
        timeout: float = 0,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """`run` for those who hold a Flower Strategy: the job says everything, the arguments nothing.

        Raises:
            QuorumLost: The job failed.
        """
        job = self.run(grid)
        job.check()
        result = Result()
        result.arrays = ArrayRecord({name: Array(array) for name, array in job.state.tensors.items()})
        return result

    def summary(self) -> None:
        """Nothing to say: progress goes to `report`."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """No messages: Flower's own loop, which would call this, is not used."""
        return ()

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Nothing is folded outside `run`."""
        return None, None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nodes are never asked for a loss: it would leak."""
        return ()

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nodes are never asked for a loss: it would leak."""
        return None
