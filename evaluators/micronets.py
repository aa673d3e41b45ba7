"""Micro networks: a few layers of one kind each, small enough to be built and timed in a moment.

A layer alone misleads: beside others it keeps its layout and its precision, alone it pays for converting both. So
each network is a piece as real networks have it, from an input to a classifier, all in one precision. Imports torch.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ..compression.export import Template, make_template
from ..spaces.layers import find_layers
from ..spaces.target import Target
from .runtimes.base import BuildRequest, Runtime

KINDS = ("conv", "pointwise", "depthwise", "linear")
"""The kinds of layers that there is a network for."""
CHANNELS = 64
"""The channels that fewer are held against: few enough that a step of 8 shows, enough for every kernel there is."""
WIDE = {"conv": 64, "pointwise": 128, "depthwise": 192, "linear": 256}
"""The channels that fewer bits are tried at: with too little work, converting numbers would hide what bits win."""
CALIBRATION = 8
"""Inputs that calibrate a file at least: latency does not depend on the ranges."""
_CLASSES = 10
_BLOCK_CHANNELS = 32
_FEATURES = 1024


def micronet(kind: str, channels: int) -> tuple[nn.Module, torch.Tensor]:
    """A network in eval mode whose layers of this kind have `channels`, and one input [1, ...] for it.

    conv: four 3x3 convolutions on 16x16. pointwise: six 1x1 convolutions there. depthwise: two inverted bottlenecks
    (1x1, depthwise 3x3, 1x1; Sandler et al. 2018, arXiv:1801.04381). linear: four layers, wide and narrow in turn.
    """
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    shape: tuple[int, ...] = (16, 16, 16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "conv":
            layers = [*_conv(3, channels, 3), *(m for _ in range(3) for m in _conv(channels, channels, 3)), *pooled]
            net, shape = nn.Sequential(*layers, nn.Linear(channels, _CLASSES)), (3, 16, 16)
        elif kind == "pointwise":
            layers = [*_conv(16, channels, 1), *(m for _ in range(5) for m in _conv(channels, channels, 1)), *pooled]
            net = nn.Sequential(*layers, nn.Linear(channels, _CLASSES))
        elif kind == "depthwise":
            layers = [*_inverted_bottleneck(channels), *_inverted_bottleneck(channels), *pooled]
            net, shape = nn.Sequential(*layers, nn.Linear(_BLOCK_CHANNELS, _CLASSES)), (_BLOCK_CHANNELS, 16, 16)
        elif kind == "linear":
            layers = [*_bottleneck(channels), *_bottleneck(channels)]
            net, shape = nn.Sequential(*layers, nn.Linear(_FEATURES, _CLASSES)), (_FEATURES,)
        else:
            raise ValueError(f"micronet {kind!r}; allowed: {', '.join(KINDS)}")
    return net.eval(), torch.zeros(1, *shape)


def arithmetic(kind: str, channels: int) -> float:
    """Multiply-accumulates of the network with `channels` over those with CHANNELS."""
    few, full = (sum(layer.macs for layer in find_layers(*micronet(kind, c))) for c in (channels, CHANNELS))
    return few / full


class MicroFiles:
    """The files of micro networks for one target, each built once, in `folder`."""

    def __init__(self, runtime: Runtime, target: Target, folder: Path) -> None:
        self._runtime = runtime
        self._target = target
        self._folder = folder
        self._templates: dict[str, Template] = {}

    def template(self, kind: str) -> Template:
        """What the networks of this kind are written into; made once. Raises ExportError."""
        if kind not in self._templates:
            net, one = micronet(kind, CHANNELS)
            # a batch of one stays free, others are exported as they are: some runtimes know nothing else
            self._templates[kind] = make_template(net, torch.cat([one] * self._target.batch))
        return self._templates[kind]

    def get(self, kind: str, bits: int, channels: int) -> Path:
        """The file with all layers in `bits`. Raises ExportError, MeasurementError, or what the runtime's library
        raises."""
        path = self._folder / f"{kind}-{bits}-{channels}{self._runtime.suffix}"
        if not path.exists():
            template = self.template(kind)
            net, one = micronet(kind, channels)
            count = self._target.batch * max(1, CALIBRATION // self._target.batch)
            calibration = torch.randn(count, *one.shape[1:], generator=torch.Generator().manual_seed(0)).numpy()
            request = BuildRequest(template.write(net), template.layers, {}, calibration, net, template.batch)
            if bits < 32:
                request = replace(request, bits=dict.fromkeys(template.layers.values(), bits))
            self._runtime.build(request, path)
        return path


def _conv(inputs: int, outputs: int, size: int, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups), nn.ReLU()


def _inverted_bottleneck(channels: int) -> tuple[nn.Module, ...]:
    spread, deep = _conv(_BLOCK_CHANNELS, channels, 1), _conv(channels, channels, 3, groups=channels)
    return (*spread, *deep, nn.Conv2d(channels, _BLOCK_CHANNELS, 1))


def _bottleneck(channels: int) -> tuple[nn.Module, ...]:
    return nn.Linear(_FEATURES, channels), nn.ReLU(), nn.Linear(channels, _FEATURES), nn.ReLU()
