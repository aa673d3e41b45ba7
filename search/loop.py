"""The driver: asks for plans, sends their jobs to an executor, and writes what came of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import MeasurementError
from .evaluate.evaluation import Job, JobResult
from .evaluate.warm_start import Kin
from .executors.base import Executor
from .feasibility import Rules
from .objectives import costs_of, worth
from .propose.proposer import Proposal, Proposer, Worth
from .store.trials import Storage
from .trial import Trial
from .waiting import WaitingRoom

POLL_S = 0.2
MANY_FAILURES = 8
"""So many failed trials in a row are not bad luck of single plans."""


@dataclass(frozen=True)
class Snapshot:
    """What a progress display shows. trials: that ended, the last `new` of them in this run. running: what each job
    is doing. waiting: students that wait at a rung."""

    trials: Sequence[Trial]
    new: int
    running: Sequence[str]
    elapsed_s: float
    waiting: int = 0


class Driver:
    """Runs one study. Only this class tells the proposer, and only it writes the storage.

    time_left_s: until the search has to end, None where it need not. clock_s: of the time that is spent. since_s: when,
    on that clock, this run of the study began; now if None. seconds: spent in this run's jobs, by kind of work."""

    def __init__(
        self,
        storage: Storage,
        proposer: Proposer,
        executor: Executor,
        rules: Rules,
        seed: int,
        kin: Kin | None = None,
        time_left_s: Callable[[], float | None] = lambda: None,
        clock_s: Callable[[], float] = time.monotonic,
        since_s: float | None = None,
    ) -> None:
        self._storage, self._proposer, self._kin = storage, proposer, kin
        self._executor, self._rules, self._seed = executor, rules, seed
        self._time_left_s, self._clock_s = time_left_s, clock_s
        self._trials = storage.ended()
        self._known = len(self._trials)
        self._active: dict[Future[JobResult], tuple[Trial, Job]] = {}
        self._proposals: dict[int, Proposal] = {}
        interrupted = storage.interrupted()
        waiting = [t for t in interrupted if t.outcome == "waiting"]
        self._room = WaitingRoom(rules, waiting)
        proposer.know([*self._trials, *waiting], [t for t in interrupted if t.outcome != "waiting"])
        for trial in (*self._trials, *waiting):
            self._learn(trial)
        numbers = [t.number for t in (*self._trials, *interrupted)]
        self._next_number = max(numbers, default=0) + 1
        self._started = 0
        self.seconds: dict[str, float] = {}
        self._run_s = clock_s()
        earlier_s = max((t.ended_s or 0.0 for t in self._trials), default=0.0)
        self._start_s = (self._run_s if since_s is None else since_s) - earlier_s

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
        return self._clock_s() - self._start_s

    @property
    def waiting(self) -> int:
        """How many students wait at a rung."""
        return len(self._room)

    def run(self, should_stop: Callable[[], bool], watch: Callable[[Snapshot], None]) -> bool:
        """Until `should_stop()`, the number of trials is reached, or nothing new can be proposed.

        Returns whether the space was exhausted. Errors that end a study are raised once running jobs were dropped.
        """
        exhausted = False
        while True:
            while len(self._active) < self._executor.slots and not should_stop():
                if self._go_on(exhausted):
                    continue
                if exhausted or self._enough() or self._too_late():
                    break
                proposal = self._proposer.propose(self._points())
                if proposal is None:
                    exhausted = True
                    break
                self._begin(proposal)
            if not self._active or should_stop():
                return exhausted
            watch(self._snapshot())
            self._executor.run_pending()
            done, _ = wait(self._active, POLL_S, FIRST_COMPLETED)
            for future in done:
                self._advance(future)
            watch(self._snapshot())

    def _snapshot(self) -> Snapshot:
        new = len(self._trials) - self._known
        elapsed_s = self._clock_s() - self._run_s
        return Snapshot(self._trials, new, self._doing(), elapsed_s, len(self._room))

    def _enough(self) -> bool:
        return self._rules.max_trials is not None and self._started >= self._rules.max_trials

    def _too_late(self) -> bool:
        """Whether a new student could not come to its end in the time that is left."""
        left_s = self._time_left_s()
        return (
            left_s is not None and not self._proposer.opening and left_s < self._room.seconds_of_a_trial(self._trials)
        )

    def _go_on(self, exhausted: bool) -> bool:
        """Let a waiting student go on, if one should. After a number of trials that was asked for, only those go on
        that stand among the best; where nothing new can be drawn, or comes too late, the time is everyone's."""
        running = [t for t, _ in self._active.values()]
        left_s = self._time_left_s() if self._too_late() else None
        if exhausted:
            left_s = math.inf if (known_s := self._time_left_s()) is None else known_s
        trial = self._room.next(self._trials, running, left_s)
        if trial is None:
            return False
        level = len(trial.rungs)
        job = Job(trial.number, trial.plan, "rung", level, trial.heritage)
        if level == len(self._rules.rungs):
            job = replace(job, step="build", rung=0)
        self._submit(replace(trial, outcome="running"), job)
        return True

    def _begin(self, proposal: Proposal) -> None:
        number = proposal.number
        if number is None:
            number, self._next_number = self._next_number, self._next_number + 1
        trial = Trial(number, proposal.plan, proposal.origin, latent=proposal.latent, seed=self._seed)
        self._storage.begin(trial)
        self._started += 1
        self._proposals[number] = proposal
        self._submit(trial, Job(number, trial.plan, "gate"))

    def _submit(self, trial: Trial, job: Job) -> None:
        self._active[self._executor.submit(job)] = (trial, job)

    def _advance(self, future: Future[JobResult]) -> None:
        trial, job = self._active.pop(future)
        try:
            result = future.result()
        except BrokenExecutor as error:
            raise MeasurementError(
                f"a worker died in trial {trial.number} (out of memory?); lower --workers and run the same command "
                "again: finished trials are kept"
            ) from error
        trial = trial.spent(result.seconds)
        for kind, value in result.seconds.items():
            self.seconds[kind] = self.seconds.get(kind, 0.0) + value
        if result.stopped:
            if trial.first_look is not None or trial.rungs:
                self._storage.begin(replace(trial, outcome="waiting"))  # the next run goes on from this rung
            return
        if result.failure:
            self._end(replace(trial, outcome="failed", reason=result.failure))
        elif result.latencies:
            self._after_gate(trial, result)
        elif job.step == "look":
            heritage = job.heritage if result.inherits else None
            self._wait(replace(trial, first_look=result.accuracy, heritage=heritage))
        elif result.accuracy is not None:
            self._wait(replace(trial, rungs=(*trial.rungs, result.accuracy)))
        else:
            self._end(replace(trial, outcome="finished", measurement=result.measurement))

    def _after_gate(self, trial: Trial, result: JobResult) -> None:
        (name, gate), *others = result.latencies.items()
        trial = replace(trial, gate=gate, gate_bytes=result.size_bytes, gate_elsewhere=dict(others))
        self._proposer.measured(trial.plan, {name: gate.p50_ms, **{n: x.p50_ms for n, x in others}})
        if reason := self._rules.over(trial, result.latencies):
            self._end(replace(trial, outcome="gated", reason=reason))
        elif trial.plan.recovery is None:
            self._submit(trial, Job(trial.number, trial.plan, "build"))
        elif twin := self._twin(trial):
            job = Job(trial.number, trial.plan, "build", heritage=twin.heritage)
            self._submit(replace(trial, heritage=twin.heritage), job)
        else:
            heritage = self._kin.nearest(trial.plan, self._trials) if self._kin and not trial.baseline else None
            # a look compares students that may be left waiting, and two starts of one
            compared = self._rules.first_looks and not trial.anchor
            step: Literal["look", "rung"] = "look" if compared or heritage else "rung"
            self._submit(trial, Job(trial.number, trial.plan, step, heritage=heritage))

    def _twin(self, trial: Trial) -> Trial | None:
        """A trial whose student was taught in the very same way, and only has other bits: its training is this one's
        too. What a user would do by hand owes nothing to the search."""
        key = trial.plan.training_key()
        for other in self._trials:
            taught = other.finished and other.plan.recovery is not None and other.plan.training_key() == key
            if taught and (other.heritage is None or not trial.baseline):
                return other
        return None

    def _wait(self, trial: Trial) -> None:
        """A student has reached a rung: it waits there until it is its turn, or goes on at once."""
        self._storage.begin(replace(trial, outcome="waiting"))
        if trial.anchor or not self._rules.halves:
            level = len(trial.rungs)
            last = level == len(self._rules.rungs)
            job = Job(trial.number, trial.plan, "build" if last else "rung", 0 if last else level, trial.heritage)
            self._submit(trial, job)
            return
        trial = replace(trial, outcome="waiting")
        if trial.rungs:
            self._learn(trial)
        self._room.enter(trial)

    def _end(self, trial: Trial) -> None:
        trial = replace(trial, ended_s=self.searched_s)
        values = None
        if trial.measurement is not None:
            values = [worth(o, trial.measurement) for o in self._rules.objectives]
        self._storage.end(trial, values, self._proposer.latent)
        self._trials.append(trial)
        self._learn(trial)
        last = self._trials[-MANY_FAILURES:]
        if len(last) == MANY_FAILURES and all(t.outcome == "failed" for t in last):
            raise MeasurementError(f"the last {MANY_FAILURES} trials failed, the latest because {trial.reason}")

    def _learn(self, trial: Trial) -> None:
        """Tell the proposer. What waits or was stopped counts with what may become of it; what failed is forgotten."""
        told = trial.outcome == "gated" and self._rules.learn_from_gated
        violation = self._rules.violation(trial) if told else None
        proposal = self._proposals.get(trial.number)
        self._proposer.learn(trial, self._rules.costs(trial, self._trials), violation, proposal)

    def _points(self) -> list[Worth]:
        points = []
        for trial in self._trials:
            if trial.measurement is not None:
                found = costs_of(self._rules.objectives, trial.measurement)
                excess = self._rules.excess(trial)
                points.append(Worth(trial, tuple(found), (excess or 0.0) <= 0, self._rules.interest(trial)))
        return points

    def _doing(self) -> list[str]:
        words = {
            "gate": "measuring its shape",
            "look": "looking at it untrained",
            "build": "building and measuring its file",
            "rung": "training, rung ",
        }
        doing = []
        for trial, job in self._active.values():
            rung = f"{job.rung + 1} of {len(self._rules.rungs)}" if job.step == "rung" else ""
            doing.append(f"trial {trial.number} ({trial.origin}): {words[job.step]}{rung}")
        return doing
