"""The forecast: what a student will take, and how many there is time for, before the first is tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ...compression.schedule import Schedule
from ...compression.step_time import StepTime, time_steps
from ...compression.student import make_student
from ...spaces.spec import Recovery, StudentSpec
from ..evaluate.context import EvaluationContext
from ..evaluate.gate import time_shape
from ..trainings import trained
from ..trial import Trial
from .latency_samples import seconds_of_a_shape

SLOW_READING, SLOW_BUILDING, SLOW_MEASURING = 0.3, 0.4, 0.5
"""Shares of a step, and of a student's time, from which a user is told what is slow."""
FEW_STUDENTS = 3
"""With fewer than this there is hardly a search."""


@dataclass(frozen=True)
class Forecast:
    """What a student takes, from its proposal to its file.

    Attributes:
        schedule: Of a full recovery.
        steps: Of a full recovery.
        training_s: Seconds of all steps.
        building_s: Seconds of building its files.
        measuring_s: Seconds of measuring and scoring them.
        reading_share: Part of a step that goes into reading its batch; 0 where that was not measured.
        seen: Finished students of this study that these figures are from; 0 if they are the teacher's own.
    """

    schedule: Schedule
    steps: int
    training_s: float
    building_s: float
    measuring_s: float
    reading_share: float = 0.0
    seen: int = 0

    @property
    def student_s(self) -> float:
        """Seconds of one student."""
        return self.training_s + self.building_s + self.measuring_s

    def students(self, seconds: float, workers: int = 1) -> int:
        """Return how many students come to their end in so many seconds."""
        return math.floor(max(0.0, seconds) * workers / self.student_s)

    def lines(self, left_s: float | None, trials: int | None = None, workers: int = 1) -> list[str]:
        """Return the forecast in words.

        Args:
            left_s: Seconds of the search, without those kept back for its end; None without an end.
            trials: That were asked for, None for any number.
            workers: Trials at a time.
        """
        whose = f"the {self.seen} students so far took" if self.seen else "a student of the teacher's size takes"
        found = [
            f"forecast: {whose} about {_time(self.student_s)}: training {_time(self.training_s)} ({self.steps} steps of"
            f" {_time(self.training_s / self.steps)}; batches of {self.schedule.batch_size}, "
            f"{self.schedule.epochs:.3g} epochs), building {_time(self.building_s)}, measuring "
            f"{_time(self.measuring_s)}"
        ]
        early = ", ".join(f"{rung:.0%}" for rung in self.schedule.rungs[:-1])
        rungs = f"; most are stopped at {early} of their training" if early else ""
        if left_s is not None:
            count = self.students(left_s, workers)
            found.append(
                f"forecast: {_time(max(0.0, left_s))} are left for the search, enough for about {count} such students"
                f" to their end{rungs}, and smaller ones are faster"
            )
            if count < FEW_STUDENTS:
                minutes = math.ceil(10 * self.student_s / workers / 60)
                found.append(
                    f"careful: that is hardly a search; give it {minutes} minutes more, or fewer [recovery] epochs"
                )
        elif trials is not None:
            found.append(f"forecast: {trials} trials take {_time(trials * self.student_s / workers)} at most{rungs}")
        return [*found, *self._slow()]

    def _slow(self) -> list[str]:
        found = []
        if self.reading_share > SLOW_READING:
            found.append(
                f"slow: {self.reading_share:.0%} of each step is reading its batch; a loader with workers, or data "
                "decoded once, trains that much faster"
            )
        if self.building_s > SLOW_BUILDING * self.student_s:
            found.append(f"slow: {self.building_s / self.student_s:.0%} of a student's time is exporting its files")
        if self.measuring_s > SLOW_MEASURING * self.student_s:
            found.append(
                f"slow: {self.measuring_s / self.student_s:.0%} of a student's time is measuring and scoring its files"
            )
        return found


def forecast(
    context: EvaluationContext, ended: Sequence[Trial], any_of: bool = False, recovery: Recovery | None = None
) -> Forecast:
    """Measure what a student takes, or take it from those that were finished.

    A copy of the teacher is trained for a few steps. What files take is known from the shapes measured so far; the
    teacher's own is measured where there is none, which its trial needs anyway.

    Args:
        context: What this process has of the study.
        ended: Trials that ended in earlier runs.
        any_of: Whether each student is for one of the targets, not for all of them.
        recovery: How students are taught, by default as it is without a space.

    Raises:
        Stopped: The context's `stop` came true.
        TrialFailed: The teacher's file does not agree with it, or its loss is no number.
        ExportError: The teacher cannot be exported.
        MeasurementError: Its file cannot be timed.
    """
    schedule, data = context.recoverer.schedule, context.recoverer.data
    steps = schedule.steps(data)
    taught = [t.seconds for t in trained(ended) if "training" in t.seconds]
    if taught:
        training, building, measuring = (
            median(seconds.get(kind, 0.0) for seconds in taught) for kind in ("training", "building", "measuring")
        )
        return Forecast(schedule, steps, training, building, measuring, seen=len(taught))
    time_shape(context, StudentSpec())
    shapes = [seconds_of_a_shape(session) for session in context.sessions.values()]
    # of several targets that plans choose from, each student has files for one
    share = 1 / len(shapes) if any_of else 1.0
    building_s, measuring_s = (share * sum(s.get(kind, 0.0) for s in shapes) for kind in ("building", "measuring"))
    spec = StudentSpec(recovery=recovery or Recovery())
    step = time_steps(context.recoverer, lambda: make_student(context.parent, spec), spec, context.stop)
    examples = len(context.task.validation)
    scoring_s = sum(s.calibration.p50_ms / 1000 * examples / s.target.batch for s in context.sessions.values())
    return Forecast(
        schedule,
        steps,
        steps * step.step_s,
        2 * building_s,  # before its training, and after it
        2 * measuring_s + share * scoring_s,
        _share(step),
    )


def _share(step: StepTime) -> float:
    return step.reading_s / step.step_s if step.step_s > 0 else 0.0


def _time(seconds: float) -> str:
    """Return a duration in the unit that it is best read in."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
