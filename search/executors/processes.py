"""Jobs in worker processes of this machine."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor

from ...cores import usable_cores
from ..evaluate.job import Job, JobResult
from .base import ExecutorContext
from .worker import prepare_worker, work


class ProcessExecutor:
    """Does several jobs at a time, the cores shared out between them. Latencies are still measured one at a time.

    Attributes:
        slots: Number of worker processes.
    """

    def __init__(self, context: ExecutorContext, workers: int) -> None:
        self.slots = workers
        self._context = context
        threads = max(1, usable_cores() // workers)
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, spawn, prepare_worker, (threads,))

    def submit(self, job: Job) -> Future[JobResult]:
        """Send a job to a worker process."""
        return self._pool.submit(work, self._context.settings, self._context.folder, job)

    def run_pending(self) -> None:
        """Do nothing: jobs run elsewhere."""

    def close(self) -> None:
        """End the worker processes."""
        for process in list((self._pool._processes or {}).values()):
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)
