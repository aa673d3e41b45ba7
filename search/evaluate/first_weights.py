"""The first weights of the user's own students: each is taught once by the teacher, and all its forms begin with that.

A network that knows nothing would say nothing of which of its channels matter or which of its layers bear few bits, and
the short recovery of a trial would be lost on it. So the driver teaches each before anything is searched, and keeps the
weights in the study's folder; workers are sent them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import fx, nn

from ...compression.edits import Parent
from ...compression.recover import Recoverer, Stopped
from ...compression.recovered import UNREADABLE, read_checkpoint, write_checkpoint
from ...compression.student import make_student
from ...errors import DataError, StorageError, TrialFailed
from ...files import disk_errors, read_object, remove, write_json
from ...spaces.graph.devices import moved
from ...spaces.network import Network, look_at_network
from ...spaces.spec import Recovery, StudentSpec
from ...studies.checkpoint import plain_bytes
from ...studies.recovery import RecoverySection
from ...studies.task import PreparedTask
from ..identity import FILE as IDENTITY
from ..store.layout import students_folder

Say = Callable[[str], None]

KEY = "first weights of student"
"""Begins the name of each in a study's identity."""
TIMES = 4
"""As many recoveries is a student taught for where the study says nothing else."""
LEARNING_RATES = (0.05, 0.01)
"""Of students that begin with new weights, which have further to go; the lower one where the loss does not bear it."""


class StudentsStopped(Stopped):
    """The search ended while its students were taught for the first time; the same command goes on."""


def look_at_students(task: PreparedTask) -> dict[str, Network]:
    """Return what can be compressed in each of the user's own students, by name.

    Raises:
        UsageError: There is nothing in one of them.
    """
    return {name: look_at_network(moved(module, "cpu"), task.example_input) for name, module in task.students.items()}


def load_first_weights(task: PreparedTask, folder: Path) -> None:
    """Give the students of a task the weights that the study keeps of them, in place.

    Raises:
        StorageError: They are gone, or those of another network.
    """
    for name, module in task.students.items():
        path = first_weights_path(folder, name)
        state = read_checkpoint(path)
        if state is None or not _is_done(state):
            raise StorageError(f"{path}: the first weights of student {name} are gone; restore them from a copy")
        try:
            module.load_state_dict(state["module"])
        except (RuntimeError, TypeError) as error:
            raise StorageError(f"{path}: weights of another network than student {name}; use --fresh") from error


def with_known_students(task: PreparedTask, folder: Path | None, say: Say) -> PreparedTask:
    """Return a task with those students alone whose first weights are known; the others would answer at random.

    Args:
        task: The task.
        folder: The study's folder; None where there is no study.
        say: Takes a line about those that are left out.
    """
    known: dict[str, fx.GraphModule] = {}
    for name, module in task.students.items():
        if folder is None:
            say(f"student {name} is left out: only a study teaches it; give the study's folder once it is searched")
            continue
        try:
            load_first_weights(replace(task, students={name: module}), folder)
        except StorageError as error:
            say(f"student {name} is left out: {error}")
        else:
            known[name] = module
    return replace(task, students=known)


