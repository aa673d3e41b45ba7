"""What the benchmarks measure: networks with random weights, built for a runtime. No data is needed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from autocompress.compression.export import Template, make_template
from autocompress.compression.student import make_student
from autocompress.errors import MeasurementError
from autocompress.evaluators.bench import TimedFile
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.timing.machine import conditions
from autocompress.spaces.axes.base import Ground
from autocompress.spaces.groups import Group, find_groups
from autocompress.spaces.layers import Layer, find_layers
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import build_space
from autocompress.spaces.target import Capabilities, Target
from autocompress.studies.models import build_model

# name -> model, classes, image [C, H, W]
NETWORKS = {
    "digits_net": ("digits_net", 10, (1, 8, 8)),
    "resnet20": ("cifar_resnet20", 10, (3, 32, 32)),
    "resnet18": ("torchvision/resnet18", 1000, (3, 224, 224)),
    "mobilenet_v2": ("torchvision/mobilenet_v2", 1000, (3, 224, 224)),
}
CALIBRATION = 8
"""Random inputs that set activation ranges: no latency depends on their values."""


@dataclass(frozen=True)
class Variant:
    """bits: of all layers that can have them. width: part of the channels of each group that stays."""

    bits: int = 32
    width: float = 1.0

    @property
    def name(self) -> str:
        bits = {32: "fp32", 16: "16 bits", 8: "int8"}[self.bits]
        return bits if self.width == 1 else f"{bits}, {self.width:.0%} channels"

    @property
    def file_name(self) -> str:
        return f"w{self.width * 100:.0f}-b{self.bits}"


class Network:
    """One of NETWORKS; its weights are random, and its batch norms have seen random images."""

    def __init__(self, name: str) -> None:
        self.name = name
        model, classes, image = NETWORKS[name]
        generator = torch.Generator().manual_seed(0)
        self.inputs: Tensor = torch.randn(CALIBRATION, *image, generator=generator)
        self._model, self._classes, self._image = model, classes, image

    @cached_property
    def module(self) -> nn.Module:
        module = build_model(self._model, self._classes, self._image[0]).train()
        norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # the plain mean: activations keep a natural size, far from denormal numbers
        with torch.no_grad():
            module(self.inputs)
        return module.eval()

    @cached_property
    def template(self) -> Template:
        return make_template(self.module, self.inputs[:1])

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        return find_layers(self.module, self.inputs[:1])

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        return find_groups(self.module, self.inputs[:1], {layer.name: layer.depth for layer in self.layers})[0]

    def plan(self, variant: Variant, capabilities: Capabilities) -> Plan:
        """What a user would do by hand: every group and layer alike, in counts that the runtime likes."""
        ground = Ground(self.layers, self.groups, capabilities)
        return build_space(ground).uniform(variant.width, variant.bits, None)

    def build(self, runtime_name: str, variant: Variant, folder: Path, device: str = "cpu") -> TimedFile:
        """The variant as a file in `folder`, from an earlier call if there is one.

        Raises MeasurementError, RuntimeUnavailable, ExportError.
        """
        runtime, target = get_runtime(runtime_name), Target(runtime_name, device)
        path = folder / self.name / runtime_name / f"{variant.file_name}{runtime.suffix}"
        if path.exists():
            return TimedFile(path, target)
        capabilities = runtime.capabilities(target)
        if variant.bits not in capabilities.latency_bits:
            raise MeasurementError(f"no faster kernels on {runtime_name}")
        plan = self.plan(variant, capabilities)
        student = make_student(self.module, self.groups, plan).module.eval()
        model = self.template.write(student)
        request = BuildRequest(model, self.template.layers, plan.bits, self.inputs.numpy(), student)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"part-{path.name}")  # a build that was broken off is no file
        if part.is_dir():
            shutil.rmtree(part)
        runtime.build(request, part)
        part.replace(path)
        return TimedFile(path, target)


def machine_line() -> str:
    """What a benchmark ran on."""
    shown = conditions(Target(), "")
    sets = " ".join(shown["instruction_sets"] or ())
    return f"{shown['device_name']}, {shown['logical_cores']} cores, {sets}; load {shown['load_1min']}"
