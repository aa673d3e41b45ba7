"""Students of networks that hold whole numbers as parameters, or that lost the layer that answers, are taught too."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.distill import Lessons
from autocompress.compression.edits import Parent
from autocompress.compression.recover import Recoverer
from autocompress.compression.recovered import load_recovered
from autocompress.compression.schedule import Schedule
from autocompress.compression.student import make_student
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.data.images import ImageData

CPU = torch.device("cpu")
WAYS = ("full", "classifier", "bitfit", "lora", "qlora")


class Ordered(nn.Module):
    """Reads its inputs in an order that it keeps as a parameter, and one number more."""

    def __init__(self) -> None:
        super().__init__()
        self.order = nn.Parameter(torch.arange(7, -1, -1), requires_grad=False)
        self.first, self.second, self.head = nn.Linear(8, 24), nn.Linear(24, 24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x.index_select(1, self.order)))
        return self.head(torch.relu(self.second(x)))


class AnswersInABlock(nn.Module):
    """Its last layer lies in a block that a shortcut leads past."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.last = nn.Linear(8, 10), nn.Linear(10, 24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return x + self.last(torch.relu(self.inner(x)))


def taught(network: nn.Module, way: str, dropped: bool, path: Path) -> tuple[nn.Module, nn.Module]:
    """The student before and after its training."""
    inputs = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    model = capture(network.eval(), inputs[:1])
    found = look_at_network(model, inputs[:1])
    parent = Parent.of(model, found)
    gone = tuple(block.name for block in found.blocks) if dropped else ()
    assert bool(gone) == dropped
    spec = StudentSpec(dropped=gone, recovery=Recovery(tune=way, rank=2))
    lessons, schedule = Lessons(model, found.layers[-1].name, CPU), Schedule(2.0, (0.5, 1.0), batch_size=16)
    data = ImageData(inputs, torch.arange(40) % 10)
    recoverer = Recoverer(data, lessons, schedule, CPU, contextlib.nullcontext, head=found.layers[-1].name)
    for rung in (0, 1):
        recoverer.recover(make_student(parent, spec), spec, rung, path, lambda: False)
    return make_student(parent, spec).module, load_recovered(make_student(parent, spec), spec, path).module


@pytest.mark.parametrize("way", WAYS)
def test_whole_numbers_among_the_parameters_stay_as_they_are(way: str, tmp_path: Path) -> None:
    before, after = taught(Ordered(), way, False, tmp_path / "student.pt")
    assert torch.equal(after.get_parameter("order"), torch.arange(7, -1, -1))
    assert not torch.equal(before.get_parameter("head.weight"), after.get_parameter("head.weight"))


@pytest.mark.parametrize("way", WAYS)
def test_a_student_without_the_layer_that_answers_is_taught_by_the_last_one_that_it_has(
    way: str, tmp_path: Path
) -> None:
    before, after = taught(AnswersInABlock(), way, True, tmp_path / "student.pt")
    assert "last.weight" not in after.state_dict()
    assert not torch.equal(before.get_parameter("stem.weight"), after.get_parameter("stem.weight"))
