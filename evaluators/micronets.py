"""Micro networks: a few layers of one kind each, small enough to be built and timed in a moment.

A layer alone misleads: beside others it keeps its layout and its precision, alone it pays for converting both. So
each network is a piece as real networks have it, from an input to a classifier, all in one precision. Imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

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
_OPSET, _IR_VERSION = 21, 10  # as students are exported, see `compression.export`
_CLASSES = 10
_BLOCK_CHANNELS = 32
_FEATURES = 1024


def micronet(kind: str, channels: int) -> tuple[nn.Sequential, torch.Tensor]:
    """Return a network whose layers of this kind have so many channels, and an input for it.

    Args:
        kind: "conv" has four 3x3 convolutions on 16x16; "pointwise" six 1x1 convolutions there; "depthwise" two
            inverted bottlenecks (1x1, depthwise 3x3, 1x1; Sandler et al. 2018, arXiv:1801.04381); "linear" four layers,
            wide and narrow in turn.
        channels: Of its layers of this kind.

    Returns:
        The network in eval mode and one input [1, ...].

    Raises:
        ValueError: There is no network of this kind.
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
    """Return the multiply-accumulates of the network with `channels` over those with CHANNELS."""
    few, full = (sum(layer.macs for layer in find_layers(*micronet(kind, c))) for c in (channels, CHANNELS))
    return few / full


def micrograph(net: nn.Sequential, shape: tuple[int, ...], batch: int) -> tuple[Any, dict[str, str]]:
    """Write a micro network as an ONNX graph, operator by operator: an export by torch would take seconds.

    Args:
        net: A network of `micronet`.
        shape: Of one input, without the batch.
        batch: Inputs at a time; 1 leaves the batch free.

    Returns:
        The graph (onnx.ModelProto), and node name -> name of the layer in `net`.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, layers, value = [], [], {}, "input"
    for name, module in net.named_children():
        operator, attributes = _operator(module)
        inputs = [value]
        for kind, parameter in module.named_parameters():
            inputs.append(f"{name}.{kind}")
            weights.append(numpy_helper.from_array(parameter.detach().numpy(), inputs[-1]))
        node, value = f"node_{name}", f"value_{name}"
        if len(inputs) > 1:
            layers[node] = name
        nodes.append(helper.make_node(operator, inputs, [value], node, **attributes))
    nodes[-1].output[0] = "output"
    size = "batch" if batch == 1 else batch
    graph = helper.make_graph(
        nodes,
        "micronet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [size, *shape])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [size, _CLASSES])],
        weights,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION), layers


class MicroFiles:
    """The files of micro networks for one target, each built once."""

    def __init__(self, runtime: Runtime, target: Target, folder: Path) -> None:
        """Build nothing yet.

        Args:
            runtime: The target's runtime.
            target: Where the files run.
            folder: Where they are to lie.
        """
        self._runtime = runtime
        self._target = target
        self._folder = folder

    def get(self, kind: str, bits: int, channels: int) -> Path:
        """Return the file of one network.

        Args:
            kind: Of its layers; see `micronet`.
            bits: Of all its layers.
            channels: Of its layers of this kind.

        Raises:
            MeasurementError: The runtime has no form for it. Whatever its library raises is raised too.
        """
        path = self._folder / f"{kind}-{bits}-{channels}{self._runtime.suffix}"
        if not path.exists():
            net, one = micronet(kind, channels)
            batch = self._target.batch
            graph, layers = micrograph(net, tuple(one.shape[1:]), batch)
            count = batch * max(1, CALIBRATION // batch)
            calibration = torch.randn(count, *one.shape[1:], generator=torch.Generator().manual_seed(0)).numpy()
            asked = dict.fromkeys(layers.values(), bits) if bits < 32 else {}
            self._runtime.build(BuildRequest(graph, layers, asked, calibration, net, batch, batch), path)
        return path


def _operator(module: nn.Module) -> tuple[str, dict[str, Any]]:
    if isinstance(module, nn.Conv2d):
        assert isinstance(module.padding, tuple)
        height, width = module.padding
        return "Conv", {
            "kernel_shape": list(module.kernel_size),
            "pads": [height, width, height, width],
            "group": module.groups,
        }
    if isinstance(module, nn.Linear):
        return "Gemm", {"transB": 1}
    plain = {nn.ReLU: "Relu", nn.AdaptiveAvgPool2d: "GlobalAveragePool", nn.Flatten: "Flatten"}
    return plain[type(module)], {}


def _conv(inputs: int, outputs: int, size: int, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups), nn.ReLU()


def _inverted_bottleneck(channels: int) -> tuple[nn.Module, ...]:
    spread, deep = _conv(_BLOCK_CHANNELS, channels, 1), _conv(channels, channels, 3, groups=channels)
    return (*spread, *deep, nn.Conv2d(channels, _BLOCK_CHANNELS, 1))


def _bottleneck(channels: int) -> tuple[nn.Module, ...]:
    return nn.Linear(_FEATURES, channels), nn.ReLU(), nn.Linear(channels, _FEATURES), nn.ReLU()
