"""Groups in networks whose weights are computed, whose layers are functions, and whose operators nobody named."""

from __future__ import annotations

import copy
import random

import pytest
import torch
import torch.nn.functional as F
from odd_structures import ODD
from torch import Tensor, nn

from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.folding import folded
from autocompress.spaces.groups import remove_channels
from autocompress.spaces.network import look_at_network


@pytest.mark.parametrize("name", ODD)
def test_every_group_is_found_and_any_choice_of_channels_runs(name: str) -> None:
    torch.manual_seed(0)
    make, shape, expected = ODD[name]
    module, inputs = make().eval(), torch.randn(4, *shape)
    graph = capture(module, inputs[:1])
    torch.testing.assert_close(graph(inputs), module(inputs))
    network = look_at_network(graph, inputs[:1])
    assert {(group.channels, group.blocks) for group in network.groups} == expected
    source = random.Random(0)
    for _ in range(8):
        student = copy.deepcopy(graph)
        kept = {group.name: source.choice(group.choices(1, 0.0)) for group in network.groups}
        remove_channels(student, network.groups, kept)
        for batch in (1, 4):
            assert student(inputs[:batch]).shape == (batch, 5)
        torch.testing.assert_close(folded(student)(inputs), student(inputs))


@pytest.mark.parametrize(
    "name",
    [
        "projected",
        "given size",
        "larger",
        "functions",
        "chosen",
        "cross stage",
        "spread",
        "two sequences",
        "two widths",
    ],
)
def test_a_student_answers_as_the_network_in_which_the_same_channels_are_silent(name: str) -> None:
    torch.manual_seed(0)
    make, shape, _ = ODD[name]
    inputs = torch.randn(4, *shape)
    graph = capture(make().eval(), inputs[:1])
    groups, source = look_at_network(graph, inputs[:1]).groups, random.Random(1)
    if name == "chosen":  # what is weighed against nothing has no weight left
        groups = tuple(group for group in groups if group.channels != 24)
    for _ in range(6):
        kept = {group.name: source.choice(group.choices(1, 0.2)) for group in groups}
        silent, student = copy.deepcopy(graph), copy.deepcopy(graph)
        with torch.no_grad():
            for group in groups:
                gone = set(range(group.channels)) - set(group.keep(kept[group.name]))
                for member in group.members:
                    at = torch.tensor([i for r, i in member.pairs if r in gone], dtype=torch.long)
                    for place in member.places if member.side != "in" else ():
                        silent.get_parameter(place.parameter).index_fill_(place.dim, at, 0.0)
        remove_channels(student, groups, kept)
        torch.testing.assert_close(student(inputs), silent(inputs), rtol=1e-4, atol=1e-5)


def test_functions_with_weights_become_layers() -> None:
    graph = capture(ODD["functions"][0]().eval(), torch.zeros(1, 3, 16, 16))
    assert [layer.name for layer in look_at_network(graph, torch.zeros(1, 3, 16, 16)).layers] == ["w1", "w2", "w3"]


