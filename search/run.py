"""One search, from settings to front."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ..compression.first_look import LOOK_IMAGES as FIRST_LOOK_IMAGES
from ..spaces.surrogates import Guide
from ..studies.study_file import StudyFile
from ..studies.task import Task
from .evaluate.context import LOOK_IMAGES
from .evaluate.warm_start import Kin
from .executors.base import Executor, Workplace
from .executors.registry import make_executor
from .feasibility import Rules
from .loop import Driver, Snapshot
from .objectives import objectives_of
from .prepare.latency_samples import tail_ratio
from .prepare.surrogates import guided
from .propose.strategy import make_proposer
from .report.confirm import confirm, seconds_needed
from .report.front import Front
from .stopping import Outlook, Patience
from .store.study import OpenStudy, opened, read_front

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
    """The front, and where the wall time went. wall_s: in all. search_s: of the search itself, of which `seconds` were
    spent in jobs of this run, by kind of work. waiting: students that wait at a rung. outlook: what a further hour may
    bring. done: the study's patience was at its end."""

    front: Front
    wall_s: float
    search_s: float
    seconds: dict[str, float]
    exhausted: bool
    interrupted: bool
    waiting: int = 0
    outlook: Outlook | None = None
    done: bool = False


def run_search(
    settings: StudyFile,
    task: Task | None = None,
    runs: Path = Path("runs"),
    fresh: bool = False,
    watcher: Watcher | None = None,
    stop: Stop | None = None,
) -> Outcome:
    """Search until the study's stop condition, or until `stop` is asked for; then confirm the front.

    The minutes of the study count from when it is open, and hold the time for what is learned before the first trial
    and for confirming the front.
    """
    watcher = watcher or Silent()
    stop = stop or Stop()
    begin_s = time.monotonic()
    with opened(settings, task, runs, fresh, stop, watcher.say) as study:
        loop_s = time.monotonic()
        minutes = settings.search.minutes
        end_s = None if minutes is None else loop_s + 60 * minutes
        stop.deadline_s = None if end_s is None else end_s - MIN_RESERVE_S
        left_s = None if stop.deadline_s is None else stop.deadline_s - loop_s
        bench, guide = guided(study.bench, settings, watcher.say, left_s)
        study = replace(study, bench=bench)
        executor = make_executor(
            settings.search.executor, Workplace(bench, settings, study.folder), settings.search.workers
        )
        rules = _rules(study)
        driver = _driver(study, executor, rules, guide, stop, loop_s)
        known = read_front(study.folder)
        judged = -1
        patience = Patience(rules, settings.search.patience, driver.searched_s)

        def watch(snapshot: Snapshot) -> None:
            nonlocal judged
            # several times a second, beside a training: nothing costly but when a trial has ended
            if len(snapshot.trials) != judged:
                judged = len(snapshot.trials)
                if end_s is not None:
                    front = replace(known, trials=tuple(snapshot.trials))
                    needed_s = seconds_needed(front, len(bench.task.test), bench.target.batch)
                    stop.deadline_s = end_s - max(MIN_RESERVE_S, needed_s)
                patience.look(snapshot.trials, driver.searched_s, driver.opening)
            watcher.show(snapshot, None if stop.deadline_s is None else stop.deadline_s - time.monotonic())

        def should_stop() -> bool:
            return stop() or patience.is_over(driver.searched_s)

        try:
            exhausted = driver.run(should_stop, watch)
        finally:
            executor.close()
        done = not stop() and patience.is_over(driver.searched_s)
        search_s = time.monotonic() - loop_s
        front = confirm(bench, replace(known, trials=tuple(driver.trials)), watcher.say)
        wall_s = time.monotonic() - begin_s
        asked, waiting = stop.asked.is_set(), driver.waiting
        return Outcome(front, wall_s, search_s, driver.seconds, exhausted, asked, waiting, patience.outlook, done)


def _rules(study: OpenStudy) -> Rules:
    settings, bench = study.settings, study.bench
    without = settings.search.without
    return Rules(
        budget=settings.budget,
        targets=tuple(station.name for station in bench.stations),
        budgets=settings.budgets(),
        objectives=objectives_of(settings),
        rungs=settings.recovery.rungs,
        examples=min(LOOK_IMAGES, len(bench.task.validation)),
        look_examples=min(FIRST_LOOK_IMAGES, len(bench.task.validation)),
        file_examples=len(bench.task.validation),
        learn_from_gated=settings.search.infeasible == "constraint",
        max_trials=settings.search.trials,
        eta=1 if "rungs" in without else settings.search.eta,
        first_looks="first_look" not in without,
        inherits="inheritance" not in without,
    )


def _driver(study: OpenStudy, executor: Executor, rules: Rules, guide: Guide, stop: Stop, since_s: float) -> Driver:
    settings, bench = study.settings, study.bench
    # models predict medians: a budget on a tail leaves less room than its milliseconds say
    usual = {s.name: tail_ratio(s, settings.budget.percentile) for s in bench.stations}
    budgets = {name: ms / usual[name] for name, ms in rules.budgets.items()}
    proposer = make_proposer(bench.space, settings.search, len(rules.objectives), guide, rules.targets, budgets)
    kin = Kin(study.folder, bench.space.ground.groups, len(rules.rungs)) if rules.inherits else None

    def time_left_s() -> float | None:
        return None if stop.deadline_s is None else stop.deadline_s - time.monotonic()

    return Driver(study.storage, proposer, executor, rules, settings.search.seed, kin, time_left_s, since_s=since_s)
