"""Students that look at smaller images: their files take full ones, and answer as the students do."""

from __future__ import annotations

import json
import pickle
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from legality import changed_plan
from merged_positions import MERGED

from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import predict
from autocompress.search.evaluate.checkpoints import recovered_student
from autocompress.search.evaluate.context import EvaluationContext, open_context
from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.job import Job
from autocompress.search.evaluate.kept_sizes import sizes_of_study
from autocompress.search.evaluate.look import look_at_teacher
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.prepare.space import space_without_measuring
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.plan import Plan
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.spaces.target import Target
from autocompress.studies.study_file import StudyFile


@pytest.fixture(scope="module")
def context(opened_context: ExecutorContext, tmp_path_factory: pytest.TempPathFactory) -> EvaluationContext:
    settings = opened_context.settings.changed("space", axes=("channels", "bits", "recovery", "size"))
    return open_context(opened_context.context.task, settings, tmp_path_factory.mktemp("sizes"))


@pytest.mark.slow
def test_a_student_of_another_size_is_taught_built_and_answers_as_its_file(context: EvaluationContext) -> None:
    groups = {group.name: group.channels // 2 for group in context.network.groups}
    spec = StudentSpec(groups, recovery=Recovery(), size=6)
    assert evaluate(context, Job(1, spec, "gate")).latencies
    for rung in range(len(context.recoverer.schedule.rungs)):
        taught = evaluate(context, Job(1, spec, "rung", rung))
        assert taught.accuracy is not None, taught.failure
    built = evaluate(context, Job(1, spec, "build"))
    assert built.measured, built.failure
    student = recovered_student(context, spec)
    images = context.task.validation.inputs(slice(0, 64))
    assert isinstance(images, torch.Tensor) and images.shape[-1] == 8
    with torch.no_grad():
        expected = student.module.cpu().eval()(images).numpy()
    (path,) = Path(context.folder / "trials").rglob("*.onnx")
    got = predict(path, get_runtime("onnxruntime"), Target(batch=32), images.numpy())
    assert np.abs(got - expected).max() / np.abs(expected).max() < 1e-3
    eight = replace(spec, bits={layer.name: 8 for layer in context.network.layers})
    result = evaluate(context, Job(2, eight, "build"))
    assert result.measured and not result.failure, result.failure


def test_the_space_offers_sizes_with_what_they_cost(opened_context: ExecutorContext) -> None:
    task, settings = opened_context.context.task, opened_context.settings
    assert look_at_teacher(task, ("channels", "bits")).resizings == (), "looked for only where it is asked for"
    settings = settings.changed("space", axes=("channels", "size"))
    network = look_at_teacher(task, settings.space.axes)
    space = space_without_measuring(network, settings)
    (size,) = space.of("size")
    assert size.options == (0, 7, 6, 5, 4) and list(size.parts) == sorted(size.parts, reverse=True)
    random_ = random.Random(0)
    drawn = {space.spec(changed_plan(space, Plan(), random_)).size for _ in range(300)}
    assert len(drawn) > 2 and drawn <= set(size.options)


def test_sizes_are_found_once_in_a_study(context: EvaluationContext, tmp_path: Path) -> None:
    """What is kept is what was found, to the type of each number; without it a task that has travelled has none."""
    task, folder, groups = context.task, context.folder, context.network.groups
    alone = replace(task, bare=None)
    found = sizes_of_study(task, groups, None, keeps=False)
    assert found[0] and repr(sizes_of_study(alone, groups, folder, keeps=False)) == repr(found)
    assert sizes_of_study(alone, groups, tmp_path, keeps=False) == ((), ())
    other = replace(alone, example_input=torch.zeros(1, 1, 16, 16))
    assert sizes_of_study(other, groups, folder, keeps=False) == ((), ()), "of other inputs"


def test_numbers_that_fall_otherwise_at_a_size_are_kept_with_it(context: EvaluationContext, tmp_path: Path) -> None:
    model, example = MERGED["normed as one"]().eval(), torch.zeros(1, 3, 16, 16)
    task = replace(
        context.task, bare=model, teacher=capture(model, example, context.task.interface), example_input=example
    )
    groups = look_at_network(task.teacher, example).groups
    found = sizes_of_study(task, groups, tmp_path, keeps=True)
    assert found[0] and all(each.falls for each in found[0])
    assert repr(sizes_of_study(replace(task, bare=None), groups, tmp_path, keeps=False)) == repr(found)


@pytest.mark.parametrize("content", ['{"of": 1}', '{"of": "%s", "sizes": [{"size": "x"}], "left_out": []}'])
def test_damaged_sizes_are_found_anew(context: EvaluationContext, tmp_path: Path, content: str) -> None:
    path = tmp_path / "sizes.json"
    kept = json.loads((context.folder / "sizes.json").read_text())
    path.write_text(content.replace("%s", kept["of"]))
    found = sizes_of_study(context.task, context.network.groups, tmp_path, keeps=True)
    assert found[0] == context.network.resizings
    assert json.loads(path.read_text()) == kept


def test_students_of_a_size_outlive_the_axis(context: EvaluationContext) -> None:
    """A study that goes on without `size` has made them, and still makes them again."""
    settings = StudyFile().changed("space", axes=("channels", "bits"))
    network = look_at_teacher(context.task, settings.space.axes, context.folder)
    assert network.resizings == context.network.resizings
    space = space_without_measuring(network, settings)
    assert not space.of("size")
    assert Shapes(space.context).of(StudentSpec(size=6)).macs.sum() < Shapes(space.context).of(StudentSpec()).macs.sum()


def test_a_task_travels_without_the_code_of_its_network(context: EvaluationContext) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from autocompress.search.executors.ray_cluster import pickled

    settings = StudyFile().changed("space", axes=("channels", "size"))
    found = pickled(context.task, settings, context.folder)
    assert found is not None
    again = pickle.loads(found)
    assert again.bare is None
    sizes = look_at_teacher(again, settings.space.axes, context.folder).resizings
    assert sizes == context.network.resizings
