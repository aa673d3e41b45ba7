"""What a step of a recovery takes, from a few real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ..spaces.spec import StudentSpec
from ..temporary import temporary_folder
from .recover import Recoverer
from .student import Student

ENOUGH_SECONDS = 2.0
MOST_STEPS = 5


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step.

    Attributes:
        step_s: Of the whole step: reading its batch, the teacher's answers, and training on it.
        reading_s: Of reading its batch alone.
    """

    step_s: float
    reading_s: float


def time_steps(
    recoverer: Recoverer, make_student: Callable[[], Student], spec: StudentSpec, stop: Callable[[], bool]
) -> StepTime:
    """Train a student for a few steps, and throw it away.

    Args:
        recoverer: Trains it.
        make_student: Makes the student that `spec` describes.
        spec: With a recovery.
        stop: Whether to end early.

    Raises:
        Stopped: `stop()` came true.
        TrialFailed: The loss is no longer a number.
    """
    schedule, data = recoverer.schedule, recoverer.data
    plan = data.epoch_plan(0, schedule.batch_size, schedule.seed)

    def seconds_of(steps: int) -> float:
        spent_s = 0.0

        @contextmanager
        def timed() -> Iterator[None]:
            nonlocal spent_s
            with recoverer.quiet():  # waiting for others to measure is no part of a step
                started = time.perf_counter()
                yield
                spent_s += time.perf_counter() - started

        short = replace(recoverer, schedule=replace(schedule, epochs=steps / plan.steps, rungs=(1.0,)), quiet=timed)
        with temporary_folder() as folder:
            short.recover(make_student(), spec, 0, folder / "student.pt", stop)
        return spent_s

    first_s = seconds_of(1)
    steps = min(MOST_STEPS, plan.steps, int(ENOUGH_SECONDS / first_s))
    step_s = seconds_of(steps) / steps if steps > 0 else first_s
    started = time.perf_counter()
    for index in range(max(1, steps)):
        plan.batch(index)
    return StepTime(step_s, min(step_s, (time.perf_counter() - started) / max(1, steps)))
