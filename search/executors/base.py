"""The executor seam: where jobs run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...studies.study_file import StudyFile
from ..evaluate.context import Workbench
from ..evaluate.evaluation import Job, JobResult


@dataclass(frozen=True)
class Workplace:
    """What an executor needs to run jobs: the driver's own workbench, and how another process makes one."""

    bench: Workbench
    settings: StudyFile
    folder: Path


class Executor(Protocol):
    """Runs jobs, `slots` at a time. A job that raises gives the exception through its future.

    run_pending(): called by the driver when it has nothing else to do; an executor without threads or processes of
    its own does its jobs then. close(): ends what still runs, at once; those trials then count as interrupted.
    """

    slots: int

    def submit(self, job: Job) -> Future[JobResult]: ...

    def run_pending(self) -> None: ...

    def close(self) -> None: ...


ExecutorFactory = Callable[[Workplace, int], Executor]
