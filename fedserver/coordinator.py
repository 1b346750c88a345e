"""The round loop: select, ask, collect, fold, checkpoint. Read this first.

    run ── for each round that is not folded yet
            1  select    wait until the invited are connected, at least a quorum    cohort.py
            2  plan      store the plan, then send it; after a restart, the same     store.py
                         with the state, rounded to the job's width                  travel.py
            3  ask       the connected; again whoever was lost and came back         gather.py
            4  collect   check each reply and add it up; stop at the deadline        collect.py, pool.py
                         with secure sums: add masked replies, open their total      masked.py
            5  fold      the strategy's pure function of state and sum               strategies/
                         in a joint round: one step of the coordinator's optimiser   optimisers.py
                         with a server optimiser: its step towards the fold           server_optimisers.py
             6  gate      a bad state is put aside and the last good one stands     gate.py
             7  checkpoint  state, outcome, spends and receipts in one transaction    store.py

Every reply that an institution signed is countersigned by a receipt for the entry of its ledger; the newest
one goes with the next plan, and at a job's end by itself (see `countersign.py`).

A live coordinator and a simulation call the same `Coordinator.run`; only the Grid differs. It is a Flower
`Strategy` with a loop of its own (see `_flower.py`).

It never knows a record, a token, or one institution's loss or number of examples; with secure sums, no update
of a single institution either.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from flwr.serverapp import Grid

from fedcore.adapter import AdapterState, FloatArray
from fedcore.errors import ConfigError, QuorumLost
from fedcore.folding import Gate
from fedcore.identity import SigningIdentity
from fedcore.round import Abandoned, CohortSum, Completed, Evaluation, JobPlan, RoundOutcome, RoundPlan
from fedcore.wire import seal_plan
from fedserver._flower import OwnLoop
from fedserver.cohort import Member, invited
from fedserver.collect import Collector, norm_bound
from fedserver.countersign import Countersigner
from fedserver.evaluation import Evaluator
from fedserver.gate import Look, check_gate, due, judge, last_look, none_passed
from fedserver.gather import Gatherer
from fedserver.masked import JobSums
from fedserver.optimisers import joint_step
from fedserver.pool import Pool, make_pool
from fedserver.progress import Clock, JobResult, Progress
from fedserver.server_optimisers import step as server_step
from fedserver.store import Store
from fedserver.strategies import load_strategy
from fedserver.travel import send

__all__ = ["ABSENT", "EXHAUSTED", "Coordinator"]

ABSENT = "absent"
"""An invited institution that was not connected when a round's cohort was selected."""

EXHAUSTED = "budget_exhausted"
"""The refusal after which an institution is not asked again in the same job."""


