"""A worker process: it opens the study's evaluation context once, then does jobs."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import os
import signal
import threading
import time
from pathlib import Path

from ...errors import MeasurementError, one_line
from ...parent import end_with_parent
from ...studies.checkpoint import load_weights
from ...studies.study_file import StudyFile
from ..evaluate.context import EvaluationContext, open_context
from ..evaluate.job import Job, JobResult
from ..identity import check_identity
from ..job_log import evaluate_in_worker
from ..logs import log_to_stderr

ASKED_TO_STOP = threading.Event()
"""Of this process, as signals are: set by SIGTERM, which the driver sends when it ends."""


class WorkerUnusable(MeasurementError):
    """This worker cannot open the study. Others may."""


def prepare_worker(threads: int, parent: int | None = None, log: Path | None = None, log_level: str = "info") -> None:
    """Set up a new worker process; called once in each.

    Args:
        threads: For training. They are divided between workers, never shared.
        parent: Process id of the driver, without which this process ends; None where others see to that.
        log: Takes what this process prints, and where it was if a library crashes it; None leaves that where it goes.
        log_level: The least that this process logs.
    """
    if log is not None:
        _print_to(log)
    log_to_stderr(log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    if parent is not None:
        end_with_parent(parent)
        for name in ("SIGTERM", "SIGHUP"):  # schedulers and terminals send them to all processes of a job
            if (number := getattr(signal, name, None)) is not None:
                signal.signal(number, lambda _number, _frame: ASKED_TO_STOP.set())
    import torch

    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def _print_to(log: Path) -> None:
    """Let all that this process prints go to the end of a file. A disk that takes none costs no worker."""
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        os.write(handle, f"process {os.getpid()}, {time.strftime('%Y-%m-%d %H:%M:%S %z')}\n".encode())
        for stream in (1, 2):
            os.dup2(handle, stream)
        os.close(handle)
        faulthandler.enable()


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
    return evaluate_in_worker(_context(settings, folder), job, len(settings.recovery.rungs))


@functools.lru_cache(maxsize=1)
def _context(settings: StudyFile, folder: Path) -> EvaluationContext:
    try:
        task = settings.build_task().bare()
        load_weights(task.teacher, folder / "teacher.safetensors")
        prepared = task.prepared()
        check_identity(folder, prepared, worker=True)
        return open_context(prepared, settings, folder, ASKED_TO_STOP.is_set, worker=True)
    except Exception as error:  # whatever a task's code, its data, or this machine say
        raise WorkerUnusable(one_line(error)) from error
