"""Quantization-aware training: layers that compute as they will after quantization.

Gradients pass straight through (Jacob et al. 2018, arXiv:1712.05877, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .layer_forward import WeightOf, own_weight, with_weight
from .learned_steps import LearnedSteps

RANGE_MOMENTUM = 0.05
"""How far a range of activations moves towards that of the latest batch."""


class FakeQuantizer:
    """Fake quantization on the layers of a network with 8 or 4 bits, switched on and off without changing it.

    Inputs of 8-bit layers lie on a uint8 grid over one running range, which holds 0. Weights lie on a symmetric grid of
    8 or 4 bits for each output channel. A batch norm folded later scales whole output channels, which leaves this grid
    as it is.

    Attributes:
        ranges: Layer name -> [2], the least and the largest input that was seen.
    """

    def __init__(
        self,
        module: nn.Module,
        bits: Mapping[str, int],
        weight_of: WeightOf = own_weight,
        steps: LearnedSteps | None = None,
    ) -> None:
        """Prepare for a network.

        Args:
            module: The network.
            bits: Layer name -> width; layers of 16 bits are left alone.
            weight_of: What is quantized where it is not the layer's own weight, such as its sum with an update.
            steps: The ends of the grids, where they are learned. Else they are those of what is quantized.
        """
        self._layers = {name: (module.get_submodule(name), width) for name, width in bits.items() if width < 16}
        self._weight_of, self._steps = weight_of, steps
        self._before: dict[str, Any] = {}
        self.ranges: dict[str, Tensor] = {}

    @property
    def quantizes(self) -> bool:
        """Whether there is any layer below 16 bits."""
        return bool(self._layers)

    def switch_on(self) -> None:
        """Let the layers compute with quantized weights and inputs."""
        for name, (layer, width) in self._layers.items():
            self._before.setdefault(name, layer.__dict__.get("forward"))
            layer.forward = self._forward(name, layer, width)

    def switch_off(self) -> None:
        """Give the layers the arithmetic back that they had before."""
        for name, before in self._before.items():
            layer, _ = self._layers[name]
            layer.__dict__.pop("forward", None)
            if before is not None:
                layer.forward = before
        self._before.clear()

    def _forward(self, name: str, layer: nn.Module, width: int) -> Any:
        def forward(inputs: Tensor) -> Tensor:
            if width == 8:
                inputs = self._fake_quantized_inputs(name, inputs, layer.training)
            made = self._weight_of is not own_weight
            return with_weight(layer, inputs, lambda: self._weight(name, layer, width), again=made)

        return forward

    def _weight(self, name: str, layer: nn.Module, width: int) -> Tensor:
        weight = self._weight_of(name, layer)
        return fake_quantized_weight(weight, width) if self._steps is None else self._steps.weight(name, weight, width)

    def _fake_quantized_inputs(self, name: str, inputs: Tensor, training: bool) -> Tensor:
        if self._steps is not None and name in self.ranges:
            found, self.ranges[name] = self._steps.inputs(name, inputs, self.ranges[name].to(inputs.device))
            return found
        if training or name not in self.ranges:
            low, high = torch.aminmax(inputs.detach())
            now = torch.stack([low.clamp(max=0), high.clamp(min=0)]).float()
            old = self.ranges.get(name, now).to(now.device)
            self.ranges[name] = old + RANGE_MOMENTUM * (now - old)
        low, high = self.ranges[name].to(inputs.device)
        scale = ((high - low) / 255).clamp_min(1e-8)
        zero = (-low / scale).round().clamp(0, 255).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(inputs, scale, zero, 0, 255)


def fake_quantized_weight(weight: Tensor, width: int) -> Tensor:
    """Return `weight` [out, in, ...] on the symmetric grid of `width` bits, with one scale for each output channel."""
    top = 2 ** (width - 1) - 1
    scale = (weight.detach().abs().flatten(1).amax(dim=1) / top).clamp_min(1e-12).float()
    zero = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -top, top)
