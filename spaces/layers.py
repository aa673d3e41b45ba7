"""The layers of a network: every operator that can be pruned, masked or quantized, in the order it runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

KINDS: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.Conv1d, "conv"),
    (nn.Conv2d, "conv"),
    (nn.Conv3d, "conv"),
    (nn.Linear, "linear"),
)


@dataclass(frozen=True)
class Layer:
    """One operator with weights.

    kind: "conv", "pointwise" (a convolution over one position), "depthwise" or "linear". depth: 0 for the first layer
    that runs, 1 for the last. weights: numbers in the weight tensor. macs: multiply-accumulates for one example.
    area: positions of the output map (1 for a linear layer on [N, F]).
    """

    name: str
    kind: str
    depth: float
    weights: int
    macs: int
    area: int
    shape: tuple[int, ...]


def find_layers(model: nn.Module, example_input: torch.Tensor) -> tuple[Layer, ...]:
    """The layers that run on `example_input` [1, ...], in order of first use."""
    seen: dict[str, int] = {}
    handles = []

    def record(name: str):  # type: ignore[no-untyped-def]
        def hook(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            channels = output.shape[1] if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) else output.shape[-1]
            seen.setdefault(name, output.numel() // channels)

        return hook

    modules = dict(model.named_modules())
    for name, module in modules.items():
        if kind_of(module):
            handles.append(module.register_forward_hook(record(name)))
    try:
        with torch.no_grad():
            model(example_input)
    finally:
        for handle in handles:
            handle.remove()
    last = max(1, len(seen) - 1)
    layers = []
    for i, (name, area) in enumerate(seen.items()):
        weight = modules[name].weight
        assert isinstance(weight, torch.Tensor)
        kind = kind_of(modules[name]) or ""
        layers.append(Layer(name, kind, i / last, weight.numel(), weight.numel() * area, area, tuple(weight.shape)))
    return tuple(layers)


def kind_of(module: nn.Module) -> str | None:
    """ "conv", "pointwise", "depthwise" or "linear", which run in different kernels; None for a module that is no
    layer."""
    kind = next((kind for cls, kind in KINDS if isinstance(module, cls)), None)
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        if module.groups == module.in_channels > 1:
            return "depthwise"
        if module.groups == 1 and set(module.kernel_size) == {1}:
            return "pointwise"
    return kind
