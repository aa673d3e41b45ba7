"""A worker process: it opens the study's evaluation context once, then does jobs."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path

from ...studies.checkpoint import load_weights
from ...studies.study_file import StudyFile
from ..evaluate.context import EvaluationContext, open_context
from ..evaluate.evaluation import evaluate
from ..evaluate.job import Job, JobResult
from ..identity import check_identity


def prepare_worker(threads: int) -> None:
    """Set up a new worker process; called once in each.

    Args:
        threads: For training. They are divided between workers, never shared.
    """
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def work(settings: StudyFile, folder: Path, job: Job) -> JobResult:
    """Do a job with this process's evaluation context.

    Args:
        settings: The study's settings.
        folder: The study's folder.
        job: What to do.
    """
    return evaluate(_context(settings, folder), job)


@functools.lru_cache(maxsize=1)
def _context(settings: StudyFile, folder: Path) -> EvaluationContext:
    task = settings.build_task().bare()
    load_weights(task.teacher, folder / "teacher.safetensors")
    prepared = task.prepared()
    check_identity(folder, prepared, worker=True)
    return open_context(prepared, settings, folder, worker=True)
