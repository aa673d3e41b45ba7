"""What the benchmarks measure: networks with random weights, built for a runtime. No data is needed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.export import Template, make_template
from autocompress.compression.student import make_student
from autocompress.errors import MeasurementError
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.timing.machine import conditions
from autocompress.evaluators.timing.processes import TimedFile
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.groups import Group
from autocompress.spaces.layers import Layer
from autocompress.spaces.network import Network as Found
from autocompress.spaces.network import look_at_network
from autocompress.spaces.space import build_space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Capabilities, Target
from autocompress.studies.models import build_model

NETWORKS = {
    "digits_net": ("digits_net", 10, (1, 8, 8)),
    "resnet20": ("cifar_resnet20", 10, (3, 32, 32)),
    "resnet18": ("torchvision/resnet18", 1000, (3, 224, 224)),
    "mobilenet_v2": ("torchvision/mobilenet_v2", 1000, (3, 224, 224)),
}
"""Name -> model, classes, image [C, H, W]."""
CALIBRATION = 8
"""Number of random inputs that set activation ranges: no latency depends on their values."""


@dataclass(frozen=True)
class Variant:
    """A student as a user would make it by hand.

    Attributes:
        bits: Of all layers that can have them.
        width: Part of the channels of each group that stays.
    """

    bits: int = 32
    width: float = 1.0

    @property
    def name(self) -> str:
        """What users see."""
        bits = {32: "fp32", 16: "16 bits", 8: "int8"}[self.bits]
        return bits if self.width == 1 else f"{bits}, {self.width:.0%} channels"

    @property
    def file_name(self) -> str:
        """The name of its file, without suffix."""
        return f"w{self.width * 100:.0f}-b{self.bits}"


class Network:
    """One of NETWORKS. Its weights are random, and its batch norms have seen random images.

    Attributes:
        name: Of NETWORKS.
        inputs: Random images [CALIBRATION, C, H, W].
    """

    def __init__(self, name: str) -> None:
        """Make nothing yet but random images."""
        self.name = name
        model, classes, image = NETWORKS[name]
        generator = torch.Generator().manual_seed(0)
        self.inputs: Tensor = torch.randn(CALIBRATION, *image, generator=generator)
        self._model, self._classes, self._image = model, classes, image

    @cached_property
    def module(self) -> nn.Module:
        """The network in eval mode."""
        module = build_model(self._model, self._classes, self._image[0]).train()
        norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # the plain mean: activations keep a natural size, far from denormal numbers
        with torch.no_grad():
            module(self.inputs)
        return module.eval()

    @cached_property
    def template(self) -> Template:
        """Its export."""
        return make_template(self.module, self.inputs[:1])

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its layers, in order of execution."""
        return self._found.layers

    @property
    def groups(self) -> tuple[Group, ...]:
        """Its groups of channels."""
        return self._found.groups

    @cached_property
    def _found(self) -> Found:
        return look_at_network(self.module, self.inputs[:1])

    def context(self, capabilities: Capabilities) -> SpaceContext:
        """Return what spaces over this network stand on, for a target of these capabilities."""
        return SpaceContext(self.layers, self.groups, capabilities, self._found.modules)

    def spec(self, variant: Variant, capabilities: Capabilities) -> StudentSpec:
        """Return the student that treats every group and layer alike, in counts that the target likes."""
        space = build_space(self.context(capabilities), ("channels", "bits"))
        return space.spec(space.uniform({"channels": variant.width, "bits": variant.bits}))

    def build(self, runtime_name: str, variant: Variant, folder: Path, device: str = "cpu") -> TimedFile:
        """Return the variant as a file, one of an earlier call if there is any.

        Args:
            runtime_name: Name of the runtime.
            variant: What to build.
            folder: Where files lie.
            device: Where the runtime runs.

        Raises:
            MeasurementError: The runtime cannot build it, or has no faster kernels for these bits.
            RuntimeUnavailable: The runtime cannot be used here.
            ExportError: The network cannot be exported.
        """
        runtime, target = get_runtime(runtime_name), Target(runtime_name, device)
        path = folder / self.name / runtime_name / f"{variant.file_name}{runtime.suffix}"
        if path.exists():
            return TimedFile(path, target)
        capabilities = runtime.capabilities(target)
        if variant.bits not in capabilities.latency_bits:
            raise MeasurementError(f"no faster kernels on {runtime_name}")
        spec = self.spec(variant, capabilities)
        student = make_student(Parent(self.module, self.groups), spec).module.eval()
        model = self.template.write(student)
        request = BuildRequest(model, self.template.layers, spec.bits, self.inputs.numpy(), student)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"part-{path.name}")  # a build that was broken off is no file
        if part.is_dir():
            shutil.rmtree(part)
        runtime.build(request, part)
        part.replace(path)
        return TimedFile(path, target)


def machine_line() -> str:
    """Return what a benchmark ran on, in one line."""
    shown = conditions(Target(), "")
    sets = " ".join(shown["instruction_sets"] or ())
    return f"{shown['device_name']}, {shown['logical_cores']} cores, {sets}; load {shown['load_1min']}"
