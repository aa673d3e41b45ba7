"""The executor seam: where jobs run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...studies.study_file import StudyFile
from ..evaluate.context import EvaluationContext
from ..evaluate.job import Job, JobResult
from ..worker_state import WorkerState


@dataclass(frozen=True)
class ExecutorContext:
    """What an executor needs to run jobs.

    Attributes:
        context: The driver's own evaluation context.
        settings: The study's settings; with the folder, they let another process make a context of its own.
        folder: The study's folder.
        say: Takes a line about what became of workers.
        log_level: The least that workers log, one of `logs.LEVELS`.
    """

    context: EvaluationContext
    settings: StudyFile
    folder: Path
    say: Callable[[str], None] = lambda line: None
    log_level: str = "info"

    @property
    def travels(self) -> bool:
        """Whether another process can make the study's task from its settings."""
        return self.settings.task.source is not None or self.settings.teacher.model is not None

    def words(self, job: Job) -> str:
        """Return what is being done by a job, in a few words."""
        return job.words(len(self.settings.recovery.rungs))


class WorkerDied(BrokenExecutor):
    """The process that did a job has ended in its midst. Whether the job is to blame shows when it is done again."""


class JobLost(BrokenExecutor):
    """A job did not come to its end, and is not to blame: its machine is gone, or it was given up."""


class Executor(Protocol):
    """Runs jobs. What a job raises comes through its future.

    A job that did not come to its end gives `WorkerDied` where its process died, `JobLost` where it is not to blame.
    The driver sends it once more.

    An executor may have two more attributes, both False where they are missing: `apart` says that all jobs run in
    processes of their own, `can_part` that those which ask for it (`Job.apart`) can be now. One that can end single
    jobs has the methods of `GivesUp`; one that can tell who works where has that of `TellsWorkers`.

    Made from an `ExecutorContext` and a number of workers, and registered under the entry-point group
    `autocompress.executors`.

    """

    @property
    def slots(self) -> int:
        """Number of jobs at a time. It may change as machines come and go."""
        ...

    def submit(self, job: Job) -> Future[JobResult]:
        """Take a job, and return what its result will come through."""
        ...

    def run_pending(self) -> None:
        """Do jobs here, where the executor has no threads or processes of its own; else look after those.

        The driver calls it several times a second as long as jobs run.
        """
        ...

    def close(self) -> None:
        """End what still runs, within seconds. Those trials then count as interrupted.

        Trainings may save how far they came. Afterwards every future is done: what was ended is cancelled.
        Closed once more, it does nothing.
        """
        ...


@runtime_checkable
class GivesUp(Protocol):
    """An executor that can end a job which takes too long."""

    def running_s(self, answer: Future[JobResult]) -> float:
        """Return the seconds since a job began; 0 while it waits, and once it has ended."""
        ...

    def give_up(self, answer: Future[JobResult], why: str) -> None:
        """End a job, be it by the end of its process; its future gets `JobLost`.

        Args:
            answer: What `submit` returned.
            why: In a few words.
        """
        ...


@runtime_checkable
class TellsWorkers(Protocol):
    """An executor that can tell who works where, for those who look at a search."""

    def worker_states(self) -> Sequence[WorkerState]:
        """Return what each worker does now, those too that have nothing to do. The driver's thread calls it."""
        ...


ExecutorFactory = Callable[[ExecutorContext, int], Executor]
"""Makes an executor from its context and the number of workers.

One that times files on another machine has the attribute `timing_host`, a function of the study's settings and of what
takes a line, which returns the `TimingHost`. It is called before the study is opened.
"""
