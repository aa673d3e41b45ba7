"""A rung of a training: the student is taught up to its end, and looked at."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ...compression.gradual import begins_with
from ...compression.memory import StepMeter
from ...compression.recover import Stopped
from ...compression.recovered import read_checkpoint
from ...errors import StorageError, one_line
from ...files import PARTIAL, read_json, write_json
from ...remarks import remark
from ...spaces.plain import to_plain
from .checkpoints import checkpoint_path, look_at, start_student
from .context import EvaluationContext
from .job import Clock, Job


def train_rung(context: EvaluationContext, job: Job, clock: Clock, meter: StepMeter | None = None) -> float:
    """Teach a student up to the end of the job's rung.

    Args:
        context: What this process has of the study.
        job: The trial's student, its rung, and whose weights it begins with.
        clock: Adds up where the time went.
        meter: Watches the memory of training, where anything is left to train.

    Returns:
        The student's metric on a part of the validation split.

    Raises:
        TrialFailed: The loss is no longer a number.
        Stopped: The context's `stop` came true; the checkpoint says at which step.
    """
    path = checkpoint_path(context.folder, job.spec, job.rung, job.warm_start)
    look = path.with_suffix(f".{job.spec.key()}.json")
    # trials that differ in bits alone share their training: one of them trains, the other waits for it
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.with_suffix(".lock"), context):
        known = _read_look(look)
        if known is not None:
            return known
        with clock.time("training"):
            earlier = checkpoint_path(context.folder, job.spec, job.rung - 1, job.warm_start)
            # a file that is cut is put aside here already: what it held is no beginning
            if read_checkpoint(path) is None and job.rung:
                _continue_from(earlier, path)
            # what was begun has weights of its own; where it began still says which of them patterns hold at zero
            begun = read_checkpoint(path) is not None and not begins_with(job.spec).patterns
            with context.slices():
                student = start_student(context, begins_with(job.spec), None if begun else job.warm_start)
            recoverer = context.recoverer.with_seed(job.seed)
            fake = recoverer.recover(student, job.spec, job.rung, path, context.stop, meter)
            earlier.unlink(missing_ok=True)
        with clock.time("measuring"):
            accuracy = look_at(context, student.module, fake)
        write_json(look, {"accuracy": accuracy, "spec": to_plain(job.spec)})
        return accuracy


@contextmanager
def _alone(path: Path, context: EvaluationContext) -> Iterator[None]:
    """Hold a lock; another trial may train for long while it is waited for.

    Raises:
        Stopped: The context's `stop` came true meanwhile.
    """
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=1.0)
            break
        except Timeout:
            if context.stop():
                raise Stopped from None
    try:
        yield
    finally:
        lock.release()


def _read_look(path: Path) -> float | None:
    try:
        known = read_json(path)
        return None if known is None else float(known["accuracy"])
    except (StorageError, KeyError, TypeError, ValueError) as error:
        remark(f"{path}: cannot be read ({one_line(error)[:100]}); the student is looked at again")
        return None


def _continue_from(earlier: Path, path: Path) -> None:
    """Copy the checkpoint of the rung before, where it is still there."""
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as folder:
        beside = Path(folder) / path.name
        with suppress(FileNotFoundError):  # a trial that is taught alike went on, and took it away
            shutil.copyfile(earlier, beside)
            beside.replace(path)
