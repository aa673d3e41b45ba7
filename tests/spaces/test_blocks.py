"""Blocks that can go: a network without them is the one that one would build by hand with the same weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import nets
import pytest
import torch
from encoders import TOKENS, Encoder, Layer, unlike
from torch import Tensor, fx, nn
from torchvision import models

from autocompress.spaces.graph.block import Block, drop_blocks
from autocompress.spaces.graph.blocks import find_blocks
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.inputs import Inputs, call
from autocompress.spaces.layers import find_layers, kind_of


class Changing(nn.Module):
    """A block that changes what goes past it in place: without it, other values would come behind."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.head((x + self.b(x.view(x.shape).relu_())).mean((2, 3)))


class Late(nn.Module):
    """What is computed inside of a block is used behind it too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        inside = self.b(x).sigmoid()
        return self.c(x + inside) * inside


def found_in(module: nn.Module, inputs: Inputs) -> tuple[fx.GraphModule, tuple[Block, ...]]:
    example = tuple(part[:1] for part in inputs) if isinstance(inputs, tuple) else inputs[:1]
    graph = capture(module.eval(), example)
    return graph, find_blocks(graph, example, {layer.name: layer.depth for layer in find_layers(graph, example)})


def without(graph: fx.GraphModule, blocks: Sequence[Block]) -> fx.GraphModule:
    cut = copy.deepcopy(graph)
    drop_blocks(cut, blocks)
    left = {name for name, part in cut.named_modules() if kind_of(part)}
    layers = {name for name, part in graph.named_modules() if kind_of(part)}
    assert left == layers - {layer for block in blocks for layer in block.layers}, "its layers go, and no others"
    return cut


def check(graph: fx.GraphModule, blocks: Sequence[Block], expected: nn.Module, inputs: Any) -> None:
    cut = without(graph, blocks)
    with torch.no_grad():
        assert torch.allclose(call(cut, inputs), call(expected.eval(), inputs), atol=1e-6)
        assert not torch.allclose(call(cut, inputs), call(graph, inputs), atol=1e-4), "it does something"


@pytest.mark.parametrize("gone", [(0,), (1, 2), (0, 2, 3, 6), (4, 5)])
def test_a_resnet_without_blocks_is_a_shallower_resnet(gone: tuple[int, ...]) -> None:
    net = nets.NETS["cifar_resnet20"][0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = nets.shaken(net()).eval()
    inputs = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    graph, blocks = found_in(plain, inputs)
    names = [block.name for block in blocks]
    assert names == ["layer1.0", "layer1.1", "layer1.2", "layer2.1", "layer2.2", "layer3.1", "layer3.2"]
    assert {block.role for block in blocks} == {"block"}
    assert [block.depth for block in blocks] == sorted(block.depth for block in blocks)
    for i in gone:
        plain.set_submodule(names[i], nn.Identity())
    check(graph, [blocks[i] for i in gone], plain, inputs)


def test_an_inverted_residual_goes_whole() -> None:
    plain = nets.shaken(models.mobilenet_v2(weights=None, num_classes=10)).eval()
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    graph, blocks = found_in(plain, inputs)
    assert len(blocks) == 10
    gone = blocks[1::2]
    for block in gone:
        plain.set_submodule(block.name.removesuffix(".conv"), nn.Identity())
    check(graph, gone, plain, inputs)


@pytest.mark.parametrize("first", [True, False], ids=["norms first", "norms last"])
@pytest.mark.parametrize("gone", [(0,), (1,), (2, 3), (0, 3, 4), (1, 2, 5)])
def test_attention_and_feed_forward_go_by_themselves_or_together(first: bool, gone: tuple[int, ...]) -> None:
    plain = unlike(Encoder(first))
    graph, blocks = found_in(plain, TOKENS)
    assert [block.role for block in blocks] == ["attention block", "feed-forward block"] * 3
    assert [block.name for block in blocks[:3]] == ["layers.0", "layers.0#2", "layers.1"]
    for i in gone:
        layer = plain.layers[i // 2]
        assert isinstance(layer, Layer)
        layer.attends, layer.feeds = layer.attends and i % 2 == 1, layer.feeds and i % 2 == 0
    check(graph, [blocks[i] for i in gone], plain, TOKENS)


def test_a_vision_transformer_has_two_in_each_layer() -> None:
    torch.manual_seed(0)
    plain = models.VisionTransformer(16, 8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    nn.init.normal_(plain.heads.head.weight)  # type: ignore[arg-type]
    inputs = torch.randn(2, 3, 16, 16)
    graph, blocks = found_in(plain, inputs)
    assert len(blocks) == 6
    plain.encoder.layers[1] = nn.Identity()
    check(graph, blocks[2:4], plain, inputs)


def test_parameters_of_a_dropped_block_go_with_it() -> None:
    graph, blocks = found_in(models.convnext_tiny(weights=None), torch.randn(1, 3, 32, 32))
    cut = without(graph, blocks)
    gone = graph.state_dict().keys() - cut.state_dict().keys()
    assert {"features.1.0.layer_scale", "features.1.0.block.2.weight"} <= gone
    assert not {name for name in cut.state_dict() if "layer_scale" in name}


class Forgetting(nn.Module):
    """Dropout on the shortcut, and an addition in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        x = self.drop(x).add_(self.b(x))
        return self.c(x.relu())


def test_a_shortcut_may_forget_at_random() -> None:
    torch.manual_seed(0)
    plain, inputs = Forgetting().eval(), torch.randn(3, 8)
    graph, blocks = found_in(plain, inputs)
    assert [block.layers for block in blocks] == [("b",)]
    check(graph, blocks, nn.Sequential(plain.a, nn.ReLU(), plain.c), inputs)


NONE: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "no shortcut": (lambda: models.vgg11(weights=None), torch.zeros(1, 3, 32, 32)),
    "concatenated": (nets.ConcatNet, torch.zeros(1, 3, 16, 16)),
    "one layer for all": (lambda: Encoder(True, shared=True), tuple(part[:1] for part in TOKENS)),
    "changes its input": (Changing, torch.zeros(1, 3, 8, 8)),
    "used behind": (Late, torch.zeros(1, 8)),
}


@pytest.mark.parametrize("name", NONE)
def test_what_cannot_go_is_no_block(name: str) -> None:
    make, inputs = NONE[name]
    assert found_in(make(), inputs)[1] == ()
