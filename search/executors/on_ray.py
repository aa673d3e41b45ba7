"""Jobs on a Ray cluster. Needs the extra `ray`."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter, deque
from concurrent.futures import Future, InvalidStateError
from typing import Any

from ...errors import AutoCompressError, MeasurementError, TimingHostLost
from ...evaluators.timing.host import TimingHost
from ...studies.study_file import StudyFile
from ..evaluate.checkpoints import training_of
from ..evaluate.job import Job, JobResult
from ..worker_state import IDLE, OPENING, WorkerState
from .base import ExecutorContext, JobLost, WorkerDied
from .last_words import LastWords
from .ray_actor import ActorHandle
from .ray_cluster import Node, Say, join, nodes, on, timing_host
from .ray_deaths import why_ended
from .ray_files import StudyFiles
from .ray_logs import WorkerLogs
from .ray_machines import Machines
from .ray_opening import hides_gpus, opening_of
from .ray_pool import TimingMachines
from .ray_worker import Bulletin, Done, Opened, RayWorker, Unseen
from .worker import WorkerUnusable

LOOK_S = 5.0
"""Seconds between two looks at the cluster's machines."""
CLOSE_S = 8.0
"""Seconds that workers have to save what they train when a search ends."""
WAIT_S = 60.0
"""Seconds without a worker after which it is said that there is none."""


