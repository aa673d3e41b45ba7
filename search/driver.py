"""The driver: asks for plans, sends their jobs to an executor, and writes what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, replace

from ..errors import MeasurementError
from ..evaluators.measurement import Latency
from ..spaces.axis import Parameter
from ..studies.schema import BudgetSection
from .evaluate import Job, JobResult
from .executors.base import Executor
from .objectives import costs_of, gate_latency, is_latency, worth
from .proposer import Proposal, Proposer, Worth
from .record import Trial
from .rungs import Standing, is_overtaken
from .sampler import Sampler
from .storage import Storage

POLL_S = 0.2
MANY_FAILURES = 8
"""So many failed trials in a row are not bad luck of single plans."""


@dataclass(frozen=True)
class Rules:
    """When a trial ends early, and when the search does. targets: names, the first one first. budgets: latency (ms) by
    target. objectives: see `objectives`. rungs: of a full recovery. examples: validation images looked at after a
    rung. max_trials: in this run."""

    budget: BudgetSection
    targets: tuple[str, ...]
    budgets: Mapping[str, float]
    objectives: tuple[str, ...]
    rungs: int
    examples: int
    learn_from_gated: bool
    max_trials: int | None


@dataclass(frozen=True)
class Snapshot:
    """What a progress display shows. trials: that ended, the last `new` of them in this run. running: what each job
    is doing."""

    trials: Sequence[Trial]
    new: int
    running: Sequence[str]
    elapsed_s: float


class Driver:
    """Runs one study. Only this class tells the sampler, and only it writes the storage."""

    def __init__(
        self,
        storage: Storage,
        proposer: Proposer,
        sampler: Sampler,
        executor: Executor,
        latent: dict[str, Parameter],
        rules: Rules,
        seed: int,
    ) -> None:
        self._storage, self._proposer, self._sampler = storage, proposer, sampler
        self._executor, self._latent, self._rules, self._seed = executor, latent, rules, seed
        self._trials = storage.ended()
        self._known = len(self._trials)
        self._active: dict[Future[JobResult], tuple[Trial, Job, int | None]] = {}
        interrupted = storage.interrupted()
        proposer.know(self._trials, interrupted)
        for trial in self._trials:
            self._learn(trial, None)
        numbers = [t.number for t in (*self._trials, *interrupted)]
        self._next_number = max(numbers, default=0) + 1
        self._started = 0
        self._start_s = time.monotonic()

    @property
    def trials(self) -> list[Trial]:
        """All trials that ended."""
        return self._trials

    def run(self, should_stop: Callable[[], bool], watch: Callable[[Snapshot], None]) -> bool:
        """Until `should_stop()`, the number of trials is reached, or nothing new can be proposed.

        Returns whether the space was exhausted. Errors that end a study are raised once running jobs were dropped.
        """
        exhausted = False
        while True:
            stopping = should_stop() or exhausted or self._enough()
            while not stopping and len(self._active) < self._executor.slots:
                proposal = self._proposer.propose(self._points())
                if proposal is None:
                    exhausted = True
                    break
                self._begin(proposal)
                stopping = self._enough()
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
        return Snapshot(self._trials, new, self._doing(), time.monotonic() - self._start_s)

    def _enough(self) -> bool:
        return self._rules.max_trials is not None and self._started >= self._rules.max_trials

    def _begin(self, proposal: Proposal) -> None:
        number = proposal.number
        if number is None:
            number, self._next_number = self._next_number, self._next_number + 1
        trial = Trial(number, proposal.plan, proposal.origin, latent=proposal.latent, seed=self._seed)
        self._storage.begin(trial)
        self._started += 1
        self._submit(trial, Job(number, trial.plan, "gate"), proposal.ticket)

    def _submit(self, trial: Trial, job: Job, ticket: int | None) -> None:
        self._active[self._executor.submit(job)] = (trial, job, ticket)

    def _advance(self, future: Future[JobResult]) -> None:
        trial, job, ticket = self._active.pop(future)
        try:
            result = future.result()
        except BrokenExecutor as error:
            raise MeasurementError(
                f"a worker died in trial {trial.number} (out of memory?); lower --workers and run the same command "
                "again: finished trials are kept"
            ) from error
        trial = trial.spent(result.seconds)
        if result.stopped:
            return
        if result.failure:
            self._end(replace(trial, outcome="failed", reason=result.failure), ticket)
        elif result.latencies:
            (_, gate), *others = result.latencies.items()
            trial = replace(trial, gate=gate, gate_bytes=result.size_bytes, gate_elsewhere=dict(others))
            if reason := self._over(trial, result.latencies):
                self._end(replace(trial, outcome="gated", reason=reason), ticket)
            else:
                first = Job(trial.number, trial.plan, "build" if trial.plan.recovery is None else "rung")
                self._submit(trial, first, ticket)
        elif result.accuracy is not None:
            self._after_rung(replace(trial, rungs=(*trial.rungs, result.accuracy)), job, ticket)
        else:
            self._end(replace(trial, outcome="finished", measurement=result.measurement), ticket)

    def _after_rung(self, trial: Trial, job: Job, ticket: int | None) -> None:
        if job.rung + 1 == self._rules.rungs:
            self._submit(trial, Job(trial.number, trial.plan, "build"), ticket)
            return
        own = self._standing(trial, job.rung)
        ended = [t for t in self._trials if len(t.rungs) > job.rung]
        running = [t for t, _, _ in self._active.values() if len(t.rungs) > job.rung]
        others = [self._standing(t, job.rung) for t in (*ended, *running)]
        # a compressed size is known at the end only: nobody is stopped for what it may yet gain there
        comparable = "compressed_bytes" not in self._rules.objectives and "accuracy" in self._rules.objectives
        if comparable and not trial.baseline and is_overtaken(own, others, self._rules.examples):
            reason = f"overtaken after rung {job.rung + 1} of {self._rules.rungs}"
            self._end(replace(trial, outcome="stopped", reason=reason), ticket)
        else:
            self._submit(trial, Job(trial.number, trial.plan, "rung", job.rung + 1), ticket)

    def _standing(self, trial: Trial, rung: int) -> Standing:
        costs = {o: gate_latency(o, trial).p50_ms for o in self._rules.objectives if is_latency(o)}
        costs["size_bytes"] = float(trial.gate_bytes)
        return Standing(trial.rungs[rung], tuple(costs[o] for o in self._rules.objectives if o in costs))

    def _over(self, trial: Trial, latencies: Mapping[str, Latency]) -> str:
        """Why the plan cannot meet the study's limits, empty if it may. The lower end of the interval counts here:
        only the longer measurement at the end decides about plans close to the budget. What a user would do by hand
        is never stopped: it shows what the search is worth."""
        if trial.baseline:
            return ""
        for name, latency in latencies.items():
            limit = self._rules.budgets.get(name)
            tail = latency.at(self._rules.budget.percentile) * latency.low_ms / latency.high_ms
            if limit is not None and tail > limit:
                where = f" on {name}" if len(self._rules.targets) > 1 else ""
                return f"{tail:.3g} ms or more{where}, over the budget of {limit:g} ms"
        max_mb = self._rules.budget.max_mb
        if max_mb is not None and trial.gate_bytes > max_mb * 1e6:
            return f"{trial.gate_bytes / 1e6:.3g} MB, over the limit of {max_mb:g} MB"
        return ""

    def _end(self, trial: Trial, ticket: int | None) -> None:
        values = None
        if trial.measurement is not None:
            values = [worth(o, trial.measurement) for o in self._rules.objectives]
        self._storage.end(trial, values, self._latent)
        self._trials.append(trial)
        self._learn(trial, ticket)
        last = self._trials[-MANY_FAILURES:]
        if len(last) == MANY_FAILURES and all(t.outcome == "failed" for t in last):
            raise MeasurementError(f"the last {MANY_FAILURES} trials failed, the latest because {trial.reason}")

    def _learn(self, trial: Trial, ticket: int | None) -> None:
        """Tell the sampler. What was stopped counts with its accuracy so far; what failed is forgotten."""
        costs = self._costs(trial)
        if ticket is not None:
            over = self._excess(trial)
            if trial.outcome == "gated" and self._rules.learn_from_gated and over is not None:
                self._sampler.reject(ticket, over)
            elif costs is None:
                self._sampler.reject(ticket)
            else:
                self._sampler.tell(ticket, costs)
        elif costs is not None and trial.latent is not None:
            self._sampler.add(trial.latent, costs)

    def _gates(self, trial: Trial) -> dict[str, Latency]:
        """Latency of a trial's shape by target."""
        if trial.gate is None:
            return {}
        return {trial.plan.target or self._rules.targets[0]: trial.gate, **trial.gate_elsewhere}

    def _excess(self, trial: Trial) -> float | None:
        """The largest of measured / limit - 1 over the targets with a budget."""
        limits = self._rules.budgets
        found = [latency.p50_ms / limits[name] - 1 for name, latency in self._gates(trial).items() if name in limits]
        return max(found, default=None)

    def _costs(self, trial: Trial) -> list[float] | None:
        if trial.measurement is not None:
            return costs_of(self._rules.objectives, trial.measurement)
        if trial.outcome == "stopped" and all(o == "accuracy" or is_latency(o) for o in self._rules.objectives):
            known = {o: gate_latency(o, trial).p50_ms for o in self._rules.objectives if is_latency(o)}
            return [-trial.rungs[-1] if o == "accuracy" else known[o] for o in self._rules.objectives]
        return None

    def _points(self) -> list[Worth]:
        points = []
        for trial in self._trials:
            if trial.measurement is not None:
                found = costs_of(self._rules.objectives, trial.measurement)
                points.append(Worth(trial, tuple(found), (self._excess(trial) or 0.0) <= 0))
        return points

    def _doing(self) -> list[str]:
        words = {"gate": "measuring its shape", "build": "building and measuring its file", "rung": "training, rung "}
        doing = []
        for trial, job, _ in self._active.values():
            rung = f"{job.rung + 1} of {self._rules.rungs}" if job.step == "rung" else ""
            doing.append(f"trial {trial.number} ({trial.origin}): {words[job.step]}{rung}")
        return doing
