"""Students with smaller inputs and fewer channels, where one number counts both: they are what each of these makes."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from merged_positions import MERGED
from torch import nn

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.score import PARITY
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.groups import remove_channels
from autocompress.spaces.network import look_at_network
from autocompress.spaces.sizes import find_sizes
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
EXAMPLE = IMAGES[:1]


def made(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MERGED[name]().eval()


@pytest.mark.parametrize("name", MERGED)
def test_a_narrow_student_of_any_size_answers_as_one_that_was_captured_at_it(name: str) -> None:
    model = made(name)
    graph = capture(model, EXAMPLE)
    groups = look_at_network(graph, EXAMPLE).groups
    sizes, _ = find_sizes(model, graph, EXAMPLE, None, groups)
    assert [each.size for each in sizes] == [14, 12, 10, 8]
    parent, draw = Parent(graph, groups, resizings=sizes), random.Random(0)
    for resizing in sizes:
        smaller = nn.functional.interpolate(IMAGES, resizing.shape, mode="bilinear", align_corners=False)
        at_it = capture(model, smaller[:1])
        own = look_at_network(at_it, smaller[:1]).groups
        assert [group.name for group in own] == [group.name for group in groups]
        for _ in range(3):
            kept = {group.name: draw.choice(group.choices(1, 0.0)) for group in groups}
            student = make_student(parent, StudentSpec(kept, size=resizing.size)).module
            expected = copy.deepcopy(at_it)
            remove_channels(expected, own, kept)
            with torch.no_grad():
                answers = student(IMAGES)
                assert answers.shape == (3, 5)
                torch.testing.assert_close(answers, expected(smaller), rtol=1e-3, atol=5e-4)
            narrow = make_student(parent, StudentSpec(kept)).module.state_dict()
            assert student.state_dict().keys() == narrow.keys()
            assert all(torch.equal(value, narrow[key]) for key, value in student.state_dict().items())


def test_files_of_such_students_answer_as_they_do(tmp_path: Path) -> None:
    model = made("side by side")
    graph = capture(model, EXAMPLE)
    groups = look_at_network(graph, EXAMPLE).groups
    sizes, _ = find_sizes(model, graph, EXAMPLE, None, groups)
    parent = Parent(graph, groups, resizings=sizes)
    builder = ArtifactBuilder(OnnxRuntime(), Target(), Templates(graph, EXAMPLE, parent=parent), IMAGES, IMAGES)
    builder.teacher_file(tmp_path / "teacher.onnx")
    spec = StudentSpec({group.name: group.channels // 2 for group in groups}, size=10)
    built = builder.build(make_student(parent, spec).module, spec, tmp_path / "student.onnx")
    assert built.difference is not None and built.difference <= PARITY


def test_a_size_at_which_other_channels_go_together_is_told_with_the_reason() -> None:
    model = made("normed as one")
    graph = capture(model, EXAMPLE)
    groups = look_at_network(graph, EXAMPLE).groups
    other = [replace(group, members=group.members[1:]) for group in groups]
    sizes, left_out = find_sizes(model, graph, EXAMPLE, None, other)
    (entry,) = left_out
    assert not sizes and entry.name == "size of inputs 14x14" and "channels" in entry.reason
