"""One worker process of this machine, and the jobs that were sent to it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, InvalidStateError, ProcessPoolExecutor

from ...errors import one_line
from ..evaluate.job import Job, JobResult
from ..store.logs import trim_log, worker_log_path
from ..worker_state import IDLE, OPENING, WorkerState
from .base import ExecutorContext
from .resource_tracker import start_resource_tracker
from .worker import WorkerUnusable, open_study, prepare_worker, work

Sent = tuple[Job, Future[JobResult]]
WARM_AFTER_JOBS = 20
"""So many jobs fill what a process keeps for good: the teacher's answers, what libraries build once."""
GROWN_BYTES = 2**30
"""What a process may take more than it took when it was warm; libraries that build files lose some memory each time."""


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Meanwhile, let processes be started that get no SIGINT; one that comes for this process is had afterwards."""
    if sys.platform == "win32":
        yield
        return
    start_resource_tracker()  # a pool would start it with words, and its start lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerProcess:
    """Does one job at a time. A pool of its own, so that it is known which job a process died of.

    Attributes:
        number: Of the worker; one that takes its place has it too.
        jobs: Those that have not come to their end, in the order in which they were sent.
        ready: Whether it has opened the study.
        lost: Whether it takes no jobs any more: it died, cannot open the study, or was asked to stop by somebody.
        asked: Whether it was asked to stop, and not by `ask_to_stop`.
        idle: Whether it died with nothing to do, so that no job is to blame.
        unusable: Why it cannot open the study; empty where it can, or is not known to.
    """

    def __init__(self, context: ExecutorContext, threads: int, number: int = 1) -> None:
        """Start the process. The calling thread must live as long as it; see `end_with_parent`.

        Args:
            context: What it works for.
            threads: For training.
            number: Of the worker, which its log is named by.
        """
        self.number, self._given, self._log = number, context, worker_log_path(context.folder, number)
        self.jobs: list[Sent] = []
        self.ready = self.lost = self.asked = self.idle = self._closing = False
        self.unusable = ""
        self._done, self._warm_bytes, self._begun_s = 0, 0, time.monotonic()
        spawn = multiprocessing.get_context("spawn")
        how = (threads, os.getpid(), self._log, context.log_level)
        with _without_ctrl_c():  # else it would end by it with a traceback while it imports PyTorch
            self._pool = ProcessPoolExecutor(1, spawn, prepare_worker, how)
            opened = self._pool.submit(open_study, context.settings, context.folder)
        self._processes = list(self._pool._processes.values())
        opened.add_done_callback(self._opened)

    def send(self, job: Job, answer: Future[JobResult]) -> None:
        """Let it do a job once it has done those before; what comes of it goes to `answer`, unless it is lost."""
        self.idle = not self.jobs
        if self.idle:
            self._begun_s = time.monotonic()
        self.jobs.append((job, answer))
        try:
            future = self._pool.submit(work, self._given.settings, self._given.folder, job)
        except BrokenExecutor:
            self.lost = True
        else:
            self.idle = False
            future.add_done_callback(lambda done: self._ended((job, answer), done))

    def does(self, answer: Future[JobResult]) -> bool:
        """Tell whether this is the job that it does now."""
        return bool(self.jobs) and self.jobs[0][1] is answer

    @property
    def running_s(self) -> float:
        """Seconds since the job that it does now began."""
        return time.monotonic() - self._begun_s

    def state(self) -> WorkerState:
        """Return what it does now; threads of the pool's take away what it has done."""
        now = next((job for job, _ in tuple(self.jobs)), None)
        doing, trial = (IDLE, None) if now is None else (self._given.words(now), now.number)
        if not self.ready:
            doing, trial = OPENING, None
        pid = next((process.pid for process in self._processes), None)
        since_s = time.time() - self.running_s
        return WorkerState(platform.node(), self.number, doing, since_s, trial, pid)

    def leave(self, answer: Future[JobResult]) -> None:
        """Give up the job that it does now: the process ends, and nothing of what it would say is taken."""
        self.jobs = [sent for sent in self.jobs if sent[1] is not answer]
        self.asked = self.lost = True
        for process in self._processes:
            with contextlib.suppress(OSError, ValueError):
                process.kill()

    def has_outgrown(self) -> bool:
        """Tell whether the process takes so much more memory than once that a new one should go on in its place."""
        if self._done < WARM_AFTER_JOBS:
            return False
        import psutil

        with contextlib.suppress(psutil.Error, IndexError):
            taken = int(psutil.Process(self._processes[0].pid).memory_info().rss)
            self._warm_bytes = min(taken, self._warm_bytes or taken)
            return taken - self._warm_bytes > GROWN_BYTES
        return False

    def died_of(self) -> str:
        """Return how the process ended, in words, and where it said more."""
        return f"{self._ended_by()}; see {self._log}"

    def _ended_by(self) -> str:
        for process in self._processes:
            with contextlib.suppress(OSError, ValueError, AssertionError):
                process.join(1)
                code = process.exitcode
                if code is not None and code < 0:
                    name = signal.Signals(-code).name if -code in list(signal.Signals) else str(-code)
                    return name + (", out of memory?" if name == "SIGKILL" else "")
                if code is not None:
                    return f"exit code {code}"
        return "out of memory?"

    def ask_to_stop(self) -> None:
        """Let trainings save how far they came. Nothing is sent any more."""
        self._closing = True
        for process in self._processes if self.jobs else ():
            with contextlib.suppress(OSError, ValueError):
                process.terminate()
        self._pool.shutdown(wait=False)

    def end(self, until_s: float) -> None:
        """Wait for its jobs until this moment of the monotonic clock, kill the process, and cancel what is left."""
        while self.jobs and not self.lost and time.monotonic() < until_s:
            time.sleep(0.05)
        for process in self._processes:
            with contextlib.suppress(OSError, ValueError, AssertionError):
                process.join(max(0.0, until_s - time.monotonic()))
                process.kill()
                process.join(5)
        self._pool.shutdown(wait=True, cancel_futures=True)
        for _, answer in self.jobs:
            answer.cancel()

    def _opened(self, done: Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self.unusable = "" if isinstance(error, BrokenExecutor) else one_line(error)
            self.lost = True
        else:
            self.ready = not done.cancelled()

    def _ended(self, sent: Sent, done: Future[JobResult]) -> None:
        # called in a thread of the pool's
        try:
            result = done.result()
        except (BrokenExecutor, CancelledError):
            self.lost = True
        except WorkerUnusable as error:
            self.unusable, self.lost = one_line(error), True
        except BaseException as error:
            self._answer(sent, error=error)
        else:
            if result.stopped and not self._closing:
                self.asked = self.lost = True  # somebody asked this one process to stop: another one does the job
            else:
                self._answer(sent, result)

    def _answer(self, sent: Sent, result: JobResult | None = None, error: BaseException | None = None) -> None:
        self._done += 1
        self._begun_s = time.monotonic()
        trim_log(self._log)
        with contextlib.suppress(ValueError):
            self.jobs.remove(sent)
        with contextlib.suppress(InvalidStateError):
            if error is not None:
                sent[1].set_exception(error)
            elif result is not None:
                sent[1].set_result(result)
