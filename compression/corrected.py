"""Bias correction: what rounding shifts in the mean output of each channel is taken off its bias again.

Weights are rounded once, so that their errors do not average out over inputs: each output channel of a layer is off by
a constant, and by something around it (Nagel et al. 2019, arXiv:1906.04721, section 4.2, with calibration inputs).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..spaces.inputs import Inputs, call
from ..spaces.layers import kind_of, readers_of_weights
from ..spaces.target import INT8_TOP
from .fake_quant import FakeQuantizer


@torch.no_grad()
def correct_biases(module: nn.Module, bits: Mapping[str, int], inputs: Inputs, weight_top: int = INT8_TOP) -> nn.Module:
    """Return a copy of a network whose biases make up for its bits.

    Each layer is corrected with all layers before it rounded and corrected. A layer without a bias has the running mean
    of the batch norm behind it moved instead. One with neither, that runs more than once, or whose bias something else
    reads, is left alone. What is no linear layer and no convolution is not looked at.

    Args:
        module: The network, on the CPU and in eval mode; it stays as it is.
        bits: Layer name -> bits, where that is not 32.
        inputs: Calibration inputs [M, ...], run at once.
        weight_top: Largest code of weights in 8 bits.
    """
    copied = copy.deepcopy(module).eval()
    parts, readers = dict(copied.named_modules()), readers_of_weights(copied)
    few = {name: width for name, width in bits.items() if width < 16 and name in parts and kind_of(parts[name])}
    layers = {name: parts[name] for name in few}
    means, norms = _means(copied, layers, inputs)
    shifts: dict[str, Tensor] = {}

    def corrected(name: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def hook(layer: nn.Module, given: Any, output: Tensor) -> Tensor:
            dim = _channel_dim(layer)
            shifts[name] = _channel_means(output, dim) - means[name]
            shape = [1] * output.ndim
            shape[dim] = -1
            return output - shifts[name].to(output.dtype).view(shape)

        return hook

    biases = {name: layers[name].bias for name in means}
    usable = [
        name
        for name, bias in biases.items()
        if (len(readers.get(id(bias), ())) <= 1 if isinstance(bias, Tensor) else name in norms)
    ]
    hooks = [layers[name].register_forward_hook(corrected(name)) for name in usable]
    fake = FakeQuantizer(copied, few, weight_top=weight_top)
    fake.switch_on()
    try:
        call(copied, inputs)
    finally:
        fake.switch_off()
        for handle in hooks:
            handle.remove()
    for name, shift in shifts.items():
        bias = biases[name]
        if isinstance(bias, Tensor):
            bias.sub_(shift.to(bias.dtype))
        else:
            mean = norms[name].running_mean
            assert mean is not None
            mean.add_(shift.to(mean.dtype))
    return copied


def _means(
    module: nn.Module, layers: Mapping[str, nn.Module], inputs: Inputs
) -> tuple[dict[str, Tensor], dict[str, _BatchNorm]]:
    """Return the mean output of each channel of each layer that runs once, and the batch norms right behind layers."""
    means: dict[str, Tensor] = {}
    norms: dict[str, _BatchNorm] = {}
    calls: dict[str, int] = {}
    made: dict[int, tuple[str, Tensor]] = {}  # keeps outputs alive, so that no other tensor gets their place

    def remember(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(layer: nn.Module, given: Any, output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            means[name] = _channel_means(output, _channel_dim(layer))
            made[id(output)] = (name, output)

        return hook

    def follow(norm: _BatchNorm) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, given: tuple[Any, ...]) -> None:
            if id(given[0]) in made and norm.running_mean is not None:
                norms[made[id(given[0])][0]] = norm

        return hook

    handles = [layer.register_forward_hook(remember(name)) for name, layer in layers.items()]
    handles += [m.register_forward_pre_hook(follow(m)) for m in module.modules() if isinstance(m, _BatchNorm)]
    try:
        call(module, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: mean for name, mean in means.items() if calls[name] == 1}, norms


def _channel_dim(layer: nn.Module) -> int:
    return -1 if isinstance(layer, nn.Linear) else 1


def _channel_means(output: Tensor, dim: int) -> Tensor:
    return output.double().movedim(dim, 0).flatten(1).mean(1)
