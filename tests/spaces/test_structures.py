"""Groups in networks of odd structure: found, cut by their indices, and right whatever stands in the code."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from structures import STRUCTURES
from torch import fx, nn

from autocompress.spaces.graph.capture import capture
from autocompress.spaces.groups import Group, LeftOut, find_groups, remove_channels
from autocompress.spaces.layers import find_layers

EXAMPLE = torch.zeros(1, 3, 8, 8)


def found_in(module: nn.Module) -> tuple[fx.GraphModule, tuple[Group, ...], tuple[LeftOut, ...]]:
    graph = capture(module.eval(), EXAMPLE)
    layers = find_layers(graph, EXAMPLE)
    return graph, *find_groups(graph, EXAMPLE, {layer.name: layer.depth for layer in layers})


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_group_is_found_and_any_choice_of_channels_runs_at_any_batch(name: str) -> None:
    torch.manual_seed(0)
    make, expected = STRUCTURES[name]
    module = make()
    graph, groups, left = found_in(module)
    inputs = torch.randn(6, 3, 8, 8)
    torch.testing.assert_close(graph(inputs), module(inputs))
    assert {(group.channels, group.blocks) for group in groups} == expected
    assert {entry.name for entry in left} >= {"head"} or name == "viewed"
    source = random.Random(0)
    for _ in range(12):
        student = copy.deepcopy(graph)
        kept = {group.name: source.choice(group.choices(1, 0.0)) for group in groups}
        remove_channels(student, groups, kept)
        for batch in (1, 4, 6):
            assert student(inputs[:batch]).shape == (batch, 5)
        assert torch.equal(copy.deepcopy(student)(inputs), student(inputs)), "a copy has its own numbers"


@pytest.mark.parametrize("name", ["shuffled", "gated", "viewed", "twice"])
def test_a_student_answers_as_the_network_in_which_the_same_channels_are_silent(name: str) -> None:
    """Where no norm mixes channels, taking out what is zero changes nothing: every index is the right one."""
    torch.manual_seed(0)
    graph, groups, _ = found_in(STRUCTURES[name][0]())
    source, inputs = random.Random(1), torch.randn(4, 3, 8, 8)
    for _ in range(8):
        kept = {group.name: source.choice(group.choices(1, 0.2)) for group in groups}
        silent, student = copy.deepcopy(graph), copy.deepcopy(graph)
        with torch.no_grad():
            for group in groups:
                gone = set(range(group.channels)) - set(group.keep(kept[group.name]))
                for member in group.members:
                    indices = [i for r, i in member.pairs if r in gone]
                    for place in member.places if member.side != "in" else ():
                        if not place.parameter.endswith(("running_mean", "running_var")):
                            silent.get_parameter(place.parameter).index_fill_(
                                place.dim, torch.tensor(indices, dtype=torch.long), 0.0
                            )
            for part in silent.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.running_mean.masked_fill_(part.weight == 0, 0.0)  # type: ignore[union-attr]
        remove_channels(student, groups, kept)
        torch.testing.assert_close(student(inputs), silent(inputs), rtol=1e-4, atol=1e-5)


def test_shared_weights_are_cut_together() -> None:
    graph, groups, _ = found_in(STRUCTURES["twice"][0]())
    remove_channels(graph, groups, {group.name: 4 for group in groups})
    assert graph.get_parameter("again.weight") is graph.get_parameter("b.weight")
    assert graph.get_parameter("b.weight").shape == (4, 4, 3, 3)


def test_an_operator_of_which_nothing_is_known_costs_its_neighbours_alone() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1), nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cumsum(self.a(x), 1).relu().mean((2, 3)) + self.b(self.a(x).relu()).mean((2, 3)))

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.odd = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1), Odd()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.odd(x + self.second(self.first(x).relu()))

    _, groups, left = found_in(Beside())
    assert [group.name for group in groups] == ["first"]
    assert any("cumsum" in entry.reason for entry in left)
