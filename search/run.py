"""One search, from settings to front."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from ..compression.recover import Stopped
from ..cores import usable_cores
from ..errors import ConditionsChanged, StorageError, UsageError
from ..evaluators.microbenchmarks import Say
from ..evaluators.timing.host import HERE
from ..studies.study_file import StudyFile
from ..studies.task import Task
from ..studies.teacher import TeacherStopped
from .assemble import driver_of
from .decisions import Decisions
from .evaluate.first_weights import StudentsStopped
from .evaluate.recalibration import keep_drift
from .executors.base import Executor, ExecutorContext, TellsWorkers
from .executors.registry import executor_factory
from .followers.base import Follower
from .followers.following import HURRIED_S, LATE_S, Followings, seconds_to_end
from .followers.telling import Telling, followed_study
from .logs import DriverLog, driver_log, log
from .pace import Stop
from .prepare.surrogates import prepare_surrogates
from .report.confirm import confirm
from .report.front import Front
from .report.html.keep import ReportKeeper
from .report.profiles import profile_models
from .report.reading import read_front
from .signals import BrokenOff, let_come_to_its_end
from .stopping import Outlook
from .store.status import StatusKeeper
from .study import OpenStudy, opened, with_what_was_seen
from .told import changed as told_changed
from .told import nothing_tried, tell_forecast
from .watch import MIN_RESERVE_S, RESERVE_SHARE, Logged, Silent, Watch, Watcher


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
    log_level: str = "info",
    followers: Sequence[Follower] = (),
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
        log_level: The least that is logged into the study's folder, one of `logs.LEVELS`.
        followers: Log each trial elsewhere, as it ends.

    Raises:
        AutoCompressError: What cannot be, in one line.
    """
    with driver_log(log_level) as logged:
        log(f"AutoCompress {version('autocompress')}: {settings.name}, {settings.search.model_dump_json()}")
        told = Logged(watcher or Silent())
        how = _How(dry_run, anew, log_level, tuple(followers))
        outcome = _searched(settings, task, runs, fresh, told, stop or Stop(), how, logged)
        log(f"ended after {outcome.wall_s:.0f} s, with {len(outcome.front.trials)} trials")
        return outcome


@dataclass(frozen=True)
class _How:
    """See `run_search`."""

    dry_run: bool
    anew: bool
    log_level: str
    followers: tuple[Follower, ...]


