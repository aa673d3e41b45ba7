"""Jobs in this process, one after the other, in a thread of their own so that the driver stays responsive."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from ..evaluate import Job, JobResult, evaluate
from .base import Workplace


class LocalExecutor:
    """One job at a time, with all cores of the machine and the driver's own workbench."""

    slots = 1

    def __init__(self, workplace: Workplace, workers: int = 1) -> None:
        self._bench = workplace.bench
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="autocompress")

    def submit(self, job: Job) -> Future[JobResult]:
        return self._pool.submit(evaluate, self._bench, job)

    def close(self) -> None:
        """Waits for the job that runs: the workbench's `stop` ends it within a few training steps."""
        self._pool.shutdown(wait=True, cancel_futures=True)
