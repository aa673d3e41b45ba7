"""One search, from settings to front."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ..studies.study_file import StudyFile
from ..studies.task import Task
from .confirm import confirm, seconds_needed
from .driver import Driver, Rules, Snapshot
from .executors.base import Executor, Workplace
from .executors.registry import make_executor
from .front import Front
from .objectives import objectives_of
from .proposer import Proposer
from .sampler import Sampler
from .study import OpenStudy, opened, read_front
from .workbench import LOOK_IMAGES

MIN_RESERVE_S = 10.0


class Watcher(Protocol):
    """What shows a search to a user."""

    def say(self, line: str) -> None: ...

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None: ...


class Silent:
    """Shows nothing."""

    def say(self, line: str) -> None:
        pass

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        pass


@dataclass
class Stop:
    """Whether to end: asked for by the user, or out of time. Seen by threads."""

    asked: threading.Event = field(default_factory=threading.Event)
    deadline_s: float | None = None

    def __call__(self) -> bool:
        return self.asked.is_set() or (self.deadline_s is not None and time.monotonic() > self.deadline_s)


@dataclass(frozen=True)
class Outcome:
    """The front, and where the wall time went. wall_s: in all. search_s: of the driver's loop, of which training_s,
    measuring_s and building_s were spent in jobs of this run."""

    front: Front
    wall_s: float
    search_s: float
    seconds: dict[str, float]
    exhausted: bool
    interrupted: bool


def run_search(
    settings: StudyFile,
    task: Task | None = None,
    runs: Path = Path("runs"),
    fresh: bool = False,
    watcher: Watcher | None = None,
    stop: Stop | None = None,
) -> Outcome:
    """Search until the study's stop condition, or until `stop` is asked for; then confirm the front.

    The minutes of the study count from the first trial, and hold the time for confirming the front.
    """
    watcher = watcher or Silent()
    stop = stop or Stop()
    begin_s = time.monotonic()
    with opened(settings, task, runs, fresh, stop, watcher.say) as study:
        loop_s = time.monotonic()
        minutes = settings.search.minutes
        end_s = None if minutes is None else loop_s + 60 * minutes
        workplace = Workplace(study.bench, settings, study.folder)
        executor = make_executor(settings.search.executor, workplace, settings.search.workers)
        driver = _driver(study, executor)
        before = {t.number for t in driver.trials}
        known = read_front(study.folder)
        judged = -1

        def watch(snapshot: Snapshot) -> None:
            nonlocal judged
            # several times a second, beside a training: nothing costly but when a trial has ended
            if end_s is not None and len(snapshot.trials) != judged:
                judged = len(snapshot.trials)
                front = replace(known, trials=tuple(snapshot.trials))
                needed_s = seconds_needed(front, len(study.bench.task.test), study.bench.target.batch)
                stop.deadline_s = end_s - max(MIN_RESERVE_S, needed_s)
            watcher.show(snapshot, None if stop.deadline_s is None else stop.deadline_s - time.monotonic())

        stop.deadline_s = None if end_s is None else end_s - MIN_RESERVE_S
        try:
            exhausted = driver.run(stop, watch)
        finally:
            executor.close()
        search_s = time.monotonic() - loop_s
        seconds: dict[str, float] = {}
        for trial in driver.trials:
            for kind, value in trial.seconds.items() if trial.number not in before else ():
                seconds[kind] = seconds.get(kind, 0.0) + value
        front = confirm(study.bench, replace(known, trials=tuple(driver.trials)), watcher.say)
        return Outcome(front, time.monotonic() - begin_s, search_s, seconds, exhausted, stop.asked.is_set())


def _driver(study: OpenStudy, executor: Executor) -> Driver:
    settings, bench = study.settings, study.bench
    search, objectives = settings.search, objectives_of(settings)
    latent = bench.space.latent()
    sampler = Sampler(latent, len(objectives), search.seed, search.sampler)
    rules = Rules(
        budget=settings.budget,
        targets=tuple(station.name for station in bench.stations),
        budgets=settings.budgets(),
        objectives=objectives,
        rungs=len(settings.recovery.rungs),
        examples=min(LOOK_IMAGES, len(bench.task.validation)),
        learn_from_gated=search.infeasible == "constraint",
        max_trials=search.trials,
    )
    proposer = Proposer(bench.space, sampler, search.seed)
    return Driver(study.storage, proposer, sampler, executor, latent, rules, search.seed)
