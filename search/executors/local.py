"""Jobs in this process, one after the other."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from ..evaluate.evaluation import Job, JobResult, evaluate
from .base import Workplace


class LocalExecutor:
    """One job at a time, with all cores of the machine and the driver's own workbench.

    Jobs run in the driver's thread: PyTorch trains a small network a sixth slower in any other thread.
    """

    slots = 1

    def __init__(self, workplace: Workplace, workers: int = 1) -> None:
        self._bench = workplace.bench
        self._waiting: deque[tuple[Job, Future[JobResult]]] = deque()

    def submit(self, job: Job) -> Future[JobResult]:
        future: Future[JobResult] = Future()
        self._waiting.append((job, future))
        return future

    def run_pending(self) -> None:
        """Do the jobs that wait, here and now. The workbench's `stop` ends them within a few training steps."""
        while self._waiting:
            job, future = self._waiting.popleft()
            try:
                future.set_result(evaluate(self._bench, job))
            except Exception as error:
                future.set_exception(error)

    def close(self) -> None:
        """Forget the jobs that wait."""
        while self._waiting:
            self._waiting.popleft()[1].cancel()
