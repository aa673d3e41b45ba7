"""Layers in two parts: what stands in a layer's place, and the layer that two trained parts amount to.

The parts are those of least squared error in the weight (Eckart and Young 1936). Of a separable convolution that holds
for each input channel by itself, whose filters become one filter times a number for each output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import TrialFailed
from ..spaces.factors import SEPARABLE, Factor, names_of_parts
from .layer_forward import ADAPTABLE


def factor_layers(module: nn.Module, factors: Mapping[str, Factor]) -> None:
    """Put two layers in the place of one, in place.

    Args:
        module: The network, whose channels were removed.
        factors: Layer name -> what becomes of it.

    Raises:
        TrialFailed: There is no such layer, it has no such parts, or something else reads its weight.
    """
    read = (
        {str(n.target) for n in module.graph.nodes if n.op == "get_attr"} if isinstance(module, fx.GraphModule) else ()
    )
    for name, factor in factors.items():
        layer = _layer(module, name)
        if f"{name}.weight" in read:
            raise TrialFailed(f"layer {name} cannot be factored: another operator reads its weight; keep it as it is")
        weight = layer.weight.detach()
        if not _fits(layer, factor):
            raise TrialFailed(f"layer {name} cannot be factored: {factor.kind} is not for layers of its kind")
        first, second = _parts(layer, factor.between(*reversed(weight.shape[:2])), factor.kind == SEPARABLE)
        with torch.no_grad():
            for part, value in zip((first, second), _factored(weight, factor), strict=True):
                part.weight.copy_(value)
            if layer.bias is not None:
                second.bias.copy_(layer.bias)
        module.set_submodule(name, nn.Sequential(first, second).train(layer.training))


@torch.no_grad()
def merged(state: Mapping[str, Tensor], factors: Mapping[str, Factor]) -> dict[str, Tensor]:
    """Return the weights of a student with whole layers in the place of their parts.

    Args:
        state: Its state_dict.
        factors: Layer name -> what became of it.
    """
    found = dict(state)
    for name, factor in factors.items():
        first, second = (f"{part}.weight" for part in names_of_parts(name))
        bias = f"{names_of_parts(name)[1]}.bias"
        if first not in found or second not in found:
            continue  # whoever wants the layer will miss it
        down, up = found.pop(first), found.pop(second)
        if factor.kind == SEPARABLE:  # [in, 1, ...] and [out, in, 1, ...]
            found[f"{name}.weight"] = up * down.transpose(0, 1)
        else:  # [between, in, 1, ...] and [out, between, 1, ...]
            found[f"{name}.weight"] = (up.flatten(1) @ down.flatten(1)).view(len(up), *down.shape[1:])
        if bias in found:
            found[f"{name}.bias"] = found.pop(bias)
    return found


def _layer(module: nn.Module, name: str) -> Any:
    layer = dict(module.named_modules()).get(name)
    if not isinstance(layer, ADAPTABLE):
        raise TrialFailed(f"layer {name} cannot be factored: the network has no linear layer or convolution there")
    return layer


def _fits(layer: Any, factor: Factor) -> bool:
    if isinstance(layer, nn.Linear):
        return factor.kind != SEPARABLE
    return bool(layer.groups == 1 and (factor.kind == SEPARABLE or set(layer.kernel_size) == {1}))


def _parts(layer: Any, between: int, separable: bool) -> tuple[Any, Any]:
    """Return two layers without weights; what a convolution does besides multiplying, the first one does."""
    like: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        first = _empty(nn.Linear, layer.in_features, between, bias=False, **like)
        return first, _empty(nn.Linear, between, layer.out_features, bias=bias, **like)
    rest = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "padding_mode")}
    rest |= {"groups": between if separable else 1, "bias": False}
    cls = next(cls for cls in ADAPTABLE if isinstance(layer, cls))
    first = _empty(cls, layer.in_channels, between, layer.kernel_size, **rest, **like)
    return first, _empty(cls, between, layer.out_channels, 1, bias=bias, **like)


def _empty(cls: type[nn.Module], *sizes: Any, **settings: Any) -> Any:
    # random numbers that nobody sees would move those of whoever trains
    make: Any = nn.utils.skip_init
    return make(cls, *sizes, **settings)


def _factored(weight: Tensor, factor: Factor) -> tuple[Tensor, Tensor]:
    """Return the weights of both parts of a layer with this weight, [out, in, ...]."""
    outputs, inputs, *kernel = weight.shape
    if factor.kind == SEPARABLE:
        # [in, out, positions] -> [in, out, 1] and [in, 1, positions]
        up, down = _nearest(weight.reshape(outputs, inputs, -1).transpose(0, 1), 1)
        return down.view(inputs, 1, *kernel), up.squeeze(2).T.reshape(outputs, inputs, *(1 for _ in kernel))
    between = factor.between(inputs, outputs)
    up, down = _nearest(weight.reshape(outputs, inputs), between)
    return down.view(between, inputs, *kernel), up.view(outputs, between, *kernel)


def _nearest(matrices: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return [..., m, rank] and [..., rank, n], whose product is nearest to matrices [..., m, n] of numbers.

    Both have the same share of the singular values, so that neither has numbers of another size to train or to round.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        up, down = _nearest(matrices.transpose(-2, -1), rank)
        return down.transpose(-2, -1), up.transpose(-2, -1)
    wide = matrices.double()
    # of the smaller side, the squares of the singular values: several times as fast as these themselves
    squares, vectors = torch.linalg.eigh(wide @ wide.transpose(-2, -1))
    top = vectors.flip(-1)[..., :rank]
    largest = top.gather(-2, top.abs().argmax(-2, keepdim=True))
    top = top * torch.where(largest < 0, -1.0, 1.0)  # libraries of linear algebra differ in signs
    values = squares.flip(-1)[..., :rank].clamp_min(0).sqrt()
    roots = values.sqrt().unsqueeze(-2)
    down = top.transpose(-2, -1) @ wide
    shares = torch.where(roots > 0, 1 / roots.clamp_min(1e-30), 0.0).transpose(-2, -1)
    return (top * roots).to(matrices.dtype), (down * shares).to(matrices.dtype)
