"""Students of a study: what they begin with, how they stand while they are taught, and how they end."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from ...compression.fake_quant import FakeQuantizer
from ...compression.first_look import first_look, outputs_with_bits
from ...compression.inherit import inherited
from ...compression.recover import load_recovered, read_weights
from ...compression.student import Student, make_student
from ...errors import MetricError, TrialFailed
from ...spaces.plan import Plan
from ...studies.data.images import seeded_generator
from ...studies.task import score
from ..trial import Heritage
from .context import LOOK_IMAGES, Workbench


def checkpoint_path(study: Path, plan: Plan, rung: int, heritage: Heritage | None = None) -> Path:
    """Where the weights of a student lie after a rung; trials that are taught alike share them."""
    start = f"-of-{heritage.number}" if heritage else ""
    return study / "checkpoints" / f"{plan.training_key()}{start}-{rung}.pt"


def start_student(bench: Workbench, plan: Plan, heritage: Heritage | None) -> Student:
    """The untrained student of a plan, with the teacher's weights or those of the trial it inherits from. Raises
    TrialFailed where those are gone."""
    teacher, groups = bench.task.teacher, bench.space.ground.groups
    if heritage is not None:
        path = bench.folder / "checkpoints" / heritage.checkpoint
        if not path.exists():
            raise TrialFailed(f"the checkpoint of trial {heritage.number}, whose weights it begins with, is gone")
        teacher = inherited(teacher, groups, heritage.plan, read_weights(path))
    return make_student(teacher, groups, plan)


def first_accuracy(bench: Workbench, plan: Plan, heritage: Heritage | None) -> tuple[float | None, bool]:
    """Accuracy of the untrained student with the better of its two starts, the teacher's weights and the heritage, and
    whether that is the heritage. None where the metric is defined for neither."""
    task = bench.task
    looks: dict[Heritage | None, float] = {}
    metric = partial(score, task.metric)
    for start in dict.fromkeys((None, heritage)):
        try:
            student = start_student(bench, plan, start)
        except TrialFailed:
            continue  # the heritage is gone: the teacher is still there
        fake = FakeQuantizer(student.module, plan.bits)
        with suppress(MetricError):  # some metrics are not defined for a student that says one class for all
            accuracy = first_look(student, fake, task.calibration, task.validation, metric, bench.recoverer.device)
            looks[start] = accuracy
    if not looks:
        return None, False
    best = max(looks, key=looks.__getitem__)
    return looks[best], best is not None


def look_at(bench: Workbench, module: torch.nn.Module, fake: FakeQuantizer) -> float:
    """The metric of a student in torch, with its bits, on a part of the validation split that is the same for every
    student: for stopping, never for a report."""
    task, data = bench.task, bench.task.validation
    order = torch.randperm(len(data), generator=seeded_generator("look"))[:LOOK_IMAGES]
    outputs = outputs_with_bits(module, fake, task.calibration, data, order, bench.recoverer.device)
    return score(task.metric, outputs, data.labels[order])


def recovered_student(bench: Workbench, plan: Plan, heritage: Heritage | None = None) -> Student:
    """The student of a plan with the weights that its recovery ended with. Raises TrialFailed without those."""
    student = make_student(bench.task.teacher, bench.space.ground.groups, plan)
    if plan.recovery is not None:
        last = len(bench.recoverer.schedule.rungs) - 1
        # zeros of patterns are in the weights: training holds them after each step
        load_recovered(student, checkpoint_path(bench.folder, plan, last, heritage))
    return student
