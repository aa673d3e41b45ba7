"""The executor seam: where jobs run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
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
        say: Takes a line about what became of workers.
    """

    context: EvaluationContext
    settings: StudyFile
    folder: Path
    say: Callable[[str], None] = lambda line: None

    @property
    def travels(self) -> bool:
        """Whether another process can make the study's task from its settings."""
        return self.settings.task.source is not None or self.settings.teacher.model is not None


class WorkerDied(BrokenExecutor):
    """The process that did a job has ended in its midst. Whether the job is to blame shows when it is done again."""


class Executor(Protocol):
    """Runs jobs. A job that raises gives the exception through its future; one whose process died, `WorkerDied`.

    An executor may have two more attributes, both False where they are missing: `apart` says that all jobs run in
    processes of their own, `can_part` that those which ask for it do (`Job.apart`).

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
        """End what still runs, within seconds. Those trials then count as interrupted.

        Trainings may save how far they came. Afterwards every future is done: what was ended is cancelled.
        """
        ...


ExecutorFactory = Callable[[ExecutorContext, int], Executor]
"""Makes an executor from its context and the number of workers."""
