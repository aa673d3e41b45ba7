"""What is logged of jobs: when they begin and end, what came of them, and what was decided for them."""

from __future__ import annotations

import json
import logging

from ..errors import one_line
from .evaluate.context import EvaluationContext
from .evaluate.evaluation import evaluate
from .evaluate.job import Job, JobResult
from .logs import about_trial, log
from .trial import Trial


class JobLog:
    """Logs, in the driver, the jobs that it sends, and adds up their time.

    Attributes:
        seconds: Spent in the jobs that ended, by kind of work.
    """

    def __init__(self, rungs: int) -> None:
        """Log jobs of recoveries with so many rungs."""
        self._rungs = rungs
        self.seconds: dict[str, float] = {}

    def words(self, trial: Trial, job: Job) -> str:
        """Return what is being done for a trial, for a display."""
        return f"trial {trial.number} ({trial.label}): {job.words(self._rungs)}"

    def sent(self, trial: Trial, job: Job) -> None:
        """Log that a job begins, as far as the driver knows, and what was decided for it."""
        with about_trial(trial.number):
            log(f"begins {job.words(self._rungs)} ({trial.label})")
            if job.step == "gate":
                log(f"plan: {json.dumps(dict(trial.plan.choices))}", logging.DEBUG)
            elif job.warm_start is not None:
                log(f"may begin with the weights of trial {job.warm_start.number}", logging.DEBUG)

    def ended(self, trial: Trial, job: Job, result: JobResult) -> None:
        """Log what came of a job, and count its seconds."""
        for kind, value in result.seconds.items():
            self.seconds[kind] = self.seconds.get(kind, 0.0) + value
        with about_trial(trial.number):
            log(f"{job.words(self._rungs)}: {outcome(result)}")
            if result.latencies:
                found = {name: round(latency.p50_ms, 4) for name, latency in result.latencies.items()}
                log(f"shape: p50 ms {json.dumps(found)}, {result.size_bytes} bytes", logging.DEBUG)

    def lost(self, trial: Trial, job: Job, error: BaseException) -> None:
        """Log that a job did not come to its end."""
        with about_trial(trial.number):
            log(f"{job.words(self._rungs)}: did not come to its end: {one_line(error)}", logging.WARNING)


def evaluate_in_worker(context: EvaluationContext, job: Job, rungs: int) -> JobResult:
    """Do a job, and log its begin and its end in this process.

    Args:
        context: What this process has of the study.
        job: What to do.
        rungs: Of a full recovery.

    Raises:
        AutoCompressError: What ends the study; see `evaluate`.
    """
    with about_trial(job.number):
        log(f"begins {job.words(rungs)}")
        try:
            result = evaluate(context, job)
        except BaseException as error:
            log(f"{job.words(rungs)}: {type(error).__name__}: {one_line(error)}", logging.ERROR)
            raise
        log(f"{job.words(rungs)}: {outcome(result)}")
        return result


def outcome(result: JobResult) -> str:
    """Return what came of a job, and where its seconds went, in a line."""
    parts = ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in result.seconds.items())
    took = f"took {sum(result.seconds.values()):.2f} s" + (f" ({parts})" if parts else "")
    if result.stopped:
        return f"{took}, was asked to stop"
    if result.failure:
        return f"{took}, failed: {result.failure}"
    return took if result.accuracy is None else f"{took}, metric {result.accuracy:.6g}"
