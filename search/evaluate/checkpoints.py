"""Students and their weights: what they begin with, how they stand while they are taught, and how they end."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from ...compression.fake_quant import FakeQuantizer
from ...compression.first_look import first_look, outputs_with_bits
from ...compression.gradual import begins_with
from ...compression.recovered import load_recovered, read_weights
from ...compression.seeds import seeded_generator
from ...compression.student import Student, make_student
from ...compression.warm_start import warm_parent
from ...errors import MetricError, TrialFailed, UsageError
from ...remarks import remark
from ...spaces.axes.size import SizeAxis
from ...spaces.graph.devices import moved
from ...spaces.spec import StudentSpec
from ...studies.schema import StudySections
from ...studies.task import PreparedTask
from ..store.layout import checkpoints_folder
from ..trial import Trial, WarmStart
from .context import LOOK_EXAMPLES, EvaluationContext, parent_of
from .criterion import rated_network
from .first_weights import load_first_weights
from .job import Job
from .look import look_at_teacher


def checkpoint_path(study: Path, spec: StudentSpec, rung: int, warm_start: WarmStart | None = None) -> Path:
    """Return where the weights of a student lie after a rung; students that are taught alike share them."""
    return checkpoints_folder(study) / f"{checkpoint_stem(spec, warm_start)}-{rung}.pt"


def checkpoint_stem(spec: StudentSpec, warm_start: WarmStart | None = None) -> str:
    """Return how the names of a student's checkpoints begin."""
    return f"{spec.training_key()}-of-{warm_start.number}" if warm_start else spec.training_key()


def training_of(job: Job) -> str:
    """Return the name of what a job trains; jobs that train the same weights have one name. Empty where none is."""
    return checkpoint_stem(job.spec, job.warm_start) if job.step == "rung" else ""


def start_student(context: EvaluationContext, spec: StudentSpec, warm_start: WarmStart | None) -> Student:
    """Return the untrained student, with the teacher's weights or those of the trial that it starts from.

    Raises:
        TrialFailed: The weights of that trial are gone.
    """
    parent = context.parent
    if warm_start is not None:
        path = checkpoints_folder(context.folder) / warm_start.checkpoint
        if not path.exists():
            raise TrialFailed(f"the checkpoint of trial {warm_start.number}, whose weights it begins with, is gone")
        parent = warm_parent(parent, warm_start.spec, read_weights(path))
    return make_student(parent, spec)


def first_accuracy(
    context: EvaluationContext, spec: StudentSpec, warm_start: WarmStart | None
) -> tuple[float | None, bool]:
    """Look at the untrained student with each of its two starts: the teacher's weights, and the warm start.

    One that begins with early or new weights is looked at with the teacher's: those say what its channels and patterns
    are worth, and the others would say nothing.

    Returns:
        The metric with the better start, None where it is defined for neither; and whether that is the warm start.
    """
    task = context.task
    spec = _with_trained_weights(spec)
    looks: dict[WarmStart | None, float] = {}
    metric = task.metric.quality
    for start in dict.fromkeys((None, warm_start)):
        try:
            with context.slices():
                student = start_student(context, spec, start)
        except TrialFailed:
            continue  # the other student's weights are gone: the teacher's are still there
        bits, ways = spec.realised(spec.bits), spec.realised(spec.activations)
        fake = FakeQuantizer(student.module, bits, activations=ways, weight_top=context.recoverer.weight_top)
        with suppress(MetricError):  # some metrics are not defined for a student that says one class for all
            device, precise = context.recoverer.device, task.losses.precise
            looks[start] = first_look(
                student, fake, task.calibration, task.validation, metric, device, precise, context.slices
            )
    if not looks:
        return None, False
    best = max(looks, key=looks.__getitem__)
    return looks[best], best is not None


def _with_trained_weights(spec: StudentSpec) -> StudentSpec:
    """Return what a student is cut by where it does not matter which weights it begins with."""
    recovery = spec.recovery
    return spec if recovery is None else replace(spec, recovery=replace(recovery, early=False, fresh=False))


def look_at(
    context: EvaluationContext, module: torch.nn.Module, fake: FakeQuantizer, examples: int = LOOK_EXAMPLES
) -> float:
    """Return the metric of a student in torch, with its bits, on a part of the validation split.

    The part is the same for every student: all of it where the metric is not defined on a part, which may lack a rare
    class. The figure serves for stopping, never for a report.

    Raises:
        MetricError: The metric is not defined for this student.
    """
    count = len(context.task.validation)
    part = torch.randperm(count, generator=seeded_generator("look"))[:examples]
    try:
        return _quality_on(context, module, fake, part)
    except MetricError:
        if len(part) == count:
            raise
    return _quality_on(context, module, fake, torch.arange(count))


def _quality_on(context: EvaluationContext, module: torch.nn.Module, fake: FakeQuantizer, rows: torch.Tensor) -> float:
    task, device = context.task, context.recoverer.device
    outputs = outputs_with_bits(
        module, fake, task.calibration, task.validation, rows, device, task.losses.precise, context.slices
    )
    with context.slices():
        return task.metric.quality(outputs, task.validation.labels[rows])


def recovered_student(
    context: EvaluationContext, spec: StudentSpec, warm_start: WarmStart | None = None, seed: int = 0
) -> Student:
    """Return the student with the weights that its recovery ended with.

    Where they are gone, or their file is cut, it is taught again; where a search ended meanwhile, to the end.

    Raises:
        TrialFailed: The weights are gone, and so are those that it began with.
        Stopped: The context's `stop` came true.
    """
    student = make_student(context.parent, _with_trained_weights(spec))
    if spec.recovery is not None:
        last = len(context.recoverer.schedule.rungs) - 1
        # zeros of patterns are in the weights: training holds them after each step
        path = checkpoint_path(context.folder, spec, last, warm_start)
        try:
            return load_recovered(student, spec, path)
        except TrialFailed as gone:
            remark(f"{gone}; it is taught again")
            again = start_student(context, begins_with(spec), warm_start)
            context.recoverer.with_seed(seed).recover(again, spec, last, path, context.stop)
            return load_recovered(student, spec, path)
    return student


def kept_student(task: PreparedTask, trial: Trial, folder: Path, settings: StudySections) -> Student:
    """Return the student of a trial with the weights that its recovery ended with, in eval mode on the CPU.

    Args:
        task: The study's task.
        trial: The trial.
        folder: The study's folder.
        settings: The study's settings.

    Raises:
        UsageError: The weights are gone.
        StorageError: It is gone which channels the study keeps.
    """
    if trial.spec.student:
        load_first_weights(task, folder)
    network = look_at_teacher(task, (SizeAxis.name,) if trial.spec.size else (), folder)
    network = rated_network(network, task, settings, folder, worker=True)
    try:
        student = make_student(parent_of(task, network), _with_trained_weights(trial.spec))
    except TrialFailed as error:
        raise UsageError(f"trial {trial.number} cannot be made of this task: {error}") from error
    if trial.spec.recovery is not None:
        path = checkpoint_path(folder, trial.spec, len(settings.recovery.rungs) - 1, trial.warm_start)
        if not path.exists():
            raise UsageError(f"{path}: the weights of this trial are gone; keep the folder checkpoints of a study")
        student = load_recovered(student, trial.spec, path)
    moved(student.module, "cpu").eval()
    return student
