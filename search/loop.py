"""The driver: has an executor do what is decided, and tells what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress

from ..errors import AutoCompressError
from .decisions import Decisions
from .evaluate.job import JobResult
from .executors.base import Executor
from .next_job import Assignment
from .pace import Snapshot
from .stragglers import Stragglers
from .trial import Trial

POLL_S = 0.2


class Driver:
    """Runs one study on an executor.

    Attributes:
        decisions: Says what is done next, and takes in what came of it.
    """

    def __init__(self, executor: Executor, decisions: Decisions) -> None:
        """Have jobs done.

        Args:
            executor: Runs jobs.
            decisions: Of the study.
        """
        self.decisions = decisions
        self._executor, self._stragglers = executor, Stragglers(executor)
        self._active: dict[Future[JobResult], Assignment] = {}

    @property
    def trials(self) -> list[Trial]:
        """All trials that ended."""
        return self.decisions.trials

    @property
    def waiting(self) -> int:
        """Number of students that wait at a rung."""
        return len(self.decisions.room)

    def run(self, should_stop: Callable[[], bool], watch: Callable[[Snapshot], None]) -> bool:
        """Search until `should_stop()`, until the number of trials is reached, or until nothing new can be proposed.

        Args:
            should_stop: Asked between jobs and while jobs run.
            watch: Called several times a second.

        Returns:
            Whether the space was exhausted.

        Raises:
            MeasurementError: No worker can start, or many trials in a row failed.
            AutoCompressError: What else ends a study, once running jobs were dropped.
        """
        try:
            exhausted = self._run(should_stop, watch)
        finally:
            self._take_leave()
        watch(self.decisions.snapshot())  # jobs that were done as it ended may have ended trials
        return exhausted

    def _take_leave(self) -> None:
        """End the jobs that run, take in what they came to, and write how the others stand."""
        self.decisions.leave()
        self._executor.close()
        for future in [f for f in self._active if f.done() and not f.cancelled() and f.exception() is None]:
            with suppress(AutoCompressError):
                self._advance(future)
        for number in list(self.decisions.running):
            self.decisions.set_aside(number)
        self._active.clear()

    def _run(self, should_stop: Callable[[], bool], watch: Callable[[Snapshot], None]) -> bool:
        while True:
            self.decisions.meet()
            while len(self._active) < self._executor.slots and not should_stop():
                if (assigned := self.decisions.begin()) is None:
                    break
                self._submit(assigned)
                # a proposal can take seconds, in which others came to their end: what follows on them is known already
                self._take_in(future for future in list(self._active) if future.done())
            if not self._active or should_stop():
                return self.decisions.exhausted
            watch(self.decisions.snapshot())
            self._stragglers.give_up(self._active)
            self._executor.run_pending()
            done, _ = wait(self._active, POLL_S, FIRST_COMPLETED)
            self._take_in(done)
            watch(self.decisions.snapshot())

    def _take_in(self, done: Iterable[Future[JobResult]]) -> None:
        for future in done:
            self._advance(future)

    def _submit(self, assigned: Assignment) -> None:
        self._active[self._executor.submit(assigned.job)] = assigned

    def _advance(self, future: Future[JobResult]) -> None:
        trial, job = self._active.pop(future)
        try:
            result = future.result()
        except BaseException as error:
            if not isinstance(error, Exception) or isinstance(error, AutoCompressError):
                raise
            follows = self.decisions.broke_off(trial.number, error)
        else:
            if not result.failure and not result.stopped:
                self._stragglers.took(job, sum(result.seconds.values()))
            follows = self.decisions.came(trial.number, result)
        if follows is not None:
            self._submit(follows)
