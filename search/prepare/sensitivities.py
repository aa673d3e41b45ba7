"""The sensitivity of a study's teacher, measured once and kept: one JSON file for each teacher and calibration data."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from ...cache import Cache, user_cache
from ...compression.kl_meter import numbers_of_answer
from ...compression.sensitivity import measure_sensitivity, sensitivity_inputs
from ...evaluators.microbenchmarks import Say
from ...evaluators.timing.breathing import Slices, breathing
from ...spaces.context import SpaceContext
from ...spaces.inputs import Inputs, count_of, tensors_of
from ...spaces.plain import from_plain, to_plain
from ...spaces.sensitivity import Sensitivity
from ...spaces.space import Space
from ...studies.checkpoint import load_weights
from ...studies.study_file import StudyFile
from ...studies.task import PreparedTask, Task
from ...studies.teacher import epochs_told, prepare_teacher
from ..evaluate.criterion import rated_network
from ..evaluate.first_weights import with_known_students
from ..evaluate.look import look_at_teacher
from ..store.settings import task_of
from .space import space_without_measuring

FORMAT = 3
"""Of the files, and of how divergences are measured: others are measured again."""


def sensitivity_cache() -> Cache[Sensitivity]:
    """Return the folder of sensitivities in the user's cache."""
    return Cache("sensitivity", FORMAT, lambda data: from_plain(Sensitivity, data), to_plain)


def study_sensitivity(
    task: PreparedTask,
    space: Space,
    stop: Callable[[], bool] = lambda: False,
    say: Say = lambda line: None,
    slices: Slices = nullcontext,
) -> Sensitivity:
    """Measure what each decision of `space` alone does to the answers of the network that it is about.

    What was measured before, in any study of this user, is not measured again. What students of the user's own lose
    counts against their own answers, after they were taught for the first time.

    Args:
        task: The task.
        space: The space.
        stop: Whether to end early; what was measured is kept.
        say: Takes a line about the progress.
        slices: Makes what short slices of this work run under, so that latencies are measured in peace.

    Raises:
        Stopped: `stop()` came true.
        DataError: The task has no calibration inputs.
    """
    found = _of_network(task, task.teacher, "", space, stop, say, slices)
    for name, module in task.students.items():
        say(f"sensitivity of student {name}")
        found = found.merged(_of_network(task, module, name, space, stop, say, slices))
    return found


def _of_network(
    task: PreparedTask,
    network: torch.nn.Module,
    name: str,
    space: Space,
    stop: Callable[[], bool],
    say: Say,
    slices: Slices,
) -> Sensitivity:
    context = space.context.only(name)
    cache, inputs = sensitivity_cache(), sensitivity_inputs(context, task.calibration)
    key = sensitivity_key(network, context, inputs)
    known = cache.read(key)
    if known is None and count_of(inputs):
        few = sensitivity_inputs(context, inputs, numbers_of_answer(copy.deepcopy(network).eval(), inputs))
        if count_of(few) < count_of(inputs):  # large answers
            inputs, key = few, sensitivity_key(network, context, few)
            known = cache.read(key)

    def keep(found: Sensitivity) -> None:
        before = cache.read(key)
        same = before is not None and before.inputs == found.inputs
        cache.write(key, before.merged(found) if before is not None and same else found)

    with breathing(slices) as breathe:

        def stop_and_breathe() -> bool:
            breathe()
            return stop()

        return measure_sensitivity(network, space, inputs, stop_and_breathe, say, known, keep, task.losses.soft, name)


def sensitivity_without_measuring_latency(
    settings: StudyFile,
    folder: Path | None = None,
    task: Task | None = None,
    say: Say = lambda line: None,
    run_code: bool = False,
) -> Sensitivity:
    """Measure sensitivities over the space of a study as it is before its targets were measured.

    Args:
        settings: The study's settings.
        folder: Of a study that was begun, whose teacher it is about. Without one, a teacher that the study trains is
            trained and kept in the user's cache.
        task: Of a study that was searched from Python.
        say: Takes a line about the progress, and about each student of the user's own that was not taught yet.
        run_code: Whether to run code that a study from elsewhere names.

    Raises:
        UsageError: The task of the study in `folder` is not known.
        AutoCompressError: What data, tasks and targets raise.
    """
    say("reading the data and the teacher")
    task = (task or task_of(settings, folder, run_code)).bare()
    if folder is None:
        kept = user_cache() / "teachers" / settings.name
        task = replace(task, teacher=prepare_teacher(settings, task, kept, say, progress=epochs_told(say)))
    else:
        load_weights(task.teacher, folder / "teacher.safetensors")
    prepared = with_known_students(task.prepared(), folder, say)
    found = look_at_teacher(prepared, settings.space.axes, folder)
    network = rated_network(found, prepared, settings, folder, worker=folder is not None)
    return study_sensitivity(prepared, space_without_measuring(network, settings), say=say)


def sensitivity_key(teacher: torch.nn.Module, context: SpaceContext, inputs: Inputs) -> str:
    """Return 32 hexadecimal digits that name a teacher, its weights, the channels it would lose, and the inputs.

    What is asked of them is not in it: a file holds all that was ever asked.
    """
    parts = [repr(teacher), repr(context.layers)]
    for group in context.groups:
        first = group.importance.argsort(stable=True, descending=True).tolist()
        parts.append(f"{group.name} {first} {[(m.layer, m.side) for m in group.members]}")
    digest = hashlib.sha256("\n".join(parts).encode())
    for name, value in (*teacher.state_dict().items(), *(("inputs", part) for part in tensors_of(inputs))):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
