"""Jobs on a Ray cluster. Needs the extra `ray`."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from ...cores import usable_cores
from ..evaluate.job import Job, JobResult
from .base import ExecutorContext
from .worker import prepare_worker, work


class RayExecutor:
    """Does several jobs at a time on the cluster that Ray finds (RAY_ADDRESS), or on one that it starts here.

    The study's folder must be visible under the same path on every node. The study retries jobs, not Ray: a job whose
    node dies is queued again when the study is resumed.

    Attributes:
        slots: Number of jobs at a time.
    """

    def __init__(self, context: ExecutorContext, workers: int) -> None:
        import ray

        self._ray: Any = ray
        self._own = not ray.is_initialized()
        if self._own:
            ray.init(log_to_driver=False, configure_logging=False, include_dashboard=False)
        self.slots = workers
        cores = max(1, usable_cores() // workers)

        def do(settings: Any, folder: Any, job: Job) -> JobResult:
            prepare_worker(cores)
            return work(settings, folder, job)

        self._task = ray.remote(do).options(num_cpus=cores, max_retries=0)
        self._settings = ray.put(context.settings)
        self._folder = context.folder
        self._running: dict[Future[JobResult], Any] = {}

    def submit(self, job: Job) -> Future[JobResult]:
        """Send a job to the cluster."""
        reference = self._task.remote(self._settings, self._folder, job)
        future: Future[JobResult] = reference.future()
        self._running[future] = reference
        future.add_done_callback(lambda done: self._running.pop(done, None))
        return future

    def run_pending(self) -> None:
        """Do nothing: jobs run elsewhere."""

    def close(self) -> None:
        """Cancel what runs, and shut the cluster down where it was started here."""
        for reference in list(self._running.values()):
            self._ray.cancel(reference, force=True)
        if self._own:
            self._ray.shutdown()
            for future in list(self._running):
                future.cancel()  # nobody is left to answer it
