"""Trials whose jobs do not come to their ends: they are tried again, and given up.

A plan may crash a native library or need more memory than there is, which no exception tells. So the trial's
`plan.json` says, while a job of it runs in the driver's own process, that the process may die of it. If it does, or is
killed for another reason, the next run does the job in a process of its own.

What is lost with a machine, or was given up, is not a trial's fault as a rule, and so is tried more often.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import BrokenExecutor
from dataclasses import replace

from ..errors import one_line
from .evaluate.job import Job, Step
from .executors.base import JobLost
from .store.trials import TrialStore
from .trial import Trial, TrialState

MOST = 2
"""A trial that so many processes died of is given up."""
MOST_LOST = 5
"""A trial of which one job was lost so often is given up too: machines may die of it after all."""


class Deaths:
    """Knows what is written and done about trials that processes die of."""

    def __init__(self, executor: object, store: TrialStore) -> None:
        """Ask what does the jobs where it does them, by the attributes `apart` and `can_part` of an `Executor`."""
        self._store = store
        self._lost: Counter[tuple[int, Step, int]] = Counter()
        self._executor = executor
        self._apart: bool = getattr(executor, "apart", False)

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
        if trial.deaths and getattr(self._executor, "can_part", False):
            return replace(job, apart=True)
        if not self._apart:  # else the executor tells of deaths
            # where no other process can do it, a run that ends in the midst of a job counts, whatever ended it
            self.keep(replace(trial, deaths=trial.deaths + 1))
        return job

    def again(self, trial: Trial, job: Job, error: Exception) -> Trial:
        """Count that a job did not come to its end, and return the trial as it is to be tried again.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        if isinstance(error, BrokenExecutor) and not isinstance(error, JobLost):
            trial = replace(trial, deaths=trial.deaths + 1)
            self.keep(trial)
        else:  # whatever went wrong between the driver and the job
            self._lost[trial.number, job.step, job.rung] += 1
        return trial

    def given_up(self, trial: Trial, job: Job, rungs: int, why: object) -> str:
        """Return why a trial is given up, in a line; empty where it is tried again.

        Args:
            trial: The trial.
            job: The one that would be next.
            rungs: Of a full recovery.
            why: What became of it the last time, as far as that is known; None where that was in an earlier run, maybe
                of another job.
        """
        lost = self._lost[trial.number, job.step, job.rung] >= MOST_LOST
        if trial.deaths < MOST and not lost:
            return ""
        if why is None:
            return "died twice in earlier runs"
        said = f": {one_line(str(why))}" if str(why) else ""
        return f"{f'was lost {MOST_LOST} times' if lost else 'died twice'} while {job.words(rungs)}{said}"
