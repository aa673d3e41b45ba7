"""A student made again from its recipe: from teacher and data, to the same figures within their intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from ...errors import BundleError, UsageError
from ...evaluators.measurement import Latency, ms_text
from ...files import check_folder, digest, disk_errors, remove, write_json
from ...spaces.target import PerTarget
from ...studies.checkpoint import load_weights
from ...studies.metric import MetricLabel
from ...studies.study_file import StudyFile
from ...studies.task import Task
from ...studies.teacher import epochs_told, prepare_teacher
from ..evaluate.build import file_accuracy
from ..evaluate.checkpoints import checkpoint_path
from ..evaluate.context import EvaluationContext, open_context
from ..evaluate.evaluation import evaluate
from ..evaluate.first_weights import identity_of_students
from ..evaluate.job import Job, JobResult, Step
from ..evaluate.target_session import TargetSession
from ..identity import FILE, differences, identity_of, told
from ..report.confirm import PROCESSES
from ..store.importance import Importance, write_importance
from ..store.layout import model_path
from ..trial import WarmStart
from .own_recipes import check_own_recipe, recipe_key
from .recipe import Ingredient, LatencyFigure, Recipe
from .record import Figure
from .replacing import read_noted
from .sources import changed, code_files, find_folder

Say = Callable[[str], None]

BEGUN = "rebuilding.json"
"""Says what a folder is made again from, until that has come to its end: the same command then goes on there."""


@dataclass(frozen=True)
class Compared:
    """One figure of the first student beside that of the new one.

    Attributes:
        name: What it is.
        first: As the recipe has it.
        again: Of the new student.
        within: Whether the new one agrees with the first, as far as their intervals tell.
    """

    name: str
    first: str
    again: str
    within: bool


@dataclass(frozen=True)
class Rebuilt:
    """What came of a recipe.

    Attributes:
        files: The new model files, by target.
        compared: Each figure beside the first one.
        other: What is not as it was: teacher or data.
    """

    files: PerTarget[Path]
    compared: tuple[Compared, ...]
    other: tuple[str, ...]

    @property
    def within(self) -> bool:
        """Whether all figures agree."""
        return all(each.within for each in self.compared)


def rebuild(
    recipe: Recipe,
    out: Path,
    task: Task | None = None,
    folder: Path | None = None,
    teacher: Path | None = None,
    first: PerTarget[Path] | None = None,
    say: Say = lambda line: None,
    beside: Path | None = None,
    run_code: bool = False,
) -> Rebuilt:
    """Make a student again.

    Args:
        recipe: How it was made.
        out: A new folder, which becomes that of a study with this one trial.
        task: The study's task, where it was searched from Python.
        folder: Where the files are that the study names; they are looked for if None, see `find_folder`.
        teacher: Weights of the teacher, in place of training it again where the study trained it.
        first: The first files, by target, where they are at hand.
        say: Takes a line about what is going on.
        beside: The folder of the recipe, above which the study's files are looked for; the current one if None.
        run_code: Whether to run code that a recipe from elsewhere names.

    Raises:
        UsageError: The folder is not empty, or was begun with another teacher or other data; the task is not known; or
            code is named that is not this user's own.
        BundleError: A student cannot be made again.
        AutoCompressError: What data, tasks and runtimes raise.
    """
    begun = {"recipe": recipe_key(recipe), "data": _place(folder), "teacher": _place(teacher)}
    check_folder(out)
    if out.exists() and any(out.iterdir()) and read_noted(out / BEGUN) != begun:
        raise UsageError(f"{out} is not empty; give a new folder for what is made again")
    settings = _settings(recipe, folder, beside or Path.cwd(), task is None)
    if task is None and not run_code:
        check_own_recipe(recipe, settings)
    say("reading the data and the teacher")
    task = (task or settings.build_task()).bare(say)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / BEGUN, begun)
    network = _teacher(settings, task, out, teacher, say)
    prepared = replace(task, teacher=network).prepared(say)
    known = identity_of(prepared)
    _check_task(out, known)
    other = [told(difference) for difference in differences(recipe.identity, known)]
    named = code_files(settings)
    other += [f"{name} is not what it was" for name in changed(recipe.sources, settings.folder) if name in named]
    if recipe.importance:
        rated = {name: np.array(values, np.float32) for name, values in recipe.importance.items()}
        write_importance(out, Importance(recipe.criterion, rated))
    used = {student.spec.student for student in recipe.students}
    prepared = replace(prepared, students={n: each for n, each in prepared.students.items() if n in used})
    context = open_context(prepared, settings, out, say=say)
    other += [told(d) for d in differences(recipe.identity, identity_of_students(prepared), forms=False)]
    made: dict[int, WarmStart] = {}
    last: WarmStart | None = None
    students = [replace(s, seed=settings.search.seed if s.seed is None else s.seed) for s in recipe.students]
    for student in students:
        last = None if student.begins_with is None else made[student.begins_with]
        _teach(context, student, last, say)
        rungs = len(settings.recovery.rungs)
        name = checkpoint_path(out, student.spec, rungs - 1, last).name
        made[student.number] = WarmStart(student.number, student.spec, name)
    model = students[-1]
    say("building and measuring its files")
    built = _done(context, _job(model, "build", last), f"trial {model.number}")
    found = _compared(context, recipe, model, built, first or {}, tuple(other))
    remove(out / BEGUN)
    return found


def _check_task(out: Path, now: Mapping[str, str]) -> None:
    """Refuse to go on with another teacher or other data: what was taught so far is not of these.

    The command names the places of both, which stay the same when somebody puts other files there.

    Args:
        out: The folder; a new one notes what it has.
        now: How teacher and data are known again.

    Raises:
        UsageError: They are not those that the folder was begun with.
    """
    before = read_noted(out / FILE)
    if before is None:
        write_json(out / FILE, dict(now))
    elif found := differences({name: str(value) for name, value in before.items()}, now):
        raise UsageError(
            f"{out} was begun with {told(found[0])}: what was taught there is not of this one; give another folder"
        )


def _place(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _settings(recipe: Recipe, folder: Path | None, beside: Path, needs_task: bool) -> StudyFile:
    earlier = Path(recipe.folder) if recipe.folder else None
    if folder is None and not needs_task:
        folder = Path.cwd()  # of what the study is written in, only its settings are needed
    if folder is None and earlier is not None and earlier.is_dir():
        folder = earlier
    place = folder if folder is not None else find_folder(recipe.sources, beside)
    try:
        settings = StudyFile.model_validate({**recipe.study, "path": place / "study.toml"})
    except ValueError as error:
        raise BundleError(f"the study of the recipe cannot be read ({str(error).splitlines()[0]})") from error
    if needs_task and settings.task.source is None and settings.teacher.model is None:
        raise UsageError(
            "the study was searched from Python, so its recipe does not hold its task; name it with --task"
        )
    return settings


def _teacher(settings: StudyFile, task: Task, out: Path, given: Path | None, say: Say) -> nn.Module:
    if given is None:
        return prepare_teacher(settings, task, out, say, lambda: False, epochs_told(say))
    load_weights(task.teacher, given)
    return task.teacher


def _teach(context: EvaluationContext, student: Ingredient, start: WarmStart | None, say: Say) -> None:
    if student.spec.recovery is None:
        return
    count = len(context.recoverer.schedule.rungs)
    begins = "" if start is None else f", which begins with the weights of trial {start.number}"
    for rung in range(count):
        say(f"teaching the student of trial {student.number}{begins}: rung {rung + 1} of {count}")
        _done(context, _job(student, "rung", start, rung), f"trial {student.number}")


def _job(student: Ingredient, step: Step, start: WarmStart | None, rung: int = 0) -> Job:
    return Job(student.number, student.spec, step, rung, start, student.seed or 0)


def _done(context: EvaluationContext, job: Job, what: str) -> JobResult:
    result = evaluate(context, job)
    if result.failure:
        raise BundleError(f"{what} cannot be made again: {result.failure}")
    return result


def _compared(
    context: EvaluationContext,
    recipe: Recipe,
    model: Ingredient,
    built: JobResult,
    first: PerTarget[Path],
    other: tuple[str, ...],
) -> Rebuilt:
    label, sessions = context.task.metric.label, context.sessions_for(model.spec)
    found: list[Compared] = []
    files: dict[str, Path] = {}
    for name, session in sessions.items():
        path = model_path(context.folder, model.number, name, session.runtime.suffix, alone=len(sessions) == 1)
        files[name] = path
        if name not in recipe.validation:  # a model repository has a bundle, and a recipe, for each target
            continue
        where = f", {name}" if len(sessions) > 1 else ""
        same = digest(path) == recipe.sha256.get(name)
        value = label.shown(built.measured[name].accuracy)
        found.append(_metric(f"{label.name}, validation{where}", label, recipe.validation[name], value))
        found.append(_latency(f"p50{where}", session, recipe.latency[name], path, first.get(name), same))
        if method := recipe.calibration.get(name, ""):  # of two that are as good, another may be found
            found.append(Compared(f"calibration{where}", method, built.measured[name].calibration, True))
        if same:
            found.append(Compared(f"file{where}", recipe.sha256[name][:16], "the same bytes", True))
    if recipe.test is not None:
        told_of = [name for name in sessions if name in recipe.validation]
        tests = (file_accuracy(context, sessions[name], files[name], context.task.test) for name in told_of)
        found.insert(1, _metric(f"{label.name}, test", label, recipe.test, label.shown(min(tests))))
    return Rebuilt(files, tuple(found), other)


def _metric(name: str, label: MetricLabel, first: Figure, value: float) -> Compared:
    def text(number: float) -> str:
        return label.text(label.kept(number))

    interval = "" if first.low is None or first.high is None else f" ({text(first.low)} to {text(first.high)})"
    return Compared(name, text(first.value) + interval, text(value), first.holds(value))


def _latency(
    name: str, session: TargetSession, there: LatencyFigure, path: Path, first: Path | None, same: bool
) -> Compared:
    """Compare latencies by their ratios to the teacher's file, which hours and machines change less than times.

    Where the first file is at hand, it is measured again, in turns with the new one: then only the files can differ.
    """
    beside = [path] if first is None else [path, first]
    again, *old = session.meter.measure(beside, PROCESSES, until=session.meter.precision)
    known = old[0] if old else there
    within = same or (again.ratio_low <= known.ratio_high and known.ratio_low <= again.ratio_high)
    here = f" (here, now: {_words(old[0])})" if old else ""
    return Compared(name, _words(there) + here, _words(again), within)


def _words(latency: Latency | LatencyFigure) -> str:
    return (
        f"{ms_text(latency.p50_ms)} ms ({ms_text(latency.low_ms)} to {ms_text(latency.high_ms)}), {latency.ratio:.3f} "
        f"({latency.ratio_low:.3f} to {latency.ratio_high:.3f}) of the teacher's"
    )


def first_files(recipe: Recipe, folder: Path) -> PerTarget[Path]:
    """Return the files of the bundle that a recipe lies in, by target, as far as they are there and unchanged."""
    found = {name: folder / file for name, file in recipe.files.items()}
    return {name: path for name, path in found.items() if path.exists() and digest(path) == recipe.sha256.get(name)}