@pytest.mark.parametrize("first", [True, False])
def test_functions_may_read_the_weights_of_layers_that_are_called_too(first: bool) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.layer = nn.Embedding(10, 16), nn.Linear(16, 16)

        def forward(self, x: Tensor) -> Tensor:
            found = F.linear(torch.ones(1, 16), self.layer.weight) if first else 0.0
            found = self.layer(self.table(x).mean(1)) + found
            return F.linear(found, self.table.weight)

    module, inputs = Tied().eval(), torch.randint(0, 10, (4, 3))
    graph = capture(module, inputs[:1])
    torch.testing.assert_close(graph(inputs), module(inputs))
    network = look_at_network(graph, inputs[:1])
    assert [layer.name for layer in network.layers] == ["layer"]
    assert network.no_tables
    remove_channels(graph, network.groups, {group.name: group.channels // 2 for group in network.groups})
    assert graph(inputs).shape == (4, 10)


def test_products_with_weights_become_layers_of_blocks() -> None:
    torch.manual_seed(0)
    module, example = ODD["multiplied"][0]().eval(), torch.zeros(1, 3, 16, 16)
    graph = capture(module, example)
    network = look_at_network(graph, example)
    found = {layer.name: (layer.shape, layer.macs) for layer in network.layers}
    assert found == {
        "patches": ((24, 3, 4, 4), 24 * 48 * 16),
        "up": ((48, 24), 48 * 24 * 16),
        "down": ((24, 48), 48 * 24 * 16),
        "wide": ((40, 24), 40 * 24 * 16),
        "back": ((24, 40), 40 * 24 * 16),
        "head": ((5, 24), 5 * 24),
    }
    assert [block.layers for block in network.blocks] == [("up", "down"), ("wide", "back")]


def test_a_weight_that_is_a_product_itself_is_no_layer() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.first, self.second = nn.Linear(4, 16), nn.Parameter(torch.randn(16, 8)), nn.Linear(5, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.up(x) @ (self.first @ self.second.weight)

    graph = capture(Product().eval(), torch.zeros(1, 4))
    assert [layer.name for layer in look_at_network(graph, torch.zeros(1, 4)).layers] == ["up"]
    inputs = torch.randn(3, 4)
    weight = graph.get_parameter("first") @ graph.get_parameter("second.weight")
    torch.testing.assert_close(graph(inputs), graph.get_submodule("up")(inputs) @ weight)


def test_the_projections_of_attention_are_layers() -> None:
    example = torch.zeros(1, 3, 16, 16)
    for name, projections in (
        ("two sequences", ["in_proj_0", "in_proj_1"]),
        ("two widths", ["q_proj", "k_proj", "v_proj"]),
    ):
        layers = look_at_network(capture(ODD[name][0]().eval(), example), example).layers
        found = [layer.name.removeprefix("attention.") for layer in layers if layer.name.startswith("attention.")]
        assert found == [*projections, "out_proj"]
    encoder = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    layers = look_at_network(capture(encoder, torch.zeros(1, 6, 16)), torch.zeros(1, 6, 16)).layers
    assert [layer.name for layer in layers] == ["self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2"]


def test_what_fails_alone_is_left_out_alone() -> None:
    class Counting(nn.Module):
        """The middle one of its layers must have 16 outputs, which nothing in the graph says."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4 if i == 0 else 16, 16) for i in range(6)])
            self.head = nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            for number, layer in enumerate(self.layers):
                x = layer(x).relu()
                if number == 3:
                    x = x + torch.cat([x[:, 8:], x[:, :8].flip(0).flip(0)], 1)
            return self.head(x)

    network = look_at_network(capture(Counting().eval(), torch.zeros(1, 4)), torch.zeros(1, 4))
    assert {"layers.0", "layers.1", "layers.2", "layers.4"} <= {group.name for group in network.groups}


def test_layers_whose_weights_are_buffers_go_through() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.fixed, self.tied = (nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 16))
            self.lstm, self.head = nn.LSTM(16, 8, batch_first=True), nn.Linear(8, 5)
            for layer, name in ((self.fixed, "weight"), (self.tied, "weight"), (self.lstm, "weight_hh_l0")):
                value = self.fixed.weight if layer is self.tied else getattr(layer, name).detach()
                delattr(layer, name)
                layer.register_buffer(name, value)

        def forward(self, x: Tensor) -> Tensor:
            x = self.tied(self.fixed(self.first(x).relu()).relu())
            return self.head(self.lstm(x.unsqueeze(1))[0][:, -1])

    inputs = torch.randn(4, 4)
    graph = capture(Fixed().eval(), inputs[:1])
    network = look_at_network(graph, inputs[:1])
    assert {layer.name: layer.shared_with for layer in network.layers}["fixed"] == "tied"
    assert [entry.name for entry in network.no_recurrent] == ["lstm"]
    assert network.groups
    remove_channels(graph, network.groups, {group.name: group.channels // 2 for group in network.groups})
    assert graph(inputs).shape == (4, 5)
