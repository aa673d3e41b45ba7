"""One search, from settings to front."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from ..compression.recover import Stopped
from ..cores import usable_cores
from ..errors import ConditionsChanged, StorageError, UsageError
from ..evaluators.microbenchmarks import Say
from ..evaluators.timing.host import HERE
from ..studies.study_file import StudyFile
from ..studies.task import Task
from ..studies.teacher import TeacherStopped
from .assemble import driver_of, promotion_of
from .cleaning import CheckpointKeeper
from .evaluate.recalibration import keep_drift
from .executors.base import Executor, ExecutorContext
from .executors.registry import executor_factory
from .loop import Driver
from .pace import Snapshot, Stop
from .prepare.surrogates import prepare_surrogates
from .report.confirm import confirm, seconds_needed
from .report.front import Front
from .report.html.keep import ReportKeeper
from .report.profiles import profile_models
from .report.reading import read_front
from .signals import BrokenOff, let_come_to_its_end
from .stopping import Outlook, Patience
from .store.status import StatusKeeper
from .study import OpenStudy, opened, with_what_was_seen
from .told import changed as told_changed
from .told import nothing_tried, tell_forecast

MIN_RESERVE_S = 10.0
"""Seconds that are kept back for confirming the front, at least."""
RESERVE_SHARE = 0.15
"""Of the time of a search, what is kept back for confirming the front more precisely than it must be."""


class Watcher(Protocol):
    """Shows a search to a user."""

    def say(self, line: str) -> None:
        """Show one line about what is going on."""
        ...

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        """Show how the search stands; called several times a second."""
        ...


class Silent:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Drop the line."""

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        """Drop the snapshot."""


@dataclass(frozen=True)
class Outcome:
    """The front, and where the wall time went.

    Attributes:
        front: The front.
        wall_s: Seconds in all.
        search_s: Seconds of the search itself.
        seconds: Spent in jobs of this run, by kind of work.
        exhausted: Whether every plan that can be drawn was tried.
        interrupted: Whether the user asked for the end.
        waiting: Number of students that wait at a rung.
        outlook: How the front stands, and since when.
        done: Whether the study's patience was at its end.
        trouble: Why the search ended early by itself, in a line; empty where it did not.
    """

    front: Front
    wall_s: float
    search_s: float
    seconds: Mapping[str, float]
    exhausted: bool
    interrupted: bool
    waiting: int = 0
    outlook: Outlook | None = None
    done: bool = False
    trouble: str = ""


def run_search(
    settings: StudyFile,
    task: Task | None = None,
    runs: Path = Path("runs"),
    fresh: bool = False,
    watcher: Watcher | None = None,
    stop: Stop | None = None,
    dry_run: bool = False,
    anew: bool = False,
) -> Outcome:
    """Search until the study's stop condition, or until `stop` is asked for; then confirm the front.

    The minutes of the study are those of the whole: opening it, what is learned before the first trial, and confirming
    the front belong to them. What is being built or measured when they end is ended first.

    Args:
        settings: Of the study.
        task: The task, where it is made in Python.
        runs: Where studies lie.
        fresh: Whether to begin a new study in a new folder.
        watcher: Shows the search; nothing is shown if None.
        stop: Asked for by the user.
        dry_run: Whether to end after the forecast, before the first trial.
        anew: Whether finished models are measured anew first, under the conditions of now.

    Raises:
        AutoCompressError: What cannot be, in one line.
    """
    watcher = watcher or Silent()
    stop = stop or Stop()
    begin_s, begun_s = time.monotonic(), time.time()
    minutes = settings.search.minutes
    end_s = None if minutes is None else begin_s + 60 * minutes
    if minutes is not None:
        stop.deadline_s = begin_s + 60 * minutes - min(MIN_RESERVE_S, RESERVE_SHARE * 60 * minutes)
    make_executor = executor_factory(settings.search.executor)
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    if minutes is None and settings.search.trials is None and settings.search.patience is None and not dry_run:
        watcher.say("no limit was given (--minutes, --trials, --patience): this search runs until Ctrl-C ends it")
    host_of = getattr(make_executor, "timing_host", None)
    host = HERE if host_of is None else host_of(settings, watcher.say)
    open_study = opened(settings, task, runs, fresh, stop, watcher.say, stop.time_left_s, anew, host)
    with _told_in_time(stop), open_study as study:
        loop_s = time.monotonic()
        surrogates = prepare_surrogates(study.context, study.space, settings, watcher.say, stop.time_left_s())
        study = with_what_was_seen(study, watcher.say)
        tell_forecast(study, stop.time_left_s(), watcher.say)
        study.access.release()
        if dry_run:
            seconds = time.monotonic() - begin_s
            return Outcome(read_front(study.folder), seconds, 0.0, {}, False, stop.asked.is_set())
        given = ExecutorContext(study.context, study.settings, study.folder, watcher.say)
        executor = make_executor(given, settings.search.workers)
        driver = driver_of(study, executor, surrogates, stop, loop_s)
        devices = tuple(target.device for target in study.context.targets)
        report = ReportKeeper(study.folder, surrogates, devices, watcher.say)
        watch = _Watch(study, driver, watcher, stop, end_s, report)
        exhausted, trouble = False, ""
        try:
            with contextlib.suppress(BrokenOff):
                exhausted = driver.run(watch.should_stop, watch)
        except ConditionsChanged as changed:
            trouble = told_changed(changed)
        finally:
            _close(executor)
        done = not stop() and watch.patience.is_over(driver.searched_s)
        search_s = time.monotonic() - loop_s
        if stop() and not driver.trials:
            watcher.say(nothing_tried(time.monotonic() - begin_s, None if stop.asked.is_set() else minutes))
        front = replace(watch.known, trials=tuple(driver.trials))
        confirmed = bool(trouble)
        try:
            if not study.access.may_keep():
                confirmed = _leave_to_keeper(study, watcher.say)
                front = read_front(study.folder, driver.trials)
            elif not stop.hurried.is_set() and not trouble:
                study = with_what_was_seen(study, watcher.say)
                front = _confirmed(study, driver, watcher.say, end_s)
                confirmed = True
                keep_drift(study.context, begun_s)
                profile_models(study.context, front, watcher.say, end_s)
        except BrokenOff:
            pass  # the next run confirms
        except ConditionsChanged as changed:
            trouble = told_changed(changed)
        if study.access.keeps() and not stop.hurried.is_set():
            with contextlib.suppress(BrokenOff):  # the page of before stays
                report.keep(front, final=True)
        let_come_to_its_end()
        if stop.hurried.is_set() and not confirmed:
            watcher.say("no time was left to confirm the front: the next run does")
        return Outcome(
            front=front,
            wall_s=time.monotonic() - begin_s,
            search_s=search_s,
            seconds=driver.seconds,
            exhausted=exhausted,
            interrupted=stop.asked.is_set(),
            waiting=driver.waiting,
            outlook=watch.patience.outlook,
            done=done,
            trouble=trouble,
        )