def _searched(
    settings: StudyFile,
    task: Task | None,
    runs: Path,
    fresh: bool,
    watcher: Logged,
    stop: Stop,
    how: _How,
    logged: DriverLog,
) -> Outcome:
    begin_s, begun_s = time.monotonic(), time.time()
    minutes = settings.search.minutes
    end_s = None if minutes is None else begin_s + 60 * minutes
    if minutes is not None:
        stop.deadline_s = begin_s + 60 * minutes - min(MIN_RESERVE_S, RESERVE_SHARE * 60 * minutes)
    make_executor = executor_factory(settings.search.executor)
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    if minutes is None and settings.search.trials is None and settings.search.patience is None and not how.dry_run:
        watcher.say("no limit was given (--minutes, --trials, --patience): this search runs until Ctrl-C ends it")
    host_of = getattr(make_executor, "timing_host", None)
    host = HERE if host_of is None else host_of(settings, watcher.say)
    open_study = opened(settings, task, runs, fresh, stop, watcher.say, stop.time_left_s, how.anew, host, logged.begin)
    with _told_in_time(stop), open_study as study, contextlib.ExitStack() as held:
        loop_s = time.monotonic()
        surrogates = prepare_surrogates(study.context, study.space, settings, watcher.say, stop.time_left_s())
        study = with_what_was_seen(study, watcher.say)
        tell_forecast(study, stop.time_left_s(), watcher.say)
        if how.followers:
            with contextlib.suppress(StorageError):  # followers try again, and tell
                followed_study(study.folder, study.objectives)  # before other drivers come, which draw no other name
        study.access.release()
        if how.dry_run:
            seconds = time.monotonic() - begin_s
            return Outcome(read_front(study.folder), seconds, 0.0, {}, False, stop.asked.is_set())
        given = ExecutorContext(study.context, study.settings, study.folder, watcher.say, how.log_level)
        executor = make_executor(given, settings.search.workers)
        driver = driver_of(study, executor, surrogates, stop, loop_s)
        decisions = driver.decisions
        devices = tuple(target.device for target in study.context.targets)
        report = ReportKeeper(study.folder, surrogates, devices, watcher.say)
        status = StatusKeeper(study.folder, executor.worker_states if isinstance(executor, TellsWorkers) else tuple)
        followings = held.enter_context(_followed(study, how.followers, watcher.say, stop, end_s))
        watch = Watch(study, decisions, watcher, stop, end_s, report, status, followings)
        exhausted, trouble = False, ""
        try:
            with contextlib.suppress(BrokenOff):
                exhausted = driver.run(watch.should_stop, watch)
        except ConditionsChanged as changed:
            trouble = told_changed(changed)
        finally:
            _close(executor)
            watcher.note(decisions.snapshot())  # what had ended when jobs were broken off
            followings.look(driver.trials)
        done = not stop() and watch.patience.is_over(decisions.searched_s)
        outlook = watch.patience.seen(decisions.searched_s)
        search_s = time.monotonic() - loop_s
        if stop() and not driver.trials:
            watcher.say(nothing_tried(time.monotonic() - begin_s, None if stop.asked.is_set() else minutes))
        front = replace(watch.known, trials=tuple(driver.trials))
        confirmed = bool(trouble)
        try:
            alone, hurried = study.access.leases is None, stop.hurried.is_set()
            with followings.held(0.0 if alone else HURRIED_S if hurried else LATE_S):
                last = study.access.is_last()
            if not last:
                confirmed = _leave_to_others(study, watcher.say)
                front = read_front(study.folder, driver.trials)
            elif not stop.hurried.is_set() and not trouble:
                study = with_what_was_seen(study, watcher.say)
                front = _confirmed(study, decisions, watcher.say, end_s)
                confirmed = True
                keep_drift(study.context, begun_s)
                profile_models(study.context, front, watcher.say, end_s)
                watcher.note(decisions.snapshot())  # what was heard of others meanwhile
                followings.look(driver.trials)
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
            seconds=decisions.seconds,
            exhausted=exhausted,
            interrupted=stop.asked.is_set(),
            waiting=driver.waiting,
            outlook=outlook,
            done=done,
            trouble=trouble,
        )


@contextlib.contextmanager
def _told_in_time(stop: Stop) -> Iterator[None]:
    """Say in a line that the minutes of a search ended before its teacher was trained."""
    try:
        yield
    except StudentsStopped:
        if stop.asked.is_set():
            raise KeyboardInterrupt from None
        raise UsageError(
            "the minutes of this search ended before the students of its task were taught for the first time; the same "
            "command goes on"
        ) from None
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


@contextlib.contextmanager
def _followed(
    study: OpenStudy, followers: Sequence[Follower], say: Say, stop: Stop, end_s: float | None
) -> Iterator[Followings]:
    """Have a study followed. Where the search has to end within seconds, what is not logged is left to the next run."""
    examples = len(study.context.task.validation)
    telling = Telling(study.folder, study.limits, study.objectives, study.space.variables, examples)
    followings = Followings(followers, telling, say, study.access)
    try:
        yield followings
    finally:
        followings.close(seconds_to_end(stop.hurried.is_set(), _left_s(end_s)))


def _left_s(end_s: float | None) -> float | None:
    return None if end_s is None else end_s - time.monotonic()


def _close(executor: Executor) -> None:
    try:
        executor.close()
    except BrokenOff:
        let_come_to_its_end()
        executor.close()


def _confirmed(study: OpenStudy, decisions: Decisions, say: Say, end_s: float | None) -> Front:
    """Confirm the front, and again what a driver ended that joined meanwhile and left that to this one."""
    while True:
        known = len(decisions.trials)
        front = confirm(study.context, read_front(study.folder, decisions.trials), say, end_s)
        decisions.hear()
        if len(decisions.trials) == known or study.access.others():
            return front


def _leave_to_others(study: OpenStudy, say: Say) -> bool:
    """Say who confirms the front of a study that several drivers search."""
    others = "another driver"
    with contextlib.suppress(StorageError):
        others = " or ".join(other.words for other in study.access.others()) or others
    say(f"{others} goes on with this study, and confirms its front at its end")
    return True
