"""How the files of several networks of one task take batches: each of them fixes its own, or leaves it free."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.score import PARITY
from autocompress.evaluators.templates import Templates
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target

INPUTS = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    """A convolution and a classifier, if asked for with a class token, which fixes the batch of its exports."""

    def __init__(self, token: bool) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Linear(16, 5)
        self.token = nn.Parameter(torch.ones(1, 16)) if token else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x)).mean((2, 3))
        if self.token is not None:
            x = torch.stack([self.token.expand(len(x), -1), x], 1).sum(1)
        return self.head(x)


@pytest.mark.slow
@pytest.mark.parametrize("teachers", [False, True])
def test_each_network_of_a_task_fixes_its_batch_for_itself(tmp_path: Path, teachers: bool) -> None:
    """A vision transformer beside a convolutional teacher, and the other way about."""
    teacher, own = Net(teachers).eval(), Net(not teachers).eval()
    parent = replace(Parent(teacher), students={"own": Parent(own)})
    templates = Templates(teacher, INPUTS[:1], parent=parent)
    build = ArtifactBuilder(OnnxRuntime(), Target(batch=4), templates, INPUTS, INPUTS[:4])
    build.teacher_file(tmp_path / "teacher.onnx")
    for name, network, fixed in (("own", own, not teachers), ("", teacher, teachers)):
        for bits in ({}, {"conv": 8}):
            built = build.build(network, StudentSpec(student=name, bits=bits), tmp_path / "model.onnx", 2)
            assert OnnxRuntime().load(built.path, build.target).inputs[0].shape[0] == (4 if fixed else None)
            assert built.difference is not None and built.difference <= PARITY
            assert build.difference(built.path, network, student=name) <= (0.2 if bits else PARITY)
        assert build.batching(name).free is not fixed
