"""A study opened for searching: its folder, its teacher, its space and its trials."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from ..errors import StorageError, StudyOpen
from ..evaluators.measurement import plain_figure
from ..evaluators.microbenchmarks import Say
from ..evaluators.runtimes.registry import get_runtime
from ..evaluators.score import file_bytes
from ..evaluators.timing.breathing import breathing
from ..evaluators.timing.host import HERE, TimingHost
from ..files import check_folder, disk_errors, sweep, write_json
from ..spaces.space import Space
from ..studies.checkpoint import save_weights
from ..studies.metric import SHARES
from ..studies.preprocessing import preprocessing_of
from ..studies.study_file import StudyFile
from ..studies.task import Task
from ..studies.teacher import epochs_told, prepare_teacher
from ..temporary import sweep_temporary
from .asked import check_asked, check_starts, tell_not_offered, tell_points
from .evaluate.build import file_accuracy
from .evaluate.context import EvaluationContext, open_context, training_slices
from .evaluate.first_machine import check_first_machine
from .evaluate.recalibration import recalibrated
from .evaluate.target_session import TargetSession
from .feasibility import Limits
from .identity import check_identity
from .memory import check_answers
from .objectives import directions_of, objectives_of
from .prepare.reach import check_reach, measure_reach
from .prepare.samples import keep_samples, tensor_facts
from .prepare.space import prepare_space
from .remeasure import begin_remeasuring, remeasure
from .report.space_report import describe_space
from .store.access import Access, access_for_search
from .store.facts import TaskFacts, known_facts, write_facts
from .store.layout import remeasuring
from .store.opening import begin_opening, end_opening, forget_students, name_of
from .store.settings import check_like_others, check_settings, settings_path, with_earlier_choices, write_settings
from .store.trials import TrialStore
from .store.versions import versions


@dataclass(frozen=True)
class OpenStudy:
    """Everything a driver needs.

    Attributes:
        settings: Of the study.
        folder: Where it lies.
        context: What this process has to make and measure students.
        space: What is searched.
        limits: What a model must meet.
        objectives: What the front trades off.
        store: Its trials.
        facts: What is known of its task.
        access: What this process may do with it, beside other drivers that it may have.
    """

    settings: StudyFile
    folder: Path
    context: EvaluationContext
    space: Space
    limits: Limits
    objectives: tuple[str, ...]
    store: TrialStore
    facts: TaskFacts
    access: Access


def study_folder(runs: Path, name: str, fresh: bool) -> Path:
    """Return the study's folder, a new one if `fresh`: `digits`, then `digits-2`, ... Nothing is overwritten.

    A study that its user called so, as `resnet-50` beside `resnet`, is another one.
    """
    own = [1] if (runs / name).exists() else []
    taken = list(own)
    for path in runs.glob(f"{glob.escape(name)}-*"):
        number = path.name[len(name) + 1 :]
        if number.isdecimal() and int(number) > 1:  # earlier ones may have been deleted
            taken.append(int(number))
            if name_of(path) in (None, name):
                own.append(int(number))
    last = max(own, default=0) + 1 if fresh else max(own, default=1)
    while fresh and last in taken:
        last += 1
    return runs / name if last <= 1 else runs / f"{name}-{last}"


@contextlib.contextmanager
def opened(
    settings: StudyFile,
    task: Task | None,
    runs: Path,
    fresh: bool = False,
    stop: Callable[[], bool] = lambda: False,
    say: Say = lambda line: None,
    time_left_s: Callable[[], float | None] = lambda: None,
    anew: bool = False,
    host: TimingHost = HERE,
    begun: Callable[[Path], None] = lambda folder: None,
) -> Iterator[OpenStudy]:
    """Open the study in its folder, alone; with a server's storage, others may have it open too.

    Args:
        settings: Of the study.
        task: The task, where it is made in Python.
        runs: Where studies lie.
        fresh: Whether to begin a new study in a new folder.
        stop: Whether to end early.
        say: Takes a line about what is going on.
        time_left_s: Returns the seconds of the search that are left, None without an end.
        anew: Whether to calibrate, and to measure finished models, under the conditions of now.
        host: The machine that times files.
        begun: Called with the study's folder once that is known to be of this task.

    Raises:
        TeacherStopped: `stop()` came true before the teacher was trained.
        StorageError: Another search has the study open, its database is corrupt or away, or it was begun with other
            settings.
        BudgetError: The budget is below the fastest plan.
        AutoCompressError: What data, tasks, exports and runtimes raise.
    """
    check_asked(settings, say)
    # the study's folder notes where its rows are; nothing else of it knows the address, and nothing keeps its password
    storage, settings = settings.search.storage, settings.changed("search", storage="")
    check_folder(runs)
    say("reading the data and the teacher")
    # built before anything is written: a mistyped task leaves no study behind
    task = (task or settings.build_task()).bare(say)
    check_starts(settings, task)
    limits, objectives = Limits.of(settings), objectives_of(settings)
    folder = study_folder(runs, settings.name, fresh)
    check_settings(folder, settings)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)

    def begin() -> None:
        check_settings(folder, settings)
        if begin_opening(folder, settings):
            say("an earlier run with other settings ended before its first trial: what it made was removed")

    with contextlib.ExitStack() as held:
        directions = directions_of(objectives)
        access = held.enter_context(access_for_search(folder, settings.name, directions, storage, begin, say, stop))
        settings, kept, axes = with_earlier_choices(folder, settings)
        if kept:
            say(f"limits of the last run hold on: {', '.join(kept)}; say others, or --forget-limits")
        if axes:
            say(f"the study goes on over the axes that it has: {', '.join(axes)}; [space] axes names others")
        if others := access.others():
            check_like_others(folder, settings)
            say(f"sharing this study with {' and '.join(other.words for other in others)}")
            if anew or remeasuring(folder):
                raise StudyOpen(
                    f"{folder}: to measure all models anew takes the study alone; wait for its other search"
                )
        else:
            sweep(folder)
        sweep_temporary()
        held.callback(_sweep_again, folder, access)
        teacher = _teacher(settings, task, folder, say, stop)
        prepared = replace(task, teacher=teacher).prepared(say)

        def renew() -> None:
            say("the students of this task are not those of an earlier run, which came to no trial: taught anew")
            forget_students(folder)

        begun_before = others or any((folder / "trials").glob("*/plan.json"))
        # nothing of a study is written before it is known to be of this task
        check_identity(folder, prepared, renew=None if begun_before else renew)
        begun(folder)
        if settings.teacher.epochs == 0:
            save_weights(teacher, folder / "teacher.safetensors")
        store = TrialStore(folder, settings.name, objectives, access.check_held, access.database, access.leases, stop)
        held.callback(store.close)
        if anew:
            begin_remeasuring(folder)
        context = open_context(prepared, settings, folder, stop, say, time_left_s=time_left_s, host=host)
        check_answers(context)
        check_first_machine(context, say)
        facts = _facts(context, settings, task)
        keeps = access.keeps() or not settings_path(folder).exists()  # a keeper that was killed while it opened
        if keeps:
            write_facts(folder, facts)
        keep_samples(context, facts)
        limits = Limits.of(settings, facts)
        tell_points(settings, facts, say)
        if remeasuring(folder):
            remeasure(context, store, objectives, say, stop)
        trials = sorted((*store.ended(), *store.interrupted()), key=lambda trial: trial.number)
        found = prepare_space(context, settings, say, time_left_s(), trials)
        tell_not_offered(settings, found.space, say)
        check_reach(measure_reach(context, found.space, limits), limits, settings.target.any_of, say)
        for session in context.sessions.values():
            _compare_teacher(session, limits, say)
        if keeps:
            left_out, ratios = context.network.all_left_out, found.pattern_ratios
            write_json(folder / "space.json", describe_space(found.space, left_out, context.targets, ratios))
            write_settings(folder, settings)
            end_opening(folder)
        yield OpenStudy(settings, folder, context, found.space, limits, objectives, store, facts, access)


def _sweep_again(folder: Path, access: Access) -> None:
    """Remove what workers left unfinished that were ended with the search."""
    with contextlib.suppress(StorageError):
        if not access.others():
            sweep(folder)


def _teacher(settings: StudyFile, task: Task, folder: Path, say: Say, stop: Callable[[], bool]) -> nn.Module:
    """Return the study's teacher, trained in slices: another search may measure on this machine."""
    with breathing(training_slices(settings.target.targets())) as breathe:

        def stop_and_breathe() -> bool:
            breathe()
            return stop()

        return prepare_teacher(settings, task, folder, say, stop_and_breathe, epochs_told(say))


