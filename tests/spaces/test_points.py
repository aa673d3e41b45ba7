"""The points of a main stream: what everything that a network has learned of its inputs goes through."""

from __future__ import annotations

from collections.abc import Callable

import nets
import pytest
import torch
from torch import Tensor, fx, nn
from torchvision import models

from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.operator_rules import name_of
from autocompress.spaces.graph.points import find_points, learned_nodes


class LikeBert(nn.Module):
    """Tokens and a mask, which every layer reads; norms come after the sums."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 16), nn.Parameter(torch.randn(6, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.layers, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 5)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.words(tokens) + self.places
        return self.head(self.layers(x, src_key_padding_mask=mask == 0)[:, 0])


class TwoStems(nn.Module):
    """Two ways from the input, which meet."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.left(x).relu() + self.right(x)).mean((2, 3)))


def vision_transformer() -> nn.Module:
    return models.VisionTransformer(16, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...], int]] = {
    "resnet": (nets.small_resnet, (torch.zeros(1, 3, 32, 32),), 3),
    "vit": (vision_transformer, (torch.zeros(1, 3, 16, 16),), 4),
    "bert": (LikeBert, (torch.zeros(1, 6, dtype=torch.long), torch.ones(1, 6)), 4),
    "two stems": (TwoStems, (torch.zeros(1, 3, 8, 8),), 1),
    "mobilenet": (lambda: models.mobilenet_v2(weights=None), (torch.zeros(1, 3, 64, 64),), 10),
}
"""Each with its inputs, and how often two ways meet in its main stream."""


def captured(name: str) -> fx.GraphModule:
    make, inputs, _ = NETWORKS[name]
    return capture(make().eval(), inputs[0] if len(inputs) == 1 else inputs)


def way_around(module: fx.GraphModule, point: fx.Node) -> bool:
    """Whether something learned comes to the output past a node."""
    learned = learned_nodes(module)
    reached: set[fx.Node] = set()
    for node in module.graph.nodes:
        if node in learned and node is not point:
            before = [a for a in node.all_input_nodes if a in learned]
            if not before or any(a in reached for a in before):
                reached.add(node)
    (output,) = [node for node in module.graph.nodes if node.op == "output"]
    return any(a in reached for a in output.all_input_nodes)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_learned_goes_around_a_point_and_something_around_all_else(name: str) -> None:
    module = captured(name)
    points = find_points(module)
    assert points
    for node in learned_nodes(module):
        gives_tensors = any(name_of(user) == "getitem" for user in node.users)
        assert (node in points) == (not way_around(module, node) and not gives_tensors)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_meeting_of_the_main_stream_is_a_point(name: str) -> None:
    module = captured(name)
    learned = learned_nodes(module)
    meetings = [p for p in find_points(module) if sum(a in learned for a in p.all_input_nodes) > 1]
    assert len(meetings) == NETWORKS[name][2]


def test_every_step_of_a_plain_chain_is_a_point() -> None:
    module = nets.net("flatten").model
    assert isinstance(module, fx.GraphModule)
    names = [str(p.target) for p in find_points(module) if p.op == "call_module"]
    assert names == ["conv1", "norm1", "conv2", "linear1", "linear2"]


def test_a_mask_is_no_part_of_the_stream() -> None:
    module = captured("bert")
    mask = [node for node in module.graph.nodes if node.op == "placeholder"][1]
    assert mask not in learned_nodes(module)
    assert not any(mask in p.all_input_nodes for p in find_points(module))
