"""Small networks of every structure that pruning and export must get right, with what was found in them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from autocompress.compression.export import Template, make_template
from autocompress.spaces.axes.base import Ground
from autocompress.spaces.groups import LeftOut, find_groups
from autocompress.spaces.layers import find_layers
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.target import Capabilities
from autocompress.studies.models import cifar_resnet, digits_net


class ConcatNet(nn.Module):
    """Like a DenseNet: layers read all earlier outputs, behind norms that no layer can take in."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.norm1, self.grow1 = nn.BatchNorm2d(32), nn.Conv2d(32, 16, 3, padding=1, bias=False)
        self.norm2, self.grow2 = nn.BatchNorm2d(48), nn.Conv2d(48, 16, 3, padding=1, bias=False)
        self.norm3, self.head = nn.BatchNorm2d(64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.grow1(F.relu(self.norm1(x)))], 1)
        x = torch.cat([x, self.grow2(F.relu(self.norm2(x)))], 1)
        return self.head(F.relu(self.norm3(x)).mean((2, 3)))


def grouped_net() -> nn.Module:
    """Like a ResNeXt: a convolution in four groups between two plain ones."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, groups=4, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Conv2d(64, 32, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


class FlattenNet(nn.Module):
    """Like a VGG: the first linear layer reads every position of every channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.linear1, self.linear2 = nn.Linear(32 * 4 * 4, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.linear2(F.relu(self.linear1(x.flatten(1))))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "digits": (lambda: digits_net(width=16), (1, 16, 16)),
    "cifar_resnet20": (lambda: cifar_resnet(20, shortcut="pad"), (3, 16, 16)),
    "mobilenet_v2": (lambda: models.mobilenet_v2(weights=None, num_classes=10), (3, 64, 64)),
    "concat": (ConcatNet, (3, 16, 16)),
    "grouped": (grouped_net, (3, 16, 16)),
    "flatten": (FlattenNet, (3, 16, 16)),
}
SMALL = ("digits", "concat", "grouped", "flatten")
ALL = [pytest.param(name, marks=pytest.mark.slow) if name == "mobilenet_v2" else name for name in NETS]
"""For parametrize: finding the groups of the largest takes seconds."""

CAPABILITIES = Capabilities(latency_bits=(32, 8), storage_bits=(16, 4), channel_multiple=8, patterns=("2:4",))


@dataclass(frozen=True)
class Net:
    """A network in eval mode, one example [1, ...] and the joint space over it."""

    model: nn.Module
    example: Tensor
    space: Space
    left_out: tuple[LeftOut, ...]

    @property
    def ground(self) -> Ground:
        return self.space.ground

    def inputs(self, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(7)
        return torch.randn(count, *self.example.shape[1:], generator=generator)


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """`model` with norms as after training: those of a fresh network do nothing, and would hide faults."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            size = module.num_features
            module.weight.data = 0.5 + torch.rand(size, generator=generator)
            module.bias.data = 0.2 * torch.randn(size, generator=generator)
            module.running_mean = 0.2 * torch.randn(size, generator=generator)
            module.running_var = 0.5 + torch.rand(size, generator=generator)
    return model


@functools.cache
def net(name: str) -> Net:
    """The network of this name; do not change it, tests share it."""
    make, shape = NETS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = shaken(make()).eval()
    example = torch.zeros(1, *shape)
    layers = find_layers(model, example)
    groups, left_out = find_groups(model, example, {layer.name: layer.depth for layer in layers})
    ground = Ground(layers, groups, CAPABILITIES, min_fraction=0.25)
    return Net(model, example, build_space(ground), left_out)


@functools.cache
def template(name: str) -> Template:
    """The export template of a network: seconds, so it is made once."""
    return make_template(net(name).model, net(name).example)
