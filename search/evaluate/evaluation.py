"""Evaluation: a pure function of (context, job). It can run here, in a worker process or on a Ray node."""

from __future__ import annotations

import gc
import traceback
from dataclasses import replace

from ...compression.memory import StepMeter
from ...compression.recover import Stopped
from ...errors import (
    AutoCompressError,
    ExportError,
    MeasurementError,
    MetricError,
    TrialFailed,
    one_line,
)
from ...files import disk_errors, write_bytes
from ...spaces.spec import StudentSpec
from ..logs import about_trial
from ..store.layout import trial_folder
from .build import build_and_measure
from .checkpoints import first_accuracy
from .context import EvaluationContext
from .gate import time_shape
from .job import Clock, Job, JobResult
from .rung import train_rung

LARGE_BYTES = 2**25
"""Weights of a network whose students are freed as soon as a job is done. A graph refers to itself, so Python leaves it
to its collector, which counts objects and not how large they are: many students would wait in memory for it."""


def evaluate(context: EvaluationContext, job: Job) -> JobResult:
    """Do a job.

    Args:
        context: What this process has of the study.
        job: What to do.

    Returns:
        The result. A trial that cannot go on gives a failure.

    Raises:
        AutoCompressError: What ends the study: a full disk, a metric that is not defined for the teacher.
    """
    clock = Clock()
    try:
        with about_trial(job.number), disk_errors(context.folder):
            return replace(_done(context, job, clock), seconds=clock.seconds)
    except Stopped:
        return JobResult(stopped=True, seconds=clock.seconds)
    except (TrialFailed, MeasurementError, ExportError) as failure:
        return JobResult(failure=str(failure), seconds=clock.seconds)
    except MetricError as failure:
        if replace(job.spec, target="") == StudentSpec():
            raise  # of the teacher itself: nothing could be compared
        return JobResult(failure=str(failure), seconds=clock.seconds)
    except AutoCompressError:
        raise
    except Exception as fault:
        # one plan that cannot be must not end a night of searching, nor every attempt to resume it
        path = trial_folder(context.folder, job.number) / "fault.txt"
        write_bytes(path, traceback.format_exc().encode())
        return JobResult(failure=f"{type(fault).__name__}: {one_line(fault)} (see {path})", seconds=clock.seconds)
    finally:
        if sum(p.nbytes for p in context.task.teacher.parameters()) > LARGE_BYTES:
            gc.collect()


def _done(context: EvaluationContext, job: Job, clock: Clock) -> JobResult:
    if job.step == "gate":
        shape = time_shape(context, job.spec, clock)
        return JobResult(latencies=shape.latencies, size_bytes=shape.size_bytes)
    if job.step == "look":
        with clock.time("measuring"):
            accuracy, warm = first_accuracy(context, job.spec, job.warm_start)
        return JobResult(accuracy=accuracy, warm=warm)
    if job.step == "rung":
        meter = StepMeter()
        accuracy = train_rung(context, job, clock, meter)
        return JobResult(accuracy=accuracy, train_bytes=meter.largest.total if meter.largest else None)
    return JobResult(measured=build_and_measure(context, job, clock))
