"""Jobs that take far longer than others of their kind took: they are given up, and done once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future

from .evaluate.job import Job, JobResult, Step
from .executors.base import Executor, GivesUp
from .next_job import Assignment

TIMES = 10.0
"""A job may take so many times as long as the longest of its kind: students of one study differ, and machines do."""
LEAST_S = 600.0
"""Seconds that any job may take."""
ENOUGH = 3
"""So many jobs of a kind tell how long one takes."""


class Stragglers:
    """Gives up what hangs: a network's disk that does not answer, a node that swaps, a library in an endless loop."""

    def __init__(self, executor: Executor) -> None:
        """Give up jobs of an executor, where it can; see `GivesUp`."""
        self._executor = executor if isinstance(executor, GivesUp) else None
        self._longest_s: dict[tuple[Step, int], float] = {}
        self._seen: Counter[tuple[Step, int]] = Counter()

    def took(self, job: Job, seconds: float) -> None:
        """Note how long a job took that came to its end with a result."""
        kind = job.step, job.rung
        self._seen[kind] += 1
        self._longest_s[kind] = max(seconds, self._longest_s.get(kind, 0.0))

    def give_up(self, active: Mapping[Future[JobResult], Assignment]) -> None:
        """Give up those of the running jobs that take too long. Of a kind that is new, none does.

        What was given up may be larger than all before: such a job then has twice the time.
        """
        if self._executor is None:
            return
        for answer, (_, job) in active.items():
            kind = job.step, job.rung
            if self._seen[kind] < ENOUGH or answer.done():
                continue
            limit_s, running_s = max(LEAST_S, TIMES * self._longest_s[kind]), self._executor.running_s(answer)
            if running_s > limit_s:
                self._longest_s[kind] = 2 * limit_s / TIMES
                self._executor.give_up(answer, f"took over {limit_s:.0f} s, where others took far less")
