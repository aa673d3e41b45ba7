"""The end of a trial: its files are built, scored over the validation split, and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ...compression.training_data import LabelledData
from ...evaluators.measurement import Measurement
from ...evaluators.score import compressed_bytes, file_bytes, file_outputs
from ...evaluators.written import written_operators
from ...files import digest, write_json
from ...spaces.plain import to_plain
from ...spaces.target import PerTarget
from ..store.layout import model_path, trial_folder
from ..store.samples import write_answers
from .bootstrap import standard_error
from .checkpoints import recovered_student
from .context import EvaluationContext
from .job import Clock, Job
from .target_session import TargetSession


def build_and_measure(context: EvaluationContext, job: Job, clock: Clock) -> PerTarget[Measurement]:
    """Build the files of a taught student and measure what they are worth.

    Args:
        context: What this process has of the study.
        job: The trial.
        clock: Adds up where the time went.

    Returns:
        A measurement for each target that the student is for. It is kept in the trial's folder too.

    Raises:
        TrialFailed: The student's weights are gone, or a file does not agree with it.
        MeasurementError: A file cannot be built or timed.
        MetricError: The metric gives no usable number.
    """
    with clock.time("building"):
        student = recovered_student(context, job.spec, job.warm_start, job.seed)
    sessions = context.sessions_for(job.spec)
    measured: dict[str, Measurement] = {}
    answers: dict[str, NDArray[Any]] = {}
    data = context.task.validation
    for name, session in sessions.items():
        path = model_path(context.folder, job.number, name, session.runtime.suffix, alone=len(sessions) == 1)
        with clock.time("building"), context.slices():
            built = session.builder.build(student.module, job.spec, path, trained=student.trained_ranges)
        with clock.time("measuring"):
            operators = session.runtime.inspect(path, session.target)
            answers[name] = file_outputs(path, session.runtime, session.target, data, context.slices)
            latency = session.meter.measure([path])[0]
            with context.slices():
                compressed = compressed_bytes(path)
            outputs, metric = torch.from_numpy(answers[name]), context.task.metric
            with context.slices():
                accuracy = metric.quality(outputs, data.labels)
                accuracy_sd = standard_error(metric, outputs, data.labels)
            measured[name] = Measurement(
                accuracy=accuracy,
                latency=latency,
                size_bytes=file_bytes(path),
                compressed_bytes=compressed,
                operators=operators,
                remark=session.runtime.remark(operators, built.bits),
                sha256=digest(path),
                written=written_operators(path),
                accuracy_sd=accuracy_sd,
                calibration=built.calibration,
            )
    write_answers(context.folder, job.number, answers)
    write_json(trial_folder(context.folder, job.number) / "measurement.json", to_plain(measured))
    return measured


def file_accuracy(context: EvaluationContext, session: TargetSession, path: Path, data: LabelledData) -> float:
    """Return the metric of a file, run by its runtime over all of a split.

    Raises:
        MetricError: The metric gives no usable number.
        MeasurementError: The file cannot be run.
    """
    outputs = torch.from_numpy(file_outputs(path, session.runtime, session.target, data, context.slices))
    with context.slices():
        return context.task.metric.quality(outputs, data.labels)
