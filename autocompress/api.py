"""The search from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import UnknownName, UsageError
from .search.report.front import Front
from .search.run import run_search
from .studies.schema import StudySections
from .studies.study_file import StudyFile
from .studies.task import Task

DEFAULT_MINUTES = 10.0


def search(
    task: Task,
    budget_ms: float | None = None,
    *,
    percentile: int | None = None,
    trials: int | None = None,
    minutes: float | None = None,
    runs: str | Path = "runs",
    fresh: bool = False,
    **sections: dict[str, Any],
) -> Front:
    """Search compressed models for `task` and return the front, as `autocompress search` does.

    budget_ms: latency (milliseconds) that models must meet at `percentile` (50, 90, 95 or 99). trials, minutes: stop
    conditions, 10 minutes if neither is given. runs: where the study's folder lies; a study of the same name there
    is resumed unless `fresh`. sections: any section of a study file as a dict, such as
    `target={"threads": 2}, recovery={"epochs": 5}`.

    Raises:
        AutoCompressError: what cannot be, in one line (see `autocompress.errors` for the kinds).
    """
    settings = StudyFile().model_copy(update={"name": task.name})
    for name, values in sections.items():
        if name not in StudySections.model_fields or name == "name":
            raise UnknownName("section", name, set(StudySections.model_fields) - {"name"})
        settings = settings.changed(name, **values)
    given = {"search": {"trials": trials, "minutes": minutes}}
    given["budget"] = {"latency_ms": budget_ms, "percentile": percentile}
    for name, values in given.items():
        settings = settings.changed(name, **{k: v for k, v in values.items() if v is not None})
    if settings.search.executor != "local" or settings.search.workers > 1:
        raise UsageError("a task made in Python runs in this process; for more workers write it into a file: --task")
    if settings.search.trials is None and settings.search.minutes is None:
        settings = settings.changed("search", minutes=DEFAULT_MINUTES)
    return run_search(settings, task, Path(runs), fresh).front