def with_what_was_seen(study: OpenStudy, say: Say) -> OpenStudy:
    """Return a study whose milliseconds hang on all that was seen of the teacher; see `recalibrated`.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    if not study.access.keeps():
        return study  # the driver that keeps its files sees to that
    context = recalibrated(study.context, say)
    facts = replace(study.facts, teacher_ms=_teacher_ms(context))
    write_facts(study.folder, facts)
    return replace(study, context=context, limits=Limits.of(study.settings, facts), facts=facts)


def _teacher_ms(context: EvaluationContext) -> dict[str, float]:
    return {name: session.calibration.p50_ms for name, session in context.sessions.items()}


def _facts(context: EvaluationContext, settings: StudyFile, task: Task) -> TaskFacts:
    known = known_facts(context.folder)
    size = max(file_bytes(session.meter.reference) for session in context.sessions.values())
    runtimes = {s.target.runtime: get_runtime(s.target.runtime).available().version for s in context.sessions.values()}
    schedule = context.recoverer.schedule
    inputs, output = tensor_facts(context.task)
    facts = TaskFacts(
        metric=context.task.metric.label,
        kind=task.kind or "",
        share=context.task.metric.function in SHARES,
        teacher=known.teacher,
        teacher_ms=_teacher_ms(context),
        teacher_bytes=size,
        epochs=schedule.epochs,
        steps=schedule.steps(context.recoverer.data),
        versions=versions(runtimes),
        network=type(task.teacher).__name__,
        labels=tuple(task.labels or ()),
        preprocessing=task.preprocessing or preprocessing_of(task.validation),
        inputs=inputs,
        output=output,
    )
    if settings.budget.max_drop is None or facts.teacher is not None:
        return facts
    session = next(iter(context.sessions.values()))
    path = session.meter.reference
    return replace(facts, teacher=file_accuracy(context, session, path, context.task.validation))


def _compare_teacher(session: TargetSession, limits: Limits, say: Say) -> None:
    budget_ms = limits.budgets.get(session.name)
    if budget_ms is None:
        return
    calibration = session.calibration
    where = f" on {session.name}" if len(limits.targets) > 1 else ""
    p50, low, high = map(plain_figure, (calibration.p50_ms, calibration.low_ms, calibration.high_ms))
    figure = f"{p50} ms (p50; {low} to {high}){where}"
    budget = plain_figure(budget_ms, 4)
    if limits.percentile == 50 and calibration.high_ms <= budget_ms:
        say(f"the teacher already meets the budget of {budget} ms: {figure}; searching on for better")
    else:
        say(f"the teacher takes {figure}; the budget is {budget} ms")
