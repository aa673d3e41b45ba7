"""What is done once for all runs and counted for none: the teacher, its export, and what was measured of the target."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from autocompress.errors import UsageError
from autocompress.files import read_json, write_json
from autocompress.search.evaluate.build import file_accuracy
from autocompress.search.store.opening import begin_opening
from autocompress.search.store.settings import read_settings
from autocompress.search.study import opened
from autocompress.studies.study_file import StudyFile
from autocompress.studies.task import Task

from .points import Terms

SHARED = ("teacher.*", "identity.json", "importance.npz", "targets", "profile")
"""What of a study's folder is handed to every run. Of students it has the latencies of the few shapes that show how
fast the space reaches; no weights are among it, and nothing that one method alone finds out."""


def run_settings(settings: StudyFile, seed: int) -> StudyFile:
    """Return the study as every method runs it: one job at a time, in this process. The clock ends it.

    Raises:
        UsageError: The study has several targets.
    """
    targets = settings.target.targets()
    if len(targets) > 1:
        raise UsageError(f"the study has {len(targets)} targets; methods are compared on one: --set target.runtime=...")
    values: dict[str, Any] = {
        "trials": None,
        "minutes": None,
        "patience": None,
        "workers": 1,
        "executor": "local",
        "seed": seed,
    }
    return settings.changed("search", **values)


def prepare(settings: StudyFile, task: Task, folder: Path, minutes: float, say: Callable[[str], None]) -> Terms:
    """Return the terms of the comparison in a folder; the study that they are about lies in `prepared` there.

    Args:
        settings: Of the study.
        task: Of the study.
        folder: Of the comparison.
        minutes: That each run has.
        say: Takes a line about what is going on.

    Raises:
        UsageError: The folder holds a comparison on other terms.
        AutoCompressError: What opening a study raises.
    """
    settings = run_settings(settings, 0)
    told = settings.model_dump(mode="json", by_alias=True, exclude={"path"})
    path = folder / "terms.json"
    if (known := read_json(path)) is not None:
        terms = Terms(**known)
        _check(folder, terms, told, minutes)
        return terms
    with opened(settings, task, folder / "prepared", say=say) as study:
        context = study.context
        (session,) = context.sessions.values()
        labels = context.task.validation.labels
        accuracy = file_accuracy(context, session, session.meter.reference, context.task.validation)
        calibration = session.calibration
    begin_s = time.monotonic()
    with opened(settings, task, folder / "prepared"):
        opening_s = time.monotonic() - begin_s
    terms = Terms(
        study=settings.name,
        settings=told,
        minutes=minutes,
        teacher_accuracy=accuracy,
        teacher_ms=calibration.p50_ms,
        chance=float(torch.bincount(labels).max()) / len(labels),
        opening_s=round(opening_s, 2),
        budget_ms=next(iter(settings.budgets().values()), None),
        percentile=settings.budget.percentile,
        conditions=calibration.conditions,
    )
    write_json(path, asdict(terms))
    return Terms(**read_json(path))


def lay_out(folder: Path, study: str, runs: Path) -> None:
    """Put what all runs share into the folder of one of them; what an earlier run left there goes.

    Args:
        folder: Of the comparison.
        study: Name of the study.
        runs: Folder of the run.
    """
    shutil.rmtree(runs, ignore_errors=True)
    (runs / study).mkdir(parents=True)
    begin_opening(runs / study, read_settings(folder / "prepared" / study))  # else it is taken for a stranger's folder
    for pattern in SHARED:
        for source in (folder / "prepared" / study).glob(pattern):
            if source.is_dir():
                shutil.copytree(source, runs / study / source.name)
            else:
                shutil.copyfile(source, runs / study / source.name)


def _check(folder: Path, terms: Terms, settings: dict[str, Any], minutes: float) -> None:
    if terms.minutes != minutes:
        raise UsageError(f"{folder} compares runs of {terms.minutes:g} minutes, not {minutes:g}; name another --folder")
    if terms.study != settings["name"]:
        raise UsageError(f"{folder} compares on {terms.study}, not {settings['name']}; name another --folder")
    for section, values in settings.items():
        before = terms.settings.get(section)
        if before != values:
            raise UsageError(f"{folder} was begun with {section} = {before}, now it is {values}; name another --folder")
