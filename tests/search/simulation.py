"""A search whose jobs take no time: each has a price in seconds, which a simulated clock adds up."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from synthetic_spaces import chain, surrogates_over

from autocompress.evaluators.measurement import Latency, Measurement
from autocompress.search.decisions import Decisions
from autocompress.search.evaluate.job import Job, JobResult
from autocompress.search.feasibility import Limits
from autocompress.search.loop import Driver
from autocompress.search.pace import Pace
from autocompress.search.promotion import Promotion
from autocompress.search.propose.strategy import make_proposer
from autocompress.search.store.trials import TrialStore
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates
from autocompress.studies.schema import Part, SearchSection

TARGET = "here"
HOUR_S = 3600.0
RUNGS = (0.5, 1.0)
OBJECTIVES = ("accuracy", "latency_ms")
EXAMPLES = 5000


HELD = 1.02
"""Upper end of a simulated interval over its median."""


def latency(ms: float, wide: float = HELD) -> Latency:
    """A latency (ms) with an interval so wide to both sides."""
    return Latency(
        ms, ms / wide, ms * wide, ms * 1.2, ms * 1.3, ms * 1.5, ms, 1.0, 1.0, 1.0, 100, 10, 1, False, 1.0, 50.0
    )


@dataclass(frozen=True)
class Problem:
    """What is searched: layers of different importance, whose latency depends on each other."""

    space: Space
    surrogates: Surrogates
    budget_ms: float

    def ms(self, spec: StudentSpec) -> float:
        return self.surrogates.latency[TARGET].predict_ms(spec) * random.Random(spec.shape_key()).uniform(0.98, 1.02)

    def accuracy(self, spec: StudentSpec, part: float) -> float:
        """After this part of a training; narrow groups lose much and learn most of it back, bits lose little."""
        gone = 0.0
        for group in self.space.context.groups:
            weight = random.Random(group.name).uniform(0.2, 1.0)
            gone += weight * (1 - spec.channels.get(group.name, group.channels) / group.channels) ** 1.5
        few = sum(32 / bits for bits in spec.bits.values()) / 400
        taught = part if spec.recovery is not None else 0.0
        noise = random.Random(f"{spec.key()} {part}").gauss(0, 0.003)
        return min(1.0, max(0.0, 0.95 - few - gone * (0.12 - 0.1 * taught) + noise))


def make_problem(layers: int = 8, budget: float = 0.6) -> Problem:
    space = chain([32, 48] * (layers // 2) + [10])
    surrogates = surrogates_over(space, 0, TARGET)
    return Problem(space, surrogates, budget * surrogates.latency[TARGET].predict_ms(StudentSpec()))


@dataclass
class SimulatedExecutor:
    """Runs jobs one after the other; clock_s is the time that they would have taken so far."""

    problem: Problem
    train_s: float = 200.0
    slots: int = 1
    clock_s: float = 0.0
    jobs: list[Job] = field(default_factory=list)
    waiting: deque[tuple[Job, Future[JobResult]]] = field(default_factory=deque)

    def submit(self, job: Job) -> Future[JobResult]:
        future: Future[JobResult] = Future()
        self.waiting.append((job, future))
        return future

    def run_pending(self) -> None:
        if self.waiting:
            job, future = self.waiting.popleft()
            self.jobs.append(job)
            kind, price_s = {
                "gate": ("measuring", 1.0),
                "look": ("measuring", 2.0),
                "rung": ("training", self.train_s / len(RUNGS)),
                "build": ("building", 10.0),
            }[job.step]
            self.clock_s += price_s
            future.set_result(replace(self.result(job), seconds={kind: price_s}))

    def close(self) -> None:
        self.waiting.clear()

    def result(self, job: Job) -> JobResult:
        problem = self.problem
        measured = latency(problem.ms(job.spec))
        if job.step == "gate":
            return JobResult(latencies={TARGET: measured}, size_bytes=1000)
        if job.step == "look":
            return JobResult(accuracy=problem.accuracy(job.spec, 0.0))
        if job.step == "rung":
            return JobResult(accuracy=problem.accuracy(job.spec, RUNGS[job.rung]))
        file = Measurement(problem.accuracy(job.spec, 1.0), measured, 1000, 900, {"Conv": 3})
        return JobResult(measured={TARGET: file})


def make_driver(
    problem: Problem,
    executor: SimulatedExecutor,
    folder: Path,
    without: Sequence[Part] = (),
    time_left_s: Callable[[], float | None] = lambda: None,
    max_trials: int | None = None,
    baselines: Sequence[str] = ("default",),
    store: TrialStore | None = None,
    seed: int = 0,
) -> Driver:
    """The real driver, proposer and store over simulated jobs."""
    limits = Limits((TARGET,), problem.budget_ms)
    settings = SearchSection(without=tuple(without), baselines=tuple(baselines), seed=seed)
    # what is held against a budget is the upper end of an interval
    budgets = {TARGET: problem.budget_ms / HELD}
    proposer = make_proposer(problem.space, settings, OBJECTIVES, problem.surrogates, (TARGET,), budgets, limits)
    promotion = Promotion(
        limits,
        OBJECTIVES,
        RUNGS,
        EXAMPLES,
        EXAMPLES,
        eta=1 if "rungs" in without else 2,
        first_looks="first_look" not in without,
    )
    folder.mkdir(exist_ok=True)
    store = store or TrialStore(folder, "simulated", OBJECTIVES)
    pace = Pace(max_trials, time_left_s, clock_s=lambda: executor.clock_s)
    decisions = Decisions(problem.space, store, proposer, promotion, executor, seed, pace=pace)
    return Driver(executor, decisions)
