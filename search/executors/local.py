"""Jobs in this process, one after the other."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections import deque
from concurrent.futures import Future, wait

from ...errors import MeasurementError, UsageError, one_line
from ..evaluate.evaluation import evaluate
from ..evaluate.job import Job, JobResult
from ..memory import check_memory
from ..worker_state import IDLE, WorkerState
from .base import ExecutorContext, WorkerDied
from .processes import ProcessExecutor

POLL_S = 0.2


class LocalExecutor:
    """Does one job at a time, with all cores of the machine and the driver's own evaluation context.

    Jobs run in the driver's thread: PyTorch trains a small network a sixth slower in any other thread.

    A job that a process has died of before is done in a process of its own, where another one can make the task.

    Attributes:
        slots: Always 1.
    """

    slots = 1

    def __init__(self, context: ExecutorContext, workers: int = 1) -> None:
        self._given, self._context = context, context.context
        self._waiting: deque[tuple[Job, Future[JobResult]]] = deque()
        self._now: Job | None = None
        self._since_s = time.time()

    @property
    def can_part(self) -> bool:
        """Whether another process can make the task, and there is memory for it."""
        with contextlib.suppress(UsageError):
            check_memory(self._context, 1, lambda line: None)
            return self._given.travels
        return False

    def submit(self, job: Job) -> Future[JobResult]:
        """Keep a job until `run_pending`."""
        future: Future[JobResult] = Future()
        if not self._waiting:
            self._since_s = time.time()
        self._waiting.append((job, future))
        return future

    def run_pending(self) -> None:
        """Do the jobs that wait, here and now. The context's `stop` ends them within a few training steps."""
        while self._waiting:
            job, future = self._waiting.popleft()
            self._now, self._since_s = job, time.time()
            try:
                future.set_result(self._apart(job) if job.apart else evaluate(self._context, job))
            except Exception as error:
                future.set_exception(error)
            finally:
                self._now, self._since_s = None, time.time()

    def worker_states(self) -> list[WorkerState]:
        """Return what this process does now, or next: the driver looks between jobs; see `base.TellsWorkers`."""
        job = self._now or next((job for job, _ in self._waiting), None)
        doing, trial = (IDLE, None) if job is None else (self._given.words(job), job.number)
        return [WorkerState(platform.node(), 1, doing, self._since_s, trial, os.getpid())]

    def _apart(self, job: Job) -> JobResult:
        try:
            return self._in_a_process(job)
        except (MeasurementError, UsageError) as error:
            # of the process, not of the job: it could not open the study, or there is no memory for it. Were the run to
            # end by that, so would each one that goes on with the study: it begins with this job
            raise WorkerDied(one_line(error)) from error

    def _in_a_process(self, job: Job) -> JobResult:
        executor = ProcessExecutor(self._given, 1)
        try:
            answer = executor.submit(job)
            while not answer.done() and not self._context.stop():
                executor.run_pending()
                wait([answer], POLL_S)
        finally:
            executor.close()
        return JobResult(stopped=True) if answer.cancelled() else answer.result()

    def close(self) -> None:
        """Forget the jobs that wait."""
        while self._waiting:
            self._waiting.popleft()[1].cancel()
