"""An executor that runs jobs in threads of the driver's process, over one evaluation context.

PyTorch computes without Python's lock, so that two trainings overlap where the machine has cores for both.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Event

from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.job import Job, JobResult
from autocompress.search.executors.base import ExecutorContext


class ThreadsExecutor:
    """Does several jobs at a time. Latencies are still measured one at a time: a lock of the machine sees to that."""

    def __init__(self, context: ExecutorContext, workers: int) -> None:
        """Start the threads."""
        self.slots = workers
        self._closed = Event()
        inner = context.context
        self._context = replace(inner, stop=lambda: self._closed.is_set() or inner.stop())
        self._pool = ThreadPoolExecutor(workers)

    def submit(self, job: Job) -> Future[JobResult]:
        """Send a job to a thread."""
        return self._pool.submit(evaluate, self._context, job)

    def run_pending(self) -> None:
        """Do nothing: jobs run in threads of their own."""

    def close(self) -> None:
        """Cancel what waits; trainings stop after a few steps."""
        self._closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
