"""The teacher of a study: trained or fine-tuned once, then kept."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..compression.precision import (
    autocast_context,
    module_to_training_layout,
    to_training_layout,
    training_device,
)
from ..errors import AutoCompressError, StudyFileError, one_line
from ..spaces.graph.devices import moved
from ..spaces.graph.interface import Interface
from .checkpoint import load_weights, plain_bytes, read_notes, save_weights
from .data.sources import as_data
from .data.streams import StreamedData
from .data.tensors import MemoryData
from .fitting import placed, some_labels
from .schema import TeacherSection
from .study_file import StudyFile
from .task import Task

Progress = Callable[[int, int, float], None]
"""Is called after every epoch with (epochs done, epochs in all, mean loss of the epoch)."""

WARM_UP_FRACTION = 0.15
WEIGHT_DECAY = 5e-4


class TeacherStopped(Exception):
    """Training was asked to stop before its end. Nothing was kept, because half a schedule is no teacher."""


def epochs_told(log: Callable[[str], None]) -> Progress:
    """Return what tells `log` of every epoch of a teacher's training, in a line."""
    return lambda epoch, epochs, loss: log(f"teacher: epoch {epoch} of {epochs}, loss {loss:.3f}")


def prepare_teacher(
    study_file: StudyFile,
    task: Task,
    cache_dir: Path,
    log: Callable[[str], None] = lambda line: None,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda epoch, epochs, loss: None,
) -> nn.Module:
    """Train the teacher on the train split alone, for as many epochs as [teacher] says.

    It is kept in `cache_dir`/teacher.safetensors, and taken from there as long as [teacher], [data], [task] and the
    weights that it starts from are the same. A study that was begun keeps the one it has: its trials come from that,
    and a task may start from random weights.

    Args:
        study_file: The study.
        task: Its task; its teacher is not changed.
        cache_dir: The study's folder.
        log: Takes a line about what was done.
        stop: Whether to end early, asked before every step.
        progress: Is told of every epoch.

    Returns:
        The teacher in eval mode, on the CPU; a copy of the task's where there are no epochs.

    Raises:
        TeacherStopped: `stop()` came true.
        StudyFileError: The training diverged.
        DataError: Training data cannot be used.
        StorageError: The disk is full or cannot be written.
    """
    section = study_file.teacher
    teacher = copy.deepcopy(task.teacher).eval()
    if section.epochs == 0:
        return teacher
    path = cache_dir / "teacher.safetensors"
    key = _key(study_file, teacher)
    known = read_notes(path).get("key")
    begun = (cache_dir / "identity.json").exists()
    if known == key or (known is not None and begun):
        load_weights(teacher, path)
        other = "" if known == key else ", where this study trained it from other first weights than the task has now"
        log(f"teacher: taken from {path}{other}")
        return teacher
    start_s = time.monotonic()
    reading = task.reading()
    data = as_data(task.train, reading=reading)
    kind = task.kind_of_task()
    lesson = placed(task.loss) or (kind.losses(some_labels(data)).hard if kind is not None else None)
    assert lesson is not None
    precise = kind is not None and kind.losses(torch.zeros(1)).precise
    loss = _train(_Lesson(reading.interface, lesson, precise), teacher, data, section, stop, progress)
    save_weights(teacher, path, {"key": key})
    log(f"teacher: {section.epochs} epochs in {time.monotonic() - start_s:.0f} s, last mean loss {loss:.3f}")
    return teacher


def _key(study_file: StudyFile, teacher: nn.Module) -> str:
    digest = hashlib.sha256()
    parts = {name: getattr(study_file, name).model_dump(mode="json") for name in ("teacher", "data", "task")}
    digest.update(json.dumps(parts, sort_keys=True).encode())
    for part in plain_bytes(teacher):
        digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True)
class _Lesson:
    interface: Interface
    loss: Callable[[Tensor, Tensor], Tensor]
    precise: bool = False


def _train(
    lesson: _Lesson,
    teacher: nn.Module,
    data: MemoryData | StreamedData,
    section: TeacherSection,
    stop: Callable[[], bool],
    progress: Progress,
) -> float:
    device = training_device()
    if not isinstance(data, StreamedData):
        data = data.to(device)
    module_to_training_layout(teacher, device).train()
    optimizer = torch.optim.SGD(
        teacher.parameters(), section.learning_rate, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    mean_loss = math.nan
    for epoch in range(section.epochs):
        plan = data.epoch_plan(epoch, section.batch_size, section.seed)
        total = torch.zeros((), device=device)
        for step in range(plan.steps):
            if stop():
                raise TeacherStopped
            done = (epoch + step / plan.steps) / section.epochs
            for group in optimizer.param_groups:
                group["lr"] = section.learning_rate * schedule(done)
            inputs, labels = plan.batch(step)
            try:
                with autocast_context(device, lesson.precise):
                    outputs = lesson.interface.call(teacher, to_training_layout(inputs, device))
                loss = lesson.loss(outputs.float(), labels.to(device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
            except AutoCompressError:
                raise
            except Exception as error:  # whatever a network makes of its data: a batch of one, another size
                raise StudyFileError(
                    f"[teacher] a step of training on {len(labels)} inputs fails: {type(error).__name__}: "
                    f"{one_line(error)}"
                ) from error
            optimizer.step()
            # Summed on the device: reading the loss at every step would wait for a GPU each time.
            total += loss.detach()
        mean_loss = float(total) / plan.steps
        if not math.isfinite(mean_loss):
            raise StudyFileError(
                f"[teacher] training diverged (loss {mean_loss} in epoch {epoch + 1}, learning_rate "
                f"{section.learning_rate:g}): lower learning_rate"
            )
        progress(epoch + 1, section.epochs, mean_loss)
    moved(teacher, "cpu").eval()
    for parameter in teacher.parameters():
        parameter.data = parameter.data.contiguous()
        parameter.grad = None
    return mean_loss


def schedule(done: float) -> float:
    """Return the share of the peak learning rate at `done` (0 to 1) of the training.

    It is a short rise, then half a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    if done < WARM_UP_FRACTION:
        return 0.1 + 0.9 * done / WARM_UP_FRACTION
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP_FRACTION) / (1 - WARM_UP_FRACTION)))
