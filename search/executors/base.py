"""The executor seam: where jobs run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...studies.study_file import StudyFile
from ..evaluate.context import EvaluationContext
from ..evaluate.job import Job, JobResult


@dataclass(frozen=True)
class ExecutorContext:
    """What an executor needs to run jobs.

    Attributes:
        context: The driver's own evaluation context.
        settings: The study's settings; with the folder, they let another process make a context of its own.
        folder: The study's folder.
    """

    context: EvaluationContext
    settings: StudyFile
    folder: Path


class Executor(Protocol):
    """Runs jobs. A job that raises gives the exception through its future.

    Made from an `ExecutorContext` and a number of workers, and registered under the entry-point group
    `autocompress.executors`.

    Attributes:
        slots: Number of jobs at a time.
    """

    slots: int

    def submit(self, job: Job) -> Future[JobResult]:
        """Take a job, and return what its result will come through."""
        ...

    def run_pending(self) -> None:
        """Do jobs here, where the executor has no threads or processes of its own.

        The driver calls it when it has nothing else to do.
        """
        ...

    def close(self) -> None:
        """End what still runs, at once. Those trials then count as interrupted."""
        ...


ExecutorFactory = Callable[[ExecutorContext, int], Executor]
"""Makes an executor from its context and the number of workers."""