class RayExecutor:
    """Does jobs on all machines of a cluster, on new ones as soon as they join.

    A machine needs AutoCompress and nothing else: the task, its data and the weights travel. Where it shares the folder
    of runs, and the user says so, weights and models do not. Machines with the target's hardware train only where there
    are no others.

    Attributes:
        apart: Always True.
        host: What times files for its workers.
    """

    apart = True

    def __init__(self, context: ExecutorContext, workers: int) -> None:
        """Join the cluster that the study names, or start one here.

        Args:
            context: What is worked for.
            workers: Jobs at a time, at most; 1 stands for as many as a cluster has room for that was joined.

        Raises:
            RuntimeUnavailable: The cluster cannot be joined.
            MeasurementError: The task cannot be sent to other processes.
        """
        import ray

        self._ray: Any = ray
        self._given, self._search = context, context.settings.search
        self._joined = join(self._search)
        self._last_words = LastWords(
            "autocompress: ended from outside, by Ray if its cluster is gone; the same command goes on with "
            f"{context.folder}"
        )
        try:
            self._begin(context, workers)
        except BaseException:
            self._last_words.close()  # the error tells more
            if not self._joined:
                ray.shutdown()
            raise

    def _begin(self, context: ExecutorContext, workers: int) -> None:
        ray = self._ray
        most = None if self._joined and workers == 1 else workers
        self._machines = Machines(self._search, most, not self._joined, context.say)
        self._timing = TimingMachines(context.context, context.say)
        self.host = self._timing.host
        self._files = StudyFiles(context.folder, self._search.shared, context.say)
        self._opening = ray.put(opening_of(context, self.host, self._files.shared))
        here = on(ray.get_runtime_context().get_node_id())
        self._bulletin = ray.remote(Bulletin).options(num_cpus=0, scheduling_strategy=here).remote()
        self._hide_gpus = hides_gpus(context)
        self._logs, self._workers = WorkerLogs(context.folder), list[ActorHandle]()
        self._queue: deque[tuple[Job, Future[JobResult]]] = deque()
        self._began_s = time.monotonic()
        self._looked_s, self._waits = float("-inf"), False
        self._closing = self._closed = False
        self.run_pending()

    @staticmethod
    def timing_host(settings: StudyFile, say: Say) -> TimingHost:
        """Return the machine of the cluster that times files; see `base.ExecutorFactory`."""
        return timing_host(settings.search, say)

    @property
    def slots(self) -> int:
        """Number of jobs at a time: of the workers that can be had now, and one at least, which then waits."""
        return max(1, sum(worker.ready for worker in self._workers))

    def submit(self, job: Job) -> Future[JobResult]:
        """Send a job to the next worker that is free."""
        future: Future[JobResult] = Future()
        self._queue.append((job, future))
        self._hand_out()
        return future

    def run_pending(self) -> None:
        """Take in what came of jobs, and look which machines are there."""
        self._take_in()
        self._logs.look()
        if time.monotonic() - self._looked_s > LOOK_S:
            self._look()
            self._looked_s = time.monotonic()
        self._hand_out()

    def running_s(self, answer: Future[JobResult]) -> float:
        """Return the seconds since a job began; see `base.GivesUp`."""
        return next((time.monotonic() - w.begun_s for w in self._workers if w.future is answer), 0.0)

    def give_up(self, answer: Future[JobResult], why: str) -> None:
        """End the process that does a job."""
        for worker in [each for each in self._workers if each.future is answer]:
            self._machines.lost(worker.node, why)
            self._end(worker, JobLost(why))

    def worker_states(self) -> list[WorkerState]:
        """Return what each worker does now, on all machines; see `base.TellsWorkers`."""
        return [self._state(worker) for worker in self._workers]

    def close(self) -> None:
        """Let trainings save how far they came, end the workers, and shut a cluster down that was started here.

        Where that was broken off, as by Ctrl-C, the next call ends what is left and waits for nobody.
        """
        if self._closed:
            return
        until_s = time.monotonic() + (0.0 if self._closing else CLOSE_S)
        self._closing = True
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._bulletin.end.remote()
        while any(worker.job for worker in self._workers) and time.monotonic() < until_s:
            self._take_in()
            time.sleep(0.1)
        for worker in list(self._workers):
            self._end(worker, None)
        for _, future in self._queue:
            future.cancel()
        self._queue.clear()
        self._logs.close(until_s)
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._bulletin)
        self._files.close()
        if not self._joined:
            self._ray.shutdown()
        self._last_words.close()
        self._closed = True

    def _state(self, worker: ActorHandle) -> WorkerState:
        since_s, job = time.time() - (time.monotonic() - worker.begun_s), worker.job
        doing = self._given.words(job) if job else IDLE if worker.ready else OPENING
        return WorkerState(worker.node.name, worker.number, doing, since_s, job.number if job else None)

    def _look(self) -> None:
        """Start workers on machines that have room for more, and leave those that are gone."""
        found = nodes()
        self._machines.tell(found)
        self._timing.look(found)
        for worker in [each for each in self._workers if each.node.key not in {node.key for node in found}]:
            self._end(worker, JobLost(f"{worker.node.name} is gone"))
        taken = Counter(worker.node.key for worker in self._workers)
        for node in self._machines.free_places(found, lambda node: taken[node.key]):
            self._start(node)
        if not self._workers and (reason := self._machines.why_none(found)):
            self._give_back(MeasurementError(f"no machine of the cluster does jobs any more: {reason}"))
        waits = bool(self._queue) and not any(worker.ready for worker in self._workers)
        if waits and self._waits is False and time.monotonic() - self._began_s > WAIT_S:
            self._given.say("no machine of the cluster has room for a job yet: waiting for one")
            self._waits = True
        elif not waits:
            self._waits, self._began_s = False, time.monotonic()

    def _start(self, node: Node) -> None:
        cpus = self._machines.cpus(node)
        options = {"num_cpus": cpus, "num_gpus": self._search.gpus_per_job, "scheduling_strategy": on(node.key)}
        given = cpus, self._bulletin, self._hide_gpus, self._given.log_level
        actor = self._ray.remote(RayWorker).options(**options).remote(*given)
        taken = {worker.number for worker in self._workers if worker.node.name == node.name}
        number = next(number for number in itertools.count(1) if number not in taken)
        log, opened = actor.printed_to.remote(), actor.open.remote(self._opening)
        self._workers.append(ActorHandle(actor, node, number, log, opened, begun_s=time.monotonic()))

    def _give_back(self, error: AutoCompressError) -> None:
        """End the search by an error, as far as jobs wait."""
        for _, future in self._queue:
            future.set_exception(error)
        self._queue.clear()

    def _take_in(self) -> None:
        waited = {worker.answer: worker for worker in self._workers if worker.answer is not None}
        if not waited:
            return
        done, _ = self._ray.wait(list(waited), num_returns=len(waited), timeout=0)
        for answer in done:
            worker = waited[answer]
            try:
                found = self._ray.get(answer)
            except Exception as error:  # whatever becomes of a process, a machine, or what was to be unpickled
                self._died(worker, error)
            else:
                self._logs.add(worker.node.name, worker.number, found.text)
                self._ended(worker, found.found)

    def _ended(self, worker: ActorHandle, found: Opened | Done | Unseen | BaseException) -> None:
        if isinstance(found, Unseen) and worker.job is not None:
            whole = self._files.whole_parcel(worker, worker.job, found)
            worker.answer = worker.actor.do.remote(worker.job, whole, worker.shares)
            return
        future, worker.answer, worker.begun_s = worker.future, None, time.monotonic()
        if future is None:
            worker.ready = isinstance(found, Opened)
            if isinstance(found, Opened):
                self._files.meet(worker, found)
            elif isinstance(found, TimingHostLost):
                self._give_back(found)
            elif isinstance(found, WorkerUnusable):
                self._machines.leave(worker.node, f"cannot open the study ({found})")
            if not worker.ready:
                self._end(worker, None)
            return
        if isinstance(found, Done):
            try:
                self._files.take_in(worker, found.made)
            except (AutoCompressError, JobLost) as error:
                found = error
            else:
                self._machines.went_well(worker.node)
                if found.result.stopped and not self._closing:
                    self._end(worker, JobLost(f"{worker.node.name} could not ask the driver whether to go on"))
                    return
        if isinstance(found, JobLost):
            self._machines.lost(worker.node, str(found))
        worker.job = worker.future = None
        with contextlib.suppress(InvalidStateError):
            if isinstance(found, BaseException):
                future.set_exception(found)
            elif isinstance(found, Done):
                future.set_result(found.result)

    def _died(self, worker: ActorHandle, error: Exception) -> None:
        gone = worker.node.key not in {node.key for node in nodes()}
        ended = why_ended(error, worker.node.name, gone)
        if isinstance(ended, WorkerDied):
            ended = WorkerDied(f"{ended}; see {self._logs.path(worker.node.name, worker.number)}")
        if not gone and "node has died" not in str(error):
            self._machines.lost(worker.node, str(ended))
        self._end(worker, ended)

    def _end(self, worker: ActorHandle, error: JobLost | WorkerDied | None) -> None:
        """End a worker. Its job is told of `error`, and cancelled without one."""
        self._workers.remove(worker)
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)
        if error is not None:
            why = str(error).partition("; see ")[0]
            self._logs.died(worker.node.name, worker.number, why, worker.printed_to, on(worker.node.key))
        if worker.future is not None:
            with contextlib.suppress(InvalidStateError):
                if error is None:
                    worker.future.cancel()
                else:
                    worker.future.set_exception(error)

    def _hand_out(self) -> None:
        """Give jobs to the workers that are free. What would train the same weights as a running job waits for it."""
        free = deque(worker for worker in self._workers if worker.ready and worker.answer is None)
        running = {training_of(worker.job) for worker in self._workers if worker.job is not None} - {""}
        waiting: deque[tuple[Job, Future[JobResult]]] = deque()
        while self._queue and free:
            job, future = self._queue.popleft()
            if training_of(job) in running:
                waiting.append((job, future))
                continue
            worker = free.popleft()
            worker.job, worker.future, worker.begun_s = job, future, time.monotonic()
            worker.answer = worker.actor.do.remote(job, self._files.parcel(worker, job), worker.shares)
            running |= {training_of(job)} - {""}
        self._queue.extendleft(reversed(waiting))
