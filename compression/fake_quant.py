"""Quantization-aware training: layers that compute as they will after quantization.

Gradients pass straight through (Jacob et al. 2018, arXiv:1712.05877, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..spaces.recurrent import recurrent_nodes
from ..spaces.spec import DYNAMIC, FLOAT, GROUP, STATIC
from ..spaces.target import INT8_TOP, top_of
from .layer_forward import WeightOf, own_weight, with_weight
from .learned_steps import LearnedSteps
from .recurrent import RoundedReading

RANGE_MOMENTUM = 0.05
"""How far a range of activations moves towards that of the latest batch."""


class FakeQuantizer:
    """Fake quantization on the layers of a network with 8 or 4 bits, switched on and off without changing it.

    Inputs of 8-bit layers lie on a uint8 grid over one running range, which holds 0. Weights lie on a symmetric grid of
    8 or 4 bits for each output channel. A batch norm folded later scales whole output channels, which leaves this grid
    as it is. Rows of embeddings lie on a symmetric grid each.

    Inputs of layers with dynamic activations lie on a grid over the range of the batch. Those with float ones are left
    alone, and each output's weights have a grid for every GROUP of them.

    Weights of recurrent layers have a grid for each row; with dynamic activations what they read has one too.

    Attributes:
        ranges: Layer name -> [2], the least and the largest input that was seen.
    """

    def __init__(
        self,
        module: nn.Module,
        bits: Mapping[str, int],
        weight_of: WeightOf = own_weight,
        steps: LearnedSteps | None = None,
        activations: Mapping[str, str] | None = None,
        weight_top: int = INT8_TOP,
    ) -> None:
        """Prepare for a network.

        Args:
            module: The network.
            bits: Layer name -> width; layers of 16 bits are left alone.
            weight_of: What is quantized where it is not the layer's own weight, such as its sum with an update.
            steps: The ends of the grids, where they are learned. Else they are those of what is quantized.
            activations: As a specification has them, for layers whose ranges are not known beforehand; their grids are
                not learned.
            weight_top: Largest code of weights that are multiplied in 8 bits, as `Capabilities` has it.
        """
        self._weight_of, self._steps, self._ways, self._top = weight_of, steps, activations or {}, weight_top
        recurrent = {name: width for name, width in bits.items() if width < 16 and name in recurrent_nodes(module)}
        few = {name: width for name, width in bits.items() if width < 16 and name not in recurrent}
        self._layers = {name: (module.get_submodule(name), width) for name, width in few.items()}
        self._recurrent = [self._reading(module, name, width) for name, width in recurrent.items()]
        self._before: dict[str, Any] = {}
        self.ranges: dict[str, Tensor] = {}

    @property
    def quantizes(self) -> bool:
        """Whether there is any layer below 16 bits."""
        return bool(self._layers or self._recurrent)

    def switch_on(self) -> None:
        """Let the layers compute with quantized weights and inputs."""
        for name, (layer, width) in self._layers.items():
            self._before.setdefault(name, layer.__dict__.get("forward"))
            layer.forward = self._forward(name, layer, width)
        for reading in self._recurrent:
            reading.on = True

    def switch_off(self) -> None:
        """Give the layers the arithmetic back that they had before."""
        for name, before in self._before.items():
            layer, _ = self._layers[name]
            layer.__dict__.pop("forward", None)
            if before is not None:
                layer.forward = before
        self._before.clear()
        for reading in self._recurrent:
            reading.on = False

    def _reading(self, module: nn.Module, name: str, width: int) -> RoundedReading:
        runs = self._ways.get(name) == DYNAMIC  # else its weights are only stored in so many bits
        top = self._top if runs else INT8_TOP
        read = _rounded_over_itself if runs else None
        return RoundedReading(module, name, lambda weight: fake_quantized_weight(weight, width, top), read)

    def _forward(self, name: str, layer: nn.Module, width: int) -> Any:
        if isinstance(layer, nn.Embedding):
            return lambda tokens: fake_quantized_rows(type(layer).forward(layer, tokens), width)

        way = self._ways.get(name, STATIC)

        def forward(inputs: Tensor) -> Tensor:
            if width == 8 and way != FLOAT:
                inputs = self._fake_quantized_inputs(name, inputs, layer.training, way)
            made = self._weight_of is not own_weight
            return with_weight(layer, inputs, lambda: self._weight(name, layer, width, way), again=made)

        return forward

    def _weight(self, name: str, layer: nn.Module, width: int, way: str) -> Tensor:
        weight = self._weight_of(name, layer)
        if way == FLOAT:
            return fake_quantized_groups(weight, width)
        if self._steps is None or way != STATIC:
            return fake_quantized_weight(weight, width, self._top)
        return self._steps.weight(name, weight, width, self._top)

    def _fake_quantized_inputs(self, name: str, inputs: Tensor, training: bool, way: str) -> Tensor:
        if way == DYNAMIC:
            low, high = _range_of(inputs)
        elif self._steps is not None and name in self.ranges:
            found, self.ranges[name] = self._steps.inputs(name, inputs, self.ranges[name].to(inputs.device))
            return found
        else:
            if training or name not in self.ranges:
                now = _range_of(inputs)
                old = self.ranges.get(name, now).to(now.device)
                self.ranges[name] = old + RANGE_MOMENTUM * (now - old)
            low, high = self.ranges[name].to(inputs.device)
        return _rounded_between(inputs, low, high)


def _rounded_between(inputs: Tensor, low: Tensor, high: Tensor) -> Tensor:
    scale = ((high - low) / 255).clamp_min(1e-8)
    zero = (-low / scale).round().clamp(0, 255).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(inputs, scale, zero, 0, 255)


def _rounded_over_itself(inputs: Tensor) -> Tensor:
    return _rounded_between(inputs, *_range_of(inputs))


def _range_of(inputs: Tensor) -> Tensor:
    """Return [2], the least and the largest input; 0 lies between."""
    low, high = torch.aminmax(inputs.detach())
    return torch.stack([low.clamp(max=0), high.clamp(min=0)]).float()


def fake_quantized_weight(weight: Tensor, width: int, weight_top: int = INT8_TOP) -> Tensor:
    """Return a weight on a symmetric grid, with one scale for each output channel.

    Args:
        weight: [out, in, ...].
        width: Bits of the grid.
        weight_top: Its largest code where that is 8.
    """
    top = top_of(width, weight_top)
    scale = (weight.detach().abs().flatten(1).amax(dim=1) / top).clamp_min(1e-12).float()
    zero = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -top, top)


def fake_quantized_rows(rows: Tensor, width: int) -> Tensor:
    """Return `rows` [..., numbers] on the symmetric grid of `width` bits that each row has by itself."""
    return fake_quantized_weight(rows.flatten(0, -2), width).view_as(rows)


def fake_quantized_groups(weight: Tensor, width: int) -> Tensor:
    """Return `weight` [out, in] on symmetric grids of `width` bits, one for every GROUP of an output's weights."""
    outputs, inputs = weight.shape
    whole = F.pad(weight, (0, -inputs % GROUP))
    return fake_quantized_weight(whole.reshape(-1, GROUP), width).view(outputs, -1)[:, :inputs]
