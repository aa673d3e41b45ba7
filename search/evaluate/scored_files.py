"""Files of any runtime over the data of a task, without a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...evaluators.runtimes.registry import get_runtime
from ...evaluators.score import file_outputs
from ...evaluators.timing.processes import TimedFile
from ...studies.metric import SHARES, MetricLabel
from ...studies.task import Task
from .bootstrap import standard_error
from .target_session import timing_inputs


@dataclass(frozen=True)
class ScoredFiles:
    """Files with what they are worth.

    Attributes:
        files: With a batch of the task's inputs, which they are to be timed on.
        qualities: The metric of each on the validation split, as a search keeps it.
        sds: Standard error of each by resampling; None of shares of right answers.
        metric: How it is shown.
        examples: Of the validation split, where the metric is the share of them that is right; else 0.
    """

    files: tuple[TimedFile, ...]
    qualities: tuple[float, ...]
    sds: tuple[float | None, ...]
    metric: MetricLabel
    examples: int


def score_files(task: Task, files: Sequence[TimedFile], folder: Path) -> ScoredFiles:
    """Run files over the validation split of a task.

    Args:
        task: The task.
        files: The files, each with where it runs.
        folder: Takes the inputs that files are timed on.

    Raises:
        MeasurementError: A file cannot be run.
        MetricError: The metric is not defined for what a file answers.
        AutoCompressError: What the task's data raise.
    """
    prepared = task.bare().prepared()
    inputs, data, metric = timing_inputs(prepared, folder), prepared.validation, prepared.metric
    qualities = list[float]()
    sds = list[float | None]()
    for file in files:
        outputs = torch.from_numpy(file_outputs(file.path, get_runtime(file.target.runtime), file.target, data))
        qualities.append(metric.quality(outputs, data.labels))
        sds.append(standard_error(metric, outputs, data.labels))
    timed = tuple(replace(file, inputs=inputs) for file in files)
    examples = len(data) if metric.function in SHARES else 0
    return ScoredFiles(timed, tuple(qualities), tuple(sds), metric.label, examples)
