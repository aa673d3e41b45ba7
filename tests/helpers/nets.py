"""Small networks of every structure that pruning and export must get right, with what was found in them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from autocompress.compression.edits import Parent
from autocompress.compression.export import Template, make_template
from autocompress.compression.student import Student, make_student
from autocompress.spaces.axes.base import Axis
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.channels import ChannelsAxis
from autocompress.spaces.axes.depth import DepthAxis
from autocompress.spaces.axes.patterns import PatternAxis
from autocompress.spaces.axes.recovery import RecoveryAxis
from autocompress.spaces.axes.size import SizeAxis
from autocompress.spaces.axes.width import WidthAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.blocks import find_blocks
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.resized import Resizing
from autocompress.spaces.groups import LeftOut, find_groups
from autocompress.spaces.layers import find_layers, find_leaf_modules
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Capabilities
from autocompress.spaces.variables import Option
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


def small_resnet() -> nn.Module:
    """The structure of resnet18, stages and pooling, with a tenth of its weights."""
    net = models.resnet.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1])
    net.layer4, net.fc = nn.Identity(), nn.Linear(256, 10)
    return net


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

AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (DepthAxis(), ChannelsAxis(), WidthAxis(), SizeAxis(), PatternAxis(), BitsAxis(), RecoveryAxis())
}
CAPABILITIES = Capabilities(latency_bits=(32, 8), storage_bits=(16, 4), channel_multiple=8, patterns=("2:4",))


@dataclass(frozen=True)
class Net:
    """A network in eval mode, one example [1, ...] and the joint space over it."""

    model: nn.Module
    example: Tensor
    space: Space
    left_out: tuple[LeftOut, ...]

    @property
    def context(self) -> SpaceContext:
        return self.space.context

    @property
    def parent(self) -> Parent:
        return Parent(self.model, self.context.groups, self.context.blocks)

    def spec(self, plan: Plan | None = None, **options: Option) -> StudentSpec:
        """What a plan does to the teacher, or the plan that treats all variables of an axis alike (axis=option)."""
        return self.space.spec(self.space.uniform(options, plan))

    def student(self, spec: StudentSpec | None = None) -> Student:
        """A student of this specification; of an empty one it is the teacher."""
        return make_student(self.parent, spec or StudentSpec())

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


def space_over(context: SpaceContext, *axes: str) -> Space:
    """The space over the built-in axes of these names, whatever is installed; whether to teach is always decided."""
    return Space(replace(context, axes=axes), [AXES[name] for name in dict.fromkeys((*axes, "recovery"))])


def with_sizes(context: SpaceContext, full: int, sides: Sequence[int]) -> SpaceContext:
    """The context with images of these sides beside the full one: as a space sees them, without a graph."""

    def looking_at(side: int) -> Resizing:
        areas = {layer.name: max(1, layer.area * side**2 // full**2) for layer in context.layers}
        return Resizing(side, (side, side), (full, full), areas=areas)

    return replace(context, resizings=tuple(map(looking_at, sides)))


CAN_MORE = Capabilities(latency_bits=(32, 16, 8), storage_bits=(4,), channel_multiple=8)


def sensitivity_space(found: Net, axes: tuple[str, ...] = ("channels", "bits"), only: str | None = None) -> Space:
    """The space over a network with every bit-width; `only` names the one layer that may change."""
    keep = frozenset(la.name for la in found.context.layers if only is not None and la.name != only)
    return space_over(replace(found.context, capabilities=CAN_MORE, keep=keep, storage_counts=True), *axes)


@functools.cache
def net(name: str) -> Net:
    """The network of this name; do not change it, tests share it."""
    make, shape = NETS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = shaken(make()).eval()
    example = torch.zeros(1, *shape)
    model = capture(plain, example)
    layers = find_layers(model, example)
    depths = {layer.name: layer.depth for layer in layers}
    groups, left_out = find_groups(model, example, depths)
    leaves = find_leaf_modules(model, example)
    context = SpaceContext(
        layers, groups, CAPABILITIES, leaves, min_fraction=0.25, blocks=find_blocks(model, example, depths)
    )
    return Net(model, example, space_over(context, "channels", "pattern", "bits", "recovery"), left_out)


@functools.cache
def template(name: str) -> Template:
    """The export template of a network: seconds, so it is made once."""
    return make_template(net(name).model, net(name).example)
