"""Which job follows on what is known of a trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from .evaluate.job import Job, JobResult, Step
from .evaluate.warm_start import WarmStarts, start_at
from .promotion import Promotion
from .trainings import Trainings
from .trial import Trial


class Assignment(NamedTuple):
    """A trial, and the job that is to be done for it."""

    trial: Trial
    job: Job


def with_result(trial: Trial, job: Job, result: JobResult) -> Trial:
    """Return a trial with what a job found, so that what processes died of is another job; as it is where it failed."""
    if result.failure:
        return trial
    trial = replace(trial, deaths=0)
    if job.step == "gate":
        return replace(trial, gate=result.latencies, gate_bytes=result.size_bytes)
    if job.step == "look":
        return replace(trial, first_look=result.accuracy, warm_start=job.warm_start if result.warm else None)
    if job.step == "rung":
        assert result.accuracy is not None
        held = [found for found in (trial.train_bytes, result.train_bytes) if found is not None]
        return replace(trial, rungs=(*trial.rungs, result.accuracy), train_bytes=max(held, default=None))
    return replace(trial, measured=result.measured)


@dataclass(frozen=True)
class NextJob:
    """Chooses jobs.

    Attributes:
        folder: The study's folder.
        promotion: How students go from rung to rung.
        trainings: Those that were done.
        warm_starts: The students that others may start from; None lets all start from the teacher.
    """

    folder: Path
    promotion: Promotion
    trainings: Trainings
    warm_starts: WarmStarts | None

    def on_rungs(self, trial: Trial) -> Job:
        """Return the job that follows on the rungs that a trial has behind it."""
        level = len(trial.rungs)
        if level == len(self.promotion.rungs):
            return Job(trial.number, trial.spec, "build", 0, trial.warm_start)
        return Job(trial.number, trial.spec, "rung", level, trial.warm_start)

    def lost(self, trial: Trial, ended: Sequence[Trial]) -> str:
        """Return why no job can follow on a gate that was passed; empty where one can.

        Args:
            trial: The trial.
            ended: The trials that ended.
        """
        if trial.after is None or any(t.number == trial.after for t in ended):
            return ""
        return f"trial {trial.after}, whose weights it begins with, cannot be read any more"

    def after_gate(self, trial: Trial, ended: Sequence[Trial]) -> tuple[Trial, Job]:
        """Return the job that follows on a gate that was passed, and the trial as it begins it.

        Args:
            trial: The trial.
            ended: The trials that ended.
        """
        if trial.spec.recovery is None:
            return trial, Job(trial.number, trial.spec, "build")
        if trial.after is not None:
            before = next(t for t in ended if t.number == trial.after)
            first = start_at(self.folder, before, len(self.promotion.rungs))
            return replace(trial, warm_start=first), Job(trial.number, trial.spec, "rung", warm_start=first)
        if other := self.trainings.same(trial):
            job = Job(trial.number, trial.spec, "build", warm_start=other.warm_start)
            return replace(trial, warm_start=other.warm_start), job
        start = None
        if self.warm_starts is not None and not trial.by_hand:
            start = self.warm_starts.nearest(trial.spec, ended)
        # a look compares students that may be left waiting, and two starts of one
        compared = self.promotion.first_looks and not trial.to_its_end
        step: Step = "look" if compared or start else "rung"
        return trial, Job(trial.number, trial.spec, step, warm_start=start)
