"""The driver: asks for plans, sends their jobs to an executor, and writes what came of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial

from ..errors import AutoCompressError, MeasurementError, StorageError
from ..evaluators.timing.breathing import Slices
from ..spaces.space import Space
from .deaths import Deaths
from .evaluate.job import Job, JobResult
from .evaluate.warm_start import WarmStarts
from .executors.base import Executor
from .knowledge import Knowledge
from .next_job import NextJob, with_result
from .objectives import objective_value
from .pace import Pace, Snapshot
from .peers import Peers
from .promotion import Promotion
from .propose.proposal import Proposal
from .propose.proposer import Proposer
from .shape_choice import ShapeChoice
from .store.trials import TrialStore
from .stragglers import Stragglers
from .time_left import TimeLeft
from .trial import Trial, TrialState
from .waiting import WaitingRoom

POLL_S = 0.2
MANY_FAILURES = 8
"""So many failed trials in a row are not bad luck of single plans."""


class Driver:
    """Runs one study, alone or beside other drivers. What it begins, it alone writes.

    Attributes:
        seconds: Spent in the jobs of this run, by kind of work.
    """

    def __init__(
        self,
        space: Space,
        store: TrialStore,
        proposer: Proposer,
        executor: Executor,
        promotion: Promotion,
        seed: int,
        warm_starts: WarmStarts | None = None,
        learn_from_gated: bool = False,
        pace: Pace | None = None,
        slices: Slices = nullcontext,
    ) -> None:
        """Take up a study where its store says that it stands.

        Args:
            space: What is searched.
            store: The study's trials.
            proposer: Says what is tried next.
            executor: Runs jobs.
            promotion: How students go from rung to rung, and the limits that they must meet.
            seed: Of the search, noted with each trial.
            warm_starts: The students that others may start from; None lets all start from the teacher.
            learn_from_gated: Whether samplers learn by how much a plan missed the budget.
            pace: When the run ends.
            slices: Makes what proposing runs under, so that latencies are measured in peace.
        """
        self._space, self._store, self._proposer, self._executor = space, store, proposer, executor
        self._promotion, self._limits, self._seed = promotion, promotion.limits, seed
        self._pace, self._slices = pace or Pace(), slices
        self._trials = store.ended()
        self._known = len(self._trials)
        self._knowledge = Knowledge(self._trials, proposer, promotion, learn_from_gated)
        self._deaths, self._stragglers = Deaths(executor, store), Stragglers(executor)
        self._next = NextJob(store.folder, promotion, self._knowledge.trainings, warm_starts)
        self._shapes = ShapeChoice(space, promotion.limits, proposer.choose)
        self._active: dict[Future[JobResult], tuple[Trial, Job]] = {}
        self._proposals: dict[int, Proposal] = {}
        interrupted = store.interrupted()
        waiting = [t for t in interrupted if t.state is TrialState.WAITING]
        self._room = WaitingRoom(promotion, waiting)
        self._peers = Peers(store, self._knowledge, proposer, self._room)
        self._left = TimeLeft(self._pace, self._room, proposer)
        # what a tighter budget of an earlier run stopped may be proposed again
        missed, gated = self._limits.surely_missed, TrialState.GATED
        tried = [t for t in self._trials if t.state is not gated or missed(t.gate, t.gate_bytes)]
        proposer.know([*tried, *waiting], [t for t in interrupted if t.state is not TrialState.WAITING])
        for trial in (*self._trials, *waiting):
            self._knowledge.remember(trial)
        self._started, self._over, self.seconds = 0, False, dict[str, float]()
        self._run_s = self._pace.clock_s()
        earlier_s = max((t.ended_s or 0.0 for t in self._trials), default=0.0)
        self._start_s = (self._run_s if self._pace.since_s is None else self._pace.since_s) - earlier_s

    @property
    def trials(self) -> list[Trial]:
        """All trials that ended."""
        return self._trials

    @property
    def opening(self) -> bool:
        """Whether what every study begins with is still under way."""
        return self._proposer.opening

    @property
    def searched_s(self) -> float:
        """Seconds of searching, over all runs of the study."""
        return self._pace.clock_s() - self._start_s

    @property
    def waiting(self) -> int:
        """Number of students that wait at a rung."""
        return len(self._room)

    @property
    def unfinished(self) -> tuple[Trial, ...]:
        """The trials that run, and those that wait at a rung, be it at other drivers of the study."""
        return *(trial for trial, _ in self._active.values()), *self._room, *self._peers.running

    def hear(self) -> None:
        """Take in what other drivers of the study have ended since."""
        self._peers.hear()

    def run(self, should_stop: Callable[[], bool], watch: Callable[[Snapshot], None]) -> bool:
        """Search until `should_stop()`, until the number of trials is reached, or until nothing new can be proposed.

        Args:
            should_stop: Asked between jobs and while jobs run.
            watch: Called several times a second.

        Returns:
            Whether the space was exhausted.

        Raises:
            MeasurementError: No worker can start, or many trials in a row failed.
            AutoCompressError: What else ends a study, once running jobs were dropped.
        """
        try:
            return self._run(should_stop, watch)
        finally:
            self._take_leave()

    def _take_leave(self) -> None:
        """End the jobs that run, take in what they came to, and write how the others stand."""
        self._over = True
        self._executor.close()
        for future in [f for f in self._active if f.done() and not f.cancelled() and f.exception() is None]:
            with suppress(AutoCompressError):
                self._advance(future)
        for trial, _ in self._active.values():
            with suppress(StorageError):
                self._deaths.keep(trial)
        self._active.clear()

    def _run(self, should_stop: Callable[[], bool], watch: Callable[[Snapshot], None]) -> bool:
        exhausted = False
        while True:
            self._peers.meet()
            while len(self._active) < self._executor.slots and not should_stop():
                if self._go_on(exhausted):
                    continue
                if exhausted or self._pace.enough(self._started):
                    break
                late = self._left.too_late(self._trials)
                with self._slices():
                    proposal = self._left.last_proposal(self._trials) if late else self._proposer.propose()
                if proposal is None and late:
                    break
                if exhausted := proposal is None:
                    continue  # students that wait may use the time now
                self._begin(proposal)
            if not self._active or should_stop():
                return exhausted
            watch(self._snapshot())
            self._stragglers.give_up(self._active)
            self._executor.run_pending()
            done, _ = wait(self._active, POLL_S, FIRST_COMPLETED)
            for future in done:
                self._advance(future)
            watch(self._snapshot())

    def _snapshot(self) -> Snapshot:
        new, elapsed_s = len(self._trials) - self._known, self._pace.clock_s() - self._run_s
        rungs = len(self._promotion.rungs)
        doing = [f"trial {t.number} ({t.label}): {job.words(rungs)}" for t, job in self._active.values()]
        return Snapshot(self._trials, new, doing, elapsed_s, len(self._room), self._limits)

    def _go_on(self, exhausted: bool) -> bool:
        """Let a waiting student go on, if one should.

        After a number of trials that was asked for, only students among the best go on. Where nothing new can be
        drawn, or comes too late, any student may use the time.
        """
        running = [t for t, _ in self._active.values()]
        left_s = self._pace.time_left_s() if self._left.too_late(self._trials) else None
        if exhausted:
            left_s = math.inf if (known_s := self._pace.time_left_s()) is None else known_s
        trial = self._room.next(self._trials, running, left_s)
        if trial is not None:
            self._submit(trial.moved(TrialState.RUNNING), self._next.on_rungs(trial))
        return trial is not None

    def _begin(self, proposal: Proposal) -> None:
        # a plan of an earlier run may stand for another one in the space of today
        plan, spec = self._space.repair(proposal.plan), self._space.spec(proposal.plan)
        make = partial(proposal.trial, plan=plan, spec=spec, seed=self._seed)
        trial = self._store.claim(make) if proposal.number is None else make(proposal.number)
        if trial is None:
            return  # another driver tries it
        if proposal.number is not None:
            self._store.begin(trial)
        self._started += 1
        self._proposals[trial.number] = proposal
        self._shapes.open(trial, proposal.others)
        self._submit(trial, Job(trial.number, spec, "gate"))

    def _submit(self, trial: Trial, job: Job, why: object = None) -> None:
        if self._over:
            self._deaths.keep(trial)  # the next run does it
            return
        if reason := self._deaths.given_up(trial, job, len(self._promotion.rungs), why):
            self._end(replace(trial.moved(TrialState.FAILED), reason=reason))
            return
        job = replace(job, seed=trial.seed)
        self._active[self._executor.submit(self._deaths.sent(trial, job))] = (trial, job)

    def _advance(self, future: Future[JobResult]) -> None:
        trial, job = self._active.pop(future)
        try:
            result = future.result()
        except BaseException as error:
            if not isinstance(error, Exception) or isinstance(error, AutoCompressError):
                self._active[future] = (trial, job)
                raise
            self._submit(self._deaths.again(trial, job, error), job, error)
            return
        trial = trial.spent(result.seconds)
        for kind, value in result.seconds.items():
            self.seconds[kind] = self.seconds.get(kind, 0.0) + value
        if result.stopped:
            self._deaths.keep(trial)  # the next run goes on from this rung
            return
        if not result.failure:
            self._stragglers.took(job, sum(result.seconds.values()))
        trial = with_result(trial, job, result)
        if job.step == "gate":
            if not result.failure:
                self._proposer.measured(trial)
            before = trial.plan
            trial, further = self._shapes.measured(trial, bool(result.failure))
            if further:
                self._submit(trial, Job(trial.number, trial.spec, "gate"))
                return
            if trial.plan != before:
                self._store.begin(trial)  # the next run goes on with what was chosen
        if result.failure and not (job.step == "gate" and trial.gate):
            self._end(replace(trial.moved(TrialState.FAILED), reason=result.failure))
        elif job.step == "gate":
            self._after_gate(trial)
        elif job.step == "build":
            self._end(trial.moved(TrialState.FINISHED))
        else:
            self._reached(trial)

    def _after_gate(self, trial: Trial) -> None:
        # what a user would do by hand is never stopped: it shows what the search is worth
        missed = "" if trial.by_hand else self._limits.surely_missed(trial.gate, trial.gate_bytes)
        if missed:
            self._end(replace(trial.moved(TrialState.GATED), reason=missed))
        elif lost := self._next.lost(trial, self._trials):
            self._end(replace(trial.moved(TrialState.FAILED), reason=lost))
        else:
            self._submit(*self._next.after_gate(trial, self._trials))

    def _reached(self, trial: Trial) -> None:
        """Let a student that has reached a rung wait there until it is its turn, or go on at once."""
        waiting = trial.moved(TrialState.WAITING)
        self._store.begin(waiting)
        if trial.to_its_end or not self._promotion.halves:
            self._submit(trial, self._next.on_rungs(trial))
            return
        if waiting.rungs:
            self._knowledge.learn(waiting, self._proposals.get(waiting.number))
        self._room.enter(waiting)

    def _end(self, trial: Trial) -> None:
        trial = replace(trial, ended_s=self.searched_s)
        values = [objective_value(n, trial.measured) for n in self._promotion.objectives] if trial.measured else None
        self._store.end(trial, values, self._space)
        self._knowledge.add(trial, self._proposals.get(trial.number))
        last = self._trials[-MANY_FAILURES:]
        if len(last) == MANY_FAILURES and all(t.state is TrialState.FAILED for t in last):
            raise MeasurementError(f"the last {MANY_FAILURES} trials failed, the latest because {trial.reason}")
