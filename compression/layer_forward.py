"""Linear layers and convolutions that compute with another weight than their own."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

ADAPTABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""The layers that can."""
WeightOf = Callable[[str, nn.Module], Tensor]
"""(name of a layer, the layer) -> the weight that it computes with, in the shape of its own."""


def own_weight(name: str, layer: nn.Module) -> Tensor:
    """Return the weight that a layer has."""
    weight = layer.weight
    assert isinstance(weight, Tensor), name
    return weight


def with_weight(layer: nn.Module, inputs: Tensor, weight: Callable[[], Tensor], again: bool = False) -> Tensor:
    """Return what a layer answers with another weight.

    Args:
        layer: The layer.
        inputs: Its inputs.
        weight: Makes the weight.
        again: Whether the backward pass makes it again rather than keep it from the forward pass, which saves as much
            memory as the layer has weights (Chen et al. 2016, arXiv:1604.06174).
    """

    def output(inputs: Tensor) -> Tensor:
        if isinstance(layer, nn.Linear):
            return F.linear(inputs, weight(), layer.bias)
        return layer._conv_forward(inputs, weight(), layer.bias)  # type: ignore[operator, no-any-return]

    if again and torch.is_grad_enabled():
        found: Tensor = checkpoint(output, inputs, use_reentrant=False, preserve_rng_state=False)
        return found
    return output(inputs)