def teach_students(
    task: PreparedTask,
    recoverer: Recoverer,
    settings: RecoverySection,
    folder: Path,
    stop: Callable[[], bool],
    say: Say,
) -> None:
    """Teach the students of a task that were not taught yet; see `load_first_weights`.

    Args:
        task: The study's task.
        recoverer: Teaches students of the study.
        settings: How long they are taught, and by which optimizer.
        folder: The study's folder, which keeps the weights, and of a student that is being taught how far it came.
        stop: Whether to end early.
        say: Takes a line about each.

    Raises:
        StudentsStopped: `stop()` came true; the next run goes on.
        DataError: The loss of a student is no number.
        StorageError: The disk is full or cannot be written.
    """
    epochs = settings.student_epochs
    epochs = TIMES * recoverer.schedule.epochs if epochs is None else epochs
    schedule = replace(recoverer.schedule, epochs=epochs, rungs=(1.0,))
    for name, module in task.students.items():
        path = first_weights_path(folder, name)
        state = read_checkpoint(path)
        if state is not None and _is_done(state):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if not epochs:
            say(f"student {name}: as it was given")
            write_checkpoint(path, module.state_dict(), 0, ranges={}, optimizer=None)
            continue
        steps = schedule.steps(recoverer.data)
        say(f"student {name}: taught by the teacher for the first time, {steps} steps, {epochs:.3g} epochs")
        norms_layers = look_at_network(module, task.example_input).norms_layers
        optimizer = settings.optimizer or ("adamw" if norms_layers else "sgd")
        ways = tuple(Recovery(learning_rate=rate, optimizer=optimizer) for rate in LEARNING_RATES)
        if state is not None and (way := _way_of(state, module, ways, steps)) is not None:
            ways = ways[way:]  # those before it failed
        elif state is not None:
            aside = path.with_suffix(UNREADABLE)
            say(f"{path}: what student {name} had learned is not of this network; put aside as {aside.name}")
            with disk_errors(path):
                path.replace(aside)
        _teach(name, module, replace(recoverer, schedule=schedule), ways, path, stop)


def _teach(
    name: str,
    module: fx.GraphModule,
    recoverer: Recoverer,
    ways: Sequence[Recovery],
    path: Path,
    stop: Callable[[], bool],
) -> None:
    failed: TrialFailed | None = None
    for way in ways:
        spec = StudentSpec(recovery=way, student=name)
        student = make_student(Parent(module), replace(spec, student=""))
        try:
            recoverer.recover(student, spec, 0, path, stop)
            return
        except Stopped:
            raise StudentsStopped from None
        except TrialFailed as error:
            failed = error
            remove(path)
    raise DataError(f"student {name!r} cannot be taught: {failed}; give another network") from failed


def check_first_weights(task: PreparedTask, folder: Path, worker: bool = False) -> None:
    """Hold the first weights of students against the study's identity, which notes them.

    Args:
        task: The study's task, with their first weights.
        folder: The study's folder.
        worker: Whether this process works for a driver, which notes them.

    Raises:
        StorageError: The study was begun with others.
    """
    identity = read_object(folder / IDENTITY)
    if identity is None:
        return
    now = identity_of_students(task)
    for name, digest in now.items():
        if identity.get(name, digest) != digest:
            raise StorageError(
                f"{folder} was begun with other {name} ({identity[name]}, now {digest}): restore its folder "
                "students from a copy, or use --fresh"
            )
    if not worker and now.keys() - identity.keys():
        write_json(folder / IDENTITY, {**now, **identity})


def identity_of_students(task: PreparedTask) -> Mapping[str, str]:
    """Return the digests of the weights that students have now."""
    return {f"{KEY} {name}": _digest(module) for name, module in task.students.items()}


def first_weights_path(study: Path, student: str) -> Path:
    """Return where the first weights of a student lie."""
    return students_folder(study) / f"{student}.pt"


def _way_of(state: Mapping[str, Any], module: nn.Module, ways: Sequence[Recovery], steps: int) -> int | None:
    """Return which of these ways an unfinished training has gone, None where it cannot go on with this network."""
    held = state["module"]
    shapes = {name: getattr(value, "shape", None) for name, value in held.items()} if isinstance(held, Mapping) else {}
    if shapes != {name: value.shape for name, value in module.state_dict().items()} or not 0 <= state["step"] < steps:
        return None
    known = state.get("recovery", ways[0].parts())
    return next((number for number, way in enumerate(ways) if way.parts() == known), None)


def _is_done(state: Mapping[str, object]) -> bool:
    return state["optimizer"] is None


def _digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for held in plain_bytes(module):
        digest.update(held)
    return digest.hexdigest()[:16]
