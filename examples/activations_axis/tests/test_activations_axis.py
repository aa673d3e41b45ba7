"""The axis does all that axes must, and its students compute with other activations."""

from __future__ import annotations

from dataclasses import replace

import torch
from autocompress_activations_axis import ActivationsAxis
from torch import nn

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.spaces.network import look_at_network
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import build_space
from autocompress.testing import AxisConformance, sample_context


class TestActivationsAxis(AxisConformance):
    """Runs the conformance suite."""

    def make_axis(self) -> ActivationsAxis:
        """Return the axis."""
        return ActivationsAxis()


def test_a_space_takes_it_by_its_name() -> None:
    """The entry point is all that a space needs."""
    space = build_space(sample_context(), ("channels", "activations"))
    assert [v.name for v in space.of("activations")] == ["activations:SiLU", "activations:GELU"]


def test_students_compute_with_the_chosen_activation() -> None:
    """The weights are the teacher's, the activations are not."""
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.SiLU(), nn.Flatten(), nn.Linear(16 * 36, 5)).eval()
    found = look_at_network(network, torch.zeros(1, 3, 8, 8))
    context = sample_context()

    space = build_space(
        replace(context, layers=found.layers, groups=found.groups, modules=found.modules), ("activations",)
    )
    student = make_student(Parent(network, found.groups), space.spec(Plan({"activations:SiLU": "ReLU"}))).module
    images = torch.randn(4, 3, 8, 8)
    expected = network[3](network[2](network[0](images).relu()))
    torch.testing.assert_close(student(images), expected)