class _Watch:
    """Watches a running search: keeps back the time for confirming, and knows when patience is at its end."""

    def __init__(
        self,
        study: OpenStudy,
        driver: Driver,
        watcher: Watcher,
        stop: Stop,
        end_s: float | None,
        report: ReportKeeper,
    ) -> None:
        self.known = read_front(study.folder, driver.trials)
        self._report = report
        examples = len(study.context.task.validation)
        patience = study.settings.search.patience
        self.patience = Patience(study.limits, study.objectives, examples, patience, driver.searched_s)
        self._study, self._driver, self._watcher, self._stop, self._end_s = study, driver, watcher, stop, end_s
        self._judged, self._status = -1, StatusKeeper(study.folder)
        limit_bytes = 1e9 * study.settings.search.checkpoints_gb
        self._checkpoints = CheckpointKeeper(study.folder, promotion_of(study), limit_bytes, watcher.say)

    def __call__(self, snapshot: Snapshot) -> None:
        # several times a second, beside a training: nothing costly but when a trial has ended
        keeps = self._study.access.keeps()
        if len(snapshot.trials) != self._judged:
            self._judged = len(snapshot.trials)
            if keeps:
                self._checkpoints.look(snapshot.trials, self._driver.unfinished)
                self._report.keep(replace(self.known, trials=tuple(snapshot.trials)))
            if self._end_s is not None:
                front = replace(self.known, trials=tuple(snapshot.trials))
                least_s, precise_s = seconds_needed(self._study.context, front)
                share_s = RESERVE_SHARE * 60 * (self._study.settings.search.minutes or 0)
                self._stop.deadline_s = self._end_s - max(min(MIN_RESERVE_S, share_s), least_s, min(share_s, precise_s))
            self.patience.look(snapshot.trials, self._driver.searched_s, self._driver.opening)
        self._watcher.show(snapshot, self._stop.time_left_s())
        if keeps:
            self._status.look(snapshot, self._stop.time_left_s())

    def should_stop(self) -> bool:
        return self._stop() or self.patience.is_over(self._driver.searched_s)


@contextlib.contextmanager
def _told_in_time(stop: Stop) -> Iterator[None]:
    """Say in a line that the minutes of a search ended before its teacher was trained."""
    try:
        yield
    except Stopped:
        if stop.asked.is_set():
            raise KeyboardInterrupt from None
        raise UsageError(
            "the minutes of this search ended before all models were measured anew; the same command goes on"
        ) from None
    except TeacherStopped:
        if stop.asked.is_set():
            raise KeyboardInterrupt from None
        raise UsageError(
            "the minutes of this search ended before its teacher was trained, and half a training is no teacher; "
            "give more --minutes, or a trained teacher"
        ) from None


def _close(executor: Executor) -> None:
    try:
        executor.close()
    except BrokenOff:
        let_come_to_its_end()
        executor.close()


def _confirmed(study: OpenStudy, driver: Driver, say: Say, end_s: float | None) -> Front:
    """Confirm the front, and again what other drivers of the study ended meanwhile: they leave that to this one."""
    while True:
        known = len(driver.trials)
        front = confirm(study.context, read_front(study.folder, driver.trials), say, end_s)
        driver.hear()
        if len(driver.trials) == known:
            return front


def _leave_to_keeper(study: OpenStudy, say: Say) -> bool:
    """Say who confirms the front of a study that several drivers search."""
    keeper = "another driver"
    with contextlib.suppress(StorageError):
        keeper = next((other.words for other in study.access.others() if other.keeper), keeper)
    say(f"{keeper} goes on with this study, and confirms its front at its end")
    return True
