"""What a training wrote: the checkpoint of a student, read again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import TrialFailed, one_line
from ..files import write_bytes
from ..remarks import remark
from ..spaces.spec import StudentSpec
from .student import Student

UNREADABLE = ".unreadable"
"""Suffix of a checkpoint that was put aside."""


def write_checkpoint(path: Path, weights: Mapping[str, Tensor], step: int, **parts: Any) -> None:
    """Write what a training goes on from.

    Args:
        path: The file.
        weights: Parameters and buffers of the student, by the same names whatever of it is trained.
        step: Steps done.
        parts: The rest: "optimizer" (None once the training is finished, which halves the file), "ranges" of
            activations, the settings of the "recovery" while it goes on, "updates" of low rank with the codes of what
            they are added to, and the state of the loss's "scaler" where there are any.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    state = {"module": weights, "step": step, **parts}
    buffer = io.BytesIO()  # torch's own writer says nothing useful when a disk is full
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return what a training wrote; None where there is no file, or one that is cut, which is put aside and said."""
    if not path.exists():
        return None
    content = path.read_bytes()  # what the disk says is told apart from what the file holds
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        if not {"module", "optimizer", "ranges", "step"} <= state.keys():
            raise ValueError("parts are missing")
    except MemoryError:
        raise  # nothing is wrong with the file
    except Exception as error:  # a damaged file can fail in any way the unpickler knows
        aside = path.with_suffix(UNREADABLE)
        remark(f"{path}: a checkpoint that cannot be read ({one_line(error)[:100]}); put aside as {aside.name}")
        path.replace(aside)
        return None
    return state


def load_recovered(student: Student, spec: StudentSpec, checkpoint: Path) -> Student:
    """Give `student` the weights that a training of it wrote to `checkpoint`, in place.

    Args:
        student: Made of the specification.
        spec: What it was taught by.
        checkpoint: What its training wrote.

    Returns:
        The student, with the ranges too that quantization-aware training learned.

    Raises:
        TrialFailed: They are gone, cannot be read, or are those of a training that has not come to its end.
    """
    state = _state(checkpoint)
    student.module.load_state_dict(state["module"])
    if spec.recovery is None or not spec.recovery.quantization_aware:
        return student  # what a look at it saw was not learned
    ranges = {name: (float(low), float(high)) for name, (low, high) in state["ranges"].items()}
    return replace(student, trained_ranges=ranges)


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """Return parameters and buffers by name, as a training wrote them to `checkpoint`.

    Raises:
        TrialFailed: They are gone, cannot be read, or are those of a training that has not come to its end.
    """
    weights: dict[str, Tensor] = _state(checkpoint)["module"]
    return weights


def _state(checkpoint: Path) -> dict[str, Any]:
    state = read_checkpoint(checkpoint)
    if state is None:
        raise TrialFailed(f"{checkpoint}: the weights of this student are gone")
    if state["optimizer"] is not None:  # it was being taught again when a search ended
        raise TrialFailed(f"{checkpoint}: the weights of this student are not taught to their end")
    return state
