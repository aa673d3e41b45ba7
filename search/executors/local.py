"""Jobs in this process, one after the other."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from ..evaluate.evaluation import evaluate
from ..evaluate.job import Job, JobResult
from .base import ExecutorContext


class LocalExecutor:
    """Does one job at a time, with all cores of the machine and the driver's own evaluation context.

    Jobs run in the driver's thread: PyTorch trains a small network a sixth slower in any other thread.

    Attributes:
        slots: Always 1.
    """

    slots = 1

    def __init__(self, context: ExecutorContext, workers: int = 1) -> None:
        self._context = context.context
        self._waiting: deque[tuple[Job, Future[JobResult]]] = deque()

    def submit(self, job: Job) -> Future[JobResult]:
        """Keep a job until `run_pending`."""
        future: Future[JobResult] = Future()
        self._waiting.append((job, future))
        return future

    def run_pending(self) -> None:
        """Do the jobs that wait, here and now. The context's `stop` ends them within a few training steps."""
        while self._waiting:
            job, future = self._waiting.popleft()
            try:
                future.set_result(evaluate(self._context, job))
            except Exception as error:
                future.set_exception(error)

    def close(self) -> None:
        """Forget the jobs that wait."""
        while self._waiting:
            self._waiting.popleft()[1].cancel()
