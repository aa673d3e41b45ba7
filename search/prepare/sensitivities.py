"""The sensitivity of a study's teacher, measured once and kept: one JSON file for each teacher and calibration data."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from ...compression.sensitivity import measure_sensitivity, sensitivity_inputs
from ...errors import UsageError
from ...evaluators.profile_cache import user_folder
from ...spaces.axes.base import Ground
from ...spaces.sensitivity import Sensitivity
from ...spaces.space import Space, build_space
from ...studies.checkpoint import load_weights
from ...studies.study_file import StudyFile
from ...studies.task import PreparedTask, Task
from ...studies.teacher import prepare_teacher
from ..evaluate.context import homes, lay_ground

FORMAT = 2
"""Of the files, and of how damage is measured: others are measured again."""


def study_sensitivity(
    task: PreparedTask,
    space: Space,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
) -> Sensitivity:
    """What each decision of `space` alone does to the answers of the task's teacher; what was measured before, in any
    study of this user, is not measured again.

    Raises:
        Stopped: `stop()` came true; what was measured is kept. DataError: the task has no calibration inputs.
    """
    inputs = sensitivity_inputs(space.ground, task.calibration)
    cache = SensitivityCache()
    key = sensitivity_key(task.teacher, space.ground, inputs)

    def keep(found: Sensitivity) -> None:
        cache.write(key, found)

    return measure_sensitivity(task.teacher, space, inputs, stop, say, cache.read(key), keep)


def sensitivity_without_measuring_latency(
    settings: StudyFile,
    folder: Path | None = None,
    task: Task | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Sensitivity:
    """The sensitivity over the space of a study as it is before its target was probed. folder: of a study that was
    begun, whose teacher it is about; without one, a teacher that the study trains is trained and kept in the user's
    cache. task: of a study that was searched from Python.

    Raises what data, tasks and targets raise, and UsageError where the task of `folder` is not known.
    """
    say("reading the data and the teacher")
    if folder is not None and task is None and settings.task.source is None and settings.teacher.model is None:
        raise UsageError(f"{folder} was searched from Python, so its task is not known here; name it with --task")
    task = task or settings.build_task()
    if folder is None:
        kept = user_folder().parent / "teachers" / settings.name
        task = replace(task, teacher=prepare_teacher(settings, task, kept, say, progress=_epochs(say)))
    else:
        load_weights(task.teacher, folder / "teacher.safetensors")
    prepared = task.prepared()
    ground, _ = lay_ground(prepared, settings)
    space = build_space(ground, settings.space.axes, homes(settings))
    return study_sensitivity(prepared, space, say=say)


def sensitivity_key(teacher: torch.nn.Module, ground: Ground, inputs: torch.Tensor) -> str:
    """32 hexadecimal digits that name a teacher, its weights, the channels that its groups would lose, and the
    inputs. What is asked of them is not in it: a file holds all that was ever asked."""
    parts = [repr(teacher), repr(ground.layers)]
    for group in ground.groups:
        first = group.importance.argsort(stable=True, descending=True).tolist()
        parts.append(f"{group.name} {first} {[(m.layer, m.side) for m in group.members]}")
    digest = hashlib.sha256("\n".join(parts).encode())
    for name, value in (*teacher.state_dict().items(), ("inputs", inputs)):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def cache_folder() -> Path:
    """The folder `sensitivity` beside the knobs, see `user_folder`."""
    return user_folder().parent / "sensitivity"


@dataclass(frozen=True)
class SensitivityCache:
    """A folder of sensitivities. It is no more than a memory: what cannot be read is not there, and what cannot be
    written is measured again. Files are replaced whole."""

    folder: Path = field(default_factory=cache_folder)

    def path(self, key: str) -> Path:
        """The file of this key."""
        return self.folder / f"{key}.json"

    def read(self, key: str) -> Sensitivity | None:
        """What is kept; None if there is no file, or one that is corrupt or of another format."""
        try:
            data = json.loads(self.path(key).read_bytes())
            return Sensitivity.from_dict(data["sensitivity"]) if data["format"] == FORMAT else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, key: str, found: Sensitivity) -> None:
        """Keep `found` with what is kept already."""
        before = self.read(key)
        decisions = {} if before is None or before.inputs != found.inputs else before.decisions()
        merged = Sensitivity.of(decisions | found.decisions(), found.inputs)
        path = self.path(key)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(".part", dir=path.parent)
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump({"format": FORMAT, "sensitivity": merged.to_dict()}, file, indent=1)
                Path(beside).replace(path)
            finally:
                Path(beside).unlink(missing_ok=True)


def _epochs(say: Callable[[str], None]) -> Callable[[int, int, float], None]:
    return lambda epoch, epochs, loss: say(f"teacher: epoch {epoch} of {epochs}, loss {loss:.3f}")
