"""What a search decides: what begins, what a result leads to, and which student goes on.

Jobs are done elsewhere. Whoever has them done (the driver with its executor, or Ray Tune) asks here what may run now,
and tells what came of it. Only this tells the proposer, and only it writes the trials.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial

from ..errors import StorageError
from ..evaluators.timing.breathing import Slices
from ..spaces.space import Space
from .deaths import Deaths
from .evaluate.job import Job, JobResult
from .evaluate.warm_start import WarmStarts
from .failures import check_failures, to_try_again
from .job_log import JobLog
from .knowledge import Knowledge
from .next_job import Assignment, NextJob, with_result
from .pace import Pace, Snapshot
from .peers import Peers
from .promotion import Promotion
from .propose.proposal import Proposal
from .propose.proposer import Proposer
from .shape_choice import ShapeChoice
from .store.patience import WaitEnded
from .store.trials import TrialStore
from .time_left import TimeLeft
from .trial import Trial, TrialState
from .values import valued
from .waiting import WaitingRoom


class Decisions:
    """Decides for one study, whoever does its jobs.

    Attributes:
        trials: All trials that ended, in the order they did.
        running: Trial number -> the job that is done for it now. One trial has one job at a time.
        room: The students that wait at their rungs.
        exhausted: Whether nothing new can be proposed.
        seconds: Spent in the jobs of this run, by kind of work.
    """

    def __init__(
        self,
        space: Space,
        store: TrialStore,
        proposer: Proposer,
        promotion: Promotion,
        executor: object,
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
            promotion: How students go from rung to rung, and the limits that they must meet.
            executor: Does the jobs; asked where it does them, see `deaths.Deaths`.
            seed: Of the search, noted with each trial.
            warm_starts: The students that others may start from; None lets all start from the teacher.
            learn_from_gated: Whether samplers learn by how much a plan missed the budget.
            pace: When the run ends.
            slices: Makes what proposing runs under, so that latencies are measured in peace.
        """
        self._space, self._store, self._proposer = space, store, proposer
        self._promotion, self._limits, self._seed = promotion, promotion.limits, seed
        self._pace, self._slices = pace or Pace(), slices
        self.trials = store.ended()
        self._known = len(self.trials)
        self._knowledge = Knowledge(self.trials, proposer, promotion, learn_from_gated)
        self._deaths = Deaths(executor, store)
        self._next = NextJob(store.folder, promotion, self._knowledge.trainings, warm_starts)
        self._shapes = ShapeChoice(space, promotion.limits, proposer.choose, store.take_plan)
        self._log = JobLog(len(promotion.rungs))
        self.running: dict[int, Assignment] = {}
        self._proposals: dict[int, Proposal] = {}
        interrupted = store.interrupted()
        waiting = [t for t in interrupted if t.state is TrialState.WAITING]
        self.room = WaitingRoom(promotion, waiting)
        self._peers = Peers(store, self._knowledge, proposer, self.room)
        self._left = TimeLeft(self._pace, self.room, proposer)
        again = to_try_again(self.trials)
        told = [trial for trial in self.trials if trial.number not in again]
        # what a tighter budget of an earlier run stopped may be proposed again, too
        missed, gated = self._limits.surely_missed, TrialState.GATED
        tried = [t for t in told if t.state is not gated or missed(t.gate, t.gate_bytes)]
        proposer.know([*tried, *waiting], [t for t in interrupted if t.state is not TrialState.WAITING])
        for trial in (*told, *waiting):
            self._knowledge.remember(trial)
        self._started, self._over, self.exhausted, self.seconds = 0, False, False, self._log.seconds
        self._run_s = self._pace.clock_s()
        earlier_s = max((t.ended_s or 0.0 for t in self.trials), default=0.0)
        self._start_s = (self._run_s if self._pace.since_s is None else self._pace.since_s) - earlier_s

    @property
    def opening(self) -> bool:
        """Whether what every study begins with is still under way."""
        running = (trial for trial in self._running_trials if not trial.technique)
        return self._proposer.opening or any(trial.to_its_end for trial in running)

    @property
    def searched_s(self) -> float:
        """Seconds of searching, over all runs of the study."""
        return self._pace.clock_s() - self._start_s

    @property
    def unfinished(self) -> tuple[Trial, ...]:
        """The trials that run, and those that wait at a rung, be it at other drivers of the study."""
        return *self._running_trials, *self.room, *self._peers.running

    def meet(self) -> None:
        """Look at what other drivers of the study do, and take up what they left; see `peers.Peers.meet`."""
        if self._peers.meet():
            self.exhausted = False

    def hear(self) -> None:
        """Take in what other drivers of the study have ended since."""
        self._peers.hear()

    def snapshot(self) -> Snapshot:
        """Return how the search stands."""
        new, elapsed_s = len(self.trials) - self._known, self._pace.clock_s() - self._run_s
        doing = [self._log.words(trial, job) for trial, job in self.running.values()]
        return Snapshot(self.trials, new, doing, elapsed_s, len(self.room), self._limits)

    def begin(self, new: bool = True, able: Callable[[Trial], bool] = lambda trial: True) -> Assignment | None:
        """Return what may run now, beside what runs: a student that waits comes first, if it should go on.

        Args:
            new: Whether a new trial may begin.
            able: Tells whether a waiting student can go on now.

        Returns:
            The assignment; None where nothing may run now.

        Raises:
            AutoCompressError: What ends a study.
        """
        while not self._over:
            if (trial := self._left.next_waiting(self.trials, self._running_trials, self.exhausted)) is not None:
                if not able(trial):
                    self.room.enter(trial)
                    return None
                assigned = self._assigned(trial.moved(TrialState.RUNNING), self._next.on_rungs(trial))
            elif not new or self.exhausted or self._pace.enough(self._started):
                return None
            else:
                late = self._left.too_late(self.trials)
                with self._slices():
                    proposal = self._left.last_proposal(self.trials) if late else self._proposer.propose()
                if proposal is None and late:
                    return None
                if proposal is None:
                    self.exhausted = True
                    continue  # students that wait may use the time now
                assigned = self._first(proposal)
            if assigned is not None:
                return assigned
        return None

    def came(self, number: int, result: JobResult) -> Assignment | None:
        """Take in what a job found.

        Args:
            number: Of the trial.
            result: Of the job that `running` has for it.

        Returns:
            The job that follows; None where the trial waits at a rung, has ended, or is left to the next run.

        Raises:
            AutoCompressError: Many trials in a row failed, or the disk cannot be written.
        """
        trial, job = self.running.pop(number)
        self._log.ended(trial, job, result)
        trial = trial.spent(result.seconds)
        if result.stopped:
            self._deaths.keep(trial)  # the next run goes on from this rung
            return None
        trial = with_result(trial, job, result)
        if job.step == "gate":
            if not result.failure:
                self._proposer.measured(trial)
            before = trial.plan
            trial, further = self._shapes.measured(trial, bool(result.failure))
            if further:
                return self._assigned(trial, Job(trial.number, trial.spec, "gate"))
            if trial.plan != before:
                self._store.begin(trial)  # the next run goes on with what was chosen
        if result.failure and not (job.step == "gate" and trial.gate):
            self._end(replace(trial.moved(TrialState.FAILED), reason=result.failure))
        elif job.step == "gate":
            return self._after_gate(trial)
        elif job.step == "build":
            self._end(trial.moved(TrialState.FINISHED))
        else:
            return self._reached(trial)
        return None

    def broke_off(self, number: int, error: Exception) -> Assignment | None:
        """Take in that a job did not come to its end.

        Args:
            number: Of the trial.
            error: What is known of it; see `executors.base.Executor`.

        Returns:
            The same job, to be done once more; None where the trial is given up, or is left to the next run.

        Raises:
            AutoCompressError: Many trials in a row failed, or the disk cannot be written.
        """
        trial, job = self.running.pop(number)
        self._log.lost(trial, job, error)
        return self._assigned(self._deaths.again(trial, job, error), job, error)

    def leave(self) -> None:
        """Have nothing more begin or follow: the next run goes on with what is not ended then."""
        self._over = True

    def set_aside(self, number: int) -> None:
        """Leave a trial to the next run. A disk that is full costs what was not written yet."""
        if (assigned := self.running.pop(number, None)) is not None:
            with suppress(StorageError):
                self._deaths.keep(assigned.trial)

    @property
    def _running_trials(self) -> list[Trial]:
        return [trial for trial, _ in self.running.values()]

    def _first(self, proposal: Proposal) -> Assignment | None:
        # a plan of an earlier run may stand for another one in the space of today
        plan, spec = self._space.repair(proposal.plan), self._space.spec(proposal.plan)
        make = partial(proposal.trial, plan=plan, spec=spec, seed=self._seed)
        try:
            trial = self._store.claim(make) if proposal.number is None else make(proposal.number)
        except WaitEnded:
            self.leave()  # nothing else can begin either
            return None
        if trial is None:
            return None  # another driver tries it
        if proposal.number is not None:
            self._store.begin(trial)
        self._started += 1
        self._proposals[trial.number] = proposal
        self._shapes.open(trial, proposal.others)
        return self._assigned(trial, Job(trial.number, spec, "gate"))

    def _assigned(self, trial: Trial, job: Job, why: object = None) -> Assignment | None:
        if self._over:
            self._deaths.keep(trial)  # the next run does it
            return None
        if reason := self._deaths.given_up(trial, job, len(self._promotion.rungs), why):
            self._end(replace(trial.moved(TrialState.FAILED), reason=reason))
            return None
        job = self._deaths.sent(trial, replace(job, seed=trial.seed, apart=False))
        self._log.sent(trial, job)
        self.running[trial.number] = Assignment(trial, job)
        return self.running[trial.number]

    def _after_gate(self, trial: Trial) -> Assignment | None:
        # what a user would do by hand is never stopped: it shows what the search is worth
        missed = "" if trial.by_hand else self._limits.surely_missed(trial.gate, trial.gate_bytes)
        if missed:
            self._end(replace(trial.moved(TrialState.GATED), reason=missed))
        elif lost := self._next.lost(trial, self.trials):
            self._end(replace(trial.moved(TrialState.FAILED), reason=lost))
        else:
            return self._assigned(*self._next.after_gate(trial, self.trials))
        return None

    def _reached(self, trial: Trial) -> Assignment | None:
        """Let a student that has reached a rung wait there until it is its turn, or go on at once."""
        waiting = trial.moved(TrialState.WAITING)
        self._store.begin(waiting)
        if trial.to_its_end or not self._promotion.halves:
            return self._assigned(trial, self._next.on_rungs(trial))
        if waiting.rungs:
            self._knowledge.learn(waiting, self._proposals.get(waiting.number))
        self.room.enter(waiting)
        return None

    def _end(self, trial: Trial) -> None:
        trial, values = valued(replace(trial, ended_s=self.searched_s), self._promotion.objectives)
        self._store.end(trial, values, self._space)
        self._knowledge.add(trial, self._proposals.get(trial.number))
        check_failures(self.trials[self._known :])
