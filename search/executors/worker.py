"""A worker process: it opens the study's workbench once, then does jobs."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path

from ...studies.checkpoint import load_weights
from ...studies.study_file import StudyFile
from ..evaluate.context import Workbench, open_workbench
from ..evaluate.evaluation import Job, JobResult, evaluate


def prepare_worker(threads: int) -> None:
    """Called once in a new worker. threads: for training; threads are divided between workers, never shared."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def work(settings: StudyFile, folder: Path, job: Job) -> JobResult:
    """Do a job with this process's workbench."""
    return evaluate(_bench(settings, folder), job)


@functools.lru_cache(maxsize=1)
def _bench(settings: StudyFile, folder: Path) -> Workbench:
    task = settings.build_task()
    load_weights(task.teacher, folder / "teacher.safetensors")
    return open_workbench(task.prepared(), settings, folder, worker=True)
