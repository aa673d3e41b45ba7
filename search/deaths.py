"""Trials that processes die of: they are counted, tried apart from the driver, and given up.

A plan may crash a native library or need more memory than there is, which no exception tells. So the trial's
`plan.json` says, while a job of it runs in the driver's own process, that the process may die of it. If it does, or is
killed for another reason, the next run does the job in a process of its own.
"""

from __future__ import annotations

from dataclasses import replace

from .evaluate.job import Job
from .executors.base import Executor
from .store.trials import TrialStore
from .trial import Trial, TrialState

MOST = 2
"""A trial that so many processes died of is given up."""


class Deaths:
    """Knows what is written and done about trials that processes die of."""

    def __init__(self, executor: Executor, store: TrialStore) -> None:
        """Ask an executor where it does its jobs; see `executors.base.Executor`."""
        self._store = store
        self._apart: bool = getattr(executor, "apart", False)
        self._can_part: bool = getattr(executor, "can_part", False)

    def keep(self, trial: Trial) -> None:
        """Write how a trial stands while no job of it runs, so that the next run finds it there.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        known = trial.first_look is not None or trial.rungs
        self._store.begin(replace(trial, state=TrialState.WAITING) if known else trial)

    def sent(self, trial: Trial, job: Job) -> Job:
        """Write that a job of a trial begins, where this process may die of it.

        Returns:
            The job as it is sent to the executor.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        if self._can_part and trial.deaths:
            return replace(job, apart=True)
        if not self._apart:  # else the executor tells of deaths
            # where no other process can do it, a run that ends in the midst of a job counts, whatever ended it
            self.keep(replace(trial, deaths=1 if self._can_part else trial.deaths + 1))
        return job


def words(job: Job, rungs: int, why: object) -> str:
    """Return why a trial is given up, in a line.

    Args:
        job: That processes died of.
        rungs: Of a full recovery.
        why: How the last one died, as far as that is known; None where it died in an earlier run, maybe of another job.
    """
    if why is None:
        return "died twice in earlier runs"
    return f"died twice while {job.words(rungs)}" + (f": {why}" if str(why) else "")
