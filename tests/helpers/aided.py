"""A captured teacher with random images and half-wide students, for tests of what a teacher shows beside outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import nets
import torch
from torch import fx, nn
from torchvision import models

from autocompress.compression.distill import Lessons
from autocompress.compression.edits import Parent
from autocompress.compression.recover import Recoverer
from autocompress.compression.schedule import Schedule
from autocompress.compression.student import Student, make_student
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import AIDS, Recovery, StudentSpec
from autocompress.studies.data.images import ImageData

CPU = torch.device("cpu")
ALL_AIDS = frozenset(AIDS)


class Bench:
    """A captured teacher, 48 random images, and its students at half the width."""

    def __init__(self, make: Callable[[], nn.Module], size: int, last: str | None, aware: bool = False) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            plain = nets.shaken(make()).eval()
        images = torch.randn(48, 3, size, size, generator=torch.Generator().manual_seed(1))
        self.model = capture(plain, images[:1])
        network = look_at_network(self.model, images[:1])
        self.parent, layers = Parent(self.model, network.groups, network.blocks), network.layers
        self.images = images
        data = ImageData(images, torch.arange(48) % 5)
        self.lessons = Lessons(self.model, last, CPU)
        schedule = Schedule(3.0, (0.5, 1.0), batch_size=16)
        self.recoverer = Recoverer(data, self.lessons, schedule, CPU, contextlib.nullcontext)
        bits = {layer.name: 8 for layer in layers[1:-1]} if aware else {}
        recovery = Recovery(2.0, 0.5, 0.02, quantization_aware=aware)
        self.spec = StudentSpec({g.name: g.channels // 2 for g in network.groups}, bits, recovery=recovery)

    def with_weights(self, **weights: float) -> StudentSpec:
        assert self.spec.recovery is not None
        return replace(self.spec, recovery=replace(self.spec.recovery, **weights))

    def student(self, spec: StudentSpec | None = None) -> Student:
        return make_student(self.parent, spec or self.spec)


def vision_transformer() -> nn.Module:
    made = models.VisionTransformer(16, 4, num_layers=3, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=5)
    nn.init.normal_(made.heads.head.weight)  # zero in a new one
    return made


def convolutional(aware: bool = False) -> Bench:
    return Bench(nets.small_resnet, 32, "fc", aware)


def transformer() -> Bench:
    return Bench(vision_transformer, 16, "heads.head")


def graph_of(module: nn.Module) -> fx.GraphModule:
    assert isinstance(module, fx.GraphModule)
    return module


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)
