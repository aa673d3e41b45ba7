"""Jobs in worker processes of this machine."""

from __future__ import annotations

import contextlib
import itertools
import time
from concurrent.futures import Future, InvalidStateError

from ...cores import usable_cores
from ...errors import MeasurementError
from ..evaluate.job import Job, JobResult
from ..memory import check_memory
from ..worker_state import WorkerState
from .base import ExecutorContext, JobLost, WorkerDied
from .worker_process import WorkerProcess

CLOSE_S = 4.0
"""Seconds that workers have to save what they train when a search ends."""


class ProcessExecutor:
    """Does several jobs at a time, the cores shared out between them. Latencies are still measured one at a time.

    A worker that died is replaced, and the job that it died of gets `WorkerDied`. One that cannot open the study costs
    itself alone, as long as another one can.

    Attributes:
        slots: Number of worker processes.
        apart: Always True.
    """

    apart = True

    def __init__(self, context: ExecutorContext, workers: int) -> None:
        check_memory(context.context, workers, context.say)
        self.slots = workers
        self._context = context
        self._threads = max(1, usable_cores() // workers)
        self._workers: list[WorkerProcess] = []

    def submit(self, job: Job) -> Future[JobResult]:
        """Send a job to a worker process, the one with the fewest."""
        answer: Future[JobResult] = Future()
        self._send(job, answer)
        return answer

    def run_pending(self) -> None:
        """Replace the workers that died; jobs run elsewhere."""
        for worker in [each for each in self._workers if each.lost]:
            self._workers.remove(worker)
            jobs = list(worker.jobs)
            worker.jobs.clear()
            usable = worker.asked or (worker.ready and not worker.unusable)
            if not usable:
                self._retire(worker, jobs)
            elif jobs and not worker.asked and not worker.idle:
                job, answer = jobs.pop(0)
                answer.set_exception(WorkerDied(f"the process that did it died ({worker.died_of()})"))
            worker.end(time.monotonic())
            for job, answer in jobs:
                if not answer.done():
                    self._send(job, answer)

    def running_s(self, answer: Future[JobResult]) -> float:
        """Return the seconds since a job began; see `base.GivesUp`."""
        return next((worker.running_s for worker in self._workers if worker.does(answer)), 0.0)

    def give_up(self, answer: Future[JobResult], why: str) -> None:
        """End the process that does a job; another one takes its place."""
        for worker in self._workers:
            if worker.does(answer):
                worker.leave(answer)
                with contextlib.suppress(InvalidStateError):  # it came to its end just now
                    answer.set_exception(JobLost(why))

    def worker_states(self) -> list[WorkerState]:
        """Return what each worker process does now; see `base.TellsWorkers`."""
        return [worker.state() for worker in self._workers if not worker.lost]

    def close(self) -> None:
        """End the worker processes; what they train is saved where that takes no more than `CLOSE_S`."""
        until_s = time.monotonic() + CLOSE_S
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.end(until_s)
        self._workers.clear()

    def _send(self, job: Job, answer: Future[JobResult]) -> None:
        self._renew()
        # processes are started here alone: by the driver's thread, which they end with
        while len(self._workers) < self.slots:
            self._workers.append(WorkerProcess(self._context, self._threads, self._free_number()))
        min(self._workers, key=lambda worker: len(worker.jobs)).send(job, answer)

    def _free_number(self) -> int:
        taken = {worker.number for worker in self._workers}
        return next(number for number in itertools.count(1) if number not in taken)

    def _renew(self) -> None:
        """End the workers that have nothing to do and have outgrown themselves; others take their places."""
        for worker in [each for each in self._workers if not each.jobs and each.has_outgrown()]:
            self._workers.remove(worker)
            worker.end(time.monotonic())

    def _retire(self, worker: WorkerProcess, jobs: list[tuple[Job, Future[JobResult]]]) -> None:
        reason = worker.unusable or f"it died ({worker.died_of()})"
        if self.slots == 1:
            error = MeasurementError(f"no worker can open the study: {reason}")
            for _, answer in jobs:
                answer.set_exception(error)
            return
        self.slots -= 1
        self._context.say(f"a worker could not open the study ({reason}); going on with {self.slots}")
