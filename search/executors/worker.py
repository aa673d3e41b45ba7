"""A worker process: it opens the study's evaluation context once, then does jobs."""

from __future__ import annotations

import functools
import os
import signal
import threading
from pathlib import Path

from ...errors import MeasurementError, one_line
from ...parent import end_with_parent
from ...studies.checkpoint import load_weights
from ...studies.study_file import StudyFile
from ..evaluate.context import EvaluationContext, open_context
from ..evaluate.evaluation import evaluate
from ..evaluate.job import Job, JobResult

ASKED_TO_STOP = threading.Event()
"""Of this process, as signals are: set by SIGTERM, which the driver sends when it ends."""


class WorkerUnusable(MeasurementError):
    """This worker cannot open the study. Others may."""


def prepare_worker(threads: int, parent: int | None = None) -> None:
    """Set up a new worker process; called once in each.

    Args:
        threads: For training. They are divided between workers, never shared.
        parent: Process id of the driver, without which this process ends; None where others see to that.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    if parent is not None:
        end_with_parent(parent)
        for name in ("SIGTERM", "SIGHUP"):  # schedulers and terminals send them to all processes of a job
            if (number := getattr(signal, name, None)) is not None:
                signal.signal(number, lambda _number, _frame: ASKED_TO_STOP.set())
    import torch

    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def open_study(settings: StudyFile, folder: Path) -> None:
    """Make this process's evaluation context, so that it is known whether it can be made.

    Raises:
        WorkerUnusable: It cannot.
    """
    _context(settings, folder)


def work(settings: StudyFile, folder: Path, job: Job) -> JobResult:
    """Do a job with this process's evaluation context.

    Args:
        settings: The study's settings.
        folder: The study's folder.
        job: What to do.

    Raises:
        WorkerUnusable: The context cannot be made.
    """
    return evaluate(_context(settings, folder), job)


@functools.lru_cache(maxsize=1)
def _context(settings: StudyFile, folder: Path) -> EvaluationContext:
    try:
        task = settings.build_task().bare()
        load_weights(task.teacher, folder / "teacher.safetensors")
        return open_context(task.prepared(), settings, folder, ASKED_TO_STOP.is_set, worker=True)
    except Exception as error:  # whatever a task's code, its data, or this machine say
        raise WorkerUnusable(one_line(error)) from error
