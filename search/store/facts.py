"""What a study knows of its task, kept so that it can be read without the task's data and network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import StorageError, one_line
from ...files import is_trouble, read_object, write_json
from ...remarks import remark
from ...spaces.plain import from_plain, to_plain
from ...spaces.target import PerTarget
from ...studies.metric import ACCURACY, MetricLabel
from ...studies.preprocessing import Preprocessing


@dataclass(frozen=True)
class TensorFacts:
    """One input or output of the files of a study.

    Attributes:
        name: As the network has it; the output is called "output".
        shape: Of one example, without the batch.
        dtype: As NumPy names it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes_of_one(self) -> int:
        """Bytes of one example."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class TaskFacts:
    """What a study knows of its task.

    Attributes:
        metric: How its metric is shown.
        kind: Of the task, such as "classification"; empty where it brings losses and metric of its own.
        share: Whether the metric is one of the project's own that are shares of right answers, and no function of the
            user's under such a name; None in studies that did not keep it.
        teacher: The metric of the teacher's file over all of validation, as a search keeps it (higher is better); None
            where nothing has asked for it yet.
        teacher_ms: Median latency (ms) of the teacher's file, by target.
        teacher_bytes: Size of the teacher's file, the largest of several targets.
        epochs: Passes over the training data in one full training of a student; None in studies that did not keep it.
        steps: Optimizer steps of it.
        versions: Of Python and of the libraries that take part, by name; empty in studies of older versions.
        network: Class of the teacher, empty where it is not known.
        labels: Names of the classes, empty where they have none.
        preprocessing: How a picture or a text becomes an input, None where that is not known.
        inputs: What the network takes, in its order; empty in studies of older versions.
        output: What it gives; None in these.
    """

    metric: MetricLabel = ACCURACY
    kind: str = "classification"
    share: bool | None = None
    teacher: float | None = None
    teacher_ms: PerTarget[float] = field(default_factory=dict)
    teacher_bytes: int | None = None
    epochs: float | None = None
    steps: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    labels: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    inputs: tuple[TensorFacts, ...] = ()
    output: TensorFacts | None = None


def read_facts(folder: Path) -> TaskFacts:
    """Return what a study knows of its task; that of a classifier where nothing was kept.

    Raises:
        StorageError: The file cannot be read.
    """
    path = folder / "task.json"
    kept = read_object(path)
    try:
        return TaskFacts() if kept is None else from_plain(TaskFacts, kept)
    except ValueError as error:
        raise StorageError(
            f"{path}: holds no facts of a task ({one_line(error)[:100]}); the next search writes it anew"
        ) from error


def known_facts(folder: Path) -> TaskFacts:
    """Return what a study knows of its task, for a search, which makes all of it anew: a damaged file costs nothing.

    Raises:
        StorageError: The disk gives an error.
    """
    try:
        return read_facts(folder)
    except StorageError as error:
        if is_trouble(error.__cause__):
            raise
        remark(f"{folder / 'task.json'}: damaged; it is written anew")
        return TaskFacts()


def write_facts(folder: Path, facts: TaskFacts) -> None:
    """Keep what is known of a task.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    write_json(folder / "task.json", to_plain(facts))
