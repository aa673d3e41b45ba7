"""Jobs on a Ray cluster. Needs the extra `ray`."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, InvalidStateError
from typing import Any

from ...cores import usable_cores
from ...errors import MeasurementError, one_line
from ..evaluate.job import Job, JobResult
from .base import ExecutorContext, WorkerDied
from .worker import prepare_worker, work


class RayExecutor:
    """Does several jobs at a time on the cluster that Ray finds (RAY_ADDRESS), or on one that it starts here.

    The study's folder must be visible under the same path on every node. The study retries jobs, not Ray: a job whose
    process or node dies gets `WorkerDied`.

    Attributes:
        slots: Number of jobs at a time.
        apart: Always True.
    """

    apart = True

    def __init__(self, context: ExecutorContext, workers: int) -> None:
        import ray

        self._ray: Any = ray
        self._errors: Any = ray.exceptions
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
        answer: Future[JobResult] = Future()
        try:
            reference = self._task.remote(self._settings, self._folder, job)
        except self._errors.RayError as error:
            answer.set_exception(self._told(error))
            return answer
        self._running[answer] = reference
        reference.future().add_done_callback(lambda done: self._ended(answer, done))
        return answer

    def run_pending(self) -> None:
        """Do nothing: jobs run elsewhere."""

    def close(self) -> None:
        """Cancel what runs, and shut the cluster down where it was started here."""
        running = list(self._running.items())
        for answer, _ in running:
            answer.cancel()  # what Ray says of it afterwards is nobody's business
        for _, reference in running:
            with contextlib.suppress(self._errors.RayError):
                self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._own:
            self._ray.shutdown()

    def _ended(self, answer: Future[JobResult], done: Future[JobResult]) -> None:
        # called in a thread of Ray's
        self._running.pop(answer, None)
        with contextlib.suppress(InvalidStateError):
            if done.cancelled():
                answer.cancel()
            elif (error := done.exception()) is not None:
                answer.set_exception(self._told(error))
            else:
                answer.set_result(done.result())

    def _told(self, error: BaseException) -> BaseException:
        """Return what the driver is told of an error: what a job raised, or what became of its process or the cluster.

        A job whose process, or whose node, is gone is done again.
        """
        known = self._errors
        died = (known.WorkerCrashedError, known.NodeDiedError, known.OutOfMemoryError, known.RayActorError)
        if isinstance(error, (*died, known.ObjectLostError, known.TaskCancelledError)):
            return WorkerDied(f"the process that did it died ({one_line(error)[:120]})")
        if isinstance(error, known.RayError) and not isinstance(error, known.RayTaskError):
            return MeasurementError(f"the Ray cluster does no jobs any more: {one_line(error)[:160]}")
        return error