class Coordinator(OwnLoop):
    """Runs one job over a Grid, from wherever it stands to its end.

    Args:
        job: What to do.
        store: Where it stands; knows the job already.
        identity: Signs the plans.
        members: Flower's node id -> member, of the nodes known now.
        evaluator: Scores states on public examples, where the job asks for it and one is at hand; a gate needs it.
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
        self._receipts = Countersigner(store, identity)
        self._sums: JobSums | None = None
        self._outcomes: list[RoundOutcome] = []
        self._round = 0
        self._unheard: frozenset[str] = frozenset()

    def run(self, grid: Grid) -> JobResult:
        """Run every round that is not folded yet.

        A job that cannot go on is marked as failed in the store and returned as such; `JobResult.check`
        raises. A job that is interrupted stays as it is: run it again to go on.

        Raises:
            Interrupted: `stopped` said so.
            ConfigError: The job has a gate, and there is no evaluator or no loss of the base.
            ConcordatError: The evaluator failed.
        """
        started = self._clock.now()
        self._open_gate()
        self._store.start_job(self._job.job_id)
        done, state = self._store.checkpoint(self._job)
        self._outcomes = list(self._store.outcomes(self._job.job_id))
        gatherer = Gatherer(grid=grid, members=self._members, clock=self._clock, stopped=self._stopped, tell=self._tell)
        if self._job.sums is not None:
            self._sums = JobSums(self._job, self._job.sums, self._store, self._identity, gatherer)
        self._evaluate("loss_base", None)
        while done < self._job.rounds and self._abandoned() is None:
            self._round = done + 1
            outcome, state = self._run_round(gatherer, self._round, state)
            self._outcomes.append(outcome)
            done += isinstance(outcome, Completed)
        reason = self._abandoned()
        if reason is None and self._job.gate is not None:
            reason = none_passed(self._outcomes)
        if reason is None:
            self._evaluate("loss_released", state)
        else:
            self._store.fail_job(self._job.job_id, reason)
        self._unheard = gatherer.hand_out(self._receipts.newest(self._job.job_id))
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
        collector: Collector | None = None
        plan = self._store.round_plan(self._job.job_id, number)
        sent = send(self._job, number, self._strategy.carries(number), state)
        try:
            if plan is None:
                plan = self._store.open_round(self._plan(gatherer, number, sent.state))
            started, before = self._clock.now(), self._bytes(gatherer)
            masks = self._sums.begin(plan) if self._sums else None
            members = {m.name: m for m in self._members().values()}
            pool = None if masks else self._pool(plan, state)
            collector = Collector(plan, members, folded=self._folded(), masks=masks, pool=pool)
            question = self._receipts.addressed(seal_plan(plan, sent.body, self._identity))
            if self._sums and masks:
                cohort = self._sums.collect(plan, question, collector, masks)
            else:
                gatherer.ask(question, collector, deadline_s=plan.deadline_s, group=str(number))
                cohort = collector.sum()
        except QuorumLost as error:
            abandoned = Abandoned(round=number, dropped=self._dropped(plan, collector), reason=str(error))
            if plan is not None and collector is not None:
                drafts = self._receipts.drafts(plan, collector)
                self._store.close_round(self._job.job_id, abandoned, receipts=drafts, seal=self._receipts.seal)
            self._tell("abandoned")
            return abandoned, state
        folded, memory = self._fold(plan, state, cohort)
        wants_loss = self._job.evaluation is not None and self._job.evaluation.every_round
        loss = self._score(folded) if wants_loss else None
        look, gate = self._look(number, folded), self._job.gate
        stands = folded
        if gate is not None and look.quarantined is not None:
            stands, memory = self._store.after(self._job, last_look(gate, number))
        after = self._bytes(gatherer)
        completed = Completed(
            round=number,
            contributors=collector.contributors,
            dropped=self._dropped(plan, collector),
            state_digest=folded.digest,
            seconds=round(self._clock.now() - started, 3),
            bytes_up=after[0] - before[0],
            bytes_down=after[1] - before[1],
            loss=loss,
            canary_loss=look.loss,
            quarantined=look.quarantined,
        )
        self._store.close_round(
            self._job.job_id,
            completed,
            state=stands,
            memory=memory,
            aside=None if stands is folded else folded,
            keep=None if gate is None else last_look(gate, number + 1),
            spends=collector.spends,
            attestations=collector.attestations,
            receipts=self._receipts.drafts(plan, collector),
            seal=self._receipts.seal,
        )
        self._tell("folded", cohort.count, len(plan.cohort), loss=loss)
        if look.quarantined is not None:
            self._tell(f"quarantined {look.quarantined}")
        return completed, stands

    def _pool(self, plan: RoundPlan, state: AdapterState) -> Pool:
        """What the round's visible updates are added into."""
        return make_pool(
            plan,
            limit_l2=norm_bound(plan),
            rule=self._job.rule,
            products=self._strategy.traits.products,
            state=state,
        )

    def _fold(
        self, plan: RoundPlan, state: AdapterState, cohort: CohortSum
    ) -> tuple[AdapterState, dict[str, FloatArray]]:
        """The next state, and the memory of the optimiser that took the step, where the coordinator's own did."""
        if plan.joint:
            return joint_step(plan, state, self._store.memory(plan.job_id, plan.round - 1), cohort)
        folded = self._strategy.fold(state, cohort)
        if self._job.server_optimiser is None:
            return folded, {}
        return server_step(self._job.server_optimiser, state, folded, self._store.memory(plan.job_id, plan.round - 1))

    def _plan(self, gatherer: Gatherer, number: int, state: AdapterState) -> RoundPlan:
        """Select a cohort and write a round's plan for it; `state` is what the nodes train from.

        Raises:
            QuorumLost: Too few can take part, or too few are connected at the deadline.
        """
        job = self._job
        members: tuple[tuple[str, str], ...] = ()
        if len(self._invited()) < job.quorum:
            gone = "".join(f", {name} {EXHAUSTED}" for name in sorted(self._exhausted()))
            raise QuorumLost(
                "too few institutions can take part",
                expected=f"at least {job.quorum}",
                got=f"{len(self._invited())}{gone}",
            )
        if self._sums:
            members, cohort = self._sums.cohort(self._invited, spare=self._absent())
        else:
            cohort = gatherer.wait_for(
                self._invited, quorum=job.quorum, deadline_s=job.deadline_s, spare=self._absent()
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
            cohort=cohort,
            weight=1.0,
            quorum=job.quorum,
            deadline_s=job.deadline_s,
            max_tokens=job.max_tokens,
            optimiser=job.optimiser,
            privacy=job.privacy,
            joint=job.joint,
            sums=job.sums,
            members=members,
            widths=job.widths,
            ranks=job.ranks,
            keeps=job.keeps,
        )

    def _abandoned(self) -> str | None:
        """Why the job cannot go on, when it cannot."""
        last = self._outcomes[-1] if self._outcomes else None
        if not isinstance(last, Abandoned):
            return None
        return f"round {last.round} of {self._job.rounds} was abandoned: {last.reason}"

    # The gate -----------------------------------------------------------------------------------------

    def _open_gate(self) -> None:
        """Measure the base on the canary examples, once in a job's life.

        Raises:
            ConfigError: There is nobody to measure, or the loss is not finite.
        """
        job = self._job
        check_gate(job, evaluator=self._evaluator is not None)
        if job.gate is None or self._store.canary_base(job.job_id) is not None:
            return
        loss = self._loss(None, job.gate)
        if not math.isfinite(loss):
            raise ConfigError("the base's own loss on the canary examples is not finite", do="correct [gate] records")
        self._store.set_canary_base(job.job_id, loss)

    def _look(self, number: int, folded: AdapterState) -> Look:
        """What the job's gate says of a folded state."""
        gate, base = self._job.gate, self._store.canary_base(self._job.job_id)
        if gate is None or base is None or not due(gate, number, self._job.rounds):
            return Look()
        self._tell("canary loss")
        return judge(gate, round=number, loss=self._loss(folded, gate), base=base, outcomes=self._outcomes)

    # What the steps share -----------------------------------------------------------------------------

    def _dropped(self, plan: RoundPlan | None, collector: Collector | None) -> dict[str, str]:
        """Of those invited, who was not asked or not counted, and why."""
        asked = plan.cohort if plan else ()
        why = {name: (self._sums.why_not(name) if self._sums else None) for name in self._invited()}
        left_out = {n: code or ABSENT for n, code in why.items() if n not in asked and (plan or code)}
        return left_out | dict(collector.dropped if collector else {})

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
        if self._evaluator is None or self._job.evaluation is None:
            return None
        loss = self._loss(state, self._job.evaluation)
        return loss if math.isfinite(loss) else None

    def _loss(self, state: AdapterState | None, public: Evaluation | Gate) -> float:
        """Loss on public examples, whatever it is."""
        if self._evaluator is None:
            raise ConfigError("there is no evaluator")
        return self._evaluator.loss(
            state,
            task=self._job.task,
            records=Path(public.records),
            limit=public.limit,
            max_tokens=self._job.max_tokens,
        )

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
