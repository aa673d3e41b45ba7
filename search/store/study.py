"""A study opened for searching: its folder, its teacher, its workbench and its storage."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import StorageError, UsageError
from ...spaces.space import build_space
from ...studies.checkpoint import save_weights
from ...studies.data.images import ImageData
from ...studies.schema import StudySections
from ...studies.study_file import StudyFile
from ...studies.task import PreparedTask, Task
from ...studies.teacher import TeacherStopped, prepare_teacher
from ..evaluate.context import Workbench, homes, lay_ground, open_workbench
from ..evaluate.target_session import Say, Station
from ..objectives import objectives_of
from ..prepare.probes import apply_probes, check_budgets, probes
from ..report.confirm import read_confirmed
from ..report.front import Front
from ..report.space_report import describe
from .files import disk_errors, read_json, write_json
from .trials import Storage

FIXED = ("task", "data", "teacher", "target", "recovery")
"""Sections that cannot change while a study goes on: their trials would not compare."""
FREE = {"probe_seconds", "learn_seconds", "precision"}
"""Keys of those sections that may: how long to look does not change what is seen."""


@dataclass(frozen=True)
class OpenStudy:
    """Everything a driver needs."""

    settings: StudyFile
    folder: Path
    bench: Workbench
    storage: Storage


def study_folder(runs: Path, name: str, fresh: bool) -> Path:
    """The study's folder, a new one if `fresh`: `digits`, then `digits-2`, ... Nothing is overwritten."""
    names = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    folders = [runs / name]
    for candidate in names:
        if not (runs / candidate).exists():
            return runs / candidate if fresh else folders[-1]
        folders.append(runs / candidate)
    raise AssertionError("counting does not end")


@contextlib.contextmanager
def opened(
    settings: StudyFile,
    task: Task | None,
    runs: Path,
    fresh: bool = False,
    stop: Callable[[], bool] = lambda: False,
    say: Say = lambda line: None,
) -> Iterator[OpenStudy]:
    """Open the study in its folder, alone: two searches never write one study.

    Raises:
        StorageError: another search has the study open, its database is corrupt, or it was begun with other settings.
        BudgetError: the budget is below the fastest plan. And what data, tasks, exports and runtimes raise.
    """
    say("reading the data and the teacher")
    # built before anything is written: a mistyped task leaves no study behind
    task = task or settings.build_task()
    folder = study_folder(runs, settings.name, fresh)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StorageError(f"{folder}: another search has this study open; wait for it, or use --fresh") from None
    try:
        _check_settings(folder, settings)
        budgets = settings.budgets()
        storage = Storage(folder, settings.name, objectives_of(settings))
        try:
            teacher = prepare_teacher(settings, task, folder, say, stop, _epoch_line(say))
        except TeacherStopped:
            raise KeyboardInterrupt from None
        if settings.teacher.epochs == 0:
            save_weights(teacher, folder / "teacher.safetensors")
        prepared = replace(task, teacher=teacher).prepared()
        _check_identity(folder, prepared)
        bench = open_workbench(prepared, settings, folder, stop, say)
        found = probes(bench, budgets)
        bench = apply_probes(bench, found, settings)
        check_budgets(found, budgets, settings.budget.percentile, settings.target.any_of)
        for station in bench.stations:
            _compare_teacher(station, budgets.get(station.name), len(bench.stations) > 1, say)
        described = describe(bench.space, bench.left_out, [s.target for s in bench.stations], found)
        write_json(folder / "space.json", described)
        write_json(folder / "study.json", settings.model_dump(mode="json", by_alias=True))
        yield OpenStudy(settings, folder, bench, storage)
    finally:
        lock.release()


def read_front(folder: Path) -> Front:
    """The front of a study as it stands on disk.

    Raises:
        UsageError: there is no study in this folder. StorageError: its database is corrupt.
    """
    settings = read_json(folder / "study.json")
    if settings is None:
        raise UsageError(f"no study in {folder}; give the folder of a search, such as runs/digits")
    sections = StudySections.model_validate({k: settings[k] for k in ("target", "budget", "search")})
    objectives = objectives_of(sections)
    trials = Storage(folder, settings["name"], objectives).ended()
    budget = sections.budget
    return Front(
        folder,
        objectives,
        tuple(trials),
        read_confirmed(folder, [t.number for t in trials]),
        budget.percentile,
        budget.latency_ms,
        budget.min_accuracy,
        budget.max_mb,
        tuple(target.name for target in sections.target.targets()),
        sections.target.any_of,
        budget.on,
    )


def describe_without_measuring(settings: StudyFile) -> dict[str, Any]:
    """The space of a study as it is before its target was probed; nothing is trained or measured."""
    task = settings.build_task().prepared()
    ground, left_out = lay_ground(task, settings)
    space = build_space(ground, settings.space.axes, homes(settings))
    return describe(space, left_out, settings.target.targets(), {})


def _compare_teacher(station: Station, budget_ms: float | None, several: bool, say: Say) -> None:
    if budget_ms is None:
        return
    calibration = station.calibration
    where = f" on {station.name}" if several else ""
    figure = f"{calibration.p50_ms:.3g} ms (p50; {calibration.low_ms:.3g} to {calibration.high_ms:.3g}){where}"
    if calibration.high_ms <= budget_ms:
        say(f"the teacher already meets the budget of {budget_ms:g} ms: {figure}; searching on for better")
    else:
        say(f"the teacher takes {figure}; the budget is {budget_ms:g} ms")


def _check_settings(folder: Path, settings: StudyFile) -> None:
    old: dict[str, Any] | None = read_json(folder / "study.json")
    if old is None:
        return
    new = settings.model_dump(mode="json", by_alias=True)
    for section in FIXED:
        # a key that came with a later version had its default
        before = getattr(StudySections(), section).model_dump(mode="json", by_alias=True) | old[section]
        key = next((k for k in new[section] if k not in FREE and before[k] != new[section][k]), None)
        if key is not None:
            raise StorageError(
                f"{folder} was begun with [{section}] {key} = {before[key]!r}, now it is "
                f"{new[section][key]!r}: its trials would not compare; use --fresh, or change it back"
            )
    if tuple(old["search"]["objectives"]) != settings.search.objectives:
        raise StorageError(f"{folder} was begun with other objectives ({old['search']['objectives']}); use --fresh")


def _check_identity(folder: Path, task: PreparedTask) -> None:
    """A study is about one teacher and one set of data: trials of others would not compare."""
    digest = hashlib.sha256()
    for name, value in task.teacher.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    now = {"teacher": digest.hexdigest()[:16]}
    for split, data in (("train", task.train), ("validation", task.validation), ("test", task.test)):
        labels = data.labels.numpy().tobytes() if isinstance(data, ImageData) else b""
        now[split] = f"{len(data)} items, {hashlib.sha256(labels).hexdigest()[:16]}"
    path = folder / "identity.json"
    before = read_json(path)
    if before is None:
        write_json(path, now)
        return
    for part, value in now.items():
        if before.get(part) != value:
            raise StorageError(
                f"{folder} was begun with another {part} ({before.get(part)}, now {value}): its trials would not "
                "compare; use --fresh, or give the task a name of its own"
            )


def _epoch_line(say: Say) -> Callable[[int, int, float], None]:
    return lambda epoch, epochs, loss: say(f"teacher: epoch {epoch} of {epochs}, loss {loss:.3f}")
