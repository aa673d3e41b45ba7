"""How students are looked at: in slices that give way to measurements, by metrics that not every answer has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.student import make_student
from autocompress.errors import MetricError
from autocompress.search.evaluate.checkpoints import first_accuracy, look_at
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.job import Job
from autocompress.search.executors.base import ExecutorContext
from autocompress.spaces.spec import StudentSpec
from autocompress.studies.metric import metric_of, top1


@pytest.fixture
def context(opened_context: ExecutorContext, tmp_path: Path) -> EvaluationContext:
    return replace(opened_context.context, folder=tmp_path)


def test_all_that_a_look_takes_gives_way_to_a_measurement(context: EvaluationContext, briefly: None) -> None:
    """Another worker may time a file: what works meanwhile, outside of slices, is in that latency."""
    slices: list[None] = []
    scored: list[bool] = []
    passed: list[bool] = []

    @contextmanager
    def slice_() -> Iterator[None]:
        assert not slices, "slices of one thread cannot be nested"
        slices.append(None)
        try:
            yield
        finally:
            slices.pop()

    def metric(outputs: Tensor, labels: Tensor) -> float:
        scored.append(bool(slices))
        return top1(outputs, labels)

    def note(module: Any, inputs: Any) -> None:
        passed.append(bool(slices))

    task = replace(context.task, metric=metric_of(metric))
    quiet = replace(context, task=task, recoverer=replace(context.recoverer, quiet=slice_))
    spec = StudentSpec(bits={layer.name: 8 for layer in context.network.layers})
    student = make_student(quiet.parent, spec)
    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        look_at(quiet, student.module, FakeQuantizer(student.module, spec.bits))
        first_accuracy(quiet, spec, None)
    finally:
        hook.remove()
    assert evaluate(quiet, Job(1, spec, "build")).measured
    assert passed and all(passed) and len(scored) > 3 and all(scored)


def test_a_metric_that_a_part_of_the_split_does_not_have_is_that_of_all_of_it(context: EvaluationContext) -> None:
    count = len(context.task.validation)
    seen: list[int] = []

    def of_all(outputs: Tensor, labels: Tensor) -> float:
        seen.append(len(labels))
        return top1(outputs, labels) if len(labels) == count else float("nan")

    rare = replace(context, task=replace(context.task, metric=metric_of(of_all)))
    student = make_student(rare.parent, StudentSpec())
    fake = FakeQuantizer(student.module, {})
    assert look_at(rare, student.module, fake, examples=count - 1) == look_at(context, student.module, fake)
    assert seen == [count - 1, count]
    never = replace(context, task=replace(context.task, metric=metric_of(lambda outputs, labels: float("nan"))))
    with pytest.raises(MetricError):
        look_at(never, student.module, fake, examples=count - 1)
