"""Jobs in worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor

from ..evaluate.evaluation import Job, JobResult
from .base import Workplace
from .worker import prepare_worker, work


class ProcessExecutor:
    """`workers` jobs at a time, the cores shared out between them. Latencies are still measured one at a time."""

    def __init__(self, workplace: Workplace, workers: int) -> None:
        self.slots = workers
        self._workplace = workplace
        threads = max(1, (os.cpu_count() or 1) // workers)
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, context, prepare_worker, (threads,))

    def submit(self, job: Job) -> Future[JobResult]:
        return self._pool.submit(work, self._workplace.settings, self._workplace.folder, job)

    def run_pending(self) -> None:
        """Nothing: jobs run elsewhere."""

    def close(self) -> None:
        for process in list((self._pool._processes or {}).values()):
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)
